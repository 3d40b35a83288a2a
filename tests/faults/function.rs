//! The function's own binary in a process, and the Runtime API that feeds it (AWS Lambda Developer Guide, "Using the
//! Lambda runtime API for custom runtimes").

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::Instant;

use crate::http::{self, Message};

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With an answer.
    Answered(Value),
    /// With an error, as the runtime reports it.
    Failed(Value),
    /// The process is no more.
    Died,
    /// There was no answer before the deadline.
    TimedOut,
}

struct Invocation {
    event: String,
    within: Duration,
    /// Told once the function has taken it: its time begins then, however long the start took.
    begun: oneshot::Sender<Instant>,
    ended: oneshot::Sender<Ended>,
}

/// The function's memory, unless a test says otherwise: what `make stack` gives it.
pub const MEMORY_MIB: u64 = 2048;
/// No start takes longer.
const LONGEST_START: Duration = Duration::from_mins(1);

/// A process of the function. Killed when dropped.
pub struct Function {
    child: Child,
    events: mpsc::Sender<Invocation>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The binary under test: the one that `make` names, else the one that cargo has built for the tests.
pub fn binary() -> PathBuf {
    std::env::var_os("FUNCTION_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_cameras-service-generate-clip").into(), PathBuf::from)
}

impl Function {
    /// Starts it, by `launcher` if that is not empty, with these variables and no others. What it logs is added to `log`.
    pub async fn start(launcher: &[String], variables: &[(String, String)], log: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (events, received) = mpsc::channel(1);
        let shared = Arc::new((Mutex::new(received), Mutex::new(None)));
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(runtime_api(connection, Arc::clone(&shared)));
            }
        });
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let words: Vec<OsString> = launcher.iter().map(OsString::from).chain([binary().into()]).collect();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .envs([("AWS_LAMBDA_FUNCTION_NAME", "under-test"), ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")])
            .envs([("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &*MEMORY_MIB.to_string()), ("AWS_LAMBDA_LOG_FORMAT", "JSON")])
            .envs([("AWS_LAMBDA_LOG_GROUP_NAME", "log"), ("AWS_LAMBDA_LOG_STREAM_NAME", "log")])
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the function's binary");
        Self { child, events, server }
    }

    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Invokes it with `event`; what it has to answer within is told to it, and kept to.
    pub async fn invoke(&mut self, event: &Value, within: Duration) -> Ended {
        let (begun, begins) = oneshot::channel();
        let (ended, answer) = oneshot::channel();
        let invocation = Invocation { event: event.to_string(), within, begun, ended };
        if self.events.send(invocation).await.is_err() {
            return Ended::Died;
        }
        let begun = tokio::select! {
            begun = tokio::time::timeout(LONGEST_START, begins) => begun.expect("it starts"),
            _ = self.child.wait() => return Ended::Died,
        };
        let Ok(until) = begun.map(|begun| begun + within) else { return Ended::Died };
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or(Ended::Died),
            _ = self.child.wait() => Ended::Died,
            () = tokio::time::sleep_until(until) => {
                self.end().await;
                Ended::TimedOut
            }
        }
    }

    /// Kills it, as Lambda does.
    pub async fn end(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Waits until it has ended by itself; tells whether in good order.
    pub async fn ended(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }
}

/// The living children of a process: ffmpeg, if any.
pub fn children(id: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// What of a process's memory is resident, in KiB; nothing once it has ended.
pub fn resident(id: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().expect("a number"))
}

/// The most that a process and its children have resident together, in KiB, looked at every few milliseconds until this is
/// aborted or the process has ended.
pub async fn watch_memory(id: u32, most: Arc<AtomicU64>) {
    let mut moments = tokio::time::interval(Duration::from_millis(5));
    loop {
        moments.tick().await;
        let own = resident(&id.to_string());
        let all = own + children(id).iter().map(|child| resident(child)).sum::<u64>();
        most.fetch_max(all, Ordering::Relaxed);
        if own == 0 {
            return;
        }
    }
}

/// What is to come, and who waits for the end of what is under way.
type Invocations = (Mutex<mpsc::Receiver<Invocation>>, Mutex<Option<oneshot::Sender<Ended>>>);

async fn runtime_api(connection: TcpStream, invocations: Arc<Invocations>) {
    let (events, under_way) = &*invocations;
    let mut connection = BufReader::new(connection);
    while let Ok(Some(request)) = http::read(&mut connection, false).await {
        let answer = if request.path().ends_with("/invocation/next") {
            let Some(invocation) = events.lock().await.recv().await else { return };
            *under_way.lock().await = Some(invocation.ended);
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
            let deadline_ms = (now + invocation.within).as_millis();
            let _ = invocation.begun.send(Instant::now());
            let mut next = Message::answer(200, invocation.event);
            next.set("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd");
            next.set("Lambda-Runtime-Deadline-Ms", &deadline_ms.to_string());
            next.set(
                "Lambda-Runtime-Invoked-Function-Arn",
                "arn:aws:lambda:us-west-1:000000000000:function:under-test",
            );
            next.set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
            next.set("Content-Type", "application/json");
            next
        } else {
            let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
            let failed = request.path().ends_with("/error");
            if let Some(ended) = under_way.lock().await.take() {
                let _ = ended.send(if failed { Ended::Failed(body) } else { Ended::Answered(body) });
            }
            Message::answer(202, "{}")
        };
        if http::write(&mut connection, &answer).await.is_err() {
            return;
        }
    }
}
