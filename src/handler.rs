//! The envelope: an SQS event comes in, a partial batch response goes out. Failure, panic or hang of one record does not
//! affect the others.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage, SqsMessageAttribute};
use exact_cut::deadline::Deadline;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::{Instrument, error, info_span};

use crate::contract::message_body::{AttributeValue, MAX_ATTRIBUTES, MessageAttribute, Request};
use crate::contract::status::Status;
use crate::error::{Error, ErrorKind};
use crate::pipeline::{Pipeline, RequestContext};
use crate::telemetry::log;
use crate::telemetry::trace::Trace;

/// The answer is out this long before Lambda's deadline: an invocation that runs into it ends without a word.
const ANSWER_MARGIN: Duration = Duration::from_secs(2);
/// How long an aborted request may take to end its processes and remove its files.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Why an invocation fails as a whole. Lambda reports the name of the variant as `errorType`.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr, thiserror::Error)]
pub enum InvocationError {
    /// The event is not one of SQS.
    #[error("{0}")]
    Envelope(String),
    /// No record succeeded; the log tells why.
    #[error("every record failed ({0})")]
    EveryRecordFailed(usize),
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: <&str>::from(&error).to_owned(), error_message: error.to_string() }
    }
}

/// Works on the records of an event, one after the other.
///
/// # Errors
/// If the event has no list of records or a record has no id, before anything is done; or if every record failed.
pub async fn handle(pipeline: Arc<Pipeline>, event: LambdaEvent<Value>) -> Result<SqsBatchResponse, InvocationError> {
    let deadline = deadline(event.context.deadline);
    let messages = messages(event.payload)
        .inspect_err(|reason| error!(error = reason, stage = "envelope", object = "event", "invocation failed"))
        .map_err(InvocationError::Envelope)?;
    let count = messages.len();
    let mut response = SqsBatchResponse::default();
    for (index, (id, message)) in messages.into_iter().enumerate() {
        let span = info_span!("record", message = id);
        let xray = event.context.xray_trace_id.clone();
        let record = Record { message, deadline, is_first: index == 0, xray };
        if work_on(&pipeline, record).instrument(span).await.is_err() {
            response.add_failure(id);
        }
    }
    if count > 0 && response.batch_item_failures.len() == count {
        return Err(InvocationError::EveryRecordFailed(count));
    }
    Ok(response)
}

/// Returns the deadline of an invocation, [`ANSWER_MARGIN`] before Lambda's, which is given in milliseconds since the
/// epoch. A deadline in the past counts as unknown: `cargo lambda watch` sends such.
fn deadline(lambda_deadline_ms: u64) -> Deadline {
    let deadline = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(lambda_deadline_ms));
    let left = deadline.and_then(|deadline| deadline.duration_since(SystemTime::now()).ok());
    left.map_or(Deadline::unknown(), |left| Deadline::after(left.saturating_sub(ANSWER_MARGIN)))
}

/// The needed parts of a record, or why it cannot be read.
pub type Message = Result<SqsMessage, String>;

/// One record of an invocation.
struct Record {
    message: Message,
    deadline: Deadline,
    is_first: bool,
    /// X-Ray's trace header.
    xray: Option<String>,
}

/// Works on a record, from its message to its log line.
async fn work_on(pipeline: &Arc<Pipeline>, record: Record) -> Result<Status, Error> {
    let Record { message, deadline, is_first, xray } = record;
    let request = request(message).inspect_err(log::report_malformed)?;
    let span = info_span!("request", clip = request.clip_id, camera = request.camera_id);
    let trace = Arc::new(Trace::new(&request, xray));
    // the first record is begun in any case: it will never get more time
    let result = if !is_first && deadline.left().is_some_and(|left| left < pipeline.estimate(&request)) {
        Err(Error::transient(&request.clip_id, "not begun: too little time is left"))
    } else {
        serve(pipeline, request, deadline, &trace).instrument(span.clone()).await
    };
    let document = trace.finish(&result);
    span.in_scope(|| {
        pipeline.write_trace(&document);
        log::report_finished(&document);
    });
    result
}

/// Serves a request in a task of its own: a panic ends there, and so does unfinished work when the time is up.
async fn serve(
    pipeline: &Arc<Pipeline>,
    request: Request,
    deadline: Deadline,
    trace: &Arc<Trace>,
) -> Result<Status, Error> {
    let clip = request.clip_id.clone();
    let (pipeline, trace) = (Arc::clone(pipeline), Arc::clone(trace));
    let serve = async move { pipeline.serve(RequestContext { request: &request, deadline, trace: &trace }).await };
    let mut task = tokio::spawn(serve.in_current_span());
    let time_is_up = tokio::time::sleep(deadline.left().unwrap_or(Duration::from_hours(24)));
    tokio::select! {
        joined = &mut task => joined.unwrap_or_else(|panic| Err(Error::transient(clip, panic))),
        () = time_is_up => {
            task.abort();
            // its processes and files go; the answer is out in time even if a computation does not stop
            let _ = tokio::time::timeout(ABORT_GRACE, task).await;
            Err(Error::transient(clip, "the time is up"))
        }
    }
}

/// Returns the request of each record, or why the record cannot be read.
///
/// # Errors
/// If the event has no list of records, or a record has no id.
pub fn requests(event: Value) -> Result<Vec<Result<Request, Error>>, String> {
    Ok(messages(event)?.into_iter().map(|(_, message)| request(message)).collect())
}

fn request(message: Message) -> Result<Request, Error> {
    let request = message.and_then(|message| {
        let sent = message.attributes.get("SentTimestamp").map(String::as_str);
        let mut request = Request::parse(message.body.as_deref().unwrap_or_default(), sent)?;
        request.attributes = attributes(message);
        Ok(request)
    });
    request.map_err(|reason| Error::new(ErrorKind::Malformed, "message", reason))
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

/// Returns the records with their ids. Only the needed parts of a record are read: the others may be of any shape.
///
/// # Errors
/// If `event` has no list of records, or a record has no id.
pub fn messages(mut event: Value) -> Result<Vec<(String, Message)>, String> {
    let Some(Value::Array(records)) = event.get_mut("Records").map(Value::take) else {
        return Err("the event has no list of Records".to_owned());
    };
    records
        .into_iter()
        .enumerate()
        .map(|(index, mut record)| {
            let id = record["messageId"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
            let id = id.ok_or_else(|| format!("record {index} of the event has no messageId"))?;
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
            let message = serde_json::from_value(Value::Object(needed));
            Ok((id, message.map_err(|_| "the body or the attributes of the record have a wrong type".to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SAMPLE: &str = include_str!("../tests/sample_event.json");

    #[test]
    fn accepts_the_odd_sample_as_it_stands() {
        let messages = messages(serde_json::from_str(SAMPLE).expect("JSON")).expect("an event");
        let [(id, Ok(message))] = &messages[..] else { panic!("one good message in {messages:?}") };
        assert_eq!(id, "19dd0b57-b21e-4ac1-bd88-01bbb068cb78");
        let sent = message.attributes.get("SentTimestamp").map(String::as_str);
        let request = Request::parse(message.body.as_deref().expect("a body"), sent).expect("a request");
        assert_eq!((request.clip_id.as_str(), request.sent_ms), ("1111111111111", 1_523_232_000_000));
    }

    #[test]
    fn refuses_an_event_without_records_or_ids() {
        for event in [
            json!(null),
            json!([]),
            json!("Records"),
            json!({}),
            json!({"Records": null}),
            json!({"Records": {}}),
            json!({"Records": [null]}),
            json!({"Records": [{"messageId": "a"}, {}]}),
            json!({"Records": [{"messageId": ""}]}),
            json!({"Records": [{"messageId": 7}]}),
        ] {
            messages(event.clone()).expect_err(&event.to_string());
        }
    }

    #[test]
    fn an_odd_record_does_not_affect_its_neighbours() {
        let event = json!({"Records": [
            {"messageId": "a", "body": 7},
            {"messageId": "b", "body": "{}", "attributes": {"SentTimestamp": "1", "ApproximateReceiveCount": 1}},
            {"messageId": "c", "attributes": []},
            {"messageId": "d"},
        ]});
        let messages = messages(event).expect("four records");
        let good: Vec<bool> = messages.iter().map(|(_, message)| message.is_ok()).collect();
        assert_eq!(good, [false, true, false, true]);
    }

    #[test]
    fn sent_timestamp_may_be_a_number() {
        for sent in [json!("1523232000000"), json!(1_523_232_000_000_i64), json!(1_523_232_000_000.0)] {
            let mut event: Value = serde_json::from_str(SAMPLE).expect("JSON");
            event["Records"][0]["attributes"]["SentTimestamp"] = sent;
            let [Ok(request)] = &requests(event).expect("an event")[..] else { panic!("one request") };
            assert_eq!(request.sent_ms, 1_523_232_000_000);
        }
        for sent in [json!(null), json!([1]), json!(-1), json!(1.5), json!("soon")] {
            let mut event: Value = serde_json::from_str(SAMPLE).expect("JSON");
            event["Records"][0]["attributes"]["SentTimestamp"] = sent.clone();
            let [Err(error)] = &requests(event).expect("an event")[..] else { panic!("{sent} is accepted") };
            assert_eq!(error.kind, ErrorKind::Malformed);
        }
    }

    #[test]
    fn a_deadline_in_the_past_is_unknown_and_one_within_the_margin_is_now() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
        let from_now = |ms: i64| u64::try_from(now).expect("before 2554").saturating_add_signed(ms);
        for past in [0, 30_000, from_now(-1000)] {
            assert_eq!(deadline(past).left(), None);
        }
        assert_eq!(deadline(from_now(1500)).left(), Some(Duration::ZERO));
        let limit = deadline(from_now(42_000)).limit(Duration::from_hours(1));
        assert!(limit <= Duration::from_secs(10) && limit > Duration::from_secs(9), "a quarter of 40 s: {limit:?}");
    }
}
