//! Runs ffmpeg: the only file that starts a process. Its exit code proves nothing; callers verify what it wrote.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::deadline::Deadline;
use crate::error::Error;

/// No run takes longer than that, deadline or not.
const LONGEST: Duration = Duration::from_mins(10);
/// A killed process is gone within a few milliseconds; one that hangs in the kernel is left to the runtime to reap.
const LONGEST_DEATH_MS: u32 = 500;
/// How much of what ffmpeg complains about is kept, in bytes.
const TAIL: usize = 2000;
/// The largest picture that is decoded: 8192 by 4320.
const MAX_PIXELS: &str = "35389440";

/// Decoders' threads: with two, what becomes of a damaged picture differs from one run to the next. Nor is one slower:
/// the proof runs two of them at once.
const THREADS: &str = "1";

/// The ffmpeg to run.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    path: PathBuf,
    /// What one process may take, in bytes.
    memory: Option<u64>,
}

/// A path as ffmpeg's `file` protocol takes it: never read as another protocol or an option.
#[must_use]
pub fn url(path: &Path) -> String {
    format!("file:{}", path.display())
}

impl Ffmpeg {
    /// The ffmpeg at `path`, each process of which may take up to `memory` bytes: on Lambda one that takes more than
    /// there is would end the function without a word.
    #[must_use]
    pub const fn new(path: PathBuf, memory: Option<u64>) -> Self {
        Self { path, memory }
    }

    /// A command that reads each of `inputs` as MP4 and nothing else: a text file of that name would have ffmpeg read
    /// others.
    #[must_use]
    pub fn reading(&self, inputs: &[&Path]) -> FfmpegCommand {
        let mut command = FfmpegCommand::new_with_path(&self.path);
        // times as they are: ffmpeg would count from the first that it reads
        command.hide_banner().overwrite().args(["-nostdin", "-loglevel", "error", "-copyts"]);
        for input in inputs {
            command
                .args(["-threads", THREADS, "-protocol_whitelist", "file", "-f", "mov", "-max_pixels", MAX_PIXELS])
                .arg("-noautorotate")
                .input(url(input));
        }
        command
    }

    /// Runs `command` to its end. `ffmpeg-sidecar` builds the command line; its own `wait` can hang, so the process is
    /// ours: an empty environment, a process group of its own, killed and reaped when time is up or nobody waits any more.
    ///
    /// # Errors
    /// Passing if it can't be started, is killed or time is up; unusable, about `object`, if it fails.
    pub async fn run(&self, command: FfmpegCommand, object: &str, deadline: Deadline) -> Result<(), Error> {
        let name = || self.path.display().to_string();
        let mut command: std::process::Command = command.into();
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let mut running = Running(command.spawn().map_err(|error| Error::passing(name(), error))?);
        if let (Some(memory), Some(id)) = (self.memory, running.id()) {
            let limit = Rlimit { current: Some(memory), maximum: Some(memory) };
            // one that has ended already needs no limit
            let _ = prlimit(Some(id), Resource::As, limit);
        }
        let mut complaints = Vec::new();
        let stderr = running.0.stderr.take();
        let finished = async {
            if let Some(mut stderr) = stderr {
                let mut part = [0; 4096];
                while let Ok(length @ 1..) = stderr.read(&mut part).await {
                    if complaints.len() < TAIL {
                        complaints.extend_from_slice(&part[..length.min(TAIL - complaints.len())]);
                    }
                }
            }
            running.0.wait().await
        };
        let limit = deadline.left().unwrap_or(LONGEST).min(LONGEST);
        let Ok(status) = tokio::time::timeout(limit, finished).await else {
            return Err(Error::passing(object, format_args!("ffmpeg was not done within {} ms", limit.as_millis())));
        };
        let status = status.map_err(|error| Error::passing(name(), error))?;
        let complaints = String::from_utf8_lossy(&complaints);
        let failed = format_args!("ffmpeg: {status}: {}", complaints.trim());
        match status.signal() {
            _ if status.success() => Ok(()),
            // by the kernel for want of memory, or by a person: the footage has no part in it
            Some(signal) if signal == Signal::KILL.as_raw() => Err(Error::passing(object, failed)),
            _ => Err(Error::unusable(object, failed)),
        }
    }
}

/// A process that does not outlive those who wait for it: what is dropped is dead and reaped, so that its files can go.
struct Running(Child);

impl Running {
    /// Its id, and that of its process group; none once it has been reaped.
    fn id(&self) -> Option<Pid> {
        self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(group) = self.id() else { return };
        let _ = kill_process_group(group, Signal::KILL);
        for _ in 0..LONGEST_DEATH_MS {
            match self.0.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
    }
}
