//! The NAL units of a sample: where decoding may begin, and which parameter sets the sample carries (ITU-T H.264, sections
//! 7.3.1 and 7.4.1; ITU-T H.265, section 7.4.2.2; ISO/IEC 14496-15, section 5.3).
//!
//! In MP4 each unit is preceded by its length, in 1, 2 or 4 bytes as `avcC` or `hvcC` says, not by a start code. The first
//! slice of a sample decides whether it is an IDR picture. Before it an SEI message of H.264 may state a recovery point; only
//! a count of 0 is used, because with a larger one the first pictures are not exact.

use h264_reader::nal::sei::recovery_point::RecoveryPoint;
use h264_reader::nal::sei::{HeaderType, SeiReader};
use h264_reader::nal::{Nal, RefNal, UnitType};

/// Whether decoding may begin at a sample.
///
/// The sync sample table (`stss`) cannot answer this: it also lists pictures of open GOPs and of streams that use intra
/// refresh. A clip that began at such a picture lost 13 of 60 frames and stopped Chromium; with intra refresh 16 frames
/// were wrong without a complaint of any decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RandomAccess {
    /// Decoding may not begin here.
    No,
    /// Pictures that are shown from here on are right; those that are decoded later but shown earlier are not (a recovery
    /// point with a count of 0, section D.2.8).
    RecoveryPoint,
    /// An IDR picture: no later picture refers to an earlier one.
    Idr,
}

/// A codec whose samples are made of NAL units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    Hevc,
}

/// How the NAL units of a track are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NalFormat {
    /// The codec.
    pub codec: Codec,
    /// Size of the length field before each unit, in bytes.
    pub length_size: usize,
}

/// What precedes a NAL unit in a byte stream (section B.1.1).
const START_CODE: [u8; 3] = [0, 0, 1];

/// A sample is not made of NAL units with length fields of the stated size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the length of a NAL unit is wrong")]
pub struct NalLengthError;

/// Returns the NAL units of a sample, each without its length field of `length_size` bytes. Ends with an error where a
/// length is 0 or reaches beyond the sample.
pub fn nal_units(sample: &[u8], length_size: usize) -> impl Iterator<Item = Result<&[u8], NalLengthError>> {
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
        Some(if unit.is_empty() { Err(NalLengthError) } else { Ok(unit) })
    })
}

/// Returns `sample` with length fields of four bytes in place of `length_size`.
///
/// # Errors
/// [`NalLengthError`], also for a NAL unit of 4 GiB or more.
pub fn with_4_byte_lengths(sample: &[u8], length_size: usize) -> Result<Vec<u8>, NalLengthError> {
    let mut widened = Vec::with_capacity(sample.len() + 64);
    for unit in nal_units(sample, length_size) {
        let unit = unit?;
        let length = u32::try_from(unit.len()).map_err(|_| NalLengthError)?;
        widened.extend_from_slice(&length.to_be_bytes());
        widened.extend_from_slice(unit);
    }
    Ok(widened)
}

/// Returns the type of a NAL unit, from its first byte.
#[must_use]
pub fn unit_type(unit: &[u8]) -> Option<UnitType> {
    UnitType::for_id(unit.first()? & 0x1f).ok()
}

/// What a NAL unit is to the sample that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnitKind {
    /// Coded pictures begin with it, and decoding may begin there or not.
    Slice(RandomAccess),
    /// A parameter set.
    ParameterSet,
    /// A message that may state a recovery point.
    Sei,
    /// Anything else, such as a delimiter.
    Other,
}

impl UnitKind {
    fn of(unit: &[u8], codec: Codec) -> Self {
        let first = unit.first().copied().unwrap_or_default();
        match codec {
            Codec::H264 => match first & 0x1f {
                1 | 2 => Self::Slice(RandomAccess::No),
                5 => Self::Slice(RandomAccess::Idr),
                6 => Self::Sei,
                7 | 8 | 13 | 15 => Self::ParameterSet,
                _ => Self::Other,
            },
            Codec::Hevc => match first >> 1 & 0x3f {
                // pictures with leading ones, which refer to what was before
                16..=18 | 21 => Self::Slice(RandomAccess::RecoveryPoint),
                19 | 20 => Self::Slice(RandomAccess::Idr),
                0..=31 => Self::Slice(RandomAccess::No),
                32..=34 => Self::ParameterSet,
                _ => Self::Other,
            },
        }
    }
}

/// Returns `unit`, and then what follows each start code in it. No unit may hold one (ITU-T H.264, section 7.4.1), but a camera
/// with layers put a prefix and the slice behind it under one length, and decoders find the slice.
fn with_hidden(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let behind_code = |unit: &[u8]| unit.windows(START_CODE.len()).position(|bytes| bytes == START_CODE);
    std::iter::successors(Some(unit), move |unit| behind_code(unit).map(|at| &unit[at + START_CODE.len()..]))
}

/// Returns whether decoding may begin at `sample`. Its first slice decides, and a recovery point before that slice.
#[must_use]
pub fn random_access(sample: &[u8], NalFormat { codec, length_size }: NalFormat) -> RandomAccess {
    let mut result = RandomAccess::No;
    for unit in nal_units(sample, length_size) {
        let Ok(unit) = unit else { return RandomAccess::No };
        for unit in with_hidden(unit) {
            match UnitKind::of(unit, codec) {
                UnitKind::Slice(access) => return access.max(result),
                UnitKind::Sei if has_recovery_point(unit) => result = RandomAccess::RecoveryPoint,
                _ => {}
            }
        }
    }
    RandomAccess::No
}

/// Returns whether the first slice of `sample` is that of a picture which those after it in decode order are shown after, except
/// leading ones: an IDR picture of H.264, a picture of HEVC with the types 16 to 23 (ITU-T H.265, section 7.4.2.2).
#[must_use]
pub fn begins_sequence(sample: &[u8], format: NalFormat) -> bool {
    first_slice(sample, format).is_some_and(|unit| match format.codec {
        Codec::H264 => unit[0] & 0x1f == 5,
        Codec::Hevc => (16..=23).contains(&(unit[0] >> 1 & 0x3f)),
    })
}

/// Returns whether the first slice of `sample` is that of a leading picture of HEVC, which is shown before the picture where
/// decoding began (ITU-T H.265, section 7.4.2.2: RADL and RASL, types 6 to 9).
#[must_use]
pub fn is_leading(sample: &[u8], format: NalFormat) -> bool {
    let has_type = |unit: &[u8]| (6..=9).contains(&(unit[0] >> 1 & 0x3f));
    format.codec == Codec::Hevc && first_slice(sample, format).is_some_and(has_type)
}

/// Returns the first NAL unit of `sample` that is a slice.
fn first_slice(sample: &[u8], NalFormat { codec, length_size }: NalFormat) -> Option<&[u8]> {
    let whole = nal_units(sample, length_size).map_while(Result::ok);
    whole.flat_map(with_hidden).find(|unit| matches!(UnitKind::of(unit, codec), UnitKind::Slice(_)))
}

/// What a sample without a slice holds. It belongs to the next picture (ITU-T H.264, section 7.4.1.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WithoutSlice {
    /// Delimiters, messages and the like, which no picture needs.
    Expendable,
    /// Parameter sets.
    ParameterSets,
}

/// Returns what `sample` holds if that is no slice. One that is not made of NAL units counts as a picture that is damaged.
#[must_use]
pub fn without_slice(sample: &[u8], NalFormat { codec, length_size }: NalFormat) -> Option<WithoutSlice> {
    let mut result = WithoutSlice::Expendable;
    for unit in nal_units(sample, length_size) {
        for unit in with_hidden(unit.ok()?) {
            match UnitKind::of(unit, codec) {
                UnitKind::Slice(_) => return None,
                UnitKind::ParameterSet => result = WithoutSlice::ParameterSets,
                UnitKind::Sei | UnitKind::Other => {}
            }
        }
    }
    Some(result)
}

/// Returns whether an SEI unit holds a recovery point with a count of 0: decoding recovers at once.
fn has_recovery_point(unit: &[u8]) -> bool {
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

    const H264: NalFormat = NalFormat { codec: Codec::H264, length_size: 4 };
    const HEVC: NalFormat = NalFormat { codec: Codec::Hevc, length_size: 4 };
    const AUD: &[u8] = &[9, 0x10];
    const IDR: &[u8] = &[0x65, 0x88];
    const SLICE: &[u8] = &[0x41, 0x9a];
    /// `recovery_point` with `recovery_frame_cnt` 0 and `exact_match_flag`, as x264 writes it.
    const RECOVERY_0: &[u8] = &[6, 6, 1, 0xc4, 0x80];
    /// `recovery_frame_cnt` 16: intra refresh.
    const RECOVERY_16: &[u8] = &[6, 6, 2, 0x08, 0xc8, 0x80];

    #[test]
    fn the_first_slice_decides_about_random_access() {
        let table: [(&str, &[&[u8]], RandomAccess); 8] = [
            ("an IDR picture", &[AUD, IDR], RandomAccess::Idr),
            ("a recovery point", &[AUD, RECOVERY_0, SLICE], RandomAccess::RecoveryPoint),
            ("intra refresh", &[RECOVERY_16, SLICE], RandomAccess::No),
            ("a picture that is only listed", &[AUD, SLICE], RandomAccess::No),
            ("a slice behind a start code", &[&[14, 1, 0, 0, 0, 1, 0x65, 0x88]], RandomAccess::Idr),
            ("a recovery point of the next picture", &[SLICE, RECOVERY_0], RandomAccess::No),
            ("no slice", &[AUD], RandomAccess::No),
            ("nothing", &[], RandomAccess::No),
        ];
        for (case, units, expected) in table {
            assert_eq!(random_access(&sample(units), H264), expected, "{case}");
        }
        assert_eq!(random_access(&[0, 0, 0, 9, 0x65], H264), RandomAccess::No, "truncated");
        let short = NalFormat { length_size: 2, ..H264 };
        assert_eq!(random_access(&[0, 2, 0x65, 0x88], short), RandomAccess::Idr, "a length of two bytes");
    }

    #[test]
    fn the_type_of_the_first_slice_decides_about_hevc() {
        for (unit_type, expected) in [
            (1, RandomAccess::No),
            (16, RandomAccess::RecoveryPoint),
            (19, RandomAccess::Idr),
            (20, RandomAccess::Idr),
            (21, RandomAccess::RecoveryPoint),
        ] {
            let units: [&[u8]; 2] = [&[35 << 1, 1], &[unit_type << 1, 1, 0x80]];
            assert_eq!(random_access(&sample(&units), HEVC), expected, "{unit_type}");
            assert_eq!(without_slice(&sample(&units), HEVC), None, "{unit_type}");
        }
    }

    #[test]
    fn only_leading_pictures_are_shown_before_the_one_where_decoding_begins() {
        for (unit_type, begins, leads) in [
            (1, false, false),
            (6, false, true),
            (9, false, true),
            (16, true, false),
            (20, true, false),
            (21, true, false),
        ] {
            let picture = sample(&[&[35 << 1, 1], &[unit_type << 1, 1, 0x80]]);
            assert_eq!((begins_sequence(&picture, HEVC), is_leading(&picture, HEVC)), (begins, leads), "{unit_type}");
        }
        for (slice, begins) in [(IDR, true), (SLICE, false)] {
            let picture = sample(&[AUD, RECOVERY_0, slice]);
            assert_eq!((begins_sequence(&picture, H264), is_leading(&picture, H264)), (begins, false));
        }
        assert!(!begins_sequence(&sample(&[AUD]), H264));
    }

    #[test]
    fn a_sample_without_a_slice_is_no_picture() {
        let h264 = |units: &[&[u8]]| without_slice(&sample(units), H264);
        assert_eq!(h264(&[AUD]), Some(WithoutSlice::Expendable));
        assert_eq!(h264(&[AUD, RECOVERY_0]), Some(WithoutSlice::Expendable));
        assert_eq!(h264(&[AUD, &[0x67, 66], &[0x68, 1]]), Some(WithoutSlice::ParameterSets));
        assert_eq!(h264(&[AUD, SLICE]), None);
        assert_eq!(h264(&[&[14, 1, 0, 0, 1, 6, 5, 0, 0, 1, 0x41, 0x9a]]), None, "a slice behind start codes");
        assert_eq!(h264(&[&[14, 1, 0, 0, 1, 6, 5]]), Some(WithoutSlice::Expendable));
        assert_eq!(without_slice(&[0, 0, 0, 9, 9], H264), None, "damaged");
        assert_eq!(without_slice(&sample(&[&[35 << 1, 1]]), HEVC), Some(WithoutSlice::Expendable));
        assert_eq!(without_slice(&sample(&[&[33 << 1, 1]]), HEVC), Some(WithoutSlice::ParameterSets));
    }

    proptest! {
        #[test]
        fn widened_lengths_lead_to_the_same_units(units in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..9)) {
            let narrow: Vec<u8> = units.iter().flat_map(|unit| [&[u8::try_from(unit.len()).expect("short")][..], unit].concat()).collect();
            let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(with_4_byte_lengths(&narrow, 1), Ok(sample(&units)));
        }

        #[test]
        fn no_sample_causes_a_panic(sample in prop::collection::vec(any::<u8>(), 0..99), length_size in 1_usize..=4) {
            for codec in [Codec::H264, Codec::Hevc] {
                let format = NalFormat { codec, length_size };
                let _ = (random_access(&sample, format), begins_sequence(&sample, format), is_leading(&sample, format));
                let _ = without_slice(&sample, NalFormat { codec, length_size });
            }
        }
    }
}
