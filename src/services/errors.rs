//! From the error of a call to its meaning for the request.

use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use exact_cut::deadline::{Deadline, TimedOut};

use crate::error::{Error, ErrorKind, chain};

/// Runs a call that concerns `object`, for at most `timeout` and within the deadline.
///
/// # Errors
/// Transient when the time runs out, or the error of the call.
pub(super) async fn within<T>(
    deadline: Deadline,
    timeout: Duration,
    object: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let in_time = deadline.run(timeout, async { Ok::<_, TimedOut>(call.await) }).await;
    in_time.unwrap_or_else(|timed_out| Err(Error::transient(object, timed_out)))
}

/// Translates the error of an SDK. The SDK has made its own retries before.
pub(super) fn sdk_error<E>(object: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let kind = match status {
        // A missing bucket is a configuration error, not footage still to come.
        Some(404) if error.code() == Some("NoSuchBucket") => ErrorKind::Permanent,
        Some(404) => ErrorKind::NotFound,
        Some(412) => ErrorKind::Modified,
        Some(416) => ErrorKind::UnusableFootage, // the range lies beyond the object, so the object is empty
        Some(408 | 429 | 500..) | None => ErrorKind::Transient,
        Some(_) if matches!(error.code(), Some("RequestTimeout" | "SlowDown" | "Throttling")) => ErrorKind::Transient,
        Some(_) => ErrorKind::Permanent,
    };
    let status = status.map(|status| format!("answered {status}: ")).unwrap_or_default();
    Error::new(kind, object, format_args!("{status}{}", chain(error)))
}
