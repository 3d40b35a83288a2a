//! What a video shows, by a full decode: independent of how the engine reads its tables.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use testkit::decode::decoded;
use testkit::frame_numbers::read;

/// All frames of a video, in the order in which they are shown.
#[derive(Clone)]
pub struct Film {
    file: PathBuf,
    full_range: bool,
    /// ffmpeg filters, each before a comma, that turn what is decoded into what is shown.
    filters: &'static str,
    /// The frames of the file that belong to the film.
    kept: Range<usize>,
    /// When the film begins, in microseconds after the start of its recording, then after the opening of the zoo.
    pub start_us: f64,
    pub size: (usize, usize),
    /// Width by height of the picture as it is displayed.
    pub displayed: f64,
    /// When each frame is shown, in microseconds after the first.
    pub times_us: Vec<f64>,
    /// End of the last frame.
    pub end_us: f64,
    /// The same as the track states it: durations belong to the decode order.
    pub stated_end_us: f64,
    /// Luma and chroma of each frame, 4:2:0.
    pub pictures: Vec<Arc<[u8]>>,
    /// The number in each frame, if it can be read; nothing if they are not to be read.
    pub numbers: Vec<Option<u32>>,
    /// When beeps begin, in microseconds after the start of the film; nothing if there is no audio track.
    pub beeps_us: Vec<f64>,
}

impl Film {
    pub fn of(file: &Path, full_range: bool) -> Self {
        Self::filtered(file, full_range, ("", None))
    }

    /// Returns the film that `filters` make of a video, each before a comma, in a size that they may change.
    pub fn filtered(file: &Path, full_range: bool, (filters, size): (&'static str, Option<(usize, usize)>)) -> Self {
        let probed = probe(file);
        let stream = &probed["streams"][0];
        let (numerator, denominator) =
            stream["time_base"].as_str().and_then(|base| base.split_once('/')).expect("a time base");
        let tick = 1e6 * numerator.parse::<f64>().expect("a number") / denominator.parse::<f64>().expect("a number");
        let length = |field: &str| usize::try_from(stream[field].as_u64().expect("a size")).expect("small");
        let size = size.unwrap_or((length("width"), length("height")));
        let frames = probed["frames"].as_array().expect("frames");
        let pts = |frame: &Value| frame["pts"].as_i64().expect("a time");
        let first = pts(&frames[0]);
        #[allow(clippy::cast_precision_loss)] // times of a few minutes
        let times_us: Vec<f64> = frames.iter().map(|frame| (pts(frame) - first) as f64 * tick).collect();
        #[allow(clippy::cast_precision_loss)]
        let last = frames[frames.len() - 1]["pkt_duration"].as_i64().unwrap_or(1) as f64 * tick;
        let pictures = pictures(file, full_range, size, &format!("{filters}null"));
        assert_eq!(pictures.len(), times_us.len(), "{}: ffmpeg and ffprobe see the same frames", file.display());
        let numbers = pictures.iter().map(|picture| number_in(picture, size)).collect();
        #[allow(clippy::cast_precision_loss)]
        let stated_end_us = stream["duration_ts"].as_i64().unwrap_or(0) as f64 * tick;
        let end_us = times_us[times_us.len() - 1] + last;
        let heard = std::fs::read(file).expect("readable").windows(4).any(|handler| handler == b"soun");
        let beeps_us = if heard { (0..60).map(|k| f64::from(k) * 5e5).collect() } else { Vec::new() };
        let (kept, displayed) = (0..pictures.len(), displayed(stream, size));
        Self {
            file: file.to_owned(),
            full_range,
            filters,
            kept,
            start_us: 0.0,
            size,
            displayed,
            times_us,
            end_us,
            stated_end_us,
            pictures,
            numbers,
            beeps_us,
        }
    }

    /// Keeps only these frames. The film begins when the first of them is shown.
    pub fn only(&self, frames: Range<usize>) -> Self {
        let since = self.times_us[frames.start];
        let end_us = self.times_us.get(frames.end).copied().unwrap_or(self.end_us) - since;
        Self {
            kept: self.kept.start + frames.start..self.kept.start + frames.end,
            start_us: self.start_us + since,
            times_us: self.times_us[frames.clone()].iter().map(|time| time - since).collect(),
            end_us,
            stated_end_us: end_us,
            pictures: self.pictures[frames.clone()].to_vec(),
            numbers: self.numbers[frames].to_vec(),
            beeps_us: self.beeps_us.iter().map(|beep| beep - since).filter(|&beep| beep >= 0.0).collect(),
            ..self.clone()
        }
    }

    /// Leaves out a frame; the one before is held.
    pub fn without(mut self, frame: usize) -> Self {
        self.times_us.remove(frame);
        self.pictures.remove(frame);
        self.numbers.remove(frame);
        self
    }

    /// Shows each frame at another time: `retime` gets its number and its time in microseconds.
    pub fn retimed(self, retime: impl Fn(usize, f64) -> f64) -> Self {
        let times_us: Vec<f64> = self.times_us.iter().enumerate().map(|(frame, &time)| retime(frame, time)).collect();
        let last = self.end_us - self.times_us[self.times_us.len() - 1];
        Self { end_us: times_us[times_us.len() - 1] + last, times_us, ..self }
    }

    /// Begins later, or, where that is negative, sooner.
    pub fn later(self, by_us: f64) -> Self {
        Self { start_us: self.start_us + by_us, ..self }
    }

    /// Beeps at other times.
    pub fn beeping(self, beeps_us: Vec<f64>) -> Self {
        Self { beeps_us, ..self }
    }

    /// Has numbers that cannot be read, because the pictures are turned.
    pub fn without_numbers(self) -> Self {
        Self { numbers: Vec::new(), ..self }
    }

    /// Is displayed in another shape: width by height.
    pub fn displayed(self, (width, height): (u32, u32)) -> Self {
        Self { displayed: f64::from(width) / f64::from(height), ..self }
    }

    /// Returns the pictures in another size, after these filters, each before a comma.
    pub fn through(&self, size: (usize, usize), filters: &str) -> Vec<Arc<[u8]>> {
        let filters = format!("{}{filters}null", self.filters);
        pictures(&self.file, self.full_range, size, &filters)[self.kept.clone()].to_vec()
    }
}

/// Returns the number in a picture of the zoo.
fn number_in(picture: &[u8], size: (usize, usize)) -> Option<u32> {
    number_at(picture, size.0, size, (0, 0, size.0, size.1))
}

/// Returns the number in a part of a picture that is `stride` pixels wide: x, y, width and height of a picture that was
/// drawn in the size `drawn`.
pub fn number_at(
    picture: &[u8],
    stride: usize,
    drawn: (usize, usize),
    (x, y, width, height): (usize, usize, usize, usize),
) -> Option<u32> {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels
    let pixel = |fraction: f64, side: usize| (fraction * side as f64) as usize;
    read(drawn, |fx, fy| picture[(y + pixel(fy, height)) * stride + x + pixel(fx, width)])
}

/// Returns width by height of the picture as ffmpeg displays it.
fn displayed(stream: &Value, (width, height): (usize, usize)) -> f64 {
    #[allow(clippy::cast_precision_loss)] // pixels
    let stored = width as f64 / height as f64;
    let pixel = stream["sample_aspect_ratio"].as_str().and_then(|pixel| pixel.split_once(':'));
    let pixel = pixel.and_then(|(width, height)| Some((width.parse::<f64>().ok()?, height.parse::<f64>().ok()?)));
    let shape = stored * pixel.filter(|pixel| pixel.0 * pixel.1 > 0.0).map_or(1.0, |(width, height)| width / height);
    let turned = stream["side_data_list"].as_array().into_iter().flatten().find_map(|data| data["rotation"].as_i64());
    if turned.unwrap_or(0) % 180 == 0 { shape } else { 1.0 / shape }
}

/// Decodes a video. Any message of ffmpeg is a failure.
fn pictures(file: &Path, full_range: bool, (width, height): (usize, usize), filter: &str) -> Vec<Arc<[u8]>> {
    let format = if full_range { "yuvj420p" } else { "yuv420p" };
    let options = [
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        "-enc_time_base",
        "demux",
        "-vf",
        filter,
        "-pix_fmt",
        format,
        "-f",
        "rawvideo",
    ];
    let bytes = decoded(file, &options);
    let chroma = 2 * width.div_ceil(2) * height.div_ceil(2);
    bytes.chunks_exact(width * height + chroma).map(Arc::from).collect()
}

/// Returns what ffprobe says of a file.
fn probe(file: &Path) -> Value {
    const ENTRIES: &str = "frame=pts,pkt_duration:stream=time_base,width,height,duration_ts,sample_aspect_ratio:stream_side_data=rotation";
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-select_streams", "v:0", "-show_entries", ENTRIES])
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
