//! The settings of the function, read from environment variables (docs/contract.md, "Environment variables"). Only this
//! file reads the environment. It reads everything once, at start, and reports everything that is wrong at once.

use std::path::{Path, PathBuf};

use exact_cut::plan::coverage::Tolerances;
use exact_cut::plan::segments::TrimMode;
use exact_cut::render::thumbnails::PictureFormat;
use tracing_subscriber::filter::Targets;
use url::Url;

use crate::contract::clip_metadata::ClipLocation;
use crate::contract::recording_name::NameFormat;
use crate::decision::Limits;
use crate::mismatch::mismatch;
use crate::settings_reader::{
    Reader, at_least_1_second, boolean, bucket, cache_control, clips_endpoint, delay_seconds, folder, http_url,
    log_filter, milliseconds_as_us, name_format, path, receives, seconds, standard_queue_arn, standard_queue_url,
    standard_topic_arn, thumbnail_widths,
};

/// Names of the function's scratch folders begin with this.
pub const SCRATCH_PREFIX: &str = concat!(env!("CARGO_PKG_NAME"), "-scratch-");
/// The ffmpeg of the Lambda layer.
const LAYER_FFMPEG: &str = "/opt/bin/ffmpeg";

#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder for work files.
    pub download_dest: PathBuf,
    /// How names of recordings hold an instant.
    pub name_format: NameFormat,
    pub limits: Limits,
    /// Base URL of the camera API.
    pub cam_services_url: Url,
    /// Base URL of the recordings API.
    pub recordings_url: Url,
    /// Path of a clip in the camera API; `{clipId}`, if it is there, stands for the id of the clip.
    pub clips_endpoint: String,
    /// Base of the public URLs of clips.
    pub clip_url: Url,
    /// Widths in pixels.
    pub thumbnail_sizes: Vec<u32>,
    pub thumbnail_format: PictureFormat,
    /// Bucket of the recordings.
    pub bucket_origin: String,
    /// Folder of the recordings in their bucket, without slashes around it; empty for the root.
    pub bucket_origin_dir: String,
    /// Bucket of clips and thumbnails.
    pub bucket_destination: String,
    /// ARN of the topic that announces clips.
    pub sns_topic: String,
    /// URL of the queue that gets retries.
    pub queue_url: String,
    /// ARN of that queue.
    pub queue_arn: String,
    /// Delay of a retry in seconds, 0 to 900.
    pub retry_delay_s: i32,
    /// How often the queue delivers a message before it moves to the dead-letter queue; 0 if unknown.
    pub max_receives: u32,
    /// Whether the trigger reads which records failed (`ReportBatchItemFailures`).
    pub reports_failures: bool,
    pub log_filter: Targets,
    pub trim_mode: TrimMode,
    /// How long a hole may be that is not a gap, and how far names may be off.
    pub tolerances: Tolerances,
    /// `Cache-Control` of stored objects, if any.
    pub clip_cache_control: Option<String>,
    /// The ffmpeg to run.
    pub ffmpeg_path: PathBuf,
    /// Folder that gets a trace document of every request. Not for use on Lambda.
    pub trace_dir: Option<PathBuf>,
    /// Memory of the function in bytes, if Lambda tells it.
    pub memory: Option<u64>,
    /// Variables that are set and name a proxy.
    pub proxies: Vec<&'static str>,
    /// What looks wrong but does not stop the start.
    pub warnings: Vec<String>,
}

/// The variables that the HTTP clients take a proxy from.
const PROXIES: [&str; 6] = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Variables that are missing or invalid.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", refusals.join("; "))]
pub struct BadEnvironment {
    /// One for each variable: `<VARIABLE>: expected <what>, got <what>`.
    pub refusals: Vec<String>,
    /// The ffmpeg that the other settings name.
    pub ffmpeg_path: Option<PathBuf>,
    /// The folder for work files that they name.
    pub download_dest: Option<PathBuf>,
}

/// Returns whether Lambda is set to JSON logs, so that the lines of the function match Lambda's own (AWS Lambda Developer
/// Guide, "Configuring JSON and plain text log formats"). Read before the settings, because bad settings are logged too.
#[must_use]
pub fn json_logs() -> bool {
    std::env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"))
}

/// What Lambda tells a process about its function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Name of the function; `none` elsewhere than on Lambda.
    pub function: String,
    /// Version of the function: a number, or `$LATEST`.
    pub version: String,
    /// Lowest level of application logs that Lambda keeps.
    pub level: String,
}

impl Process {
    /// Reads the environment of the process.
    #[must_use]
    pub fn from_env() -> Self {
        let text = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
        Self {
            function: text("AWS_LAMBDA_FUNCTION_NAME", "none"),
            version: text("AWS_LAMBDA_FUNCTION_VERSION", "none"),
            level: text("AWS_LAMBDA_LOG_LEVEL", "INFO"),
        }
    }
}

impl Settings {
    /// Reads the environment of the process. A variable that is not UTF-8 is refused with a replacement character in it.
    ///
    /// # Errors
    /// [`BadEnvironment`] names every variable that is missing or invalid.
    pub fn from_env() -> Result<Self, BadEnvironment> {
        Self::read(|name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned()))
    }

    /// Reads variables by `lookup`. A variable that is empty when cleaned counts as unset.
    ///
    /// # Errors
    /// [`BadEnvironment`] names every variable that is missing or invalid.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, BadEnvironment> {
        let mut env = Reader::new(lookup);
        let default_ffmpeg = if Path::new(LAYER_FFMPEG).exists() { LAYER_FFMPEG } else { "ffmpeg" };
        let ffmpeg_path = env.or("FFMPEG_PATH", default_ffmpeg, path);
        let download_dest = env.or("CLIP_DOWNLOAD_DEST", "/tmp", path);
        let settings = Self::read_all(&mut env, ffmpeg_path.clone(), download_dest.clone());
        let refusals = env.into_refusals();
        settings.filter(|_| refusals.is_empty()).ok_or(BadEnvironment { refusals, ffmpeg_path, download_dest })
    }

    /// Reads every variable before the first `?`, so that each bad one is refused.
    fn read_all(
        env: &mut Reader<impl Fn(&str) -> Option<String>>,
        ffmpeg_path: Option<PathBuf>,
        download_dest: Option<PathBuf>,
    ) -> Option<Self> {
        let old_first = env.or("OLD_FILE_FORMAT", "False", boolean);
        let name_format =
            env.or("TIMESTAMP_FORMAT", "%Y%m%dT%H%M%S%f", |text| name_format(text, old_first.unwrap_or(false)));
        let queue_url = env.required("AWS_SQS_QUEUE_URL", standard_queue_url);
        let queue_arn = env.required("AWS_SQS_QUEUE", standard_queue_arn);
        let video_max_len_s = env.or("VIDEO_MAX_LEN", "300", at_least_1_second);
        let sqs_retry_limit_s = env.or("SQS_RETRY_LIMIT", "900", seconds);
        let out_of_range_limit_s = env.or("OUT_OF_RANGE_LIMIT", "259200", seconds);
        let cam_services_url = env.required("CAM_SERVICES_URL", http_url);
        let recordings_url = env.required("RECORDINGS_URL", http_url);
        let clips_endpoint = env.or("CLIPS_ENDPOINT", "/cameras/clips/{clipId}", clips_endpoint);
        let clip_url = env.required("CLIP_URL", http_url);
        let thumbnail_sizes = env.or("THUMBNAIL_SIZES", "300 640 1500 3000", thumbnail_widths);
        let thumbnail_format = env.or("THUMBNAIL_FORMAT", "png", |text| text.parse().map_err(|_| "png or jpg"));
        let bucket_origin = env.required("S3_BUCKET_ORIGIN", bucket);
        let bucket_origin_dir = env.or("S3_BUCKET_ORIGIN_DIR", "/", folder);
        let bucket_destination = env.required("S3_BUCKET_DESTINATION", bucket);
        let sns_topic = env.required("AWS_SNS_TOPIC", standard_topic_arn);
        let retry_delay_s = env.or("SQS_TIMEOUT", "60", delay_seconds);
        let max_receives = env.or("SQS_MAX_RECEIVES", "0", receives);
        let reports_failures = env.or("REPORT_BATCH_ITEM_FAILURES", "False", boolean);
        let log_filter = env.or("LOG_LEVEL", "info", log_filter);
        let trim_mode = env.or("TRIM_MODE", "smart", |text| text.parse().map_err(|_| "smart or encode"));
        let gap_tolerance_us = env.or("GAP_TOLERANCE_MS", "500", milliseconds_as_us);
        let joint_tolerance_us = env.or("JOINT_TOLERANCE_MS", "1500", milliseconds_as_us);
        let clip_cache_control = env.optional("CLIP_CACHE_CONTROL", cache_control);
        let memory_mib = env.text("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|mib| mib.parse::<u32>().ok());
        let trace_dir = env.optional("TRACE_DIR", path);
        let proxies = PROXIES.into_iter().filter(|name| env.text(name).is_some()).collect();
        let (queue_url, queue_arn, sns_topic) = (queue_url?, queue_arn?, sns_topic?);
        let warnings = queue_warning(&queue_url, &queue_arn).into_iter().collect();
        Some(Self {
            download_dest: download_dest?,
            name_format: name_format?,
            limits: Limits {
                video_max_len_s: video_max_len_s?,
                sqs_retry_limit_s: sqs_retry_limit_s?,
                out_of_range_limit_s: out_of_range_limit_s?,
            },
            cam_services_url: cam_services_url?,
            recordings_url: recordings_url?,
            clips_endpoint: clips_endpoint?,
            clip_url: clip_url?,
            thumbnail_sizes: thumbnail_sizes?,
            thumbnail_format: thumbnail_format?,
            bucket_origin: bucket_origin?,
            bucket_origin_dir: bucket_origin_dir?,
            bucket_destination: bucket_destination?,
            sns_topic,
            queue_url,
            queue_arn,
            retry_delay_s: retry_delay_s?,
            max_receives: max_receives?,
            reports_failures: reports_failures?,
            log_filter: log_filter?,
            trim_mode: trim_mode?,
            tolerances: Tolerances { gap_us: gap_tolerance_us?, joint_us: joint_tolerance_us? },
            clip_cache_control,
            ffmpeg_path: ffmpeg_path?,
            memory: memory_mib.map(|mib| u64::from(mib) << 20),
            trace_dir,
            proxies,
            warnings,
        })
    }

    /// Returns a warning for the topic and the queue if their ARN or URL names another region than `region`, in which the
    /// clients look for them.
    #[must_use]
    pub fn region_warnings(&self, region: &str) -> Vec<String> {
        let named = [
            ("AWS_SNS_TOPIC", region_of_arn(&self.sns_topic)),
            ("AWS_SQS_QUEUE", region_of_arn(&self.queue_arn)),
            ("AWS_SQS_QUEUE_URL", region_of_queue_url(&self.queue_url)),
        ];
        let other = named.into_iter().filter_map(|(name, named)| Some((name, named.filter(|named| *named != region)?)));
        other
            .map(|(name, named)| mismatch(name, format_args!("the region {region:?}"), format_args!("{named:?}")))
            .collect()
    }

    /// Returns this program, which limits and isolates ffmpeg when it starts it, or `None` where Lambda tells no memory: the
    /// pipeline may then run in a program that is none of ours.
    #[must_use]
    pub fn launcher(&self) -> Option<PathBuf> {
        self.memory.map(|_| std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()))
    }

    /// Returns where consumers find the objects of an available clip.
    #[must_use]
    pub fn clip_location(&self) -> ClipLocation<'_> {
        ClipLocation {
            bucket: &self.bucket_destination,
            clip_url: &self.clip_url,
            format: self.thumbnail_format,
            sizes: &self.thumbnail_sizes,
        }
    }
}

/// Returns the region in a complete ARN: `arn:partition:service:region:account:resource`.
fn region_of_arn(arn: &str) -> Option<&str> {
    match arn.splitn(6, ':').collect::<Vec<_>>()[..] {
        [_, _, _, region, _, _] if !region.is_empty() => Some(region),
        _ => None,
    }
}

/// Returns the region in the URL of a queue on AWS: `https://sqs.region.amazonaws.com/account/name`, or the older
/// `https://region.queue.amazonaws.com/account/name` (AWS General Reference, "Amazon SQS endpoints and quotas").
fn region_of_queue_url(url: &str) -> Option<&str> {
    let (_, host) = url.split_once("://")?;
    match host.splitn(3, '.').collect::<Vec<_>>()[..] {
        ["sqs", region, rest] | [region, "queue", rest] if rest.starts_with("amazonaws.com") => Some(region),
        _ => None,
    }
}

fn queue_warning(url: &str, arn: &str) -> Option<String> {
    let named =
        |text: &str, separator| text.trim_end_matches('/').rsplit(separator).next().unwrap_or_default().to_owned();
    let (url, arn) = (named(url, '/'), named(arn, ':'));
    let expected = format!("the queue {arn:?} of AWS_SQS_QUEUE");
    (url != arn).then(|| mismatch("AWS_SQS_QUEUE_URL", expected, format_args!("{url:?}")))
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
