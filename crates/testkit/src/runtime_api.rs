//! Lambda's Runtime API for one process of the function (AWS Lambda Developer Guide, "Using the Lambda runtime API for
//! custom runtimes"). It hands events over one after the other, and tells how each invocation ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::http::{self, Message};

/// The X-Ray trace header of every event, unless its first record has one of its own (`AWSTraceHeader`).
pub const TRACE_HEADER: &str = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1";
/// The id of every invocation.
pub const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
/// The name of the function.
pub const FUNCTION_NAME: &str = "under-test";

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With an answer.
    Answered(Value),
    /// With an error that the runtime reported.
    Failed(Value),
}

/// An invocation that was handed to the API.
pub struct Invocation {
    /// Gets the instant at which the function took the event.
    pub begun: oneshot::Receiver<Instant>,
    /// Gets the end of the invocation.
    pub ended: oneshot::Receiver<Outcome>,
}

struct Event {
    body: String,
    within: Duration,
    begun: oneshot::Sender<Instant>,
    ended: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Events {
    waiting: Mutex<mpsc::Receiver<Event>>,
    current: Mutex<Option<oneshot::Sender<Outcome>>>,
}

/// A Runtime API. It ends when it is dropped.
#[derive(Debug)]
pub struct RuntimeApi {
    /// Host and port.
    pub address: String,
    events: mpsc::Sender<Event>,
    server: JoinHandle<()>,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event").field("within", &self.within).finish_non_exhaustive()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl RuntimeApi {
    /// Starts the API on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (events, waiting) = mpsc::channel(1);
        let shared = Arc::new(Events { waiting: Mutex::new(waiting), current: Mutex::new(None) });
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self { address, events, server }
    }

    /// Returns the variables that Lambda sets for a function with `memory_mib` of memory.
    #[must_use]
    pub fn environment(&self, memory_mib: u64) -> Vec<(String, String)> {
        [
            ("AWS_LAMBDA_RUNTIME_API", self.address.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", FUNCTION_NAME.to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mib.to_string()),
            ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "log".to_owned()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "log".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    /// Hands `event` to the function, which is told that it must answer `within` that time of taking it. Returns `None`
    /// if the API has ended.
    pub async fn invoke(&self, event: &Value, within: Duration) -> Option<Invocation> {
        let (begun, begins) = oneshot::channel();
        let (ended, ends) = oneshot::channel();
        self.events.send(Event { body: event.to_string(), within, begun, ended }).await.ok()?;
        Some(Invocation { begun: begins, ended: ends })
    }
}

async fn serve(connection: TcpStream, events: Arc<Events>) {
    let mut connection = BufReader::new(connection);
    while let Ok(Some(request)) = http::read(&mut connection, false).await {
        let answer = if request.path().ends_with("/invocation/next") {
            let Some(event) = events.waiting.lock().await.recv().await else { return };
            let Event { body: event, within, begun, ended } = event;
            *events.current.lock().await = Some(ended);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            let deadline_ms = (now + within).as_millis();
            let _ = begun.send(Instant::now());
            next_event(event, deadline_ms)
        } else {
            let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
            let failed = request.path().ends_with("/error");
            if let Some(ended) = events.current.lock().await.take() {
                let _ = ended.send(if failed { Outcome::Failed(body) } else { Outcome::Answered(body) });
            }
            Message::answer(202, "{}")
        };
        if http::write(&mut connection, &answer).await.is_err() {
            return;
        }
    }
}

fn next_event(body: String, deadline_ms: u128) -> Message {
    let event: Value = serde_json::from_str(&body).unwrap_or_default();
    let trace = event.pointer("/Records/0/attributes/AWSTraceHeader").and_then(Value::as_str);
    let trace = trace.unwrap_or(TRACE_HEADER).to_owned();
    let mut next = Message::answer(200, body);
    next.set("Lambda-Runtime-Aws-Request-Id", REQUEST_ID);
    next.set("Lambda-Runtime-Deadline-Ms", &deadline_ms.to_string());
    let arn = format!("arn:aws:lambda:us-west-1:000000000000:function:{FUNCTION_NAME}");
    next.set("Lambda-Runtime-Invoked-Function-Arn", &arn);
    next.set("Lambda-Runtime-Trace-Id", &trace);
    next.set("Content-Type", "application/json");
    next
}
