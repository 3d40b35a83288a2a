//! What every step of rendering works with.

use std::path::Path;

use ffmpeg_sidecar::command::FfmpegCommand;

use crate::budget::Budget;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ffmpeg::failure::FfmpegError;
use crate::ffmpeg::run::Ffmpeg;
use crate::observer::Observer;
use crate::scratch::ensure_not_full;

/// Tools and limits of one request.
#[derive(Clone, Copy)]
pub struct RenderContext<'a> {
    /// Decodes and encodes.
    pub ffmpeg: &'a Ffmpeg,
    /// Scratch folder of this request alone.
    pub folder: &'a Path,
    /// When the work must be done.
    pub deadline: Deadline,
    /// What the machine has for the work.
    pub budget: Budget,
    /// Listens to the work.
    pub observer: &'a dyn Observer,
}

impl RenderContext<'_> {
    /// Runs ffmpeg on work for `object`, which `takes` so many bytes of memory. On a full disk, ffmpeg may fail as if the footage
    /// were bad, or succeed with too little written: both are taken for what they are.
    ///
    /// # Errors
    /// [`Cause::Ffmpeg`](crate::error::Cause::Ffmpeg) about `object`, or [`Cause::NoSpace`](crate::error::Cause::NoSpace).
    pub async fn run_ffmpeg(&self, command: FfmpegCommand, takes: u64, object: &str) -> Result<(), Error> {
        let result = Box::pin(self.ffmpeg.run(command, takes, self.deadline)).await;
        if result.as_ref().err().is_none_or(FfmpegError::is_footage) {
            ensure_not_full(self.folder)?;
        }
        result.map_err(|error| Error::new(object, error))
    }
}
