//! The cut: what becomes of which frames, and carrying it out.

pub mod boxes;
pub mod clock;
pub mod movie;
pub mod orientation;
pub mod picture;
pub mod plan;
pub mod segments;
pub mod sound;

#[cfg(feature = "function")]
pub mod assembly;
#[cfg(feature = "function")]
pub mod edges;
#[cfg(feature = "function")]
pub mod evidence;
#[cfg(feature = "function")]
pub mod proof;
#[cfg(feature = "function")]
pub mod soundtrack;
#[cfg(feature = "function")]
pub mod splice;
