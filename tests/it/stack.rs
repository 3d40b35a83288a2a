//! What a test runs against: one ministack for all tests, buckets, a queue and a topic of its own, and the function's
//! pipeline between them, in this process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_lambda_events::event::sqs::SqsBatchResponse;
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_sdk_sqs::types::{Message, QueueAttributeName};
use cameras_service_generate_clip::invocation::answer;
use cameras_service_generate_clip::pipeline::Pipeline;
use cameras_service_generate_clip::settings::Settings;
use lambda_runtime::{Context, LambdaEvent};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::camera_api::CameraApi;
use testkit::ministack::MINISTACK;
use testkit::paths::ffmpeg;
use testkit::random::unique_name;

/// 2018-09-16T17:30:17.000Z, when the first recording of most tests begins.
pub const T0: i64 = 1_537_119_017_000;
pub const CAMERA: &str = "1111111111111";

/// The servers of one test.
pub struct Stack {
    pub camera: CameraApi,
    pub s3: aws_sdk_s3::Client,
    pub sqs: aws_sdk_sqs::Client,
    aws: SdkConfig,
    name: String,
    queue_url: String,
    announced_url: String,
    topic_arn: String,
    folder: TempDir,
}

/// A recording to put into the bucket and into the listing of the camera API.
pub struct Put<'a> {
    pub name: &'a str,
    pub file: &'a Path,
    /// Listed start and end, in milliseconds since the epoch.
    pub listed: (i64, i64),
}

impl Stack {
    pub async fn start() -> Self {
        // libtest shows the output of a failed test, and with it the log of the function
        let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::INFO).try_init();
        let name = unique_name(&format!("t{}", std::process::id()));
        let url = tokio::task::spawn_blocking(|| MINISTACK.url.clone()).await.expect("ministack runs");
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(url)
            .region(Region::from_static("us-west-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"))
            .load()
            .await;
        let (s3, sqs, sns) =
            (aws_sdk_s3::Client::new(&aws), aws_sdk_sqs::Client::new(&aws), aws_sdk_sns::Client::new(&aws));
        for bucket in ["origin", "clips"] {
            let here =
                CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::UsWest1).build();
            let create = s3.create_bucket().bucket(format!("{name}-{bucket}")).create_bucket_configuration(here);
            create.send().await.expect("a bucket");
        }
        let queue = async |name: String| {
            let queue = sqs.create_queue().queue_name(name).send().await.expect("a queue");
            queue.queue_url.expect("has a URL")
        };
        let queue_url = queue(name.clone()).await;
        let announced_url = queue(format!("{name}-announced")).await;
        let topic = sns.create_topic().name(&name).send().await.expect("a topic");
        let topic_arn = topic.topic_arn.expect("has an ARN");
        let attributes =
            sqs.get_queue_attributes().queue_url(&announced_url).attribute_names(QueueAttributeName::QueueArn);
        let attributes = attributes.send().await.expect("attributes").attributes.expect("some");
        let subscribe =
            sns.subscribe().topic_arn(&topic_arn).protocol("sqs").endpoint(&attributes[&QueueAttributeName::QueueArn]);
        subscribe.send().await.expect("a subscription");
        let folder = TempDir::new().expect("a folder");
        Self { camera: CameraApi::start().await, s3, sqs, aws, name, queue_url, announced_url, topic_arn, folder }
    }

    /// Puts recordings into the bucket and into the listing of the camera API.
    pub async fn recordings(&self, recordings: &[Put<'_>]) {
        for Put { name, file, .. } in recordings {
            self.put(name, file).await;
        }
        let listed: Vec<Value> = recordings.iter().map(listed).collect();
        self.camera.camera(CAMERA, &listed.into());
    }

    /// Puts a recording into the bucket.
    pub async fn put(&self, name: &str, file: &Path) {
        let body = aws_sdk_s3::primitives::ByteStream::from_path(file).await.expect("readable");
        let put = self.s3.put_object().bucket(self.bucket("origin")).key(format!("live/{name}")).body(body);
        put.send().await.expect("stored");
    }

    pub fn bucket(&self, which: &str) -> String {
        format!("{}-{which}", self.name)
    }

    /// Returns the function with changes to the usual settings.
    pub fn function(&self, changes: &[(&'static str, &str)]) -> Function {
        Function(Arc::new(Pipeline::new(self.settings(changes), &self.aws).expect("starts")))
    }

    /// Returns the function with changes to the usual settings. It reaches AWS at that URL.
    pub fn function_through(&self, url: &str, changes: &[(&'static str, &str)]) -> Function {
        let aws = self.aws.to_builder().endpoint_url(url).build();
        Function(Arc::new(Pipeline::new(self.settings(changes), &aws).expect("starts")))
    }

    /// Returns the usual settings with changes.
    pub fn settings(&self, changes: &[(&'static str, &str)]) -> Settings {
        let variables = self.environment(changes);
        Settings::read(|name| variables.get(name).cloned()).expect("good settings")
    }

    /// Returns the usual environment with changes.
    pub fn environment(&self, changes: &[(&'static str, &str)]) -> HashMap<&'static str, String> {
        let usual = [
            ("CLIP_DOWNLOAD_DEST", self.folder.path().display().to_string()),
            ("CAM_SERVICES_URL", self.camera.url.clone()),
            ("RECORDINGS_URL", format!("{}/ignored/path/", self.camera.url)),
            ("CLIP_URL", "https://camclips.sandbox.test.com".to_owned()),
            ("S3_BUCKET_ORIGIN", self.bucket("origin")),
            ("S3_BUCKET_ORIGIN_DIR", "/live/".to_owned()),
            ("S3_BUCKET_DESTINATION", self.bucket("clips")),
            ("AWS_SNS_TOPIC", self.topic_arn.clone()),
            ("AWS_SQS_QUEUE", format!("arn:aws:sqs:us-west-1:000000000000:{}", self.name)),
            ("AWS_SQS_QUEUE_URL", self.queue_url.clone()),
            ("SQS_TIMEOUT", "0".to_owned()),
            ("THUMBNAIL_SIZES", "64 301".to_owned()),
            ("FFMPEG_PATH", ffmpeg().display().to_string()),
        ];
        let mut variables: HashMap<&str, String> = usual.into_iter().collect();
        variables.extend(changes.iter().map(|&(name, value)| (name, value.to_owned())));
        variables
    }

    /// Returns the variables by which the SDKs of another process find the same servers.
    pub fn aws_environment(&self) -> [(&'static str, String); 4] {
        let url = self.aws.endpoint_url().expect("ministack's").to_owned();
        [
            ("AWS_ENDPOINT_URL", url),
            ("AWS_REGION", "us-west-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
    }

    /// Returns what the subscriber of the topic received: each message and its attribute `status`.
    pub async fn announced(&self) -> Vec<(Value, String)> {
        let messages = self.received(&self.announced_url).await;
        let unwrap = |message: &Message| {
            let envelope: Value = serde_json::from_str(message.body().expect("a body")).expect("an SNS envelope");
            let message = serde_json::from_str(envelope["Message"].as_str().expect("a message")).expect("JSON");
            let status = envelope["MessageAttributes"]["status"]["Value"].as_str().expect("an attribute");
            (message, status.to_owned())
        };
        messages.iter().map(unwrap).collect()
    }

    /// Returns the messages that were sent back to the queue.
    pub async fn messages_sent_back(&self) -> Vec<Message> {
        self.received(&self.queue_url).await
    }

    /// Returns the bodies of the messages that were sent back to the queue.
    pub async fn sent_back(&self) -> Vec<Value> {
        let messages = self.messages_sent_back().await;
        messages
            .iter()
            .map(|message| serde_json::from_str(message.body().expect("a body")).expect("strict JSON"))
            .collect()
    }

    async fn received(&self, url: &str) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            let receive = self.sqs.receive_message().queue_url(url).max_number_of_messages(10).visibility_timeout(600);
            let receive = receive.message_attribute_names("All");
            let messages = receive.send().await.expect("a queue").messages.unwrap_or_default();
            if messages.is_empty() {
                return all;
            }
            all.extend(messages);
        }
    }

    /// Downloads a stored object. Returns the file and the content type.
    pub async fn stored(&self, key: &str) -> Option<(PathBuf, String)> {
        let object = self.s3.get_object().bucket(self.bucket("clips")).key(key).send().await.ok()?;
        let content_type = object.content_type().expect("stated").to_owned();
        let bytes = object.body.collect().await.expect("whole").into_bytes();
        let path = self.folder.path().join(key.replace('/', "-"));
        std::fs::write(&path, bytes).expect("written");
        Some((path, content_type))
    }

    /// Removes the folder with the function's scratch space.
    pub fn remove_scratch(&self) {
        std::fs::remove_dir_all(self.folder.path()).expect("removed");
    }

    /// Returns the files that the function has left in its scratch space.
    pub fn left_over(&self) -> Vec<PathBuf> {
        let entries = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable").path()).collect()
        };
        let own = entries(self.folder.path()).into_iter().filter(|path| path.is_dir());
        let is_mark = |path: &PathBuf| path.ends_with(exact_cut::scratch::MARK);
        own.flat_map(|folder| entries(&folder)).filter(|path| !is_mark(path)).collect()
    }
}

/// Returns a recording as the camera API lists it.
pub fn listed(Put { name, listed: (from, to), .. }: &Put<'_>) -> Value {
    let date = |ms: i64| {
        let date = chrono::DateTime::from_timestamp_millis(ms).expect("a date");
        date.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    json!({
        "startDate": date(*from), "endDate": date(*to), "alias": "test",
        "recordingUrl": format!("https://camrewinds.test.com/test/{name}"),
        "thumbLargeUrl": "https://camrewinds.test.com/test/large.jpg", "thumbSmallUrl": "https://camrewinds.test.com/test/small.jpg",
    })
}

/// The function, as Lambda would call it.
#[derive(Clone)]
pub struct Function(Arc<Pipeline>);

impl Function {
    pub async fn invoke(&self, event: Value) -> Result<SqsBatchResponse, String> {
        self.invoke_within(event, None).await
    }

    /// Invokes the function for at most `timeout`.
    pub async fn invoke_within(&self, event: Value, timeout: Option<Duration>) -> Result<SqsBatchResponse, String> {
        let mut context = Context::default();
        context.deadline = timeout.map(deadline_ms).unwrap_or_default();
        let invoked = answer(Arc::clone(&self.0), LambdaEvent::new(event, context)).await;
        let response = invoked.map_err(|error| error.to_string())?;
        Ok(serde_json::from_value(response).expect("a partial batch response"))
    }

    /// Returns the answer to a self-check in an invocation that has so much time.
    pub async fn self_check(&self, timeout: Option<Duration>) -> Value {
        let mut context = Context::default();
        context.deadline = timeout.map(deadline_ms).unwrap_or_default();
        let invoked = answer(Arc::clone(&self.0), LambdaEvent::new(json!({"selfCheck": true}), context)).await;
        invoked.expect("it succeeds, whatever it finds")
    }

    /// Serves one record, which must succeed.
    pub async fn serve(&self, record: Value) {
        let response = self.invoke(json!({ "Records": [record] })).await.expect("the record succeeds");
        assert!(response.batch_item_failures.is_empty());
    }
}

/// Returns a body that asks for a span, in milliseconds after [`T0`].
pub fn body(clip: &str, from: i64, to: i64) -> Value {
    json!({"clipId": clip, "cameraId": CAMERA, "startTimestampInMs": T0 + from, "endTimestampInMs": T0 + to, "retryTimestamps": []})
}

/// Returns a record of an event with that body, sent `sent` milliseconds after [`T0`].
pub fn record(id: &str, body: &Value, sent: i64) -> Value {
    let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
    json!({"messageId": id, "body": body, "attributes": {"SentTimestamp": (T0 + sent).to_string()}, "eventSource": "aws:sqs"})
}

/// Returns an instant so far from now, in milliseconds since the epoch.
fn deadline_ms(left: Duration) -> u64 {
    let end = SystemTime::now() + left;
    let end = end.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    end.as_millis().try_into().expect("before 2554")
}
