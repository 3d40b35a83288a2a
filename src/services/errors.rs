//! From the error of a call to its meaning for the request.

use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use exact_cut::deadline::{Deadline, TimedOut};
use reqwest::StatusCode;

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
    in_time.unwrap_or_else(|timed_out| {
        // a short timeout of the function looks like a slow service
        let own = timed_out.after >= timeout;
        let why = if own { "" } else { ", a quarter of the time that was left of the invocation" };
        Err(Error::transient(object, format_args!("{timed_out}{why}")))
    })
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
        None if matches!(error, SdkError::DispatchFailure(failure) if failure.is_io()) => ErrorKind::Unreachable,
        Some(408 | 429 | 500..) | None => ErrorKind::Transient,
        Some(_) if matches!(error.code(), Some("RequestTimeout" | "SlowDown" | "Throttling")) => ErrorKind::Transient,
        // Amazon S3 API Reference, `GetObject`: the object is in S3 Glacier or in an archive tier
        Some(403) if error.code() == Some("InvalidObjectState") => ErrorKind::Archived,
        Some(_) => ErrorKind::Permanent,
    };
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let request = error.raw_response().and_then(|response| response.headers().get("x-amz-request-id"));
    let request = request.map(|id| format!(" (request {id})")).unwrap_or_default();
    match status {
        // the SDK knows no more than "unhandled error": an answer to HEAD has no body
        Some(status) if error.code().is_none() => {
            Error::new(kind, object, format_args!("answered {status} without a reason{request}"))
        }
        Some(status) => Error::new(kind, object, format_args!("answered {status}: {}{request}", chain(error))),
        None => Error::new(kind, object, chain(error)),
    }
}
