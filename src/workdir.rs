//! Scratch space that cleans itself. Names of files in it are our own; none comes from outside.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::Error;

/// The function's own folder below `CLIP_DOWNLOAD_DEST`.
#[derive(Clone, Debug)]
pub struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// Takes over the folder, and empties it of what a killed predecessor left.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn new(download_dest: &Path) -> Result<Self, Error> {
        let root = download_dest.join(env!("CARGO_PKG_NAME"));
        let failed = |error: std::io::Error| Error::passing(root.display().to_string(), error);
        match std::fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
            _ => std::fs::create_dir_all(&root).map_err(failed)?,
        }
        Ok(Self { root })
    }

    /// A folder for one request, removed with all that is in it when dropped.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn for_request(&self) -> Result<TempDir, Error> {
        TempDir::new_in(&self.root).map_err(|error| Error::passing(self.root.display().to_string(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_predecessor_left_is_gone_and_so_is_what_a_request_wrote() {
        let dest = TempDir::new().expect("a folder for the test");
        let left = Scratch::new(dest.path()).expect("made").root.join("left");
        std::fs::write(&left, "over").expect("written");
        let scratch = Scratch::new(dest.path()).expect("taken over");
        assert!(!left.exists());
        let request = scratch.for_request().expect("made");
        let file = request.path().join("clip.mp4");
        std::fs::write(&file, "clip").expect("written");
        drop(request);
        assert!(!file.exists() && scratch.root.exists());
    }
}
