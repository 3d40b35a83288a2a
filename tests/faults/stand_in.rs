//! Stands in for ffmpeg and tries what a decoder that was taken over would try. Its name says what it tries. The tests
//! compile it with rustc; it is no module of theirs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, exit};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let folder = arguments.iter().rev().find_map(|argument| argument.strip_prefix("file:")).expect("a file of the run");
    let folder = folder.rsplit_once('/').expect("a path").0;
    match arguments[0].rsplit('/').next() {
        Some("tries-exec") => panic!("still there: {}", Command::new("/bin/true").exec()),
        Some("never-ends") => loop {
            std::hint::spin_loop();
        },
        Some("fills-the-disk") => fill(folder).expect("the disk was filled"),
        _ => try_all(),
    }
    exit(1); // its trial fails, and what it wrote is logged
}

fn try_all() {
    let elsewhere = std::env::temp_dir().join("written-by-a-stand-in");
    let child = || Command::new("/bin/true").status().map(|status| assert!(status.success()));
    let thread = || std::thread::Builder::new().spawn(|| ()).map(|thread| thread.join().expect("no panic"));
    let attempts: [(&str, &dyn Fn() -> io::Result<()>); 8] = [
        ("thread", &thread),
        ("TCP socket", &|| TcpListener::bind("127.0.0.1:0").map(drop)),
        ("UDP socket", &|| UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("socket pair", &|| UnixStream::pair().map(drop)),
        ("child", &child),
        ("environment of the parent", &|| fs::read(format!("/proc/{}/environ", parent_id())).map(drop)),
        ("file elsewhere", &|| File::create(&elsewhere).map(drop)),
        ("password file", &|| fs::read("/etc/passwd").map(drop)),
    ];
    for (what, attempt) in attempts {
        match attempt() {
            Ok(()) => eprintln!("{what}: done."),
            Err(error) => eprintln!("{what}: {:?}.", error.kind()),
        }
    }
}

fn fill(folder: &str) -> io::Result<()> {
    let mut file = File::create(format!("{folder}/endless"))?;
    let block = vec![7; 1 << 20];
    loop {
        file.write_all(&block)?;
    }
}
