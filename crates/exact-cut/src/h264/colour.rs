//! How the values of pixels mean colours (ITU-T H.273).

/// A matrix of BT.709 is assumed from so many lines on where nothing is said, as browsers do.
const HD_LINES: u16 = 720;

/// A description of colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// Colour primaries, transfer characteristics, matrix coefficients. 2 means unspecified.
    pub codes: [u8; 3],
    /// Luma uses all of 0 to 255.
    pub full_range: bool,
}

impl Colour {
    /// Nothing is said.
    pub const UNSPECIFIED: Self = Self { codes: [2; 3], full_range: false };

    /// Returns ffmpeg's name of the matrix, for pictures of that height.
    #[must_use]
    pub const fn matrix(self, height: u16) -> &'static str {
        match self.codes[2] {
            1 => "bt709",
            4 => "fcc",
            5 | 6 => "smpte170m",
            7 => "smpte240m",
            9 | 10 => "bt2020",
            _ if height >= HD_LINES => "bt709",
            _ => "smpte170m",
        }
    }

    /// Returns ffmpeg's name of the range.
    #[must_use]
    pub const fn range(self) -> &'static str {
        if self.full_range { "pc" } else { "tv" }
    }
}
