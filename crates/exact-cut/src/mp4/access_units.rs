//! Joins samples that are no pictures with those that are. An access unit is one sample by the standard (ISO/IEC 14496-15,
//! section 4.2.1), but some muxers make a sample of each delimiter or parameter set. Only the bytes of a sample tell, so a
//! table is corrected as far as its samples were fetched.

use std::collections::BTreeMap;

use crate::h264::nal_units::WithoutSlice;
use crate::mp4::Mp4Error;
use crate::mp4::sample_table::{Sample, SampleTable};

/// Samples without a slice that lie one behind the other, and wait for their picture.
struct Front {
    sample: Sample,
    entry: usize,
    kind: WithoutSlice,
}

impl Front {
    fn touches(&self, sample: &Sample, entry: usize) -> bool {
        self.entry == entry && self.sample.offset.checked_add(self.sample.size.into()) == Some(sample.offset)
    }
}

impl SampleTable {
    /// Joins samples without a slice, by their numbers, to the next picture, which keeps its time. The bytes of a sample are
    /// one range: where others lie between, delimiters are left out, and parameter sets stay a sample that is no frame.
    /// The clock of the recording stays. Returns whether anything changed.
    ///
    /// # Errors
    /// [`Mp4Error::NoFrame`] if no picture is left; the table is unchanged then.
    pub fn join_to_pictures(&mut self, without_slice: &BTreeMap<usize, WithoutSlice>) -> Result<bool, Mp4Error> {
        let is_picture = |sample: &u32| !without_slice.contains_key(&(*sample as usize));
        if !self.frames.iter().any(is_picture) {
            return Err(Mp4Error::NoFrame);
        }
        let mut samples: Vec<Sample> = Vec::with_capacity(self.samples.len());
        // the new number of each sample, or of the one behind it
        let mut numbers = Vec::with_capacity(self.samples.len());
        let mut front: Option<Front> = None;
        for (number, &sample) in self.samples.iter().enumerate() {
            let entry = if self.entries.len() > 1 { self.entry_of(number) } else { 0 };
            let before = front.take();
            let joined = before.as_ref().filter(|before| before.touches(&sample, entry));
            let joined = joined.and_then(|before| {
                let size = before.sample.size.checked_add(sample.size)?;
                Some(Sample { offset: before.sample.offset, size, sync: before.sample.sync || sample.sync, ..sample })
            });
            let kind = before.as_ref().map(|before| before.kind);
            if let (None, Some(left)) = (joined, before)
                && left.kind == WithoutSlice::ParameterSets
            {
                samples.push(left.sample);
            }
            numbers.push(u32::try_from(samples.len()).unwrap_or(u32::MAX));
            match without_slice.get(&number) {
                Some(&own) => {
                    let kind = kind.filter(|_| joined.is_some()).map_or(own, |kind| kind.max(own));
                    front = Some(Front { sample: joined.unwrap_or(sample), entry, kind });
                }
                None => samples.push(joined.unwrap_or(sample)),
            }
        }
        samples.extend(front.filter(|left| left.kind == WithoutSlice::ParameterSets).map(|left| left.sample));
        let changed = samples.len() < self.samples.len() || !self.frames.iter().all(is_picture);
        let number_of = |sample: usize| numbers.get(sample).map_or(samples.len(), |&number| number as usize);
        for (from, _) in &mut self.entries {
            *from = number_of(*from);
        }
        let gone: Vec<u32> = self.frames.iter().copied().filter(|frame| !is_picture(frame)).collect();
        self.remove_frames(&gone);
        for frame in &mut self.frames {
            *frame = numbers[*frame as usize];
        }
        self.samples = samples;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a table of samples with these offsets and sizes, one tick after the other.
    fn table(samples: &[(u64, u32)]) -> SampleTable {
        let sample = |(pts, &(offset, size)): (i64, &(u64, u32))| Sample { offset, size, sync: pts == 0, pts };
        let samples: Vec<Sample> = (0..).zip(samples).map(sample).collect();
        let end = i64::try_from(samples.len()).expect("few");
        SampleTable::of_frames(30, samples, end)
    }

    /// Joins the samples with these numbers. Returns offset, size and time of each sample, and the frames.
    fn joined(table: &mut SampleTable, without: &[(usize, WithoutSlice)]) -> (Vec<(u64, u32, i64)>, Vec<u32>) {
        table.join_to_pictures(&without.iter().copied().collect()).expect("pictures are left");
        let samples = table.samples.iter().map(|sample| (sample.offset, sample.size, sample.pts));
        (samples.collect(), table.frames.clone())
    }

    use WithoutSlice::{Expendable, ParameterSets};

    #[test]
    fn a_sample_without_a_slice_is_joined_to_the_picture_behind_it() {
        let mut table = table(&[(100, 2), (102, 50), (152, 2), (154, 3), (157, 40), (197, 2)]);
        let all = [(0, Expendable), (2, ParameterSets), (3, Expendable), (5, Expendable)];
        assert_eq!(joined(&mut table, &all), (vec![(100, 52, 1), (152, 45, 4)], vec![0, 1]));
        assert!(table.samples[0].sync && !table.samples[1].sync);
        assert_eq!((table.origin, table.end_pts), (0, 6), "the clock of the recording stays");
    }

    #[test]
    fn bytes_in_between_cost_a_delimiter_and_no_parameter_sets() {
        let mut delimiter = table(&[(100, 2), (110, 50), (160, 40)]);
        assert_eq!(joined(&mut delimiter, &[(0, Expendable)]), (vec![(110, 50, 1), (160, 40, 2)], vec![0, 1]));
        let mut sets = table(&[(100, 2), (110, 50), (160, 40)]);
        let kept = (vec![(100, 2, 0), (110, 50, 1), (160, 40, 2)], vec![1, 2]);
        assert_eq!(joined(&mut sets, &[(0, ParameterSets)]), kept);
        let again = sets.join_to_pictures(&[(0, ParameterSets)].into_iter().collect());
        assert_eq!(again, Ok(false), "nothing more is to be done");
    }

    #[test]
    fn sample_entries_and_edits_keep_their_places() {
        let mut table = table(&[(100, 2), (102, 50), (152, 2), (154, 40), (194, 40)]);
        (table.entries, table.shifts) = (vec![(0, 0), (2, 1)], vec![(2, 7)]);
        assert_eq!(joined(&mut table, &[(0, Expendable), (2, Expendable)]).1, [0, 1, 2]);
        assert_eq!((table.entries.clone(), table.shifts.clone()), (vec![(0, 0), (1, 1)], vec![(1, 7)]));
    }

    #[test]
    fn a_table_keeps_a_frame() {
        let mut table = table(&[(100, 2), (102, 50)]);
        let before = table.clone();
        let all = (0..2).map(|sample| (sample, Expendable)).collect();
        assert_eq!(table.join_to_pictures(&all), Err(Mp4Error::NoFrame));
        assert_eq!(table, before);
    }
}
