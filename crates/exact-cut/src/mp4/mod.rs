//! Reading MP4 files: which bytes tell where the samples lie, and what they say (ISO/IEC 14496-12).
//!
//! The crate `shiguredo_mp4` refuses a file for any box that is not as the standard has it, and its demuxer hides edit
//! lists and the display matrix. So the tables are read here, as tolerantly as players read them. Everything is pure: these
//! modules get bytes and never see a file. No claim of a file is believed before it is checked against the bytes that are
//! there: one `stts` entry of 8 bytes can claim 4·10⁹ samples.

mod access_units;
mod audio_clock;
pub mod audio_codec;
pub mod audio_track;
pub mod box_finder;
pub mod boxes;
mod edit_list;
pub mod fragment_index;
pub mod fragments;
pub mod in_band_sets;
pub mod orientation;
pub mod part_of_table;
mod pcm;
pub mod sample_boxes;
pub mod sample_entry;
pub mod sample_table;
pub mod shape;
pub mod tracks;

use shiguredo_mp4::BoxType;

/// Why an MP4 file, or one of its tracks, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mp4Error {
    /// The bytes at this place are not the header of a box.
    #[error("expected an MP4 box at byte {at} of {length}")]
    NotABox {
        /// Offset in the file, in bytes.
        at: u64,
        /// Length of the file, in bytes.
        length: u64,
    },
    /// A box reaches beyond the file, or is shorter than its own header.
    #[error("box {name} at byte {at} claims {size} bytes of a file of {length}")]
    BoxSize {
        /// Type of the box.
        name: BoxType,
        /// Offset in the file, in bytes.
        at: u64,
        /// Size that the box claims, in bytes.
        size: u64,
        /// Length of the file, in bytes.
        length: u64,
    },
    /// The file ends without a `moov` box: it is truncated, or not an MP4 file.
    #[error("the file has no moov box: it is truncated or not an MP4 file")]
    NoMoov,
    /// The boxes that hold the sample tables take too many bytes.
    #[error("the moov and moof boxes take more than {} bytes", box_finder::MAX_TABLE_BYTES)]
    TablesTooLarge,
    /// The file has too many boxes at its top level.
    #[error("the file has more than {max} boxes at its top level")]
    TooManyBoxes {
        /// The limit.
        max: usize,
    },
    /// A track claims more samples than are read.
    #[error("{name} claims {claimed} samples, at most {} are read", sample_boxes::MAX_SAMPLES)]
    TooManySamples {
        /// Name of the box that claims them.
        name: &'static str,
        /// The claim.
        claimed: u64,
    },
    /// No frame is shown.
    #[error("no frame is shown")]
    NoFrame,
    /// Edits of an edit list overlap.
    #[error("the edit list has edits that overlap")]
    EditsOverlap,
    /// The file has no video track.
    #[error("the file has no video track")]
    NoVideoTrack,
    /// The file has no audio track, or one without samples.
    #[error("the file has no audio")]
    NoAudioTrack,
    /// The codec is not decoded.
    #[error("the codec {kind:?} is not decoded")]
    Codec {
        /// Type of the sample entry.
        kind: String,
    },
    /// The samples are encrypted.
    #[error("the samples are encrypted ({kind})")]
    Encrypted {
        /// Type of the sample entry.
        kind: String,
    },
    /// A track has no sample entry.
    #[error("the track has no sample entry")]
    NoSampleEntry,
}
