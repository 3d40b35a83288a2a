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
    /// When the first frame was taken, by the name of its recording, in whole microseconds.
    pub taken_at: Timestamp,
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
    /// first frame on, except that gaps are cut out, and that at a joint the clock of the film goes on. Over a hole that is
    /// neither, the frame before it is held; over one at the start of the span, the frame after it. A span in which no frame
    /// begins shows the frame that was on screen.
    #[must_use]
    pub fn of(span: Span, coverage: &Coverage, recordings: &PerRecording<RecordingView<'_>>) -> Option<Self> {
        let frames = frames(coverage, recordings)?;
        let segments = segments(&frames, recordings);
        let timescale = clip_timescale(segments.iter().map(|segment| recordings[segment.recording].table.timescale));
        let is_one = segments.iter().all(|segment| segment.recording == segments[0].recording);
        let timescale = if is_one && coverage.held.is_empty() { timescale } else { fine_timescale(timescale) };
        let clock = ClipClock { start: span.start(), timescale };
        let instant = |part: &Part, time: i64| {
            let RecordingView { start, table, .. } = recordings[part.recording];
            WallInstant::of_frame(start, table, time).shifted(part.shift_us)
        };
        let mut times: Vec<i64> = Vec::new();
        for (part, frames) in &frames {
            let table = recordings[part.recording].table;
            times.extend(frames.clone().map(|frame| clock.ticks(instant(part, table.shown_at(frame)))));
        }
        let held_from_start = coverage.is_held_from_start(span);
        let origin = if held_from_start { 0 } else { times[0] };
        times[0] = origin;
        for time in &mut times {
            *time -= origin;
        }
        // frames of two recordings may fall on one tick; a tick is shorter than any frame
        for next in 1..times.len() {
            times[next] = times[next].max(times[next - 1] + 1);
        }
        let ((first, first_frames), (last, last_frames)) = (frames.first()?, frames.last()?);
        let table = recordings[last.recording].table;
        let natural = clock.ticks(instant(last, table.frame_end(last_frames.end - 1))) - origin;
        let part = coverage.parts.last()?;
        // the clip is no longer than what it shows of the span, although its first frame may begin a little later
        let end_of = |instant: Timestamp| clock.ticks(WallInstant::at(instant).shifted(part.shift_us));
        let end = if coverage.is_held_to_end(span) {
            end_of(span.end())
        } else if starts_inside(last, recordings) {
            natural.min(end_of(part.footage.end()))
        } else {
            natural // a frame that stands for the hole of a joint
        };
        let end = end.max(times.last()? + 1);
        let RecordingView { start, table, .. } = recordings[first.recording];
        let taken_at = WallInstant::of_frame(start, table, table.shown_at(first_frames.start));
        let origin = if held_from_start { WallInstant::at(span.start()) } else { taken_at.shifted(first.shift_us) };
        let audio = recordings.map(|recording| AudioOfRecording { start: recording.start, track: recording.audio });
        let audio = AudioPlan::of(PictureTimes { clock, origin, end }, coverage, &audio);
        Some(Self { segments, timescale, times, end, taken_at: taken_at.as_timestamp(), audio })
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

/// Returns the frames of each part that has any; at least one frame, if there is footage.
fn frames<'a>(
    coverage: &'a Coverage,
    recordings: &PerRecording<RecordingView<'_>>,
) -> Option<Vec<(&'a Part, Range<usize>)>> {
    let first_frame_at = |part: &Part, at: Timestamp| {
        let RecordingView { start, table, .. } = recordings[part.recording];
        table.first_frame_at(at, start)
    };
    let of_part = |part: &Part| first_frame_at(part, part.footage.start())..first_frame_at(part, part.footage.end());
    let frames = coverage.parts.iter().map(|part| (part, of_part(part)));
    let mut frames: Vec<_> = frames.filter(|(_, frames)| !frames.is_empty()).collect();
    if frames.is_empty() {
        let part = coverage.parts.first()?;
        let on_screen = first_frame_at(part, part.footage.start()).saturating_sub(1);
        frames.push((part, on_screen..on_screen + 1));
    }
    Some(frames)
}

/// Returns whether a frame of the part's recording begins before the part ends.
fn starts_inside(part: &Part, recordings: &PerRecording<RecordingView<'_>>) -> bool {
    let RecordingView { start, table, .. } = recordings[part.recording];
    table.first_frame_at(part.footage.end(), start) > 0
}

/// Splits the frames of all parts into segments. Frames that follow each other in their recording are copied together, even
/// if time was cut out between them.
fn segments(frames: &[(&Part, Range<usize>)], recordings: &PerRecording<RecordingView<'_>>) -> Vec<Segment> {
    let mut runs: Vec<(RecordingId, Range<usize>)> = Vec::new();
    for (part, frames) in frames {
        match runs.last_mut() {
            Some((recording, run)) if *recording == part.recording && run.end == frames.start => run.end = frames.end,
            _ => runs.push((part.recording, frames.clone())),
        }
    }
    let split_run = |(recording, run): (RecordingId, Range<usize>)| {
        let RecordingView { table, random_access, copyable, .. } = recordings[recording];
        let parts = table.split_into_parts(run);
        parts.flat_map(move |frames| split(recording, table, random_access, copyable, frames)).collect::<Vec<_>>()
    };
    runs.into_iter().flat_map(split_run).collect()
}

#[cfg(test)]
#[path = "cut_plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "film_tests.rs"]
mod film_tests;
