//! Cuts exact clips out of continuously recorded cameras: one SQS message, one MP4, its thumbnails, one announcement.
//!
//! Imports point downwards in this list, never up:
//!
//! | | module | its job |
//! |---|---|---|
//! | doing | [`handler`] | the envelope: SQS event → records → partial batch response |
//! | | [`dry_run`] | tells what would be done for an event |
//! | | [`pipeline`] | **the story of one request; start reading here** |
//! | | [`camera`], [`aws`] | the camera API; S3, SQS and SNS |
//! | | [`cut`] | carries a cut plan out and proves the result |
//! | | [`thumbnails`], [`ffmpeg`], [`workdir`] | pictures, processes, scratch space |
//! | | [`trace`], [`telemetry`] | what becomes of a request; logs and metrics of it |
//! | | [`settings`] | the only reader of the environment |
//! | deciding | [`verdict`], [`footage::coverage`], [`cut::plan`] | pure rules over integers |
//! | | [`request`], [`metadata`], [`footage`] | what comes in, what goes out, what a recording holds |
//! | | [`time`], [`error`] | the words everything else is written in |
//!
//! The deciding half builds alone (`--no-default-features`), so the compiler keeps it free of I/O.

pub mod cut;
pub mod error;
pub mod footage;
pub mod metadata;
pub mod python_literal;
pub mod request;
pub mod time;
pub mod verdict;

#[cfg(feature = "function")]
pub mod aws;
#[cfg(feature = "function")]
pub mod camera;
#[cfg(feature = "function")]
pub mod deadline;
#[cfg(feature = "function")]
pub mod dry_run;
#[cfg(feature = "function")]
pub mod fetch;
#[cfg(feature = "function")]
pub mod ffmpeg;
#[cfg(feature = "function")]
pub mod handler;
#[cfg(feature = "function")]
pub mod pipeline;
#[cfg(feature = "function")]
pub mod render;
#[cfg(feature = "function")]
pub mod settings;
#[cfg(feature = "function")]
pub mod stored;
#[cfg(feature = "function")]
pub mod survey;
#[cfg(feature = "function")]
pub mod telemetry;
#[cfg(feature = "function")]
pub mod thumbnails;
#[cfg(feature = "function")]
pub mod trace;
#[cfg(feature = "function")]
pub mod workdir;
