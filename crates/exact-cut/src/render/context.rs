//! What every step of rendering works with.

use std::path::Path;

use crate::deadline::Deadline;
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
    /// Listens to the work.
    pub observer: &'a dyn Observer,
}
