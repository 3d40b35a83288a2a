//! Carries a sound plan out: copied packets stay where they are, silence and what must be encoded are made by ffmpeg.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use shiguredo_mp4::boxes::{SampleEntry, TkhdBox};

use crate::cut::edges::indexed;
use crate::cut::movie::{Sample, Track};
use crate::cut::sound::{Heard, How, SoundPlan};
use crate::cut::splice::{self, Place, Spliced};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fetch::Fetched;
use crate::ffmpeg::{Ffmpeg, url};
use crate::footage::sound::{Format, PACKET, Sound, SoundPacket};
use crate::time::rescaled;

/// Packets of silence that are encoded to take one from: the first few still carry the encoder's start.
const SILENCE: usize = 8;

/// What sound is made with.
#[derive(Clone, Copy, Debug)]
pub struct Workshop<'a> {
    /// Encodes.
    pub ffmpeg: &'a Ffmpeg,
    /// The recordings.
    pub fetched: &'a [Fetched<'a>],
    /// Scratch space of this request alone.
    pub folder: &'a Path,
    /// Until when it must be done.
    pub deadline: Deadline,
    /// Index of the file that ffmpeg's sound will be among the clip's, where the recordings' come first.
    pub made: usize,
}

/// Sound that ffmpeg has made.
struct Made {
    sound: Sound,
    file: File,
}

/// Makes the sound of `plan`. Returns its track, and the file of what ffmpeg made for it if that was needed.
///
/// # Errors
/// Unusable if what ffmpeg wrote is not what was asked for.
pub async fn make(workshop: Workshop<'_>, plan: &SoundPlan) -> Result<(Spliced, Option<File>), Error> {
    let silent = plan.runs.iter().any(|run| run.heard.is_none());
    let (entry, made) = match plan.how {
        How::Copy(recording) => {
            let entry = workshop.fetched[recording].sound.map(|sound| sound.entry.clone());
            let made = if silent { Some(workshop.silence(plan.format).await?) } else { None };
            (entry.ok_or_else(|| unusable("the sound is gone"))?, made)
        }
        How::Encode { .. } => {
            let made = workshop.encode(plan).await?;
            (made.sound.entry.clone(), Some(made))
        }
    };
    let place = |file: usize, packet: &SoundPacket| (Place { file, offset: packet.offset }, packet.size);
    let mut packets: Vec<(Place, u32)> = Vec::with_capacity(plan.slots());
    for run in &plan.runs {
        match (&run.heard, plan.how, &made) {
            (Some(Heard { recording, packets: copied, .. }), How::Copy(_), _) => {
                let sound = workshop.fetched[*recording].sound.ok_or_else(|| unusable("the sound is gone"))?;
                packets.extend(sound.packets[copied.clone()].iter().map(|packet| place(*recording, packet)));
            }
            (None, How::Copy(_), Some(silence)) => {
                let packet = place(workshop.made, &silence.sound.packets[SILENCE / 2]);
                packets.extend(std::iter::repeat_n(packet, run.slots));
            }
            // the first packet only fills the decoder's window
            (_, How::Encode { .. }, Some(encoded)) => {
                let at = packets.len() + 1;
                packets.extend(
                    encoded.sound.packets[at..at + run.slots].iter().map(|packet| place(workshop.made, packet)),
                );
            }
            (_, _, None) => return Err(unusable("a part of the sound is missing")),
        }
    }
    let (places, sizes): (Vec<Place>, Vec<u32>) = packets.into_iter().unzip();
    let samples = (0..).step_by(PACKET as usize).zip(sizes).map(|(pts, size)| Sample { size, pts, sync: true });
    Ok((Spliced { track: track(entry, plan.format.rate, samples.collect()), places }, made.map(|made| made.file)))
}

fn unusable(reason: impl std::fmt::Display) -> Error {
    Error::unusable("clip.mp4", reason)
}

/// A track of sound whose last packet lasts as long as the others.
fn track(entry: SampleEntry, timescale: u32, samples: Vec<Sample>) -> Track {
    let end_pts = samples.last().map_or(0, |last| last.pts + i64::from(PACKET));
    let timescale = NonZeroU32::new(timescale).unwrap_or(NonZeroU32::MIN);
    Track { entry, matrix: TkhdBox::DEFAULT_MATRIX, timescale, samples, end_pts }
}

impl Workshop<'_> {
    /// Some packets of silence.
    async fn silence(&self, format: Format) -> Result<Made, Error> {
        let output = self.folder.join("silence.mp4");
        let graph = format!("{}[sound]", quiet(format, SILENCE)?);
        let made = self.run(&[], graph, format, &output).await?;
        if made.sound.format() != Some(format) || made.sound.packets.len() <= SILENCE {
            return Err(unusable("ffmpeg made other silence than was asked for"));
        }
        Ok(made)
    }

    /// All of the sound, decoded and encoded: one packet more than there are slots, in front.
    async fn encode(&self, plan: &SoundPlan) -> Result<Made, Error> {
        let Format { rate, .. } = plan.format;
        let (mut inputs, mut graph, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (index, run) in plan.runs.iter().enumerate() {
            let sounding = match &run.heard {
                None => quiet(plan.format, run.slots)?,
                Some(heard) => {
                    let (input, shift) = self.excerpt(heard, rate, index)?;
                    let source = inputs.len();
                    inputs.push(input);
                    let length = run.slots * PACKET as usize;
                    // what the recording leaves out is silence, so that all after it stays in its place
                    format!(
                        "[{source}:a:0]aresample={rate}:async=1:first_pts=0,atrim=start_sample={shift},\
                         asetpts=N/SR/TB,apad=whole_len={length},atrim=end_sample={length}"
                    )
                }
            };
            graph.push(format!(
                "{sounding},aformat=sample_fmts=fltp:channel_layouts={}[run{index}]",
                layout(plan.format)?
            ));
            labels.push(format!("[run{index}]"));
        }
        graph.push(format!("{}concat=n={}:v=0:a=1[sound]", labels.concat(), plan.runs.len()));
        let inputs: Vec<&Path> = inputs.iter().map(PathBuf::as_path).collect();
        let made = self.run(&inputs, graph.join(";"), plan.format, &self.folder.join("sound.mp4")).await?;
        if made.sound.packets.len() <= plan.slots() {
            return Err(unusable(format_args!(
                "ffmpeg wrote {} packets of sound where {} were asked for",
                made.sound.packets.len(),
                plan.slots() + 1
            )));
        }
        Ok(made)
    }

    /// Writes the packets of `heard` into a movie of their own. Returns where in it, in PCM samples, the run begins.
    fn excerpt(&self, heard: &Heard, rate: u32, index: usize) -> Result<(PathBuf, i64), Error> {
        let fetched = &self.fetched[heard.recording];
        let sound = fetched.sound.ok_or_else(|| unusable("the sound is gone"))?;
        let packets = &sound.packets[heard.packets.clone()];
        let first = packets.first().map_or(0, |packet| packet.at);
        let sample = |packet: &SoundPacket| Sample { size: packet.size, pts: packet.at - first, sync: true };
        let places = packets.iter().map(|packet| Place { file: 0, offset: packet.offset }).collect();
        let end = sound.packets.get(heard.packets.end).map_or(sound.end, |next| next.at) - first;
        let mut track = track(sound.entry.clone(), sound.timescale, packets.iter().map(sample).collect());
        track.end_pts = track.samples.last().map_or(1, |last| last.pts + 1).max(end);
        let path = self.folder.join(format!("sound-{index}.mp4"));
        let spliced = [Spliced { track, places }];
        splice::write(&path, &spliced, &[&fetched.file])?;
        Ok((path, heard.at - rescaled(first, sound.timescale, rate)))
    }

    async fn run(&self, inputs: &[&Path], graph: String, format: Format, output: &Path) -> Result<Made, Error> {
        let mut command = self.ffmpeg.reading(inputs);
        command
            // sums of floats depend on how many a CPU adds at once, and so would the clip's bytes
            .args(["-cpuflags", "0"])
            .filter_complex(graph)
            .map("[sound]")
            .args([
                "-c:a",
                "aac",
                "-b:a",
                &format!("{}k", 80 * u32::from(format.channels)),
                "-ar",
                &format.rate.to_string(),
            ])
            .args(["-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1", "-f", "mp4"])
            .output(url(output));
        self.ffmpeg.run(command, "clip.mp4", self.deadline).await?;
        let (index, file) = indexed(output).map_err(unusable)?;
        Ok(Made { sound: index.sound().map_err(unusable)?, file })
    }
}

/// A source of silence, as long as that many packets.
fn quiet(format: Format, packets: usize) -> Result<String, Error> {
    let length = packets * PACKET as usize;
    Ok(format!("anullsrc=r={}:cl={},atrim=end_sample={length}", format.rate, layout(format)?))
}

/// ffmpeg's name of the layout that AAC has for so many channels (ISO/IEC 14496-3, table 1.19).
fn layout(format: Format) -> Result<&'static str, Error> {
    match format.channels {
        1 => Ok("mono"),
        2 => Ok("stereo"),
        3 => Ok("3.0"),
        4 => Ok("4.0"),
        5 => Ok("5.0"),
        6 => Ok("5.1"),
        8 => Ok("7.1"),
        other => Err(unusable(format_args!("{other} channels of sound"))),
    }
}
