//! Proves a clip before it is stored. What lies on disk is reopened and compared with the plan: the times of its frames,
//! its parameter sets, its copied samples byte for byte. Then it is decoded around every joint, and the copied pictures
//! must be those that the recordings give. Exit codes and silence prove nothing.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use futures::future::try_join3;
use shiguredo_mp4::boxes::SampleEntry;

use crate::cut::edges::{ANY_RATE, Movie, Run, reopen, write_runs};
use crate::cut::plan::Plan;
use crate::cut::segments::{How, Segment};
use crate::cut::splice::Spliced;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fetch::Fetched;
use crate::ffmpeg::{Ffmpeg, url};
use crate::footage::sound::PACKET;
use crate::footage::tracks::Video;

/// Pictures of a copied run that are decoded after a joint. The first is an IDR picture: if it and those after it come
/// out right, its parameter sets were found and what came before was let go.
const AFTER_JOINT: usize = 8;

/// A clip that is to be proven, and what it was made of.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The clip.
    pub path: &'a Path,
    /// What it should be.
    pub plan: &'a Plan,
    /// What was written into it: the pictures, then the sound if there is any.
    pub tracks: &'a [Spliced],
    /// The files that its samples were taken from.
    pub files: &'a [&'a File],
    /// The recordings.
    pub recordings: &'a [Fetched<'a>],
}

/// Proves `claim`, with scratch files in `folder`.
///
/// # Errors
/// Unusable, with what differs.
pub async fn check(ffmpeg: &Ffmpeg, claim: Claim<'_>, folder: &Path, deadline: Deadline) -> Result<(), Error> {
    let Claim { plan, recordings, .. } = claim;
    let clip = frames_on_disk(claim).map_err(differs)?;
    let segments = placed(&plan.segments);
    // of the clip, and what of it is copied as it is in the recordings: one sample entry, or it were not copied
    let (mut of_clip, mut of_recordings) = (Vec::new(), Vec::new());
    let mut copied: Vec<Range<usize>> = Vec::new(); // pictures of the former that are those of the latter
    let mut before = 0;
    for window in windows(&segments, &clip.video) {
        for (segment, at) in &segments {
            let How::Copy { samples } = &segment.how else { continue };
            let shared = at.start.max(window.start)..at.end.min(window.end);
            if shared.is_empty() {
                continue;
            }
            let fetched = &recordings[segment.recording];
            let from = samples.start + shared.start - at.start;
            copied.push(before + shared.start - window.start..before + shared.end - window.start);
            of_recordings.push(Run { video: fetched.video, file: &fetched.file, samples: from..from + shared.len() });
        }
        before += window.len();
        of_clip.push(Run { video: &clip.video, file: &clip.file, samples: window });
    }
    let (shown, original, ()) = try_join3(
        pictures(ffmpeg, &of_clip, folder.join("proof-clip"), deadline),
        pictures(ffmpeg, &of_recordings, folder.join("proof-recordings"), deadline),
        async { tracks_on_disk(claim, &clip).map_err(differs) },
    )
    .await?;
    if copied.into_iter().flat_map(|part| &shown[part]).eq(&original) {
        Ok(())
    } else {
        Err(differs("copied pictures decode to others than in their recording".to_owned()))
    }
}

fn differs(reason: String) -> Error {
    Error::unusable("clip.mp4", reason)
}

/// Reopens the clip and compares the times of its frames with the plan.
fn frames_on_disk(claim: Claim<'_>) -> Result<Movie, String> {
    let Claim { path, plan, .. } = claim;
    let clip = reopen(path)?;
    let table = &clip.video.table;
    let times: Vec<i64> = (0..table.frames.len()).map(|frame| table.frame(frame).pts).collect();
    if times != plan.times || table.end_pts != plan.end || table.timescale != plan.timescale {
        return Err(format!("{} frames, not at the times of the {} planned", times.len(), plan.times.len()));
    }
    Ok(clip)
}

/// Compares the tracks of the reopened clip with what was spliced.
fn tracks_on_disk(claim: Claim<'_>, clip: &Movie) -> Result<(), String> {
    let Claim { tracks, files, .. } = claim;
    let samples = clip.video.table.samples.iter().map(|sample| (sample.offset, sample.size));
    let mut there: Vec<(&SampleEntry, Vec<(u64, u32)>)> = vec![(&clip.video.entry, samples.collect())];
    if let Ok(sound) = &clip.sound {
        let in_time = (0..).step_by(PACKET as usize).zip(&sound.packets).all(|(at, packet)| packet.at == at);
        if !in_time {
            return Err("packets of sound at other times than planned".to_owned());
        }
        there.push((&sound.entry, sound.packets.iter().map(|packet| (packet.offset, packet.size)).collect()));
    }
    if there.len() != tracks.len() {
        return Err(format!("{} tracks in place of {}", there.len(), tracks.len()));
    }
    for ((entry, samples), spliced) in there.into_iter().zip(tracks) {
        if *entry != spliced.track.entry {
            return Err("other parameters than were spliced".to_owned());
        }
        same_bytes(&clip.file, &samples, spliced, files)?;
    }
    Ok(())
}

/// Compares samples, given by place and size, with those that they were copied from.
fn same_bytes(clip: &File, samples: &[(u64, u32)], spliced: &Spliced, files: &[&File]) -> Result<(), String> {
    if samples.len() != spliced.places.len() {
        return Err(format!("{} samples in place of {}", samples.len(), spliced.places.len()));
    }
    let failed = |error: std::io::Error| error.to_string();
    let (mut there, mut here) = (Vec::new(), Vec::new());
    for (&(offset, size), place) in samples.iter().zip(&spliced.places) {
        for (bytes, file, offset) in [(&mut there, files[place.file], place.offset), (&mut here, clip, offset)] {
            bytes.resize(size as usize, 0);
            file.read_exact_at(bytes, offset).map_err(failed)?;
        }
        if there != here {
            return Err(format!("other bytes at {offset} than were spliced"));
        }
    }
    Ok(())
}

/// Each segment with its samples in the clip.
fn placed(segments: &[Segment]) -> Vec<(&Segment, Range<usize>)> {
    let mut end = 0;
    let place = |segment| -> (&Segment, Range<usize>) {
        let segment: &Segment = segment;
        let start = end;
        end += segment.frames.len();
        (segment, start..end)
    };
    segments.iter().map(place).collect()
}

/// The clip's samples that are decoded: all that were encoded, and around each joint the last group of pictures of a
/// copied run and the first pictures of the next.
fn windows(segments: &[(&Segment, Range<usize>)], clip: &Video) -> Vec<Range<usize>> {
    let is_copy = |segment: &Segment| matches!(segment.how, How::Copy { .. });
    let last_group =
        |at: &Range<usize>| at.clone().rev().find(|&n| clip.table.samples[n].sync).unwrap_or(at.start)..at.end;
    let first_pictures = |at: &Range<usize>| at.start..at.end.min(at.start + AFTER_JOINT);
    let mut windows: Vec<Range<usize>> = Vec::new();
    for (index, (segment, at)) in segments.iter().enumerate() {
        if is_copy(segment) {
            windows.push(first_pictures(at));
            if index + 1 < segments.len() {
                windows.push(last_group(at));
            }
        } else {
            windows.push(at.clone());
        }
    }
    // what touches is decoded in one go: that is where the joints are
    let mut joined: Vec<Range<usize>> = Vec::new();
    for window in windows {
        match joined.last_mut() {
            Some(last) if last.end >= window.start => last.end = last.end.max(window.end),
            _ => joined.push(window),
        }
    }
    joined
}

/// A hash of each picture of all `runs`, in the order in which they are shown.
async fn pictures(ffmpeg: &Ffmpeg, runs: &[Run<'_>], path: PathBuf, deadline: Deadline) -> Result<Vec<String>, Error> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let (movie, hashes) = (path.with_extension("mp4"), path.with_extension("framehash"));
    write_runs(runs, ANY_RATE, &movie)?;
    let mut command = ffmpeg.reading(&[&movie]);
    command.args(["-map", "0:v:0"]).fps_mode("passthrough").format("framehash");
    command.args(["-hash", "murmur3"]).output(url(&hashes)); // MD5 would take twice as long as the decoding
    ffmpeg.run(command, "clip.mp4", deadline).await?;
    let text = tokio::fs::read_to_string(&hashes).await.map_err(|error| differs(error.to_string()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pictures: Vec<String> =
        lines.filter_map(|line| line.rsplit(',').next()).map(|hash| hash.trim().to_owned()).collect();
    let samples: usize = runs.iter().map(|run| run.samples.len()).sum();
    if pictures.len() != samples {
        return Err(differs(format!("{} of {samples} pictures at its joints decode", pictures.len())));
    }
    Ok(pictures)
}
