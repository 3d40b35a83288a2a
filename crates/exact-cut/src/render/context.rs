//! What every step of rendering works with.

use std::path::Path;

use ffmpeg_sidecar::command::FfmpegCommand;

use crate::budget::Budget;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ffmpeg::run::Ffmpeg;
use crate::observer::Observer;

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
    /// Runs ffmpeg on work for `object`, which `takes` so many bytes of memory.
    ///
    /// # Errors
    /// [`Cause::Ffmpeg`](crate::error::Cause::Ffmpeg) about `object`.
    pub async fn run_ffmpeg(&self, command: FfmpegCommand, takes: u64, object: &str) -> Result<(), Error> {
        Box::pin(self.ffmpeg.run(command, takes, self.deadline)).await.map_err(|error| Error::new(object, error))
    }
}
