//! Compares encoded pictures with their source, frame by frame: how many dB lie between them (peak signal-to-noise ratio), of
//! the plane that differs most, and whether the frame before or after the right one is nearer.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::{Error, FootageError};
use crate::ffmpeg::command::{Pictures, add_input, reading_pictures};
use crate::ffmpeg::memory::{comparing, decoding};
use crate::render::context::RenderContext;

/// How alike an encoded frame is to its source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Likeness {
    /// dB of the plane that differs most. Equal frames have infinitely many.
    pub decibels: f64,
    /// Whether the encoded frame is nearer to the frame before or after the right one than to the right one, and nearer to it
    /// than the right one is. So it is in pictures that are almost still, where an encoder saves what little changes.
    pub is_mistakable: bool,
}

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

/// Returns how alike each frame of `encoded` is to the same of `source` after `filters`, each after a comma.
///
/// # Errors
/// [`FootageError::Verification`] unless both have `expected` frames, or the error of ffmpeg or the disk.
pub async fn compare(
    cx: RenderContext<'_>,
    source: RankedFile<'_>,
    encoded: RankedFile<'_>,
    (before, filters): (&str, &str),
    expected: usize,
) -> Result<Vec<Likeness>, Error> {
    let comparison = Comparison::new(encoded.pictures.path, expected);
    let ranks = |file: RankedFile<'_>| format!("trim=start_pts={}:end_pts={}", file.ranks.0, file.ranks.1);
    let graph = format!(
        "[0:v:0]{before}settb=1/{},{},settb=1/30,setpts=N{filters}[source];[1:v:0]settb=1/{},{},settb=1/30,setpts=N[encoded];{}",
        source.rate,
        ranks(source),
        encoded.rate,
        ranks(encoded),
        comparison.graph()
    );
    let mut command = reading_pictures(cx.ffmpeg, source.pictures);
    add_input(&mut command, encoded.pictures.path);
    command.filter_complex(graph).args(comparison.output());
    let takes =
        decoding(source.pixels).saturating_add(decoding(encoded.pixels)).saturating_add(comparing(encoded.pixels));
    cx.run_ffmpeg(command, takes, "clip.mp4").await?;
    comparison.read().await
}

/// The comparison of frames with their source in a run of ffmpeg.
#[derive(Debug)]
pub struct Comparison {
    /// The files into which ffmpeg writes dB: of the encoded frames against the right ones, those after the right ones and
    /// those before them, and of the right ones against each other.
    lists: Vec<PathBuf>,
    frames: usize,
}

impl Comparison {
    /// Returns the comparison of so many `frames`, which writes files beside that at `path`.
    #[must_use]
    pub fn new(path: &Path, frames: usize) -> Self {
        let count = if frames > 1 { 4 } else { 1 }; // a single frame has no neighbour
        Self { lists: (0..count).map(|list| path.with_extension(format!("psnr-{list}"))).collect(), frames }
    }

    /// Returns the part of a filter graph that compares the frames `[source]` with the frames `[encoded]`. The times of both
    /// are their numbers.
    #[must_use]
    pub fn graph(&self) -> String {
        const SHIFTED: &str = "[source]split=4[r0][r2][r3][rest];[encoded]split=3[e0][e1][rest-e];\
             [rest]trim=start_frame=1,setpts=N,split[r1][e3];[rest-e]trim=start_frame=1,setpts=N[e2];";
        let psnr = |list: &PathBuf| format!("psnr=stats_file={}:shortest=1:repeatlast=0", escaped(list));
        if let [only] = self.lists.as_slice() {
            return format!("[source][encoded]{}[proof0]", psnr(only));
        }
        let each = self.lists.iter().enumerate().map(|(n, list)| format!("[r{n}][e{n}]{}[proof{n}]", psnr(list)));
        format!("{SHIFTED}{}", each.collect::<Vec<_>>().join(";"))
    }

    /// Returns the options of ffmpeg's output that takes what comes out of the graph.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        let maps = (0..self.lists.len()).flat_map(|list| ["-map".to_owned(), format!("[proof{list}]")]);
        maps.chain(["-fps_mode", "passthrough", "-f", "null", "-"].map(str::to_owned)).collect()
    }

    /// Returns what ffmpeg found, of each frame.
    ///
    /// # Errors
    /// [`FootageError::Verification`] unless it compared all frames, or the error of the disk.
    pub async fn read(&self) -> Result<Vec<Likeness>, Error> {
        let mut found = Vec::new();
        for list in &self.lists {
            let text =
                tokio::fs::read_to_string(list).await.map_err(|error| Error::new(list.display().to_string(), error))?;
            let all: Vec<Decibels> = text.lines().filter_map(decibels).collect();
            let expected = if found.is_empty() { self.frames } else { self.frames - 1 };
            if all.len() != expected {
                let reason = format!("encoded frames that can be compared: expected {expected}, got {}", all.len());
                return Err(Error::footage("clip.mp4", FootageError::Verification(reason)));
            }
            found.push(all);
        }
        Ok(likenesses(&found))
    }
}

/// dB between two pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decibels {
    worst_plane: f64,
    all_planes: f64,
}

/// Returns how alike frames are, by the dB in the files of a [`Comparison`].
fn likenesses(found: &[Vec<Decibels>]) -> Vec<Likeness> {
    let [right, neighbours @ ..] = found else { return Vec::new() };
    let is_nearer = |frame: usize, to_neighbour: f64, step: f64| {
        step.is_finite() && to_neighbour >= right[frame].all_planes && to_neighbour >= step
    };
    let is_mistakable = |frame: usize| {
        let [after, before, steps] = neighbours else { return false };
        let nearer_to_next =
            after.get(frame).is_some_and(|next| is_nearer(frame, next.all_planes, steps[frame].all_planes));
        let nearer_to_last = |last: usize| is_nearer(frame, before[last].all_planes, steps[last].all_planes);
        nearer_to_next || frame.checked_sub(1).is_some_and(nearer_to_last)
    };
    (0..right.len())
        .map(|frame| Likeness { decibels: right[frame].worst_plane, is_mistakable: is_mistakable(frame) })
        .collect()
}

/// Returns the dB of a line of ffmpeg's `psnr`.
fn decibels(line: &str) -> Option<Decibels> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix(':'));
    let planes = ["psnr_y", "psnr_u", "psnr_v"].into_iter().filter_map(field);
    let values: Option<Vec<f64>> = planes.map(|value| value.parse().ok()).collect(); // "inf" is infinite
    Some(Decibels { worst_plane: values?.into_iter().reduce(f64::min)?, all_planes: field("psnr_avg")?.parse().ok()? })
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
        assert_eq!(decibels(line), Some(Decibels { worst_plane: 57.10, all_planes: 58.48 }));
        let equal = Decibels { worst_plane: f64::INFINITY, all_planes: f64::INFINITY };
        assert_eq!(decibels("n:2 mse_avg:0.00 psnr_avg:inf psnr_y:inf psnr_u:inf psnr_v:inf "), Some(equal));
        assert_eq!(decibels("psnr_version:1"), None);
    }

    #[test]
    fn a_frame_that_is_nearer_to_its_neighbour_is_mistakable() {
        let list = |all: &[f64]| all.iter().map(|&db| Decibels { worst_plane: db - 1.0, all_planes: db }).collect();
        let mistakable = |right: &[f64], after: &[f64], before: &[f64], steps: &[f64]| -> Vec<bool> {
            let found = [right, after, before, steps].map(list);
            likenesses(&found).iter().map(|likeness| likeness.is_mistakable).collect()
        };
        let still = f64::INFINITY;
        assert_eq!(mistakable(&[50.0, 50.0], &[30.0], &[30.0], &[30.0]), [false, false], "they differ");
        assert_eq!(mistakable(&[50.0, 50.0], &[49.0], &[51.0], &[48.0]), [false, true], "the second is like the first");
        assert_eq!(mistakable(&[50.0, 50.0], &[50.0], &[20.0], &[48.0]), [true, false], "the first is like the second");
        assert_eq!(mistakable(&[50.0, 50.0], &[51.0], &[51.0], &[55.0]), [false, false], "they can't be told apart");
        assert_eq!(mistakable(&[still, still], &[still], &[still], &[still]), [false, false], "they are equal");
        assert_eq!(likenesses(&[list(&[50.0])]), [Likeness { decibels: 49.0, is_mistakable: false }]);
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
