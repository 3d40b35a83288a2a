//! Schedules: requests, and the faults that they meet. Several run at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use testkit::random::SplitMix64;

use crate::fault::{Fault, OF_A_CALL, Planned, Which};
use crate::fixture::Fixture;
use crate::scenario::{ALL, Scenario};
use crate::worker::{Report, Worker};

/// Schedules that run at once. Most of them wait most of the time.
const WORKERS: usize = 8;

/// Requests, and the faults that they meet.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// The requests, with the ids of their clips. All arrive in one batch.
    pub requests: Vec<(&'static Scenario, String)>,
    pub plan: Vec<Planned>,
    /// The name of calls that meet a fault, the fault, and how many of them meet it.
    pub failing: Option<(&'static str, Fault, usize)>,
    /// The only recording that the camera API lists, in place of those of the scenario.
    pub listed: Option<String>,
    /// What ffmpeg does in place of its work in the first delivery.
    pub ffmpeg: Option<&'static str>,
    /// Time after which the process is killed in the first delivery.
    pub killed_after: Option<Duration>,
    /// Whether the schedule may end without an announcement.
    pub may_end_unannounced: bool,
    /// Whether no clip can ever be made, so that `FATAL_ERROR` is true.
    pub fatal_is_true: bool,
    /// Time of each delivery, in place of the usual.
    pub within: Option<Duration>,
    /// Deliveries before a message moves to the dead-letter queue, in place of the usual number.
    pub max_receives: Option<u32>,
    /// Whether the trigger ignores which records failed: it has no `ReportBatchItemFailures`.
    pub ignores_failures: bool,
    /// What AWS takes for the present, in place of the present.
    pub clock: Option<DateTime<Utc>>,
    /// Whether Lambda stops loops although the stack allows them.
    pub cuts_loops: bool,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: Vec<&str> = self.requests.iter().map(|(scenario, _)| scenario.camera).collect();
        let plan: Vec<String> = self.plan.iter().map(Planned::to_string).collect();
        write!(f, "{}: {}", requests.join(", "), plan.join(", "))?;
        self.ffmpeg.iter().try_for_each(|how| write!(f, ", ffmpeg: {how}"))?;
        self.killed_after.iter().try_for_each(|after| write!(f, ", killed after {after:?}"))
    }
}

impl Schedule {
    /// Returns the schedule of one request with these faults.
    pub fn of(scenario: &'static Scenario, clip: String, plan: Vec<Planned>) -> Self {
        Self { requests: vec![(scenario, clip)], plan, ..Self::default() }
    }

    /// Returns the schedule of a seed: one to five faults of calls, of ffmpeg or of the process.
    pub fn random(seed: u64, name: &str) -> Self {
        let mut random = SplitMix64(seed);
        let scenario = ALL[1 + random.below(ALL.len() - 1)];
        let faults = 1 + random.below(5);
        let plan = (0..faults).map(|_| {
            let kinds = OF_A_CALL.len();
            let fault = match random.below(kinds + 2) {
                n if n < kinds => OF_A_CALL[n],
                n if n == kinds => Fault::KillBefore,
                _ => Fault::KillAfter,
            };
            Planned { call: Which::Number(random.below(32)), fault, lasting: random.below(4) == 0 }
        });
        let plan = plan.collect();
        let ffmpeg = [None, None, None, Some("hang"), Some("fail"), Some("killed"), Some("nothing"), Some("garbage")];
        let ffmpeg = ffmpeg[random.below(ffmpeg.len())];
        Self { ffmpeg, ..Self::of(scenario, format!("{name}-{seed}"), plan) }
    }
}

/// Runs schedules, several at once, and fails if one has violations. Returns the injected faults and their numbers.
/// `again` returns the command that repeats a schedule.
pub async fn run_all(
    ffmpeg: impl Fn(&std::path::Path) -> PathBuf + Clone + Send + Sync + 'static,
    count: usize,
    schedule: impl Fn(usize) -> Schedule + Clone + Send + Sync + 'static,
    again: impl Fn(usize) -> String + Clone + Send + Sync + 'static,
) -> BTreeMap<String, usize> {
    let fixture = Fixture::get().await;
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..WORKERS.min(count)).map(|_| {
        let (fixture, next) = (Arc::clone(&fixture), Arc::clone(&next));
        let (ffmpeg, schedule, again) = (ffmpeg.clone(), schedule.clone(), again.clone());
        tokio::spawn(async move {
            let mut worker = Worker::with_ffmpeg(fixture, ffmpeg).await;
            let (mut injected, mut wrong) = (Vec::new(), Vec::new());
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count) {
                let schedule = schedule(index);
                let report = worker.run(&schedule).await;
                if !report.violations.is_empty() {
                    let (violations, faults) = (report.violations.join("; "), report.injected.join(", "));
                    let (calls, said) = (report.calls.join(", "), worker.errors().join("\n    "));
                    wrong.push(format!(
                        "{schedule}\n  {violations}\n  injected: {faults}\n  calls: {calls}\n  logged: {said}\n  to repeat: {}",
                        again(index)
                    ));
                }
                injected.extend(report.injected);
            }
            (injected, wrong)
        })
    });
    let (mut injected, mut wrong) = (BTreeMap::new(), Vec::new());
    for worker in workers.collect::<Vec<_>>() {
        let (more, bad) = worker.await.expect("no panic");
        for fault in more {
            *injected.entry(fault).or_default() += 1;
        }
        wrong.extend(bad);
    }
    assert!(wrong.is_empty(), "{} of {count} schedules:\n{}", wrong.len(), wrong.join("\n"));
    injected
}

/// Runs schedules, several at once, and returns their reports in order.
pub async fn run_each(
    count: usize,
    schedule: impl Fn(usize) -> Schedule + Clone + Send + Sync + 'static,
) -> Vec<Report> {
    let fixture = Fixture::get().await;
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..WORKERS.min(count)).map(|_| {
        let (fixture, next, schedule) = (Arc::clone(&fixture), Arc::clone(&next), schedule.clone());
        tokio::spawn(async move {
            let mut worker = Worker::start(fixture).await;
            let mut reports = Vec::new();
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count) {
                reports.push((index, worker.run(&schedule(index)).await));
            }
            reports
        })
    });
    let mut reports = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        reports.extend(worker.await.expect("no panic"));
    }
    reports.sort_unstable_by_key(|(index, _)| *index);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// `make test-faults` sets the variables that these tests read.
#[test]
fn make_sets_the_variables_that_are_read_here() {
    let make = std::process::Command::new("make")
        .args(["--no-print-directory", "--dry-run", "test-faults", "MINUTES=7"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_remove("MAKEFLAGS")
        .output()
        .expect("make");
    let recipe = String::from_utf8_lossy(&make.stdout).into_owned();
    for said in ["FUNCTION_BINARY=", "FAULTS_ALL=1", "FAULTS_MINUTES=7", "cargo test --locked --test faults"] {
        assert!(recipe.contains(said), "{said} is not in {recipe}");
    }
}
