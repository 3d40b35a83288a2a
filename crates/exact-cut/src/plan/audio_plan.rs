//! Which audio belongs to a clip. AAC frames all last the same time, so the audio of the clip is a sequence of frames on a
//! fixed grid, and each place of the grid gets the AAC frame that lies nearest in the film's time. The error at a joint
//! is at most half an AAC frame, 11 ms at 48 kHz, and no edit list is needed.
//!
//! Where two recordings are one film, their audio is, too: the AAC frames of the second one follow those of the first one
//! without a frame lost or repeated, also if the cut between their audio lies a few frames beside that of their pictures.

use std::ops::Range;

use crate::mp4::audio_codec::AudioCodec;
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
    /// Recordings of the same film whose audio the decoder goes on with, in order. Only for audio that is encoded.
    pub followed_by: Vec<FollowingAudio>,
}

/// The audio of a recording that follows another one at a joint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowingAudio {
    /// The recording.
    pub recording: RecordingId,
    /// Audio frames of the recording.
    pub frames: Range<usize>,
    /// Time of the recording's first picture, in PCM samples after that of the run's first recording.
    pub after: i64,
}

impl AudioSource {
    /// Returns each recording of the source with its frames, in order.
    pub fn parts(&self) -> impl Iterator<Item = (RecordingId, Range<usize>)> {
        let following = self.followed_by.iter().map(|next| (next.recording, next.frames.clone()));
        [(self.recording, self.frames.clone())].into_iter().chain(following)
    }

    /// Has the decoder go on from `before`, the last recording of the source, with `next`, which is joined to it at the time
    /// `joint` of the clip and is needed up to `until`: all audio of the one, then all of the other, also if the cut between
    /// them lies beside that of the pictures.
    fn go_on(&mut self, before: &FilmAudio<'_>, next: &FilmAudio<'_>, joint: i64, until: i64) {
        let begins = next.at(0);
        let cut = if (begins - joint).abs() <= i64::from(next.rate) { begins } else { joint };
        let half = if next.track.frames.len() > 1 { (next.at(1) - begins) / 2 } else { 0 };
        let last = self.followed_by.last_mut().map_or(&mut self.frames, |last| &mut last.frames);
        last.end = before.first_at(cut - half).max(last.start);
        let frames = next.first_at(cut - half)..next.first_at(until);
        // edit lists state times in milliseconds: a frame that seems to begin a little off begins when the last one ends
        let ends = last.end.checked_sub(1).map_or(begins, |index| before.at(index) + 2 * half);
        let seems = if frames.start < next.track.frames.len() { next.at(frames.start) } else { ends };
        let moved = Some(ends - seems).filter(|moved| moved.abs() <= half).unwrap_or(0);
        let first_offset = before.offset - self.followed_by.last().map_or(0, |last| last.after);
        let after = next.offset + moved - first_offset;
        self.followed_by.push(FollowingAudio { recording: next.recording, frames, after });
    }
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
pub struct PictureTimes {
    /// The clock of the clip, in any timescale.
    pub clock: ClipClock,
    /// The instant of clip time 0.
    pub origin: WallInstant,
    /// Length of the clip, in ticks of the clock.
    pub end: i64,
}

impl AudioPlan {
    /// Plans the audio of a clip, or returns `None` if no part of the clip has any.
    #[must_use]
    pub fn of(
        pictures: PictureTimes,
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
        let films: Vec<Option<FilmAudio<'_>>> = coverage
            .parts
            .iter()
            .map(|part| {
                let AudioOfRecording { start, track } = recordings[part.recording];
                let begins = clock.ticks(WallInstant::at(part.footage.start()).shifted(part.shift_us)) - origin;
                let into = i128::from(part.footage.start().as_us()) - i128::from(start.as_us());
                let into = i64::try_from((into * i128::from(format.rate) + 500_000).div_euclid(1_000_000)).ok()?;
                Some(FilmAudio { recording: part.recording, track: track?, rate: format.rate, offset: begins - into })
            })
            .collect();
        let mut runs: Vec<AudioRun> = Vec::new();
        let mut filled = 0;
        for (index, (part, film)) in coverage.parts.iter().zip(&films).enumerate() {
            let Some(film) = film else { continue };
            let is_last = index + 1 == coverage.parts.len();
            let at = |instant| clock.ticks(WallInstant::at(instant).shifted(part.shift_us)) - origin;
            let begins = at(part.footage.start());
            // the last picture may be shown a little longer than the span lasts
            let ends = if is_last { end } else { at(part.footage.end()) };
            let (from, until) =
                (first_frame_centered_at(begins).max(filled), first_frame_centered_at(ends).min(length));
            if from >= until {
                continue;
            }
            append_silence(&mut runs, from - filled);
            match method {
                AudioMethod::Copy(_) => {
                    let joined = |one: usize, other: usize| coverage.are_joined(one, other).then(|| films[other]);
                    let before = index.checked_sub(1).and_then(|before| joined(index, before)).flatten();
                    let after = joined(index, index + 1).flatten();
                    let sources: Vec<FilmAudio<'_>> = [Some(*film), before, after].into_iter().flatten().collect();
                    (from..until).for_each(|frame| append_copy(&mut runs, &sources, frame * AAC_FRAME));
                }
                AudioMethod::Encode { .. } => {
                    let length = usize::try_from(until - from).unwrap_or_default();
                    let before = index.checked_sub(1).filter(|&before| coverage.are_joined(before, index));
                    let before = before.and_then(|before| films[before]).filter(|before| before.sounds_like(film));
                    if let (Some(before), Some(AudioRun { length: run, source: Some(source) })) =
                        (before, runs.last_mut())
                    {
                        source.go_on(&before, film, begins, until * AAC_FRAME);
                        *run += length;
                        filled = until;
                        continue;
                    }
                    let at = |frame: i64| frame * AAC_FRAME - film.offset;
                    let frames = frames_reaching_into(film.track, format.rate, at(from)..at(until));
                    let followed_by = Vec::new();
                    let source = AudioSource { recording: part.recording, frames, at: at(from), followed_by };
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
        let parts = self.runs.iter().filter_map(|run| run.source.as_ref()).flat_map(AudioSource::parts);
        parts.filter(move |(one, _)| *one == recording).map(|(_, frames)| frames)
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

/// The audio of one recording on the clock of the clip.
#[derive(Clone, Copy)]
struct FilmAudio<'a> {
    recording: RecordingId,
    track: &'a AudioTrack,
    /// PCM samples a second.
    rate: u32,
    /// Time of the recording's first picture in the clip, in PCM samples.
    offset: i64,
}

impl FilmAudio<'_> {
    /// Returns when the AAC frame `index` begins in the clip, in PCM samples.
    fn at(&self, index: usize) -> i64 {
        rescaled(self.track.frames[index].at, self.track.timescale, self.rate) + self.offset
    }

    /// Returns the first frame that begins at `pcm` in the clip or later.
    fn first_at(&self, pcm: i64) -> usize {
        let wanted = pcm - self.offset;
        self.track.frames.partition_point(|frame| rescaled(frame.at, self.track.timescale, self.rate) < wanted)
    }

    /// Returns whether one decoder decodes both.
    fn sounds_like(&self, other: &Self) -> bool {
        let (one, other) = (self.track, other.track);
        let is_alike = match one.codec {
            AudioCodec::Aac | AudioCodec::Pcm { .. } | AudioCodec::Lossless { .. } => one.config == other.config,
            // their frames say all; the entry also holds the bit rate of the file
            AudioCodec::Mp3 | AudioCodec::Opus | AudioCodec::Ac3 => one.encoded_format() == other.encoded_format(),
        };
        (one.codec, one.timescale) == (other.codec, other.timescale) && is_alike
    }

    /// Returns the AAC frame that begins nearest to `pcm`, at most half an AAC frame from it, if it is not one of the first
    /// `used` ones.
    fn nearest(&self, pcm: i64, used: usize) -> Option<usize> {
        let after = self.first_at(pcm);
        let candidates = [after.checked_sub(1), Some(after).filter(|&after| after < self.track.frames.len())];
        let unused = candidates.into_iter().flatten().filter(|&index| index >= used);
        let off = |index: &usize| (self.at(*index) - pcm).abs();
        unused.min_by_key(off).filter(|index| off(index) <= AAC_FRAME / 2)
    }
}

/// Appends one AAC frame at the time `wanted` of the clip, in PCM samples, or silence. It comes from the first of `sources`
/// that has one.
///
/// A run begins with the nearest AAC frame and goes on as long as frames are off by less than one AAC frame, so that neither
/// rounded times nor a slow drift of the recording's clock tears the audio. From one recording to the next a run goes on
/// with the AAC frame that begins when the last one ends.
fn append_copy(runs: &mut Vec<AudioRun>, sources: &[FilmAudio<'_>], wanted: i64) {
    let used = |recording: RecordingId| {
        let sources = runs.iter().rev().filter_map(|run| run.source.as_ref());
        sources.filter(|source| source.recording == recording).map(|source| source.frames.end).max().unwrap_or(0)
    };
    let last = runs.last().and_then(|run| run.source.as_ref());
    let last = last.map(|last| (last.recording, last.frames.end));
    let last_film = last.and_then(|(recording, _)| sources.iter().find(|film| film.recording == recording));
    let last_ends = last.zip(last_film).map(|((_, end), film)| film.at(end - 1) + AAC_FRAME);
    let is_in_place = |film: &FilmAudio<'_>, index: usize| (film.at(index) - wanted).abs() < AAC_FRAME;
    let next = |film: &FilmAudio<'_>| match (last, last_ends) {
        (Some((recording, next)), _) if recording == film.recording => {
            Some(next).filter(|&next| next < film.track.frames.len())
        }
        (_, Some(pcm)) => film.nearest(pcm, used(film.recording)),
        _ => None,
    };
    let goes_on = |film| next(film).filter(|&index| is_in_place(film, index));
    let begins = |film: &FilmAudio<'_>| film.nearest(wanted, used(film.recording));
    let going_on = sources.iter().find_map(|film| Some((film, goes_on(film)?)));
    let Some((film, index)) = going_on.or_else(|| sources.iter().find_map(|film| Some((film, begins(film)?)))) else {
        return append_silence(runs, 1);
    };
    match runs.last_mut() {
        Some(AudioRun { length, source: Some(source) })
            if source.recording == film.recording && source.frames.end == index =>
        {
            *length += 1;
            source.frames.end += 1;
        }
        _ => {
            let (recording, at) = (film.recording, wanted - film.offset);
            let source = AudioSource { recording, frames: index..index + 1, at, followed_by: Vec::new() };
            runs.push(AudioRun { length: 1, source: Some(source) });
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
