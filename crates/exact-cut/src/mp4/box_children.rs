//! Boxes as bytes, for what must be known of them before they are decoded.

use shiguredo_mp4::{BoxHeader, BoxType, Decode};

use crate::mp4::Mp4Error;

/// Boxes that hold other boxes, of those that are read.
const CONTAINERS: [&[u8; 4]; 8] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"];
/// Boxes whose layout depends on their version, which is 0 or 1.
const VERSIONED: [&[u8; 4]; 8] = [b"mvhd", b"tkhd", b"mdhd", b"elst", b"ctts", b"cslg", b"tfdt", b"trun"];

/// Returns the boxes inside `outer` with their types, headers included. Ends at the first one that does not fit.
pub fn children(outer: &[u8]) -> impl Iterator<Item = (BoxType, &[u8])> {
    let mut rest = BoxHeader::decode(outer).ok().and_then(|(_, header)| outer.get(header..)).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, header_size) = BoxHeader::decode(rest).ok()?;
        let size = usize::try_from(header.box_size.get()).ok().filter(|&size| size >= header_size)?;
        let (inner, after) = rest.split_at_checked(size)?;
        rest = after;
        Some((header.box_type, inner))
    })
}

/// Refuses a box of an unknown version anywhere in `outer`. A reader must ignore such a box (ISO/IEC 14496-12, section
/// 4.2), and without it the other boxes would mean something else.
///
/// # Errors
/// [`Mp4Error::UnknownVersion`].
pub fn check_versions(outer: &[u8]) -> Result<(), Mp4Error> {
    check(outer, CONTAINERS.len())
}

fn check(outer: &[u8], levels: usize) -> Result<(), Mp4Error> {
    for (name, inner) in children(outer) {
        let is_one_of = |names: &[&[u8; 4]]| names.iter().any(|one| name == BoxType::Normal(**one));
        let version = BoxHeader::decode(inner).ok().and_then(|(_, header)| inner.get(header)).copied();
        if let Some(version @ 2..) = version.filter(|_| is_one_of(&VERSIONED)) {
            return Err(Mp4Error::UnknownVersion { name, version });
        }
        // a real file nests no deeper; containers within containers would exhaust the stack
        if is_one_of(&CONTAINERS) && levels > 0 {
            check(inner, levels - 1)?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Returns a box of type `name` around `content`.
    pub fn boxed(name: &str, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).expect("small");
        [&size.to_be_bytes()[..], name.as_bytes(), content].concat()
    }

    #[test]
    fn refuses_an_unknown_version_wherever_it_is() {
        let moov = |name: &str, version: u8| {
            let inner = boxed(name, &[version, 0, 0, 0]);
            boxed("moov", &[boxed("free", &[9]), boxed("trak", &boxed("mdia", &inner))].concat())
        };
        assert_eq!(check_versions(&moov("mdhd", 1)), Ok(()));
        let unknown = Mp4Error::UnknownVersion { name: BoxType::Normal(*b"mdhd"), version: 2 };
        assert_eq!(check_versions(&moov("mdhd", 2)), Err(unknown));
        assert_eq!(check_versions(&moov("free", 2)), Ok(()), "this box is not read");
        let nested = (0..100).fold(Vec::new(), |inner, _| boxed("moov", &inner));
        assert_eq!(check_versions(&nested), Ok(()));
    }
}
