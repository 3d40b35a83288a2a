//! The function: an SQS message asks for the footage of one camera between two UTC instants; the function stores one clip
//! and its thumbnails, tells the camera API, and publishes to SNS. `docs/contract.md` describes every message.
//!
//! Start with [`pipeline`]: it tells the story of one request. How a clip is cut is the engine's part, the crate
//! [`exact_cut`].
//!
//! Modules in order of dependence; imports point downwards only:
//!
//! | module | what it does |
//! |---|---|
//! | [`invocation`] | what the event of an invocation is, and who answers it |
//! | [`handler`], [`invocation_time`] | the envelope: SQS event in, partial batch response out |
//! | [`dry_run`] | prints what would be done for an event |
//! | [`self_check`] | tries each thing that the function needs, when it is asked to |
//! | [`start_check`] | whether the function can serve at all, before the first request |
//! | [`pipeline`] | **the story of one request** |
//! | [`visibility`] | when the messages of an invocation are visible again |
//! | [`clip_store`] | the destination bucket: looks clips up and stores them |
//! | [`services`] | camera API, S3, SQS, SNS |
//! | [`telemetry`] | trace, log line and metrics of a request |
//! | [`decision`] | the status table: facts in, decision out; pure |
//! | [`sizing`] | whether memory, disk and time are enough for the longest clip; pure |
//! | [`recording_list`], [`settings`] | what the camera API lists, what the environment sets |
//! | [`contract`] | what others depend on: messages, names, keys, statuses; pure |
//! | [`error`], `mismatch` | what a failure means for a request, and how it is said |

pub mod clip_store;
pub mod contract;
pub mod decision;
pub mod dry_run;
pub mod error;
pub mod handler;
pub mod invocation;
pub mod invocation_time;
mod mismatch;
pub mod pipeline;
pub mod recording_list;
pub mod self_check;
pub mod services;
pub mod settings;
mod settings_reader;
pub mod sizing;
pub mod start_check;
pub mod telemetry;
pub mod visibility;
