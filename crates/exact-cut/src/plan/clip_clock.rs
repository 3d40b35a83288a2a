//! The clock of a clip: it turns instants of the world into ticks of the clip.
//!
//! Recordings have clocks of their own (timescales such as 90,000, 15,360 or 1,000,000). The timescale of the clip is the
//! least common multiple of theirs, up to 1,000,000, so the times of frames carry over without rounding. If the multiple is
//! larger, it is the timescale of the first recording. Where a joint or the end of a held frame must be placed, it is at
//! least 90,000: a multiple of the former. Then an instant is rounded once, from an exact fraction, and
//! durations are differences of rounded instants, so nothing drifts. Footage after gaps and joints comes with a shift: the
//! frame after a gap follows the frame before it, and at a joint the film's own clock goes on.

use crate::mp4::sample_table::SampleTable;
use crate::time::{Timestamp, gcd};

/// The finest timescale of a clip, in ticks a second.
const MAX_TIMESCALE: u32 = 1_000_000;

/// The coarsest timescale that places a joint or the end of a held frame.
const MIN_FINE_TIMESCALE: u32 = 90_000;

/// Returns the timescale of a clip: the least common multiple of the recordings' timescales, so that every frame's time is
/// exact; the first one's timescale where the multiple exceeds 1,000,000 ticks a second.
#[must_use]
pub fn clip_timescale(mut timescales: impl Iterator<Item = u32>) -> u32 {
    let first = timescales.next().unwrap_or(1);
    let multiple = |lcm: u32, next: u32| {
        let (lcm, next) = (u64::from(lcm), u64::from(next));
        u32::try_from(lcm / gcd(lcm, next) * next).ok().filter(|&lcm| lcm <= MAX_TIMESCALE)
    };
    timescales.try_fold(first, multiple).unwrap_or(first)
}

/// Returns the smallest multiple of a timescale that places instants of other clocks to 11 µs: at least 90,000 ticks a second.
#[must_use]
pub fn fine_timescale(timescale: u32) -> u32 {
    timescale.saturating_mul(MIN_FINE_TIMESCALE.div_ceil(timescale.max(1)))
}

/// An instant that no common unit divides evenly: `us` microseconds plus `ticks / timescale` seconds.
#[derive(Clone, Copy, Debug)]
pub struct WallInstant {
    us: i64,
    ticks: i64,
    timescale: u32,
}

impl WallInstant {
    /// Returns the instant at which the frame of `pts` was taken, in a recording whose first frame was taken at `start`.
    #[must_use]
    pub fn of_frame(start: Timestamp, table: &SampleTable, pts: i64) -> Self {
        Self { us: start.as_us(), ticks: pts - table.origin, timescale: table.timescale }
    }

    /// Returns a plain instant.
    #[must_use]
    pub fn at(instant: Timestamp) -> Self {
        Self { us: instant.as_us(), ticks: 0, timescale: 1 }
    }

    /// Returns the instant `us` microseconds later.
    #[must_use]
    pub const fn shifted(self, us: i64) -> Self {
        Self { us: self.us.saturating_add(us), ..self }
    }

    /// Returns the instant in microseconds since the epoch, rounded down.
    #[must_use]
    pub fn as_timestamp(self) -> Timestamp {
        let after = (i128::from(self.ticks) * 1_000_000).div_euclid(i128::from(self.timescale));
        Timestamp::from_us(self.us.saturating_add(i64::try_from(after).unwrap_or(i64::MAX)))
    }
}

/// Turns instants into ticks of the clip.
#[derive(Clone, Copy, Debug)]
pub struct ClipClock {
    /// The instant of tick 0: the start of the span.
    pub start: Timestamp,
    /// Ticks a second.
    pub timescale: u32,
}

impl ClipClock {
    /// Returns the tick nearest to `instant`.
    #[must_use]
    pub fn ticks(&self, instant: WallInstant) -> i64 {
        let per_second = i128::from(instant.timescale);
        // microseconds since tick 0, times `per_second`
        let at = (i128::from(instant.us) - i128::from(self.start.as_us())) * per_second
            + i128::from(instant.ticks) * 1_000_000;
        let unit = 1_000_000 * per_second;
        let ticks = (at * i128::from(self.timescale) + unit / 2).div_euclid(unit);
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timescale_is_the_common_multiple_unless_it_gets_too_fine() {
        let of = |timescales: &[u32]| clip_timescale(timescales.iter().copied());
        assert_eq!(of(&[15_360]), 15_360);
        assert_eq!(of(&[600, 600]), 600);
        assert_eq!(of(&[25, 30, 12]), 300);
        assert_eq!(of(&[8, 1_000_000]), 1_000_000);
        assert_eq!(of(&[90_000, 1_000_000]), 90_000, "9 million ticks a second");
        assert_eq!([1, 30, 15_360, 90_000, 1_000_000].map(fine_timescale), [90_000, 90_000, 92_160, 90_000, 1_000_000]);
    }

    #[test]
    fn an_instant_becomes_the_nearest_tick_and_the_later_one_of_a_tie() {
        let at = Timestamp::from_us;
        let clock = ClipClock { start: at(1_000_000), timescale: 10 };
        let ticks = [949_999, 950_000, 1_049_999, 1_050_000, 1_999_999, 3_000_000, 3_100_000];
        assert_eq!(ticks.map(|us| clock.ticks(WallInstant::at(at(us)))), [-1, 0, 0, 1, 10, 20, 21]);
        assert_eq!(clock.ticks(WallInstant::at(at(3_000_000)).shifted(-950_001)), 10);
    }
}
