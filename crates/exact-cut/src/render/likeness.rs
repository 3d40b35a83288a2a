//! Compares encoded pictures with their source, frame by frame: how many dB lie between them (peak signal-to-noise ratio), of
//! the plane that differs most, and whether the frame before or after the right one is nearer.
//!
//! Most frames differ from the next one by far more than from what was encoded of them. Then no neighbour can be nearer: the
//! root of a mean squared error is a distance, for which the triangle inequality holds. Only where the two errors are of one
//! size are encoded frames compared with the neighbours themselves, in another run.

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

/// Two files to compare.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The recorded frames.
    pub source: RankedFile<'a>,
    /// What was encoded of them.
    pub encoded: RankedFile<'a>,
    /// What was done to the recorded frames first: before their times are read, and after that, each after a comma.
    pub filters: (&'a str, &'a str),
    /// Number of frames.
    pub frames: usize,
}

/// Returns how alike each encoded frame is to its source. What a run of the encoder has `found` already is not measured again.
///
/// # Errors
/// [`FootageError::Verification`] unless both files have all frames, or the error of ffmpeg or the disk.
pub async fn compare(cx: RenderContext<'_>, pair: Pair<'_>, found: Option<Distances>) -> Result<Vec<Likeness>, Error> {
    let found = match found {
        Some(found) => found,
        None => measure(cx, pair, With::Source).await?,
    };
    let neighbours = if found.are_clear() { None } else { Some(measure(cx, pair, With::Neighbours).await?) };
    Ok(found.likenesses(neighbours.as_ref()))
}

async fn measure(cx: RenderContext<'_>, pair: Pair<'_>, with: With) -> Result<Distances, Error> {
    let Pair { source, encoded, filters: (before, filters), frames } = pair;
    let comparison = Comparison::new(encoded.pictures.path, frames, with);
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

/// What frames are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum With {
    /// Encoded frames with the right ones, and each right one with the next one.
    Source,
    /// Encoded frames with the one after the right one, and with the one before it.
    Neighbours,
}

/// A comparison of frames in a run of ffmpeg.
#[derive(Debug)]
pub struct Comparison {
    with: With,
    /// The files into which ffmpeg writes dB: one for each of the two that [`With`] names. A single frame has no neighbour.
    lists: Vec<PathBuf>,
    frames: usize,
}

impl Comparison {
    /// Returns the comparison of so many `frames`, which writes files beside that at `path`.
    #[must_use]
    pub fn new(path: &Path, frames: usize, with: With) -> Self {
        let count = if frames > 1 { 2 } else { 1 };
        Self { with, lists: (0..count).map(|list| path.with_extension(format!("psnr-{list}"))).collect(), frames }
    }

    /// Returns the part of a filter graph that compares the frames `[source]` with the frames `[encoded]`. The times of both
    /// are their numbers.
    #[must_use]
    pub fn graph(&self) -> String {
        const NEXT: &str = "trim=start_frame=1,setpts=N";
        let psnr = |list: &PathBuf| format!("psnr=stats_file={}:shortest=1:repeatlast=0", escaped(list));
        let [first, second] = self.lists.as_slice() else {
            return format!("[source][encoded]{}[proof0]", psnr(&self.lists[0]));
        };
        let (first, second) = (psnr(first), psnr(second));
        match self.with {
            With::Source => format!(
                "[source]split=3[right][this][rest];[rest]{NEXT}[next];\
                 [right][encoded]{first}[proof0];[this][next]{second}[proof1]"
            ),
            With::Neighbours => format!(
                "[source]split[before][rest];[rest]{NEXT}[after];[encoded]split[this][rest-e];[rest-e]{NEXT}[next];\
                 [after][this]{first}[proof0];[before][next]{second}[proof1]"
            ),
        }
    }

    /// Returns the options of ffmpeg's output that takes what comes out of the graph.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        let maps = (0..self.lists.len()).flat_map(|list| ["-map".to_owned(), format!("[proof{list}]")]);
        maps.chain(["-fps_mode", "passthrough", "-f", "null", "-"].map(str::to_owned)).collect()
    }

    /// Returns what ffmpeg found.
    ///
    /// # Errors
    /// [`FootageError::Verification`] unless it compared all frames, or the error of the disk.
    pub async fn read(&self) -> Result<Distances, Error> {
        let mut found = Vec::new();
        for list in &self.lists {
            let text =
                tokio::fs::read_to_string(list).await.map_err(|error| Error::new(list.display().to_string(), error))?;
            let all: Vec<Decibels> = text.lines().filter_map(decibels).collect();
            let is_of_all = self.with == With::Source && found.is_empty();
            let expected = if is_of_all { self.frames } else { self.frames - 1 };
            if all.len() != expected {
                let reason = format!("encoded frames that can be compared: expected {expected}, got {}", all.len());
                return Err(Error::footage("clip.mp4", FootageError::Verification(reason)));
            }
            found.push(all);
        }
        let mut found = found.into_iter();
        Ok(Distances { first: found.next().unwrap_or_default(), second: found.next().unwrap_or_default() })
    }
}

/// dB between two pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Decibels {
    worst_plane: f64,
    all_planes: f64,
}

/// What a [`Comparison`] found, of each frame: the dB of the two that [`With`] names.
#[derive(Clone, Debug, PartialEq)]
pub struct Distances {
    first: Vec<Decibels>,
    second: Vec<Decibels>,
}

impl Distances {
    /// Returns whether, of [`With::Source`], no encoded frame can be nearer to a neighbour of the right one: the right one is
    /// more than twice as far from each as from the encoded one, which is 6.02 dB. What ffmpeg writes is rounded.
    fn are_clear(&self) -> bool {
        const TWICE: f64 = 6.1;
        let is_far = |frame: usize, step: f64| !step.is_finite() || step + TWICE < self.first[frame].all_planes;
        self.second.iter().enumerate().all(|(frame, step)| {
            let step = step.all_planes;
            is_far(frame, step) && is_far(frame + 1, step)
        })
    }

    /// Returns how alike frames are, by what was found of [`With::Source`] and, unless that is clear, of [`With::Neighbours`].
    fn likenesses(&self, neighbours: Option<&Self>) -> Vec<Likeness> {
        let Self { first: right, second: steps } = self;
        let is_nearer = |frame: usize, to_neighbour: f64, step: f64| {
            step.is_finite() && to_neighbour >= right[frame].all_planes && to_neighbour >= step
        };
        let is_mistakable = |frame: usize| {
            let Some(Self { first: after, second: before }) = neighbours else { return false };
            let nearer_to_next =
                after.get(frame).is_some_and(|next| is_nearer(frame, next.all_planes, steps[frame].all_planes));
            let nearer_to_last = |last: usize| is_nearer(frame, before[last].all_planes, steps[last].all_planes);
            nearer_to_next || frame.checked_sub(1).is_some_and(nearer_to_last)
        };
        (0..right.len())
            .map(|frame| Likeness { decibels: right[frame].worst_plane, is_mistakable: is_mistakable(frame) })
            .collect()
    }
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
    use proptest::array::uniform4;

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

    fn distances(first: &[f64], second: &[f64]) -> Distances {
        let list = |all: &[f64]| all.iter().map(|&db| Decibels { worst_plane: db - 1.0, all_planes: db }).collect();
        Distances { first: list(first), second: list(second) }
    }

    #[test]
    fn a_frame_that_is_nearer_to_its_neighbour_is_mistakable() {
        let mistakable = |right: &[f64], after: &[f64], before: &[f64], steps: &[f64]| -> Vec<bool> {
            let all = distances(right, steps).likenesses(Some(&distances(after, before)));
            all.iter().map(|likeness| likeness.is_mistakable).collect()
        };
        let still = f64::INFINITY;
        assert_eq!(mistakable(&[50.0, 50.0], &[30.0], &[30.0], &[30.0]), [false, false], "they differ");
        assert_eq!(mistakable(&[50.0, 50.0], &[49.0], &[51.0], &[48.0]), [false, true], "the second is like the first");
        assert_eq!(mistakable(&[50.0, 50.0], &[50.0], &[20.0], &[48.0]), [true, false], "the first is like the second");
        assert_eq!(mistakable(&[50.0, 50.0], &[51.0], &[51.0], &[55.0]), [false, false], "they can't be told apart");
        assert_eq!(mistakable(&[still, still], &[still], &[still], &[still]), [false, false], "they are equal");
        let single = distances(&[50.0], &[]);
        assert_eq!(single.likenesses(None), [Likeness { decibels: 49.0, is_mistakable: false }]);
        assert!(single.are_clear());
    }

    #[test]
    fn neighbours_are_looked_at_where_a_step_is_less_than_twice_the_error() {
        for (right, steps, are_clear) in [
            ([50.0, 50.0, 50.0], [30.0, 43.8], true),
            ([50.0, 50.0, 50.0], [30.0, 44.0], false),
            ([50.0, 45.0, 60.0], [40.0, 38.0], false), // of the second frame
            ([50.0, 50.0, 50.0], [f64::INFINITY, 30.0], true), // nobody can tell the first two apart
            ([f64::INFINITY; 3], [60.0, 60.0], true),
        ] {
            assert_eq!(distances(&right, &steps).are_clear(), are_clear, "{right:?}, {steps:?}");
        }
    }

    proptest::proptest! {
        /// Whatever the pictures: where the distances are clear, no frame is mistakable.
        #[test]
        fn clear_distances_hide_no_mistakable_frame(
            pictures in proptest::collection::vec((uniform4(0_u8..40), uniform4(0_u8..10)), 2..8),
        ) {
            let source: Vec<[u8; 4]> = pictures.iter().map(|(picture, _)| *picture).collect();
            let changed = |(picture, by): &([u8; 4], [u8; 4])| std::array::from_fn(|plane| picture[plane] + by[plane]);
            let encoded: Vec<[u8; 4]> = pictures.iter().map(changed).collect();
            let db = |a: &[u8; 4], b: &[u8; 4]| {
                let squares = a.iter().zip(b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
                let db = 10.0 * (255.0_f64.powi(2) / (squares.sum::<f64>() / 4.0)).log10();
                (db * 100.0).round() / 100.0
            };
            let pairs = |a: &[[u8; 4]], b: &[[u8; 4]]| a.iter().zip(b).map(|(a, b)| db(a, b)).collect::<Vec<f64>>();
            let found = distances(&pairs(&source, &encoded), &pairs(&source, &source[1..]));
            let neighbours = distances(&pairs(&source[1..], &encoded), &pairs(&source, &encoded[1..]));
            let is_mistakable = found.likenesses(Some(&neighbours)).iter().any(|likeness| likeness.is_mistakable);
            proptest::prop_assert!(!(found.are_clear() && is_mistakable));
        }
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
