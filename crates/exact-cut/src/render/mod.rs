//! Rendering: carries a plan out, lays the clip out as data, verifies it, and renders the thumbnails.
//!
//! ffmpeg never sees a half-empty recording: it probes the first packets of a sparse copy and reports hundreds of errors
//! over the holes. The samples that must be decoded go into a small file of their own, an excerpt.

pub mod assemble;
pub mod audio;
pub mod bitstream_facts;
pub mod clip;
pub mod context;
pub mod encode;
pub mod encoder_options;
pub mod excerpt;
pub mod key_frame_search;
pub mod ladder;
pub mod likeness;
pub mod quality;
pub mod remux;
pub mod report;
pub mod thumbnails;
pub mod verify;
pub mod work;
pub mod write_file;
