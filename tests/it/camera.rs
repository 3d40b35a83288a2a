//! A camera API that answers what a test tells it to, over a real socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// An answer on the wire.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A whole one.
    Whole { status: u16, headers: Vec<String>, body: Vec<u8> },
    /// The connection is closed without one.
    Broken,
    /// Says it is longer than it is.
    CutShort,
    /// Never comes.
    Silent,
}

impl Answer {
    pub fn json(body: &Value) -> Self {
        Self::Whole { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    pub fn text(text: &str) -> Self {
        Self::Whole { status: 200, headers: Vec::new(), body: text.as_bytes().to_vec() }
    }

    pub fn status(status: u16) -> Self {
        Self::Whole { status, headers: Vec::new(), body: b"{}".to_vec() }
    }

    pub fn redirect(to: &str) -> Self {
        Self::Whole { status: 302, headers: vec![format!("Location: {to}")], body: Vec::new() }
    }
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub body: Value,
    /// X-Ray's trace header.
    pub trace: Option<String>,
}

#[derive(Default)]
struct State {
    /// What is answered to a method and a path (without query): the last answer stays.
    answers: HashMap<String, Vec<Answer>>,
    calls: Vec<Call>,
}

/// The server. Ends with the test's runtime.
#[derive(Clone)]
pub struct CameraApi {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl CameraApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let state = Arc::<Mutex<State>>::default();
        let served = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&served)));
            }
        });
        Self { url, state }
    }

    /// From now on `method path` is answered by `answers`, one after the other, the last one for ever.
    pub fn answers(&self, call: &str, answers: impl IntoIterator<Item = Answer>) {
        let mut answers: Vec<Answer> = answers.into_iter().collect();
        answers.reverse();
        self.state.lock().expect("not poisoned").answers.insert(call.to_owned(), answers);
    }

    /// A camera called `id` with these recordings.
    pub fn camera(&self, id: &str, recordings: &Value) {
        self.answers(&format!("GET /cameras/{id}"), [Answer::json(&json!({"alias": "test", "name": "Test"}))]);
        self.answers("GET /cameras/recording/test", [Answer::json(recordings)]);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().expect("not poisoned").calls.clone()
    }

    /// The statuses that were PUT, in order.
    pub fn statuses(&self) -> Vec<String> {
        self.puts().iter().map(|put| put["status"].as_str().unwrap_or("none").to_owned()).collect()
    }

    pub fn puts(&self) -> Vec<Value> {
        self.calls().into_iter().filter(|call| call.method == "PUT").map(|call| call.body).collect()
    }
}

async fn serve(connection: TcpStream, state: Arc<Mutex<State>>) {
    let mut connection = BufReader::new(connection);
    while let Some(call) = read(&mut connection).await {
        let answer = {
            let mut state = state.lock().expect("not poisoned");
            state.calls.push(call.clone());
            let path = call.path.split('?').next().unwrap_or_default();
            match state.answers.get_mut(&format!("{} {path}", call.method)) {
                Some(answers) if answers.len() > 1 => answers.pop(),
                Some(answers) => answers.last().cloned(),
                None if call.method == "PUT" => Some(Answer::status(200)),
                None => Some(Answer::status(404)),
            }
        };
        let (head, body) = match answer.unwrap_or(Answer::Broken) {
            Answer::Broken => return,
            Answer::Silent => std::future::pending().await,
            Answer::CutShort => ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n".to_owned(), b"[{".to_vec()),
            Answer::Whole { status, headers, body } => {
                let head = [format!("HTTP/1.1 {status} X"), format!("Content-Length: {}", body.len())];
                ([&head[..], &headers, &[String::new(), String::new()]].concat().join("\r\n"), body)
            }
        };
        let answered = connection.get_mut().write_all(&[head.as_bytes(), &body].concat()).await;
        if answered.is_err() || body == b"[{" {
            return;
        }
    }
}

async fn read(connection: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut line = String::new();
    connection.read_line(&mut line).await.ok().filter(|&length| length > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut trace) = (0, None);
    loop {
        let mut header = String::new();
        connection.read_line(&mut header).await.ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        match header.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("x-amzn-trace-id") => {
                trace = Some(value.trim().to_owned());
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    Some(Call { method, path, body: serde_json::from_slice(&body).unwrap_or_default(), trace })
}
