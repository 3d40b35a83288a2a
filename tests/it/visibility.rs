//! Calls that hide messages (docs/contract.md, "Failed records"), seen by the queue.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::camera_api::CameraApi;

use crate::stack::{Stack, record};

/// Delivers a message that cannot be read, and returns the calls that hide it.
async fn hides(left: Option<Duration>) -> Vec<Value> {
    let (stack, queue) = (Stack::start().await, CameraApi::start().await);
    let mut unreadable = record("a", &json!("rubbish"), 0);
    unreadable["receiptHandle"] = "handle".into();
    unreadable["eventSourceARN"] = "arn:aws:sqs:us-west-1:000000000000:requests".into();
    let function = stack.function_through(&queue.url, &[]);
    function.invoke_within(json!({"Records": [unreadable]}), left).await.expect_err("the record fails");
    queue.calls().into_iter().map(|call| call.body).filter(|body| body["Entries"].is_array()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_hidden_at_the_start_where_the_deadline_is_not_known() {
    let seconds = |calls: Vec<Value>| -> Vec<i64> {
        calls.iter().map(|call| call["Entries"][0]["VisibilityTimeout"].as_i64().expect("seconds")).collect()
    };
    let known = seconds(hides(Some(Duration::from_mins(1))).await);
    assert!(matches!(known[..], [89..=90, 15..=18]), "what is left and 30 s, then the wait: {known:?}");
    let unknown = seconds(hides(None).await);
    assert!(matches!(unknown[..], [15..=18]), "only the wait: {unknown:?}");
}
