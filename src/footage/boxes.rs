//! Boxes as bytes, for what must be known of them before they are decoded. Pure.

use shiguredo_mp4::{BoxHeader, BoxType, Decode};

/// The boxes that hold others, of those that are read.
const CONTAINERS: [&[u8; 4]; 8] = [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"];
/// The boxes that are read differently by their version: 0 or 1.
const VERSIONED: [&[u8; 4]; 8] = [b"mvhd", b"tkhd", b"mdhd", b"elst", b"ctts", b"cslg", b"tfdt", b"trun"];

/// The boxes in a box, whole, with their names. Ends where one doesn't fit.
pub fn children(outer: &[u8]) -> impl Iterator<Item = (BoxType, &[u8])> {
    let mut rest = BoxHeader::decode(outer).ok().and_then(|(_, header)| outer.get(header..)).unwrap_or_default();
    std::iter::from_fn(move || {
        let (header, header_size) = BoxHeader::decode(rest).ok()?;
        let size = usize::try_from(header.box_size.get()).ok().filter(|&size| size >= header_size)?;
        let (inner, behind) = rest.split_at_checked(size)?;
        rest = behind;
        Some((header.box_type, inner))
    })
}

/// Insists that no box in `outer` is of a version that nobody knows: what it says is not to be read (ISO/IEC 14496-12,
/// section 4.2), and without it the others say something else.
///
/// # Errors
/// Says which.
pub fn check_versions(outer: &[u8]) -> Result<(), String> {
    check(outer, CONTAINERS.len())
}

fn check(outer: &[u8], deeper: usize) -> Result<(), String> {
    for (name, inner) in children(outer) {
        let is_one_of = |names: &[&[u8; 4]]| names.iter().any(|one| name == BoxType::Normal(**one));
        let version = BoxHeader::decode(inner).ok().and_then(|(_, header)| inner.get(header)).copied();
        if let Some(version @ 2..) = version.filter(|_| is_one_of(&VERSIONED)) {
            return Err(format!("{name}: version {version}"));
        }
        if is_one_of(&CONTAINERS) && deeper > 0 {
            check(inner, deeper - 1)?; // no deeper than files are: containers in containers would exhaust the stack
        }
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A box of that name around `content`.
    pub fn boxed(name: &str, content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).expect("small");
        [&size.to_be_bytes()[..], name.as_bytes(), content].concat()
    }

    #[test]
    fn a_version_that_nobody_knows_is_refused_wherever_it_is() {
        let moov = |name: &str, version: u8| {
            let inner = boxed(name, &[version, 0, 0, 0]);
            boxed("moov", &[boxed("free", &[9]), boxed("trak", &boxed("mdia", &inner))].concat())
        };
        assert_eq!(check_versions(&moov("mdhd", 1)), Ok(()));
        assert_eq!(check_versions(&moov("mdhd", 2)), Err("mdhd: version 2".to_owned()));
        assert_eq!(check_versions(&moov("free", 2)), Ok(()), "nobody reads it");
        let nested = (0..100).fold(Vec::new(), |inner, _| boxed("moov", &inner));
        assert_eq!(check_versions(&nested), Ok(()));
    }
}
