//! The cut plan: which frames of which recordings make up the clip, when each is shown, and which samples must be read.
//!
//! The plan is a pure function of the span, the coverage and the sample tables, on integers. Each part of the coverage
//! gives the frames that are shown in it; [`super::segments`] splits them into a copied run and encoded edges; the
//! [`super::clip_clock`] says when each is shown. A frame belongs to the span if it begins in it; the first frame of the
//! clip may have begun before. Spans are half-open, so clips of adjacent spans have no frame twice and lose none.
//!
//! The plan asks for no byte that it does not use: for a minute out of two recordings of 300 MB it is 31 MB.

use std::ops::Range;

use crate::mp4::audio_track::AudioTrack;
use crate::mp4::sample_table::SampleTable;
use crate::plan::audio_plan::{AudioMethod, AudioOfRecording, AudioPlan, PictureTimes};
use crate::plan::clip_clock::{ClipClock, WallInstant, clip_timescale, fine_timescale};
use crate::plan::coverage::{Coverage, Part};
use crate::plan::random_access::RandomAccessPoints;
use crate::plan::segments::{EncodeReason, Method, Segment, split};
use crate::recording_id::{PerRecording, RecordingId};
use crate::time::{Span, Timestamp};

/// What a plan needs to know of one recording.
#[derive(Clone, Copy, Debug)]
pub struct RecordingView<'a> {
    /// The instant of the first frame.
    pub start: Timestamp,
    /// Samples and frames.
    pub table: &'a SampleTable,
    /// Where decoding may begin.
    pub random_access: &'a RandomAccessPoints,
    /// Whether samples may be copied, or why not.
    pub copyable: Result<(), EncodeReason>,
    /// The audio track, if its audio can be used.
    pub audio: Option<&'a AudioTrack>,
}

/// A clip, frame by frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutPlan {
    /// Segments in the order in which they are shown; at least one.
    pub segments: Vec<Segment>,
    /// Ticks a second.
    pub timescale: u32,
    /// Time of each frame of the clip, in ticks: strictly rising from 0.
    pub times: Vec<i64>,
    /// End of the last frame, in ticks.
    pub end: i64,
    /// The audio, if the clip has any.
    pub audio: Option<AudioPlan>,
}

/// A frame of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameOfRecording {
    /// The recording.
    pub recording: RecordingId,
    /// Number of the frame in the recording, counted from 0.
    pub frame: usize,
}

impl CutPlan {
    /// Plans the clip of `span`, or returns `None` without footage.
    ///
    /// A frame belongs to the clip if it is first shown inside the span. The clip's time runs as in the world, from its
    /// first frame on, except that gaps are cut out. Over a hole that is not a gap the frame before it is held; over one
    /// at the start of the span, the frame after it. A span in which no frame begins shows the frame that was on screen.
    #[must_use]
    pub fn of(span: Span, coverage: &Coverage, recordings: &PerRecording<RecordingView<'_>>) -> Option<Self> {
        let segments = segments(coverage, recordings)?;
        let timescale = clip_timescale(segments.iter().map(|segment| recordings[segment.recording].table.timescale));
        let is_one = segments.iter().all(|segment| segment.recording == segments[0].recording);
        let timescale = if is_one && coverage.held(span).is_empty() { timescale } else { fine_timescale(timescale) };
        let clock = ClipClock { span, gaps: &coverage.gaps, timescale };
        let instant = |segment: &Segment, pts: i64| {
            let RecordingView { start, table, .. } = recordings[segment.recording];
            WallInstant::of_frame(start, table, pts)
        };
        let mut times: Vec<i64> = Vec::new();
        for segment in &segments {
            let table = recordings[segment.recording].table;
            times.extend(segment.frames.clone().map(|frame| clock.ticks(instant(segment, table.shown_at(frame)))));
        }
        // this is true after a gap, too, but a gap takes no time: the recording after it begins with its first frame
        let held_from_start = coverage.parts[0].span.start() > span.start();
        let origin = if held_from_start { 0 } else { times[0] };
        times[0] = origin;
        for time in &mut times {
            *time -= origin;
        }
        // frames of two recordings may fall on one tick; a tick is shorter than any frame
        for next in 1..times.len() {
            times[next] = times[next].max(times[next - 1] + 1);
        }
        let (first, last) = (segments.first()?, segments.last()?);
        let shown_until = coverage.parts.last()?.span.end();
        let whole = clock.ticks(WallInstant::at(if coverage.has_tail_gap(span) { shown_until } else { span.end() }));
        let natural =
            clock.ticks(instant(last, recordings[last.recording].table.frame_end(last.frames.end - 1))) - origin;
        let held_to_end = !coverage.has_tail_gap(span) && shown_until < span.end();
        let end = if held_to_end { whole } else { natural.min(whole) };
        let end = end.max(times.last()? + 1);
        let first_shown = instant(first, recordings[first.recording].table.shown_at(first.frames.start));
        let origin = if held_from_start { WallInstant::at(span.start()) } else { first_shown };
        let audio = recordings.map(|recording| AudioOfRecording { start: recording.start, track: recording.audio });
        let audio = AudioPlan::of(PictureTimes { clock, origin, end }, coverage, &audio);
        Some(Self { segments, timescale, times, end, audio })
    }

    /// Returns how many frames are copied, and how many are encoded.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let count = |copied: bool| -> usize {
            let segments = self.segments.iter().filter(|segment| segment.is_copy() == copied);
            segments.map(|segment| segment.frames.len()).sum()
        };
        (count(true), count(false))
    }

    /// Returns whether any frame is copied.
    #[must_use]
    pub fn has_copies(&self) -> bool {
        self.segments.iter().any(Segment::is_copy)
    }

    /// Returns why some frames, or the audio, are encoded: each reason once, separated by semicolons.
    #[must_use]
    pub fn reasons(&self) -> String {
        let mut reasons: Vec<String> = Vec::new();
        if let Some(AudioPlan { method: AudioMethod::Encode { reason }, .. }) = &self.audio {
            reasons.push(reason.to_string());
        }
        for segment in &self.segments {
            if let Method::Encode { reason, .. } = &segment.method
                && !reasons.contains(&reason.to_string())
            {
                reasons.push(reason.to_string());
            }
        }
        reasons.join("; ")
    }

    /// Returns the number of the frame that is shown at a quarter of the clip's length.
    #[must_use]
    pub fn poster(&self) -> usize {
        self.times.partition_point(|&time| i128::from(time) * 4 <= i128::from(self.end)) - 1
    }

    /// Returns where frame number `frame` of the clip comes from.
    #[must_use]
    pub fn locate(&self, frame: usize) -> Option<FrameOfRecording> {
        let mut before = 0;
        for segment in &self.segments {
            if frame < before + segment.frames.len() {
                return Some(FrameOfRecording {
                    recording: segment.recording,
                    frame: segment.frames.start + frame - before,
                });
            }
            before += segment.frames.len();
        }
        None
    }
}

fn segments(coverage: &Coverage, recordings: &PerRecording<RecordingView<'_>>) -> Option<Vec<Segment>> {
    let split_frames = |part: &Part, frames: Range<usize>| {
        let RecordingView { table, random_access, copyable, .. } = recordings[part.recording];
        split(part.recording, table, random_access, copyable, frames)
    };
    let first_frame_at = |part: &Part, at: Timestamp| {
        let RecordingView { start, table, .. } = recordings[part.recording];
        table.first_frame_at(at, start)
    };
    let mut segments: Vec<Segment> = Vec::new();
    for part in &coverage.parts {
        let frames = first_frame_at(part, part.span.start())..first_frame_at(part, part.span.end());
        if !frames.is_empty() {
            let table = recordings[part.recording].table;
            segments.extend(table.split_into_parts(frames).flat_map(|frames| split_frames(part, frames)));
        }
    }
    if segments.is_empty() {
        let part = coverage.parts.first()?;
        let on_screen = first_frame_at(part, part.span.start()).saturating_sub(1);
        segments.extend(split_frames(part, on_screen..on_screen + 1));
    }
    Some(segments)
}

#[cfg(test)]
#[path = "cut_plan_tests.rs"]
mod tests;
