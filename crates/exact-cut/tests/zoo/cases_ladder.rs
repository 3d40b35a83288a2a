//! Footage that makes the usual way to a clip fail, and another one succeed.

use std::ops::Range;
use std::path::PathBuf;

use crate::boxes::{Boxes, Node, patched};
use crate::cameras::{Audio, Camera, Recording};
use crate::cases::{SPAN, film_of, heard, one, one_edited, plain};
use crate::cases_boxes::samples;

/// Part of what is said of pictures that cannot be decoded.
const NO_PICTURE: &str = "the decoder shows no picture of";
/// Part of what is said of a clip whose copied pictures do not come out right.
const FAILED: &str = "clip.mp4";

pub fn all() -> Vec<Camera> {
    vec![compressed_movie(), one_damaged_picture(), damaged_end(), damaged_start()]
}

impl Camera {
    fn steps(self, steps: &[&'static str]) -> Self {
        Self { steps: Some(steps.to_vec()), ..self }
    }
}

/// Returns bytes as zlib holds them without compressing them (RFC 1950, RFC 1951).
fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = vec![0x78, 0x01];
    let blocks = bytes.chunks(0xffff).count();
    for (number, block) in (1..).zip(bytes.chunks(0xffff)) {
        let length = u16::try_from(block.len()).expect("short");
        zlib.push(u8::from(number == blocks));
        zlib.extend([length.to_le_bytes(), (!length).to_le_bytes()].concat());
        zlib.extend(block);
    }
    let sums = bytes.iter().fold((1_u32, 0_u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    zlib.extend((sums.1 << 16 | sums.0).to_be_bytes());
    zlib
}

/// `moov` is compressed, as old versions of `QuickTime` write it. This engine does not know that, and ffmpeg does.
fn compressed_movie() -> Camera {
    one_edited("compressed-moov", &heard(), |boxes| {
        let moov = boxes.at("moov");
        let bytes = moov.bytes();
        let length = u32::try_from(bytes.len()).expect("small").to_be_bytes();
        let compressed = Node::leaf(*b"cmvd", [&length[..], &stored(&bytes)].concat());
        let cmov = Node { inner: vec![Node::leaf(*b"dcom", *b"zlib"), compressed], ..Node::leaf(*b"cmov", []) };
        *moov = Node { inner: vec![cmov], ..Node::leaf(*b"moov", []) };
    })
    .heard(Audio::Copied)
    .spans(&[SPAN, (0, 1501), (3301, 5000)])
    .steps(&["the file has no video track"])
}

/// Returns silent footage whose slices begin with zeros, in these samples. A decoder shows nothing of them.
pub fn damaged(name: &str, damaged: Range<usize>) -> PathBuf {
    patched(&plain().file(), name, |mut bytes| {
        for (at, size) in &samples(&mut Boxes::of(&bytes), 0)[damaged] {
            let sample = &mut bytes[*at..at + size];
            let mut unit = 0;
            while !matches!(sample[unit + 4] & 0x1f, 1 | 5) {
                unit += 4 + u32::from_be_bytes(sample[unit..unit + 4].try_into().expect("four")) as usize;
            }
            sample[unit + 5..unit + 17].fill(0);
        }
        bytes
    })
}

/// The last picture of a group is damaged. It is left out, and the one before is held.
fn one_damaged_picture() -> Camera {
    let recording = Recording::of(|| damaged("picture-59-damaged", 59..60), 0);
    one("one-picture-damaged", recording.showing(|_| vec![film_of(&plain()).without(59)])).steps(&[NO_PICTURE])
}

/// The last pictures are damaged, among them a whole group: their time is a gap.
fn damaged_end() -> Camera {
    let recording = Recording::of(|| damaged("end-damaged", 110..150), 0);
    one("end-damaged", recording.showing(|_| vec![film_of(&plain()).only(0..110)]))
        .spans(&[(3301, 5000)])
        .perhaps()
        .steps(&[NO_PICTURE, FAILED, NO_PICTURE])
}

/// The first two groups of pictures are damaged: their time is a gap.
fn damaged_start() -> Camera {
    let recording = Recording::of(|| damaged("start-damaged", 0..120), 0);
    one("start-damaged", recording.showing(|_| vec![film_of(&plain()).only(120..150)])).spans(&[(0, 4703)]).perhaps()
}
