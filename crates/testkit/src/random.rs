//! Numbers that look random and can be repeated, and numbers that whoever runs a test can set.

use std::sync::atomic::{AtomicUsize, Ordering};

/// `SplitMix64`: a stream of numbers that is the same for the same seed.
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// Returns the next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, or 0 if `end` is 0.
    ///
    /// # Panics
    /// Never: the number fits.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % end.max(1) as u64).expect("below a usize")
    }
}

/// Returns the number in the environment variable `name`, or `default`.
///
/// # Panics
/// If the variable does not hold a number.
#[must_use]
pub fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Returns a name that begins with `name` and is used once in this process.
#[must_use]
pub fn unique_name(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
