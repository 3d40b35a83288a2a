//! Planning: which recording shows what, which frames make up the clip, which of them are copied. Pure: plans are made of
//! tables and spans, never of bytes, so property tests, fuzzing and mutation runs of them take seconds.

pub mod audio_plan;
pub mod clip_clock;
pub mod coverage;
pub mod cut_plan;
pub mod footage;
pub mod joints;
pub mod random_access;
pub mod same_footage;
pub mod segments;
