//! The function's error type. It keeps what failed (an object, a URL, a clip) apart from why, and its [`ErrorKind`] alone
//! decides what happens to the request: only the files that call a service know the error types of that service.

use std::fmt;
use std::time::Duration;

use exact_cut::budget::Resource;
use exact_cut::error::Cause;
use exact_cut::scratch::ScratchError;
use exact_cut::source::{SourceError, SourceErrorKind};
use serde::Serialize;

/// What a failure means for the request. Displayed in `snake_case`, which is also its name in logs and trace documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display, strum::IntoStaticStr)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum ErrorKind {
    /// The message cannot be read and never will be. The record fails until the dead-letter queue takes the message.
    Malformed,
    /// The service refused for good: 403, most other 4xx, a body of the wrong shape. The record fails.
    Permanent,
    /// Another try may succeed: 5xx, timeouts, a full disk. The record fails, and the queue delivers the message again.
    Transient,
    /// No connection could be made. Another try may succeed, as after [`Self::Transient`].
    Unreachable,
    /// The object does not exist, or not yet.
    NotFound,
    /// The object was replaced while it was read (`If-Match` failed).
    Modified,
    /// Footage exists, but no clip can be made of it: `FATAL_ERROR`.
    UnusableFootage,
    /// The object is in an archive and cannot be read until somebody restores it.
    Archived,
    /// The camera API refuses for good to say what there is: `FATAL_ERROR`.
    CameraRefused,
    /// The clip needs more time, memory or disk than the function is configured to have: `FATAL_ERROR`.
    BeyondLimits,
}

impl ErrorKind {
    /// Returns whether another try may succeed.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::Unreachable)
    }

    /// Returns whether `FATAL_ERROR` is reported (docs/contract.md, section 5).
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::UnusableFootage | Self::CameraRefused | Self::BeyondLimits)
    }
}

/// A failure: its kind, the object that it concerns, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// `s3://bucket/key`, a URL, a clip's id. Never the content of a message.
    pub object: String,
    /// Why it failed, in one line of at most 1,000 characters.
    pub reason: String,
    /// How long the service asks to be left alone, if it asks for more than is waited for.
    pub retry_after: Option<Duration>,
}

impl Error {
    pub fn new(kind: ErrorKind, object: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { kind, object: object.into(), reason: one_line(&reason.to_string()), retry_after: None }
    }

    pub fn permanent(object: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Permanent, object, reason)
    }

    pub fn transient(object: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Transient, object, reason)
    }

    /// Names the setting to look at, in a refusal for good. A fault that passes has none.
    #[must_use]
    pub fn see(self, setting: impl fmt::Display) -> Self {
        match self.kind {
            ErrorKind::Permanent => Self { reason: format!("{}; see {setting}", self.reason), ..self },
            _ => self,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

impl std::error::Error for Error {}

impl From<SourceErrorKind> for ErrorKind {
    fn from(kind: SourceErrorKind) -> Self {
        match kind {
            SourceErrorKind::NotFound => Self::NotFound,
            SourceErrorKind::Modified => Self::Modified,
            SourceErrorKind::Empty | SourceErrorKind::Archived => Self::UnusableFootage,
            SourceErrorKind::Transient => Self::Transient,
            SourceErrorKind::Permanent => Self::Permanent,
        }
    }
}

impl From<SourceError> for Error {
    fn from(error: SourceError) -> Self {
        Self::new(error.kind.into(), error.object, chain(&*error.source))
    }
}

impl From<ScratchError> for Error {
    fn from(error: ScratchError) -> Self {
        exact_cut::error::Error::from(error).into()
    }
}

impl From<exact_cut::error::Error> for Error {
    fn from(error: exact_cut::error::Error) -> Self {
        let kind = match &error.cause {
            Cause::Source { kind, .. } => ErrorKind::from(*kind),
            Cause::Budget(exceeded) if exceeded.is_lasting => ErrorKind::BeyondLimits,
            cause if cause.is_footage() => ErrorKind::UnusableFootage,
            _ => ErrorKind::Transient,
        };
        let raise = match &error.cause {
            Cause::Budget(exceeded) if exceeded.is_lasting => match exceeded.resource {
                Resource::Memory => "; raise MemorySize",
                Resource::Disk => "; raise EphemeralStorage",
                // Lambda gives processors by memory
                Resource::Time => "; raise Timeout or MemorySize",
            },
            Cause::NoSpace(_) => "; raise EphemeralStorage if it happens again",
            _ => "",
        };
        Self::new(kind, error.object, format_args!("{}{raise}", chain(&error.cause)))
    }
}

/// Returns the whole chain of an error as one text, each link once. SDK and HTTP errors say little by themselves.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let link = cause.to_string();
        if !text.contains(&link) {
            text.push_str(": ");
            text.push_str(&link);
        }
        next = cause.source();
    }
    text
}

/// A log line is one line of bounded length.
fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 1000;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use exact_cut::budget::BudgetExceeded;
    use exact_cut::deadline::TimedOut;
    use exact_cut::error::FootageError;
    use exact_cut::ffmpeg::failure::FfmpegError;
    use exact_cut::scratch::NoSpace;

    use super::*;

    #[test]
    fn only_footage_and_empty_sources_are_unusable_footage() {
        let source = |kind| Cause::Source { kind, source: "told why".into() };
        let too_much = BudgetExceeded::of_bytes("60 s of 720p HEVC".to_owned(), 2 << 30, 1 << 30, Resource::Memory);
        let mut not_now = too_much.clone();
        not_now.is_lasting = false;
        let table = [
            (Cause::Budget(too_much), "beyond_limits"),
            (Cause::Budget(not_now), "transient"),
            (source(SourceErrorKind::NotFound), "not_found"),
            (source(SourceErrorKind::Modified), "modified"),
            (source(SourceErrorKind::Empty), "unusable_footage"),
            (source(SourceErrorKind::Transient), "transient"),
            (source(SourceErrorKind::Permanent), "permanent"),
            (Cause::Footage(FootageError::NoFrame), "unusable_footage"),
            (Cause::Disk(std::io::Error::other("full")), "transient"),
            (Cause::NoSpace(NoSpace { needed: 0, free: 0 }), "transient"),
            (Cause::Ffmpeg(FfmpegError::TimedOut(TimedOut { after: Duration::from_secs(7) })), "transient"),
        ];
        for (cause, kind) in table {
            let error = Error::from(exact_cut::error::Error { object: "s3://bucket/key".to_owned(), cause });
            assert_eq!((error.object.as_str(), error.kind.to_string().as_str()), ("s3://bucket/key", kind), "{error}");
        }
    }

    #[test]
    fn what_the_function_has_too_little_of_can_be_raised() {
        for (resource, raise) in [
            (Resource::Memory, "1024 MiB; raise MemorySize"),
            (Resource::Disk, "1024 MiB; raise EphemeralStorage"),
            (Resource::Time, "; raise Timeout or MemorySize"),
        ] {
            let mut exceeded = BudgetExceeded::of_bytes("5 s".to_owned(), 2 << 30, 1 << 30, resource);
            let error = |exceeded: &BudgetExceeded| Error::from(exact_cut::Error::new("clip.mp4", exceeded.clone()));
            assert!(error(&exceeded).reason.ends_with(raise), "{}", error(&exceeded));
            exceeded.is_lasting = false;
            assert!(!error(&exceeded).reason.contains("raise"), "another try may have enough");
        }
        let full = Error::from(exact_cut::Error::new("/tmp/request", NoSpace { needed: 0, free: 0 }));
        let told = "scratch disk: expected 64 MiB free, got 0 MiB; raise EphemeralStorage if it happens again";
        assert_eq!(full.reason, told);
    }

    #[test]
    fn a_reason_is_one_line_and_a_chain_names_each_link_once() {
        assert_eq!(Error::transient("clip", "two\nlines").to_string(), "clip: two lines");
        let cause = Cause::Source { kind: SourceErrorKind::Transient, source: "told why".into() };
        assert_eq!(chain(&cause), "told why");
    }
}
