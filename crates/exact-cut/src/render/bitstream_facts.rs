//! What the bytes of a recording prove about it: whether decoding may begin where `stss` says, whether each sample is a
//! picture, and whether samples carry parameter sets of their own.
//!
//! `avc1` promises that all parameter sets are in the sample entry (ISO/IEC 14496-15, section 5.3.3). Many cameras repeat
//! theirs in the samples all the same, which is harmless as long as they are equal. Where they differ, a copied run would be
//! decoded with other sets than the recording was, so it is encoded. Where they state another size, the samples from there on
//! are taken as if they had a sample entry of their own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::blocking::blocking;
use crate::error::Error;
use crate::fetch::FetchedRecording;
use crate::h264::nal_units::{NalFormat, WithoutSlice, nal_units, random_access, without_slice};
use crate::h264::parameter_sets::ParameterSets;
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::sample_table::Sample;
use crate::mp4::shape::{PictureShape, colour_of, described_size, may_be_fields};
use crate::mp4::tracks::VideoTrack;
use crate::open::OpenRecording;
use crate::plan::random_access::RandomAccessPoints;
use crate::plan::segments::{EncodeReason, TrimMode};

/// What is known of one recording beyond its sample table.
#[derive(Clone, Debug)]
pub struct BitstreamFacts {
    /// Where decoding may begin.
    pub random_access: RandomAccessPoints,
    /// Whether samples may be copied, or why not.
    pub copyable: Result<(), EncodeReason>,
    /// The parameter sets, if they are of a kind that can be copied.
    pub sets: Option<ParameterSets>,
    /// Inspected samples that hold no slice.
    without_slice: BTreeMap<usize, WithoutSlice>,
    /// Inspected samples whose own parameter sets state another size than their sample entry, and an entry that states it.
    resized: BTreeMap<usize, SampleEntry>,
}

/// Returns whether copied pictures of both can stand in one clip.
fn looks_like(video: &VideoTrack, main: &VideoTrack) -> bool {
    video.entry.decoder_configuration() == main.entry.decoder_configuration()
        && PictureShape::of(video, &video.entry) == PictureShape::of(main, &main.entry)
        && video.orientation == main.orientation
        && colour_of(&video.entry) == colour_of(&main.entry)
}

/// A sample whose bytes are to be inspected.
struct SampleToInspect {
    number: usize,
    sample: Sample,
    /// Whether its random access is unknown.
    is_new: bool,
}

impl BitstreamFacts {
    /// Returns what the tables alone say of `recording`, in a clip that follows the recording `main`.
    #[must_use]
    pub fn of_tables(recording: &OpenRecording, main: &OpenRecording, trim_mode: TrimMode) -> Self {
        let (video, main) = (&recording.video, &main.video);
        let sets = ParameterSets::read(video.entry.avcc());
        let copyable = match &sets {
            _ if trim_mode == TrimMode::Encode => Err(EncodeReason::Requested),
            Err(why) => Err((*why).into()),
            Ok(_) if !video.table.shifts.is_empty() => Err(EncodeReason::SeveralEdits),
            Ok(_) if !video.has_one_configuration() => Err(EncodeReason::SeveralEntries),
            Ok(_) if !looks_like(video, main) => Err(EncodeReason::DiffersFromMain),
            Ok(sets) if sets.free_id().is_none() => Err(EncodeReason::NoFreeId),
            Ok(_) => Ok(()),
        };
        let random_access = RandomAccessPoints::new(may_be_fields(&video.entry));
        let (without_slice, resized) = (BTreeMap::new(), BTreeMap::new());
        Self { random_access, copyable, sets: sets.ok(), without_slice, resized }
    }

    /// Inspects the fetched bytes of `samples`: whether they are pictures, whether decoding may begin there, and the parameter
    /// sets of those that are to be copied.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub async fn inspect(
        &mut self,
        recording: &FetchedRecording,
        samples: Range<usize>,
        copied: bool,
    ) -> Result<(), Error> {
        let video = &recording.open.video;
        let entry = video.entry_of(samples.start).clone();
        let Some(format) = entry.nal_format() else { return Ok(()) };
        let samples = samples.map(|number| {
            let sample = video.table.samples[number];
            // `stss` may lack IDR pictures; what is decoded is fetched anyway
            let may_begin = sample.sync || !copied;
            SampleToInspect { number, sample, is_new: may_begin && !self.random_access.is_inspected(number) }
        });
        let samples: Vec<SampleToInspect> = samples.filter(|one| copied || one.is_new).collect();
        let (file, mut facts) = (Arc::clone(&recording.copy.file), self.clone());
        let inspected = blocking(move || {
            let mut bytes = Vec::new();
            for one in &samples {
                bytes.resize(one.sample.size as usize, 0);
                file.read_exact_at(&mut bytes, one.sample.offset)?;
                facts.inspect_sample(one, copied, (&entry, format), &bytes);
            }
            Ok(facts)
        });
        *self = inspected.await.map_err(|error: std::io::Error| Error::new(recording.name(), error))?;
        Ok(())
    }

    fn inspect_sample(
        &mut self,
        one: &SampleToInspect,
        copied: bool,
        (entry, format): (&SampleEntry, NalFormat),
        bytes: &[u8],
    ) {
        if one.is_new {
            self.random_access.record(one.number, random_access(bytes, format));
            // a size changes where decoding may begin; elsewhere, sets of another size contradict those of the entry
            if let Some(own) = entry.with_sets_of(bytes).filter(|own| described_size(own) != described_size(entry)) {
                self.resized.insert(one.number, own);
            }
        }
        let units = || nal_units(bytes, format.length_size);
        let is_contradicted = |unit: &[u8]| self.sets.as_ref().is_none_or(|sets| sets.is_contradicted_by(unit));
        if let Some(mut kind) = without_slice(bytes, format) {
            if units().flatten().all(|unit| !is_contradicted(unit)) {
                kind = WithoutSlice::Expendable; // `avcC` has the same sets
            }
            self.without_slice.insert(one.number, kind);
        }
        if copied {
            for unit in units() {
                match unit {
                    Ok(unit) if is_contradicted(unit) => self.copyable = Err(EncodeReason::ContradictingSets),
                    Ok(_) => {}
                    Err(error) => self.copyable = Err(error.into()),
                }
            }
        }
    }

    /// Corrects the sample table of `recording` by the inspected samples: those that hold no slice belong to the next picture, and
    /// those with another size have another sample entry. Returns whether the plan must be made again. What is known of random
    /// access is forgotten then, since the numbers of samples change; their bytes are there already.
    ///
    /// # Errors
    /// [`FootageError::Mp4`](crate::error::FootageError::Mp4) if no picture is left.
    pub fn correct_table(&mut self, recording: &mut FetchedRecording) -> Result<bool, Error> {
        let resized = std::mem::take(&mut self.resized);
        if !resized.is_empty() {
            let video = &mut Arc::make_mut(&mut recording.open).video;
            for (sample, entry) in resized {
                // `tkhd` has the shape of the first size, and players take that of a pixel not to change
                let pixel = PictureShape::of(video, video.entry_of(sample)).map_or((1, 1), |shape| shape.pixel_aspect);
                video.change_entry(sample, entry.with_pixel_aspect(pixel));
            }
            self.copyable = self.copyable.and(Err(EncodeReason::SeveralEntries));
            self.random_access.forget();
            return Ok(true);
        }
        let without_slice = std::mem::take(&mut self.without_slice);
        if without_slice.is_empty() {
            return Ok(false);
        }
        let table = &mut Arc::make_mut(&mut recording.open).video.table;
        let corrected = table.join_to_pictures(&without_slice);
        let corrected = corrected.map_err(|error| Error::footage(recording.name(), error))?;
        if corrected {
            self.random_access.forget();
        }
        Ok(corrected)
    }
}
