//! Scratch space that cleans itself. Names of files in it are our own; none comes from outside.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

use crate::error::Error;

/// This process's own folder below `CLIP_DOWNLOAD_DEST`. Removed when the last clone is dropped; what a killed process
/// left is removed by the next one to start.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<Own>);

#[derive(Debug)]
struct Own {
    folder: TempDir,
    /// The folder itself, locked as long as the process lives: so others know that it is in use.
    _lock: File,
}

const PREFIX: &str = concat!(env!("CARGO_PKG_NAME"), "-");
/// Bytes that work never counts on: thumbnails, tables, and what is not foreseen.
const RESERVE: u64 = 64 << 20;
/// With less than that left, in bytes, whatever failed may have failed for want of space.
const FULL: u64 = 1 << 20;

impl Scratch {
    /// Makes a folder in `download_dest`, and removes those of processes that are no more.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new(download_dest: &Path) -> Result<Self, Error> {
        let make = || -> io::Result<Own> {
            sweep(download_dest)?;
            loop {
                let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(download_dest)?;
                let Ok(lock) = File::open(folder.path()) else { continue };
                lock.lock()?;
                // unless another process has just swept it away, not yet seeing it locked
                if folder.path().exists() {
                    return Ok(Own { folder, _lock: lock });
                }
            }
        };
        let own = make().map_err(|error| Error::passing(download_dest.display().to_string(), error))?;
        Ok(Self(Arc::new(own)))
    }

    /// A folder for one request, removed with all that is in it when dropped.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn for_request(&self) -> Result<TempDir, Error> {
        let folder = self.0.folder.path();
        TempDir::new_in(folder).map_err(|error| Error::passing(folder.display().to_string(), error))
    }

    /// Whether there is no space left. Asked after a failure that does not say so itself: a full disk makes ffmpeg's
    /// work look as if the footage were bad.
    #[must_use]
    pub fn is_full(&self) -> bool {
        free(self.0.folder.path()).is_ok_and(|free| free < FULL)
    }
}

/// Insists that `need` bytes have room in `folder`, before work begins.
///
/// # Errors
/// Passing: what others hold may be gone on the next try.
pub fn room(folder: &Path, need: u64) -> Result<(), Error> {
    let failed = |reason: String| Error::passing(folder.display().to_string(), reason);
    let free = free(folder).map_err(|error| failed(error.to_string()))?;
    match free.checked_sub(RESERVE) {
        Some(usable) if need <= usable => Ok(()),
        _ => Err(failed(format!("no room: {need} bytes are needed, {free} are free, {RESERVE} of them kept back"))),
    }
}

/// Bytes that are free on the file system of `folder`.
fn free(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Removes the folders that no living process holds.
fn sweep(download_dest: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(download_dest)? {
        let folder = entry?.path();
        if !folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
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
    use crate::error::Kind;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not() {
        let dest = TempDir::new().expect("a folder for the test");
        let killed = dest.path().join(format!("{PREFIX}killed"));
        std::fs::create_dir(&killed).expect("made");
        std::fs::write(killed.join("recording-0.mp4"), "half of it").expect("written");
        let living = Scratch::new(dest.path()).expect("made");
        assert!(!killed.exists());
        let request = living.for_request().expect("made");
        let other = Scratch::new(dest.path()).expect("made");
        assert!(request.path().exists());
        drop((living, request, other));
        assert_eq!(std::fs::read_dir(dest.path()).expect("readable").count(), 0);
    }

    #[test]
    fn processes_that_start_at_once_do_not_sweep_each_other_away() {
        let dest = TempDir::new().expect("a folder for the test");
        let all: Vec<Scratch> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Scratch::new(dest.path()).expect("made"))).collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        for scratch in &all {
            scratch.for_request().expect("its folder is there");
        }
    }

    #[test]
    fn what_does_not_fit_is_known_before_it_is_fetched() {
        let dest = TempDir::new().expect("a folder for the test");
        let error = room(dest.path(), u64::MAX).expect_err("more than there is");
        assert_eq!(error.kind, Kind::Passing);
        room(dest.path(), 7).expect("a machine with 64 MiB to spare");
    }
}
