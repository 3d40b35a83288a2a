//! The levels of H.264, as far as they bound the bit rate (ITU-T H.264, table A-1).

/// `level_idc`, the most bits a second and the most bits of the coded picture buffer, in units of the profile.
const LEVELS: [(u8, u64, u64); 20] = [
    (9, 128, 350),
    (10, 64, 175),
    (11, 192, 500),
    (12, 384, 1_000),
    (13, 768, 2_000),
    (20, 2_000, 2_000),
    (21, 4_000, 4_000),
    (22, 4_000, 4_000),
    (30, 10_000, 10_000),
    (31, 14_000, 14_000),
    (32, 20_000, 20_000),
    (40, 20_000, 25_000),
    (41, 50_000, 62_500),
    (42, 50_000, 62_500),
    (50, 135_000, 135_000),
    (51, 240_000, 240_000),
    (52, 240_000, 240_000),
    (60, 240_000, 240_000),
    (61, 480_000, 480_000),
    (62, 800_000, 800_000),
];
/// `profile_idc` of High, and the bits of a unit there and in the lower profiles (table A-2, `cpbBrVclFactor`).
const HIGH: u8 = 100;
const UNIT: u64 = 1000;
const UNIT_OF_HIGH: u64 = 1250;

/// Returns the lowest level, not below `stated`, whose bit rate and buffer pictures of these `bits` keep within, in decode
/// order, `rate` of them a second. If none does, the highest.
#[must_use]
pub fn level_for(profile: u8, stated: u8, bits: &[u64], rate: u32) -> u8 {
    let unit = if profile >= HIGH { UNIT_OF_HIGH } else { UNIT };
    let keeps_within = |&(_, per_second, buffer): &(u8, u64, u64)| {
        let (income, buffer) = (per_second * unit / u64::from(rate.max(1)), buffer * unit);
        let mut held = buffer;
        bits.iter().all(|&picture| {
            let left = held.checked_sub(picture);
            held = left.unwrap_or(0).saturating_add(income).min(buffer);
            left.is_some()
        })
    };
    let mut enough = LEVELS.iter().filter(|(level, ..)| *level >= stated).filter(|level| keeps_within(level));
    enough.next().map_or_else(|| stated.max(LEVELS[LEVELS.len() - 1].0), |(level, ..)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_the_bit_rate() {
        let second = |megabits: u64| vec![megabits * 1_000_000 / 30; 300];
        assert_eq!(level_for(100, 31, &second(17), 30), 31);
        assert_eq!(level_for(100, 31, &second(24), 30), 32, "25 Mbit/s");
        assert_eq!(level_for(77, 31, &second(24), 30), 41, "lower profiles have less");
        assert_eq!(level_for(100, 31, &second(5_000), 30), 62);
        assert_eq!(level_for(100, 99, &second(1), 30), 99, "a level that is not known stays");
    }

    #[test]
    fn the_buffer_holds_a_burst() {
        let burst = [vec![16_000_000], vec![100_000; 60]].concat();
        assert_eq!(level_for(100, 31, &burst, 30), 31, "17.5 Mbit");
        assert_eq!(level_for(100, 31, &[18_000_000, 1], 30), 32);
    }
}
