//! Splits what a recording shows into runs of samples that are copied and edges that are encoded. Pure: it knows where
//! decoding may begin, not the bytes that say so.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::footage::nal::Entry;
use crate::footage::samples::SampleTable;

/// What the clip shows of one recording, without interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index into the recordings.
    pub recording: usize,
    /// Its frames, in the order in which they are shown.
    pub frames: Range<usize>,
    /// How they get into the clip.
    pub how: How,
}

/// How a segment's frames get into the clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Byte for byte.
    Copy {
        /// The samples, in decode order: an IDR picture and those after it, which are just the segment's frames.
        samples: Range<usize>,
    },
    /// Decoded and encoded anew.
    Encode {
        /// The samples, in decode order, that must be decoded for it.
        decode: Range<usize>,
        /// Why they are not copied.
        why: &'static str,
    },
}

impl Segment {
    /// The samples, in decode order, that must be read for it.
    #[must_use]
    pub fn samples(&self) -> Range<usize> {
        match &self.how {
            How::Copy { samples } => samples.clone(),
            How::Encode { decode, .. } => decode.clone(),
        }
    }
}

/// Where decoding a recording may begin. Sync samples are taken for IDR pictures until their bytes have been seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    seen: BTreeMap<usize, Entry>,
    only_seen: bool,
}

impl Entries {
    /// Notes what the bytes of a sample say.
    pub fn saw(&mut self, sample: usize, entry: Entry) {
        self.seen.insert(sample, entry);
    }

    /// From now on only samples that have been seen are entered: for streams where nominations keep turning out wrong.
    pub fn trust_only_what_was_seen(&mut self) {
        self.only_seen = true;
    }

    /// Whether nothing more can be learned of `sample`.
    #[must_use]
    pub fn has_seen(&self, sample: usize) -> bool {
        self.seen.contains_key(&sample)
    }

    /// Whether `sample` has been seen to be an IDR picture.
    #[must_use]
    pub fn is_idr(&self, sample: usize) -> bool {
        self.seen.get(&sample) == Some(&Entry::Idr)
    }

    fn at(&self, table: &SampleTable, sample: usize) -> Entry {
        match self.seen.get(&sample) {
            Some(&entry) => entry,
            None if table.samples[sample].sync && !self.only_seen => Entry::Idr,
            None => Entry::None,
        }
    }

    /// The samples, in decode order, that must be decoded to get `frames`: from the last entry whose leading pictures, if
    /// it has any, are not among them; from the first sample if there is none, as whoever decodes all of it does.
    #[must_use]
    pub fn decode_window(&self, table: &SampleTable, frames: Range<usize>) -> Range<usize> {
        let first_pts = table.frame(frames.start).pts;
        let wanted = &table.frames[frames];
        let first = wanted.iter().copied().min().unwrap_or_default() as usize;
        let last = wanted.iter().copied().max().unwrap_or_default() as usize;
        let enters = |&sample: &usize| table.samples[sample].pts <= first_pts && self.at(table, sample) != Entry::None;
        let start = (0..=first).rev().find(enters).unwrap_or(0);
        start..last + 1
    }
}

/// Splits `frames` of a recording. `copy` says why none of them may be copied, if that is so.
#[must_use]
pub fn split(
    recording: usize,
    table: &SampleTable,
    entries: &Entries,
    copy: Result<(), &'static str>,
    frames: Range<usize>,
) -> Vec<Segment> {
    let encode = |frames: Range<usize>, why| {
        if frames.is_empty() {
            return None;
        }
        let decode = entries.decode_window(table, frames.clone());
        Some(Segment { recording, frames, how: How::Encode { decode, why } })
    };
    let run = match copy {
        Ok(()) => run(table, entries, &frames).ok_or("no IDR picture to begin a copy with"),
        Err(why) => Err(why),
    };
    match run {
        Err(why) => encode(frames, why).into_iter().collect(),
        Ok(Run { samples, frames: copied }) => {
            let head = encode(frames.start..copied.start, "before the first IDR picture");
            let tail = encode(copied.end..frames.end, "after the last picture that nothing wanted refers beyond");
            let body = Segment { recording, frames: copied, how: How::Copy { samples } };
            head.into_iter().chain([body]).chain(tail).collect()
        }
    }
}

/// Samples that can be copied, and the frames that they are.
struct Run {
    samples: Range<usize>,
    frames: Range<usize>,
}

/// The longest run of samples within `frames` that begins with the first IDR picture there and ends where everything
/// before, in decode order, is shown before everything after.
fn run(table: &SampleTable, entries: &Entries, frames: &Range<usize>) -> Option<Run> {
    let first_pts = table.frame(frames.start).pts;
    let last_pts = table.frame(frames.end - 1).pts;
    // for each place between two samples: the last time at which anything before it is shown, the first of all after it
    let mut latest_before = vec![i64::MIN];
    for sample in &table.samples {
        latest_before.push(sample.pts.max(latest_before[latest_before.len() - 1]));
    }
    let mut earliest_after = vec![i64::MAX; latest_before.len()];
    for (index, sample) in table.samples.iter().enumerate().rev() {
        earliest_after[index] = sample.pts.min(earliest_after[index + 1]);
    }
    let parts_in_time = |at: &usize| latest_before[*at] < earliest_after[*at];
    let begins = |at: &usize| {
        let pts = table.samples[*at].pts;
        (first_pts..=last_pts).contains(&pts)
            && pts == earliest_after[*at]
            && parts_in_time(at)
            && entries.at(table, *at) == Entry::Idr
    };
    let start = (0..table.samples.len()).find(begins)?;
    let ends = |at: &usize| latest_before[*at] <= last_pts && parts_in_time(at);
    let end = (start + 1..latest_before.len()).rev().find(ends)?;
    let number = |pts: i64| table.frames.partition_point(|&frame| table.samples[frame as usize].pts < pts);
    let copied = number(table.samples[start].pts)..number(latest_before[end]) + 1;
    (copied.len() == end - start).then_some(Run { samples: start..end, frames: copied })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footage::samples::Sample;

    #[test]
    fn a_nomination_counts_until_the_bytes_say_otherwise_or_none_is_trusted() {
        let sample =
            |n: usize| Sample { offset: 0, size: 1, sync: n.is_multiple_of(2), pts: i64::try_from(n).expect("small") };
        let samples: Vec<Sample> = (0..6).map(sample).collect();
        let table = SampleTable { timescale: 1, samples, frames: (0..6).collect(), end_pts: 6, shifts: Vec::new() };
        let mut entries = Entries::default();
        let last = |entries: &Entries| entries.decode_window(&table, 5..6);
        assert_eq!(last(&entries), 4..6);
        assert!(!entries.has_seen(4) && !entries.is_idr(4));
        entries.saw(4, Entry::None);
        assert_eq!(last(&entries), 2..6);
        assert!(entries.has_seen(4) && !entries.is_idr(4));
        entries.saw(0, Entry::Idr);
        assert!(entries.is_idr(0));
        entries.trust_only_what_was_seen();
        assert_eq!(last(&entries), 0..6);
    }
}
