//! The number of each frame, drawn into its picture: a row of 24 square blocks at the top left, the most significant
//! bit first, white for 1 and black for 0. So a test reads back which frame it sees. This is the one place in Rust that
//! knows the layout; `scripts/footage/frame_number.py` is the one in Python.

/// Blocks in the row, one for each bit.
pub const BITS: usize = 24;

/// Returns the ffmpeg filters that draw the row for frames of `width` pixels, numbered from `first`, at `rate`.
#[must_use]
pub fn row_filters(first: u32, rate: &str, width: usize) -> String {
    let block = width / BITS;
    format!(
        "color=s={BITS}x1:r={rate},format=gray,geq=lum='255*mod(floor((N+{first})/pow(2,{}-X)),2)',\
         scale={}:{block}:flags=neighbor,format=yuv420p",
        BITS - 1,
        block * BITS
    )
}

/// Returns the luma of the row for `number` in a picture of `width` pixels: the height of the row, and the width of the
/// picture.
///
/// # Panics
/// Never: a bit is 0 or 1.
#[must_use]
pub fn draw(number: u32, width: usize) -> Vec<u8> {
    let block = width / BITS;
    let line = (0..width).map(|x| match x / block {
        bit if bit < BITS => 16 + 219 * u8::try_from(number >> (BITS - 1 - bit) & 1).expect("a bit"),
        _ => 128,
    });
    line.collect::<Vec<u8>>().repeat(block)
}

/// Returns the number in a picture, given as luma.
///
/// # Panics
/// If a block is neither black nor white.
#[must_use]
pub fn number(picture: &[u8], width: usize) -> u32 {
    let block = width / BITS;
    (0..BITS).fold(0, |number, bit| {
        let center = picture[block / 2 * width + bit * block + block / 2];
        assert!(!(70..=185).contains(&center), "expected a black or white block {bit}, got luma {center}");
        number << 1 | u32::from(center > 127)
    })
}

/// Returns the number in a picture that may be scaled, turned or framed, or `None` if it cannot be read. `size` is that of
/// the picture as it was drawn; `luma` returns the luma at a place, given as fractions of that picture's width and height.
pub fn read((width, height): (usize, usize), luma: impl Fn(f64, f64) -> u8) -> Option<u32> {
    #[allow(clippy::cast_precision_loss)] // pixels of a picture
    let middle = |place: usize, side: usize| (place as f64 + 0.5) / side as f64;
    let block = width / BITS;
    (0..BITS).try_fold(0, |number, bit| {
        let center = luma(middle(bit * block + block / 2, width), middle(block / 2, height));
        (!(70..=185).contains(&center)).then_some(number << 1 | u32::from(center > 127))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_numbers_that_were_drawn() {
        for (drawn, width) in [(0, 320), (1, 320), (0xAB_CDEF, 192), (0xFF_FFFF, 384)] {
            assert_eq!(number(&draw(drawn, width), width), drawn);
        }
    }

    #[test]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels
    fn reads_a_number_that_was_turned() {
        let (size, row) = ((192, 8), draw(0xAB_CDEF, 192));
        let stored = |x: f64, y: f64| row[(y * 8.0) as usize * 192 + (x * 192.0) as usize];
        assert_eq!(read(size, stored), Some(0xAB_CDEF));
        assert_eq!(read(size, |x, y| stored(1.0 - x, y)), Some(0xF7_B3D5));
        assert_eq!(read(size, |_, _| 128), None);
    }
}
