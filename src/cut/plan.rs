//! The cut plan: which frames of which recordings make up the clip, when each is shown, and which samples must be read
//! for it. Pure: it knows tables and spans, no bytes.

use std::ops::Range;

use crate::cut::clock::{Clock, Wall, timescale};
use crate::cut::segments::{Entries, How, Segment, split};
use crate::cut::sound::{self, Pictures, SoundPlan};
use crate::footage::coverage::Coverage;
use crate::footage::samples::SampleTable;
use crate::footage::sound::Sound;
use crate::time::{Span, Timestamp};

/// A recording, as far as the plan is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// When its first frame was taken.
    pub starts: Timestamp,
    /// Its frames.
    pub table: &'a SampleTable,
    /// Where decoding it may begin.
    pub entries: &'a Entries,
    /// Why its samples can't be copied, if that is so.
    pub copy: Result<(), &'static str>,
    /// Its sound; none if it is to be had without.
    pub sound: Option<&'a Sound>,
}

/// A clip, frame by frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are shown; at least one.
    pub segments: Vec<Segment>,
    /// The clip's ticks a second.
    pub timescale: u32,
    /// When each frame of the clip is shown: strictly rising from 0.
    pub times: Vec<i64>,
    /// When the last frame's time is over.
    pub end: i64,
    /// What is heard, if anything is.
    pub sound: Option<SoundPlan>,
}

impl Plan {
    /// Plans the clip of `span`.
    ///
    /// Frames belong to the clip when they are first shown inside the span. Time runs as in the world, from the first
    /// frame on, but for the gaps, which are cut out. Frames are held over the holes that are no gaps, the first frame
    /// backwards over one at the start. A span too short for any frame to begin in shows the one that was on screen.
    ///
    /// `None` without footage.
    #[must_use]
    pub fn of(span: Span, coverage: &Coverage, sources: &[Source<'_>]) -> Option<Self> {
        let segments = segments(coverage, sources)?;
        let timescale = timescale(segments.iter().map(|segment| sources[segment.recording].table.timescale));
        let clock = Clock { span, gaps: &coverage.gaps, timescale };
        let wall = |segment: &Segment, pts: i64| {
            let Source { starts, table, .. } = sources[segment.recording];
            Wall::of(starts, table, pts)
        };
        let mut times: Vec<i64> = Vec::new();
        for segment in &segments {
            let table = sources[segment.recording].table;
            times.extend(segment.frames.clone().map(|frame| clock.ticks(wall(segment, table.shown_at(frame)))));
        }
        // after a gap too, which takes no time: the recording behind it begins with its first frame
        let held_from_start = coverage.parts[0].span.start() > span.start();
        let origin = if held_from_start { 0 } else { times[0] };
        times[0] = origin;
        for time in &mut times {
            *time -= origin;
        }
        // two recordings' frames may fall on the same tick; a tick is less than any frame lasts
        for next in 1..times.len() {
            times[next] = times[next].max(times[next - 1] + 1);
        }
        let last = segments.last()?;
        let shown_until = coverage.parts.last()?.span.end();
        let whole = clock.ticks(Wall::at(if coverage.tail_gap(span) { shown_until } else { span.end() }));
        let natural = clock.ticks(wall(last, sources[last.recording].table.frame_end(last.frames.end - 1))) - origin;
        let held_to_end = !coverage.tail_gap(span) && shown_until < span.end();
        let end = if held_to_end { whole } else { natural.min(whole) };
        let end = end.max(times.last()? + 1);
        let first = wall(&segments[0], sources[segments[0].recording].table.shown_at(segments[0].frames.start));
        let pictures = Pictures {
            clock,
            origin: if held_from_start { Wall::at(span.start()) } else { first },
            end: (end, timescale),
        };
        let sounds: Vec<sound::Source<'_>> =
            sources.iter().map(|source| sound::Source { starts: source.starts, sound: source.sound }).collect();
        let sound = SoundPlan::of(pictures, coverage, &sounds);
        Some(Self { segments, timescale, times, end, sound })
    }

    /// How many frames are copied, and how many encoded.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let count = |copied: bool| -> usize {
            let segments = self.segments.iter().filter(|segment| matches!(segment.how, How::Copy { .. }) == copied);
            segments.map(|segment| segment.frames.len()).sum()
        };
        (count(true), count(false))
    }

    /// Why some frames, or all sound, are encoded, each reason once.
    #[must_use]
    pub fn reasons(&self) -> String {
        let mut reasons: Vec<&str> = Vec::new();
        if let Some(SoundPlan { how: sound::How::Encode { why }, .. }) = self.sound {
            reasons.push(why);
        }
        for segment in &self.segments {
            if let How::Encode { why, .. } = segment.how
                && !reasons.contains(&why)
            {
                reasons.push(why);
            }
        }
        reasons.join("; ")
    }

    /// The number of the frame that is shown at a quarter of the clip's length.
    #[must_use]
    pub fn poster(&self) -> usize {
        self.times.partition_point(|&time| i128::from(time) * 4 <= i128::from(self.end)) - 1
    }

    /// The recording of the clip's frame number `frame`, and the frame's number in it.
    #[must_use]
    pub fn locate(&self, frame: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for segment in &self.segments {
            if frame < before + segment.frames.len() {
                return Some((segment.recording, segment.frames.start + frame - before));
            }
            before += segment.frames.len();
        }
        None
    }
}

/// Sorted, runs joined that overlap, touch, or have at most `hole` bytes between them.
#[must_use]
pub fn joined(mut ranges: Vec<Range<u64>>, hole: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end.saturating_add(hole) >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn segments(coverage: &Coverage, sources: &[Source<'_>]) -> Option<Vec<Segment>> {
    let of = |recording: usize, frames: Range<usize>| {
        let Source { table, entries, copy, .. } = sources[recording];
        split(recording, table, entries, copy, frames)
    };
    let mut segments: Vec<Segment> = Vec::new();
    for part in &coverage.parts {
        let Source { starts, table, .. } = sources[part.recording];
        let frames = table.first_frame_at(part.span.start(), starts)..table.first_frame_at(part.span.end(), starts);
        if !frames.is_empty() {
            segments.extend(table.stretches(frames).flat_map(|frames| of(part.recording, frames)));
        }
    }
    if segments.is_empty() {
        let part = coverage.parts.first()?;
        let Source { starts, table, .. } = sources[part.recording];
        let on_screen = table.first_frame_at(part.span.start(), starts).saturating_sub(1);
        segments.extend(of(part.recording, on_screen..on_screen + 1));
    }
    Some(segments)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
