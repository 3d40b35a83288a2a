//! How a picture is to be turned for display (`tkhd`'s matrix; ISO/IEC 14496-12, section 8.3.2).

/// A multiple of 90°, mirrored or not, as ffmpeg's filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// Turns a stored picture upright; a chain of filters, maybe empty.
    pub upright: &'static str,
    /// Turns an upright picture back to how it is stored.
    pub back: &'static str,
    /// Whether width and height change places.
    pub swaps: bool,
}

impl Orientation {
    /// Reads a matrix, which maps (x, y) to (a·x + c·y, b·x + d·y) in 16.16. `None` if it is no such orientation.
    #[must_use]
    pub fn of(matrix: &[i32; 9]) -> Option<Self> {
        const ONE: i32 = 0x1_0000;
        let &[a, b, _, c, d, ..] = matrix;
        let (upright, back, swaps) = match [a, b, c, d] {
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
        Some(Self { upright, back, swaps })
    }
}
