//! How long encoding takes, before it begins, and what a machine has for it.
//!
//! The estimate counts pixels: those that are decoded, by codec, and those that are encoded, by preset. The preset follows
//! from the estimate and the budget alone, never from a clock, so the same request on the same machine gives the same
//! bytes. What the fastest preset cannot do in the whole budget is refused at once, for good. What only the time that is
//! left does not suffice for may succeed at another try.

use std::fmt;
use std::time::Duration;

use crate::codec::VideoCodec;
use crate::deadline::Deadline;

/// Threads of the encoder: more processors make it no faster.
const ENCODER_THREADS: u64 = 2;
/// Of the whole time, the share that encoding may take before a faster preset is chosen: the rest is for fetching, audio,
/// uploading and the requests that come along.
const SHARE_PERCENT: u64 = 50;
/// The proof of encoded frames, in percent of decoding and encoding.
const OVERHEAD_PERCENT: u64 = 120;
/// An estimate may be so much too long, in percent: work begins unless the time that is left is shorter than this part.
const SLACK_PERCENT: u32 = 66;

/// Picoseconds of one processor that decoding a pixel takes, with one thread.
///
/// Measured on 2026-11-26: user and system time of the layer's ffmpeg 7.1.5 on an idle 2-core `x86_64` machine (AMD EPYC),
/// medians of three runs on 12 s of the benchmark's footage. H.264: 3.0 and 3.8 ns (3 and 4 Mbit/s, 1280 × 720); HEVC: 4.5 ns
/// (1280 × 720) and 4.3 ns (1920 × 1080). A day later the same work took a third longer on the same machine, so a sixth was
/// added to all of these. `make bench` holds the estimates against the times.
const DECODE_H264_PS: u64 = 4_000;
const DECODE_HEVC_PS: u64 = 5_100;

/// AV1 is decoded without vector instructions. One film of 10 bits took 25 ns (720 × 1280, 0.9 Mbit/s; November 2026).
const DECODE_AV1_PS: u64 = 25_000;

/// Returns picoseconds of one processor that decoding a pixel takes. VP9 took 2.8 ns (800 × 640, 0.6 Mbit/s) and counts as
/// H.264, as do the codecs that are older than that.
const fn decode_ps(codec: VideoCodec) -> u64 {
    match codec {
        VideoCodec::Av1 => DECODE_AV1_PS,
        VideoCodec::Hevc => DECODE_HEVC_PS,
        VideoCodec::H264 | VideoCodec::Vp9 | VideoCodec::Mpeg4 | VideoCodec::H263 => DECODE_H264_PS,
    }
}

/// What it takes to start ffmpeg, hand it its files and read what it made, in picoseconds of one processor: an edge of 26
/// frames took 0.34 s on two cores, of which pixels account for 0.21 s (November 2026).
const RUN_PS: u64 = 200_000_000_000;

/// A preset of x264, from the best to the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preset {
    /// For clips that are encoded as a whole.
    SuperFast,
    /// For edges, and for clips that would take too long otherwise.
    UltraFast,
}

impl Preset {
    /// All presets, from the best to the fastest.
    pub const ALL: [Self; 2] = [Self::SuperFast, Self::UltraFast];

    /// Returns x264's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SuperFast => "superfast",
            Self::UltraFast => "ultrafast",
        }
    }

    /// Returns picoseconds of one processor that encoding a pixel takes, measured as [`DECODE_H264_PS`] was: 9.2 to 12.2 ns with
    /// `superfast`, 4.5 to 5.7 ns with `ultrafast`, and a sixth more.
    const fn encode_ps(self) -> u64 {
        match self {
            Self::SuperFast => 12_200,
            Self::UltraFast => 6_200,
        }
    }
}

/// What a machine has for the work of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Thousandths of a processor.
    pub millicores: u32,
    /// The whole time that a request may take, if that is limited.
    pub time: Option<Duration>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { millicores: 2000, time: None }
    }
}

/// Pictures that are decoded and encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeWork {
    /// Picoseconds of one processor for decoding.
    decode_ps: u64,
    /// Pixels to encode.
    encoded_pixels: u64,
    /// Segments to encode.
    segments: u64,
}

/// What a machine has for the work of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// What ffmpeg may take of the memory.
    Memory,
    /// The disk of the scratch folder.
    Disk,
    /// The time for a request.
    Time,
}

impl Resource {
    const fn unit(self) -> &'static str {
        match self {
            Self::Memory | Self::Disk => "MiB",
            Self::Time => "s",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory for ffmpeg",
            Self::Disk => "scratch disk",
            Self::Time => "time",
        })
    }
}

/// More is needed than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: expected about {needed} {unit} for {work}, got {has} {unit}", unit = resource.unit())]
pub struct BudgetExceeded {
    /// What is to be encoded, such as "300 s of 1080p HEVC".
    work: String,
    needed: u64,
    has: u64,
    /// What there is too little of.
    pub resource: Resource,
    /// Whether no other try will succeed.
    pub is_lasting: bool,
}

impl BudgetExceeded {
    /// Says that more bytes of memory or disk are needed than a machine has in all.
    #[must_use]
    pub const fn of_bytes(work: String, needed: u64, has: u64, resource: Resource) -> Self {
        Self { work, needed: needed.div_ceil(1 << 20), has: has >> 20, resource, is_lasting: true }
    }
}

impl EncodeWork {
    /// Adds pictures of `codec` to decode, in pixels.
    pub const fn decode(&mut self, codec: VideoCodec, pixels: u64) {
        self.decode_ps = self.decode_ps.saturating_add(pixels.saturating_mul(decode_ps(codec)));
    }

    /// Adds a segment of pictures to encode, in pixels.
    pub const fn encode(&mut self, pixels: u64) {
        self.segments = self.segments.saturating_add(1);
        self.encoded_pixels = self.encoded_pixels.saturating_add(pixels);
    }

    /// Returns how long the work takes.
    #[must_use]
    pub fn estimate(self, preset: Preset, Budget { millicores, .. }: Budget) -> Duration {
        let encode = self.encoded_pixels.saturating_mul(preset.encode_ps());
        let cores = u64::from(millicores).clamp(1, ENCODER_THREADS * 1000);
        // with more processors than threads of the encoder, decoding goes on beside it
        let spare = u64::from(millicores).saturating_sub(cores).min(1000);
        let decode = self.decode_ps - self.decode_ps / 1000 * spare;
        let runs = if self.segments == 0 { 0 } else { self.segments.saturating_add(1) }; // one more verifies
        let us = decode.saturating_add(encode).saturating_add(runs.saturating_mul(RUN_PS)) / 1_000_000;
        Duration::from_micros(us.saturating_mul(1000) / cores * OVERHEAD_PERCENT / 100)
    }

    /// Returns the best preset that fits well into the budget, else the fastest one, and the estimate for it. `work` says in
    /// words what is encoded.
    ///
    /// # Errors
    /// [`BudgetExceeded`] if the fastest preset takes longer than the whole time, or longer than what is left of it.
    pub fn choose(
        self,
        budget: Budget,
        deadline: Deadline,
        work: impl Fn() -> String,
    ) -> Result<(Preset, Duration), BudgetExceeded> {
        let share = budget.time.map_or(Duration::MAX, |time| time / 100 * u32::try_from(SHARE_PERCENT).unwrap_or(100));
        let fits = |preset: &Preset| self.estimate(*preset, budget) <= share;
        let preset = Preset::ALL.into_iter().find(fits).unwrap_or(Preset::UltraFast);
        let estimate = self.estimate(preset, budget);
        let exceeded = |has: Duration, is_lasting| {
            let (needed, has) = (estimate.as_secs() + 1, has.as_secs());
            BudgetExceeded { work: work(), needed, has, resource: Resource::Time, is_lasting }
        };
        if let Some(time) = budget.time.filter(|time| estimate > *time) {
            return Err(exceeded(time, true));
        }
        if let Some(left) = deadline.left().filter(|left| estimate / 100 * SLACK_PERCENT > *left) {
            return Err(exceeded(left, false));
        }
        Ok((preset, estimate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAMES: u64 = 30;

    fn hevc(seconds: u64, width: u64, height: u64) -> EncodeWork {
        let pixels = seconds * FRAMES * width * height;
        let mut work = EncodeWork::default();
        work.decode(VideoCodec::Hevc, pixels);
        work.encode(pixels);
        work
    }

    fn budget(millicores: u32, seconds: u64) -> Budget {
        Budget { millicores, time: Some(Duration::from_secs(seconds)) }
    }

    fn chosen(work: EncodeWork, budget: Budget) -> Result<Preset, BudgetExceeded> {
        work.choose(budget, Deadline::unknown(), || "300 s of 1080p HEVC".to_owned()).map(|(preset, _)| preset)
    }

    #[test]
    fn a_faster_preset_is_chosen_where_time_or_processors_are_short() {
        let minute = hevc(60, 1280, 720);
        assert_eq!(chosen(minute, Budget::default()), Ok(Preset::SuperFast));
        assert_eq!(chosen(minute, budget(2000, 300)), Ok(Preset::SuperFast));
        assert!(chosen(minute, budget(2000, 20)).expect("fits") > Preset::SuperFast);
        assert!(chosen(minute, budget(100, 300)).expect("fits") > Preset::SuperFast);
    }

    #[test]
    fn what_cannot_fit_is_refused_in_words() {
        let long = hevc(300, 1920, 1080);
        let error = chosen(long, budget(1000, 60)).expect_err("a minute");
        assert!(error.is_lasting);
        let text = error.to_string();
        assert!(text.starts_with("time: expected about "), "{text}");
        assert!(text.ends_with(" s for 300 s of 1080p HEVC, got 60 s"), "{text}");
        let memory =
            BudgetExceeded::of_bytes("5 s of 1080p H.264".to_owned(), 73 << 20 | 1, 72 << 20, Resource::Memory);
        assert_eq!(memory.to_string(), "memory for ffmpeg: expected about 74 MiB for 5 s of 1080p H.264, got 72 MiB");
    }

    #[test]
    fn what_only_the_time_that_is_left_is_too_short_for_may_succeed_later() {
        let work = hevc(60, 1280, 720);
        let left = Deadline::after(Duration::from_secs(3));
        let error = work.choose(budget(2000, 300), left, String::new).expect_err("three seconds");
        assert!(!error.is_lasting, "{error}");
        work.choose(budget(2000, 300), Deadline::after(Duration::from_secs(280)), String::new).expect("enough");
    }

    #[test]
    fn the_choice_never_depends_on_the_time_that_is_left() {
        let work = hevc(60, 1280, 720);
        let all = [400, 200, 100, 60].map(|left| {
            let left = Deadline::after(Duration::from_secs(left));
            work.choose(budget(2000, 60), left, String::new).map(|(preset, _)| preset)
        });
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    }

    #[test]
    fn more_processors_are_never_slower() {
        let mut work = EncodeWork::default();
        work.decode(VideoCodec::H264, 1_000_000_007);
        work.decode(VideoCodec::Hevc, 900_000_011);
        work.encode(1_700_000_003);
        let estimates = [200, 1000, 1769, 2000, 2500, 3000, 6000]
            .map(|millicores| work.estimate(Preset::SuperFast, Budget { millicores, time: None }));
        assert!(estimates.windows(2).all(|pair| pair[1] <= pair[0]), "{estimates:?}");
        assert_eq!(EncodeWork::default().estimate(Preset::UltraFast, Budget::default()), Duration::ZERO);
    }
}
