//! The dry run, `cameras-service-generate-clip plan EVENT.json`: prints what would be done, and does nothing of it.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use testkit::footage::Footage;

use crate::stack::{CAMERA, Put, Stack, T0, body, listed, record};

async fn plan(stack: &Stack, event: &Value) -> (Output, Vec<String>) {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("event.json");
    std::fs::write(&file, event.to_string()).expect("written");
    plan_of(stack, &file).await
}

async fn plan_of(stack: &Stack, file: &Path) -> (Output, Vec<String>) {
    let mut function = Command::new(env!("CARGO_BIN_EXE_cameras-service-generate-clip"));
    function.arg("plan").arg(file).env_clear().envs(stack.environment(&[])).envs(stack.aws_environment());
    let output = function.output().await.expect("the function's binary");
    let lines = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    (output, lines)
}

async fn assert_nothing_was_done(stack: &Stack) {
    assert_eq!(stack.camera.puts(), Vec::<Value>::new());
    assert!(stack.announced().await.is_empty() && stack.sent_back().await.is_empty());
    assert!(stack.stored(&format!("{CAMERA}/clip.mp4")).await.is_none());
    assert!(stack.left_over().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_recordings_holes_segments_and_bytes_and_does_nothing() {
    let stack = Stack::start().await;
    let file = Footage::default().file();
    let names = ["test.20180916T173017000.mp4", "test.20180916T173022300.mp4", "test.20180916T173029300.mp4"];
    let put = |name, from| Put { name, file: &file, listed: (T0 + from, T0 + from + 5000) };
    stack.recordings(&[put(names[0], 0), put(names[1], 5300), put(names[2], 12_300)]).await;
    let event = json!({"Records": [record("a", &body("clip", 1000, 15_000), 16_000)]});
    let (output, lines) = plan(&stack, &event).await;
    let text = lines.join("\n");
    assert!(output.status.success(), "{text}");
    for wanted in [
        "Clip clip of camera 1111111111111",
        "  wanted    2018-09-16T17:30:18.000Z to 2018-09-16T17:30:32.000Z (14.000 s)",
        "  would be  CLIP_AVAILABLE (splice)",
        "  joint     2018-09-16T17:30:22.300Z, recording 1: its name is +300.0 ms off",
        "  gap       2018-09-16T17:30:27.300Z to 2018-09-16T17:30:29.300Z (2.000 s)",
        "  footage   |00000000000000000000:::111111111111111111111111!!!!!!!!!!!!2222222222222|",
        "  clip      |EEEEEE=============== ==========================          ==============|",
        // 1 s up to the first key frame, then 3 s, 5 s and 2.7 s, at 30 frames a second
        "  clip      351 frames, 11.700 s: 321 copied, 30 encoded",
    ] {
        assert!(lines.iter().any(|line| line == wanted), "{wanted:?} in\n{text}");
    }
    for name in names {
        assert!(text.contains(name), "{name} in\n{text}");
    }
    assert_nothing_was_done(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prints_what_would_fail_and_fails() {
    let stack = Stack::start().await;
    stack.recordings(&[]).await;
    let records = [record("a", &json!("rubbish"), 0), record("b", &body("clip", 0, 1000), 0)];
    let (output, lines) = plan(&stack, &json!({ "Records": records })).await;
    let text = lines.join("\n");
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("A record would fail: message: ") && text.contains("would be  CLIP_PENDING"), "{text}");
    assert!(
        text.contains("dry run failed") && text.contains("records: expected none that would fail, got 1"),
        "{text}"
    );
    assert_nothing_was_done(&stack).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_a_recording_that_cannot_be_read_from_one_that_is_not_there() {
    let stack = Stack::start().await;
    let folder = TempDir::new().expect("a folder");
    let page = folder.path().join("page");
    std::fs::write(&page, "<html>not found</html>").expect("written");
    let put = |name, from| Put { name, file: &page, listed: (T0 + from, T0 + from + 5000) };
    let (there, absent) = (put("test.20180916T173017000.mp4", 0), put("test.20180916T173022000.mp4", 5000));
    stack.put(there.name, &page).await;
    stack.camera.camera(CAMERA, &json!([listed(&there), listed(&absent)]));
    let (_, lines) = plan(&stack, &json!({"Records": [record("a", &body("clip", 0, 10_000), 0)]})).await;
    let text = lines.join("\n");
    assert!(text.contains("cannot be read: test.20180916T173017000.mp4: "), "{text}");
    assert!(text.contains("listed, but not in S3: test.20180916T173022000.mp4"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_a_file_that_is_not_there() {
    let stack = Stack::start().await;
    let (output, lines) = plan_of(&stack, Path::new("/nowhere/event.json")).await;
    let text = lines.join("\n");
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("dry run failed") && text.contains("/nowhere/event.json"), "{text}");
    assert!(text.contains("event: expected a file to read, got No such file or directory"), "{text}");
}
