//! Splits the frames that a recording contributes into a run of samples that is copied and edges that are encoded.
//!
//! This is where a clip begins at the right frame. A copied run begins at an IDR picture inside the wanted frames, after
//! which no sample in decode order is shown before it. It ends at the last point where decode and presentation order
//! agree: everything before it is shown before everything after it. Without B-frames that is any point, with them one
//! every few frames. The wanted frames in front of the run, less than a group of pictures, are encoded; so are the frames
//! after its end.

use std::ops::Range;

use crate::h264::nal_units::{NalLengthError, RandomAccess};
use crate::h264::parameter_sets::NotCopyable;
use crate::mp4::sample_table::SampleTable;
use crate::plan::random_access::RandomAccessPoints;
use crate::recording_id::RecordingId;

/// How clips are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum TrimMode {
    /// Copies every frame that can be copied exactly, and encodes the others.
    #[default]
    Smart,
    /// Encodes every frame.
    Encode,
}

/// Why frames are encoded and not copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeReason {
    /// Every frame is to be encoded.
    #[error("TRIM_MODE=encode")]
    Requested,
    /// The bitstream is of a kind that cannot be copied.
    #[error(transparent)]
    Bitstream(#[from] NotCopyable),
    /// A sample is not made of NAL units.
    #[error(transparent)]
    NalLength(#[from] NalLengthError),
    /// Parameter sets among the pictures differ from those in `avcC`.
    #[error("parameter sets among the pictures contradict those in avcC")]
    ContradictingSets,
    /// The edit list joins several parts of the track.
    #[error("the edit list has several edits")]
    SeveralEdits,
    /// The recording has several sample entries with different decoder configurations.
    #[error("the parameters of the recording change inside it")]
    SeveralEntries,
    /// The recording has other parameters than the main recording.
    #[error("parameter sets, shape, rotation or colours differ from the main recording")]
    DiffersFromMain,
    /// A clip with copied frames failed its verification.
    #[error("a clip with copied frames could not be made")]
    SpliceFailed,
    /// Every id of a parameter set is taken.
    #[error("no parameter set id is free")]
    NoFreeId,
    /// The wanted frames hold no IDR picture.
    #[error("no IDR picture to begin a copy with")]
    NoIdr,
    /// The frames lie in front of the first IDR picture.
    #[error("before the first IDR picture")]
    BeforeFirstIdr,
    /// The frames lie after the end of the copied run.
    #[error("after the last point where decode and presentation order agree")]
    AfterLastCut,
}

/// Consecutive frames of one recording that get into the clip in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The recording.
    pub recording: RecordingId,
    /// Frames of the recording, in the order in which they are shown.
    pub frames: Range<usize>,
    /// How the frames get into the clip.
    pub method: Method,
}

/// How frames get into the clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// Byte for byte.
    Copy {
        /// Samples in decode order: an IDR picture and those after it, which are exactly the frames of the segment.
        samples: Range<usize>,
    },
    /// Decoded and encoded.
    Encode {
        /// Samples in decode order that must be decoded.
        decode: Range<usize>,
        /// Why the frames are not copied.
        reason: EncodeReason,
    },
}

impl Segment {
    /// Returns the samples, in decode order, that must be read.
    #[must_use]
    pub fn samples(&self) -> Range<usize> {
        match &self.method {
            Method::Copy { samples } => samples.clone(),
            Method::Encode { decode, .. } => decode.clone(),
        }
    }

    /// Returns whether the frames are copied.
    #[must_use]
    pub const fn is_copy(&self) -> bool {
        matches!(self.method, Method::Copy { .. })
    }
}

/// Splits `frames` of a recording into segments, in order. At most one of them is copied, and none unless `copyable`.
#[must_use]
pub fn split(
    recording: RecordingId,
    table: &SampleTable,
    random_access: &RandomAccessPoints,
    copyable: Result<(), EncodeReason>,
    frames: Range<usize>,
) -> Vec<Segment> {
    let encode = |frames: Range<usize>, reason| {
        if frames.is_empty() {
            return None;
        }
        let decode = random_access.decode_window(table, frames.clone());
        Some(Segment { recording, frames, method: Method::Encode { decode, reason } })
    };
    let run = copyable.and_then(|()| copyable_run(table, random_access, &frames).ok_or(EncodeReason::NoIdr));
    match run {
        Err(reason) => encode(frames, reason).into_iter().collect(),
        Ok(CopyableRun { samples, frames: copied }) => {
            let head = encode(frames.start..copied.start, EncodeReason::BeforeFirstIdr);
            let tail = encode(copied.end..frames.end, EncodeReason::AfterLastCut);
            let body = Segment { recording, frames: copied, method: Method::Copy { samples } };
            head.into_iter().chain([body]).chain(tail).collect()
        }
    }
}

/// Samples that can be copied, and the frames that they are.
struct CopyableRun {
    samples: Range<usize>,
    frames: Range<usize>,
}

/// Returns the longest copyable run within `frames` that begins with the first IDR picture there.
fn copyable_run(table: &SampleTable, random_access: &RandomAccessPoints, frames: &Range<usize>) -> Option<CopyableRun> {
    let first_pts = table.frame(frames.start).pts;
    let last_pts = table.frame(frames.end - 1).pts;
    // at each point between two samples: the latest time before it and the earliest time after it, in decode order
    let mut latest_before = vec![i64::MIN];
    for sample in &table.samples {
        latest_before.push(sample.pts.max(latest_before[latest_before.len() - 1]));
    }
    let mut earliest_after = vec![i64::MAX; latest_before.len()];
    for (index, sample) in table.samples.iter().enumerate().rev() {
        earliest_after[index] = sample.pts.min(earliest_after[index + 1]);
    }
    let orders_agree = |at: &usize| latest_before[*at] < earliest_after[*at];
    let can_begin = |at: &usize| {
        let pts = table.samples[*at].pts;
        (first_pts..=last_pts).contains(&pts)
            && pts == earliest_after[*at]
            && orders_agree(at)
            && random_access.at(table, *at) == RandomAccess::Idr
    };
    let start = (0..table.samples.len()).find(can_begin)?;
    let can_end = |at: &usize| latest_before[*at] <= last_pts && orders_agree(at);
    let end = (start + 1..latest_before.len()).rev().find(can_end)?;
    let number = |pts: i64| table.frames.partition_point(|&frame| table.samples[frame as usize].pts < pts);
    let copied = number(table.samples[start].pts)..number(latest_before[end]) + 1;
    (copied.len() == end - start).then_some(CopyableRun { samples: start..end, frames: copied })
}
