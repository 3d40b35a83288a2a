//! How good encoded pictures are, and how many bits they may take.
//!
//! **Edges** stand beside copied pictures and are short. They begin at the quantizer of the camera and are encoded again,
//! finer, until each frame is within 40 dB of its source, and nearer to it than to the frames before and after it.
//!
//! **What is encoded as a whole** has constant quality, finer if it has less than 40 dB (the worst frame of a short segment,
//! 35 dB and 40 on average of a long one) or frames of a short segment are nearer to their neighbours, within a cap, because nobody wants a clip that is larger than the
//! recording it was cut from by a multiple: 1.3 times the bit rate of H.264, twice that of a codec that packs tighter, such
//! as HEVC.

use crate::budget::Preset;
use crate::render::likeness::Likeness;

/// The quantizers of edges: coarser ones do not reach the 40 dB, finer ones save nothing that anybody sees.
pub const EDGE_QUANTIZERS: std::ops::RangeInclusive<u8> = 8..=23;
/// Each frame of an edge has at least so many dB against its source, if any quantizer gives them.
pub const EDGE_DB: f64 = 40.0;
/// So many dB less may the worst frame of a long segment have.
const WORST_BELOW_AVERAGE: f64 = 5.0;
/// An encoded frame with less is not the right one.
pub const WRONG_DB: f64 = 20.0;
/// x264's constant rate factor. `superfast` has no lookahead for the rate of its macroblocks, and with 23 gives more dB for
/// the bits of the demo's footage than `veryfast` does with 20, in less time. Measured with 12 s of it, 1280 × 720: average,
/// worst frame and bit rate.
///
/// | source | 21 | 23 |
/// |---|---|---|
/// | HEVC, 2 Mbit/s | 45.0 dB, 42.2 dB, 2.7 Mbit/s | 44.1 dB, 40.9 dB, 1.7 Mbit/s |
/// | H.264 with open groups, 3 Mbit/s | 47.3 dB, 40.5 dB, 3.7 Mbit/s | 46.3 dB, 38.4 dB, 2.8 Mbit/s |
/// | H.264, 4 Mbit/s | 46.1 dB, 39.8 dB, 5.0 Mbit/s | 44.9 dB, 41.9 dB, 4.0 Mbit/s |
///
/// With 21, the H.264 with open groups of `make bench` exceeded its cap, and was encoded twice.
const QUALITY: u8 = 23;
/// The same with `ultrafast`, which takes more bits for the same quality: with 23, a segment of 326 frames beside copied ones
/// exceeded its cap too.
const QUALITY_ULTRAFAST: u8 = 25;
/// The finest and the coarsest one.
const FINEST: u8 = 13;
const COARSEST: u8 = 40;
/// The finest of frames that are nearer to their neighbours, because little changes from one to the next: at 0 x264 encodes
/// without loss, which few players know.
const FINEST_OF_STILL: u8 = 1;
/// So many quantizers finer, such frames are encoded again: an error of 0.4 times the size.
const STEPS_OF_STILL: u8 = 8;
/// Bit rate, in bits a second, that an encoded clip may always have: at less, a cap only spoils small pictures.
const ALWAYS_ALLOWED: u64 = 2_000_000;
/// A shorter segment may have the bits of one that lasts so many microseconds: it begins with a key frame all the same.
const SHORT_US: u64 = 4_000_000;

/// How good the frames of a segment are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// dB against their source.
    pub decibels: f64,
    /// Whether one of them is nearer to its neighbour (see [`Likeness`]).
    pub has_mistakable: bool,
}

impl Quality {
    /// Returns how good the worst of these frames is.
    #[must_use]
    pub fn worst(all: &[Likeness]) -> Self {
        Self {
            decibels: all.iter().map(|frame| frame.decibels).fold(f64::INFINITY, f64::min),
            has_mistakable: all.iter().any(|frame| frame.is_mistakable),
        }
    }

    /// Returns how good these frames are on average, and less if the worst is far from that. Equal frames count for 100 dB.
    #[must_use]
    pub fn average(all: &[Likeness]) -> Self {
        let (sum, count) =
            all.iter().fold((0.0, 0.0), |(sum, count), one| (sum + one.decibels.min(100.0), count + 1.0));
        let decibels = (sum / f64::max(count, 1.0)).min(Self::worst(all).decibels + WORST_BELOW_AVERAGE);
        Self { decibels, has_mistakable: false }
    }

    /// Returns how many quantizers finer the frames should be: each gives about 1 dB. Half a step is to spare.
    fn lacking(self) -> u8 {
        let worst = self.decibels;
        let steps = if worst >= EDGE_DB {
            0
        } else {
            (1..40).find(|&step| worst + f64::from(step) >= EDGE_DB + 0.5).unwrap_or(40)
        };
        if self.has_mistakable { steps.max(STEPS_OF_STILL) } else { steps }
    }

    /// Returns `finest`, or the quantizer that pictures which are almost still may need.
    const fn finest(self, finest: u8) -> u8 {
        if self.has_mistakable { FINEST_OF_STILL } else { finest }
    }
}

/// How an encoder spends its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateControl {
    /// The same quantizer for each picture of an edge.
    Edge {
        /// The quantizer, 0 to 51.
        quantizer: u8,
    },
    /// The same quality throughout.
    Whole {
        /// The preset.
        preset: Preset,
        /// x264's constant rate factor.
        quality: u8,
    },
}

impl RateControl {
    /// Returns options of ffmpeg.
    #[must_use]
    pub fn arguments(self) -> Vec<String> {
        match self {
            Self::Edge { quantizer } => {
                ["-preset", "ultrafast", "-qp", &quantizer.to_string()].map(str::to_owned).into()
            }
            Self::Whole { preset, quality } => {
                ["-preset", preset.name(), "-crf", &quality.to_string()].map(str::to_owned).into()
            }
        }
    }
}

/// Bits of footage that is encoded, by codec.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceBits {
    /// Bits of H.264, and of codecs that pack no tighter.
    pub h264: u64,
    /// Bits of HEVC, and of codecs that pack as tightly.
    pub hevc: u64,
    /// How long all of it is shown, in microseconds.
    pub us: u64,
}

impl SourceBits {
    /// Returns the bit rate that the encoded clip may have, in bits a second.
    #[must_use]
    pub fn cap(self) -> u64 {
        let allowed = self.h264.saturating_mul(13) / 10;
        let allowed = allowed.saturating_add(self.hevc.saturating_mul(2));
        (allowed.saturating_mul(1_000_000) / self.us.max(1)).max(ALWAYS_ALLOWED)
    }
}

/// How a segment is encoded that is no edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholeEncoding {
    /// The preset.
    pub preset: Preset,
    /// The bit rate that it may have, in bits a second.
    pub cap: u64,
}

impl WholeEncoding {
    /// Returns the bits that a segment of `us` microseconds may have, times a million.
    fn allowed(self, us: u64) -> u128 {
        u128::from(self.cap) * u128::from(us.max(SHORT_US))
    }

    /// Returns how to encode first.
    #[must_use]
    pub const fn first(self) -> RateControl {
        let quality = match self.preset {
            Preset::SuperFast => QUALITY,
            Preset::UltraFast => QUALITY_ULTRAFAST,
        };
        RateControl::Whole { preset: self.preset, quality }
    }

    /// Returns how to encode again after `bits` came out for a segment of `us` microseconds, or `None` if that is within the
    /// cap or nothing coarser is tried.
    ///
    /// x264 has a cap of its own (`maxrate`), but with two threads its bytes then depend on which of them is faster. Six
    /// steps of the quality halve the bits, more or less.
    #[must_use]
    pub fn coarser(self, tried: RateControl, bits: u64, us: u64) -> Option<RateControl> {
        let RateControl::Whole { preset, quality } = tried else { return None };
        let allowed = self.allowed(us);
        let is = u128::from(bits) * 1_000_000;
        if is <= allowed || quality >= COARSEST {
            return None;
        }
        // an eighth less for each step, and one step to spare
        let (mut left, mut quality) = (is, quality + 1);
        while left > allowed && quality < COARSEST {
            (left, quality) = (left * 7 / 8, quality + 1);
        }
        Some(RateControl::Whole { preset, quality })
    }
}

impl WholeEncoding {
    /// Returns how to encode again after pictures of this `quality` came out in `bits` for `us` microseconds, or `None` if
    /// they are good or the cap leaves no room.
    #[must_use]
    pub fn finer(self, tried: RateControl, quality: Quality, bits: u64, us: u64) -> Option<RateControl> {
        let RateControl::Whole { preset, quality: factor } = tried else { return None };
        let allowed = self.allowed(us);
        // a step costs a seventh more bits
        let costs = |steps: u8| (0..steps).fold(u128::from(bits) * 1_000_000, |bits, _| bits.saturating_mul(8) / 7);
        let most = quality.lacking().min(factor.saturating_sub(quality.finest(FINEST)));
        let steps = (1..=most).rev().find(|&steps| costs(steps) <= allowed)?;
        Some(RateControl::Whole { preset, quality: factor - steps })
    }
}

/// Returns the next finer quantizer to try after `quantizer` gave frames of this `quality`, or `None` if that is enough or no
/// finer one exists.
#[must_use]
pub fn finer(quantizer: u8, quality: Quality) -> Option<u8> {
    let (lacks, finest) = (quality.lacking(), quality.finest(*EDGE_QUANTIZERS.start()));
    (lacks > 0 && quantizer > finest).then(|| quantizer.saturating_sub(lacks.max(2)).max(finest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(decibels: f64) -> Quality {
        Quality { decibels, has_mistakable: false }
    }

    #[test]
    fn the_cap_follows_the_source() {
        let minute = |h264, hevc| SourceBits { h264, hevc, us: 60_000_000 }.cap();
        assert_eq!(minute(240_000_000, 0), 5_200_000);
        assert_eq!(minute(0, 120_000_000), 4_000_000);
        assert_eq!(minute(120_000_000, 60_000_000), 4_600_000);
        assert_eq!(minute(0, 7), ALWAYS_ALLOWED);
        assert_eq!(SourceBits::default().cap(), ALWAYS_ALLOWED);
    }

    #[test]
    fn what_is_too_large_gets_coarser() {
        let whole = WholeEncoding { preset: Preset::SuperFast, cap: 4_000_000 };
        let quality = |bits| match whole.coarser(whole.first(), bits, 10_000_000) {
            Some(RateControl::Whole { quality, .. }) => quality - QUALITY,
            _ => 0,
        };
        assert_eq!([40_000_000, 40_000_001, 80_000_000, u64::MAX].map(quality), [0, 2, 7, COARSEST - QUALITY]);
    }

    #[test]
    fn what_is_not_good_gets_finer_within_the_cap() {
        let whole = WholeEncoding { preset: Preset::SuperFast, cap: 4_000_000 };
        let quality = |worst, bits| match whole.finer(whole.first(), of(worst), bits, 10_000_000) {
            Some(RateControl::Whole { quality, .. }) => QUALITY - quality,
            _ => 0,
        };
        assert_eq!([40.0, 39.9, 38.0, 10.0].map(|worst| quality(worst, 1)), [0, 1, 3, QUALITY - FINEST]);
        assert_eq!([20_000_000, 30_000_000, 35_000_000, 35_000_001].map(|bits| quality(35.0, bits)), [5, 2, 1, 0]);
    }

    #[test]
    fn an_edge_gets_finer_until_it_is_good() {
        assert_eq!(finer(23, of(40.0)), None);
        assert_eq!(finer(23, of(39.9)), Some(21));
        assert_eq!(finer(23, of(36.0)), Some(18));
        assert_eq!(finer(12, of(20.0)), Some(8));
        assert_eq!(finer(8, of(20.0)), None, "no finer one is tried");
    }

    #[test]
    fn frames_that_are_nearer_to_their_neighbours_get_finer() {
        let still = Quality { has_mistakable: true, ..of(50.0) };
        assert_eq!([23, 15, 7, 1].map(|quantizer| finer(quantizer, still)), [Some(15), Some(7), Some(1), None]);
        let whole = WholeEncoding { preset: Preset::SuperFast, cap: 4_000_000 };
        let finer = |bits| whole.finer(whole.first(), still, bits, 10_000_000);
        assert_eq!(finer(1), Some(RateControl::Whole { preset: Preset::SuperFast, quality: 15 }));
        assert_eq!(finer(40_000_000), None, "the cap leaves no room");
    }

    #[test]
    fn the_quality_of_frames_is_that_of_the_worst_or_the_average() {
        let frames = [(40.0, false), (f64::INFINITY, true)];
        let frames = frames.map(|(decibels, is_mistakable)| Likeness { decibels, is_mistakable });
        assert_eq!(Quality::worst(&frames), Quality { decibels: 40.0, has_mistakable: true });
        assert_eq!(Quality::average(&frames), of(45.0), "the worst is far from the average");
        let frames = [40.0, 44.0].map(|decibels| Likeness { decibels, is_mistakable: true });
        assert_eq!(Quality::average(&frames), of(42.0));
    }
}
