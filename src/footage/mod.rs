//! What there is: the names of recordings, which of them shows which part of a span, and what one MP4 holds.

mod boxes;
pub mod coverage;
pub mod entry;
pub mod fragments;
pub mod index;
pub mod nal;
pub mod parameter_sets;
pub mod recording;
pub mod samples;
pub mod sound;
pub mod tracks;
