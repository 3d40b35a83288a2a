//! The clip's clock: instants of the world to ticks of the clip, exactly, rounded once.

use crate::footage::samples::SampleTable;
use crate::time::{Span, Timestamp};

/// The finest timescale a clip gets, in ticks a second.
const FINEST_TIMESCALE: u32 = 1_000_000;

/// The least common multiple of the recordings' timescales, so that every frame's time is exact; the first one's where
/// that is finer than [`FINEST_TIMESCALE`].
#[must_use]
pub fn timescale(mut timescales: impl Iterator<Item = u32>) -> u32 {
    let first = timescales.next().unwrap_or(1);
    timescales
        .try_fold(first, |lcm, next| (lcm / gcd(lcm, next)).checked_mul(next).filter(|&lcm| lcm <= FINEST_TIMESCALE))
        .unwrap_or(first)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// An instant that no unit divides evenly: `us + ticks / timescale` microseconds and seconds.
#[derive(Clone, Copy, Debug)]
pub struct Wall {
    us: i64,
    ticks: i64,
    timescale: u32,
}

impl Wall {
    /// When the frame of `pts` was taken, in a recording whose first frame was taken at `starts`.
    #[must_use]
    pub fn of(starts: Timestamp, table: &SampleTable, pts: i64) -> Self {
        Self { us: starts.as_us(), ticks: pts - table.first_pts(), timescale: table.timescale }
    }

    /// A plain instant.
    #[must_use]
    pub fn at(instant: Timestamp) -> Self {
        Self { us: instant.as_us(), ticks: 0, timescale: 1 }
    }
}

/// Turns instants into the clip's ticks: the span's start is 0, gaps take no time.
#[derive(Clone, Copy, Debug)]
pub struct Clock<'a> {
    /// The wanted span.
    pub span: Span,
    /// What is cut out of it.
    pub gaps: &'a [Span],
    /// The clip's ticks a second.
    pub timescale: u32,
}

impl Clock<'_> {
    /// The clip's time at `wall`, rounded once, to the nearest tick.
    #[must_use]
    pub fn ticks(&self, wall: Wall) -> i64 {
        let per_second = i128::from(wall.timescale);
        // microseconds times `per_second`
        let scaled = |us: i64| (i128::from(us) - i128::from(self.span.start().as_us())) * per_second;
        let at = scaled(wall.us) + i128::from(wall.ticks) * 1_000_000;
        let cut_out: i128 = self
            .gaps
            .iter()
            .filter(|gap| scaled(gap.end().as_us()) <= at)
            .map(|gap| i128::from(gap.length_us()) * per_second)
            .sum();
        let unit = 1_000_000 * per_second;
        let ticks = ((at - cut_out) * i128::from(self.timescale) + unit / 2).div_euclid(unit);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timescale_has_ticks_for_every_frame_unless_they_were_too_fine() {
        let of = |timescales: &[u32]| timescale(timescales.iter().copied());
        assert_eq!(of(&[15_360]), 15_360);
        assert_eq!(of(&[600, 600]), 600);
        assert_eq!(of(&[25, 30, 12]), 300);
        assert_eq!(of(&[8, 1_000_000]), 1_000_000);
        assert_eq!(of(&[90_000, 1_000_000]), 90_000, "9 million ticks a second");
    }

    #[test]
    fn an_instant_is_the_nearest_tick_and_the_later_of_two() {
        let at = Timestamp::from_us;
        let span = |from, to| Span::new(at(from), at(to)).expect("in order");
        let gaps = [span(2_000_000, 3_000_000)];
        let clock = Clock { span: span(1_000_000, 9_000_000), gaps: &gaps, timescale: 10 };
        let ticks = [949_999, 950_000, 1_049_999, 1_050_000, 1_999_999, 3_000_000, 3_100_000];
        assert_eq!(ticks.map(|us| clock.ticks(Wall::at(at(us)))), [-1, 0, 0, 1, 10, 10, 11]);
    }
}
