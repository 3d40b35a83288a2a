//! Local copies of recordings: only the bytes that are needed, each at the offset at which it lies in the object.
//!
//! The copy is a sparse file, so every offset of the sample table is valid in it, and the disk holds only what was fetched.
//! One range per recording is enough for most clips: 31 MB in place of 600 MB. Gaps of up to 32 KiB between needed ranges
//! are fetched too, because another request would cost more. What is present is never fetched again.
//!
//! ffmpeg never reads this file: it probes the first packets of its input and would find the hole. See
//! [`crate::render::excerpt`].

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::mp4::audio_track::AudioTrack;
use crate::mp4::sample_table::Sample;
use crate::open::OpenRecording;
use crate::ranges::{coalesce, subtract};
use crate::recording_id::RecordingId;

/// Gaps up to this size between needed ranges are fetched too, in bytes; another request would cost more.
const COALESCE_GAP: u64 = 32 << 10;

/// A recording with a sparse local copy of its bytes.
#[derive(Debug)]
pub struct FetchedRecording {
    /// Number of the recording.
    pub id: RecordingId,
    /// The recording.
    pub open: Arc<OpenRecording>,
    /// The sparse copy. Bytes that were not fetched read as zeros.
    pub file: Arc<File>,
    present: Vec<Range<u64>>,
}

impl FetchedRecording {
    /// Makes an empty sparse copy of `open` at `path`.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub fn new(id: RecordingId, open: Arc<OpenRecording>, path: &Path) -> Result<Self, Error> {
        let create = || {
            let file = File::options().read(true).write(true).create_new(true).open(path)?;
            file.set_len(open.object.length())?; // holes take no space
            Ok::<_, std::io::Error>(file)
        };
        let file = create().map_err(|error| Error::new(path.display().to_string(), error))?;
        Ok(Self { id, open, file: Arc::new(file), present: Vec::new() })
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
        let missing = subtract(&self.byte_ranges(samples, frames, COALESCE_GAP), &self.present);
        self.open.object.fetch(&missing, Arc::clone(&self.file), deadline).await?;
        self.present = coalesce(self.present.iter().cloned().chain(missing).collect(), 0);
        Ok(())
    }

    /// Reads a video sample that was fetched.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub fn sample(&self, sample: usize) -> Result<Vec<u8>, Error> {
        let Sample { offset, size, .. } = self.open.video.table.samples[sample];
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Error::new(self.name(), error))?;
        Ok(bytes)
    }
}
