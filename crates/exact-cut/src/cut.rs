//! The engine in one call: a clip of recordings in any store, written to a file. It uses defaults for what the function at
//! the root of this repository reads from its settings.

use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use crate::budget::Budget;
use crate::compare::resolve_overlaps;
use crate::deadline::Deadline;
use crate::error::{Cause, Error, FootageError};
use crate::ffmpeg::run::Ffmpeg;
use crate::fragmented::WantedPart;
use crate::observer::{Observer, PlanReport, RenderStage};
use crate::open::{ListedRecording, open_recordings};
use crate::plan::coverage::{Coverage, Tolerances};
use crate::plan::segments::TrimMode;
use crate::recording_id::PerRecording;
use crate::render::clip::{ClipSpec, render};
use crate::render::context::RenderContext;
use crate::render::thumbnails::{PictureFormat, ThumbnailSpec};
use crate::render::write_file::WriteFile;
use crate::scratch::Scratch;
use crate::source::{RecordingStore, SourceErrorKind};
use crate::time::Span;

/// Width of the one thumbnail that is rendered and thrown away, in pixels: a frame that cannot be decoded is found so.
const THUMBNAIL_WIDTH: u32 = 320;
/// The longest hole over which a frame is held, and how far a name may be off from the end of the recording before.
const TOLERANCES: Tolerances = Tolerances { gap_us: 500_000, joint_us: 1_500_000 };

/// What is to be cut.
#[derive(Clone, Debug)]
pub struct ClipRequest {
    /// The recordings that may show some of the span, in any order.
    pub recordings: Vec<ListedRecording>,
    /// The span of the clip.
    pub span: Span,
}

/// A clip that was written to a file.
#[derive(Clone, Debug)]
pub struct CutClip {
    /// Why the clip could not be made in the usual way, if so: one reason for each way that failed.
    pub failed_before: Vec<String>,
    /// Number of frames.
    pub frames: usize,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// How the clip was cut.
    pub report: PlanReport,
    /// The recordings that were opened, by number.
    pub recordings: PerRecording<String>,
    /// Parts of the span that no recording shows and the clip leaves out.
    pub gaps: Vec<Span>,
}

/// Cuts the clip of `request` out of recordings in `store`, and writes it to `out`. Work files lie beside `out`.
///
/// # Errors
/// [`Error`] if a recording cannot be read, no recording shows any of the span, or no verified clip can be made.
pub async fn cut(
    store: &dyn RecordingStore,
    request: ClipRequest,
    ffmpeg: &Ffmpeg,
    out: &Path,
) -> Result<CutClip, Error> {
    let ClipRequest { mut recordings, span } = request;
    recordings.sort();
    let looked_at = span.extended_by(TOLERANCES.joint_us);
    recordings.retain(|recording| recording.may_show(looked_at));
    let deadline = Deadline::unknown();
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = Scratch::new(folder, ".exact-cut-")?;
    let folder = scratch.request_folder()?;
    let wanted = WantedPart { span, joint_us: TOLERANCES.joint_us, folder: folder.path() };
    let mut recordings = open_recordings(store, recordings, wanted, deadline).await?;
    if let Some(missing) = recordings.missing.first() {
        let source = "there is no such recording".into();
        return Err(Error::new(&missing.name, Cause::Source { kind: SourceErrorKind::NotFound, source }));
    }
    let observer = Keeper::default();
    let budget = Budget::default();
    let cx = RenderContext { ffmpeg, folder: folder.path(), deadline, budget, observer: &observer };
    recordings.read_through_ffmpeg(store, &[span], cx).await?;
    if let Some(unreadable) = recordings.unreadable.pop() {
        return Err(unreadable.error);
    }
    let opened = resolve_overlaps(recordings.opened, TOLERANCES.joint_us, deadline).await?;
    let coverage = Coverage::of(span, &opened.map(|recording| recording.footage.clone()), TOLERANCES);
    let names = opened.map(|recording| recording.listed.name.clone());
    let thumbnails = ThumbnailSpec { widths: &[THUMBNAIL_WIDTH], format: PictureFormat::Jpg };
    let (tolerances, trim_mode) = (TOLERANCES, TrimMode::Smart);
    let spec = ClipSpec { span, coverage: &coverage, tolerances, trim_mode, thumbnails };
    let written = folder.path().join("clip.mp4");
    let clip = render(cx, spec, opened, &WriteFile { path: written.clone() }).await?;
    std::fs::rename(&written, out).map_err(|error| Error::new(out.display().to_string(), error))?;
    let Kept { report, failed } = observer.0.into_inner().unwrap_or_default();
    let report = report.ok_or_else(|| Error::footage("clip.mp4", FootageError::NoFrame))?;
    let (frames, bytes) = (clip.plan.times.len(), clip.layout.length());
    Ok(CutClip { failed_before: failed, frames, bytes, report, recordings: names, gaps: clip.gaps })
}

/// Keeps what the engine reports.
#[derive(Default)]
struct Keeper(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The last plan.
    report: Option<PlanReport>,
    failed: Vec<String>,
}

impl Observer for Keeper {
    fn stage_ended(&self, _stage: RenderStage, _began: Instant, _completed: bool) {}

    fn planned(&self, report: &PlanReport) {
        if let Ok(mut kept) = self.0.lock() {
            kept.report = Some(report.clone());
        }
    }

    fn stepped_down(&self, error: &Error) {
        if let Ok(mut kept) = self.0.lock() {
            kept.failed.push(error.to_string());
        }
    }

    fn audio_lost(&self, _error: &Error) {}
}
