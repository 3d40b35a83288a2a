//! Logs and metrics. Log lines are JSON if Lambda is set to JSON, else plain text. Each finished request writes one line;
//! the line of a failure has the fields `error`, `stage` and `object`.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use strum::VariantArray;
use tracing::{Level, Metadata, error, info};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::error::Error;
use crate::telemetry::document::{Document, FAILED, Failure};
use crate::telemetry::stages::{Mode, Stage};

/// Namespace of the metrics in `CloudWatch`.
pub const NAMESPACE: &str = "CamerasServiceGenerateClip";

static METRICS: OnceLock<&'static Collector> = OnceLock::new();

/// Starts logging. A panic is logged in one line, as every other failure. If lines are JSON, starts the metrics of the
/// function `function` too. Must be called once.
pub fn start(filter: Targets, json: bool, function: String) {
    std::panic::set_hook(Box::new(|panic| {
        let reason = Error::transient("panic", panic).reason; // in one line
        error!(error = reason, stage = "panic", object = "process", "panicked");
    }));
    let filter = filter.and(filter_fn(may_be_logged)).or(filter_fn(is_own_error));
    let layer = fmt::layer();
    if json {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_filter(filter);
        tracing_subscriber::registry().with(layer).init();
        start_metrics(function);
    } else {
        let layer = layer.compact().with_target(false).with_ansi(std::io::stdout().is_terminal()).with_filter(filter);
        tracing_subscriber::registry().with(layer).init();
    }
}

/// Lets every error of the function through, whatever `LOG_LEVEL` says: a failure without a line would never be found.
fn is_own_error(line: &Metadata<'_>) -> bool {
    *line.level() == Level::ERROR && line.is_event() && line.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Keeps libraries silent below INFO, whatever `LOG_LEVEL` says: `lambda_runtime` would log whole events, and the SDK would
/// log access keys and signed requests.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::INFO || line.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Writes the line and the metrics of a finished request.
pub fn report_finished(document: &Document) {
    macro_rules! line {
        ($level:ident!($($field:tt)*)) => {
            $level!(
                clip = document.request.clip_id,
                camera = document.request.camera_id,
                from = instant(document.request.start_timestamp_in_ms),
                to = instant(document.request.end_timestamp_in_ms),
                status = document.status,
                mode = document.mode.map(<&str>::from),
                why = document.why,
                copied = document.clip.map(|clip| clip.copied),
                encoded = document.clip.map(|clip| clip.encoded),
                sound = document.sound,
                listed = document.listed,
                opened = document.opened(),
                absent = document.absent(),
                unreadable = document.unreadable(),
                first_absent = document.first_absent,
                bytes_fetched = document.bytes.fetched,
                bytes_needed = document.bytes.needed,
                tries = document.request.retry_timestamps.len() + 1,
                ms = document.ms,
                stored_ms = document.stage_ms(Stage::Stored),
                camera_ms = document.stage_ms(Stage::Camera),
                recordings_ms = document.stage_ms(Stage::Recordings),
                tables_ms = document.stage_ms(Stage::Tables),
                fetch_ms = document.stage_ms(Stage::Fetch),
                encode_estimate_ms = document.encode_estimate_ms,
                encode_ms = document.stage_ms(Stage::Encode),
                audio_ms = document.stage_ms(Stage::Audio),
                write_ms = document.stage_ms(Stage::Write),
                verify_ms = document.stage_ms(Stage::Verify),
                thumbnails_ms = document.stage_ms(Stage::Thumbnails),
                upload_ms = document.stage_ms(Stage::Upload),
                check_ms = document.stage_ms(Stage::Check),
                put_ms = document.stage_ms(Stage::Put),
                publish_ms = document.stage_ms(Stage::Publish),
                requeue_ms = document.stage_ms(Stage::Requeue),
                $($field)*
            )
        };
    }
    match &document.failure {
        None => line!(info!("request finished")),
        Some(Failure { stage, object, error, kind }) => {
            line!(error!(error, stage, object, kind = <&str>::from(kind), "record failed"));
        }
    }
    count(document);
    publish();
}

/// Writes the line and the metrics of a record whose message cannot be read.
pub fn report_malformed(failure: &Error) {
    let Error { kind, object, reason, .. } = failure;
    error!(error = reason, stage = "message", object, kind = <&str>::from(kind), "record failed");
    counter!("Requests", "Status" => FAILED).increment(1);
    counter!("Failures").increment(1);
    publish();
}

/// Adds a request to the metrics.
fn count(document: &Document) {
    counter!("Requests", "Status" => document.status).increment(1);
    counter!("Failures").increment(document.failure.is_some().into());
    counter!("Repeated").increment((document.mode == Some(Mode::Stored)).into());
    let refused = document.messages.iter().filter(|message| message.refused.is_some()).count();
    counter!("MetadataRefused").increment(refused as u64);
    histogram!("RequestDuration").record(document.ms);
    for &stage in Stage::VARIANTS {
        if let Some(ms) = document.stage_ms(stage) {
            histogram!(duration_metric(stage)).record(ms);
        }
    }
    if let Some(clip) = document.clip {
        // numbers of frames and bytes are far below 2⁵³
        #[allow(clippy::cast_precision_loss)]
        for (name, value) in [
            ("BytesFetched", document.bytes.fetched as f64),
            ("BytesNeeded", document.bytes.needed as f64),
            ("FramesCopied", clip.copied as f64),
            ("FramesEncoded", clip.encoded as f64),
        ] {
            histogram!(name).record(value);
        }
    }
}

/// Returns an instant in RFC 3339, in UTC.
fn instant(ms: i64) -> Option<String> {
    Some(chrono::DateTime::from_timestamp_millis(ms)?.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

/// Returns the name of a stage's metric: `FetchDuration` for `fetch`.
fn duration_metric(stage: Stage) -> String {
    let (first, rest) = stage.as_str().split_at(1);
    format!("{}{rest}Duration", first.to_uppercase())
}

/// Starts to collect metrics.
fn start_metrics(function: String) {
    let builder = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("Function", function);
    match builder.init() {
        Ok(collector) => METRICS.set(collector).unwrap_or_default(),
        Err(reason) => {
            error!(error = %reason, stage = "start", object = "metrics", "metrics not started");
            return;
        }
    }
    for (name, meaning) in [
        ("Requests", "requests by their status"),
        ("Failures", "records that failed and stay in the queue, in the end in its dead-letter queue"),
        ("Repeated", "clips that were stored before and only announced again"),
        ("MetadataRefused", "metadata that the camera API refused"),
        ("ColdStarts", "starts of a process"),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
    describe_histogram!("RequestDuration", Unit::Milliseconds, "duration of a request");
    for &stage in Stage::VARIANTS {
        describe_histogram!(duration_metric(stage), Unit::Milliseconds, "duration of one stage of a request");
    }
    for (name, unit, meaning) in [
        ("BytesFetched", Unit::Bytes, "bytes of recordings received for a clip"),
        ("BytesNeeded", Unit::Bytes, "bytes of recordings that a clip is made of"),
        ("FramesCopied", Unit::Count, "copied frames of a clip"),
        ("FramesEncoded", Unit::Count, "encoded frames of a clip"),
    ] {
        describe_histogram!(name, unit, meaning);
    }
    counter!("ColdStarts").increment(1);
}

/// Writes the collected metrics in `CloudWatch`'s embedded metric format, in one call, so that no log line gets between.
fn publish() {
    let Some(collector) = METRICS.get() else { return };
    let mut lines = Vec::new();
    if let Err(reason) = collector.flush(&mut lines).and_then(|()| std::io::stdout().write_all(&lines)) {
        error!(error = %reason, stage = "metrics", object = "stdout", "metrics lost");
    }
}
