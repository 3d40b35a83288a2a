//! What the engine reports while it works: where its time goes, and what it plans. The engine itself logs nothing: what
//! becomes of a report (a log line, a metric, a trace document) is up to its caller.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::recording_id::RecordingId;

/// A step of rendering that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderStage {
    /// Fetches the footage that the plan needs.
    Fetch,
    /// Encodes the frames that cannot be copied.
    Encode,
    /// Makes the audio of the clip.
    Audio,
    /// Writes the clip.
    Write,
    /// Verifies the clip.
    Verify,
    /// Renders the thumbnails.
    Thumbnails,
}

/// Listens to the engine.
pub trait Observer: Send + Sync {
    /// A stage ended. `completed` is false if it failed, or was dropped before its end.
    fn stage_ended(&self, stage: RenderStage, began: Instant, completed: bool);

    /// The clip is planned.
    fn planned(&self, report: &PlanReport);

    /// The clip could not be made as planned, because of the footage. It is made in another way.
    fn stepped_down(&self, error: &Error);

    /// The audio could not be made, because of the footage. The clip has none.
    fn audio_lost(&self, error: &Error);
}

/// Ignores every report.
#[derive(Clone, Copy, Debug)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn stage_ended(&self, _stage: RenderStage, _began: Instant, _completed: bool) {}

    fn planned(&self, _report: &PlanReport) {}

    fn stepped_down(&self, _error: &Error) {}

    fn audio_lost(&self, _error: &Error) {}
}

/// A range of time, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// Start, in microseconds.
    pub start_us: i64,
    /// End, in microseconds.
    pub end_us: i64,
}

/// How a clip is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanReport {
    /// Frames that are copied.
    pub copied: usize,
    /// Frames that are encoded.
    pub encoded: usize,
    /// Length of the clip, in microseconds.
    pub length_us: i64,
    /// Number of the frame that the thumbnails show, counted from 0.
    pub poster: usize,
    /// Why frames or audio are encoded; empty if everything is copied.
    pub reasons: String,
    /// How the audio gets into the clip: `copy`, `encode`, or `None` without audio.
    pub audio: Option<&'static str>,
    /// Why the clip has no audio, or some of its recordings give none.
    pub silence: Option<Silence>,
    /// How long encoding is estimated to take, if frames are encoded.
    pub encoding_estimate: Option<Duration>,
    /// The segments in order.
    pub segments: Vec<SegmentReport>,
    /// Bytes of recordings that clip and thumbnails are made of, each counted once.
    pub bytes_needed: u64,
}

/// Why there is no audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The recordings have no audio.
    NothingRecorded,
    /// There is audio that cannot be used: full name of the recording, and why.
    Unusable {
        /// Full name of the recording.
        object: String,
        /// Why its audio cannot be used.
        reason: String,
    },
}

/// Consecutive frames of one recording that get into the clip in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// The recording.
    pub recording: RecordingId,
    /// `copy` or `encode`.
    pub method: &'static str,
    /// Why the frames are encoded.
    pub reason: Option<String>,
    /// Number of frames.
    pub frames: usize,
    /// When the frames were taken, in microseconds since the epoch.
    pub shown: TimeRange,
    /// When the clip shows them, in microseconds since its start.
    pub in_clip: TimeRange,
    /// Bytes of the recording that are read for them.
    pub bytes: u64,
}

/// Runs `work`, and passes to `ended` when it began and whether it succeeded: after a result, and also if `work` panics or
/// is dropped before its end.
///
/// # Errors
/// The error of `work`.
pub async fn timed<T, E>(work: impl Future<Output = Result<T, E>>, ended: impl FnMut(Instant, bool)) -> Result<T, E> {
    struct Running<F: FnMut(Instant, bool)> {
        ended: F,
        began: Instant,
        succeeded: bool,
    }
    impl<F: FnMut(Instant, bool)> Drop for Running<F> {
        fn drop(&mut self) {
            (self.ended)(self.began, self.succeeded);
        }
    }
    let mut running = Running { ended, began: Instant::now(), succeeded: false };
    let result = work.await;
    running.succeeded = result.is_ok();
    result
}

/// Runs the work of a stage and reports its end.
pub(crate) fn observed<T, E>(
    observer: &dyn Observer,
    stage: RenderStage,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    timed(work, move |began, completed| observer.stage_ended(stage, began, completed))
}
