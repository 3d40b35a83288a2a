//! What a video shows, by a full decode: independent of how the engine reads its tables.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use testkit::decode::decoded;
use testkit::frame_numbers::number;

/// All frames of a video, in the order in which they are shown.
pub struct Film {
    file: PathBuf,
    full_range: bool,
    pub size: (usize, usize),
    /// When each frame is shown, in microseconds after the first.
    pub times_us: Vec<f64>,
    /// End of the last frame.
    pub end_us: f64,
    /// The same as the track states it: durations belong to the decode order.
    pub stated_end_us: f64,
    /// Luma and chroma of each frame, 4:2:0.
    pub pictures: Vec<Vec<u8>>,
    /// The number in each frame.
    pub numbers: Vec<u32>,
    /// There is no audio track.
    pub silent: bool,
}

impl Film {
    pub fn of(file: &Path, full_range: bool) -> Self {
        let probed = probe(file, "v:0", "frame=pts,pkt_duration:stream=time_base,width,height,duration_ts");
        let stream = &probed["streams"][0];
        let (numerator, denominator) =
            stream["time_base"].as_str().and_then(|base| base.split_once('/')).expect("a time base");
        let tick = 1e6 * numerator.parse::<f64>().expect("a number") / denominator.parse::<f64>().expect("a number");
        let length = |field: &str| usize::try_from(stream[field].as_u64().expect("a size")).expect("small");
        let size = (length("width"), length("height"));
        let frames = probed["frames"].as_array().expect("frames");
        let pts = |frame: &Value| frame["pts"].as_i64().expect("a time");
        let first = pts(&frames[0]);
        #[allow(clippy::cast_precision_loss)] // times of a few minutes
        let times_us: Vec<f64> = frames.iter().map(|frame| (pts(frame) - first) as f64 * tick).collect();
        #[allow(clippy::cast_precision_loss)]
        let last = frames[frames.len() - 1]["pkt_duration"].as_i64().unwrap_or(1) as f64 * tick;
        let pictures = pictures(file, full_range, size, "null");
        assert_eq!(pictures.len(), times_us.len(), "{}: ffmpeg and ffprobe see the same frames", file.display());
        let numbers = pictures.iter().map(|picture| number(&picture[..size.0 * size.1], size.0)).collect();
        #[allow(clippy::cast_precision_loss)]
        let stated_end_us = stream["duration_ts"].as_i64().unwrap_or(0) as f64 * tick;
        let end_us = times_us[times_us.len() - 1] + last;
        let silent = probe(file, "a", "stream=index")["streams"].as_array().is_none_or(Vec::is_empty);
        Self { file: file.to_owned(), silent, full_range, size, times_us, end_us, stated_end_us, pictures, numbers }
    }

    /// Returns the pictures in another size.
    pub fn scaled(&self, (width, height): (usize, usize)) -> Vec<Vec<u8>> {
        pictures(&self.file, self.full_range, (width, height), &format!("scale={width}:{height}:flags=bicubic"))
    }
}

/// Decodes a video. Any message of ffmpeg is a failure.
fn pictures(file: &Path, full_range: bool, (width, height): (usize, usize), filter: &str) -> Vec<Vec<u8>> {
    let format = if full_range { "yuvj420p" } else { "yuv420p" };
    let options = ["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", filter, "-pix_fmt", format, "-f", "rawvideo"];
    let bytes = decoded(file, &options);
    let chroma = 2 * width.div_ceil(2) * height.div_ceil(2);
    bytes.chunks_exact(width * height + chroma).map(<[u8]>::to_vec).collect()
}

/// Returns what ffprobe says of a file.
fn probe(file: &Path, streams: &str, entries: &str) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-select_streams", streams, "-show_entries", entries])
        .arg(file)
        .output()
        .expect("Debian's ffprobe, which `make install` installs");
    assert!(output.status.success(), "ffprobe {}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Returns when beeps begin in the audio of a file, in microseconds, and the length of the audio.
pub fn beeps_us(file: &Path, rate: u32) -> (Vec<f64>, f64) {
    let (one_channel, rate_named) = (["-map", "0:a:0", "-ac", "1", "-ar"], rate.to_string());
    let bytes = decoded(file, &[&one_channel[..], &[&rate_named, "-c:a", "pcm_s16le", "-f", "s16le"]].concat());
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    #[allow(clippy::cast_precision_loss)]
    let us = |sample: usize| sample as f64 * 1e6 / f64::from(rate);
    let (mut beeps, mut quiet_since) = (Vec::new(), 0);
    let mut sounding = false;
    for (at, sample) in samples.iter().enumerate() {
        if sample.unsigned_abs() > 6000 {
            if !sounding && (at == 0 || at - quiet_since > rate as usize / 20) {
                beeps.push(us(at));
            }
            sounding = true;
            quiet_since = at;
        } else if at - quiet_since > rate as usize / 50 {
            sounding = false;
        }
    }
    (beeps, us(samples.len()))
}
