//! Excerpts: samples that ffmpeg is to decode, in a small file of their own.
//!
//! An excerpt has the camera's own sample entry, without what it says of colours, of the shape of a pixel and of cropping:
//! pictures that are encoded beside copied ones must be as the parameter sets say, and what players show is known without
//! ffmpeg.
//!
//! The time of each frame in an excerpt is its rank: frame r is shown at tick r. So ffmpeg knows a frame by its number,
//! exactly, whatever the times of the recording are, and nothing is rounded anywhere near ffmpeg.

use std::fs::File;
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Cause, Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::mp4::box_finder::BoxFinder;
use crate::mp4::sample_table::SampleTable;
use crate::mp4::shape::PictureShape;
use crate::mp4::tracks::{Tracks, VideoTrack};
use crate::mux::layout::{ClipLayout, PieceSource};
use crate::mux::track::{Display, SampleLocation, Track, TrackSample, TrackWithSources};
use crate::recording_id::RecordingId;
use crate::render::write_file::{PieceFiles, write_file};

/// Frames of a recording, and the samples that they are decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// Frames in the order in which they are shown.
    pub frames: Range<usize>,
    /// Samples in decode order.
    pub decode: Range<usize>,
}

/// The frame that the thumbnails show.
#[derive(Debug)]
pub struct Poster {
    /// The recording that shows it.
    pub recording: RecordingId,
    /// The frame, and the samples that it is decoded from.
    pub excerpt: Excerpt,
}

/// Ticks a second of an excerpt that is only decoded, where the rate means nothing.
pub const ANY_RATE: u32 = 30;

/// Consecutive samples of a track, in decode order.
#[derive(Clone, Debug)]
pub struct SampleRun<'a> {
    /// The track.
    pub video: &'a VideoTrack,
    /// The samples.
    pub samples: Range<usize>,
    /// Where the bytes of the samples lie.
    pub locations: Vec<SampleLocation<PieceSource>>,
}

impl<'a> SampleRun<'a> {
    /// Returns `samples` of a recording.
    #[must_use]
    pub fn of_recording(recording: &'a FetchedRecording, samples: Range<usize>) -> Self {
        let source = PieceSource::Recording(recording.id);
        let video = &recording.open.video;
        let locations = video.table.samples[samples.clone()].iter();
        let locations = locations.map(|sample| SampleLocation { source, offset: sample.offset }).collect();
        Self { video, samples, locations }
    }
}

/// Writes the samples of `excerpt` into a file at `path`, and returns the ranks from the first wanted frame to
/// the last one. Samples between them that are no frames have ranks, too, and give no picture.
///
/// # Errors
/// As [`write_runs`].
pub async fn write_excerpt(
    recording: &FetchedRecording,
    excerpt: &Excerpt,
    files: &PieceFiles,
    rate: u32,
    path: &Path,
) -> Result<Range<usize>, Error> {
    let table = &recording.open.video.table;
    let first_rank = rank(table, excerpt, excerpt.frames.start);
    let last_rank = rank(table, excerpt, excerpt.frames.end - 1);
    write_runs(&[SampleRun::of_recording(recording, excerpt.decode.clone())], files, rate, path).await?;
    Ok(first_rank..last_rank + 1)
}

/// Returns the rank of a frame among the samples of an excerpt.
#[must_use]
pub fn rank(table: &SampleTable, excerpt: &Excerpt, frame: usize) -> usize {
    let pts = table.frame(frame).pts;
    table.samples[excerpt.decode.clone()].iter().filter(|sample| sample.pts < pts).count()
}

/// Writes `runs`, which share one sample entry, one after the other into a file at `path`. Rank r is shown at tick r of
/// `rate` ticks a second.
///
/// # Errors
/// [`FootageError::Mux`], or [`Cause::Disk`].
pub async fn write_runs(runs: &[SampleRun<'_>], files: &PieceFiles, rate: u32, path: &Path) -> Result<(), Error> {
    let Some(SampleRun { video, .. }) = runs.first() else { return Ok(()) };
    let (mut samples, mut locations) = (Vec::new(), Vec::new());
    let mut ranks_before = 0;
    for run in runs {
        let source = &run.video.table.samples[run.samples.clone()];
        let mut by_time: Vec<usize> = (0..source.len()).collect();
        by_time.sort_by_key(|&index| source[index].pts);
        let mut ranks = vec![0; source.len()];
        for (rank, &index) in (ranks_before..).zip(&by_time) {
            ranks[index] = rank;
        }
        for (index, (sample, &rank)) in source.iter().zip(&ranks).enumerate() {
            samples.push(TrackSample { size: sample.size, pts: rank, sync: sample.sync || index == 0 });
        }
        locations.extend(&run.locations);
        ranks_before += i64::try_from(source.len()).unwrap_or(i64::MAX);
    }
    let entry = video.entry_of(runs[0].samples.start);
    let decoded = PictureShape::of(video, entry).map(|shape| shape.decoded).or_else(|| entry.stated_size());
    let track = Track {
        entry: entry.for_decoding(decoded),
        display: Some(Display { size: decoded.unwrap_or_default(), orientation: video.orientation }),
        timescale: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
        samples,
        end_pts: ranks_before,
    };
    let layout = ClipLayout::of(&[TrackWithSources { track, locations }]);
    let layout = layout.map_err(|error| Error::footage(path.display().to_string(), error))?;
    write_file(path, Arc::new(layout), files.clone()).await.map(drop)
}

/// A video file on disk, and its frames.
#[derive(Debug)]
pub struct LocalVideo {
    /// The track.
    pub video: VideoTrack,
    /// The file.
    pub file: Arc<File>,
}

impl LocalVideo {
    /// Reads the tables of the file at `path`.
    ///
    /// # Errors
    /// [`FootageError::Mp4`], or [`Cause::Disk`].
    pub fn open(path: &Path) -> Result<Self, Cause> {
        let (finder, file) = find_boxes(path)?;
        let Tracks { video, .. } = finder.tracks().map_err(FootageError::from)?;
        Ok(Self { video, file: Arc::new(file) })
    }
}

/// Finds the boxes of a file on disk.
///
/// # Errors
/// [`FootageError::Mp4`], or [`Cause::Disk`].
pub fn find_boxes(path: &Path) -> Result<(BoxFinder, File), Cause> {
    let file = File::open(path)?;
    let mut finder = BoxFinder::new(file.metadata()?.len());
    while let Some(range) = finder.required_range() {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, range.start)?;
        finder.feed(&bytes).map_err(FootageError::from)?;
    }
    Ok((finder, file))
}
