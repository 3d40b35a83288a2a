//! A track of a clip, as data.

use std::num::NonZeroU32;

use crate::mp4::orientation::Orientation;
use crate::mp4::sample_entry::SampleEntry;

/// A sample of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackSample {
    /// Size in bytes.
    pub size: u32,
    /// Composition time, in ticks of the track.
    pub pts: i64,
    /// Whether decoding may begin here.
    pub sync: bool,
}

/// How pictures are displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Display {
    /// Width and height before rotation, in pixels.
    pub size: (u16, u16),
    /// How they are turned.
    pub orientation: Orientation,
}

/// A track.
#[derive(Clone, Debug)]
pub struct Track {
    /// Codec and parameter sets.
    pub entry: SampleEntry,
    /// How pictures are displayed, or `None` for audio.
    pub display: Option<Display>,
    /// Ticks a second.
    pub timescale: NonZeroU32,
    /// Samples in decode order; at least one.
    pub samples: Vec<TrackSample>,
    /// End of the sample that is shown last, in ticks.
    pub end_pts: i64,
}

impl Track {
    /// Returns the decode time of each sample: the k-th sample in decode order is decoded at the k-th smallest composition
    /// time. These times rise, never drift from the pictures, and need no edit list; in exchange, composition offsets may
    /// be negative (`ctts` version 1).
    #[must_use]
    pub fn decode_times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.samples.iter().map(|sample| sample.pts).collect();
        times.sort_unstable();
        times
    }
}

/// Where the bytes of a sample lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleLocation<S> {
    /// The source of the bytes.
    pub source: S,
    /// Offset of the first byte in the source.
    pub offset: u64,
}

/// A track, and where the bytes of its samples lie.
#[derive(Clone, Debug)]
pub struct TrackWithSources<S> {
    /// The track.
    pub track: Track,
    /// Locations of the samples, in decode order.
    pub locations: Vec<SampleLocation<S>>,
}
