//! Encodes segments: the samples that must be decoded go into a small movie of their own, so that ffmpeg never sees a
//! half-empty file, and come back as one with just the wanted frames.

use std::fs::File;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::cut::movie::{self, Sample, Track};
use crate::cut::splice::{self, Place, Spliced};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::ffmpeg::{Ffmpeg, url};
use crate::footage::samples::{SampleTable, Step, Video, step};

/// A recording whose needed bytes lie in a local file, each where it lies in the object.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// The object's name, for errors.
    pub object: String,
    /// Its frames.
    pub video: &'a Video,
    /// Its bytes, with holes where nothing is needed.
    pub file: File,
}

/// Some frames of a recording, and the samples they are decoded from.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// The frames, in the order in which they are shown.
    pub frames: Range<usize>,
    /// The samples, in decode order.
    pub decode: Range<usize>,
}

/// What all encoded segments of a clip have in common: the picture of its main recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Width in pixels, as coded.
    pub width: u16,
    /// Height in pixels, as coded.
    pub height: u16,
    /// A pixel's width and height.
    pub pixel_aspect: (NonZeroU32, NonZeroU32),
    /// Frames a second, roughly; only tells the encoder what to expect.
    pub rate: u32,
}

impl Picture {
    /// The picture of `video`.
    ///
    /// # Errors
    /// If its codec is not one that is decoded here.
    pub fn of(video: &Video) -> Result<Self, String> {
        let visual = movie::visual(&video.entry).ok_or("neither H.264 nor HEVC")?;
        let pixel_aspect = movie::pixel_aspect(&video.entry);
        Ok(Self { width: visual.width, height: visual.height, pixel_aspect, rate: rate(&video.table) })
    }
}

/// A segment as ffmpeg encoded it.
#[derive(Debug)]
pub struct Encoded {
    /// Its frames, in the order in which they are shown.
    pub video: Video,
    /// The file.
    pub file: File,
}

/// Frames a second, from the median distance of two.
fn rate(table: &SampleTable) -> u32 {
    let mut distances: Vec<i64> =
        (0..table.frames.len()).map(|frame| table.frame_end(frame) - table.frame(frame).pts).collect();
    let middle = distances.len() / 2;
    let (_, &mut median, _) = distances.select_nth_unstable(middle);
    let per_second = (i64::from(table.timescale) + median / 2) / median.max(1);
    u32::try_from(per_second.clamp(1, 240)).unwrap_or(1)
}

/// Writes the samples of `excerpt` into a movie at `path`, where each frame's time is its rank: rank r is shown at tick r.
/// So a frame is known to ffmpeg by its number, exactly, whatever the recording's times are. Returns the ranks of the
/// wanted frames.
///
/// # Errors
/// As [`splice::write`].
pub fn write_excerpt(fetched: &Fetched<'_>, excerpt: &Excerpt, path: &Path) -> Result<Range<usize>, Error> {
    let table = &fetched.video.table;
    let samples = &table.samples[excerpt.decode.clone()];
    let mut by_time: Vec<usize> = (0..samples.len()).collect();
    by_time.sort_by_key(|&index| samples[index].pts);
    let mut ranks = vec![0; samples.len()];
    for (rank, &index) in by_time.iter().enumerate() {
        ranks[index] = rank;
    }
    let first_pts = table.frame(excerpt.frames.start).pts;
    let first = samples.iter().filter(|sample| sample.pts < first_pts).count();
    let sample = |(index, sample): (usize, &crate::footage::samples::Sample)| Sample {
        size: sample.size,
        pts: i64::try_from(ranks[index]).unwrap_or(i64::MAX),
        sync: sample.sync || index == 0,
    };
    let track = Track {
        entry: fetched.video.entry.clone(),
        matrix: fetched.video.matrix,
        timescale: NonZeroU32::new(rate(table)).unwrap_or(NonZeroU32::MIN),
        samples: samples.iter().enumerate().map(sample).collect(),
        end_pts: i64::try_from(samples.len()).unwrap_or(i64::MAX),
    };
    let places = samples.iter().map(|sample| Place { file: 0, offset: sample.offset }).collect();
    splice::write(path, &[Spliced { track, places }], &[&fetched.file])?;
    Ok(first..first + excerpt.frames.len())
}

/// Encodes the frames of `excerpt` as `picture`. Visually lossless, no B-frames, the same bytes on every machine.
///
/// # Errors
/// Unusable if what ffmpeg wrote is not exactly the wanted frames.
pub async fn encode(
    ffmpeg: &Ffmpeg,
    fetched: &Fetched<'_>,
    excerpt: &Excerpt,
    picture: Picture,
    folder: &Path,
    deadline: Deadline,
) -> Result<Encoded, Error> {
    let name =
        |what: &str| -> PathBuf { folder.join(format!("{what}-{}-{}.mp4", excerpt.frames.start, excerpt.frames.end)) };
    let (input, output) = (name("excerpt"), name("encoded"));
    let ranks = tokio::task::block_in_place(|| write_excerpt(fetched, excerpt, &input))?;
    let Picture { width, height, pixel_aspect: (horizontal, vertical), rate } = picture;
    let filters = format!(
        "trim=start_pts={}:end_pts={},scale={width}:{height}:flags=bicubic,setsar={horizontal}/{vertical},format=yuv420p",
        ranks.start, ranks.end
    );
    let mut command = ffmpeg.reading(&input);
    command
        .args(["-map", "0:v:0"])
        .filter(filters)
        .fps_mode("passthrough")
        .args(["-enc_time_base", "demux", "-video_track_timescale", &rate.to_string()])
        .codec_video("libx264")
        .preset("veryfast")
        .args(["-threads", "2", "-qp", "14", "-bf", "0", "-g", "60", "-sc_threshold", "0", "-profile:v", "high"])
        .args(["-x264-params", "cpu-independent=1:aq-mode=0:psy=0"])
        .args(["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-f", "mp4"])
        .output(url(&output));
    ffmpeg.run(command, &fetched.object, deadline).await?;
    let encoded = tokio::task::block_in_place(|| reopen(&output));
    let mut encoded = encoded.map_err(|reason| Error::unusable(&fetched.object, reason))?;
    encoded.video.entry = movie::without_bit_rate(encoded.video.entry);
    let frames = &encoded.video.table;
    let in_order = frames.frames.iter().copied().eq(0..u32::try_from(frames.samples.len()).unwrap_or(u32::MAX));
    let one_by_one = (0..frames.frames.len()).all(|n| Ok(frames.frame(n).pts - frames.first_pts()) == i64::try_from(n));
    if frames.frames.len() != ranks.len() || !in_order || !one_by_one || frames.timescale != rate {
        let (got, wanted) = (frames.frames.len(), ranks.len());
        return Err(Error::unusable(
            &fetched.object,
            format_args!("ffmpeg wrote {got} frames where {wanted} were asked for"),
        ));
    }
    tokio::fs::remove_file(&input).await.map_err(|error| Error::passing(input.display().to_string(), error))?;
    Ok(encoded)
}

/// Reads the table of a movie on disk.
///
/// # Errors
/// Says what is wrong with it.
pub fn reopen(path: &Path) -> Result<Encoded, String> {
    use std::os::unix::fs::FileExt;
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut at = 0;
    loop {
        let mut header = [0; 16];
        let available = usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX).min(header.len());
        file.read_exact_at(&mut header[..available], at).map_err(failed)?;
        match step(&header[..available], at, length)? {
            Step::Next(next) => at = next,
            Step::Moov { offset, size } => {
                let mut moov = vec![0; usize::try_from(size).map_err(|error| error.to_string())?];
                file.read_exact_at(&mut moov, offset).map_err(failed)?;
                return Ok(Encoded { video: Video::read(&moov, length)?, file });
            }
        }
    }
}
