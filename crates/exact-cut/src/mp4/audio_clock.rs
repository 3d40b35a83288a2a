//! The clock of an audio track whose stamps say when frames arrived and not when they were heard.
//!
//! Recorders that dump a network stream stamp what they receive. The frames of one packet, or of one wake-up of a thread,
//! come in a burst, and the network adds jitter. The frames themselves last equally long, so their number tells the time
//! better than their stamps do: as long as both agree in the long run, the stamps are replaced by a clock that is fitted to
//! them, an offset and a small drift.
//!
//! Where stamps change for good, sound was lost or the clock was set: the clock is fitted anew from there on, and what is
//! lost becomes silence. Stamps that are regular as they are stay untouched.

use std::ops::Range;

use crate::mp4::audio_codec::AudioCodec;
use crate::mp4::audio_track::{AudioFrame, AudioTrack};
use crate::time::rescaled;

/// Frames on each side of an irregular step that tell whether the stamps change for good: about one second.
const WINDOW: usize = 48;
/// Frames of a stretch that is long enough to tell a drift from jitter: about ten seconds.
const TELLS_DRIFT: usize = 480;
/// The largest drift is one part in so many. Frames of a stretch with a larger one are not as long as is thought.
const MAX_DRIFT: i64 = 100;

/// Replaces the stamps of frames by a clock that is fitted to them, where they come in bursts or with jitter.
pub fn follow_clock(track: &mut AudioTrack) {
    if track.codec == AudioCodec::Aac && track.aac_lc_format().is_none() {
        return; // frames of other kinds of AAC may last twice as long
    }
    let (rate, timescale, codec) = (track.rate(), track.timescale, track.codec);
    let mut pcm = 0_i64;
    let mut by_count = Vec::with_capacity(track.frames.len());
    for frame in &track.frames {
        by_count.push(rescaled(pcm, rate, timescale));
        pcm += i64::from(codec.samples_in_frame(rate, frame.size));
    }
    let Some(duration) = by_count.get(1).copied().filter(|&duration| duration > 0) else { return };
    Stamps { frames: &mut track.frames, by_count: &by_count, duration }.fit();
    track.end = track.end.max(track.frames.last().map_or(0, |last| last.at + 1));
}

struct Stamps<'a> {
    frames: &'a mut [AudioFrame],
    /// Time of each frame by the number of those before, in ticks.
    by_count: &'a [i64],
    /// Of a frame, in ticks.
    duration: i64,
}

impl Stamps<'_> {
    /// Returns how much later than by its number a frame is stamped, in ticks.
    fn late(&self, frame: usize) -> i64 {
        self.frames[frame].at - self.by_count[frame]
    }

    /// Returns how much longer than the frame the step to it is.
    fn excess(&self, frame: usize) -> i64 {
        self.late(frame) - self.late(frame - 1)
    }

    /// Returns whether a frame does not merely follow the one before in a burst.
    fn is_head(&self, frame: usize) -> bool {
        frame == 0 || self.excess(frame) * 2 > -self.duration
    }

    fn is_irregular(&self, frame: usize) -> bool {
        self.excess(frame).abs() * 2 > self.duration
    }

    /// Returns the median lateness of the heads among `frames`, if there are any.
    fn level(&self, frames: Range<usize>) -> Option<i64> {
        let heads: Vec<i64> = frames.filter(|&frame| self.is_head(frame)).map(|frame| self.late(frame)).collect();
        (!heads.is_empty()).then(|| median(heads))
    }

    /// Returns how much the lateness of heads usually differs from one to the next.
    fn jitter(&self) -> i64 {
        let heads: Vec<i64> =
            (0..self.frames.len()).filter(|&frame| self.is_head(frame)).map(|frame| self.late(frame)).collect();
        median(heads.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect())
    }

    /// Splits the frames where their stamps change for good.
    fn stretches(&self, jitter: i64) -> Vec<Range<usize>> {
        let lasting = (self.duration * 3 / 4).max(jitter * 4);
        let (mut stretches, mut start) = (Vec::new(), 0);
        for frame in 1..self.frames.len() {
            if !self.is_irregular(frame) {
                continue;
            }
            let before = self.level(start.max(frame.saturating_sub(WINDOW))..frame);
            let after = self.level(frame..self.frames.len().min(frame + WINDOW));
            // the frame itself must be on the new side
            let changes = |(before, after): (i64, i64)| {
                let late = self.late(frame);
                (after - before).abs() > lasting && (late - after).abs() < (late - before).abs()
            };
            if before.zip(after).is_some_and(changes) {
                stretches.push(start..frame);
                start = frame;
            }
        }
        stretches.push(start..self.frames.len());
        stretches
    }

    fn fit(mut self) {
        let jitter = self.jitter();
        for stretch in self.stretches(jitter) {
            if (stretch.start + 1..stretch.end).any(|frame| self.is_irregular(frame)) {
                self.fit_stretch(stretch, jitter);
            }
        }
        for frame in 1..self.frames.len() {
            self.frames[frame].at = self.frames[frame].at.max(self.frames[frame - 1].at + 1);
        }
    }

    /// Puts the frames of a stretch on a line.
    fn fit_stretch(&mut self, stretch: Range<usize>, jitter: i64) {
        let all: Vec<usize> = stretch.clone().collect();
        let heads: Vec<usize> = stretch.clone().filter(|&frame| self.is_head(frame)).collect();
        // in bursts the first frames agree with each other, and the others come too early
        let are_bursts = jitter * 4 < self.spread(&all);
        let told_by = if are_bursts && !heads.is_empty() { heads } else { all };
        let Some(drift) = self.drift(&told_by) else { return };
        let drifted = |at: i64, (late, ticks): (i64, i64)| scaled(at, late, ticks);
        let offset =
            median(told_by.iter().map(|&frame| self.late(frame) - drifted(self.by_count[frame], drift)).collect());
        for frame in stretch {
            let at = self.by_count[frame];
            self.frames[frame].at = at + offset + drifted(at, drift);
        }
    }

    /// Returns how much lateness changes in how many ticks, or `None` if it changes too much.
    fn drift(&self, frames: &[usize]) -> Option<(i64, i64)> {
        let third = frames.len() / 3;
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return Some((0, 1)) };
        if last - first < TELLS_DRIFT || third == 0 {
            return Some((0, 1));
        }
        let middle = |frames: &[usize]| {
            let late = median(frames.iter().map(|&frame| self.late(frame)).collect());
            (late, self.by_count[frames[frames.len() / 2]])
        };
        let (early, late) = (middle(&frames[..third]), middle(&frames[frames.len() - third..]));
        let (by, ticks) = (late.0 - early.0, late.1 - early.1);
        (by.abs() * MAX_DRIFT <= ticks).then_some((by, ticks))
    }

    /// Returns the range that the middle half of the lateness of `frames` takes.
    fn spread(&self, frames: &[usize]) -> i64 {
        let mut late: Vec<i64> = frames.iter().map(|&frame| self.late(frame)).collect();
        late.sort_unstable();
        late[late.len() * 3 / 4] - late[late.len() / 4]
    }
}

/// Returns `at * by / ticks`.
fn scaled(at: i64, by: i64, ticks: i64) -> i64 {
    let product = i128::from(at) * i128::from(by);
    i64::try_from(product.div_euclid(i128::from(ticks.max(1)))).unwrap_or_default()
}

/// Returns the middle one of `values`, or 0 of none.
fn median(mut values: Vec<i64>) -> i64 {
    if values.is_empty() {
        return 0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
#[allow(clippy::cast_possible_wrap, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // small numbers
mod tests {
    use testkit::random::SplitMix64;

    use super::*;
    use crate::mp4::sample_entry::SampleEntry;

    /// Ticks of a frame of AAC-LC, 48 kHz.
    const FRAME: i64 = 1024;

    /// Returns what the clock makes of stamps.
    fn followed(stamps: &[i64]) -> Vec<i64> {
        let frames = stamps.iter().map(|&at| AudioFrame { offset: 0, size: 1, at }).collect();
        let mut track = AudioTrack {
            timescale: 48_000,
            frames,
            end: stamps[stamps.len() - 1] + FRAME,
            entry: SampleEntry::new(*b"mp4a", &[]),
            codec: AudioCodec::Aac,
            config: vec![0x11, 0x90],
        };
        follow_clock(&mut track);
        track.frames.iter().map(|frame| frame.at).collect()
    }

    fn regular(count: i64) -> Vec<i64> {
        (0..count).map(|n| n * FRAME).collect()
    }

    /// Returns the largest distance of two lists of times, in milliseconds.
    fn worst_ms(is: &[i64], should: &[i64]) -> i64 {
        is.iter().zip(should).map(|(a, b)| (a - b).abs()).max().unwrap_or_default() / 48
    }

    #[test]
    fn bursts_of_any_length_are_spread_out() {
        for burst in [2, 3, 4, 7, 23] {
            let stamps: Vec<i64> = (0..2000).map(|n| n / burst * burst * FRAME + n % burst).collect();
            assert_eq!(followed(&stamps), regular(2000), "bursts of {burst}");
        }
    }

    #[test]
    fn jitter_is_evened_out() {
        let mut random = SplitMix64(7);
        let mut last = -1;
        let stamps: Vec<i64> = (0..2000)
            .map(|n| {
                last = (n * FRAME + (random.below(2880) as i64 - 1440)).max(last + 1);
                last
            })
            .collect();
        let worst = worst_ms(&followed(&stamps), &regular(2000));
        assert!(worst <= 8, "{worst} ms off");
    }

    #[test]
    fn a_drift_is_followed_and_a_burst_in_it_evened_out() {
        let true_times: Vec<i64> = regular(20_000).iter().map(|at| at + at / 4000).collect();
        let stamps: Vec<i64> = (0..20_000).map(|n| true_times[n / 4 * 4] + n as i64 % 4).collect();
        let worst = worst_ms(&followed(&stamps), &true_times);
        assert!(worst <= 2, "{worst} ms off");
    }

    #[test]
    fn regular_stamps_stay_as_they_are() {
        let with_holes: Vec<i64> = (0..900).map(|n| n * FRAME + n / 300 * 72_000).collect();
        assert_eq!(followed(&with_holes), with_holes);
        let rounded: Vec<i64> = (0..900).map(|n| n * FRAME / 48 * 48).collect();
        assert_eq!(followed(&rounded), rounded, "a timescale of milliseconds");
        let steps_back: Vec<i64> = (0..300).map(|n| if n < 105 { n * FRAME } else { (n - 1) * FRAME + 1 }).collect();
        assert_eq!(followed(&steps_back), steps_back);
        let one_lost: Vec<i64> = (0..300).map(|n| if n < 105 { n * FRAME } else { (n + 1) * FRAME }).collect();
        assert_eq!(followed(&one_lost), one_lost);
    }

    #[test]
    fn a_hole_among_bursts_stays() {
        let truth: Vec<i64> = (0..900).map(|n| n * FRAME + n / 300 * 72_000).collect();
        let stamps: Vec<i64> = (0..900).map(|n: i64| truth[n as usize / 3 * 3] + n % 3).collect();
        assert_eq!(followed(&stamps), truth);
    }

    #[test]
    fn times_rise_whatever_the_stamps_are() {
        let mut random = SplitMix64(11);
        for _ in 0..50 {
            let mut at = 0;
            let stamps: Vec<i64> = (0..300)
                .map(|_| {
                    at += [1, 1, FRAME, 3 * FRAME, 200 * FRAME][random.below(5)];
                    at
                })
                .collect();
            assert!(followed(&stamps).windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
        }
    }
}
