//! Scratch space that cleans up after itself. File names in it are made by the engine; none comes from outside.
//!
//! Each process has a folder of its own, and each request one inside it. A folder is removed when its owner is dropped, so
//! also when a request fails, panics or runs out of time. A killed process cannot clean up, so the next one does. Each
//! process holds a lock on its folder, which tells others that it still lives. At whatever instant it is killed, its folder
//! has the mark or is empty.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// Name of a file in each scratch folder, which marks it as made here: the first file that is made in it and the last one
/// that is removed.
pub const MARK: &str = ".exact-cut-scratch";

/// Scratch folder of this process. It is removed when the last clone is dropped. The folder of a process that was killed
/// is removed by [`remove_abandoned`].
#[derive(Clone, Debug)]
pub struct Scratch(Arc<ProcessFolder>);

#[derive(Debug)]
struct ProcessFolder {
    folder: TempDir,
    /// The folder itself, locked as long as the process lives, so that other processes leave it alone.
    _lock: File,
}

impl ProcessFolder {
    /// Locks `folder`, and then marks it.
    fn hold(folder: TempDir) -> io::Result<Self> {
        let lock = File::open(folder.path())?;
        lock.lock()?;
        File::create_new(folder.path().join(MARK))?;
        Ok(Self { folder, _lock: lock })
    }
}

impl Drop for ProcessFolder {
    fn drop(&mut self) {
        let _ = remove_contents(self.folder.path()); // if it fails, so does the removal of the folder, which is left
    }
}

/// The scratch disk has too little free space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scratch disk: expected {} MiB free, got {} MiB", needed.saturating_add(RESERVE).div_ceil(1 << 20), free >> 20)]
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
pub const RESERVE: u64 = 64 << 20;
/// Scratch bytes for each byte that is encoded, as a rule of thumb: a visually lossless picture is larger than the
/// camera's, and lies there twice. A disk that fills up all the same is a transient failure.
pub const PER_ENCODED_BYTE: u64 = 6;
/// If fewer bytes are free, the disk is full.
const FULL: u64 = 1 << 20;

impl Scratch {
    /// Makes a folder in `parent`, whose name begins with `prefix`.
    ///
    /// # Errors
    /// [`ScratchCause::Disk`] if the folder cannot be made.
    pub fn new(parent: &Path, prefix: &str) -> Result<Self, ScratchError> {
        let failed = |error: io::Error| ScratchError::new(parent, error);
        loop {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent).map_err(failed)?;
            match ProcessFolder::hold(folder) {
                // until it is locked, the folder looks abandoned, and a process that starts may remove it
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                held => return held.map(|folder| Self(Arc::new(folder))).map_err(failed),
            }
        }
    }

    /// Makes a folder for one request. It is removed with all its files when it is dropped.
    ///
    /// # Errors
    /// [`ScratchCause::Disk`] if the folder cannot be made.
    pub fn request_folder(&self) -> Result<TempDir, ScratchError> {
        let folder = self.0.folder.path();
        TempDir::new_in(folder).map_err(|error| ScratchError::new(folder, error))
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

/// Checks that the disk of `folder` is not full, after work that may have filled it.
///
/// # Errors
/// [`ScratchCause::NoSpace`]: less than 1 MiB is free.
pub fn ensure_not_full(folder: &Path) -> Result<(), ScratchError> {
    let free = free_space(folder).map_err(|error| ScratchError::new(folder, error))?;
    if free < FULL { Err(ScratchError::new(folder, NoSpace { needed: 0, free })) } else { Ok(()) }
}

/// Returns the bytes that the file system which holds `folder` has for work if it is empty.
///
/// # Errors
/// [`ScratchCause::Disk`].
pub fn whole_space(folder: &Path) -> Result<u64, ScratchError> {
    let system = rustix::fs::statvfs(folder).map_err(|error| ScratchError::new(folder, io::Error::from(error)))?;
    Ok(system.f_blocks.saturating_mul(system.f_frsize).saturating_sub(RESERVE))
}

/// Returns the free bytes of the file system that holds `folder`.
pub(crate) fn free_space(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Returns the size of the file system that holds `folder`, in bytes.
///
/// # Errors
/// If the folder cannot be looked at.
pub fn disk_size(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_blocks.saturating_mul(system.f_frsize))
}

/// Removes the scratch folders of processes that have ended: folders in `parent` whose names begin with `prefix`, that no
/// process has locked, and that contain the mark of [`Scratch::new`] or nothing. Everything else is left alone, whatever
/// its name. Goes on after a failure.
///
/// # Errors
/// The first failure.
pub fn remove_abandoned(parent: &Path, prefix: &str) -> Result<(), ScratchError> {
    let entries = std::fs::read_dir(parent).map_err(|error| ScratchError::new(parent, error))?;
    let mut result = Ok(());
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir())
            && let Err(error) = remove_if_abandoned(&entry.path())
        {
            result = result.and(Err(ScratchError::new(&entry.path(), error)));
        }
    }
    result
}

fn remove_if_abandoned(folder: &Path) -> io::Result<()> {
    let Ok(lock) = File::open(folder) else { return Ok(()) }; // another process has removed it, or it is of another user
    if lock.try_lock().is_err() {
        return Ok(());
    }
    if folder.join(MARK).exists() {
        remove_contents(folder)?;
        std::fs::remove_file(folder.join(MARK))?;
    }
    match std::fs::remove_dir(folder).map_err(|error| error.kind()) {
        Err(io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) | Ok(()) => Ok(()),
        Err(kind) => Err(kind.into()),
    }
}

/// Removes everything in `folder` but the mark: if the process is killed meanwhile, the rest is recognized.
fn remove_contents(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name() == MARK {
            continue;
        }
        let is_folder = entry.file_type()?.is_dir();
        let remove = if is_folder { std::fs::remove_dir_all } else { std::fs::remove_file };
        remove(entry.path())?;
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
        std::fs::write(killed.join(MARK), "").expect("written");
        let living = Scratch::new(parent.path(), PREFIX).expect("made");
        let request = living.request_folder().expect("made");
        assert!(killed.exists(), "making a folder removes nothing");
        remove_abandoned(parent.path(), PREFIX).expect("removed");
        assert!(!killed.exists());
        let other = Scratch::new(parent.path(), PREFIX).expect("made");
        remove_abandoned(parent.path(), PREFIX).expect("nothing to remove");
        assert!(request.path().exists());
        drop((living, request, other));
        assert_eq!(std::fs::read_dir(parent.path()).expect("readable").count(), 0);
    }

    #[test]
    fn removes_what_a_process_leaves_that_is_killed_before_its_folder_is_marked() {
        let parent = TempDir::new().expect("a folder for the test");
        std::fs::create_dir(parent.path().join(format!("{PREFIX}killed"))).expect("made");
        remove_abandoned(parent.path(), PREFIX).expect("removed");
        assert_eq!(std::fs::read_dir(parent.path()).expect("readable").count(), 0);
    }

    #[test]
    fn keeps_the_mark_until_everything_else_is_removed() {
        let scratch = Scratch::new(&std::env::temp_dir(), PREFIX).expect("made");
        let folder = scratch.0.folder.path();
        std::fs::create_dir_all(folder.join("request/thumbnails")).expect("made");
        std::fs::write(folder.join("recording-0.mp4"), "half of it").expect("written");
        remove_contents(folder).expect("removed");
        let left: Vec<_> =
            std::fs::read_dir(folder).expect("readable").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, [MARK]);
    }

    #[test]
    fn leaves_files_and_folders_of_others_alone() {
        let parent = TempDir::new().expect("a folder for the test");
        let [folder, file, link, elsewhere] =
            ["folder", "file", "link", "elsewhere"].map(|name| parent.path().join(format!("{PREFIX}{name}")));
        std::fs::create_dir(&folder).expect("made");
        std::fs::write(folder.join("precious"), "not ours").expect("written");
        std::fs::write(&file, "not ours").expect("written");
        let marked = parent.path().join("marked");
        std::fs::create_dir(&marked).expect("made");
        std::fs::write(marked.join(MARK), "").expect("written");
        std::os::unix::fs::symlink(&marked, &link).expect("linked");
        remove_abandoned(parent.path(), PREFIX).expect("nothing to remove");
        assert!(folder.join("precious").exists() && file.exists() && link.exists() && marked.join(MARK).exists());
        remove_abandoned(&elsewhere, PREFIX).expect_err("no such folder");
    }

    #[test]
    fn processes_that_start_at_once_keep_each_others_folders() {
        let parent = TempDir::new().expect("a folder for the test");
        let start = || {
            remove_abandoned(parent.path(), PREFIX).expect("nothing to remove");
            Scratch::new(parent.path(), PREFIX).expect("made")
        };
        let all: Vec<Scratch> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..20).map(|_| start()).collect::<Vec<_>>())).collect();
            starts.into_iter().flat_map(|start| start.join().expect("no panic")).collect()
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
        let error = NoSpace { needed: 793 << 20 | 7, free: 412 << 20 };
        assert_eq!(error.to_string(), "scratch disk: expected 858 MiB free, got 412 MiB", "with the reserve");
        ensure_free_space(parent.path(), 7).expect("a machine with 64 MiB to spare");
    }
}
