//! What the sequence parameter set of HEVC says of its pictures (ITU-T H.265, sections 7.3.2.2 and E.2.1; ISO/IEC 14496-15,
//! section 8.3.3.1). Such pictures are always encoded, so only their size, shape and colours are read.

use h264_reader::nal::{Nal, RefNal};
use h264_reader::rbsp::BitRead;

use crate::h264::colour::Colour;
use crate::h264::parameter_sets::Picture;
use crate::time::gcd;

/// `nal_unit_type` of a sequence parameter set.
const SPS: u8 = 33;
/// Bytes of `hvcC` before its arrays of parameter sets.
const HVCC_FIELDS: usize = 22;
/// Width and height of a pixel by `aspect_ratio_idc` from 1 on (table E.1).
const PIXEL_ASPECTS: [(u16, u16); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];
/// `aspect_ratio_idc` of a pixel whose width and height follow.
const EXTENDED_SAR: u8 = 255;
/// The most reference picture sets of a sequence, and the most pictures of one set.
const MAX_SETS: u32 = 64;
const MAX_PICTURES: u32 = 16;

/// Returns what the first sequence parameter set in the content of `hvcC` says of its pictures. Shape and colours count as
/// not stated if only the size can be read.
#[must_use]
pub fn picture_of(hvcc: &[u8]) -> Option<Picture> {
    // the header of a unit has two bytes, where that of H.264 has one
    let unit = first_sps(hvcc)?.get(1..).filter(|unit| unit.len() > 1)?;
    let mut bits = RefNal::new(unit, &[], true).rbsp_bits();
    let (size, Start { sub_layers, has_offset }) = size(&mut bits)?;
    let (pixel_aspect, colour) = shown(&mut bits, sub_layers).unwrap_or((None, Colour::UNSPECIFIED));
    Some(Picture { size, has_offset, may_be_fields: false, pixel_aspect, colour })
}

/// Returns whether the content of `hvcC` holds a sequence parameter set.
#[must_use]
pub fn has_sps(hvcc: &[u8]) -> bool {
    first_sps(hvcc).is_some()
}

/// Returns the first sequence parameter set in `hvcC`.
fn first_sps(hvcc: &[u8]) -> Option<&[u8]> {
    let (&arrays, mut rest) = hvcc.get(HVCC_FIELDS..)?.split_first()?;
    for _ in 0..arrays {
        let (&[kind, high, low], mut units) = rest.split_first_chunk()?;
        for _ in 0..u16::from_be_bytes([high, low]) {
            let (&length, after) = units.split_first_chunk()?;
            let (unit, after) = after.split_at_checked(u16::from_be_bytes(length).into())?;
            if kind & 0x3f == SPS {
                return Some(unit);
            }
            units = after;
        }
        rest = units;
    }
    None
}

fn ue(bits: &mut impl BitRead) -> Option<u32> {
    bits.read_ue("").ok()
}

fn flag(bits: &mut impl BitRead) -> Option<bool> {
    bits.read_bit("").ok()
}

fn byte(bits: &mut impl BitRead) -> Option<u8> {
    bits.read::<8, u8>("").ok()
}

fn skip(bits: &mut impl BitRead, count: u32) -> Option<()> {
    bits.skip(count, "").ok()
}

fn skip_ue(bits: &mut impl BitRead, count: u32) -> Option<()> {
    (0..count).try_for_each(|_| ue(bits).map(drop))
}

/// What the first part of the set says beside the size.
struct Start {
    /// Sub-layers beside the first one.
    sub_layers: u8,
    /// The picture begins inside what is coded.
    has_offset: bool,
}

/// Reads the set up to the conformance window. Returns width and height in pixels, cropped.
fn size(bits: &mut impl BitRead) -> Option<((u16, u16), Start)> {
    skip(bits, 4)?;
    let sub_layers = bits.read::<3, u8>("").ok()?;
    skip(bits, 1 + 88 + 8)?; // profile, tier and level
    let mut present = Vec::new();
    for _ in 0..sub_layers {
        present.push((flag(bits)?, flag(bits)?));
    }
    if sub_layers > 0 {
        skip(bits, 2 * (8 - u32::from(sub_layers)))?;
    }
    for (profile, level) in present {
        skip(bits, 88 * u32::from(profile) + 8 * u32::from(level))?;
    }
    ue(bits)?;
    let chroma_format = ue(bits)?;
    if chroma_format == 3 {
        skip(bits, 1)?;
    }
    let (mut width, mut height) = (ue(bits)?, ue(bits)?);
    let mut has_offset = false;
    if flag(bits)? {
        let (left, right, top, bottom) = (ue(bits)?, ue(bits)?, ue(bits)?, ue(bits)?);
        let across = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let down = if chroma_format == 1 { 2 } else { 1 };
        width = width.checked_sub(left.checked_add(right)?.checked_mul(across)?)?;
        height = height.checked_sub(top.checked_add(bottom)?.checked_mul(down)?)?;
        has_offset = left > 0 || top > 0;
    }
    let size = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    Some((size, Start { sub_layers, has_offset }))
}

/// Reads the set from behind the conformance window to the colour description.
fn shown(bits: &mut impl BitRead, sub_layers: u8) -> Option<(Option<(u32, u32)>, Colour)> {
    skip_ue(bits, 2)?;
    let order_bits = ue(bits)?.checked_add(4).filter(|&bits| bits <= 16)?;
    let ordered_layers = if flag(bits)? { u32::from(sub_layers) + 1 } else { 1 };
    skip_ue(bits, 3 * ordered_layers + 6)?;
    if flag(bits)? && flag(bits)? {
        skip_scaling_lists(bits)?;
    }
    skip(bits, 2)?;
    if flag(bits)? {
        skip(bits, 8)?;
        skip_ue(bits, 2)?;
        skip(bits, 1)?;
    }
    skip_reference_sets(bits)?;
    if flag(bits)? {
        for _ in 0..ue(bits).filter(|&pictures| pictures <= 2 * MAX_PICTURES)? {
            skip(bits, order_bits + 1)?;
        }
    }
    skip(bits, 2)?;
    if !flag(bits)? {
        return Some((None, Colour::UNSPECIFIED));
    }
    let mut pixel_aspect = None;
    if flag(bits)? {
        let (across, down) = match byte(bits)? {
            EXTENDED_SAR => (bits.read::<16, u16>("").ok()?, bits.read::<16, u16>("").ok()?),
            index => PIXEL_ASPECTS.get(usize::from(index).wrapping_sub(1)).copied().unwrap_or_default(),
        };
        let divisor = u16::try_from(gcd(across.into(), down.into())).unwrap_or(1).max(1);
        pixel_aspect = (across > 0 && down > 0).then(|| ((across / divisor).into(), (down / divisor).into()));
    }
    if flag(bits)? {
        skip(bits, 1)?;
    }
    let mut colour = Colour::UNSPECIFIED;
    if flag(bits)? {
        skip(bits, 3)?;
        colour.full_range = flag(bits)?;
        if flag(bits)? {
            colour.codes = [byte(bits)?, byte(bits)?, byte(bits)?];
        }
    }
    Some((pixel_aspect, colour))
}

/// Skips `scaling_list_data` (section 7.3.4).
fn skip_scaling_lists(bits: &mut impl BitRead) -> Option<()> {
    for size in 0_u32..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if flag(bits)? {
                let coefficients = 64.min(1 << (4 + 2 * size)) + u32::from(size > 1);
                (0..coefficients).try_for_each(|_| bits.read_se("").ok().map(drop))?;
            } else {
                ue(bits)?;
            }
        }
    }
    Some(())
}

/// Skips the short-term reference picture sets (section 7.3.7).
fn skip_reference_sets(bits: &mut impl BitRead) -> Option<()> {
    let mut pictures = 0;
    for set in 0..ue(bits).filter(|&sets| sets <= MAX_SETS)? {
        if set > 0 && flag(bits)? {
            skip(bits, 1)?;
            ue(bits)?;
            let mut kept = 0;
            for _ in 0..=pictures {
                // used by the current picture, or at least kept
                kept += u32::from(flag(bits)? || flag(bits)?);
            }
            pictures = kept;
        } else {
            let (before, after) = (ue(bits)?, ue(bits)?);
            pictures = before.checked_add(after)?;
            for _ in 0..Some(pictures).filter(|&pictures| pictures <= MAX_PICTURES)? {
                ue(bits)?;
                skip(bits, 1)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns `hvcC` with this sequence parameter set, and a video parameter set before it.
    fn hvcc(sps: &[u8]) -> Vec<u8> {
        let length = u16::try_from(sps.len()).expect("short").to_be_bytes();
        [&[0; HVCC_FIELDS][..], &[2, 32, 0, 1, 0, 2, 64, 1, 0xa1, 0, 1], &length, sps].concat()
    }

    /// x265: 320 × 180 of 320 × 184 coded pixels, pixels of 4:3, BT.709, full range.
    const X265: &[u8] = &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3c,
        0xa0, 0x0a, 0x08, 0x0b, 0x9f, 0x79, 0x65, 0x66, 0x92, 0x4e, 0x57, 0x87, 0x37, 0x01, 0x01, 0x01, 0x04, 0x00,
        0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0x78, 0x20,
    ];

    #[test]
    fn reads_size_shape_and_colours() {
        let picture = picture_of(&hvcc(X265)).expect("a set");
        assert_eq!((picture.size, picture.pixel_aspect), ((320, 180), Some((4, 3))));
        assert_eq!(picture.colour, Colour { codes: [1, 1, 1], full_range: true });
        assert!(!picture.has_offset);
    }

    #[test]
    fn a_set_that_is_cut_short_still_tells_the_size() {
        let picture = picture_of(&hvcc(&X265[..24])).expect("a size");
        assert_eq!((picture.size, picture.colour), ((320, 180), Colour::UNSPECIFIED));
        assert!(picture_of(&hvcc(&X265[..8])).is_none());
        assert!(picture_of(&[0; 30]).is_none());
    }

    proptest! {
        #[test]
        fn no_set_causes_a_panic(sps in prop::collection::vec(any::<u8>(), 0..99), kept in 0..=X265.len()) {
            let _ = picture_of(&hvcc(&[&X265[..kept], &sps].concat()));
        }
    }
}
