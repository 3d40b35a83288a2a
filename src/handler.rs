//! The envelope: an SQS event comes in, a partial batch response goes out. One record's failure, panic or hang does not
//! take the others with it.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage};
use lambda_runtime::LambdaEvent;
use serde_json::{Map, Value};
use tracing::{Instrument, error, info_span};

use crate::deadline::Deadline;
use crate::error::{Error, Kind};
use crate::pipeline::{Job, Pipeline};
use crate::request::Request;
use crate::telemetry;
use crate::trace::Trace;
use crate::verdict::Status;

/// How long is waited for work to end once its time is up.
const LETTING_GO: Duration = Duration::from_secs(1);

/// Works on an event's records one after the other.
///
/// # Errors
/// Before anything is done, if the event has no list of records or one of them no id; afterwards, if every record failed.
pub async fn handle(pipeline: Arc<Pipeline>, event: LambdaEvent<Value>) -> Result<SqsBatchResponse, String> {
    let deadline = Deadline::of_invocation(event.context.deadline);
    let messages = messages(event.payload)
        .inspect_err(|reason| error!(error = reason, stage = "envelope", object = "event", "invocation failed"))?;
    let count = messages.len();
    let mut response = SqsBatchResponse::default();
    for (index, (id, message)) in messages.into_iter().enumerate() {
        let span = info_span!("record", message = id);
        let xray = event.context.xray_trace_id.clone();
        if record(Arc::clone(&pipeline), message, deadline, index == 0, xray).instrument(span).await.is_err() {
            response.add_failure(id);
        }
    }
    if count > 0 && response.batch_item_failures.len() == count {
        return Err(format!("every record failed ({count})"));
    }
    Ok(response)
}

/// What is needed of a record, or what is wrong with it.
pub type Message = Result<SqsMessage, String>;

/// One record, from its message to the line about it.
async fn record(
    pipeline: Arc<Pipeline>,
    message: Message,
    deadline: Deadline,
    first: bool,
    xray: Option<String>,
) -> Result<Status, Error> {
    let request = request(message).inspect_err(telemetry::ill_formed)?;
    let span = info_span!("request", clip = request.clip_id, camera = request.camera_id);
    let trace = Arc::new(Trace::new(&request, xray));
    let result = served(&pipeline, request, deadline, &trace, first).instrument(span.clone()).await;
    let document = trace.finish(&result);
    span.in_scope(|| {
        pipeline.keep(&document);
        telemetry::over(&document);
    });
    result
}

/// Serves a request in a task of its own: a panic ends there, and so does what it left running when time is up.
async fn served(
    pipeline: &Arc<Pipeline>,
    request: Request,
    deadline: Deadline,
    trace: &Arc<Trace>,
    first: bool,
) -> Result<Status, Error> {
    let clip = request.clip_id.clone();
    // the first is begun in any case: it will never be given more time than now
    if !first && deadline.left().is_some_and(|left| left < pipeline.estimate(&request)) {
        return Err(Error::passing(clip, "not begun, too little time is left"));
    }
    let (pipeline, trace) = (Arc::clone(pipeline), Arc::clone(trace));
    let serve = async move { pipeline.serve(Job { request: &request, deadline, trace: &trace }).await };
    let mut task = tokio::spawn(serve.in_current_span());
    let time_is_up = tokio::time::sleep(deadline.left().unwrap_or(Duration::from_hours(24)));
    tokio::select! {
        joined = &mut task => joined.unwrap_or_else(|panic| Err(Error::passing(clip, panic))),
        () = time_is_up => {
            task.abort();
            // its files and processes go; should a computation not let go of it, the answer is out all the same
            let _ = tokio::time::timeout(LETTING_GO, task).await;
            Err(Error::passing(clip, "time is up"))
        }
    }
}

/// What an event's records ask for, or what is wrong with them.
///
/// # Errors
/// If the event has no list of records or one of them no id.
pub fn requests(event: Value) -> Result<Vec<Result<Request, Error>>, String> {
    Ok(messages(event)?.into_iter().map(|(_, message)| request(message)).collect())
}

fn request(message: Message) -> Result<Request, Error> {
    let request = message.and_then(|message| {
        let sent = message.attributes.get("SentTimestamp").map(String::as_str);
        Request::parse(message.body.as_deref().unwrap_or_default(), sent)
    });
    request.map_err(|reason| Error::new(Kind::IllFormed, "message", reason))
}

/// The records with their ids, each with just what is needed of it: the rest of a record may be odd.
///
/// # Errors
/// If `event` has no list of records, or one of them no id.
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
            for name in ["messageId", "body", "attributes"] {
                needed.insert(name.to_owned(), record.get_mut(name).map(Value::take).unwrap_or_default());
            }
            if let Some(attributes) = needed["attributes"].as_object_mut() {
                attributes.retain(|name, _| name == "SentTimestamp");
            }
            let message = serde_json::from_value(Value::Object(needed));
            Ok((id, message.map_err(|_| "body or attributes are not of their types".to_owned())))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SAMPLE: &str = include_str!("../tests/sample_event.json");

    #[test]
    fn the_odd_sample_is_accepted_as_it_stands() {
        let messages = messages(serde_json::from_str(SAMPLE).expect("JSON")).expect("an event");
        let [(id, Ok(message))] = &messages[..] else { panic!("one good message in {messages:?}") };
        assert_eq!(id, "19dd0b57-b21e-4ac1-bd88-01bbb068cb78");
        let sent = message.attributes.get("SentTimestamp").map(String::as_str);
        let request = Request::parse(message.body.as_deref().expect("a body"), sent).expect("a request");
        assert_eq!((request.clip_id.as_str(), request.sent_ms), ("1111111111111", 1_523_232_000_000));
    }

    #[test]
    fn an_envelope_that_is_none_fails_before_anything_is_done() {
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
    fn an_odd_record_leaves_its_neighbours_alone() {
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
}
