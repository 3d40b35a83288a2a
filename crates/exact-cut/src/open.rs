//! Opens recordings: finds the boxes that describe the samples by ranged reads, and reads the sample tables. No footage is
//! fetched yet.
//!
//! The first read takes 64 KiB. It pins the version of the object, and usually holds a `moov` box at the front completely;
//! for a `moov` at the end the header of `mdat` says where it begins, so a second read is enough. All counts are checked
//! before anything is allocated for them: one `stts` entry of 8 bytes can claim 4·10⁹ samples. Fragmented files have no
//! central table; of those only the fragments of the span are read (see [`crate::fragmented`]).

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::deadline::Deadline;
use crate::error::{Cause, Error, FootageError};
use crate::fragmented::{MIN_LENGTH, Part, WantedPart, read_part};
use crate::h264::nal_units::{RandomAccess, random_access};
use crate::mp4::Mp4Error;
use crate::mp4::audio_track::AudioTrack;
use crate::mp4::box_finder::BoxFinder;
use crate::mp4::in_band_sets::SETS_WITHIN;
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::tracks::{Tracks, VideoTrack};
use crate::plan::footage::Footage;
use crate::recording_id::PerRecording;
use crate::source::{OpenedObject, PinnedObject, READ_AHEAD, RecordingStore, SourceErrorKind};
use crate::sparse_copy::SparseCopy;
use crate::time::{Span, Timestamp};

/// Recordings that are opened at once.
const PARALLEL: usize = 8;
/// The most sample entries that are completed with parameter sets from among the pictures.
const MAX_ENTRIES: usize = 4;

/// A recording that is known by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedRecording {
    /// The instant of the first frame.
    pub start: Timestamp,
    /// Name in its store.
    pub name: String,
    /// The latest instant at which it may end, as far as that is known before it is opened.
    pub end: Option<Timestamp>,
}

impl ListedRecording {
    /// Returns whether the recording may show some of `span`, as far as that is known before it is opened.
    #[must_use]
    pub fn may_show(&self, span: Span) -> bool {
        self.start < span.end() && self.end.is_none_or(|end| end > span.start())
    }

    /// Returns whether the recording may show some of one of `spans`.
    #[must_use]
    pub fn may_show_any(&self, spans: &[Span]) -> bool {
        spans.iter().any(|&span| self.may_show(span))
    }
}

/// A recording whose sample tables were read.
#[derive(Clone, Debug)]
pub struct OpenRecording {
    /// Name and instant.
    pub listed: ListedRecording,
    /// The pinned version of which all further reads are.
    pub object: Arc<dyn PinnedObject>,
    /// The video track.
    pub video: VideoTrack,
    /// The audio track, or why there is none that can be used.
    pub audio: Result<AudioTrack, Mp4Error>,
    /// What the recording shows: from the instant of its first frame on, as long as its own video lasts. Of one that was read
    /// in part, only the holes near the span are known.
    pub footage: Footage,
    /// Bytes that were read when the recording was opened, if they are kept.
    pub copy: Option<SparseCopy>,
}

impl OpenRecording {
    /// Returns the recording with all its samples.
    ///
    /// # Errors
    /// [`Error`] if it cannot be read.
    pub async fn completed(&self, deadline: Deadline) -> Result<Self, Error> {
        if self.video.table.is_whole() {
            return Ok(self.clone());
        }
        let object = Arc::clone(&self.object);
        let first_bytes = object.read(0..object.length().min(READ_AHEAD), deadline).await?;
        let opened = OpenedObject { first_bytes, object };
        let whole = open_recording(self.listed.clone(), opened, None, deadline).await?;
        Ok(Self { copy: self.copy.clone(), ..whole })
    }

    /// Takes the frames of these samples out, and returns whether the recording shows anything without them.
    pub fn remove_frames(&mut self, samples: &[u32]) -> bool {
        if !self.video.table.remove_frames(samples) {
            return false;
        }
        let footage = Footage::of(self.listed.start, &self.video.table, self.audio.as_ref().ok());
        // what the next recording shows, too, stays its own
        let end = self.footage.span.end();
        let shown = footage.and_then(|footage| {
            let span = Span::new(footage.span.start(), footage.span.end().min(end))?;
            Some(Footage { span, ..footage })
        });
        let shows_something = shown.is_some();
        self.footage = shown.unwrap_or_else(|| self.footage.clone());
        shows_something
    }
}

/// The recordings of a request.
#[derive(Debug, Default)]
pub struct Recordings {
    /// Recordings that were opened, in the order of their starts.
    pub opened: PerRecording<Arc<OpenRecording>>,
    /// Recordings that the store does not have.
    pub missing: Vec<ListedRecording>,
    /// Recordings that the store has, but that cannot be read.
    pub unreadable: Vec<UnreadableRecording>,
}

/// A recording that cannot be read, at least not now.
#[derive(Debug)]
pub struct UnreadableRecording {
    /// Name and instant.
    pub listed: ListedRecording,
    /// Why it cannot be read.
    pub error: Error,
    /// When the object was last written, if that is known.
    pub modified: Option<Timestamp>,
}

impl Recordings {
    /// Counts the opened recording with that full name as one that cannot be read.
    pub fn give_up(&mut self, object: &str, reason: &str) {
        let all = std::mem::take(&mut self.opened).into_entries().map(|(_, recording)| recording);
        let (given_up, opened): (Vec<_>, Vec<_>) = all.partition(|recording| recording.object.name() == object);
        self.opened = opened.into_iter().collect();
        self.unreadable.extend(given_up.into_iter().map(|recording| UnreadableRecording {
            modified: recording.object.modified(),
            error: Error::footage(object, FootageError::GivenUp(reason.to_owned())),
            listed: recording.listed.clone(),
        }));
    }

    /// Returns what each recording shows.
    #[must_use]
    pub fn footage(&self) -> PerRecording<Footage> {
        self.opened.map(|opened| opened.footage.clone())
    }
}

/// Opens `listed` recordings, which are in the order of their starts, several at once. One that fails does not affect the
/// others: whether it matters depends on what the others show. Of fragmented ones only the `wanted` part is read, if it can be
/// found.
///
/// # Errors
/// [`Error`] if a recording was replaced while it was read.
pub async fn open_recordings(
    store: &dyn RecordingStore,
    listed: Vec<ListedRecording>,
    wanted: WantedPart<'_>,
    deadline: Deadline,
) -> Result<Recordings, Error> {
    enum Opened {
        Open(Arc<OpenRecording>),
        Missing(ListedRecording),
        Unreadable(Box<UnreadableRecording>),
    }
    let unreadable = |listed: ListedRecording, error: Error, modified: Option<Timestamp>| match error.cause {
        Cause::Source { kind: SourceErrorKind::Modified, .. } => Err(error),
        _ => Ok(Opened::Unreadable(Box::new(UnreadableRecording { listed, error, modified }))),
    };
    let opened: Vec<Opened> = stream::iter(listed)
        .map(|recording| async move {
            match store.open(&recording.name, READ_AHEAD, deadline).await {
                Ok(object) => {
                    let modified = object.object.modified();
                    match open_recording(recording.clone(), object, Some(wanted), deadline).await {
                        Ok(open) => Ok(Opened::Open(Arc::new(open))),
                        Err(error) => unreadable(recording, error, modified),
                    }
                }
                Err(error) if error.kind == SourceErrorKind::NotFound => Ok(Opened::Missing(recording)),
                Err(error) => unreadable(recording, Error::from(error), None),
            }
        })
        .buffered(PARALLEL)
        .try_collect()
        .await?;
    let (mut open, mut missing, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for one in opened {
        match one {
            Opened::Open(recording) => open.push(recording),
            Opened::Missing(recording) => missing.push(recording),
            Opened::Unreadable(recording) => unreadable.push(*recording),
        }
    }
    Ok(Recordings { opened: open.into_iter().collect(), missing, unreadable })
}

/// Opens a recording whose object was opened. If it is fragmented and a part is `wanted`, that is read alone if possible.
///
/// # Errors
/// [`Error`] if it cannot be read.
pub(crate) async fn open_recording(
    listed: ListedRecording,
    OpenedObject { first_bytes, object }: OpenedObject,
    wanted: Option<WantedPart<'_>>,
    deadline: Deadline,
) -> Result<OpenRecording, Error> {
    let wanted = wanted.filter(|_| object.length() >= MIN_LENGTH).map(|wanted| (listed.start, wanted));
    let (Tracks { mut video, audio, .. }, copy) = read_tracks(&*object, first_bytes, wanted, deadline).await?;
    complete_entries(&mut video, &*object, deadline).await?;
    find_first_key_frame(&mut video, &*object, deadline).await?;
    let footage = Footage::of(listed.start, &video.table, audio.as_ref().ok())
        .ok_or_else(|| Error::footage(object.name(), FootageError::ShowsNothing))?;
    Ok(OpenRecording { listed, object, video, audio, footage, copy })
}

/// Completes sample entries without parameter sets with those that lie among the pictures, at the cost of a read for each.
async fn complete_entries(video: &mut VideoTrack, object: &dyn PinnedObject, deadline: Deadline) -> Result<(), Error> {
    let lacks_sets =
        |(_, number): &(usize, usize)| video.entries.get(*number).is_some_and(SampleEntry::lacks_parameter_sets);
    let lacking: Vec<(usize, usize)> =
        video.table.entries.iter().copied().filter(lacks_sets).take(MAX_ENTRIES).collect();
    for (from, number) in lacking {
        let own = video.table.samples[from..].iter().enumerate();
        let own = own.take_while(|(index, _)| video.table.entry_of(from + index) == number).map(|(_, sample)| sample);
        let Some(sample) = own.clone().find(|sample| sample.sync).or_else(|| own.clone().next()) else { continue };
        let range = sample.offset..sample.offset + u64::from(sample.size).min(SETS_WITHIN);
        let bytes = object.read(range, deadline).await?;
        if let Some(complete) = video.entries[number].with_sets_of(&bytes) {
            if video.entry == video.entries[number] {
                video.entry = complete.clone();
            }
            video.entries[number] = complete;
        }
    }
    Ok(())
}

/// The largest first sample that is looked at, in bytes.
const LARGEST_KEY_FRAME: u64 = 4 << 20;

/// Looks whether the first sample is a key frame, at the cost of a read, where frames would be lost because it is not listed.
async fn find_first_key_frame(
    video: &mut VideoTrack,
    object: &dyn PinnedObject,
    deadline: Deadline,
) -> Result<(), Error> {
    let (first, format) = (video.table.samples[0], video.entry_of(0).nal_format());
    let is_worth_it = !video.table.before_sync.is_empty() && u64::from(first.size) <= LARGEST_KEY_FRAME;
    if let Some(format) = format.filter(|_| is_worth_it) {
        let bytes = object.read(first.offset..first.offset + u64::from(first.size), deadline).await?;
        if random_access(&bytes, format) > RandomAccess::No {
            video.table.begin_at_first_sample();
        }
    }
    Ok(())
}

/// Reads the tracks of an object. `window` holds its first bytes. Of a fragmented one only what is `wanted` of the recording
/// that starts at an instant is read, if possible; the bytes that were read come with it.
async fn read_tracks(
    object: &dyn PinnedObject,
    mut window: Vec<u8>,
    mut wanted: Option<(Timestamp, WantedPart<'_>)>,
    deadline: Deadline,
) -> Result<(Tracks, Option<SparseCopy>), Error> {
    let unusable = |error: Mp4Error| Error::footage(object.name(), error);
    let mut finder = BoxFinder::new(object.length());
    let mut window_start = 0;
    while let Some(required) = finder.required_range() {
        if let Some(start) = finder.fragmented_start()
            && let Some((recording_start, wanted)) = wanted.take()
        {
            let first_bytes = (window_start, &window[..]);
            let part = read_part(object, start, first_bytes, recording_start, wanted, deadline);
            if let Some(Part { tracks, copy }) = Box::pin(part).await? {
                return Ok((tracks, Some(copy)));
            }
        }
        let known = required.start.checked_sub(window_start).and_then(|at| window.get(usize::try_from(at).ok()?..));
        let mut bytes = known.unwrap_or_default().to_vec();
        let length = usize::try_from(required.end - required.start).unwrap_or(usize::MAX);
        if bytes.len() < length {
            let missing = required.start + bytes.len() as u64;
            let ahead = object.length().min(required.end.max(missing + READ_AHEAD));
            bytes.extend(object.read(missing..ahead, deadline).await?);
            if length as u64 <= READ_AHEAD {
                (window_start, window) = (required.start, bytes.clone());
            } else {
                (window_start, window) = (required.end, bytes.split_off(length)); // a large box is not kept twice
            }
        }
        bytes.truncate(length);
        finder.feed(&bytes).map_err(unusable)?;
    }
    finder.tracks().map(|tracks| (tracks, None)).map_err(unusable)
}
