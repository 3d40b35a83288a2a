//! The binary of the function in a process, fed by a Runtime API.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use testkit::runtime_api::{Invocation, Outcome, RuntimeApi};
use tokio::process::{Child, Command};

use crate::patience::in_time;

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// With an answer.
    Answered(Value),
    /// With an error that the runtime reported.
    Failed(Value),
    /// The process ended.
    Died,
    /// There was no answer before the deadline.
    TimedOut,
}

/// Memory of the function in MiB, as `make stack` sets it, unless a test sets another.
pub const MEMORY_MIB: u64 = 2048;

/// A process of the function. It is killed when this is dropped.
pub struct Function {
    child: Child,
    runtime: RuntimeApi,
}

/// Returns the binary under test: the one that `make` names, else the build of cargo.
pub fn binary() -> PathBuf {
    std::env::var_os("FUNCTION_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_cameras-service-generate-clip").into(), PathBuf::from)
}

impl Function {
    /// Starts the function with these variables, and with those that Lambda sets. If `launcher` is not empty, it is the
    /// command that starts the function. Log lines are added to the file `log`.
    pub async fn start(launcher: &[String], variables: &[(String, String)], log: &Path) -> Self {
        let runtime = RuntimeApi::start().await;
        let log = File::options().create(true).append(true).open(log).expect("a log");
        let words: Vec<OsString> = launcher.iter().map(OsString::from).chain([binary().into()]).collect();
        let child = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .envs(runtime.environment(MEMORY_MIB))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the function's binary");
        Self { child, runtime }
    }

    /// Returns the id of the process, or 0 if it has ended.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Invokes the function with `event`. The function is told that it must answer `within` that time, and is killed if
    /// it does not.
    pub async fn invoke(&mut self, event: &Value, within: Duration) -> Ended {
        let Some(Invocation { begun, ended }) = self.runtime.invoke(event, within).await else { return Ended::Died };
        let begun = tokio::select! {
            begun = in_time("the function takes an event", begun) => begun,
            _ = self.child.wait() => return Ended::Died,
        };
        let Ok(until) = begun.map(|begun| begun + within) else { return Ended::Died };
        tokio::select! {
            biased;
            outcome = ended => match outcome {
                Ok(Outcome::Answered(answer)) => Ended::Answered(answer),
                Ok(Outcome::Failed(error)) => Ended::Failed(error),
                Err(_) => Ended::Died,
            },
            _ = self.child.wait() => Ended::Died,
            () = tokio::time::sleep_until(until) => {
                self.end().await;
                Ended::TimedOut
            }
        }
    }

    /// Kills the process, as Lambda does.
    pub async fn end(&mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Waits until the process has ended, and returns whether it succeeded.
    pub async fn ended(&mut self) -> bool {
        in_time("the function ends", self.child.wait()).await.is_ok_and(|status| status.success())
    }
}

/// Returns the ids of the children of a process: ffmpeg, if any.
pub fn children(id: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Returns the resident memory of a process in KiB, or 0 if it has ended.
pub fn resident(id: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().expect("a number"))
}

/// Raises `most` to the resident memory of a process and its children, in KiB, every few milliseconds, until this is
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
