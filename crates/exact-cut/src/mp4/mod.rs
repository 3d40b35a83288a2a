//! Reading MP4 files: which bytes tell where the samples lie, and what they say (ISO/IEC 14496-12).
//!
//! The crate `shiguredo_mp4` decodes single boxes; its demuxer hides edit lists and the display matrix, so the tables are
//! read here. Everything is pure: these modules get bytes and never see a file. No claim of a file is believed before it
//! is checked against the bytes that are there: one `stts` entry of 8 bytes can claim 4·10⁹ samples.

pub mod audio_track;
mod box_children;
pub mod box_finder;
pub mod fragments;
pub mod orientation;
pub mod sample_entry;
pub mod sample_table;
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
    /// A box cannot be decoded.
    #[error("cannot decode {name}: {reason}")]
    Decode {
        /// Name of the box.
        name: &'static str,
        /// The decoder's own words.
        reason: String,
    },
    /// A box is of a version that no edition of the standard defines.
    #[error("box {name} has the unknown version {version}")]
    UnknownVersion {
        /// Type of the box.
        name: BoxType,
        /// Version in its header.
        version: u8,
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
    #[error("{name} claims {claimed} samples, at most {} are read", sample_table::MAX_SAMPLES)]
    TooManySamples {
        /// Name of the box that claims them.
        name: &'static str,
        /// The claim.
        claimed: u64,
    },
    /// A fragment refers to data outside all files, or to a time beyond all clocks.
    #[error("{name} leads outside of what a file can hold")]
    FragmentOverflow {
        /// Name of the box.
        name: &'static str,
    },
    /// A track of a fragmented file has no defaults (`trex`).
    #[error("the track has no trex box")]
    NoTrex,
    /// A sample is empty or reaches beyond the file.
    #[error("a sample of {size} bytes at byte {offset} does not fit into a file of {length} bytes")]
    SampleOutsideFile {
        /// Offset of the sample in the file, in bytes.
        offset: u64,
        /// Size of the sample, in bytes.
        size: u32,
        /// Length of the file, in bytes.
        length: u64,
    },
    /// A sample comes later than a recording can last.
    #[error("the sample at byte {offset} comes more than {} days after the start", sample_table::MAX_DAYS)]
    SampleTooLate {
        /// Offset of the sample in the file, in bytes.
        offset: u64,
    },
    /// Two frames are shown at the same time.
    #[error("two frames are shown at the same time")]
    FramesCollide,
    /// No frame is shown.
    #[error("no frame is shown")]
    NoFrame,
    /// Edits of an edit list overlap.
    #[error("the edit list has edits that overlap")]
    EditsOverlap,
    /// An edit plays at another rate than 1, or begins before its media.
    #[error("the edit list has an edit of another rate than 1")]
    EditRate,
    /// An edit list has too many edits.
    #[error("the edit list has {edits} edits, at most {max} are read")]
    TooManyEdits {
        /// Number of edits.
        edits: usize,
        /// The limit.
        max: usize,
    },
    /// The audio track has several edits.
    #[error("the edit list of the audio track has several edits")]
    AudioEdits,
    /// The file has no video track.
    #[error("the file has no video track")]
    NoVideoTrack,
    /// The file has no audio track, or one without samples.
    #[error("the file has no audio")]
    NoAudioTrack,
    /// A track does not have exactly one sample entry.
    #[error("the track has {0} sample entries, expected 1")]
    SampleEntryCount(usize),
}

impl Mp4Error {
    /// Returns the error of decoding the box `name`.
    pub(crate) fn decode(name: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Decode { name, reason: reason.to_string() }
    }
}
