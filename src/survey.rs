//! Opens the recordings that may show some of a span: finds each one's `moov` box by ranged reads and reads its sample
//! table. Of the footage itself nothing is fetched yet.

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tracing::{error, warn};

use crate::aws::store::{ObjectId, Store, Version};
use crate::deadline::Deadline;
use crate::error::{Error, Kind};
use crate::footage::recording::Recording;
use crate::footage::samples::{Step, Video, step};
use crate::settings::Settings;
use crate::time::{Span, Timestamp};

/// The first read of an object: enough for the headers of a file whose `moov` lies at its end, and for all of a short
/// one's that lies in front.
const FIRST_READ: u64 = 64 << 10;
/// Boxes at the top of a file that are walked over before it is given up.
const MOST_BOXES: usize = 64;
/// Recordings that are opened at once.
const PARALLEL: usize = 8;

/// A recording whose object is there.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its name and the instant of its first frame.
    pub recording: Recording,
    /// The version of its object that all further reads are of.
    pub version: Version,
    /// Its frames.
    pub video: Video,
    /// What it shows: from the instant in its name on, as long as its own video lasts.
    pub span: Span,
}

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// In the order of their starts.
    pub opened: Vec<Opened>,
    /// Names of listed recordings whose objects S3 doesn't have.
    pub absent: Vec<String>,
}

/// Reads the API's entries; one that can't be used is skipped with an `error` line.
#[must_use]
pub fn usable(entries: &[Value], settings: &Settings) -> Vec<Recording> {
    let mut recordings = Vec::with_capacity(entries.len());
    for entry in entries {
        match Recording::listed(entry, &settings.name_format) {
            Ok(recording) => {
                if recording.starts_by_api {
                    warn!(name = recording.name, "no instant in the name, the API's startDate is taken");
                }
                recordings.push(recording);
            }
            Err(reason) => error!(error = reason, stage = "recordings", "entry skipped"),
        }
    }
    recordings.sort();
    recordings.dedup_by(|a, b| a.name == b.name);
    recordings
}

/// Opens those of `recordings` that may show some of `span`.
///
/// # Errors
/// Unusable if one of them is no MP4 file that can be read; else as S3 answers.
pub async fn open(
    store: &Store,
    settings: &Settings,
    recordings: Vec<Recording>,
    span: Span,
    deadline: Deadline,
) -> Result<Survey, Error> {
    let opened: Vec<Result<Opened, String>> =
        stream::iter(recordings.into_iter().filter(|recording| recording.may_show(span)))
            .map(|recording| async move {
                let name = recording.name.clone();
                match open_one(store, settings, recording, deadline).await {
                    Ok(opened) => Ok(Ok(opened)),
                    Err(error) if error.kind == Kind::Absent => Ok(Err(name)),
                    Err(error) => Err(error),
                }
            })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
    let mut survey = Survey::default();
    for one in opened {
        match one {
            Ok(opened) => survey.opened.push(opened),
            Err(name) => survey.absent.push(name),
        }
    }
    Ok(survey)
}

async fn open_one(
    store: &Store,
    settings: &Settings,
    recording: Recording,
    deadline: Deadline,
) -> Result<Opened, Error> {
    let dir = &settings.bucket_origin_dir;
    let key = if dir.is_empty() { recording.name.clone() } else { format!("{dir}/{}", recording.name) };
    let id = ObjectId { bucket: settings.bucket_origin.clone(), key };
    let (first, version) = store.open(&id, FIRST_READ, deadline).await?;
    let moov = moov(store, &version, first, deadline).await?;
    let video = Video::read(&moov, version.length).map_err(|reason| Error::unusable(id.to_string(), reason))?;
    let ends = Timestamp::from_us(recording.starts.as_us().saturating_add(video.table.length_us()));
    let span = Span::new(recording.starts, ends).ok_or_else(|| Error::unusable(id.to_string(), "shows nothing"))?;
    Ok(Opened { recording, version, video, span })
}

/// The bytes of the `moov` box, in front of the media data or behind it.
async fn moov(store: &Store, version: &Version, first: Vec<u8>, deadline: Deadline) -> Result<Vec<u8>, Error> {
    let unusable = |reason: String| Error::unusable(version.id.to_string(), reason);
    let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    let mut window = (0, first); // bytes that have been read, and where they begin
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        let known = window.1.get(index(at - window.0)..).unwrap_or_default();
        match step(known, at, version.length).map_err(unusable)? {
            Step::Moov { offset, size } => {
                let mut moov = known[..known.len().min(index(size))].to_vec();
                let have = offset + moov.len() as u64;
                if have < offset + size {
                    moov.extend(store.read(version, have..offset + size, deadline).await?);
                }
                return Ok(moov);
            }
            Step::Next(next) => {
                at = next;
                let read_until = window.0 + window.1.len() as u64;
                if at + 16 > read_until {
                    window = (at, store.read(version, at..version.length.min(at + FIRST_READ), deadline).await?);
                }
            }
        }
    }
    Err(unusable(format!("no moov box among the first {MOST_BOXES} boxes")))
}
