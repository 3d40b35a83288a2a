//! Encodes segments: the samples that must be decoded go into a small movie of their own, so that ffmpeg never sees a
//! half-empty file, and come back as one with just the wanted frames.

use std::fs::File;
use std::num::NonZeroU32;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::cut::movie::{Sample, Track};
use crate::cut::picture::Picture;
use crate::cut::splice::{self, Place, Spliced};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fetch::Fetched;
use crate::ffmpeg::{Ffmpeg, url};
use crate::footage::index::Index;
use crate::footage::sound::Sound;
use crate::footage::tracks::{Tracks, Video};

/// Some frames of a recording, and the samples they are decoded from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The frames, in the order in which they are shown.
    pub frames: Range<usize>,
    /// The samples, in decode order.
    pub decode: Range<usize>,
}

/// The rate of a movie that is only decoded, where it says nothing.
pub const ANY_RATE: u32 = 30;

/// A movie on disk, and its frames.
#[derive(Debug)]
pub struct Movie {
    /// Its frames.
    pub video: Video,
    /// Its sound, or why there is none.
    pub sound: Result<Sound, String>,
    /// The file.
    pub file: File,
}

/// Some samples of a movie, in decode order.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The movie's frames.
    pub video: &'a Video,
    /// Its file.
    pub file: &'a File,
    /// The samples.
    pub samples: Range<usize>,
}

/// Writes the samples of `excerpt` into a movie at `path`, as [`write_runs`] does. Returns the ranks of the wanted frames.
///
/// # Errors
/// As [`splice::write`].
pub fn write_excerpt(
    video: &Video,
    file: &File,
    excerpt: &Excerpt,
    rate: u32,
    path: &Path,
) -> Result<Range<usize>, Error> {
    let run = Run { video, file, samples: excerpt.decode.clone() };
    write_runs(std::slice::from_ref(&run), rate, path)?;
    let first_pts = video.table.frame(excerpt.frames.start).pts;
    let first = video.table.samples[run.samples].iter().filter(|sample| sample.pts < first_pts).count();
    Ok(first..first + excerpt.frames.len())
}

/// Writes `runs`, which have one sample entry, into a movie at `path`, one behind the other. Each frame's time is its rank:
/// rank r is shown at tick r of `rate` a second. So a frame is known to ffmpeg by its number, exactly, whatever its own
/// movie's times are.
///
/// # Errors
/// As [`splice::write`].
pub fn write_runs(runs: &[Run<'_>], rate: u32, path: &Path) -> Result<(), Error> {
    let Some(Run { video, .. }) = runs.first() else { return Ok(()) };
    let (mut samples, mut places) = (Vec::new(), Vec::new());
    let mut before = 0;
    for (file, run) in runs.iter().enumerate() {
        let source = &run.video.table.samples[run.samples.clone()];
        let mut by_time: Vec<usize> = (0..source.len()).collect();
        by_time.sort_by_key(|&index| source[index].pts);
        let mut ranks = vec![0; source.len()];
        for (rank, &index) in (before..).zip(&by_time) {
            ranks[index] = rank;
        }
        for (index, (sample, &rank)) in source.iter().zip(&ranks).enumerate() {
            samples.push(Sample { size: sample.size, pts: rank, sync: sample.sync || index == 0 });
            places.push(Place { file, offset: sample.offset });
        }
        before += i64::try_from(source.len()).unwrap_or(i64::MAX);
    }
    let track = Track {
        entry: video.entry.clone(),
        matrix: video.matrix,
        timescale: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
        samples,
        end_pts: before,
    };
    let files: Vec<&File> = runs.iter().map(|run| run.file).collect();
    splice::write(path, &[Spliced { track, places }], &files)
}

/// Encodes the frames of `excerpt` as `picture`. Visually lossless, no B-frames, the same bytes on every machine.
///
/// # Errors
/// Unusable if what ffmpeg wrote is not exactly the wanted frames.
pub async fn encode(
    ffmpeg: &Ffmpeg,
    fetched: &Fetched<'_>,
    excerpt: &Excerpt,
    picture: Picture<'_>,
    folder: &Path,
    deadline: Deadline,
) -> Result<Movie, Error> {
    let unusable = |reason: String| Error::unusable(&fetched.object, reason);
    let (input, output) = (folder.join("excerpt.mp4"), folder.join("encoded.mp4"));
    let ranks = write_excerpt(fetched.video, &fetched.file, excerpt, picture.rate, &input)?;
    let filters = format!(
        "trim=start_pts={}:end_pts={},settb=1/{},setpts=N{}",
        ranks.start,
        ranks.end,
        picture.rate,
        picture.filters(fetched.video).map_err(unusable)?
    );
    let mut command = ffmpeg.reading(&[&input]);
    command
        .args(["-map", "0:v:0"])
        .filter(filters)
        .fps_mode("passthrough")
        .args(["-enc_time_base", &format!("1:{}", picture.rate), "-video_track_timescale", &picture.rate.to_string()])
        .args(picture.encoder())
        .args(["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1", "-f", "mp4"])
        .output(url(&output));
    ffmpeg.run(command, &fetched.object, deadline).await?;
    let encoded = reopen(&output).map_err(unusable)?;
    let table = &encoded.video.table;
    let in_order = (0..).zip(&table.frames).all(|(index, &frame)| frame == index);
    let one_by_one =
        (0..).zip(0..table.frames.len()).all(|(tick, frame)| table.frame(frame).pts == table.first_pts() + tick);
    if table.frames.len() != ranks.len() || table.samples.len() != ranks.len() || !in_order || !one_by_one {
        return Err(unusable(format!(
            "ffmpeg wrote {} frames where {} were asked for",
            table.frames.len(),
            ranks.len()
        )));
    }
    std::fs::remove_file(&input).map_err(|error| Error::passing(input.display().to_string(), error))?;
    Ok(encoded)
}

/// Reads the tables of a movie on disk.
///
/// # Errors
/// Says what is wrong with it.
pub fn reopen(path: &Path) -> Result<Movie, String> {
    let (index, file) = indexed(path)?;
    let Tracks { video, sound } = index.tracks()?;
    Ok(Movie { video, sound, file })
}

/// Finds the boxes of a file on disk that tell of its samples.
///
/// # Errors
/// Says what is wrong with it.
pub fn indexed(path: &Path) -> Result<(Index, File), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(failed)?;
    let mut index = Index::new(file.metadata().map_err(failed)?.len());
    while let Some(wanted) = index.wants() {
        let mut bytes = vec![0; usize::try_from(wanted.end - wanted.start).map_err(|error| error.to_string())?];
        file.read_exact_at(&mut bytes, wanted.start).map_err(failed)?;
        index.take(bytes)?;
    }
    Ok((index, file))
}
