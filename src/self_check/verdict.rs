//! What a check says about a thing.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::contract::self_check_table::{Check, Outcome};
use crate::error::Error;
use crate::services::probes::Probe;

/// An outcome, and what is missing.
pub(super) struct Verdict {
    outcome: Outcome,
    missing: String,
}

impl Verdict {
    pub(super) const fn works() -> Self {
        Self { outcome: Outcome::Works, missing: String::new() }
    }

    pub(super) fn fails(missing: impl Display) -> Self {
        Self { outcome: Outcome::Fails, missing: missing.to_string() }
    }

    pub(super) fn unknown(missing: impl Display) -> Self {
        Self { outcome: Outcome::Unknown, missing: missing.to_string() }
    }

    /// Returns the verdict on a call that serving does not need: without the `right` to it, nothing can be told.
    pub(super) fn of_probe<T>(probe: Result<Probe<T>, Error>, right: &str, answered: impl FnOnce(T) -> Self) -> Self {
        match probe {
            Ok(Probe::Answered(answer)) => answered(answer),
            Ok(Probe::Forbidden(error)) => Self::unknown(format_args!("without {right}: {error}")),
            Err(error) => Self::fails(error),
        }
    }

    /// Adds what looks wrong.
    pub(super) fn but(self, remarks: &[String]) -> Self {
        Self { missing: remarks.join("; "), ..self }
    }

    /// Returns the check of a thing that took so long.
    pub(super) fn of(self, thing: &'static str, took: Duration) -> Check {
        let ms = took.as_millis().try_into().unwrap_or(u64::MAX);
        Check { thing, outcome: self.outcome, ms, missing: self.missing }
    }
}

/// Tries a thing.
pub(super) async fn timed(thing: &'static str, work: impl Future<Output = Verdict>) -> Check {
    let began = Instant::now();
    let verdict = Box::pin(work).await;
    verdict.of(thing, began.elapsed())
}
