//! The errors of the engine. Each names the object that it is about, and its cause tells whether the footage, the tool, the
//! disk, the time or the source failed: only a failure of the footage may ever be blamed on the footage.

use std::fmt;
use std::io;

use crate::budget::BudgetExceeded;
use crate::ffmpeg::failure::FfmpegError;
use crate::h264::nal_units::NalLengthError;
use crate::h264::parameter_sets::CannotJoin;
use crate::mp4::Mp4Error;
use crate::mux::MuxError;
use crate::scratch::{NoSpace, ScratchCause, ScratchError};
use crate::source::{SourceError, SourceErrorKind};

/// A failure: the object it is about, and the cause.
#[derive(Debug)]
pub struct Error {
    /// Full name of a recording, name of a file, or `clip.mp4`.
    pub object: String,
    /// What went wrong with it.
    pub cause: Cause,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The source failed to read a recording.
    #[error("{source}")]
    Source {
        /// What follows from it.
        kind: SourceErrorKind,
        /// The error of the source.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No clip can be made of the footage.
    #[error(transparent)]
    Footage(#[from] FootageError),
    /// ffmpeg did not do its work.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),
    /// The scratch disk failed.
    #[error("cannot use the scratch disk: {0}")]
    Disk(#[from] io::Error),
    /// The scratch disk has too little free space.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// The work needs more time, memory or disk than there is.
    #[error(transparent)]
    Budget(#[from] BudgetExceeded),
}

/// Why no clip can be made of the footage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FootageError {
    /// The recording was given up before.
    #[error("{0}")]
    GivenUp(String),
    /// The file, or what ffmpeg made of it, cannot be read.
    #[error(transparent)]
    Mp4(#[from] Mp4Error),
    /// The recording shows nothing: its length is 0.
    #[error("the recording shows nothing")]
    ShowsNothing,
    /// The span holds no frame.
    #[error("the span holds no frame to show")]
    NoFrame,
    /// A sample is not made of NAL units.
    #[error(transparent)]
    NalLength(#[from] NalLengthError),
    /// No size of the pictures is stated.
    #[error("the sample entry states no size of the pictures")]
    NoSize,
    /// Copied and encoded pictures cannot share one sample entry.
    #[error(transparent)]
    CannotJoin(#[from] CannotJoin),
    /// Copied pictures of another codec than H.264.
    #[error("copied pictures are not H.264")]
    NotAvc,
    /// Encoded segments came out with different parameter sets.
    #[error("the parameter sets of the encoded segments differ")]
    EncodedSetsDiffer,
    /// ffmpeg wrote another number of frames.
    #[error("encoded frames: expected {expected}, got {written}")]
    EncodedFrames {
        /// Frames that were written.
        written: usize,
        /// Frames that were asked for.
        expected: usize,
    },
    /// The decoder shows nothing of some samples: they hold no picture, or a damaged one.
    #[error("the decoder shows no picture of {} samples, the first of them number {}", .0.len(), .0.first().unwrap_or(&0))]
    Undecodable(Vec<u32>),
    /// ffmpeg wrote too few AAC frames, or frames of another format.
    #[error("encoded audio: expected at least {expected} AAC frames of the clip's format, got {written}")]
    EncodedAudio {
        /// AAC frames that were written.
        written: usize,
        /// AAC frames that were asked for.
        expected: usize,
    },
    /// AAC has no layout of so many channels.
    #[error("the audio has {0} channels")]
    Channels(u16),
    /// A sample entry cannot be written.
    #[error("cannot write a sample entry: {0}")]
    SampleEntry(String),
    /// The tracks do not fit into an MP4 file.
    #[error(transparent)]
    Mux(#[from] MuxError),
    /// A thumbnail is missing or cannot be read.
    #[error("cannot read the thumbnail of width {width}: {reason}")]
    NoThumbnail {
        /// Width in pixels.
        width: u32,
        /// The reader's own words.
        reason: String,
    },
    /// A thumbnail has another size.
    #[error("thumbnail: expected {} x {} pixels, got {} x {}", expected.0, expected.1, is.0, is.1)]
    ThumbnailSize {
        /// Width and height.
        is: (usize, usize),
        /// Width and height that were asked for.
        expected: (u32, u32),
    },
    /// The clip is not what was planned.
    #[error("the clip failed verification: {0}")]
    Verification(String),
}

impl Error {
    /// Returns an error about `object`.
    pub fn new(object: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { object: object.into(), cause: cause.into() }
    }

    /// Returns an error of the footage, about `object`.
    pub fn footage(object: impl Into<String>, error: impl Into<FootageError>) -> Self {
        Self::new(object, error.into())
    }
}

impl Cause {
    /// Returns whether the footage is to blame.
    #[must_use]
    pub const fn is_footage(&self) -> bool {
        match self {
            Self::Footage(_) => true,
            Self::Ffmpeg(error) => error.is_footage(),
            Self::Source { kind, .. } => matches!(kind, SourceErrorKind::Empty | SourceErrorKind::Archived),
            Self::Disk(_) | Self::NoSpace(_) | Self::Budget(_) => false,
        }
    }
}

impl Cause {
    /// Returns whether the recording will never be readable as it is, whatever is still being written: it is encrypted, of a
    /// codec that is not decoded, or in an archive.
    #[must_use]
    pub const fn is_foreign(&self) -> bool {
        match self {
            Self::Footage(FootageError::Mp4(error)) => {
                matches!(error, Mp4Error::Codec { .. } | Mp4Error::Encrypted { .. })
            }
            Self::Source { kind, .. } => matches!(kind, SourceErrorKind::Archived),
            _ => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.cause)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.source()
    }
}

impl From<ScratchError> for Error {
    fn from(ScratchError { folder, cause }: ScratchError) -> Self {
        let cause = match cause {
            ScratchCause::Disk(error) => Cause::Disk(error),
            ScratchCause::NoSpace(error) => Cause::NoSpace(error),
        };
        Self { object: folder.display().to_string(), cause }
    }
}

impl From<SourceError> for Error {
    fn from(SourceError { kind, object, source }: SourceError) -> Self {
        Self { object, cause: Cause::Source { kind, source } }
    }
}
