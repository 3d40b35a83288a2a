//! The story of one request. Read [`Pipeline::serve`] from top to bottom; everything else in the crate is a detail of it.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use futures::future::try_join_all;
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
use crate::render::{Order, Rendered, Tools, render};
use crate::request::Request;
use crate::settings::Settings;
use crate::stored::{Claim, gaps_of};
use crate::survey::{self, Survey};
use crate::time::Span;
use crate::verdict::{self, Found, Status};
use crate::workdir::Scratch;

/// Encoding all of a clip of 1280 by 720 takes half as long as showing it does, measured on two cores.
const FASTER_THAN_SHOWN: u64 = 2;
/// What is added to an estimate.
const RESERVE: Duration = Duration::from_secs(5);

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
            ffmpeg: Ffmpeg::new(settings.ffmpeg_path.clone()),
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
    pub async fn serve(&self, request: &Request, deadline: Deadline) -> Result<Status, Error> {
        if verdict::too_long(request, &self.settings.limits) {
            return self.announce(request, ClipMetadata::without_clip(request, Status::TooLong), deadline).await;
        }
        let stored = self.stored(request, deadline).await?;
        if let Some(gaps) = stored.as_ref().and_then(|objects| gaps_of(&objects.first()?.metadata)) {
            info!("stored already");
            return self.announce(request, self.available(request, &gaps), deadline).await;
        }
        match self.make(request, deadline).await {
            Err(error) if error.kind == Kind::Changed => {
                info!(object = error.object, "replaced while it was read, once more from the start");
                self.make(request, deadline).await
            }
            result => result,
        }
    }

    /// From the camera's alias to the verdict, and to what follows from it.
    async fn make(&self, request: &Request, deadline: Deadline) -> Result<Status, Error> {
        let span = request.span;
        let alias = self.camera.alias(&request.camera_id, deadline).await?;
        let entries = self.camera.recordings(&alias, span, deadline).await?;
        let recordings = survey::usable(&entries, &self.settings);
        let survey = match survey::open(&self.store, &self.settings, recordings, span, deadline).await {
            Err(error) if error.kind == Kind::Unusable => return self.fatal(request, error, deadline).await,
            survey => survey?,
        };
        let shown: Vec<Span> = survey.opened.iter().map(|opened| opened.span).collect();
        let coverage = Coverage::of(span, &shown, self.settings.gap_tolerance_us);
        let found = Found {
            some: !coverage.parts.is_empty(),
            gap: !coverage.gaps.is_empty(),
            tail_gap: coverage.tail_gap(span),
            absent: !survey.absent.is_empty(),
        };
        info!(
            listed = entries.len(),
            opened = survey.opened.len(),
            absent = survey.absent.len(),
            gaps = coverage.gaps.len(),
            "surveyed"
        );
        match verdict::decide(request, &self.settings.limits, found) {
            Status::Available => match self.make_clip(request, &survey, &coverage, deadline).await {
                Err(error) if error.kind == Kind::Unusable => self.fatal(request, error, deadline).await,
                Err(error) => Err(error),
                Ok(()) => self.announce(request, self.available(request, &coverage.gaps), deadline).await,
            },
            Status::Pending => self.send_back(request, deadline).await,
            status => self.announce(request, ClipMetadata::without_clip(request, status), deadline).await,
        }
    }

    /// Cuts, stores, and checks that all of it is stored.
    async fn make_clip(
        &self,
        request: &Request,
        survey: &Survey,
        coverage: &Coverage,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let folder = self.scratch.for_request()?;
        let tools = Tools { store: &self.store, ffmpeg: &self.ffmpeg, folder: folder.path(), deadline };
        let order = Order {
            span: request.span,
            coverage,
            opened: &survey.opened,
            trim_mode: self.settings.trim_mode,
            widths: &self.settings.thumbnail_sizes,
            format: self.settings.thumbnail_format,
        };
        let rendered = render(tools, order).await.map_err(|error| match error.kind {
            Kind::Unusable if self.scratch.is_full() => {
                Error::passing(error.object, "no space left for its work files")
            }
            _ => error,
        })?;
        let (copied, encoded) = rendered.plan.counts();
        info!(copied, encoded, bytes_fetched = rendered.bytes_fetched, why = rendered.plan.reasons(), "rendered");
        let metadata = Claim::of(request, &self.settings).with_gaps(&coverage.gaps);
        let lengths = self.upload(request, &rendered, &metadata, deadline).await?;
        let uploaded = lengths.into_iter().map(|length| Stored { length, metadata: metadata.clone() }).collect();
        if self.stored(request, deadline).await? == Some(uploaded) {
            Ok(())
        } else {
            Err(Error::passing(&request.clip_id, "what was stored is not what is there"))
        }
    }

    /// Thumbnails first: where the clip is, they are. Returns the objects' lengths in bytes, the clip's first.
    async fn upload(
        &self,
        request: &Request,
        rendered: &Rendered,
        metadata: &HashMap<String, String>,
        deadline: Deadline,
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
    async fn stored(&self, request: &Request, deadline: Deadline) -> Result<Option<Vec<Stored>>, Error> {
        let keys = self.keys(request);
        let thumbnails = self.settings.thumbnail_sizes.iter().map(|width| keys.thumbnail(width));
        let objects = [keys.clip()].into_iter().chain(thumbnails).map(|key| self.destination(key));
        let heads = try_join_all(objects.map(|id| async move { self.store.head(&id, deadline).await })).await?;
        let claim = Claim::of(request, &self.settings);
        let ours = |objects: &Vec<Stored>| objects.iter().all(|one| one.length > 0 && claim.is_of(&one.metadata));
        Ok(heads.into_iter().collect::<Option<Vec<_>>>().filter(ours))
    }

    /// Tells the camera API, then everybody else.
    async fn announce(&self, request: &Request, metadata: ClipMetadata, deadline: Deadline) -> Result<Status, Error> {
        self.tell_camera_api(request, &metadata, deadline).await?;
        self.topic.publish(&metadata, deadline).await?;
        Ok(metadata.status)
    }

    /// Footage may still come: the message goes round again.
    async fn send_back(&self, request: &Request, deadline: Deadline) -> Result<Status, Error> {
        self.tell_camera_api(request, &ClipMetadata::without_clip(request, Status::Pending), deadline).await?;
        self.queue.send(request.next_try(), self.settings.retry_delay_s, deadline).await?;
        Ok(Status::Pending)
    }

    /// Footage is there, but no clip can be made of it: said, and left to the queue.
    async fn fatal(&self, request: &Request, error: Error, deadline: Deadline) -> Result<Status, Error> {
        self.tell_camera_api(request, &ClipMetadata::without_clip(request, Status::FatalError), deadline).await?;
        Err(error)
    }

    async fn tell_camera_api(
        &self,
        request: &Request,
        metadata: &ClipMetadata,
        deadline: Deadline,
    ) -> Result<(), Error> {
        match self.camera.put_clip(&request.clip_id, metadata, deadline).await? {
            Told::Accepted => {}
            // a test from the console uses a made-up clip, which the API doesn't know
            Told::Refused(refusal) => error!(error = %refusal, stage = "put", "the camera API refused the metadata"),
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
