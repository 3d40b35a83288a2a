//! An SQS event: its records as deliveries of messages (docs/contract.md, "The trigger: an SQS event").

use aws_lambda_events::event::sqs::{SqsMessage, SqsMessageAttribute};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::contract::message_body::{AttributeValue, MAX_ATTRIBUTES, MessageAttribute, Request};
use crate::error::{Error, ErrorKind};
use crate::mismatch::{fields, kind, mismatch};

/// One delivery of a message.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Not empty.
    pub message_id: String,
    /// Unknown if the record does not name it.
    pub receipt: Option<Receipt>,
    /// How often SQS has delivered the message, this delivery included: at least 1.
    pub receives: u32,
    pub request: Result<Request, Malformed>,
}

/// What names a delivery to SQS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// ARN of the queue that delivered the message.
    pub queue_arn: String,
    pub handle: String,
}

/// Why a message cannot be read.
#[derive(Clone, Debug)]
pub struct Malformed {
    pub error: Error,
    /// The request, if the body names clip, camera and span all the same. It has no retries, and 0 as its `SentTimestamp`.
    pub named: Option<Box<Request>>,
}

/// Returns the deliveries of an event. Only the needed parts of a record are read: the others may be of any shape.
///
/// # Errors
/// If `event` has no list of records, or a record has no id.
pub fn deliveries(mut event: Value) -> Result<Vec<Delivery>, String> {
    let refused = |got: String| mismatch("event", "a list Records", got);
    let records = match event.get_mut("Records").map(Value::take) {
        Some(Value::Array(records)) => records,
        Some(other) => return Err(refused(format!("{} as Records", kind(&other)))),
        None => {
            let got = || kind(&event).to_owned();
            return Err(refused(event.as_object().map_or_else(got, |event| fields(event.keys()))));
        }
    };
    records
        .into_iter()
        .enumerate()
        .map(|(index, record)| {
            let text = |name: &str| record[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
            let message_id = text("messageId")
                .ok_or_else(|| mismatch(format_args!("record {index}"), "a messageId", got(&record["messageId"])))?;
            let receipt = text("eventSourceARN").zip(text("receiptHandle"));
            let receipt = receipt.map(|(queue_arn, handle)| Receipt { queue_arn, handle });
            let receives = receives(&record["attributes"]["ApproximateReceiveCount"]);
            Ok(Delivery { message_id, receipt, receives, request: request(record) })
        })
        .collect()
}

/// Returns the URL of the queue with this ARN, or `None` if the ARN is not complete. `own_url` is the URL of a queue whose
/// name is its last part; a queue of that name has that URL.
#[must_use]
pub fn queue_url(arn: &str, own_url: &str) -> Option<String> {
    let [_, partition, _, region, account, name] = arn.splitn(6, ':').collect::<Vec<_>>()[..] else { return None };
    if own_url.rsplit('/').next() == Some(name) {
        return Some(own_url.to_owned());
    }
    // DNS suffixes of the partitions (the SDKs' `partitions.json`)
    let suffix = match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        _ => "amazonaws.com",
    };
    let is_complete = [region, account, name].iter().all(|part| !part.is_empty());
    is_complete.then(|| format!("https://sqs.{region}.{suffix}/{account}/{name}"))
}

/// Reads `ApproximateReceiveCount`. One that is missing or not a number counts as 1.
fn receives(count: &Value) -> u32 {
    let text = count.as_str().and_then(|text| text.parse().ok());
    let number = || count.as_u64().map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    text.or_else(number).unwrap_or(1).max(1)
}

fn request(record: Value) -> Result<Request, Malformed> {
    let malformed = |reason: String, body: Option<&str>| Malformed {
        error: Error::new(ErrorKind::Malformed, "message", reason),
        named: body.and_then(|body| Request::named_in(body).map(Box::new)),
    };
    let body = record["body"].as_str().map(str::to_owned);
    let body = body.as_deref();
    let message = message(record).map_err(|reason| malformed(reason, body))?;
    let sent = message.attributes.get("SentTimestamp").map(String::as_str);
    let request = Request::parse(message.body.as_deref().unwrap_or_default(), sent);
    let mut request = request.map_err(|reason| malformed(reason, body))?;
    request.attributes = attributes(message);
    Ok(request)
}

/// Returns the needed parts of a record.
fn message(mut record: Value) -> Result<SqsMessage, String> {
    let mut needed = Map::new();
    for name in ["messageId", "body", "attributes", "messageAttributes"] {
        needed.insert(name.to_owned(), record.get_mut(name).map(Value::take).unwrap_or_default());
    }
    if let Some(attributes) = needed["attributes"].as_object_mut() {
        attributes.retain(|name, _| name == "SentTimestamp");
        for value in attributes.values_mut().filter(|value| value.is_number()) {
            *value = value.to_string().trim_end_matches(".0").into();
        }
    }
    // the sample event has an attribute that is a bare string
    match needed["messageAttributes"].as_object_mut() {
        Some(attributes) => attributes.retain(|_, value| SqsMessageAttribute::deserialize(&*value).is_ok()),
        None => drop(needed.remove("messageAttributes")),
    }
    let (body, attributes) = (got(&needed["body"]), &needed["attributes"]);
    let attributes = match attributes.as_object().and_then(|attributes| attributes.get("SentTimestamp")) {
        Some(sent) => format!("one with {} as SentTimestamp", got(sent)),
        None => got(attributes).to_owned(),
    };
    let is_body = matches!(needed["body"], Value::String(_) | Value::Null);
    serde_json::from_value(Value::Object(needed)).map_err(|_| {
        if is_body {
            mismatch("attributes", "an object of strings", attributes)
        } else {
            mismatch("body", "a string", body)
        }
    })
}

/// Says what came in a place where something else was expected.
fn got(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::String(text) if text.is_empty() => "an empty string",
        value => kind(value),
    }
}

/// Returns the attributes of a message in order of their names.
fn attributes(message: SqsMessage) -> Vec<MessageAttribute> {
    let attribute = |(name, attribute): (String, SqsMessageAttribute)| {
        let text = attribute.string_value.map(AttributeValue::Text);
        let value = text.or_else(|| attribute.binary_value.map(|bytes| AttributeValue::Bytes(bytes.0)))?;
        Some(MessageAttribute { name, data_type: attribute.data_type?, value })
    };
    let mut attributes: Vec<_> = message.message_attributes.into_iter().filter_map(attribute).collect();
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    attributes.truncate(MAX_ATTRIBUTES);
    attributes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        serde_json::from_str(include_str!("../../tests/sample_event.json")).expect("JSON")
    }

    /// Returns the only delivery of the sample with another value at `path`.
    fn sample_with(path: &str, value: Value) -> Delivery {
        let mut event = sample();
        *event.pointer_mut(&format!("/Records/0/{path}")).expect(path) = value;
        deliveries(event).expect("an event").remove(0)
    }

    #[test]
    fn accepts_the_odd_sample_as_it_stands() {
        let [delivery] = &deliveries(sample()).expect("an event")[..] else { panic!("one delivery") };
        assert_eq!(delivery.message_id, "19dd0b57-b21e-4ac1-bd88-01bbb068cb78");
        assert_eq!(delivery.receives, 1);
        let receipt = delivery.receipt.as_ref().expect("a receipt");
        assert_eq!(receipt.handle, "MessageReceiptHandle");
        assert_eq!(receipt.queue_arn, "arn:aws:sqs:us-west-1:123456789012:MyQueue");
        let request = delivery.request.as_ref().expect("a request");
        assert_eq!((request.clip_id.as_str(), request.sent_ms), ("1111111111111", 1_523_232_000_000));
    }

    #[test]
    fn refuses_an_event_without_records_or_ids() {
        for (event, told) in [
            (json!(null), "event: expected a list Records, got null"),
            (json!([]), "event: expected a list Records, got a list"),
            (json!("Records"), "event: expected a list Records, got a string"),
            (json!({}), "event: expected a list Records, got an object without fields"),
            (json!({"a": "secret", "b": 7}), "event: expected a list Records, got an object with a, b"),
            (json!({"Records": null}), "event: expected a list Records, got null as Records"),
            (json!({"Records": {}}), "event: expected a list Records, got an object as Records"),
            (json!({"Records": [null]}), "record 0: expected a messageId, got nothing"),
            (json!({"Records": [{"messageId": "a"}, {}]}), "record 1: expected a messageId, got nothing"),
            (json!({"Records": [{"messageId": ""}]}), "record 0: expected a messageId, got an empty string"),
            (json!({"Records": [{"messageId": 7}]}), "record 0: expected a messageId, got a number"),
        ] {
            assert_eq!(deliveries(event.clone()).expect_err(&event.to_string()), told);
        }
    }

    #[test]
    fn an_odd_record_does_not_affect_its_neighbours() {
        let body = sample()["Records"][0]["body"].clone();
        let event = json!({"Records": [
            {"messageId": "a", "body": 7},
            {"messageId": "b", "body": body, "attributes": {"SentTimestamp": "1523232000000", "ApproximateReceiveCount": {}}},
            {"messageId": "c", "body": body, "attributes": []},
            {"messageId": "d", "body": body, "receiptHandle": 7, "eventSourceARN": []},
        ]});
        let deliveries = deliveries(event).expect("four records");
        let told = |delivery: &Delivery| delivery.request.as_ref().map_err(|one| one.error.reason.clone()).map(drop);
        let told: Vec<_> = deliveries.iter().map(told).collect();
        assert_eq!(
            told,
            [
                Err("body: expected a string, got a number".to_owned()),
                Ok(()),
                Err("attributes: expected an object of strings, got a list".to_owned()),
                Err(
                    "attribute SentTimestamp: expected milliseconds from 2001 to 9999, as a number without a fraction or \
                     a string of digits, got nothing"
                        .to_owned()
                ),
            ]
        );
        assert!(deliveries.iter().all(|delivery| delivery.receipt.is_none() && delivery.receives == 1));
    }

    #[test]
    fn sent_timestamp_may_be_a_number() {
        for sent in [json!("1523232000000"), json!(1_523_232_000_000_i64), json!(1_523_232_000_000.0)] {
            let request = sample_with("attributes/SentTimestamp", sent).request.expect("valid");
            assert_eq!(request.sent_ms, 1_523_232_000_000);
        }
    }

    #[test]
    fn a_malformed_message_may_still_name_its_request() {
        for sent in [json!(null), json!([1]), json!(-1), json!(1.5), json!("soon"), json!(1_523_232_000)] {
            let malformed = sample_with("attributes/SentTimestamp", sent.clone()).request.expect_err("malformed");
            assert_eq!(malformed.error.kind, ErrorKind::Malformed, "{sent}");
            let named = malformed.named.expect("a request");
            assert_eq!((named.clip_id.as_str(), named.span.length_us()), ("1111111111111", 60_000_000));
        }
        let malformed = sample_with("attributes/SentTimestamp", json!([1])).request.expect_err("malformed");
        let told = "attributes: expected an object of strings, got one with a list as SentTimestamp";
        assert_eq!(malformed.error.reason, told);
        let body = sample()["Records"][0]["body"].as_str().expect("a text").to_owned();
        let malformed = sample_with("body", body.replace("[]", "'x'").into()).request.expect_err("malformed");
        assert!(malformed.named.is_some(), "retryTimestamps do not name it");
        let malformed = sample_with("body", body.replace("cameraId", "camera").into()).request.expect_err("malformed");
        assert!(malformed.named.is_none());
    }

    #[test]
    fn a_receive_count_that_is_no_number_is_1() {
        for (count, expected) in [
            (json!("3"), 3),
            (json!(3), 3),
            (json!("0"), 1),
            (json!("many"), 1),
            (json!(null), 1),
            (json!(-3), 1),
            (json!(u64::MAX), u32::MAX),
        ] {
            assert_eq!(sample_with("attributes/ApproximateReceiveCount", count.clone()).receives, expected, "{count}");
        }
    }

    #[test]
    fn the_url_of_a_queue_is_the_own_one_or_follows_from_the_arn() {
        let own = "https://sqs.us-west-1.amazonaws.com/1/requests";
        for (arn, expected) in [
            ("arn:aws:sqs:us-west-1:1:requests", Some(own)),
            ("arn:aws:sqs:us-west-1:1:other", Some("https://sqs.us-west-1.amazonaws.com/1/other")),
            ("arn:aws-cn:sqs:cn-north-1:1:other", Some("https://sqs.cn-north-1.amazonaws.com.cn/1/other")),
            ("arn:aws-us-gov:sqs:us-gov-west-1:1:q", Some("https://sqs.us-gov-west-1.amazonaws.com/1/q")),
            ("arn:aws:sqs:test-sqs-sandbox", None),
            ("arn:aws:sqs:us-west-1::q", None),
            ("", None),
        ] {
            assert_eq!(queue_url(arn, own).as_deref(), expected, "{arn}");
        }
    }
}
