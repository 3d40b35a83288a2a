//! The cut plan: which frames of which recordings make up the clip, when each is shown, and which samples must be read
//! for it. Pure: it knows tables and spans, no bytes.

use std::ops::Range;

use crate::footage::coverage::Coverage;
use crate::footage::samples::SampleTable;
use crate::time::{Span, Timestamp};

/// The finest timescale a clip gets, in ticks a second.
const FINEST_TIMESCALE: u32 = 1_000_000;

/// A recording, as far as the plan is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// When its first frame was taken.
    pub starts: Timestamp,
    /// Its frames.
    pub table: &'a SampleTable,
}

/// What the clip shows of one recording, without interruption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index into the recordings.
    pub recording: usize,
    /// Its frames, in the order in which they are shown.
    pub frames: Range<usize>,
    /// How they get into the clip.
    pub how: How,
}

/// How a segment's frames get into the clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// Decoded and encoded anew.
    Encode {
        /// The samples, in decode order, that must be decoded for it.
        decode: Range<usize>,
    },
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
        let wall = |segment: &Segment, pts: i64| Wall::of(&sources[segment.recording], pts);
        let mut times: Vec<i64> = Vec::new();
        for segment in &segments {
            let table = sources[segment.recording].table;
            times.extend(segment.frames.clone().map(|frame| clock.ticks(wall(segment, table.frame(frame).pts))));
        }
        let held_from_start = coverage.parts[0].span.start() > span.start()
            && coverage.gaps.first().is_none_or(|gap| gap.start() > span.start());
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
        Some(Self { segments, timescale, times, end })
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

/// The bytes of `samples`, in order, runs that touch joined.
#[must_use]
pub fn bytes_of(table: &SampleTable, samples: Range<usize>) -> Vec<Range<u64>> {
    let ranges = table.samples[samples].iter().map(|sample| sample.offset..sample.offset + u64::from(sample.size));
    joined(ranges.collect())
}

/// Sorted, runs that touch or overlap joined.
#[must_use]
pub fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

fn segments(coverage: &Coverage, sources: &[Source<'_>]) -> Option<Vec<Segment>> {
    let segment = |recording: usize, frames: Range<usize>| {
        let decode = decode_window(sources[recording].table, frames.clone());
        Segment { recording, frames, how: How::Encode { decode } }
    };
    let mut segments: Vec<Segment> = Vec::new();
    for part in &coverage.parts {
        let Source { starts, table } = sources[part.recording];
        let frames = table.first_frame_at(part.span.start(), starts)..table.first_frame_at(part.span.end(), starts);
        if !frames.is_empty() {
            segments.push(segment(part.recording, frames));
        }
    }
    if segments.is_empty() {
        let part = coverage.parts.first()?;
        let Source { starts, table } = sources[part.recording];
        let on_screen = table.first_frame_at(part.span.start(), starts).saturating_sub(1);
        segments.push(segment(part.recording, on_screen..on_screen + 1));
    }
    Some(segments)
}

/// The samples, in decode order, that must be decoded to get `frames`: from the last sync sample after which nothing
/// that is wanted refers to anything before it.
#[must_use]
pub fn decode_window(table: &SampleTable, frames: Range<usize>) -> Range<usize> {
    let first_pts = table.frame(frames.start).pts;
    let wanted = &table.frames[frames];
    let first = wanted.iter().copied().min().unwrap_or_default() as usize;
    let last = wanted.iter().copied().max().unwrap_or_default() as usize;
    let can_start = |&index: &usize| table.samples[index].sync && table.samples[index].pts <= first_pts;
    let start = (0..=first).rev().find(can_start).unwrap_or(0);
    start..last + 1
}

/// The least common multiple of the recordings' timescales, so that every frame's time is exact; the first one's where
/// that is finer than [`FINEST_TIMESCALE`].
fn timescale(mut timescales: impl Iterator<Item = u32>) -> u32 {
    let first = timescales.next().unwrap_or(1);
    timescales
        .try_fold(first, |lcm, next| (lcm / gcd(lcm, next)).checked_mul(next).filter(|&lcm| lcm <= FINEST_TIMESCALE))
        .unwrap_or(first)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// An instant that no unit divides evenly: `us + ticks / timescale` microseconds and seconds.
#[derive(Clone, Copy)]
struct Wall {
    us: i64,
    ticks: i64,
    timescale: u32,
}

impl Wall {
    fn of(source: &Source<'_>, pts: i64) -> Self {
        let ticks = pts - source.table.first_pts();
        Self { us: source.starts.as_us(), ticks, timescale: source.table.timescale }
    }

    fn at(instant: Timestamp) -> Self {
        Self { us: instant.as_us(), ticks: 0, timescale: 1 }
    }
}

/// Turns instants into the clip's ticks: the span's start is 0, gaps take no time.
struct Clock<'a> {
    span: Span,
    gaps: &'a [Span],
    timescale: u32,
}

impl Clock<'_> {
    /// Rounded once, to the nearest tick.
    fn ticks(&self, wall: Wall) -> i64 {
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
