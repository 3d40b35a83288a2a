//! The camera zoo: footage of all kinds of cameras is cut, and each clip is checked frame by frame against a full decode of
//! its sources. The clips stay in `dist/zoo`, each with a description of what a player must show, for the browser test; so
//! does the table of what was copied and what was encoded.

mod bits;
mod boxes;
mod cameras;
mod cases;
mod cases_boxes;
mod cases_ladder;
mod cases_pictures;
mod cases_shape;
mod cases_sound;
mod cases_time;
mod check;
mod expected;
mod fields;
mod film;
mod fragmented;
mod key_frames;
mod ladder;
mod long_term;
mod machines;
mod mp4_edit;
mod watched_store;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use exact_cut::budget::Budget;
use exact_cut::compare::resolve_overlaps;
use exact_cut::deadline::Deadline;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::fragmented::WantedPart;
use exact_cut::observer::{Observer, PlanReport, RenderStage};
use exact_cut::open::open_recordings;
use exact_cut::plan::coverage::{Coverage, Tolerances};
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
/// The defaults of `GAP_TOLERANCE_MS` and `JOINT_TOLERANCE_MS`, in microseconds.
const TOLERANCES: Tolerances = Tolerances { gap_us: 500_000, joint_us: 1_500_000 };

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
    let is_wanted = |camera: &Camera| wanted.split(',').any(|wanted| camera.name.contains(wanted));
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
        let looked_at = span.extended_by(TOLERANCES.joint_us);
        let recordings = self.recordings.iter().filter(|recording| recording.may_show(looked_at)).cloned().collect();
        let store = LocalFolder::new("/");
        let scratch = TempDir::new().expect("a folder");
        let wanted = WantedPart { span, joint_us: TOLERANCES.joint_us, folder: scratch.path() };
        let mut recordings = open_recordings(&store, recordings, wanted, Deadline::unknown()).await.expect(clip);
        let ffmpeg = Ffmpeg::new(ffmpeg.to_owned(), None);
        let steps = Steps::default();
        let cx = RenderContext {
            ffmpeg: &ffmpeg,
            folder: scratch.path(),
            deadline: Deadline::unknown(),
            budget: Budget::default(),
            observer: &steps,
        };
        let gaps = Coverage::of(span, &recordings.footage(), TOLERANCES).gaps;
        recordings.read_through_ffmpeg(&store, &gaps, cx).await.expect(clip);
        let opened = resolve_overlaps(recordings.opened, TOLERANCES.joint_us, Deadline::unknown()).await.expect(clip);
        let coverage = Coverage::of(span, &opened.map(|recording| recording.footage.clone()), TOLERANCES);
        let CameraSpec { trim_mode, format } = self.spec;
        let thumbnails = ThumbnailSpec { widths: &[64, 301], format };
        let spec = ClipSpec { span, coverage: &coverage, tolerances: TOLERANCES, trim_mode, thumbnails };
        let executor = WriteFile { path: scratch.path().join("clip.mp4") };
        let rendered = render(cx, spec, opened, &executor).await;
        let rendered = rendered.unwrap_or_else(|error| panic!("{clip}: {error}"));
        let steps = steps.0.into_inner().expect("no panic in between");
        Cut { rendered, scratch, steps }
    }
}

/// A clip that was cut.
struct Cut {
    rendered: RenderedClip,
    /// The folder that holds it as `clip.mp4`.
    scratch: TempDir,
    /// Why ways to make it failed before.
    steps: Vec<String>,
}

/// Keeps why ways to make a clip failed.
#[derive(Default)]
struct Steps(Mutex<Vec<String>>);

impl Observer for Steps {
    fn stage_ended(&self, _stage: RenderStage, _began: Instant, _completed: bool) {}

    fn planned(&self, _report: &PlanReport) {}

    fn stepped_down(&self, error: &exact_cut::Error) {
        self.0.lock().expect("no panic in between").push(error.to_string());
    }

    fn audio_lost(&self, _error: &exact_cut::Error) {}
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
