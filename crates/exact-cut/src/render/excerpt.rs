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
use crate::h264::nal_units::{begins_sequence, is_leading};
use crate::mp4::box_finder::BoxFinder;
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
    locations: Vec<SampleLocation<PieceSource>>,
    /// The place of each sample in the order in which they are shown.
    ranks: Vec<usize>,
}

impl<'a> SampleRun<'a> {
    /// Returns `samples` of a track whose bytes lie at `locations`.
    #[must_use]
    pub fn new(video: &'a VideoTrack, samples: Range<usize>, locations: Vec<SampleLocation<PieceSource>>) -> Self {
        let ranks = ranks(&times(video, &samples));
        Self { video, samples, locations, ranks }
    }

    /// Returns `samples` of a recording.
    #[must_use]
    pub fn of_recording(recording: &'a FetchedRecording, samples: Range<usize>) -> Self {
        let source = PieceSource::Recording(recording.id);
        let video = &recording.open.video;
        let locations = video.table.samples[samples.clone()].iter();
        let locations = locations.map(|sample| SampleLocation { source, offset: sample.offset }).collect();
        Self::new(video, samples, locations)
    }
}

fn times(video: &VideoTrack, samples: &Range<usize>) -> Vec<i64> {
    video.table.samples[samples.clone()].iter().map(|sample| sample.pts).collect()
}

/// Returns the place of each sample in the order of their times. Of equal times, that decoded first comes first.
fn ranks(times: &[i64]) -> Vec<usize> {
    let mut by_time: Vec<usize> = (0..times.len()).collect();
    by_time.sort_by_key(|&index| times[index]);
    let mut ranks = vec![0; times.len()];
    for (rank, &index) in by_time.iter().enumerate() {
        ranks[index] = rank;
    }
    ranks
}

/// Returns the ranks of the samples of an excerpt, in decode order: their places in the order in which a decoder shows them.
///
/// That is the order of their times, with one exception. Some files have composition offsets that put the picture where decoding
/// begins behind others that must follow it, and decoders show it first all the same. ffmpeg then meets a time that runs
/// backwards, and guesses all times after it. So such a picture has the first rank of those.
///
/// # Errors
/// [`Cause::Disk`].
pub fn excerpt_ranks(recording: &FetchedRecording, excerpt: &Excerpt) -> Result<Vec<usize>, Error> {
    let Excerpt { frames, decode } = excerpt;
    let video = &recording.open.video;
    let mut times = times(video, decode);
    let Some(format) = video.entry_of(decode.start).nal_format() else { return Ok(ranks(&times)) };
    let wanted = &video.table.frames[frames.clone()];
    let separates_wanted = frames.start > 0 && wanted.iter().any(|&sample| sample as usize == decode.start);
    if !separates_wanted && begins_sequence(&recording.sample(decode.start)?, format) {
        for sample in decode.clone() {
            let time = times[sample - decode.start];
            if time < times[0] && !is_leading(&recording.sample(sample)?, format) {
                times[0] = time; // of equal times, that decoded first comes first
            }
        }
    }
    Ok(ranks(&times))
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
    let ranks = excerpt_ranks(recording, excerpt)?;
    let wanted = recording.open.video.table.frames[excerpt.frames.clone()].iter();
    let wanted = wanted.map(|&sample| ranks[sample as usize - excerpt.decode.start]);
    let (first, last) = wanted.fold((usize::MAX, 0), |(first, last), rank| (first.min(rank), last.max(rank)));
    let run = SampleRun { ranks, ..SampleRun::of_recording(recording, excerpt.decode.clone()) };
    write_runs(&[run], files, rate, path).await?;
    Ok(first..last + 1)
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
        for (index, (sample, rank)) in source.iter().zip(&run.ranks).enumerate() {
            let pts = i64::try_from(ranks_before + rank).unwrap_or(i64::MAX);
            samples.push(TrackSample { size: sample.size, pts, sync: sample.sync || index == 0 });
        }
        locations.extend(&run.locations);
        ranks_before += source.len();
    }
    let entry = video.entry_of(runs[0].samples.start);
    let decoded = PictureShape::of(video, entry).map(|shape| shape.decoded).or_else(|| entry.stated_size());
    let track = Track {
        entry: entry.for_decoding(decoded),
        display: Some(Display { size: decoded.unwrap_or_default(), orientation: video.orientation }),
        timescale: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
        samples,
        end_pts: i64::try_from(ranks_before).unwrap_or(i64::MAX),
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
