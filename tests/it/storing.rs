//! The destination bucket: the proof of an upload, a role that may only put, and clips of an earlier recipe.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::types::MetadataDirective;
use cameras_service_generate_clip::clip_store::ClipStore;
use cameras_service_generate_clip::contract::message_body::Request;
use cameras_service_generate_clip::services::s3::{ObjectId, S3, Upload};
use exact_cut::deadline::Deadline;
use testkit::camera_api::{Answer, CameraApi};
use testkit::footage::Footage;

use crate::stack::{CAMERA, Put, Stack, T0, body, record};

/// Returns a client of S3 for which the camera API of the tests stands in.
fn s3(server: &CameraApi) -> S3 {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&server.url)
        .force_path_style(true)
        .region(Region::from_static("us-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .build();
    S3::new(aws_sdk_s3::Client::from_conf(config))
}

fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Answer::Whole { status, headers, body: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_names_another_crc_32_fails_the_upload() {
    let server = CameraApi::start().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "123456789").expect("written");
    let id = ObjectId { bucket: "clips".to_owned(), key: "c/a.mp4".to_owned() };
    for (headers, is_stored) in [
        (&[][..], true),
        (&[("x-amz-checksum-crc32", "y/Q5Jg==")], true),
        (&[("x-amz-checksum-crc32", "AAAAAA==")], false),
    ] {
        server.answers("PUT /clips/c/a.mp4", [answer(200, headers)]);
        let metadata = std::collections::HashMap::new();
        let upload = Upload {
            path: file.path(),
            content_type: "video/mp4",
            content_disposition: None,
            cache_control: None,
            metadata: &metadata,
        };
        let put = s3(&server).put(&id, upload, Deadline::after(Duration::from_mins(1))).await;
        assert_eq!(put.is_ok(), is_stored, "{headers:?}: {put:?}");
        assert!(put.is_ok() || put.expect_err("no").reason.contains("CRC-32"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_role_that_may_only_put_no_clip_is_stored_and_each_upload_is_proven() {
    let stack = Stack::start().await;
    let settings = stack.settings(&[]);
    let clips = ClipStore::new(s3(&stack.camera), &settings);
    let request = Request::parse(&body("a", 0, 100).to_string(), Some("1537119022000")).expect("valid");
    let bucket = stack.bucket("clips");
    for name in ["a.mp4", "a_64.png", "a_301.png"] {
        stack.camera.answers(&format!("HEAD /{bucket}/{CAMERA}/{name}"), [answer(403, &[])]);
    }
    assert_eq!(clips.look_up(&request, Deadline::unknown()).await.expect("not an error"), None);
    clips.check(&request, Vec::new(), Deadline::unknown()).await.expect("the CRC-32 is the proof");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_there_after_it_was_stored_is_named() {
    let stack = Stack::start().await;
    let clips = ClipStore::new(s3(&stack.camera), &stack.settings(&[]));
    let request = Request::parse(&body("a", 0, 100).to_string(), Some("1537119022000")).expect("valid");
    let bucket = stack.bucket("clips");
    for name in ["a.mp4", "a_64.png", "a_301.png"] {
        stack.camera.answers(&format!("HEAD /{bucket}/{CAMERA}/{name}"), [answer(404, &[])]);
    }
    let error = clips.check(&request, Vec::new(), Deadline::unknown()).await.expect_err("nothing is there");
    assert!(error.kind.is_transient());
    let first = format!("s3://{bucket}/{CAMERA}/a.mp4");
    let told = format!("a: stored objects: expected 3 as they were sent, got 0 (missing or another: {first})");
    assert_eq!(error.to_string(), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_of_an_earlier_recipe_counts_as_stored() {
    let stack = Stack::start().await;
    let file = Footage::default().file();
    stack.recordings(&[Put { name: "test.20180916T173017000.mp4", file: &file, listed: (T0, T0 + 5000) }]).await;
    let function = stack.function(&[]);
    let message = record("a", &body("old", 0, 100), 2000);
    function.serve(message.clone()).await;
    let bucket = stack.bucket("clips");
    for name in ["old.mp4", "old_64.png", "old_301.png"] {
        let key = format!("{CAMERA}/{name}");
        let head = stack.s3.head_object().bucket(&bucket).key(&key).send().await.expect("stored");
        let mut metadata = head.metadata().expect("noted").clone();
        assert!(metadata.insert("recipe".to_owned(), "1".to_owned()).is_some(), "the recipe is noted");
        let copy = stack.s3.copy_object().bucket(&bucket).key(&key).copy_source(format!("{bucket}/{key}"));
        let copy = copy.metadata_directive(MetadataDirective::Replace).set_metadata(Some(metadata));
        copy.send().await.expect("copied");
    }
    let calls = stack.camera.calls().len();
    function.serve(message).await;
    assert_eq!(stack.camera.calls().len(), calls + 1, "it is only announced again");
}
