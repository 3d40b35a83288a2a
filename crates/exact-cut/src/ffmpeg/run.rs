//! Runs ffmpeg. No other file starts a process.
//!
//! `ffmpeg-sidecar` builds the command line, but its own `iter()` and `wait()` can hang for ever and never kill the child.
//! So the process is started here: in a process group of its own, limited and isolated by a launcher of ours, killed and
//! reaped when the time is up or nobody waits any more. Its environment is empty but for variables of glibc (see
//! `ENVIRONMENT`).
//!
//! **Who is to blame.** Only a failure that ffmpeg itself reports, and that is not about memory, the disk or a part that it
//! lacks, says something about the footage. A missing library or filter, a signal, too little memory or too little time do
//! not, and another try may succeed.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Child;

use crate::deadline::{Deadline, TimedOut};
use crate::ffmpeg::launcher::{LAUNCH, Limits, REFUSED};
use crate::ffmpeg::memory::Memory;

/// The longest run, whatever the deadline.
const MAX_RUN: Duration = Duration::from_mins(10);
/// A killed process ends within a few milliseconds. One that hangs in the kernel longer than this is left to the runtime.
const MAX_REAP_MS: u32 = 500;
/// Bytes of ffmpeg's messages that are kept.
const MAX_MESSAGES: usize = 2000;
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
/// What ffmpeg and libc write if memory or threads run out.
const OUT_OF_MEMORY: [&str; 5] = [
    "Cannot allocate memory",           // ENOMEM
    "Resource temporarily unavailable", // EAGAIN
    "pthread_create() failed",
    "malloc of size ", // x264
    "out of memory",
];
/// What ffmpeg writes if an encoder does not open. An encoder says why if it refuses an option, for example the level of the
/// footage or the layout of its channels, and says nothing in a line of its own if memory or threads run out.
const ENCODER_NOT_OPENED: &str = "Error while opening encoder";
const ENCODER_REFUSES: [&str; 4] = ["[libx264 @ ", "[aac @ ", "[png @ ", "[mjpeg @ "];
/// What ffmpeg writes if the disk or its rights do not suffice, whatever the footage is.
const OF_THE_MACHINE: [&str; 4] = [
    "No space left on device", // ENOSPC
    "Too many open files",     // EMFILE
    "Permission denied",       // EACCES
    "Read-only file system",   // EROFS
];
/// What an ffmpeg writes that has no loopback decoders.
const NO_LOOPBACK: &str = "Unrecognized option 'dec'";
/// The longest of these texts is shorter. So many bytes of a part are looked at again with the next.
const OVERLAP: usize = 40;
/// How a shell, and a dynamic linker that lacks a library, report that a program cannot run (POSIX, `sh`, "Exit Status").
const CANNOT_RUN: std::ops::RangeInclusive<i32> = 126..=127;
/// How ffmpeg ends if it lacks a decoder, an encoder, a filter, a bitstream filter or an option: its errors for that begin with
/// the byte F8 (`libavutil/error.h`), and the status is the last byte of the negative number.
const LACKS_A_PART: i32 = 8;
/// How ffmpeg ends after a signal that it handles, such as SIGTERM (`fftools/ffmpeg.c`).
const ASKED_TO_END: i32 = 255;

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
    /// The program cannot run, for example because a library is missing.
    #[error("cannot run {path}: {status}{}", told(messages), path = path.display())]
    CannotRun {
        /// The binary.
        path: PathBuf,
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
    /// The process reported success, but did not do its work.
    #[error("ffmpeg failed its trial: {reason}")]
    Trial {
        /// What is missing.
        reason: String,
    },
    /// There was too little memory.
    #[error("too little memory for ffmpeg{}: {status}{}", may_take(*.memory), told(messages))]
    Memory {
        /// Bytes that it may take, if that is limited.
        memory: Option<u64>,
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
    /// A signal ended the process: the kernel sent it for want of memory or after a crash, or a person did.
    #[error("a signal ended ffmpeg{}: {status}{}", may_take(*.memory), told(messages))]
    Killed {
        /// Bytes that it may take, if that is limited and may be the reason.
        memory: Option<u64>,
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
    /// The process lacks a part, a right or space on the disk, or was asked to end.
    #[error("ffmpeg could not work: {status}{}", told(messages))]
    Tool {
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
    /// The process did not end in time.
    #[error("ffmpeg did not finish within {} ms{}", .0.after.as_millis(), why_so_short(.0.after))]
    TimedOut(#[from] TimedOut),
    /// The process reported a failure.
    #[error("ffmpeg failed: {status}{}", told(messages))]
    Failed {
        /// How the process ended.
        status: ExitStatus,
        /// What it wrote to standard error.
        messages: String,
    },
}

fn may_take(memory: Option<u64>) -> String {
    memory.map_or_else(String::new, |bytes| format!(", which may take {} MiB of memory", bytes >> 20))
}

fn told(messages: &str) -> String {
    if messages.is_empty() { " without a message".to_owned() } else { format!(": {messages}") }
}

fn why_so_short(after: Duration) -> &'static str {
    if after < MAX_RUN { ", because little time was left" } else { "" }
}

impl FfmpegError {
    /// Returns whether the footage is taken to be the reason.
    #[must_use]
    pub const fn is_footage(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
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
        let (out_of_memory, of_the_machine) = (messages.are_of_memory(), messages.tell(Telling::OfTheMachine));
        let memory = self.memory.as_ref().map(|memory| memory.bytes);
        let messages = self.without_refusals(&String::from_utf8_lossy(&messages.kept));
        self.lacks_loopback.fetch_or(messages.contains(NO_LOOPBACK), Ordering::Relaxed);
        match status.code() {
            Some(0) => Ok(()),
            _ if out_of_memory => Err(FfmpegError::Memory { memory, status, messages }),
            None => {
                // the limit of the size of files has a signal of its own (setrlimit(2))
                let memory = memory.filter(|_| status.signal() != Some(Signal::XFSZ.as_raw()));
                Err(FfmpegError::Killed { memory, status, messages })
            }
            Some(code) if CANNOT_RUN.contains(&code) => {
                Err(FfmpegError::CannotRun { path: self.path.clone(), status, messages })
            }
            Some(LACKS_A_PART | ASKED_TO_END) => Err(FfmpegError::Tool { status, messages }),
            Some(_) if of_the_machine => Err(FfmpegError::Tool { status, messages }),
            Some(_) => Err(FfmpegError::Failed { status, messages }),
        }
    }
}

impl Ffmpeg {
    /// Returns `command` as the launcher runs it, if there is one. The process ends within the time that all processors spend
    /// in `after`, even if this process is killed meanwhile.
    fn launched(&self, command: std::process::Command, after: Duration) -> std::process::Command {
        let Some(launcher) = &self.launcher else { return command };
        let processors =
            std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1));
        let processor_time = after.saturating_mul(processors) + Duration::from_secs(1);
        let limits = Limits { memory: self.memory.as_ref().map(|memory| memory.bytes), processor_time };
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

/// What a text of ffmpeg tells.
#[derive(Clone, Copy, PartialEq)]
enum Telling {
    OutOfMemory,
    EncoderNotOpened,
    EncoderRefuses,
    OfTheMachine,
}

const TELLING: [(Telling, &[&str]); 4] = [
    (Telling::OutOfMemory, &OUT_OF_MEMORY),
    (Telling::EncoderNotOpened, &[ENCODER_NOT_OPENED]),
    (Telling::EncoderRefuses, &ENCODER_REFUSES),
    (Telling::OfTheMachine, &OF_THE_MACHINE),
];

/// What a process writes to standard error: the beginning, and which of the telling texts occur anywhere.
#[derive(Default)]
struct Messages {
    kept: Vec<u8>,
    /// The end of what was looked at: a text may go on in the next part.
    recent: Vec<u8>,
    found: Vec<Telling>,
}

impl Messages {
    fn add(&mut self, part: &[u8]) {
        self.kept.extend_from_slice(&part[..part.len().min(MAX_MESSAGES - self.kept.len())]);
        self.recent.extend_from_slice(part);
        let text = String::from_utf8_lossy(&self.recent);
        let found = TELLING.iter().filter(|(_, texts)| texts.iter().any(|message| text.contains(message)));
        self.found.extend(found.map(|(telling, _)| telling));
        self.recent.drain(..self.recent.len().saturating_sub(OVERLAP));
    }

    fn tell(&self, telling: Telling) -> bool {
        self.found.contains(&telling)
    }

    /// Returns whether too little memory made the process fail.
    fn are_of_memory(&self) -> bool {
        let not_opened = self.tell(Telling::EncoderNotOpened) && !self.tell(Telling::EncoderRefuses);
        self.tell(Telling::OutOfMemory) || not_opened
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

    /// Returns how a program ends that runs `script`.
    async fn ended(script: &str) -> Result<(), FfmpegError> {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("ffmpeg");
        // Another process writes the file: a file that this one still has open cannot be run.
        let write = "printf '#!/bin/sh\n%s\n' \"$1\" > \"$0\" && chmod +x \"$0\"";
        let written = std::process::Command::new("sh").args(["-c", write]).arg(&path).arg(script).status();
        assert!(written.expect("sh").success());
        let ffmpeg = Ffmpeg::new(path.clone(), None);
        ffmpeg.run(FfmpegCommand::new_with_path(path), 0, Deadline::after(Duration::from_mins(1))).await
    }

    #[tokio::test]
    async fn only_a_failure_that_ffmpeg_reports_is_blamed_on_the_footage() {
        for (script, blamed) in [
            ("exit 1", true),
            ("echo 'Invalid data found when processing input' >&2; exit 183", true),
            ("exit 126", false),
            ("exit 127", false),
            ("echo 'error while loading shared libraries: libx264.so' >&2; exit 127", false),
            ("kill -9 $$", false),
            ("kill -11 $$", false),
            ("kill -6 $$", false),
            ("echo 'Error while decoding: Cannot allocate memory' >&2; exit 244", false),
            ("echo 'pthread_create() failed' >&2; exit 1", false),
            ("echo 'Task finished: Resource temporarily unavailable' >&2; exit 245", false),
            ("echo 'Error while opening encoder - maybe incorrect parameters' >&2; exit 187", false),
            (
                "echo '[libx264 @ 0x5] invalid level_idc: 77' >&2; echo 'Error while opening encoder' >&2; exit 187",
                true,
            ),
            (
                "echo '[aac @ 0x5] Unsupported channel layout' >&2; echo 'Error while opening encoder' >&2; exit 234",
                true,
            ),
            ("echo 'x264 [error]: malloc of size 1923840 failed' >&2; exit 187", false),
            ("echo 'No such filter: psnr' >&2; exit 8", false),
            ("echo 'Exiting normally, received signal 15.' >&2; exit 255", false),
            ("echo 'Error writing trailer: No space left on device' >&2; exit 228", false),
            ("echo 'clip.mp4: Too many open files' >&2; exit 232", false),
            ("echo 'clip.mp4: Permission denied' >&2; exit 243", false),
            ("printf '%4090sCannot allocate memory' '' >&2; exit 1", false),
            ("head -c 9000 /dev/zero >&2; echo 'Cannot allocate memory' >&2; exit 1", false),
        ] {
            let error = ended(script).await.expect_err(script);
            assert_eq!(error.is_footage(), blamed, "{script}: {error}");
        }
        ended("exit 0").await.expect("success");
    }

    #[tokio::test]
    async fn says_how_it_ended_also_without_a_message() {
        let text = async |script| ended(script).await.expect_err(script).to_string();
        assert_eq!(text("exit 1").await, "ffmpeg failed: exit status: 1 without a message");
        assert_eq!(text("kill -25 $$").await, "a signal ended ffmpeg: signal: 25 (SIGXFSZ) without a message");
        assert_eq!(
            text("echo 'No such filter: psnr' >&2; exit 8").await,
            "ffmpeg could not work: exit status: 8: No such filter: psnr"
        );
        let timed_out = |ms| FfmpegError::from(TimedOut { after: Duration::from_millis(ms) }).to_string();
        assert_eq!(timed_out(812), "ffmpeg did not finish within 812 ms, because little time was left");
        assert_eq!(timed_out(600_000), "ffmpeg did not finish within 600000 ms");
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
