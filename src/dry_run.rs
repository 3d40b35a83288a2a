//! The dry run: prints what would be done for an event (recordings, coverage, holes, cut plan, bytes). It renders, stores and
//! announces nothing.

use std::fmt::{self, Write};
use std::path::Path;

use exact_cut::deadline::Deadline;
use exact_cut::time::Timestamp;

use crate::contract::message_body::Request;
use crate::contract::sqs_event::deliveries;
use crate::error::Error;
use crate::mismatch::mismatch;
use crate::pipeline::{Pipeline, RequestContext};
use crate::telemetry::document::{Document, Joint, Part, TimeRange};
use crate::telemetry::stages::Mode;
use crate::telemetry::trace::Trace;

/// Width of the timeline, in characters.
const WIDTH: i64 = 72;

/// Why a dry run failed. Its object is the file with the event.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DryRunFailed(pub Error);

/// Prints what would be done for each record of the event in the file `file`.
///
/// # Errors
/// If the event cannot be read, or one of its records would fail.
pub async fn print_plan(pipeline: &Pipeline, file: &Path) -> Result<(), DryRunFailed> {
    let failed = |reason: String| DryRunFailed(Error::permanent(file.display().to_string(), reason));
    let event = std::fs::read(file).map_err(|error| failed(mismatch("event", "a file to read", error)))?;
    let event = serde_json::from_slice(&event).map_err(|error| failed(mismatch("event", "JSON", error)))?;
    let mut failures = 0;
    for delivery in deliveries(event).map_err(failed)? {
        let text = match delivery.request {
            Ok(request) => {
                let document = plan(pipeline, &request).await;
                failures += usize::from(document.failure.is_some());
                text(&document)
            }
            Err(malformed) => {
                failures += 1;
                format!("A record would fail: {}\n", malformed.error)
            }
        };
        println!("{text}");
    }
    if failures == 0 { Ok(()) } else { Err(failed(mismatch("records", "none that would fail", failures))) }
}

async fn plan(pipeline: &Pipeline, request: &Request) -> Document {
    let trace = Trace::new(request, None);
    let planned = pipeline.plan(RequestContext::new(request, Deadline::unknown(), &trace)).await;
    trace.finish(&planned)
}

/// Returns the content of a document as text for a terminal.
#[must_use]
pub fn text(document: &Document) -> String {
    let mut text = String::new();
    write(document, &mut text).expect("writing to a string succeeds");
    text
}

fn write(document: &Document, out: &mut String) -> fmt::Result {
    let asked = &document.request;
    let ms = |ms: i64| ms.saturating_mul(1000);
    let span = TimeRange { start_us: ms(asked.start_timestamp_in_ms), end_us: ms(asked.end_timestamp_in_ms) };
    writeln!(out, "Clip {} of camera {}", asked.clip_id, asked.camera_id)?;
    writeln!(out, "  wanted    {}", range(span))?;
    match (&document.failure, document.mode) {
        (Some(failure), _) => {
            writeln!(out, "  would fail at stage {}: {}: {}", failure.stage, failure.object, failure.error)?;
        }
        (None, Some(Mode::Stored)) => writeln!(out, "  would be  announced again: it is stored already")?,
        (None, mode) => {
            let mode = mode.map(|mode| format!(" ({mode})")).unwrap_or_default();
            writeln!(out, "  would be  {}{mode}", document.status)?;
        }
    }
    for (index, recording) in document.recordings.iter().enumerate() {
        match (recording.shows, &recording.error) {
            (Some(shows), _) => {
                writeln!(out, "  recording {index} {}, {}: {}", range(shows), size(recording.bytes), recording.name)?;
            }
            (None, Some(error)) => writeln!(out, "  cannot be read: {}: {error}", recording.name)?,
            (None, None) => writeln!(out, "  listed, but not in S3: {}", recording.name)?,
        }
    }
    for (kind, holes) in [("held hole", &document.held), ("gap      ", &document.gaps)] {
        for hole in holes {
            writeln!(out, "  {kind} {}", range(*hole))?;
        }
    }
    for joint in &document.joints {
        let at = Timestamp::from_us(joint.at_us);
        writeln!(out, "  joint     {at}, recording {}: its name is {} off", joint.recording, signed_ms(joint.off_ms))?;
    }
    if !document.recordings.is_empty() {
        timeline(document, span, out)?;
    }
    for (number, segment) in document.segments.iter().enumerate() {
        let why = segment.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        let frames = format!("{} {} frames", segment.how, segment.frames);
        writeln!(out, "  segment {number} {frames} of recording {}, {}{why}", segment.recording, range(segment.shows))?;
    }
    if let Some(clip) = document.clip {
        let audio = document.audio.map(|how| format!(", audio: {how}")).unwrap_or_default();
        let (frames, seconds) = (clip.frames, seconds(clip.length_us));
        writeln!(
            out,
            "  clip      {frames} frames, {seconds}: {} copied, {} encoded{audio}",
            clip.copied, clip.encoded
        )?;
        let (needed, whole) = (document.bytes.needed, document.bytes.recordings);
        writeln!(out, "  bytes     {} of {} ({})", size(needed), size(whole), share(needed, whole))?;
    }
    Ok(())
}

/// Writes the span in columns of equal length. Each column shows the rarest thing in it, so that nothing is too small to be
/// seen.
fn timeline(document: &Document, span: TimeRange, out: &mut String) -> fmt::Result {
    let length = span.end_us - span.start_us;
    let column = |n: i64| TimeRange {
        start_us: span.start_us + length * n / WIDTH,
        end_us: span.start_us + length * (n + 1) / WIDTH,
    };
    let row = |pick: &dyn Fn(TimeRange) -> char| -> String { (0..WIDTH).map(|n| pick(column(n))).collect() };
    let meets = |a: TimeRange, b: TimeRange| a.start_us < b.end_us && b.start_us < a.end_us;
    let any = |ranges: &[TimeRange], column| ranges.iter().any(|&one| meets(one, column));
    let joint_hole = |joint: &Joint| {
        // as long as the name is too late
        #[allow(clippy::cast_possible_truncation)] // at most an hour
        let late_us = (joint.off_ms * 1e3) as i64;
        TimeRange { start_us: joint.at_us - late_us, end_us: joint.at_us }
    };
    let joint_holes: Vec<TimeRange> = document.joints.iter().map(joint_hole).collect();
    let footage = row(&|column| {
        let part = document.parts.iter().rfind(|part: &&Part| meets(part.shows, column));
        match part {
            _ if any(&document.gaps, column) => '!',
            _ if any(&document.held, column) => '~',
            _ if any(&joint_holes, column) => ':',
            Some(part) => char::from_digit(u32::try_from(part.recording % 10).unwrap_or_default(), 10).unwrap_or('?'),
            None => ' ',
        }
    });
    writeln!(out, "  footage   |{footage}|")?;
    if !document.segments.is_empty() {
        let clip = row(&|column| {
            let meeting = |how: &str| document.segments.iter().any(|one| one.how == how && meets(one.shows, column));
            if meeting("encode") {
                'E'
            } else if meeting("copy") {
                '='
            } else {
                ' '
            }
        });
        writeln!(out, "  clip      |{clip}|")?;
    }
    writeln!(
        out,
        "            a column is {}; = copied, E encoded, ~ held, : joint, ! missing",
        seconds(length / WIDTH)
    )
}

fn range(TimeRange { start_us, end_us }: TimeRange) -> String {
    let [start, end] = [start_us, end_us].map(Timestamp::from_us);
    format!("{start} to {end} ({})", seconds(end_us - start_us))
}

fn signed_ms(ms: f64) -> String {
    format!("{ms:+.1} ms")
}

fn seconds(us: i64) -> String {
    format!("{}.{:03} s", us / 1_000_000, us % 1_000_000 / 1000)
}

fn size(bytes: u64) -> String {
    let (unit, name) = if bytes < 1_000_000 { (1000, "kB") } else { (1_000_000, "MB") };
    format!("{}.{} {name}", bytes / unit, bytes % unit / (unit / 10))
}

fn share(part: u64, whole: u64) -> String {
    let permille = part.saturating_mul(1000).checked_div(whole).unwrap_or_default();
    format!("{}.{} %", permille / 10, permille % 10)
}
