//! ffmpeg: its command lines and its processes. Its exit code proves nothing: truncated input, flipped bytes and a seek
//! past the end all succeed, and a thumbnail may be missing after exit code 0. Callers verify what ffmpeg wrote.

pub mod command;
pub mod failure;
mod isolation;
pub mod launcher;
pub mod memory;
pub mod run;
pub mod trial;
