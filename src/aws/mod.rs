//! S3, SQS and SNS: the only files that name the SDKs' types. Each turns the SDK's errors into ours in one place.

pub mod queue;
pub mod store;
pub mod topic;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::error::{Error, Kind, chain};

/// What an SDK's error means. The SDK has retried by itself before it gives up.
fn error<E>(object: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let kind = match status {
        // a bucket that is not there is no footage that is not there yet
        Some(404) if error.code() == Some("NoSuchBucket") => Kind::Refused,
        Some(404) => Kind::Absent,
        Some(412) => Kind::Changed,
        Some(416) => Kind::Unusable, // a range beyond the object: it is empty
        Some(408 | 429 | 500..) | None => Kind::Passing,
        Some(_) if matches!(error.code(), Some("RequestTimeout" | "SlowDown" | "Throttling")) => Kind::Passing,
        Some(_) => Kind::Refused,
    };
    let status = status.map(|status| format!("answered {status}: ")).unwrap_or_default();
    Error::new(kind, object, format_args!("{status}{}", chain(error)))
}
