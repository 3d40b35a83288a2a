//! Describes a plan for those who look at it: logs, traces, the dry run.

use std::ops::Range;
use std::time::Duration;

use crate::fetch::FetchedRecording;
use crate::mp4::Mp4Error;
use crate::observer::{PlanReport, SegmentReport, Silence, TimeRange};
use crate::plan::audio_plan::AudioMethod;
use crate::plan::cut_plan::CutPlan;
use crate::plan::segments::{Method, Segment};
use crate::ranges::total;
use crate::recording_id::{PerRecording, RecordingId};
use crate::render::excerpt::Poster;
use crate::time::rescaled;

/// Returns the report of `plan`.
#[must_use]
pub fn plan_report(
    plan: &CutPlan,
    recordings: &PerRecording<FetchedRecording>,
    poster: &Poster,
    encoding_estimate: Option<Duration>,
) -> PlanReport {
    let (copied, encoded) = plan.counts();
    let mut segments = Vec::with_capacity(plan.segments.len());
    let mut first_frame = 0;
    for segment in &plan.segments {
        segments.push(segment_report(plan, &recordings[segment.recording], segment, first_frame));
        first_frame += segment.frames.len();
    }
    let audio = plan.audio.as_ref().map(|audio| match audio.method {
        AudioMethod::Copy(_) => "copy",
        AudioMethod::Encode { .. } => "encode",
    });
    let bytes_needed = recordings.iter().map(|(id, recording)| {
        let frames = frames_needed(plan, id);
        total(&recording.byte_ranges(&samples_needed(plan, poster, id), &frames, 0))
    });
    PlanReport {
        copied,
        encoded,
        length_us: clip_us(plan, plan.end),
        poster: plan.poster(),
        reasons: plan.reasons(),
        audio,
        silence: silence(plan, recordings),
        encoding_estimate,
        segments,
        bytes_needed: bytes_needed.sum(),
    }
}

/// Returns why a recording of the clip gives no audio, or `None` if each gives some. Audio that cannot be used comes first:
/// many cameras have no microphone.
fn silence(plan: &CutPlan, recordings: &PerRecording<FetchedRecording>) -> Option<Silence> {
    let shown = plan.segments.iter().map(|segment| &recordings[segment.recording]);
    let unusable = shown.into_iter().find_map(|recording| match &recording.open.audio {
        Ok(_) | Err(Mp4Error::NoAudioTrack) => None,
        Err(error) => Some(Silence::Unusable { object: recording.name().to_owned(), reason: error.to_string() }),
    });
    unusable.or_else(|| plan.audio.is_none().then_some(Silence::NothingRecorded))
}

/// Returns the video samples of `recording` that clip and thumbnails need.
#[must_use]
pub fn samples_needed(plan: &CutPlan, poster: &Poster, recording: RecordingId) -> Vec<Range<usize>> {
    let segments = plan.segments.iter().filter(|segment| segment.recording == recording).map(Segment::samples);
    segments.chain((poster.recording == recording).then(|| poster.excerpt.decode.clone())).collect()
}

/// Returns the AAC frames of `recording` that the clip needs.
#[must_use]
pub fn frames_needed(plan: &CutPlan, recording: RecordingId) -> Vec<Range<usize>> {
    plan.audio.iter().flat_map(|audio| audio.frames_of(recording)).collect()
}

/// Converts ticks of the clip to microseconds.
fn clip_us(plan: &CutPlan, ticks: i64) -> i64 {
    rescaled(ticks, plan.timescale, 1_000_000)
}

fn segment_report(
    plan: &CutPlan,
    recording: &FetchedRecording,
    segment: &Segment,
    first_frame: usize,
) -> SegmentReport {
    let table = &recording.open.video.table;
    let start_us = recording.open.listed.start.as_us();
    let taken_at = |pts: i64| start_us + table.us_after_start(pts);
    let end_frame = first_frame + segment.frames.len();
    let (method, reason) = match segment.method {
        Method::Copy { .. } => ("copy", None),
        Method::Encode { reason, .. } => ("encode", Some(reason.to_string())),
    };
    SegmentReport {
        recording: segment.recording,
        method,
        reason,
        frames: segment.frames.len(),
        shown: TimeRange {
            start_us: taken_at(table.shown_at(segment.frames.start)),
            end_us: taken_at(table.frame_end(segment.frames.end - 1)),
        },
        in_clip: TimeRange {
            start_us: clip_us(plan, plan.times[first_frame]),
            end_us: clip_us(plan, plan.times.get(end_frame).copied().unwrap_or(plan.end)),
        },
        bytes: table.samples[segment.samples()].iter().map(|sample| u64::from(sample.size)).sum(),
    }
}
