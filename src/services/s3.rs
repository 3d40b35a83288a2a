//! S3: the client, and calls that concern a whole object. Reads of ranges are in [`super::s3_ranges`].

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use exact_cut::deadline::Deadline;

use crate::error::{Error, ErrorKind, chain};
use crate::services::errors::{sdk_error, within};

const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
const PUT_TIMEOUT: Duration = Duration::from_mins(5);

/// A client of S3. Cheap to clone.
#[derive(Clone, Debug)]
pub struct S3 {
    pub(super) client: Client,
    /// Bytes of objects received so far.
    pub(super) received: Arc<AtomicU64>,
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

/// A file to store, and its properties.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    pub path: &'a Path,
    pub content_type: &'a str,
    /// User-defined metadata, at most 2 KB in all.
    pub metadata: &'a HashMap<String, String>,
}

impl S3 {
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, received: Arc::default() }
    }

    /// Returns a client that counts in `received` the bytes of objects that it receives.
    #[must_use]
    pub fn counting(&self, received: Arc<AtomicU64>) -> Self {
        Self { client: self.client.clone(), received }
    }

    /// Returns the properties of an object, or `None` if it does not exist.
    ///
    /// # Errors
    /// As S3 answers. A role that may not list the bucket gets 403 for a missing object.
    pub async fn head(&self, id: &ObjectId, deadline: Deadline) -> Result<Option<ObjectHead>, Error> {
        let object = id.to_string();
        let head = Box::pin(self.client.head_object().bucket(&id.bucket).key(&id.key).send());
        let answer = async { head.await.map_err(|error| sdk_error(&object, &error)) };
        match within(deadline, HEAD_TIMEOUT, &object, answer).await {
            Ok(head) => {
                let length = head.content_length.and_then(|length| length.try_into().ok()).unwrap_or_default();
                Ok(Some(ObjectHead { length, metadata: head.metadata.unwrap_or_default() }))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores a file. Returns its length in bytes.
    ///
    /// # Errors
    /// Transient if the file cannot be read; else as S3 answers.
    pub async fn put(&self, id: &ObjectId, upload: Upload<'_>, deadline: Deadline) -> Result<u64, Error> {
        let object = id.to_string();
        let put = async {
            let body =
                ByteStream::from_path(upload.path).await.map_err(|error| Error::transient(&object, chain(&error)))?;
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
                // Over TLS the SDK relies on its checksum (CRC-32) for the body anyway. Without it, it would sign every
                // 64 KiB of the body.
                .disable_payload_signing();
            Box::pin(put.send()).await.map_err(|error| sdk_error(&object, &error))?;
            Ok(length)
        };
        within(deadline, PUT_TIMEOUT, &object, put).await
    }
}
