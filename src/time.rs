//! Instants and spans. Integers only: milliseconds outside (the contract), microseconds inside (a recording's name
//! may hold six digits of a second), a track's own timescale in the tables.

use std::fmt;

/// The last instant a request may name: 9999-12-31T23:59:59.999Z, the last one RFC 3339 can write.
pub const LAST_MS: i64 = 253_402_300_799_999;

/// An instant: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `ms` milliseconds after the epoch; `None` outside `0..=LAST_MS`.
    #[must_use]
    pub const fn from_ms(ms: i64) -> Option<Self> {
        if ms >= 0 && ms <= LAST_MS { Some(Self(ms * 1000)) } else { None }
    }

    /// The instant `us` microseconds after the epoch.
    #[must_use]
    pub const fn from_us(us: i64) -> Self {
        Self(us)
    }

    /// Whole milliseconds since the epoch, rounded down.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Microseconds since the epoch.
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

/// The instants `start <= t < end`. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    start: Timestamp,
    end: Timestamp,
}

impl Span {
    /// `None` unless `start < end`.
    #[must_use]
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first instant.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// The first instant that is no longer part of it.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// Length in microseconds.
    #[must_use]
    pub const fn length_us(self) -> i64 {
        self.end.0 - self.start.0
    }

    /// What both spans share.
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

/// Ticks of `from` a second in ticks of `to` a second, rounded to the nearest; the greatest there is beyond it.
#[must_use]
pub fn rescaled(ticks: i64, from: u32, to: u32) -> i64 {
    let (from, to) = (i128::from(from.max(1)), i128::from(to));
    i64::try_from((i128::from(ticks) * to + from / 2).div_euclid(from)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_outside_the_representable_years_are_refused() {
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
