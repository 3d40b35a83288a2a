//! The time of an invocation: when it ends, and when work in it must be done.

use std::time::{Duration, SystemTime};

use exact_cut::deadline::Deadline;

/// The answer is out this long before Lambda's deadline: an invocation that runs into it ends without a word.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);
/// The work of a last delivery ends this much earlier, so that there is time to tell that it failed.
const LAST_WORD_RESERVE: Duration = Duration::from_secs(10);
/// The last calls to the queue leave this much time for the answer.
const ANSWER_RESERVE: Duration = Duration::from_millis(500);

/// When an invocation ends.
#[derive(Clone, Copy, Debug)]
pub struct InvocationTime {
    /// Lambda's deadline.
    pub end: Deadline,
    /// When the work must be done.
    pub work: Deadline,
    /// When the work of a last delivery must be done.
    pub last_work: Deadline,
}

impl InvocationTime {
    /// Reads Lambda's deadline, in milliseconds since the epoch. A deadline in the past counts as unknown: `cargo lambda
    /// watch` sends such.
    #[must_use]
    pub fn until(lambda_deadline_ms: u64) -> Self {
        let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(lambda_deadline_ms));
        let left = deadline.and_then(|deadline| deadline.duration_since(SystemTime::now()).ok());
        let before = |margin| left.map_or(Deadline::unknown(), |left| Deadline::after(left.saturating_sub(margin)));
        Self {
            end: before(Duration::ZERO),
            work: before(ANSWER_MARGIN),
            last_work: before(ANSWER_MARGIN + LAST_WORD_RESERVE),
        }
    }

    /// Returns the timeout of the function in whole seconds, if it is known. Ask at the start of the invocation.
    #[must_use]
    pub fn function_timeout(self) -> Option<Duration> {
        self.end.left().map(|left| Duration::from_secs(left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)))
    }

    /// Returns the time for calls before the answer.
    #[must_use]
    pub fn left_to_settle(self) -> Duration {
        self.end.left().map_or(Duration::MAX, |left| left.saturating_sub(ANSWER_RESERVE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_in_the_past_is_unknown_and_one_within_the_margin_is_now() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
        let from_now = |ms: i64| u64::try_from(now).expect("before 2554").saturating_add_signed(ms);
        for past in [0, 30_000, from_now(-1000)] {
            assert_eq!(InvocationTime::until(past).work.left(), None);
        }
        assert_eq!(InvocationTime::until(from_now(1500)).work.left(), Some(Duration::ZERO));
        let limit = InvocationTime::until(from_now(42_000)).work.limit(Duration::from_hours(1));
        assert!(limit <= Duration::from_secs(10) && limit > Duration::from_secs(9), "a quarter of 40 s: {limit:?}");
    }

    #[test]
    fn the_work_of_a_last_delivery_ends_10_s_earlier() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
        let time = InvocationTime::until(u64::try_from(now).expect("before 2554") + 42_000);
        let (work, last) = (time.work.left().expect("known"), time.last_work.left().expect("known"));
        let earlier = work.saturating_sub(last);
        assert!(earlier.abs_diff(LAST_WORD_RESERVE) < Duration::from_millis(100), "{earlier:?}");
    }
}
