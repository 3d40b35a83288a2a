//! The envelope: an SQS event comes in, a partial batch response goes out. Failure, panic or hang of one record does not
//! affect the others.

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use exact_cut::deadline::Deadline;
use lambda_runtime::{Diagnostic, LambdaEvent};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{Instrument, error, error_span, warn};

use crate::contract::message_body::Request;
use crate::contract::retry_schedule::is_last_delivery;
use crate::contract::sqs_event::{Delivery, Malformed, Receipt, deliveries};
use crate::contract::status::Status;
use crate::error::Error;
use crate::invocation_time::InvocationTime;
use crate::mismatch::mismatch;
use crate::pipeline::{Pipeline, RequestContext};
use crate::telemetry::log;
use crate::telemetry::trace::Trace;
use crate::visibility::FailedDelivery;

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
    /// Some records failed, and the trigger would take an answer that names them for a success of all.
    #[error("{failed} of {count} records failed")]
    SomeRecordsFailed { failed: usize, count: usize },
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        Self { error_type: <&str>::from(&error).to_owned(), error_message: error.to_string() }
    }
}

/// Works on the records of an event, one after the other. Those on their last delivery come first.
///
/// # Errors
/// If the event has no list of records or a record has no id, before anything is done; or if a record failed and the trigger
/// is not known to report which.
pub async fn handle(
    pipeline: Arc<Pipeline>,
    event: LambdaEvent<Value>,
    time: InvocationTime,
) -> Result<SqsBatchResponse, InvocationError> {
    let mut deliveries = deliveries(event.payload)
        .inspect_err(|reason| error!(error = reason, stage = "envelope", object = "event", "invocation failed"))
        .map_err(InvocationError::Envelope)?;
    let hiding = hide_while_working(&pipeline, &deliveries, time);
    deliveries.sort_by_key(|delivery| !is_last(&pipeline, delivery.receives));
    let mut worked_on = Vec::with_capacity(deliveries.len());
    for (index, Delivery { message_id, receipt, receives, request }) in deliveries.into_iter().enumerate() {
        // of the highest level: at any LOG_LEVEL, the lines inside have its fields
        let span = error_span!("record", messageId = message_id);
        let xray = event.context.xray_trace_id.clone();
        let is_last = is_last(&pipeline, receives);
        let record = Record { request, time, receives, is_first: index == 0, is_last, xray };
        let result = work_on(&pipeline, record).instrument(span).await;
        worked_on.push(WorkedOn { message_id, receipt, receives, failure: result.err() });
    }
    settle(&pipeline, hiding, &worked_on, time).await;
    answer(&worked_on, pipeline.settings().reports_failures)
}

fn is_last(pipeline: &Pipeline, receives: u32) -> bool {
    is_last_delivery(receives, pipeline.settings().max_receives)
}

/// One record of an invocation.
struct Record {
    request: Result<Request, Malformed>,
    time: InvocationTime,
    /// Number of the delivery, counted from 1.
    receives: u32,
    is_first: bool,
    /// Whether this is the last delivery of the message.
    is_last: bool,
    /// X-Ray's trace header.
    xray: Option<String>,
}

/// A record after the work on it.
struct WorkedOn {
    message_id: String,
    receipt: Option<Receipt>,
    receives: u32,
    failure: Option<Error>,
}

/// Starts to hide all messages until a little after the end of the invocation, beside the work on them.
fn hide_while_working(
    pipeline: &Arc<Pipeline>,
    deliveries: &[Delivery],
    time: InvocationTime,
) -> Option<JoinHandle<()>> {
    let left = time.end.left()?;
    let receipts: Vec<Receipt> = deliveries.iter().filter_map(|delivery| delivery.receipt.clone()).collect();
    let visibility = pipeline.visibility().clone();
    let hide = async move { visibility.hide_while_working(receipts, left).await };
    Some(tokio::spawn(hide.in_current_span()))
}

/// Tells the queue what it must know before the answer: when failed messages come back, and which messages are done if the
/// answer cannot say it.
async fn settle(pipeline: &Pipeline, hiding: Option<JoinHandle<()>>, worked_on: &[WorkedOn], time: InvocationTime) {
    let failed: Vec<FailedDelivery> = worked_on.iter().filter_map(WorkedOn::failed).collect();
    let hide = async {
        // the later call must arrive last
        match hiding {
            Some(hiding) if worked_on.iter().all(|record| record.failure.is_none()) => hiding.abort(),
            Some(hiding) => drop(tokio::time::timeout(time.left_to_settle(), hiding).await),
            None => {}
        }
        pipeline.visibility().hide_failed(failed, time.left_to_settle()).await;
    };
    let delete = async {
        let some_failed = worked_on.iter().any(|record| record.failure.is_some());
        if some_failed && !pipeline.settings().reports_failures {
            let done: Vec<Receipt> = worked_on.iter().filter_map(WorkedOn::done).collect();
            pipeline.delete(&done, time.left_to_settle()).await;
        }
    };
    tokio::join!(hide, delete);
}

impl WorkedOn {
    fn failed(&self) -> Option<FailedDelivery> {
        let retry_after = self.failure.as_ref()?.retry_after;
        Some(FailedDelivery { receipt: self.receipt.clone()?, receives: self.receives, retry_after })
    }

    fn done(&self) -> Option<Receipt> {
        self.receipt.clone().filter(|_| self.failure.is_none())
    }
}

/// Returns the answer: which records failed, or an error if the trigger would not read that.
fn answer(worked_on: &[WorkedOn], reports_failures: bool) -> Result<SqsBatchResponse, InvocationError> {
    let mut response = SqsBatchResponse::default();
    for record in worked_on.iter().filter(|record| record.failure.is_some()) {
        response.add_failure(record.message_id.clone());
    }
    let (failed, count) = (response.batch_item_failures.len(), worked_on.len());
    match failed {
        0 => Ok(response),
        _ if reports_failures => Ok(response),
        _ if failed == count => Err(InvocationError::EveryRecordFailed(count)),
        _ => Err(InvocationError::SomeRecordsFailed { failed, count }),
    }
}

/// Works on a record, from its message to its log line.
async fn work_on(pipeline: &Arc<Pipeline>, record: Record) -> Result<Status, Error> {
    let Record { request, time, receives, is_first, is_last, xray } = record;
    let request = match request {
        Ok(request) => request,
        Err(Malformed { error, named }) => {
            log::report_malformed(&error);
            if let Some(request) = named.filter(|_| is_last) {
                let trace = &Trace::new(&request, xray).of_delivery(receives);
                pipeline.report_last_failure(RequestContext::new(&request, time.work, trace)).await;
            }
            return Err(error);
        }
    };
    let span = error_span!("request", clip = request.clip_id, camera = request.camera_id);
    let trace = Arc::new(Trace::new(&request, xray).of_delivery(receives));
    let deadline = if is_last { time.last_work } else { time.work };
    // the first record is begun in any case: it will never get more time
    let needed = if is_first { Duration::from_nanos(1) } else { pipeline.estimate(&request) };
    let left = deadline.left();
    let is_begun = left.is_none_or(|left| left >= needed);
    let work = async {
        let cx = RequestContext::new(&request, time.work, &trace);
        if is_begun {
            let result = serve(pipeline, request.clone(), deadline, &trace).await;
            if is_last && result.is_err() {
                pipeline.report_last_failure(cx).await;
            }
            result
        } else {
            let at_least = format_args!("at least {} s to begin", needed.as_nanos().div_ceil(1_000_000_000));
            let got = format_args!("{} s", left.unwrap_or_default().as_secs());
            let reason = mismatch("time", at_least, got);
            if is_last {
                warn!(reason, "last delivery not begun, the message is sent again");
                pipeline.send_again(cx).await
            } else {
                Err(Error::transient(&request.clip_id, reason))
            }
        }
    };
    let result = work.instrument(span.clone()).await;
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
    let serve = async move { pipeline.serve(RequestContext::new(&request, deadline, &trace)).await };
    let mut task = tokio::spawn(serve.in_current_span());
    let left = deadline.left().unwrap_or(Duration::from_hours(24));
    let time_is_up = tokio::time::sleep(left);
    tokio::select! {
        joined = &mut task => joined.unwrap_or_else(|panic| Err(Error::transient(clip, panic))),
        () = time_is_up => {
            task.abort();
            // its processes and files go; the answer is out in time even if a computation does not stop
            let _ = tokio::time::timeout(ABORT_GRACE, task).await;
            let expected = format_args!("the end of the work within {:.0} s", left.as_secs_f64());
            Err(Error::transient(clip, mismatch("time", expected, "none; raise Timeout")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worked_on(failed: &[bool]) -> Vec<WorkedOn> {
        let record = |(index, failed): (usize, &bool)| WorkedOn {
            message_id: format!("message-{index}"),
            receipt: None,
            receives: 1,
            failure: failed.then(|| Error::transient("clip", "no")),
        };
        failed.iter().enumerate().map(record).collect()
    }

    #[test]
    fn the_invocation_fails_unless_the_trigger_reads_which_records_failed() {
        let named = |answer: Result<SqsBatchResponse, InvocationError>| {
            let failures = answer.map(|answer| answer.batch_item_failures)?;
            Ok(failures.into_iter().map(|failure| failure.item_identifier).collect::<Vec<_>>())
        };
        for (failed, expected) in [
            (&[][..], Ok(vec![])),
            (&[false], Ok(vec![])),
            (&[true], Err(InvocationError::EveryRecordFailed(1))),
            (&[true, true], Err(InvocationError::EveryRecordFailed(2))),
            (&[true, false, true], Err(InvocationError::SomeRecordsFailed { failed: 2, count: 3 })),
        ] {
            assert_eq!(named(answer(&worked_on(failed), false)), expected, "{failed:?}");
            let all = failed.iter().enumerate().filter(|(_, failed)| **failed);
            let all: Vec<String> = all.map(|(index, _)| format!("message-{index}")).collect();
            assert_eq!(named(answer(&worked_on(failed), true)), Ok(all), "{failed:?}, reported");
        }
    }
}
