//! Bad input: each record ends in one clear way, and never affects its neighbours.

use std::process::Command;

use serde_json::{Value, json};

use testkit::camera_api::Answer;
use testkit::footage::Footage;

use crate::stack::{CAMERA, Put, Stack, T0, body, record};

const FIRST: &str = "test.20180916T173017000.mp4";

async fn stack() -> Stack {
    let stack = Stack::start().await;
    let file = Footage::default().file();
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    stack
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_fail_alone_in_a_batch_of_ten() {
    let stack = stack().await;
    let good = |n: i64| record(&format!("good-{n}"), &body(&format!("clip-{n}"), n * 500, n * 500 + 100), 2000);
    let mut records: Vec<Value> = (0..7).map(good).collect();
    records.insert(1, record("no-object", &json!("['a']"), 0));
    records.insert(4, record("escapes", &json!({"clipId": "../x", "cameraId": CAMERA}), 0));
    records.push(record("rubbish", &json!("rubbish ".repeat(25_000)), 0));
    let function = stack.function(&[("REPORT_BATCH_ITEM_FAILURES", "true")]);
    let response = function.invoke(json!({ "Records": records })).await.expect("the failures are reported");
    let failed: Vec<_> = response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    assert_eq!(failed, ["no-object", "escapes", "rubbish"]);
    assert_eq!(stack.camera.statuses(), ["CLIP_AVAILABLE"; 7]);
    assert_eq!(stack.announced().await.len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_records_or_ids_fails_before_anything_is_done() {
    let stack = stack().await;
    let function = stack.function(&[]);
    let good = record("a", &body("clip", 0, 100), 0);
    for event in [json!({}), json!({"Records": [good, {"body": "{}"}]})] {
        function.invoke(event).await.expect_err("an error of the whole invocation");
    }
    assert_eq!(stack.camera.calls(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_in_seconds_is_refused_and_nobody_is_told_a_status() {
    let stack = stack().await;
    let mut seconds = body("clip", 0, 100);
    seconds["startTimestampInMs"] = json!(T0 / 1000);
    seconds["endTimestampInMs"] = json!(T0 / 1000 + 10);
    let failed = stack.function(&[]).invoke(json!({"Records": [record("a", &seconds, 0)]})).await;
    assert_eq!(failed.expect_err("it is malformed"), "every record failed (1)");
    assert_eq!((stack.camera.calls(), stack.announced().await, stack.sent_back().await), (vec![], vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_delivery_of_a_message_that_cannot_be_read_is_told_if_it_names_its_request() {
    let stack = stack().await;
    let function = stack.function(&[("SQS_MAX_RECEIVES", "3")]);
    let named = body("clip", 0, 100);
    let mut unnamed = named.clone();
    unnamed["startTimestampInMs"] = json!(T0 / 1000);
    for (body, receives, told) in
        [(&named, 2, vec![]), (&unnamed, 3, vec![]), (&json!("rubbish"), 3, vec![]), (&named, 3, vec!["FATAL_ERROR"])]
    {
        let mut unreadable = record("a", body, 0);
        unreadable["attributes"] = json!({"ApproximateReceiveCount": receives.to_string(), "SentTimestamp": "soon"});
        function.invoke(json!({"Records": [unreadable]})).await.expect_err("it is malformed");
        assert_eq!(stack.camera.statuses(), told, "{body}, delivery {receives}");
    }
    assert_eq!(stack.camera.puts()[0]["clipId"], "clip");
    assert_eq!(stack.announced().await, []);
}

/// The number of calls includes that of `FATAL_ERROR`, which is PUT only after a refusal for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_camera_api_is_fatal_and_an_outage_is_not() {
    let camera = format!("GET /cameras/{CAMERA}");
    let recordings = "GET /cameras/recording/test";
    let elsewhere = Answer::redirect("http://127.0.0.2:9/cameras");
    let table = [
        (camera.as_str(), Answer::status(404), 2, true),
        (&camera, Answer::status(403), 2, true),
        (&camera, Answer::text("{}"), 2, true),
        (&camera, Answer::text("{\"alias\": 7}"), 2, true),
        (&camera, Answer::text("{\"alias\": \"..\"}"), 2, true),
        (&camera, Answer::text("<html>"), 2, true),
        (&camera, elsewhere.clone(), 2, true),
        (&camera, Answer::redirect(&format!("/cameras/{CAMERA}")), 5, true),
        (&camera, Answer::status(500), 3, false),
        (&camera, Answer::status(429), 3, false),
        (&camera, Answer::status(408), 3, false),
        (&camera, Answer::Broken, 3, false),
        (&camera, Answer::CutShort, 3, false),
        (recordings, Answer::status(400), 3, true),
        (recordings, Answer::text("{}"), 3, true),
        (recordings, Answer::text("[{"), 3, true),
        (recordings, Answer::status(503), 4, false),
        (recordings, Answer::CutShort, 4, false),
        (recordings, elsewhere, 3, true),
    ];
    let stack = stack().await;
    let function = stack.function(&[]);
    for (call, answer, calls, is_fatal) in table {
        let puts = stack.camera.puts().len();
        stack.recordings(&[]).await;
        stack.camera.answers(call, [answer.clone()]);
        let before = stack.camera.calls().len();
        let event = json!({"Records": [record("a", &body("clip", 0, 100), 0)]});
        function.invoke(event).await.expect_err(&format!("{call}: {answer:?}"));
        assert_eq!(stack.camera.calls().len() - before, calls, "{call}: {answer:?}");
        let put: Vec<Value> =
            stack.camera.puts().split_off(puts).into_iter().map(|put| put["status"].clone()).collect();
        assert_eq!(put, if is_fatal { vec![json!("FATAL_ERROR")] } else { Vec::new() }, "{call}: {answer:?}");
    }
    assert_eq!(stack.announced().await.len(), 0, "nothing is published");
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_transient_failures_and_follows_redirects_on_the_same_host() {
    let stack = stack().await;
    let camera = Answer::json(&json!({"alias": "test"}));
    let moved = Answer::redirect(&format!("{}/moved", stack.camera.url));
    stack.camera.answers(&format!("GET /cameras/{CAMERA}"), [Answer::status(502), Answer::Broken, moved]);
    stack.camera.answers("GET /moved", [camera]);
    stack.camera.answers("PUT /clips/clip", [Answer::status(503), Answer::status(201)]);
    let function = stack.function(&[("CLIPS_ENDPOINT", "/clips/{clipId}")]);
    function.serve(record("a", &body("clip", 0, 100), 0)).await;
    assert_eq!(stack.camera.statuses(), ["CLIP_AVAILABLE"; 2], "PUT twice, because the first PUT failed");
    assert_eq!(stack.announced().await.len(), 1);
}

/// Returns `text` as gzip packs it.
fn gzipped(text: &str) -> Vec<u8> {
    let packed = Command::new("sh").args(["-c", "printf %s \"$0\" | gzip -c"]).arg(text).output().expect("gzip");
    assert!(packed.status.success() && !packed.stdout.is_empty());
    packed.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_list_of_recordings_in_every_form_that_the_old_function_read() {
    let stack = stack().await;
    let list =
        json!([{"recordingUrl": format!("https://h/{FIRST}"), "startDate": "2018-09-16T17:30:17.000Z"}]).to_string();
    let answer = |status, headers: &[(&str, &str)], body: &[u8]| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Answer::Whole { status, headers, body: body.to_vec() }
    };
    let with_mark = [b"\xef\xbb\xbf", list.as_bytes()].concat();
    let wide: Vec<u8> = list.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (listed, none) = ("CLIP_AVAILABLE", "CLIP_PENDING");
    let function = stack.function(&[]);
    for (n, (answer, status)) in [
        (answer(200, &[], list.as_bytes()), listed),
        (answer(200, &[("Content-Encoding", "gzip")], &gzipped(&list)), listed),
        (answer(200, &[], &with_mark), listed),
        (answer(200, &[("Content-Type", "application/json; charset=utf-16le")], &wide), listed),
        (answer(204, &[], b""), none),
        (answer(200, &[], b""), none),
        (answer(200, &[], b" \r\n"), none),
        (answer(200, &[], b"null"), none),
        (answer(200, &[], b"[]"), none),
        (answer(404, &[], b"no recordings"), none),
    ]
    .into_iter()
    .enumerate()
    {
        stack.camera.answers("GET /cameras/recording/test", [answer.clone()]);
        function.serve(record("a", &body(&format!("form-{n}"), 0, 100), 0)).await;
        assert_eq!(stack.camera.statuses().last().map(String::as_str), Some(status), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_follows_307_and_308_and_names_the_address_of_301_and_302() {
    let stack = stack().await;
    stack.camera.answers("PUT /moved", [Answer::status(201)]);
    for (status, followed) in [(307, true), (308, true), (301, false), (302, false)] {
        let clip = format!("redirect-{status}");
        let headers = vec![("Location".to_owned(), format!("{}/moved", stack.camera.url))];
        let moved = Answer::Whole { status, headers, body: Vec::new() };
        stack.camera.answers(&format!("PUT /cameras/clips/{clip}"), [moved]);
        let event = json!({"Records": [record("a", &body(&clip, 0, 100), 0)]});
        let invoked = stack.function(&[]).invoke(event).await;
        assert_eq!(invoked.is_ok(), followed, "{status}");
        let last = stack.camera.calls().pop().expect("a call");
        assert_eq!(last.path == "/moved" && last.body["clipId"] == *clip, followed, "{status}: {last:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_of_the_camera_api_hide_no_recording() {
    let stack = stack().await;
    let function = stack.function(&[]);
    let entry = |name: &str, end: Value| json!({"recordingUrl": format!("https://h/{name}"), "endDate": end});
    for (n, list) in [
        json!([entry(FIRST, json!("1970-01-01T00:00:00.000Z"))]),
        json!([entry(FIRST, json!("2018-09-16T17:30:17.000Z"))]),
        json!([entry(FIRST, json!("2018-09-16T17:30:17.001Z"))]),
        json!([entry(FIRST, json!("2018-09-16T17:30:22.000Z")), entry(FIRST, json!("2018-09-16T17:30:17.001Z"))]),
        json!([entry(FIRST, json!(null)), entry("test.20180916T180000000.mp4", json!(null))]),
    ]
    .into_iter()
    .enumerate()
    {
        stack.camera.answers("GET /cameras/recording/test", [Answer::json(&list)]);
        function.serve(record("a", &body(&format!("dates-{n}"), 4000, 4500), 100_000_000)).await;
        assert_eq!(stack.camera.statuses().last().map(String::as_str), Some("CLIP_AVAILABLE"), "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn announces_a_clip_whose_metadata_was_refused_for_good() {
    let stack = stack().await;
    stack.camera.answers("PUT /cameras/clips/clip", [Answer::status(404)]);
    stack.function(&[]).serve(record("a", &body("clip", 0, 100), 0)).await;
    assert_eq!(stack.announced().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn skips_entries_of_the_listing_that_cannot_be_used() {
    let stack = stack().await;
    let good = json!({"recordingUrl": format!("https://h/{FIRST}?x=1"), "startDate": "2018-09-16T17:30:17.000Z"});
    let odd = json!([null, 7, {}, {"recordingUrl": null}, {"recordingUrl": "https://h/a/"}, {"recordingUrl": "https://h/rewind.mp4"}, good]);
    stack.camera.camera(CAMERA, &odd);
    stack.function(&[]).serve(record("a", &body("clip", 0, 100), 0)).await;
    assert_eq!(stack.camera.statuses(), ["CLIP_AVAILABLE"]);
}
