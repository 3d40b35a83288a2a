//! What is asked for and what goes wrong meanwhile; and how many schedules are carried out at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::course::{ALL, Course};
use crate::fault::{Fault, OF_A_CALL, Planned};
use crate::fixture::Fixture;
use crate::worker::Worker;

/// Schedules that are under way at once: most of them wait most of the time.
const WORKERS: usize = 8;

/// One schedule.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// What is asked for, and the clips' names. All come in one batch.
    pub requests: Vec<(&'static Course, String)>,
    pub plan: Vec<Planned>,
    /// The one recording that the API lists, if not the course's own.
    pub listed: Option<String>,
    /// What ffmpeg does instead of its work, in the first delivery.
    pub ffmpeg: Option<&'static str>,
    /// When the process is killed, in the first delivery.
    pub killed_after: Option<Duration>,
    /// Whether it may end without any announcement.
    pub deaf: bool,
    /// The time that each delivery has, if not the usual.
    pub within: Option<Duration>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: Vec<&str> = self.requests.iter().map(|(course, _)| course.camera).collect();
        let plan: Vec<String> = self.plan.iter().map(Planned::to_string).collect();
        write!(f, "{}: {}", requests.join(", "), plan.join(", "))?;
        self.ffmpeg.iter().try_for_each(|how| write!(f, ", ffmpeg: {how}"))?;
        self.killed_after.iter().try_for_each(|after| write!(f, ", killed after {after:?}"))
    }
}

impl Schedule {
    /// One request, with what goes wrong.
    pub fn of(course: &'static Course, clip: String, plan: Vec<Planned>) -> Self {
        Self { requests: vec![(course, clip)], plan, ..Self::default() }
    }

    /// The schedule of a seed: one to five faults at any calls, in ffmpeg, of the process.
    pub fn random(seed: u64, name: &str) -> Self {
        let mut dice = Dice(seed);
        let course = ALL[1 + dice.below(ALL.len() - 1)];
        let faults = 1 + dice.below(5);
        let plan = (0..faults).map(|_| {
            let kinds = OF_A_CALL.len();
            let fault = match dice.below(kinds + 2) {
                n if n < kinds => OF_A_CALL[n],
                n if n == kinds => Fault::KillBefore,
                _ => Fault::KillAfter,
            };
            Planned { call: dice.below(32), fault, lasting: dice.below(4) == 0 }
        });
        let plan = plan.collect();
        let ffmpeg = [None, None, None, Some("hang"), Some("fail"), Some("killed"), Some("nothing"), Some("rubbish")];
        let ffmpeg = ffmpeg[dice.below(ffmpeg.len())];
        Self { ffmpeg, ..Self::of(course, format!("{name}-{seed}"), plan) }
    }
}

/// A stream of numbers that look random, the same for the same seed (`SplitMix64`).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).expect("below a usize")
    }
}

/// A number from the environment: how much is tried, or where it begins.
pub fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// A name for clips that nobody else in this run takes.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Carries out schedules, several at once, and insists that nothing happens that must not. Tells the faults that befell,
/// and how often. `again` is the command that repeats schedule n.
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
            let (mut befell, mut wrong) = (Vec::new(), Vec::new());
            while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count) {
                let schedule = schedule(index);
                let report = worker.run(&schedule).await;
                if !report.violations.is_empty() {
                    let (violations, faults) = (report.violations.join("; "), report.befell.join(", "));
                    let (calls, said) = (report.calls.join(", "), worker.errors().join("\n    "));
                    wrong.push(format!(
                        "{schedule}\n  {violations}\n  befell: {faults}\n  calls: {calls}\n  logged: {said}\n  again: {}",
                        again(index)
                    ));
                }
                befell.extend(report.befell);
            }
            (befell, wrong)
        })
    });
    let (mut befell, mut wrong) = (BTreeMap::new(), Vec::new());
    for worker in workers.collect::<Vec<_>>() {
        let (more, bad) = worker.await.expect("no panic");
        for fault in more {
            *befell.entry(fault).or_default() += 1;
        }
        wrong.extend(bad);
    }
    assert!(wrong.is_empty(), "{} of {count} schedules:\n{}", wrong.len(), wrong.join("\n"));
    befell
}

/// What a person types, `make test-faults`, says in the environment what is read here.
#[test]
fn make_says_what_is_read_here() {
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
