//! Why a run of ffmpeg failed, and who is to blame. Only a failure that ffmpeg itself reports, and that is not about memory,
//! the disk or a part that it lacks, says something about the footage. A missing library or filter, a signal, too little
//! memory or too little time do not, and another try may succeed.

use std::borrow::Cow;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;

use crate::deadline::TimedOut;

/// The longest run, whatever the deadline.
pub(super) const MAX_RUN: Duration = Duration::from_mins(10);
/// Bytes of ffmpeg's messages that are kept.
const MAX_MESSAGES: usize = 2000;
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
/// The longest of these texts is shorter. So many bytes of a part are looked at again with the next.
const OVERLAP: usize = 40;
/// How a shell, and a dynamic linker that lacks a library, report that a program cannot run (POSIX, `sh`, "Exit Status").
const CANNOT_RUN: std::ops::RangeInclusive<i32> = 126..=127;
/// How ffmpeg ends if it lacks a decoder, an encoder, a filter, a bitstream filter or an option: its errors for that begin with
/// the byte F8 (`libavutil/error.h`), and the status is the last byte of the negative number.
const LACKS_A_PART: i32 = 8;
/// How ffmpeg ends after a signal that it handles, such as SIGTERM (`fftools/ffmpeg.c`).
const ASKED_TO_END: i32 = 255;

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
pub(super) struct Messages {
    kept: Vec<u8>,
    /// The end of what was looked at: a text may go on in the next part.
    recent: Vec<u8>,
    found: Vec<Telling>,
}

impl Messages {
    pub(super) fn add(&mut self, part: &[u8]) {
        self.kept.extend_from_slice(&part[..part.len().min(MAX_MESSAGES - self.kept.len())]);
        self.recent.extend_from_slice(part);
        let text = String::from_utf8_lossy(&self.recent);
        let found = TELLING.iter().filter(|(_, texts)| texts.iter().any(|message| text.contains(message)));
        self.found.extend(found.map(|(telling, _)| telling));
        self.recent.drain(..self.recent.len().saturating_sub(OVERLAP));
    }

    /// Returns the beginning of what was written.
    pub(super) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.kept)
    }

    /// Returns what `status` means, with which the program at `path` ended after it wrote these messages. `messages` is what an
    /// error tells of them. The program could take `memory` bytes, if that was limited.
    ///
    /// # Errors
    /// [`FfmpegError`] unless the process succeeded.
    pub(super) fn outcome(
        &self,
        status: ExitStatus,
        messages: String,
        path: &Path,
        memory: Option<u64>,
    ) -> Result<(), FfmpegError> {
        match status.code() {
            Some(0) => Ok(()),
            _ if self.are_of_memory() => Err(FfmpegError::Memory { memory, status, messages }),
            None => {
                // the limit of the size of files has a signal of its own (setrlimit(2))
                let memory = memory.filter(|_| status.signal() != Some(Signal::XFSZ.as_raw()));
                Err(FfmpegError::Killed { memory, status, messages })
            }
            Some(code) if CANNOT_RUN.contains(&code) => {
                Err(FfmpegError::CannotRun { path: path.to_owned(), status, messages })
            }
            Some(LACKS_A_PART | ASKED_TO_END) => Err(FfmpegError::Tool { status, messages }),
            Some(_) if self.tell(Telling::OfTheMachine) => Err(FfmpegError::Tool { status, messages }),
            Some(_) => Err(FfmpegError::Failed { status, messages }),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how a shell ends that runs `script`.
    fn ended(script: &str) -> Result<(), FfmpegError> {
        let output = std::process::Command::new("sh").args(["-c", script]).output().expect("sh");
        let mut messages = Messages::default();
        output.stderr.chunks(4096).for_each(|part| messages.add(part));
        messages.outcome(output.status, messages.text().trim().to_owned(), Path::new("ffmpeg"), None)
    }

    #[test]
    fn only_a_failure_that_ffmpeg_reports_is_blamed_on_the_footage() {
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
            let error = ended(script).expect_err(script);
            assert_eq!(error.is_footage(), blamed, "{script}: {error}");
        }
        ended("exit 0").expect("success");
    }

    #[test]
    fn says_how_it_ended_also_without_a_message() {
        let text = |script| ended(script).expect_err(script).to_string();
        assert_eq!(text("exit 1"), "ffmpeg failed: exit status: 1 without a message");
        assert_eq!(text("kill -25 $$"), "a signal ended ffmpeg: signal: 25 (SIGXFSZ) without a message");
        assert_eq!(
            text("echo 'No such filter: psnr' >&2; exit 8"),
            "ffmpeg could not work: exit status: 8: No such filter: psnr"
        );
        let timed_out = |ms| FfmpegError::from(TimedOut { after: Duration::from_millis(ms) }).to_string();
        assert_eq!(timed_out(812), "ffmpeg did not finish within 812 ms, because little time was left");
        assert_eq!(timed_out(600_000), "ffmpeg did not finish within 600000 ms");
    }
}
