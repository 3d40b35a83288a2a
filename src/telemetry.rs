//! Logs: JSON lines on Lambda, readable ones elsewhere. Every failure's line carries an `error` field.

use std::io::IsTerminal;

use tracing::error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

use crate::error::Error;

/// Starts logging, panics included: one line each, as every other failure. To be called once.
pub fn start(filter: Targets, json: bool) {
    std::panic::set_hook(Box::new(|panic| {
        let reason = Error::passing("panic", panic).reason; // on one line
        error!(error = reason, stage = "panic", "this should not have happened");
    }));
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        registry.with(fmt::layer().json().flatten_event(true)).init();
    } else {
        registry.with(fmt::layer().compact().with_target(false).with_ansi(std::io::stdout().is_terminal())).init();
    }
}
