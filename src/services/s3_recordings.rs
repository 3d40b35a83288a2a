//! The recordings in S3, as the engine reads them.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use exact_cut::deadline::Deadline;
use exact_cut::source::{OpenedObject, PinnedObject, RecordingStore, SourceError, SourceErrorKind};
use exact_cut::time::Timestamp;
use futures::future::BoxFuture;

use crate::error::{Error, ErrorKind};
use crate::services::s3::{ObjectId, S3};
use crate::services::s3_ranges::ObjectVersion;

/// The recordings in one folder of a bucket.
#[derive(Clone, Debug)]
pub struct S3Recordings {
    pub s3: S3,
    pub bucket: String,
    /// Without slashes around it; empty for the root.
    pub dir: String,
}

/// One version of a recording's object.
#[derive(Debug)]
struct S3Object {
    s3: S3,
    version: ObjectVersion,
    name: String,
}

impl S3Recordings {
    /// Returns the object of the recording `name`.
    #[must_use]
    pub fn object(&self, name: &str) -> ObjectId {
        let key = if self.dir.is_empty() { name.to_owned() } else { format!("{}/{name}", self.dir) };
        ObjectId { bucket: self.bucket.clone(), key }
    }
}

impl RecordingStore for S3Recordings {
    fn open<'a>(
        &'a self,
        name: &'a str,
        length: u64,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OpenedObject, SourceError>> {
        let id = self.object(name);
        Box::pin(async move {
            let (first_bytes, version) = self.s3.get_first_bytes(&id, length, deadline).await.map_err(source_error)?;
            let object = S3Object { s3: self.s3.clone(), version, name: id.to_string() };
            Ok(OpenedObject { first_bytes, object: Arc::new(object) })
        })
    }
}

impl PinnedObject for S3Object {
    fn name(&self) -> &str {
        &self.name
    }

    fn length(&self) -> u64 {
        self.version.length
    }

    fn modified(&self) -> Option<Timestamp> {
        self.version.modified
    }

    fn read(&self, range: Range<u64>, deadline: Deadline) -> BoxFuture<'_, Result<Vec<u8>, SourceError>> {
        Box::pin(async move { self.s3.read(&self.version, range, deadline).await.map_err(source_error) })
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        Box::pin(async move { self.s3.fetch(&self.version, ranges, &file, deadline).await.map_err(source_error) })
    }
}

fn source_error(error: Error) -> SourceError {
    let Error { kind, object, reason, .. } = error.see("S3_BUCKET_ORIGIN");
    let kind = match kind {
        ErrorKind::NotFound => SourceErrorKind::NotFound,
        ErrorKind::Modified => SourceErrorKind::Modified,
        ErrorKind::UnusableFootage => SourceErrorKind::Empty,
        ErrorKind::Archived => SourceErrorKind::Archived,
        ErrorKind::Transient | ErrorKind::Unreachable => SourceErrorKind::Transient,
        ErrorKind::Permanent | ErrorKind::Malformed | ErrorKind::CameraRefused | ErrorKind::BeyondLimits => {
            SourceErrorKind::Permanent
        }
    };
    SourceError { kind, object, source: reason.into() }
}
