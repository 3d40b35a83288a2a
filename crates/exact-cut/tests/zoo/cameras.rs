//! The cameras of the zoo: what they record, and which spans of it are asked for.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{long_term, surgery};
use crate::footage::{Footage, X264};

/// A recording that is there.
pub struct Recording {
    /// Makes its file, unless an earlier test has.
    pub make: Box<dyn Fn() -> PathBuf + Send + Sync>,
    /// When its name says it begins, in ms after the zoo's opening.
    pub at: i64,
}

/// A camera, and what is asked of it.
pub struct Camera {
    pub name: String,
    pub recordings: Vec<Recording>,
    /// In ms after the zoo's opening.
    pub spans: Vec<(i64, i64)>,
    pub copies: Copies,
    pub full_range: bool,
    /// `TRIM_MODE`.
    pub mode: &'static str,
    pub sound: Sound,
}

/// Whether something of its clips is copied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Copies {
    Some,
    None,
    /// Where the span holds an IDR picture, or not at all.
    Perhaps,
}

/// What is heard in its clips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sound {
    No,
    Copied,
    Encoded,
}

/// Sound that tells the time: a beep of 20 ms every half second.
const BEEPS: &str = "aevalsrc='0.7*lt(mod(t,0.5),0.02)*sin(2*PI*1000*t)':s=48000:d=60";
const BEEPS_44: &str = "aevalsrc='0.7*lt(mod(t,0.5),0.02)*sin(2*PI*1000*t)':s=44100:d=60";

const PLAIN: &str = "-bf 0 -g 60";
const PYRAMID: &str = "-bf 3 -b_strategy 0 -g 60 -x264-params b-pyramid=normal:ref=4";

/// Three recordings of 150 frames at 30 a second, one behind the other: the spans of most.
const SPANS: [(i64, i64); 3] = [(1117, 3900), (3317, 6703), (4117, 11_301)];

/// By the usual encoder, unless `options` names another.
fn footage(options: &str) -> Footage {
    let options = if options.starts_with("-c:v") { options.to_owned() } else { format!("{X264} {options}") };
    Footage { options, ..Footage::default() }
}

/// Frame numbers of the second recording begin at 1000, of the third at 2000.
fn numbered(footage: &Footage, recording: u32) -> Footage {
    Footage { first: recording * 1000, ..footage.clone() }
}

fn camera(name: &str, recordings: Vec<Recording>, spans: &[(i64, i64)]) -> Camera {
    let (name, spans) = (name.to_owned(), spans.to_vec());
    Camera { name, recordings, spans, copies: Copies::Some, full_range: false, mode: "smart", sound: Sound::No }
}

/// Three recordings one behind the other, each made of `footage` by `make`.
fn three<M>(name: &str, footage: &Footage, length_ms: i64, make: M) -> Camera
where
    M: Fn(&Path) -> PathBuf + Clone + Send + Sync + 'static,
{
    let recording = |n: u32| {
        let (footage, make) = (numbered(footage, n), make.clone());
        Recording { make: Box::new(move || make(&footage.file())), at: i64::from(n) * length_ms }
    };
    camera(name, (0..3).map(recording).collect(), &SPANS)
}

fn alike(name: &str, options: &str) -> Camera {
    three(name, &footage(options), 5000, Path::to_path_buf)
}

/// One of each footage, at these times.
fn placed(name: &str, recordings: &[(&Footage, i64)], spans: &[(i64, i64)]) -> Camera {
    let recording = |(n, &(footage, at)): (u32, &(&Footage, i64))| {
        let footage = numbered(footage, n);
        Recording { make: Box::new(move || footage.file()), at }
    };
    camera(name, (0..).zip(recordings).map(recording).collect(), spans)
}

/// Cameras that between them make use of every part of ffmpeg that writes into a clip; and one whose recordings are
/// damaged, of which two threads of a decoder would not make the same twice.
pub fn various() -> Vec<Camera> {
    let various = ["b-pyramid", "size-changed", "hevc", "10-bit", "sound-over-a-hole", "sound-that-differs"];
    let damaged = three("damaged", &footage(PLAIN), 5000, surgery::damaged);
    all().into_iter().filter(|camera| various.contains(&camera.name.as_str())).chain([damaged]).collect()
}

/// All of them.
pub fn all() -> Vec<Camera> {
    let mut all = vec![
        alike("no-b-frames", PLAIN),
        alike("b-pyramid", PYRAMID),
        Camera {
            spans: (0..5).map(|n| (1117, 3900 + n * 33)).collect(),
            ..alike("b-frame-joint-at-the-tail", PYRAMID)
        },
        Camera { mode: "encode", copies: Copies::None, ..alike("trim-mode-encode", PYRAMID) },
        alike("all-intra", "-g 1"),
        alike("profile-baseline", "-profile:v baseline -g 60"),
        alike("profile-main", "-profile:v main -bf 2 -g 60"),
        alike("profile-high", "-profile:v high -bf 2 -g 60 -x264-params 8x8dct=1"),
        alike("multi-slice", "-bf 0 -g 60 -slices 4"),
        alike("parameter-set-id-5", "-bf 2 -g 60 -x264-params sps-id=5"),
        alike("parameter-sets-in-band-too", "-bf 2 -g 60 -x264-params repeat-headers=1"),
        alike("parameter-sets-in-band-only-by-name", "-bf 2 -g 60 -tag:v avc3 -x264-params repeat-headers=1"),
        alike("moov-in-front", "-bf 0 -g 60 -movflags +faststart"),
        alike("fragmented", "-bf 2 -g 60 -movflags +frag_keyframe+empty_moov+default_base_moof"),
        alike("fragmented-old-style", "-bf 0 -g 60 -movflags +frag_keyframe+empty_moov -frag_duration 700000"),
        three("64-bit-mdat", &footage(PLAIN), 5000, surgery::wide_mdat),
        three("avcc-without-chroma-fields", &footage(PYRAMID), 5000, surgery::without_chroma_fields),
        three("nal-lengths-of-2-bytes", &footage(PYRAMID), 5000, surgery::short_lengths),
        Camera {
            copies: Copies::None,
            ..alike("hevc", "-c:v libx265 -preset ultrafast -x265-params keyint=60:pools=1:log-level=error -tag:v hvc1")
        },
        Camera {
            copies: Copies::None,
            ..alike(
                "hevc-hev1",
                "-c:v libx265 -preset ultrafast -x265-params keyint=60:pools=1:log-level=error -tag:v hev1",
            )
        },
        Camera { copies: Copies::None, ..alike("10-bit", "-pix_fmt yuv420p10le -g 60") },
        Camera {
            copies: Copies::None,
            ..alike("interlaced", "-flags +ildct+ilme -x264-params tff=1:keyint=60:scenecut=0")
        },
    ];
    all.extend(groups());
    all.extend(clocks());
    all.extend(shapes());
    all.extend(arrangements());
    all.extend(sounds());
    all
}

/// How pictures refer to each other.
fn groups() -> Vec<Camera> {
    let open = "-bf 3 -b_strategy 0 -g 60 -x264-params open-gop=1";
    let refresh = "-bf 0 -g 60 -x264-params intra-refresh=1";
    let long = Footage { frames: 750, ..footage("-bf 2 -g 300 -keyint_min 300") };
    let once = Footage { frames: 150, ..footage("-bf 2 -g 9999 -keyint_min 9999") };
    vec![
        Camera { copies: Copies::Perhaps, ..three("open-gop", &footage(open), 5000, surgery::listing_only_the_first) },
        Camera { copies: Copies::Perhaps, ..alike("open-gop-sync-samples-of-type-1", open) },
        Camera { copies: Copies::Perhaps, ..alike("intra-refresh", refresh) },
        placed("gop-of-10-s", &[(&long, 0), (&long, 25_000)], &[(3100, 17_903), (7100, 8300), (21_500, 27_300)])
            .perhaps(),
        Camera { copies: Copies::Perhaps, ..three("one-idr-picture-in-the-file", &once, 5000, Path::to_path_buf) },
        long_term_references(),
        contradicting_sets(),
    ]
}

impl Camera {
    fn perhaps(self) -> Self {
        Self { copies: Copies::Perhaps, ..self }
    }
}

/// A byte stream in an MP4 file.
fn muxed(name: &str, stream: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("footage");
    std::fs::create_dir_all(&folder).expect("a folder for footage");
    let target = folder.join(format!("{name}.mp4"));
    let raw = tempfile::Builder::new().suffix(".h264").tempfile_in(&folder).expect("a file");
    std::fs::write(raw.path(), stream).expect("written");
    let partial = tempfile::Builder::new().suffix(".mp4").tempfile_in(&folder).expect("a file").into_temp_path();
    let mut mux = Command::new("ffmpeg");
    mux.args(["-nostdin", "-y", "-v", "error", "-framerate", "30", "-f", "h264", "-i"]).arg(raw.path());
    let status = mux.args(["-c", "copy"]).arg(&*partial).status().expect("Debian's ffmpeg");
    assert!(status.success(), "muxing {name}: {status}");
    partial.persist(&target).expect("moved into place");
    target
}

fn long_term_references() -> Camera {
    let recording = |n: u32| Recording {
        make: Box::new(move || muxed(&format!("long-term-{n}"), &long_term::stream(n * 1000, 150))),
        at: i64::from(n) * 5000,
    };
    camera("long-term-references", (0..3).map(recording).collect(), &SPANS)
}

/// 75 frames without a container.
fn byte_stream(first: u32, options: &str) -> Vec<u8> {
    let file = Footage { first, frames: 75, ..footage(options) }.file();
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let mut demux = Command::new("ffmpeg");
    demux.args(["-nostdin", "-y", "-v", "error", "-i"]).arg(file);
    let status = demux.args(["-c", "copy", "-f", "h264"]).arg(raw.path()).status().expect("Debian's ffmpeg");
    assert!(status.success(), "demuxing: {status}");
    std::fs::read(raw.path()).expect("readable")
}

/// Two encoders' output in one file: `avcC` holds the first one's parameter sets, the second one's, of the same id, are
/// in-band.
fn contradicting_sets() -> Camera {
    let make = |n: u32| {
        let coders =
            [byte_stream(n * 1000, "-bf 0 -g 15 -coder 0"), byte_stream(n * 1000 + 75, "-bf 0 -g 15 -coder 1")];
        muxed(&format!("contradicting-{n}"), &coders.concat())
    };
    let recording = |n: u32| Recording { make: Box::new(move || make(n)), at: i64::from(n) * 5000 };
    let spans = [(1117, 3900), (3317, 6703)];
    camera("in-band-sets-that-contradict-avcc", (0..2).map(recording).collect(), &spans).perhaps()
}

/// Rates and timescales.
fn clocks() -> Vec<Camera> {
    let rate = |rate: &'static str, frames: u32, length_ms: i64| {
        let footage =
            Footage { frames, rate, ..footage("-bf 3 -b_strategy 0 -g 24 -x264-params b-pyramid=normal:ref=4") };
        three(&format!("{}-fps", rate.replace('/', "-")), &footage, length_ms, Path::to_path_buf)
    };
    let scaled = |scale: &'static str| {
        let options = format!("{PLAIN} -video_track_timescale {scale}");
        alike(&format!("timescale-{scale}"), &options)
    };
    let dropping = Footage {
        filters: ",select='lt(mod(n,17),5)+gt(mod(n,17),7)+eq(n,149)'",
        ..footage("-bf 2 -g 45 -fps_mode vfr")
    };
    let (a, b) = (
        footage(&format!("{PLAIN} -video_track_timescale 600")),
        footage(&format!("{PLAIN} -video_track_timescale 90000")),
    );
    let c = footage(&format!("{PLAIN} -video_track_timescale 11456"));
    vec![
        rate("12.5", 62, 4960),
        rate("15", 75, 5000),
        rate("25", 125, 5000),
        rate("30000/1001", 150, 5005),
        rate("60000/1001", 300, 5005),
        scaled("600"),
        scaled("11456"),
        scaled("90000"),
        scaled("200000"),
        placed("two-timescales", &[(&a, 0), (&b, 5000)], &[(3317, 6703)]),
        placed("two-timescales-without-a-common-one", &[(&c, 0), (&b, 5000)], &[(3317, 6703)]),
        three("variable-rate-with-dropped-frames", &dropping, 5000, Path::to_path_buf),
    ]
}

/// Shapes and colours.
fn shapes() -> Vec<Camera> {
    let full = Footage { filters: ",scale=out_range=pc,format=yuvj420p", ..footage("-bf 0 -g 60 -color_range pc") };
    let wide = Footage { filters: ",setsar=4/3", ..footage(PLAIN) };
    // numbers survive scaling where the blocks' sides are whole pixels in both
    let large = Footage { size: (384, 216), ..footage(PLAIN) };
    let small = Footage { size: (192, 108), ..footage(PLAIN) };
    let other = footage("-bf 2 -g 60 -coder 0");
    let mut shapes: Vec<Camera> = (1..4)
        .map(|quarters| {
            three(&format!("turned-by-{}", quarters * 90), &footage(PLAIN), 5000, move |file| {
                surgery::turned(file, quarters)
            })
        })
        .collect();
    shapes.extend([
        three("pixel-aspect-4-3", &wide, 5000, Path::to_path_buf),
        Camera { full_range: true, ..three("full-range", &full, 5000, Path::to_path_buf) },
        placed("size-changed", &[(&large, 0), (&small, 5000)], &[(1117, 6703), (4117, 9703)]),
        placed("parameter-sets-changed", &[(&footage(PYRAMID), 0), (&other, 5000)], &[(2117, 6703), (4703, 8300)]),
    ]);
    shapes
}

/// Where recordings lie, and which spans are asked for.
fn arrangements() -> Vec<Camera> {
    let (plain, pyramid) = (footage(PLAIN), footage(PYRAMID));
    let two = |name: &str, at: i64, spans: &[(i64, i64)]| placed(name, &[(&pyramid, 0), (&pyramid, at)], spans);
    let spans = |name: &str, spans: &[(i64, i64)]| placed(name, &[(&plain, 0), (&pyramid, 5000)], spans).perhaps();
    let hiding = |file: &Path| {
        let ticks = 20 * 512; // 20 frames of ffmpeg's usual 15360 ticks a second
        surgery::hiding(file, ticks)
    };
    let hidden = |n: u32| {
        let footage = numbered(&pyramid, n);
        Recording { make: Box::new(move || hiding(&footage.file())), at: i64::from(n) * 4333 }
    };
    // 0.3 s left out at the start, 0.9 s in the middle; with B-frames ffmpeg itself would leave a hole between the two
    let edited = |n: u32| {
        let footage = numbered(&plain, n);
        let make = move || surgery::edited(&footage.file(), [9..60, 87..150]);
        Recording { make: Box::new(make), at: i64::from(n) * 3800 }
    };
    vec![
        Camera {
            copies: Copies::None,
            ..camera("edit-list-of-two-edits", (0..2).map(edited).collect(), &[(300, 3300), (1117, 1500), (3117, 6703)])
        },
        two("overlap-of-0.7-s", 4300, &[(3117, 6703)]),
        two("hole-of-0.4-s", 5400, &[(3117, 6703)]),
        two("gap-of-7-s", 12_000, &[(3117, 13_703)]),
        two("name-0.5-s-early", 4500, &[(3117, 6703)]),
        two("name-0.5-s-late", 5500, &[(3117, 6703)]),
        spans("one-frame", &[(1000, 1033), (1010, 1020), (5000, 5033), (6001, 6034)]),
        spans("less-than-a-gop", &[(1117, 1703), (2100, 3900), (5117, 5703)]),
        spans("from-an-idr-picture", &[(2000, 3500), (7000, 8500)]),
        spans("to-the-end-of-a-file", &[(3117, 5000), (6117, 10_000)]),
        spans("from-before-the-first-recording", &[(-700, 1300), (-300, 1300)]),
        camera("edit-list-that-hides-frames", (0..2).map(hidden).collect(), &[(1117, 3900), (0, 700), (3117, 6703)])
            .perhaps(),
    ]
}

/// Cameras that one can hear.
fn sounds() -> Vec<Camera> {
    let heard = Footage { sound: Some(BEEPS), ..footage(PYRAMID) };
    let other = Footage { sound: Some(BEEPS_44), ..footage(PYRAMID) };
    let fragments = "-bf 2 -g 60 -movflags +frag_keyframe+empty_moov+default_base_moof";
    let fragmented = Footage { sound: Some(BEEPS), ..footage(fragments) };
    let silent = footage(PYRAMID);
    let copied = |camera: Camera| Camera { sound: Sound::Copied, ..camera };
    vec![
        copied(three("sound", &heard, 5000, Path::to_path_buf)),
        copied(three("sound-in-fragments", &fragmented, 5000, Path::to_path_buf)),
        copied(placed("sound-in-the-first-only", &[(&heard, 0), (&silent, 5000)], &[(3317, 6703)])),
        copied(placed("sound-in-the-second-only", &[(&silent, 0), (&heard, 5000)], &[(3317, 6703)])),
        copied(placed("sound-over-a-hole", &[(&heard, 0), (&heard, 5400)], &[(3117, 7703)])),
        copied(placed("sound-over-a-gap", &[(&heard, 0), (&heard, 12_000)], &[(3117, 14_703)])),
        copied(placed("sound-over-an-overlap", &[(&heard, 0), (&heard, 4300)], &[(3117, 6703)])),
        Camera {
            sound: Sound::Encoded,
            ..placed("sound-that-differs", &[(&heard, 0), (&other, 5000)], &[(3317, 7703)])
        },
    ]
}
