//! What a track's sample entry tells of its pictures (ISO/IEC 14496-12, sections 8.5.2 and 12.1).

use std::num::NonZeroU32;

use shiguredo_mp4::BoxType;
use shiguredo_mp4::boxes::{SampleEntry, VisualSampleEntryFields};

/// The fields that every video's sample entry begins with; none for sound.
#[must_use]
pub fn visual(entry: &SampleEntry) -> Option<&VisualSampleEntryFields> {
    match entry {
        SampleEntry::Avc1(entry) => Some(&entry.visual),
        SampleEntry::Hev1(entry) => Some(&entry.visual),
        SampleEntry::Hvc1(entry) => Some(&entry.visual),
        _ => None,
    }
}

/// The pixel aspect ratio of a sample entry (`pasp`, section 12.1.4): a pixel's width and height; 1 to 1 unless stated.
#[must_use]
pub fn pixel_aspect(entry: &SampleEntry) -> (NonZeroU32, NonZeroU32) {
    const SQUARE: (NonZeroU32, NonZeroU32) = (NonZeroU32::MIN, NonZeroU32::MIN);
    let boxes = match entry {
        SampleEntry::Avc1(entry) => &entry.unknown_boxes,
        SampleEntry::Hev1(entry) => &entry.unknown_boxes,
        SampleEntry::Hvc1(entry) => &entry.unknown_boxes,
        _ => return SQUARE,
    };
    let pasp = boxes.iter().find(|unknown| unknown.box_type == BoxType::Normal(*b"pasp"));
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes).and_then(NonZeroU32::new);
    pasp.and_then(|pasp| Some((number(pasp.payload.get(..4)?)?, number(pasp.payload.get(4..8)?)?))).unwrap_or(SQUARE)
}
