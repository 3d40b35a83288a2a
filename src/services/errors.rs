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
    in_time.unwrap_or_else(|TimedOut { after }| Err(timed_out(object, after, after < timeout)))
}

/// Runs a call that concerns `object`, until the deadline.
///
/// # Errors
/// Transient when the time runs out, or the error of the call.
pub(super) async fn until<T>(
    deadline: Deadline,
    object: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match deadline.left() {
        None => call.await,
        Some(left) => tokio::time::timeout(left, call).await.unwrap_or_else(|_| Err(timed_out(object, left, true))),
    }
}

/// Returns the error of an attempt that took longer than `after`. `is_cut` says that the deadline made it that short: a
/// short timeout of the function looks like a slow service.
pub(super) fn timed_out(object: &str, after: Duration, is_cut: bool) -> Error {
    let why = if is_cut { ", because little time was left of the invocation" } else { "" };
    Error::transient(object, format_args!("{}{why}", TimedOut { after }))
}

/// Translates the error of an SDK. The SDK has made its own retries before.
pub(super) fn sdk_error<E>(object: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let answer = error.raw_response();
    let status = answer.map(|answer| answer.status().as_u16());
    let kind = match status {
        None if matches!(error, SdkError::DispatchFailure(failure) if failure.is_io()) => ErrorKind::Unreachable,
        None => ErrorKind::Transient,
        Some(status) => kind(status, error.code(), error.message()),
    };
    let Some(answer) = answer else { return Error::new(kind, object, chain(error)) };
    let status = StatusCode::from_u16(answer.status().as_u16()).map(|status| status.to_string()).unwrap_or_default();
    let header = |name| answer.headers().get(name);
    let region = header("x-amz-bucket-region").filter(|_| status.starts_with('3'));
    let elsewhere = region.map(|region| format!("; the bucket is in the region {region}")).unwrap_or_default();
    let request = header("x-amz-request-id").map(|id| format!(" (request {id})")).unwrap_or_default();
    // the SDK knows no more than "unhandled error" without a code: an answer to HEAD has no body
    let reason = if error.code().is_none() { " without a reason".to_owned() } else { format!(": {}", chain(error)) };
    Error::new(kind, object, format_args!("answered {status}{reason}{elsewhere}{request}"))
}

/// Returns the meaning of an answer of AWS.
fn kind(status: u16, code: Option<&str>, message: Option<&str>) -> ErrorKind {
    match (status, code.unwrap_or_default()) {
        // A missing bucket is a configuration error, not footage still to come.
        (404, "NoSuchBucket") => ErrorKind::Permanent,
        (404, _) => ErrorKind::NotFound,
        (412, _) => ErrorKind::Modified,
        (416, _) => ErrorKind::UnusableFootage, // the range lies beyond the object, so the object is empty
        (408 | 429 | 500.., _) => ErrorKind::Transient,
        (_, code) if passes(code) || has_an_old_date(code, message) => ErrorKind::Transient,
        // Amazon S3 API Reference, `GetObject`: the object is in S3 Glacier or in an archive tier
        (403, "InvalidObjectState") => ErrorKind::Archived,
        _ => ErrorKind::Permanent,
    }
}

/// Returns whether a later try may succeed although the status says otherwise: the service or its KMS key has too many
/// calls (`KmsThrottled`, `KMSThrottling`, `ThrottlingException`), the connection was slow, or credentials or clock are off,
/// which the next process of the function may not be ("Common Error Types" and "Error responses" of the API references of
/// SQS, SNS and S3).
fn passes(code: &str) -> bool {
    matches!(
        code,
        "RequestTimeout"
            | "RequestTimeoutException"
            | "SlowDown"
            | "ExpiredToken"
            | "ExpiredTokenException"
            | "RequestExpired"
            | "RequestTimeTooSkewed"
    ) || code.contains("Throttl")
}

/// Returns whether a signature was refused for its date. SQS and SNS have no code for that (AWS Identity and Access
/// Management User Guide, "Troubleshoot Signature Version 4 signing for AWS API requests").
fn has_an_old_date(code: &str, message: Option<&str>) -> bool {
    let is_dated =
        |message: &str| message.contains("Signature expired") || message.contains("Signature not yet current");
    matches!(code, "SignatureDoesNotMatch" | "InvalidSignatureException") && message.is_some_and(is_dated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_transient_and_a_refusal_is_not() {
        let old = Some("Signature expired: 20180916T173017Z is now earlier than 20180916T181517Z");
        for (status, code, message, expected) in [
            (400, "ExpiredToken", None, ErrorKind::Transient),
            (403, "ExpiredTokenException", None, ErrorKind::Transient),
            (403, "RequestTimeTooSkewed", None, ErrorKind::Transient),
            (403, "SignatureDoesNotMatch", old, ErrorKind::Transient),
            (403, "SignatureDoesNotMatch", Some("check your key"), ErrorKind::Permanent),
            (400, "InvalidSignatureException", old, ErrorKind::Transient),
            (400, "KmsThrottled", None, ErrorKind::Transient),
            (400, "KMSThrottling", None, ErrorKind::Transient),
            (400, "ThrottlingException", None, ErrorKind::Transient),
            (400, "KMS.DisabledException", None, ErrorKind::Permanent),
            (400, "RequestTimeout", None, ErrorKind::Transient),
            (503, "SlowDown", None, ErrorKind::Transient),
            (403, "AccessDenied", None, ErrorKind::Permanent),
            (403, "InvalidObjectState", None, ErrorKind::Archived),
            (301, "PermanentRedirect", None, ErrorKind::Permanent),
            (404, "NoSuchKey", None, ErrorKind::NotFound),
            (404, "NoSuchBucket", None, ErrorKind::Permanent),
        ] {
            assert_eq!(kind(status, Some(code), message), expected, "{status} {code} {message:?}");
        }
        assert_eq!(kind(403, None, None), ErrorKind::Permanent, "HEAD gives no reason");
    }
}
