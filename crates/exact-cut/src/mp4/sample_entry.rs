//! What the sample entry of a track says of its pictures (ISO/IEC 14496-12, sections 8.5.2 and 12.1).

use std::num::NonZeroU32;

use shiguredo_mp4::boxes::{Avc1Box, SampleEntry, UnknownBox, VisualSampleEntryFields};
use shiguredo_mp4::{BoxType, Decode};

use crate::h264::parameter_sets::fill_in_chroma_fields;
use crate::mp4::Mp4Error;

/// Returns the fields that the sample entry of every video track begins with, or `None` for other tracks.
#[must_use]
pub fn visual_fields(entry: &SampleEntry) -> Option<&VisualSampleEntryFields> {
    match entry {
        SampleEntry::Avc1(entry) => Some(&entry.visual),
        SampleEntry::Hev1(entry) => Some(&entry.visual),
        SampleEntry::Hvc1(entry) => Some(&entry.visual),
        _ => None,
    }
}

/// Returns width and height of a pixel (`pasp`, section 12.1.4): 1 and 1 unless the entry states them.
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

/// Returns `entry` as it is compared and copied: complete, and without the bit rate (`btrt`), which describes its own
/// file only.
///
/// # Errors
/// [`Mp4Error::Decode`] for an `avc3` entry that cannot be read as `avc1`.
pub(crate) fn normalized(entry: &SampleEntry) -> Result<SampleEntry, Mp4Error> {
    let mut entry = match entry {
        SampleEntry::Unknown(unknown) if unknown.box_type == BoxType::Normal(*b"avc3") => avc3_as_avc1(unknown)?,
        entry => entry.clone(),
    };
    let unknown_boxes = match &mut entry {
        SampleEntry::Avc1(entry) => {
            fill_in_chroma_fields(&mut entry.avcc_box);
            &mut entry.unknown_boxes
        }
        SampleEntry::Mp4a(entry) => &mut entry.unknown_boxes,
        _ => return Ok(entry),
    };
    unknown_boxes.retain(|unknown| unknown.box_type != BoxType::Normal(*b"btrt"));
    Ok(entry)
}

/// Reads an `avc3` entry as `avc1`. The two differ only in that `avc3` allows parameter sets among the pictures
/// (ISO/IEC 14496-15, section 5.4.2.1); those are compared with `avcC` before anything is copied.
fn avc3_as_avc1(avc3: &UnknownBox) -> Result<SampleEntry, Mp4Error> {
    let size = u32::try_from(avc3.payload.len() + 8).map_err(|error| Mp4Error::decode("avc3", error))?;
    let renamed = [&size.to_be_bytes()[..], b"avc1", &avc3.payload].concat();
    let (avc1, _) = Avc1Box::decode(&renamed).map_err(|error| Mp4Error::decode("avc3", error))?;
    Ok(SampleEntry::Avc1(avc1))
}
