//! Compares encoded pictures with their source, frame by frame: how many dB lie between them (peak signal-to-noise ratio), of
//! the plane that differs most.

use std::ops::Range;
use std::path::Path;

use crate::error::{Error, FootageError};
use crate::ffmpeg::command::{Pictures, add_input, reading_pictures};
use crate::ffmpeg::memory::decoding;
use crate::render::context::RenderContext;

/// Frames of a file whose times are ranks: see [`crate::render::excerpt`].
#[derive(Clone, Copy, Debug)]
pub struct RankedFile<'a> {
    /// The file.
    pub pictures: Pictures<'a>,
    /// Its first and last ranks that are compared.
    pub ranks: (usize, usize),
    /// Ranks a second.
    pub rate: u32,
    /// Pixels of a picture.
    pub pixels: u64,
}

/// Returns the dB of each frame of `encoded` against the same of `source` after `filters`, each before a comma. Equal frames
/// have infinitely many.
///
/// # Errors
/// [`FootageError::Verification`] unless both have `expected` frames, or the error of ffmpeg or the disk.
pub async fn compare(
    cx: RenderContext<'_>,
    source: RankedFile<'_>,
    encoded: RankedFile<'_>,
    (before, filters): (&str, &str),
    expected: usize,
) -> Result<Vec<f64>, Error> {
    let list = encoded.pictures.path.with_extension("psnr");
    let ranks = |file: RankedFile<'_>| format!("trim=start_pts={}:end_pts={}", file.ranks.0, file.ranks.1);
    let graph = format!(
        "[0:v:0]{before}settb=1/{},{},settb=1/30,setpts=N{filters}[source];[1:v:0]settb=1/{},{},settb=1/30,setpts=N[encoded];\
         [source][encoded]{}",
        source.rate,
        ranks(source),
        encoded.rate,
        ranks(encoded),
        comparing(&list)
    );
    let mut command = reading_pictures(cx.ffmpeg, source.pictures);
    add_input(&mut command, encoded.pictures.path);
    command.filter_complex(graph).fps_mode("passthrough").args(["-f", "null"]).output("-");
    let takes = decoding(source.pixels).saturating_add(decoding(encoded.pixels));
    cx.run_ffmpeg(command, takes, "clip.mp4").await?;
    read_decibels(&list, expected).await
}

/// Returns the filter that compares the frames of its two inputs, and writes their dB into `list`.
#[must_use]
pub fn comparing(list: &Path) -> String {
    format!("psnr=stats_file={}:shortest=1:repeatlast=0", escaped(list))
}

/// Returns the dB of each frame that [`comparing`] wrote into `list`.
///
/// # Errors
/// [`FootageError::Verification`] unless there are `expected` frames, or the error of the disk.
pub async fn read_decibels(list: &Path, expected: usize) -> Result<Vec<f64>, Error> {
    let text = tokio::fs::read_to_string(list).await.map_err(|error| Error::new(list.display().to_string(), error))?;
    let all: Vec<f64> = text.lines().filter_map(decibels).collect();
    if all.len() == expected {
        return Ok(all);
    }
    let reason = format!("{} of {expected} encoded frames can be compared with their source", all.len());
    Err(Error::footage("clip.mp4", FootageError::Verification(reason)))
}

/// Returns the dB of the plane that differs most, by a line of ffmpeg's `psnr`.
fn decibels(line: &str) -> Option<f64> {
    let planes = ["psnr_y:", "psnr_u:", "psnr_v:"];
    let stated = line.split(' ').filter_map(|field| planes.iter().find_map(|plane| field.strip_prefix(plane)));
    let values: Option<Vec<f64>> = stated.map(|value| value.parse().ok()).collect(); // "inf" is infinite
    values?.into_iter().reduce(f64::min)
}

/// Returns a path as the value of an option in a filter graph: it is unquoted twice (ffmpeg-filters, "Notes on filtergraph
/// escaping").
fn escaped(path: &Path) -> String {
    let escape = |text: &str, special: &str| -> String {
        text.chars()
            .flat_map(|character| special.contains(character).then_some('\\').into_iter().chain([character]))
            .collect()
    };
    escape(&escape(&path.display().to_string(), "\\':"), "\\'[],;")
}

/// So many frames of a group of pictures are compared, if only some groups of a segment are.
pub const PROVEN_OF_GROUP: usize = 20;

/// Returns which groups of pictures of an encoded segment are compared: all of a short one as if they were one, else the last
/// and every seventh before it, so that the proof takes at most a fifth of the encoding: what the source must be decoded from
/// first takes longer than the comparison. Were one frame too many or too few before them, theirs would not be the right ones.
#[must_use]
pub fn proven(groups: &[Range<usize>], all_up_to: usize) -> Vec<Range<usize>> {
    /// One group of so many is compared.
    const EVERY: usize = 7;
    let frames = groups.last().map_or(0, |last| last.end);
    if frames <= all_up_to {
        return (frames > 0).then_some(0..frames).into_iter().collect();
    }
    let last = groups.len() - 1;
    let chosen = groups.iter().enumerate().filter(|(number, _)| (last - number).is_multiple_of(EVERY));
    chosen.map(|(_, group)| group.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_line_of_the_psnr_filter() {
        let line =
            "n:1 mse_avg:0.09 mse_y:0.12 mse_u:0.03 mse_v:0.02 psnr_avg:58.48 psnr_y:57.10 psnr_u:63.01 psnr_v:64.04 ";
        assert_eq!(decibels(line), Some(57.10));
        assert_eq!(decibels("n:2 mse_avg:0.00 psnr_avg:inf psnr_y:inf psnr_u:inf psnr_v:inf "), Some(f64::INFINITY));
        assert_eq!(decibels("psnr_version:1"), None);
    }

    #[test]
    fn escapes_a_path_for_a_filter_graph() {
        assert_eq!(escaped(Path::new("/tmp/a b/c.psnr")), "/tmp/a b/c.psnr");
        assert_eq!(escaped(Path::new("/it's:1,2")), "/it\\\\\\'s\\\\:1\\,2");
    }

    #[test]
    fn proves_all_of_a_short_segment_and_a_part_of_a_long_one() {
        let groups = |count: usize| (0..count).map(|n| n * 60..(n + 1) * 60).collect::<Vec<_>>();
        assert_eq!(proven(&groups(2), 120), [0..120]);
        assert_eq!(proven(&groups(0), 120), []);
        let of_many = proven(&groups(30), 120);
        assert_eq!((of_many.first(), of_many.last()), (Some(&(60..120)), Some(&(1740..1800))));
        assert_eq!(of_many.len(), 5);
        assert_eq!(proven(&groups(6), 120), [300..360]);
    }
}
