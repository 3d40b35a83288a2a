//! Small disks, little memory, one processor, little time. There is always a clean answer.

use std::process::Command;
use std::time::Duration;

use testkit::random::unique_name;

use crate::control_group::ControlGroup;
use crate::fault::Fault;
use crate::fixture::Fixture;
use crate::scenario::{JOINT, WAITING};
use crate::schedule::Schedule;
use crate::stub::in_place_of_ffmpeg;
use crate::worker::{Report, Worker};

/// Returns a launcher that gives the function a scratch file system of `mib` MiB, or `None` if this machine does not
/// allow it.
pub fn on_a_small_disk(mib: u32) -> Option<Vec<String>> {
    let unshare = ["/usr/bin/unshare", "--user", "--map-root-user", "--mount"];
    let possible =
        Command::new(unshare[0]).args(&unshare[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("not tried: this machine does not allow mounts");
        return None;
    }
    let mount =
        format!("PATH=/usr/bin:/bin mount -t tmpfs -o size={mib}m tmpfs \"$CLIP_DOWNLOAD_DEST\" && exec \"$0\"");
    Some(unshare.into_iter().chain(["sh", "-c", &mount]).map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_can_never_hold_the_work_is_told_before_any_work() {
    for mib in [1, 16, 64] {
        let Some(launcher) = on_a_small_disk(mib) else { return };
        let mut worker = Worker { launcher, ..Worker::start(Fixture::get().await).await };
        let schedule = Schedule::of(&WAITING, unique_name("small"), Vec::new());
        let schedule = Schedule { may_end_unannounced: true, fatal_is_true: true, ..schedule };
        let report = worker.run(&schedule).await;
        assert_eq!(report.violations, Vec::<String>::new(), "{mib} MiB");
        assert_eq!(report.announced.len(), 0, "{mib} MiB");
        let errors = worker.errors();
        assert!(errors.iter().any(|error| error.contains("scratch disk: expected about ")), "{mib} MiB: {errors:?}");
    }
}

/// ffmpeg fills the disk and fails, or seems to succeed. The footage is not to blame, and a later try succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_not_a_fatal_error() {
    for fault in ["fill", "fill-silently"] {
        let Some(launcher) = on_a_small_disk(80) else { return };
        let worker = Worker::with_ffmpeg(Fixture::get().await, in_place_of_ffmpeg).await;
        let mut worker = Worker { launcher, ..worker };
        let full = Schedule { ffmpeg: Some(fault), ..Schedule::of(&JOINT, unique_name("full"), Vec::new()) };
        let report = worker.run(&full).await;
        let log = worker.log();
        assert_eq!(report.violations, Vec::<String>::new(), "{fault}");
        assert!(
            log.contains("scratch disk: expected 64 MiB free, got 0 MiB; raise EphemeralStorage"),
            "{fault}: {log}"
        );
        assert!(!log.contains("clip made in another way"), "{fault}: {log}");
        assert_eq!(report.put, ["CLIP_AVAILABLE"], "{fault}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_processor_gives_the_same_bytes() {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux").trim();
    let first = allowed.split([',', '-']).next().expect("at least one");
    let launcher = ["/usr/bin/taskset", "-c", first].map(str::to_owned).to_vec();
    let mut worker = Worker { launcher, ..Worker::start(Fixture::get().await).await };
    let report = worker.run(&Schedule::of(&WAITING, unique_name("one-cpu"), Vec::new())).await;
    assert_eq!(report.violations, Vec::<String>::new());
}

/// What Lambda gives with 442 MB.
const QUARTER: u32 = 25;

/// Runs schedules one after the other with a quarter of a processor, and returns their reports, or `None` if that cannot be
/// tried here. All are announced.
async fn on_a_quarter_of_a_processor(worker: Worker, schedules: &[Schedule]) -> Option<Vec<Report>> {
    let group = ControlGroup::of_processor(QUARTER)?;
    let mut worker = Worker { launcher: group.launcher(), ..worker };
    let mut reports = Vec::new();
    for schedule in schedules {
        let report = worker.run(schedule).await;
        assert_eq!(report.violations, Vec::<String>::new(), "{schedule}: {}", worker.log());
        assert_eq!(report.announced.len(), schedule.requests.len(), "{schedule}: {report:?}");
        reports.push(report);
    }
    assert!(group.throttled() > 0, "it had less than it wanted");
    Some(reports)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quarter_of_a_processor_makes_the_same_clip() {
    let worker = Worker::start(Fixture::get().await).await;
    let schedule = Schedule::of(&WAITING, unique_name("quarter"), Vec::new());
    let Some(reports) = on_a_quarter_of_a_processor(worker, &[schedule]).await else { return };
    assert_eq!(reports[0].put, ["CLIP_PENDING", "CLIP_AVAILABLE"], "no delivery failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_time_hold_on_a_quarter_of_a_processor() {
    let (within, silent) = (Some(Duration::from_mins(15)), Some(("S3 GET recording", Fault::Hang, 1)));
    let schedules = [
        // the deadline of the invocation ends it; the harness notices an answer that comes after the deadline
        Schedule { ffmpeg: Some("hang"), ..Schedule::of(&JOINT, unique_name("hang"), Vec::new()) },
        // a limit of the call ends it
        Schedule { within, failing: silent, ..Schedule::of(&JOINT, unique_name("silent"), Vec::new()) },
    ];
    let worker = Worker::with_ffmpeg(Fixture::get().await, in_place_of_ffmpeg).await;
    let Some(reports) = on_a_quarter_of_a_processor(worker, &schedules).await else { return };
    assert!(reports[0].took.len() > 1, "the delivery with the ffmpeg that hangs fails: {:?}", reports[0]);
    let [took] = reports[1].took[..] else { panic!("no delivery fails: {:?}", reports[1]) };
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_little_memory_there_is_a_clip_or_a_transient_failure_that_says_memory() {
    let mut clips = Vec::new();
    for mib in ["32", "64", "128", "256", "512", "1024"] {
        let mut worker = Worker::start(Fixture::get().await).await;
        worker.variables.push(("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), mib.to_owned()));
        let schedule =
            Schedule { may_end_unannounced: true, ..Schedule::of(&WAITING, unique_name("memory"), Vec::new()) };
        let report = worker.run(&schedule).await;
        assert_eq!(report.violations, Vec::<String>::new(), "{mib} MiB: {:?}", worker.errors());
        if report.announced.is_empty() {
            let errors = worker.errors();
            assert!(errors.iter().all(|error| error.contains("memory")), "{mib} MiB: {errors:?}");
        } else {
            clips.push(mib);
        }
    }
    println!("clips in {clips:?} MiB");
    // Lambda gives at least 128 MiB
    assert!(clips.ends_with(&["128", "256", "512", "1024"]), "{clips:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_ten_within_ten_seconds() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let requests = (0..10).map(|_| (&WAITING, unique_name("batch"))).collect();
    let schedule = Schedule { requests, within: Some(Duration::from_secs(10)), ..Schedule::default() };
    let report = worker.run(&schedule).await;
    assert_eq!(report.violations, Vec::<String>::new());
    assert!(report.announced.len() >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_small_for_the_longest_clip_is_told_once_in_a_process() {
    let Some(launcher) = on_a_small_disk(100) else { return };
    let mut worker = Worker { launcher, ..Worker::start(Fixture::get().await).await };
    worker.variables.push(("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), "128".to_owned()));
    for _ in 0..2 {
        let report = worker.run(&Schedule::of(&JOINT, unique_name("sized"), Vec::new())).await;
        assert_eq!((&report.violations[..], report.took.len()), (&[][..], 1), "{report:?}");
    }
    let log = worker.log();
    for what in ["MemorySize: expected", "EphemeralStorage: expected", "Timeout: expected"] {
        assert_eq!(log.matches(what).count(), 1, "{what}: {log}");
    }
    // a kernel that has all of it says nothing
    assert!(log.matches("ffmpeg is less isolated than it could be").count() <= 1, "{log}");
}
