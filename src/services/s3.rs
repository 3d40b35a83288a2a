//! S3: the client, and calls that concern a whole object. Reads of ranges are in [`super::s3_ranges`].

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use exact_cut::deadline::Deadline;

use crate::error::{Error, ErrorKind, chain};
use crate::mismatch::mismatch;
use crate::services::errors::{clock_is_wrong, head_error, sdk_error, until, within};
use crate::services::limits::CALL;

/// A file is read in pieces of this size.
const READ_BYTES: usize = 256 << 10;

/// A client of S3. Cheap to clone.
#[derive(Clone, Debug)]
pub struct S3 {
    pub(super) client: Client,
    /// Bytes of objects received so far.
    pub(super) received: Arc<AtomicU64>,
    /// Whether an object that was replaced after its first read is read on as it was, if the bucket keeps versions.
    pub(super) reads_replaced: bool,
}

/// The name of an object. Displayed as `s3://bucket/key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectId {
    pub bucket: String,
    pub key: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

/// The properties of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectHead {
    /// Length in bytes.
    pub length: u64,
    /// User-defined metadata.
    pub metadata: HashMap<String, String>,
}

/// What S3 answers to the look-up of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookUp {
    Found(ObjectHead),
    NotFound,
    /// 403: the role may not look, or not tell that the object does not exist.
    Forbidden(Error),
}

/// A file to store, and its properties.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    pub path: &'a Path,
    pub content_type: &'a str,
    /// `Content-Disposition`, if any.
    pub content_disposition: Option<&'a str>,
    /// `Cache-Control`, if any.
    pub cache_control: Option<&'a str>,
    /// User-defined metadata, at most 2 KB in all.
    pub metadata: &'a HashMap<String, String>,
}

impl S3 {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, received: Arc::default(), reads_replaced: false }
    }

    /// Returns a client that counts in `received` the bytes of objects that it receives.
    #[must_use]
    pub fn counting(&self, received: Arc<AtomicU64>) -> Self {
        Self { received, ..self.clone() }
    }

    /// Returns a client that reads an object on as it was at its first read, also after it was replaced, if the bucket keeps
    /// versions.
    #[must_use]
    pub fn reading_replaced(self, reads_replaced: bool) -> Self {
        Self { reads_replaced, ..self }
    }

    /// Looks an object up. A role that may not list the bucket gets 403 for a missing object.
    ///
    /// # Errors
    /// As S3 answers, except for 403 and 404.
    pub async fn head(&self, id: &ObjectId, deadline: Deadline) -> Result<LookUp, Error> {
        let object = id.to_string();
        let head = || Box::pin(self.client.head_object().bucket(&id.bucket).key(&id.key).send());
        let look_up = async {
            let answer = match head().await {
                // the client has learned the right time from the answer, but not that the clock was to blame
                Err(error) if clock_is_wrong(&error) => head().await,
                answer => answer,
            };
            match answer {
                Ok(head) => {
                    let length = head.content_length.and_then(|length| length.try_into().ok()).unwrap_or_default();
                    Ok(LookUp::Found(ObjectHead { length, metadata: head.metadata.unwrap_or_default() }))
                }
                Err(error) => {
                    let is_forbidden = error.raw_response().is_some_and(|answer| answer.status().as_u16() == 403);
                    match head_error(&object, &error) {
                        error if error.kind == ErrorKind::NotFound => Ok(LookUp::NotFound),
                        error if is_forbidden => Ok(LookUp::Forbidden(error)),
                        error => Err(error),
                    }
                }
            }
        };
        within(deadline, CALL, &object, look_up).await
    }

    /// Stores a file. Returns its length in bytes. S3 refuses a body without the CRC-32 that is sent with it (`BadDigest`;
    /// Amazon S3 User Guide, "Checking object integrity"), so the object is the file.
    ///
    /// # Errors
    /// Transient if the file cannot be read or S3 names another CRC-32; else as S3 answers. An upload takes as long as its
    /// bytes move, until the deadline.
    pub async fn put(&self, id: &ObjectId, upload: Upload<'_>, deadline: Deadline) -> Result<u64, Error> {
        let object = id.to_string();
        let put = async {
            let crc32 = crc32(upload.path).await.map_err(|error| Error::transient(&object, chain(&error)))?;
            let body =
                ByteStream::from_path(upload.path).await.map_err(|error| Error::transient(&object, chain(&error)))?;
            let (length, _) = body.size_hint();
            let put = self
                .client
                .put_object()
                .bucket(&id.bucket)
                .key(&id.key)
                .content_type(upload.content_type)
                .set_content_disposition(upload.content_disposition.map(str::to_owned))
                .set_cache_control(upload.cache_control.map(str::to_owned))
                .set_metadata(Some(upload.metadata.clone()))
                .checksum_crc32(&crc32)
                .body(body)
                .customize()
                // the CRC-32 protects the body, so a signature over it would only cost time
                .disable_payload_signing();
            let stored = Box::pin(put.send()).await.map_err(|error| sdk_error(&object, &error))?;
            match stored.checksum_crc32() {
                Some(other) if other != crc32 => {
                    Err(Error::transient(&object, mismatch("CRC-32 of the upload", crc32, other)))
                }
                _ => Ok(length),
            }
        };
        until(deadline, &object, put).await
    }
}

/// Returns the CRC-32 of a file as S3 writes it: big-endian, in Base64.
async fn crc32(path: &Path) -> std::io::Result<String> {
    let path = path.to_owned();
    let crc32 = tokio::task::spawn_blocking(move || {
        let (mut file, mut crc32, mut buffer) = (File::open(path)?, crc32fast::Hasher::new(), vec![0; READ_BYTES]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(crc32.finalize()),
                read => crc32.update(&buffer[..read]),
            }
        }
    });
    let crc32 = crc32.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)))?;
    Ok(base64_simd::STANDARD.encode_to_string(crc32.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_crc_32_of_a_file_is_written_as_s3_writes_it() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "123456789").expect("written");
        assert_eq!(crc32(file.path()).await.expect("readable"), "y/Q5Jg==", "0xCBF43926, the check value of CRC-32");
        std::fs::write(file.path(), vec![7; READ_BYTES + 1]).expect("written");
        let whole = crc32fast::hash(&vec![7; READ_BYTES + 1]).to_be_bytes();
        assert_eq!(crc32(file.path()).await.expect("readable"), base64_simd::STANDARD.encode_to_string(whole));
    }
}
