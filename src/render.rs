//! Carries a cut out: plans it, fetches the bytes that the plan needs, plans again where they say otherwise, encodes what
//! must be, splices, proves, and renders the thumbnails beside it. What it leaves are files; nothing is stored yet.

use std::fs::File;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use futures::future::try_join;
use shiguredo_mp4::boxes::SampleEntry;

use crate::aws::store::Store;
use crate::cut::edges::{self, Excerpt, Movie};
use crate::cut::evidence::Evidence;
use crate::cut::movie::{Sample, Track};
use crate::cut::picture::Picture;
use crate::cut::plan::{Plan, Source};
use crate::cut::proof;
use crate::cut::segments::{Entries, How, Segment};
use crate::cut::splice::{self, Place, Spliced};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fetch::Fetched;
use crate::ffmpeg::Ffmpeg;
use crate::footage::coverage::Coverage;
use crate::footage::parameter_sets::ParameterSets;
use crate::metadata::PictureFormat;
use crate::settings::TrimMode;
use crate::survey::Opened;
use crate::thumbnails::{self, Thumbnail};
use crate::time::Span;
use crate::workdir;

/// Plans that turn out wrong before nominations are no longer trusted.
const PATIENCE: usize = 3;

/// What a copied byte takes of scratch, fetched and in the clip, and what proving it takes.
const COPIED: u64 = 3;
/// What a byte that is encoded takes, as a rule of thumb: visually lossless is larger than a camera makes it, and lies
/// there twice. A disk that fills all the same is a passing failure too.
const ENCODED: u64 = 6;

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

/// What is to be rendered.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The wanted span.
    pub span: Span,
    /// What shows which part of it.
    pub coverage: &'a Coverage,
    /// The recordings.
    pub opened: &'a [Opened],
    /// How it is cut.
    pub trim_mode: TrimMode,
    /// The thumbnails' widths.
    pub widths: &'a [u32],
    /// The thumbnails' format.
    pub format: PictureFormat,
}

/// A clip and its thumbnails on disk.
#[derive(Debug)]
pub struct Rendered {
    /// The clip, proven.
    pub clip: PathBuf,
    /// Its thumbnails.
    pub thumbnails: Vec<Thumbnail>,
    /// What was done.
    pub plan: Plan,
    /// Bytes that were fetched of the recordings, without their tables.
    pub bytes_fetched: u64,
}

/// Renders `order`.
///
/// # Errors
/// Unusable if no proven clip can be made; else as the store or the disk says.
pub async fn render(tools: Tools<'_>, order: Order<'_>) -> Result<Rendered, Error> {
    let opened = order.opened;
    let main = main_recording(order.coverage, opened.len());
    let mut evidence = evidence(order, main);
    let folder = tools.folder;
    let fetched = opened.iter().enumerate().map(|(index, opened)| Fetched::new(opened, index, folder));
    let mut fetched: Vec<Fetched<'_>> = fetched.collect::<Result<_, _>>()?;
    let (plan, poster) = settle(tools, order, &mut evidence, &mut fetched).await?;
    let pictures = (order.widths, order.format);
    let thumbnails =
        thumbnails::render(tools.ffmpeg, &fetched[poster.recording], &poster.excerpt, pictures, folder, tools.deadline);
    let main_sets = evidence[main].sets.as_ref();
    let (clip, thumbnails) = try_join(cut(tools, &plan, (main, main_sets), &evidence, &fetched), thumbnails).await?;
    let bytes_fetched = fetched.iter().map(Fetched::bytes).sum();
    Ok(Rendered { clip, thumbnails, plan, bytes_fetched })
}

/// The recording that shows the most: the others follow its size.
fn main_recording(coverage: &Coverage, count: usize) -> usize {
    let shown = |recording: usize| -> i64 {
        let parts = coverage.parts.iter().filter(|part| part.recording == recording);
        parts.map(|part| part.span.length_us()).sum()
    };
    (0..count).rev().max_by_key(|&recording| shown(recording)).unwrap_or_default()
}

/// What the tables alone say.
fn evidence(order: Order<'_>, main: usize) -> Vec<Evidence> {
    let main = &order.opened[main].video;
    let of = |opened: &Opened| {
        let sets = ParameterSets::read(&opened.video.entry);
        let alike = opened.video.entry == main.entry && opened.video.matrix == main.matrix;
        let copy = match &sets {
            _ if order.trim_mode == TrimMode::Encode => Err("TRIM_MODE=encode"),
            Err(why) => Err(*why),
            Ok(_) if !alike => Err("other parameter sets, size or rotation than the main recording"),
            Ok(sets) if sets.free_id().is_none() => Err("no parameter set id is free"),
            Ok(_) => Ok(()),
        };
        Evidence { entries: Entries::default(), copy, sets: sets.ok() }
    };
    order.opened.iter().map(of).collect()
}

/// The frame of the thumbnails.
struct Poster {
    recording: usize,
    excerpt: Excerpt,
}

/// Plans, fetches what the plan needs, and looks whether the bytes agree with it; until they do.
async fn settle(
    tools: Tools<'_>,
    order: Order<'_>,
    evidence: &mut [Evidence],
    fetched: &mut [Fetched<'_>],
) -> Result<(Plan, Poster), Error> {
    let mut last = None;
    for attempt in 0.. {
        let sources: Vec<Source<'_>> = order
            .opened
            .iter()
            .zip(evidence.iter())
            .map(|(opened, Evidence { entries, copy, .. })| Source {
                starts: opened.recording.starts,
                table: &opened.video.table,
                entries,
                copy: *copy,
            })
            .collect();
        let plan = Plan::of(order.span, order.coverage, &sources);
        let plan = plan.ok_or_else(|| Error::unusable("clip.mp4", "no frame to show"))?;
        let poster = poster(&plan, &sources);
        if last.as_ref() == Some(&plan) {
            return Ok((plan, poster));
        }
        workdir::room(tools.folder, scratch_need(&plan, &sources))?;
        for (index, fetched) in fetched.iter_mut().enumerate() {
            let segments = plan.segments.iter().filter(|segment| segment.recording == index).map(Segment::samples);
            let poster = (poster.recording == index).then(|| poster.excerpt.decode.clone());
            fetched.need(&segments.chain(poster).collect::<Vec<_>>(), tools.store, tools.deadline).await?;
        }
        let shown = Segment {
            recording: poster.recording,
            frames: poster.excerpt.frames,
            how: How::Encode { decode: poster.excerpt.decode, why: "poster" },
        };
        for segment in plan.segments.iter().chain([&shown]) {
            let index = segment.recording;
            tokio::task::block_in_place(|| evidence[index].gather(segment, &fetched[index]))?;
            if attempt + 1 == PATIENCE {
                evidence[index].entries.trust_only_what_was_seen();
            }
        }
        last = Some(plan);
    }
    unreachable!("every turn sees samples that were not seen before, and there are finitely many")
}

/// Scratch that carrying out `plan` takes, in bytes: what is fetched, its excerpts, what they are encoded to, the clip.
fn scratch_need(plan: &Plan, sources: &[Source<'_>]) -> u64 {
    let need = |segment: &Segment| {
        let samples = &sources[segment.recording].table.samples[segment.samples()];
        let fetched: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
        let times = if matches!(segment.how, How::Copy { .. }) { COPIED } else { ENCODED };
        fetched.saturating_mul(times)
    };
    plan.segments.iter().map(need).sum()
}

fn poster(plan: &Plan, sources: &[Source<'_>]) -> Poster {
    let (recording, frame) = plan.locate(plan.poster()).expect("the poster is one of the plan's frames");
    let Source { table, entries, .. } = sources[recording];
    let frames = frame..frame + 1;
    Poster { recording, excerpt: Excerpt { decode: entries.decode_window(table, frames.clone()), frames } }
}

/// Encodes, splices, proves.
async fn cut(
    tools: Tools<'_>,
    plan: &Plan,
    (main, main_sets): (usize, Option<&ParameterSets>),
    evidence: &[Evidence],
    fetched: &[Fetched<'_>],
) -> Result<PathBuf, Error> {
    let copies = plan.segments.iter().any(|segment| matches!(segment.how, How::Copy { .. }));
    let picture = Picture::like(fetched[main].video, main_sets.filter(|_| copies));
    let mut encoded: Vec<Option<Movie>> = Vec::with_capacity(plan.segments.len());
    for (index, segment) in plan.segments.iter().enumerate() {
        let How::Encode { decode, .. } = &segment.how else {
            encoded.push(None);
            continue;
        };
        let folder = tools.folder.join(format!("segment-{index}"));
        std::fs::create_dir(&folder).map_err(|error| Error::passing(folder.display().to_string(), error))?;
        let excerpt = Excerpt { frames: segment.frames.clone(), decode: decode.clone() };
        let fetched = &fetched[segment.recording];
        encoded.push(Some(edges::encode(tools.ffmpeg, fetched, &excerpt, picture, &folder, tools.deadline).await?));
    }
    let unusable = |reason: &str| Error::unusable("clip.mp4", reason);
    let entry = entry(&encoded, &fetched[main].video.entry, main_sets.filter(|_| copies)).map_err(unusable)?;
    let mut files: Vec<&File> = fetched.iter().map(|fetched| &fetched.file).collect();
    files.extend(encoded.iter().flatten().map(|movie| &movie.file));
    let spliced = spliced(plan, entry, &fetched[main].video.matrix, &encoded, evidence, fetched).map_err(unusable)?;
    let path = tools.folder.join("clip.mp4");
    tokio::task::block_in_place(|| splice::write(&path, std::slice::from_ref(&spliced), &files))?;
    let claim = proof::Claim { path: &path, plan, spliced: &spliced, files: &files, recordings: fetched };
    proof::check(tools.ffmpeg, claim, tools.folder, tools.deadline).await?;
    Ok(path)
}

/// The clip's one sample entry, with the parameter sets of what is copied and of what was encoded.
fn entry(
    encoded: &[Option<Movie>],
    main: &SampleEntry,
    copied: Option<&ParameterSets>,
) -> Result<SampleEntry, &'static str> {
    let mut encoded = encoded.iter().flatten().map(|movie| &movie.video.entry);
    let Some(first) = encoded.next() else { return with_sets(main, copied.map(ParameterSets::complete)) };
    if encoded.any(|entry| entry != first) {
        return Err("the encoded segments' parameter sets differ");
    }
    match copied {
        Some(copied) => with_sets(main, Some(copied.joined(&ParameterSets::read(first)?)?)),
        None => Ok(first.clone()),
    }
}

fn with_sets(entry: &SampleEntry, avcc: Option<shiguredo_mp4::boxes::AvccBox>) -> Result<SampleEntry, &'static str> {
    match (entry.clone(), avcc) {
        (SampleEntry::Avc1(mut avc1), Some(avcc)) => {
            avc1.avcc_box = avcc;
            Ok(SampleEntry::Avc1(avc1))
        }
        _ => Err("copied pictures are not H.264"),
    }
}

/// The clip's one video track, out of all segments' samples.
fn spliced(
    plan: &Plan,
    entry: SampleEntry,
    matrix: &[i32; 9],
    encoded: &[Option<Movie>],
    evidence: &[Evidence],
    fetched: &[Fetched<'_>],
) -> Result<Spliced, &'static str> {
    let (mut samples, mut places) = (Vec::with_capacity(plan.times.len()), Vec::with_capacity(plan.times.len()));
    let mut encoded_file = fetched.len();
    for (segment, movie) in plan.segments.iter().zip(encoded) {
        let times = &plan.times[samples.len()..samples.len() + segment.frames.len()];
        let (table, file, range) = match (&segment.how, movie) {
            (How::Copy { samples }, _) => (&fetched[segment.recording].video.table, segment.recording, samples.clone()),
            (How::Encode { .. }, Some(movie)) => {
                encoded_file += 1;
                (&movie.video.table, encoded_file - 1, 0..movie.video.table.samples.len())
            }
            (How::Encode { .. }, None) => return Err("a segment is missing"),
        };
        // the frames' order in time gives each sample its time
        let mut by_time: Vec<usize> = range.clone().collect();
        by_time.sort_by_key(|&sample| table.samples[sample].pts);
        let mut pts = vec![0; by_time.len()];
        for (&sample, &time) in by_time.iter().zip(times) {
            pts[sample - range.start] = time;
        }
        for (sample, pts) in range.zip(pts) {
            let source = table.samples[sample];
            let sync = match segment.how {
                How::Copy { .. } => evidence[segment.recording].entries.is_idr(sample),
                How::Encode { .. } => source.sync,
            };
            samples.push(Sample { size: source.size, pts, sync });
            places.push(Place { file, offset: source.offset });
        }
    }
    let timescale = NonZeroU32::new(plan.timescale).ok_or("a timescale of 0")?;
    Ok(Spliced { track: Track { entry, matrix: *matrix, timescale, samples, end_pts: plan.end }, places })
}
