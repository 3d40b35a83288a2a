//! What H.264 samples and parameter sets say: where decoding may begin, and whether pictures can be copied into a clip
//! (ITU-T H.264; ISO/IEC 14496-15). Pure.

pub mod colour;
pub mod hevc;
pub mod level;
pub mod nal_units;
pub mod parameter_sets;
pub mod quantizer;
