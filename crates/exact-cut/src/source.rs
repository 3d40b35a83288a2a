//! Where the bytes of recordings come from. The engine reads nothing but ranges of one pinned version of an object: a
//! recording that is replaced while it is read must never become a clip of two versions.
//!
//! [`LocalFolder`] reads files of a folder. Other sources, such as an object store, implement the two traits.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures::future::BoxFuture;

use crate::deadline::Deadline;
use crate::time::Timestamp;

/// Bytes that are read at once where only the header of a box is required: the box itself and the next headers often
/// come with it.
pub(crate) const READ_AHEAD: u64 = 64 << 10;

/// A place that holds recordings by name.
pub trait RecordingStore: Send + Sync {
    /// Reads the first `length` bytes of the recording `name`, or all of a shorter one, and pins its version.
    fn open<'a>(
        &'a self,
        name: &'a str,
        length: u64,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OpenedObject, SourceError>>;
}

/// An object whose version was pinned by its first read.
#[derive(Clone, Debug)]
pub struct OpenedObject {
    /// The bytes that the first read gave.
    pub first_bytes: Vec<u8>,
    /// The version that they are of.
    pub object: Arc<dyn PinnedObject>,
}

/// One version of a recording's bytes. Every read is of this version or fails with [`SourceErrorKind::Modified`].
pub trait PinnedObject: std::fmt::Debug + Send + Sync {
    /// Returns the full name, for errors and logs.
    fn name(&self) -> &str;

    /// Returns the length in bytes.
    fn length(&self) -> u64;

    /// Returns when this version was written, if that is known.
    fn modified(&self) -> Option<Timestamp>;

    /// Reads exactly the bytes of `range`.
    fn read(&self, range: Range<u64>, deadline: Deadline) -> BoxFuture<'_, Result<Vec<u8>, SourceError>>;

    /// Reads `ranges` and writes each to the same offset of `file`.
    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>>;
}

/// What a failed read means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// There is no such recording, or not yet.
    NotFound,
    /// The recording was replaced after its version was pinned.
    Modified,
    /// The recording has no bytes.
    Empty,
    /// The recording is in an archive, and stays there until somebody restores it.
    Archived,
    /// Another try may succeed.
    Transient,
    /// The source refused the read for good.
    Permanent,
}

/// A recording could not be read.
#[derive(Debug, thiserror::Error)]
#[error("{object}: {source}")]
pub struct SourceError {
    /// What follows from it.
    pub kind: SourceErrorKind,
    /// Full name of the object, with the range if one was read.
    pub object: String,
    /// The error of the source.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Recordings that are files of one folder.
#[derive(Clone, Debug)]
pub struct LocalFolder {
    folder: PathBuf,
}

impl LocalFolder {
    /// Returns the recordings in `folder`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

/// A file that was opened.
#[derive(Debug)]
pub(crate) struct LocalFile {
    name: String,
    file: File,
    length: u64,
    modified: Option<SystemTime>,
}

impl LocalFile {
    /// Opens the file at `path`.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let (length, modified) = (metadata.len(), metadata.modified().ok());
        Ok(Self { name: path.display().to_string(), file, length, modified })
    }

    fn failed(&self, error: std::io::Error) -> SourceError {
        failed(&self.name, error)
    }

    /// Reads a range, unless the file has changed since it was opened.
    fn read_range(&self, range: &Range<u64>) -> Result<Vec<u8>, SourceError> {
        let length =
            usize::try_from(range.end - range.start).map_err(|error| self.failed(std::io::Error::other(error)))?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, range.start).map_err(|error| self.failed(error))?;
        let now = self.file.metadata().map_err(|error| self.failed(error))?;
        if now.len() != self.length || now.modified().ok() != self.modified {
            let source = "the file changed while it was read".into();
            return Err(SourceError { kind: SourceErrorKind::Modified, object: self.name.clone(), source });
        }
        Ok(bytes)
    }
}

fn failed(object: &str, error: std::io::Error) -> SourceError {
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => SourceErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => SourceErrorKind::Permanent,
        _ => SourceErrorKind::Transient,
    };
    SourceError { kind, object: object.to_owned(), source: error.into() }
}

impl RecordingStore for LocalFolder {
    fn open<'a>(
        &'a self,
        name: &'a str,
        length: u64,
        _deadline: Deadline,
    ) -> BoxFuture<'a, Result<OpenedObject, SourceError>> {
        let path = self.folder.join(name);
        Box::pin(async move {
            let file = LocalFile::open(&path).map_err(|error| failed(&path.display().to_string(), error))?;
            if file.length == 0 {
                let source = "the file is empty".into();
                return Err(SourceError { kind: SourceErrorKind::Empty, object: file.name, source });
            }
            let first_bytes = file.read_range(&(0..length.min(file.length)))?;
            Ok(OpenedObject { first_bytes, object: Arc::new(file) })
        })
    }
}

impl PinnedObject for LocalFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn length(&self) -> u64 {
        self.length
    }

    fn modified(&self) -> Option<Timestamp> {
        let since_epoch = self.modified?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        i64::try_from(since_epoch.as_micros()).ok().map(Timestamp::from_us)
    }

    fn read(&self, range: Range<u64>, _deadline: Deadline) -> BoxFuture<'_, Result<Vec<u8>, SourceError>> {
        Box::pin(async move { self.read_range(&range) })
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        _deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        /// Bytes that are held in memory at once.
        const BLOCK: usize = 1 << 20;
        Box::pin(async move {
            for range in ranges {
                for start in range.clone().step_by(BLOCK) {
                    let bytes = self.read_range(&(start..range.end.min(start + BLOCK as u64)))?;
                    file.write_all_at(&bytes, start).map_err(|error| self.failed(error))?;
                }
            }
            Ok(())
        })
    }
}
