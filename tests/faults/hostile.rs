//! Damaged recordings, and files that are not recordings. Either the clip shows what a full decode of the same file
//! shows, or the status is `FATAL_ERROR`. There is always an answer, and no file and no process is left behind.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use testkit::footage::{Footage, X264};
use testkit::paths::ffmpeg;
use testkit::random::{SplitMix64, number_from_env, unique_name};

use crate::compare_pictures::{GROUP, compare};
use crate::fixture::Fixture;
use crate::function::{MEMORY_MIB, watch_memory};
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::worker::Worker;

/// The requested span, in ms after the first frame: an encoded edge and a copied run.
pub const SPAN: (i64, i64) = (1100, 4300);
/// A damaged recording, and a description of the damage.
pub struct Case {
    pub what: String,
    pub bytes: Vec<u8>,
    /// What the recording shows, if another reader refuses it.
    pub shows: Option<Vec<u8>>,
}

/// Requests a clip of each case and verifies the result. Prints the number of cases, and how many became a clip.
async fn serve(what: &str, cases: Vec<Case>) {
    let fixture = Fixture::get().await;
    let memory = Arc::new(AtomicU64::new(0));
    let cases = Arc::new(std::sync::Mutex::new(cases));
    let all = cases.lock().expect("not poisoned").len();
    let workers = (0..4).map(|_| {
        let (fixture, cases, memory) = (fixture.clone(), cases.clone(), memory.clone());
        tokio::spawn(async move {
            let mut worker = Worker::start(fixture).await;
            let mut watched = None;
            let (mut clips, mut wrong) = (0, Vec::new());
            loop {
                let Some(case) = cases.lock().expect("not poisoned").pop() else { return (clips, wrong) };
                let id = worker.function().await.id();
                if watched.replace(id) != Some(id) {
                    tokio::spawn(watch_memory(id, memory.clone()));
                }
                match one(&mut worker, &case).await {
                    Ok(is_clip) => clips += usize::from(is_clip),
                    Err(violation) => wrong.push(format!("{}: {violation}", case.what)),
                }
            }
        })
    });
    let (mut clips, mut wrong) = (0, Vec::new());
    for worker in workers.collect::<Vec<_>>() {
        let (more, bad) = worker.await.expect("no panic");
        clips += more;
        wrong.extend(bad);
    }
    assert!(wrong.is_empty(), "{} of {all}:\n{}", wrong.len(), wrong.join("\n"));
    let mib = memory.load(Ordering::Relaxed) >> 10;
    println!("{all} {what}: {clips} clips, the others FATAL_ERROR; at most {mib} of {MEMORY_MIB} MiB in use");
    assert!(mib > 0 && mib < MEMORY_MIB, "{mib} MiB in use by function and ffmpeg");
}

/// Requests a clip of the case. Returns whether there is one, or what is wrong.
pub async fn one(worker: &mut Worker, case: &Case) -> Result<bool, String> {
    let clip = unique_name("hostile");
    let name = format!("{clip}.20180916T173017000.mp4");
    worker.servers.shared.fixture.put(&name, &case.bytes).await;
    let schedule = Schedule { listed: Some(name), ..Schedule::of(&SCENARIO, clip.clone(), Vec::new()) };
    let report = worker.run(&schedule).await;
    let violations: Vec<String> = report
        .violations
        .into_iter()
        .filter(|violation| !violation.starts_with("A: the last announcement is None"))
        .collect();
    if !violations.is_empty() {
        return Err(violations.join("; "));
    }
    let available = report.announced.last().filter(|last| last["status"] == "CLIP_AVAILABLE");
    let Some(last) = available else { return Ok(false) };
    let stored = worker.servers.shared.fixture.stored(SCENARIO.camera, &clip).await.ok_or("nothing is stored")?;
    let folder = tempfile::TempDir::new().expect("a folder");
    let (shown, damaged) = (folder.path().join("clip.mp4"), folder.path().join("damaged.mp4"));
    std::fs::write(&shown, &stored[0]).expect("written");
    std::fs::write(&damaged, case.shows.as_ref().unwrap_or(&case.bytes)).expect("written");
    let gaps = last.get("gaps").and_then(Value::as_array).map_or(0, Vec::len);
    compare(&shown, &damaged, gaps > 0).map(|()| true)
}

/// Returns two recordings: one with `moov` at the front, one with `moov` at the end and B-frames.
fn originals() -> [Vec<u8>; 2] {
    let front = Footage { options: format!("{X264} -bf 0 -g {GROUP} -movflags +faststart"), ..Footage::default() };
    let behind = Footage { options: format!("{X264} -bf 2 -g {GROUP}"), ..Footage::default() };
    [front, behind].map(|footage| std::fs::read(footage.file()).expect("drawn"))
}

/// Returns offset and size of the box with that name.
fn top_box(bytes: &[u8], name: [u8; 4]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize;
        if bytes[at + 4..at + 8] == name {
            return (at, size);
        }
        at += size;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_at_any_hundredth() {
    let every = if number_from_env("FAULTS_ALL", 0) == 0 { 7 } else { 1 };
    let of = |original: Vec<u8>, percent: usize| Case {
        what: format!("cut at {percent} %"),
        bytes: original[..original.len() * percent / 100].to_vec(),
        shows: None,
    };
    let cases = (0..100).step_by(every).flat_map(|percent| originals().map(|original| of(original, percent)));
    serve("cut recordings", cases.collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_flipped() {
    let count = if number_from_env("FAULTS_ALL", 0) == 0 { 40 } else { 1000 };
    let first = number_from_env("FAULTS_SEED", 1);
    let originals = originals();
    let case = |seed: u64| {
        let mut random = SplitMix64(seed);
        let mut bytes = originals[random.below(2)].clone();
        let (at, size) = top_box(&bytes, [*b"moov", *b"mdat"][random.below(2)]);
        let (at, burst) = (at + random.below(size), [1, 1, 8, 256][random.below(4)]);
        let end = bytes.len().min(at + burst);
        for byte in &mut bytes[at..end] {
            *byte ^= 1 << random.below(8);
        }
        let what = format!(
            "{burst} bytes from {at} on; to repeat: FAULTS_SEED={seed} cargo test --locked --test faults flipped"
        );
        Case { what, bytes, shows: None }
    };
    let what = format!("recordings with flipped bytes, seeds {first} to {}", first + count - 1);
    serve(&what, (first..first + count).map(case).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_named_like_a_recording() {
    let [front, _] = originals();
    let with = |name: [u8; 4], skip: usize, value: u32| {
        let mut bytes = front.clone();
        let at = bytes.windows(4).position(|window| window == name).expect("such a box") + 4 + skip;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let huge = std::fs::read(huge_picture()).expect("drawn");
    let claims = [&0x20_u32.to_be_bytes()[..], b"ftypisom\0\0\0\0isomiso2avc1mp41", &[0xFF; 4], b"moov", &[0; 1000]];
    let cases = [
        ("empty", Vec::new()),
        ("a text", text("Lorem ipsum")),
        ("a page", text("<html><body>404</body></html>")),
        ("an HLS playlist", text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")),
        ("an ffconcat playlist", text("ffconcat version 1.0\nfile /etc/passwd\n")),
        ("4 GB claimed in 1 kB", claims.concat()),
        ("4·10⁹ samples in one entry of stts", with(*b"stts", 8, u32::MAX)),
        ("4·10⁹ entries of stts", with(*b"stts", 4, u32::MAX)),
        ("4·10⁹ entries of stsz", with(*b"stsz", 8, u32::MAX)),
        ("4·10⁹ entries of stco", with(*b"stco", 4, u32::MAX)),
        ("samples of 4 GB", with(*b"stsz", 4, u32::MAX)),
        ("a timescale of 0", with(*b"mdhd", 12, 0)),
        ("a timescale of 4·10⁹", with(*b"mdhd", 12, u32::MAX)),
        ("a trak of 4 GB", with(*b"moov", 0x6c, u32::MAX)),
        ("8192 by 8192", huge),
        ("a Matroska file", std::fs::read(matroska()).expect("drawn")),
    ];
    // a table that claims more than it holds is read as far as it goes
    let shows = |what: &str| what.contains("entries").then(|| front.clone());
    let case = |(what, bytes): (&str, Vec<u8>)| Case { what: what.to_owned(), bytes, shows: shows(what) };
    serve("other things", cases.into_iter().map(case).collect()).await;
}

/// Copies and encodes the largest pictures that are decoded.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_pictures_fit_into_memory() {
    if number_from_env("FAULTS_ALL", 0) == 0 {
        println!("not tried: takes a minute, set FAULTS_ALL=1");
        return;
    }
    for (what, options) in [("largest pictures", ""), ("largest pictures of 10 bits", " -pix_fmt yuv420p10le")] {
        let options = format!("-c:v libx264 -preset ultrafast -qp 30 -g 8{options}");
        let filters = ",scale=8192:4320:flags=neighbor";
        let drawn = Footage { frames: 25, rate: "5", filters, options, ..Footage::default() }.file();
        serve(what, vec![Case { what: what.to_owned(), bytes: std::fs::read(drawn).expect("drawn"), shows: None }])
            .await;
    }
}

/// ffmpeg may open files of its own folder and of `/proc` and `/sys`, and never a socket.
#[tokio::test(flavor = "multi_thread")]
async fn ffmpeg_opens_nothing_but_its_work_files() {
    let watched = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !watched.is_ok_and(|status| status.success()) {
        println!("not tried: this machine does not allow ptrace");
        return;
    }
    let in_place = |folder: &Path| {
        let path = folder.join("ffmpeg");
        let (log, real) = (folder.join("opened"), ffmpeg());
        let watch = "/usr/bin/strace -ff -qq -e signal=none -e trace=open,openat,openat2,creat,unlink,rename,%network";
        let script = format!("#!/bin/sh\nexec {watch} -o {} {} \"$@\"\n", log.display(), real.display());
        std::fs::write(&path, script).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("made runnable");
        path
    };
    let mut worker = Worker::with_ffmpeg(Fixture::get().await, in_place).await;
    let [front, _] = originals();
    let (mdat, size) = top_box(&front, *b"mdat");
    let mut damaged = front.clone();
    damaged[mdat + size / 3..mdat + size / 3 + 512].fill(0xFF);
    for bytes in [front.clone(), damaged] {
        let case = Case { what: String::new(), bytes, shows: None };
        one(&mut worker, &case).await.expect("a clip, or a clear failure");
    }
    let own = worker.folder.path().join("scratch").display().to_string();
    let mut opened = 0;
    for entry in std::fs::read_dir(worker.folder.path()).expect("readable").flatten() {
        if !entry.file_name().to_string_lossy().starts_with("opened") {
            continue;
        }
        for line in std::fs::read_to_string(entry.path()).expect("readable").lines() {
            let path = line.split('"').nth(1).unwrap_or_default();
            let system = path.starts_with("/proc/") || path.starts_with("/sys/devices/system/");
            let allowed = line.starts_with("exec") || line.starts_with('+') || path.starts_with(&own) || system;
            assert!(allowed, "ffmpeg: {line}");
            opened += usize::from(path.starts_with(&own));
        }
    }
    println!("ffmpeg opened {opened} files, all of its own folder");
    assert!(opened > 0);
}

fn huge_picture() -> PathBuf {
    let options = "-c:v libx264 -preset ultrafast -qp 50".to_owned();
    Footage { filters: ",scale=8192:8192:flags=neighbor", options, ..Footage::default() }.file()
}

fn matroska() -> PathBuf {
    Footage { options: format!("{X264} -f matroska"), ..Footage::default() }.file()
}

/// The scenario of all cases.
pub const SCENARIO: Scenario = Scenario {
    camera: "hostile",
    span: SPAN,
    recordings: &[],
    may: &["CLIP_AVAILABLE", "CLIP_PENDING", "FATAL_ERROR", "CLIP_RETRY_TIMEOUT"],
    ends: &["CLIP_AVAILABLE", "CLIP_RETRY_TIMEOUT"],
};
