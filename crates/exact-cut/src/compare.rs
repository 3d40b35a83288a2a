//! Compares recordings by their bytes, where names alone do not tell what is shown twice.
//!
//! - One recording under two names is used once: the samples have the same sizes in the same order, and the first and the
//!   last one the same bytes.
//! - Two files overlap if the first samples of the second one are the last ones of the first, byte for byte. Then the first
//!   one counts up to that place. Footage that repeats itself, such as a still picture encoded twice, proves nothing.
//!
//! Both are looked at only where the names allow it, within the tolerance of a joint. Usually the sizes in the two sample
//! tables differ, and nothing is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::open::OpenRecording;
use crate::plan::footage::Footage;
use crate::plan::joints::{one_before, tolerance_us};
use crate::plan::same_footage::{have_equal_sizes, overlap_candidates};
use crate::ranges::coalesce;
use crate::recording_id::{PerRecording, RecordingId};
use crate::time::{Span, Timestamp};

/// An overlap reaches back by at most so many tolerances from the end of the first recording.
const REACH: i64 = 2;
/// Bytes between two samples that are read with them, because another request would cost more.
const COALESCE_GAP: u64 = 256 << 10;

type Opened = PerRecording<Arc<OpenRecording>>;

/// Returns `recordings` without those that are there under another name, and with those shortened whose last samples are the
/// first ones of the next recording.
///
/// # Errors
/// The error of the source.
pub async fn resolve_overlaps(
    recordings: Opened,
    joint_tolerance_us: i64,
    deadline: Deadline,
) -> Result<Opened, Error> {
    if joint_tolerance_us == 0 {
        return Ok(recordings);
    }
    let mut recordings = without_duplicates(recordings, joint_tolerance_us, deadline).await?;
    complete_overlapping(&mut recordings, joint_tolerance_us, deadline).await?;
    let footage = recordings.map(|recording| recording.footage.clone());
    let ids: Vec<RecordingId> = footage.iter().map(|(id, _)| id).collect();
    for second in ids {
        let Some(first) = one_before(&footage, second) else { continue };
        let tolerance_us = tolerance_us(&footage[first], &footage[second], joint_tolerance_us);
        let shared = shared_from(&recordings[first], &recordings[second], tolerance_us, deadline).await?;
        if let Some(shortened) = shared.and_then(|end| Span::new(footage[first].span.start(), end)) {
            Arc::make_mut(&mut recordings[first]).footage.span = shortened;
        }
    }
    Ok(recordings)
}

/// Reads the rest of recordings that were read in part, if the samples that were read may be those of another recording.
async fn complete_overlapping(
    recordings: &mut Opened,
    joint_tolerance_us: i64,
    deadline: Deadline,
) -> Result<(), Error> {
    let footage = recordings.map(|recording| recording.footage.clone());
    for (second, _) in footage.iter() {
        let Some(first) = one_before(&footage, second) else { continue };
        let [one, other] = [first, second].map(|id| &recordings[id].video.table);
        let tolerance_us = tolerance_us(&footage[first], &footage[second], joint_tolerance_us);
        let meet = one.beyond.end_pts.is_none() && other.beyond.first_pts.is_none();
        if meet && overlap_candidates(one, other, REACH * tolerance_us).is_some() {
            complete(recordings, [first, second], deadline).await?;
        }
    }
    Ok(())
}

async fn complete(recordings: &mut Opened, ids: [RecordingId; 2], deadline: Deadline) -> Result<(), Error> {
    for id in ids.into_iter().filter(|id| !recordings[*id].video.table.is_whole()).collect::<Vec<_>>() {
        recordings[id] = Arc::new(recordings[id].completed(deadline).await?);
    }
    Ok(())
}

/// Returns whether two recordings may have the same samples. Only their lengths tell before all samples are read.
fn may_be_equal(one: &OpenRecording, other: &OpenRecording) -> bool {
    let [first, second] = [one, other].map(|recording| recording.footage.span.length_us());
    (one.video.table.is_whole() && other.video.table.is_whole()) || first == second
}

/// Of recordings that are the same, keeps the one whose name is finest.
async fn without_duplicates(
    mut recordings: Opened,
    joint_tolerance_us: i64,
    deadline: Deadline,
) -> Result<Opened, Error> {
    let ids: Vec<RecordingId> = recordings.iter().map(|(id, _)| id).collect();
    let mut removed = BTreeSet::new();
    for (number, &one) in ids.iter().enumerate() {
        for &other in &ids[number + 1..] {
            let (first, second) = (&recordings[one], &recordings[other]);
            let may_be_equal = may_be_equal(first, second);
            let off = second.footage.span.start().as_us() - first.footage.span.start().as_us();
            if off > tolerance_us(&first.footage, &second.footage, joint_tolerance_us) {
                break; // recordings are in the order of their starts
            }
            if removed.contains(&one) || removed.contains(&other) || !may_be_equal {
                continue;
            }
            complete(&mut recordings, [one, other], deadline).await?;
            let (first, second) = (&recordings[one], &recordings[other]);
            if are_equal(first, second, deadline).await? {
                let finer = fineness(second.listed.start) > fineness(first.listed.start);
                removed.insert(if finer { one } else { other });
            }
        }
    }
    let kept = recordings.into_entries().filter(|(id, _)| !removed.contains(id));
    Ok(kept.map(|(_, recording)| recording).collect())
}

/// Returns how fine the instant of a name is: the number of digits of its fraction of a second.
fn fineness(instant: Timestamp) -> u32 {
    let fraction = instant.as_us().rem_euclid(1_000_000);
    (0..6).find(|digits| fraction % 10_i64.pow(6 - digits) == 0).unwrap_or(6)
}

async fn are_equal(one: &OpenRecording, other: &OpenRecording, deadline: Deadline) -> Result<bool, Error> {
    let count = one.video.table.samples.len();
    if !have_equal_sizes(&one.video.table, &other.video.table) {
        return Ok(false);
    }
    for sample in [0, count - 1] {
        if samples(one, sample, 1, deadline).await? != samples(other, sample, 1, deadline).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the instant in the first recording, by its own clock, from which on its samples are those that the second one
/// begins with; `None` if there is none, or if it is further than `tolerance_us` from the second one's start.
async fn shared_from(
    first: &OpenRecording,
    second: &OpenRecording,
    tolerance_us: i64,
    deadline: Deadline,
) -> Result<Option<Timestamp>, Error> {
    let (table, Footage { span, .. }) = (&first.video.table, &second.footage);
    let instant = |sample: usize| {
        let us = table.us_before(table.samples[sample].pts);
        Timestamp::from_us(first.listed.start.as_us().saturating_add(us))
    };
    let is_near = |sample: &usize| (span.start().as_us() - instant(*sample).as_us()).abs() <= tolerance_us;
    let off = span.start().as_us() - first.footage.span.end().as_us();
    if off > tolerance_us || off < -(REACH + 1) * tolerance_us {
        return Ok(None);
    }
    if !first.video.table.is_whole() || !second.video.table.is_whole() {
        return Ok(None); // where they meet lies far from the span, or their sizes differ
    }
    let Some(candidates) = overlap_candidates(table, &second.video.table, REACH * tolerance_us) else {
        return Ok(None);
    };
    let count = table.samples.len();
    let mut proven = Vec::new();
    for &begin in &candidates.begins {
        let length = count - begin;
        if samples(first, begin, length, deadline).await? == samples(second, 0, length, deadline).await? {
            proven.push(begin);
        }
    }
    let &[begin] = &proven[..] else { return Ok(None) };
    let sample = samples(second, 0, 1, deadline).await?;
    let (in_first, in_second) = candidates.repeats;
    for (recording, places) in [(first, in_first), (second, in_second)] {
        for place in places {
            if samples(recording, place, 1, deadline).await? == sample {
                return Ok(None);
            }
        }
    }
    Ok(Some(begin).filter(is_near).map(instant))
}

/// Reads the bytes of `count` samples from `start` on.
async fn samples(
    recording: &OpenRecording,
    start: usize,
    count: usize,
    deadline: Deadline,
) -> Result<Vec<Vec<u8>>, Error> {
    let samples = &recording.video.table.samples[start..start + count];
    let ranges = samples.iter().map(|sample| sample.offset..sample.offset + u64::from(sample.size));
    let ranges: Vec<_> = ranges.collect();
    let mut bytes = vec![Vec::new(); ranges.len()];
    for block in coalesce(ranges.clone(), COALESCE_GAP) {
        let read = recording.object.read(block.clone(), deadline).await?;
        for (range, bytes) in ranges.iter().zip(&mut bytes).filter(|(range, _)| block.contains(&range.start)) {
            let place = |at: u64| usize::try_from(at - block.start).unwrap_or(usize::MAX);
            *bytes = read.get(place(range.start)..place(range.end)).unwrap_or_default().to_vec();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_more_digits_is_finer() {
        let of = [17_000_000, 17_100_000, 17_120_000, 17_123_000, 17_123_450, 17_123_456];
        assert_eq!(of.map(|us| fineness(Timestamp::from_us(us))), [0, 1, 2, 3, 5, 6]);
    }
}
