//! Which samples of two recordings may be the same, by their sizes. Sizes cost nothing, because both sample tables are there;
//! only bytes prove it (see [`crate::compare`]).

use std::ops::Range;

use crate::mp4::sample_table::{Sample, SampleTable};
use crate::time::rescaled;

/// The most places that are compared by bytes. Sizes that occur more often tell nothing.
const MAX_PLACES: usize = 8;

/// Returns whether two recordings have samples of the same sizes in the same order.
#[must_use]
pub fn have_equal_sizes(one: &SampleTable, other: &SampleTable) -> bool {
    one.samples.len() == other.samples.len() && sizes(&one.samples).eq(sizes(&other.samples))
}

/// Places at which the second of two recordings may begin inside the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlapCandidates {
    /// Samples of the first recording. From each one on, its samples to the end have the sizes of the second recording's
    /// first samples.
    pub begins: Vec<usize>,
    /// Further samples of the first recording, and of the second one, at which the shortest of these sequences occurs. If
    /// one of them has the same bytes, the footage repeats itself.
    pub repeats: (Vec<usize>, Vec<usize>),
}

/// Returns where `second` may begin inside the last `within_us` microseconds of `first`, or `None` if it begins nowhere
/// there, or sizes repeat too often.
#[must_use]
pub fn overlap_candidates(first: &SampleTable, second: &SampleTable, within_us: i64) -> Option<OverlapCandidates> {
    let begins_with_first_frame = second.samples[0].pts == second.first_pts();
    if !first.shifts.is_empty() || !second.shifts.is_empty() || !begins_with_first_frame {
        return None;
    }
    let since = first.end_pts - rescaled(within_us, 1_000_000, first.timescale);
    let count = first.samples.len();
    let from = (0..count).rev().take_while(|&sample| first.samples[sample].pts >= since).last()?;
    let begins: Vec<usize> = (from..count).filter(|&at| is_at(first, at, second, count - at)).collect();
    let shortest = count - begins.last()?;
    let others = |table: &SampleTable, samples: Range<usize>| -> Vec<usize> {
        let elsewhere = samples.filter(|&at| is_at(table, at, second, shortest));
        elsewhere.take(MAX_PLACES + 1).collect()
    };
    let in_first: Vec<usize> = others(first, 0..count).into_iter().filter(|at| !begins.contains(at)).collect();
    let repeats = (in_first, others(second, 1..second.samples.len()));
    let few = begins.len() + repeats.0.len() + repeats.1.len() <= MAX_PLACES;
    few.then_some(OverlapCandidates { begins, repeats })
}

/// Returns whether `table` has the sizes of the first `length` samples of `second` from the sample `at` on.
fn is_at(table: &SampleTable, at: usize, second: &SampleTable, length: usize) -> bool {
    match (table.samples.get(at..at + length), second.samples.get(..length)) {
        (Some(samples), Some(begin)) => sizes(samples).eq(sizes(begin)),
        _ => false,
    }
}

fn sizes(samples: &[Sample]) -> impl Iterator<Item = u32> {
    samples.iter().map(|sample| sample.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recording of 10 frames a second with samples of these sizes.
    fn table(sizes: &[u32]) -> SampleTable {
        let sample = |(pts, &size)| Sample { offset: 0, size, sync: true, pts };
        let end = i64::try_from(sizes.len()).expect("few");
        SampleTable::of_frames(10, (0..).zip(sizes).map(sample).collect(), end)
    }

    #[test]
    fn a_recording_may_begin_where_the_sizes_of_its_first_samples_end_another_one() {
        let of = |first: &[u32], second: &[u32]| overlap_candidates(&table(first), &table(second), 400_000);
        let found = |begins: &[usize], first: &[usize], second: &[usize]| {
            Some(OverlapCandidates { begins: begins.to_vec(), repeats: (first.to_vec(), second.to_vec()) })
        };
        assert_eq!(of(&[9, 8, 7, 5, 6], &[5, 6, 4, 3]), found(&[3], &[], &[]));
        assert_eq!(of(&[9, 8, 7, 5, 6], &[5, 4, 4, 3]), None);
        assert_eq!(of(&[9, 8, 7, 5, 6], &[9, 8, 7, 5, 6]), None, "too far back");
        assert_eq!(of(&[5, 6, 7, 5, 6], &[5, 6, 4, 5, 6]), found(&[3], &[0], &[3]));
        assert_eq!(of(&[9, 8, 7, 5, 6], &[6]), found(&[4], &[], &[]));
        assert_eq!(of(&[1; 20], &[1; 20]), None, "sizes that repeat tell nothing");
    }

    #[test]
    fn recordings_of_equal_sizes_may_be_one() {
        assert!(have_equal_sizes(&table(&[5, 6, 7]), &table(&[5, 6, 7])));
        assert!(!have_equal_sizes(&table(&[5, 6, 7]), &table(&[5, 6])));
        assert!(!have_equal_sizes(&table(&[5, 6, 7]), &table(&[5, 7, 6])));
    }
}
