//! A film, its recordings, and clips of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use exact_cut::budget::Budget;
use exact_cut::compare::resolve_overlaps;
use exact_cut::deadline::Deadline;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::fragmented::WantedPart;
use exact_cut::observer::NoObserver;
use exact_cut::open::{OpenRecording, open_recordings};
use exact_cut::plan::coverage::{Coverage, Tolerances};
use exact_cut::plan::segments::TrimMode;
use exact_cut::recording_id::PerRecording;
use exact_cut::render::clip::{ClipSpec, render};
use exact_cut::render::context::RenderContext;
use exact_cut::render::thumbnails::{PictureFormat, ThumbnailSpec};
use exact_cut::render::write_file::WriteFile;
use exact_cut::{ListedRecording, LocalFolder, Span, Timestamp};
use tempfile::TempDir;
use testkit::footage::Footage;
use testkit::paths::{ffmpeg, footage_folder};

/// 2018-09-16T17:30:17.000Z, when the film begins.
pub const T0: i64 = 1_537_119_017_000_000;

/// A film and its recordings.
pub struct Film {
    /// The whole film.
    pub whole: PathBuf,
    /// Its recordings, in order.
    pub files: Vec<PathBuf>,
    /// When each recording begins, in microseconds after the start of the film.
    pub starts_us: Vec<i64>,
}

impl Film {
    /// Cuts the film of `footage` into recordings of about `length_s` seconds.
    pub fn new(name: &str, footage: &Footage, length_s: u32) -> Self {
        let whole = footage.file();
        let folder = footage_folder().join(format!("{}-{name}-{length_s}", file_stem(&whole)));
        if !folder.exists() {
            let partial = TempDir::new_in(footage_folder()).expect("a folder");
            let status = Command::new("ffmpeg")
                .args(["-nostdin", "-v", "error", "-i"])
                .arg(&whole)
                .args(["-map", "0", "-c", "copy", "-f", "segment", "-reset_timestamps", "1"])
                .args(["-segment_time", &length_s.to_string()])
                .arg(partial.path().join("%03d.mp4"))
                .status();
            assert!(status.expect("Debian's ffmpeg, which `make install` installs").success());
            if let Err(error) = std::fs::rename(partial.keep(), &folder) {
                assert!(folder.exists(), "{}: {error}", folder.display()); // another test was faster
            }
        }
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        let frames = files.iter().map(|file| frame_count(file));
        let rate = rate(footage.rate);
        let starts_us = frames.scan(0, |first, frames| {
            let start_us = frame_us(*first, rate);
            *first += frames;
            Some(start_us)
        });
        Self { starts_us: starts_us.collect(), whole, files }
    }

    /// Returns the recordings, each with a name that is off by what `off` says of its number and start, in microseconds.
    pub fn named(&self, off: impl Fn(usize, i64) -> i64) -> Vec<ListedRecording> {
        let named = self.files.iter().zip(&self.starts_us).enumerate();
        let mut listed: Vec<ListedRecording> = named
            .map(|(number, (file, &start_us))| ListedRecording {
                start: Timestamp::from_us(T0 + start_us + off(number, start_us)),
                name: file.display().to_string(),
                end: None,
            })
            .collect();
        listed.sort();
        listed
    }
}

/// Returns frames a second as a fraction.
pub fn rate(rate: &str) -> (i64, i64) {
    let (frames, seconds) = rate.split_once('/').unwrap_or((rate, "1"));
    (frames.parse().expect("a number"), seconds.parse().expect("a number"))
}

/// Returns when frame number `frame` is shown, in microseconds, rounded down.
pub fn frame_us(frame: i64, (frames, seconds): (i64, i64)) -> i64 {
    frame * seconds * 1_000_000 / frames
}

fn file_stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

fn frame_count(file: &Path) -> i64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_packets", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=nb_read_packets"])
        .arg(file)
        .output()
        .expect("Debian's ffprobe, which `make install` installs");
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().expect("a number of packets")
}

/// Opens recordings as a request does.
pub async fn open(listed: Vec<ListedRecording>, span: Span, joint_us: i64) -> PerRecording<Arc<OpenRecording>> {
    let folder = TempDir::new().expect("a folder");
    let wanted = WantedPart { span, joint_us, folder: folder.path() };
    let recordings = open_recordings(&LocalFolder::new("/"), listed, wanted, Deadline::unknown()).await;
    let recordings = recordings.expect("readable");
    resolve_overlaps(recordings.opened, joint_us, Deadline::unknown()).await.expect("readable")
}

/// A clip on disk.
pub struct Clip {
    scratch: TempDir,
    pub coverage: Coverage,
}

impl Clip {
    /// Cuts the span `from_us..to_us` of the film, with the default tolerances but for that of joints.
    pub async fn cut(listed: &[ListedRecording], (from_us, to_us): (i64, i64), joint_us: i64) -> Self {
        let span = Span::new(Timestamp::from_us(T0 + from_us), Timestamp::from_us(T0 + to_us)).expect("in order");
        let near = listed.iter().filter(|recording| recording.may_show(span.extended_by(joint_us)));
        let opened = open(near.cloned().collect(), span, joint_us).await;
        let footage = opened.map(|recording| recording.footage.clone());
        let tolerances = Tolerances { gap_us: 500_000, joint_us };
        let coverage = Coverage::of(span, &footage, tolerances);
        let scratch = TempDir::new().expect("a folder");
        let ffmpeg = Ffmpeg::new(ffmpeg(), None);
        let (deadline, observer) = (Deadline::unknown(), &NoObserver);
        let budget = Budget::default();
        let cx = RenderContext { ffmpeg: &ffmpeg, folder: scratch.path(), deadline, budget, observer };
        let thumbnails = ThumbnailSpec { widths: &[64], format: PictureFormat::Jpg };
        let spec = ClipSpec { span, coverage: &coverage, tolerances, trim_mode: TrimMode::Smart, thumbnails };
        let executor = WriteFile { path: scratch.path().join("clip.mp4") };
        render(cx, spec, opened, &executor).await.unwrap_or_else(|error| panic!("{from_us}..{to_us}: {error}"));
        Self { scratch, coverage }
    }

    pub fn file(&self) -> PathBuf {
        self.scratch.path().join("clip.mp4")
    }
}
