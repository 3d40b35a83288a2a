//! Limits of uploads: one that moves takes as long as it needs, and one that does not move is ended. Connections are used
//! again unless they were unused for too long.

use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use cameras_service_generate_clip::error::Error;
use cameras_service_generate_clip::services::aws_transport::{AttemptLimits, http_client};
use cameras_service_generate_clip::services::s3::{ObjectId, S3, Upload};
use exact_cut::deadline::Deadline;
use testkit::camera_api::{Answer, CameraApi};
use testkit::random::SplitMix64;
use testkit::slow_proxy::{Pace, SlowProxy};

use crate::stack::Stack;

/// More than the system takes before it is sent: at most 4 MB (tcp(7), `tcp_wmem`).
const BYTES: usize = 32 << 20;
const PORTION: usize = 512 << 10;
/// Of a call.
const FIRST_BYTE: Duration = Duration::from_millis(100);

/// Returns a client of the S3 at `url`, with these limits. It makes one attempt.
fn s3(url: &str, limits: AttemptLimits) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client(limits).expect("a client"))
        .endpoint_url(url)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .region(Region::from_static("us-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Stores a file through a proxy with this pace. Returns how long that took, and whether the file is stored as it is.
async fn upload(pace: Pace, upload_stall: Duration) -> (Duration, Result<bool, Error>) {
    let stack = Stack::start().await;
    let [(_, ministack), ..] = stack.aws_environment();
    let proxy = SlowProxy::before(ministack.trim_start_matches("http://"), pace);
    let limits = AttemptLimits { first_byte: FIRST_BYTE, upload_stall, ..AttemptLimits::default() };
    let s3 = S3::new(s3(&format!("http://{}", proxy.address), limits));
    let mut random = SplitMix64(7);
    let bytes: Vec<u8> = std::iter::repeat_with(|| random.next_u64().to_le_bytes()).flatten().take(BYTES).collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &bytes).expect("written");
    let id = ObjectId { bucket: stack.bucket("clips"), key: "camera/clip.mp4".to_owned() };
    let metadata = std::collections::HashMap::new();
    let upload = Upload {
        path: file.path(),
        content_type: "video/mp4",
        content_disposition: None,
        cache_control: None,
        metadata: &metadata,
    };
    let begun = Instant::now();
    let put = s3.put(&id, upload, Deadline::after(Duration::from_mins(1))).await;
    let took = begun.elapsed();
    let Err(error) = put else {
        let (stored, _) = stack.stored("camera/clip.mp4").await.expect("stored");
        return (took, Ok(std::fs::read(stored).expect("readable") == bytes));
    };
    (took, Err(error))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_moves_slowly_has_no_limit_of_time() {
    let stall = Duration::from_secs(2);
    let pace = Pace { portion: PORTION, pause: Duration::from_millis(50), most: usize::MAX };
    let (took, stored) = upload(pace, stall).await;
    assert!(stored.as_ref().is_ok_and(|is_same| *is_same), "{stored:?}");
    assert!(took > stall && took > FIRST_BYTE, "the proxy was too fast to show it: {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_which_no_byte_moves_is_ended() {
    let stall = Duration::from_millis(300);
    let pace = Pace { portion: PORTION, pause: Duration::ZERO, most: PORTION };
    let (took, stored) = upload(pace, stall).await;
    let error = stored.expect_err("the rest does not arrive");
    assert!(error.reason.contains("no byte of the upload has moved for 300 ms"), "{error:?}");
    assert!(error.kind.is_transient() && took > stall, "{error:?} after {took:?}");
}

/// Returns the number of connections for so many calls of S3, one after the other.
async fn connections(idle: Duration, calls: usize) -> usize {
    let server = CameraApi::start().await;
    server.answers("HEAD /clips/a", [Answer::Whole { status: 200, headers: Vec::new(), body: Vec::new() }]);
    server.answers("GET /clips/a", [Answer::text("abc")]);
    let s3 = s3(&server.url, AttemptLimits { idle, ..AttemptLimits::default() });
    for _ in 0..calls / 2 {
        s3.head_object().bucket("clips").key("a").send().await.expect("an answer");
        let answer = s3.get_object().bucket("clips").key("a").send().await.expect("an answer");
        assert_eq!(answer.body.collect().await.expect("a body").into_bytes().len(), 3);
    }
    server.connections()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_s3_is_used_again_until_it_was_unused_for_too_long() {
    assert!(connections(AttemptLimits::default().idle, 20).await < 10, "also after a body");
    assert_eq!(connections(Duration::from_nanos(1), 20).await, 20);
}
