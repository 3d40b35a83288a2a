//! The time that is left for a request.
//!
//! Every call gets a limit of its own: at most a quarter of what is left. So one service that hangs cannot use up the time
//! of the whole request, and there is time for another try and for an answer.

use std::time::Duration;

use tokio::time::Instant;

/// The instant by which work must be done. Without one, only each call's own limit holds.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

/// A call did not finish within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer within {} ms", after.as_millis())]
pub struct TimedOut {
    /// The limit that ran out.
    pub after: Duration,
}

impl Deadline {
    /// Returns the deadline `left` from now.
    #[must_use]
    pub fn after(left: Duration) -> Self {
        Self(Instant::now().checked_add(left))
    }

    /// Returns a deadline that never comes.
    #[must_use]
    pub const fn unknown() -> Self {
        Self(None)
    }

    /// Returns the time that is left, or `None` if no deadline is known.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the limit of one call: `own`, but at most a quarter of the time that is left, so that a call that hangs
    /// leaves time to report the failure.
    #[must_use]
    pub fn limit(self, own: Duration) -> Duration {
        self.left().map_or(own, |left| own.min(left / 4))
    }

    /// Runs `work` within [`Self::limit`] of `own`.
    ///
    /// # Errors
    /// [`TimedOut`] when the limit runs out, or the error of `work`.
    pub async fn run<T, E: From<TimedOut>>(
        self,
        own: Duration,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let after = self.limit(own);
        tokio::time::timeout(after, work).await.unwrap_or_else(|_| Err(TimedOut { after }.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gets_its_own_limit_or_a_quarter_of_what_is_left() {
        let hour = Duration::from_hours(1);
        let deadline = Deadline::after(Duration::from_secs(40));
        let limit = deadline.limit(hour);
        assert!(limit <= Duration::from_secs(10) && limit > Duration::from_secs(9), "{limit:?}");
        assert_eq!(deadline.limit(Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(Deadline::unknown().limit(hour), hour);
    }
}
