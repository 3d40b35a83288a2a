//! Logs, metrics and trace documents: the process as Lambda runs it, its standard output read line by line.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use testkit::camera_api::Answer;
use testkit::footage::Footage;
use testkit::runtime_api::{FUNCTION_NAME, REQUEST_ID, RuntimeApi, TRACE_HEADER};

use crate::stack::{CAMERA, Put, Stack, T0, body, listed, record};

const FIRST: &str = "test.20180916T173017000.mp4";

/// Runs the function's binary on one event and returns the lines that it writes, up to the last one about `requests`
/// requests.
async fn lines(
    stack: &Stack,
    event: &Value,
    json: bool,
    environment: (&Path, &[(&str, String)]),
    requests: usize,
) -> Vec<String> {
    let mut finished = 0;
    let is_last = |line: &str| {
        let last = if json { "\"Namespace\"" } else { "tries=" };
        finished += usize::from(line.contains(last) && (!json || line.contains("\"Status\":")));
        finished == requests
    };
    lines_until(stack, event, json, environment, is_last).await
}

/// Returns the lines of a self-check, up to its metrics.
async fn self_check_lines(stack: &Stack, environment: (&Path, &[(&str, String)])) -> Vec<String> {
    let event = json!({"selfCheck": true});
    lines_until(stack, &event, true, environment, |line| line.contains("SelfCheckFailures")).await
}

/// Runs the function's binary on one event and returns the lines that it writes, up to the last one.
async fn lines_until(
    stack: &Stack,
    event: &Value,
    json: bool,
    environment: (&Path, &[(&str, String)]),
    mut is_last: impl FnMut(&str) -> bool,
) -> Vec<String> {
    let (trace_dir, more) = environment;
    let runtime = RuntimeApi::start().await;
    let mut function = Command::new(env!("CARGO_BIN_EXE_cameras-service-generate-clip"))
        .env_clear()
        .envs(stack.environment(&[]))
        .envs(stack.aws_environment())
        .envs(runtime.environment(2048))
        .env("AWS_LAMBDA_LOG_FORMAT", if json { "JSON" } else { "Text" })
        .env("TRACE_DIR", trace_dir)
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the function's binary");
    let _invocation = runtime.invoke(event, Duration::from_mins(10)).await.expect("the API runs");
    let mut output = BufReader::new(function.stdout.take().expect("piped")).lines();
    let mut lines = Vec::new();
    loop {
        let line = output.next_line().await.expect("text").expect("the function still runs");
        let last = is_last(&line);
        lines.push(line);
        if last {
            return lines;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_the_trace_header_of_x_ray_to_the_camera_api_and_with_the_sdks() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    // the camera API stands in for SNS: it shows what was sent to it
    let sns = [("AWS_ENDPOINT_URL_SNS", stack.camera.url.clone())];
    let event = json!({"Records": [record("a", &body("clip", 0, 1_000_000), 5000)]});
    lines(&stack, &event, true, (traces.path(), &sns), 1).await;
    let calls: Vec<_> = stack.camera.calls().into_iter().map(|call| (call.method, call.trace)).collect();
    let header = Some(TRACE_HEADER.to_owned());
    assert_eq!(calls, ["PUT", "POST"].map(|method| (method.to_owned(), header.clone())));
}

async fn stack() -> Stack {
    let stack = Stack::start().await;
    let file = Footage::default().file();
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    stack
}

fn json_lines(lines: &[String]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Returns the trace documents, oldest first.
fn documents(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("made").map(|file| file.expect("read").path()).collect();
    files.sort();
    files.iter().map(|file| serde_json::from_slice(&std::fs::read(file).expect("read")).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successful_request_gives_one_line_its_metrics_and_a_document() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    let event = json!({"Records": [record("a", &body("clip", 1033, 3100), 5000)]});
    let lines = json_lines(&lines(&stack, &event, true, (traces.path(), &[]), 1).await);
    let [line, metrics, statuses] = &lines[..] else { panic!("one log line and two of metrics: {lines:#?}") };
    assert_eq!(line["message"], "request finished");
    for (field, value) in [
        ("clip", json!("clip")),
        ("camera", json!(CAMERA)),
        ("status", json!("CLIP_AVAILABLE")),
        ("mode", json!("splice")),
        ("why", json!("before the first IDR picture")),
        ("tries", json!(1)),
        ("delivery", json!(1)),
        ("messageId", json!("a")),
        ("requestId", json!(REQUEST_ID)),
        ("xrayTraceId", json!(TRACE_HEADER)),
        ("version", json!("$LATEST")),
        ("reason", Value::Null),
        ("from", json!("2018-09-16T17:30:18.033Z")),
        ("to", json!("2018-09-16T17:30:20.100Z")),
        ("listed", json!(1)),
        ("opened", json!(1)),
        ("absent", json!(0)),
        ("unreadable", json!(0)),
    ] {
        assert_eq!(line[field], value, "{field} in {line}");
    }
    // 1.033 s is just before frame 31, 3.1 s is frame 93
    assert_eq!(line["copied"].as_u64().expect("a number") + line["encoded"].as_u64().expect("a number"), 62);
    let [document] = &documents(traces.path())[..] else { panic!("one document") };
    for (name, path) in [("copied", "/clip/copied"), ("bytes_fetched", "/bytes/fetched"), ("ms", "/ms")] {
        assert_eq!(Some(&line[name]), document.pointer(path), "{name}");
    }
    for stage in document["stages"].as_array().expect("a list") {
        let ms = &line[format!("{}_ms", stage["stage"].as_str().expect("a name"))];
        assert!(ms.as_f64() >= stage["ms"].as_f64() && ms.is_f64(), "{stage} in {line}");
    }
    let recipients: Vec<&Value> =
        document["messages"].as_array().expect("a list").iter().map(|message| &message["to"]).collect();
    assert_eq!(recipients, ["camera API", "SNS"]);

    let unit = |line: &Value, name: &str| {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list").clone();
        metrics.iter().find(|metric| metric["Name"] == name).map(|metric| metric["Unit"].clone())
    };
    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"], "CamerasServiceGenerateClip");
    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function"]]));
    assert_eq!((&metrics["requestId"], &metrics["xrayTraceId"]), (&json!(REQUEST_ID), &json!(TRACE_HEADER)));
    assert_eq!((&metrics["Function"], &metrics["ColdStarts"]), (&json!(FUNCTION_NAME), &json!(1)));
    for (name, wanted) in [
        ("RequestDuration", "Milliseconds"),
        ("FetchDuration", "Milliseconds"),
        ("BytesFetched", "Bytes"),
        ("FramesEncoded", "Count"),
    ] {
        assert_eq!(unit(metrics, name), Some(json!(wanted)), "{name}");
    }
    assert_eq!(metrics["FramesEncoded"], json!([line["encoded"].as_f64()]));
    for (name, field) in [("QueueDuration", "queued_ms"), ("AnnouncedAfter", "announced_after_ms"), ("Tries", "tries")]
    {
        assert_eq!(metrics[name], json!([line[field].as_f64()]), "{name}");
    }
    // the request came before the end of its span, which is later than 2018 by now
    let waited = line["announced_after_ms"].as_i64().expect("a number") + T0 + 5000;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    assert!(now.abs_diff(waited.try_into().expect("positive")) < 60_000, "{line}");
    for line in [metrics, statuses] {
        assert_eq!((&line["level"], &line["version"]), (&json!("INFO"), &json!("$LATEST")));
    }
    assert_eq!(statuses["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function", "Status"]]));
    assert_eq!((&statuses["Status"], &statuses["Requests"]), (&json!("CLIP_AVAILABLE"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_stage_object_and_reason_on_one_line() {
    let stack = stack().await;
    let broken = TempDir::new().expect("a folder");
    let file = broken.path().join("broken.mp4");
    std::fs::write(&file, "not an MP4 file,\nbut two lines").expect("written");
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    let records = [
        record("ill", &json!("neither JSON\nnor Python"), 0),
        record("fatal", &body("fatal", 0, 1000), 1_000_000), // so late that nothing is waited for
        record("long", &body("long", 0, 1_000_000), 0),
    ];
    let traces = TempDir::new().expect("a folder");
    let lines = json_lines(&lines(&stack, &json!({ "Records": records }), true, (traces.path(), &[]), 3).await);
    let failures: Vec<&Value> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    let stages: Vec<&Value> = failures.iter().map(|line| &line["stage"]).collect();
    // the recording, and the request that had no other
    assert_eq!(stages, ["message", "tables", "tables"], "{failures:#?}");
    for failure in failures {
        for field in ["error", "object"] {
            assert!(failure[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {failure}");
        }
    }
    let statuses: Vec<&Value> = lines.iter().map(|line| &line["Status"]).filter(|status| !status.is_null()).collect();
    assert_eq!(statuses, ["FAILED", "FATAL_ERROR", "CLIP_TOO_LONG"]);
    let documents = documents(traces.path());
    let object = format!("s3://{}/live/{FIRST}", stack.bucket("origin"));
    assert_eq!(
        (&documents[0]["failure"]["stage"], &documents[0]["failure"]["object"]),
        (&json!("tables"), &json!(object))
    );
    assert_eq!((&documents[1]["status"], &documents[1]["failure"]), (&json!("CLIP_TOO_LONG"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_that_the_role_may_not_read_fails_where_recordings_are_opened() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    // the camera API stands in for S3, which has no clip yet
    let bucket = stack.bucket("origin");
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    let denied = Answer::Whole { status: 403, headers: Vec::new(), body: denied.into() };
    stack.camera.answers(&format!("GET /{bucket}/live/{FIRST}"), [denied]);
    let s3 = [("AWS_ENDPOINT_URL_S3", stack.camera.url.clone())];
    let event = json!({"Records": [record("a", &body("clip", 0, 1000), 5000)]});
    let lines = json_lines(&lines(&stack, &event, true, (traces.path(), &s3), 1).await);
    let line = lines.iter().find(|line| line["message"] == "record failed").expect("a line");
    assert_eq!((&line["stage"], &line["kind"]), (&json!("tables"), &json!("permanent")), "{line}");
    assert_eq!(line["error"], "answered 403 Forbidden: AccessDenied: Access Denied; see S3_BUCKET_ORIGIN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_request_counts_what_is_absent_and_what_is_unreadable() {
    let stack = Stack::start().await;
    let folder = TempDir::new().expect("a folder");
    let page = folder.path().join("page");
    std::fs::write(&page, "<html>not found</html>").expect("written");
    let put = Put { name: FIRST, file: &page, listed: (T0, T0 + 5000) };
    let object = format!("s3://{}/live/{FIRST}", stack.bucket("origin"));
    let event = json!({"Records": [record("a", &body("clip", 0, 1000), 5000)]});
    // listed before it is there, and then there but, written after the message was sent, perhaps not yet whole
    stack.camera.camera(CAMERA, &json!([listed(&put)]));
    for (absent, first_absent, unreadable) in [(1, json!(object), 0), (0, Value::Null, 1)] {
        let lines = json_lines(&lines(&stack, &event, true, (folder.path(), &[]), 1).await);
        let line = lines.iter().find(|line| line["message"] == "request finished").expect("a line");
        for (field, value) in [
            ("status", json!("CLIP_PENDING")),
            ("listed", json!(1)),
            ("opened", json!(0)),
            ("absent", json!(absent)),
            ("first_absent", first_absent),
            ("unreadable", json!(unreadable)),
        ] {
            assert_eq!(line[field], value, "{field} in {line}");
        }
        stack.put(FIRST, &page).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_metrics_pass_the_log_level_of_the_function() {
    let stack = Stack::start().await;
    let (traces, level) = (TempDir::new().expect("a folder"), "WARN".to_owned());
    let event = json!({"Records": [record("a", &body("clip", 0, 1_000_000), 0)]});
    let levels = [("LOG_LEVEL", level.clone()), ("AWS_LAMBDA_LOG_LEVEL", level)];
    let lines = json_lines(&lines(&stack, &event, true, (traces.path(), &levels), 1).await);
    assert_eq!(lines.len(), 2, "only metrics: {lines:#?}");
    for line in lines {
        assert_eq!(line["level"], "WARN");
        let timestamp = line["timestamp"].as_str().expect("Lambda takes a line without one for INFO");
        chrono::DateTime::parse_from_rfc3339(timestamp).expect("RFC 3339");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_message_and_clip_at_any_log_level() {
    let stack = Stack::start().await;
    let traces = TempDir::new().expect("a folder");
    let event = json!({"Records": [record("a", &body("clip", 0, 1000), 5000)]}); // the camera API knows no camera
    for level in ["WARN", "off", "hyper=off"] {
        let levels = [("LOG_LEVEL", level.to_owned())];
        let lines = json_lines(&lines(&stack, &event, true, (traces.path(), &levels), 1).await);
        let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(!errors.is_empty(), "{level}: {lines:#?}");
        for error in errors {
            let named = ["messageId", "clip", "camera"].map(|name| &error[name]);
            assert_eq!(named, ["a", "clip", CAMERA], "{level}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debug_log_tells_the_steps() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    let event = json!({"Records": [record("a", &body("clip", 4000, 6000), 6000)]});
    let debug = [("LOG_LEVEL", "debug".to_owned())];
    let lines = json_lines(&lines(&stack, &event, true, (traces.path(), &debug), 1).await);
    let steps: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
    for step in ["recordings listed", "recording looked at", "gap", "decided", "stage ended", "message sent"] {
        assert!(steps.contains(&step), "{step} is not in {steps:?}");
    }
    let below_info = lines.iter().filter(|line| line["level"] == "DEBUG");
    for line in below_info {
        let target = line["target"].as_str().expect("a target");
        assert!(target.starts_with("cameras_service_generate_clip"), "only own lines: {line}");
        let names = (&line["requestId"], &line["messageId"], &line["clip"]);
        assert_eq!(names, (&json!(REQUEST_ID), &json!("a"), &json!("clip")), "{line}");
    }
    let last = lines.iter().find(|line| line["message"] == "request finished").expect("a line");
    assert_eq!(last["status"], "CLIP_PENDING");
    assert_eq!(last["reason"], "the footage ends at 2018-09-16T17:30:22.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_check_that_finds_something_writes_an_error_and_its_metric() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    let broken = [("AWS_SNS_TOPIC", "arn:aws:sns:us-west-1:000000000000:gone".to_owned())];
    let lines = json_lines(&self_check_lines(&stack, (traces.path(), &broken)).await);
    let errors = lines.iter().filter(|line| line["level"] == "ERROR" && line["stage"] == "self-check");
    let errors: Vec<&Value> = errors.map(|error| &error["object"]).collect();
    assert_eq!(errors, ["queue", "topic"], "the queue of this test is visible again after 30 s: {lines:#?}");
    let metrics = lines.last().expect("a line");
    assert_eq!((&metrics["SelfCheckFailures"], &metrics["Function"]), (&json!(2), &json!(FUNCTION_NAME)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_json_the_line_is_readable_and_there_are_no_metrics() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    let event = json!({"Records": [record("a", &body("clip", 0, 1000), 5000)]});
    let lines = lines(&stack, &event, false, (traces.path(), &[]), 1).await;
    let [line] = &lines[..] else { panic!("one line: {lines:#?}") };
    assert!(line.contains("request finished clip=\"clip\"") && line.contains("status=\"CLIP_AVAILABLE\""), "{line}");
}
