//! Looks for key frames that `stss` does not list. Where the nearest one that is listed lies long before the wanted frames,
//! all samples in between would be fetched and decoded. Key frames are larger than other pictures, so the bytes of the large
//! samples before the wanted frames are looked at first, from the last one backwards.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::Error;
use crate::fetch::FetchedRecording;
use crate::h264::nal_units::RandomAccess;
use crate::mp4::sample_table::SampleTable;
use crate::observer::{RenderStage, observed};
use crate::plan::cut_plan::CutPlan;
use crate::plan::segments::Segment;
use crate::recording_id::{PerRecording, RecordingId};
use crate::render::bitstream_facts::BitstreamFacts;
use crate::render::context::RenderContext;
use crate::render::excerpt::Poster;

/// Seconds of samples before the wanted frames, from which on key frames are looked for.
const LONG_S: i64 = 10;
/// The most samples of one recording that are looked at.
const MAX_SAMPLES: usize = 32;
/// Samples that are fetched at once.
const BATCH: usize = 8;
/// A sample is large from so many times the median size of those around it on.
const LARGE: u64 = 2;
/// Samples from which the median size is taken.
const AROUND: usize = 600;

/// What was looked at.
#[derive(Debug, Default)]
pub struct KeyFrameSearch {
    samples: BTreeSet<(RecordingId, usize)>,
}

impl KeyFrameSearch {
    /// Looks for key frames where `plan` or `poster` decode many samples before the first wanted one. Returns whether the plan
    /// must be made again with what was found.
    ///
    /// # Errors
    /// The error of the source or the disk.
    pub async fn run(
        &mut self,
        cx: RenderContext<'_>,
        plan: &CutPlan,
        poster: &Poster,
        recordings: &mut PerRecording<FetchedRecording>,
        facts: &mut PerRecording<BitstreamFacts>,
    ) -> Result<bool, Error> {
        let encoded = plan.segments.iter().filter(|segment| !segment.is_copy());
        let windows = encoded.map(|segment| (segment.recording, segment.frames.clone(), Segment::samples(segment)));
        let poster = (poster.recording, poster.excerpt.frames.clone(), poster.excerpt.decode.clone());
        let windows: Vec<_> = windows.chain([poster]).collect();
        let mut found = false;
        for (id, frames, decode) in windows {
            let recording = &mut recordings[id];
            let table = &recording.open.video.table;
            let first = table.frames[frames].iter().copied().min().unwrap_or_default() as usize;
            let length = table.samples[first].pts - table.samples[decode.start].pts;
            if length <= LONG_S * i64::from(table.timescale) {
                continue;
            }
            let looked_at = self.samples.range((id, 0)..=(id, usize::MAX)).count();
            let candidates = large_samples(table, decode.start + 1..first + 1);
            let candidates = candidates.into_iter().filter(|&sample| !self.samples.contains(&(id, sample)));
            let candidates: Vec<usize> = candidates.take(MAX_SAMPLES - looked_at).collect();
            for batch in candidates.chunks(BATCH) {
                let samples: Vec<Range<usize>> = batch.iter().map(|&sample| sample..sample + 1).collect();
                let fetched = recording.fetch_missing(&samples, &[], cx.deadline);
                observed(cx.observer, RenderStage::Fetch, fetched).await?;
                for sample in samples {
                    self.samples.insert((id, sample.start));
                    facts[id].inspect(recording, sample, false).await?;
                }
                let table = &recording.open.video.table;
                if batch.iter().any(|&sample| facts[id].random_access.at(table, sample) != RandomAccess::No) {
                    found = true;
                    break;
                }
            }
        }
        Ok(found)
    }
}

/// Returns the large samples of `range` from the last one backwards, or all of them if none is larger than the others.
fn large_samples(table: &SampleTable, range: Range<usize>) -> Vec<usize> {
    let size = |sample: usize| u64::from(table.samples[sample].size);
    let around = range.start.max(range.end.saturating_sub(AROUND))..range.end;
    let mut sizes: Vec<u64> = around.map(size).collect();
    let middle = sizes.len() / 2;
    let Some(median) = (!sizes.is_empty()).then(|| *sizes.select_nth_unstable(middle).1) else { return Vec::new() };
    let large: Vec<usize> = range.clone().rev().filter(|&sample| size(sample) > LARGE * median).collect();
    if large.is_empty() { range.rev().collect() } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::sample_table::Sample;

    #[test]
    fn large_samples_are_looked_at_from_the_last_one_backwards() {
        let table = |sizes: &[u32]| {
            let sample = |(pts, &size): (i64, &u32)| Sample { offset: 0, size, sync: pts == 0, pts };
            let samples: Vec<Sample> = (0..).zip(sizes).map(sample).collect();
            SampleTable::of_frames(30, samples, 100)
        };
        let uneven = table(&[90, 10, 11, 9, 70, 10, 12, 10, 80, 9, 11]);
        assert_eq!(large_samples(&uneven, 1..10), [8, 4]);
        assert_eq!(large_samples(&uneven, 1..4), [3, 2, 1], "none is larger than the others");
        assert!(large_samples(&uneven, 4..4).is_empty());
    }
}
