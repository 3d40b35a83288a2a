//! HTTP clients whose pools hold no dead connections.
//!
//! Lambda freezes the process between invocations. Peers, and what lies between, forget its connections meanwhile, and a
//! forgotten connection may swallow requests without a sign. Several such connections may wait in one pool. So a pool is
//! replaced as a whole once one of its connections has failed, or after the process was frozen. Requests that are on their
//! way keep their connections.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::Error;
use crate::services::limits::IDLE;

type Make<T> = dyn Fn() -> Result<T, Error> + Send + Sync;

/// A client that can be replaced. Cloning a `T` must be cheap.
pub(super) struct Renewable<T> {
    make: Box<Make<T>>,
    current: Mutex<Current<T>>,
}

struct Current<T> {
    client: T,
    generation: Generation,
    used: Moment,
}

/// Counts the clients that were made one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// An instant on both clocks. A frozen process may find that only the one for people went on.
#[derive(Clone, Copy, Debug)]
struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl<T: Clone> Renewable<T> {
    /// Makes the first client.
    ///
    /// # Errors
    /// As `make` fails.
    pub fn new(make: impl Fn() -> Result<T, Error> + Send + Sync + 'static) -> Result<Self, Error> {
        let current = Current { client: make()?, generation: Generation(0), used: Moment::now() };
        Ok(Self { make: Box::new(make), current: Mutex::new(current) })
    }

    /// Returns the client to use now.
    pub fn get(&self) -> (T, Generation) {
        let mut current = self.current();
        let now = Moment::now();
        if current.used.is_before_a_freeze(now) {
            self.replace(&mut current);
        }
        current.used = now;
        (current.client.clone(), current.generation)
    }

    /// Replaces the client of which a connection has failed, unless that was done already.
    pub fn renew(&self, failed: Generation) {
        let mut current = self.current();
        if current.generation == failed {
            self.replace(&mut current);
        }
    }

    /// Keeps the client if no other can be made: an attempt after a failure has a connection of its own anyway.
    fn replace(&self, current: &mut Current<T>) {
        if let Ok(client) = (self.make)() {
            current.client = client;
            current.generation.0 += 1;
        }
    }

    fn current(&self) -> MutexGuard<'_, Current<T>> {
        // whatever panicked, each state is a valid one
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Renewable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable").finish_non_exhaustive()
    }
}

impl Moment {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// Returns whether the monotonic clock, by which pools count, has missed time until `now`.
    fn is_before_a_freeze(self, now: Self) -> bool {
        let counted = now.monotonic.saturating_duration_since(self.monotonic);
        let passed = now.wall.duration_since(self.wall).unwrap_or(Duration::MAX);
        passed.saturating_sub(counted) > IDLE / 3
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn counted() -> Renewable<u32> {
        let made = AtomicU32::new(0);
        Renewable::new(move || Ok(made.fetch_add(1, Ordering::Relaxed))).expect("the first one")
    }

    #[test]
    fn replaces_a_client_once_for_all_its_failures() {
        let clients = counted();
        let (first, generation) = clients.get();
        clients.renew(generation);
        clients.renew(generation);
        assert_eq!((first, clients.get().0), (0, 1));
    }

    #[test]
    fn keeps_the_client_if_no_other_can_be_made() {
        let made = AtomicU32::new(0);
        let make = move || match made.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(0),
            _ => Err(Error::transient("client", "no")),
        };
        let clients = Renewable::new(make).expect("the first one");
        clients.renew(clients.get().1);
        assert_eq!(clients.get().0, 0);
    }

    #[test]
    fn replaces_a_client_after_the_clocks_have_parted() {
        let now = Moment::now();
        let later = |counted, passed| Moment {
            monotonic: now.monotonic + Duration::from_secs(counted),
            wall: now.wall + Duration::from_secs(passed),
        };
        for (counted, passed, frozen) in [(0, 0, false), (60, 60, false), (60, 62, false), (1, 31, true), (1, 7, true)]
        {
            assert_eq!(now.is_before_a_freeze(later(counted, passed)), frozen, "{counted} s of {passed} s counted");
        }
        let set_back = Moment { monotonic: now.monotonic, wall: now.wall - Duration::from_secs(1) };
        assert!(now.is_before_a_freeze(set_back), "a clock that was set back proves nothing");
    }
}
