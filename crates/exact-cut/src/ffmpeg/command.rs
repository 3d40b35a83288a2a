//! Command lines of ffmpeg.

use std::path::Path;

use ffmpeg_sidecar::command::FfmpegCommand;

use crate::ffmpeg::launcher::FILE_PROTOCOL;
use crate::ffmpeg::run::Ffmpeg;

/// The largest picture that is decoded, in pixels: 8192 by 4320.
const MAX_PIXELS: &str = "35389440";
/// Threads of a decoder. With two, a damaged picture comes out differently from one run to the next. Nor is one slower:
/// verification runs two decoders at once.
pub const DECODER_THREADS: &str = "1";

/// Returns `path` as ffmpeg's `file` protocol takes it. Such a name is never read as another protocol or an option.
#[must_use]
pub fn file_url(path: &Path) -> String {
    format!("{FILE_PROTOCOL}{}", path.display())
}

/// A file of pictures.
#[derive(Clone, Copy, Debug)]
pub struct Pictures<'a> {
    /// The file.
    pub path: &'a Path,
    /// Bitstream filter that its samples must pass before they are decoded, if any.
    pub filter: Option<&'static str>,
}

/// Returns a command that writes a line for each picture of `input` into `list`: among other things its time and a hash of
/// its pixels. MD5 takes twice as long as the decoding.
#[must_use]
pub fn hashing(ffmpeg: &Ffmpeg, input: Pictures<'_>, list: &Path) -> FfmpegCommand {
    let mut command = reading_pictures(ffmpeg, input);
    command.args(["-map", "0:v:0"]).fps_mode("passthrough").format("framehash");
    command.args(["-hash", "murmur3"]).output(file_url(list));
    command
}

/// Returns a command that reads pictures, as [`reading`] does.
#[must_use]
pub fn reading_pictures(ffmpeg: &Ffmpeg, Pictures { path, filter }: Pictures<'_>) -> FfmpegCommand {
    let mut command = quiet(ffmpeg);
    if let Some(filter) = filter {
        command.args(["-bsf:v", filter]);
    }
    add_input(&mut command, path);
    command
}

/// Returns a command that reads each of `inputs` as MP4 and nothing else. Without that limit, a text file named like a
/// recording makes ffmpeg read other files.
#[must_use]
pub fn reading(ffmpeg: &Ffmpeg, inputs: &[&Path]) -> FfmpegCommand {
    let mut command = quiet(ffmpeg);
    for input in inputs {
        add_input(&mut command, input);
    }
    command
}

fn quiet(ffmpeg: &Ffmpeg) -> FfmpegCommand {
    let mut command = FfmpegCommand::new_with_path(ffmpeg.path());
    // -copyts: ffmpeg would otherwise count times from the first one that it reads
    command.hide_banner().overwrite().args(["-nostdin", "-loglevel", "error", "-copyts"]);
    command
}

/// Adds a file to what a command reads, as [`reading`] does.
///
/// `unaligned`: ffmpeg otherwise crops on the left only by what keeps rows aligned in memory, and shows the picture shifted
/// (libavutil/frame.h, `AV_FRAME_CROP_UNALIGNED`).
pub fn add_input(command: &mut FfmpegCommand, input: &Path) {
    command
        .args([
            "-threads",
            DECODER_THREADS,
            "-flags",
            "unaligned",
            "-protocol_whitelist",
            "file",
            "-f",
            "mov",
            "-max_pixels",
            MAX_PIXELS,
        ])
        .arg("-noautorotate")
        .input(file_url(input));
}
