//! Time as integers. Every instant is UTC, with the unit in the name: milliseconds in messages, microseconds here (the
//! name of a recording may hold six digits of a second), and a track's own timescale in the tables.
//!
//! Times are compared cross-multiplied and rounded once. Rounded differences are never added up: at 30 frames a second a
//! microsecond's error a frame is 18 ms after ten minutes.

use std::fmt;

/// The last instant that a request may name, in milliseconds since the Unix epoch: 9999-12-31T23:59:59.999Z, the last
/// one that RFC 3339 can write.
pub const LAST_MS: i64 = 253_402_300_799_999;

/// An instant, in microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Returns the instant `ms` milliseconds after the epoch, or `None` outside `0..=LAST_MS`.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Option<Self> {
        if ms >= 0 && ms <= LAST_MS { Some(Self(ms * 1000)) } else { None }
    }

    /// Returns the instant `us` microseconds after the epoch.
    #[must_use]
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// Returns whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns microseconds since the epoch.
    #[must_use]
    pub const fn as_us(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_micros(self.0) {
            Some(instant) => write!(f, "{}", instant.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// A half-open span of time: the instants `start <= t < end`. It is never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl Span {
    /// Returns the span from `start` to `end`, or `None` unless `start < end`.
    #[must_use]
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// Returns the first instant of the span.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// Returns the first instant after the span.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Returns the length in microseconds.
    #[must_use]
    pub const fn length_us(self) -> i64 {
        self.end.0 - self.start.0
    }

    /// Returns the span that begins `us` microseconds earlier and ends as much later; `us` is not negative.
    #[must_use]
    pub const fn extended_by(self, us: i64) -> Self {
        let (start, end) = (self.start.0.saturating_sub(us), self.end.0.saturating_add(us));
        Self { start: Timestamp(start), end: Timestamp(end) }
    }

    /// Returns the part that both spans share, if there is one.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.start, self.end)
    }
}

/// Returns the greatest common divisor. That of 0 and a number is the number.
#[must_use]
pub const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Converts `ticks` of timescale `from` to timescale `to`, rounded to the nearest tick. Results beyond `i64` saturate.
#[must_use]
pub fn rescaled(ticks: i64, from: u32, to: u32) -> i64 {
    let (from, to) = (i128::from(from.max(1)), i128::from(to));
    i64::try_from((i128::from(ticks) * to + from / 2).div_euclid(from)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_milliseconds_outside_the_representable_years() {
        assert_eq!(Timestamp::from_ms(-1), None);
        assert_eq!(Timestamp::from_ms(LAST_MS + 1), None);
        assert_eq!(Timestamp::from_ms(LAST_MS).map(|t| t.to_string()), Some("9999-12-31T23:59:59.999Z".into()));
    }

    #[test]
    fn a_span_is_half_open_and_never_empty() {
        let at = Timestamp::from_us;
        assert_eq!(Span::new(at(7), at(7)), None);
        assert_eq!(Span::new(at(8), at(7)), None);
        let span = Span::new(at(5), at(17)).expect("5 < 17");
        assert_eq!(span.length_us(), 12);
        assert_eq!(Span::new(at(17), at(19)).and_then(|next| span.intersection(next)), None);
    }
}
