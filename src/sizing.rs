//! Whether the function is sized for the longest clip that it may be asked for: a span of `VIDEO_MAX_LEN`, encoded as a
//! whole. Pure.
//!
//! The measure is 1920 × 1080 at 8 Mbit/s. Smaller pictures need less, and clips that are mostly copied far less.

use std::time::Duration;

use exact_cut::budget::{Budget, EncodeWork, Preset};
use exact_cut::codec::VideoCodec;
use exact_cut::scratch::{PER_ENCODED_BYTE, RESERVE};

const MIB: u64 = 1 << 20;
/// Memory that comes with one whole processor, in MiB (AWS Lambda Developer Guide, "Configure Lambda function memory").
const MIB_PER_PROCESSOR: u64 = 1769;
/// Pixels of a second of 1920 × 1080 with 30 frames.
const PIXELS_PER_SECOND: u64 = 30 * 1920 * 1080;
/// Everything but encoding: look-ups, fetching, uploading.
const TIME_RESERVE: Duration = Duration::from_secs(15);
/// A clip of 1920 × 1080 was made with 192 MB (docs/operations.md, "How much memory"); the next larger size has room.
const MEMORY_MIB: u64 = 256;
/// Footage of 8 Mbit/s, in bytes a second.
const FOOTAGE_BYTES_PER_SECOND: u64 = 1_000_000;

/// Returns the thousandths of a processor that come with so many bytes of memory.
#[must_use]
pub fn millicores(memory: u64) -> u32 {
    u32::try_from(memory / MIB * 1000 / MIB_PER_PROCESSOR).unwrap_or(u32::MAX)
}

/// Returns how long a clip takes at worst that shows so much footage: of HEVC, encoded as a whole.
#[must_use]
pub fn longest(footage: Duration, budget: Budget) -> Duration {
    let pixels = u64::try_from(footage.as_millis()).unwrap_or(u64::MAX).saturating_mul(PIXELS_PER_SECOND) / 1000;
    let mut work = EncodeWork::default();
    work.decode(VideoCodec::Hevc, pixels);
    work.encode(pixels);
    TIME_RESERVE + work.estimate(Preset::SuperFast, budget)
}

/// What the function is configured to have. `None` if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes.
    pub memory: Option<u64>,
    /// Size of the disk with the work files, in bytes.
    pub disk: Option<u64>,
    /// Time of an invocation.
    pub timeout: Option<Duration>,
}

impl Size {
    /// Returns what is too small for a span of `video_max_len_s` seconds, each as `<property>: expected <what>, got <what>`.
    #[must_use]
    pub fn shortfalls(self, video_max_len_s: u32) -> Vec<String> {
        let length_s = u64::from(video_max_len_s);
        let memory_mib = self.memory.map(|bytes| bytes / MIB);
        let memory = memory_mib.filter(|&mib| mib < MEMORY_MIB);
        let memory = memory.map(|mib| format!("MemorySize: expected at least {MEMORY_MIB} MB, got {mib} MB"));
        let needed = RESERVE + length_s * FOOTAGE_BYTES_PER_SECOND * PER_ENCODED_BYTE;
        let disk = self.disk.filter(|&bytes| bytes < needed).map(|bytes| {
            let (needed, got) = (needed.div_ceil(MIB), bytes / MIB);
            format!("EphemeralStorage: expected at least {needed} MB for {length_s} s at 8 Mbit/s, got {got} MB")
        });
        let time = self.timeout.zip(self.memory).and_then(|(timeout, memory)| {
            let budget = Budget { millicores: millicores(memory), time: None };
            let needed = longest(Duration::from_secs(length_s), budget);
            (timeout < needed).then(|| {
                let (needed, got, mib) = (needed.as_millis().div_ceil(1000), timeout.as_secs(), memory / MIB);
                format!(
                    "Timeout: expected at least {needed} s to encode {length_s} s with {mib} MB of memory, got {got} s"
                )
            })
        });
        [memory, disk, time].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(memory_mib: u64, disk_mib: u64, timeout_s: u64) -> Size {
        let (memory, disk) = (Some(memory_mib * MIB), Some(disk_mib * MIB));
        Size { memory, disk, timeout: Some(Duration::from_secs(timeout_s)) }
    }

    #[test]
    fn the_defaults_of_the_stack_are_enough_for_300_s_and_no_more_than_needed() {
        assert_eq!(size(2048, 2048, 900).shortfalls(300), [""; 0]);
        assert_eq!(size(2048, 2048, 351).shortfalls(300), [""; 0]);
        let time = "Timeout: expected at least 351 s to encode 300 s with 2048 MB of memory, got 350 s";
        assert_eq!(size(2048, 2048, 350).shortfalls(300), [time]);
        let disk = "EphemeralStorage: expected at least 1781 MB for 300 s at 8 Mbit/s, got 1780 MB";
        assert_eq!(size(2048, 1780, 900).shortfalls(300), [disk]);
    }

    #[test]
    fn names_everything_that_is_too_small() {
        let names: Vec<String> = size(128, 512, 3)
            .shortfalls(300)
            .iter()
            .map(|text| text.split(':').next().expect("a name").to_owned())
            .collect();
        assert_eq!(names, ["MemorySize", "EphemeralStorage", "Timeout"]);
    }

    #[test]
    fn what_is_unknown_is_not_too_small() {
        assert_eq!(Size::default().shortfalls(u32::MAX), [""; 0]);
        let only_time = Size { timeout: Some(Duration::from_secs(1)), ..Size::default() };
        assert_eq!(only_time.shortfalls(300), [""; 0], "the number of processors is unknown");
    }
}
