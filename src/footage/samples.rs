//! One MP4's sample table: which bytes make up which frame, and when it is shown (ISO/IEC 14496-12, sections 8.5 to 8.7).
//! Pure: it is given the bytes of the `moov` box, never a file.

use std::ops::Range;

use shiguredo_mp4::aux::SampleTableAccessor;
use shiguredo_mp4::boxes::{StblBox, StszBox};

use crate::time::{Timestamp, rescaled};

/// The most samples of one track. One 8-byte `stts` entry can claim 2³² of them, so the claim is checked first.
pub const MOST_SAMPLES: u32 = 2_000_000;
/// The longest recording, in days; with it no product of times overflows an `i128`.
const LONGEST_DAYS: u64 = 7;

/// A sample of any track, as its table or its fragment tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u32,
    /// Listed as a sync sample.
    pub sync: bool,
    /// When it is decoded, in the track's timescale.
    pub dts: i64,
    /// How long it lasts.
    pub duration: u32,
    /// From its decode time to its composition time.
    pub composition_offset: i64,
}

/// A sample: one picture or one packet of sound, as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u32,
    /// Listed as a sync sample. Only a nomination: `stss` also lists pictures of open GOPs.
    pub sync: bool,
    /// When it is shown (composition time), in the track's timescale.
    pub pts: i64,
}

/// A track's samples and the frames that are shown of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleTable {
    /// Ticks a second.
    pub timescale: u32,
    /// In decode order.
    pub samples: Vec<Sample>,
    /// Indices into `samples` of the frames that are shown, in the order in which they are. What an edit list hides is
    /// no frame.
    pub frames: Vec<u32>,
    /// When the last frame's time is over.
    pub end_pts: i64,
    /// Where an edit list puts stretches of the track one behind the other: from that frame on, how many ticks later than
    /// its composition time a frame is shown. Empty for all but a few files.
    pub shifts: Vec<(usize, i64)>,
}

impl SampleTable {
    /// The sample of the frame that is shown as number `frame`, counted from 0.
    ///
    /// # Panics
    /// If there is no such frame.
    #[must_use]
    pub fn frame(&self, frame: usize) -> &Sample {
        &self.samples[self.frames[frame] as usize]
    }

    /// When frame number `frame` is shown, in the track's timescale.
    #[must_use]
    pub fn shown_at(&self, frame: usize) -> i64 {
        let shift = self.shifts.iter().rev().find(|(from, _)| *from <= frame);
        self.frame(frame).pts + shift.map_or(0, |(_, shift)| *shift)
    }

    /// Frames in stretches within which all that is shown between two of them lies between them in the track, too.
    pub fn stretches(&self, frames: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let cuts = self.shifts.iter().map(|(from, _)| *from).filter(|cut| (frames.start + 1..frames.end).contains(cut));
        let ends: Vec<usize> = cuts.chain([frames.end]).collect();
        let starts: Vec<usize> = [frames.start].into_iter().chain(ends[..ends.len() - 1].iter().copied()).collect();
        starts.into_iter().zip(ends).map(|(start, end)| start..end)
    }

    /// When the first frame is shown: the instant that stands in the recording's name. A table has a frame at least.
    #[must_use]
    pub fn first_pts(&self) -> i64 {
        self.frame(0).pts
    }

    /// When frame number `frame` stops being shown.
    #[must_use]
    pub fn frame_end(&self, frame: usize) -> i64 {
        if frame + 1 < self.frames.len() { self.shown_at(frame + 1) } else { self.end_pts }
    }

    /// Frames a second, roughly: from the median distance of two, 1 to 240.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let mut distances: Vec<i64> = (0..self.frames.len()).map(|n| self.frame_end(n) - self.shown_at(n)).collect();
        let middle = distances.len() / 2;
        let (_, &mut median, _) = distances.select_nth_unstable(middle);
        let per_second = (i64::from(self.timescale) + median / 2) / median.max(1);
        u32::try_from(per_second.clamp(1, 240)).unwrap_or(1)
    }

    /// From the first frame's start to the last one's end, in microseconds, rounded.
    #[must_use]
    pub fn length_us(&self) -> i64 {
        rescaled(self.end_pts - self.first_pts(), self.timescale, 1_000_000)
    }

    /// The number of the first frame that is shown at `at` or later, where the first one is shown at `starts`.
    #[must_use]
    pub fn first_frame_at(&self, at: Timestamp, starts: Timestamp) -> usize {
        let first_pts = self.first_pts();
        let us = i128::from(at.as_us()) - i128::from(starts.as_us());
        let before = |frame: usize| {
            let ticks = i128::from(self.shown_at(frame)) - i128::from(first_pts);
            ticks * 1_000_000 < us * i128::from(self.timescale)
        };
        // frames are numbered in the order in which they are shown
        let (mut low, mut high) = (0, self.frames.len());
        while low < high {
            let middle = low.midpoint(high);
            if before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Gives the packets of a track to `take`, in decode order, from its sample table.
///
/// # Errors
/// Says what can't be read, or as `take` does. Claims are checked before anything is allocated for them.
pub fn packets(stbl: &StblBox, mut take: impl FnMut(Packet) -> Result<(), String>) -> Result<(), String> {
    let claimed = match &stbl.stsz_box {
        StszBox::Fixed { sample_count, .. } => *sample_count,
        StszBox::Variable { entry_sizes } => u32::try_from(entry_sizes.len()).unwrap_or(u32::MAX),
    };
    if claimed > MOST_SAMPLES {
        return Err(format!("stsz: {claimed} samples"));
    }
    if claimed == 0 {
        return Ok(());
    }
    let table = SampleTableAccessor::new(stbl).map_err(|error| format!("stbl: {error}"))?;
    let durations = stbl.stts_box.entries.iter().flat_map(|run| repeat(run.sample_count, run.sample_delta));
    let offsets = stbl.ctts_box.iter().flat_map(|ctts| &ctts.entries);
    let offsets = offsets.flat_map(|run| repeat(run.sample_count, run.sample_offset)).chain(std::iter::repeat(0));
    let mut dts = 0;
    for ((sample, duration), composition_offset) in table.samples().zip(durations).zip(offsets) {
        let (offset, size, sync) = (sample.data_offset(), sample.data_size(), sample.is_sync_sample());
        take(Packet { offset, size, sync, dts, duration, composition_offset })?;
        dts += i64::from(duration); // at most 2³² times 2 million
    }
    Ok(())
}

impl Packet {
    /// Insists that it lies inside a file of `object_length` bytes and comes no later than a recording can last.
    ///
    /// # Errors
    /// Says how it doesn't.
    pub fn check(&self, timescale: u32, object_length: u64) -> Result<(), String> {
        let Self { offset, size, dts, composition_offset, .. } = *self;
        let inside = offset.checked_add(u64::from(size)).is_some_and(|end| end <= object_length);
        if size == 0 || !inside {
            return Err(format!("a sample of {size} bytes at {offset} in a file of {object_length}"));
        }
        let longest = i64::try_from(LONGEST_DAYS * 24 * 3600 * u64::from(timescale)).unwrap_or(i64::MAX);
        let pts = dts.checked_add(composition_offset);
        if !(0..=longest).contains(&dts) || pts.is_none_or(|pts| pts.checked_abs().is_none_or(|pts| pts > longest)) {
            return Err(format!("the sample at {offset} comes at a time beyond {LONGEST_DAYS} days"));
        }
        Ok(())
    }
}

/// `std::iter::repeat_n` takes a `usize`; `count` has been checked against the number of samples.
fn repeat<T: Copy>(count: u32, value: T) -> impl Iterator<Item = T> {
    std::iter::repeat_n(value, count as usize)
}

/// A table that is being built of a video's packets.
#[derive(Clone, Debug, Default)]
pub struct Building {
    samples: Vec<Sample>,
    /// When the first is decoded, and when the last has been.
    decoded: Option<(i64, i64)>,
}

impl Building {
    /// Adds the next packet in decode order, which has been checked.
    pub fn push(&mut self, packet: Packet) {
        let Packet { offset, size, sync, dts, duration, composition_offset } = packet;
        self.samples.push(Sample { offset, size, sync, pts: dts + composition_offset });
        let first = self.decoded.map_or(dts, |(first, _)| first);
        self.decoded = Some((first, dts + i64::from(duration)));
    }

    /// The table. `stated_end` is when the last frame's time is over, where the file says so. What isn't within one of
    /// `shown` is hidden by an edit list; each comes with how much later it is shown than the first.
    ///
    /// # Errors
    /// If no frame is shown, or two at the same time.
    pub fn finish(
        self,
        timescale: u32,
        stated_end: Option<i64>,
        shown: &[(Range<i64>, i64)],
    ) -> Result<SampleTable, String> {
        let Self { samples, decoded } = self;
        let pts = |index: u32| samples[index as usize].pts;
        let (mut frames, mut shifts) = (Vec::new(), Vec::new());
        for (range, shift) in shown {
            let from = frames.len();
            let is_shown = |(_, sample): &(u32, &Sample)| range.contains(&sample.pts);
            frames.extend((0_u32..).zip(&samples).filter(is_shown).map(|(index, _)| index));
            frames[from..].sort_by_key(|&index| pts(index));
            if frames[from..].windows(2).any(|pair| pts(pair[0]) == pts(pair[1])) {
                return Err("ctts: two frames at the same time".to_owned());
            }
            if *shift != 0 {
                shifts.push((from, *shift));
            }
        }
        let (Some((first, end)), Some(_), Some((last, shift))) = (decoded, frames.first(), shown.last()) else {
            return Err("no frame is shown".to_owned());
        };
        // durations belong to decode times: only their sum says how long the last frame shown lasts, unless `cslg` does
        let (earliest, latest) =
            samples.iter().fold((i64::MAX, i64::MIN), |(a, b), sample| (a.min(sample.pts), b.max(sample.pts)));
        let natural = (earliest + end - first).max(latest + 1);
        let end_pts = stated_end.filter(|&end| end > latest).unwrap_or(natural).min(last.end).saturating_add(*shift);
        let table = SampleTable { timescale, samples, frames, end_pts, shifts };
        let count = table.frames.len();
        if (1..count).any(|frame| table.shown_at(frame) <= table.shown_at(frame - 1))
            || end_pts <= table.shown_at(count - 1)
        {
            return Err("elst: edits that overlap".to_owned());
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of frames that are shown in decode order.
    fn table(timescale: u32, pts: &[i64], end_pts: i64) -> SampleTable {
        let samples = pts.iter().map(|&pts| Sample { offset: 0, size: 1, sync: true, pts }).collect::<Vec<_>>();
        let frames = (0..u32::try_from(pts.len()).expect("few")).collect();
        SampleTable { timescale, samples, frames, end_pts, shifts: Vec::new() }
    }

    #[test]
    fn a_frame_belongs_to_the_instant_at_which_it_is_first_shown() {
        let table = table(30, &[7, 8, 9, 13], 14);
        let starts = Timestamp::from_us(5_000_000);
        let first = |us: i64| table.first_frame_at(Timestamp::from_us(5_000_000 + us), starts);
        assert_eq!(first(-1), 0);
        assert_eq!(first(0), 0);
        assert_eq!(first(1), 1);
        assert_eq!(first(33_333), 1, "frame 1 is shown a third of a microsecond later");
        assert_eq!(first(33_334), 2);
        assert_eq!(first(200_000), 3);
        assert_eq!(first(200_001), 4);
        assert_eq!(table.length_us(), 233_333);
        assert_eq!((table.frame_end(2), table.frame_end(3)), (13, 14));
    }
}
