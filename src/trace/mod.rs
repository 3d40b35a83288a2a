//! What becomes of one request, noted while it happens: where its time goes, what is found, planned and said. The log
//! line, the metrics, the report and the dry run are all made of it.

pub mod document;
mod found;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::cut::plan::Plan;
use crate::error::Error;
use crate::footage::coverage::Coverage;
use crate::request::Request;
use crate::survey::{Opened, Survey};
use crate::time::Span;
use crate::trace::document::{Document, Failure, Said, StageRun};
use crate::verdict::Status;

/// A step that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Asks S3 whether the clip is stored already.
    Stored,
    /// Asks the camera API for the camera's alias.
    Camera,
    /// Asks the camera API for the recordings.
    Recordings,
    /// Reads the recordings' sample tables.
    Tables,
    /// Fetches what of the footage is needed.
    Fetch,
    /// Encodes what can't be copied.
    Encode,
    /// Makes the clip's sound.
    Sound,
    /// Writes the clip.
    Splice,
    /// Reads the clip back and proves it.
    Proof,
    /// Renders the thumbnails.
    Thumbnails,
    /// Stores clip and thumbnails.
    Upload,
    /// Checks that all of it is stored.
    Check,
    /// Tells the camera API.
    Put,
    /// Tells the topic.
    Publish,
    /// Sends the message round again.
    Requeue,
}

impl Stage {
    /// All of them, in the order in which a request goes through them.
    pub const ALL: [Self; 15] = [
        Self::Stored,
        Self::Camera,
        Self::Recordings,
        Self::Tables,
        Self::Fetch,
        Self::Encode,
        Self::Sound,
        Self::Splice,
        Self::Proof,
        Self::Thumbnails,
        Self::Upload,
        Self::Check,
        Self::Put,
        Self::Publish,
        Self::Requeue,
    ];

    /// Its name in logs and documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Camera => "camera",
            Self::Recordings => "recordings",
            Self::Tables => "tables",
            Self::Fetch => "fetch",
            Self::Encode => "encode",
            Self::Sound => "sound",
            Self::Splice => "splice",
            Self::Proof => "proof",
            Self::Thumbnails => "thumbnails",
            Self::Upload => "upload",
            Self::Check => "check",
            Self::Put => "put",
            Self::Publish => "publish",
            Self::Requeue => "requeue",
        }
    }
}

/// The notes on one request. Shared by all that works on it, so that they survive its panic.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    xray: Option<String>,
    received: Arc<AtomicU64>,
    notes: Mutex<Notes>,
}

#[derive(Debug)]
struct Notes {
    document: Document,
    /// The last stage that failed, or was left before its end.
    broken: Option<Stage>,
}

impl Trace {
    /// Begins the notes on `request`, which came with X-Ray's trace header `xray`.
    #[must_use]
    pub fn new(request: &Request, xray: Option<String>) -> Self {
        let document = Document::new(request, SystemTime::now());
        let notes = Mutex::new(Notes { document, broken: None });
        Self { began: Instant::now(), xray, received: Arc::default(), notes }
    }

    /// Does the work of a stage and notes how long it took, and whether it failed.
    ///
    /// # Errors
    /// The work's own.
    pub async fn stage<T>(&self, stage: Stage, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut running = Running { trace: self, stage, since: Instant::now(), ok: false };
        let result = work.await;
        running.ok = result.is_ok();
        result
    }

    /// X-Ray's trace header.
    #[must_use]
    pub fn xray(&self) -> Option<&str> {
        self.xray.as_deref()
    }

    /// Counts the bytes that are received of recordings.
    #[must_use]
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// The clip is stored already.
    pub fn is_stored(&self, gaps: &[Span]) {
        self.notes().document.stored(gaps);
    }

    /// What recordings there are, and what of the span they show.
    pub fn surveyed(&self, span: Span, survey: &Survey, coverage: &Coverage) {
        self.notes().document.surveyed(span, survey, coverage);
    }

    /// How the clip is cut. `poster` are the samples of one recording that the thumbnails need.
    pub fn planned(&self, plan: &Plan, opened: &[Opened], poster: &(usize, Range<usize>)) {
        self.notes().document.planned(plan, opened, poster);
    }

    /// What was told to whom, and why they won't take it, if they won't.
    pub fn said(&self, to: &'static str, content: &impl Serialize, refused: Option<&Error>) {
        let content = serde_json::to_value(content).unwrap_or(Value::Null);
        let (ms, refused) = (self.ms_at(Instant::now()), refused.map(Error::to_string));
        self.notes().document.messages.push(Said { ms, to, content, refused });
    }

    /// Ends the notes with what became of the request.
    #[must_use]
    pub fn finish(&self, result: &Result<Status, Error>) -> Document {
        let mut notes = self.notes();
        let stage = notes.broken.map_or("request", Stage::as_str);
        let document = &mut notes.document;
        document.ms = self.ms_at(Instant::now());
        document.bytes.fetched = self.received.load(Ordering::Relaxed);
        match result {
            Ok(status) => (document.status, document.failure) = (status.as_str(), None),
            Err(error) => {
                document.failure = Some(Failure {
                    stage,
                    object: error.object.clone(),
                    error: error.reason.clone(),
                    kind: format!("{:?}", error.kind),
                });
                let is_fatal = |said: &Said| said.content["status"] == Status::FatalError.as_str();
                let fatal = document.messages.iter().any(is_fatal);
                document.status = if fatal { Status::FatalError.as_str() } else { FAILED };
            }
        }
        document.clone()
    }

    /// Whoever panicked in the middle of a note left it whole enough.
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ms_at(&self, instant: Instant) -> f64 {
        ms(instant.duration_since(self.began))
    }
}

/// The status of a request that failed without a word to anybody.
pub const FAILED: &str = "FAILED";

fn ms(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// A stage under way. Notes its end however it comes: by a result, a panic, or because time is up.
struct Running<'a> {
    trace: &'a Trace,
    stage: Stage,
    since: Instant,
    ok: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { trace, stage, since, ok } = *self;
        let mut notes = trace.notes();
        notes.document.stages.push(StageRun { stage, start_ms: trace.ms_at(since), ms: ms(since.elapsed()), ok });
        if !ok {
            notes.broken = Some(stage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;

    fn failed(reason: &str) -> Error {
        Error::passing("s3://bucket/key", reason)
    }

    #[tokio::test]
    async fn a_failure_names_the_stage_that_failed_last() {
        let trace = Trace::new(&request(5, 7), None);
        let _ = trace.stage::<()>(Stage::Camera, async { Err(failed("first")) }).await;
        trace.stage(Stage::Camera, async { Ok(()) }).await.expect("the second try");
        let result = trace.stage(Stage::Fetch, async { Err(failed("cut short")) }).await;
        let document = trace.finish(&result);
        let failure = document.failure.expect("a failure");
        assert_eq!((failure.stage, &*failure.object, &*failure.error), ("fetch", "s3://bucket/key", "cut short"));
        assert_eq!(document.status, FAILED);
        let stages: Vec<_> = document.stages.iter().map(|run| (run.stage, run.ok)).collect();
        assert_eq!(stages, [(Stage::Camera, false), (Stage::Camera, true), (Stage::Fetch, false)]);
    }

    #[tokio::test]
    async fn a_stage_that_is_left_before_its_end_is_the_one_that_failed() {
        let trace = Trace::new(&request(5, 7), None);
        let hanging = trace.stage::<()>(Stage::Encode, std::future::pending());
        tokio::select! {
            biased;
            _ = hanging => unreachable!("it never ends"),
            () = std::future::ready(()) => {}
        }
        let document = trace.finish(&Err(failed("time is up")));
        assert_eq!(document.failure.expect("a failure").stage, "encode");
    }

    #[test]
    fn a_fatal_error_that_was_said_is_the_status_and_success_has_no_failure() {
        let trace = Trace::new(&request(5, 7), None);
        trace.said("camera API", &serde_json::json!({"status": "FATAL_ERROR"}), None);
        assert_eq!(trace.finish(&Err(failed("no clip"))).status, "FATAL_ERROR");
        let document = trace.finish(&Ok(Status::Pending));
        assert_eq!(document.status, "CLIP_PENDING");
    }

    #[test]
    fn the_names_are_those_of_the_document() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).expect("serializes"), stage.as_str());
        }
    }
}
