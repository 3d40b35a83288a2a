//! The sample table of a video track: which bytes make up which frame, and when each frame is shown.
//!
//! Samples are numbered in decode order, frames in the order in which they are shown. The two differ where a track has
//! B-frames, and samples that an edit list hides are not frames at all.

use std::cmp::Ordering;
use std::ops::Range;

use crate::mp4::Mp4Error;
use crate::mp4::sample_boxes::{ListedSample, Step};
use crate::time::{Timestamp, rescaled};

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
    /// From these samples on, the sample entry of that number holds, counted from 0; at least one.
    pub entries: Vec<(usize, usize)>,
    /// Indices into `samples` of the frames that are shown, in the order in which they are shown; at least one.
    pub frames: Vec<u32>,
    /// End of the frame that is shown last, in ticks.
    pub end_pts: i64,
    /// The same as the durations state it, however long that is.
    pub stated_end_pts: i64,
    /// Composition time of the first sample that is shown or would be if it could be decoded. The name of the recording
    /// holds this instant.
    pub origin: i64,
    /// Shifts by an edit list of several edits: from that frame on, a frame is shown so many ticks after its composition
    /// time. Empty for all but a few files.
    pub shifts: Vec<(usize, i64)>,
    /// Samples that would be frames, too, if decoding might begin at the first sample, which is not listed as a sync sample.
    pub before_sync: Vec<u32>,
    /// What the recording shows beyond the samples that are listed here.
    pub beyond: Beyond,
}

/// What is known of a fragmented recording beyond those of its samples that were read: between them and what is told here
/// lie others, of which nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beyond {
    /// Composition time of the recording's first frame, if samples before the first one here were not read.
    pub first_pts: Option<i64>,
    /// End of the recording's last frame, in ticks, if samples behind the last one here were not read.
    pub end_pts: Option<i64>,
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

    /// Splits `frames` where an edit list joins two parts of the track, and where the sample entry changes: frames of one
    /// part are neighbours in the track, and decoded alike.
    pub fn split_into_parts(&self, frames: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let entry = |frame: usize| self.entry_of(self.frames[frame] as usize);
        let is_cut = |&frame: &usize| {
            self.shifts.iter().any(|(from, _)| *from == frame)
                || self.entries.len() > 1 && entry(frame) != entry(frame - 1)
        };
        let cuts = (frames.start + 1..frames.end).filter(is_cut);
        let ends: Vec<usize> = cuts.chain([frames.end]).collect();
        let starts: Vec<usize> = [frames.start].into_iter().chain(ends[..ends.len() - 1].iter().copied()).collect();
        starts.into_iter().zip(ends).map(|(start, end)| start..end)
    }

    /// Has decoding begin at the first sample: it is a key frame, although it is not listed as a sync sample.
    pub fn begin_at_first_sample(&mut self) {
        let first = &mut self.samples[0];
        first.sync = true;
        let from = first.pts;
        if self.shifts.is_empty() {
            let before = std::mem::take(&mut self.before_sync);
            self.frames.extend(before.into_iter().filter(|&sample| self.samples[sample as usize].pts >= from));
            self.frames.sort_by_key(|&sample| self.samples[sample as usize].pts);
        }
    }

    /// Takes the frames of these samples out, and returns whether any frame is left. Each that is left lasts until the next
    /// one; the last, if frames behind it are gone, as long as the one before it, and at most until their end.
    pub fn remove_frames(&mut self, samples: &[u32]) -> bool {
        let last = self.frames.iter().rposition(|sample| !samples.contains(sample));
        let lasts_longer = last.is_some_and(|last| last + 1 < self.frames.len());
        let before = |from: usize| self.frames[..from].iter().filter(|sample| samples.contains(sample)).count();
        self.shifts = self.shifts.iter().map(|&(from, shift)| (from - before(from), shift)).collect();
        self.frames.retain(|sample| !samples.contains(sample));
        if let Some(last) = self.frames.len().checked_sub(1).filter(|last| lasts_longer && *last > 0) {
            let distance = self.shown_at(last) - self.shown_at(last - 1);
            self.end_pts = self.end_pts.min(self.shown_at(last) + distance);
        }
        !self.frames.is_empty()
    }

    /// Returns the number of the sample entry of a sample.
    #[must_use]
    pub fn entry_of(&self, sample: usize) -> usize {
        self.entries.iter().rev().find(|(from, _)| *from <= sample).map_or(0, |(_, entry)| *entry)
    }

    /// Returns the composition time of the first frame, in ticks.
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
        let median = self.median().unwrap_or_else(|| self.end_pts - self.shown_at(0)).max(1);
        let per_second = (i64::from(self.timescale) + median / 2) / median;
        u32::try_from(per_second.clamp(1, 240)).unwrap_or(1)
    }

    /// Returns how long after the instant in the recording's name `pts` comes, in microseconds, rounded.
    #[must_use]
    pub fn us_after_start(&self, pts: i64) -> i64 {
        rescaled(pts - self.origin, self.timescale, 1_000_000)
    }

    /// Returns the same, rounded down: no frame that is shown at `pts` comes before that instant.
    #[must_use]
    pub fn us_before(&self, pts: i64) -> i64 {
        let us = (i128::from(pts) - i128::from(self.origin)) * 1_000_000;
        i64::try_from(us.div_euclid(i128::from(self.timescale))).unwrap_or(i64::MAX)
    }

    /// Returns the number of the first frame that is shown at `at` or later, where the first frame is shown at `start`.
    #[must_use]
    pub fn first_frame_at(&self, at: Timestamp, start: Timestamp) -> usize {
        let origin = self.origin;
        let us = i128::from(at.as_us()) - i128::from(start.as_us());
        let is_before = |frame: usize| {
            let ticks = i128::from(self.shown_at(frame)) - i128::from(origin);
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

/// Collects the samples of a video track into its table.
#[derive(Debug, Default)]
pub struct SampleTableBuilder {
    samples: Vec<Sample>,
    /// From these samples on, the sample entry of that number holds.
    entries: Vec<(usize, usize)>,
    /// Decode time of the first sample, and the end of the last one, unless the clock stepped back there.
    decoded: Option<(i64, Option<i64>)>,
}

impl SampleTableBuilder {
    /// Adds the next sample in decode order, which is present. One without bytes is no picture, but takes its time.
    pub fn push(&mut self, sample: ListedSample) {
        let ListedSample { offset, size, sync, dts, step, composition_offset, entry } = sample;
        let first = self.decoded.map_or(dts, |(first, _)| first);
        self.decoded = Some((first, (step != Step::Back).then(|| dts + step.ticks())));
        if size == 0 {
            return;
        }
        if self.entries.last().is_none_or(|(_, last)| *last != entry) {
            self.entries.push((self.samples.len(), entry));
        }
        self.samples.push(Sample { offset, size, sync, pts: dts + composition_offset });
    }

    /// Returns the table. `stated_end` is the end of the last frame in ticks, where the file states it. Only samples
    /// whose composition times lie in one of `shown` are frames; each range comes with its shift in ticks. Of frames at the
    /// same time, the later one is shown one tick later.
    ///
    /// Only samples whose bytes lie in `listed` are listed, or all. The others tell when the recording begins and ends.
    ///
    /// Decoding begins at a sync sample, so nothing before the first one is a frame. The clock of the recording begins with
    /// the first sample that would be shown.
    ///
    /// # Errors
    /// [`Mp4Error`] if no frame is shown, or edits overlap, together with the builder: it can be finished in another way.
    pub fn finish(
        mut self,
        timescale: u32,
        stated_end: Option<i64>,
        shown: &[(Range<i64>, i64)],
        listed: Option<&Range<u64>>,
    ) -> Result<SampleTable, (Mp4Error, Self)> {
        separate(&mut self.samples);
        let Self { samples, entries, decoded } = self;
        let first_sync = samples.iter().position(|sample| sample.sync).unwrap_or(0);
        let first_decodable = if first_sync == 0 { i64::MIN } else { samples[first_sync].pts };
        let pts = |index: u32| samples[index as usize].pts;
        let (mut frames, mut shifts, mut origin) = (Vec::new(), Vec::new(), None);
        let mut before_sync = Vec::new();
        for (range, shift) in shown {
            let from = frames.len();
            let is_shown = |(_, sample): &(u32, &Sample)| range.contains(&sample.pts);
            let inside = (0_u32..).zip(&samples).filter(is_shown);
            if origin.is_none() {
                origin = inside.clone().map(|(_, sample)| sample.pts).min();
            }
            let is_decodable =
                |(index, sample): &(u32, &Sample)| *index as usize >= first_sync && sample.pts >= first_decodable;
            before_sync.extend(inside.clone().filter(|sample| !is_decodable(sample)).map(|(index, _)| index));
            frames.extend(inside.filter(is_decodable).map(|(index, _)| index));
            frames[from..].sort_by_key(|&index| pts(index));
            if *shift != 0 && frames.len() > from {
                shifts.push((from, *shift));
            }
        }
        let (Some((first, end)), Some(origin), Some(_), Some((last, shift))) =
            (decoded, origin, frames.first(), shown.last())
        else {
            return Err((Mp4Error::NoFrame, Self { samples, entries, decoded }));
        };
        // durations belong to decode times: only their sum tells how long the last frame lasts
        let (earliest, latest) =
            samples.iter().fold((i64::MAX, i64::MIN), |(a, b), sample| (a.min(sample.pts), b.max(sample.pts)));
        let by_durations = end.map(|end| earliest + end - first);
        let stated = [by_durations, stated_end].into_iter().flatten().find(|&end| end > latest);
        let within_edit = |end: i64| end.min(last.end).saturating_add(*shift);
        let end_pts = within_edit(stated.unwrap_or(latest + 1));
        let beyond = Beyond::default();
        let mut table = SampleTable {
            timescale,
            samples,
            entries,
            frames,
            end_pts,
            stated_end_pts: end_pts,
            shifts,
            origin,
            before_sync,
            beyond,
        };
        let last = table.shown_at(table.frames.len() - 1);
        let median = table.median_where(|one, other| place(listed, one) == place(listed, other));
        if let Some(median) = median
            && (stated.is_none() || end_pts - last > 2 * median)
        {
            table.end_pts = last + median; // an absurd duration would hide that the footage ends here
        }
        let rises = (1..table.frames.len()).all(|frame| table.shown_at(frame) > table.shown_at(frame - 1));
        if !rises || table.end_pts <= last {
            let SampleTable { samples, entries, .. } = table;
            return Err((Mp4Error::EditsOverlap, Self { samples, entries, decoded }));
        }
        match listed {
            Some(bytes) if !table.list_only(bytes, median) => Err((Mp4Error::NoFrame, Self::default())),
            _ => Ok(table),
        }
    }
}

/// Returns whether a sample comes before, among or behind those that are listed.
fn place(listed: Option<&Range<u64>>, sample: &Sample) -> Ordering {
    match listed {
        Some(listed) if sample.offset < listed.start => Ordering::Less,
        Some(listed) if sample.offset >= listed.end => Ordering::Greater,
        _ => Ordering::Equal,
    }
}

/// Moves samples that come at the time of another one by a tick, in the order of decoding.
fn separate(samples: &mut [Sample]) {
    let mut by_time: Vec<usize> = (0..samples.len()).collect();
    by_time.sort_by_key(|&index| samples[index].pts);
    let mut next = i64::MIN;
    for index in by_time {
        samples[index].pts = samples[index].pts.max(next);
        next = samples[index].pts + 1;
    }
}

impl SampleTable {
    /// Returns the median distance of two frames in ticks, or `None` if there is only one.
    #[must_use]
    pub fn median(&self) -> Option<i64> {
        self.median_where(|_, _| true)
    }

    /// Returns the median distance of two frames whose samples are `neighbours`.
    fn median_where(&self, neighbours: impl Fn(&Sample, &Sample) -> bool) -> Option<i64> {
        let pairs = (1..self.frames.len()).filter(|&frame| neighbours(self.frame(frame - 1), self.frame(frame)));
        let mut distances: Vec<i64> = pairs.map(|frame| self.shown_at(frame) - self.shown_at(frame - 1)).collect();
        let middle = distances.len() / 2;
        (!distances.is_empty()).then(|| *distances.select_nth_unstable(middle).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl SampleTable {
        /// Returns a table whose samples are all shown, in the order in which they are decoded.
        pub(crate) fn of_frames(timescale: u32, samples: Vec<Sample>, end_pts: i64) -> Self {
            let frames = (0..u32::try_from(samples.len()).expect("few")).collect();
            let origin = samples[0].pts;
            let before_sync = Vec::new();
            let (entries, shifts, beyond) = (vec![(0, 0)], Vec::new(), Beyond::default());
            Self {
                timescale,
                samples,
                entries,
                frames,
                end_pts,
                stated_end_pts: end_pts,
                shifts,
                origin,
                before_sync,
                beyond,
            }
        }
    }

    #[test]
    fn a_frame_belongs_to_the_instant_at_which_it_is_first_shown() {
        let samples: Vec<Sample> =
            [7, 8, 9, 13].map(|pts| Sample { offset: 0, size: 1, sync: true, pts }).into_iter().collect();
        let table = SampleTable::of_frames(30, samples, 14);
        let start = Timestamp::from_us(5_000_000);
        let first = |us: i64| table.first_frame_at(Timestamp::from_us(5_000_000 + us), start);
        assert_eq!(first(-1), 0);
        assert_eq!(first(0), 0);
        assert_eq!(first(1), 1);
        assert_eq!(first(33_333), 1, "frame 1 is shown a third of a microsecond later");
        assert_eq!(first(33_334), 2);
        assert_eq!(first(200_000), 3);
        assert_eq!(first(200_001), 4);
        assert_eq!(table.us_after_start(table.end_pts), 233_333);
        assert_eq!((table.frame_end(2), table.frame_end(3)), (13, 14));
    }
}
