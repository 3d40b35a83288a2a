//! Decodes files with our own ffmpeg. Any message of ffmpeg is a failure.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::frame_numbers::number;
use crate::paths::ffmpeg;

/// Returns the number of each frame of a video of that width and height, in the order in which they are shown.
#[must_use]
pub fn numbers(video: &Path, (width, height): (usize, usize)) -> Vec<u32> {
    gray(video).chunks_exact(width * height).map(|picture| number(picture, width)).collect()
}

/// Returns all pictures of a video, 8 bits of luma a pixel.
#[must_use]
pub fn gray(video: &Path) -> Vec<u8> {
    decoded(
        video,
        &["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "demux", "-pix_fmt", "gray", "-f", "rawvideo"],
    )
}

/// Takes a colour matrix out that the standard reserves (ITU-T H.273, table 4): ffmpeg's filters refuse such pictures,
/// which players show as if nothing were said.
const WITHOUT_MATRIX: [&str; 2] = ["-bsf:v", "h264_metadata=matrix_coefficients=2"];

/// Returns what ffmpeg makes of `file` with these output options.
///
/// # Panics
/// If ffmpeg fails or writes a message.
#[must_use]
pub fn decoded(file: &Path, options: &[&str]) -> Vec<u8> {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let run = |input: &[&str]| {
        let mut command = Command::new(ffmpeg());
        command
            .args(["-nostdin", "-y", "-v", "error", "-xerror", "-noautorotate", "-flags", "unaligned"])
            .args(input)
            .arg("-i")
            .arg(file);
        command.args(options).arg(raw.path()).stdin(Stdio::null()).output().expect("our ffmpeg runs")
    };
    let mut output = run(&[]);
    if String::from_utf8_lossy(&output.stderr).contains("Invalid color space") {
        output = run(&WITHOUT_MATRIX);
    }
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && messages.is_empty(), "{}, {options:?}: {messages}", file.display());
    std::fs::read(raw.path()).expect("readable")
}
