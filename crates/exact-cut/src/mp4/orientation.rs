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
    /// Returns the orientation that is nearest to a matrix, which maps (x, y) to (a·x + c·y, b·x + d·y). Its scale does not
    /// count, nor does a rounding error or a skew. A matrix of zeros is none: the picture is upright.
    #[must_use]
    pub fn from_matrix(matrix: &[i32; 9]) -> Self {
        let &[a, b, _, c, d, ..] = matrix;
        let size = |number: i32| i64::from(number).abs();
        // the signs of the stronger diagonal
        let swaps_sides = size(b) + size(c) > size(a) + size(d);
        let signs = if swaps_sides { [b < 0, c < 0] } else { [a < 0, d < 0] };
        let (to_upright, from_upright) = match (swaps_sides, signs) {
            (false, [false, false]) => ("", ""),
            (false, [true, true]) => ("hflip,vflip", "hflip,vflip"),
            (false, [true, false]) => ("hflip", "hflip"),
            (false, [false, true]) => ("vflip", "vflip"),
            (true, [false, true]) => ("transpose=clock", "transpose=cclock"),
            (true, [true, false]) => ("transpose=cclock", "transpose=clock"),
            (true, [false, false]) => ("transpose=cclock_flip", "transpose=cclock_flip"),
            (true, [true, true]) => ("transpose=clock_flip", "transpose=clock_flip"),
        };
        Self { to_upright, from_upright, swaps_sides }
    }

    /// Returns the matrix of the orientation, for pictures whose upper left corner is the origin.
    #[must_use]
    pub fn matrix(self) -> [i32; 9] {
        const ONE: i32 = 0x1_0000;
        let [a, b, c, d] = match self.to_upright {
            "hflip,vflip" => [-ONE, 0, 0, -ONE],
            "hflip" => [-ONE, 0, 0, ONE],
            "vflip" => [ONE, 0, 0, -ONE],
            "transpose=clock" => [0, ONE, -ONE, 0],
            "transpose=cclock" => [0, -ONE, ONE, 0],
            "transpose=cclock_flip" => [0, ONE, ONE, 0],
            "transpose=clock_flip" => [0, -ONE, -ONE, 0],
            _ => [ONE, 0, 0, ONE],
        };
        [a, b, 0, c, d, 0, 0, 0, 0x4000_0000]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_orientation_counts_whatever_the_scale() {
        const ONE: i32 = 0x1_0000;
        for a in [-ONE, 0, ONE] {
            for b in [-ONE, 0, ONE] {
                for (c, d) in [(0, a), (0, -a), (b, 0), (-b, 0)] {
                    if (a == 0) == (b == 0) {
                        continue;
                    }
                    let (c, d) = if a == 0 { (c, 0) } else { (0, d) };
                    if (c, d) == (0, 0) {
                        continue;
                    }
                    let exact = [a, b, 0, c, d, 0, 0, 0, 0x4000_0000];
                    let orientation = Orientation::from_matrix(&exact);
                    assert_eq!(orientation.matrix(), exact);
                    let [near, far, near2, far2] = [a, b, c, d].map(|number| number / 3 * 2 + 5);
                    assert_eq!(Orientation::from_matrix(&[near, far, 0, near2, far2, 9, 9, 9, 9]), orientation);
                }
            }
        }
        assert_eq!(Orientation::from_matrix(&[0; 9]).to_upright, "");
        assert_eq!(Orientation::from_matrix(&[1, 65535, 0, -65535, 1, 0, 0, 0, 0]).to_upright, "transpose=clock");
    }
}
