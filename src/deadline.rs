//! How much time is left. Lambda ends an invocation without a word when its time is up, so the answer is out before.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::error::Error;

/// The answer is out that long before the deadline.
pub const MARGIN: Duration = Duration::from_secs(2);

/// The instant until which an invocation's work must be done.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// [`MARGIN`] before Lambda's deadline, given in ms since the epoch. One in the past means that it is not known:
    /// `cargo lambda watch` sends such.
    #[must_use]
    pub fn of_invocation(deadline_ms: u64) -> Self {
        let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(deadline_ms));
        let left = deadline.and_then(|deadline| deadline.duration_since(SystemTime::now()).ok());
        Self(left.and_then(|left| Instant::now().checked_add(left.saturating_sub(MARGIN))))
    }

    /// No deadline.
    #[must_use]
    pub const fn unknown() -> Self {
        Self(None)
    }

    /// What is left; `None` if that is not known.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// The time limit of one call: its own, but at most a quarter of what is left, so that one hanging call leaves room
    /// for what must still be said.
    #[must_use]
    pub fn limit(self, own: Duration) -> Duration {
        self.left().map_or(own, |left| own.min(left / 4))
    }

    /// Runs `work` under this call's limit.
    ///
    /// # Errors
    /// A passing one about `object` when time is up, or the work's own.
    pub async fn run<T>(
        self,
        own: Duration,
        object: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.limit(own);
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(Error::passing(object, format_args!("no answer within {} ms", limit.as_millis()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_ms(from_now: i64) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
        u64::try_from(now).expect("before 2554").saturating_add_signed(from_now)
    }

    #[test]
    fn a_call_gets_its_own_limit_or_a_quarter_of_what_is_left() {
        let hour = Duration::from_hours(1);
        let deadline = Deadline::of_invocation(in_ms(42_000));
        let limit = deadline.limit(hour);
        assert!(limit <= Duration::from_secs(10) && limit > Duration::from_secs(9), "{limit:?}");
        assert_eq!(deadline.limit(Duration::from_secs(3)), Duration::from_secs(3));
    }

    #[test]
    fn a_deadline_in_the_past_is_not_known_and_one_within_the_margin_is_now() {
        for past in [0, 30_000, in_ms(-1000)] {
            assert_eq!(Deadline::of_invocation(past).left(), None);
        }
        assert_eq!(Deadline::of_invocation(in_ms(1500)).left(), Some(Duration::ZERO));
    }
}
