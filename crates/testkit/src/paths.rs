//! Places in the workspace.

use std::path::{Path, PathBuf};

/// Returns the root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the kit lies two folders below the root")
        .to_owned()
}

/// Returns the folder for files that tests make and later runs use again.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn kept_files() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    let folder = target.join("tmp");
    std::fs::create_dir_all(&folder).expect("a folder for the files of tests");
    folder
}

/// Returns the folder for footage.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn footage_folder() -> PathBuf {
    let folder = kept_files().join("footage");
    std::fs::create_dir_all(&folder).expect("a folder for footage");
    folder
}

/// Returns our own ffmpeg.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn ffmpeg() -> PathBuf {
    let path = workspace().join("layers/ffmpeg/opt/bin/ffmpeg");
    assert!(path.exists(), "{} is missing: run `make ffmpeg`, which builds it", path.display());
    path
}
