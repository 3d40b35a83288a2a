//! The sample table of a track: which bytes make up which frame, and when each frame is shown (ISO/IEC 14496-12, sections
//! 8.5 to 8.7).
//!
//! Samples are numbered in decode order, frames in the order in which they are shown. The two differ where a track has
//! B-frames, and samples that an edit list hides are not frames at all.

use std::ops::Range;

use shiguredo_mp4::aux::SampleTableAccessor;
use shiguredo_mp4::boxes::{StblBox, StszBox};

use crate::mp4::Mp4Error;
use crate::time::{Timestamp, rescaled};

/// The most samples of one track that are read.
pub const MAX_SAMPLES: u32 = 2_000_000;
/// The longest recording, in days. It keeps every product of times within an `i128`.
pub const MAX_DAYS: u64 = 7;

/// A sample of any track, as its table or its fragment lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSample {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u32,
    /// Listed as a sync sample (`stss`).
    pub sync: bool,
    /// Decode time, in ticks.
    pub dts: i64,
    /// Duration, in ticks.
    pub duration: u32,
    /// Composition time minus decode time, in ticks.
    pub composition_offset: i64,
}

/// A sample of a video track: one coded picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u32,
    /// Listed as a sync sample. `stss` also lists pictures of open GOPs, so this alone proves nothing.
    pub sync: bool,
    /// Composition time, in ticks.
    pub pts: i64,
}

/// The samples of a video track and the frames that are shown of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleTable {
    /// Ticks a second.
    pub timescale: u32,
    /// Samples in decode order.
    pub samples: Vec<Sample>,
    /// Indices into `samples` of the frames that are shown, in the order in which they are shown; at least one.
    pub frames: Vec<u32>,
    /// End of the frame that is shown last, in ticks.
    pub end_pts: i64,
    /// Shifts by an edit list of several edits: from that frame on, a frame is shown so many ticks after its composition
    /// time. Empty for all but a few files.
    pub shifts: Vec<(usize, i64)>,
}

impl SampleTable {
    /// Returns the sample of frame number `frame`.
    ///
    /// # Panics
    /// If there is no such frame.
    #[must_use]
    pub fn frame(&self, frame: usize) -> &Sample {
        &self.samples[self.frames[frame] as usize]
    }

    /// Returns the time at which frame number `frame` is shown, in ticks.
    #[must_use]
    pub fn shown_at(&self, frame: usize) -> i64 {
        let shift = self.shifts.iter().rev().find(|(from, _)| *from <= frame);
        self.frame(frame).pts + shift.map_or(0, |(_, shift)| *shift)
    }

    /// Splits `frames` where an edit list joins two parts of the track: frames of one part are neighbours in the track, too.
    pub fn split_at_edits(&self, frames: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let cuts = self.shifts.iter().map(|(from, _)| *from).filter(|cut| (frames.start + 1..frames.end).contains(cut));
        let ends: Vec<usize> = cuts.chain([frames.end]).collect();
        let starts: Vec<usize> = [frames.start].into_iter().chain(ends[..ends.len() - 1].iter().copied()).collect();
        starts.into_iter().zip(ends).map(|(start, end)| start..end)
    }

    /// Returns the time at which the first frame is shown, in ticks. The name of the recording holds this instant.
    #[must_use]
    pub fn first_pts(&self) -> i64 {
        self.frame(0).pts
    }

    /// Returns the time at which frame number `frame` stops being shown, in ticks.
    #[must_use]
    pub fn frame_end(&self, frame: usize) -> i64 {
        if frame + 1 < self.frames.len() { self.shown_at(frame + 1) } else { self.end_pts }
    }

    /// Returns the approximate frame rate, 1 to 240 frames a second, from the median distance of two frames.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let mut distances: Vec<i64> = (0..self.frames.len()).map(|n| self.frame_end(n) - self.shown_at(n)).collect();
        let middle = distances.len() / 2;
        let (_, &mut median, _) = distances.select_nth_unstable(middle);
        let per_second = (i64::from(self.timescale) + median / 2) / median.max(1);
        u32::try_from(per_second.clamp(1, 240)).unwrap_or(1)
    }

    /// Returns the length from the start of the first frame to the end of the last one, in microseconds, rounded.
    #[must_use]
    pub fn length_us(&self) -> i64 {
        rescaled(self.end_pts - self.first_pts(), self.timescale, 1_000_000)
    }

    /// Returns the number of the first frame that is shown at `at` or later, where the first frame is shown at `start`.
    #[must_use]
    pub fn first_frame_at(&self, at: Timestamp, start: Timestamp) -> usize {
        let first_pts = self.first_pts();
        let us = i128::from(at.as_us()) - i128::from(start.as_us());
        let is_before = |frame: usize| {
            let ticks = i128::from(self.shown_at(frame)) - i128::from(first_pts);
            ticks * 1_000_000 < us * i128::from(self.timescale)
        };
        // the standard library has no partition point over numbers
        let (mut low, mut high) = (0, self.frames.len());
        while low < high {
            let middle = low.midpoint(high);
            if is_before(middle) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

/// Passes every sample of a track to `take`, in decode order, from its sample table.
///
/// # Errors
/// [`Mp4Error`] if the table cannot be read, or the error of `take`. Claims are checked before memory is allocated.
pub fn for_each_sample(
    stbl: &StblBox,
    mut take: impl FnMut(ListedSample) -> Result<(), Mp4Error>,
) -> Result<(), Mp4Error> {
    let claimed = match &stbl.stsz_box {
        StszBox::Fixed { sample_count, .. } => u64::from(*sample_count),
        StszBox::Variable { entry_sizes } => entry_sizes.len() as u64,
    };
    if claimed > u64::from(MAX_SAMPLES) {
        return Err(Mp4Error::TooManySamples { name: "stsz", claimed });
    }
    if claimed == 0 {
        return Ok(());
    }
    let table = SampleTableAccessor::new(stbl).map_err(|error| Mp4Error::decode("stbl", error))?;
    let durations = stbl.stts_box.entries.iter().flat_map(|run| repeat(run.sample_count, run.sample_delta));
    let offsets = stbl.ctts_box.iter().flat_map(|ctts| &ctts.entries);
    let offsets = offsets.flat_map(|run| repeat(run.sample_count, run.sample_offset)).chain(std::iter::repeat(0));
    let mut dts = 0;
    for ((sample, duration), composition_offset) in table.samples().zip(durations).zip(offsets) {
        let (offset, size, sync) = (sample.data_offset(), sample.data_size(), sample.is_sync_sample());
        take(ListedSample { offset, size, sync, dts, duration, composition_offset })?;
        dts += i64::from(duration); // at most 2³² times 2 million
    }
    Ok(())
}

impl ListedSample {
    /// Checks that the sample lies inside a file of `object_length` bytes, and comes no later than a recording can last.
    ///
    /// # Errors
    /// [`Mp4Error::SampleOutsideFile`] or [`Mp4Error::SampleTooLate`].
    pub fn check(&self, timescale: u32, object_length: u64) -> Result<(), Mp4Error> {
        let Self { offset, size, dts, composition_offset, .. } = *self;
        let inside = offset.checked_add(u64::from(size)).is_some_and(|end| end <= object_length);
        if size == 0 || !inside {
            return Err(Mp4Error::SampleOutsideFile { offset, size, length: object_length });
        }
        let max = i64::try_from(MAX_DAYS * 24 * 3600 * u64::from(timescale)).unwrap_or(i64::MAX);
        let pts = dts.checked_add(composition_offset);
        if !(0..=max).contains(&dts) || pts.is_none_or(|pts| pts.checked_abs().is_none_or(|pts| pts > max)) {
            return Err(Mp4Error::SampleTooLate { offset });
        }
        Ok(())
    }
}

/// Repeats a `value`; `count` has been checked against the number of samples.
fn repeat<T: Copy>(count: u32, value: T) -> impl Iterator<Item = T> {
    std::iter::repeat_n(value, count as usize)
}

/// Collects the samples of a video track into its table.
#[derive(Clone, Debug, Default)]
pub struct SampleTableBuilder {
    samples: Vec<Sample>,
    /// Decode time of the first sample, and the end of the last one.
    decoded: Option<(i64, i64)>,
}

impl SampleTableBuilder {
    /// Adds the next sample in decode order, which has been checked.
    pub fn push(&mut self, sample: ListedSample) {
        let ListedSample { offset, size, sync, dts, duration, composition_offset } = sample;
        self.samples.push(Sample { offset, size, sync, pts: dts + composition_offset });
        let first = self.decoded.map_or(dts, |(first, _)| first);
        self.decoded = Some((first, dts + i64::from(duration)));
    }

    /// Returns the table. `stated_end` is the end of the last frame in ticks, where the file states it. Only samples
    /// whose composition times lie in one of `shown` are frames; each range comes with its shift in ticks.
    ///
    /// # Errors
    /// [`Mp4Error`] if no frame is shown, two frames are shown at the same time, or edits overlap.
    pub fn finish(
        self,
        timescale: u32,
        stated_end: Option<i64>,
        shown: &[(Range<i64>, i64)],
    ) -> Result<SampleTable, Mp4Error> {
        let Self { samples, decoded } = self;
        let pts = |index: u32| samples[index as usize].pts;
        let (mut frames, mut shifts) = (Vec::new(), Vec::new());
        for (range, shift) in shown {
            let from = frames.len();
            let is_shown = |(_, sample): &(u32, &Sample)| range.contains(&sample.pts);
            frames.extend((0_u32..).zip(&samples).filter(is_shown).map(|(index, _)| index));
            frames[from..].sort_by_key(|&index| pts(index));
            if frames[from..].windows(2).any(|pair| pts(pair[0]) == pts(pair[1])) {
                return Err(Mp4Error::FramesCollide);
            }
            if *shift != 0 {
                shifts.push((from, *shift));
            }
        }
        let (Some((first, end)), Some(_), Some((last, shift))) = (decoded, frames.first(), shown.last()) else {
            return Err(Mp4Error::NoFrame);
        };
        // durations belong to decode times: only their sum tells how long the last frame lasts, unless `cslg` states it
        let (earliest, latest) =
            samples.iter().fold((i64::MAX, i64::MIN), |(a, b), sample| (a.min(sample.pts), b.max(sample.pts)));
        let natural = (earliest + end - first).max(latest + 1);
        let end_pts = stated_end.filter(|&end| end > latest).unwrap_or(natural).min(last.end).saturating_add(*shift);
        let table = SampleTable { timescale, samples, frames, end_pts, shifts };
        let count = table.frames.len();
        let rises = (1..count).all(|frame| table.shown_at(frame) > table.shown_at(frame - 1));
        if rises && end_pts > table.shown_at(count - 1) { Ok(table) } else { Err(Mp4Error::EditsOverlap) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_belongs_to_the_instant_at_which_it_is_first_shown() {
        let samples: Vec<Sample> =
            [7, 8, 9, 13].map(|pts| Sample { offset: 0, size: 1, sync: true, pts }).into_iter().collect();
        let table = SampleTable { timescale: 30, samples, frames: vec![0, 1, 2, 3], end_pts: 14, shifts: Vec::new() };
        let start = Timestamp::from_us(5_000_000);
        let first = |us: i64| table.first_frame_at(Timestamp::from_us(5_000_000 + us), start);
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
