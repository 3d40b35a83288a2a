//! From the error of a call to its meaning for the request.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use exact_cut::deadline::{Deadline, TimedOut};
use reqwest::StatusCode;

use crate::error::{Error, ErrorKind, chain};

/// The SDKs take a clock that is less wrong for right.
const CLOCK_TOLERANCE: chrono::TimeDelta = chrono::TimeDelta::minutes(4);
/// Headers that name a request: of S3, and of SQS and SNS.
const REQUEST_ID_HEADERS: [&str; 2] = ["x-amz-request-id", "x-amzn-requestid"];

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
    translated(object, error, "no reason told")
}

/// Translates the error of a HEAD request. Its answer has no body, and so no reason.
pub(super) fn head_error<E>(object: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    translated(object, error, "HEAD tells no reason")
}

/// Translates the error of an SDK. A refusal without a reason says `untold` instead.
fn translated<E>(object: &str, error: &SdkError<E, HttpResponse>, untold: &str) -> Error
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
    let request = REQUEST_ID_HEADERS.into_iter().find_map(header).map(|id| format!("request {id}"));
    // the chain of a refusal ends in a debug print of its code and its message
    let reason = match error {
        SdkError::ServiceError(_) => error.code().map(|code| match error.message() {
            Some(message) => format!(": {code}: {message}"),
            None => format!(": {code}"),
        }),
        broken => Some(format!(": {}", chain(broken))),
    };
    let untold = reason.is_none().then(|| untold.to_owned());
    let remarks: Vec<String> = untold.into_iter().chain(request).collect();
    let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join("; ")) };
    let reason = reason.unwrap_or_default();
    Error::new(kind, object, format_args!("answered {status}{reason}{remarks}{elsewhere}"))
}

/// Returns whether a refusal without a reason may be due to the clock, by the date of the answer. AWS takes signatures
/// that are up to 5 minutes old; S3, up to 15.
pub(super) fn clock_is_wrong<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let Some(answer) = error.raw_response().filter(|_| error.code().is_none()) else { return false };
    let date = answer.headers().get("date").and_then(|date| chrono::DateTime::parse_from_rfc2822(date).ok());
    let off = date.map(|date| (date.to_utc() - chrono::DateTime::from(SystemTime::now())).abs());
    answer.status().as_u16() == 403 && off > Some(CLOCK_TOLERANCE)
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
/// calls (`KmsThrottled`, `KMSThrottling`, `ThrottlingException`), the connection was slow or changed a body, or credentials or
/// clock are off, which the next process of the function may not be ("Common Error Types" and "Error responses" of the API
/// references of SQS, SNS and S3).
fn passes(code: &str) -> bool {
    matches!(
        code,
        "RequestTimeout"
            | "RequestTimeoutException"
            | "SlowDown"
            | "BadDigest"
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
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    fn refused(status: u16, header: &'static str, code: Option<&str>) -> SdkError<ErrorMetadata, HttpResponse> {
        let status = status.try_into().expect("a status");
        let mut answer = HttpResponse::new(status, SdkBody::empty());
        answer.headers_mut().insert(header, "4442");
        let mut metadata = ErrorMetadata::builder();
        if let Some(code) = code {
            metadata = metadata.code(code).message("Access Denied");
        }
        SdkError::service_error(metadata.build(), answer)
    }

    #[test]
    fn a_refusal_gives_code_message_and_request() {
        let denied = Some("AccessDenied");
        for (error, text) in [
            (
                sdk_error("topic", &refused(403, "x-amzn-RequestId", denied)),
                "topic: answered 403 Forbidden: AccessDenied: Access Denied (request 4442)",
            ),
            (
                sdk_error("s3://b/k", &refused(403, "x-amz-request-id", denied)).see("S3_BUCKET_ORIGIN"),
                "s3://b/k: answered 403 Forbidden: AccessDenied: Access Denied (request 4442); see S3_BUCKET_ORIGIN",
            ),
            (
                head_error("s3://b/k", &refused(403, "x-amz-request-id", None)),
                "s3://b/k: answered 403 Forbidden (HEAD tells no reason; request 4442)",
            ),
            (
                sdk_error("s3://b/k", &refused(503, "other", None)).see("S3_BUCKET_ORIGIN"),
                "s3://b/k: answered 503 Service Unavailable (no reason told)",
            ),
            (
                sdk_error("s3://b/k", &refused(301, "x-amz-bucket-region", Some("PermanentRedirect"))),
                "s3://b/k: answered 301 Moved Permanently: PermanentRedirect: Access Denied; \
                 the bucket is in the region 4442",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

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
