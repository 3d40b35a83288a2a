//! Recordings that are damaged, or are something else. Either the clip shows what a full decode of the very same file
//! shows, or the status is `FATAL_ERROR`; there is always an answer, and nothing is left behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::course::Course;
use crate::fixture::Fixture;
use crate::footage::{Footage, X264, ffmpeg};
use crate::schedule::{Dice, Schedule, number, unique};
use crate::worker::Worker;

/// The span that is asked for, in ms after the first frame: an edge that is encoded, and a run that is copied.
const SPAN: (i64, i64) = (1100, 4300);
const SIZE: (usize, usize) = (320, 180);
/// Pictures from one IDR to the next.
const GROUP: usize = 60;
/// Pictures of the clip are those of the recording: what is copied exactly, what is encoded to within that, in dB.
const LIKENESS: f64 = 38.0;

/// A damaged recording, and what was done to it.
struct Case {
    what: String,
    bytes: Vec<u8>,
}

/// Serves each case, and looks at what came of it. Tells how many became clips.
async fn serve(cases: Vec<Case>) -> (usize, usize) {
    let fixture = Fixture::get().await;
    let cases = std::sync::Arc::new(std::sync::Mutex::new(cases));
    let all = cases.lock().expect("not poisoned").len();
    let workers = (0..4).map(|_| {
        let (fixture, cases) = (fixture.clone(), cases.clone());
        tokio::spawn(async move {
            let mut worker = Worker::start(fixture).await;
            let (mut clips, mut wrong) = (0, Vec::new());
            loop {
                let Some(case) = cases.lock().expect("not poisoned").pop() else { return (clips, wrong) };
                match one(&mut worker, &case).await {
                    Ok(clip) => clips += usize::from(clip),
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
    (all, clips)
}

/// Whether a clip came of it.
async fn one(worker: &mut Worker, case: &Case) -> Result<bool, String> {
    let clip = unique("hostile");
    let name = format!("{clip}.20180916T173017000.mp4");
    worker.world.shared.fixture.put(&name, &case.bytes).await;
    let schedule = Schedule { listed: Some(name), ..Schedule::of(&COURSE, clip.clone(), Vec::new()) };
    let report = worker.run(&schedule).await;
    let violations: Vec<String> =
        report.violations.into_iter().filter(|violation| !violation.starts_with("A: in the end None")).collect();
    if !violations.is_empty() {
        return Err(violations.join("; "));
    }
    let available = report.announced.last().filter(|last| last["status"] == "CLIP_AVAILABLE");
    let Some(last) = available else { return Ok(false) };
    let stored = worker.world.shared.fixture.stored(COURSE.camera, &clip).await.ok_or("nothing is stored")?;
    let folder = tempfile::TempDir::new().expect("a folder");
    let (shown, damaged) = (folder.path().join("clip.mp4"), folder.path().join("damaged.mp4"));
    std::fs::write(&shown, &stored[0]).expect("written");
    std::fs::write(&damaged, &case.bytes).expect("written");
    let gaps = last.get("gaps").and_then(Value::as_array).map_or(0, Vec::len);
    compare(&shown, &damaged, gaps > 0).map(|()| true)
}

/// Compares the clip's pictures with those that a full decode of the recording shows in the span. Where the clip has
/// gaps it shows fewer of them, from the first on.
///
/// What a decoder makes of a damaged picture is its own affair: ffmpeg by one thread and by two do not agree, nor from the
/// start and from the last IDR picture. One of these it must be like, or, bit for bit, what the recording holds.
fn compare(clip: &Path, recording: &Path, gaps: bool) -> Result<(), String> {
    let shown = decoded(clip, &["-threads", "1"]);
    let one = decoded(recording, &["-threads", "1"]);
    let two = decoded(recording, &["-threads", "2"]);
    let groups = ["0", "2", "4"].map(|from| decoded(recording, &["-threads", "2", "-noaccurate_seek", "-ss", from]));
    let (copied, all) = (packets(clip), packets(recording));
    let wanted = wanted(&one);
    if shown.len() != wanted.len() && !gaps {
        return Err(format!("{} pictures, of {} that a full decode shows", shown.len(), wanted.len()));
    }
    let packets = |index: usize| Some((&copied.get(index)?.1, &all.get(wanted.start + index)?.1));
    for (index, (_, picture)) in shown.iter().enumerate().take(wanted.len()) {
        let at = wanted.start + index;
        let references = [one.get(at), two.get(at), groups.get(at / GROUP).and_then(|group| group.get(at % GROUP))];
        let likenesses = references.into_iter().flatten().map(|(_, reference)| psnr(picture, reference));
        let likeness = likenesses.fold(0.0, f64::max);
        if likeness < LIKENESS && packets(index).is_none_or(|(copied, original)| copied != original) {
            return Err(format!("picture {index} is no copy, and like a full decode's to {likeness:.1} dB only"));
        }
    }
    Ok(())
}

/// Which of a recording's pictures are in the span.
fn wanted<T>(all: &[(i64, T)]) -> std::ops::Range<usize> {
    let first = all.first().map_or(0, |(time, _)| *time);
    let at = |ms: i64| all.partition_point(|(time, _)| time - first < ms * 1000);
    at(SPAN.0)..at(SPAN.1)
}

fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let squares: f64 = one.iter().zip(other).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum();
    let mean = squares / f64::from(u32::try_from(one.len()).expect("a small picture"));
    if one.len() == other.len() { 10.0 * (255.0 * 255.0 / mean).log10() } else { 0.0 }
}

/// Every picture that ffmpeg shows of a file, damaged as it may be: its time in µs, and its luma.
fn decoded(file: &Path, input: &[&str]) -> Vec<(i64, Vec<u8>)> {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let filter = format!("scale={}:{},format=gray", SIZE.0, SIZE.1);
    let times = framemd5(file, input, &["-vf", &filter, "-f", "rawvideo", &raw.path().display().to_string()]);
    let raw = std::fs::read(&raw).unwrap_or_default();
    let pictures = raw.chunks_exact(SIZE.0 * SIZE.1).map(<[u8]>::to_vec);
    times.into_iter().map(|(time, _)| time).zip(pictures).collect()
}

/// The coded pictures of a file, by time: a hash of each.
fn packets(file: &Path) -> Vec<(i64, String)> {
    let mut packets = framemd5(file, &[], &["-c", "copy", "-f", "null", "-"]);
    packets.sort();
    packets
}

/// Runs ffmpeg on a file to make an output of `options`, and tells the times of what it wrote, in µs, with hashes.
fn framemd5(file: &Path, input: &[&str], options: &[&str]) -> Vec<(i64, String)> {
    let times = tempfile::NamedTempFile::new().expect("a file");
    let copied: &[&str] = if options[0] == "-c" { &["-c", "copy"] } else { &[] };
    let usual = ["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "1:1000000"];
    let usual = if copied.is_empty() { &usual[..] } else { &usual[..2] };
    let _ = Command::new(ffmpeg())
        .args(["-nostdin", "-y", "-v", "quiet", "-max_pixels", "35389440", "-noautorotate"])
        .args(input)
        .args(["-f", "mov", "-i"])
        .arg(file)
        .args(usual)
        .args(options)
        .args(usual)
        .args(copied)
        .args(["-f", "framemd5"])
        .arg(times.path())
        .stdin(Stdio::null())
        .status()
        .expect("our ffmpeg runs");
    let times = std::fs::read_to_string(&times).unwrap_or_default();
    let base = times.lines().find_map(|line| line.strip_prefix("#tb 0: ")?.split_once('/'));
    let base: Option<(i64, i64)> = base.and_then(|(one, other)| Some((one.parse().ok()?, other.parse().ok()?)));
    let (ticks, per) = base.unwrap_or((1, 1));
    let line = |line: &str| {
        let mut columns = line.split(',').map(str::trim);
        let time: i64 = columns.nth(2)?.parse().ok()?;
        Some((time * ticks * 1_000_000 / per, columns.next_back()?.to_owned()))
    };
    times.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

/// Two recordings: `moov` in front, and behind with B-frames.
fn originals() -> [Vec<u8>; 2] {
    let front = Footage { options: format!("{X264} -bf 0 -g {GROUP} -movflags +faststart"), ..Footage::default() };
    let behind = Footage { options: format!("{X264} -bf 2 -g {GROUP}"), ..Footage::default() };
    [front, behind].map(|footage| std::fs::read(footage.file()).expect("drawn"))
}

/// Where a box of that name begins, and its length.
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
    let every = if number("FAULTS_ALL", 0) == 0 { 7 } else { 1 };
    let of = |original: Vec<u8>, percent: usize| Case {
        what: format!("cut at {percent} %"),
        bytes: original[..original.len() * percent / 100].to_vec(),
    };
    let cases = (0..100).step_by(every).flat_map(|percent| originals().map(|original| of(original, percent)));
    let (all, clips) = serve(cases.collect()).await;
    println!("{all} cut recordings: {clips} clips, the others FATAL_ERROR");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_flipped() {
    let count = if number("FAULTS_ALL", 0) == 0 { 40 } else { 1000 };
    let first = number("FAULTS_SEED", 1);
    let originals = originals();
    let case = |seed: u64| {
        let mut dice = Dice(seed);
        let mut bytes = originals[dice.below(2)].clone();
        let (at, size) = top_box(&bytes, [*b"moov", *b"mdat"][dice.below(2)]);
        let (at, burst) = (at + dice.below(size), [1, 1, 8, 256][dice.below(4)]);
        let end = bytes.len().min(at + burst);
        for byte in &mut bytes[at..end] {
            *byte ^= 1 << dice.below(8);
        }
        let what =
            format!("{burst} bytes from {at} on; again: FAULTS_SEED={seed} cargo test --locked --test faults flipped");
        Case { what, bytes }
    };
    let (all, clips) = serve((first..first + count).map(case).collect()).await;
    println!("{all} recordings with flipped bytes, seeds {first} to {}: {clips} clips", first + count - 1);
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
    let case = |(what, bytes): (&str, Vec<u8>)| Case { what: what.to_owned(), bytes };
    let (all, clips) = serve(cases.into_iter().map(case).collect()).await;
    println!("{all} other things: {clips} clips, the others FATAL_ERROR");
}

fn huge_picture() -> PathBuf {
    let options = "-c:v libx264 -preset ultrafast -qp 50".to_owned();
    Footage { filters: ",scale=8192:8192:flags=neighbor", options, ..Footage::default() }.file()
}

fn matroska() -> PathBuf {
    Footage { options: format!("{X264} -f matroska"), ..Footage::default() }.file()
}

/// What the hostile course asks for.
pub const COURSE: Course = Course {
    camera: "hostile",
    span: SPAN,
    recordings: &[],
    may: &["CLIP_AVAILABLE", "CLIP_PENDING", "FATAL_ERROR", "CLIP_RETRY_TIMEOUT"],
    ends: &["CLIP_AVAILABLE", "CLIP_RETRY_TIMEOUT"],
};
