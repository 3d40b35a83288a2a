//! A bound on waiting for a process or a server of the tests, so that a test that cannot go on fails and says why.

use std::time::Duration;

/// Nothing that works takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `what` has happened.
pub async fn in_time<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(PATIENCE, happens).await;
    happened.unwrap_or_else(|_| panic!("waited for {PATIENCE:?} in vain until {what}"))
}
