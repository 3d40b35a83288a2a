//! Clips, checked by the number of each frame.

use serde_json::{Value, json};

use testkit::decode::numbers;
use testkit::footage::Footage;
use testkit::frame_numbers::number;

use crate::stack::{CAMERA, Function, Put, Stack, T0, body, record};

/// Returns a recording of five seconds at 30 frames a second. The frames of the second one are numbered from 1000,
/// those of the third one from 2000.
fn recording(index: u32) -> std::path::PathBuf {
    Footage { first: index * 1000, ..Footage::default() }.file()
}

const FIRST: &str = "test.20180916T173017000.mp4";
const SECOND: &str = "test.20180916T173022000.mp4";
const THIRD: &str = "test.20180916T173027000.mp4";

/// Returns a recording of five seconds that begins `from` ms after [`T0`].
fn put<'a>(name: &'a str, file: &'a std::path::Path, from: i64) -> Put<'a> {
    Put { name, file, listed: (T0 + from, T0 + from + 5000) }
}

impl Stack {
    /// Returns the number of each frame of the stored clip.
    async fn clip(&self, clip: &str) -> Vec<u32> {
        let (file, content_type) = self.stored(&format!("{CAMERA}/{clip}.mp4")).await.expect("a stored clip");
        assert_eq!(content_type, "video/mp4");
        numbers(&file, (320, 180))
    }
}

async fn serve(function: &Function, clip: &str, from: i64, to: i64) {
    function.serve(record(clip, &body(clip, from, to), to)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_a_clip_out_of_one_recording() {
    let stack = Stack::start().await;
    stack.recordings(&[put(FIRST, &recording(0), 0)]).await;
    let function = stack.function(&[]);
    // 2.117 s is just after frame 63 (2.1 s), 3.9 s is frame 117
    serve(&function, "one", 2117, 3900).await;
    assert_eq!(stack.clip("one").await, (64..117).collect::<Vec<_>>());
    assert_eq!(stack.camera.statuses(), ["CLIP_AVAILABLE"]);
    assert!(stack.left_over().is_empty(), "no work file is left");
    let [(message, status)] = &stack.announced().await[..] else { panic!("one announcement") };
    assert_eq!((status.as_str(), message), ("CLIP_AVAILABLE", &stack.camera.puts()[0]));
    assert_eq!(
        message,
        &json!({
            "clipId": "one", "cameraId": CAMERA, "startTimestampInMs": T0 + 2117, "endTimestampInMs": T0 + 3900,
            "status": "CLIP_AVAILABLE", "bucket": stack.bucket("clips"),
            "clip": {"url": format!("https://camclips.sandbox.test.com/{CAMERA}/one.mp4"), "key": format!("/{CAMERA}/one.mp4")},
            "thumbnail": {
                "url": format!("https://camclips.sandbox.test.com/{CAMERA}/one_{{size}}.png"),
                "key": format!("/{CAMERA}/one_{{size}}.png"), "sizes": [64, 301],
            },
        })
    );
    let asked = &stack.camera.calls()[1];
    // wider than the span by the tolerance of a joint
    let query = format!("startDate={}&endDate={}&allowPartialMatch=true", T0 + 2117 - 1500, T0 + 3900 + 1500);
    assert_eq!(asked.path, format!("/cameras/recording/test?{query}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_two_and_three_recordings_listed_in_any_order() {
    let stack = Stack::start().await;
    let (first, second, third) = (recording(0), recording(1), recording(2));
    stack.recordings(&[put(THIRD, &third, 10_000), put(FIRST, &first, 0), put(SECOND, &second, 5000)]).await;
    let function = stack.function(&[]);
    serve(&function, "two", 4500, 5700).await;
    let expected: Vec<u32> = (135..150).chain(1000..1021).collect();
    assert_eq!(stack.clip("two").await, expected);
    serve(&function, "three", 4900, 10_100).await;
    let expected: Vec<u32> = (147..150).chain(1000..1150).chain(2000..2003).collect();
    assert_eq!(stack.clip("three").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_that_is_encoded_whole_shows_the_same_frames() {
    let stack = Stack::start().await;
    let (first, second) = (recording(0), recording(1));
    stack.recordings(&[put(FIRST, &first, 0), put(SECOND, &second, 5000)]).await;
    serve(&stack.function(&[("TRIM_MODE", "encode")]), "encoded", 1500, 6500).await;
    let expected: Vec<u32> = (45..150).chain(1000..1045).collect();
    assert_eq!(stack.clip("encoded").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_old_names_and_cuts_spans_of_one_frame() {
    let stack = Stack::start().await;
    stack.recordings(&[put("test.20180916T173017.mp4", &recording(0), 0)]).await;
    for (old, clip) in [("True", "old"), ("False", "new")] {
        let function = stack.function(&[("OLD_FILE_FORMAT", old)]);
        serve(&function, clip, 1000, 1033).await;
        assert_eq!(stack.clip(clip).await, [30], "OLD_FILE_FORMAT={old}");
    }
    let function = stack.function(&[]);
    serve(&function, "between", 1010, 1020).await;
    assert_eq!(stack.clip("between").await, [30], "no frame begins in the span: the one on screen is shown");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_recording_shows_an_overlap_if_names_are_exact() {
    let stack = Stack::start().await;
    let (first, second) = (recording(0), recording(1));
    stack.recordings(&[put(FIRST, &first, 0), put("test.20180916T173021300.mp4", &second, 4300)]).await;
    serve(&stack.function(&[("JOINT_TOLERANCE_MS", "0")]), "overlap", 4000, 4500).await;
    let expected: Vec<u32> = (120..129).chain(1000..1006).collect();
    assert_eq!(stack.clip("overlap").await, expected);
    assert!(stack.camera.puts()[0].get("gaps").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_recordings_are_one_film_however_far_a_name_is_off() {
    let stack = Stack::start().await;
    let (first, second, third) = (recording(0), recording(1), recording(2));
    // 0.7 s too early; then 0.6 s too late by its own clock
    let (second_name, third_name) = ("test.20180916T173021300.mp4", "test.20180916T173026900.mp4");
    stack.recordings(&[put(FIRST, &first, 0), put(second_name, &second, 4300), put(third_name, &third, 9900)]).await;
    let function = stack.function(&[]);
    serve(&function, "early", 4000, 4500).await;
    assert_eq!(stack.clip("early").await, (120..150).chain(1000..1006).collect::<Vec<u32>>());
    serve(&function, "late", 9000, 10_000).await;
    assert_eq!(stack.clip("late").await, (1141..1150).chain(2000..2003).collect::<Vec<u32>>());
    serve(&function, "both", 4900, 9950).await;
    assert_eq!(stack.clip("both").await, (1018..1150).chain(2000..2002).collect::<Vec<u32>>());
    for put in stack.camera.puts() {
        assert!(put.get("gaps").is_none(), "a joint is no gap: {put}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_bears_the_instant_of_its_first_frame_and_a_name() {
    let stack = Stack::start().await;
    stack.recordings(&[put(FIRST, &recording(0), 0)]).await;
    let function = stack.function(&[("CLIP_CACHE_CONTROL", "public, max-age=60")]);
    // frame 64 is shown at 2.133 s; the recording begins in the second span, so its first frame is held
    for (clip, from, to, instant, name) in [
        ("dated", 2117, 2500, "2018-09-16T17:30:19.000000Z", "test-20180916T173019133Z.mp4"),
        ("held", -300, 200, "2018-09-16T17:30:17.000000Z", "test-20180916T173017000Z.mp4"),
    ] {
        serve(&function, clip, from, to).await;
        let key = format!("{CAMERA}/{clip}.mp4");
        let head = stack.s3.head_object().bucket(stack.bucket("clips")).key(&key).send().await.expect("stored");
        assert_eq!(head.content_disposition(), Some(&*format!("inline; filename=\"{name}\"")));
        assert_eq!(head.cache_control(), Some("public, max-age=60"));
        let (file, _) = stack.stored(&key).await.expect("stored");
        let probe = std::process::Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-of",
                "csv=p=0",
                "-show_entries",
                "stream_tags=creation_time:format_tags=creation_time",
            ])
            .arg(&file)
            .output()
            .expect("Debian's ffprobe, which `make install` installs");
        let text = String::from_utf8_lossy(&probe.stdout);
        let dates: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(dates, [instant; 2], "{clip}: creation_time of the track and of the movie");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_a_frame_over_a_short_hole_and_cuts_out_a_gap() {
    let stack = Stack::start().await;
    let (first, second, third) = (recording(0), recording(1), recording(2));
    let (second_name, third_name) = ("test.20180916T173022400.mp4", "test.20180916T173034400.mp4");
    stack.recordings(&[put(FIRST, &first, 0), put(second_name, &second, 5400), put(third_name, &third, 17_400)]).await;
    let function = stack.function(&[]);
    serve(&function, "held", 4800, 5600).await;
    let expected: Vec<u32> = (144..150).chain(1000..1006).collect();
    assert_eq!(stack.clip("held").await, expected);
    assert!(stack.camera.puts()[0].get("gaps").is_none());
    serve(&function, "cut-out", 10_300, 17_500).await;
    let expected: Vec<u32> = (1147..1150).chain(2000..2003).collect();
    assert_eq!(stack.clip("cut-out").await, expected);
    let gap = json!([{"startTimestampInMs": T0 + 10_400, "endTimestampInMs": T0 + 17_400}]);
    assert_eq!(stack.camera.puts()[1]["gaps"], gap);
}

#[tokio::test(flavor = "multi_thread")]
async fn thumbnails_show_the_frame_at_a_quarter_of_the_clip() {
    let stack = Stack::start().await;
    stack.recordings(&[put(FIRST, &recording(0), 0)]).await;
    for format in ["png", "jpg"] {
        let function = stack.function(&[("THUMBNAIL_FORMAT", format), ("THUMBNAIL_SIZES", "64, 320 641")]);
        serve(&function, format, 1000, 3000).await;
        for (width, height) in [(64, 36), (320, 180), (641, 361)] {
            let (picture, content_type) =
                stack.stored(&format!("{CAMERA}/{format}_{width}.{format}")).await.expect("a thumbnail");
            assert_eq!(content_type, if format == "png" { "image/png" } else { "image/jpeg" });
            let size = imagesize::size(&picture).expect("a picture");
            assert_eq!((size.width, size.height), (width, height));
            if width == 320 {
                let pixels = image::open(&picture).expect("a picture").to_luma8().into_raw();
                assert_eq!(number(&pixels, width), 45, "frame 30 + 60 / 4");
            }
        }
        let puts = stack.camera.puts();
        let thumbnail = &puts.last().expect("told")["thumbnail"];
        assert_eq!(thumbnail["sizes"], json!([64, 320, 641]));
        assert_eq!(thumbnail["key"], json!(format!("/{CAMERA}/{format}_{{size}}.{format}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_renders_nothing_and_gives_the_same_bytes() {
    let stack = Stack::start().await;
    let (first, second) = (recording(0), recording(1));
    stack.recordings(&[put(FIRST, &first, 0), put(SECOND, &second, 5000)]).await;
    let function = stack.function(&[]);
    serve(&function, "again", 4000, 6000).await;
    let key = format!("{CAMERA}/again.mp4");
    let read = async |key: &str| std::fs::read(stack.stored(key).await.expect("stored").0).expect("readable");
    let before = (read(&key).await, read(&format!("{CAMERA}/again_301.png")).await);
    let calls = stack.camera.calls().len();
    // the recordings have expired meanwhile
    for name in [FIRST, SECOND] {
        let delete = stack.s3.delete_object().bucket(stack.bucket("origin")).key(format!("live/{name}"));
        delete.send().await.expect("deleted");
    }
    serve(&function, "again", 4000, 6000).await;
    assert_eq!(stack.camera.calls().len(), calls + 1, "a repeated request asks for no footage: it only PUTs");
    let announced: Vec<Value> = stack.announced().await.into_iter().map(|(message, _)| message).collect();
    assert_eq!(announced.len(), 2);
    assert_eq!(announced[0], announced[1]);
    // without the stored clip, it is rendered anew, to the same bytes
    let delete = stack.s3.delete_object().bucket(stack.bucket("clips")).key(&key);
    delete.send().await.expect("deleted");
    stack.recordings(&[put(FIRST, &first, 0), put(SECOND, &second, 5000)]).await;
    serve(&function, "again", 4000, 6000).await;
    assert!(before == (read(&key).await, read(&format!("{CAMERA}/again_301.png")).await), "the bytes differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn renders_another_span_of_the_same_clip_id() {
    let stack = Stack::start().await;
    stack.recordings(&[put(FIRST, &recording(0), 0)]).await;
    let function = stack.function(&[]);
    serve(&function, "reused", 1000, 1100).await;
    serve(&function, "reused", 2000, 2100).await;
    assert_eq!(stack.clip("reused").await, [60, 61, 62]);
}
