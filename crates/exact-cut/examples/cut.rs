//! Cuts a clip out of local recordings, without AWS:
//!
//! ```text
//! cut --from 2018-09-16T17:39:44.500Z --to 2018-09-16T17:40:44.500Z --out clip.mp4 a.20180916T173017000.mp4 ...
//! ```
//!
//! The name of each recording holds the UTC instant of its first frame, in the part before `.mp4`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, NaiveDateTime};
use exact_cut::{ClipRequest, CutClip, Ffmpeg, ListedRecording, LocalFolder, Span, Timestamp, cut};

const USAGE: &str = "cut --from TIME --to TIME --out FILE [--ffmpeg FILE] RECORDING...";

/// The command line.
struct Arguments {
    span: Span,
    out: PathBuf,
    ffmpeg: PathBuf,
    recordings: Vec<ListedRecording>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let Arguments { span, out, ffmpeg, recordings } = parse(arguments)?;
    let request = ClipRequest { recordings, span };
    let clip = cut(&LocalFolder::new("."), request, &Ffmpeg::new(ffmpeg, None), &out).await;
    print(&out, &clip.map_err(|error| error.to_string())?);
    Ok(())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let (mut from, mut to, mut out, mut files) = (None, None, None, Vec::new());
    let mut ffmpeg = PathBuf::from("ffmpeg");
    while let Some(argument) = arguments.next() {
        let mut value =
            || arguments.next().filter(|value| !value.is_empty()).ok_or(format!("{argument}: expected a value"));
        match argument.as_str() {
            "--from" => from = Some(instant(&value()?)?),
            "--to" => to = Some(instant(&value()?)?),
            "--out" => out = Some(PathBuf::from(value()?)),
            "--ffmpeg" => ffmpeg = PathBuf::from(value()?),
            option if option.starts_with('-') => return Err(format!("unknown option {option}; usage: {USAGE}")),
            _ => files.push(argument),
        }
    }
    let (Some(from), Some(to), Some(out)) = (from, to, out) else { return Err(format!("usage: {USAGE}")) };
    if files.is_empty() {
        return Err(format!("expected at least one recording; usage: {USAGE}"));
    }
    let span = Span::new(from, to).ok_or(format!("expected --from before --to, got {from} and {to}"))?;
    let recordings = files.into_iter().map(recording).collect::<Result<_, _>>()?;
    Ok(Arguments { span, out, ffmpeg, recordings })
}

/// Reads an instant in RFC 3339, or in milliseconds since the epoch.
fn instant(text: &str) -> Result<Timestamp, String> {
    let ms = text.parse().ok().or_else(|| Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()));
    ms.and_then(Timestamp::from_ms).ok_or(format!("expected an instant such as 2018-09-16T17:39:44.500Z, got {text:?}"))
}

/// Reads the instant in the name of a recording.
fn recording(name: String) -> Result<ListedRecording, String> {
    let file_name = Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let start = file_name.strip_suffix(".mp4").and_then(|stem| {
        let (seconds, fraction) = NaiveDateTime::parse_and_remainder(stem.rsplit('.').next()?, "%Y%m%dT%H%M%S").ok()?;
        let digits = fraction.len() <= 6 && fraction.bytes().all(|byte| byte.is_ascii_digit());
        let us: i64 = digits.then(|| format!("{fraction:0<6}").parse().ok()).flatten()?;
        Some(Timestamp::from_us(seconds.and_utc().timestamp_micros() + us))
    });
    let start = start.ok_or(format!("expected an instant such as 20180916T173017000 before .mp4, got {name:?}"))?;
    Ok(ListedRecording { start, name, end: None })
}

fn print(out: &Path, CutClip { failed_before, frames, bytes, report, recordings, gaps }: &CutClip) {
    let ms = |us: i64| format!("{}.{:03} s", us / 1_000_000, us % 1_000_000 / 1000);
    println!("{}: {frames} frames, {}, {bytes} bytes", out.display(), ms(report.length_us));
    println!("{} frames are copied, {} are encoded", report.copied, report.encoded);
    if let Some(estimate) = report.encoding_estimate {
        println!("encoding was estimated to take {} ms", estimate.as_millis());
    }
    for segment in &report.segments {
        let reason = segment.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let start = Timestamp::from_us(segment.shown.start_us);
        let name = &recordings[segment.recording];
        println!("  {start} {} {} frames of {name}{reason}", segment.method, segment.frames);
    }
    for reason in failed_before {
        println!("  failed before: {reason}");
    }
    for gap in gaps {
        println!("  {} no recording shows {}", gap.start(), ms(gap.length_us()));
    }
}
