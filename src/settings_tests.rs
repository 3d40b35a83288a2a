//! Tests of the settings.

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

fn with(changes: &[(&str, &str)]) -> Result<Settings, BadEnvironment> {
    let variables: HashMap<&str, &str> = REQUIRED.into_iter().chain(changes.iter().copied()).collect();
    Settings::read(|name| variables.get(name).map(|&text| text.to_owned()))
}

#[test]
fn the_required_variables_suffice_and_the_others_have_defaults() {
    let settings = with(&[]).expect("sufficient");
    assert_eq!(settings.download_dest, Path::new("/tmp"));
    assert_eq!(settings.limits, Limits { video_max_len_s: 300, sqs_retry_limit_s: 900, out_of_range_limit_s: 259_200 });
    assert_eq!(settings.clips_endpoint, "/cameras/clips/{clipId}");
    assert_eq!(settings.thumbnail_sizes, [300, 640, 1500, 3000]);
    assert_eq!(settings.thumbnail_format, PictureFormat::Png);
    assert_eq!(settings.bucket_origin_dir, "live");
    assert_eq!(settings.retry_delay_s, 60);
    assert_eq!((settings.max_receives, settings.reports_failures), (0, false));
    assert_eq!(settings.trim_mode, TrimMode::Smart);
    assert_eq!(settings.tolerances, Tolerances { gap_us: 500_000, joint_us: 1_500_000 });
    assert_eq!(settings.clip_cache_control, None);
    let other =
        "AWS_SQS_QUEUE_URL: expected the queue \"test-sqs-sandbox\" of AWS_SQS_QUEUE, got \"sqs.test-sqs-sandbox\"";
    assert_eq!(settings.warnings, [other]);
}

#[test]
fn accepts_the_three_sample_files() {
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
fn names_every_bad_variable_at_once() {
    let BadEnvironment { refusals, .. } =
        with(&[("CLIP_URL", "ftp://x"), ("AWS_SNS_TOPIC", "topic"), ("SQS_TIMEOUT", "901"), ("CAM_SERVICES_URL", "")])
            .expect_err("four bad variables");
    assert_eq!(
        refusals,
        [
            "CAM_SERVICES_URL: expected a value, got nothing",
            "CLIP_URL: expected an http or https URL, got the scheme \"ftp\"",
            "AWS_SNS_TOPIC: expected an ARN of sns, arn:aws:sns:<region>:<account>:<name>, got \"topic\"",
            "SQS_TIMEOUT: expected 0 to 900 seconds, got \"901\"",
        ]
    );
    let error = Settings::read(|_| None).expect_err("nothing set").to_string();
    for (name, _) in REQUIRED.iter().filter(|(name, _)| *name != "S3_BUCKET_ORIGIN_DIR") {
        assert!(error.contains(&format!("{name}: expected a value, got nothing")), "{name} in {error}");
    }
}

#[test]
fn refuses_every_bad_value() {
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
        ("SQS_MAX_RECEIVES", "-1"),
        ("SQS_MAX_RECEIVES", "1001"),
        ("REPORT_BATCH_ITEM_FAILURES", "1"),
        ("AWS_SNS_TOPIC", "arn:aws:sns:us-west-1:1:clips.fifo"),
        ("AWS_SNS_TOPIC", "arn:aws:sqs:us-west-1:1:clips"),
        ("AWS_SQS_QUEUE", "arn:aws:sns:us-west-1:1:clips"),
        ("AWS_SQS_QUEUE_URL", "arn:aws:sqs:us-west-1:1:clips"),
        ("CLIPS_ENDPOINT", "https://cam.test/clips/{clipId}"),
        ("CLIPS_ENDPOINT", "/clips/ {clipId}"),
        ("CLIPS_ENDPOINT", "/clips/'{clipId}'"),
        ("CLIP_URL", "https://camclips.test/\"x"),
        ("CLIP_URL", "https://cam clips.test"),
        ("S3_BUCKET_ORIGIN", "rewinds live"),
        ("S3_BUCKET_ORIGIN", "https://rewinds"),
        ("S3_BUCKET_ORIGIN", "re"),
        ("S3_BUCKET_DESTINATION", "\"clips"),
        ("S3_BUCKET_ORIGIN_DIR", "s3://rewinds/live"),
        ("S3_BUCKET_ORIGIN_DIR", "arn:aws:s3:::rewinds"),
        ("S3_BUCKET_ORIGIN_DIR", "live\""),
        ("S3_BUCKET_ORIGIN_DIR", "live\r\nnext"),
        ("S3_BUCKET_ORIGIN_DIR", "li\u{fffd}ve"),
        ("FFMPEG_PATH", "https://host/ffmpeg"),
        ("CLIP_DOWNLOAD_DEST", "s3://bucket"),
        ("TRACE_DIR", "s3://bucket"),
        ("LOG_LEVEL", "a=b=c"),
        ("LOG_LEVEL", "verbose"),
        ("LOG_LEVEL", "info,verbose"),
        ("LOG_LEVEL", "hyper=loud"),
        ("TRIM_MODE", "fast"),
        ("GAP_TOLERANCE_MS", "-5"),
        ("JOINT_TOLERANCE_MS", "1.5"),
        ("CLIP_CACHE_CONTROL", "max-age: 60"),
        ("VIDEO_MAX_LEN", "0"),
        ("CLIPS_ENDPOINT", "https:cam.test/clips/{clipId}"),
        ("CLIPS_ENDPOINT", "cam.test:443/clips/{clipId}"),
        ("CLIPS_ENDPOINT", "/clips/%7BclipId%7D"),
        ("AWS_SNS_TOPIC", "arn:aws:sns:us-west-1:1:clips:6c3a0f5e-subscription"),
        ("AWS_SQS_QUEUE_URL", "https://sqs/1/q.fifo/"),
        ("TIMESTAMP_FORMAT", "\"%Y%m%dT%H%M%S%f"),
        ("S3_BUCKET_ORIGIN_DIR", "“live”"),
        ("S3_BUCKET_ORIGIN_DIR", "live\u{200b}"),
        ("CLIP_URL", "https://camclips.test/«x»"),
    ] {
        let error = with(&[(name, value)]).expect_err(&format!("{name}={value}"));
        let refusals = &error.refusals;
        assert!(refusals.len() == 1 && refusals[0].starts_with(&format!("{name}: expected ")), "{refusals:?}");
    }
}

/// Every variable, with a valid value.
const VALID: [(&str, &str); 28] = [
    ("CAM_SERVICES_URL", "https://user:word@cameras.test/base"),
    ("RECORDINGS_URL", "https://cameras.test/cameras/recording/"),
    ("CLIP_URL", "https://camclips.sandbox.test.com"),
    ("S3_BUCKET_ORIGIN", "rewinds"),
    ("S3_BUCKET_ORIGIN_DIR", "live/cameras"),
    ("S3_BUCKET_DESTINATION", "cameras-service-clips-cdn-sandbox"),
    ("AWS_SNS_TOPIC", "arn:aws:sns:us-west-1:123456789012:clips"),
    ("AWS_SQS_QUEUE", "arn:aws:sqs:us-west-1:123456789012:requests"),
    ("AWS_SQS_QUEUE_URL", "https://sqs.us-west-1.amazonaws.com/123456789012/requests"),
    ("CLIP_DOWNLOAD_DEST", "/mnt/scratch"),
    ("TIMESTAMP_FORMAT", "%Y-%m-%dT%H%M%S%f"),
    ("OLD_FILE_FORMAT", "True"),
    ("SQS_RETRY_LIMIT", "901"),
    ("OUT_OF_RANGE_LIMIT", "77"),
    ("CLIPS_ENDPOINT", "/clips/{clipId}"),
    ("THUMBNAIL_SIZES", "300 640"),
    ("THUMBNAIL_FORMAT", "jpg"),
    ("VIDEO_MAX_LEN", "301"),
    ("SQS_TIMEOUT", "61"),
    ("LOG_LEVEL", "debug"),
    ("TRIM_MODE", "encode"),
    ("GAP_TOLERANCE_MS", "40"),
    ("JOINT_TOLERANCE_MS", "2000"),
    ("CLIP_CACHE_CONTROL", "public, max-age=60"),
    ("FFMPEG_PATH", "/usr/bin/ffmpeg"),
    ("SQS_MAX_RECEIVES", "12"),
    ("REPORT_BATCH_ITEM_FAILURES", "True"),
    ("TRACE_DIR", "/mnt/traces"),
];

#[test]
fn cleans_every_variable_in_the_same_way() {
    let expected = format!("{:?}", with(&VALID).expect("valid"));
    for (name, value) in VALID {
        for dirty in [
            format!("{value}\r"),
            format!("{value}\r\n"),
            format!("  {value}\t "),
            format!("\"{value}\""),
            format!("'{value}'"),
            format!(" ' {value} '\n"),
            format!("\u{a0}{value}\u{3000}"),
            format!("{value}\u{2029}"),
        ] {
            let changed: Vec<_> = VALID.into_iter().chain([(name, &*dirty)]).collect();
            let settings = with(&changed).unwrap_or_else(|error| panic!("{name}={dirty:?}: {error}"));
            assert_eq!(format!("{settings:?}"), expected, "{name}={dirty:?}");
        }
    }
}

#[test]
fn refuses_a_character_that_nobody_sees_in_any_variable() {
    for (name, value) in VALID {
        let middle = value.len() / 2;
        let controls = ['\r', '\n', '\t', '\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{fffd}'];
        let invisible = ['\u{ad}', '\u{200b}', '\u{200e}', '\u{2028}', '\u{202d}', '\u{2060}', '\u{feff}'];
        for character in controls.into_iter().chain(invisible) {
            let dirty = format!("{}{character}{}", &value[..middle], &value[middle..]);
            let BadEnvironment { refusals, .. } =
                with(&[(name, &*dirty)]).expect_err(&format!("{name} with {character:?}"));
            assert_eq!(refusals.len(), 1, "{refusals:?}");
            assert!(refusals[0].starts_with(&format!("{name}: expected ")), "{refusals:?}");
            assert!(!refusals[0].contains("word@"), "shows a password: {refusals:?}");
        }
    }
}

#[test]
fn refuses_a_quote_in_any_variable_that_cannot_hold_one() {
    for (name, value) in VALID.into_iter().filter(|(name, _)| *name != "CLIP_CACHE_CONTROL") {
        for quote in ['"', '\'', '“', '’', '«'] {
            for dirty in [format!("{quote}{value}"), format!("{value}{quote}")] {
                let BadEnvironment { refusals, .. } = with(&[(name, &*dirty)]).expect_err(&format!("{name}={dirty}"));
                assert!(refusals[0].starts_with(&format!("{name}: expected ")), "{refusals:?}");
                assert!(!refusals[0].contains("word@"), "shows a password: {refusals:?}");
            }
        }
    }
}

#[test]
fn a_folder_has_no_slashes_and_white_space_around_it() {
    for text in ["live", "/live/", "/ live /", "//live//", " live/"] {
        assert_eq!(with(&[("S3_BUCKET_ORIGIN_DIR", text)]).expect(text).bucket_origin_dir, "live", "{text}");
    }
}

#[test]
fn a_refusal_shows_the_value_unless_it_may_hold_a_password() {
    let secret = "https://user:word@host/path";
    for (name, _) in VALID {
        for value in [secret, "user:word@host"] {
            let Err(BadEnvironment { refusals, .. }) = with(&[(name, value)]) else { continue };
            assert!(!refusals[0].contains("word@"), "shows a password: {refusals:?}");
        }
    }
    let refusals = |name, value| with(&[(name, value)]).expect_err("refused").refusals;
    assert_eq!(
        refusals("S3_BUCKET_ORIGIN_DIR", "li\rve"),
        [
            "S3_BUCKET_ORIGIN_DIR: expected a text in UTF-8 whose characters are all seen, got \"li\\rve\" with the character '\\r'"
        ]
    );
    assert_eq!(
        refusals("AWS_SNS_TOPIC", secret),
        [
            "AWS_SNS_TOPIC: expected an ARN of sns, arn:aws:sns:<region>:<account>:<name>, got 27 bytes that may be a URL"
        ]
    );
}

#[test]
fn a_variable_that_is_empty_when_cleaned_counts_as_unset() {
    let defaults = format!("{:?}", with(&[]).expect("sufficient"));
    for (name, _) in VALID {
        for empty in ["", " ", "\r\n", "\"\"", "''", " ' ' "] {
            let settings = with(&[(name, empty)]);
            match REQUIRED.iter().any(|&(required, _)| required == name && name != "S3_BUCKET_ORIGIN_DIR") {
                true => {
                    assert_eq!(settings.expect_err(name).refusals, [format!("{name}: expected a value, got nothing")]);
                }
                false if name == "S3_BUCKET_ORIGIN_DIR" => assert_eq!(settings.expect(name).bucket_origin_dir, ""),
                false => assert_eq!(format!("{:?}", settings.expect(name)), defaults, "{name}={empty:?}"),
            }
        }
    }
}

/// Variables whose values cannot be told from each other's, because they are of one kind.
const ALIKE: [&[&str]; 6] = [
    &["CAM_SERVICES_URL", "RECORDINGS_URL", "CLIP_URL", "AWS_SQS_QUEUE_URL"],
    &["S3_BUCKET_ORIGIN", "S3_BUCKET_DESTINATION"],
    &["CLIP_DOWNLOAD_DEST", "FFMPEG_PATH", "TRACE_DIR"],
    &["OLD_FILE_FORMAT", "REPORT_BATCH_ITEM_FAILURES"],
    &[
        "SQS_RETRY_LIMIT",
        "OUT_OF_RANGE_LIMIT",
        "VIDEO_MAX_LEN",
        "SQS_TIMEOUT",
        "SQS_MAX_RECEIVES",
        "GAP_TOLERANCE_MS",
        "JOINT_TOLERANCE_MS",
    ],
    &["AWS_SNS_TOPIC"],
];
/// Variables that take almost any text: a word is a folder, a path and a directive, a number is the width of a thumbnail.
const TAKES_WORDS: [&str; 5] =
    ["S3_BUCKET_ORIGIN_DIR", "CLIPS_ENDPOINT", "CLIP_DOWNLOAD_DEST", "FFMPEG_PATH", "TRACE_DIR"];

#[test]
fn refuses_the_value_of_another_variable_if_it_shows() {
    let is_url_or_arn = |value: &str| value.contains("://") || value.starts_with("arn:");
    for (name, _) in VALID {
        for (other, value) in VALID {
            let alike = ALIKE.iter().any(|kind| kind.contains(&name) && kind.contains(&other));
            let fits = alike
                || name == other
                || TAKES_WORDS.contains(&name) && !is_url_or_arn(value)
                || name.starts_with("S3_BUCKET_") && !value.contains(['/', ':', ' ', '%', '{', ','])
                || name == "CLIP_CACHE_CONTROL" && !value.contains(['/', ':', ' ', '%', '{', '.'])
                || name == "THUMBNAIL_SIZES" && value.parse::<u32>().is_ok()
                || name == "SQS_TIMEOUT" && value.parse::<u32>().is_ok();
            let settings = with(&[(name, value)]);
            if fits {
                continue;
            }
            let error = settings.expect_err(&format!("{name} with the value of {other}"));
            assert!(error.refusals[0].starts_with(name), "{error}");
        }
    }
}

#[test]
fn warns_of_a_queue_or_topic_in_another_region() {
    let settings = with(&VALID).expect("valid");
    assert_eq!(settings.region_warnings("us-west-1"), Vec::<String>::new());
    assert_eq!(
        settings.region_warnings("us-east-1"),
        ["AWS_SNS_TOPIC", "AWS_SQS_QUEUE", "AWS_SQS_QUEUE_URL"]
            .map(|name| format!("{name}: expected the region \"us-east-1\", got \"us-west-1\""))
    );
    assert_eq!(with(&[]).expect("short ARNs").region_warnings("us-west-1"), Vec::<String>::new());
    let older = with(&[("AWS_SQS_QUEUE_URL", "https://us-east-1.queue.amazonaws.com/1/q")]).expect("valid");
    assert_eq!(older.region_warnings("us-west-1").len(), 1);
}

#[test]
fn reads_the_spellings_of_existing_deployments() {
    let settings = with(&[
        ("OLD_FILE_FORMAT", "TRUE"),
        ("THUMBNAIL_SIZES", "300,640, 1500"),
        ("LOG_LEVEL", "WARNING"),
        ("CLIPS_ENDPOINT", "clips/{clipId}"),
        ("SQS_TIMEOUT", "0"),
    ])
    .expect("valid");
    assert_eq!(settings.thumbnail_sizes, [300, 640, 1500]);
    assert_eq!(settings.clips_endpoint, "/clips/{clipId}");
    for level in ["DEBUG", "info", "CRITICAL", "NOTSET", "Error", "info,hyper=warn"] {
        with(&[("LOG_LEVEL", level)]).expect(level);
    }
}
