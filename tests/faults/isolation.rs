//! What a program in place of ffmpeg can do. It runs as an unprivileged user: as `nobody` if the tests run as root.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use exact_cut::ffmpeg::launcher::LAUNCH;
use rustix::process::Signal;
use testkit::paths::kept_files;
use testkit::random::unique_name;

use crate::fixture::Fixture;
use crate::function::{Function, binary};
use crate::patience::in_time;
use crate::resource_limits::on_a_small_disk;
use crate::scenario::JOINT;
use crate::schedule::Schedule;
use crate::worker::Worker;

/// The user and the group `nobody`.
const NOBODY: &str = "65534";

/// Returns the words before a command that an unprivileged user runs.
fn unprivileged() -> Vec<String> {
    if !rustix::process::getuid().is_root() {
        return Vec::new();
    }
    let (user, group) = (format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"));
    ["/usr/bin/setpriv", &user, &group, "--clear-groups"].map(str::to_owned).to_vec()
}

/// Compiles the program, once for all tests, and returns it under a name that says what it tries.
fn stand_in(folder: &Path, name: &str) -> PathBuf {
    static COMPILED: OnceLock<PathBuf> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/stand_in.rs");
        let program = kept_files().join(format!("stand-in-{}", std::process::id()));
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let status = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&program).arg(source).status();
        assert!(status.expect("rustc").success(), "rustc compiles the stand-in");
        program
    });
    let program = folder.join(name);
    // another process writes the file: a file that this one still has open cannot be run
    let copied = Command::new("cp").arg(compiled).arg(&program).status();
    assert!(copied.expect("cp").success());
    program
}

/// Opens the folders of a worker to the unprivileged user.
fn open_folders(worker: &Worker) {
    for folder in [worker.folder.path().to_owned(), worker.folder.path().join("scratch")] {
        let status = Command::new("chmod").arg("a+rwx").arg(folder).status();
        assert!(status.expect("chmod").success());
    }
}

/// Starts the function with the program in place of ffmpeg, which it tries out, and returns what it logs before it ends.
async fn logged(name: &str, disk: Option<Vec<String>>) -> String {
    let mut worker = Worker::with_ffmpeg(Fixture::get().await, |folder| stand_in(folder, name)).await;
    open_folders(&worker);
    worker.launcher = [unprivileged(), disk.unwrap_or_default()].concat();
    let log = worker.folder.path().join("log");
    let mut function = Function::start(&worker.launcher, &worker.variables, &log).await;
    assert!(!function.ended().await, "a function does not start without ffmpeg; {}", worker.log());
    worker.log()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_place_of_ffmpeg_reaches_nothing_but_the_files_of_its_run() {
    let log = logged("tries-all", None).await;
    assert!(log.contains("thread: done."), "a program with threads runs; {log}");
    for refused in ["TCP socket", "UDP socket", "socket pair", "child", "environment of the parent"] {
        assert!(log.contains(&format!("{refused}: PermissionDenied.")), "{refused}; {log}");
    }
    if log.contains("Landlock") {
        println!("not tried: this kernel does not have Landlock, which refuses other files");
        return;
    }
    for refused in ["file elsewhere", "password file"] {
        assert!(log.contains(&format!("{refused}: PermissionDenied.")), "{refused}; {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_place_of_ffmpeg_becomes_no_other_program() {
    let log = logged("tries-exec", None).await;
    assert!(log.contains("SIGSYS") && !log.contains("still there"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_place_of_ffmpeg_does_not_fill_the_disk() {
    let Some(disk) = on_a_small_disk(80) else { return };
    let log = logged("fills-the-disk", Some(disk)).await;
    assert!(log.contains("SIGXFSZ"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_place_of_ffmpeg_takes_no_more_than_its_time_of_processors() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = stand_in(folder.path(), "never-ends");
    let mut launched = tokio::process::Command::new(binary());
    // an exabyte of memory, and a second of processors
    launched.args([LAUNCH, "1000000000000000000", "1"]).arg(program).arg(format!("file:{}/x", folder.path().display()));
    let ended = in_time("the program ends", launched.kill_on_drop(true).status()).await.expect("it runs");
    assert_eq!(ended.signal(), Some(Signal::KILL.as_raw()), "{ended}");
}

/// Tests the tests: without isolation, the program does what it tries.
#[test]
fn the_program_in_place_of_ffmpeg_can_do_what_it_tries() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let program = stand_in(folder.path(), "tries-all");
    let output = Command::new(program).arg(format!("file:{}/x", folder.path().display())).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches(": done.").count(), 8, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_process_of_the_user_reads_the_environment_of_the_function() {
    let mut worker = Worker::start(Fixture::get().await).await;
    open_folders(&worker);
    worker.launcher = unprivileged();
    let function = worker.function().await.id();
    let report = worker.run(&Schedule::of(&JOINT, unique_name("hidden"), Vec::new())).await;
    assert_eq!(report.violations, Vec::<String>::new(), "{}", worker.log());
    let reads = |process: u32| {
        let words: Vec<String> = [unprivileged(), vec!["/bin/cat".to_owned()]].concat();
        let read = Command::new(&words[0]).args(&words[1..]).arg(format!("/proc/{process}/environ")).output();
        read.expect("cat").status.success()
    };
    let words: Vec<String> = [unprivileged(), ["/bin/sleep", "60"].map(str::to_owned).to_vec()].concat();
    let mut other = Command::new(&words[0]).args(&words[1..]).spawn().expect("sleep");
    let name = format!("/proc/{}/comm", other.id());
    in_time("setpriv becomes sleep", async {
        while std::fs::read_to_string(&name).expect("it runs").trim() != "sleep" {
            assert_eq!(other.try_wait().expect("a child"), None, "it has ended");
            tokio::time::sleep(Duration::from_millis(1)).await; // waits for a process, not for a result
        }
    })
    .await;
    let reads_other = reads(other.id());
    other.kill().and_then(|()| other.wait()).expect("killed");
    assert!(reads_other, "an ordinary process of the same user is readable");
    assert!(!reads(function), "the environment of the function is readable");
}
