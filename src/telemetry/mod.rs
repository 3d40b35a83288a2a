//! What happened to a request: a trace while it runs, a document of it afterwards, and the log line and metrics that the
//! document gives.

pub mod document;
mod json_lines;
pub mod log;
pub mod metrics;
mod reason;
pub mod stages;
pub mod trace;
