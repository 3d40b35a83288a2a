//! The work that a plan makes for the encoder: what it decodes and encodes, how long that takes, and how many bits may come
//! out.

use std::time::Duration;

use crate::budget::{BudgetExceeded, EncodeWork, Preset, Resource};
use crate::codec::VideoCodec;
use crate::error::Error;
use crate::fetch::FetchedRecording;
use crate::h264::nal_units::RandomAccess;
use crate::mp4::shape::PictureShape;
use crate::plan::cut_plan::CutPlan;
use crate::plan::segments::{Method, Segment};
use crate::recording_id::PerRecording;
use crate::render::bitstream_facts::BitstreamFacts;
use crate::render::context::RenderContext;
use crate::render::quality::{SourceBits, WholeEncoding};
use crate::render::verify::PICTURES_AFTER_SEAM;
use crate::scratch::whole_space;
use crate::time::rescaled;

/// An estimate of memory is an upper bound: so many percent of it are needed at least.
const MEMORY_NEEDED_PERCENT: u64 = 60;

/// Returns how segments that are no edges are encoded, and how long encoding and verifying takes; `None` if nothing is
/// encoded.
///
/// # Errors
/// [`Cause::Budget`](crate::error::Cause::Budget) if that is more than the machine has.
pub fn choose(
    cx: RenderContext<'_>,
    plan: &CutPlan,
    recordings: &PerRecording<FetchedRecording>,
    facts: &PerRecording<BitstreamFacts>,
) -> Result<Option<(WholeEncoding, Duration)>, Error> {
    if encoded(plan).next().is_none() {
        return Ok(None);
    }
    let (mut work, bits, words) =
        (of_plan(plan, recordings), source_bits(plan, recordings), in_words(plan, recordings));
    add_verification(&mut work, plan, recordings, facts);
    let exceeded = |error: BudgetExceeded| Error::new("clip.mp4", error);
    ensure_memory(cx, plan, recordings, &words).map_err(exceeded)?;
    let (preset, estimate) = work.choose(cx.budget, cx.deadline, || words.clone()).map_err(exceeded)?;
    // what stands beside copied pictures has the parameter sets of edges, and those follow from the preset
    let preset = if plan.has_copies() { Preset::UltraFast } else { preset };
    Ok(Some((WholeEncoding { preset, cap: bits.cap() }, estimate)))
}

/// Checks that the whole disk is large enough for `needed` bytes.
///
/// # Errors
/// [`Cause::Budget`](crate::error::Cause::Budget) if no other try will find enough, or [`Cause::Disk`](crate::error::Cause::Disk).
pub fn ensure_disk(
    cx: RenderContext<'_>,
    plan: &CutPlan,
    recordings: &PerRecording<FetchedRecording>,
    needed: u64,
) -> Result<(), Error> {
    let has = whole_space(cx.folder)?;
    if needed <= has {
        return Ok(());
    }
    let us = rescaled(plan.end, plan.timescale, 1_000_000);
    let words = match encoded(plan).next() {
        Some(_) => in_words(plan, recordings),
        None => format!("{} s of footage", us / 1_000_000),
    };
    Err(Error::new("clip.mp4", BudgetExceeded::of_bytes(words, needed, has, Resource::Disk)))
}

fn encoded(plan: &CutPlan) -> impl Iterator<Item = &Segment> {
    plan.segments.iter().filter(|segment| !segment.is_copy())
}

fn pixels(recording: &FetchedRecording) -> u64 {
    let video = &recording.open.video;
    PictureShape::of(video, &video.entry).map_or(0, PictureShape::pixels)
}

fn codec(recording: &FetchedRecording) -> VideoCodec {
    recording.open.video.entry.video_codec().unwrap_or(VideoCodec::H264) // no track has another one
}

fn of_plan(plan: &CutPlan, recordings: &PerRecording<FetchedRecording>) -> EncodeWork {
    let mut work = EncodeWork::default();
    for segment in encoded(plan) {
        let recording = &recordings[segment.recording];
        let pixels = pixels(recording);
        if let Method::Encode { decode, .. } = &segment.method {
            work.decode(codec(recording), pixels.saturating_mul(decode.len() as u64));
        }
        work.encode(pixels.saturating_mul(segment.frames.len() as u64));
    }
    work
}

/// Adds what is decoded of copied runs to verify them, in the clip and in the recording: the first pictures, and from the last
/// IDR picture on. What is decoded of encoded segments counts as their overhead.
fn add_verification(
    work: &mut EncodeWork,
    plan: &CutPlan,
    recordings: &PerRecording<FetchedRecording>,
    facts: &PerRecording<BitstreamFacts>,
) {
    for (index, segment) in plan.segments.iter().enumerate() {
        let Method::Copy { samples } = &segment.method else { continue };
        let recording = &recordings[segment.recording];
        let (table, random_access) = (&recording.open.video.table, &facts[segment.recording].random_access);
        let is_idr = |&sample: &usize| random_access.at(table, sample) == RandomAccess::Idr;
        let last_group = samples.clone().rev().find(is_idr).unwrap_or(samples.start)..samples.end;
        let last_group = if index + 1 < plan.segments.len() { last_group.len() } else { 0 };
        let pictures = samples.len().min(PICTURES_AFTER_SEAM + last_group) as u64;
        work.decode(codec(recording), pixels(recording).saturating_mul(2 * pictures));
    }
}

fn source_bits(plan: &CutPlan, recordings: &PerRecording<FetchedRecording>) -> SourceBits {
    let mut bits = SourceBits::default();
    for segment in encoded(plan) {
        let recording = &recordings[segment.recording];
        let table = &recording.open.video.table;
        let frames = segment.frames.clone();
        let bytes: u64 = frames.clone().map(|frame| u64::from(table.frame(frame).size)).sum();
        let tighter = codec(recording).packs_tighter_than_h264();
        *(if tighter { &mut bits.hevc } else { &mut bits.h264 }) += bytes * 8;
        let shown =
            table.us_after_start(table.frame_end(frames.end - 1)) - table.us_after_start(table.shown_at(frames.start));
        bits.us += u64::try_from(shown).unwrap_or_default();
    }
    bits
}

/// Returns what is encoded, such as "300 s of 1080p HEVC".
fn in_words(plan: &CutPlan, recordings: &PerRecording<FetchedRecording>) -> String {
    let us = source_bits(plan, recordings).us;
    let largest = encoded(plan).map(|segment| &recordings[segment.recording]).max_by_key(|recording| pixels(recording));
    let Some(recording) = largest else { return "nothing".to_owned() };
    let video = &recording.open.video;
    let height = PictureShape::of(video, &video.entry).map_or(0, |shape| shape.width.min(shape.height));
    format!("{} s of {height}p {}", us.div_ceil(1_000_000), codec(recording).name())
}

fn ensure_memory(
    cx: RenderContext<'_>,
    plan: &CutPlan,
    recordings: &PerRecording<FetchedRecording>,
    words: &str,
) -> Result<(), BudgetExceeded> {
    let Some(has) = cx.ffmpeg.memory_limit() else { return Ok(()) };
    let most = encoded(plan).map(|segment| pixels(&recordings[segment.recording])).max().unwrap_or_default();
    let needed = crate::ffmpeg::memory::encoding(most, most) / 100 * MEMORY_NEEDED_PERCENT;
    if needed <= has {
        return Ok(());
    }
    Err(BudgetExceeded::of_bytes(words.to_owned(), needed, has, Resource::Memory))
}
