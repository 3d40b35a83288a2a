//! Recordings that cannot be read, alone and among good ones.

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::footage::Footage;

use crate::stack::{CAMERA, Put, Stack, T0, body, record};

const BEFORE: &str = "test.20180916T173012000.mp4";
const FIRST: &str = "test.20180916T173017000.mp4";
const SECOND: &str = "test.20180916T173022000.mp4";
const THIRD: &str = "test.20180916T173027000.mp4";
/// A request so late that nothing is waited for.
const LATE: i64 = 1_000_000;

/// Asks for a span while one of four recordings is not a movie. Returns the status and the gaps, in ms after the first one.
async fn asked(broken: &str, (from, to): (i64, i64), sent: i64) -> (String, Vec<(i64, i64)>) {
    let stack = Stack::start().await;
    let folder = TempDir::new().expect("a folder");
    let page = folder.path().join("page");
    std::fs::write(&page, "<html>not found</html>").expect("written");
    let file = Footage::default().file();
    let put = |(n, name): (i64, &'static str)| Put {
        name,
        file: if name == broken { &page } else { &file },
        listed: (T0 + (n - 1) * 5000, T0 + n * 5000),
    };
    let all: Vec<Put<'_>> = (0..).zip([BEFORE, FIRST, SECOND, THIRD]).map(put).collect();
    stack.recordings(&all).await;
    let event = json!({"Records": [record("a", &body("clip", from, to), sent)]});
    let _ = stack.function(&[]).invoke(event).await;
    let last: Value = stack.camera.puts().last().cloned().unwrap_or_default();
    assert_eq!(last["cameraId"], CAMERA);
    let ms = |gap: &Value, field: &str| gap[field].as_i64().expect("a number") - T0;
    let gaps = last["gaps"].as_array().cloned().unwrap_or_default();
    let gaps = gaps.iter().map(|gap| (ms(gap, "startTimestampInMs"), ms(gap, "endTimestampInMs"))).collect();
    (last["status"].as_str().unwrap_or_default().to_owned(), gaps)
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::type_complexity)] // the columns of a table
async fn one_bad_recording_harms_only_what_it_alone_shows() {
    let table: [(&str, &str, (i64, i64), i64, &str, &[(i64, i64)]); 6] = [
        ("before the span", BEFORE, (1100, 3300), LATE, "CLIP_AVAILABLE", &[]),
        ("behind the span", SECOND, (1100, 3300), LATE, "CLIP_AVAILABLE", &[]),
        ("at its end, given up", SECOND, (3100, 7300), LATE, "CLIP_AVAILABLE", &[(5000, 7300)]),
        ("in its middle", SECOND, (3100, 11_300), LATE, "CLIP_AVAILABLE", &[(5000, 10_000)]),
        ("all of it", SECOND, (5100, 7300), LATE, "FATAL_ERROR", &[]),
        // the object was written after the message was sent, so it may still be being written
        ("in its middle, asked early", SECOND, (3100, 11_300), 12_000, "CLIP_PENDING", &[]),
    ];
    for (case, broken, span, sent, status, gaps) in table {
        assert_eq!(asked(broken, span, sent).await, (status.to_owned(), gaps.to_vec()), "{case}");
    }
}
