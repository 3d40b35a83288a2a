//! The camera zoo: footage of all kinds of cameras is cut, and each clip is checked frame by frame against a full decode of
//! its sources. The clips stay in `dist/zoo`, each with a description of what a player must show, for the browser test; so
//! does the table of what was copied and what was encoded.

mod boxes;
mod cameras;
mod cases;
mod cases_boxes;
mod cases_pictures;
mod cases_shape;
mod cases_sound;
mod cases_time;
mod check;
mod expected;
mod film;
mod long_term;
mod machines;
mod mp4_edit;

use std::io::Write;
use std::path::{Path, PathBuf};

use exact_cut::deadline::Deadline;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::observer::NoObserver;
use exact_cut::open::open_recordings;
use exact_cut::plan::coverage::Coverage;
use exact_cut::render::budget::Budget;
use exact_cut::render::clip::{ClipSpec, RenderedClip, render};
use exact_cut::render::context::RenderContext;
use exact_cut::render::thumbnails::{PictureFormat, ThumbnailSpec};
use exact_cut::render::write_file::WriteFile;
use exact_cut::{ListedRecording, LocalFolder, Span, Timestamp};
use futures::StreamExt;
use tempfile::TempDir;
use testkit::paths::{ffmpeg, workspace};

use self::cameras::Camera;
use self::check::check;
use self::expected::Expected;
use self::film::Film;

/// 2018-09-16T17:30:17.000Z, when the zoo opens.
const T0: i64 = 1_537_119_017_000;
/// The longest hole over which a frame is held, in microseconds.
const GAP_TOLERANCE_US: i64 = 500_000;

/// Cameras whose clips are not right yet: they are visited only if `ZOO` names them.
const NOT_YET: [&str; 4] =
    ["hole-of-20-s-in-a-file", "hole-of-20-s-in-a-file-with-sound", "delimiters-are-samples", "matrix-coefficients-3"];

/// The line of a clip in the table.
struct Row {
    clip: String,
    copied: usize,
    encoded: usize,
    bytes: u64,
    worst_db: Option<f64>,
    reasons: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clip_of_every_camera_is_exact() {
    let folder = workspace().join("dist/zoo");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the zoo");
    // ZOO=name,name selects cameras by parts of their names
    let wanted = std::env::var("ZOO").unwrap_or_default();
    let is_ready = |camera: &Camera| !wanted.is_empty() || !NOT_YET.contains(&camera.name.as_str());
    let is_wanted = |camera: &Camera| wanted.split(',').any(|wanted| camera.name.contains(wanted)) && is_ready(camera);
    let cameras = cameras::all().into_iter().filter(is_wanted);
    let visits = futures::stream::iter(cameras).map(|camera| {
        let (folder, name) = (folder.clone(), camera.name.clone());
        async move { (name, tokio::spawn(visit(camera, folder)).await) }
    });
    let visited: Vec<_> = visits.buffered(2).collect().await;
    let mut failed = Vec::new();
    let mut table = vec![
        "| clip | frames copied | encoded | clip, KiB | least PSNR of encoded | why encoded |".to_owned(),
        "|---|--:|--:|--:|--:|---|".to_owned(),
    ];
    for (name, rows) in visited {
        let Ok(rows) = rows else {
            failed.push(name);
            continue;
        };
        for Row { clip, copied, encoded, bytes, worst_db, reasons } in rows {
            let worst = worst_db.map_or("–".to_owned(), |db| format!("{db:.1} dB"));
            let kib = bytes >> 10;
            table.push(format!("| {clip} | {copied} | {encoded} | {kib} | {worst} | {reasons} |"));
        }
    }
    let table = table.join("\n") + "\n";
    std::fs::write(folder.join("table.md"), &table).expect("written");
    std::io::stderr().write_all(table.as_bytes()).expect("shown, past libtest's capture");
    assert!(failed.is_empty(), "wrong clips of: {}; the panic of each is above", failed.join(", "));
}

/// One camera's recordings, ready to be cut.
struct Zoo {
    recordings: Vec<ListedRecording>,
    files: Vec<PathBuf>,
    spec: CameraSpec,
}

/// How clips of a camera are made.
#[derive(Clone, Copy)]
struct CameraSpec {
    trim_mode: exact_cut::plan::segments::TrimMode,
    format: PictureFormat,
}

impl Zoo {
    /// Makes the recordings of `camera`.
    fn open(camera: &Camera, format: PictureFormat) -> Self {
        let files: Vec<PathBuf> =
            tokio::task::block_in_place(|| camera.recordings.iter().map(|recording| (recording.make)()).collect());
        let recordings = camera.recordings.iter().zip(&files).map(|(recording, file)| ListedRecording {
            start: Timestamp::from_ms(T0 + recording.at).expect("in range"),
            name: file.display().to_string(),
            end: None,
        });
        let spec = CameraSpec { trim_mode: camera.mode, format };
        Self { recordings: recordings.collect(), files, spec }
    }

    /// Cuts a span with the ffmpeg at that path.
    async fn cut(&self, ffmpeg: &Path, clip: &str, (from, to): (i64, i64)) -> Cut {
        let at = |ms: i64| Timestamp::from_ms(T0 + ms).expect("in range");
        let span = Span::new(at(from), at(to)).expect("in order");
        let recordings = self.recordings.iter().filter(|recording| recording.start < span.end()).cloned().collect();
        let recordings = open_recordings(&LocalFolder::new("/"), recordings, Deadline::unknown()).await.expect(clip);
        let coverage = Coverage::of(span, &recordings.spans(), GAP_TOLERANCE_US);
        let scratch = TempDir::new().expect("a folder");
        let ffmpeg = Ffmpeg::new(ffmpeg.to_owned(), None);
        let cx = RenderContext {
            ffmpeg: &ffmpeg,
            folder: scratch.path(),
            deadline: Deadline::unknown(),
            budget: Budget::default(),
            observer: &NoObserver,
        };
        let CameraSpec { trim_mode, format } = self.spec;
        let thumbnails = ThumbnailSpec { widths: &[64, 301], format };
        let spec = ClipSpec { span, coverage: &coverage, trim_mode, thumbnails };
        let executor = WriteFile { path: scratch.path().join("clip.mp4") };
        let rendered = render(cx, spec, recordings.opened, &executor).await;
        let rendered = rendered.unwrap_or_else(|error| panic!("{clip}: {error}"));
        Cut { rendered, gaps: coverage.gaps, scratch }
    }
}

/// A clip that was cut.
struct Cut {
    rendered: RenderedClip,
    /// What the clip misses.
    gaps: Vec<Span>,
    /// The folder that holds it as `clip.mp4`.
    scratch: TempDir,
}

async fn visit(camera: Camera, folder: PathBuf) -> Vec<Row> {
    let zoo = Zoo::open(&camera, PictureFormat::Png);
    let films: Vec<Film> = tokio::task::block_in_place(|| films(&camera, &zoo.files));
    let mut rows = Vec::new();
    for (number, &(from, to)) in camera.spans.iter().enumerate() {
        let clip = format!("{}-{}", camera.name, number + 1);
        let cut = zoo.cut(&ffmpeg(), &clip, (from, to)).await;
        let file = folder.join(format!("{clip}.mp4"));
        std::fs::copy(cut.scratch.path().join("clip.mp4"), &file).expect("copied");
        let expected = Expected::of(&camera, &films, *camera.shown.get(number).unwrap_or(&(from, to)));
        rows.push(tokio::task::block_in_place(|| check(&camera, &films, &expected, (&clip, &file), &cut)));
    }
    rows
}

/// Returns what the recordings of a camera show, in the time of the zoo.
fn films(camera: &Camera, files: &[PathBuf]) -> Vec<Film> {
    let mut films = Vec::new();
    for (recording, file) in camera.recordings.iter().zip(files) {
        let shown = match &recording.shows {
            Some(shows) => shows(file),
            None => vec![Film::of(file, camera.full_range)],
        };
        #[allow(clippy::cast_precision_loss)] // times of a few minutes
        films.extend(shown.into_iter().map(|film| film.later(recording.at as f64 * 1e3)));
    }
    films
}
