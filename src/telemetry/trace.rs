//! The trace of one request: what is known about it, recorded while it runs. The log line, the metrics, the report page and
//! the dry run are made of the document that it gives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use exact_cut::observer::{Observer, PlanReport, RenderStage, Silence, timed};
use exact_cut::open::Recordings;
use exact_cut::plan::coverage::Coverage;
use exact_cut::time::Span;
use serde::Serialize;
use serde_json::Value;
use tracing::{debug, warn};

use crate::contract::message_body::Request;
use crate::contract::status::Status;
use crate::error::Error;
use crate::telemetry::document::{Document, FAILED, Failure, Recording, SentMessage, StageRun, TimeRange};
use crate::telemetry::stages::{Recipient, Stage};

/// The trace of one request. All tasks of the request share it, so that it survives the panic of one.
#[derive(Debug)]
pub struct Trace {
    began: Instant,
    xray: Option<String>,
    received: Arc<AtomicU64>,
    record: Mutex<Record>,
}

#[derive(Debug)]
struct Record {
    document: Document,
    /// The last stage that did not complete.
    failed_stage: Option<Stage>,
}

impl Trace {
    /// Starts the trace of `request`, which arrived with the X-Ray trace header `xray`.
    #[must_use]
    pub fn new(request: &Request, xray: Option<String>) -> Self {
        let document = Document::new(request, SystemTime::now());
        let record = Mutex::new(Record { document, failed_stage: None });
        Self { began: Instant::now(), xray, received: Arc::default(), record }
    }

    /// Sets the number of the message's delivery, counted from 1.
    #[must_use]
    pub fn of_delivery(self, delivery: u32) -> Self {
        self.record().document.delivery = delivery;
        self
    }

    /// Runs the work of a stage. Records its duration and whether it completed.
    ///
    /// # Errors
    /// The error of `work`.
    pub fn stage<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        timed(work, move |began, completed| self.record_stage(stage, began, completed))
    }

    /// Records that what a stage found ends the request, although the stage completed.
    pub fn record_failed_stage(&self, stage: Stage) {
        self.record().failed_stage = Some(stage);
    }

    /// Returns the X-Ray trace header.
    #[must_use]
    pub fn xray(&self) -> Option<&str> {
        self.xray.as_deref()
    }

    /// Returns the counter of the bytes that are received of recordings.
    #[must_use]
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Records that the clip was stored before, without the parts `gaps` of its span.
    pub fn record_already_stored(&self, gaps: &[Span]) {
        debug!(gaps = gaps.len(), "clip is stored already");
        self.record().document.set_already_stored(gaps);
    }

    /// Records the number of recordings that the camera API listed.
    pub fn record_listed(&self, listed: usize) {
        debug!(listed, "recordings listed");
        self.record().document.listed = Some(listed);
    }

    /// Records the object of the first recording that S3 does not have.
    pub fn record_absent(&self, object: &impl std::fmt::Display) {
        self.record().document.first_absent = Some(object.to_string());
    }

    /// Records which recordings exist, and how they cover the span.
    pub fn record_recordings(&self, recordings: &Recordings, coverage: &Coverage) {
        let mut record = self.record();
        record.document.set_recordings(recordings, coverage);
        for Recording { name, shows, bytes, error } in &record.document.recordings {
            let shows = shows.map(|TimeRange { start_us, end_us }| format!("{start_us}..{end_us}"));
            debug!(recording = name, shows_us = shows, bytes, unreadable = error, "recording looked at");
        }
        for TimeRange { start_us, end_us } in &record.document.gaps {
            debug!(start_us, end_us, "gap");
        }
    }

    /// Records the parts of the span that the clip leaves out: more than expected, if frames cannot be decoded.
    pub fn record_gaps(&self, gaps: &[Span]) {
        self.record().document.set_gaps(gaps);
    }

    /// Records a message that was sent, and why the recipient refused it, if it did.
    pub fn record_message(&self, to: Recipient, content: &impl Serialize, refused: Option<&Error>) {
        let content = serde_json::to_value(content).unwrap_or(Value::Null);
        let status = content["status"].as_str();
        debug!(to = <&str>::from(to), status, refused = refused.map(|error| &error.reason), "message sent");
        let (ms, refused) = (self.ms_at(Instant::now()), refused.map(Error::to_string));
        self.record().document.messages.push(SentMessage { ms, to, content, refused });
    }

    /// Returns whether the camera API has been told how the request ended.
    #[must_use]
    pub fn has_told_the_end(&self) -> bool {
        let record = self.record();
        let mut puts = record.document.messages.iter().filter(|message| message.to == Recipient::CameraApi);
        puts.any(|put| put.content["status"] != Status::Pending.as_str())
    }

    /// Completes the trace with the result of the request, and returns its document.
    #[must_use]
    pub fn finish(&self, result: &Result<Status, Error>) -> Document {
        let mut record = self.record();
        let stage = record.failed_stage.map_or("request", Stage::as_str);
        let document = &mut record.document;
        document.ms = self.ms_at(Instant::now());
        document.bytes.fetched = self.received.load(Ordering::Relaxed);
        match result {
            Ok(status) => (document.status, document.failure) = (status.as_str(), None),
            Err(Error { kind, object, reason, .. }) => {
                document.failure = Some(Failure { stage, object: object.clone(), error: reason.clone(), kind: *kind });
                let is_fatal = |message: &SentMessage| message.content["status"] == Status::FatalError.as_str();
                let fatal = document.messages.iter().any(is_fatal);
                document.status = if fatal { Status::FatalError.as_str() } else { FAILED };
            }
        }
        document.clone()
    }

    fn record_stage(&self, stage: Stage, began: Instant, completed: bool) {
        let run = StageRun { stage, start_ms: self.ms_at(began), ms: ms(began.elapsed()), ok: completed };
        debug!(stage = stage.as_str(), ms = run.ms, completed, "stage ended");
        let mut record = self.record();
        record.document.stages.push(run);
        if !completed {
            record.failed_stage = Some(stage);
        }
    }

    /// A panic in the middle of a change leaves a record that is still worth reading.
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ms_at(&self, instant: Instant) -> f64 {
        ms(instant.duration_since(self.began))
    }
}

impl Observer for Trace {
    fn stage_ended(&self, stage: RenderStage, began: Instant, completed: bool) {
        self.record_stage(stage.into(), began, completed);
    }

    fn planned(&self, report: &PlanReport) {
        let PlanReport { copied, encoded, reasons, bytes_needed, .. } = report;
        debug!(copied, encoded, reasons, bytes_needed, "clip planned");
        if let Some(Silence::Unusable { object, reason }) = &report.silence {
            warn!(object, reason, "audio left out");
        }
        self.record().document.set_plan(report);
    }

    fn stepped_down(&self, error: &exact_cut::Error) {
        warn!(object = error.object, reason = %error.cause, "clip made in another way");
    }

    fn audio_lost(&self, error: &exact_cut::Error) {
        warn!(object = error.object, reason = %error.cause, "audio left out");
        self.record().document.set_audio_lost(&error.cause);
    }
}

/// Milliseconds, to the microsecond.
fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::message_body::tests::request;

    fn failed(reason: &str) -> Error {
        Error::transient("s3://bucket/key", reason)
    }

    #[tokio::test]
    async fn a_failure_names_the_last_stage_that_failed() {
        let trace = Trace::new(&request(1_537_119_363_005, 1_537_119_363_007), None);
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
    async fn a_stage_that_is_dropped_before_its_end_has_failed() {
        let trace = Trace::new(&request(1_537_119_363_005, 1_537_119_363_007), None);
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
    fn the_status_of_a_failure_is_a_fatal_error_that_was_sent_and_success_has_no_failure() {
        let trace = Trace::new(&request(1_537_119_363_005, 1_537_119_363_007), None);
        trace.record_message(Recipient::CameraApi, &serde_json::json!({"status": "FATAL_ERROR"}), None);
        assert_eq!(trace.finish(&Err(failed("no clip"))).status, "FATAL_ERROR");
        let document = trace.finish(&Ok(Status::Pending));
        assert_eq!(document.status, "CLIP_PENDING");
    }
}
