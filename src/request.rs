//! The body of a message: which footage of which camera is asked for (CONTRACT.md section 1).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::python_literal;
use crate::time::{Span, Timestamp};

/// A request for the footage of one camera between two instants.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names the clip: 1 to 128 of `A-Z a-z 0-9 _ -`.
    pub clip_id: String,
    /// Names the camera; same alphabet.
    pub camera_id: String,
    /// The wanted span.
    pub span: Span,
    /// The `SentTimestamp` of every earlier try, ms since the epoch.
    pub retry_timestamps_ms: Vec<i64>,
    /// When this message was sent, ms since the epoch.
    pub sent_ms: i64,
    /// All fields of the body as they came, those unknown here included.
    body: BTreeMap<String, Box<RawValue>>,
}

impl Request {
    /// Reads a message's body and its `SentTimestamp` attribute.
    ///
    /// # Errors
    /// Says which field is wrong and how; never repeats a value.
    pub fn parse(body: &str, sent_timestamp: Option<&str>) -> Result<Self, String> {
        let body = fields(body)?;
        let clip_id = id(&body, "clipId")?;
        let camera_id = id(&body, "cameraId")?;
        let start = instant(&body, "startTimestampInMs")?;
        let end = instant(&body, "endTimestampInMs")?;
        let span = Span::new(start, end).ok_or("startTimestampInMs is not before endTimestampInMs")?;
        let retry_timestamps_ms = retries(&body)?;
        let sent = sent_timestamp.ok_or("the attribute SentTimestamp is missing")?;
        let sent_ms = digits(sent).ok_or("the attribute SentTimestamp is no time in ms")?.as_ms();
        Ok(Self { clip_id, camera_id, span, retry_timestamps_ms, sent_ms, body })
    }

    /// The body for the next try: the same fields with the same types, this try's `SentTimestamp` added as a string.
    #[must_use]
    pub fn next_try(&self) -> String {
        let mut body = self.body.clone();
        let mut tries: Vec<Box<RawValue>> = body
            .get(RETRY_TIMESTAMPS)
            .and_then(|tries| serde_json::from_str::<Option<_>>(tries.get()).ok().flatten())
            .unwrap_or_default();
        let write = |value| to_raw_value(value).expect("a string or a list of JSON texts is writable as JSON");
        tries.push(write(&Field::Text(self.sent_ms.to_string())));
        body.insert(
            RETRY_TIMESTAMPS.to_owned(),
            to_raw_value(&tries).expect("a list of JSON texts is writable as JSON"),
        );
        serde_json::to_string(&body).expect("a map of JSON texts is writable as JSON")
    }
}

const RETRY_TIMESTAMPS: &str = "retryTimestamps";

/// A time in a body: a number, or the same as a string.
#[derive(Deserialize, serde::Serialize)]
#[serde(untagged)]
enum Field {
    Number(i64),
    Text(String),
}

impl Field {
    fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::Number(ms) => Timestamp::from_ms(*ms),
            Self::Text(text) => digits(text),
        }
    }
}

/// Strict JSON first, then what Python's `str(dict)` writes.
fn fields(body: &str) -> Result<BTreeMap<String, Box<RawValue>>, String> {
    match serde_json::from_str(body) {
        Ok(fields) => Ok(fields),
        Err(error) if error.is_data() => Err("the body is no object".to_owned()),
        Err(_) => {
            let json = python_literal::to_json(body)?;
            serde_json::from_str(&json).map_err(|_| "the body is no object".to_owned())
        }
    }
}

fn field<'a, T: Deserialize<'a>>(
    body: &'a BTreeMap<String, Box<RawValue>>,
    name: &str,
    wanted: &str,
) -> Result<Option<T>, String> {
    body.get(name).map(|raw| serde_json::from_str(raw.get()).map_err(|_| format!("{name} is not {wanted}"))).transpose()
}

fn required<'a, T: Deserialize<'a>>(
    body: &'a BTreeMap<String, Box<RawValue>>,
    name: &str,
    wanted: &str,
) -> Result<T, String> {
    field(body, name, wanted)?.ok_or_else(|| format!("{name} is missing"))
}

fn id(body: &BTreeMap<String, Box<RawValue>>, name: &str) -> Result<String, String> {
    let id: String = required(body, name, "a string")?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain && (1..=128).contains(&id.len()) {
        Ok(id)
    } else {
        Err(format!("{name} is not 1 to 128 of A-Z a-z 0-9 _ -"))
    }
}

fn instant(body: &BTreeMap<String, Box<RawValue>>, name: &str) -> Result<Timestamp, String> {
    let wanted = "an integer of ms, or the same as a string";
    required::<Field>(body, name, wanted)?.instant().ok_or_else(|| format!("{name} is no time from 1970 to 9999 in ms"))
}

fn retries(body: &BTreeMap<String, Box<RawValue>>) -> Result<Vec<i64>, String> {
    let wanted = "a list of integers or strings of ms";
    let tries: Option<Option<Vec<Field>>> = field(body, RETRY_TIMESTAMPS, wanted)?;
    let tries = tries.flatten().unwrap_or_default();
    let read = tries.iter().map(|entry| entry.instant().map(Timestamp::as_ms)).collect::<Option<_>>();
    read.ok_or_else(|| format!("{RETRY_TIMESTAMPS} is not {wanted}"))
}

/// Decimal digits alone: `from_str_radix` would take a sign.
fn digits(text: &str) -> Option<Timestamp> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten().and_then(Timestamp::from_ms)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// A request of the sample's clip and camera for another span.
    pub(crate) fn request(start_ms: i64, end_ms: i64) -> Request {
        let body = json!({
            "clipId": "1111111111111", "cameraId": "1111111111111",
            "startTimestampInMs": start_ms, "endTimestampInMs": end_ms,
        });
        Request::parse(&body.to_string(), Some("1523232000000")).expect("a valid body")
    }

    const SAMPLE: &str = "{'clipId': '1111111111111', 'retryTimestamps': [], 'cameraId': '1111111111111', \
        'startTimestampInMs': 1537119363000, 'endTimestampInMs': 1537119423000}";

    #[test]
    fn the_sample_body_is_read_in_both_notations() {
        for body in [SAMPLE.to_owned(), SAMPLE.replace('\'', "\"")] {
            let request = Request::parse(&body, Some("1523232000000")).expect("valid");
            assert_eq!(request.clip_id, "1111111111111");
            assert_eq!(request.span.start().as_ms(), 1_537_119_363_000);
            assert_eq!(request.span.length_us(), 60_000_000);
            assert_eq!(request.sent_ms, 1_523_232_000_000);
            assert!(request.retry_timestamps_ms.is_empty());
        }
    }

    fn body_with(name: &str, value: Value) -> Value {
        let mut body = json!({
            "clipId": "surf_1-A", "cameraId": "c", "startTimestampInMs": 5, "endTimestampInMs": "17", "retryTimestamps": [7, "3"],
        });
        body[name] = value;
        body
    }

    #[test]
    fn every_bad_field_is_named() {
        let table = [
            ("clipId", json!("")),
            ("clipId", json!("a/b")),
            ("clipId", json!("..")),
            ("clipId", json!("a b")),
            ("clipId", json!("é")),
            ("clipId", json!("a".repeat(129))),
            ("clipId", json!(7)),
            ("cameraId", json!(null)),
            ("cameraId", json!("a\u{0}")),
            ("startTimestampInMs", json!(-1)),
            ("startTimestampInMs", json!(5.5)),
            ("startTimestampInMs", json!("+5")),
            ("startTimestampInMs", json!("")),
            ("startTimestampInMs", json!(true)),
            ("startTimestampInMs", json!(17)),
            ("endTimestampInMs", json!(5)),
            ("endTimestampInMs", json!(i64::MAX)),
            ("endTimestampInMs", json!(u64::MAX)),
            ("endTimestampInMs", json!("99999999999999999999")),
            ("retryTimestamps", json!("7")),
            ("retryTimestamps", json!([null])),
            ("retryTimestamps", json!(["x"])),
        ];
        for (name, value) in table {
            let body = body_with(name, value).to_string();
            let error = Request::parse(&body, Some("1")).expect_err(&body);
            assert!(error.contains(name), "{body}: {error}");
        }
        for name in ["clipId", "cameraId", "startTimestampInMs", "endTimestampInMs"] {
            let mut body = body_with("extra", json!(1));
            body.as_object_mut().expect("an object").remove(name);
            let error = Request::parse(&body.to_string(), Some("1")).expect_err(name);
            assert_eq!(error, format!("{name} is missing"));
        }
        for body in ["[]", "7", "\"text\"", "null", "", "['a']", "'text'", &"rubbish ".repeat(25_000)] {
            Request::parse(body, Some("1")).expect_err("no object");
        }
        let error = Request::parse("[null]", Some("1")).expect_err("JSON, if nothing that Python writes");
        assert_eq!(error, "the body is no object");
        let body = body_with("extra", json!(1)).to_string();
        for sent in [None, Some(""), Some("x"), Some("-1"), Some("1.5")] {
            let error = Request::parse(&body, sent).expect_err("a bad SentTimestamp");
            assert!(error.contains("SentTimestamp"), "{error}");
        }
    }

    #[test]
    fn the_next_try_keeps_every_field_and_its_type() {
        let body = r#"{"big":12345678901234567890123,"float":1.10,"clipId":"a","cameraId":"b","startTimestampInMs":"5","endTimestampInMs":17,"retryTimestamps":[7,"3"],"nested":{"z":[1,null]}}"#;
        let request = Request::parse(body, Some("19")).expect("valid");
        assert_eq!(request.retry_timestamps_ms, [7, 3]);
        assert_eq!(
            request.next_try(),
            r#"{"big":12345678901234567890123,"cameraId":"b","clipId":"a","endTimestampInMs":17,"float":1.10,"nested":{"z":[1,null]},"retryTimestamps":[7,"3","19"],"startTimestampInMs":"5"}"#
        );
    }

    #[test]
    fn the_next_try_starts_a_list_where_there_was_none() {
        for retries in ["", "'retryTimestamps': None, "] {
            let body =
                format!("{{{retries}'clipId': 'a', 'cameraId': 'b', 'startTimestampInMs': 5, 'endTimestampInMs': 7}}");
            let next = Request::parse(&body, Some("19")).expect("valid").next_try();
            let next: Value = serde_json::from_str(&next).expect("strict JSON");
            assert_eq!(next["retryTimestamps"], json!(["19"]));
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in any::<String>(), sent in any::<Option<String>>()) {
            let _ = Request::parse(&body, sent.as_deref());
        }

        #[test]
        fn a_next_try_reads_back_as_the_same_request(start in 0_i64..1 << 40, length in 1_i64..1 << 30, sent in 0_i64..1 << 40) {
            let first = Request { sent_ms: sent, ..request(start, start + length) };
            let second = Request::parse(&first.next_try(), Some("1")).expect("valid");
            prop_assert_eq!(second.span, first.span);
            prop_assert_eq!(second.retry_timestamps_ms, vec![sent]);
        }
    }
}
