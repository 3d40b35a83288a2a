//! S3: what is stored already, exact ranges of recordings, uploads.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
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
/// Tries for a body that breaks off. Before its first byte the SDK retries by itself.
const TRIES: usize = 3;

/// S3. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
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
    pub const fn new(client: Client) -> Self {
        Self { client }
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
        let object = id.to_string();
        let get = self.client.get_object().bucket(&id.bucket).key(&id.key).range(header(&(0..length))).send();
        let read = async {
            let mut answer = get.await.map_err(|error| super::error(&object, &error))?;
            let total = total_length(&answer).ok_or_else(|| Error::passing(&object, "an answer without a length"))?;
            let etag = answer.e_tag.take().ok_or_else(|| Error::passing(&object, "an answer without an ETag"))?;
            let mut bytes = Vec::new();
            let range = 0..length.min(total);
            copy(answer, &object, &range, |_, part| {
                bytes.extend_from_slice(part);
                Ok(())
            })
            .await?;
            Ok((bytes, Version { id: id.clone(), etag, length: total }))
        };
        deadline.run(READ, &object, read).await
    }

    /// Some bytes of an object.
    ///
    /// # Errors
    /// Changed if it is no longer this version; else as S3 answers.
    pub async fn read(&self, version: &Version, range: Range<u64>, deadline: Deadline) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.range(version, &range, deadline, |_, part| {
            bytes.extend_from_slice(part);
            Ok(())
        })
        .await?;
        Ok(bytes)
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
                for attempt in 1.. {
                    let write = |at, bytes: &[u8]| file.write_all_at(bytes, at);
                    match self.range(version, &part, deadline, write).await {
                        Err(error) if error.kind == Kind::Passing && attempt < TRIES => {}
                        result => return result,
                    }
                }
                Ok(())
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
    ) -> Result<(), Error> {
        let Version { id, etag, .. } = version;
        let object = format!("{id} bytes {}-{}", range.start, range.end);
        let get = self.client.get_object().bucket(&id.bucket).key(&id.key).range(header(range)).if_match(etag).send();
        let read = async {
            let answer = get.await.map_err(|error| super::error(&object, &error))?;
            copy(answer, &object, range, take).await
        };
        deadline.run(READ, &object, read).await
    }

    /// Stores a file.
    ///
    /// # Errors
    /// As S3 answers.
    pub async fn store(&self, id: &ObjectId, upload: Upload<'_>, deadline: Deadline) -> Result<(), Error> {
        let object = id.to_string();
        let put = async {
            let body =
                ByteStream::from_path(upload.path).await.map_err(|error| Error::passing(&object, chain(&error)))?;
            let put = self
                .client
                .put_object()
                .bucket(&id.bucket)
                .key(&id.key)
                .content_type(upload.content_type)
                .set_metadata(Some(upload.metadata.clone()))
                .body(body);
            put.send().await.map(drop).map_err(|error| super::error(&object, &error))
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

/// Takes a body part by part, and insists that it is exactly `range`.
async fn copy(
    mut answer: GetObjectOutput,
    object: &str,
    range: &Range<u64>,
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
    while let Some(part) = answer.body.next().await {
        let part = part.map_err(|error| Error::passing(object, chain(&error)))?;
        let end = at + part.len() as u64;
        if end > range.end {
            return Err(Error::passing(object, "answered more bytes than asked for"));
        }
        take(at, &part).map_err(|error| Error::passing(object, error))?;
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
