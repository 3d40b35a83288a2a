//! Runs schedules one after the other, with faulty servers, a warm process of the function, and a queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use testkit::stack_template::STACK;

use crate::effect::Effect;
use crate::fault::Planned;
use crate::faulty_servers::FaultyServers;
use crate::fixture::Fixture;
use crate::function::{Ended, Function, children};
use crate::gate::Gate;
use crate::queue::{self, Entry, Queue};
use crate::scenario::{CANARY, SENT, Scenario};
use crate::schedule::Schedule;

/// Time before the deadline at which the function ends its work.
const ANSWER_RESERVE: Duration = Duration::from_secs(2);
/// Additional time of a delivery in which a call hangs. It doubles with each delivery: the machine may be busy.
const SHORT: Duration = Duration::from_millis(600);
const LONG: Duration = Duration::from_secs(62);
/// The longest run. A message that goes round for ever would be delivered for ever.
const MAX_RUN: Duration = Duration::from_mins(10);

/// The result of a schedule.
#[derive(Debug, Default)]
pub struct Report {
    /// Violations of the promises.
    pub violations: Vec<String>,
    /// Announced metadata, in order.
    pub announced: Vec<Value>,
    /// Statuses that were PUT, in order.
    pub put: Vec<String>,
    /// Names of the calls, in order.
    pub calls: Vec<String>,
    /// The injected faults.
    pub injected: Vec<String>,
    /// Seconds for which messages were hidden, call by call.
    pub hidden: Vec<Vec<i64>>,
    /// Clips of the messages in the dead-letter queue.
    pub dead: Vec<String>,
    /// Time from the request to the end of the last delivery, in seconds.
    pub lasted_s: i64,
    /// How long each delivery took.
    pub took: Vec<Duration>,
}

/// Runs schedules.
pub struct Worker {
    pub servers: FaultyServers,
    pub function: Option<Function>,
    /// Environment of every process of the function.
    pub variables: Vec<(String, String)>,
    /// Command that starts the function, which is its last argument; may be empty.
    pub launcher: Vec<String>,
    pub folder: TempDir,
    /// Gates whose faults last until the delivery is over.
    pub gates: Vec<Arc<Gate>>,
    pub took: Vec<Duration>,
}

impl Worker {
    pub async fn start(fixture: Arc<Fixture>) -> Self {
        Self::with_ffmpeg(fixture, |_| Fixture::ffmpeg()).await
    }

    /// Starts a worker whose ffmpeg is the one that `ffmpeg` writes into the folder of the worker.
    pub async fn with_ffmpeg(fixture: Arc<Fixture>, ffmpeg: impl Fn(&Path) -> PathBuf) -> Self {
        let servers = FaultyServers::start(fixture).await;
        let folder = TempDir::new().expect("a folder");
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).expect("made");
        let variables =
            servers.shared.fixture.variables(&servers.aws, &servers.camera, &scratch, &ffmpeg(folder.path()));
        let (launcher, gates, took) = (Vec::new(), Vec::new(), Vec::new());
        Self { servers, function: None, variables, launcher, folder, gates, took }
    }

    /// Returns the log of the function.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns the failures in the log since the last success.
    pub fn errors(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().rev().take_while(|line| !line.contains("request finished")).filter_map(|line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some(line["error"].as_str()?.to_owned())
        });
        lines.collect()
    }

    /// Returns the number of scratch folders of processes.
    pub fn scratch_folders(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("scratch")).expect("readable").count()
    }

    /// Returns the warm process, or starts one.
    pub async fn function(&mut self) -> &mut Function {
        if self.function.is_none() {
            let function = Function::start(&self.launcher, &self.variables, &self.folder.path().join("log")).await;
            self.servers.shared.state().victim = function.id();
            self.function = Some(function);
        }
        self.function.as_mut().expect("just started")
    }

    /// Sends the requests of `schedule` and delivers until the queue is empty, with the faults of the schedule.
    pub async fn run(&mut self, schedule: &Schedule) -> Report {
        self.servers.schedule(&schedule.plan);
        self.servers.shared.state().fatal_is_true = schedule.fatal_is_true || schedule.ffmpeg.is_some();
        self.servers.shared.state().clock = schedule.clock;
        self.servers.shared.state().failing = schedule.failing;
        self.servers.shared.state().listed.clone_from(&schedule.listed);
        let mut queue = Queue::new(SENT, schedule.max_receives.unwrap_or(STACK.max_receives));
        queue.reports = !schedule.ignores_failures;
        queue.allows_loops &= !schedule.cuts_loops;
        for (scenario, clip) in &schedule.requests {
            queue.send(&scenario.body(clip), 0);
        }
        let begun = Instant::now();
        for nth in 0.. {
            let taken = queue.receive(10);
            assert!(begun.elapsed() < MAX_RUN, "not over after {nth} deliveries: {schedule}\n{}", self.log());
            if taken.is_empty() {
                break;
            }
            self.deliver(&mut queue, &taken, schedule, nth).await;
        }
        for (scenario, clip) in schedule.requests.iter().filter(|_| !schedule.may_end_unannounced) {
            self.judge_the_end(scenario, clip, &queue);
        }
        let mut state = self.servers.shared.state();
        Report {
            violations: std::mem::take(&mut state.violations),
            announced: state.effects.iter().filter_map(announced).cloned().collect(),
            put: state.effects.iter().filter_map(put).collect(),
            hidden: state.effects.iter().filter_map(hidden).collect(),
            dead: queue.dead.iter().map(Entry::clip).collect(),
            lasted_s: (queue.now_ms - SENT) / 1000,
            took: std::mem::take(&mut self.took),
            calls: std::mem::take(&mut state.calls),
            injected: std::mem::take(&mut state.injected),
        }
    }

    /// Makes the `nth` delivery, and checks the promises after it.
    async fn deliver(&mut self, queue: &mut Queue, taken: &[Entry], schedule: &Schedule, nth: u32) {
        let (hangs, effects) = {
            let mut state = self.servers.shared.state();
            state.age_ms = queue.now_ms - SENT;
            state.is_last_delivery = queue.is_last_delivery(taken);
            let is_ahead = |planned: &Planned| planned.call.is_ahead(&state.calls) && planned.fault.takes_time();
            (schedule.plan.iter().any(is_ahead), state.effects.len())
        };
        let within = if hangs || nth == 0 && schedule.ffmpeg == Some("hang") {
            ANSWER_RESERVE + SHORT * (1 << nth.min(5))
        } else {
            LONG
        };
        let broken = self.folder.path().join("ffmpeg-fault");
        if let Some(how) = schedule.ffmpeg.filter(|_| nth == 0) {
            std::fs::write(&broken, format!("{how}\n")).expect("written");
        }
        self.function().await;
        let killer = schedule.killed_after.filter(|_| nth == 0).map(|after| {
            let shared = Arc::clone(&self.servers.shared);
            tokio::spawn(async move {
                tokio::time::sleep(after).await; // the instant itself is what is tried
                shared.state().injected.push(format!("Kill after {after:?}"));
                shared.kill();
            })
        });
        let begun = Instant::now();
        let ended = self.function().await.invoke(&queue::event(taken), schedule.within.unwrap_or(within)).await;
        self.took.push(begun.elapsed());
        if let Some(killer) = killer {
            killer.abort();
            let _ = killer.await;
        }
        let _ = std::fs::remove_file(broken);
        self.servers.delivery_is_over().await;
        for gate in &self.gates {
            gate.open().await;
        }
        let left = self.left_behind(&ended);
        let mut state = self.servers.shared.state();
        let said = state.effects[effects..].to_vec();
        let mut done = Vec::new();
        for effect in &said {
            match effect {
                Effect::Hidden(messages) => messages.iter().for_each(|(handle, s)| queue.hide(handle, *s)),
                Effect::Deleted(handles) => done.extend(handles.iter().filter_map(|handle| queue.delete(handle))),
                _ => {}
            }
        }
        done.extend(queue.settle(taken, &ended));
        for effect in &said {
            if let Effect::SentBack { body, delay_s, trace } = effect {
                queue.send_on(body, *delay_s, trace.as_deref());
            }
        }
        for entry in done {
            // A: what is deleted has been announced or sent back, in this very delivery
            let handed_on = |effect: &Effect| !matches!(effect, Effect::Put { .. }) && effect.clip() == entry.clip();
            if !said.iter().any(handed_on) {
                state.violations.push(format!("A: {} is deleted, but neither announced nor sent back", entry.clip()));
            }
        }
        let killed = state.injected.iter().any(|injected| injected.contains("Kill"));
        match ended {
            Ended::TimedOut => state.violations.push("no answer before the deadline".to_owned()),
            Ended::Died if !killed => state.violations.push("the process died".to_owned()),
            _ if !left.is_empty() => state.violations.push(format!("left behind: {left:?}")),
            _ => {}
        }
    }

    /// Returns files and processes that exist although no request is being served.
    fn left_behind(&mut self, ended: &Ended) -> Vec<String> {
        if matches!(ended, Ended::Died | Ended::TimedOut) {
            self.function = None; // what it left is for the next one to remove
            return Vec::new();
        }
        let children =
            self.function.iter().flat_map(|function| children(function.id())).map(|child| format!("process {child}"));
        // as the function sees them: it may have a disk of its own
        let root = self.function.as_ref().map(|function| format!("/proc/{}/root", function.id())).unwrap_or_default();
        let scratch = format!("{root}{}", self.folder.path().join("scratch").display());
        let files = files(Path::new(&scratch)).into_iter().map(|file| file.display().to_string());
        children.chain(files).collect()
    }

    /// Checks the promises for a request after the last delivery.
    fn judge_the_end(&self, scenario: &Scenario, clip: &str, queue: &Queue) {
        let mut state = self.servers.shared.state();
        let of_clip = state.effects.iter().filter(|effect| effect.clip() == clip);
        let mut announced: Vec<Value> = of_clip.filter_map(announced).cloned().collect();
        let last = announced.last().and_then(|last| last["status"].as_str());
        if last.map_or(!scenario.ends.is_empty(), |last| !scenario.ends.contains(&last)) {
            let dead = queue.dead.len();
            state.violations.push(format!("A: the last announcement is {last:?}, with {dead} dead letters"));
        }
        announced.dedup();
        if announced.len() > 1 {
            state.violations.push(format!("C: {} different announcements", announced.len()));
        }
        if self.log().contains(CANARY) {
            state.violations.push("a secret was logged".to_owned());
        }
    }
}

fn announced(effect: &Effect) -> Option<&Value> {
    match effect {
        Effect::Announced(metadata) => Some(metadata),
        _ => None,
    }
}

fn put(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Put { metadata, .. } => metadata["status"].as_str().map(str::to_owned),
        _ => None,
    }
}

fn hidden(effect: &Effect) -> Option<Vec<i64>> {
    match effect {
        Effect::Hidden(messages) => Some(messages.iter().map(|(_, seconds)| *seconds).collect()),
        _ => None,
    }
}

/// Returns the files in the folders of `scratch`.
fn files(scratch: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_mark = |file: &PathBuf| file.ends_with(exact_cut::scratch::MARK);
    entries(scratch).flat_map(|own| entries(&own).collect::<Vec<_>>()).filter(|file| !is_mark(file)).collect()
}
