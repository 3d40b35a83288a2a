//! Tries an ffmpeg out, before it is trusted with footage.
//!
//! A tool that lacks a library, an encoder or a filter would fail at every clip, and its failure would look like one of the
//! footage. So one run decodes a tiny MP4, of one picture and some silence, and passes it through every encoder and the
//! hash that rendering uses.

use std::path::Path;

use crate::deadline::Deadline;
use crate::ffmpeg::command::{file_url, reading};
use crate::ffmpeg::failure::FfmpegError;
use crate::ffmpeg::memory::decoding;
use crate::ffmpeg::run::Ffmpeg;

/// One picture of 64 × 64 and three AAC frames of silence.
const TRIAL: &[u8] = include_bytes!("trial.mp4");

/// Decodes one picture and some audio, and encodes them with each encoder. `folder` holds the files meanwhile.
///
/// # Errors
/// [`FfmpegError`] says what ffmpeg cannot do; [`FfmpegError::Trial`] if it reports success and wrote no picture.
pub async fn try_out(ffmpeg: &Ffmpeg, folder: &Path, deadline: Deadline) -> Result<(), FfmpegError> {
    let disk = |source| FfmpegError::Trial { reason: format!("cannot use {}: {source}", folder.display()) };
    let (input, hashes) = (folder.join("trial.mp4"), folder.join("trial.framehash"));
    std::fs::write(&input, TRIAL).map_err(disk)?;
    let mut command = reading(ffmpeg, &[&input]);
    for (encoder, pixels) in [("libx264", "yuv420p"), ("png", "rgb24"), ("mjpeg", "yuvj420p")] {
        command
            .args(["-map", "0:v:0", "-vf", "scale=32:32", "-c:v", encoder, "-pix_fmt", pixels, "-f", "null"])
            .output("-");
    }
    command.args(["-map", "0:a:0", "-c:a", "aac", "-f", "null"]).output("-");
    command.args(["-map", "0:v:0", "-f", "framehash", "-hash", "murmur3"]).output(file_url(&hashes));
    ffmpeg.run(command, decoding(0), deadline).await?;
    let none = |_| FfmpegError::Trial { reason: "expected a list of pictures, got none".to_owned() };
    let text = std::fs::read_to_string(&hashes).map_err(none)?;
    match text.lines().filter(|line| !line.starts_with('#')).count() {
        1 => Ok(()),
        pictures => Err(FfmpegError::Trial { reason: format!("expected 1 picture, got {pictures}") }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    async fn tried(path: &Path) -> Result<(), FfmpegError> {
        let folder = TempDir::new().expect("a folder");
        let deadline = Deadline::after(Duration::from_mins(1));
        try_out(&Ffmpeg::new(path.to_owned(), None), folder.path(), deadline).await
    }

    #[tokio::test]
    async fn refuses_a_program_that_is_not_ffmpeg() {
        for path in ["/nowhere/ffmpeg", "/bin/true", "/bin/false", "/bin/sh"] {
            let error = tried(Path::new(path)).await.expect_err(path);
            assert!(!error.to_string().is_empty(), "{path}");
        }
    }
}
