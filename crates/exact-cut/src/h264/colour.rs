//! How the values of pixels mean colours (ITU-T H.273).

use std::ops::RangeInclusive;

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

    /// Returns whether the values are those of red, green and blue, without a matrix.
    #[must_use]
    pub const fn is_rgb(self) -> bool {
        self.codes[2] == 0
    }

    /// Returns the description for pictures of that height that are coded with a matrix: the same, unless these are coded
    /// as red, green and blue.
    #[must_use]
    pub fn with_matrix(self, height: u16) -> Self {
        let [primaries, transfer, _] = self.codes;
        let matrix = if height >= HD_LINES { 1 } else { 6 };
        if self.is_rgb() { Self { codes: [primaries, transfer, matrix], full_range: false } } else { self }
    }

    /// Returns whether the matrix is one that the standard reserves: ffmpeg refuses such pictures.
    #[must_use]
    pub const fn has_reserved_matrix(self) -> bool {
        self.codes[2] == 3
    }

    /// Returns the description without codes that ffmpeg does not know.
    #[must_use]
    pub fn known(self) -> Self {
        let [primaries, transfer, matrix] = self.codes;
        let known = |code: u8, ranges: &[RangeInclusive<u8>]| {
            if ranges.iter().any(|range| range.contains(&code)) { code } else { Self::UNSPECIFIED.codes[0] }
        };
        let codes = [
            known(primaries, &[1..=2, 4..=12, 22..=22]),
            known(transfer, &[1..=2, 4..=18]),
            known(matrix, &[1..=2, 4..=14]),
        ];
        Self { codes, ..self }
    }

    /// Returns ffmpeg's name of the range.
    #[must_use]
    pub const fn range(self) -> &'static str {
        if self.full_range { "pc" } else { "tv" }
    }
}
