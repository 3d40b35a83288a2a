//! The story of one request. [`Pipeline::serve`] tells it from top to bottom: decide what is to be done, then do it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_config::SdkConfig;
use exact_cut::budget::Budget;
use exact_cut::compare::resolve_overlaps;
use exact_cut::deadline::Deadline;
use exact_cut::ffmpeg::memory::Memory;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::fragmented::WantedPart;
use exact_cut::open::{Recordings, open_recordings};
use exact_cut::plan::coverage::Coverage;
use exact_cut::render::clip::{ClipSpec, prepare, render};
use exact_cut::render::context::RenderContext;
use exact_cut::render::thumbnails::ThumbnailSpec;
use exact_cut::render::write_file::WriteFile;
use exact_cut::scratch::{Scratch, remove_abandoned};
use exact_cut::time::Span;
use serde_json::Value;
use tracing::{debug, error, info, warn};

use crate::clip_store::{ClipFiles, ClipStore, StoredClip};
use crate::contract::clip_metadata::ClipMetadata;
use crate::contract::message_body::Request;
use crate::contract::object_keys::download_name;
use crate::contract::retry_schedule::delay_range_s;
use crate::contract::sqs_event::Receipt;
use crate::contract::status::Status;
use crate::decision::{self, Decision, Facts, Footage};
use crate::error::{Error, ErrorKind, chain};
use crate::recording_list::{parse_listing, select};
use crate::services::camera_api::{CameraApi, PutOutcome};
use crate::services::s3::S3;
use crate::services::s3_recordings::S3Recordings;
use crate::services::sns::Topic;
use crate::services::sqs::Queue;
use crate::settings::{SCRATCH_PREFIX, Settings};
use crate::sizing::{longest, millicores};
use crate::telemetry::document::Document;
use crate::telemetry::stages::{Recipient, Stage};
use crate::telemetry::trace::Trace;
use crate::visibility::Visibility;

/// What the function itself takes of its memory, in bytes: at most 44.6 MB in the benchmark, and some to spare.
const OWN_MEMORY: u64 = 56 << 20;
/// What ffmpeg gets if that leaves nothing; it then fails for want of memory, and not because a limit is 0.
const LEAST_MEMORY: u64 = 16 << 20;

/// One request, and the limits of its work.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// What is asked for.
    pub request: &'a Request,
    /// When the work must be done.
    pub deadline: Deadline,
    /// Records what happens.
    pub trace: &'a Trace,
    /// Whether a recording that is replaced while it is read is read on as it was.
    pub reads_replaced: bool,
}

impl<'a> RequestContext<'a> {
    /// Returns the context of a first try.
    #[must_use]
    pub const fn new(request: &'a Request, deadline: Deadline, trace: &'a Trace) -> Self {
        Self { request, deadline, trace, reads_replaced: false }
    }
}

/// Everything that requests need, made once at start.
#[derive(Clone, Debug)]
pub struct Pipeline {
    settings: Settings,
    pub(crate) camera: CameraApi,
    pub(crate) s3: S3,
    clips: ClipStore,
    pub(crate) queue: Queue,
    visibility: Visibility,
    pub(crate) topic: Topic,
    ffmpeg: Ffmpeg,
    pub(crate) scratch: Scratch,
    /// The function's whole timeout in seconds, as far as invocations have shown it; 0 if not.
    timeout_s: Arc<AtomicU64>,
}

impl Pipeline {
    /// Makes all clients.
    ///
    /// # Errors
    /// If the scratch folder or the HTTP client cannot be made.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, Error> {
        let s3 = S3::new(aws_sdk_s3::Client::new(aws));
        let memory = settings.memory.map(|bytes| bytes.saturating_sub(OWN_MEMORY).max(LEAST_MEMORY));
        let ffmpeg = Ffmpeg::new(settings.ffmpeg_path.clone(), memory.map(Memory::new));
        let ffmpeg = match settings.launcher() {
            Some(launcher) => ffmpeg.launched_by(launcher),
            None => ffmpeg,
        };
        let queue = Queue::new(aws_sdk_sqs::Client::new(aws), settings.queue_url.clone());
        Ok(Self {
            camera: CameraApi::new(&settings)?,
            clips: ClipStore::new(s3.clone(), &settings),
            s3,
            visibility: Visibility::new(queue.clone(), settings.max_receives),
            queue,
            topic: Topic::new(aws_sdk_sns::Client::new(aws), settings.sns_topic.clone()),
            ffmpeg,
            scratch: Scratch::new(&settings.download_dest, SCRATCH_PREFIX)?,
            timeout_s: Arc::default(),
            settings,
        })
    }

    /// Removes what processes that were killed left in the scratch folder. A failure is a warning: the rest still works.
    pub fn clean_up(&self) {
        if let Err(error) = remove_abandoned(&self.settings.download_dest, SCRATCH_PREFIX) {
            warn!(reason = %error, "scratch folder of an earlier process not removed");
        }
    }

    /// Returns the function's settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Learns the function's timeout from the time that a new invocation has. Lambda tells a function only when it will be
    /// ended, so the whole second above counts, and of several the largest.
    pub fn learn_timeout(&self, left: Option<Duration>) {
        let seconds = left.map_or(0, |left| left.as_secs() + u64::from(left.subsec_nanos() > 0));
        self.timeout_s.fetch_max(seconds, Ordering::Relaxed);
    }

    /// Returns what the function is configured to have for one request. Lambda gives processors by memory.
    fn budget(&self) -> Budget {
        let timeout = self.timeout_s.load(Ordering::Relaxed);
        Budget {
            millicores: self.settings.memory.map_or(Budget::default().millicores, millicores),
            time: (timeout > 0).then(|| Duration::from_secs(timeout)),
        }
    }

    /// Returns what hides messages.
    #[must_use]
    pub const fn visibility(&self) -> &Visibility {
        &self.visibility
    }

    /// Deletes messages that are done, within `left`. One that cannot be deleted comes back and is announced again.
    pub async fn delete(&self, receipts: &[Receipt], left: Duration) {
        if let Err(Error { object, reason, .. }) = self.queue.delete(receipts, left).await {
            error!(error = reason, stage = "delete", object, "finished messages not deleted");
        }
    }

    /// Returns how long `request` takes at worst: fetched, encoded as a whole and uploaded.
    #[must_use]
    pub fn estimate(&self, request: &Request) -> Duration {
        let footage_us = u64::try_from(request.span.length_us()).unwrap_or_default();
        let too_long = decision::is_too_long(request, &self.settings.limits);
        longest(Duration::from_micros(if too_long { 0 } else { footage_us }), self.budget())
    }

    /// Serves a request: afterwards it has been announced, or its message is back in the queue. If a recording is replaced
    /// while it is read, all is begun again, once. From then on, what a recording was when it was opened counts, if that can
    /// still be read.
    ///
    /// # Errors
    /// The record fails, and the queue keeps the message. Every step can be repeated.
    pub async fn serve(&self, cx: RequestContext<'_>) -> Result<Status, Error> {
        match self.try_to_serve(cx).await {
            Err(error) if error.kind == ErrorKind::Modified => {
                info!(object = error.object, "recording replaced while it was read");
                self.try_to_serve(RequestContext { reads_replaced: true, ..cx }).await
            }
            result => result.map_err(|error| self.naming_proxies(error)),
        }
    }

    /// Names the variables of proxies in an error about a service out of reach: a proxy that is down looks like a service
    /// that is down. Whether the call went through one depends on `NO_PROXY` and the scheme.
    fn naming_proxies(&self, error: Error) -> Error {
        if error.kind != ErrorKind::Unreachable || self.settings.proxies.is_empty() {
            return error;
        }
        let proxies = self.settings.proxies.join(" and ");
        let verb = if self.settings.proxies.len() == 1 { "is" } else { "are" };
        Error { reason: format!("{} ({proxies} {verb} set)", error.reason), ..error }
    }

    /// Serves a request. A recording of which no clip can be made counts as one that cannot be read from then on.
    async fn try_to_serve(&self, cx: RequestContext<'_>) -> Result<Status, Error> {
        let mut given_up: Vec<Error> = Vec::new();
        loop {
            let footage = match self.decide(cx, &given_up).await? {
                Decision::Announce(metadata) => return self.announce(cx, &metadata).await,
                Decision::WaitForFootage => return self.requeue(cx).await,
                Decision::Fatal(error) => return self.report_fatal(cx, error).await,
                Decision::Render(footage) => footage,
            };
            let names: Vec<String> =
                footage.recordings.opened.values().map(|recording| recording.object.name().to_owned()).collect();
            match self.render_and_store(cx, footage).await {
                Ok(gaps) => {
                    let metadata = ClipMetadata::available(cx.request, &self.settings.clip_location(), &gaps);
                    return self.announce(cx, &metadata).await;
                }
                Err(error) if error.kind == ErrorKind::UnusableFootage && names.contains(&error.object) => {
                    given_up.push(error);
                }
                Err(error) if error.kind.is_fatal() => return self.report_fatal(cx, error).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Does what [`Self::serve`] would do up to the plan of the clip. It renders, stores and announces nothing.
    ///
    /// # Errors
    /// The error with which the record would fail.
    pub async fn plan(&self, cx: RequestContext<'_>) -> Result<Status, Error> {
        match self.decide(cx, &[]).await? {
            Decision::Announce(metadata) => Ok(metadata.status),
            Decision::WaitForFootage => Ok(Status::Pending),
            Decision::Fatal(error) => Err(error),
            Decision::Render(Footage { recordings, coverage, .. }) => {
                let folder = self.scratch.request_folder()?;
                let spec = self.clip_spec(cx.request, &coverage);
                prepare(self.render_context(cx, folder.path()), spec, recordings.opened).await?;
                Ok(Status::Available)
            }
        }
    }

    /// Decides what is to be done for a request, without the recordings that were `given_up`. It changes nothing.
    async fn decide(&self, cx: RequestContext<'_>, given_up: &[Error]) -> Result<Decision, Error> {
        let RequestContext { request, deadline, trace, .. } = cx;
        if decision::is_too_long(request, &self.settings.limits) {
            return Ok(Decision::Announce(ClipMetadata::without_clip(request, Status::TooLong)));
        }
        if let Some(StoredClip { gaps }) = trace.stage(Stage::Stored, self.clips.look_up(request, deadline)).await? {
            trace.record_already_stored(&gaps);
            let location = self.settings.clip_location();
            return Ok(Decision::Announce(ClipMetadata::available(request, &location, &gaps)));
        }
        let footage = match self.find_footage(cx, given_up).await {
            Err(error) if error.kind.is_fatal() => return Ok(Decision::Fatal(error)),
            footage => footage?,
        };
        let facts = Facts::of(request, &footage);
        let status = decision::status(request, &self.settings.limits, facts);
        debug!(?facts, status = status.as_str(), "decided");
        Ok(match status {
            Status::Available => Decision::Render(footage),
            Status::Pending => Decision::WaitForFootage,
            Status::FatalError => {
                trace.record_failed_stage(Stage::Tables);
                let error = decision::reason_for_fatal(footage).map_or_else(
                    || Error::new(ErrorKind::UnusableFootage, "clip.mp4", "the span holds no frame to show"),
                    |unreadable| Error { kind: ErrorKind::UnusableFootage, ..unreadable.error.into() },
                );
                Decision::Fatal(error)
            }
            status => Decision::Announce(ClipMetadata::without_clip(request, status)),
        })
    }

    /// Finds the recordings of the span, and what they show of it. A recording that cannot be read harms only what it alone
    /// shows; if that may be some of the span and S3 is the reason, the request fails.
    async fn find_footage(&self, cx: RequestContext<'_>, given_up: &[Error]) -> Result<Footage, Error> {
        let RequestContext { request, deadline, trace, .. } = cx;
        let camera = self.camera.traced(trace.xray());
        let alias = trace.stage(Stage::Camera, camera.alias(&request.camera_id, deadline)).await;
        let alias = alias.map_err(refused_for_good)?;
        let looked_at = request.span.extended_by(self.settings.tolerances.joint_us);
        let listing = camera.recordings(&alias, looked_at, deadline);
        let listing = trace.stage(Stage::Recordings, listing).await.map_err(refused_for_good)?;
        let listed = parse_listing(&listing, &self.settings.name_format);
        trace.record_listed(listed.len());
        let listed = select(&listed, looked_at);
        let store = S3Recordings {
            s3: self.s3.counting(trace.received()).reading_replaced(cx.reads_replaced),
            bucket: self.settings.bucket_origin.clone(),
            dir: self.settings.bucket_origin_dir.clone(),
        };
        let cover =
            |recordings: &Recordings| Coverage::of(request.span, &recordings.footage(), self.settings.tolerances);
        let folder = self.scratch.request_folder()?;
        let open = async {
            let joint_us = self.settings.tolerances.joint_us;
            let wanted = WantedPart { span: request.span, joint_us, folder: folder.path() };
            let mut recordings = open_recordings(&store, listed, wanted, deadline).await?;
            let gaps = cover(&recordings).gaps;
            recordings.read_through_ffmpeg(&store, &gaps, self.render_context(cx, folder.path())).await?;
            let opened = std::mem::take(&mut recordings.opened);
            recordings.opened = resolve_overlaps(opened, self.settings.tolerances.joint_us, deadline).await?;
            Ok(recordings)
        };
        let mut recordings = trace.stage(Stage::Tables, open).await?;
        for Error { object, reason, .. } in given_up {
            recordings.give_up(object, reason);
        }
        let coverage = cover(&recordings);
        trace.record_recordings(&recordings, &coverage);
        if let Some(absent) = recordings.missing.first() {
            trace.record_absent(&store.object(&absent.name));
        }
        if let Some(needed) = recordings.unreadable.iter().position(|unreadable| {
            !unreadable.error.cause.is_footage() && unreadable.listed.may_show_any(&coverage.gaps)
        }) {
            trace.record_failed_stage(Stage::Tables);
            return Err(recordings.unreadable.swap_remove(needed).error.into());
        }
        for unreadable in &recordings.unreadable {
            let (reason, object) = (chain(&unreadable.error.cause), &unreadable.error.object);
            error!(error = reason, stage = "tables", object, "recording not readable");
        }
        Ok(Footage { recordings, coverage, alias })
    }

    /// Renders the clip, stores it, and checks that all of it is stored. Returns what the clip leaves out of the span.
    async fn render_and_store(&self, cx: RequestContext<'_>, footage: Footage) -> Result<Vec<Span>, Error> {
        let RequestContext { request, deadline, trace, .. } = cx;
        let Footage { recordings, coverage, alias } = footage;
        let folder = self.scratch.request_folder()?;
        let clip = WriteFile { path: folder.path().join("clip.mp4") };
        let spec = self.clip_spec(request, &coverage);
        let rendered = render(self.render_context(cx, folder.path()), spec, recordings.opened, &clip).await?;
        trace.record_gaps(&rendered.gaps);
        let download_name = download_name(&alias, rendered.plan.taken_at);
        let files = ClipFiles { clip: &clip.path, thumbnails: &rendered.thumbnails, download_name: &download_name };
        let put = self.clips.put(request, files, &rendered.gaps, deadline);
        let stored = trace.stage(Stage::Upload, put).await?;
        trace.stage(Stage::Check, self.clips.check(request, stored, deadline)).await?;
        Ok(rendered.gaps)
    }

    /// Tells the camera API, then everybody else.
    async fn announce(&self, cx: RequestContext<'_>, metadata: &ClipMetadata) -> Result<Status, Error> {
        self.put_metadata(cx, metadata).await?;
        cx.trace.stage(Stage::Publish, self.topic.publish(metadata, cx.deadline)).await?;
        cx.trace.record_message(Recipient::Sns, metadata, None);
        Ok(metadata.status)
    }

    /// Sends the message back to the queue: footage may still come.
    async fn requeue(&self, cx: RequestContext<'_>) -> Result<Status, Error> {
        self.put_metadata(cx, &ClipMetadata::without_clip(cx.request, Status::Pending)).await?;
        self.send_again(cx).await
    }

    /// Sends the message again as a new one, with the `SentTimestamp` of this try.
    ///
    /// # Errors
    /// As SQS answers.
    pub async fn send_again(&self, cx: RequestContext<'_>) -> Result<Status, Error> {
        let message = cx.request.next_try();
        let delay_s = fastrand::i32(delay_range_s(self.settings.retry_delay_s));
        let send = self.queue.send(message.clone(), &cx.request.attributes, delay_s, cx.deadline);
        cx.trace.stage(Stage::Requeue, send).await?;
        cx.trace.record_message(Recipient::Sqs, &serde_json::from_str::<Value>(&message).ok(), None);
        Ok(Status::Pending)
    }

    /// Tells the camera API that no clip can be made, and leaves the message to the queue.
    async fn report_fatal(&self, cx: RequestContext<'_>, error: Error) -> Result<Status, Error> {
        self.put_metadata(cx, &ClipMetadata::without_clip(cx.request, Status::FatalError)).await?;
        Err(error)
    }

    /// Tells the camera API that the last delivery of a request has failed. A status other than `CLIP_PENDING` that this
    /// delivery has PUT stands. A clip that is stored for the request is available.
    pub async fn report_last_failure(&self, cx: RequestContext<'_>) {
        if cx.trace.has_told_the_end() {
            return;
        }
        let location = self.settings.clip_location();
        let metadata = match self.clips.look_up(cx.request, cx.deadline).await {
            Ok(Some(StoredClip { gaps })) => ClipMetadata::available(cx.request, &location, &gaps),
            _ => ClipMetadata::without_clip(cx.request, Status::FatalError),
        };
        // not as a stage: the log line names the stage that failed the record
        match self.put(cx, &metadata).await.map_err(|error| self.naming_proxies(error)) {
            Ok(outcome) => Self::record_put(cx, &metadata, outcome),
            Err(Error { object, reason, .. }) => {
                error!(error = reason, stage = "put", object, "failure of the last delivery not told");
            }
        }
    }

    async fn put_metadata(&self, cx: RequestContext<'_>, metadata: &ClipMetadata) -> Result<(), Error> {
        let outcome = cx.trace.stage(Stage::Put, self.put(cx, metadata)).await?;
        Self::record_put(cx, metadata, outcome);
        Ok(())
    }

    async fn put(&self, cx: RequestContext<'_>, metadata: &ClipMetadata) -> Result<PutOutcome, Error> {
        let camera = self.camera.traced(cx.trace.xray());
        camera.put_clip(&cx.request.clip_id, metadata, cx.deadline).await
    }

    fn record_put(cx: RequestContext<'_>, metadata: &ClipMetadata, outcome: PutOutcome) {
        let refusal = match outcome {
            PutOutcome::Accepted => None,
            PutOutcome::Refused(refusal) => Some(refusal),
        };
        cx.trace.record_message(Recipient::CameraApi, metadata, refusal.as_ref());
        if let Some(Error { object, reason, .. }) = refusal {
            // nothing else depends on it: a test from the console uses a clip that the API does not know
            error!(error = reason, stage = "put", object, "metadata refused");
        }
    }

    /// Writes the trace document of a finished request to `TRACE_DIR`, if that is set. Nothing depends on it.
    pub fn write_trace(&self, document: &Document) {
        let written = self.settings.trace_dir.as_deref().map(|folder| document.write_trace(folder));
        if let Some(Err(Error { object, reason, .. })) = written {
            error!(error = reason, stage = "trace", object, "trace document not written");
        }
    }

    fn clip_spec<'a>(&'a self, request: &Request, coverage: &'a Coverage) -> ClipSpec<'a> {
        let Settings { trim_mode, thumbnail_sizes, thumbnail_format, tolerances, .. } = &self.settings;
        let thumbnails = ThumbnailSpec { widths: thumbnail_sizes, format: *thumbnail_format };
        let (span, tolerances, trim_mode) = (request.span, *tolerances, *trim_mode);
        ClipSpec { span, coverage, tolerances, trim_mode, thumbnails }
    }

    fn render_context<'a>(&'a self, cx: RequestContext<'a>, folder: &'a std::path::Path) -> RenderContext<'a> {
        let (deadline, budget) = (cx.deadline, self.budget());
        RenderContext { ffmpeg: &self.ffmpeg, folder, deadline, budget, observer: cx.trace }
    }
}

/// Marks a refusal of the camera API that no other try will change.
fn refused_for_good(error: Error) -> Error {
    let kind = if error.kind == ErrorKind::Permanent { ErrorKind::CameraRefused } else { error.kind };
    Error { kind, ..error }
}
