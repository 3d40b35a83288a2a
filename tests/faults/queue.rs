//! SQS and its event source mapping, by AWS's documented rules, on a clock that the tests move (AWS Lambda Developer
//! Guide, "Handling errors for an SQS event source in Lambda"; SQS Developer Guide, "Visibility timeout", "Dead-letter
//! queues").
//!
//! Lambda follows chains of messages by the trace header that a function sends on, and stops a chain after about 16
//! invocations unless the function's `RecursiveLoop` is `Allow` (AWS Lambda Developer Guide, "Use Lambda recursive loop
//! detection to prevent infinite loops"). The settings are those of the stack.

use serde_json::{Value, json};
use testkit::stack_template::STACK;

use crate::function::Ended;

/// Invocations of a chain before Lambda stops it.
const MAX_CHAIN: u32 = 16;
/// The part of a trace header that counts the invocations of a chain.
const LINEAGE: &str = "Lineage=1:5bef4de7:";

/// A message.
#[derive(Clone, Debug)]
pub struct Entry {
    pub id: String,
    pub body: String,
    sent_ms: i64,
    visible_ms: i64,
    receives: u32,
    /// Invocations of its chain before it.
    chain: u32,
}

impl Entry {
    /// Returns the id of the requested clip.
    pub fn clip(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["clipId"].as_str().unwrap_or_default().to_owned()
    }

    /// Returns the handle of this delivery.
    pub fn handle(&self) -> String {
        format!("receipt-{}-of-{}", self.receives, self.id)
    }
}

/// A queue with its dead-letter queue.
#[derive(Debug)]
pub struct Queue {
    pub now_ms: i64,
    pub dead: Vec<Entry>,
    entries: Vec<Entry>,
    most_receives: u32,
    sent: u32,
    /// Whether the trigger reads which records failed (`ReportBatchItemFailures`).
    pub reports: bool,
    /// Whether Lambda lets chains go on for ever.
    pub allows_loops: bool,
}

impl Queue {
    pub fn new(now_ms: i64, most_receives: u32) -> Self {
        let allows_loops = STACK.allows_loops;
        Self { now_ms, dead: Vec::new(), entries: Vec::new(), most_receives, sent: 0, reports: true, allows_loops }
    }

    /// Sends the message of a client, which begins a chain.
    pub fn send(&mut self, body: &str, delay_s: i64) {
        self.send_on(body, delay_s, None);
    }

    /// Sends the message of a function with the trace header that came with it, which continues the chain of its
    /// invocation.
    pub fn send_on(&mut self, body: &str, delay_s: i64, trace: Option<&str>) {
        self.sent += 1;
        let id = format!("message-{}", self.sent);
        let visible_ms = self.now_ms + delay_s * 1000;
        let chain = trace.and_then(|trace| trace.split_once(LINEAGE)?.1.split(';').next()?.parse().ok()).unwrap_or(0);
        self.entries.push(Entry { id, body: body.to_owned(), sent_ms: self.now_ms, visible_ms, receives: 0, chain });
    }

    /// Receives up to `count` messages. Moves the clock to the instant at which one is visible. Returns an empty list
    /// if the queue is empty.
    pub fn receive(&mut self, count: usize) -> Vec<Entry> {
        let visibility_ms = i64::try_from(STACK.visibility.as_millis()).expect("12 h at most");
        while let Some(next) = self.entries.iter().map(|entry| entry.visible_ms).min() {
            self.now_ms = self.now_ms.max(next);
            let mut taken = Vec::new();
            for mut entry in std::mem::take(&mut self.entries) {
                if entry.visible_ms > self.now_ms || taken.len() == count {
                    self.entries.push(entry);
                } else if entry.receives == self.most_receives || !self.allows_loops && entry.chain >= MAX_CHAIN {
                    // without a dead-letter queue, Lambda drops the messages of a chain that it stops
                    self.dead.push(entry);
                } else {
                    entry.receives += 1;
                    entry.visible_ms = self.now_ms + visibility_ms;
                    taken.push(entry.clone());
                    self.entries.push(entry);
                }
            }
            if !taken.is_empty() {
                return taken;
            }
        }
        Vec::new()
    }

    /// Returns whether the queue delivers one of the `taken` messages no more.
    pub fn is_last_delivery(&self, taken: &[Entry]) -> bool {
        taken.iter().any(|entry| entry.receives >= self.most_receives)
    }

    /// Hides the message of a delivery for some seconds from now.
    pub fn hide(&mut self, handle: &str, seconds: i64) {
        let now_ms = self.now_ms;
        let hidden = self.entries.iter_mut().filter(|entry| entry.handle() == handle);
        hidden.for_each(|entry| entry.visible_ms = now_ms + seconds * 1000);
    }

    /// Deletes the message of a delivery, and returns it.
    pub fn delete(&mut self, handle: &str) -> Option<Entry> {
        let index = self.entries.iter().position(|entry| entry.handle() == handle)?;
        Some(self.entries.swap_remove(index))
    }

    /// Deletes the successful ones of the `taken` messages, and returns them.
    pub fn settle(&mut self, taken: &[Entry], ended: &Ended) -> Vec<Entry> {
        self.now_ms += 1000;
        let kept = match ended {
            Ended::Answered(_) if !self.reports => Vec::new(),
            ended => failures(taken, ended),
        };
        let done: Vec<Entry> = taken.iter().filter(|entry| !kept.contains(&entry.id)).cloned().collect();
        self.entries.retain(|entry| done.iter().all(|done| done.id != entry.id));
        done
    }
}

/// Returns which of the `taken` messages stay in the queue: all, if the answer has another form or names an unknown
/// message.
fn failures(taken: &[Entry], ended: &Ended) -> Vec<String> {
    let all = || taken.iter().map(|entry| entry.id.clone()).collect();
    let Ended::Answered(answer) = ended else { return all() };
    match answer.get("batchItemFailures") {
        None | Some(Value::Null) if answer.is_null() || answer.is_object() => Vec::new(),
        Some(Value::Array(failures)) => {
            let ids: Option<Vec<String>> = failures
                .iter()
                .map(|failure| failure["itemIdentifier"].as_str().filter(|id| !id.is_empty()).map(str::to_owned))
                .collect();
            let known = |ids: &Vec<String>| ids.iter().all(|id| taken.iter().any(|entry| entry.id == *id));
            ids.filter(known).unwrap_or_else(all)
        }
        _ => all(),
    }
}

/// Returns the event with the `taken` messages.
pub fn event(taken: &[Entry]) -> Value {
    let record = |entry: &Entry| {
        json!({
            "messageId": entry.id, "receiptHandle": entry.handle(), "body": entry.body,
            "attributes": {
                "ApproximateReceiveCount": entry.receives.to_string(), "SentTimestamp": entry.sent_ms.to_string(),
                "SenderId": "AIDAIENQZJOLO23YVJ4VO", "ApproximateFirstReceiveTimestamp": entry.sent_ms.to_string(),
                "AWSTraceHeader": format!("Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;{LINEAGE}{}", entry.chain + 1),
            },
            "messageAttributes": {}, "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-west-1:000000000000:requests", "awsRegion": "us-west-1",
        })
    };
    json!({"Records": taken.iter().map(record).collect::<Vec<_>>()})
}

#[test]
fn a_message_is_deleted_only_if_it_was_done() {
    let mut queue = Queue::new(0, 3);
    for _ in 0..3 {
        queue.send("{}", 0);
    }
    let answers = [
        (Ended::Died, 0),
        (Ended::Failed(json!({"errorMessage": "no"})), 0),
        (Ended::Answered(json!({"batchItemFailures": [{"itemIdentifier": "message-2"}]})), 2),
    ];
    for (ended, done) in answers {
        let taken = queue.receive(10);
        assert_eq!(taken.len(), 3, "all are in sight again after {} ms", queue.now_ms);
        assert_eq!(queue.settle(&taken, &ended).len(), done, "{ended:?}");
    }
    assert_eq!(queue.receive(10).len(), 0);
    let dead: Vec<&str> = queue.dead.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(dead, ["message-2"], "received {} times", queue.most_receives);
}

#[test]
fn an_answer_that_aws_does_not_understand_keeps_all() {
    let mut queue = Queue::new(0, 9);
    queue.send("{}", 0);
    let odd =
        [json!({"batchItemFailures": [{"itemIdentifier": "other"}]}), json!({"batchItemFailures": [{}]}), json!("x")];
    for answer in odd {
        let taken = queue.receive(10);
        assert_eq!(queue.settle(&taken, &Ended::Answered(answer.clone())).len(), 0, "{answer}");
    }
    let taken = queue.receive(10);
    assert_eq!(queue.settle(&taken, &Ended::Answered(Value::Null)).len(), 1, "null is success");
}
