//! Which audio belongs to a clip. AAC frames all last the same time, so the audio of the clip is a sequence of frames on a
//! fixed grid, and each place of the grid gets the AAC frame that lies nearest in the world's time. The error at a joint
//! is at most half an AAC frame, 11 ms at 48 kHz, and no edit list is needed.

use std::ops::Range;

use crate::mp4::audio_track::{AudioFormat, AudioTrack, PCM_SAMPLES_PER_AAC_FRAME};
use crate::plan::clip_clock::{ClipClock, WallInstant};
use crate::plan::coverage::Coverage;
use crate::recording_id::{PerRecording, RecordingId};
use crate::time::{Timestamp, rescaled};

/// PCM samples of one AAC frame.
const AAC_FRAME: i64 = PCM_SAMPLES_PER_AAC_FRAME as i64;

/// How the audio gets into the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioMethod {
    /// AAC frame by AAC frame, byte for byte. All recordings have the sample entry of this one.
    Copy(RecordingId),
    /// Decoded and encoded.
    Encode {
        /// Why it is not copied.
        reason: AudioEncodeReason,
    },
}

/// Why audio is encoded and not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AudioEncodeReason {
    /// The sample entries of two recordings differ.
    #[error("the audio of the recordings differs")]
    Differs,
    /// The audio is another kind of AAC.
    #[error("the audio is not plain AAC-LC")]
    NotPlainAacLc,
}

/// Consecutive AAC frames of the clip that come from one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioRun {
    /// Number of AAC frames of the clip.
    pub length: usize,
    /// Where they come from; silence if `None`.
    pub source: Option<AudioSource>,
}

/// Consecutive AAC frames of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioSource {
    /// The recording.
    pub recording: RecordingId,
    /// AAC frames of the recording: as many as the run has if they are copied, else all that reach into the run.
    pub frames: Range<usize>,
    /// Start of the run, in PCM samples after the recording's first picture.
    pub at: i64,
}

/// The audio of a clip, from its first frame to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPlan {
    /// How the audio gets into the clip.
    pub method: AudioMethod,
    /// Format of the clip's audio.
    pub format: AudioFormat,
    /// Runs in order.
    pub runs: Vec<AudioRun>,
}

/// The audio of one recording, on the clock of the world.
#[derive(Clone, Copy, Debug)]
pub struct AudioOfRecording<'a> {
    /// The instant of the recording's first picture.
    pub start: Timestamp,
    /// The audio track, if its audio can be used.
    pub track: Option<&'a AudioTrack>,
}

/// When the pictures of a clip are shown.
#[derive(Clone, Copy, Debug)]
pub struct PictureTimes<'a> {
    /// The clock of the clip, in any timescale.
    pub clock: ClipClock<'a>,
    /// The instant of clip time 0.
    pub origin: WallInstant,
    /// Length of the clip, in ticks of the clock.
    pub end: i64,
}

impl AudioPlan {
    /// Plans the audio of a clip, or returns `None` if no part of the clip has any.
    #[must_use]
    pub fn of(
        pictures: PictureTimes<'_>,
        coverage: &Coverage,
        recordings: &PerRecording<AudioOfRecording<'_>>,
    ) -> Option<Self> {
        let tracks =
            || coverage.parts.iter().filter_map(|part| Some((part.recording, recordings[part.recording].track?)));
        let (first, first_track) = tracks().next()?;
        let config = &first_track.config;
        let plain = tracks().find_map(|(_, track)| track.aac_lc_format());
        let method = if tracks().any(|(_, track)| track.config != *config) {
            AudioMethod::Encode { reason: AudioEncodeReason::Differs }
        } else if plain.is_none() {
            AudioMethod::Encode { reason: AudioEncodeReason::NotPlainAacLc }
        } else {
            AudioMethod::Copy(first)
        };
        let format = plain.unwrap_or_else(|| first_track.encoded_format());
        let clock = ClipClock { timescale: format.rate, ..pictures.clock };
        let origin = clock.ticks(pictures.origin);
        let end = rescaled(pictures.end, pictures.clock.timescale, format.rate);
        let length = first_frame_centered_at(end).max(1);
        let mut runs: Vec<AudioRun> = Vec::new();
        let mut filled = 0;
        for (index, part) in coverage.parts.iter().enumerate() {
            let AudioOfRecording { start, track } = recordings[part.recording];
            let Some(track) = track else { continue };
            let is_last = index + 1 == coverage.parts.len();
            let begins = clock.ticks(WallInstant::at(part.span.start())) - origin;
            // the last picture may be shown a little longer than the span lasts
            let ends = if is_last { end } else { clock.ticks(WallInstant::at(part.span.end())) - origin };
            let (from, until) =
                (first_frame_centered_at(begins).max(filled), first_frame_centered_at(ends).min(length));
            if from >= until {
                continue;
            }
            let into = i128::from(part.span.start().as_us()) - i128::from(start.as_us());
            let into = i64::try_from((into * i128::from(format.rate) + 500_000).div_euclid(1_000_000)).ok()?;
            let at = |frame: i64| frame * AAC_FRAME - begins + into;
            append_silence(&mut runs, from - filled);
            match method {
                AudioMethod::Copy(_) => {
                    append_copies(&mut runs, part.recording, track, format.rate, (from..until).map(at));
                }
                AudioMethod::Encode { .. } => {
                    let frames = frames_reaching_into(track, format.rate, at(from)..at(until));
                    let source = AudioSource { recording: part.recording, frames, at: at(from) };
                    let length = usize::try_from(until - from).unwrap_or_default();
                    runs.push(AudioRun { length, source: Some(source).filter(|source| !source.frames.is_empty()) });
                }
            }
            filled = until;
        }
        append_silence(&mut runs, length - filled);
        runs.iter().any(|run| run.source.is_some()).then_some(Self { method, format, runs })
    }

    /// Returns the number of AAC frames of the clip.
    #[must_use]
    pub fn length(&self) -> usize {
        self.runs.iter().map(|run| run.length).sum()
    }

    /// Returns the AAC frames of `recording` that must be read.
    pub fn frames_of(&self, recording: RecordingId) -> impl Iterator<Item = Range<usize>> {
        let sources = self.runs.iter().filter_map(|run| run.source.as_ref());
        sources.filter(move |source| source.recording == recording).map(|source| source.frames.clone())
    }
}

/// Returns the first AAC frame of the clip whose middle comes at `pcm` or later.
fn first_frame_centered_at(pcm: i64) -> i64 {
    (pcm - AAC_FRAME / 2 + AAC_FRAME - 1).div_euclid(AAC_FRAME)
}

fn append_silence(runs: &mut Vec<AudioRun>, frames: i64) {
    if let Ok(frames @ 1..) = usize::try_from(frames) {
        match runs.last_mut() {
            Some(AudioRun { length, source: None }) => *length += frames,
            _ => runs.push(AudioRun { length: frames, source: None }),
        }
    }
}

/// Appends one AAC frame for each of `places`, in PCM samples. A run begins with the nearest AAC frame and goes on as long
/// as frames are off by less than one AAC frame, so that neither rounded times nor a slow drift of the recording's clock
/// tears the audio.
fn append_copies(
    runs: &mut Vec<AudioRun>,
    recording: RecordingId,
    track: &AudioTrack,
    rate: u32,
    places: impl Iterator<Item = i64>,
) {
    let at = |index: usize| rescaled(track.frames[index].at, track.timescale, rate);
    for wanted in places {
        let last = runs.last_mut().and_then(|run| Some((&mut run.length, run.source.as_mut()?)));
        if let Some((length, source)) = last
            && source.recording == recording
            && source.frames.end < track.frames.len()
            && (at(source.frames.end) - wanted).abs() < AAC_FRAME
            && source.at + i64::try_from(*length).unwrap_or(i64::MAX) * AAC_FRAME == wanted
        {
            source.frames.end += 1;
            *length += 1;
            continue;
        }
        let after = track.frames.partition_point(|frame| rescaled(frame.at, track.timescale, rate) < wanted);
        let candidates = [after.checked_sub(1), Some(after).filter(|&after| after < track.frames.len())];
        let used = runs.iter().rev().filter_map(|run| run.source.as_ref()).find(|used| used.recording == recording);
        let unused = used.map_or(0, |used| used.frames.end); // the last frame may be the nearest to the next place, too
        let candidates = candidates.into_iter().flatten().filter(|&index| index >= unused);
        let nearest = candidates.min_by_key(|&index| (at(index) - wanted).abs());
        match nearest.filter(|&index| (at(index) - wanted).abs() <= AAC_FRAME / 2) {
            Some(index) => {
                let source = AudioSource { recording, frames: index..index + 1, at: wanted };
                runs.push(AudioRun { length: 1, source: Some(source) });
            }
            None => append_silence(runs, 1),
        }
    }
}

/// Returns the AAC frames that reach into `wanted`, and the one before them, which a decoder needs to begin with.
fn frames_reaching_into(track: &AudioTrack, rate: u32, wanted: Range<i64>) -> Range<usize> {
    let before = |pcm: i64| track.frames.partition_point(|frame| rescaled(frame.at, track.timescale, rate) < pcm);
    before(wanted.start).saturating_sub(2)..before(wanted.end)
}

#[cfg(test)]
#[path = "audio_plan_tests.rs"]
mod tests;
