//! Why a request has no clip, or one with gaps: for its log line. Pure.

use chrono::SecondsFormat;

use crate::contract::status::Status;
use crate::telemetry::document::{Document, Recording};

/// Returns an instant in RFC 3339, in UTC.
pub(super) fn instant(ms: i64) -> Option<String> {
    Some(chrono::DateTime::from_timestamp_millis(ms)?.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// Returns why the clip of a request is pending, not available, too long, or has gaps. A clip without gaps needs no reason,
/// and a failure has its own.
pub(super) fn reason(document: &Document) -> Option<String> {
    let request = &document.request;
    if document.failure.is_some() {
        return None;
    }
    if document.status == Status::TooLong.as_str() {
        let length_ms = request.end_timestamp_in_ms - request.start_timestamp_in_ms;
        return Some(format!("the span has {length_ms} ms"));
    }
    if document.gaps.is_empty() || document.listed.is_none() {
        return None;
    }
    let missing = || document.recordings.iter().filter(|recording| recording.shows.is_none());
    let absent = missing().filter(|recording| recording.error.is_none()).count();
    let unreadable = missing().find(|recording| recording.error.is_some());
    let mut reasons = Vec::new();
    match (document.listed, document.recordings.len()) {
        (Some(0), _) => reasons.push("the camera API lists no recording".to_owned()),
        (Some(listed), 0) => reasons.push(format!("none of {listed} listed recordings lies in the span")),
        _ => {}
    }
    if absent > 0 {
        let first = document.first_absent.as_deref().unwrap_or("an object");
        reasons.push(format!("S3 does not have {first} ({absent} absent)"));
    }
    if let Some(Recording { name, error: Some(error), .. }) = unreadable {
        reasons.push(format!("{name} cannot be read: {error}"));
    }
    let end_us = request.end_timestamp_in_ms.saturating_mul(1000);
    let is_shown = !document.parts.is_empty();
    if let Some(tail) = document.gaps.iter().find(|gap| gap.end_us >= end_us).filter(|_| is_shown) {
        let ends = instant(tail.start_us / 1000).unwrap_or_default();
        reasons.push(format!("the footage ends at {ends}"));
    }
    if reasons.is_empty() {
        reasons.push(if is_shown { "the footage has gaps" } else { "no recording shows any of the span" }.to_owned());
    }
    Some(reasons.join("; "))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::contract::message_body::tests::request;
    use crate::telemetry::document::{Part, TimeRange};

    const START_MS: i64 = 1_537_119_363_000;

    fn document(status: Status) -> Document {
        let mut document = Document::new(&request(START_MS, START_MS + 2000), SystemTime::now());
        document.status = status.as_str();
        document
    }

    fn range(from_ms: i64, to_ms: i64) -> TimeRange {
        TimeRange { start_us: (START_MS + from_ms) * 1000, end_us: (START_MS + to_ms) * 1000 }
    }

    fn recording(shows: Option<TimeRange>, error: Option<&str>) -> Recording {
        Recording { name: "a.mp4".to_owned(), shows, bytes: 0, error: error.map(str::to_owned) }
    }

    #[test]
    fn says_what_is_missing_of_a_pending_clip() {
        let pending = document(Status::Pending);
        let whole_gap = vec![range(0, 2000)];
        let none = Document { listed: Some(0), gaps: whole_gap.clone(), ..pending.clone() };
        assert_eq!(reason(&none).as_deref(), Some("the camera API lists no recording"));
        let other = Document { listed: Some(7), gaps: whole_gap.clone(), ..pending.clone() };
        assert_eq!(reason(&other).as_deref(), Some("none of 7 listed recordings lies in the span"));
        let absent = Document {
            listed: Some(1),
            gaps: whole_gap,
            recordings: vec![recording(None, None)],
            first_absent: Some("s3://b/a.mp4".to_owned()),
            ..pending.clone()
        };
        assert_eq!(reason(&absent).as_deref(), Some("S3 does not have s3://b/a.mp4 (1 absent)"));
        let tail = Document {
            listed: Some(2),
            gaps: vec![range(1500, 2000)],
            recordings: vec![recording(Some(range(0, 1500)), None), recording(None, Some("no moov"))],
            parts: vec![Part { recording: 0, shows: range(0, 1500) }],
            ..pending
        };
        let expected = "a.mp4 cannot be read: no moov; the footage ends at 2018-09-16T17:36:04.500Z";
        assert_eq!(reason(&tail).as_deref(), Some(expected));
    }

    #[test]
    fn a_whole_clip_needs_no_reason_and_one_that_is_too_long_has_its_length() {
        let whole = Document { listed: Some(1), ..document(Status::Available) };
        assert_eq!(reason(&whole), None);
        assert_eq!(reason(&document(Status::TooLong)).as_deref(), Some("the span has 2000 ms"));
    }
}
