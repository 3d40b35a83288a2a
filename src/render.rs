//! Carries a cut out: plans it, fetches the bytes that the plan needs, plans again where they say otherwise, encodes what
//! must be, splices, proves, and renders the thumbnails beside it. What it leaves are files; nothing is stored yet.

use std::path::{Path, PathBuf};

use futures::future::{try_join, try_join_all};

use crate::aws::store::Store;
use crate::cut::assembly::{self, Piece};
use crate::cut::edges::{self, Excerpt};
use crate::cut::evidence::Evidence;
use crate::cut::picture::Picture;
use crate::cut::plan::{Plan, Source};
use crate::cut::proof;
use crate::cut::segments::{Entries, How, Segment};
use crate::cut::soundtrack::{self, Workshop};
use crate::cut::splice;
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
use crate::trace::{Stage, Trace};
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
    /// Notes what is done.
    pub trace: &'a Trace,
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
    /// How it was cut.
    pub plan: Plan,
}

/// Renders `order`.
///
/// # Errors
/// Unusable if no proven clip can be made; else as the store or the disk says.
pub async fn render(tools: Tools<'_>, order: Order<'_>) -> Result<Rendered, Error> {
    let Tools { ffmpeg, folder, deadline, trace, .. } = tools;
    let Planned { plan, poster, main, evidence, fetched } = plan(tools, order).await?;
    let pictures = (order.widths, order.format);
    let thumbnails =
        thumbnails::render(ffmpeg, &fetched[poster.recording], &poster.excerpt, pictures, folder, deadline);
    let main_sets = evidence[main].sets.as_ref();
    let clip = cut(tools, &plan, (main, main_sets), &evidence, &fetched);
    let (clip, thumbnails) = try_join(clip, trace.stage(Stage::Thumbnails, thumbnails)).await?;
    Ok(Rendered { clip, thumbnails, plan })
}

/// A plan, and what is there to carry it out with.
#[derive(Debug)]
pub struct Planned<'a> {
    /// How the clip is cut.
    plan: Plan,
    poster: Poster,
    /// The recording that the others follow.
    main: usize,
    evidence: Vec<Evidence>,
    /// The recordings, as far as the plan needs them.
    fetched: Vec<Fetched<'a>>,
}

/// Plans `order`, with the bytes that it needs.
///
/// # Errors
/// Unusable without a frame to show; else as the store or the disk says.
pub async fn plan<'a>(tools: Tools<'_>, order: Order<'a>) -> Result<Planned<'a>, Error> {
    let opened = order.opened;
    let main = main_recording(order.coverage, opened.len());
    let mut evidence = evidence(order, main);
    let fetched = opened.iter().enumerate().map(|(index, opened)| Fetched::new(opened, index, tools.folder));
    let mut fetched: Vec<Fetched<'_>> = fetched.collect::<Result<_, _>>()?;
    let (plan, poster) = settle(tools, order, &mut evidence, &mut fetched).await?;
    tools.trace.planned(&plan, opened, &(poster.recording, poster.excerpt.decode.clone()));
    Ok(Planned { plan, poster, main, evidence, fetched })
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
            Ok(_) if !opened.video.table.shifts.is_empty() => Err("an edit list of several edits"),
            Ok(_) if !alike => Err("other parameter sets, size or rotation than the main recording"),
            Ok(sets) if sets.free_id().is_none() => Err("no parameter set id is free"),
            Ok(_) => Ok(()),
        };
        Evidence { entries: Entries::default(), copy, sets: sets.ok() }
    };
    order.opened.iter().map(of).collect()
}

/// The frame of the thumbnails.
#[derive(Debug)]
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
                sound: opened.sound.as_ref().ok().filter(|sound| sound.is_aac()),
            })
            .collect();
        let plan = Plan::of(order.span, order.coverage, &sources);
        let plan = plan.ok_or_else(|| Error::unusable("clip.mp4", "no frame to show"))?;
        let poster = poster(&plan, &sources);
        if last.as_ref() == Some(&plan) {
            return Ok((plan, poster));
        }
        workdir::room(tools.folder, scratch_need(&plan, &sources))?;
        let needs = fetched.iter_mut().enumerate().map(|(index, fetched)| {
            let segments = plan.segments.iter().filter(|segment| segment.recording == index).map(Segment::samples);
            let poster = (poster.recording == index).then(|| poster.excerpt.decode.clone());
            let samples: Vec<_> = segments.chain(poster).collect();
            let packets: Vec<_> = plan.sound.iter().flat_map(|sound| sound.packets(index)).collect();
            async move { fetched.need(&samples, &packets, tools.store, tools.deadline).await }
        });
        tools.trace.stage(Stage::Fetch, try_join_all(needs)).await?;
        let shown = Segment {
            recording: poster.recording,
            frames: poster.excerpt.frames,
            how: How::Encode { decode: poster.excerpt.decode, why: "poster" },
        };
        for segment in plan.segments.iter().chain([&shown]) {
            let index = segment.recording;
            evidence[index].gather(segment, &fetched[index])?;
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
    let Tools { ffmpeg, folder, deadline, trace, .. } = tools;
    let copies = plan.segments.iter().any(|segment| matches!(segment.how, How::Copy { .. }));
    let main_sets = main_sets.filter(|_| copies);
    let picture = Picture::like(fetched[main].video, main_sets);
    let mut pieces: Vec<Piece> = Vec::with_capacity(plan.segments.len());
    for (index, segment) in plan.segments.iter().enumerate() {
        let fetched = &fetched[segment.recording];
        let folder = folder.join(format!("segment-{index}"));
        std::fs::create_dir(&folder).map_err(|error| Error::passing(folder.display().to_string(), error))?;
        pieces.push(match &segment.how {
            How::Copy { .. } => {
                let evidence = &evidence[segment.recording];
                assembly::copied(segment, fetched, evidence, &folder.join("samples"))?
            }
            How::Encode { decode, .. } => {
                let excerpt = Excerpt { frames: segment.frames.clone(), decode: decode.clone() };
                let encode = edges::encode(ffmpeg, fetched, &excerpt, picture, &folder, deadline);
                let movie = trace.stage(Stage::Encode, encode).await?;
                Piece::Encoded(Box::new(movie))
            }
        });
    }
    let unusable = |reason: &str| Error::unusable("clip.mp4", reason);
    let entry = assembly::entry(&pieces, &fetched[main].video.entry, main_sets).map_err(unusable)?;
    let track = (entry, fetched[main].video.matrix);
    let mut tracks = vec![assembly::track(plan, track, &pieces, evidence, fetched).map_err(unusable)?];
    let made;
    let mut files = assembly::files(fetched, &pieces);
    if let Some(sound) = &plan.sound {
        let workshop = Workshop { ffmpeg, fetched, folder, deadline, made: files.len() };
        let sound = trace.stage(Stage::Sound, soundtrack::make(workshop, sound)).await?;
        (made, tracks) = (sound.1, [tracks, vec![sound.0]].concat());
        files.extend(&made);
    }
    let path = folder.join("clip.mp4");
    let write = async { splice::write(&path, &tracks, &files) };
    trace.stage(Stage::Splice, write).await?;
    let claim = proof::Claim { path: &path, plan, tracks: &tracks, files: &files, recordings: fetched };
    trace.stage(Stage::Proof, proof::check(ffmpeg, claim, folder, deadline)).await?;
    Ok(path)
}
