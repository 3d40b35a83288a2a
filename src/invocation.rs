//! An invocation: what its event is, and who answers it.

use std::sync::{Arc, Once};

use lambda_runtime::LambdaEvent;
use serde_json::Value;
use tracing::{Instrument, error_span, warn};

use crate::contract::self_check_table::asks_for_self_check;
use crate::handler::{InvocationError, handle};
use crate::invocation_time::InvocationTime;
use crate::pipeline::Pipeline;
use crate::self_check;
use crate::start_check::configured_size;
use crate::telemetry::metrics;

/// Answers an event: one of SQS, or `{"selfCheck": true}`.
///
/// # Errors
/// As [`handle`]. A self-check succeeds, whatever it finds.
pub async fn answer(pipeline: Arc<Pipeline>, event: LambdaEvent<Value>) -> Result<Value, InvocationError> {
    let time = InvocationTime::until(event.context.deadline);
    // at the level of errors, so that every line has the id of its invocation, whatever LOG_LEVEL says
    let span =
        error_span!("invocation", requestId = event.context.request_id, xrayTraceId = event.context.xray_trace_id);
    metrics::name_invocation(&event.context.request_id, event.context.xray_trace_id.as_deref());
    let answer = async {
        if asks_for_self_check(&event.payload) {
            let table = Box::pin(self_check::run(&pipeline, time)).await;
            return Ok(written(&table));
        }
        pipeline.learn_timeout(time.function_timeout());
        warn_of_timeout(&pipeline, time);
        handle(pipeline, event, time).await.map(|answer| written(&answer))
    };
    answer.instrument(span).await
}

fn written(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).expect("texts and numbers can be written as JSON")
}

/// Warns once if the function has too little time for the longest clip. Only an invocation knows its time.
fn warn_of_timeout(pipeline: &Pipeline, time: InvocationTime) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (settings, timeout) = (pipeline.settings(), time.function_timeout());
        let length_s = settings.limits.video_max_len_s;
        let told_at_start = configured_size(settings, None).shortfalls(length_s);
        let now = configured_size(settings, timeout).shortfalls(length_s);
        for warning in now.iter().filter(|warning| !told_at_start.contains(warning)) {
            warn!("{warning}");
        }
    });
}
