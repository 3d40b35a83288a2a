//! The codecs of pictures that are decoded.

/// A codec of pictures that ffmpeg decodes. Only pictures of H.264 are ever copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoCodec {
    /// ITU-T H.264.
    H264,
    /// ITU-T H.265.
    Hevc,
    /// AV1.
    Av1,
    /// VP9.
    Vp9,
    /// MPEG-4 part 2.
    Mpeg4,
    /// ITU-T H.263.
    H263,
}

impl VideoCodec {
    /// Returns the usual name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
            Self::Vp9 => "VP9",
            Self::Mpeg4 => "MPEG-4",
            Self::H263 => "H.263",
        }
    }

    /// Returns whether the same pictures take about half the bits that H.264 takes.
    #[must_use]
    pub const fn packs_tighter_than_h264(self) -> bool {
        matches!(self, Self::Hevc | Self::Av1 | Self::Vp9)
    }
}
