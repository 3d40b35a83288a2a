//! Footage whose frames can be read back by number. Debian's ffmpeg draws it; the function's own ffmpeg decodes it.

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::process::Command;

use crate::frame_numbers::row_filters;
use crate::paths::footage_folder;

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Footage {
    /// Number of the first frame.
    pub first: u32,
    pub frames: u32,
    /// Frames a second, as ffmpeg writes it.
    pub rate: &'static str,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// Filters for the pictures, each after a comma.
    pub filters: &'static str,
    /// An ffmpeg source of audio.
    pub audio: Option<&'static str>,
    /// Options of the encoder and the muxer, separated by spaces.
    pub options: String,
}

/// The encoder of most cameras.
pub const X264: &str = "-c:v libx264 -preset veryfast -threads 1 -sc_threshold 0";

impl Default for Footage {
    /// Five seconds of 320 × 180 pixels at 30 frames a second, without B-frames, a key frame every 60 frames.
    fn default() -> Self {
        Self {
            first: 0,
            frames: 150,
            rate: "30",
            size: (320, 180),
            filters: "",
            audio: None,
            options: format!("{X264} -bf 0 -g 60"),
        }
    }
}

impl Footage {
    /// Returns the file. It is drawn unless an earlier test has drawn it.
    ///
    /// # Panics
    /// If ffmpeg fails.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        let Self { first, frames, rate, size: (width, height), filters, audio, options } = self;
        let folder = footage_folder();
        let recipe = format!("{self:?}");
        let path = folder.join(format!("{first}-{:x}.mp4", hash(recipe.as_bytes())));
        if path.exists() {
            return path;
        }
        let partial = tempfile::Builder::new().suffix(".mp4").tempfile_in(&folder).expect("a file").into_temp_path();
        let graph = format!(
            "{}[row];testsrc2=s={width}x{height}:r={rate},noise=alls=12:allf=t:all_seed=7[sea];\
             [sea][row]overlay=0:0,format=yuv420p,trim=end_frame={frames}{filters}",
            row_filters(*first, rate, *width)
        );
        let mut draw = Command::new("ffmpeg");
        draw.args(["-nostdin", "-y", "-v", "error", "-f", "lavfi", "-i", &graph]);
        if let Some(audio) = audio {
            draw.args(["-f", "lavfi", "-i", audio, "-c:a", "aac", "-shortest"]);
        }
        let status = draw.args(options.split(' ')).arg(&*partial).status();
        let status = status.expect("Debian's ffmpeg, which `make install` installs");
        assert!(status.success(), "cannot draw {recipe}: {status}");
        partial.persist(&path).expect("moved into place");
        path
    }
}

/// Names a recipe. Two recipes of one name would show as wrong frame numbers.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
