//! Starts ffmpeg with limits on what it may take. Limits must be set before a program begins: glibc reads the size of a
//! thread's stack once. A process cannot set them for its child without `unsafe`, so a program of ours is started, which
//! sets its own limits and then becomes ffmpeg (execve(2)). Its process id and its standard streams stay the same.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;

use rustix::process::{Resource, Rlimit, setrlimit};

/// The first argument of a program that is to become ffmpeg. The most bytes that it may allocate, its path and its
/// arguments follow.
pub const LAUNCH: &str = "launch-ffmpeg";
/// Stack of the main thread and of every other one, in bytes. The whole stack of a thread counts as allocated, and ffmpeg
/// starts about a dozen; the usual 8 MiB each would count for more than the pictures. Threads of macOS have 512 KiB.
const STACK: u64 = 1 << 20;

/// Becomes ffmpeg if `arguments`, of which the first is the name of this program, ask for it. Returns the reason if that
/// fails, or `None` if they ask for nothing.
///
/// `RLIMIT_DATA` counts what is allocated and not what is only reserved (getrlimit(2)).
#[must_use]
pub fn launch(mut arguments: impl Iterator<Item = OsString>) -> Option<io::Error> {
    arguments.nth(1).filter(|first| first == LAUNCH)?;
    let invalid = || io::Error::other("expected a number of bytes and a program");
    let bytes = arguments.next().and_then(|bytes| bytes.to_str()?.parse().ok());
    let (Some(bytes), Some(program)) = (bytes, arguments.next()) else { return Some(invalid()) };
    for (resource, bytes) in [(Resource::Stack, STACK), (Resource::Data, bytes), (Resource::Core, 0)] {
        if let Err(error) = setrlimit(resource, Rlimit { current: Some(bytes), maximum: Some(bytes) }) {
            return Some(error.into());
        }
    }
    Some(std::process::Command::new(program).args(arguments).exec())
}
