//! H.264 whose pictures refer to a long-term reference picture, which no available encoder writes (ITU-T H.264, sections 7.3
//! and 8.2.5): Baseline, one slice a picture, drawn macroblocks as `I_PCM`, all others as `P_Skip`.

use testkit::frame_numbers::draw;

use crate::bits::{Bits, picture_parameters, unit};

/// Width and height of a picture in macroblocks.
const ACROSS: u8 = 20;
const DOWN: u8 = 12;
/// Width of a picture in pixels.
const WIDTH: usize = 16 * ACROSS as usize;
/// Pictures from one IDR picture to the next.
const GROUP: u32 = 60;

/// Returns `frames` pictures, numbered from `first`, as a byte stream. Every IDR picture becomes a long-term reference. The
/// picture after it is painted anew and becomes a short-term one: after that, odd pictures copy it, even ones the long-term one.
pub fn stream(first: u32, frames: u32) -> Vec<u8> {
    let mut stream = Vec::new();
    unit(&mut stream, 0x67, sequence());
    unit(&mut stream, 0x68, picture_parameters());
    for n in 0..frames {
        let place = n % GROUP;
        let luma = draw(first + n, WIDTH);
        let mut bits = Bits::default();
        header(&mut bits, n, place);
        let mut skipped = 0;
        for block in 0..usize::from(ACROSS) * usize::from(DOWN) {
            let numbered = block < usize::from(ACROSS);
            if place > 1 && !numbered {
                skipped += 1;
                continue;
            }
            if place > 0 {
                bits.ue(skipped);
                skipped = 0;
            }
            bits.ue(if place == 0 { 25 } else { 30 });
            bits.align(false);
            let (x, y) = (block % usize::from(ACROSS) * 16, block / usize::from(ACROSS) * 16);
            for row in y..y + 16 {
                for column in x..x + 16 {
                    let painted = if place == 0 { row * 2 + column } else { 600 - row - column };
                    let painted = u8::try_from(painted % 200 + 20).expect("at most 219");
                    bits.byte(luma.get(row * WIDTH + column).copied().unwrap_or(painted));
                }
            }
            (0..128).for_each(|_| bits.byte(128));
        }
        if place > 0 && skipped > 0 {
            bits.ue(skipped);
        }
        unit(&mut stream, if place == 0 { 0x65 } else { 0x61 }, bits);
    }
    stream
}

fn sequence() -> Bits {
    let mut bits = Bits::default();
    for byte in [66, 0, 30] {
        bits.byte(byte);
    }
    bits.ue(0); // seq_parameter_set_id
    bits.ue(4); // frame_num in 8 bits
    bits.ue(2); // shown in the order in which they are decoded
    bits.ue(2); // max_num_ref_frames
    bits.bit(false);
    bits.ue(u32::from(ACROSS) - 1);
    bits.ue(u32::from(DOWN) - 1);
    bits.bit(true); // frames, not fields
    bits.bit(true);
    bits.bit(false);
    bits.bit(false);
    bits
}

fn header(bits: &mut Bits, n: u32, place: u32) {
    bits.ue(0);
    bits.ue(if place == 0 { 7 } else { 5 });
    bits.ue(0);
    bits.bits(place, 8); // frame_num
    if place == 0 {
        bits.ue(n / GROUP % 2); // idr_pic_id
        bits.bit(false);
        bits.bit(true); // long_term_reference_flag
    } else {
        bits.bit(false);
        let long_term = place > 1 && place.is_multiple_of(2);
        bits.bit(long_term);
        if long_term {
            bits.ue(2); // the first to refer to
            bits.ue(0); // is long-term picture 0
            bits.ue(3);
        }
        bits.bit(false);
    }
    bits.ue(0); // slice_qp_delta
    bits.ue(1); // not deblocked
}
