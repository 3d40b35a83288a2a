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
    /// Held as long as the process lives: so others know that the folder is in use.
    _lock: File,
}

const PREFIX: &str = concat!(env!("CARGO_PKG_NAME"), "-");
const LOCK: &str = "lock";

impl Scratch {
    /// Makes a folder in `download_dest`, and removes those of processes that are no more.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new(download_dest: &Path) -> Result<Self, Error> {
        let make = || -> io::Result<Own> {
            sweep(download_dest)?;
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(download_dest)?;
            let unheld = folder.path().join("unheld");
            let lock = File::create(&unheld)?;
            lock.lock()?;
            std::fs::rename(&unheld, folder.path().join(LOCK))?; // never seen unheld while the process lives
            Ok(Own { folder, _lock: lock })
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
}

/// Removes the folders that no living process holds. One without a lock file is being made just now, or holds nothing.
fn sweep(download_dest: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(download_dest)? {
        let folder = entry?.path();
        if !folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)) {
            continue;
        }
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
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

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_a_living_one_uses_is_not() {
        let dest = TempDir::new().expect("a folder for the test");
        let killed = dest.path().join(format!("{PREFIX}killed"));
        std::fs::create_dir(&killed).expect("made");
        std::fs::write(killed.join(LOCK), "").expect("written");
        let living = Scratch::new(dest.path()).expect("made");
        assert!(!killed.exists());
        let request = living.for_request().expect("made");
        let other = Scratch::new(dest.path()).expect("made");
        assert!(request.path().exists());
        drop((living, request, other));
        assert_eq!(std::fs::read_dir(dest.path()).expect("readable").count(), 0);
    }
}
