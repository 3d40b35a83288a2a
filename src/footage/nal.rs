//! What a sample of H.264 says of itself: where decoding may begin, and which parameter sets it brings along
//! (ITU-T H.264, sections 7.3.1 and 7.4.1; ISO/IEC 14496-15, section 5.3).

use h264_reader::nal::sei::recovery_point::RecoveryPoint;
use h264_reader::nal::sei::{HeaderType, SeiReader};
use h264_reader::nal::{Nal, RefNal, UnitType};

/// Whether decoding may begin with a sample. `stss` only nominates: it also lists pictures of open GOPs and of streams
/// that refresh bit by bit, after which a decoder shows wrong pictures without a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// No.
    None,
    /// What is shown from it on is right; what is decoded after it and shown before it is not (a recovery point with a
    /// count of 0, section D.2.8).
    Recovery,
    /// An IDR picture: nothing after it refers to anything before it.
    Idr,
}

/// The NAL units of a sample, each without its length field of `length_size` bytes. Ends with an error where a length
/// is 0 or reaches beyond the sample.
pub fn units(sample: &[u8], length_size: usize) -> impl Iterator<Item = Result<&[u8], &'static str>> {
    let mut rest = sample;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let unit = rest.split_at_checked(length_size).and_then(|(length, after)| {
            let length =
                length.iter().try_fold(0_usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))?;
            after.split_at_checked(length).filter(|(unit, _)| !unit.is_empty())
        });
        let (unit, after) = unit.unwrap_or_default();
        rest = after;
        Some(if unit.is_empty() { Err("a NAL unit's length is wrong") } else { Ok(unit) })
    })
}

/// `sample` with length fields of four bytes in place of `length_size`.
///
/// # Errors
/// As [`units`].
pub fn with_wide_lengths(sample: &[u8], length_size: usize) -> Result<Vec<u8>, &'static str> {
    let mut wide = Vec::with_capacity(sample.len() + 64);
    for unit in units(sample, length_size) {
        let unit = unit?;
        let length = u32::try_from(unit.len()).map_err(|_| "a NAL unit of more than 4 GiB")?;
        wide.extend_from_slice(&length.to_be_bytes());
        wide.extend_from_slice(unit);
    }
    Ok(wide)
}

/// The type of a NAL unit, from its first byte.
#[must_use]
pub fn kind(unit: &[u8]) -> Option<UnitType> {
    UnitType::for_id(unit.first()? & 0x1f).ok()
}

/// Whether decoding may begin with `sample`: its first slice decides, and the recovery point before it.
#[must_use]
pub fn entry(sample: &[u8], length_size: usize) -> Entry {
    let mut recovery = Entry::None;
    for unit in units(sample, length_size) {
        let Ok(unit) = unit else { return Entry::None };
        match kind(unit) {
            Some(UnitType::SliceLayerWithoutPartitioningIdr) => return Entry::Idr,
            Some(UnitType::SliceLayerWithoutPartitioningNonIdr) => return recovery,
            Some(UnitType::SEI) if recovers_at_once(unit) => recovery = Entry::Recovery,
            _ => {}
        }
    }
    Entry::None
}

fn recovers_at_once(unit: &[u8]) -> bool {
    let mut scratch = Vec::new();
    let mut messages = SeiReader::from_rbsp_bytes(RefNal::new(unit, &[], true).rbsp_bytes(), &mut scratch);
    while let Ok(Some(message)) = messages.next() {
        if message.payload_type == HeaderType::RecoveryPoint {
            return RecoveryPoint::read(&message)
                .is_ok_and(|point| point.recovery_frame_cnt == 0 && !point.broken_link_flag);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(units: &[&[u8]]) -> Vec<u8> {
        let prefixed = |unit: &&[u8]| [&u32::try_from(unit.len()).expect("short").to_be_bytes()[..], unit].concat();
        units.iter().flat_map(prefixed).collect()
    }

    const AUD: &[u8] = &[9, 0x10];
    const IDR: &[u8] = &[0x65, 0x88];
    const SLICE: &[u8] = &[0x41, 0x9a];
    /// `recovery_point` with `recovery_frame_cnt` 0 and `exact_match_flag`, as x264 writes it.
    const RECOVERY_0: &[u8] = &[6, 6, 1, 0xc4, 0x80];
    /// `recovery_frame_cnt` 16: an intra refresh.
    const RECOVERY_16: &[u8] = &[6, 6, 2, 0x08, 0xc8, 0x80];

    #[test]
    fn the_first_slice_decides() {
        let table: [(&str, &[&[u8]], Entry); 7] = [
            ("an IDR picture", &[AUD, IDR], Entry::Idr),
            ("a recovery point", &[AUD, RECOVERY_0, SLICE], Entry::Recovery),
            ("an intra refresh", &[RECOVERY_16, SLICE], Entry::None),
            ("a picture that is only listed", &[AUD, SLICE], Entry::None),
            ("a recovery point of the next picture", &[SLICE, RECOVERY_0], Entry::None),
            ("no slice", &[AUD], Entry::None),
            ("nothing", &[], Entry::None),
        ];
        for (case, units, expected) in table {
            assert_eq!(entry(&sample(units), 4), expected, "{case}");
        }
        assert_eq!(entry(&[0, 0, 0, 9, 0x65], 4), Entry::None, "cut short");
        assert_eq!(entry(&[0, 2, 0x65, 0x88], 2), Entry::Idr, "a length of two bytes");
    }

    proptest! {
        #[test]
        fn wide_lengths_lead_to_the_same_units(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..9)) {
            let narrow: Vec<u8> = units.iter().flat_map(|unit| [&[u8::try_from(unit.len()).expect("short")][..], unit].concat()).collect();
            let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(with_wide_lengths(&narrow, 1), Ok(sample(&units)));
        }

        #[test]
        fn no_sample_makes_it_panic(sample in prop::collection::vec(any::<u8>(), 0..99), length_size in 1_usize..=4) {
            let _ = entry(&sample, length_size);
        }
    }
}
