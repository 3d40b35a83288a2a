//! Metrics, in `CloudWatch`'s embedded metric format. They are collected only if log lines are JSON.

use std::io::Write;
use std::sync::OnceLock;
use std::time::SystemTime;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use strum::VariantArray;
use tracing::error;

use crate::settings::Process;
use crate::telemetry::document::{Document, FAILED};
use crate::telemetry::stages::{Mode, Stage};

/// Namespace of the metrics in `CloudWatch`.
pub const NAMESPACE: &str = "CamerasServiceGenerateClip";

static METRICS: OnceLock<Metrics> = OnceLock::new();

struct Metrics {
    collector: &'static Collector,
    /// Level at which the lines are written.
    level: String,
}

/// From now on, the lines of the metrics name this invocation, as log lines do.
pub fn name_invocation(request_id: &str, xray: Option<&str>) {
    let Some(Metrics { collector, .. }) = METRICS.get() else { return };
    collector.set_property("requestId", request_id.to_owned());
    match xray {
        Some(trace) => collector.set_property("xrayTraceId", trace.to_owned()),
        None => collector.remove_property("xrayTraceId"),
    };
}

/// Adds a request to the metrics.
pub(super) fn count_request(document: &Document) {
    counter!("Requests", "Status" => document.status).increment(1);
    counter!("Failures").increment(document.failure.is_some().into());
    counter!("Repeated").increment((document.mode == Some(Mode::Stored)).into());
    let refused = document.messages.iter().filter(|message| message.refused.is_some()).count();
    counter!("MetadataRefused").increment(refused as u64);
    histogram!("RequestDuration").record(document.ms);
    // far below 2⁵³, like all numbers here
    #[allow(clippy::cast_precision_loss)]
    {
        histogram!("Tries").record(document.tries() as f64);
        // the wait of a retry or of a failed message is wanted
        if let Some(ms) = document.queued_ms().filter(|_| document.tries() == 1 && document.delivery == 1) {
            histogram!("QueueDuration").record(ms as f64);
        }
        if let Some(ms) = document.announced_after_ms() {
            histogram!("AnnouncedAfter").record(ms as f64);
        }
    }
    for &stage in Stage::VARIANTS {
        if let Some(ms) = document.stage_ms(stage) {
            histogram!(duration_metric(stage)).record(ms);
        }
    }
    if let Some(clip) = document.clip {
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
    publish();
}

/// Adds a record whose message cannot be read to the metrics.
pub(super) fn count_malformed() {
    counter!("Requests", "Status" => FAILED).increment(1);
    counter!("Failures").increment(1);
    publish();
}

/// Adds the failures of a self-check to the metrics.
pub(super) fn count_self_check(failures: usize) {
    counter!("SelfCheckFailures").increment(failures as u64);
    publish();
}

/// Returns the name of a stage's metric: `FetchDuration` for `fetch`.
fn duration_metric(stage: Stage) -> String {
    let (first, rest) = stage.as_str().split_at(1);
    format!("{}{rest}Duration", first.to_uppercase())
}

/// Starts to collect the metrics of a function. Lambda drops lines below `level`, the log level of the function, so the
/// lines of the metrics are written at that level.
pub(super) fn start(process: Process) {
    let Process { function, version, level } = process;
    let builder = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("Function", function);
    match builder.init() {
        Ok(collector) => {
            collector.set_property("version", version);
            METRICS.set(Metrics { collector, level }).unwrap_or_default();
        }
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
        ("SelfCheckFailures", "things that failed in a self-check"),
        ("ColdStarts", "starts of a process"),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
    describe_histogram!("RequestDuration", Unit::Milliseconds, "duration of a request");
    describe_histogram!("Tries", Unit::Count, "messages of a request so far");
    describe_histogram!(
        "QueueDuration",
        Unit::Milliseconds,
        "time of a message in the queue before its first delivery"
    );
    describe_histogram!(
        "AnnouncedAfter",
        Unit::Milliseconds,
        "time from the request, or from the end of its span if that is later, to the announcement"
    );
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
    let Some(Metrics { collector, level }) = METRICS.get() else { return };
    // Lambda takes a line without a valid level or timestamp for one of INFO (AWS Lambda Developer Guide, "Log-level
    // filtering")
    let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
    let now = now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    collector.set_property("level", level.as_str()).set_property("timestamp", now);
    let mut lines = Vec::new();
    if let Err(reason) = collector.flush(&mut lines).and_then(|()| std::io::stdout().write_all(&lines)) {
        error!(error = %reason, stage = "metrics", object = "stdout", "metrics lost");
    }
}
