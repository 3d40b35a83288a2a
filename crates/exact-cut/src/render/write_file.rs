//! Executes a clip layout. [`ClipExecutor`] turns a layout into bytes somewhere; [`WriteFile`] writes them to a file.
//!
//! Pieces are read by offset (`pread`), never by seeking: the same source files are read at the same time by verification,
//! and a file description has one seek position. The file is written once and in order, and then read back and compared
//! with its pieces, because what is on the disk is what is uploaded.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::blocking::blocking;
use crate::error::{Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::mux::layout::{ClipLayout, Piece, PieceSource};
use crate::recording_id::PerRecording;

/// The local files that hold the bytes of a clip's pieces.
#[derive(Clone, Debug, Default)]
pub struct PieceFiles {
    recordings: PerRecording<Arc<File>>,
    encoded: Vec<Arc<File>>,
}

impl PieceFiles {
    /// Returns the sparse copies of the recordings.
    #[must_use]
    pub fn of(recordings: &PerRecording<FetchedRecording>) -> Self {
        Self { recordings: recordings.map(|recording| Arc::clone(&recording.copy.file)), encoded: Vec::new() }
    }

    /// Adds a file of encoded bytes, and returns the source of its pieces.
    pub fn add(&mut self, file: Arc<File>) -> PieceSource {
        self.encoded.push(file);
        PieceSource::Encoded(self.encoded.len() - 1)
    }

    /// Returns the file that holds the bytes of `source`.
    ///
    /// # Panics
    /// If `source` is not one of these.
    #[must_use]
    pub fn file(&self, source: PieceSource) -> &File {
        match source {
            PieceSource::Recording(id) => &self.recordings[id],
            PieceSource::Encoded(number) => &self.encoded[number],
        }
    }
}

/// Turns the layout of a clip into bytes somewhere. It runs while the layout is verified, so what it made counts only once
/// rendering has succeeded.
pub trait ClipExecutor: Send + Sync {
    /// Executes `layout`, whose pieces lie in `files`.
    fn execute(&self, layout: Arc<ClipLayout>, files: PieceFiles) -> BoxFuture<'_, Result<(), Error>>;
}

/// Writes a clip to a file, and compares the file with its pieces.
#[derive(Clone, Debug)]
pub struct WriteFile {
    /// Path of the file.
    pub path: PathBuf,
}

impl ClipExecutor for WriteFile {
    fn execute(&self, layout: Arc<ClipLayout>, files: PieceFiles) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let file = write_file(&self.path, Arc::clone(&layout), files.clone()).await?;
            let same = blocking(move || reads_back(&layout, &files, &file)).await;
            let name = || self.path.display().to_string();
            if same.map_err(|error| Error::new(name(), error))? {
                Ok(())
            } else {
                let differs =
                    FootageError::Verification("file: expected the bytes of its layout, got others".to_owned());
                Err(Error::footage(name(), differs))
            }
        })
    }
}

/// Writes `layout` to a new file at `path`.
///
/// # Errors
/// [`Cause::Disk`](crate::error::Cause::Disk) if the disk is full or a piece cannot be read.
pub async fn write_file(path: &Path, layout: Arc<ClipLayout>, files: PieceFiles) -> Result<File, Error> {
    let failed = |error| Error::new(path.display().to_string(), error);
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path).map_err(failed)?;
    blocking(move || write(&layout, &files, &file).map(|()| file)).await.map_err(failed)
}

/// Bytes that are copied or compared at once.
const BLOCK: usize = 256 << 10;

/// Several layouts are written at the same time out of the same files, so a read never moves a file's position.
fn write(layout: &ClipLayout, files: &PieceFiles, file: &File) -> std::io::Result<()> {
    let mut writer = BufWriter::new(file);
    writer.write_all(&layout.header)?;
    let mut block = vec![0; BLOCK];
    for Piece { source, range } in &layout.pieces {
        for start in range.clone().step_by(BLOCK) {
            let block = &mut block[..block_length(start, range.end)];
            files.file(*source).read_exact_at(block, start)?;
            writer.write_all(block)?;
        }
    }
    writer.flush()
}

fn block_length(start: u64, end: u64) -> usize {
    usize::try_from(end - start).unwrap_or(BLOCK).min(BLOCK)
}

/// Returns whether `file` holds the bytes of `layout`.
fn reads_back(layout: &ClipLayout, files: &PieceFiles, file: &File) -> std::io::Result<bool> {
    let mut written = vec![0; layout.header.len()];
    file.read_exact_at(&mut written, 0)?;
    if file.metadata()?.len() != layout.length() || written != layout.header {
        return Ok(false);
    }
    let (mut expected, mut written) = (vec![0; BLOCK], vec![0; BLOCK]);
    let mut at = layout.header.len() as u64;
    for Piece { source, range } in &layout.pieces {
        for start in range.clone().step_by(BLOCK) {
            let length = block_length(start, range.end);
            files.file(*source).read_exact_at(&mut expected[..length], start)?;
            file.read_exact_at(&mut written[..length], at)?;
            if expected[..length] != written[..length] {
                return Ok(false);
            }
            at += length as u64;
        }
    }
    Ok(true)
}
