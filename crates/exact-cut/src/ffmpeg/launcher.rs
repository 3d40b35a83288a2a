//! Starts ffmpeg with limits on what it may take, and isolated (`isolation.rs`). Both must be in force before a program
//! begins: glibc reads the size of a thread's stack once. A process cannot do that for its child without `unsafe`, so a
//! program of ours is started, which limits itself and then becomes ffmpeg (execve(2)). Its process id and its standard
//! streams stay the same.
//!
//! **Processes have no limit of their own.** `RLIMIT_NPROC` counts the threads of all processes of the user (getrlimit(2)).
//! On Lambda those of the function count too, so a limit that allows the threads of ffmpeg allows as many processes, and it
//! does not concern root. The seccomp filter refuses new processes instead, and lets threads pass. `RLIMIT_DATA` bounds their
//! number: the stack of each thread counts as allocated.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::ffmpeg::isolation::{is_script, isolate};
use crate::scratch::{RESERVE, free_space};

/// The first argument of a program that is to become ffmpeg. Its limits, its path and its arguments follow.
pub const LAUNCH: &str = "launch-ffmpeg";
/// Names of files begin with it in ffmpeg's arguments.
pub(super) const FILE_PROTOCOL: &str = "file:";
/// A line on standard error that begins with this says what the kernel refused of the isolation.
pub(super) const REFUSED: &str = "not isolated: ";
/// Stack of the main thread and of every other one, in bytes. The whole stack of a thread counts as allocated, and ffmpeg
/// starts about a dozen; the usual 8 MiB each would count for more than the pictures. Threads of macOS have 512 KiB.
const STACK: u64 = 1 << 20;
/// A file may have this many bytes, however little is free.
const LEAST_FILE: u64 = 1 << 20;
/// Where programs without a path are looked for.
const FOLDERS: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// No limit, as an argument.
const UNLIMITED: u64 = u64::MAX;

/// What ffmpeg may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes that it may allocate, if that is limited.
    pub memory: Option<u64>,
    /// Time of all processors together. Ends what its parent no longer can.
    pub processor_time: Duration,
}

impl Limits {
    /// Returns the limits as arguments of the launcher.
    pub fn arguments(self) -> [String; 2] {
        let seconds = self.processor_time.as_millis().div_ceil(1000);
        [self.memory.unwrap_or(UNLIMITED).to_string(), seconds.to_string()]
    }
}

/// Becomes ffmpeg if `arguments`, of which the first is the name of this program, ask for it. Returns the reason if that
/// fails, or `None` if they ask for nothing.
#[must_use]
pub fn launch(mut arguments: impl Iterator<Item = OsString>) -> Option<io::Error> {
    arguments.nth(1).filter(|first| first == LAUNCH)?;
    let mut number = || arguments.next().and_then(|number| number.to_str()?.parse().ok());
    let (memory, seconds) = (number(), number());
    let (Some(memory), Some(seconds), Some(program)) = (memory, seconds, arguments.next()) else {
        return Some(io::Error::other("expected bytes of memory, seconds, and a program"));
    };
    let arguments: Vec<OsString> = arguments.collect();
    Some(become_ffmpeg(memory, seconds, &program, &arguments).unwrap_or_else(|failure| failure))
}

/// Returns why the process could not become the program, or why it could not even try.
fn become_ffmpeg(memory: u64, seconds: u64, program: &OsStr, arguments: &[OsString]) -> io::Result<io::Error> {
    // `RLIMIT_DATA` counts what is allocated and not what is only reserved (getrlimit(2))
    limit(Resource::Stack, STACK)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Data, memory)?;
    limit(Resource::Cpu, seconds)?;
    let program = found(program);
    let mut command = Command::new(&program);
    command.args(arguments);
    let refused = if is_script(&program)? {
        vec![format!("{} is a script, which starts other programs", program.display())]
    } else {
        let folders: Vec<&Path> = arguments.iter().filter_map(|argument| folder(argument)).collect();
        let free = folders.iter().filter_map(|folder| free_space(folder).ok()).min().unwrap_or_default();
        limit(Resource::Fsize, free.saturating_sub(RESERVE).max(LEAST_FILE))?;
        isolate(&command, &folders)
    };
    for refused in refused {
        eprintln!("{REFUSED}{refused}");
    }
    Ok(command.exec())
}

/// Sets a limit, or keeps the one of this process if that is lower: only a privileged process raises a hard limit
/// (setrlimit(2)).
fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let most = Some(most).filter(|&most| most != UNLIMITED);
    let most = [most, getrlimit(resource).maximum].into_iter().flatten().min();
    Ok(setrlimit(resource, Rlimit { current: most, maximum: most })?)
}

/// Returns the folder of a file that ffmpeg reads or writes.
fn folder(argument: &OsStr) -> Option<&Path> {
    Path::new(argument.to_str()?.strip_prefix(FILE_PROTOCOL)?).parent()
}

/// Returns a program with its path. The isolation lets only a program with a path start.
fn found(program: &OsStr) -> PathBuf {
    let program = Path::new(program);
    let has_folder = program.parent().is_some_and(|folder| folder != "");
    let somewhere = || FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.exists());
    if has_folder { None } else { somewhere() }.unwrap_or_else(|| program.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_program_without_a_path_where_programs_are() {
        assert_eq!(found(OsStr::new("/a/ffmpeg")), Path::new("/a/ffmpeg"));
        assert_eq!(found(OsStr::new("./sh")), Path::new("./sh"));
        assert!(found(OsStr::new("sh")).is_absolute());
        assert_eq!(found(OsStr::new("no such program")), Path::new("no such program"));
    }

    #[test]
    fn the_folders_of_a_run_are_those_of_its_files() {
        let folders = ["-i", "file:/tmp/a/in.mp4", "/tmp/b/c", "file:/tmp/d/out.mp4"].map(OsStr::new).map(folder);
        assert_eq!(folders, [None, Some(Path::new("/tmp/a")), None, Some(Path::new("/tmp/d"))]);
    }

    #[test]
    fn does_nothing_unless_asked_to() {
        let launched = |words: &[&str]| launch(words.iter().map(OsString::from)).map(|failure| failure.to_string());
        assert_eq!(launched(&["program"]), None);
        assert_eq!(launched(&["program", "plan", "event.json"]), None);
        assert!(launched(&["program", LAUNCH, "many", "1", "ffmpeg"]).is_some_and(|why| why.starts_with("expected")));
    }
}
