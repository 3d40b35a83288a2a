//! The self-check: what works, and each thing broken once.

use std::time::Duration;

use cameras_service_generate_clip::start_check::try_ffmpeg;
use serde_json::{Value, json};
use testkit::camera_api::Answer;
use testkit::footage::Footage;
use testkit::paths::ffmpeg;

use crate::stack::{CAMERA, Put, Stack, T0};

const RECORDING: &str = "test.20180916T173017000.mp4";
/// What nothing can tell without consequences.
const UNTRIED: [&str; 3] = ["right to publish", "right to send messages", "metadata"];

/// Returns thing, outcome and what is missing of each check.
async fn checked(stack: &Stack, changes: &[(&'static str, &str)], timeout: Option<Duration>) -> Vec<[String; 3]> {
    checks(&stack.function(changes).self_check(timeout).await)
}

fn checks(answer: &Value) -> Vec<[String; 3]> {
    let text = |check: &Value, name: &str| check[name].as_str().expect(name).to_owned();
    let checks = answer["selfCheck"].as_array().expect("a table");
    assert!(checks.iter().all(|check| check["ms"].is_u64()), "{answer}");
    checks.iter().map(|check| ["thing", "outcome", "missing"].map(|name| text(check, name))).collect()
}

/// Returns a stack with a recording.
async fn stack() -> Stack {
    let stack = Stack::start().await;
    stack.put(RECORDING, &Footage::default().file()).await;
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_that_everything_works_and_announces_nothing() {
    let stack = stack().await;
    for check in checked(&stack, &[], None).await {
        let expected = if UNTRIED.contains(&check[0].as_str()) { "can't be told" } else { "works" };
        assert_eq!(check[1], expected, "{check:?}");
        assert_eq!(check[2].is_empty(), expected == "works", "{check:?}");
    }
    assert_eq!(stack.announced().await, []);
    assert!(stack.camera.puts().is_empty());
    assert!(stack.sent_back().await.is_empty());
    assert!(stack.stored(".self-check").await.is_none(), "it is removed");
    assert!(stack.left_over().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_more_than_the_self_check_is_one_of_sqs() {
    let stack = Stack::start().await;
    let error = stack.function(&[]).invoke(json!({"selfCheck": true, "Records": 7})).await.expect_err("no records");
    assert_eq!(error, "event: expected a list Records, got a number as Records");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_each_thing_that_does_not_work() {
    let stack = stack().await;
    let nowhere = format!("{}-nowhere", stack.bucket("x"));
    let queue = "http://127.0.0.1:9/000000000000/nowhere";
    let topic = format!("arn:aws:sns:us-west-1:000000000000:{nowhere}");
    for (variable, value, thing, missing) in [
        ("FFMPEG_PATH", "/bin/false", "ffmpeg", "FFMPEG_PATH: expected an ffmpeg that can decode and encode"),
        ("S3_BUCKET_ORIGIN", &nowhere, "recordings: read", "NoSuchBucket"),
        ("S3_BUCKET_DESTINATION", &nowhere, "clips: store", "NoSuchBucket"),
        ("AWS_SQS_QUEUE_URL", queue, "queue", "nowhere"),
        ("AWS_SNS_TOPIC", &topic, "topic", "NotFound"),
        ("CAM_SERVICES_URL", "http://127.0.0.1:9", "camera API", "127.0.0.1:9"),
        ("RECORDINGS_URL", "http://127.0.0.1:9", "recordings API", "127.0.0.1:9"),
    ] {
        let all = checked(&stack, &[(variable, value)], None).await;
        let failed: Vec<_> = all.iter().filter(|check| check[1] == "fails").collect();
        assert!(failed.iter().any(|check| check[0] == thing && check[2].contains(missing)), "{variable}: {all:#?}");
        let service = thing.split(':').next().expect("a name");
        assert!(failed.iter().all(|check| check[0].starts_with(service)), "{variable} breaks nothing else: {all:#?}");
    }
}

/// A copy of our ffmpeg with another name in place of that of an encoder.
#[tokio::test(flavor = "multi_thread")]
async fn an_ffmpeg_without_an_encoder_is_refused_and_the_encoder_named() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (ours, foreign) = (ffmpeg(), folder.path().join("ffmpeg"));
    std::fs::copy(&ours, &foreign).expect("copied, with its permissions");
    let mut bytes = std::fs::read(&ours).expect("readable");
    let name = b"libx264";
    let places: Vec<usize> = (0..bytes.len() - name.len()).filter(|&at| bytes[at..].starts_with(name)).collect();
    assert!(!places.is_empty(), "our ffmpeg has libx264");
    for at in places {
        bytes[at..at + name.len()].copy_from_slice(b"libxxxx");
    }
    std::fs::write(&foreign, bytes).expect("written");
    assert_eq!(try_ffmpeg(&ours, None, folder.path()).await, None);
    let refusal = try_ffmpeg(&foreign, None, folder.path()).await.expect("no encoder of that name");
    assert!(refusal.contains("libx264"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scratch_disk_that_is_gone_is_named() {
    let stack = stack().await;
    let function = stack.function(&[]);
    stack.remove_scratch();
    let all = checks(&function.self_check(None).await);
    let failed: Vec<&str> = all.iter().filter(|check| check[1] == "fails").map(|check| check[0].as_str()).collect();
    assert_eq!(failed, ["ffmpeg", "work files", "clips: store"], "{all:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn judges_the_answers_of_the_camera_api() {
    let stack = stack().await;
    let [camera, recordings] = ["GET /cameras/self-check", "GET /cameras/recording/self-check"];
    for (call, status, thing, outcome) in [
        (camera, 200, "camera API", "works"),
        (camera, 404, "camera API", "works"),
        (camera, 403, "camera API", "fails"),
        (camera, 500, "camera API", "fails"),
        (recordings, 204, "recordings API", "works"),
        (recordings, 400, "recordings API", "can't be told"),
        (recordings, 401, "recordings API", "fails"),
        (recordings, 500, "recordings API", "fails"),
    ] {
        stack.camera.answers(call, [Answer::status(status)]);
        let all = checked(&stack, &[], None).await;
        let check = all.iter().find(|check| check[0] == thing).expect(thing);
        assert_eq!(check[1], outcome, "{call} answers {status}: {check:?}");
        let named = check[2].contains(&status.to_string());
        assert_eq!(named, outcome != "works", "{check:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_what_is_too_small_for_the_longest_clip() {
    let stack = stack().await;
    let minute = Some(Duration::from_mins(1));
    let all = checked(&stack, &[("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")], minute).await;
    let size = all.iter().find(|check| check[0] == "size").expect("a check");
    assert_eq!(size[1], "can't be told", "a clip that is mostly copied may fit: {size:?}");
    assert!(size[2].contains("Timeout: expected at least") && size[2].contains("got 60 s"), "{size:?}");
    // the queues of this test have the default of 30 s
    let queue = all.iter().find(|check| check[0] == "queue").expect("a check");
    assert_eq!(queue[1], "fails");
    let expected = "VisibilityTimeout: expected at least the timeout of the function (60 s), got 30 s";
    assert_eq!(queue[2], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_of_recordings_tells_nothing_about_reading() {
    let stack = Stack::start().await;
    let all = checked(&stack, &[], None).await;
    let read = all.iter().find(|check| check[0] == "recordings: read").expect("a check");
    assert_eq!((read[1].as_str(), read[2].contains("holds no recording")), ("can't be told", true), "{read:?}");
    let file = Footage::default().file();
    stack.recordings(&[Put { name: RECORDING, file: &file, listed: (T0, T0 + 5000) }]).await;
    assert!(stack.camera.calls().iter().all(|call| !call.path.contains(CAMERA)), "no camera of somebody is asked for");
}
