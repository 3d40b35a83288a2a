//! Compares a clip with a full decode of its recording, which may be damaged.

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::paths::ffmpeg;

use crate::hostile::SPAN;

const SIZE: (usize, usize) = (320, 180);
/// Pictures of a GOP.
pub const GROUP: usize = 60;
/// The lowest PSNR of an encoded picture against its source.
const MIN_PSNR_DB: f64 = 38.0;

/// Compares the pictures of the clip with those that a full decode of the recording shows in the span. A clip with gaps
/// may have fewer, beginning with the first.
pub fn compare(clip: &Path, recording: &Path, gaps: bool) -> Result<(), String> {
    let (shown, all) = (decoded(clip), decoded(recording));
    let (copied, held) = (packets(clip), packets(recording));
    let wanted = wanted(&all);
    if shown.len() != wanted.len() && !gaps {
        return Err(format!("expected the {} pictures of a full decode, got {}", wanted.len(), shown.len()));
    }
    for (index, (_, picture)) in shown.iter().enumerate().take(wanted.len()) {
        let at = wanted.start + index;
        let psnr_db = psnr(picture, &all[at].1);
        let is_copy = copied.get(index).zip(held.get(at)).is_some_and(|(copied, held)| copied.1 == held.1);
        if psnr_db < MIN_PSNR_DB && !is_copy {
            return Err(format!(
                "picture {index} is not a copy, and its PSNR against a full decode is {psnr_db:.1} dB"
            ));
        }
    }
    Ok(())
}

/// Returns the range of the pictures in the span: of those that begin in it, else the one on screen.
fn wanted<T>(all: &[(i64, T)]) -> std::ops::Range<usize> {
    let first = all.first().map_or(0, |(time, _)| *time);
    let at = |ms: i64| all.partition_point(|(time, _)| time - first < ms * 1000);
    match at(SPAN.0)..at(SPAN.1) {
        none if none.is_empty() && none.start > 0 => none.start - 1..none.start,
        some => some,
    }
}

fn psnr(one: &[u8], other: &[u8]) -> f64 {
    let squares: f64 = one.iter().zip(other).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum();
    let mean = squares / f64::from(u32::try_from(one.len()).expect("a small picture"));
    if one.len() == other.len() { 10.0 * (255.0 * 255.0 / mean).log10() } else { 0.0 }
}

/// Returns every picture that ffmpeg shows of a file, which may be damaged: time in µs, and luma.
fn decoded(file: &Path) -> Vec<(i64, Vec<u8>)> {
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let filter = format!("scale={}:{},format=gray", SIZE.0, SIZE.1);
    let times = framemd5(file, &["-vf", &filter, "-f", "rawvideo", &raw.path().display().to_string()]);
    let raw = std::fs::read(&raw).unwrap_or_default();
    let pictures = raw.chunks_exact(SIZE.0 * SIZE.1).map(<[u8]>::to_vec);
    times.into_iter().map(|(time, _)| time).zip(pictures).collect()
}

/// Returns a hash of each coded picture of a file, in order of their times.
fn packets(file: &Path) -> Vec<(i64, String)> {
    let mut packets = framemd5(file, &["-c", "copy", "-f", "null", "-"]);
    packets.sort();
    packets
}

/// Runs ffmpeg on a file with the output options `options`. Returns time in µs and hash of everything that it wrote.
fn framemd5(file: &Path, options: &[&str]) -> Vec<(i64, String)> {
    let times = tempfile::NamedTempFile::new().expect("a file");
    let copied: &[&str] = if options[0] == "-c" { &["-c", "copy"] } else { &[] };
    let usual = ["-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "1:1000000"];
    let usual = if copied.is_empty() { &usual[..] } else { &usual[..2] };
    let _ = Command::new(ffmpeg())
        .args(["-nostdin", "-y", "-v", "quiet", "-threads", "1", "-max_pixels", "35389440", "-noautorotate"])
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
