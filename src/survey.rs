//! Opens the recordings that may show some of a span: finds each one's `moov` box by ranged reads and reads its sample
//! table. Of the footage itself nothing is fetched yet.

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tracing::{error, warn};

use crate::aws::store::{ObjectId, Store, Version};
use crate::deadline::Deadline;
use crate::error::{Error, Kind};
use crate::footage::index::Index;
use crate::footage::recording::Recording;
use crate::footage::sound::Sound;
use crate::footage::tracks::{Tracks, Video};
use crate::settings::Settings;
use crate::time::{Span, Timestamp};

/// How much is read at once where only a box's header is wanted: often all of the box, or the next ones' headers, come
/// with it.
const READ_AHEAD: u64 = 64 << 10;
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
    /// Its sound, or why it is to be had without.
    pub sound: Result<Sound, String>,
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
    for (index, entry) in entries.iter().enumerate() {
        match Recording::listed(entry, &settings.name_format) {
            Ok(recording) => {
                if recording.starts_by_api {
                    warn!(name = recording.name, "no instant in the name, the API's startDate is taken");
                }
                recordings.push(recording);
            }
            Err(reason) => {
                error!(error = reason, stage = "recordings", object = format!("entry {index}"), "entry skipped");
            }
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
    let (first, version) = store.open(&id, READ_AHEAD, deadline).await?;
    let tracks = tracks(store, &version, first, deadline).await?;
    let Tracks { video, sound } = tracks;
    let ends = Timestamp::from_us(recording.starts.as_us().saturating_add(video.table.length_us()));
    let span = Span::new(recording.starts, ends).ok_or_else(|| Error::unusable(id.to_string(), "shows nothing"))?;
    Ok(Opened { recording, version, video, sound, span })
}

/// The tracks of an object, `window` being its first bytes.
async fn tracks(store: &Store, version: &Version, mut window: Vec<u8>, deadline: Deadline) -> Result<Tracks, Error> {
    let unusable = |reason: String| Error::unusable(version.id.to_string(), reason);
    let mut index = Index::new(version.length);
    let mut from = 0; // where in the object the window begins
    while let Some(wanted) = index.wants() {
        let known = wanted.start.checked_sub(from).and_then(|at| window.get(usize::try_from(at).ok()?..));
        let mut bytes = known.unwrap_or_default().to_vec();
        let length = usize::try_from(wanted.end - wanted.start).map_err(|error| unusable(error.to_string()))?;
        if bytes.len() < length {
            let missing = wanted.start + bytes.len() as u64;
            let ahead = version.length.min(wanted.end.max(missing + READ_AHEAD));
            bytes.extend(store.read(version, missing..ahead, deadline).await?);
            if length as u64 <= READ_AHEAD {
                (from, window) = (wanted.start, bytes.clone());
            } else {
                (from, window) = (wanted.end, bytes.split_off(length)); // a large box is not kept twice
            }
        }
        bytes.truncate(length);
        index.take(bytes).map_err(unusable)?;
    }
    index.tracks().map_err(unusable)
}
