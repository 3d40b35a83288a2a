//! What one recording shows on the clock of its name: from its first frame to its end, except for holes inside.
//!
//! A camera that loses its stream often goes on writing the same file: pictures and audio jump by half a minute. Nothing
//! was recorded in between, so that is a hole like one between two recordings, and not a picture that stood still.

use crate::mp4::audio_track::AudioTrack;
use crate::mp4::sample_table::SampleTable;
use crate::time::{Span, Timestamp, rescaled};

/// A frame that is shown for longer than this may be followed by a hole, in microseconds.
const MAX_FRAME_US: i64 = 5_000_000;
/// A frame that is shown for longer than so many times the median may be followed by a hole.
const MAX_MEDIANS: i64 = 10;

/// When a recording shows something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footage {
    /// From the instant of the first frame to the end of the last one.
    pub span: Span,
    /// Parts of `span` in which nothing was recorded, in order.
    pub holes: Vec<Span>,
}

impl Footage {
    /// Returns what a recording shows whose name holds the instant `start`, or `None` if it shows nothing.
    #[must_use]
    pub fn of(start: Timestamp, table: &SampleTable, audio: Option<&AudioTrack>) -> Option<Self> {
        let at = |us: i64| Timestamp::from_us(start.as_us().saturating_add(us));
        let (first, end) = (table.recording_first_pts(), table.recording_end_pts());
        let span = Span::new(at(table.us_before(first)), at(table.us_after_start(end)))?;
        Some(Self { span, holes: holes(table, audio).filter_map(|(from, to)| Span::new(at(from), at(to))).collect() })
    }
}

impl From<Span> for Footage {
    fn from(span: Span) -> Self {
        Self { span, holes: Vec::new() }
    }
}

/// Returns the holes, as microseconds after the instant in the recording's name. The frame before a hole lasts the median.
fn holes<'a>(table: &'a SampleTable, audio: Option<&'a AudioTrack>) -> impl Iterator<Item = (i64, i64)> {
    let median = table.median().unwrap_or(i64::MAX);
    let longest = rescaled(MAX_FRAME_US, 1_000_000, table.timescale).max(median.saturating_mul(MAX_MEDIANS));
    let holes = (1..table.frames.len()).filter_map(move |next| {
        let (shown_at, until) = (table.shown_at(next - 1), table.shown_at(next));
        let hole = (table.us_after_start(shown_at + median), table.us_before(until));
        (until - shown_at > longest).then_some(hole)
    });
    holes.filter(move |&hole| !audio.is_some_and(|audio| goes_on(audio, hole)))
}

/// Returns whether at least half of `hole` has audio.
fn goes_on(audio: &AudioTrack, (from, to): (i64, i64)) -> bool {
    let ticks = |us: i64| rescaled(us, 1_000_000, audio.timescale);
    let number = |us: i64| audio.frames.partition_point(|frame| frame.at < ticks(us));
    let frames = i64::try_from(number(to) - number(from)).unwrap_or(i64::MAX);
    let mut lengths: Vec<i64> = audio.frames.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    let middle = lengths.len() / 2;
    let median = if lengths.is_empty() { 0 } else { *lengths.select_nth_unstable(middle).1 };
    let heard_us = rescaled(frames.saturating_mul(median), audio.timescale, 1_000_000);
    heard_us.saturating_mul(2) >= to - from
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::audio_codec::AudioCodec;
    use crate::mp4::audio_track::AudioFrame;
    use crate::mp4::sample_entry::SampleEntry;
    use crate::mp4::sample_table::Sample;

    /// A recording of 25 frames a second that shows frames at these ticks.
    fn table(shown_at: impl Iterator<Item = i64>) -> SampleTable {
        let samples: Vec<Sample> = shown_at.map(|pts| Sample { offset: 0, size: 1, sync: true, pts }).collect();
        let end = samples[samples.len() - 1].pts + 1;
        SampleTable::of_frames(25, samples, end)
    }

    /// Audio of 48 kHz in the first `until_us` of a recording, and from `from_us` on.
    fn audio(until_us: i64, from_us: i64) -> AudioTrack {
        let frames = (0..1000).map(|n| AudioFrame { offset: 0, size: 1, at: n * 1024 });
        let (until, from) = (until_us * 48 / 1000, from_us * 48 / 1000);
        let frames = frames.filter(|frame| frame.at < until || frame.at >= from).collect();
        let entry = SampleEntry::new(*b"mp4a", &[]);
        let (codec, config) = (AudioCodec::Aac, vec![0x11, 0x90]);
        AudioTrack { timescale: 48_000, codec, frames, end: 1_024_000, entry, config }
    }

    #[test]
    fn a_jump_of_the_clock_is_a_hole_unless_the_audio_goes_on() {
        let start = Timestamp::from_us(7_000_000);
        let holes = |table: &SampleTable, audio: Option<&AudioTrack>| -> Vec<(i64, i64)> {
            let footage = Footage::of(start, table, audio).expect("footage");
            footage
                .holes
                .iter()
                .map(|hole| (hole.start().as_us() - 7_000_000, hole.end().as_us() - 7_000_000))
                .collect()
        };
        let jump = |ticks: i64| table((0..50).chain((0..50).map(move |n| 49 + ticks + n)));
        assert_eq!(holes(&jump(125), None), [], "just 5 s");
        assert_eq!(holes(&jump(126), None), [(2_000_000, 7_000_000)]);
        assert_eq!(holes(&jump(500), Some(&audio(2_000_000, 21_000_000))), [(2_000_000, 21_960_000)]);
        assert_eq!(holes(&jump(500), Some(&audio(13_000_000, 13_000_000))), [], "most of the hole is heard");
        // one picture in 8 s is the rate of this camera
        assert_eq!(holes(&table((0..20).map(|n| n * 200)), None), []);
    }
}
