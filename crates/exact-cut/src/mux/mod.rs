//! Muxing: the boxes of a clip, and the order in which its bytes follow (ISO/IEC 14496-12). Pure: every size is known
//! before a byte is written, so a clip is data first and bytes later.

pub mod layout;
pub mod moov;
pub mod track;

/// Why tracks cannot be written as an MP4 file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MuxError {
    /// A box cannot be encoded.
    #[error("cannot encode the boxes of the clip: {0}")]
    Encode(String),
    /// A number does not fit into the field of its box.
    #[error("{0} exceeds the field of its box")]
    FieldOverflow(&'static str),
    /// The end of a track comes before its last sample.
    #[error("the end of a track comes before its last sample")]
    EndBeforeLastSample,
}
