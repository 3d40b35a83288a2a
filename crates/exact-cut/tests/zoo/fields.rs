//! H.264 in fields: each picture is two coded fields (ITU-T H.264, sections 7.3.3 and 8.2.4.2.5), which are samples of their own
//! in some files. No available encoder writes it: Main profile, one slice a field, the drawn macroblocks as `I_PCM`, all others
//! as `P_Skip`, which copies the field of the same parity before.

use std::path::PathBuf;

use testkit::frame_numbers::draw;

use crate::bits::{Bits, picture_parameters, unit};
use crate::boxes::reboxed;
use crate::cameras::muxed;

/// Width and height of a field in macroblocks.
const ACROSS: usize = 20;
const DOWN: usize = 6;
/// Width of a picture in pixels.
const WIDTH: usize = 16 * ACROSS;
/// Pictures from one IDR picture to the next.
const GROUP: u32 = 60;

/// How long a field is shown, in ticks of ffmpeg's 1,200,000 a second.
const FIELD_TICKS: u32 = 20_000;

/// Returns a file with `frames` pictures, numbered from `first`. Each field is a sample, as ffmpeg writes them.
pub fn as_samples(first: u32, frames: u32) -> PathBuf {
    let muxed = muxed(&format!("fields-{first}-{frames}"), &stream(first, frames));
    reboxed(&muxed, "as-samples", |boxes| {
        let fields = boxes.table(0, "stsz").words()[1];
        assert_eq!(fields, 2 * frames, "ffmpeg writes a sample for each field");
        boxes.table(0, "stts").set_pairs(&[(fields, FIELD_TICKS)]); // ffmpeg writes some that are one tick longer
    })
}

/// Returns the same file with both fields of a picture in one sample.
pub fn as_one_sample(first: u32, frames: u32) -> PathBuf {
    reboxed(&as_samples(first, frames), "as-one-sample", |boxes| {
        let sizes = boxes.table(0, "stsz").words().split_off(2);
        let pairs: Vec<u32> = sizes.chunks_exact(2).map(|pair| pair[0] + pair[1]).collect();
        boxes.table(0, "stsz").set_words(&[&[0, frames], &pairs[..]].concat());
        boxes.table(0, "stts").set_pairs(&[(frames, 2 * FIELD_TICKS)]);
        let numbers = boxes.table(0, "stss").words();
        let halves: Vec<u32> = numbers[1..].iter().map(|number| number.div_ceil(2)).collect();
        boxes.table(0, "stss").set_words(&[&numbers[..1], &halves[..]].concat());
        let runs = boxes.table(0, "stsc").words();
        let samples = runs[1..].chunks_exact(3).flat_map(|run| [run[0], run[1] / 2, run[2]]);
        let runs: Vec<u32> = runs[..1].iter().copied().chain(samples).collect();
        boxes.table(0, "stsc").set_words(&runs);
    })
}

fn stream(first: u32, frames: u32) -> Vec<u8> {
    let mut stream = Vec::new();
    unit(&mut stream, 0x67, sequence());
    unit(&mut stream, 0x68, picture_parameters());
    for n in 0..frames {
        let luma = draw(first + n, WIDTH);
        for bottom in [false, true] {
            field(&mut stream, n, bottom, &luma);
        }
    }
    stream
}

/// Writes a field. The first macroblocks hold its lines of the number; the others are painted once in a group.
fn field(stream: &mut Vec<u8>, n: u32, bottom: bool, luma: &[u8]) {
    let place = n % GROUP;
    let is_idr = place == 0 && !bottom; // the second field of an IDR picture is none
    let mut bits = Bits::default();
    header(&mut bits, n, bottom, is_idr);
    let painted = if place == 0 { ACROSS * DOWN } else { ACROSS };
    for block in 0..painted {
        if !is_idr {
            bits.ue(0); // none is skipped
        }
        bits.ue(if is_idr { 25 } else { 30 });
        bits.align(false);
        let (x, y) = (block % ACROSS * 16, block / ACROSS * 16);
        for row in (y..y + 16).map(|row| 2 * row + usize::from(bottom)) {
            for column in x..x + 16 {
                let paint = u8::try_from((row * 2 + column) % 200 + 20).expect("at most 219");
                bits.byte(luma.get(row * WIDTH + column).copied().unwrap_or(paint));
            }
        }
        (0..128).for_each(|_| bits.byte(128));
    }
    let skipped = ACROSS * DOWN - painted;
    if skipped > 0 {
        bits.ue(u32::try_from(skipped).expect("few"));
    }
    unit(stream, if is_idr { 0x65 } else { 0x61 }, bits);
}

fn sequence() -> Bits {
    let mut bits = Bits::default();
    for byte in [77, 0, 30] {
        bits.byte(byte);
    }
    bits.ue(0); // seq_parameter_set_id
    bits.ue(4); // frame_num in 8 bits
    bits.ue(2); // shown in the order in which they are decoded
    bits.ue(2); // max_num_ref_frames
    bits.bit(false);
    bits.ue(19);
    bits.ue(5); // in pairs of macroblocks
    bits.bit(false); // fields
    bits.bit(false); // no macroblocks of both
    bits.bit(true); // direct_8x8_inference_flag must be 1
    bits.bit(false);
    bits.bit(false);
    bits
}

fn header(bits: &mut Bits, n: u32, bottom: bool, is_idr: bool) {
    bits.ue(0);
    bits.ue(if is_idr { 7 } else { 5 });
    bits.ue(0);
    bits.bits(n % GROUP, 8); // frame_num
    bits.bit(true); // a field
    bits.bit(bottom);
    if is_idr {
        bits.ue(n / GROUP % 2); // idr_pic_id
        bits.bit(false);
        bits.bit(false);
    } else {
        bits.bit(false);
        bits.bit(false);
        bits.bit(false);
    }
    bits.ue(0); // slice_qp_delta
    bits.ue(1); // not deblocked
}
