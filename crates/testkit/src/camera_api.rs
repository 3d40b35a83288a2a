//! A camera API that answers as a test tells it, over a real socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::http::{self, Message};

/// An answer on the wire.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A whole answer.
    Whole { status: u16, headers: Vec<(String, String)>, body: Vec<u8> },
    /// The connection is closed without an answer.
    Broken,
    /// The answer claims more bytes than it has.
    CutShort,
    /// There is no answer.
    Silent,
}

impl Answer {
    #[must_use]
    pub fn json(body: &Value) -> Self {
        Self::text(&body.to_string())
    }

    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Whole { status: 200, headers: Vec::new(), body: text.as_bytes().to_vec() }
    }

    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Whole { status, headers: Vec::new(), body: b"{}".to_vec() }
    }

    #[must_use]
    pub fn redirect(to: &str) -> Self {
        let headers = vec![("Location".to_owned(), to.to_owned())];
        Self::Whole { status: 302, headers, body: Vec::new() }
    }
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub body: Value,
    /// X-Ray's trace header.
    pub trace: Option<String>,
}

#[derive(Default)]
struct State {
    /// Answers to a method and a path without query, the next one last. The last answer stays.
    answers: HashMap<String, Vec<Answer>>,
    calls: Vec<Call>,
    connections: usize,
}

/// The server. It ends with the runtime of the test.
#[derive(Clone)]
pub struct CameraApi {
    /// Base URL.
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl CameraApi {
    /// Starts a camera API that knows no camera and accepts every PUT.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::<Mutex<State>>::default();
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                served.lock().expect("not poisoned").connections += 1;
                tokio::spawn(serve(connection, Arc::clone(&served)));
            }
        });
        Self { url, state }
    }

    /// From now on answers `call`, such as `GET /cameras/1`, with `answers` in turn. The last answer stays.
    ///
    /// # Panics
    /// If an earlier use panicked.
    pub fn answers(&self, call: &str, answers: impl IntoIterator<Item = Answer>) {
        let mut answers: Vec<Answer> = answers.into_iter().collect();
        answers.reverse();
        self.state.lock().expect("not poisoned").answers.insert(call.to_owned(), answers);
    }

    /// Adds a camera with these recordings.
    pub fn camera(&self, id: &str, recordings: &Value) {
        self.answers(&format!("GET /cameras/{id}"), [Answer::json(&json!({"alias": "test", "name": "Test"}))]);
        self.answers("GET /cameras/recording/test", [Answer::json(recordings)]);
    }

    /// Returns all calls so far.
    ///
    /// # Panics
    /// If an earlier use panicked.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().expect("not poisoned").calls.clone()
    }

    /// Returns the number of connections so far.
    ///
    /// # Panics
    /// If an earlier use panicked.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.lock().expect("not poisoned").connections
    }

    /// Returns the statuses that were PUT, in order.
    #[must_use]
    pub fn statuses(&self) -> Vec<String> {
        self.puts().iter().map(|put| put["status"].as_str().unwrap_or("none").to_owned()).collect()
    }

    /// Returns the bodies that were PUT, in order.
    #[must_use]
    pub fn puts(&self) -> Vec<Value> {
        self.calls().into_iter().filter(|call| call.method == "PUT").map(|call| call.body).collect()
    }
}

async fn serve(connection: TcpStream, state: Arc<Mutex<State>>) {
    let mut connection = BufReader::new(connection);
    while let Ok(Some(request)) = http::read(&mut connection, false).await {
        let answer = {
            let mut state = state.lock().expect("not poisoned");
            state.calls.push(Call {
                method: request.method().to_owned(),
                path: request.target().to_owned(),
                body: serde_json::from_slice(&request.body).unwrap_or_default(),
                trace: request.header("x-amzn-trace-id").map(str::to_owned),
            });
            match state.answers.get_mut(&format!("{} {}", request.method(), request.path())) {
                Some(answers) if answers.len() > 1 => answers.pop(),
                Some(answers) => answers.last().cloned(),
                None if request.method() == "PUT" => Some(Answer::status(200)),
                None => Some(Answer::status(404)),
            }
        };
        match answer.unwrap_or(Answer::Broken) {
            Answer::Broken => return,
            Answer::Silent => std::future::pending().await,
            Answer::CutShort => {
                let _ = connection.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n[{").await;
                return;
            }
            Answer::Whole { status, headers, body } => {
                let mut answer = Message::answer(status, body);
                for (name, value) in &headers {
                    answer.set(name, value);
                }
                if http::write(&mut connection, &answer).await.is_err() {
                    return;
                }
            }
        }
    }
}
