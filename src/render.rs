//! Carries a cut plan out: fetches the bytes it needs, encodes what must be, splices, proves, and renders the
//! thumbnails beside it. What it leaves are files; nothing is stored yet.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use futures::future::try_join;

use crate::aws::store::Store;
use crate::cut::edges::{self, Encoded, Excerpt, Fetched, Picture};
use crate::cut::movie::{Sample, Track};
use crate::cut::plan::{How, Plan, Segment, bytes_of, decode_window, joined};
use crate::cut::proof;
use crate::cut::splice::{self, Place, Spliced};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ffmpeg::Ffmpeg;
use crate::metadata::PictureFormat;
use crate::survey::Opened;
use crate::thumbnails::{self, Thumbnail};

/// A clip and its thumbnails on disk.
#[derive(Debug)]
pub struct Rendered {
    /// The clip, proven.
    pub clip: PathBuf,
    /// Its thumbnails.
    pub thumbnails: Vec<Thumbnail>,
    /// Bytes that were fetched of the recordings, without their tables.
    pub bytes_fetched: u64,
}

/// What rendering works with.
#[derive(Clone, Copy, Debug)]
pub struct Tools<'a> {
    /// Where the recordings are.
    pub store: &'a Store,
    /// Encodes and decodes.
    pub ffmpeg: &'a Ffmpeg,
    /// Scratch space of this request alone.
    pub folder: &'a Path,
    /// Until when it must be done.
    pub deadline: Deadline,
}

/// Renders `plan` from `opened`, with thumbnails of `widths`.
///
/// # Errors
/// Unusable if no proven clip can be made; else as the store or the disk says.
pub async fn render(
    tools: Tools<'_>,
    plan: &Plan,
    opened: &[Opened],
    (widths, format): (&[u32], PictureFormat),
) -> Result<Rendered, Error> {
    let poster = poster(plan, opened);
    let (fetched, bytes_fetched) = fetch(tools, plan, opened, &poster).await?;
    let thumbnails = thumbnails::render(
        tools.ffmpeg,
        &fetched[poster.recording],
        &poster.excerpt,
        (widths, format),
        tools.folder,
        tools.deadline,
    );
    let (clip, thumbnails) = try_join(cut(tools, plan, opened, &fetched), thumbnails).await?;
    Ok(Rendered { clip, thumbnails, bytes_fetched })
}

/// The frame of the thumbnails.
struct Poster {
    recording: usize,
    excerpt: Excerpt,
}

fn poster(plan: &Plan, opened: &[Opened]) -> Poster {
    let (recording, frame) = plan.locate(plan.poster()).expect("the poster is one of the plan's frames");
    let frames = frame..frame + 1;
    let decode = decode_window(&opened[recording].video.table, frames.clone());
    Poster { recording, excerpt: Excerpt { frames, decode } }
}

fn excerpt(segment: &Segment) -> Excerpt {
    let How::Encode { decode } = &segment.how;
    Excerpt { frames: segment.frames.clone(), decode: decode.clone() }
}

/// Fetches just the bytes of the samples that are needed, each recording into a file of its own.
async fn fetch<'a>(
    tools: Tools<'_>,
    plan: &Plan,
    opened: &'a [Opened],
    poster: &Poster,
) -> Result<(Vec<Fetched<'a>>, u64), Error> {
    let mut fetched = Vec::with_capacity(opened.len());
    let mut bytes_fetched = 0;
    for (index, Opened { version, video, .. }) in opened.iter().enumerate() {
        let segments = plan.segments.iter().filter(|segment| segment.recording == index).map(excerpt);
        let poster = (poster.recording == index).then(|| poster.excerpt.clone());
        let needed =
            joined(segments.chain(poster).flat_map(|excerpt| bytes_of(&video.table, excerpt.decode)).collect());
        let path = tools.folder.join(format!("recording-{index}.mp4"));
        let create = || {
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            file.set_len(version.length)?; // sparse: each byte lies where it lies in the object
            Ok::<_, std::io::Error>(file)
        };
        let file = create().map_err(|error| Error::passing(path.display().to_string(), error))?;
        tools.store.fetch(version, &needed, &file, tools.deadline).await?;
        bytes_fetched += needed.iter().map(|range| range.end - range.start).sum::<u64>();
        fetched.push(Fetched { object: version.id.to_string(), video, file });
    }
    Ok((fetched, bytes_fetched))
}

/// Encodes, splices, proves.
async fn cut(tools: Tools<'_>, plan: &Plan, opened: &[Opened], fetched: &[Fetched<'_>]) -> Result<PathBuf, Error> {
    let main = &opened[main_recording(plan)];
    let picture = Picture::of(&main.video).map_err(|reason| Error::unusable(main.version.id.to_string(), reason))?;
    let mut encoded: Vec<Encoded> = Vec::with_capacity(plan.segments.len());
    for (index, segment) in plan.segments.iter().enumerate() {
        let folder = tools.folder.join(format!("segment-{index}"));
        std::fs::create_dir(&folder).map_err(|error| Error::passing(folder.display().to_string(), error))?;
        let fetched = &fetched[segment.recording];
        encoded.push(edges::encode(tools.ffmpeg, fetched, &excerpt(segment), picture, &folder, tools.deadline).await?);
    }
    let spliced = spliced(plan, &encoded, &main.video.matrix)?;
    let clip = tools.folder.join("clip.mp4");
    let files: Vec<&File> = encoded.iter().map(|segment| &segment.file).collect();
    tokio::task::block_in_place(|| splice::write(&clip, std::slice::from_ref(&spliced), &files))?;
    proof::check(tools.ffmpeg, &clip, plan, &spliced.track, tools.deadline).await?;
    Ok(clip)
}

/// The recording that shows the most frames: the others follow its size.
fn main_recording(plan: &Plan) -> usize {
    let frames = |recording: usize| -> usize {
        plan.segments.iter().filter(|segment| segment.recording == recording).map(|segment| segment.frames.len()).sum()
    };
    let most = plan.segments.iter().rev().map(|segment| segment.recording).max_by_key(|&recording| frames(recording));
    most.unwrap_or_default()
}

/// The clip's one video track, out of all segments' samples.
fn spliced(plan: &Plan, encoded: &[Encoded], matrix: &[i32; 9]) -> Result<Spliced, Error> {
    let unusable = |reason: &str| Error::unusable("clip.mp4", reason);
    let entry = &encoded.first().ok_or_else(|| unusable("no segment"))?.video.entry;
    if encoded.iter().any(|segment| segment.video.entry != *entry) {
        return Err(unusable("the encoded segments' parameter sets differ"));
    }
    let mut times = plan.times.iter();
    let (mut samples, mut places) = (Vec::with_capacity(plan.times.len()), Vec::with_capacity(plan.times.len()));
    for (file, segment) in encoded.iter().enumerate() {
        for (sample, &pts) in segment.video.table.samples.iter().zip(times.by_ref()) {
            samples.push(Sample { size: sample.size, pts, sync: sample.sync });
            places.push(Place { file, offset: sample.offset });
        }
    }
    let timescale = NonZeroU32::new(plan.timescale).ok_or_else(|| unusable("a timescale of 0"))?;
    let track = Track { entry: entry.clone(), matrix: *matrix, timescale, samples, end_pts: plan.end };
    Ok(Spliced { track, places })
}
