//! Local copies of recordings: only the bytes that are needed, each at the offset at which it lies in the object.
//!
//! One range per recording is enough for most clips: 31 MB in place of 600 MB. Gaps of up to 32 KiB between needed ranges
//! are fetched too, because another request would cost more. What is present is never fetched again.
//!
//! ffmpeg never reads this file: it probes the first packets of its input and would find the hole. See
//! [`crate::render::excerpt`].

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::mp4::audio_track::AudioTrack;
use crate::mp4::sample_table::Sample;
use crate::open::OpenRecording;
use crate::ranges::coalesce;
use crate::recording_id::RecordingId;
use crate::sparse_copy::SparseCopy;

/// Gaps up to this size between needed ranges are fetched too, in bytes; another request would cost more.
const COALESCE_GAP: u64 = 32 << 10;

/// A recording with a sparse local copy of its bytes.
#[derive(Debug)]
pub struct FetchedRecording {
    /// Number of the recording.
    pub id: RecordingId,
    /// The recording.
    pub open: Arc<OpenRecording>,
    /// The copy.
    pub copy: SparseCopy,
}

impl FetchedRecording {
    /// Goes on with the copy that was made when `open` was opened, or makes an empty one on the disk that holds `folder`.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub fn new(id: RecordingId, open: Arc<OpenRecording>, folder: &Path) -> Result<Self, Error> {
        let copy = match &open.copy {
            Some(copy) => copy.clone(),
            None => SparseCopy::new(folder, open.object.length())?,
        };
        Ok(Self { id, open, copy })
    }

    /// Returns the full name of the recording, for errors.
    #[must_use]
    pub fn name(&self) -> &str {
        self.open.object.name()
    }

    /// Returns the audio track, if there is one that can be decoded.
    #[must_use]
    pub fn audio(&self) -> Option<&AudioTrack> {
        self.open.audio.as_ref().ok()
    }

    /// Returns the byte ranges of video `samples` and of AAC `frames`, merged where at most `gap` bytes lie between them.
    #[must_use]
    pub fn byte_ranges(&self, samples: &[Range<usize>], frames: &[Range<usize>], gap: u64) -> Vec<Range<u64>> {
        let bytes = |offset: u64, size: u32| offset..offset + u64::from(size);
        let samples = samples.iter().flat_map(|range| &self.open.video.table.samples[range.clone()]);
        let samples = samples.map(|sample| bytes(sample.offset, sample.size));
        let audio = self.audio().into_iter();
        let frames = audio.flat_map(|audio| frames.iter().flat_map(|range| &audio.frames[range.clone()]));
        let frames = frames.map(|frame| bytes(frame.offset, frame.size));
        coalesce(samples.chain(frames).collect(), gap)
    }

    /// Fetches the bytes of `samples` and `frames` that are not present yet.
    ///
    /// # Errors
    /// [`Cause::Source`](crate::error::Cause::Source).
    pub async fn fetch_missing(
        &mut self,
        samples: &[Range<usize>],
        frames: &[Range<usize>],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let needed = self.byte_ranges(samples, frames, COALESCE_GAP);
        self.copy.fetch(&*self.open.object, &needed, deadline).await
    }

    /// Reads a video sample that was fetched.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub fn sample(&self, sample: usize) -> Result<Vec<u8>, Error> {
        let Sample { offset, size, .. } = self.open.video.table.samples[sample];
        self.copy.read(&(offset..offset + u64::from(size))).map_err(|error| Error::new(self.name(), error))
    }
}
