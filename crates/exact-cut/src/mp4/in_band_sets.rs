//! Parameter sets that lie among the pictures only (`avc3`, `hev1`; ISO/IEC 14496-15, sections 5.3.3 and 8.3.3): a sample
//! entry is completed with those of the first picture at which decoding may begin. It then says what a complete one says.

use crate::h264::hevc;
use crate::h264::nal_units::{Codec, NalFormat, nal_units};
use crate::mp4::sample_entry::SampleEntry;

/// Bytes at the start of a sample in which parameter sets are looked for.
pub const SETS_WITHIN: u64 = 64 << 10;
/// `nal_unit_type` of the parameter sets of H.264: sequence and picture.
const H264_SETS: [u8; 2] = [7, 8];
/// `nal_unit_type` of the parameter sets of HEVC: video, sequence and picture.
const HEVC_SETS: [u8; 3] = [32, 33, 34];
/// Bytes of `avcC` and `hvcC` before the parameter sets.
const AVCC_FIELDS: usize = 5;
const HVCC_FIELDS: usize = 22;
/// `avcC` has two reserved bits before the number of picture parameter sets, and three before that of the sequence ones.
const MAX_SPS: usize = 0x1f;
const MAX_PPS: usize = 0xff;

impl SampleEntry {
    /// Returns whether the entry holds no parameter sets of its pictures.
    #[must_use]
    pub fn lacks_parameter_sets(&self) -> bool {
        match self.decoder_configuration() {
            Some((b"avc1", avcc)) => avcc.get(AVCC_FIELDS).is_none_or(|count| usize::from(*count) & MAX_SPS == 0),
            Some((_, hvcc)) => !hevc::has_sps(hvcc),
            None => false,
        }
    }

    /// Returns the entry with the parameter sets in the first bytes of a sample, if there is one of each kind.
    #[must_use]
    pub fn with_sets_of(&self, sample: &[u8]) -> Option<Self> {
        let NalFormat { codec, length_size } = self.nal_format()?;
        let units: Vec<&[u8]> = nal_units(sample, length_size).map_while(Result::ok).collect();
        let (_, configuration) = self.decoder_configuration()?;
        match codec {
            Codec::H264 => {
                let of_kind = |kind: u8| units.iter().copied().filter(move |unit| unit[0] & 0x1f == kind);
                let [sps, pps] = H264_SETS.map(|kind| distinct(of_kind(kind)));
                let profile = sps.first()?.get(1..4)?;
                if pps.is_empty() || sps.len() > MAX_SPS || pps.len() > MAX_PPS {
                    return None;
                }
                // version, profile, compatibility and level, then the size of the length fields
                let mut avcc = [&[1], profile, configuration.get(4..AVCC_FIELDS)?].concat();
                avcc.push(0xe0 | u8::try_from(sps.len()).ok()?);
                append(&mut avcc, &sps)?;
                avcc.push(u8::try_from(pps.len()).ok()?);
                append(&mut avcc, &pps)?;
                Some(self.with_child(*b"avcC", &avcc))
            }
            Codec::Hevc => {
                let of_kind = |kind: u8| units.iter().copied().filter(move |unit| unit[0] >> 1 & 0x3f == kind);
                let mut hvcc = configuration.get(..HVCC_FIELDS)?.to_vec();
                hvcc.push(u8::try_from(HEVC_SETS.len()).ok()?);
                for kind in HEVC_SETS {
                    let sets = distinct(of_kind(kind));
                    sets.first()?;
                    hvcc.push(kind);
                    hvcc.extend(u16::try_from(sets.len()).ok()?.to_be_bytes());
                    append(&mut hvcc, &sets)?;
                }
                Some(self.with_child(*b"hvcC", &hvcc))
            }
        }
    }
}

/// Returns each of the sets once. Zeros after a unit belong to the byte stream that it was taken from.
fn distinct<'a>(units: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    let mut sets: Vec<&[u8]> = Vec::new();
    for unit in units {
        let unit = &unit[..unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)];
        if !unit.is_empty() && !sets.contains(&unit) {
            sets.push(unit);
        }
    }
    sets
}

/// Appends each of the sets after its length in two bytes.
fn append(configuration: &mut Vec<u8>, sets: &[&[u8]]) -> Option<()> {
    for set in sets {
        configuration.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
        configuration.extend(*set);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes::boxed;

    const SPS: &[u8] = &[0x67, 66, 0xc0, 30, 1];
    const PPS: &[u8] = &[0x68, 2];

    fn sample(units: &[&[u8]]) -> Vec<u8> {
        let prefixed = |unit: &&[u8]| [&u32::try_from(unit.len()).expect("short").to_be_bytes()[..], unit].concat();
        units.iter().flat_map(prefixed).collect()
    }

    fn entry(kind: [u8; 4], name: [u8; 4], configuration: &[u8]) -> SampleEntry {
        SampleEntry::new(kind, &[&[0; 78][..], &boxed(&name, configuration), &boxed(b"btrt", &[0; 12])].concat())
    }

    #[test]
    fn sets_among_the_pictures_complete_the_entry() {
        let empty = entry(*b"avc3", *b"avcC", &[1, 100, 0, 40, 0xff, 0xe0, 0]);
        assert!(empty.lacks_parameter_sets());
        let bytes = sample(&[&[9, 0x10], SPS, PPS, &[0x68, 2, 0], &[0x65, 1, 2, 3]]);
        let complete = empty.with_sets_of(&bytes[..bytes.len() - 2]).expect("sets");
        let avcc = [&[1, 66, 0xc0, 30, 0xff, 0xe1, 0, 5][..], SPS, &[1, 0, 2], PPS].concat();
        assert_eq!(complete, entry(*b"avc3", *b"avcC", &avcc));
        assert!(!complete.lacks_parameter_sets());
        assert!(empty.with_sets_of(&sample(&[SPS, &[0x65, 1]])).is_none(), "no picture parameter set");
        assert!(empty.with_sets_of(&[]).is_none());
    }

    #[test]
    fn sets_of_hevc_complete_the_entry() {
        let fields = [&[1; 21][..], &[3]].concat();
        let empty = entry(*b"hev1", *b"hvcC", &[&fields[..], &[0]].concat());
        assert!(empty.lacks_parameter_sets());
        let sets: [&[u8]; 3] = [&[32 << 1, 1, 7], &[33 << 1, 1, 8], &[34 << 1, 1, 9]];
        let complete = empty.with_sets_of(&sample(&sets)).expect("sets");
        assert!(!complete.lacks_parameter_sets());
        assert!(empty.with_sets_of(&sample(&sets[..2])).is_none());
        assert!(!entry(*b"vp09", *b"vpcC", &[]).lacks_parameter_sets(), "no sets to lack");
    }
}
