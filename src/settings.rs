//! The only reader of the environment (CONTRACT.md section 6). Everything is read once, at start, and everything that is
//! wrong is said at once.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tracing_subscriber::filter::Targets;
use url::Url;

use crate::footage::recording::NameFormat;
use crate::metadata::{PictureFormat, Place};
use crate::verdict::Limits;

/// All that is set from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder for downloads and work files.
    pub download_dest: PathBuf,
    /// How the instant stands in a recording's name.
    pub name_format: NameFormat,
    /// The limits that name a failure.
    pub limits: Limits,
    /// Base URL of the camera API.
    pub cam_services_url: Url,
    /// Base URL of the recordings API.
    pub recordings_url: Url,
    /// Path of a clip in the camera API, with `{clipId}` in it.
    pub clips_endpoint: String,
    /// Base URL under which clips are to be had.
    pub clip_url: Url,
    /// Widths in pixels.
    pub thumbnail_sizes: Vec<u32>,
    /// Format of the thumbnails.
    pub thumbnail_format: PictureFormat,
    /// Bucket of the recordings.
    pub bucket_origin: String,
    /// Folder of the recordings in their bucket, without slashes around it; may be empty.
    pub bucket_origin_dir: String,
    /// Bucket of clips and thumbnails.
    pub bucket_destination: String,
    /// ARN of the topic.
    pub sns_topic: String,
    /// URL of the queue to which a retry goes.
    pub queue_url: String,
    /// Delay of a retry in seconds.
    pub retry_delay_s: i32,
    /// Which log lines are written.
    pub log_filter: Targets,
    /// How a clip is cut.
    pub trim_mode: TrimMode,
    /// The longest hole over which a frame is held, in microseconds.
    pub gap_tolerance_us: i64,
    /// The ffmpeg to run.
    pub ffmpeg_path: PathBuf,
    /// Folder that keeps a document of every request; not for AWS.
    pub trace_dir: Option<PathBuf>,
    /// Memory of the whole function in bytes, where Lambda says so.
    pub memory: Option<u64>,
    /// What is odd, but no error.
    pub warnings: Vec<String>,
}

/// Whether Lambda is set to JSON logs, so that the function's lines go with Lambda's own (AWS Lambda Developer Guide,
/// "Configuring JSON and plain text log formats"). Known before anything else, because bad settings are logged too.
#[must_use]
pub fn json_logs() -> bool {
    std::env::var("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"))
}

/// The function's name on Lambda. Elsewhere there is none.
#[must_use]
pub fn function_name() -> String {
    std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "none".to_owned())
}

/// How a clip is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrimMode {
    /// Copies what can be copied exactly.
    Smart,
    /// Encodes everything.
    Encode,
}

/// The longest delay that SQS knows, in seconds (`SendMessage`, `DelaySeconds`).
const LONGEST_DELAY_S: u32 = 900;
/// The widest thumbnail, in pixels.
const WIDEST_THUMBNAIL: u32 = 8192;
/// The most thumbnails a clip.
const MOST_THUMBNAILS: usize = 16;

impl Settings {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// One text that names every variable that is missing or bad.
    pub fn from_env() -> Result<Self, String> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads variables by `lookup`. An empty one counts as not set.
    ///
    /// # Errors
    /// One text that names every variable that is missing or bad.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut env = Reader { lookup, bad: Vec::new() };
        let old_first = env.or("OLD_FILE_FORMAT", "False", |text| match &*text.to_lowercase() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("is neither True nor False"),
        });
        let name_format =
            env.or("TIMESTAMP_FORMAT", "%Y%m%dT%H%M%S%f", |text| NameFormat::new(text, old_first.unwrap_or(false)));
        let queue_url = env.required("AWS_SQS_QUEUE_URL", |text| base_url(text).map(|_| text.to_owned()));
        let queue_arn = env.required("AWS_SQS_QUEUE", standard_queue_arn);
        let mut warnings = Vec::new();
        if let (Some(url), Some(arn)) = (&queue_url, &queue_arn) {
            if is_fifo(url) {
                env.bad.push("AWS_SQS_QUEUE_URL names a FIFO queue, which cannot delay a single message".to_owned());
            }
            if url.rsplit('/').next() != arn.rsplit(':').next() {
                warnings.push("AWS_SQS_QUEUE and AWS_SQS_QUEUE_URL name different queues".to_owned());
            }
        }
        let settings = (|| {
            let download_dest = env.or("CLIP_DOWNLOAD_DEST", "/tmp", |text| Ok::<_, String>(PathBuf::from(text)));
            let limits = env.limits();
            let cam_services_url = env.required("CAM_SERVICES_URL", base_url);
            let recordings_url = env.required("RECORDINGS_URL", base_url);
            let clips_endpoint = env.or("CLIPS_ENDPOINT", "/cameras/clips/{clipId}", endpoint);
            let clip_url = env.required("CLIP_URL", base_url);
            let thumbnail_sizes = env.or("THUMBNAIL_SIZES", "300 640 1500 3000", widths);
            let thumbnail_format = env.or("THUMBNAIL_FORMAT", "png", |text| match text {
                "png" => Ok(PictureFormat::Png),
                "jpg" => Ok(PictureFormat::Jpg),
                _ => Err("is neither png nor jpg"),
            });
            let bucket_origin = env.required("S3_BUCKET_ORIGIN", bucket);
            let bucket_origin_dir =
                env.or("S3_BUCKET_ORIGIN_DIR", "/", |text| Ok::<_, String>(text.trim_matches('/').to_owned()));
            let bucket_destination = env.required("S3_BUCKET_DESTINATION", bucket);
            let sns_topic = env.required("AWS_SNS_TOPIC", arn);
            let retry_delay_s = env.or("SQS_TIMEOUT", "60", |text| {
                let seconds = seconds(text)?;
                let delay = i32::try_from(seconds).ok().filter(|_| seconds <= LONGEST_DELAY_S);
                delay.ok_or_else(|| "is more than the 900 s that SQS delays".to_owned())
            });
            let log_filter = env.or("LOG_LEVEL", "info", log_filter);
            let trim_mode = env.or("TRIM_MODE", "smart", |text| match text {
                "smart" => Ok(TrimMode::Smart),
                "encode" => Ok(TrimMode::Encode),
                _ => Err("is neither smart nor encode"),
            });
            let gap_tolerance_us = env.or("GAP_TOLERANCE_MS", "500", |text| {
                whole_number(text, "of milliseconds").map(|ms| i64::from(ms) * 1000)
            });
            let layer = Path::new("/opt/bin/ffmpeg");
            let default = if layer.exists() { "/opt/bin/ffmpeg" } else { "ffmpeg" };
            let ffmpeg_path = env.or("FFMPEG_PATH", default, |text| Ok::<_, String>(PathBuf::from(text)));
            let memory = env.set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").and_then(|mib| mib.parse::<u32>().ok());
            let trace_dir = env.set("TRACE_DIR").map(PathBuf::from);
            Some(Self {
                download_dest: download_dest?,
                name_format: name_format?,
                limits: limits?,
                cam_services_url: cam_services_url?,
                recordings_url: recordings_url?,
                clips_endpoint: clips_endpoint?,
                clip_url: clip_url?,
                thumbnail_sizes: thumbnail_sizes?,
                thumbnail_format: thumbnail_format?,
                bucket_origin: bucket_origin?,
                bucket_origin_dir: bucket_origin_dir?,
                bucket_destination: bucket_destination?,
                sns_topic: sns_topic?,
                queue_url: queue_url?,
                retry_delay_s: retry_delay_s?,
                log_filter: log_filter?,
                trim_mode: trim_mode?,
                gap_tolerance_us: gap_tolerance_us?,
                ffmpeg_path: ffmpeg_path?,
                memory: memory.map(|mib| u64::from(mib) << 20),
                trace_dir,
                warnings,
            })
        })();
        settings.filter(|_| env.bad.is_empty()).ok_or_else(|| format!("bad environment: {}", env.bad.join("; ")))
    }

    /// Where an available clip is to be had.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place {
            bucket: &self.bucket_destination,
            clip_url: &self.clip_url,
            format: self.thumbnail_format,
            sizes: &self.thumbnail_sizes,
        }
    }
}

/// Collects what is wrong.
struct Reader<F> {
    lookup: F,
    bad: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    fn set(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|text| !text.is_empty())
    }

    fn read<T, E: Display>(&mut self, name: &str, text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(text).map_err(|reason| self.bad.push(format!("{name} {reason}"))).ok()
    }

    fn required<T, E: Display>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let Some(text) = self.set(name) else {
            self.bad.push(format!("{name} is missing"));
            return None;
        };
        self.read(name, &text, parse)
    }

    fn or<T, E: Display>(&mut self, name: &str, default: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.set(name);
        self.read(name, text.as_deref().unwrap_or(default), parse)
    }

    fn limits(&mut self) -> Option<Limits> {
        let video_max_len_s = self.or("VIDEO_MAX_LEN", "300", seconds);
        let sqs_retry_limit_s = self.or("SQS_RETRY_LIMIT", "900", seconds);
        let out_of_range_limit_s = self.or("OUT_OF_RANGE_LIMIT", "259200", seconds);
        Some(Limits {
            video_max_len_s: video_max_len_s?,
            sqs_retry_limit_s: sqs_retry_limit_s?,
            out_of_range_limit_s: out_of_range_limit_s?,
        })
    }
}

fn whole_number(text: &str, unit: &str) -> Result<u32, String> {
    u32::from_str(text).map_err(|_| format!("is no whole number {unit}"))
}

fn seconds(text: &str) -> Result<u32, String> {
    whole_number(text, "of seconds")
}

fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err("is no http or https URL".to_owned()) }
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    let path = text.replace("{clipId}", "x");
    if path.contains(['{', '}', '?', '#']) {
        return Err("is no path with {clipId} in it");
    }
    Ok(format!("/{}", text.trim_start_matches('/')))
}

fn arn(text: &str) -> Result<String, &'static str> {
    if text.starts_with("arn:") { Ok(text.to_owned()) } else { Err("is no ARN") }
}

fn standard_queue_arn(text: &str) -> Result<String, &'static str> {
    if is_fifo(text) { Err("names a FIFO queue, which cannot delay a single message") } else { arn(text) }
}

/// A FIFO queue's name ends so (Amazon SQS Developer Guide, "FIFO queue and message identifiers").
#[allow(clippy::case_sensitive_file_extension_comparisons)] // no file's extension
fn is_fifo(queue: &str) -> bool {
    queue.ends_with(".fifo")
}

fn bucket(text: &str) -> Result<String, &'static str> {
    if text.contains(['/', ' ']) { Err("is no bucket's name") } else { Ok(text.to_owned()) }
}

fn widths(text: &str) -> Result<Vec<u32>, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let read = |word: &str| word.parse().ok().filter(|width| (1..=WIDEST_THUMBNAIL).contains(width));
    words
        .map(read)
        .collect::<Option<Vec<u32>>>()
        .filter(|widths| (1..=MOST_THUMBNAILS).contains(&widths.len()))
        .filter(|widths| (1..widths.len()).all(|n| !widths[..n].contains(&widths[n])))
        .ok_or_else(|| {
            format!("is no list of up to {MOST_THUMBNAILS} different widths of 1 to {WIDEST_THUMBNAIL} pixels")
        })
}

/// A filter of `tracing`, or one of Python's level names.
fn log_filter(text: &str) -> Result<Targets, &'static str> {
    let level = match &*text.to_uppercase() {
        "WARNING" => "warn",
        "CRITICAL" | "FATAL" => "error",
        "NOTSET" => "trace",
        _ => text,
    };
    Targets::from_str(level).map_err(|_| "is no log level")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const REQUIRED: [(&str, &str); 9] = [
        ("CAM_SERVICES_URL", "https://cameras.test"),
        ("RECORDINGS_URL", "https://cameras.test/cameras/recording/"),
        ("CLIP_URL", "https://camclips.sandbox.test.com"),
        ("S3_BUCKET_ORIGIN", "rewinds"),
        ("S3_BUCKET_ORIGIN_DIR", "/live/"),
        ("S3_BUCKET_DESTINATION", "cameras-service-clips-cdn-sandbox"),
        ("AWS_SNS_TOPIC", "arn:aws:sns:test_sandbox"),
        ("AWS_SQS_QUEUE", "arn:aws:sqs:test-sqs-sandbox"),
        ("AWS_SQS_QUEUE_URL", "https://sqs.test-sqs-sandbox"),
    ];

    fn with(changes: &[(&str, &str)]) -> Result<Settings, String> {
        let variables: HashMap<&str, &str> = REQUIRED.into_iter().chain(changes.iter().copied()).collect();
        Settings::read(|name| variables.get(name).map(|&text| text.to_owned()))
    }

    #[test]
    fn the_required_ones_alone_start_it_with_the_defaults() {
        let settings = with(&[]).expect("enough");
        assert_eq!(settings.download_dest, Path::new("/tmp"));
        assert_eq!(
            settings.limits,
            Limits { video_max_len_s: 300, sqs_retry_limit_s: 900, out_of_range_limit_s: 259_200 }
        );
        assert_eq!(settings.clips_endpoint, "/cameras/clips/{clipId}");
        assert_eq!(settings.thumbnail_sizes, [300, 640, 1500, 3000]);
        assert_eq!(settings.thumbnail_format, PictureFormat::Png);
        assert_eq!(settings.bucket_origin_dir, "live");
        assert_eq!(settings.retry_delay_s, 60);
        assert_eq!(settings.trim_mode, TrimMode::Smart);
        assert_eq!(settings.gap_tolerance_us, 500_000);
        assert_eq!(settings.warnings, ["AWS_SQS_QUEUE and AWS_SQS_QUEUE_URL name different queues"]);
    }

    #[test]
    fn the_three_samples_start() {
        for (name, sample) in [
            ("sandbox", include_str!("../.env.sample_sandbox")),
            ("staging", include_str!("../.env.sample_staging")),
            ("prod", include_str!("../.env.sample_prod")),
        ] {
            let lines = sample.lines().filter(|line| !line.starts_with('#'));
            let variables: HashMap<&str, &str> = lines
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name, value.trim_matches('"')))
                .collect();
            let settings = Settings::read(|name| variables.get(name).map(|&value| value.to_owned()));
            let settings = settings.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(settings.clip_url.as_str(), format!("https://camclips.{name}.test.com/"));
            assert_eq!(settings.bucket_destination, format!("cameras-service-clips-cdn-{name}"));
            assert_eq!(settings.sns_topic, format!("arn:aws:sns:test_{name}"));
            assert_eq!(settings.queue_url, format!("https://sqs.test-sqs-{name}"));
        }
    }

    #[test]
    fn everything_bad_is_named_at_once() {
        let error = with(&[
            ("CLIP_URL", "ftp://x"),
            ("AWS_SNS_TOPIC", "topic"),
            ("SQS_TIMEOUT", "901"),
            ("CAM_SERVICES_URL", ""),
        ])
        .expect_err("four bad ones");
        assert_eq!(
            error,
            "bad environment: CAM_SERVICES_URL is missing; CLIP_URL is no http or https URL; AWS_SNS_TOPIC is no ARN; \
             SQS_TIMEOUT is more than the 900 s that SQS delays"
        );
        let error = Settings::read(|_| None).expect_err("nothing set");
        for (name, _) in REQUIRED.iter().filter(|(name, _)| *name != "S3_BUCKET_ORIGIN_DIR") {
            assert!(error.contains(&format!("{name} is missing")), "{name} in {error}");
        }
    }

    #[test]
    fn every_bad_value_is_refused() {
        for (name, value) in [
            ("OLD_FILE_FORMAT", "maybe"),
            ("TIMESTAMP_FORMAT", "%H"),
            ("SQS_RETRY_LIMIT", "-1"),
            ("OUT_OF_RANGE_LIMIT", "1.5"),
            ("VIDEO_MAX_LEN", "5m"),
            ("CAM_SERVICES_URL", "cameras"),
            ("RECORDINGS_URL", "file:///etc"),
            ("CLIPS_ENDPOINT", "/clips/{id}"),
            ("THUMBNAIL_SIZES", "300 0"),
            ("THUMBNAIL_SIZES", "300;640"),
            ("THUMBNAIL_SIZES", "8193"),
            ("THUMBNAIL_SIZES", "300 640 300"),
            ("THUMBNAIL_SIZES", " , "),
            ("THUMBNAIL_FORMAT", "gif"),
            ("S3_BUCKET_ORIGIN", "a/b"),
            ("AWS_SQS_QUEUE", "queue"),
            ("AWS_SQS_QUEUE", "arn:aws:sqs:us-west-1:1:q.fifo"),
            ("AWS_SQS_QUEUE_URL", "https://sqs/q.fifo"),
            ("SQS_TIMEOUT", "soon"),
            ("LOG_LEVEL", "a=b=c"),
            ("TRIM_MODE", "fast"),
            ("GAP_TOLERANCE_MS", "-5"),
        ] {
            let error = with(&[(name, value)]).expect_err(&format!("{name}={value}"));
            assert!(error.starts_with(&format!("bad environment: {name} ")), "{error}");
        }
    }

    #[test]
    fn the_spellings_of_existing_deployments_are_read() {
        let settings = with(&[
            ("OLD_FILE_FORMAT", "TRUE"),
            ("THUMBNAIL_SIZES", "300,640, 1500"),
            ("LOG_LEVEL", "WARNING"),
            ("CLIPS_ENDPOINT", "clips/{clipId}"),
            ("SQS_TIMEOUT", "0"),
        ])
        .expect("all good");
        assert_eq!(settings.thumbnail_sizes, [300, 640, 1500]);
        assert_eq!(settings.clips_endpoint, "/clips/{clipId}");
        for level in ["DEBUG", "info", "CRITICAL", "NOTSET", "Error", "info,hyper=warn"] {
            with(&[("LOG_LEVEL", level)]).expect(level);
        }
    }
}
