//! Runs ffmpeg: the only file that starts a process. Its exit code proves nothing; callers verify what it wrote.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use tokio::io::AsyncReadExt;

use crate::deadline::Deadline;
use crate::error::Error;

/// No run takes longer than that, deadline or not.
const LONGEST: Duration = Duration::from_mins(10);
/// How much of what ffmpeg complains about is kept, in bytes.
const TAIL: usize = 2000;
/// The largest picture that is decoded: 8192 by 4320.
const MAX_PIXELS: &str = "35389440";

/// The ffmpeg to run.
#[derive(Clone, Debug)]
pub struct Ffmpeg {
    path: PathBuf,
}

/// A path as ffmpeg's `file` protocol takes it: never read as another protocol or an option.
#[must_use]
pub fn url(path: &Path) -> String {
    format!("file:{}", path.display())
}

impl Ffmpeg {
    /// The ffmpeg at `path`.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// A command that reads `input` as MP4 and nothing else: a text file of that name would have ffmpeg read others.
    #[must_use]
    pub fn reading(&self, input: &Path) -> FfmpegCommand {
        let mut command = FfmpegCommand::new_with_path(&self.path);
        command
            .hide_banner()
            .overwrite()
            .args(["-nostdin", "-loglevel", "error", "-protocol_whitelist", "file", "-f", "mov"])
            .args(["-max_pixels", MAX_PIXELS, "-noautorotate"])
            .input(url(input));
        command
    }

    /// Runs `command` to its end. `ffmpeg-sidecar` builds the command line; its own `wait` can hang, so the process is
    /// ours: an empty environment, a process group of its own, killed and reaped when time is up.
    ///
    /// # Errors
    /// Passing if it can't be started or time is up; unusable, about `object`, if it fails.
    pub async fn run(&self, command: FfmpegCommand, object: &str, deadline: Deadline) -> Result<(), Error> {
        let name = || self.path.display().to_string();
        let mut command: std::process::Command = command.into();
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut command = tokio::process::Command::from(command);
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| Error::passing(name(), error))?;
        let mut complaints = Vec::new();
        let stderr = child.stderr.take();
        let finished = async {
            if let Some(mut stderr) = stderr {
                let mut part = [0; 4096];
                while let Ok(length @ 1..) = stderr.read(&mut part).await {
                    if complaints.len() < TAIL {
                        complaints.extend_from_slice(&part[..length.min(TAIL - complaints.len())]);
                    }
                }
            }
            child.wait().await
        };
        let limit = deadline.left().unwrap_or(LONGEST).min(LONGEST);
        let Ok(status) = tokio::time::timeout(limit, finished).await else {
            // one process, no children of its own: killing it empties the group
            child.kill().await.map_err(|error| Error::passing(name(), error))?;
            return Err(Error::passing(object, format_args!("ffmpeg was not done within {} ms", limit.as_millis())));
        };
        let status = status.map_err(|error| Error::passing(name(), error))?;
        let complaints = String::from_utf8_lossy(&complaints);
        if status.success() {
            Ok(())
        } else {
            Err(Error::unusable(object, format_args!("ffmpeg: {status}: {}", complaints.trim())))
        }
    }
}
