//! Displayed shapes: what `pasp`, `tkhd`, the matrix and the sequence parameter set say of them, and shapes that change.

use exact_cut::plan::segments::TrimMode;
use testkit::footage::Footage;

use crate::boxes::{Boxes, reboxed};
use crate::cameras::{Camera, Copies, PLAIN, Recording, camera, footage, numbered};
use crate::cases::{SPAN, edited, film_of, one, plain, remuxed};
use crate::cases_boxes::{halves, halves_in_one_entry};
use crate::film::Film;
use crate::mp4_edit;

/// Most of the first half, most of the second, only the second, only the first.
const WHERE_HALVES_MEET: [(i64, i64); 4] = [(517, 3301), (1917, 4703), (2717, 4703), (517, 2303)];

pub fn all() -> Vec<Camera> {
    let mut all = shapes();
    all.extend(unreduced_aspects());
    all.extend(padded());
    all.extend(matrices());
    all.extend(changing());
    all.push(odd_size());
    all.extend(cropped_in_front());
    all.extend(cut_by_the_entry());
    all.push(hevc());
    all
}

/// Returns footage of a size with filters; its pixels have no aspect unless a filter sets one.
fn sized(size: (usize, usize), filters: &'static str) -> Footage {
    Footage { size, filters, ..footage(PLAIN) }
}

/// Sets width and height of `tkhd`.
fn set_tkhd(boxes: &mut Boxes, (width, height): (u32, u32)) {
    let tkhd = &mut boxes.at("moov/trak/tkhd").own;
    tkhd[76..80].copy_from_slice(&(width << 16).to_be_bytes());
    tkhd[80..84].copy_from_slice(&(height << 16).to_be_bytes());
}

/// Returns a camera that is displayed in the shape `displayed`.
fn displayed(name: &str, recording: Recording, displayed: (u32, u32)) -> Camera {
    let Recording { make, at, shows } = recording;
    let shows = shows.expect("the footage that it was made of");
    let recording = Recording { make, at, shows: None }
        .showing(move |file| shows(file).into_iter().map(|film| film.displayed(displayed)).collect());
    Camera { looks_at_thumbnails: true, turned: Some([1, 0, 0, 1]), ..one(name, recording) }
}

/// The displayed shape is that of `pasp`, else of `tkhd` where it differs from the stored one, else of the SPS.
fn shapes() -> Vec<Camera> {
    let reshaped = |name: &str, base: Footage, edit: fn(&mut Boxes), shape: (u32, u32)| {
        displayed(name, edited(&base, name, edit), shape)
    };
    let no_pasp = |boxes: &mut Boxes| boxes.table(0, "stsd/avc1/pasp").kind = *b"free";
    let in_container = |name: &'static str, base: Footage, aspect: &'static str, shape: (u32, u32)| {
        let shown = base.clone();
        let make = move || remuxed(&[&base.file()], name, &format!("-c copy -aspect {aspect}"));
        displayed(name, Recording::of(make, 0).showing(move |_| vec![film_of(&shown)]), shape)
    };
    vec![
        // 5:4 as stored, and so says tkhd
        reshaped(
            "aspect-in-sps-only",
            sized((360, 288), ",setsar=64/45"),
            |boxes| {
                boxes.table(0, "stsd/avc1/pasp").kind = *b"free";
                set_tkhd(boxes, (360, 288));
            },
            (16, 9),
        ),
        reshaped(
            "aspect-in-tkhd-only",
            sized((240, 180), ",setsar=0"),
            |boxes| {
                assert!(boxes.table(0, "stsd/avc1").inner.iter().all(|node| node.kind != *b"pasp"), "no pasp");
                set_tkhd(boxes, (320, 180));
            },
            (16, 9),
        ),
        reshaped(
            "aspect-in-tkhd-and-another-in-sps",
            sized((240, 180), ",setsar=2/1"),
            |boxes| {
                boxes.table(0, "stsd/avc1/pasp").kind = *b"free";
                set_tkhd(boxes, (320, 180));
            },
            (16, 9),
        ),
        reshaped(
            "aspect-in-pasp-and-another-in-tkhd",
            sized((240, 180), ",setsar=4/3"),
            |boxes| set_tkhd(boxes, (240, 144)),
            (16, 9),
        ),
        // a difference of less than one percent is none
        reshaped("tkhd-one-pixel-off", sized((320, 180), ",setsar=0"), |boxes| set_tkhd(boxes, (322, 180)), (16, 9)),
        reshaped(
            "tkhd-without-a-size",
            sized((240, 180), ",setsar=4/3"),
            |boxes| {
                boxes.table(0, "stsd/avc1/pasp").kind = *b"free";
                set_tkhd(boxes, (0, 0));
            },
            (16, 9),
        ),
        in_container("aspect-in-pasp-only", sized((240, 180), ",setsar=0"), "16:9", (16, 9)),
        in_container("aspect-in-pasp-and-another-in-sps", sized((240, 180), ",setsar=1"), "16:9", (16, 9)),
        reshaped("square-pixels-without-pasp", sized((240, 180), ",setsar=1"), no_pasp, (4, 3)),
    ]
}

/// 192 lines are coded, and only the sample entry says that 180 are shown, as some of Canon's cameras have it.
fn cut_by_the_entry() -> Vec<Camera> {
    let recording = |name: &str| {
        let recording = edited(&sized((320, 192), ""), name, |boxes| {
            boxes.table(0, "stsd/avc1").own[26..28].copy_from_slice(&180_u16.to_be_bytes());
            set_tkhd(boxes, (320, 180));
        });
        recording.showing(|file| vec![Film::of(file, false)])
    };
    let encoded = displayed("lines-cut-by-the-entry-encoded", recording("cut-encoded"), (16, 9));
    vec![
        displayed("lines-cut-by-the-entry", recording("cut"), (16, 9)),
        Camera { mode: TrimMode::Encode, copies: Copies::None, ..encoded },
    ]
}

/// The parameter set of HEVC alone tells the shape.
fn hevc() -> Camera {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params keyint=60:pools=1:log-level=error -tag:v hvc1";
    let base = Footage { size: (240, 180), filters: ",setsar=4/3", ..footage(x265) };
    let recording = edited(&base, "aspect-in-sps-only", |boxes| {
        boxes.table(0, "stsd/hvc1/pasp").kind = *b"free";
        set_tkhd(boxes, (240, 180));
    });
    Camera { copies: Copies::None, ..displayed("aspect-in-sps-only-of-hevc", recording, (16, 9)) }
}

/// Pixel aspects in the SPS that are not in lowest terms, or have large terms.
fn unreduced_aspects() -> Vec<Camera> {
    let written = |name: &'static str, aspect: [u16; 2], shape: (u32, u32)| {
        let base = sized((240, 180), ",setsar=0");
        let shown = base.clone();
        let make = move || {
            // ffmpeg writes lowest terms only
            let options = "-c copy -bsf:v h264_metadata=sample_aspect_ratio=811/607";
            reboxed(&remuxed(&[&base.file()], "pixel-aspect-811-607", options), name, |boxes| {
                replace_bits(&mut boxes.table(0, "stsd/avc1/avcC").own, [811, 607], aspect);
            })
        };
        displayed(name, Recording::of(make, 0).showing(move |_| vec![film_of(&shown)]), shape)
    };
    vec![
        written("pixel-aspect-64-64", [64, 64], (4, 3)),
        written("pixel-aspect-8-6", [8, 6], (16, 9)),
        written("pixel-aspect-20000-15000", [20_000, 15_000], (16, 9)),
    ]
}

/// Replaces two numbers of 16 bits, which need not begin at a byte.
fn replace_bits(bytes: &mut [u8], from: [u16; 2], to: [u16; 2]) {
    let bits = |[a, b]: [u16; 2]| u64::from(a) << 16 | u64::from(b);
    for start in 0..bytes.len() - 4 {
        let window = bytes[start..start + 5].iter().fold(0_u64, |window, byte| window << 8 | u64::from(*byte));
        for shift in 0..8 {
            let mask = u64::from(u32::MAX) << shift;
            if window & mask == bits(from) << shift {
                let window = window & !mask | bits(to) << shift;
                bytes[start..start + 5].copy_from_slice(&window.to_be_bytes()[3..]);
                return;
            }
        }
    }
    panic!("{from:?} is not there");
}

/// The sample entry and `tkhd` state a size that is padded to whole macroblocks.
fn padded() -> Vec<Camera> {
    let padded = |name: &str, options: &str| {
        let base = Footage { size: (202, 202), ..footage(options) };
        let recording = edited(&base, name, |boxes| {
            boxes.table(0, "stsd/avc1").own[24..28].copy_from_slice(&[0, 208, 0, 208]);
            set_tkhd(boxes, (208, 208));
        });
        displayed(name, recording, (1, 1))
    };
    vec![
        padded("padded-size", PLAIN),
        Camera { copies: Copies::None, ..padded("padded-size-of-10-bit", "-pix_fmt yuv420p10le -g 60") },
    ]
}

/// Matrices that turn by almost a quarter, that scale, that turn by anything: the nearest orientation counts.
fn matrices() -> Vec<Camera> {
    let with_matrix = |name: &str, base: &Footage, [a, b, c, d]: [i32; 4], turned: [i8; 4], shape: (u32, u32)| {
        let recording = edited(base, name, move |boxes| {
            let words = [a, b, 0, c, d, 0, 0, 0, 0x4000_0000];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            boxes.at("moov/trak/tkhd").own[40..76].copy_from_slice(&bytes);
        });
        Camera { turned: Some(turned), ..displayed(name, recording, shape) }
    };
    let wide = sized((240, 180), ",setsar=4/3");
    vec![
        with_matrix("matrix-of-almost-a-quarter", &plain(), [1, 65_535, -65_535, 1], [0, 1, -1, 0], (9, 16)),
        with_matrix("matrix-that-scales", &plain(), [0x2_0000, 0, 0, 0x2_0000], [1, 0, 0, 1], (16, 9)),
        with_matrix("matrix-that-turns-and-scales", &plain(), [0, -0x8000, 0x8000, 0], [0, -1, 1, 0], (9, 16)),
        with_matrix("matrix-of-30-degrees", &plain(), [56_756, 32_768, -32_768, 56_756], [1, 0, 0, 1], (16, 9)),
        with_matrix("matrix-that-mirrors", &plain(), [-0x1_0000, 0, 0, 0x1_0000], [-1, 0, 0, 1], (16, 9)),
        with_matrix("pixel-aspect-turned", &wide, [0, 0x1_0000, -0x1_0000, 0], [0, 1, -1, 0], (9, 16)),
    ]
}

/// The shape changes: what differs is fitted within, with bars. All sizes are such that no side is rounded.
fn changing() -> Vec<Camera> {
    let (wide, narrow) = (sized((384, 216), ",setsar=1"), sized((256, 192), ",setsar=1"));
    let stretched = sized((256, 192), ",setsar=4/3");
    let plays = |footage: &Footage, n: u32| {
        let footage = numbered(footage, n);
        Recording::of(move || footage.file(), i64::from(n) * 5000)
    };
    let two = |name: &str, first: &Footage, second: &Footage, spans: &[(i64, i64)]| {
        let recordings = vec![plays(first, 0), plays(second, 1)];
        Camera { looks_at_thumbnails: true, ..camera(name, recordings, spans) }
    };
    let turned = {
        let (made, shown) = (numbered(&narrow, 1), numbered(&narrow, 1));
        Recording::of(move || mp4_edit::turned(&made.file(), 1), 5000).showing(move |_| {
            let upright = Film::filtered(&shown.file(), false, ("transpose=clock,", Some((192, 256))));
            vec![upright.displayed((3, 4)).without_numbers()]
        })
    };
    vec![
        // the first shows more, the second, both alike, only the second
        two("shape-changed", &wide, &narrow, &[(1117, 6703), (4117, 9703), (3000, 7000), (5117, 8903)]),
        camera("turned-in-the-second-recording", vec![plays(&narrow, 0), turned], &[(1117, 6703)]),
        two("pixel-aspect-changed", &narrow, &stretched, &[(1117, 6703), (4117, 9703)]),
        Camera {
            looks_at_thumbnails: true,
            ..one("shape-changed-in-a-file", halves(&wide, &narrow)).perhaps().spans(&WHERE_HALVES_MEET)
        },
        Camera {
            looks_at_thumbnails: true,
            ..one("shape-changed-without-a-sample-entry", halves_in_one_entry(&wide, &narrow))
                .perhaps()
                .spans(&WHERE_HALVES_MEET)
        },
    ]
}

/// Both sides are odd, which 4:2:0 cannot be. The last column and row go.
fn odd_size() -> Camera {
    let options = "-pix_fmt yuv444p -bf 0 -g 60";
    let odd = Footage { size: (212, 118), filters: ",format=yuv444p,pad=213:119", ..footage(options) };
    let shown = odd.clone();
    let recording = Recording::of(move || odd.file(), 0);
    let cropped =
        move |_: &std::path::Path| vec![Film::filtered(&shown.file(), false, ("crop=212:118:0:0,", Some((212, 118))))];
    let camera = Camera { looks_at_thumbnails: true, ..one("odd-size", recording.showing(cropped)).spans(&[SPAN]) };
    Camera { copies: Copies::None, ..camera }
}

/// The parameter set crops columns on the left and lines at the top, as the conformance stream `CVFC1_Sony_C` does. A decoder
/// that wants its rows aligned in memory crops fewer columns, and shows the picture shifted.
fn cropped_in_front() -> Vec<Camera> {
    let options = "-c copy -bsf:v h264_metadata=crop_left=10:crop_right=6:crop_top=14:crop_bottom=2";
    let recording = || {
        let (base, shown) = (sized((256, 192), ""), sized((256, 192), ""));
        let make = move || remuxed(&[&base.file()], "cropped-in-front", options);
        Recording::of(make, 0).showing(move |_| {
            let cropped = ("crop=240:176:10:14,", Some((240, 176)));
            vec![Film::filtered(&shown.file(), false, cropped).without_numbers()]
        })
    };
    let copied = one("cropped-on-the-left-and-at-the-top", recording());
    let encoded = one("cropped-on-the-left-and-at-the-top-encoded", recording());
    vec![copied, Camera { mode: TrimMode::Encode, copies: Copies::None, ..encoded }]
}
