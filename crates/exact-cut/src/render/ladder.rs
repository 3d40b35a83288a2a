//! The ways to make a clip, one after the other, until one succeeds: nothing is given up while a picture can be shown.
//!
//! 1. Frames are copied, and the edges are encoded.
//! 2. Samples of which the decoder shows nothing are no frames, and the clip is planned again without them. If the frame of
//!    the thumbnails is one of them, another frame is taken.
//! 3. A recording whose copied frames cannot be joined with the others is encoded.
//! 4. Everything is encoded.
//!
//! Only the footage leads down. Too little memory, disk or time, the source and the tool never do: then the request fails,
//! and another try may succeed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Cause, Error, FootageError};
use crate::open::OpenRecording;
use crate::recording_id::{PerRecording, RecordingId};

/// How often samples without a picture are taken out.
const MAX_REMOVALS: usize = 6;
/// How often another frame is tried for the thumbnails.
pub const OTHER_POSTERS: usize = 4;

/// Where on the ladder a clip stands.
#[derive(Debug, Default)]
pub struct Ladder {
    /// Attempts that were begun.
    attempts: usize,
    removals: usize,
    encoded: BTreeSet<RecordingId>,
    encodes_all: bool,
    /// Whether the plan of the last attempt had copied frames.
    pub has_copies: bool,
    /// Frames that were tried for the thumbnails and could not be decoded.
    pub posters_tried: usize,
    /// Whether the last attempt failed at the thumbnails.
    pub thumbnails_failed: bool,
}

impl Ladder {
    /// Returns a new folder inside `parent` for the next attempt, and removes that of the one before.
    ///
    /// # Errors
    /// [`Cause::Disk`].
    pub fn folder(&mut self, parent: &Path) -> Result<PathBuf, Error> {
        let folder = |attempt: usize| parent.join(format!("attempt-{attempt}"));
        let failed = |error| Error::new(parent.display().to_string(), Cause::Disk(error));
        if self.attempts > 0 {
            std::fs::remove_dir_all(folder(self.attempts)).map_err(failed)?;
        }
        self.attempts += 1;
        std::fs::create_dir(folder(self.attempts)).map_err(failed)?;
        Ok(folder(self.attempts))
    }

    /// Returns whether frames of that recording are encoded although they could be copied.
    #[must_use]
    pub fn encodes(&self, recording: RecordingId) -> bool {
        self.encodes_all || self.encoded.contains(&recording)
    }

    /// Goes to the next way after `error` of the footage, if there is one.
    pub fn step_down(&mut self, error: &Error, recordings: &mut PerRecording<Arc<OpenRecording>>) -> bool {
        let named = recordings.iter().find(|(_, recording)| recording.object.name() == error.object).map(|(id, _)| id);
        if let (Cause::Footage(FootageError::Undecodable(samples)), Some(id)) = (&error.cause, named)
            && self.removals < MAX_REMOVALS
        {
            self.removals += 1;
            return Arc::make_mut(&mut recordings[id]).remove_frames(samples);
        }
        if std::mem::take(&mut self.thumbnails_failed) && self.posters_tried < OTHER_POSTERS {
            self.posters_tried += 1;
            return true;
        }
        if !self.has_copies {
            return false;
        }
        match named {
            Some(id) if self.encoded.insert(id) => true,
            _ => !std::mem::replace(&mut self.encodes_all, true),
        }
    }
}
