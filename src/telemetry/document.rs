//! The trace document of one request, as `TRACE_DIR` keeps it: the data of the report page. Instants are microseconds since
//! the Unix epoch or, within the clip, since its start. Durations are milliseconds.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use exact_cut::error::Cause;
use exact_cut::observer::{self, PlanReport, Silence};
use exact_cut::open::Recordings;
use exact_cut::plan::coverage::{self, Coverage};
use exact_cut::plan::joints;
use exact_cut::time::Span;
use serde::Serialize;
use serde_json::Value;

use crate::contract::message_body::Request;
use crate::error::{Error, ErrorKind, chain};
use crate::telemetry::stages::{Mode, Recipient, Stage};

/// Changes when a reader of the previous format could misunderstand a document.
const FORMAT: u32 = 2;

/// The status of a request that failed before any status was announced.
pub const FAILED: &str = "FAILED";

/// Everything that is known about one try of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// Version of this format.
    pub format: u32,
    pub request: RequestedClip,
    /// Start of the work, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Duration of the work.
    pub ms: f64,
    /// Number of the message's delivery, counted from 1.
    pub delivery: u32,
    /// The last status that was announced, else [`FAILED`].
    pub status: &'static str,
    /// Why the record failed, if it did.
    pub failure: Option<Failure>,
    pub mode: Option<Mode>,
    /// Why frames are encoded.
    pub why: Option<String>,
    /// Number of recordings that the camera API listed, if it was asked.
    pub listed: Option<usize>,
    /// `s3://bucket/key` of the first recording that S3 does not have.
    pub first_absent: Option<String>,
    /// The opened recordings in order of their starts, then the missing ones.
    pub recordings: Vec<Recording>,
    /// Which recording shows which part of the span.
    pub parts: Vec<Part>,
    /// Parts of the span that no recording shows. The clip leaves them out.
    pub gaps: Vec<TimeRange>,
    /// Holes over which a frame is held.
    pub held: Vec<TimeRange>,
    /// Places at which two recordings are one film.
    pub joints: Vec<Joint>,
    /// The frames of the clip, in order.
    pub segments: Vec<SegmentReport>,
    /// `copy` or `encode`, if the clip has audio.
    pub audio: Option<&'static str>,
    /// `none, because …` if the clip has no audio, `missing in parts, because …` if some of its recordings have audio that
    /// cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sound: Option<String>,
    /// How long encoding and verifying was estimated to take, in milliseconds, if frames are encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encode_estimate_ms: Option<u64>,
    /// The clip as planned.
    pub clip: Option<Clip>,
    pub bytes: Bytes,
    /// In order of their ends. Stages may overlap.
    pub stages: Vec<StageRun>,
    /// In the order in which they were sent.
    pub messages: Vec<SentMessage>,
}

/// The fields of the message that made the request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedClip {
    pub clip_id: String,
    pub camera_id: String,
    pub start_timestamp_in_ms: i64,
    pub end_timestamp_in_ms: i64,
    pub retry_timestamps: Vec<i64>,
    pub sent_timestamp: i64,
}

/// Where and why a record failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Name of the stage that failed, or `request` if none did.
    pub stage: &'static str,
    /// The object that the failure concerns.
    pub object: String,
    pub error: String,
    pub kind: ErrorKind,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// Name of the object, without its folder.
    pub name: String,
    /// Unknown if the object is missing or cannot be read.
    pub shows: Option<TimeRange>,
    /// Size of the object; 0 if it is missing or cannot be read.
    pub bytes: u64,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeRange {
    pub start_us: i64,
    pub end_us: i64,
}

/// A part of the span that one recording shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Index into the recordings.
    pub recording: usize,
    #[serde(flatten)]
    pub shows: TimeRange,
}

/// A place at which two recordings are one film, whatever their names say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joint {
    /// Index of the second one into the recordings.
    pub recording: usize,
    /// The instant in the name of the second one.
    pub at_us: i64,
    /// How much later than the end of the first one that is, in milliseconds; negative if it is earlier.
    pub off_ms: f64,
}

/// Consecutive frames of the clip that are made in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SegmentReport {
    /// Index into the recordings.
    pub recording: usize,
    /// `copy` or `encode`.
    pub how: &'static str,
    /// Why the frames are encoded, if they are.
    pub why: Option<String>,
    /// Number of frames.
    pub frames: usize,
    /// When the frames were taken.
    #[serde(flatten)]
    pub shows: TimeRange,
    /// When the clip shows the frames.
    pub in_clip: TimeRange,
    /// Bytes of the recording that the frames need.
    pub bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clip {
    /// Number of frames, which is the sum of the next two.
    pub frames: usize,
    pub copied: usize,
    pub encoded: usize,
    pub length_us: i64,
    /// Number of the frame that the thumbnails show.
    pub poster: usize,
}

/// Bytes of recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Received bytes: sample tables, footage, and repeated reads.
    pub fetched: u64,
    /// Footage that the clip and its thumbnails need.
    pub needed: u64,
    /// Size of all recordings that were opened.
    pub recordings: u64,
}

/// One run of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageRun {
    pub stage: Stage,
    /// Time from the start of the work to the start of the stage.
    pub start_ms: f64,
    /// Duration of the stage.
    pub ms: f64,
    /// Whether the stage completed without an error.
    pub ok: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SentMessage {
    /// Time from the start of the work to the message.
    pub ms: f64,
    pub to: Recipient,
    pub content: Value,
    /// Why the recipient refused the message, if it did.
    pub refused: Option<String>,
}

impl From<Span> for TimeRange {
    fn from(span: Span) -> Self {
        Self { start_us: span.start().as_us(), end_us: span.end().as_us() }
    }
}

impl From<observer::TimeRange> for TimeRange {
    fn from(observer::TimeRange { start_us, end_us }: observer::TimeRange) -> Self {
        Self { start_us, end_us }
    }
}

impl From<&joints::Joint> for Joint {
    fn from(joint: &joints::Joint) -> Self {
        #[allow(clippy::cast_precision_loss)] // at most an hour
        let off_ms = joint.off_us() as f64 / 1e3;
        Self { recording: joint.after.index(), at_us: joint.start.as_us(), off_ms }
    }
}

impl From<&coverage::Part> for Part {
    fn from(part: &coverage::Part) -> Self {
        Self { recording: part.recording.index(), shows: part.span.into() }
    }
}

impl From<&observer::SegmentReport> for SegmentReport {
    fn from(segment: &observer::SegmentReport) -> Self {
        Self {
            recording: segment.recording.index(),
            how: segment.method,
            why: segment.reason.clone(),
            frames: segment.frames,
            shows: segment.shown.into(),
            in_clip: segment.in_clip.into(),
            bytes: segment.bytes,
        }
    }
}

impl Document {
    pub(super) fn new(request: &Request, now: SystemTime) -> Self {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            format: FORMAT,
            request: RequestedClip {
                clip_id: request.clip_id.clone(),
                camera_id: request.camera_id.clone(),
                start_timestamp_in_ms: request.span.start().as_ms(),
                end_timestamp_in_ms: request.span.end().as_ms(),
                retry_timestamps: request.retry_timestamps_ms.clone(),
                sent_timestamp: request.sent_ms,
            },
            started_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            ms: 0.0,
            delivery: 1,
            status: FAILED,
            failure: None,
            mode: None,
            why: None,
            listed: None,
            first_absent: None,
            recordings: Vec::new(),
            parts: Vec::new(),
            gaps: Vec::new(),
            held: Vec::new(),
            joints: Vec::new(),
            segments: Vec::new(),
            audio: None,
            sound: None,
            encode_estimate_ms: None,
            clip: None,
            bytes: Bytes::default(),
            stages: Vec::new(),
            messages: Vec::new(),
        }
    }

    pub(super) fn set_already_stored(&mut self, gaps: &[Span]) {
        self.mode = Some(Mode::Stored);
        self.set_gaps(gaps);
    }

    pub(super) fn set_gaps(&mut self, gaps: &[Span]) {
        self.gaps = gaps.iter().copied().map(TimeRange::from).collect();
    }

    pub(super) fn set_recordings(&mut self, recordings: &Recordings, coverage: &Coverage) {
        let opened = recordings.opened.values().map(|recording| Recording {
            name: recording.listed.name.clone(),
            shows: Some(recording.footage.span.into()),
            bytes: recording.object.length(),
            error: None,
        });
        let missing = recordings.missing.iter();
        let missing = missing.map(|listed| Recording { name: listed.name.clone(), shows: None, bytes: 0, error: None });
        let unreadable = recordings.unreadable.iter().map(|unreadable| Recording {
            name: unreadable.listed.name.clone(),
            shows: None,
            bytes: 0,
            error: Some(chain(&unreadable.error.cause)),
        });
        self.recordings = opened.chain(missing).chain(unreadable).collect();
        self.bytes.recordings = self.recordings.iter().map(|recording| recording.bytes).sum();
        self.parts = coverage.parts.iter().map(Part::from).collect();
        self.set_gaps(&coverage.gaps);
        self.held = coverage.held.iter().copied().map(TimeRange::from).collect();
        self.joints = coverage.joints.iter().map(Joint::from).collect();
    }

    pub(super) fn set_plan(&mut self, plan: &PlanReport) {
        let (copied, encoded) = (plan.copied, plan.encoded);
        self.mode = Some(Mode::of_frames(copied, encoded));
        self.why = Some(plan.reasons.clone()).filter(|why| !why.is_empty());
        self.segments = plan.segments.iter().map(SegmentReport::from).collect();
        let frames = copied + encoded;
        self.clip = Some(Clip { frames, copied, encoded, length_us: plan.length_us, poster: plan.poster });
        self.audio = plan.audio;
        self.encode_estimate_ms =
            plan.encoding_estimate.map(|estimate| u64::try_from(estimate.as_millis()).unwrap_or(u64::MAX));
        let missing = if plan.audio.is_none() { "none" } else { "missing in parts" };
        self.sound = plan.silence.as_ref().map(|silence| match silence {
            Silence::NothingRecorded => format!("{missing}, because the recordings have none"),
            Silence::Unusable { reason, .. } => format!("{missing}, because {reason}"),
        });
        self.bytes.needed = plan.bytes_needed;
    }

    /// Returns how far the name of a recording is off at a joint of the clip, in milliseconds: the farthest one.
    #[must_use]
    pub fn joint_ms(&self) -> Option<f64> {
        self.joints.iter().map(|joint| joint.off_ms).max_by(|a, b| a.abs().total_cmp(&b.abs()))
    }

    /// Returns the number of messages that the request has had, this one included.
    #[must_use]
    pub fn tries(&self) -> usize {
        self.request.retry_timestamps.len() + 1
    }

    /// Returns the time from the sending of the message to the start of the work, in milliseconds. Of a retry it includes
    /// its delay. Unknown if the message was sent later than now: clocks differ, and test events have invented times.
    #[must_use]
    pub fn queued_ms(&self) -> Option<u64> {
        self.started_ms.checked_sub(u64::try_from(self.request.sent_timestamp).ok()?)
    }

    /// Returns the time that the user waited, in milliseconds: from the request, or from the end of the span if that is
    /// later, to the announcement. Unknown if nothing was announced, or if the announcement is not later.
    #[must_use]
    pub fn announced_after_ms(&self) -> Option<u64> {
        let announced = self.messages.iter().find(|message| message.to == Recipient::Sns)?;
        let request = &self.request;
        let asked = request.retry_timestamps.iter().copied().min().unwrap_or(request.sent_timestamp);
        let since = u64::try_from(asked.max(request.end_timestamp_in_ms)).ok()?;
        let after = Duration::try_from_secs_f64(announced.ms / 1e3).ok()?;
        let announced_ms = self.started_ms.checked_add(after.as_millis().try_into().ok()?)?;
        announced_ms.checked_sub(since)
    }

    pub(super) fn set_audio_lost(&mut self, cause: &Cause) {
        self.audio = None;
        self.sound = Some(format!("none, because {}", chain(cause)));
    }

    /// Returns the number of opened recordings, if recordings were looked for.
    #[must_use]
    pub fn opened(&self) -> Option<usize> {
        self.listed.map(|_| self.recordings.iter().filter(|recording| recording.shows.is_some()).count())
    }

    /// Returns the number of recordings that S3 does not have, if recordings were looked for.
    #[must_use]
    pub fn absent(&self) -> Option<usize> {
        let is_absent = |recording: &&Recording| recording.shows.is_none() && recording.error.is_none();
        self.listed.map(|_| self.recordings.iter().filter(is_absent).count())
    }

    /// Returns the number of recordings that cannot be read, if recordings were looked for.
    #[must_use]
    pub fn unreadable(&self) -> Option<usize> {
        self.listed.map(|_| self.recordings.iter().filter(|recording| recording.error.is_some()).count())
    }

    /// Returns the duration of all runs of `stage`, or `None` if it did not run.
    #[must_use]
    pub fn stage_ms(&self, stage: Stage) -> Option<f64> {
        let runs = self.stages.iter().filter(|run| run.stage == stage).map(|run| run.ms);
        runs.reduce(|sum, ms| ((sum + ms) * 1e3).round() / 1e3)
    }

    /// Writes the document to a new file in `folder`. The file appears complete or not at all, and its name holds nothing
    /// from outside.
    ///
    /// # Errors
    /// Transient if the disk fails.
    pub fn write_trace(&self, folder: &Path) -> Result<(), Error> {
        let write = || {
            std::fs::create_dir_all(folder)?;
            let hidden = format!(".{}-", self.started_ms);
            let mut file = tempfile::Builder::new().prefix(&hidden).suffix(".json").tempfile_in(folder)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            writeln!(file)?;
            let name = file.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            file.persist(folder.join(name.trim_start_matches('.')))?;
            Ok::<_, std::io::Error>(())
        };
        write().map_err(|error| Error::transient(folder.display().to_string(), error))
    }
}
