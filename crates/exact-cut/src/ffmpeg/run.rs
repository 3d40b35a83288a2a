//! Runs ffmpeg. No other file starts a process.
//!
//! `ffmpeg-sidecar` builds the command line, but its own `iter()` and `wait()` can hang for ever and never kill the child.
//! So the process is started here: in a process group of its own, limited and isolated by a launcher of ours, killed and
//! reaped when the time is up or nobody waits any more. Its environment is empty but for variables of glibc (see
//! `ENVIRONMENT`).

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::deadline::{Deadline, TimedOut};
use crate::ffmpeg::failure::{FfmpegError, MAX_RUN, Messages};
use crate::ffmpeg::launcher::{LAUNCH, Limits, REFUSED};
use crate::ffmpeg::memory::Memory;

/// A killed process ends within a few milliseconds. One that hangs in the kernel longer than this is left to the runtime.
const MAX_REAP_MS: u32 = 500;
/// How glibc allocates memory for ffmpeg ("The GNU C Library", "Memory Allocation Tunables", and mallopt(3)).
///
/// One arena for all threads: each of its own would reserve 64 MiB of address space and keep what was freed. Pictures come
/// from the heap, which keeps what was freed for the next ones: otherwise, much of a short run is page faults. Alone on two
/// cores, the four runs for the clip of `make bench` (edge, thumbnails, two for verification) take 953 ms of processor time in
/// place of 997, and at most 72 MB in place of 66 (measured without `MALLOC_TOP_PAD_`).
const ENVIRONMENT: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "33554432"), // the most that glibc accepts
    ("MALLOC_TRIM_THRESHOLD_", "268435456"),
    ("MALLOC_TOP_PAD_", "8388608"),
];
/// Has glibc fill what it allocates with zeros: the value is what freed memory is filled with, and its complement what is
/// allocated. A tenth more time.
const ZEROED: (&str, &str) = ("MALLOC_PERTURB_", "255");
/// What an ffmpeg writes that has no loopback decoders.
const NO_LOOPBACK: &str = "Unrecognized option 'dec'";

/// An ffmpeg binary, and what its processes may do. Clones share it.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    path: PathBuf,
    memory: Option<Memory>,
    launcher: Option<PathBuf>,
    not_isolated: Arc<OnceLock<String>>,
    lacks_loopback: Arc<AtomicBool>,
    zeroes_memory: Arc<AtomicBool>,
}

impl Ffmpeg {
    /// Returns the ffmpeg at `path`. Its processes take no more than `memory`: on Lambda, a process that takes more than there
    /// is ends the function without a word. Only with a launcher ([`Self::launched_by`]) does the kernel see to that.
    #[must_use]
    pub fn new(path: PathBuf, memory: Option<Memory>) -> Self {
        Self {
            path,
            memory,
            launcher: None,
            not_isolated: Arc::default(),
            lacks_loopback: Arc::default(),
            zeroes_memory: Arc::default(),
        }
    }

    /// Has the processes started by `launcher`, a program that calls [`launch`](super::launcher::launch), which limits and
    /// isolates them.
    #[must_use]
    pub fn launched_by(self, launcher: PathBuf) -> Self {
        Self { launcher: Some(launcher), ..self }
    }

    /// Returns what the kernel has refused of the isolation, in the first run that told, or `None` if it has refused nothing.
    #[must_use]
    pub fn not_isolated(&self) -> Option<&str> {
        self.not_isolated.get().map(String::as_str)
    }

    /// Returns whether a run has failed because this ffmpeg cannot decode what it encodes in the same run: it is older than
    /// 7.0 (ffmpeg's Changelog, "loopback decoders").
    #[must_use]
    pub fn lacks_loopback(&self) -> bool {
        self.lacks_loopback.load(Ordering::Relaxed)
    }

    /// Returns the same ffmpeg for one request: what the request asks for ([`Self::zero_memory`]) ends with it.
    #[must_use]
    pub fn for_one_request(&self) -> Self {
        Self { zeroes_memory: Arc::default(), ..self.clone() }
    }

    /// From now on has every run begin with memory of zeros, and returns whether it did not before. What a decoder never
    /// writes of a damaged picture is otherwise what the memory held, and comes out differently each time.
    #[must_use]
    pub fn zero_memory(&self) -> bool {
        !self.zeroes_memory.swap(true, Ordering::Relaxed)
    }

    /// Returns the path of the binary.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the bytes of memory that its processes may take, if that is limited.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.memory.as_ref().map(|memory| memory.bytes)
    }

    /// Runs `command` to its end, once the bytes of memory that it `takes` are free.
    ///
    /// # Errors
    /// [`FfmpegError`] unless the process succeeds.
    pub async fn run(&self, command: FfmpegCommand, takes: u64, deadline: Deadline) -> Result<(), FfmpegError> {
        let cannot_run = |source| FfmpegError::Start { path: self.path.clone(), source };
        let _reserved = match &self.memory {
            Some(memory) => memory.reserve(takes).await,
            None => None,
        };
        let after = deadline.left().unwrap_or(MAX_RUN).min(MAX_RUN);
        let mut command = self.launched(command.into(), after);
        command
            .env_clear()
            .envs(ENVIRONMENT)
            .envs(self.zeroes_memory.load(Ordering::Relaxed).then_some(ZEROED))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let mut process = Process(command.spawn().map_err(cannot_run)?);
        let mut messages = Messages::default();
        let stderr = process.0.stderr.take();
        let finished = async {
            if let Some(mut stderr) = stderr {
                let mut part = vec![0; 4096];
                while let Ok(length @ 1..) = stderr.read(&mut part).await {
                    messages.add(&part[..length]);
                }
            }
            process.0.wait().await
        };
        let status =
            tokio::time::timeout(after, finished).await.map_err(|_| TimedOut { after })?.map_err(cannot_run)?;
        let own = self.without_refusals(&messages.text());
        self.lacks_loopback.fetch_or(own.contains(NO_LOOPBACK), Ordering::Relaxed);
        messages.outcome(status, own, &self.path, self.memory_limit())
    }

    /// Returns `command` as the launcher runs it, if there is one. The process ends within the time that all processors spend
    /// in `after`, even if this process is killed meanwhile.
    fn launched(&self, command: std::process::Command, after: Duration) -> std::process::Command {
        let Some(launcher) = &self.launcher else { return command };
        let processors =
            std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        let processor_time = after.saturating_mul(processors) + Duration::from_secs(1);
        let limits = Limits { memory: self.memory_limit(), processor_time };
        let mut launched = std::process::Command::new(launcher);
        launched.arg(LAUNCH).args(limits.arguments()).arg(command.get_program()).args(command.get_args());
        launched
    }

    /// Returns what ffmpeg wrote, and keeps what the launcher wrote before.
    fn without_refusals(&self, messages: &str) -> String {
        let (refusals, messages): (Vec<&str>, Vec<&str>) = messages.lines().partition(|line| line.starts_with(REFUSED));
        if !refusals.is_empty() {
            let refusals: Vec<&str> = refusals.iter().map(|line| &line[REFUSED.len()..]).collect();
            let _ = self.not_isolated.set(refusals.join("; ")); // the first run has told the same
        }
        messages.join("\n").trim().to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_what_the_program_wrote() {
        let shell = Ffmpeg::new("/bin/sh".into(), None);
        let mut command = FfmpegCommand::new_with_path(shell.path());
        *command.as_inner_mut() = std::process::Command::new(shell.path()); // without the options that all of ffmpeg's have
        command.args(["-c", "echo 'No such filter: psnr' >&2; exit 8"]);
        let error = shell.run(command, 0, Deadline::unknown()).await.expect_err("it ends with 8");
        assert_eq!(error.to_string(), "ffmpeg could not work: exit status: 8: No such filter: psnr");
    }

    #[test]
    fn memory_of_zeros_ends_with_the_request_that_needs_it() {
        let ffmpeg = Ffmpeg::new("ffmpeg".into(), None);
        let request = ffmpeg.for_one_request();
        assert!(request.zero_memory() && !request.clone().zero_memory());
        assert!(ffmpeg.for_one_request().zero_memory());
    }

    #[tokio::test]
    async fn a_missing_program_is_not_blamed_on_the_footage() {
        let ffmpeg = Ffmpeg::new("/nowhere/ffmpeg".into(), None);
        let command = FfmpegCommand::new_with_path(ffmpeg.path());
        let error = ffmpeg.run(command, 0, Deadline::unknown()).await.expect_err("there is no such program");
        assert!(matches!(error, FfmpegError::Start { .. }) && !error.is_footage());
        assert!(error.to_string().starts_with("cannot run /nowhere/ffmpeg: "), "{error}");
    }
}
