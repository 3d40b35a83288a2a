//! The story of one request. Read [`Pipeline::serve`] from top to bottom; everything else in the crate is a detail of it.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use futures::future::try_join_all;
use serde_json::Value;
use tracing::{error, info};

use crate::aws::queue::Queue;
use crate::aws::store::{ObjectId, Store, Stored, Upload};
use crate::aws::topic::Topic;
use crate::camera::{CameraApi, Told};
use crate::deadline::Deadline;
use crate::error::{Error, Kind};
use crate::ffmpeg::Ffmpeg;
use crate::footage::coverage::Coverage;
use crate::metadata::{ClipMetadata, Keys};
use crate::render::{Order, Rendered, Tools, plan, render};
use crate::request::Request;
use crate::settings::Settings;
use crate::stored::{Claim, gaps_of};
use crate::survey::{self, Survey};
use crate::time::Span;
use crate::trace::document::Document;
use crate::trace::{Stage, Trace};
use crate::verdict::{self, Found, Status};
use crate::workdir::Scratch;

/// Encoding all of a clip of 1280 by 720 takes half as long as showing it does, measured on two cores.
const FASTER_THAN_SHOWN: u64 = 2;
/// What is added to an estimate.
const RESERVE: Duration = Duration::from_secs(5);

/// One request on its way.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What is asked for.
    pub request: &'a Request,
    /// Until when it must be served.
    pub deadline: Deadline,
    /// The notes on it.
    pub trace: &'a Trace,
}

/// Everything a request needs, made once at start.
#[derive(Clone, Debug)]
pub struct Pipeline {
    settings: Settings,
    camera: CameraApi,
    store: Store,
    queue: Queue,
    topic: Topic,
    ffmpeg: Ffmpeg,
    scratch: Scratch,
}

impl Pipeline {
    /// Makes all clients.
    ///
    /// # Errors
    /// If the scratch folder or the HTTP client can't be had.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, Error> {
        Ok(Self {
            camera: CameraApi::new(&settings)?,
            store: Store::new(aws_sdk_s3::Client::new(aws)),
            queue: Queue::new(aws_sdk_sqs::Client::new(aws), settings.queue_url.clone()),
            topic: Topic::new(aws_sdk_sns::Client::new(aws), settings.sns_topic.clone()),
            ffmpeg: Ffmpeg::new(settings.ffmpeg_path.clone(), settings.memory),
            scratch: Scratch::new(&settings.download_dest)?,
            settings,
        })
    }

    /// What `request` takes at worst: fetched, encoded as a whole and uploaded, with a reserve.
    #[must_use]
    pub fn estimate(&self, request: &Request) -> Duration {
        let footage = u64::try_from(request.span.length_us()).unwrap_or_default();
        let work = if verdict::too_long(request, &self.settings.limits) { 0 } else { footage / FASTER_THAN_SHOWN };
        RESERVE + Duration::from_micros(work)
    }

    /// Serves one request: afterwards it has been announced, or sent back to the queue.
    ///
    /// # Errors
    /// The record fails and the queue keeps the message. Whatever was done can be done again.
    pub async fn serve(&self, job: Job<'_>) -> Result<Status, Error> {
        let Job { request, trace, .. } = job;
        if verdict::too_long(request, &self.settings.limits) {
            return self.announce(job, ClipMetadata::without_clip(request, Status::TooLong)).await;
        }
        let stored = trace.stage(Stage::Stored, self.stored(job)).await?;
        if let Some(gaps) = stored.as_ref().and_then(|objects| gaps_of(&objects.first()?.metadata)) {
            trace.is_stored(&gaps);
            return self.announce(job, self.available(request, &gaps)).await;
        }
        match self.make(job).await {
            Err(error) if error.kind == Kind::Changed => {
                info!(object = error.object, "replaced while it was read, once more from the start");
                self.make(job).await
            }
            result => result,
        }
    }

    /// What would be done: looks up and plans as [`Self::serve`] does, but renders nothing, stores nothing, says nothing.
    ///
    /// # Errors
    /// Those with which the record would fail.
    pub async fn plan(&self, job: Job<'_>) -> Result<Status, Error> {
        let Job { request, deadline, trace } = job;
        if verdict::too_long(request, &self.settings.limits) {
            return Ok(Status::TooLong);
        }
        let stored = trace.stage(Stage::Stored, self.stored(job)).await?;
        if let Some(gaps) = stored.as_ref().and_then(|objects| gaps_of(&objects.first()?.metadata)) {
            trace.is_stored(&gaps);
            return Ok(Status::Available);
        }
        let (survey, coverage) = self.survey(job).await?;
        let status = self.verdict(request, &survey, &coverage);
        if status == Status::Available {
            let folder = self.scratch.for_request()?;
            let store = self.store.counting(trace.received());
            let tools = Tools { store: &store, ffmpeg: &self.ffmpeg, folder: folder.path(), deadline, trace };
            plan(tools, self.order(request, &survey, &coverage)).await?;
        }
        Ok(status)
    }

    /// Leaves a request's document in `TRACE_DIR`, if that is set. The request is over: nothing depends on it.
    pub fn keep(&self, document: &Document) {
        if let Some(Err(Error { object, reason, .. })) =
            self.settings.trace_dir.as_deref().map(|dir| document.keep(dir))
        {
            error!(error = reason, stage = "trace", object, "no document kept");
        }
    }

    /// From the camera's alias to the verdict, and to what follows from it.
    async fn make(&self, job: Job<'_>) -> Result<Status, Error> {
        let request = job.request;
        let (survey, coverage) = match self.survey(job).await {
            Err(error) if error.kind == Kind::Unusable => return self.fatal(job, error).await,
            found => found?,
        };
        match self.verdict(request, &survey, &coverage) {
            Status::Available => match self.make_clip(job, &survey, &coverage).await {
                Err(error) if error.kind == Kind::Unusable => self.fatal(job, error).await,
                Err(error) => Err(error),
                Ok(()) => self.announce(job, self.available(request, &coverage.gaps)).await,
            },
            Status::Pending => self.send_back(job).await,
            status => self.announce(job, ClipMetadata::without_clip(request, status)).await,
        }
    }

    fn verdict(&self, request: &Request, survey: &Survey, coverage: &Coverage) -> Status {
        let found = Found {
            some: !coverage.parts.is_empty(),
            gap: !coverage.gaps.is_empty(),
            tail_gap: coverage.tail_gap(request.span),
            absent: !survey.absent.is_empty(),
        };
        verdict::decide(request, &self.settings.limits, found)
    }

    /// What recordings there are, and what of the span they show.
    async fn survey(&self, Job { request, deadline, trace }: Job<'_>) -> Result<(Survey, Coverage), Error> {
        let span = request.span;
        let camera = self.camera.traced(trace.xray());
        let alias = trace.stage(Stage::Camera, camera.alias(&request.camera_id, deadline)).await?;
        let entries = trace.stage(Stage::Recordings, camera.recordings(&alias, span, deadline)).await?;
        let recordings = survey::usable(&entries, &self.settings);
        let store = self.store.counting(trace.received());
        let survey = survey::open(&store, &self.settings, recordings, span, deadline);
        let survey = trace.stage(Stage::Tables, survey).await?;
        let shown: Vec<Span> = survey.opened.iter().map(|opened| opened.span).collect();
        let coverage = Coverage::of(span, &shown, self.settings.gap_tolerance_us);
        trace.surveyed(span, &survey, &coverage);
        Ok((survey, coverage))
    }

    /// Cuts, stores, and checks that all of it is stored.
    async fn make_clip(&self, job: Job<'_>, survey: &Survey, coverage: &Coverage) -> Result<(), Error> {
        let Job { request, deadline, trace } = job;
        let folder = self.scratch.for_request()?;
        let store = self.store.counting(trace.received());
        let tools = Tools { store: &store, ffmpeg: &self.ffmpeg, folder: folder.path(), deadline, trace };
        let order = self.order(request, survey, coverage);
        let rendered = render(tools, order).await.map_err(|error| match error.kind {
            Kind::Unusable if self.scratch.is_full() => {
                Error::passing(error.object, "no space left for its work files")
            }
            _ => error,
        })?;
        let metadata = Claim::of(request, &self.settings).with_gaps(&coverage.gaps);
        let lengths = trace.stage(Stage::Upload, self.upload(job, &rendered, &metadata)).await?;
        let uploaded = lengths.into_iter().map(|length| Stored { length, metadata: metadata.clone() }).collect();
        let check = async {
            if self.stored(job).await? == Some(uploaded) {
                Ok(())
            } else {
                Err(Error::passing(&request.clip_id, "what was stored is not what is there"))
            }
        };
        trace.stage(Stage::Check, check).await
    }

    fn order<'a>(&'a self, request: &Request, survey: &'a Survey, coverage: &'a Coverage) -> Order<'a> {
        Order {
            span: request.span,
            coverage,
            opened: &survey.opened,
            trim_mode: self.settings.trim_mode,
            widths: &self.settings.thumbnail_sizes,
            format: self.settings.thumbnail_format,
        }
    }

    /// Thumbnails first: where the clip is, they are. Returns the objects' lengths in bytes, the clip's first.
    async fn upload(
        &self,
        Job { request, deadline, .. }: Job<'_>,
        rendered: &Rendered,
        metadata: &HashMap<String, String>,
    ) -> Result<Vec<u64>, Error> {
        let (keys, format) = (self.keys(request), self.settings.thumbnail_format);
        let put = |key: String, path, content_type| {
            let id = self.destination(key);
            let upload = Upload { path, content_type, metadata };
            async move { self.store.store(&id, upload, deadline).await }
        };
        let thumbnails =
            rendered.thumbnails.iter().map(|one| put(keys.thumbnail(one.width), &one.path, format.content_type()));
        let mut lengths = try_join_all(thumbnails).await?;
        lengths.insert(0, put(keys.clip(), &rendered.clip, "video/mp4").await?);
        Ok(lengths)
    }

    /// What is stored, the clip first, if it was made for this very request and its thumbnails are there.
    async fn stored(&self, Job { request, deadline, .. }: Job<'_>) -> Result<Option<Vec<Stored>>, Error> {
        let keys = self.keys(request);
        let thumbnails = self.settings.thumbnail_sizes.iter().map(|width| keys.thumbnail(width));
        let objects = [keys.clip()].into_iter().chain(thumbnails).map(|key| self.destination(key));
        let heads = try_join_all(objects.map(|id| async move { self.store.head(&id, deadline).await })).await?;
        let claim = Claim::of(request, &self.settings);
        let ours = |objects: &Vec<Stored>| objects.iter().all(|one| one.length > 0 && claim.is_of(&one.metadata));
        Ok(heads.into_iter().collect::<Option<Vec<_>>>().filter(ours))
    }

    /// Tells the camera API, then everybody else.
    async fn announce(&self, job: Job<'_>, metadata: ClipMetadata) -> Result<Status, Error> {
        self.tell_camera_api(job, &metadata).await?;
        job.trace.stage(Stage::Publish, self.topic.publish(&metadata, job.deadline)).await?;
        job.trace.said("SNS", &metadata, None);
        Ok(metadata.status)
    }

    /// Footage may still come: the message goes round again.
    async fn send_back(&self, job: Job<'_>) -> Result<Status, Error> {
        let Job { request, deadline, trace } = job;
        self.tell_camera_api(job, &ClipMetadata::without_clip(request, Status::Pending)).await?;
        let message = request.next_try();
        let send = self.queue.send(message.clone(), self.settings.retry_delay_s, deadline);
        trace.stage(Stage::Requeue, send).await?;
        trace.said("SQS", &serde_json::from_str::<Value>(&message).ok(), None);
        Ok(Status::Pending)
    }

    /// Footage is there, but no clip can be made of it: said, and left to the queue.
    async fn fatal(&self, job: Job<'_>, error: Error) -> Result<Status, Error> {
        self.tell_camera_api(job, &ClipMetadata::without_clip(job.request, Status::FatalError)).await?;
        Err(error)
    }

    async fn tell_camera_api(&self, job: Job<'_>, metadata: &ClipMetadata) -> Result<(), Error> {
        let Job { request, deadline, trace } = job;
        let camera = self.camera.traced(trace.xray());
        let put = camera.put_clip(&request.clip_id, metadata, deadline);
        let refused = match trace.stage(Stage::Put, put).await? {
            Told::Accepted => None,
            Told::Refused(refusal) => Some(refusal),
        };
        trace.said("camera API", metadata, refused.as_ref());
        if let Some(Error { object, reason, .. }) = refused {
            // a test from the console uses a made-up clip, which the API doesn't know
            error!(error = reason, stage = "put", object, "the camera API refused the metadata");
        }
        Ok(())
    }

    fn available(&self, request: &Request, gaps: &[Span]) -> ClipMetadata {
        ClipMetadata::available(request, &self.settings.place(), gaps)
    }

    fn keys<'a>(&self, request: &'a Request) -> Keys<'a> {
        Keys { request, format: self.settings.thumbnail_format }
    }

    fn destination(&self, key: String) -> ObjectId {
        ObjectId { bucket: self.settings.bucket_destination.clone(), key }
    }
}
