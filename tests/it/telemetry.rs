//! What the function says while it works: the process itself, as Lambda runs it, its standard output read line by line.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::camera::{Answer, CameraApi};
use crate::footage::Footage;
use crate::stack::{CAMERA, Put, Stack, T0, body, record};

const NEXT: &str = "GET /2018-06-01/runtime/invocation/next";
const FIRST: &str = "test.20180916T173017000.mp4";

/// Lambda's runtime API (AWS Lambda Developer Guide, "Using the Lambda runtime API"), with one event to be had.
async fn runtime(event: &Value) -> CameraApi {
    let runtime = CameraApi::start().await;
    let headers = [
        "Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "Lambda-Runtime-Deadline-Ms: 4102444800000",
        "Lambda-Runtime-Trace-Id: Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-west-1:000000000000:function:cut",
    ];
    let headers = headers.map(str::to_owned).to_vec();
    let event = Answer::Whole { status: 200, headers, body: event.to_string().into_bytes() };
    runtime.answers(NEXT, [event, Answer::Silent]);
    runtime
}

/// Runs the function's binary on one event and returns the lines it writes, up to the last of its metrics.
async fn lines(
    stack: &Stack,
    event: &Value,
    json: bool,
    environment: (&Path, &[(&str, String)]),
    requests: usize,
) -> Vec<String> {
    let (trace_dir, more) = environment;
    let runtime = runtime(event).await;
    let mut function = Command::new(env!("CARGO_BIN_EXE_cameras-service-generate-clip"))
        .env_clear()
        .envs(stack.environment(&[]))
        .envs(stack.aws_environment())
        .env("AWS_LAMBDA_RUNTIME_API", runtime.url.trim_start_matches("http://"))
        .env("AWS_LAMBDA_LOG_FORMAT", if json { "JSON" } else { "Text" })
        .envs([("AWS_LAMBDA_FUNCTION_NAME", "cut"), ("AWS_LAMBDA_FUNCTION_VERSION", "1")])
        .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048"), ("TRACE_DIR", &trace_dir.display().to_string())])
        .envs(more.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the function's binary");
    let mut output = BufReader::new(function.stdout.take().expect("piped")).lines();
    let mut lines = Vec::new();
    let mut over = 0;
    while over < requests {
        let line = output.next_line().await.expect("text").expect("the function still runs");
        let last = if json { "\"Namespace\"" } else { "tries=" };
        over += usize::from(line.contains(last) && (!json || line.contains("\"Status\":")));
        lines.push(line);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_header_of_x_ray_goes_along_to_the_camera_api_and_with_the_sdks() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    // in place of SNS the camera API's double, which shows what was sent to it, and takes no announcement
    let sns = [("AWS_ENDPOINT_URL_SNS", stack.camera.url.clone())];
    let event = json!({"Records": [record("a", &body("clip", 0, 1_000_000), 5000)]});
    lines(&stack, &event, true, (traces.path(), &sns), 1).await;
    let calls: Vec<_> = stack.camera.calls().into_iter().map(|call| (call.method, call.trace)).collect();
    let header = Some("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1".to_owned());
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

/// The documents that were kept, oldest first.
fn documents(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("made").map(|file| file.expect("read").path()).collect();
    files.sort();
    files.iter().map(|file| serde_json::from_slice(&std::fs::read(file).expect("read")).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_succeeds_is_one_line_its_metrics_and_a_document() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    let event = json!({"Records": [record("a", &body("clip", 1033, 3100), 5000)]});
    let lines = json_lines(&lines(&stack, &event, true, (traces.path(), &[]), 1).await);
    let [line, metrics, statuses] = &lines[..] else { panic!("a line and two of metrics: {lines:#?}") };
    assert_eq!(line["message"], "done");
    for (field, value) in [
        ("clip", json!("clip")),
        ("camera", json!(CAMERA)),
        ("status", json!("CLIP_AVAILABLE")),
        ("mode", json!("splice")),
        ("why", json!("before the first IDR picture")),
        ("tries", json!(1)),
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
    let told: Vec<&Value> = document["messages"].as_array().expect("a list").iter().map(|said| &said["to"]).collect();
    assert_eq!(told, ["camera API", "SNS"]);

    let unit = |line: &Value, name: &str| {
        let metrics = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list").clone();
        metrics.iter().find(|metric| metric["Name"] == name).map(|metric| metric["Unit"].clone())
    };
    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"], "CamerasServiceGenerateClip");
    assert_eq!(metrics["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function"]]));
    assert_eq!((&metrics["Function"], &metrics["ColdStarts"]), (&json!("cut"), &json!(1)));
    for (name, wanted) in [
        ("RequestDuration", "Milliseconds"),
        ("FetchDuration", "Milliseconds"),
        ("BytesFetched", "Bytes"),
        ("FramesEncoded", "Count"),
    ] {
        assert_eq!(unit(metrics, name), Some(json!(wanted)), "{name}");
    }
    assert_eq!(metrics["FramesEncoded"], json!([line["encoded"].as_f64()]));
    assert_eq!(statuses["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([["Function", "Status"]]));
    assert_eq!((&statuses["Status"], &statuses["Requests"]), (&json!("CLIP_AVAILABLE"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_says_where_and_why_on_one_line() {
    let stack = stack().await;
    let broken = TempDir::new().expect("a folder");
    let file = broken.path().join("broken.mp4");
    std::fs::write(&file, "no MP4 at all,\nbut two lines").expect("written");
    stack.recordings(&[Put { name: FIRST, file: &file, listed: (T0, T0 + 5000) }]).await;
    let records = [
        record("ill", &json!("neither JSON\nnor Python"), 0),
        record("fatal", &body("fatal", 0, 1000), 0),
        record("long", &body("long", 0, 1_000_000), 0),
    ];
    let traces = TempDir::new().expect("a folder");
    let lines = json_lines(&lines(&stack, &json!({ "Records": records }), true, (traces.path(), &[]), 3).await);
    let failures: Vec<&Value> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    let stages: Vec<&Value> = failures.iter().map(|line| &line["stage"]).collect();
    assert_eq!(stages, ["message", "tables"], "{failures:#?}");
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
async fn without_json_the_line_is_readable_and_there_are_no_metrics() {
    let stack = stack().await;
    let traces = TempDir::new().expect("a folder");
    let event = json!({"Records": [record("a", &body("clip", 0, 1000), 5000)]});
    let lines = lines(&stack, &event, false, (traces.path(), &[]), 1).await;
    let [line] = &lines[..] else { panic!("one line: {lines:#?}") };
    assert!(line.contains("done clip=\"clip\"") && line.contains("status=\"CLIP_AVAILABLE\""), "{line}");
}
