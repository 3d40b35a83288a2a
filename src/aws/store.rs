//! S3: what is stored already, exact ranges of recordings, uploads.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use futures::{StreamExt, TryStreamExt, stream};

use crate::deadline::Deadline;
use crate::error::{Error, Kind, chain};

const HEAD: Duration = Duration::from_secs(20);
const READ: Duration = Duration::from_mins(1);
const UPLOAD: Duration = Duration::from_mins(5);
/// A range is fetched in parts of this many bytes, so that none takes long and a broken one is soon repeated.
const PART: u64 = 8 << 20;
/// Parts that are under way at once.
const PARALLEL: usize = 8;
/// A body of which nothing comes for that long has stalled.
const STALL: Duration = Duration::from_secs(10);
/// Tries for a body that breaks off or stalls. Before its first byte the SDK retries by itself.
const TRIES: usize = 3;

/// S3. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    received: Arc<AtomicU64>,
}

/// An object's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectId {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// One version of an object: what was first read of it holds for all that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The object.
    pub id: ObjectId,
    /// Its `ETag`.
    pub etag: String,
    /// Its length in bytes.
    pub length: u64,
}

/// What a stored object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its length in bytes.
    pub length: u64,
    /// Its user-defined metadata.
    pub metadata: HashMap<String, String>,
}

/// A file to be stored, and what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its media type.
    pub content_type: &'a str,
    /// User-defined object metadata: at most 2 KB in all.
    pub metadata: &'a HashMap<String, String>,
}

impl Store {
    /// S3 by way of `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, received: Arc::default() }
    }

    /// The same, counting in `received` the bytes of objects that come in.
    #[must_use]
    pub fn counting(&self, received: Arc<AtomicU64>) -> Self {
        Self { client: self.client.clone(), received }
    }

    /// What an object says of itself; `None` if there is no such object.
    ///
    /// # Errors
    /// As S3 answers. A role that may not list the bucket gets 403 for a missing object.
    pub async fn head(&self, id: &ObjectId, deadline: Deadline) -> Result<Option<Stored>, Error> {
        let object = id.to_string();
        let head = self.client.head_object().bucket(&id.bucket).key(&id.key).send();
        let answer = async { head.await.map_err(|error| super::error(&object, &error)) };
        match deadline.run(HEAD, &object, answer).await {
            Ok(head) => {
                let length = head.content_length.and_then(|length| length.try_into().ok()).unwrap_or_default();
                Ok(Some(Stored { length, metadata: head.metadata.unwrap_or_default() }))
            }
            Err(error) if error.kind == Kind::Absent => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The first `length` bytes of an object, or all of it if it is shorter, and its version.
    ///
    /// # Errors
    /// Absent if there is no such object, unusable if it is empty; else as S3 answers.
    pub async fn open(&self, id: &ObjectId, length: u64, deadline: Deadline) -> Result<(Vec<u8>, Version), Error> {
        let object = &id.to_string();
        let read = || async move {
            let get = self.client.get_object().bucket(&id.bucket).key(&id.key).range(header(&(0..length)));
            let mut answer = get.send().await.map_err(|error| super::error(object, &error))?;
            let total = total_length(&answer).ok_or_else(|| Error::passing(object, "an answer without a length"))?;
            let etag = answer.e_tag.take().ok_or_else(|| Error::passing(object, "an answer without an ETag"))?;
            let range = 0..length.min(total);
            let mut bytes = Vec::new();
            let take = |_, part: &[u8]| {
                bytes.extend_from_slice(part);
                Ok(())
            };
            let copied = copy(answer, object, &range, (deadline, &self.received), take).await;
            Ok(copied.map(|()| (bytes, Version { id: id.clone(), etag, length: total })))
        };
        whole(|| deadline.run(READ, object, read())).await
    }

    /// Some bytes of an object.
    ///
    /// # Errors
    /// Changed if it is no longer this version; else as S3 answers.
    pub async fn read(&self, version: &Version, range: Range<u64>, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let range = &range;
        whole(|| async move {
            let mut bytes = Vec::new();
            let take = |_, part: &[u8]| {
                bytes.extend_from_slice(part);
                Ok(())
            };
            let copied = self.range(version, range, deadline, take).await?;
            Ok(copied.map(|()| bytes))
        })
        .await
    }

    /// Fetches ranges of an object into `file`, each to where it lies in the object, in parallel. Memory use doesn't
    /// depend on their size.
    ///
    /// # Errors
    /// Changed if it is no longer this version; passing if the disk is full; else as S3 answers.
    pub async fn fetch(
        &self,
        version: &Version,
        ranges: &[Range<u64>],
        file: &File,
        deadline: Deadline,
    ) -> Result<(), Error> {
        stream::iter(parts(ranges))
            .map(|part| async move {
                let write = |at, bytes: &[u8]| file.write_all_at(bytes, at);
                whole(|| self.range(version, &part, deadline, write)).await
            })
            .buffer_unordered(PARALLEL)
            .try_collect()
            .await
    }

    async fn range(
        &self,
        version: &Version,
        range: &Range<u64>,
        deadline: Deadline,
        take: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
    ) -> Result<Body<()>, Error> {
        let Version { id, etag, .. } = version;
        let object = format!("{id} bytes {}-{}", range.start, range.end);
        let get = self.client.get_object().bucket(&id.bucket).key(&id.key).range(header(range)).if_match(etag).send();
        let read = async {
            let answer = get.await.map_err(|error| super::error(&object, &error))?;
            Ok(copy(answer, &object, range, (deadline, &self.received), take).await)
        };
        deadline.run(READ, &object, read).await
    }

    /// Stores a file. Returns its length in bytes.
    ///
    /// # Errors
    /// As S3 answers.
    pub async fn store(&self, id: &ObjectId, upload: Upload<'_>, deadline: Deadline) -> Result<u64, Error> {
        let object = id.to_string();
        let put = async {
            let body =
                ByteStream::from_path(upload.path).await.map_err(|error| Error::passing(&object, chain(&error)))?;
            let (length, _) = body.size_hint();
            let put = self
                .client
                .put_object()
                .bucket(&id.bucket)
                .key(&id.key)
                .content_type(upload.content_type)
                .set_metadata(Some(upload.metadata.clone()))
                .body(body)
                .customize()
                // over TLS the SDK leaves the body to its checksum (CRC-32) anyway; here it would sign every 64 KiB
                .disable_payload_signing();
            put.send().await.map_err(|error| super::error(&object, &error))?;
            Ok(length)
        };
        deadline.run(UPLOAD, &object, put).await
    }
}

/// The value of a `Range` header (RFC 9110, section 14.1.2): both ends belong to it.
fn header(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// The object's length, from `Content-Range: bytes 0-99/1234`, or all of it was sent.
fn total_length(answer: &GetObjectOutput) -> Option<u64> {
    match answer.content_range() {
        Some(range) => range.rsplit('/').next()?.parse().ok(),
        None => answer.content_length()?.try_into().ok(),
    }
}

/// What came of a body once its head was there.
type Body<T> = Result<T, Error>;

/// Asks again where a body breaks off; an answer without a body has been asked for again by the SDK.
async fn whole<T, F: Future<Output = Result<Body<T>, Error>>>(attempt: impl Fn() -> F) -> Result<T, Error> {
    for _ in 1..TRIES {
        match attempt().await? {
            Err(broken) if broken.kind == Kind::Passing => {}
            body => return body,
        }
    }
    attempt().await?
}

/// Takes a body part by part, and insists that it is exactly `range`.
async fn copy(
    mut answer: GetObjectOutput,
    object: &str,
    range: &Range<u64>,
    (deadline, received): (Deadline, &AtomicU64),
    mut take: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> Result<(), Error> {
    let stated = answer.content_range().map(str::to_owned);
    let right = stated.as_deref().is_none_or(|stated| {
        stated.strip_prefix("bytes ").is_some_and(|stated| stated.starts_with(&header(range)["bytes=".len()..]))
    });
    if !right || (stated.is_none() && range.start != 0) {
        return Err(Error::passing(object, format_args!("answered the range {}", stated.unwrap_or_default())));
    }
    let mut at = range.start;
    while let Some(part) = deadline.run(STALL, object, async { Ok(answer.body.next().await) }).await? {
        let part = part.map_err(|error| Error::passing(object, chain(&error)))?;
        received.fetch_add(part.len() as u64, Ordering::Relaxed);
        let end = at + part.len() as u64;
        if end > range.end {
            return Err(Error::passing(object, "answered more bytes than asked for"));
        }
        take(at, &part).map_err(|error| Error::passing(object, format_args!("writing it to disk: {error}")))?;
        at = end;
    }
    if at == range.end {
        Ok(())
    } else {
        Err(Error::passing(object, format_args!("the body ended {} bytes early", range.end - at)))
    }
}

/// Ranges in parts of at most [`PART`] bytes.
fn parts(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let step = usize::try_from(PART).unwrap_or(usize::MAX);
    let cut = |range: &Range<u64>| {
        let end = range.end;
        range.clone().step_by(step).map(move |start| start..end.min(start + PART)).collect::<Vec<_>>()
    };
    ranges.iter().flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_into_parts_without_losing_a_byte() {
        assert_eq!(parts(&[5..5, 7..11, 13..13 + PART]), [7..11, 13..13 + PART]);
        assert_eq!(
            parts(&[3..3 + 2 * PART + 1]),
            [3..3 + PART, 3 + PART..3 + 2 * PART, 3 + 2 * PART..3 + 2 * PART + 1]
        );
    }
}
