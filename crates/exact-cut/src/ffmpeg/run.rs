//! Runs ffmpeg. No other file starts a process.
//!
//! `ffmpeg-sidecar` builds the command line, but its own `iter()` and `wait()` can hang for ever and never kill the child.
//! So the process is started here: with an empty environment, in a process group of its own, killed and reaped when the
//! time is up or nobody waits any more.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::deadline::{Deadline, TimedOut};

/// The longest run, whatever the deadline.
const MAX_RUN: Duration = Duration::from_mins(10);
/// A killed process ends within a few milliseconds. One that hangs in the kernel longer than this is left to the runtime.
const MAX_REAP_MS: u32 = 500;
/// Bytes of ffmpeg's messages that are kept.
const MAX_MESSAGES: usize = 2000;

/// An ffmpeg binary, and the memory that one process of it may take.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    path: PathBuf,
    memory: Option<u64>,
}

/// ffmpeg did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum FfmpegError {
    /// The process could not be started or waited for.
    #[error("cannot run {path}: {source}", path = path.display())]
    Start {
        /// The binary.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The process was killed: by the kernel for want of memory, or by a person.
    #[error("ffmpeg was killed: {status}: {messages}")]
    Killed {
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
    /// The process did not end in time.
    #[error("ffmpeg did not finish within {} ms", .0.after.as_millis())]
    TimedOut(#[from] TimedOut),
    /// The process reported a failure.
    #[error("ffmpeg failed: {status}: {messages}")]
    Failed {
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
}

impl FfmpegError {
    /// Returns whether the footage is taken to be the reason.
    #[must_use]
    pub const fn is_footage(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

impl Ffmpeg {
    /// Returns the ffmpeg at `path`. Each process may take up to `memory` bytes of address space: on Lambda, a process that
    /// takes more than there is ends the function without a word.
    #[must_use]
    pub const fn new(path: PathBuf, memory: Option<u64>) -> Self {
        Self { path, memory }
    }

    /// Returns the path of the binary.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// [`FfmpegError`] unless the process succeeds.
    pub async fn run(&self, command: FfmpegCommand, deadline: Deadline) -> Result<(), FfmpegError> {
        let cannot_run = |source| FfmpegError::Start { path: self.path.clone(), source };
        let mut command: std::process::Command = command.into();
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let mut process = Process(command.spawn().map_err(cannot_run)?);
        if let (Some(memory), Some(id)) = (self.memory, process.id()) {
            let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
            // a process that has ended already needs no limit
            let _ = prlimit(Some(id), Resource::As, limit);
        }
        let mut messages = Vec::new();
        let stderr = process.0.stderr.take();
        let finished = async {
            if let Some(mut stderr) = stderr {
                let mut part = vec![0; 4096];
                while let Ok(length @ 1..) = stderr.read(&mut part).await {
                    if messages.len() < MAX_MESSAGES {
                        messages.extend_from_slice(&part[..length.min(MAX_MESSAGES - messages.len())]);
                    }
                }
            }
            process.0.wait().await
        };
        let after = deadline.left().unwrap_or(MAX_RUN).min(MAX_RUN);
        let status =
            tokio::time::timeout(after, finished).await.map_err(|_| TimedOut { after })?.map_err(cannot_run)?;
        let messages = String::from_utf8_lossy(&messages).trim().to_owned();
        match status.signal() {
            _ if status.success() => Ok(()),
            Some(signal) if signal == Signal::KILL.as_raw() => Err(FfmpegError::Killed { status, messages }),
            _ => Err(FfmpegError::Failed { status, messages }),
        }
    }
}

/// A process that ends with its owner: when it is dropped it is killed and reaped, so that its files can be removed.
struct Process(Child);

impl Process {
    /// Returns the id of the process, which is also that of its group, or `None` once it was reaped.
    fn id(&self) -> Option<Pid> {
        self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(group) = self.id() else { return };
        let _ = kill_process_group(group, Signal::KILL);
        for _ in 0..MAX_REAP_MS {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
    }
}
