//! The cut: what becomes of which frames, and carrying it out.

pub mod movie;
pub mod plan;

#[cfg(feature = "function")]
pub mod edges;
#[cfg(feature = "function")]
pub mod proof;
#[cfg(feature = "function")]
pub mod splice;
