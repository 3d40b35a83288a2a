//! The status table (docs/contract.md, section 5), row by row. It knows the timestamps of the message, never a clock.

use exact_cut::open::{ListedRecording, Recordings, UnreadableRecording};
use exact_cut::plan::coverage::Coverage;
use exact_cut::time::{Span, Timestamp};

use crate::contract::clip_metadata::ClipMetadata;
use crate::contract::message_body::Request;
use crate::contract::status::Status;
use crate::error::Error;

/// An object that was written less than so many milliseconds before the message was sent may still be being written.
const FRESH_MS: i64 = 120_000;

/// What is to be done for a request.
#[derive(Debug)]
pub enum Decision {
    /// Tell the camera API and SNS: the span is too long, the footage is given up, or the clip is already stored.
    Announce(ClipMetadata),
    /// Send the message back to the queue: footage may still come.
    WaitForFootage,
    /// Report that no clip can be made: of this footage, or because the camera API refuses for good.
    Fatal(Error),
    /// Make the clip.
    Render(Footage),
}

/// The footage of a span.
#[derive(Debug)]
pub struct Footage {
    /// The recordings that may show some of the span.
    pub recordings: Recordings,
    /// Which recording shows which part of the span.
    pub coverage: Coverage,
    /// Name of the camera in its recordings.
    pub alias: String,
}

/// Limits of the status table, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `VIDEO_MAX_LEN`.
    pub video_max_len_s: u32,
    /// `SQS_RETRY_LIMIT`.
    pub sqs_retry_limit_s: u32,
    /// `OUT_OF_RANGE_LIMIT`.
    pub out_of_range_limit_s: u32,
}

/// What is known about the footage of a span.
#[allow(clippy::struct_excessive_bools)] // five independent facts, each a column of the table
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Some of the span is shown.
    pub has_footage: bool,
    /// Some of the span is a gap.
    pub has_gap: bool,
    /// The end of the span is a gap that later footage may fill.
    pub has_tail_gap: bool,
    /// Footage of some gap may still come: not all of them are holes inside a recording.
    pub may_be_filled: bool,
    /// S3 does not have the object of a listed recording that may show some of a gap, or has it and it is still being
    /// written.
    pub has_missing_object: bool,
    /// S3 has an object that cannot be read and may show some of a gap.
    pub has_unreadable_object: bool,
}

impl Facts {
    /// Returns the facts about `footage` of the requested span.
    #[must_use]
    pub fn of(request: &Request, Footage { recordings, coverage, .. }: &Footage) -> Self {
        let may_show_gap = |listed: &ListedRecording| listed.may_show_any(&coverage.gaps);
        let may_be_filled = |gap: &Span| coverage.may_be_filled(gap);
        let unreadable = recordings.unreadable.iter().filter(|unreadable| may_show_gap(&unreadable.listed));
        Self {
            has_footage: !coverage.parts.is_empty(),
            has_gap: !coverage.gaps.is_empty(),
            has_tail_gap: coverage.has_tail_gap(request.span) && coverage.gaps.last().is_some_and(may_be_filled),
            may_be_filled: coverage.gaps.iter().any(may_be_filled),
            has_missing_object: recordings.missing.iter().any(may_show_gap)
                || unreadable.clone().any(|unreadable| is_being_written(request, unreadable)),
            has_unreadable_object: unreadable.count() > 0,
        }
    }
}

/// Returns whether the object of a recording may still become readable: it was written shortly before the message was sent,
/// or after it. Whole objects change only by being put again.
fn is_being_written(request: &Request, UnreadableRecording { error, modified, .. }: &UnreadableRecording) -> bool {
    let is_fresh = |modified: Timestamp| modified.as_ms() > request.sent_ms.saturating_sub(FRESH_MS);
    !error.cause.is_foreign() && modified.is_some_and(is_fresh)
}

/// Returns the recording that `FATAL_ERROR` is about: the first one that cannot be read and may show some of the span.
/// Others may be unreadable, too.
#[must_use]
pub fn reason_for_fatal(Footage { recordings, coverage, .. }: Footage) -> Option<UnreadableRecording> {
    recordings.unreadable.into_iter().find(|unreadable| unreadable.listed.may_show_any(&coverage.gaps))
}

/// Row 1, which is decided before any look-up: returns whether the span is longer than allowed.
#[must_use]
pub fn is_too_long(request: &Request, limits: &Limits) -> bool {
    request.span.length_us() > i64::from(limits.video_max_len_s) * 1_000_000
}

/// Rows 2 to 7, and `FATAL_ERROR`: returns the status of the first row that fits.
#[must_use]
pub fn status(request: &Request, limits: &Limits, facts: Facts) -> Status {
    let whole = facts.has_footage && !facts.has_gap;
    let nothing_yet = !facts.has_footage && facts.may_be_filled;
    let worth_waiting = nothing_yet || facts.has_tail_gap || facts.has_missing_object;
    if whole || facts.has_footage && !worth_waiting {
        Status::Available
    } else if worth_waiting && may_still_wait(request, limits) {
        Status::Pending
    } else if facts.has_footage {
        Status::Available
    } else if facts.has_unreadable_object {
        Status::FatalError
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

/// *age*: how far from the span the request was made. It is absolute, because the sample event asks before its footage.
fn age_ms(request: &Request) -> u64 {
    asked_ms(request).abs_diff(request.span.start().as_ms())
}

/// *waited*: how long the request has waited since its footage could have been there.
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
    use exact_cut::open::ListedRecording;
    use exact_cut::plan::coverage::Tolerances;
    use exact_cut::plan::footage::Footage as Shown;
    use exact_cut::time::{LAST_MS, Span, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::contract::message_body::tests::request;

    const LIMITS: Limits = Limits { video_max_len_s: 300, sqs_retry_limit_s: 900, out_of_range_limit_s: 259_200 };
    const START: i64 = 1_537_119_363_000;
    const END: i64 = START + 60_000;
    const RETRY: i64 = 900_000;
    const RANGE: i64 = 259_200_000;

    const WHOLE: Facts = Facts { has_footage: true, ..NOT_EVEN_A_GAP };
    const NOT_EVEN_A_GAP: Facts = Facts {
        has_footage: false,
        has_gap: false,
        has_tail_gap: false,
        may_be_filled: false,
        has_missing_object: false,
        has_unreadable_object: false,
    };
    const HEAD_OR_MIDDLE: Facts = Facts { has_gap: true, may_be_filled: true, ..WHOLE };
    const LOST: Facts = Facts { has_gap: true, ..NOT_EVEN_A_GAP };
    const TAIL: Facts = Facts { has_tail_gap: true, ..HEAD_OR_MIDDLE };
    const MISSING: Facts = Facts { has_missing_object: true, ..HEAD_OR_MIDDLE };
    const NOTHING: Facts = Facts { has_gap: true, has_tail_gap: true, may_be_filled: true, ..NOT_EVEN_A_GAP };
    const UNREADABLE: Facts = Facts { has_unreadable_object: true, ..NOTHING };

    fn asked(sent_ms: i64, retries: &[i64]) -> Request {
        let mut request = request(START, END);
        request.sent_ms = sent_ms;
        request.retry_timestamps_ms = retries.to_vec();
        request
    }

    #[test]
    fn rejects_a_span_longer_than_the_limit() {
        assert!(!is_too_long(&request(START, START + 300_000), &LIMITS));
        assert!(is_too_long(&request(START, START + 300_001), &LIMITS));
    }

    #[test]
    fn follows_every_row_and_boundary_of_the_table() {
        let far = START + 10 * RANGE;
        #[rustfmt::skip]
        let table = [
            ("row 2: whole, asked long ago",                     WHOLE,          far,               vec![],               Status::Available),
            ("row 2: whole although an object is missing",       Facts { has_missing_object: true, ..WHOLE }, END, vec![], Status::Available),
            ("row 2: gaps with footage behind them",             HEAD_OR_MIDDLE, END,               vec![],               Status::Available),
            ("row 3: tail",                                      TAIL,           END,               vec![],               Status::Pending),
            ("row 3: an object is missing in the middle",        MISSING,        END,               vec![],               Status::Pending),
            ("row 3: nothing",                                   NOTHING,        END,               vec![],               Status::Pending),
            ("row 3: asked before the span",                     NOTHING,        START - RETRY,     vec![],               Status::Pending),
            ("row 3: age just within",                           NOTHING,        START + RETRY,     vec![],               Status::Pending),
            ("row 7: age just over",                             NOTHING,        START + RETRY + 1, vec![],               Status::NotAvailable),
            ("row 7: asked too long before the span",            NOTHING,        START - RETRY - 1, vec![],               Status::NotAvailable),
            ("row 4: tail, age just over",                       TAIL,           START + RETRY + 1, vec![],               Status::Available),
            ("row 4: an object is missing, age just over",       MISSING,        START + RETRY + 1, vec![],               Status::Available),
            ("row 3: waited just within, counted from the end",  NOTHING,        END + RETRY,       vec![START],          Status::Pending),
            ("row 5: waited just over",                          NOTHING,        END + RETRY + 1,   vec![START],          Status::RetryTimeout),
            ("row 4: tail, waited just over",                    TAIL,           END + RETRY + 1,   vec![START],          Status::Available),
            ("row 3: waited counts from the first try",          NOTHING,        END + 7 + RETRY,   vec![END + 9, END + 7], Status::Pending),
            ("row 5: one millisecond more",                      NOTHING,        END + 8 + RETRY,   vec![END + 9, END + 7], Status::RetryTimeout),
            ("row 5: a retry comes before out of range",         NOTHING,        far,               vec![far],            Status::RetryTimeout),
            ("row 7: age just within the range",                 NOTHING,        START + RANGE,     vec![],               Status::NotAvailable),
            ("row 6: age just over the range",                   NOTHING,        START + RANGE + 1, vec![],               Status::OutOfRange),
            ("–: nothing, and an object cannot be read",         UNREADABLE,     START + RETRY + 1, vec![],               Status::FatalError),
            ("–: the same after a retry",                        UNREADABLE,     END + RETRY + 1,   vec![START],          Status::FatalError),
            ("row 3: before that it is waited for",              UNREADABLE,     END,               vec![],               Status::Pending),
            ("row 4: some footage, and one cannot be read",      Facts { has_footage: true, ..UNREADABLE }, far, vec![], Status::Available),
            ("row 7: in a hole inside a recording",              LOST,           END,               vec![],               Status::NotAvailable),
            ("row 2: the end in a hole inside a recording",      Facts { has_footage: true, ..LOST }, END, vec![],          Status::Available),
            ("row 6: in the other direction",                    NOTHING,        START - RANGE - 1, vec![],               Status::OutOfRange),
        ];
        for (case, facts, sent_ms, retries, expected) in table {
            assert_eq!(status(&asked(sent_ms, &retries), &LIMITS, facts), expected, "{case}");
        }
    }

    #[test]
    fn facts_come_from_the_coverage_and_from_what_s3_does_not_have() {
        let request = request(START, END);
        let at = |ms: i64| Timestamp::from_ms(START + ms).expect("in range");
        let shown = |from, to| Span::new(at(from), at(to)).expect("in order");
        let missing = |from, to: Option<i64>| ListedRecording { start: at(from), name: String::new(), end: to.map(at) };
        let whole = shown(-1000, 61_000);
        for (shown, missing, expected) in [
            (vec![whole], None, WHOLE),
            (vec![shown(1000, 61_000)], None, HEAD_OR_MIDDLE),
            (vec![shown(0, 20_000), shown(40_000, 60_000)], None, HEAD_OR_MIDDLE),
            (vec![shown(0, 59_000)], None, TAIL),
            (vec![], None, NOTHING),
            (vec![whole], Some(missing(0, None)), WHOLE),
            (vec![shown(1000, 61_000)], Some(missing(-500, None)), MISSING),
            (vec![shown(1000, 61_000)], Some(missing(-500, Some(500))), MISSING),
            (vec![shown(1000, 61_000)], Some(missing(-500, Some(0))), HEAD_OR_MIDDLE),
            (vec![shown(1000, 61_000)], Some(missing(1000, None)), HEAD_OR_MIDDLE),
            (vec![], Some(missing(0, None)), Facts { has_missing_object: true, ..NOTHING }),
        ] {
            let footage = shown.iter().copied().map(Shown::from).collect();
            let coverage = Coverage::of(request.span, &footage, Tolerances { gap_us: 0, joint_us: 0 });
            let recordings = Recordings { missing: missing.iter().cloned().collect(), ..Recordings::default() };
            let facts = Facts::of(&request, &Footage { recordings, coverage, alias: String::new() });
            assert_eq!(facts, expected, "{shown:?}, {missing:?}");
        }
    }

    #[test]
    fn a_fatal_error_names_the_first_unreadable_recording_that_may_show_some_of_the_span() {
        let at = |ms: i64| Timestamp::from_ms(START + ms).expect("in range");
        let unreadable = |(from, to): (i64, i64)| UnreadableRecording {
            listed: ListedRecording { start: at(from), name: format!("from {from}"), end: Some(at(to)) },
            error: exact_cut::Error::footage("object", exact_cut::error::FootageError::NoFrame),
            modified: None,
        };
        for (recordings, named) in [
            (vec![(-9000, 0), (0, 9000), (9000, 60_000)], Some("from 0")),
            (vec![(-9000, 0), (59_000, 70_000)], Some("from 59000")),
            (vec![(-9000, 0), (60_000, 70_000)], None),
            (vec![], None),
        ] {
            let unreadable = recordings.iter().copied().map(unreadable).collect();
            let recordings = Recordings { unreadable, ..Recordings::default() };
            let coverage =
                Coverage::of(request(START, END).span, &recordings.footage(), Tolerances { gap_us: 0, joint_us: 0 });
            let reason = reason_for_fatal(Footage { recordings, coverage, alias: String::new() });
            assert_eq!(reason.map(|reason| reason.listed.name).as_deref(), named);
        }
    }

    proptest! {
        #[test]
        fn footage_that_is_there_is_served_at_any_age(
            sent in 0..=LAST_MS,
            retries in prop::collection::vec(0..=LAST_MS, 0..3),
            gap: bool, has_tail_gap: bool, may_be_filled: bool, has_missing_object: bool, has_unreadable_object: bool,
        ) {
            let (has_footage, has_gap) = (true, gap || has_tail_gap);
            let facts =
                Facts { has_footage, has_gap, has_tail_gap, may_be_filled, has_missing_object, has_unreadable_object };
            let status = status(&asked(sent, &retries), &LIMITS, facts);
            prop_assert!(matches!(status, Status::Available | Status::Pending));
        }

        #[test]
        fn waiting_ends(first in 0..=END + RETRY) {
            let status = status(&asked(first.max(END) + RETRY + 1, &[first]), &LIMITS, NOTHING);
            prop_assert_eq!(status, Status::RetryTimeout);
        }
    }
}
