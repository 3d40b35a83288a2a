//! How a picture is turned for display: the matrix of `tkhd` (ISO/IEC 14496-12, section 8.3.2).
//!
//! Only turns by quarters and mirrorings occur in practice. The clip keeps the matrix of its main recording, and encoded
//! pictures are stored unturned (`-noautorotate`): otherwise the edges would be turned and the copied frames would not.

/// One of the eight orientations: a multiple of 90°, mirrored or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// ffmpeg filters that turn a stored picture upright, separated by commas; may be empty.
    pub to_upright: &'static str,
    /// ffmpeg filters that turn an upright picture into the stored orientation; may be empty.
    pub from_upright: &'static str,
    /// Whether width and height change places.
    pub swaps_sides: bool,
}

impl Orientation {
    /// Reads a matrix, which maps (x, y) to (a·x + c·y, b·x + d·y) in 16.16 fixed point. Returns `None` for any other
    /// transformation.
    #[must_use]
    pub fn from_matrix(matrix: &[i32; 9]) -> Option<Self> {
        const ONE: i32 = 0x1_0000;
        let &[a, b, _, c, d, ..] = matrix;
        let (to_upright, from_upright, swaps_sides) = match [a, b, c, d] {
            [ONE, 0, 0, ONE] => ("", "", false),
            [0, ONE, c, 0] if c == -ONE => ("transpose=clock", "transpose=cclock", true),
            [a, 0, 0, d] if a == -ONE && d == -ONE => ("hflip,vflip", "hflip,vflip", false),
            [0, b, ONE, 0] if b == -ONE => ("transpose=cclock", "transpose=clock", true),
            [a, 0, 0, ONE] if a == -ONE => ("hflip", "hflip", false),
            [ONE, 0, 0, d] if d == -ONE => ("vflip", "vflip", false),
            [0, ONE, ONE, 0] => ("transpose=cclock_flip", "transpose=cclock_flip", true),
            [0, b, c, 0] if b == -ONE && c == -ONE => ("transpose=clock_flip", "transpose=clock_flip", true),
            _ => return None,
        };
        Some(Self { to_upright, from_upright, swaps_sides })
    }
}
