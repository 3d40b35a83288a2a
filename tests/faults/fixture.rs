//! The part that all schedules share: ministack with its buckets, queue and topic, the recordings, and the expected
//! results.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use serde_json::Value;
use testkit::decode::{gray, numbers};
use testkit::http::{self, Message};
use testkit::ministack::MINISTACK;
use testkit::paths::ffmpeg;
use testkit::stack_template::STACK;
use tokio::sync::OnceCell;

use crate::scenario::{ALL, CANARY, Scenario, footage};
use crate::schedule::Schedule;
use crate::worker::Worker;

/// Width of the only thumbnail.
const WIDTH: &str = "64";

/// The expected result of a scenario, without the id of the clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The clip and its thumbnail.
    pub objects: Vec<Vec<u8>>,
    pub metadata: Value,
}

/// The shared part of a test process.
#[derive(Debug)]
pub struct Fixture {
    /// Host and port of ministack.
    pub ministack: String,
    pub origin: String,
    clips: String,
    topic_arn: String,
    queue_url: String,
    references: Mutex<HashMap<&'static str, Reference>>,
}

static FIXTURE: OnceCell<Arc<Fixture>> = OnceCell::const_new();

impl Fixture {
    /// Returns the fixture of this process. The first call makes it, and verifies the expected results.
    pub async fn get() -> Arc<Self> {
        let made = FIXTURE.get_or_init(async || {
            let fixture = Arc::new(Self::make().await);
            for scenario in &ALL[1..] {
                fixture.learn(scenario).await;
            }
            fixture
        });
        Arc::clone(made.await)
    }

    async fn make() -> Self {
        let url = tokio::task::spawn_blocking(|| MINISTACK.url.clone()).await.expect("ministack runs");
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(&url)
            .region(Region::from_static("us-west-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .load()
            .await;
        let s3 = aws_sdk_s3::Client::new(&aws);
        let [origin, clips] = ["faults-origin", "faults-clips"].map(str::to_owned);
        for bucket in [&origin, &clips] {
            let here =
                CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::UsWest1).build();
            s3.create_bucket().bucket(bucket).create_bucket_configuration(here).send().await.expect("a bucket");
        }
        for (name, file) in footage() {
            let body = ByteStream::from_path(file).await.expect("readable");
            s3.put_object().bucket(&origin).key(format!("live/{name}")).body(body).send().await.expect("stored");
        }
        let queue = aws_sdk_sqs::Client::new(&aws).create_queue().queue_name("faults").send().await.expect("a queue");
        let topic = aws_sdk_sns::Client::new(&aws).create_topic().name("faults").send().await.expect("a topic");
        Self {
            ministack: url.trim_start_matches("http://").to_owned(),
            origin,
            clips,
            topic_arn: topic.topic_arn.expect("has an ARN"),
            queue_url: queue.queue_url.expect("has a URL"),
            references: Mutex::default(),
        }
    }

    /// Runs a scenario without faults, verifies the result, and keeps it.
    async fn learn(self: &Arc<Self>, scenario: &'static Scenario) {
        let mut worker = Worker::start(Arc::clone(self)).await;
        let report = worker.run(&Schedule::of(scenario, "reference".to_owned(), Vec::new())).await;
        let violations = report.violations;
        assert!(violations.is_empty(), "{}, and nothing went wrong: {violations:?}; {}", scenario.camera, worker.log());
        let Some(metadata) = report.announced.last().filter(|last| last["status"] == "CLIP_AVAILABLE") else { return };
        let objects = self.stored(scenario.camera, "reference").await.expect("clip and thumbnail are stored");
        let folder = tempfile::TempDir::new().expect("a folder");
        let clip = folder.path().join("clip.mp4");
        std::fs::write(&clip, &objects[0]).expect("written");
        assert_eq!(numbers(&clip, (320, 180)), scenario.frames(), "{}", scenario.camera);
        verify_copies(scenario, &clip);
        let reference = Reference { objects, metadata: Self::without_clip(metadata) };
        self.references.lock().expect("no panic").insert(scenario.camera, reference);
    }

    /// Returns the expected result of a scenario, if it is known.
    pub fn reference(&self, camera: &str) -> Option<Reference> {
        self.references.lock().expect("no panic").get(camera).cloned()
    }

    /// Returns `metadata` without the id of the clip.
    pub fn without_clip(metadata: &Value) -> Value {
        let clip = metadata["clipId"].as_str().unwrap_or_default();
        let text = metadata.to_string().replace(clip, "*");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Returns the stored clip and its thumbnail, or `None` unless both exist.
    pub async fn stored(&self, camera: &str, clip: &str) -> Option<Vec<Vec<u8>>> {
        let mut objects = Vec::new();
        for name in [format!("{clip}.mp4"), format!("{clip}_{WIDTH}.png")] {
            let get = Message::request("GET", &format!("/{}/{camera}/{name}", self.clips), &self.ministack);
            let answer = http::call(&self.ministack, &get).await.expect("ministack answers");
            assert!(matches!(answer.status(), 200 | 404), "ministack answers {}", answer.start);
            objects.push((answer.status() == 200).then_some(answer.body)?);
        }
        Some(objects)
    }

    /// Stores a recording in the bucket.
    pub async fn put(&self, name: &str, bytes: &[u8]) {
        let mut put = Message::request("PUT", &format!("/{}/live/{name}", self.origin), &self.ministack);
        put.set("Content-Length", &bytes.len().to_string());
        put.body = bytes.to_vec();
        let answer = http::call(&self.ministack, &put).await.expect("ministack answers");
        assert_eq!(answer.status(), 200);
    }

    /// Returns the environment of the function, with secrets in it.
    pub fn variables(&self, aws: &str, camera: &str, scratch: &Path, ffmpeg: &Path) -> Vec<(String, String)> {
        let mut secret = String::from(CANARY);
        secret.push_str("-secret");
        [
            ("CLIP_DOWNLOAD_DEST", scratch.display().to_string()),
            ("CAM_SERVICES_URL", format!("http://user:{secret}@{camera}")),
            ("RECORDINGS_URL", format!("http://{camera}/ignored/?key={secret}")),
            ("CLIP_URL", "https://camclips.sandbox.test.com".to_owned()),
            ("S3_BUCKET_ORIGIN", self.origin.clone()),
            ("S3_BUCKET_ORIGIN_DIR", "live".to_owned()),
            ("S3_BUCKET_DESTINATION", self.clips.clone()),
            ("AWS_SNS_TOPIC", self.topic_arn.clone()),
            ("AWS_SQS_QUEUE", "arn:aws:sqs:us-west-1:000000000000:faults".to_owned()),
            ("AWS_SQS_QUEUE_URL", self.queue_url.clone()),
            ("SQS_RETRY_LIMIT", "3600".to_owned()),
            ("SQS_MAX_RECEIVES", STACK.max_receives.to_string()),
            ("THUMBNAIL_SIZES", WIDTH.to_owned()),
            ("FFMPEG_PATH", ffmpeg.display().to_string()),
            ("AWS_ENDPOINT_URL", format!("http://{aws}")),
            ("AWS_REGION", "us-west-1".to_owned()),
            ("LOG_LEVEL", "NOTSET".to_owned()), // logs everything, and nothing of it may be a secret
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ACCESS_KEY_ID", format!("AKIA{CANARY}")),
            ("AWS_SECRET_ACCESS_KEY", secret.clone()),
            ("AWS_SESSION_TOKEN", secret.clone()),
            ("DATABASE_PASSWORD", secret),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Returns the ffmpeg of the layer.
    pub fn ffmpeg() -> PathBuf {
        ffmpeg()
    }
}

/// Compares every copied picture, bit for bit, with the one that a full decode of its recording gives.
fn verify_copies(scenario: &Scenario, clip: &Path) {
    let picture = 320 * 180;
    let decoded = gray(clip);
    let recordings: Vec<Vec<u8>> = footage()[..2].iter().map(|(_, file)| gray(file)).collect();
    for (index, number) in scenario.frames().into_iter().enumerate() {
        let (recording, frame) = (number / 1000, number % 1000);
        // groups of 60 pictures: a copied run begins with one
        let copied = recording == 1 || scenario.camera == "copied";
        let source = &recordings[recording as usize][frame as usize * picture..][..picture];
        let shown = &decoded[index * picture..][..picture];
        assert!(!copied || shown == source, "picture {index} of {} is not frame {number}", scenario.camera);
    }
}
