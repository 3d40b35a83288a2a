//! Renders a clip: the story of the engine.
//!
//! 1. **Plan until the plan is stable.** Inspecting candidates before planning would cost a round trip to the source. So the
//!    first plan trusts the tables: `stss`, and that every sample is a picture. The bytes of its random access points are
//!    fetched together with the footage. Where they contradict the plan, it is made again with this knowledge. Usually the
//!    first plan is right. Each further plan inspects samples that were not inspected before, so the loop ends.
//! 2. **Encode** the frames in front of and behind each copied run: less than a GOP at each.
//! 3. **Lay out** the clip: header bytes, and pieces of recordings and of encoded bytes.
//! 4. **Verify** the layout and **execute** it, at the same time. A clip counts only if both succeed.
//!
//! If the footage makes this fail, [`Ladder`] has the next way.
//!
//! The thumbnails are rendered beside steps 2 to 4, because they need only the fetched bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{try_join, try_join_all};

use crate::error::{Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::h264::nal_units::RandomAccess;
use crate::mp4::tracks::VideoTrack;
use crate::mux::layout::ClipLayout;
use crate::mux::track::Display;
use crate::observer::{RenderStage, observed};
use crate::open::OpenRecording;
use crate::plan::coverage::{Coverage, Tolerances};
use crate::plan::cut_plan::{CutPlan, FrameOfRecording, RecordingView};
use crate::plan::segments::{EncodeReason, Method, Segment, TrimMode};
use crate::recording_id::{PerRecording, RecordingId};
use crate::render::assemble::{SegmentSource, copy_source, sample_entry, video_track};
use crate::render::audio::AudioRenderer;
use crate::render::bitstream_facts::BitstreamFacts;
use crate::render::context::RenderContext;
use crate::render::encode::{Encoding, PROVEN_WHOLE};
use crate::render::encoder_options::EncoderOptions;
use crate::render::excerpt::{Excerpt, Poster};
use crate::render::key_frame_search::KeyFrameSearch;
use crate::render::ladder::{Ladder, OTHER_POSTERS};
use crate::render::quality::WholeEncoding;
use crate::render::report::{frames_needed, plan_report, samples_needed};
use crate::render::thumbnails::{Thumbnail, ThumbnailSpec, render_thumbnails};
use crate::render::verify::{ClipToVerify, verify};
use crate::render::work;
use crate::render::write_file::{ClipExecutor, PieceFiles};
use crate::scratch::{PER_ENCODED_BYTE, ensure_free_space};
use crate::time::Span;

/// After this many plans that turned out wrong, sync samples no longer count as IDR pictures.
const PLANS_TRUSTING_STSS: usize = 3;

/// How often samples that turn out to be no pictures make the plan be made again.
const MAX_CORRECTIONS: usize = 8;

/// Scratch bytes for each byte that is copied: the fetched byte, the byte in the clip, and what verifying it takes.
const SCRATCH_PER_COPIED_BYTE: u64 = 3;

/// What is to be rendered.
#[derive(Clone, Copy, Debug)]
pub struct ClipSpec<'a> {
    /// The span of the clip.
    pub span: Span,
    /// Which recording shows which part of the span.
    pub coverage: &'a Coverage,
    /// How long a hole may be that is not a gap.
    pub tolerances: Tolerances,
    /// How the clip is cut.
    pub trim_mode: TrimMode,
    /// The thumbnails.
    pub thumbnails: ThumbnailSpec<'a>,
}

/// A verified clip and its thumbnails.
#[derive(Debug)]
pub struct RenderedClip {
    /// The clip as data.
    pub layout: Arc<ClipLayout>,
    /// The thumbnails, on disk.
    pub thumbnails: Vec<Thumbnail>,
    /// How the clip was cut.
    pub plan: CutPlan,
    /// Parts of the span that the clip leaves out: those that no recording shows, and those of which nothing can be decoded.
    pub gaps: Vec<Span>,
}

/// A cut plan with everything needed to execute it.
#[derive(Debug)]
pub struct PreparedRender {
    /// The plan.
    pub plan: CutPlan,
    poster: Poster,
    /// The recording whose parameters the clip has.
    main: RecordingId,
    facts: PerRecording<BitstreamFacts>,
    /// How segments that are no edges are encoded, if anything is encoded.
    whole: Option<WholeEncoding>,
    /// How long encoding takes, if anything is encoded.
    estimate: Option<Duration>,
    /// The recordings, with the bytes that the plan needs.
    recordings: PerRecording<FetchedRecording>,
}

/// Renders the clip of `spec`, and has `executor` turn it into bytes. If the footage makes one way fail, the next one is tried:
/// see [`Ladder`].
///
/// # Errors
/// [`FootageError`] if no verified clip can be made of the footage, or the error of the source, of ffmpeg or the disk.
pub async fn render(
    cx: RenderContext<'_>,
    spec: ClipSpec<'_>,
    mut recordings: PerRecording<Arc<OpenRecording>>,
    executor: &dyn ClipExecutor,
) -> Result<RenderedClip, Error> {
    let ffmpeg = cx.ffmpeg.for_one_request();
    let cx = RenderContext { ffmpeg: &ffmpeg, ..cx };
    let mut ladder = Ladder::default();
    let mut coverage = spec.coverage.clone();
    loop {
        let folder = ladder.folder(cx.folder)?;
        let attempt = RenderContext { folder: &folder, ..cx };
        let spec = ClipSpec { coverage: &coverage, ..spec };
        match Box::pin(render_once(attempt, spec, &mut recordings, &mut ladder, executor)).await {
            Err(error) if error.cause.is_footage() => {
                if !ladder.step_down(&error, &mut recordings) {
                    return Err(error);
                }
                // without some of its frames, a recording may show less of the span
                let footage = recordings.map(|recording| recording.footage.clone());
                coverage = Coverage::of(spec.span, &footage, spec.tolerances);
                if coverage.parts.is_empty() {
                    return Err(error);
                }
                cx.observer.stepped_down(&error);
            }
            result => return result,
        }
    }
}

/// Renders the clip as the ladder has it.
async fn render_once(
    cx: RenderContext<'_>,
    spec: ClipSpec<'_>,
    recordings: &mut PerRecording<Arc<OpenRecording>>,
    ladder: &mut Ladder,
    executor: &dyn ClipExecutor,
) -> Result<RenderedClip, Error> {
    let prepared = prepare_step(cx, spec, recordings.map(Arc::clone), ladder).await?;
    // their tables may have been corrected, and errors count samples as they do
    *recordings = prepared.recordings.map(|recording| Arc::clone(&recording.open));
    ladder.has_copies = prepared.plan.has_copies();
    let files = PieceFiles::of(&prepared.recordings);
    let Poster { recording, excerpt } = &prepared.poster;
    let thumbnails = render_thumbnails(cx, &prepared.recordings[*recording], excerpt, &files, spec.thumbnails);
    let thumbnails = observed(cx.observer, RenderStage::Thumbnails, thumbnails);
    // what the clip says of the footage tells more, so it is waited for if the thumbnails fail because of that
    let thumbnails = async {
        match thumbnails.await {
            Err(error) if !error.cause.is_footage() => Err(error),
            result => Ok(result),
        }
    };
    let clip = render_clip(cx, &prepared, files.clone(), executor);
    let ((layout, has_audio), thumbnails) = try_join(clip, thumbnails).await?;
    let thumbnails = thumbnails.inspect_err(|_| ladder.thumbnails_failed = true)?;
    let plan = CutPlan { audio: prepared.plan.audio.filter(|_| has_audio), ..prepared.plan };
    Ok(RenderedClip { layout, thumbnails, plan, gaps: spec.coverage.gaps.clone() })
}

/// Plans the clip of `spec`, and fetches the bytes that the plan needs.
///
/// # Errors
/// [`FootageError::NoFrame`] without a frame to show, or the error of the source or the disk.
pub async fn prepare(
    cx: RenderContext<'_>,
    spec: ClipSpec<'_>,
    recordings: PerRecording<Arc<OpenRecording>>,
) -> Result<PreparedRender, Error> {
    prepare_step(cx, spec, recordings, &Ladder::default()).await
}

/// Plans until every picture is decoded from a point where decoding may begin. If none is known of a recording that was read in
/// part, the rest of it is read.
async fn prepare_step(
    cx: RenderContext<'_>,
    spec: ClipSpec<'_>,
    mut recordings: PerRecording<Arc<OpenRecording>>,
    ladder: &Ladder,
) -> Result<PreparedRender, Error> {
    loop {
        let prepared = try_to_prepare(cx, spec, recordings.map(Arc::clone), ladder).await?;
        let Some(id) = decoded_from_nowhere(&prepared) else {
            let PreparedRender { plan, recordings, poster, estimate, .. } = &prepared;
            cx.observer.planned(&plan_report(plan, recordings, poster, *estimate));
            return Ok(prepared);
        };
        recordings[id] = Arc::new(recordings[id].completed(cx.deadline).await?);
    }
}

/// Returns a recording of which only a part was read, and of which the plan decodes pictures that need others before that part.
fn decoded_from_nowhere(prepared: &PreparedRender) -> Option<RecordingId> {
    let PreparedRender { plan, poster, facts, recordings, .. } = prepared;
    let encoded = plan.segments.iter().filter(|segment| !segment.is_copy());
    let windows = encoded.map(|segment| (segment.recording, segment.samples()));
    let mut windows = windows.chain([(poster.recording, poster.excerpt.decode.clone())]);
    let starts_nowhere = |(id, samples): &(RecordingId, Range<usize>)| {
        let table = &recordings[*id].open.video.table;
        table.beyond.first_pts.is_some() && facts[*id].random_access.at(table, samples.start) == RandomAccess::No
    };
    windows.find(starts_nowhere).map(|(id, _)| id)
}

async fn try_to_prepare(
    cx: RenderContext<'_>,
    spec: ClipSpec<'_>,
    recordings: PerRecording<Arc<OpenRecording>>,
    ladder: &Ladder,
) -> Result<PreparedRender, Error> {
    let no_frame = || Error::footage("clip.mp4", FootageError::NoFrame);
    let main = spec.coverage.main_recording().ok_or_else(no_frame)?;
    let mut facts = recordings.map(|recording| BitstreamFacts::of_tables(recording, &recordings[main], spec.trim_mode));
    for (_, facts) in facts.iter_mut().filter(|(id, _)| ladder.encodes(*id)) {
        facts.copyable = facts.copyable.and(Err(EncodeReason::SpliceFailed));
    }
    let recordings = recordings.into_entries().map(|(id, open)| FetchedRecording::new(id, open, cx.folder));
    let recordings = recordings.collect::<Result<PerRecording<_>, _>>()?;
    plan_until_stable(cx, spec, main, facts, recordings, ladder.posters_tried).await
}

/// Plans, fetches the bytes that the plan needs, and inspects them, until they no longer change the plan. Each turn
/// inspects samples that were not inspected before, so it ends.
async fn plan_until_stable(
    cx: RenderContext<'_>,
    spec: ClipSpec<'_>,
    main: RecordingId,
    mut facts: PerRecording<BitstreamFacts>,
    mut recordings: PerRecording<FetchedRecording>,
    posters_tried: usize,
) -> Result<PreparedRender, Error> {
    let (mut previous, mut plans, mut corrections) = (None, 0, 0);
    let mut search = KeyFrameSearch::default();
    loop {
        let views = recordings.map(|recording| view(recording, &facts[recording.id]));
        let plan = CutPlan::of(spec.span, spec.coverage, &views);
        let plan = plan.ok_or_else(|| Error::footage("clip.mp4", FootageError::NoFrame))?;
        let poster = poster(&plan, &views, posters_tried);
        let chosen = work::choose(cx, &plan, &recordings, &facts)?;
        let scratch_needed = scratch_needed(&plan, &views);
        if previous.as_ref() == Some(&plan) {
            let (whole, estimate) = chosen.unzip();
            return Ok(PreparedRender { plan, poster, main, facts, whole, estimate, recordings });
        }
        if Box::pin(search.run(cx, &plan, &poster, &mut recordings, &mut facts)).await? {
            continue;
        }
        work::ensure_disk(cx, &plan, &recordings, scratch_needed)?;
        let present: u64 = recordings.values().map(|recording| recording.copy.bytes_present()).sum();
        ensure_free_space(cx.folder, scratch_needed.saturating_sub(present))?;
        let fetches = recordings.iter_mut().map(|(id, recording)| {
            let (samples, frames) = (samples_needed(&plan, &poster, id), frames_needed(&plan, id));
            async move { recording.fetch_missing(&samples, &frames, cx.deadline).await }
        });
        observed(cx.observer, RenderStage::Fetch, try_join_all(fetches)).await?;
        try_join_all(facts.iter_mut().map(|(id, facts)| inspect(facts, &recordings[id], &plan, &poster))).await?;
        if corrections < MAX_CORRECTIONS {
            let corrected = recordings.iter_mut().map(|(id, recording)| facts[id].correct_table(recording));
            if corrected.collect::<Result<Vec<_>, _>>()?.contains(&true) {
                (previous, corrections) = (None, corrections + 1);
                continue;
            }
        }
        plans += 1;
        if plans == PLANS_TRUSTING_STSS {
            let inspected = plan.segments.iter().map(|segment| segment.recording).chain([poster.recording]);
            inspected.for_each(|id| facts[id].random_access.ignore_stss());
        }
        previous = Some(plan);
    }
}

/// Inspects the samples of a recording that are copied, or that pictures are decoded from.
async fn inspect(
    facts: &mut BitstreamFacts,
    recording: &FetchedRecording,
    plan: &CutPlan,
    poster: &Poster,
) -> Result<(), Error> {
    for segment in plan.segments.iter().filter(|segment| segment.recording == recording.id) {
        facts.inspect(recording, segment.samples(), segment.is_copy()).await?;
    }
    if poster.recording == recording.id {
        facts.inspect(recording, poster.excerpt.decode.clone(), false).await?;
    }
    Ok(())
}

fn view<'a>(recording: &'a FetchedRecording, facts: &'a BitstreamFacts) -> RecordingView<'a> {
    RecordingView {
        start: recording.open.listed.start,
        table: &recording.open.video.table,
        random_access: &facts.random_access,
        copyable: facts.copyable,
        audio: recording.audio(),
    }
}

/// Returns the scratch bytes that carrying out `plan` takes: fetched bytes, excerpts, encoded files, the clip.
fn scratch_needed(plan: &CutPlan, views: &PerRecording<RecordingView<'_>>) -> u64 {
    let needed = |segment: &Segment| {
        let samples = &views[segment.recording].table.samples[segment.samples()];
        let fetched: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
        fetched.saturating_mul(if segment.is_copy() { SCRATCH_PER_COPIED_BYTE } else { PER_ENCODED_BYTE })
    };
    plan.segments.iter().map(needed).sum()
}

/// Returns the frame that the thumbnails show: at a quarter of the clip, or another one after some could not be decoded.
fn poster(plan: &CutPlan, views: &PerRecording<RecordingView<'_>>, tried: usize) -> Poster {
    let last = plan.times.len() - 1;
    let frame = [plan.poster(), last / 2, last * 3 / 4, last, 0][tried.min(OTHER_POSTERS)];
    let FrameOfRecording { recording, frame } = plan.locate(frame).expect("the poster is one of the plan's frames");
    let RecordingView { table, random_access, .. } = views[recording];
    let frames = frame..frame + 1;
    Poster { recording, excerpt: Excerpt { decode: random_access.decode_window(table, frames.clone()), frames } }
}

/// Encodes the edges, lays the clip out, and has it verified and executed at the same time. Returns the clip, and whether it
/// has audio.
async fn render_clip(
    cx: RenderContext<'_>,
    prepared: &PreparedRender,
    mut files: PieceFiles,
    executor: &dyn ClipExecutor,
) -> Result<(Arc<ClipLayout>, bool), Error> {
    let PreparedRender { plan, main, facts, recordings, .. } = prepared;
    let main_video = &recordings[*main].open.video;
    let copied_sets = facts[*main].sets.as_ref().filter(|_| plan.has_copies());
    let footage = |error: FootageError| Error::footage("clip.mp4", error);
    let main_entry = main_video.entry_of(main_sample(plan, *main, main_video));
    let options = EncoderOptions::like(main_video, main_entry, copied_sets).map_err(footage)?;
    let sources = Box::pin(segment_sources(cx, prepared, &files, options)).await?;
    let entry = sample_entry(&sources, main_entry, options.shape, copied_sets).map_err(footage)?;
    let display = Display { size: options.shape.for_track_header(), orientation: options.orientation };
    let mut tracks = vec![video_track(plan, &sources, entry, display, facts, recordings, &mut files)];
    if let Some(audio) = &plan.audio {
        let rendered = AudioRenderer { cx, recordings }.render(audio, &mut files);
        match observed(cx.observer, RenderStage::Audio, rendered).await {
            // audio that cannot be decoded costs only the audio
            Err(error) if error.cause.is_footage() => cx.observer.audio_lost(&error),
            rendered => tracks.push(rendered?),
        }
    }
    let layout = Arc::new(ClipLayout::dated(&tracks, Some(plan.taken_at)).map_err(|error| footage(error.into()))?);
    let clip = ClipToVerify { layout: &layout, files: &files, plan, tracks: &tracks, recordings };
    let verified = observed(cx.observer, RenderStage::Verify, verify(cx, clip));
    let executed = executor.execute(Arc::clone(&layout), files.clone());
    try_join(verified, observed(cx.observer, RenderStage::Write, executed)).await?;
    Ok((layout, tracks.len() > 1))
}

/// Returns a sample of the main recording whose sample entry shows most of the clip; of equals, the first. The clip looks
/// like that.
fn main_sample(plan: &CutPlan, main: RecordingId, video: &VideoTrack) -> usize {
    let segments = || plan.segments.iter().filter(|segment| segment.recording == main);
    let sample_of = |segment: &Segment| video.table.frames[segment.frames.start] as usize;
    let mut frames: BTreeMap<usize, usize> = BTreeMap::new();
    for segment in segments() {
        *frames.entry(video.table.entry_of(sample_of(segment))).or_default() += segment.frames.len();
    }
    let shown = |segment: &&Segment| frames[&video.table.entry_of(sample_of(segment))];
    segments().rev().max_by_key(shown).map_or(0, sample_of)
}

/// Encodes the segments that must be encoded, one after the other, and prepares those that are copied.
async fn segment_sources(
    cx: RenderContext<'_>,
    PreparedRender { plan, facts, recordings, whole, .. }: &PreparedRender,
    files: &PieceFiles,
    options: EncoderOptions<'_>,
) -> Result<Vec<SegmentSource>, Error> {
    let mut sources = Vec::with_capacity(plan.segments.len());
    for (index, segment) in plan.segments.iter().enumerate() {
        let recording = &recordings[segment.recording];
        let folder = cx.folder.join(format!("segment-{index}"));
        std::fs::create_dir(&folder).map_err(|error| Error::new(folder.display().to_string(), error))?;
        sources.push(match &segment.method {
            Method::Copy { .. } => {
                copy_source(segment, recording, &facts[segment.recording], &folder.join("samples")).await?
            }
            Method::Encode { decode, .. } => {
                let excerpt = Excerpt { frames: segment.frames.clone(), decode: decode.clone() };
                let random_access = &facts[segment.recording].random_access;
                let (excerpt, folder) = (&excerpt, folder.as_path());
                let encoding = Encoding { cx, recording, random_access, excerpt, files, options, folder };
                // a long segment is no edge, also where others are copied
                let whole = whole.filter(|_| !plan.has_copies() || segment.frames.len() > PROVEN_WHOLE);
                let encoded = Box::pin(encoding.encode(whole));
                SegmentSource::Encoded(Box::new(observed(cx.observer, RenderStage::Encode, encoded).await?))
            }
        });
    }
    Ok(sources)
}
