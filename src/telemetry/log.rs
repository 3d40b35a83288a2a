//! Logs and metrics. Log lines are JSON if Lambda is set to JSON, else plain text. Each finished request writes one line;
//! the line of a failure has the fields `error`, `stage` and `object`.

use std::io::IsTerminal;

use tracing::{Level, Metadata, error, info};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::contract::self_check_table::{Check, Outcome, Table};
use crate::error::Error;
use crate::settings::Process;
use crate::telemetry::document::{Document, Failure};
use crate::telemetry::json_lines::JsonLines;
use crate::telemetry::metrics::{self, count_malformed, count_request, count_self_check};
use crate::telemetry::reason::{instant, reason};
use crate::telemetry::stages::Stage;

/// The crates of this project. Their lines below INFO are written too; those of libraries would hold secrets.
const OWN_CRATES: [&str; 2] = [env!("CARGO_CRATE_NAME"), "exact_cut"];

/// Starts logging. A panic is logged in one line, as every other failure. If lines are JSON, starts the metrics of the
/// function too. Must be called once.
pub fn start(filter: Targets, json: bool, process: Process) {
    std::panic::set_hook(Box::new(|panic| {
        let reason = Error::transient("panic", panic).reason; // in one line
        error!(error = reason, stage = "panic", object = "process", "panicked");
    }));
    let filter = filter.and(filter_fn(may_be_logged)).or(filter_fn(is_own_error));
    let layer = fmt::layer();
    if json {
        let layer = layer.json().flatten_event(true).with_current_span(false).with_span_list(false);
        let version = process.version.clone();
        let layer = layer.map_event_format(|inner| JsonLines { inner, version });
        tracing_subscriber::registry().with(layer.with_filter(filter)).init();
        metrics::start(process);
    } else {
        let layer = layer.compact().with_target(false).with_ansi(std::io::stdout().is_terminal()).with_filter(filter);
        tracing_subscriber::registry().with(layer).init();
    }
}

/// Lets every error of the function through, whatever `LOG_LEVEL` says: a failure without a line would never be found. So
/// does the span of an invocation, which gives each line its `requestId`.
fn is_own_error(line: &Metadata<'_>) -> bool {
    *line.level() == Level::ERROR && is_own(line)
}

fn is_own(line: &Metadata<'_>) -> bool {
    OWN_CRATES.iter().any(|name| line.target().starts_with(name))
}

/// Keeps libraries silent below INFO, whatever `LOG_LEVEL` says: `lambda_runtime` would log whole events, and the SDK would
/// log access keys and signed requests.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    *line.level() <= Level::INFO || is_own(line)
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
                reason = reason(document),
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
                joint_ms = document.joint_ms(),
                bytes_fetched = document.bytes.fetched,
                bytes_needed = document.bytes.needed,
                tries = document.tries(),
                delivery = document.delivery,
                queued_ms = document.queued_ms(),
                announced_after_ms = document.announced_after_ms(),
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
    count_request(document);
}

/// Writes the line and the metrics of a record whose message cannot be read.
pub fn report_malformed(failure: &Error) {
    let Error { kind, object, reason, .. } = failure;
    error!(error = reason, stage = "message", object, kind = <&str>::from(kind), "record failed");
    count_malformed();
}

/// Writes one line for each thing that fails, one that sums a self-check up, and its metric.
pub fn report_self_check(table: &Table) {
    for Check { thing, missing, .. } in table.with(Outcome::Fails) {
        error!(error = missing, stage = "self-check", object = thing, "self-check failed");
    }
    let count = |outcome| table.with(outcome).count();
    let (works, fails, unknown) = (count(Outcome::Works), count(Outcome::Fails), count(Outcome::Unknown));
    info!(works, fails, unknown, "self-check finished");
    count_self_check(fails);
}
