//! The status table on the wire: what is PUT, what is published, what goes back to the queue.

use std::time::Duration;

use serde_json::{Value, json};

use testkit::camera_api::Answer;
use testkit::footage::Footage;

use crate::stack::{CAMERA, Function, Put, Stack, T0, body, listed, record};

const FIRST: &str = "test.20180916T173017000.mp4";
const SECOND: &str = "test.20180916T173022000.mp4";
const SECOND_LISTED: (i64, i64) = (T0 + 5000, T0 + 10_000);

/// What the other systems learn about a request.
#[derive(Debug, PartialEq)]
struct Outcome {
    put: Vec<String>,
    announced: Vec<String>,
    sent_back: Vec<Value>,
}

async fn outcome(stack: &Stack) -> Outcome {
    let announced = stack.announced().await.into_iter().map(|(_, status)| status).collect();
    Outcome { put: stack.camera.statuses(), announced, sent_back: stack.sent_back().await }
}

fn announced(status: &str) -> Outcome {
    Outcome { put: vec![status.to_owned()], announced: vec![status.to_owned()], sent_back: Vec::new() }
}

/// Returns a stack with the first recording, and a record that asks for `from..to`, sent at `sent` after retries at
/// `retries`; all in milliseconds after [`T0`].
async fn asked(from: i64, to: i64, sent: i64, retries: &[i64]) -> (Stack, Value) {
    let stack = Stack::start().await;
    let file = Footage::default().file();
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    let mut body = body("clip", from, to);
    body["retryTimestamps"] = retries.iter().map(|ms| T0 + ms).collect();
    (stack, record("a", &body, sent))
}

#[tokio::test(flavor = "multi_thread")]
async fn announces_that_a_span_is_too_long() {
    let (stack, record) = asked(0, 300_001, 0, &[]).await;
    stack.function(&[]).serve(record).await;
    assert_eq!(outcome(&stack).await, announced("CLIP_TOO_LONG"));
    assert_eq!(stack.camera.calls().len(), 1, "there is no look-up");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_missing_tail() {
    let (stack, record) = asked(4000, 6000, 6000, &[5500]).await;
    stack.function(&[]).serve(record).await;
    let mut expected = body("clip", 4000, 6000);
    expected["retryTimestamps"] = json!([T0 + 5500, (T0 + 6000).to_string()]);
    let expected = Outcome { put: vec!["CLIP_PENDING".to_owned()], announced: Vec::new(), sent_back: vec![expected] };
    assert_eq!(outcome(&stack).await, expected);
    let metadata = &stack.camera.puts()[0];
    assert_eq!((metadata.get("bucket"), metadata.get("clip")), (None, None));
    assert_eq!(metadata["thumbnail"], json!({"sizes": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_sent_back_keeps_its_attributes() {
    let (stack, mut record) = asked(4000, 6000, 6000, &[]).await;
    let mut attributes: Value = (0..11)
        .map(|n| (format!("number-{n:02}"), json!({"stringValue": n.to_string(), "dataType": "Number.int"})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    attributes["a"] = json!({"stringValue": "é", "stringListValues": [], "binaryListValues": [], "dataType": "String"});
    attributes["b"] = json!({"binaryValue": "AP8=", "dataType": "Binary"});
    attributes["broken"] = json!("1523232000000");
    record["messageAttributes"] = attributes;
    stack.function(&[]).serve(record).await;
    let messages = stack.messages_sent_back().await;
    let [message] = &messages[..] else { panic!("one message: {messages:?}") };
    let kept = message.message_attributes().expect("attributes");
    assert_eq!(kept.len(), 10, "SQS takes ten: {kept:?}");
    assert_eq!((kept["a"].string_value(), kept["a"].data_type()), (Some("é"), "String"));
    assert_eq!(kept["b"].binary_value().map(AsRef::as_ref), Some(&[0, 0xFF][..]));
    assert_eq!((kept["number-07"].string_value(), kept["number-07"].data_type()), (Some("7"), "Number.int"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_id_that_is_a_number_is_put_as_a_string_and_sent_back_as_a_number() {
    let (stack, mut record) = asked(4000, 6000, 6000, &[]).await;
    let mut number = body("clip", 4000, 6000);
    number["clipId"] = json!(7);
    record["body"] = number.to_string().into();
    record["attributes"]["SentTimestamp"] = json!(T0 + 6000);
    stack.function(&[]).serve(record).await;
    assert_eq!(stack.camera.puts()[0]["clipId"], "7");
    assert_eq!(stack.camera.calls().last().map(|call| call.path.clone()).as_deref(), Some("/cameras/clips/7"));
    number["retryTimestamps"] = json!([(T0 + 6000).to_string()]);
    assert_eq!(stack.sent_back().await, [number]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_every_notation_of_a_body() {
    let (stack, record) = asked(0, 300_001, 0, &[]).await;
    let json = record["body"].as_str().expect("text").to_owned();
    let python = json.replace('"', "'").replace("[]", "null");
    let pasted = json.replace('"', "\\\"");
    let floats = json.replace("7000", "7000.0");
    for body in [json, python, pasted, floats] {
        stack.function(&[]).serve(json!({"body": body, "messageId": "a", "attributes": record["attributes"]})).await;
    }
    assert_eq!(stack.camera.statuses(), ["CLIP_TOO_LONG"; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_literal_may_hold_the_words_of_json_and_its_unknown_fields_are_sent_along() {
    let (stack, mut record) = asked(4000, 6000, 6000, &[]).await;
    let fields = record["body"].as_str().and_then(|body| body.strip_suffix('}')).expect("an object").replace('"', "'");
    record["body"] = format!("{fields}, 'words': [true, false, null, True, False, None]}}").into();
    stack.function(&[]).serve(record).await;
    let [sent_back] = &stack.sent_back().await[..] else { panic!("one message back") };
    assert_eq!(sent_back["words"], json!([true, false, null, true, false, null]));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_a_missing_tail_once_waiting_has_ended() {
    let (stack, record) = asked(4000, 6000, 6000 + 900_001, &[6000]).await;
    stack.function(&[]).serve(record).await;
    assert_eq!(outcome(&stack).await, announced("CLIP_AVAILABLE"));
    let gap = json!([{"startTimestampInMs": T0 + 5000, "endTimestampInMs": T0 + 6000}]);
    assert_eq!(stack.camera.puts()[0]["gaps"], gap);
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_missing_object_that_then_counts_as_not_listed() {
    let (stack, record) = asked(4000, 6000, 6000, &[]).await;
    let file = Footage::default().file();
    let first = listed(&Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) });
    let absent = listed(&Put { name: SECOND, file: &file, listed: SECOND_LISTED });
    stack.camera.camera(CAMERA, &json!([absent, first]));
    let function = stack.function(&[]);
    function.serve(record).await;
    assert_eq!(stack.camera.statuses(), ["CLIP_PENDING"]);
    let mut late = body("clip", 4000, 6000);
    late["retryTimestamps"] = json!([(T0 + 6000).to_string()]);
    function.serve(crate::stack::record("b", &late, 6000 + 900_001)).await;
    assert_eq!(stack.camera.statuses(), ["CLIP_PENDING", "CLIP_AVAILABLE"]);
    assert_eq!(stack.camera.puts()[1]["gaps"][0]["startTimestampInMs"], T0 + 5000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requeued_request_becomes_available_once_the_footage_is_there() {
    let (stack, first_try) = asked(4000, 6000, 6000, &[]).await;
    let function = stack.function(&[]);
    function.serve(first_try).await;
    let (first, second) = (Footage::default().file(), Footage { first: 1000, ..Footage::default() }.file());
    let recordings = [
        Put { name: FIRST, file: &first, listed: (T0, T0 + 5000) },
        Put { name: SECOND, file: &second, listed: SECOND_LISTED },
    ];
    stack.recordings(&recordings).await;
    let [again] = &stack.sent_back().await[..] else { panic!("one message back") };
    function.serve(record("b", again, 6500)).await;
    assert_eq!(stack.camera.statuses(), ["CLIP_PENDING", "CLIP_AVAILABLE"]);
    assert!(stack.camera.puts()[1].get("gaps").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_reason_if_there_is_no_footage() {
    let hours = 3_600_000;
    for (sent, retries, expected) in [
        (100_000 + 900_001, &[100_000][..], "CLIP_RETRY_TIMEOUT"),
        (100 * hours, &[], "CLIP_OUT_OF_RANGE"),
        (hours, &[], "CLIP_NOT_AVAILABLE"),
    ] {
        for answer in [Answer::text("[]"), Answer::text("null"), Answer::status(404)] {
            let (stack, record) = asked(60_000, 70_000, sent, retries).await;
            stack.camera.answers("GET /cameras/recording/test", [answer]);
            stack.function(&[]).serve(record).await;
            assert_eq!(outcome(&stack).await, announced(expected));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_a_fatal_error_each_time_until_a_later_success_replaces_it() {
    // so late that nothing is waited for
    let (stack, record) = asked(1000, 2000, 1_000_000, &[]).await;
    let page = stack.bucket("page");
    let page = std::env::temp_dir().join(page);
    std::fs::write(&page, "<html>not found</html>").expect("written");
    stack.recordings(&[Put { name: FIRST, file: &page, listed: (T0, T0 + 5000) }]).await;
    std::fs::remove_file(&page).expect("removed");
    let function = stack.function(&[]);
    for times in 1..=2 {
        let error = function.invoke(json!({"Records": [record]})).await.expect_err("every record failed");
        assert_eq!(error, "every record failed (1)");
        assert_eq!(stack.camera.statuses(), vec!["FATAL_ERROR"; times]);
    }
    assert_eq!(stack.announced().await, []);
    let file = Footage::default().file();
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    function.serve(record).await;
    assert_eq!(stack.camera.statuses().last().map(String::as_str), Some("CLIP_AVAILABLE"));
}

/// Returns a stack with five seconds of footage of that size, a record that asks for all of it, and the function with 128 MB
/// of memory, which encodes everything.
async fn large(size: (usize, usize)) -> (Stack, Value, Function) {
    let (stack, record) = asked(0, 5000, 905_000, &[]).await;
    let file = Footage { size, ..Footage::default() }.file();
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    let function = stack.function(&[("TRIM_MODE", "encode"), ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")]);
    (stack, json!({ "Records": [record] }), function)
}

/// A fatal error is put, and not announced: somebody may mend its cause.
fn put_only(status: &str) -> Outcome {
    Outcome { put: vec![status.to_owned()], announced: Vec::new(), sent_back: Vec::new() }
}

const EVERY_RECORD_FAILED: &str = "every record failed (1)";

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_the_whole_timeout_is_refused_for_good() {
    let (stack, event, function) = large((1280, 720)).await;
    let error = function.invoke_within(event, Some(Duration::from_secs(8))).await.expect_err("it failed");
    assert_eq!(error, EVERY_RECORD_FAILED);
    assert_eq!(outcome(&stack).await, put_only("FATAL_ERROR"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_the_whole_timeout_but_not_into_the_rest_of_it_is_tried_again() {
    let (stack, event, function) = large((1280, 720)).await;
    let nothing = json!({ "Records": [] });
    function.invoke_within(nothing, Some(Duration::from_mins(1))).await.expect("it learns its timeout");
    let error = function.invoke_within(event, Some(Duration::from_secs(8))).await.expect_err("it failed");
    assert_eq!(error, EVERY_RECORD_FAILED);
    assert_eq!(outcome(&stack).await, Outcome { put: Vec::new(), announced: Vec::new(), sent_back: Vec::new() });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_more_than_the_whole_memory_is_refused_for_good() {
    let (stack, event, function) = large((1920, 1080)).await;
    let error = function.invoke(event).await.expect_err("it failed");
    assert_eq!(error, EVERY_RECORD_FAILED);
    assert_eq!(outcome(&stack).await, put_only("FATAL_ERROR"));
}
