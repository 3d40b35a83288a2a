//! Where decoding of a recording may begin.
//!
//! The sync sample table `stss` names candidates, and it cannot be trusted. It also lists pictures that open a GOP with
//! leading pictures, which are shown before them and refer to the GOP before, and pictures of intra-refresh streams, which
//! become right only after some time. A clip that began at such a sample lost 13 of 60 frames and stopped Chromium; with
//! intra-refresh, 16 frames were wrong and no decoder complained. So two questions are kept apart:
//!
//! - A **copied run** may begin only at an IDR picture (NAL unit type 5) after which nothing in decode order is shown
//!   before it. Nothing after it refers to anything before it (ITU-T H.264, section 7.4.1.2.4).
//! - **Decoding** for an excerpt may begin at an IDR picture or at a recovery point with a count of 0. Frames before it in
//!   presentation order are not used.
//!
//! The bytes of a sample decide, and they are not there when a plan is first made. Until a sample was inspected its `stss`
//! entry counts; what inspection finds is recorded here and counts from then on. After some plans `stss` is ignored and
//! only inspected samples count, so planning ends.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::h264::nal_units::RandomAccess;
use crate::mp4::sample_table::SampleTable;

/// What is known about random access to the samples of one recording.
///
/// The bytes of a sample decide, but a plan is made before they are fetched. So a sync sample (`stss`) counts as an IDR
/// picture until its bytes were inspected: the usual plan is right at once, and costs no round trip. A plan that turns out
/// wrong is made again with what the bytes said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RandomAccessPoints {
    inspected: BTreeMap<usize, RandomAccess>,
    ignores_stss: bool,
    pairs_fields: bool,
}

impl RandomAccessPoints {
    /// Returns that nothing is known, of a track whose samples may be fields if `pairs_fields`.
    #[must_use]
    pub fn new(pairs_fields: bool) -> Self {
        Self { pairs_fields, ..Self::default() }
    }

    /// Records what the bytes of a sample say.
    pub fn record(&mut self, sample: usize, access: RandomAccess) {
        self.inspected.insert(sample, access);
    }

    /// Forgets what was recorded: the samples got other numbers.
    pub fn forget(&mut self) {
        self.inspected.clear();
    }

    /// From now on ignores `stss`: decoding starts only at samples whose NAL units were inspected. This ends the search in
    /// streams whose sync samples keep turning out not to be IDR pictures.
    pub fn ignore_stss(&mut self) {
        self.ignores_stss = true;
    }

    /// Returns whether the bytes of `sample` were inspected.
    #[must_use]
    pub fn is_inspected(&self, sample: usize) -> bool {
        self.inspected.contains_key(&sample)
    }

    /// Returns whether the bytes of `sample` are those of an IDR picture.
    #[must_use]
    pub fn is_idr(&self, sample: usize) -> bool {
        self.inspected.get(&sample) == Some(&RandomAccess::Idr)
    }

    /// Returns what is known or assumed about `sample`.
    #[must_use]
    pub fn at(&self, table: &SampleTable, sample: usize) -> RandomAccess {
        match self.inspected.get(&sample) {
            Some(&access) => access,
            None if table.samples[sample].sync && !self.ignores_stss => RandomAccess::Idr,
            None => RandomAccess::No,
        }
    }

    /// Returns the samples, in decode order, that must be decoded to get `frames`. They begin at the last random access
    /// point that is shown no later than the first frame, since leading pictures of a recovery point are wrong. Without
    /// such a point they begin at the first sample, as a full decode does. If the last one may be a field, the other field
    /// follows it.
    #[must_use]
    pub fn decode_window(&self, table: &SampleTable, frames: Range<usize>) -> Range<usize> {
        let first_pts = table.frame(frames.start).pts;
        let wanted = &table.frames[frames];
        let first = wanted.iter().copied().min().unwrap_or_default() as usize;
        let last = wanted.iter().copied().max().unwrap_or_default() as usize;
        let may_begin =
            |&sample: &usize| table.samples[sample].pts <= first_pts && self.at(table, sample) != RandomAccess::No;
        let start = (0..=first).rev().find(may_begin).unwrap_or(0);
        start..(last + 1 + usize::from(self.pairs_fields)).min(table.samples.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::sample_table::Sample;

    #[test]
    fn a_sync_sample_counts_as_idr_until_its_bytes_were_inspected_or_stss_is_ignored() {
        let sample =
            |n: usize| Sample { offset: 0, size: 1, sync: n.is_multiple_of(2), pts: i64::try_from(n).expect("small") };
        let samples: Vec<Sample> = (0..6).map(sample).collect();
        let table = SampleTable::of_frames(1, samples, 6);
        let mut points = RandomAccessPoints::default();
        let window = |points: &RandomAccessPoints| points.decode_window(&table, 5..6);
        assert_eq!(window(&points), 4..6);
        assert!(!points.is_inspected(4) && !points.is_idr(4));
        points.record(4, RandomAccess::No);
        assert_eq!(window(&points), 2..6);
        assert!(points.is_inspected(4) && !points.is_idr(4));
        points.record(0, RandomAccess::Idr);
        assert!(points.is_idr(0));
        points.ignore_stss();
        assert_eq!(window(&points), 0..6);
    }
}
