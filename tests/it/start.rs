//! A start that can never serve: one line tells everything that is wrong, at any log level, and no event is asked for.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;
use testkit::paths::ffmpeg;
use tokio::process::Command;

const SETTINGS: [(&str, &str); 12] = [
    ("CAM_SERVICES_URL", "https://cameras.test"),
    ("RECORDINGS_URL", "https://cameras.test"),
    ("CLIP_URL", "https://camclips.test"),
    ("S3_BUCKET_ORIGIN", "rewinds"),
    ("S3_BUCKET_DESTINATION", "clips"),
    ("AWS_SNS_TOPIC", "arn:aws:sns:us-west-1:1:clips"),
    ("AWS_SQS_QUEUE", "arn:aws:sqs:us-west-1:1:q"),
    ("AWS_SQS_QUEUE_URL", "https://sqs.us-west-1.amazonaws.com/1/q"),
    ("AWS_REGION", "us-west-1"),
    ("AWS_ACCESS_KEY_ID", "a"),
    ("AWS_SECRET_ACCESS_KEY", "b"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
];

/// Starts the function with these settings changed, and returns how it ended.
async fn started(changes: &[(&str, &str)]) -> Output {
    let runtime_api = TcpListener::bind("127.0.0.1:0").expect("a port");
    runtime_api.set_nonblocking(true).expect("a socket");
    let folder = TempDir::new().expect("a folder");
    let mut function = Command::new(env!("CARGO_BIN_EXE_cameras-service-generate-clip"));
    function.env_clear().envs(SETTINGS).env("CLIP_DOWNLOAD_DEST", folder.path()).env("FFMPEG_PATH", ffmpeg());
    function.env("AWS_LAMBDA_RUNTIME_API", runtime_api.local_addr().expect("bound").to_string());
    let output = function.envs(changes.iter().copied()).output().await.expect("the function's binary");
    let asked = runtime_api.accept();
    assert!(asked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "{changes:?}: an event was asked for");
    output
}

/// Returns the one error of a start that fails.
async fn refused(changes: &[(&str, &str)]) -> String {
    let output = started(changes).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{changes:?}: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let errors: Vec<&Value> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    let [error] = errors[..] else { panic!("{changes:?}: expected one error, got {text}") };
    let error = error.to_string();
    assert!(error.contains("not started"), "{error}");
    error
}

/// Returns the path of a program that runs these commands.
fn program(folder: &Path, commands: &str) -> String {
    let path = folder.join("ffmpeg");
    std::fs::write(&path, format!("#!/bin/sh\n{commands}\n")).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("executable");
    path.display().to_string()
}

#[tokio::test]
async fn a_mistyped_log_level_is_told() {
    let error = refused(&[("LOG_LEVEL", "verbose")]).await;
    assert!(error.contains("LOG_LEVEL: expected error, warn, info"), "{error}");
}

#[tokio::test]
async fn a_bad_variable_is_told_at_any_log_level() {
    for level in ["off", "hyper=off"] {
        let error = refused(&[("LOG_LEVEL", level), ("SQS_TIMEOUT", "soon")]).await;
        assert!(error.contains("SQS_TIMEOUT: expected 0 to 900 seconds, got"), "{error}");
    }
}

#[tokio::test]
async fn everything_that_is_wrong_stands_in_one_line() {
    let error =
        refused(&[("SQS_TIMEOUT", "soon"), ("CLIP_DOWNLOAD_DEST", "/nonexistent"), ("AWS_REGION", "us west")]).await;
    for wrong in ["SQS_TIMEOUT: expected ", "CLIP_DOWNLOAD_DEST: expected ", "AWS_REGION: expected "] {
        assert!(error.contains(wrong), "{wrong} is not in {error}");
    }
}

#[tokio::test]
async fn an_ffmpeg_that_cannot_work_is_told() {
    let folder = TempDir::new().expect("a folder");
    let lacks_a_library = "echo 'error while loading shared libraries: libx264.so.164' >&2; exit 127";
    let lacks_a_library = program(folder.path(), lacks_a_library);
    for (path, told) in [
        ("/nowhere/ffmpeg", "cannot run /nowhere/ffmpeg: "),
        (&*lacks_a_library, "exit status: 127: error while loading shared libraries: libx264.so.164"),
        ("/bin/true", "expected a list of pictures, got none"),
    ] {
        let error = refused(&[("FFMPEG_PATH", path)]).await;
        assert!(error.contains("FFMPEG_PATH: expected an ffmpeg that can decode and encode, got "), "{error}");
        assert!(error.contains(told), "{told} is not in {error}");
        assert_eq!(error.matches(path).count(), 1, "{error}");
    }
}
