//! The camera zoo: footage of all kinds of cameras, cut, and each clip checked frame by frame against what a full decode
//! of its sources shows. The clips stay in `dist/zoo`, with what a player must see of them, for the browser's test; so
//! does the table of what was copied and what encoded.

mod cameras;
mod check;
mod expected;
mod film;
mod long_term;
mod machines;
mod surgery;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cameras_service_generate_clip::aws::store::Store;
use cameras_service_generate_clip::deadline::Deadline;
use cameras_service_generate_clip::ffmpeg::Ffmpeg;
use cameras_service_generate_clip::footage::coverage::Coverage;
use cameras_service_generate_clip::render::{Order, Rendered, Tools, render};
use cameras_service_generate_clip::request::Request;
use cameras_service_generate_clip::settings::Settings;
use cameras_service_generate_clip::survey;
use cameras_service_generate_clip::time::{Span, Timestamp};
use cameras_service_generate_clip::trace::Trace;
use cameras_service_generate_clip::verdict::Status;
use futures::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::cameras::Camera;
use self::check::check;
use self::expected::Expected;
use self::film::Film;
use crate::footage::ffmpeg;
use crate::stack::{Put, Stack, T0, listed};

/// A clip's line in the table.
struct Row {
    clip: String,
    copied: usize,
    encoded: usize,
    fetched: u64,
    worst_db: Option<f64>,
    why: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_clip_of_every_camera_is_exact() {
    let stack = Arc::new(Stack::start().await);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/zoo");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for the zoo");
    // ZOO=name visits those cameras alone
    let wanted = std::env::var("ZOO").unwrap_or_default();
    let cameras = cameras::all().into_iter().filter(|camera| camera.name.contains(&wanted));
    let visits = futures::stream::iter(cameras).map(|camera| {
        let (stack, folder, name) = (Arc::clone(&stack), folder.clone(), camera.name.clone());
        async move { (name, tokio::spawn(visit(stack, camera, folder)).await) }
    });
    let visited: Vec<_> = visits.buffered(2).collect().await;
    let mut failed = Vec::new();
    let mut table = vec![
        "| clip | frames copied | encoded | KiB fetched | least PSNR of encoded | why encoded |".to_owned(),
        "|---|--:|--:|--:|--:|---|".to_owned(),
    ];
    for (name, rows) in visited {
        let Ok(rows) = rows else {
            failed.push(name);
            continue;
        };
        for Row { clip, copied, encoded, fetched, worst_db, why } in rows {
            let worst = worst_db.map_or("–".to_owned(), |db| format!("{db:.1} dB"));
            let kib = fetched >> 10;
            table.push(format!("| {clip} | {copied} | {encoded} | {kib} | {worst} | {why} |"));
        }
    }
    let table = table.join("\n") + "\n";
    std::fs::write(folder.join("table.md"), &table).expect("written");
    std::io::stderr().write_all(table.as_bytes()).expect("shown, past libtest's capture");
    assert!(failed.is_empty(), "wrong clips of: {}; each one's panic is above", failed.join(", "));
}

/// Where clips are cut: the function's own parts, from the survey to the proof, on real S3.
struct Zoo {
    stack: Arc<Stack>,
    settings: Settings,
    entries: Vec<Value>,
    folder: PathBuf,
}

impl Zoo {
    /// With the camera's recordings in place. Returns their files, too.
    async fn open(stack: Arc<Stack>, camera: &Camera, folder: PathBuf, pictures: &str) -> (Self, Vec<PathBuf>) {
        let files: Vec<PathBuf> =
            tokio::task::block_in_place(|| camera.recordings.iter().map(|recording| (recording.make)()).collect());
        let mut entries = Vec::new();
        for (recording, file) in camera.recordings.iter().zip(&files) {
            let instant = Timestamp::from_ms(T0 + recording.at).expect("in range").to_string();
            let name = format!("{}.{}.mp4", camera.name, instant.replace(['-', ':', '.', 'Z'], ""));
            stack.put(&name, file).await;
            // dates of the API that choose every file
            entries.push(listed(&Put { name: &name, file, listed: (T0 - 60_000, T0 + 60_000) }));
        }
        let settings = stack.settings(&[("TRIM_MODE", camera.mode), ("THUMBNAIL_FORMAT", pictures)]);
        (Self { stack, settings, entries, folder }, files)
    }

    /// Cuts a span. Returns what was rendered, how many bytes were fetched for it, and the folder that it lies in.
    async fn cut(&self, ffmpeg: &Path, clip: &str, (from, to): (i64, i64)) -> (Rendered, u64, TempDir) {
        let at = |ms: i64| Timestamp::from_ms(T0 + ms).expect("in range");
        let span = Span::new(at(from), at(to)).expect("in order");
        let camera = self.settings.bucket_origin.clone();
        let request =
            json!({"clipId": "zoo", "cameraId": camera, "startTimestampInMs": T0 + from, "endTimestampInMs": T0 + to});
        let request = Request::parse(&request.to_string(), Some("0")).expect("a request");
        let trace = Trace::new(&request, None);
        let store = Store::new(self.stack.s3.clone()).counting(trace.received());
        let recordings = survey::usable(&self.entries, &self.settings);
        let survey = survey::open(&store, &self.settings, recordings, span, Deadline::unknown()).await.expect(clip);
        let shown: Vec<Span> = survey.opened.iter().map(|opened| opened.span).collect();
        let coverage = Coverage::of(span, &shown, self.settings.gap_tolerance_us);
        let scratch = TempDir::new().expect("a folder");
        let ffmpeg = Ffmpeg::new(ffmpeg.to_owned(), None);
        let tools = Tools {
            store: &store,
            ffmpeg: &ffmpeg,
            folder: scratch.path(),
            deadline: Deadline::unknown(),
            trace: &trace,
        };
        let order = Order {
            span,
            coverage: &coverage,
            opened: &survey.opened,
            trim_mode: self.settings.trim_mode,
            widths: &self.settings.thumbnail_sizes,
            format: self.settings.thumbnail_format,
        };
        let rendered = render(tools, order).await.unwrap_or_else(|error| panic!("{clip}: {error}"));
        let fetched = trace.finish(&Ok(Status::Available)).bytes.fetched;
        (rendered, fetched, scratch)
    }
}

async fn visit(stack: Arc<Stack>, camera: Camera, folder: PathBuf) -> Vec<Row> {
    let (zoo, files) = Zoo::open(stack, &camera, folder, "png").await;
    let film = |file: &PathBuf| Film::of(file, camera.full_range);
    let films: Vec<Film> = tokio::task::block_in_place(|| files.iter().map(film).collect());
    let mut rows = Vec::new();
    for (number, &(from, to)) in camera.spans.iter().enumerate() {
        let clip = format!("{}-{}", camera.name, number + 1);
        let (rendered, fetched, _scratch) = zoo.cut(&ffmpeg(), &clip, (from, to)).await;
        let file = zoo.folder.join(format!("{clip}.mp4"));
        std::fs::copy(&rendered.clip, &file).expect("copied");
        let expected = Expected::of(&camera, &films, (from, to));
        let row = tokio::task::block_in_place(|| check(&camera, &films, &expected, (&clip, &file), &rendered));
        rows.push(Row { fetched, ..row });
    }
    rows
}
