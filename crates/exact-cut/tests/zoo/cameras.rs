//! The cameras of the zoo: what they record, and which spans are cut out of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use exact_cut::plan::segments::TrimMode;
use testkit::footage::{Footage, X264};
use testkit::paths::footage_folder;

use super::film::Film;
use super::{cases, fields, long_term, mp4_edit};

/// A recording of a camera.
pub struct Recording {
    /// Makes the file, unless an earlier test made it.
    pub make: Box<dyn Fn() -> PathBuf + Send + Sync>,
    /// The instant in the name, in milliseconds after the opening of the zoo.
    pub at: i64,
    /// What the file shows, where a full decode of it would mislead: films one after the other, with holes between.
    pub shows: Option<Shows>,
}

/// Returns what a file shows.
pub type Shows = Box<dyn Fn(&Path) -> Vec<Film> + Send + Sync>;

impl Recording {
    /// Returns a recording that shows what a full decode of its file shows.
    pub fn of(make: impl Fn() -> PathBuf + Send + Sync + 'static, at: i64) -> Self {
        Self { make: Box::new(make), at, shows: None }
    }

    /// Shows something else than a full decode of the file.
    pub fn showing(self, shows: impl Fn(&Path) -> Vec<Film> + Send + Sync + 'static) -> Self {
        Self { shows: Some(Box::new(shows)), ..self }
    }
}

/// A camera, and what is cut out of its recordings.
pub struct Camera {
    pub name: String,
    pub recordings: Vec<Recording>,
    /// In milliseconds after the opening of the zoo.
    pub spans: Vec<(i64, i64)>,
    pub copies: Copies,
    pub full_range: bool,
    pub mode: TrimMode,
    pub audio: Audio,
    /// The spans on the clock of the films, where names place films wrongly.
    pub shown: Vec<(i64, i64)>,
    /// By how much times may be wrong; half a frame unless said.
    pub tolerance_us: Option<f64>,
    /// The most frames that may be encoded.
    pub most_encoded: Option<usize>,
    /// Parts of what is said of each way to make a clip that fails before one succeeds, if that is looked at.
    pub steps: Option<Vec<&'static str>>,
    /// The least PSNR of an encoded frame, where the usual one cannot be asked for.
    pub least_psnr: Option<f64>,
    /// The matrix of the clip: (x, y) is displayed at (a·x + c·y, b·x + d·y).
    pub turned: Option<[i8; 4]>,
    /// Whether the thumbnails are looked at, and not just measured.
    pub looks_at_thumbnails: bool,
    /// The lower half of each picture is pure red.
    pub red: bool,
}

/// Whether frames of the clips are copied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Copies {
    Some,
    None,
    /// If the span holds an IDR picture.
    Perhaps,
}

/// How the audio gets into the clips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Audio {
    None,
    Copied,
    Encoded,
}

/// Audio that tells the time: a beep of 20 ms every half second.
pub const BEEPS: &str = "aevalsrc='0.7*lt(mod(t,0.5),0.02)*sin(2*PI*1000*t)':s=48000:d=60";
const BEEPS_44: &str = "aevalsrc='0.7*lt(mod(t,0.5),0.02)*sin(2*PI*1000*t)':s=44100:d=60";

pub const PLAIN: &str = "-bf 0 -g 60";
pub const PYRAMID: &str = "-bf 3 -b_strategy 0 -g 60 -x264-params b-pyramid=normal:ref=4";

/// Spans of most cameras: three recordings of 150 frames at 30 frames a second, one after the other.
const SPANS: [(i64, i64); 3] = [(1117, 3900), (3317, 6703), (4117, 11_301)];

/// Returns footage of the usual encoder, unless `options` names another.
pub fn footage(options: &str) -> Footage {
    let options = if options.starts_with("-c:v") { options.to_owned() } else { format!("{X264} {options}") };
    Footage { options, ..Footage::default() }
}

/// Returns `footage` for one recording: the frame numbers of the second one begin at 1000, of the third one at 2000.
pub fn numbered(footage: &Footage, recording: u32) -> Footage {
    Footage { first: recording * 1000, ..footage.clone() }
}

pub fn camera(name: &str, recordings: Vec<Recording>, spans: &[(i64, i64)]) -> Camera {
    let (name, spans) = (name.to_owned(), spans.to_vec());
    Camera {
        name,
        recordings,
        spans,
        copies: Copies::Some,
        full_range: false,
        mode: TrimMode::Smart,
        audio: Audio::None,
        shown: Vec::new(),
        tolerance_us: None,
        most_encoded: None,
        steps: None,
        least_psnr: None,
        turned: None,
        looks_at_thumbnails: false,
        red: false,
    }
}

/// Returns a camera with three recordings one after the other, each made of `footage` by `make`.
fn three<M>(name: &str, footage: &Footage, length_ms: i64, make: M) -> Camera
where
    M: Fn(&Path) -> PathBuf + Clone + Send + Sync + 'static,
{
    let recording = |n: u32| {
        let (footage, make) = (numbered(footage, n), make.clone());
        Recording::of(move || make(&footage.file()), i64::from(n) * length_ms)
    };
    camera(name, (0..3).map(recording).collect(), &SPANS)
}

fn alike(name: &str, options: &str) -> Camera {
    three(name, &footage(options), 5000, Path::to_path_buf)
}

/// Returns a camera with one recording of each footage, at these times.
fn placed(name: &str, recordings: &[(&Footage, i64)], spans: &[(i64, i64)]) -> Camera {
    let recording = |(n, &(footage, at)): (u32, &(&Footage, i64))| {
        let footage = numbered(footage, n);
        Recording::of(move || footage.file(), at)
    };
    camera(name, (0..).zip(recordings).map(recording).collect(), spans)
}

/// Returns cameras that together use every part of ffmpeg that writes into a clip, and one with damaged recordings, which two
/// threads of a decoder would not decode alike twice.
pub fn various() -> Vec<Camera> {
    let various = ["b-pyramid", "size-changed", "hevc", "10-bit", "audio-over-a-hole", "audio-that-differs"];
    let damaged = three("damaged", &footage(PLAIN), 5000, mp4_edit::damaged);
    all().into_iter().filter(|camera| various.contains(&camera.name.as_str())).chain([damaged]).collect()
}

/// Returns all cameras.
pub fn all() -> Vec<Camera> {
    let mut all = vec![
        alike("no-b-frames", PLAIN),
        alike("b-pyramid", PYRAMID),
        Camera {
            spans: (0..5).map(|n| (1117, 3900 + n * 33)).collect(),
            ..alike("b-frame-joint-at-the-tail", PYRAMID)
        },
        Camera { mode: TrimMode::Encode, copies: Copies::None, ..alike("trim-mode-encode", PYRAMID) },
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
        three("64-bit-mdat", &footage(PLAIN), 5000, mp4_edit::wide_mdat),
        three("avcc-without-chroma-fields", &footage(PYRAMID), 5000, mp4_edit::without_chroma_fields),
        three("nal-lengths-of-2-bytes", &footage(PYRAMID), 5000, mp4_edit::short_lengths),
        three("slices-behind-start-codes", &footage(PYRAMID), 5000, mp4_edit::hidden_slices),
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
            ..three(
                "interlaced",
                &footage("-flags +ildct+ilme -x264-params tff=1:keyint=60:scenecut=0"),
                5000,
                Path::to_path_buf,
            )
            .showing(|file| vec![Film::filtered(file, false, ("bwdif=mode=send_frame,", None))])
        },
    ];
    all.extend(groups());
    all.extend(clocks());
    all.extend(shapes());
    all.extend(arrangements());
    all.extend(audible());
    all.extend(cases::all());
    all
}

/// Returns cameras whose pictures refer to each other in various ways.
fn groups() -> Vec<Camera> {
    let open = "-bf 3 -b_strategy 0 -g 60 -x264-params open-gop=1";
    let refresh = "-bf 0 -g 60 -x264-params intra-refresh=1";
    let long = Footage { frames: 750, ..footage("-bf 2 -g 300 -keyint_min 300") };
    let once = Footage { frames: 150, ..footage("-bf 2 -g 9999 -keyint_min 9999") };
    vec![
        Camera { copies: Copies::Perhaps, ..three("open-gop", &footage(open), 5000, mp4_edit::listing_only_the_first) },
        Camera { copies: Copies::Perhaps, ..alike("open-gop-sync-samples-of-type-1", open) },
        Camera { copies: Copies::Perhaps, ..alike("intra-refresh", refresh) },
        placed("gop-of-10-s", &[(&long, 0), (&long, 25_000)], &[(3100, 17_903), (7100, 8300), (21_500, 27_300)])
            .perhaps(),
        Camera { copies: Copies::Perhaps, ..three("one-idr-picture-in-the-file", &once, 5000, Path::to_path_buf) },
        long_term_references(),
        contradicting_sets(),
        in_fields("fields-as-one-sample", fields::as_one_sample),
        in_fields("fields-as-samples", fields::as_samples),
    ]
}

impl Camera {
    /// Shows something else than a full decode of the files.
    fn showing(mut self, shows: fn(&Path) -> Vec<Film>) -> Self {
        self.recordings = self.recordings.into_iter().map(|recording| recording.showing(shows)).collect();
        self
    }

    pub fn perhaps(self) -> Self {
        Self { copies: Copies::Perhaps, ..self }
    }
}

/// Muxes a byte stream into an MP4 file.
pub fn muxed(name: &str, stream: &[u8]) -> PathBuf {
    let folder = footage_folder();
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
    let recording = |n: u32| {
        let make = move || muxed(&format!("long-term-{n}"), &long_term::stream(n * 1000, 150));
        Recording::of(make, i64::from(n) * 5000)
    };
    camera("long-term-references", (0..3).map(recording).collect(), &SPANS)
}

/// Each picture is two fields. Browsers do not deinterlace, so frames are made of them.
fn in_fields(name: &str, make: fn(u32, u32) -> PathBuf) -> Camera {
    let shown = |n: u32| {
        // of a file with a sample for each field, ffprobe says that the last picture lasts as long as a field
        let file = fields::as_one_sample(n * 1000, 150);
        vec![Film::filtered(&file, false, ("bwdif=mode=send_frame:deint=interlaced,", None))]
    };
    let recording = |n: u32| Recording::of(move || make(n * 1000, 150), i64::from(n) * 5000).showing(move |_| shown(n));
    Camera { copies: Copies::None, ..camera(name, (0..3).map(recording).collect(), &SPANS) }
}

/// Returns 75 frames without a container.
pub fn byte_stream(first: u32, options: &str) -> Vec<u8> {
    stream_of(&Footage { first, frames: 75, ..footage(options) })
}

/// Returns footage without a container.
pub fn stream_of(footage: &Footage) -> Vec<u8> {
    let file = footage.file();
    let raw = tempfile::NamedTempFile::new().expect("a file");
    let mut demux = Command::new("ffmpeg");
    demux.args(["-nostdin", "-y", "-v", "error", "-i"]).arg(file);
    let status = demux.args(["-c", "copy", "-f", "h264"]).arg(raw.path()).status().expect("Debian's ffmpeg");
    assert!(status.success(), "demuxing: {status}");
    std::fs::read(raw.path()).expect("readable")
}

/// Returns recordings with the output of two encoders: `avcC` holds the parameter sets of the first one, and those of the
/// second one, with the same id, lie among the pictures.
fn contradicting_sets() -> Camera {
    let make = |n: u32| {
        let coders =
            [byte_stream(n * 1000, "-bf 0 -g 15 -coder 0"), byte_stream(n * 1000 + 75, "-bf 0 -g 15 -coder 1")];
        muxed(&format!("contradicting-{n}"), &coders.concat())
    };
    let recording = |n: u32| Recording::of(move || make(n), i64::from(n) * 5000);
    let spans = [(1117, 3900), (3317, 6703)];
    camera("in-band-sets-that-contradict-avcc", (0..2).map(recording).collect(), &spans).perhaps()
}

/// Returns cameras of various rates and timescales.
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

/// Returns cameras of various shapes and colours.
fn shapes() -> Vec<Camera> {
    let full = Footage { filters: ",scale=out_range=pc,format=yuvj420p", ..footage("-bf 0 -g 60 -color_range pc") };
    let wide = Footage { filters: ",setsar=4/3", ..footage(PLAIN) };
    // numbers survive scaling if the sides of the blocks are whole pixels in both sizes
    let large = Footage { size: (384, 216), ..footage(PLAIN) };
    let small = Footage { size: (192, 108), ..footage(PLAIN) };
    let other = footage("-bf 2 -g 60 -coder 0");
    let mut shapes: Vec<Camera> = (1..4)
        .map(|quarters| {
            three(&format!("turned-by-{}", quarters * 90), &footage(PLAIN), 5000, move |file| {
                mp4_edit::turned(file, quarters)
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

/// Returns cameras whose recordings lie apart, overlap, or hide frames.
fn arrangements() -> Vec<Camera> {
    let (plain, pyramid) = (footage(PLAIN), footage(PYRAMID));
    let two = |name: &str, at: i64, spans: &[(i64, i64)]| placed(name, &[(&pyramid, 0), (&pyramid, at)], spans);
    let spans = |name: &str, spans: &[(i64, i64)]| placed(name, &[(&plain, 0), (&pyramid, 5000)], spans).perhaps();
    let hiding = |file: &Path| {
        let ticks = 20 * 512; // 20 frames at ffmpeg's usual 15360 ticks a second
        mp4_edit::hiding(file, ticks)
    };
    let hidden = |n: u32| {
        let footage = numbered(&pyramid, n);
        Recording::of(move || hiding(&footage.file()), i64::from(n) * 4333)
    };
    // leaves out 0.3 s at the start and 0.9 s in the middle; with B-frames ffmpeg itself leaves a hole between two edits
    let edited = |n: u32| {
        let footage = numbered(&plain, n);
        let make = move || mp4_edit::edited(&footage.file(), [9..60, 87..150]);
        Recording::of(make, i64::from(n) * 3800)
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

/// Returns cameras with audio.
fn audible() -> Vec<Camera> {
    let heard = Footage { audio: Some(BEEPS), ..footage(PYRAMID) };
    let other = Footage { audio: Some(BEEPS_44), ..footage(PYRAMID) };
    let fragments = "-bf 2 -g 60 -movflags +frag_keyframe+empty_moov+default_base_moof";
    let fragmented = Footage { audio: Some(BEEPS), ..footage(fragments) };
    let silent = footage(PYRAMID);
    let copied = |camera: Camera| Camera { audio: Audio::Copied, ..camera };
    vec![
        copied(three("audio", &heard, 5000, Path::to_path_buf)),
        copied(three("audio-in-fragments", &fragmented, 5000, Path::to_path_buf)),
        copied(placed("audio-in-the-first-only", &[(&heard, 0), (&silent, 5000)], &[(3317, 6703)])),
        copied(placed("audio-in-the-second-only", &[(&silent, 0), (&heard, 5000)], &[(3317, 6703)])),
        copied(placed("audio-over-a-hole", &[(&heard, 0), (&heard, 5400)], &[(3117, 7703)])),
        copied(placed("audio-over-a-gap", &[(&heard, 0), (&heard, 12_000)], &[(3117, 14_703)])),
        copied(placed("audio-over-an-overlap", &[(&heard, 0), (&heard, 4300)], &[(3117, 6703)])),
        Camera {
            audio: Audio::Encoded,
            ..placed("audio-that-differs", &[(&heard, 0), (&other, 5000)], &[(3317, 7703)])
        },
    ]
}
