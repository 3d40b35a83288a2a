//! The document of one request, as `TRACE_DIR` keeps it: the format of the report's data. Instants of the world are in
//! microseconds since the epoch, those of the clip in microseconds since its start, durations in milliseconds.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::error::Error;
use crate::request::Request;
use crate::time::Span;
use crate::trace::{FAILED, Stage};

/// The format's version: changes when a reader of the last one could misunderstand it.
const FORMAT: u32 = 1;

/// All that is known of one try of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// [`FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub request: Asked,
    /// When work on it began, ms since the epoch.
    pub started_ms: u64,
    /// How long it took.
    pub ms: f64,
    /// The last status that was said, or `FAILED` if none was.
    pub status: &'static str,
    /// Why the record failed, if it did.
    pub failure: Option<Failure>,
    /// `copy`, `splice` (some copied, some encoded), `encode`, or `stored` (made before).
    pub mode: Option<&'static str>,
    /// Why some frames, or all, are encoded.
    pub why: Option<String>,
    /// Those that were looked at: first those that are there, in the order of their starts.
    pub recordings: Vec<Recording>,
    /// Which recording shows which part of the span.
    pub parts: Vec<Part>,
    /// What no recording shows and the clip leaves out.
    pub gaps: Vec<Stretch>,
    /// Holes over which a frame is held.
    pub held: Vec<Stretch>,
    /// What the clip is made of, in order.
    pub segments: Vec<Piece>,
    /// `copy` or `encode`, if the clip has sound.
    pub sound: Option<&'static str>,
    /// The clip as planned.
    pub clip: Option<Clip>,
    /// What of the recordings was read.
    pub bytes: Bytes,
    /// In the order of their ends. Some overlap.
    pub stages: Vec<StageRun>,
    /// What was said, in order.
    pub messages: Vec<Said>,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the fields of the message
pub struct Asked {
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
    /// The stage that failed.
    pub stage: &'static str,
    /// What it is about.
    pub object: String,
    /// What went wrong with it.
    pub error: String,
    /// What follows from it.
    pub kind: String,
}

/// A recording.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// Its object's name, without the folder.
    pub name: String,
    /// What it shows; unknown where its object is absent.
    pub shows: Option<Stretch>,
    /// Its size; 0 where its object is absent.
    pub bytes: u64,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // said in its name
pub struct Stretch {
    pub start_us: i64,
    pub end_us: i64,
}

/// A part of the span, and which of the recordings shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Index into the recordings.
    pub recording: usize,
    /// What it shows.
    #[serde(flatten)]
    pub shows: Stretch,
}

/// Frames of the clip that are made in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    /// Index into the recordings.
    pub recording: usize,
    /// `copy` or `encode`.
    pub how: &'static str,
    /// Why they are encoded.
    pub why: Option<&'static str>,
    /// How many.
    pub frames: usize,
    /// When they were taken.
    #[serde(flatten)]
    pub shows: Stretch,
    /// When the clip shows them.
    pub in_clip: Stretch,
    /// Bytes of the recording that are read for them.
    pub bytes: u64,
}

/// A clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Clip {
    /// How many frames it has.
    pub frames: usize,
    /// Of these, how many are copied.
    pub copied: usize,
    /// Of these, how many are encoded.
    pub encoded: usize,
    /// Its length.
    pub length_us: i64,
    /// The number of the frame that the thumbnails show.
    pub poster: usize,
}

/// Bytes of recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bytes {
    /// Received: sample tables, footage, and what had to be read twice.
    pub fetched: u64,
    /// Footage that clip and thumbnails need.
    pub needed: u64,
    /// The size of all recordings that were opened.
    pub recordings: u64,
}

/// One run of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageRun {
    /// Which.
    pub stage: Stage,
    /// When it began, since the request's work began.
    pub start_ms: f64,
    /// How long it took.
    pub ms: f64,
    /// Whether it came to a good end.
    pub ok: bool,
}

/// Something that was said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// When, since the request's work began.
    pub ms: f64,
    /// To whom: `camera API`, `SNS` or `SQS`.
    pub to: &'static str,
    /// What.
    pub content: Value,
    /// Why it was not taken, if it wasn't.
    pub refused: Option<String>,
}

impl From<Span> for Stretch {
    fn from(span: Span) -> Self {
        Self { start_us: span.start().as_us(), end_us: span.end().as_us() }
    }
}

impl Document {
    pub(super) fn new(request: &Request, now: SystemTime) -> Self {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self {
            format: FORMAT,
            request: Asked {
                clip_id: request.clip_id.clone(),
                camera_id: request.camera_id.clone(),
                start_timestamp_in_ms: request.span.start().as_ms(),
                end_timestamp_in_ms: request.span.end().as_ms(),
                retry_timestamps: request.retry_timestamps_ms.clone(),
                sent_timestamp: request.sent_ms,
            },
            started_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            ms: 0.0,
            status: FAILED,
            failure: None,
            mode: None,
            why: None,
            recordings: Vec::new(),
            parts: Vec::new(),
            gaps: Vec::new(),
            held: Vec::new(),
            segments: Vec::new(),
            sound: None,
            clip: None,
            bytes: Bytes::default(),
            stages: Vec::new(),
            messages: Vec::new(),
        }
    }

    /// How long `stage` took in all; `None` if it did not run.
    #[must_use]
    pub fn stage_ms(&self, stage: Stage) -> Option<f64> {
        let runs = self.stages.iter().filter(|run| run.stage == stage).map(|run| run.ms);
        runs.reduce(|sum, ms| ((sum + ms) * 1e3).round() / 1e3)
    }

    /// Writes it to a new file in `folder`, which appears whole or not at all. Its name holds nothing from outside.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn keep(&self, folder: &Path) -> Result<(), Error> {
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
        write().map_err(|error| Error::passing(folder.display().to_string(), error))
    }
}
