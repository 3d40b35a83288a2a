//! Exact ranges of one version of an object. `If-Match` with the `ETag` of the first read pins the version, and every body is
//! checked to be exactly the range that was asked for. A version that was replaced can be read on in a bucket that keeps
//! versions (Amazon S3 User Guide, "Retrieving object versions from a versioning-enabled bucket").
//!
//! A range is read in parts of 8 MiB, several at once: none takes long, and one that breaks off is soon repeated. Memory use
//! does not depend on the size of the ranges.

use std::fmt::Display;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use exact_cut::deadline::Deadline;
use exact_cut::time::Timestamp;
use futures::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, ErrorKind, chain};
use crate::mismatch::mismatch;
use crate::services::errors::{sdk_error, within};
use crate::services::limits::CALL;
use crate::services::s3::{ObjectId, S3};

/// Tries for a body that breaks off or arrives too slowly. An answer without a body is repeated by the SDK.
const MAX_TRIES: usize = 3;
const PART_BYTES: u64 = 8 << 20;
/// Parts that are read at once.
const PARALLEL_PARTS: usize = 8;
/// Each write to disk occupies a blocking thread once, so it should not be small.
const WRITE_BYTES: usize = 256 << 10;

/// One version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectVersion {
    pub id: ObjectId,
    pub etag: String,
    /// `x-amz-version-id`, if the bucket keeps replaced versions.
    pub version_id: Option<String>,
    /// Length in bytes.
    pub length: u64,
    /// `Last-Modified`.
    pub modified: Option<Timestamp>,
}

impl S3 {
    /// Reads the first `length` bytes of an object, or all of a shorter one, and returns its current version.
    ///
    /// # Errors
    /// Not found if there is no such object; unusable footage if it is empty; else as S3 answers.
    pub async fn get_first_bytes(
        &self,
        id: &ObjectId,
        length: u64,
        deadline: Deadline,
    ) -> Result<(Vec<u8>, ObjectVersion), Error> {
        let object = &id.to_string();
        let read = || async move {
            let get = self.client.get_object().bucket(&id.bucket).key(&id.key).range(range_header(&(0..length)));
            let mut answer = answer(get, object, deadline).await?;
            let total = total_length(&answer)
                .ok_or_else(|| Error::transient(object, mismatch("Content-Range", "a length", "nothing")))?;
            let etag =
                answer.e_tag.take().ok_or_else(|| Error::transient(object, mismatch("ETag", "one", "nothing")))?;
            // "null" is what was stored before the bucket kept versions
            let version_id = answer.version_id.take().filter(|id| id != "null");
            let modified = answer.last_modified().and_then(|modified| modified.to_millis().ok());
            let modified = modified.and_then(Timestamp::from_ms);
            let range = &(0..length.min(total));
            let body = Body::of(answer, range, object, &self.received);
            let version = ObjectVersion { id: id.clone(), etag, version_id, length: total, modified };
            Ok(body.bytes().await.map(|bytes| (bytes, version)))
        };
        retry_body(|| Box::pin(read())).await
    }

    /// Reads a range of an object.
    ///
    /// # Errors
    /// Modified if the object has another version now; else as S3 answers.
    pub async fn read(&self, version: &ObjectVersion, range: Range<u64>, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let (object, range) = (&range_name(version, &range), &range);
        let read = || async move {
            let answer = self.get_range(version, range, object, deadline).await?;
            Ok(Body::of(answer, range, object, &self.received).bytes().await)
        };
        retry_body(|| Box::pin(read())).await
    }

    /// Reads ranges of an object and writes each to the same offset of `file`.
    ///
    /// # Errors
    /// Modified if the object has another version now; transient if the disk fails; else as S3 answers.
    pub async fn fetch(
        &self,
        version: &ObjectVersion,
        ranges: &[Range<u64>],
        file: &Arc<File>,
        deadline: Deadline,
    ) -> Result<(), Error> {
        stream::iter(parts(ranges))
            .map(|part| async move {
                let (object, part) = (&range_name(version, &part), &part);
                let fetch = || async move {
                    let answer = self.get_range(version, part, object, deadline).await?;
                    Ok(Body::of(answer, part, object, &self.received).write(file).await)
                };
                retry_body(|| Box::pin(fetch())).await
            })
            .buffer_unordered(PARALLEL_PARTS)
            .try_collect()
            .await
    }

    async fn get_range(
        &self,
        version: &ObjectVersion,
        range: &Range<u64>,
        object: &str,
        deadline: Deadline,
    ) -> Result<GetObjectOutput, Error> {
        let ObjectVersion { id, etag, version_id, .. } = version;
        let get = self.client.get_object().bucket(&id.bucket).key(&id.key).range(range_header(range)).if_match(etag);
        let replaced = match answer(get.clone(), object, deadline).await {
            Err(error) if error.kind == ErrorKind::Modified => error,
            answered => return answered,
        };
        match version_id.as_ref().filter(|_| self.reads_replaced) {
            // the role may lack the right to read versions, and a version may be removed
            Some(id) => answer(get.version_id(id), object, deadline).await.map_err(|error| match error.kind {
                ErrorKind::Permanent | ErrorKind::NotFound => replaced,
                _ => error,
            }),
            None => Err(replaced),
        }
    }
}

/// Returns the answer to `get`, whose body is still to come.
async fn answer(get: GetObjectFluentBuilder, object: &str, deadline: Deadline) -> Result<GetObjectOutput, Error> {
    let answer = async { Box::pin(get.send()).await.map_err(|error| sdk_error(object, &error)) };
    within(deadline, CALL, object, answer).await
}

/// The body of an answer, which must be exactly the range that was asked for.
struct Body<'a> {
    /// Name for errors.
    object: &'a str,
    /// Counts the bytes of all bodies.
    received: &'a AtomicU64,
    /// `Content-Range`.
    stated: Option<String>,
    stream: ByteStream,
    range: &'a Range<u64>,
    /// Bytes of this body so far.
    got: u64,
}

impl<'a> Body<'a> {
    fn of(answer: GetObjectOutput, range: &'a Range<u64>, object: &'a str, received: &'a AtomicU64) -> Self {
        Self { object, received, stated: answer.content_range, stream: answer.body, range, got: 0 }
    }

    /// Refuses the answer if it states another range than the one that was asked for.
    fn check_range(&self) -> Result<(), Error> {
        let asked = range_header(self.range).replace('=', " ");
        match &self.stated {
            Some(stated) if stated.starts_with(&asked) => Ok(()),
            None if self.range.start == 0 => Ok(()), // the whole object
            stated => {
                let stated = stated.as_deref().unwrap_or("nothing");
                Err(Error::transient(self.object, mismatch("Content-Range", asked, stated)))
            }
        }
    }

    async fn bytes(mut self) -> Result<Vec<u8>, Error> {
        self.check_range()?;
        let mut bytes = Vec::new();
        while self.receive(&mut bytes).await? {}
        Ok(bytes)
    }

    /// Writes the body to the offsets of its range in `file`.
    async fn write(mut self, file: &Arc<File>) -> Result<(), Error> {
        self.check_range()?;
        let mut block = Vec::new();
        let mut offset = self.range.start;
        loop {
            let goes_on = self.receive(&mut block).await?;
            if block.len() >= WRITE_BYTES || !goes_on {
                let (bytes, file, at) = (std::mem::take(&mut block), Arc::clone(file), offset);
                offset += bytes.len() as u64;
                let written = tokio::task::spawn_blocking(move || file.write_all_at(&bytes, at)).await;
                let failed = |error| Error::transient(self.object, format_args!("cannot write to disk: {error}"));
                written.map_err(std::io::Error::from).flatten().map_err(failed)?;
            }
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Appends the next bytes to `block`. Returns `false` at the end of the body.
    async fn receive(&mut self, block: &mut Vec<u8>) -> Result<bool, Error> {
        let length = self.range.end - self.range.start;
        let refused =
            |got: &dyn Display| Error::transient(self.object, mismatch("body", format_args!("{length} bytes"), got));
        let Some(bytes) = self.stream.next().await else {
            return if self.got == length { Ok(false) } else { Err(refused(&self.got)) };
        };
        let bytes = bytes.map_err(|error| Error::transient(self.object, chain(&error)))?;
        let count = bytes.len() as u64;
        self.received.fetch_add(count, Ordering::Relaxed);
        self.got += count;
        if self.got > length {
            return Err(refused(&format_args!("at least {}", self.got)));
        }
        block.extend_from_slice(&bytes);
        Ok(true)
    }
}

/// Repeats a read whose body breaks off. The outer result is the answer's, the inner one is the body's.
async fn retry_body<T, F>(read: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Result<T, Error>, Error>>,
{
    let mut tries = 1;
    loop {
        match read().await? {
            Err(broken) if broken.kind.is_transient() && tries < MAX_TRIES => tries += 1,
            body => return body,
        }
    }
}

/// Returns the value of a `Range` header (RFC 9110, section 14.1.2), whose end is inclusive.
fn range_header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

fn range_name(version: &ObjectVersion, range: &Range<u64>) -> String {
    format!("{} bytes {}-{}", version.id, range.start, range.end)
}

/// Returns the length of the object, from `Content-Range: bytes 0-99/1234`, else from an answer that holds all of it.
fn total_length(answer: &GetObjectOutput) -> Option<u64> {
    match answer.content_range() {
        Some(range) => range.rsplit('/').next()?.parse().ok(),
        None => answer.content_length()?.try_into().ok(),
    }
}

/// Splits ranges into parts of at most [`PART_BYTES`].
fn parts(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let step = usize::try_from(PART_BYTES).unwrap_or(usize::MAX);
    let split = |range: &Range<u64>| {
        let end = range.end;
        range.clone().step_by(step).map(move |start| start..end.min(start + PART_BYTES)).collect::<Vec<_>>()
    };
    ranges.iter().flat_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_ranges_into_parts_without_losing_a_byte() {
        const PART: u64 = PART_BYTES;
        assert_eq!(parts(&[5..5, 7..11, 13..13 + PART]), [7..11, 13..13 + PART]);
        assert_eq!(
            parts(&[3..3 + 2 * PART + 1]),
            [3..3 + PART, 3 + PART..3 + 2 * PART, 3 + 2 * PART..3 + 2 * PART + 1]
        );
    }
}
