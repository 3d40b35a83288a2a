//! Schedules with several random faults, kills at random instants, and the same message twice.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testkit::paths::kept_files;
use testkit::random::{SplitMix64, number_from_env, unique_name};

use crate::fixture::Fixture;
use crate::scenario::{JOINT, WAITING};
use crate::schedule::{Schedule, run_all};
use crate::stub::in_place_of_ffmpeg;
use crate::worker::Worker;

/// Runs the `count` schedules from seed 1 on. With `FAULTS_MINUTES` it runs for that time, beginning after the last
/// seed of earlier runs. `FAULTS_SEED` and `FAULTS_SCHEDULES` select schedules.
async fn random(test: &'static str, ffmpeg: fn(&Path) -> PathBuf, count: u64) {
    let (began, time) = (Instant::now(), Duration::from_secs(60 * number_from_env("FAULTS_MINUTES", 0)));
    let kept = kept_files().join(format!("faults-{test}"));
    let mut passed = std::fs::read_to_string(&kept).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let first = number_from_env("FAULTS_SEED", if time.is_zero() { 1 } else { passed + 1 });
    let (mut seed, mut faults) = (first, 0);
    loop {
        let count = number_from_env("FAULTS_SCHEDULES", count);
        let schedule = move |index: usize| {
            let schedule = Schedule::random(seed + index as u64, test);
            // the real ffmpeg cannot fail on demand
            if test == STUB { schedule } else { Schedule { ffmpeg: None, ..schedule } }
        };
        let again = move |index: usize| {
            let seed = seed + index as u64;
            format!("FAULTS_SEED={seed} FAULTS_SCHEDULES=1 cargo test --locked --test faults random::with_{test}")
        };
        let injected = run_all(ffmpeg, usize::try_from(count).expect("a count"), schedule, again).await;
        faults += injected.values().sum::<usize>();
        seed += count;
        if first <= passed + 1 {
            passed = passed.max(seed - 1);
            std::fs::write(&kept, passed.to_string()).expect("written");
        }
        if began.elapsed() >= time {
            break;
        }
        if std::io::stdout().is_terminal() {
            let (since, minutes) = (began.elapsed().as_secs() / 60, time.as_secs() / 60);
            println!("with {test}: {} schedules, {faults} faults, {since} of {minutes} minutes", seed - first);
        }
    }
    let (count, last) = (seed - first, seed - 1);
    println!(
        "{count} schedules with {test}, seeds {first} to {last}: {faults} faults injected; {passed} in all runs so far"
    );
}

const STUB: &str = "a_stub";

#[tokio::test(flavor = "multi_thread")]
async fn with_a_stub() {
    random(STUB, in_place_of_ffmpeg, 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_real_ffmpeg() {
    random("the_real_ffmpeg", |_| Fixture::ffmpeg(), 30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant() {
    let count = number_from_env("FAULTS_SCHEDULES", 20);
    let seed = number_from_env("FAULTS_SEED", 1);
    // the time of a warm process that has the machine to itself: beside others, most instants lie within its work
    let mut worker = Worker::start(Fixture::get().await).await;
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let began = Instant::now();
        worker.run(&Schedule::of(&JOINT, unique_name("undisturbed"), Vec::new())).await;
        took = began.elapsed();
    }
    let took = usize::try_from(took.as_micros()).expect("less than an hour");
    let schedule = move |index: usize| {
        let after = SplitMix64(seed + index as u64).below(took);
        let killed_after = u64::try_from(after).map(Duration::from_micros).ok();
        Schedule { killed_after, ..Schedule::of(&JOINT, unique_name("instant"), Vec::new()) }
    };
    let again = move |index: usize| {
        format!(
            "FAULTS_SEED={} FAULTS_SCHEDULES=1 cargo test --locked --test faults killed_at_any_instant",
            seed + index as u64
        )
    };
    let injected = run_all(|_| Fixture::ffmpeg(), usize::try_from(count).expect("a count"), schedule, again).await;
    println!("killed at {} of {count} instants; the others came after the answer", injected.values().sum::<usize>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_renders_nothing_and_is_announced_again() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let schedule = Schedule::of(&WAITING, unique_name("twice"), Vec::new());
    let first = worker.run(&schedule).await;
    let mut second = worker.run(&schedule).await;
    assert_eq!((first.violations, second.violations), (Vec::new(), Vec::new()));
    assert_eq!(first.announced, second.announced);
    second.calls.retain(|call| call != "SQS ChangeMessageVisibilityBatch");
    second.calls.sort();
    assert_eq!(second.calls, ["S3 HEAD clip", "S3 HEAD thumbnail", "SNS Publish", "camera PUT clip"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pairs_at_once() {
    let fixture = Fixture::get().await;
    let (mut one, mut other) = (Worker::start(fixture.clone()).await, Worker::start(fixture).await);
    let pairs = number_from_env("FAULTS_SCHEDULES", 10);
    for _ in 0..pairs {
        let schedule = Schedule::of(&WAITING, unique_name("pair"), Vec::new());
        let (one, other) = tokio::join!(one.run(&schedule), other.run(&schedule));
        assert_eq!((one.violations, other.violations), (Vec::new(), Vec::new()));
        assert_eq!(one.announced.last(), other.announced.last());
    }
    println!("{pairs} pairs at once");
}
