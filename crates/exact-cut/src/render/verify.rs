//! Verifies a clip before it may be announced. The header is read as that of any recording, and what it says is compared
//! with the plan: the times of the frames, the parameter sets, the source of every sample. Then the clip is decoded around
//! every seam, and copied pictures must be those that the recordings give. ffmpeg's exit code and its silence prove
//! nothing.
//!
//! The layout is verified, not a file: a sample of the clip is found by way of the header and the pieces, as a player
//! would find it.

use std::ops::Range;
use std::path::PathBuf;

use futures::future::try_join;

use crate::error::{Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::ffmpeg::command::{Pictures, hashing};
use crate::ffmpeg::memory::decoding;
use crate::mp4::audio_track::PCM_SAMPLES_PER_AAC_FRAME;
use crate::mp4::box_finder::BoxFinder;
use crate::mp4::shape::filter_before_decoding;
use crate::mp4::tracks::{Tracks, VideoTrack};
use crate::mux::layout::{ClipLayout, PieceSource};
use crate::mux::track::TrackWithSources;
use crate::plan::cut_plan::CutPlan;
use crate::plan::segments::{Method, Segment};
use crate::recording_id::PerRecording;
use crate::render::context::RenderContext;
use crate::render::encode::PROVEN_WHOLE;
use crate::render::excerpt::{ANY_RATE, SampleRun, write_runs};
use crate::render::write_file::PieceFiles;

/// Pictures of a copied run that are decoded after a seam. The first one is an IDR picture. If it and those after it come
/// out right, a decoder found their parameter sets and let go of what came before.
pub const PICTURES_AFTER_SEAM: usize = 8;

/// A clip that is to be verified, and what it was made of.
#[derive(Clone, Copy, Debug)]
pub struct ClipToVerify<'a> {
    /// The clip.
    pub layout: &'a ClipLayout,
    /// The bytes of its pieces.
    pub files: &'a PieceFiles,
    /// What the clip should be.
    pub plan: &'a CutPlan,
    /// The tracks that were laid out: video, then audio if there is any.
    pub tracks: &'a [TrackWithSources<PieceSource>],
    /// The recordings.
    pub recordings: &'a PerRecording<FetchedRecording>,
}

/// Verifies `clip`.
///
/// # Errors
/// [`FootageError::Verification`] if the clip is not what was planned, or the error of ffmpeg or the disk.
pub async fn verify(cx: RenderContext<'_>, clip: ClipToVerify<'_>) -> Result<(), Error> {
    let ClipToVerify { plan, recordings, files, .. } = clip;
    let tracks = reopened(clip.layout).map_err(|error| Error::footage("clip.mp4", error))?;
    check_tables(clip, &tracks).map_err(differs)?;
    let segments = placed(&plan.segments);
    // the decoded parts of the clip, and what of them was copied, as it is in the recordings
    let (mut in_clip, mut in_recordings) = (Vec::new(), Vec::new());
    let mut copied: Vec<Range<usize>> = Vec::new(); // pictures of the former that must equal those of the latter
    let mut before = 0;
    for window in windows(&segments, &tracks.video) {
        for (segment, at) in &segments {
            let Method::Copy { samples } = &segment.method else { continue };
            let shared = at.start.max(window.start)..at.end.min(window.end);
            if shared.is_empty() {
                continue;
            }
            let from = samples.start + shared.start - at.start;
            copied.push(before + shared.start - window.start..before + shared.end - window.start);
            let recording = &recordings[segment.recording];
            in_recordings.push(SampleRun::of_recording(recording, from..from + shared.len()));
        }
        before += window.len();
        let locations = clip.tracks[0].locations[window.clone()].to_vec();
        in_clip.push(SampleRun::new(&tracks.video, window, locations));
    }
    let (shown, original) = try_join(
        picture_hashes(cx, &in_clip, files, cx.folder.join("verify-clip")),
        picture_hashes(cx, &in_recordings, files, cx.folder.join("verify-recordings")),
    )
    .await?;
    if copied.into_iter().flat_map(|part| &shown[part]).eq(&original) {
        Ok(())
    } else {
        Err(differs("copied pictures: expected those of their recording, got others".to_owned()))
    }
}

fn differs(reason: String) -> Error {
    Error::footage("clip.mp4", FootageError::Verification(reason))
}

/// Reads the tracks of the clip from its header.
fn reopened(layout: &ClipLayout) -> Result<Tracks, FootageError> {
    let outside = || FootageError::Verification("header: expected all boxes of the clip, got some".to_owned());
    let mut finder = BoxFinder::new(layout.length());
    while let Some(range) = finder.required_range() {
        let range = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let bytes = range.and_then(|(start, end)| layout.header.get(start..end)).ok_or_else(outside)?;
        finder.feed(bytes)?;
    }
    Ok(finder.tracks()?)
}

/// Compares what the header says with the plan and with the tracks that were laid out.
fn check_tables(clip: ClipToVerify<'_>, Tracks { video, audio, .. }: &Tracks) -> Result<(), String> {
    let ClipToVerify { plan, tracks, layout, .. } = clip;
    let table = &video.table;
    let times: Vec<i64> = (0..table.frames.len()).map(|frame| table.frame(frame).pts).collect();
    if times != plan.times || table.stated_end_pts != plan.end || table.timescale != plan.timescale {
        return Err(format!(
            "frames: expected {} at the planned times, got {} at others",
            plan.times.len(),
            times.len()
        ));
    }
    let samples = table.samples.iter().map(|sample| (sample.offset, sample.size));
    let mut found = vec![(&video.entry, samples.collect::<Vec<_>>())];
    if let Ok(audio) = audio {
        let in_time =
            (0..).step_by(PCM_SAMPLES_PER_AAC_FRAME as usize).zip(&audio.frames).all(|(at, frame)| frame.at == at);
        if !in_time {
            return Err("AAC frames: expected the planned times, got others".to_owned());
        }
        found.push((&audio.entry, audio.frames.iter().map(|frame| (frame.offset, frame.size)).collect()));
    }
    if found.len() != tracks.len() {
        return Err(format!("tracks: expected {}, got {}", tracks.len(), found.len()));
    }
    for ((entry, samples), planned) in found.into_iter().zip(tracks) {
        if *entry != planned.track.entry {
            return Err("sample entry: expected the planned one, got another".to_owned());
        }
        check_samples(layout, &samples, planned)?;
    }
    Ok(())
}

/// Checks that every sample, given by offset and size in the clip, comes from the planned place.
fn check_samples(
    layout: &ClipLayout,
    samples: &[(u64, u32)],
    planned: &TrackWithSources<PieceSource>,
) -> Result<(), String> {
    if samples.len() != planned.locations.len() {
        return Err(format!("samples of a track: expected {}, got {}", planned.locations.len(), samples.len()));
    }
    for ((&(offset, size), location), sample) in samples.iter().zip(&planned.locations).zip(&planned.track.samples) {
        if size != sample.size || layout.locate(offset, size) != Some(*location) {
            return Err(format!("sample at byte {offset}: expected the planned one, got another"));
        }
    }
    Ok(())
}

/// Returns each segment with its samples in the clip.
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

/// Returns the samples of the clip that are decoded: all of a short encoded segment, and around each seam the last group of
/// pictures of a copied run or a long segment, and the first pictures of the next.
fn windows(segments: &[(&Segment, Range<usize>)], clip: &VideoTrack) -> Vec<Range<usize>> {
    let last_group =
        |at: &Range<usize>| at.clone().rev().find(|&n| clip.table.samples[n].sync).unwrap_or(at.start)..at.end;
    let first_pictures = |at: &Range<usize>| at.start..at.end.min(at.start + PICTURES_AFTER_SEAM);
    let mut windows: Vec<Range<usize>> = Vec::new();
    for (index, (segment, at)) in segments.iter().enumerate() {
        if segment.is_copy() {
            windows.push(first_pictures(at));
            if index + 1 < segments.len() {
                windows.push(last_group(at));
            }
        } else if at.len() <= PROVEN_WHOLE {
            windows.push(at.clone());
        } else {
            // compared with its source when it was encoded; here only its seams count
            windows.push(first_pictures(at));
            windows.push(last_group(at));
        }
    }
    // windows that touch are decoded in one go: the seams lie there
    let mut merged: Vec<Range<usize>> = Vec::new();
    for window in windows {
        match merged.last_mut() {
            Some(last) if last.end >= window.start => last.end = last.end.max(window.end),
            _ => merged.push(window),
        }
    }
    merged
}

/// Returns a hash of each picture of all `runs`, in the order in which they are shown.
async fn picture_hashes(
    cx: RenderContext<'_>,
    runs: &[SampleRun<'_>],
    files: &PieceFiles,
    path: PathBuf,
) -> Result<Vec<String>, Error> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let (excerpt, hashes) = (path.with_extension("mp4"), path.with_extension("framehash"));
    write_runs(runs, files, ANY_RATE, &excerpt).await?;
    let entry = &runs[0].video.entry;
    let command = hashing(cx.ffmpeg, Pictures { path: &excerpt, filter: filter_before_decoding(entry) }, &hashes);
    let size = entry.stated_size().unwrap_or_default();
    let pixels = u64::from(size.0) * u64::from(size.1);
    cx.run_ffmpeg(command, decoding(pixels), "clip.mp4").await?;
    let text = tokio::fs::read_to_string(&hashes).await.map_err(|error| differs(error.to_string()))?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pictures: Vec<String> =
        lines.filter_map(|line| line.rsplit(',').next()).map(|hash| hash.trim().to_owned()).collect();
    let samples: usize = runs.iter().map(|run| run.samples.len()).sum();
    if pictures.len() == samples {
        Ok(pictures)
    } else {
        Err(differs(format!("pictures around the seams: expected {samples}, got {}", pictures.len())))
    }
}
