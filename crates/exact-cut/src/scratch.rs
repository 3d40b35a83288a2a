//! Scratch space that cleans up after itself. File names in it are made by the engine; none comes from outside.
//!
//! Each process has a folder of its own, and each request one inside it. A folder is removed when its owner is dropped, so
//! also when a request fails, panics or runs out of time. A killed process cannot clean up, so the next one does. Each
//! process holds a lock on its folder, which tells others that it still lives.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// Scratch folder of this process. It is removed when the last clone is dropped. The folder of a process that was killed
/// is removed by the next process to start.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<ProcessFolder>);

#[derive(Debug)]
struct ProcessFolder {
    folder: TempDir,
    /// The folder itself, locked as long as the process lives, so that other processes leave it alone.
    _lock: File,
}

/// The scratch disk has too little free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not enough free space: {needed} bytes are needed, {free} are free, {RESERVE} of them are kept in reserve")]
pub struct NoSpace {
    /// Bytes that the work needs.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// Scratch space cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", folder.display())]
pub struct ScratchError {
    /// The folder.
    pub folder: PathBuf,
    /// What went wrong with it.
    #[source]
    pub cause: ScratchCause,
}

/// Why scratch space cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScratchCause {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The disk has too little free space.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
}

impl ScratchError {
    fn new(folder: &Path, cause: impl Into<ScratchCause>) -> Self {
        Self { folder: folder.to_owned(), cause: cause.into() }
    }
}

/// Bytes that work never counts on: thumbnails, tables, and the unforeseen.
const RESERVE: u64 = 64 << 20;
/// If fewer bytes are free, a failure may have come from the full disk.
const FULL: u64 = 1 << 20;

impl Scratch {
    /// Makes a folder in `parent`, whose name begins with `prefix`, and removes those of processes that have ended.
    ///
    /// # Errors
    /// [`ScratchCause::Disk`] if the folder cannot be made.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self, ScratchError> {
        let make = || -> io::Result<ProcessFolder> {
            remove_abandoned(parent, prefix)?;
            loop {
                let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
                let Ok(lock) = File::open(folder.path()) else { continue };
                lock.lock()?;
                // another process may have removed the folder before it was locked
                if folder.path().exists() {
                    return Ok(ProcessFolder { folder, _lock: lock });
                }
            }
        };
        let folder = make().map_err(|error| ScratchError::new(parent, error))?;
        Ok(Self(Arc::new(folder)))
    }

    /// Makes a folder for one request. It is removed with all its files when it is dropped.
    ///
    /// # Errors
    /// [`ScratchCause::Disk`] if the folder cannot be made.
    pub fn request_folder(&self) -> Result<TempDir, ScratchError> {
        let folder = self.0.folder.path();
        TempDir::new_in(folder).map_err(|error| ScratchError::new(folder, error))
    }

    /// Returns whether the disk is full. Ask after a failure: a full disk makes the work of ffmpeg fail as if the footage
    /// were bad.
    #[must_use]
    pub fn is_full(&self) -> bool {
        free_space(self.0.folder.path()).is_ok_and(|free| free < FULL)
    }
}

/// Checks that `needed` bytes fit into `folder`, before work begins.
///
/// # Errors
/// [`ScratchCause::NoSpace`]: another try may find more space.
pub fn ensure_free_space(folder: &Path, needed: u64) -> Result<(), ScratchError> {
    let free = free_space(folder).map_err(|error| ScratchError::new(folder, error))?;
    match free.checked_sub(RESERVE) {
        Some(usable) if needed <= usable => Ok(()),
        _ => Err(ScratchError::new(folder, NoSpace { needed, free })),
    }
}

/// Returns the free bytes of the file system that holds `folder`.
fn free_space(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Removes folders that no living process has locked.
fn remove_abandoned(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in std::fs::read_dir(parent)? {
        let folder = entry?.path();
        if !folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)) {
            continue;
        }
        let Ok(lock) = File::open(&folder) else { continue };
        match lock.try_lock() {
            Ok(()) => std::fs::remove_dir_all(&folder)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "exact-cut-test-";

    #[test]
    fn removes_the_folder_of_a_killed_process_and_keeps_that_of_a_living_one() {
        let parent = TempDir::new().expect("a folder for the test");
        let killed = parent.path().join(format!("{PREFIX}killed"));
        std::fs::create_dir(&killed).expect("made");
        std::fs::write(killed.join("recording-0.mp4"), "half of it").expect("written");
        let living = Scratch::new(parent.path(), PREFIX).expect("made");
        assert!(!killed.exists());
        let request = living.request_folder().expect("made");
        let other = Scratch::new(parent.path(), PREFIX).expect("made");
        assert!(request.path().exists());
        drop((living, request, other));
        assert_eq!(std::fs::read_dir(parent.path()).expect("readable").count(), 0);
    }

    #[test]
    fn processes_that_start_at_once_keep_each_others_folders() {
        let parent = TempDir::new().expect("a folder for the test");
        let start = || Scratch::new(parent.path(), PREFIX).expect("made");
        let all: Vec<Scratch> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        for scratch in &all {
            scratch.request_folder().expect("the folder is there");
        }
    }

    #[test]
    fn refuses_work_that_does_not_fit() {
        let parent = TempDir::new().expect("a folder for the test");
        let error = ensure_free_space(parent.path(), u64::MAX).expect_err("more than there is");
        assert!(matches!(error.cause, ScratchCause::NoSpace(NoSpace { needed: u64::MAX, .. })));
        ensure_free_space(parent.path(), 7).expect("a machine with 64 MiB to spare");
    }
}
