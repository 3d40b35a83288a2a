//! The last way to read a recording: ffmpeg's own reader of MP4. It knows files that this crate refuses, such as those with
//! a compressed `moov` box or with more boxes than are walked over. It needs the whole object, writes the samples as they are
//! into a plain file, and that file is read in place of the object.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::deadline::Deadline;
use crate::error::{Cause, Error, FootageError};
use crate::ffmpeg::command::{file_url, reading};
use crate::mp4::Mp4Error;
use crate::open::{ListedRecording, OpenRecording, Recordings, UnreadableRecording, open_recording};
use crate::render::context::RenderContext;
use crate::scratch::ensure_free_space;
use crate::source::{LocalFile, OpenedObject, PinnedObject, READ_AHEAD, RecordingStore, SourceError};
use crate::time::{Span, Timestamp};

/// Bytes of memory that ffmpeg takes to copy samples from file to file: its own, and those of large sample tables.
const MEMORY: u64 = 192 << 20;
/// What is copied, one after the other until it succeeds: sound that cannot be copied costs only the sound.
const STREAMS: [&[&str]; 2] = [&["-map", "0:V:0", "-map", "0:a?"], &["-map", "0:V:0"]];

impl Recordings {
    /// Reads recordings through ffmpeg that this crate refuses and that may show some of `gaps`. Those that ffmpeg cannot read
    /// either stay as they are. Returns whether there are new ones.
    ///
    /// # Errors
    /// The error of the source, of the disk, or of ffmpeg where the footage is not the reason.
    pub async fn read_through_ffmpeg(
        &mut self,
        store: &dyn RecordingStore,
        gaps: &[Span],
        cx: RenderContext<'_>,
    ) -> Result<bool, Error> {
        let (refused, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.unreadable)
            .into_iter()
            .partition(|one| may_be_read_by_ffmpeg(&one.error.cause) && one.listed.may_show_any(gaps));
        self.unreadable = others;
        let mut read = Vec::new();
        for one in refused {
            match Box::pin(remuxed(store, &one.listed, cx)).await {
                Ok(recording) => {
                    cx.observer.stepped_down(&one.error);
                    read.push(Arc::new(recording));
                }
                Err(error) if error.cause.is_footage() => self.unreadable.push(one),
                Err(error) => return Err(error),
            }
        }
        let changed = !read.is_empty();
        let opened = std::mem::take(&mut self.opened).into_entries().map(|(_, recording)| recording);
        let mut opened: Vec<Arc<OpenRecording>> = opened.chain(read).collect();
        opened.sort_by(|a, b| a.listed.cmp(&b.listed));
        self.opened = opened.into_iter().collect();
        self.unreadable.sort_by(|a: &UnreadableRecording, b| a.listed.cmp(&b.listed));
        Ok(changed)
    }
}

/// Returns whether ffmpeg may read what this crate refuses. It reads no more than this crate of a file without a `moov` box,
/// and of encrypted ones.
const fn may_be_read_by_ffmpeg(cause: &Cause) -> bool {
    let Cause::Footage(FootageError::Mp4(error)) = cause else { return false };
    matches!(
        error,
        Mp4Error::TablesTooLarge
            | Mp4Error::TooManyBoxes { .. }
            | Mp4Error::TooManySamples { .. }
            | Mp4Error::NoVideoTrack
            | Mp4Error::NoFrame
            | Mp4Error::EditsOverlap
            | Mp4Error::NoSampleEntry
    )
}

/// Opens what ffmpeg makes of a recording.
async fn remuxed(
    store: &dyn RecordingStore,
    listed: &ListedRecording,
    cx: RenderContext<'_>,
) -> Result<OpenRecording, Error> {
    let object = store.open(&listed.name, READ_AHEAD, cx.deadline).await?.object;
    // the object, and its samples once more
    ensure_free_space(cx.folder, object.length().saturating_mul(2))?;
    let [input, output] = ["object.mp4", "remuxed.mov"].map(|name| cx.folder.join(name));
    let disk = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Error::new(path, error)
    };
    let file = Arc::new(File::create(&input).map_err(disk(&input))?);
    let everything = 0..object.length();
    object.fetch(std::slice::from_ref(&everything), file, cx.deadline).await?;
    let mut result = Err(Error::footage(object.name(), Mp4Error::NoVideoTrack));
    for streams in STREAMS {
        let mut command = reading(cx.ffmpeg, &[&input]);
        command.args(streams).args(["-c", "copy", "-f", "mov"]).output(file_url(&output));
        result = cx.run_ffmpeg(command, MEMORY, object.name()).await;
        if result.as_ref().err().is_none_or(|error| !error.cause.is_footage()) {
            break;
        }
    }
    std::fs::remove_file(&input).map_err(disk(&input))?;
    result?;
    let local = LocalFile::open(&output).map_err(disk(&output))?;
    std::fs::remove_file(&output).map_err(disk(&output))?; // it lives as long as it is open
    let remuxed: Arc<dyn PinnedObject> = Arc::new(Remuxed { local, object });
    let first_bytes = remuxed.read(0..remuxed.length().min(READ_AHEAD), cx.deadline).await?;
    open_recording(listed.clone(), OpenedObject { first_bytes, object: remuxed }, None, cx.deadline).await
}

/// What ffmpeg made of an object. It goes by the object's name.
#[derive(Debug)]
struct Remuxed {
    local: LocalFile,
    object: Arc<dyn PinnedObject>,
}

impl PinnedObject for Remuxed {
    fn name(&self) -> &str {
        self.object.name()
    }

    fn length(&self) -> u64 {
        self.local.length()
    }

    fn modified(&self) -> Option<Timestamp> {
        self.object.modified()
    }

    fn read(&self, range: Range<u64>, deadline: Deadline) -> BoxFuture<'_, Result<Vec<u8>, SourceError>> {
        self.local.read(range, deadline)
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.local.fetch(ranges, file, deadline)
    }
}
