//! The body of a message: which footage of which camera a client asks for (docs/contract.md, "The message body").

use std::collections::BTreeMap;

use exact_cut::time::{Span, Timestamp};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::contract::python_literal;
use crate::mismatch::{self, mismatch, shown};

/// A request for the footage of one camera within a span.
#[derive(Clone, Debug)]
pub struct Request {
    /// 1 to 128 characters of `A-Z a-z 0-9 _ -`.
    pub clip_id: String,
    /// 1 to 128 characters of `A-Z a-z 0-9 _ -`.
    pub camera_id: String,
    pub span: Span,
    /// `SentTimestamp` of every earlier try, in milliseconds since the Unix epoch.
    pub retry_timestamps_ms: Vec<i64>,
    /// `SentTimestamp` of this message, in milliseconds since the Unix epoch.
    pub sent_ms: i64,
    /// Attributes of the message, which the next try keeps: at most [`MAX_ATTRIBUTES`].
    pub attributes: Vec<MessageAttribute>,
    /// All fields of the body as they arrived, unknown ones included.
    fields: Fields,
}

/// SQS takes at most ten attributes with a message (Amazon SQS Developer Guide, "Amazon SQS message metadata").
pub const MAX_ATTRIBUTES: usize = 10;

/// An attribute of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageAttribute {
    pub name: String,
    /// `String`, `Number` or `Binary`, perhaps with a label such as `Number.int`.
    pub data_type: String,
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    Text(String),
    Bytes(Vec<u8>),
}

type Fields = BTreeMap<String, Box<RawValue>>;

impl Request {
    /// Reads the body of a message and its `SentTimestamp` attribute.
    ///
    /// # Errors
    /// Names the first bad field and what was expected of it. It shows a body only if that is not an object at all: its
    /// length and its first characters.
    pub fn parse(body: &str, sent_timestamp: Option<&str>) -> Result<Self, String> {
        let mut request = Self::named(parse_fields(body)?)?;
        request.retry_timestamps_ms = retry_timestamps(&request.fields)?;
        let sent = sent_timestamp.unwrap_or_default();
        let sent = digits(sent).ok_or_else(|| mismatch(SENT_TIMESTAMP, MILLISECONDS, shown(sent)))?;
        request.sent_ms = in_milliseconds(SENT_TIMESTAMP, sent)?.as_ms();
        Ok(request)
    }

    /// Returns the request that a body names, if it names clip, camera and span. Retries are not read, and `sent_ms` is 0.
    #[must_use]
    pub fn named_in(body: &str) -> Option<Self> {
        Self::named(parse_fields(body).ok()?).ok()
    }

    fn named(fields: Fields) -> Result<Self, String> {
        let clip_id = id_or_number(&fields, "clipId")?;
        let camera_id = id(&fields, "cameraId")?;
        let start = instant(&fields, "startTimestampInMs")?;
        let end = instant(&fields, "endTimestampInMs")?;
        let refused = || {
            let expected = format_args!("an instant before endTimestampInMs ({})", end.as_ms());
            mismatch("startTimestampInMs", expected, start.as_ms())
        };
        let span = Span::new(start, end).ok_or_else(refused)?;
        let (retry_timestamps_ms, attributes) = (Vec::new(), Vec::new());
        Ok(Self { clip_id, camera_id, span, retry_timestamps_ms, sent_ms: 0, attributes, fields })
    }

    /// Returns the body of the next try as strict JSON: the same fields with the same types, and the `SentTimestamp` of
    /// this try added to `retryTimestamps` as a string.
    #[must_use]
    pub fn next_try(&self) -> String {
        let mut fields = self.fields.clone();
        let mut tries: Vec<Box<RawValue>> = fields
            .get(RETRY_TIMESTAMPS)
            .and_then(|tries| serde_json::from_str::<Option<_>>(tries.get()).ok().flatten())
            .unwrap_or_default();
        tries.push(to_raw_value(&self.sent_ms.to_string()).expect("a string can be written as JSON"));
        fields.insert(
            RETRY_TIMESTAMPS.to_owned(),
            to_raw_value(&tries).expect("a list of JSON texts can be written as JSON"),
        );
        serde_json::to_string(&fields).expect("a map of JSON texts can be written as JSON")
    }
}

const FIELDS: &str =
    "an object with the fields clipId, cameraId, startTimestampInMs, endTimestampInMs and retryTimestamps";
const NAMES: [&str; 5] = ["clipId", "cameraId", "startTimestampInMs", "endTimestampInMs", RETRY_TIMESTAMPS];
const RETRY_TIMESTAMPS: &str = "retryTimestamps";
const SENT_TIMESTAMP: &str = "attribute SentTimestamp";
const MILLISECONDS: &str = "milliseconds from 2001 to 9999, as a number without a fraction or a string of digits";

/// 2001-09-09. A smaller number is an instant in seconds: no camera recorded before.
pub const FIRST_MS: i64 = 1_000_000_000_000;

/// An instant in a body, in milliseconds since the Unix epoch.
#[derive(Deserialize)]
#[serde(untagged)]
enum Milliseconds {
    Number(i64),
    /// A float: some languages know no other number. Below 2⁵³, so that it is exact.
    Float(f64),
    Text(String),
}

impl Milliseconds {
    fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::Number(ms) => Timestamp::from_ms(*ms),
            Self::Float(ms) if ms.fract() == 0.0 => Timestamp::from_ms(format!("{ms:.0}").parse().ok()?),
            Self::Float(_) => None,
            Self::Text(text) => digits(text),
        }
    }
}

/// Reads a body as strict JSON, else as what Python's `str(dict)` writes, else as either of them copied out of a JSON string
/// with its backslashes. A byte order mark in front is ignored (RFC 8259, section 8.1, lets a reader do so).
fn parse_fields(body: &str) -> Result<Fields, String> {
    let text = body.trim_start_matches('\u{feff}');
    let fields = parse_notation(text).or_else(|error| match unescaped(text) {
        Some(text) => parse_notation(&text).map_err(|_| error),
        None => Err(error),
    })?;
    if fields.contains_key("TopicArn") && fields.contains_key("Message") {
        let got = "the envelope of an SNS notification: set RawMessageDelivery of the subscription";
        return Err(mismatch("body", FIELDS, got));
    }
    if !NAMES.iter().any(|&name| fields.contains_key(name)) {
        return Err(mismatch("body", FIELDS, mismatch::fields(fields.keys())));
    }
    Ok(fields)
}

/// Reads an object in JSON or as a Python literal.
fn parse_notation(text: &str) -> Result<Fields, String> {
    let not_an_object = |_| mismatch("body", FIELDS, shown(text));
    match serde_json::from_str(text) {
        Ok(fields) => Ok(fields),
        Err(error) if error.is_data() => Err(not_an_object(error)),
        Err(json) => match python_literal::to_json(text) {
            Ok(literal) => serde_json::from_str(&literal).map_err(not_an_object),
            Err(python) => {
                Err(mismatch("body", format_args!("JSON ({json}) or a Python literal ({python})"), shown(text)))
            }
        },
    }
}

/// Returns the object that the content of a JSON string stands for: `{"a": 1}` for `{\"a\": 1}`. Returns `None` for a text
/// that is not the content of a JSON string (RFC 8259, section 7) or does not begin with a brace.
fn unescaped(text: &str) -> Option<String> {
    let text = text.trim();
    text.starts_with('{').then(|| serde_json::from_str(&format!("\"{text}\"")).ok()).flatten()
}

/// Says that a field is not what was expected.
fn refused(fields: &Fields, name: &str, expected: &str) -> String {
    mismatch(name, expected, fields.get(name).map_or_else(|| shown(""), |raw| shown(raw.get())))
}

fn optional<'a, T: Deserialize<'a>>(fields: &'a Fields, name: &str, expected: &str) -> Result<Option<T>, String> {
    let parse = |raw: &'a RawValue| serde_json::from_str(raw.get()).map_err(|_| refused(fields, name, expected));
    fields.get(name).map(|raw| parse(raw)).transpose()
}

fn required<'a, T: Deserialize<'a>>(fields: &'a Fields, name: &str, expected: &str) -> Result<T, String> {
    optional(fields, name, expected)?.ok_or_else(|| refused(fields, name, expected))
}

fn id(fields: &Fields, name: &str) -> Result<String, String> {
    const EXPECTED: &str = "a string of 1 to 128 characters of A-Z a-z 0-9 _ -";
    let id: String = required(fields, name, EXPECTED)?;
    if is_id(&id) { Ok(id) } else { Err(refused(fields, name, EXPECTED)) }
}

/// Reads an id, or the digits of an integer of at least 0, which may be longer than 64 bits.
fn id_or_number(fields: &Fields, name: &str) -> Result<String, String> {
    let number = fields.get(name).map(|raw| raw.get()).filter(|raw| raw.bytes().all(|b| b.is_ascii_digit()));
    match number {
        Some(digits) if is_id(digits) => Ok(digits.to_owned()),
        _ => id(fields, name).map_err(|error| error.replace("a string of", "an integer of at least 0 or a string of")),
    }
}

fn is_id(id: &str) -> bool {
    let is_plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    is_plain && (1..=128).contains(&id.len())
}

fn instant(fields: &Fields, name: &str) -> Result<Timestamp, String> {
    let ms: Milliseconds = required(fields, name, MILLISECONDS)?;
    let instant = ms.instant().ok_or_else(|| refused(fields, name, MILLISECONDS))?;
    in_milliseconds(name, instant)
}

/// Refuses an instant that was given in seconds.
fn in_milliseconds(name: &str, instant: Timestamp) -> Result<Timestamp, String> {
    let got = || format!("{}, an instant before 2001, as if in seconds", instant.as_ms());
    if instant.as_ms() < FIRST_MS { Err(mismatch(name, MILLISECONDS, got())) } else { Ok(instant) }
}

fn retry_timestamps(fields: &Fields) -> Result<Vec<i64>, String> {
    const EXPECTED: &str = "a list of milliseconds, as numbers without a fraction or strings of digits";
    let tries: Option<Option<Vec<Milliseconds>>> = optional(fields, RETRY_TIMESTAMPS, EXPECTED)?;
    let tries = tries.flatten().unwrap_or_default();
    let instant = |ms: &Milliseconds| ms.instant().ok_or_else(|| refused(fields, RETRY_TIMESTAMPS, EXPECTED));
    let instants = tries.iter().map(|ms| in_milliseconds(RETRY_TIMESTAMPS, instant(ms)?).map(Timestamp::as_ms));
    instants.collect()
}

/// Reads decimal digits. Plain `parse` would accept a sign.
fn digits(text: &str) -> Option<Timestamp> {
    let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten().and_then(Timestamp::from_ms)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Returns a request for another span of the sample's clip and camera.
    pub(crate) fn request(start_ms: i64, end_ms: i64) -> Request {
        let body = json!({
            "clipId": "1111111111111", "cameraId": "1111111111111",
            "startTimestampInMs": start_ms, "endTimestampInMs": end_ms,
        });
        Request::parse(&body.to_string(), Some("1523232000000")).expect("a valid body")
    }

    const SENT: &str = "1523232000000";
    const SAMPLE: &str = "{'clipId': '1111111111111', 'retryTimestamps': [], 'cameraId': '1111111111111', \
        'startTimestampInMs': 1537119363000, 'endTimestampInMs': 1537119423000}";

    #[test]
    fn reads_the_sample_body_in_both_notations() {
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
            "clipId": "surf_1-A", "cameraId": "c", "retryTimestamps": [1_537_119_363_007_i64, "1537119363003"],
            "startTimestampInMs": 1_537_119_363_005_i64, "endTimestampInMs": "1537119363017",
        });
        body[name] = value;
        body
    }

    #[test]
    fn names_every_bad_field() {
        let table = [
            ("clipId", json!("")),
            ("clipId", json!("a/b")),
            ("clipId", json!("..")),
            ("clipId", json!("a b")),
            ("clipId", json!("é")),
            ("clipId", json!("a".repeat(129))),
            ("clipId", json!(-7)),
            ("clipId", json!(7.0)),
            ("clipId", json!(true)),
            ("cameraId", json!(7)),
            ("cameraId", json!(null)),
            ("cameraId", json!("a\u{0}")),
            ("startTimestampInMs", json!(-1)),
            ("startTimestampInMs", json!(5.5)),
            ("startTimestampInMs", json!(1_537_119_363_004.5)),
            ("startTimestampInMs", json!(-1_537_119_363_004.0)),
            ("startTimestampInMs", json!(1e300)),
            ("startTimestampInMs", json!("+5")),
            ("startTimestampInMs", json!("")),
            ("startTimestampInMs", json!(true)),
            ("startTimestampInMs", json!(1_537_119_363_017_i64)),
            ("startTimestampInMs", json!(1_537_119_363)),
            ("startTimestampInMs", json!("999999999999")),
            ("endTimestampInMs", json!(1_537_119_363_005_i64)),
            ("endTimestampInMs", json!(1_537_119_423)),
            ("endTimestampInMs", json!(i64::MAX)),
            ("endTimestampInMs", json!(u64::MAX)),
            ("endTimestampInMs", json!("99999999999999999999")),
            ("retryTimestamps", json!("7")),
            ("retryTimestamps", json!([null])),
            ("retryTimestamps", json!(["x"])),
            ("retryTimestamps", json!([1_537_119_363_007_i64, 1_537_119_363])),
            ("retryTimestamps", json!(["999999999999"])),
        ];
        for (name, value) in table {
            let body = body_with(name, value).to_string();
            let error = Request::parse(&body, Some(SENT)).expect_err(&body);
            assert!(
                error.contains(name) && error.contains(": expected ") && error.contains(", got "),
                "{body}: {error}"
            );
        }
        for name in ["clipId", "cameraId", "startTimestampInMs", "endTimestampInMs"] {
            let mut body = body_with("extra", json!(1));
            body.as_object_mut().expect("an object").remove(name);
            let error = Request::parse(&body.to_string(), Some(SENT)).expect_err(name);
            assert!(error.starts_with(&format!("{name}: expected ")) && error.ends_with(", got nothing"), "{error}");
        }
        for body in ["[]", "7", "\"text\"", "null", "", "['a']", "'text'", &"rubbish ".repeat(25_000)] {
            Request::parse(body, Some(SENT)).expect_err("not an object");
        }
        let error = Request::parse("[null]", Some(SENT)).expect_err("JSON that Python does not write");
        assert_eq!(error, format!(r#"body: expected {FIELDS}, got "[null]""#));
        let body = body_with("extra", json!(1)).to_string();
        for sent in [None, Some(""), Some("x"), Some("-1"), Some("1.5"), Some("1523232000"), Some("999999999999")] {
            let error = Request::parse(&body, sent).expect_err("a bad SentTimestamp");
            assert!(error.contains("SentTimestamp"), "{error}");
        }
    }

    #[test]
    fn a_refusal_says_what_came() {
        for (body, expected) in [
            ("", "nothing"),
            ("<html>\u{1}</html>", r#"got "<html>\u{1}</html>""#),
            (&SAMPLE[..60], r#"60 bytes beginning with "{'clipId': '111111111111""#),
            (r#"{"clipId": "a", "cameraId": "b"#, "EOF while parsing a string at line 1 column 30"),
            (
                r#"{"Type": "Notification", "TopicArn": "arn:aws:sns:us-west-1:1:t", "Message": "{}"}"#,
                "the envelope of an SNS notification: set RawMessageDelivery of the subscription",
            ),
            (r#"{"clipId": "a", "cameraId": "b", "startTimestampInMs": 1537119363}"#, "as if in seconds"),
            (
                r#"{"clipId": "a", "cameraId": "b", "startTimestampInMs": 5.5}"#,
                r#"expected milliseconds from 2001 to 9999, as a number without a fraction or a string of digits, got "5.5""#,
            ),
            ("{}", "got an object without fields"),
            // events of S3, of EventBridge, and of API Gateway
            (
                r#"{"Records": [{"eventSource": "aws:s3", "s3": {}}]}"#,
                "and retryTimestamps, got an object with Records",
            ),
            (
                r#"{"version": "0", "id": "1", "detail-type": "x", "source": "y", "account": "1", "detail": {}}"#,
                "got an object with account, detail, detail-type, id, source and 1 more",
            ),
            (r#"{"httpMethod": "POST", "body": "{\"clipId\": \"a\"}"}"#, "got an object with body, httpMethod"),
        ] {
            let error = Request::parse(body, Some(SENT)).expect_err(body);
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(char::is_control), "{error:?}");
        }
    }

    #[test]
    fn reads_a_python_literal_with_the_words_of_json() {
        let body = SAMPLE.replace("[]", "null").replace("{'clipId'", "{'a': true, 'b': [false, None], 'clipId'");
        let request = Request::parse(&body, Some("1523232000019")).expect("valid");
        let next: Value = serde_json::from_str(&request.next_try()).expect("strict JSON");
        assert_eq!((&next["a"], &next["b"]), (&json!(true), &json!([false, null])));
        assert_eq!(next["retryTimestamps"], json!(["1523232000019"]));
    }

    #[test]
    fn reads_a_body_that_was_copied_out_of_a_json_string() {
        let plain = SAMPLE.replace('\'', "\"").replace("[]", r#"[], "note": "a \"b\" \\ c""#);
        for (body, note) in [(plain, json!(r#"a "b" \ c"#)), (SAMPLE.replace(", ", ",\n"), Value::Null)] {
            let quoted = Value::from(body).to_string();
            let pasted = quoted.trim_matches('"');
            for pasted in [pasted.to_owned(), format!(" {pasted}\n")] {
                let request = Request::parse(&pasted, Some(SENT)).expect(&pasted);
                assert_eq!(request.clip_id, "1111111111111");
                let next: Value = serde_json::from_str(&request.next_try()).expect("strict JSON");
                assert_eq!(next["note"], note);
            }
        }
        let half = r#"{\"clipId\": "a"}"#;
        let error = Request::parse(half, Some(SENT)).expect_err("only some quotes are escaped");
        assert!(error.contains("expected JSON (key must be a string at line 1 column 2)"), "{error}");
    }

    #[test]
    fn an_integer_names_a_clip_by_its_digits_and_keeps_its_type() {
        for digits in ["0", "1111111111111", "12345678901234567890123"] {
            let body = SAMPLE.replace("'1111111111111', 'retry", &format!("{digits}, 'retry"));
            let request = Request::parse(&body, Some(SENT)).expect(digits);
            assert_eq!((request.clip_id.as_str(), request.camera_id.as_str()), (digits, "1111111111111"));
            assert!(request.next_try().contains(&format!(r#""clipId":{digits},"#)), "{}", request.next_try());
        }
        let long = SAMPLE.replace("'1111111111111', 'retry", &format!("{}, 'retry", "1".repeat(129)));
        let error = Request::parse(&long, Some(SENT)).expect_err("129 digits");
        assert_eq!(
            error,
            "clipId: expected an integer of at least 0 or a string of 1 to 128 characters of A-Z a-z 0-9 _ -, \
             got 129 bytes beginning with \"111111111111111111111111\""
        );
    }

    #[test]
    fn an_instant_may_be_a_float_without_a_fraction() {
        let body = SAMPLE.replace("1537119363000", "1537119363005.0").replace("1537119423000", "1.537119423e12");
        let request = Request::parse(&body, Some("1523232000019")).expect("valid");
        assert_eq!(request.span.start().as_ms(), 1_537_119_363_005);
        assert_eq!(request.span.end().as_ms(), 1_537_119_423_000);
        assert!(request.next_try().contains(r#""startTimestampInMs":1537119363005.0"#), "{}", request.next_try());
    }

    #[test]
    fn ignores_a_byte_order_mark() {
        let request = Request::parse(&format!("\u{feff}{SAMPLE}"), Some(SENT)).expect("valid");
        assert_eq!(request.clip_id, "1111111111111");
    }

    #[test]
    fn the_next_try_keeps_every_field_and_its_type() {
        let body = r#"{"big":12345678901234567890123,"float":1.10,"clipId":"a","cameraId":"b","startTimestampInMs":"1537119363005","endTimestampInMs":1537119363017,"retryTimestamps":[1523232000007,"1523232000003"],"nested":{"z":[1,null]}}"#;
        let request = Request::parse(body, Some("1523232000019")).expect("valid");
        assert_eq!(request.retry_timestamps_ms, [1_523_232_000_007, 1_523_232_000_003]);
        assert_eq!(
            request.next_try(),
            r#"{"big":12345678901234567890123,"cameraId":"b","clipId":"a","endTimestampInMs":1537119363017,"float":1.10,"nested":{"z":[1,null]},"retryTimestamps":[1523232000007,"1523232000003","1523232000019"],"startTimestampInMs":"1537119363005"}"#
        );
    }

    #[test]
    fn the_next_try_starts_a_list_if_there_was_none() {
        for retries in ["", "'retryTimestamps': None, "] {
            let body = format!(
                "{{{retries}'clipId': 'a', 'cameraId': 'b', 'startTimestampInMs': 1537119363005, 'endTimestampInMs': 1537119363007}}"
            );
            let next = Request::parse(&body, Some("1523232000019")).expect("valid").next_try();
            let next: Value = serde_json::from_str(&next).expect("strict JSON");
            assert_eq!(next["retryTimestamps"], json!(["1523232000019"]));
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_any_body(body in any::<String>(), sent in any::<Option<String>>()) {
            let _ = Request::parse(&body, sent.as_deref());
        }

        #[test]
        fn a_next_try_reads_back_as_the_same_request(start in FIRST_MS..1 << 41, length in 1_i64..1 << 30, sent in FIRST_MS..1 << 41) {
            let first = Request { sent_ms: sent, ..request(start, start + length) };
            let second = Request::parse(&first.next_try(), Some(SENT)).expect("valid");
            prop_assert_eq!(second.span, first.span);
            prop_assert_eq!(second.retry_timestamps_ms, vec![sent]);
        }
    }
}
