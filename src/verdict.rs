//! The status table of CONTRACT.md section 5, line by line. Pure: it knows the message's own timestamps, never a clock.

use serde::Serialize;

use crate::request::Request;

/// What is said of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// Stored, with whatever footage there is.
    #[serde(rename = "CLIP_AVAILABLE")]
    Available,
    /// Footage may still come; the message goes round again.
    #[serde(rename = "CLIP_PENDING")]
    Pending,
    /// The span is longer than allowed.
    #[serde(rename = "CLIP_TOO_LONG")]
    TooLong,
    /// It was waited for, and nothing came.
    #[serde(rename = "CLIP_RETRY_TIMEOUT")]
    RetryTimeout,
    /// Nothing there, and asked too long after the span.
    #[serde(rename = "CLIP_OUT_OF_RANGE")]
    OutOfRange,
    /// Nothing there.
    #[serde(rename = "CLIP_NOT_AVAILABLE")]
    NotAvailable,
    /// Footage is there, but no clip can be made of it.
    #[serde(rename = "FATAL_ERROR")]
    FatalError,
}

impl Status {
    /// The word itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "CLIP_AVAILABLE",
            Self::Pending => "CLIP_PENDING",
            Self::TooLong => "CLIP_TOO_LONG",
            Self::RetryTimeout => "CLIP_RETRY_TIMEOUT",
            Self::OutOfRange => "CLIP_OUT_OF_RANGE",
            Self::NotAvailable => "CLIP_NOT_AVAILABLE",
            Self::FatalError => "FATAL_ERROR",
        }
    }
}

/// The limits that name a failure, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `VIDEO_MAX_LEN`.
    pub video_max_len_s: u32,
    /// `SQS_RETRY_LIMIT`.
    pub sqs_retry_limit_s: u32,
    /// `OUT_OF_RANGE_LIMIT`.
    pub out_of_range_limit_s: u32,
}

/// What was found of the span.
#[allow(clippy::struct_excessive_bools)] // four independent facts, each a column of the table
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// There is footage of some of it.
    pub some: bool,
    /// There is a gap anywhere.
    pub gap: bool,
    /// There is a gap at its end.
    pub tail_gap: bool,
    /// A listed object that S3 doesn't have.
    pub absent: bool,
}

/// Row 1, decided before any look-up.
#[must_use]
pub fn too_long(request: &Request, limits: &Limits) -> bool {
    request.span.length_us() > i64::from(limits.video_max_len_s) * 1_000_000
}

/// Rows 2 to 7: the first that fits.
#[must_use]
pub fn decide(request: &Request, limits: &Limits, found: Found) -> Status {
    let whole = found.some && !found.gap;
    let worth_waiting = !found.some || found.tail_gap || found.absent;
    if whole || !worth_waiting {
        Status::Available
    } else if may_still_wait(request, limits) {
        Status::Pending
    } else if found.some {
        Status::Available
    } else if !request.retry_timestamps_ms.is_empty() {
        Status::RetryTimeout
    } else if age_ms(request) > ms(limits.out_of_range_limit_s) {
        Status::OutOfRange
    } else {
        Status::NotAvailable
    }
}

/// *asked*: when the request was first made.
fn asked_ms(request: &Request) -> i64 {
    request.retry_timestamps_ms.iter().copied().min().unwrap_or(request.sent_ms)
}

/// *age*: how far from the span it was asked. Absolute: the sample event asks before its footage.
fn age_ms(request: &Request) -> u64 {
    asked_ms(request).abs_diff(request.span.start().as_ms())
}

/// *waited*: how long this request has been going round since its footage could have been there.
fn waited_ms(request: &Request) -> u64 {
    let since = asked_ms(request).max(request.span.end().as_ms());
    u64::try_from(request.sent_ms.saturating_sub(since)).unwrap_or(0)
}

fn may_still_wait(request: &Request, limits: &Limits) -> bool {
    let limit = ms(limits.sqs_retry_limit_s);
    age_ms(request) <= limit && waited_ms(request) <= limit
}

fn ms(seconds: u32) -> u64 {
    u64::from(seconds) * 1000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::tests::request;

    const LIMITS: Limits = Limits { video_max_len_s: 300, sqs_retry_limit_s: 900, out_of_range_limit_s: 259_200 };
    const START: i64 = 1_537_119_363_000;
    const END: i64 = START + 60_000;
    const RETRY: i64 = 900_000;
    const RANGE: i64 = 259_200_000;

    const WHOLE: Found = Found { some: true, gap: false, tail_gap: false, absent: false };
    const HEAD_OR_MIDDLE: Found = Found { gap: true, ..WHOLE };
    const TAIL: Found = Found { gap: true, tail_gap: true, ..WHOLE };
    const ABSENT: Found = Found { gap: true, absent: true, ..WHOLE };
    const NOTHING: Found = Found { some: false, gap: true, tail_gap: true, absent: false };

    fn asked(sent_ms: i64, retries: &[i64]) -> Request {
        let mut request = request(START, END);
        request.sent_ms = sent_ms;
        request.retry_timestamps_ms = retries.to_vec();
        request
    }

    #[test]
    fn row_1_a_span_over_the_limit_is_too_long_and_one_of_just_the_limit_is_not() {
        assert!(!too_long(&request(START, START + 300_000), &LIMITS));
        assert!(too_long(&request(START, START + 300_001), &LIMITS));
    }

    #[test]
    fn every_row_and_boundary_of_the_table() {
        let far = START + 10 * RANGE;
        #[rustfmt::skip]
        let table = [
            ("row 2: whole, asked long ago",                     WHOLE,          far,               vec![],               Status::Available),
            ("row 2: whole although a listed object is absent",  Found { absent: true, ..WHOLE }, END, vec![],            Status::Available),
            ("row 2: gaps with footage behind them",             HEAD_OR_MIDDLE, END,               vec![],               Status::Available),
            ("row 3: tail",                                      TAIL,           END,               vec![],               Status::Pending),
            ("row 3: a listed object absent in the middle",      ABSENT,         END,               vec![],               Status::Pending),
            ("row 3: nothing",                                   NOTHING,        END,               vec![],               Status::Pending),
            ("row 3: asked before the span",                     NOTHING,        START - RETRY,     vec![],               Status::Pending),
            ("row 3: age just within",                           NOTHING,        START + RETRY,     vec![],               Status::Pending),
            ("row 7: age just over",                             NOTHING,        START + RETRY + 1, vec![],               Status::NotAvailable),
            ("row 7: asked too long before the span",            NOTHING,        START - RETRY - 1, vec![],               Status::NotAvailable),
            ("row 4: tail, age just over",                       TAIL,           START + RETRY + 1, vec![],               Status::Available),
            ("row 4: absent, age just over",                     ABSENT,         START + RETRY + 1, vec![],               Status::Available),
            ("row 3: waited just within, counted from the end",  NOTHING,        END + RETRY,       vec![START],          Status::Pending),
            ("row 5: waited just over",                          NOTHING,        END + RETRY + 1,   vec![START],          Status::RetryTimeout),
            ("row 4: tail, waited just over",                    TAIL,           END + RETRY + 1,   vec![START],          Status::Available),
            ("row 3: waited counts from the first try",          NOTHING,        END + 7 + RETRY,   vec![END + 9, END + 7], Status::Pending),
            ("row 5: one over that",                             NOTHING,        END + 8 + RETRY,   vec![END + 9, END + 7], Status::RetryTimeout),
            ("row 5: retried comes before out of range",         NOTHING,        far,               vec![far],            Status::RetryTimeout),
            ("row 7: age just within the range",                 NOTHING,        START + RANGE,     vec![],               Status::NotAvailable),
            ("row 6: age just over the range",                   NOTHING,        START + RANGE + 1, vec![],               Status::OutOfRange),
            ("row 6: in the other direction",                    NOTHING,        START - RANGE - 1, vec![],               Status::OutOfRange),
        ];
        for (case, found, sent_ms, retries, expected) in table {
            assert_eq!(decide(&asked(sent_ms, &retries), &LIMITS, found), expected, "{case}");
        }
    }

    #[test]
    fn a_status_is_written_as_it_is_called() {
        for status in [Status::Available, Status::Pending, Status::TooLong, Status::RetryTimeout].into_iter().chain([
            Status::OutOfRange,
            Status::NotAvailable,
            Status::FatalError,
        ]) {
            assert_eq!(serde_json::json!(status), status.as_str());
        }
    }

    proptest! {
        #[test]
        fn footage_that_is_there_is_served_at_any_age(
            sent in 0..=crate::time::LAST_MS,
            retries in prop::collection::vec(0..=crate::time::LAST_MS, 0..3),
            gap: bool, tail_gap: bool, absent: bool,
        ) {
            let found = Found { some: true, gap: gap || tail_gap, tail_gap, absent };
            let status = decide(&asked(sent, &retries), &LIMITS, found);
            prop_assert!(matches!(status, Status::Available | Status::Pending));
        }

        #[test]
        fn waiting_ends(first in 0..=END + RETRY) {
            let status = decide(&asked(first.max(END) + RETRY + 1, &[first]), &LIMITS, NOTHING);
            prop_assert_eq!(status, Status::RetryTimeout);
        }
    }
}
