//! Sample tables of recordings that were read in part: they list the samples around a span, and know of the recording beyond
//! only when it begins and ends.

use std::ops::Range;

use crate::mp4::sample_table::{Beyond, Sample, SampleTable};

impl SampleTable {
    /// Returns whether all samples of the recording are listed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.beyond == Beyond::default()
    }

    /// Returns the composition time of the recording's first frame, in ticks, also if it is not listed.
    #[must_use]
    pub fn recording_first_pts(&self) -> i64 {
        self.beyond.first_pts.unwrap_or_else(|| self.first_pts())
    }

    /// Returns when the recording's last frame stops being shown, in ticks, also if it is not listed.
    #[must_use]
    pub fn recording_end_pts(&self) -> i64 {
        self.beyond.end_pts.unwrap_or(self.end_pts)
    }

    /// Takes out all samples whose bytes do not lie in `bytes`, and keeps of them when the recording begins and ends. What comes
    /// before the first sync sample goes, too, unless the recording begins with it. Returns whether any frame is left; if not,
    /// the table is useless.
    pub(super) fn list_only(&mut self, bytes: &Range<u64>, median: Option<i64>) -> bool {
        let (first_pts, end_pts) = (self.first_pts(), self.end_pts);
        let is_listed = |sample: &Sample| bytes.contains(&sample.offset);
        let Some(mut start) = self.samples.iter().position(is_listed) else { return false };
        let end = self.samples.iter().rposition(is_listed).map_or(start, |last| last + 1);
        if start > 0 {
            let sync = self.samples[start..end].iter().position(|sample| sample.sync);
            let Some(before) = sync else { return false };
            start += before;
            self.beyond.first_pts = Some(first_pts);
        }
        let first_decodable = if start > 0 { self.samples[start].pts } else { i64::MIN };
        let is_behind = end < self.samples.len();
        let entry = self.entry_of(start);
        let later = self.entries.iter().filter(|(from, _)| (start + 1..end).contains(from));
        self.entries = [(0, entry)].into_iter().chain(later.map(|(from, entry)| (from - start, *entry))).collect();
        let samples = &self.samples;
        self.frames.retain(|&frame| {
            (start..end).contains(&(frame as usize)) && samples[frame as usize].pts >= first_decodable
        });
        self.before_sync.retain(|&sample| start == 0 && (sample as usize) < end);
        let moved = u32::try_from(start).unwrap_or(u32::MAX);
        self.frames.iter_mut().for_each(|frame| *frame -= moved);
        self.samples.truncate(end);
        self.samples.drain(..start);
        let Some(last) = self.frames.len().checked_sub(1) else { return false };
        if is_behind {
            self.beyond.end_pts = Some(end_pts);
            self.end_pts = self.shown_at(last) + median.unwrap_or(1).max(1);
            self.stated_end_pts = self.end_pts;
        }
        true
    }
}
