//! Carries an audio plan out. Copied AAC frames stay where they are in the recording; silence, and audio of another
//! configuration, are made by ffmpeg.
//!
//! Encoded audio is written without vector instructions (`-cpuflags 0`), so its bytes are the same on every processor.
//! Silence is one encoded frame that is used again and again. It is taken from the middle of a few, because the first ones
//! carry the start of the encoder.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::ffmpeg::command::{file_url, reading};
use crate::ffmpeg::memory::AUDIO;
use crate::mp4::Mp4Error;
use crate::mp4::audio_track::{AudioFormat, AudioFrame, AudioTrack, PCM_SAMPLES_PER_AAC_FRAME};
use crate::mp4::sample_entry::SampleEntry;
use crate::mux::layout::{ClipLayout, PieceSource};
use crate::mux::track::{SampleLocation, Track, TrackSample, TrackWithSources};
use crate::plan::audio_plan::{AudioMethod, AudioPlan, AudioSource};
use crate::recording_id::PerRecording;
use crate::render::context::RenderContext;
use crate::render::excerpt::find_boxes;
use crate::render::write_file::{PieceFiles, write_file};
use crate::time::rescaled;

/// AAC frames of silence that are encoded to take one from: the first few still carry the start of the encoder.
const SILENT_FRAMES: usize = 8;
/// Bit rate of encoded audio, in kbit/s a channel.
const KBITS_PER_CHANNEL: u32 = 80;

/// Makes the audio of one clip.
#[derive(Clone, Copy)]
pub struct AudioRenderer<'a> {
    /// Tools and limits.
    pub cx: RenderContext<'a>,
    /// The recordings.
    pub recordings: &'a PerRecording<FetchedRecording>,
}

/// Audio that ffmpeg made.
struct MadeAudio {
    track: AudioTrack,
    file: Arc<File>,
}

impl AudioRenderer<'_> {
    /// Makes the audio track of `plan`. The file that ffmpeg made for it, if any, is added to `files`.
    ///
    /// # Errors
    /// [`FootageError::EncodedAudio`] if ffmpeg did not write what was asked for, or the error of ffmpeg or the disk.
    pub async fn render(
        self,
        plan: &AudioPlan,
        files: &mut PieceFiles,
    ) -> Result<TrackWithSources<PieceSource>, Error> {
        let (entry, samples) = match plan.method {
            AudioMethod::Copy(first) => {
                let entry = plain_entry(audio_of(&self.recordings[first])?)?;
                (entry, self.copy(plan, files).await?)
            }
            AudioMethod::Encode { .. } => {
                let made = self.encode(plan, files).await?;
                let source = files.add(made.file);
                // the first AAC frame only fills the decoder's window
                let frames = made.track.frames[1..=plan.length()].iter();
                (plain_entry(&made.track)?, frames.map(|frame| located(source, frame)).collect())
            }
        };
        let (locations, sizes): (Vec<_>, Vec<u32>) = samples.into_iter().unzip();
        let samples = (0..).step_by(PCM_SAMPLES_PER_AAC_FRAME as usize).zip(sizes);
        let samples = samples.map(|(pts, size)| TrackSample { size, pts, sync: true }).collect();
        Ok(TrackWithSources { track: audio_track(entry, plan.format.rate, samples), locations })
    }

    /// Returns location and size of each AAC frame of audio that is copied.
    async fn copy(
        self,
        plan: &AudioPlan,
        files: &mut PieceFiles,
    ) -> Result<Vec<(SampleLocation<PieceSource>, u32)>, Error> {
        let mut silence = None;
        if plan.runs.iter().any(|run| run.source.is_none()) {
            let made = self.silence(plan.format).await?;
            silence = Some(located(files.add(made.file), &made.track.frames[SILENT_FRAMES / 2]));
        }
        let mut samples = Vec::with_capacity(plan.length());
        for run in &plan.runs {
            match &run.source {
                Some(AudioSource { recording, frames, .. }) => {
                    let track = audio_of(&self.recordings[*recording])?;
                    let source = PieceSource::Recording(*recording);
                    samples.extend(track.frames[frames.clone()].iter().map(|frame| located(source, frame)));
                }
                None => samples.extend(silence.into_iter().flat_map(|frame| std::iter::repeat_n(frame, run.length))),
            }
        }
        Ok(samples)
    }

    /// Makes some AAC frames of silence.
    async fn silence(self, format: AudioFormat) -> Result<MadeAudio, Error> {
        let graph = format!("{}[audio]", silence_filter(format, SILENT_FRAMES)?);
        let made = self.run(&[], graph, format, &self.cx.folder.join("silence.mp4")).await?;
        if made.track.aac_lc_format() == Some(format) && made.track.frames.len() > SILENT_FRAMES {
            return Ok(made);
        }
        Err(too_little(&made, SILENT_FRAMES + 1))
    }

    /// Decodes all audio and encodes it again: one AAC frame more than the clip has, in front.
    async fn encode(self, plan: &AudioPlan, files: &PieceFiles) -> Result<MadeAudio, Error> {
        let AudioFormat { rate, .. } = plan.format;
        let (mut inputs, mut graph, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (index, run) in plan.runs.iter().enumerate() {
            let filters = match &run.source {
                None => silence_filter(plan.format, run.length)?,
                Some(source) => {
                    let path = self.cx.folder.join(format!("audio-{index}.mp4"));
                    let first_pcm_sample = self.write_excerpt(source, rate, &path, files).await?;
                    let input = inputs.len();
                    inputs.push(path);
                    let length = run.length * PCM_SAMPLES_PER_AAC_FRAME as usize;
                    // where the recording leaves time out there is silence, so that everything after it keeps its place
                    format!(
                        "[{input}:a:0]aresample={rate}:async=1:first_pts=0,atrim=start_sample={first_pcm_sample},\
                         asetpts=N/SR/TB,apad=whole_len={length},atrim=end_sample={length}"
                    )
                }
            };
            let layout = channel_layout(plan.format)?;
            graph.push(format!("{filters},aformat=sample_fmts=fltp:channel_layouts={layout}[run{index}]"));
            labels.push(format!("[run{index}]"));
        }
        graph.push(format!("{}concat=n={}:v=0:a=1[audio]", labels.concat(), plan.runs.len()));
        let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
        let made = self.run(&inputs, graph.join(";"), plan.format, &self.cx.folder.join("audio.mp4")).await?;
        if made.track.frames.len() > plan.length() { Ok(made) } else { Err(too_little(&made, plan.length() + 1)) }
    }

    /// Writes the audio frames of `source` into a file of their own at `path`. Returns the PCM sample of it at which the run
    /// begins.
    async fn write_excerpt(
        self,
        source: &AudioSource,
        rate: u32,
        path: &Path,
        files: &PieceFiles,
    ) -> Result<i64, Error> {
        let track = audio_of(&self.recordings[source.recording])?;
        let first = track.frames.get(source.frames.start).map_or(0, |frame| frame.at);
        let (mut samples, mut locations): (Vec<TrackSample>, Vec<_>) = (Vec::new(), Vec::new());
        let mut end = 0;
        let after = [0].into_iter().chain(source.followed_by.iter().map(|next| next.after));
        for ((recording, frames), after) in source.parts().zip(after) {
            let track = audio_of(&self.recordings[recording])?;
            let after = rescaled(after, rate, track.timescale) - first;
            for frame in &track.frames[frames.clone()] {
                let next = samples.last().map_or(i64::MIN, |last| last.pts + 1);
                samples.push(TrackSample { size: frame.size, pts: (frame.at + after).max(next), sync: true });
                locations.push(located(PieceSource::Recording(recording), frame).0);
            }
            end = track.frames.get(frames.end).map_or(track.end, |next| next.at) + after;
        }
        let mut excerpt = audio_track(plain_entry(track)?, track.timescale, samples);
        excerpt.end_pts = excerpt.samples.last().map_or(1, |last| last.pts + 1).max(end);
        let layout = ClipLayout::of(&[TrackWithSources { track: excerpt, locations }]);
        let layout = layout.map_err(|error| Error::footage(path.display().to_string(), error))?;
        write_file(path, Arc::new(layout), files.clone()).await?;
        Ok(source.at - rescaled(first, track.timescale, rate))
    }

    async fn run(
        self,
        inputs: &[&Path],
        graph: String,
        format: AudioFormat,
        output: &Path,
    ) -> Result<MadeAudio, Error> {
        let bit_rate = format!("{}k", KBITS_PER_CHANNEL * u32::from(format.channels));
        let mut command = reading(self.cx.ffmpeg, inputs);
        command
            // sums of floats depend on how many numbers a CPU adds at once, and so would the bytes of the clip
            .args(["-cpuflags", "0"])
            .filter_complex(graph)
            .map("[audio]")
            .args(["-c:a", "aac", "-b:a", &bit_rate, "-ar", &format.rate.to_string()])
            .args(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1", "-f", "mp4"])
            .output(file_url(output));
        self.cx.run_ffmpeg(command, AUDIO, "clip.mp4").await?;
        let (finder, file) = find_boxes(output).map_err(|cause| Error::new("clip.mp4", cause))?;
        let track = finder.audio().map_err(|error| Error::footage("clip.mp4", error))?;
        Ok(MadeAudio { track, file: Arc::new(file) })
    }
}

fn audio_of(recording: &FetchedRecording) -> Result<&AudioTrack, Error> {
    recording.audio().ok_or_else(|| Error::footage(recording.name(), FootageError::from(Mp4Error::NoAudioTrack)))
}

fn plain_entry(track: &AudioTrack) -> Result<SampleEntry, Error> {
    track.plain_entry().map_err(|reason| Error::footage("clip.mp4", FootageError::SampleEntry(reason)))
}

fn located(source: PieceSource, frame: &AudioFrame) -> (SampleLocation<PieceSource>, u32) {
    (SampleLocation { source, offset: frame.offset }, frame.size)
}

fn too_little(made: &MadeAudio, expected: usize) -> Error {
    Error::footage("clip.mp4", FootageError::EncodedAudio { written: made.track.frames.len(), expected })
}

/// Returns a track whose last AAC frame lasts as long as the others.
fn audio_track(entry: SampleEntry, timescale: u32, samples: Vec<TrackSample>) -> Track {
    let end_pts = samples.last().map_or(0, |last| last.pts + i64::from(PCM_SAMPLES_PER_AAC_FRAME));
    let timescale = NonZeroU32::new(timescale).unwrap_or(NonZeroU32::MIN);
    Track { entry, display: None, timescale, samples, end_pts }
}

/// Returns filters that make silence as long as `frames` AAC frames.
fn silence_filter(format: AudioFormat, frames: usize) -> Result<String, Error> {
    let length = frames * PCM_SAMPLES_PER_AAC_FRAME as usize;
    Ok(format!("anullsrc=r={}:cl={},atrim=end_sample={length}", format.rate, channel_layout(format)?))
}

/// Returns ffmpeg's name of AAC's layout for that many channels (ISO/IEC 14496-3, table 1.19).
fn channel_layout(format: AudioFormat) -> Result<&'static str, Error> {
    match format.channels {
        1 => Ok("mono"),
        2 => Ok("stereo"),
        3 => Ok("3.0"),
        4 => Ok("4.0"),
        5 => Ok("5.0"),
        6 => Ok("5.1"),
        8 => Ok("7.1"),
        other => Err(Error::footage("clip.mp4", FootageError::Channels(other))),
    }
}
