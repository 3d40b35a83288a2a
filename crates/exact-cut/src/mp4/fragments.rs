//! The samples of a fragmented file, as its `moof` boxes list them (ISO/IEC 14496-12, section 8.8).
//!
//! A field of a sample comes from `trun`, else from `tfhd`, else from `trex`. Data begin where `tfhd` says, else where the
//! `moof` begins, else after the data of the run before.

use std::ops::{ControlFlow, Range};

use crate::mp4::Mp4Error;
use crate::mp4::boxes::{Fields, child, children};
use crate::mp4::sample_boxes::{ListedSample, MAX_SAMPLES, Step};

/// `sample_is_non_sync_sample` among the flags of a sample (section 8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// What a sample has if nothing else is said.
#[derive(Clone, Copy, Debug, Default)]
struct Defaults {
    entry: usize,
    duration: u32,
    size: u32,
    flags: u32,
}

/// Passes the samples of the track to `take`, in decode order, until it breaks. A fragment that begins before the end of the
/// one before goes on behind that one.
///
/// # Errors
/// [`Mp4Error`] if the fragments claim more samples than are read.
pub fn for_each_sample(
    moov: &[u8],
    moofs: &[(u64, Vec<u8>)],
    track_id: u32,
    mut take: impl FnMut(ListedSample) -> ControlFlow<()>,
) -> Result<(), Mp4Error> {
    let trex = track_defaults(moov, track_id).unwrap_or_default();
    // decode time and end of the last sample
    let (mut count, mut last, mut end) = (0_u64, None, 0);
    for (at, moof) in moofs {
        let mut previous_end = *at; // where the data of the previous track fragment ends
        for (_, traf) in children(moof).filter(|(name, _)| name == b"traf") {
            let Some(header) = TrackFragment::read(traf, *at, previous_end, trex) else { continue };
            let selected = header.track_id == track_id;
            let decode_time = child(traf, b"tfdt").and_then(decode_time).filter(|_| selected);
            // rounded durations may reach a little beyond the next fragment
            let decode_time = decode_time.filter(|&time| last.is_none_or(|last| time > last));
            let mut dts = decode_time.unwrap_or(end);
            let mut data = header.base;
            for (_, trun) in children(traf).filter(|(name, _)| name == b"trun") {
                let Some(run) = Run::read(trun) else { continue };
                if let Some(offset) = run.data_offset {
                    data = header.base.saturating_add_signed(offset.into());
                }
                count += run.length();
                if count > u64::from(MAX_SAMPLES) {
                    return Err(Mp4Error::TooManySamples { name: "trun", claimed: count });
                }
                for mut sample in run.samples(header.defaults) {
                    (sample.offset, sample.dts) = (data, dts);
                    data = data.saturating_add(sample.size.into());
                    dts = dts.saturating_add(sample.step.ticks());
                    if selected {
                        (last, end) = (Some(sample.dts), dts);
                        if take(sample).is_break() {
                            return Ok(());
                        }
                    }
                }
            }
            previous_end = data;
        }
    }
    Ok(())
}

/// Returns the decode time of the first fragment of a track, in ticks.
#[must_use]
pub fn first_decode_time(moofs: &[(u64, Vec<u8>)], track_id: u32) -> Option<i64> {
    let trafs = moofs.iter().flat_map(|(_, moof)| children(moof)).filter(|(name, _)| name == b"traf");
    let mut own = trafs.filter(|(_, traf)| {
        TrackFragment::read(traf, 0, 0, Defaults::default()).is_some_and(|header| header.track_id == track_id)
    });
    decode_time(child(own.next()?.1, b"tfdt")?)
}

/// What a `moof` box tells at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentSummary {
    /// `sequence_number` of `mfhd`.
    pub sequence: u32,
    /// The bytes from the first sample to the last one, of all tracks; empty without samples.
    pub data: Range<u64>,
    /// The samples of one track, if the fragment has any.
    pub track: Option<TrackSummary>,
}

/// When the samples of one track in a fragment come, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackSummary {
    /// Decode time of the first sample.
    pub decode_time: i64,
    /// Sum of all durations.
    pub duration: i64,
    /// Composition time of the sample that is shown first.
    pub first_pts: i64,
}

impl FragmentSummary {
    /// Sums up a `moof` box at the offset `at` of a file. Returns `None` for one that is not complete: each track fragment has a
    /// header, a decode time and runs whose samples are all listed.
    #[must_use]
    pub fn of(moov: &[u8], at: u64, moof: &[u8], track_id: u32) -> Option<Self> {
        let mut mfhd = Fields(child(moof, b"mfhd")?);
        mfhd.version_and_flags()?;
        let sequence = mfhd.u32()?;
        let (mut data, mut track, mut previous_end) = (Range { start: u64::MAX, end: 0 }, None::<TrackSummary>, at);
        let mut count = 0;
        for (_, traf) in children(moof).filter(|(name, _)| name == b"traf") {
            let mut tfhd = Fields(child(traf, b"tfhd")?);
            let (_, id) = (tfhd.version_and_flags()?, tfhd.u32()?);
            let header = TrackFragment::read(traf, at, previous_end, track_defaults(moov, id).unwrap_or_default())?;
            let decode_time = decode_time(child(traf, b"tfdt")?)?;
            let (mut from, mut dts, mut first_pts) = (header.base, decode_time, i64::MAX);
            for (_, trun) in children(traf).filter(|(name, _)| name == b"trun") {
                let run = Run::read(trun)?;
                if let Some(offset) = run.data_offset {
                    from = header.base.checked_add_signed(offset.into())?;
                }
                count += run.length();
                (run.length() == u64::from(run.count) && count <= u64::from(MAX_SAMPLES)).then_some(())?;
                data.start = data.start.min(from);
                for sample in run.samples(header.defaults) {
                    from = from.checked_add(sample.size.into())?;
                    first_pts = first_pts.min(dts.checked_add(sample.composition_offset)?);
                    dts = dts.checked_add(sample.step.ticks())?;
                }
                data.end = data.end.max(from);
            }
            previous_end = from;
            if header.track_id == track_id && first_pts < i64::MAX && track.is_none() {
                track = Some(TrackSummary { decode_time, duration: dts - decode_time, first_pts });
            }
        }
        let data = if data.start < data.end { data } else { at..at };
        Some(Self { sequence, data, track })
    }
}

/// Returns the defaults of a track (`trex`).
fn track_defaults(moov: &[u8], track_id: u32) -> Option<Defaults> {
    let trexes = children(child(moov, b"mvex")?).filter(|(name, _)| name == b"trex");
    trexes.map(|(_, trex)| Fields(trex)).find_map(|mut fields| {
        fields.u32()?;
        (fields.u32()? == track_id).then_some(())?;
        let entry = (fields.u32()? as usize).saturating_sub(1);
        Some(Defaults { entry, duration: fields.u32()?, size: fields.u32()?, flags: fields.u32()? })
    })
}

/// Reads `tfdt`.
fn decode_time(tfdt: &[u8]) -> Option<i64> {
    let mut fields = Fields(tfdt);
    let (version, _) = fields.version_and_flags()?;
    i64::try_from(fields.u64_if(version == 1)?).ok()
}

/// The header of a track fragment (`tfhd`).
struct TrackFragment {
    track_id: u32,
    /// The offset that `data_offset` counts from (section 8.8.7).
    base: u64,
    defaults: Defaults,
}

impl TrackFragment {
    fn read(traf: &[u8], moof: u64, previous_end: u64, trex: Defaults) -> Option<Self> {
        let mut fields = Fields(child(traf, b"tfhd")?);
        let (_, flags) = fields.version_and_flags()?;
        let track_id = fields.u32()?;
        let base = if flags & 0x01 != 0 { Some(fields.u64()?) } else { None };
        let mut optional = |flag: u32, default: u32| if flags & flag != 0 { fields.u32() } else { Some(default) };
        let entry = optional(0x02, u32::try_from(trex.entry).ok()? + 1)? as usize;
        let (duration, size) = (optional(0x08, trex.duration)?, optional(0x10, trex.size)?);
        let defaults = Defaults { entry: entry.saturating_sub(1), duration, size, flags: optional(0x20, trex.flags)? };
        let implied = if flags & 0x02_0000 != 0 { moof } else { previous_end };
        Some(Self { track_id, base: base.unwrap_or(implied), defaults })
    }
}

/// A run of samples (`trun`, section 8.8.8).
struct Run<'a> {
    flags: u32,
    count: u32,
    data_offset: Option<i32>,
    first_flags: Option<u32>,
    samples: Fields<'a>,
}

impl<'a> Run<'a> {
    fn read(trun: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(trun);
        let (_, flags) = fields.version_and_flags()?;
        let count = fields.u32()?;
        let data_offset = if flags & 0x01 != 0 { Some(fields.i32()?) } else { None };
        let first_flags = if flags & 0x04 != 0 { Some(fields.u32()?) } else { None };
        Some(Self { flags, count, data_offset, first_flags, samples: fields })
    }

    /// Returns the number of samples: what is claimed, if each has bytes of its own at most as many as there are.
    fn length(&self) -> u64 {
        match self.flags & 0x0f00 {
            0 => self.count.into(),
            own => u64::from(self.count).min(self.samples.0.len() as u64 / (4 * u64::from(own.count_ones()))),
        }
    }

    /// Returns the samples, without their places.
    fn samples(&self, defaults: Defaults) -> impl Iterator<Item = ListedSample> {
        let (flags, first_flags, mut fields) = (self.flags, self.first_flags, self.samples);
        (0..self.length()).map_while(move |index| {
            let mut optional = |flag: u32, default: u32| if flags & flag != 0 { fields.u32() } else { Some(default) };
            let (duration, size) = (optional(0x100, defaults.duration)?, optional(0x200, defaults.size)?);
            let own = optional(0x400, defaults.flags)?;
            let composition_offset = optional(0x800, 0)?.cast_signed().into();
            let sync = first_flags.filter(|_| index == 0).unwrap_or(own) & NON_SYNC == 0;
            let (step, entry) = (Step::of(duration), defaults.entry);
            Some(ListedSample { offset: 0, size, sync, dts: 0, step, composition_offset, entry })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes::boxed;

    /// Returns a fragment of track 1 with `tfdt`, and so many samples of one byte and ten ticks.
    fn moof(time: u32, samples: u32) -> Vec<u8> {
        let tfhd = boxed(b"tfhd", &[&[0, 0, 0, 0x18][..], &[0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 0, 1]].concat());
        let tfdt = boxed(b"tfdt", &[&[0; 4][..], &time.to_be_bytes()].concat());
        let trun = boxed(b"trun", &[&[0; 4][..], &samples.to_be_bytes()].concat());
        boxed(b"traf", &[tfhd, tfdt, trun].concat())
    }

    fn times(moofs: &[Vec<u8>]) -> Result<Vec<i64>, Mp4Error> {
        let moofs: Vec<(u64, Vec<u8>)> = moofs.iter().map(|moof| (0, moof.clone())).collect();
        let mut times = Vec::new();
        for_each_sample(&[], &moofs, 1, |sample| {
            times.push(sample.dts);
            ControlFlow::Continue(())
        })
        .map(|()| times)
    }

    #[test]
    fn a_fragment_that_begins_too_early_goes_on_behind_the_one_before() {
        assert_eq!(times(&[moof(0, 2), moof(50, 2)]), Ok(vec![0, 10, 50, 60]));
        assert_eq!(times(&[moof(1000, 2), moof(0, 2)]), Ok(vec![1000, 1010, 1020, 1030]));
    }

    #[test]
    fn refuses_a_run_that_claims_too_many_samples_without_bytes() {
        times(&[moof(0, MAX_SAMPLES)]).expect("as many as are read");
        times(&[moof(0, MAX_SAMPLES + 1)]).expect_err("too many");
        assert_eq!(times(&[vec![0; 8]]), Ok(Vec::new()), "no boxes, no claims");
    }
}
