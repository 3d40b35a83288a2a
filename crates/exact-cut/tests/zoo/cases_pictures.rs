//! What pictures are made of: formats, colours, levels.

use testkit::footage::{Footage, X264};

use crate::boxes::Boxes;
use crate::cameras::{Camera, Copies, Recording, camera, footage, numbered};
use crate::cases::{SPAN, film_of, one, one_edited, plain, pyramid, remuxed, with};
use crate::film::Film;
use crate::mp4_edit;

pub fn all() -> Vec<Camera> {
    let mut all = formats();
    all.extend(codecs());
    all.extend(levels());
    all.extend(told_in_one_place());
    all.extend(changing());
    all.extend(almost_still());
    all.extend(red());
    all
}

/// Formats that cannot be copied.
fn formats() -> Vec<Camera> {
    let in_format = |name: &str, options: &str, filters: &'static str| {
        let footage = Footage { filters, ..footage(options) };
        Camera { copies: Copies::None, ..one(name, Recording::of(move || footage.file(), 0)) }
    };
    let without_chroma_fields = |name: &str, options: &str, filters: &'static str| {
        let footage = Footage { filters, ..footage(&format!("-bf 0 -g 60 {options}")) };
        let make = move || mp4_edit::without_chroma_fields(&footage.file());
        Camera { copies: Copies::None, ..one(name, Recording::of(make, 0)) }
    };
    vec![
        in_format("profile-244", "-bf 0 -g 60 -pix_fmt yuv444p", ",format=yuv444p"),
        in_format("profile-122", "-bf 0 -g 60 -pix_fmt yuv422p", ",format=yuv422p"),
        without_chroma_fields("profile-244-without-chroma-fields", "-pix_fmt yuv444p", ",format=yuv444p"),
        without_chroma_fields("profile-122-without-chroma-fields", "-pix_fmt yuv422p", ",format=yuv422p"),
        in_format("gray", "-bf 0 -g 60 -pix_fmt gray", ",format=gray"),
    ]
}

/// Codecs whose pictures are decoded, but never copied; and H.264 under another name.
fn codecs() -> Vec<Camera> {
    let coded = |name: &str, options: &str, size| {
        let footage = Footage { size, ..footage(options) };
        let recording = |n: u32| {
            let footage = numbered(&footage, n);
            Recording::of(move || footage.file(), 5000 * i64::from(n))
        };
        Camera { copies: Copies::None, ..camera(name, vec![recording(0), recording(1)], &[SPAN, (3317, 6703)]) }
    };
    let usual = Footage::default().size;
    vec![
        coded("av1", "-c:v libaom-av1 -usage realtime -cpu-used 8 -row-mt 0 -threads 1 -crf 20 -g 60", usual),
        coded(
            "vp9",
            "-c:v libvpx-vp9 -cpu-used 5 -threads 1 -crf 15 -b:v 0 -auto-alt-ref 1 -lag-in-frames 12 -g 60",
            usual,
        ),
        coded("mpeg-4", "-c:v mpeg4 -q:v 2 -bf 2 -g 60", usual),
        coded("h.263", "-c:v h263 -q:v 6 -g 60 -f 3gp", (352, 288)),
        one_edited("type-of-dolby-vision", &pyramid(), |boxes| boxes.table(0, "stsd/avc1").kind = *b"dvav"),
    ]
}

/// Levels that the pictures do not fit into, or that no encoder knows, and sets that do not end where they should.
fn levels() -> Vec<Camera> {
    let level = |name: &str, level: u8| {
        one_edited(name, &plain(), move |boxes| {
            let avcc = &mut boxes.table(0, "stsd/avc1/avcC").own;
            assert_eq!(avcc[8], 0x67, "the only sequence parameter set");
            (avcc[3], avcc[11]) = (level, level);
        })
    };
    let trailing_zero = |boxes: &mut Boxes| {
        let avcc = &mut boxes.table(0, "stsd/avc1/avcC").own;
        let end = 8 + usize::from(avcc[7]);
        avcc[7] += 1;
        avcc.insert(end, 0);
    };
    vec![
        // 240 macroblocks, where level 1 has 99
        level("level-that-lies", 10).perhaps(),
        level("level-43", 43),
        level("level-0", 0),
        one_edited("sps-with-a-trailing-zero", &plain(), trailing_zero).perhaps(),
    ]
}

/// Colours that are told in the container only, and codes that nobody knows.
fn told_in_one_place() -> Vec<Camera> {
    let remade = |name: &'static str, options: &'static str| {
        let make = move || remuxed(&[&plain().file()], name, &format!("-c copy {options}"));
        one(name, Recording::of(make, 0).showing(|_| vec![film_of(&plain())]))
    };
    vec![
        remade("colours-in-colr-only", "-color_primaries bt709 -color_trc bt709 -colorspace bt709"),
        remade("matrix-coefficients-3", "-bsf:v h264_metadata=matrix_coefficients=3").perhaps(),
        remade(
            "unknown-colour-codes",
            "-bsf:v h264_metadata=colour_primaries=77:transfer_characteristics=78:matrix_coefficients=79",
        )
        .perhaps(),
    ]
}

/// Pictures that differ by faint noise alone: what an encoder saves there makes a frame the same as the one before.
fn almost_still() -> Vec<Camera> {
    let still = |options: &str| Footage {
        filters: ",lutyuv=y=90:u=128:v=128,noise=alls=2:allf=t",
        frames: 90,
        options: options.to_owned(),
        ..Footage::default()
    };
    let plays = |name: &str, footage: Footage| {
        let shown = footage.clone();
        let recording = Recording::of(move || footage.file(), 0);
        let recording = recording.showing(move |_| vec![film_of(&shown).without_numbers()]);
        one(name, recording).spans(&[(317, 2203)])
    };
    let hevc = "-c:v libx265 -preset ultrafast -x265-params keyint=60:pools=1:qp=6:log-level=error -tag:v hvc1";
    vec![
        plays("almost-still", still(&format!("{X264} -bf 0 -g 60 -qp 8"))),
        Camera { copies: Copies::None, ..plays("almost-still-hevc", still(hevc)) },
    ]
}

/// Two recordings whose colours are coded in different ways: those of the second one are converted.
fn changing() -> Vec<Camera> {
    let tagged = |tags: &str| with(&plain(), tags);
    let hd = tagged("-color_primaries bt709 -color_trc bt709 -colorspace bt709");
    let sd = tagged("-color_primaries smpte170m -color_trc smpte170m -colorspace smpte170m");
    let limited = tagged("-color_range tv");
    let full = Footage { filters: ",scale=out_range=pc,format=yuvj420p", ..footage("-bf 0 -g 60 -color_range pc") };
    let two = |name: &str, first: &Footage, second: &Footage, filters: &'static str| {
        let (first, second) = (first.clone(), numbered(second, 1));
        let shown = second.clone();
        let second = Recording::of(move || second.file(), 5000)
            .showing(move |_| vec![Film::filtered(&shown.file(), false, (filters, None))]);
        let recordings = vec![Recording::of(move || first.file(), 0), second];
        // the way through RGB is worth some decibels; a wrong conversion would cost more
        Camera { least_psnr: Some(36.0), ..camera(name, recordings, &[(2117, 6703)]) }
    };
    vec![
        two("colour-matrix-changed", &hd, &sd, "scale=in_color_matrix=bt601:out_color_matrix=bt709,"),
        two("colour-range-changed", &limited, &full, "scale=in_range=pc:out_range=tv,"),
    ]
}

/// Pure red below a gray strip with the number, as BT.709 and BT.601 code it.
const RED_709: &str = ",split[all][copy];[all]lutyuv=y=63:u=102:v=240[red];\
    [copy]crop=iw:ih/10:0:0,lutyuv=u=128:v=128[strip];[red][strip]overlay=0:0";
const RED_601: &str = ",split[all][copy];[all]lutyuv=y=81:u=90:v=240[red];\
    [copy]crop=iw:ih/10:0:0,lutyuv=u=128:v=128[strip];[red][strip]overlay=0:0";
const RED_RGB: &str = ",split[all][copy];[all]lutyuv=y=63:u=102:v=240[red];\
    [copy]crop=iw:ih/10:0:0,lutyuv=u=128:v=128[strip];[red][strip]overlay=0:0,\
    scale=in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int,format=bgr24";

/// Thumbnails of pure red. Where nothing tells the colour matrix, it is BT.709 from 720 lines on, as in browsers.
fn red() -> Vec<Camera> {
    const HD: (usize, usize) = (1280, 720);
    const SD: (usize, usize) = (320, 180);
    let painted = |size: (usize, usize), filters: &'static str, options: &str| Footage {
        size,
        filters,
        frames: 36,
        options: format!("{X264} -bf 0 -g 10{options}"),
        ..Footage::default()
    };
    let seen = |camera: Camera| Camera { looks_at_thumbnails: true, red: true, ..camera }.spans(&[(217, 1103)]);
    let plays = |name: &str, footage: Footage| seen(one(name, Recording::of(move || footage.file(), 0)));
    let (hd_tags, sd_tags) = (
        " -color_primaries bt709 -color_trc bt709 -colorspace bt709",
        " -color_primaries smpte170m -color_trc smpte170m -colorspace smpte170m",
    );
    let in_container = {
        let base = painted(SD, RED_709, "");
        let shown = base.clone();
        let make = move || remuxed(&[&base.file()], "colr", &format!("-c copy{hd_tags}"));
        Recording::of(make, 0).showing(move |_| vec![film_of(&shown)])
    };
    let lossless = "-c:v libx264rgb -preset ultrafast -threads 1 -qp 0 -g 10".to_owned();
    let rgb = Footage { options: lossless, ..painted(HD, RED_RGB, "") };
    let rgb =
        Recording::of(move || rgb.file(), 0).showing(move |_| vec![Film::of(&painted(HD, RED_709, "").file(), false)]);
    vec![
        plays("red-720-lines", painted(HD, RED_709, "")),
        plays("red-720-lines-tagged-as-bt-601", painted(HD, RED_601, sd_tags)),
        plays("red-180-lines", painted(SD, RED_601, "")),
        plays("red-180-lines-tagged-as-bt-709", painted(SD, RED_709, hd_tags)),
        seen(one("red-180-lines-with-colr", in_container)),
        // the way from RGB costs some decibels; the wrong matrix costs more
        Camera { copies: Copies::None, least_psnr: Some(42.0), ..seen(one("red-720-lines-rgb", rgb)) },
    ]
}
