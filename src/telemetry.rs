//! Logs and metrics: JSON lines where Lambda is set to JSON, readable ones elsewhere. One line tells of each request when
//! it is over; every failure's line carries `error`, `stage` and `object`.

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing::{Level, Metadata, error, info};
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::error::Error;
use crate::trace::document::{Document, Failure};
use crate::trace::{FAILED, Stage};

/// The metrics' namespace in `CloudWatch`.
pub const NAMESPACE: &str = "CamerasServiceGenerateClip";

static METRICS: OnceLock<&'static Collector> = OnceLock::new();

/// Starts logging, panics included: one line each, as every other failure; where lines are JSON, metrics too, for the
/// function of that name. To be called once.
pub fn start(filter: Targets, json: bool, function: String) {
    std::panic::set_hook(Box::new(|panic| {
        let reason = Error::passing("panic", panic).reason; // on one line
        error!(error = reason, stage = "panic", object = "process", "this should not have happened");
    }));
    let registry = tracing_subscriber::registry().with(filter).with(filter_fn(may_be_logged));
    if json {
        registry.with(fmt::layer().json().flatten_event(true).with_current_span(false)).init();
        measure(function);
    } else {
        registry.with(fmt::layer().compact().with_target(false).with_ansi(std::io::stdout().is_terminal())).init();
    }
}

/// Whatever `LOG_LEVEL` says, libraries stay silent below INFO: `lambda_runtime` would log whole events, the SDK access keys
/// and signed requests.
fn may_be_logged(of: &Metadata<'_>) -> bool {
    *of.level() <= Level::INFO || of.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// One line about a request that is over, and its metrics.
pub fn over(document: &Document) {
    macro_rules! line {
        ($level:ident!($($field:tt)*)) => {
            $level!(
                clip = document.request.clip_id,
                camera = document.request.camera_id,
                status = document.status,
                mode = document.mode,
                why = document.why,
                copied = document.clip.map(|clip| clip.copied),
                encoded = document.clip.map(|clip| clip.encoded),
                bytes_fetched = document.bytes.fetched,
                bytes_needed = document.bytes.needed,
                tries = document.request.retry_timestamps.len() + 1,
                ms = document.ms,
                stored_ms = document.stage_ms(Stage::Stored),
                camera_ms = document.stage_ms(Stage::Camera),
                recordings_ms = document.stage_ms(Stage::Recordings),
                tables_ms = document.stage_ms(Stage::Tables),
                fetch_ms = document.stage_ms(Stage::Fetch),
                encode_ms = document.stage_ms(Stage::Encode),
                sound_ms = document.stage_ms(Stage::Sound),
                splice_ms = document.stage_ms(Stage::Splice),
                proof_ms = document.stage_ms(Stage::Proof),
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
        None => line!(info!("done")),
        Some(Failure { stage, object, error, kind }) => line!(error!(error, stage, object, kind, "record failed")),
    }
    count(document);
    publish();
}

/// One line about a record that could not be understood, and its metrics.
pub fn ill_formed(failure: &Error) {
    error!(error = failure.reason, stage = "message", object = failure.object, kind = ?failure.kind, "record failed");
    counter!("Requests", "Status" => FAILED).increment(1);
    counter!("Failures").increment(1);
    publish();
}

/// Every request ends in one status, and adds to what the whole function did.
fn count(document: &Document) {
    counter!("Requests", "Status" => document.status).increment(1);
    counter!("Failures").increment(document.failure.is_some().into());
    counter!("Repeated").increment((document.mode == Some("stored")).into());
    let refused = document.messages.iter().filter(|said| said.refused.is_some()).count();
    counter!("MetadataRefused").increment(refused as u64);
    histogram!("RequestDuration").record(document.ms);
    for stage in Stage::ALL {
        if let Some(ms) = document.stage_ms(stage) {
            histogram!(duration_of(stage)).record(ms);
        }
    }
    if let Some(clip) = document.clip {
        // frames and bytes are far below 2⁵³
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

/// `FetchDuration` and the like.
fn duration_of(stage: Stage) -> String {
    let (first, rest) = stage.as_str().split_at(1);
    format!("{}{rest}Duration", first.to_uppercase())
}

/// Begins to collect metrics. Without it they go nowhere.
fn measure(function: String) {
    let builder = Builder::new().cloudwatch_namespace(NAMESPACE).with_dimension("Function", function);
    match builder.init() {
        Ok(collector) => METRICS.set(collector).unwrap_or_default(),
        Err(reason) => {
            error!(error = %reason, stage = "start", object = "metrics", "no metrics");
            return;
        }
    }
    for (name, meaning) in [
        ("Requests", "by the status they ended in"),
        ("Failures", "records that go back to the queue, in the end to its dead-letter queue"),
        ("Repeated", "clips that were stored already and only announced again"),
        ("MetadataRefused", "clips that the camera API would not take"),
        ("ColdStarts", "starts of the process"),
    ] {
        describe_counter!(name, Unit::Count, meaning);
    }
    describe_histogram!("RequestDuration", Unit::Milliseconds, "of a whole request");
    for stage in Stage::ALL {
        describe_histogram!(duration_of(stage), Unit::Milliseconds, "of one stage of a request");
    }
    for (name, unit, meaning) in [
        ("BytesFetched", Unit::Bytes, "received of recordings for a clip"),
        ("BytesNeeded", Unit::Bytes, "of recordings that a clip is made of"),
        ("FramesCopied", Unit::Count, "of a clip"),
        ("FramesEncoded", Unit::Count, "of a clip"),
    ] {
        describe_histogram!(name, unit, meaning);
    }
    counter!("ColdStarts").increment(1);
}

/// Writes what was collected in `CloudWatch`'s embedded metric format. At once, so that no log line gets into theirs.
fn publish() {
    let Some(collector) = METRICS.get() else { return };
    let mut lines = Vec::new();
    if let Err(reason) = collector.flush(&mut lines).and_then(|()| std::io::stdout().write_all(&lines)) {
        error!(error = %reason, stage = "metrics", object = "stdout", "metrics lost");
    }
}
