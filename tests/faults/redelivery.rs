//! When failed messages come back, and what is told before they no longer do.

use std::time::Duration;

use testkit::random::unique_name;

use crate::effect::Effect;
use crate::fault::{Fault, Planned, Which};
use crate::fixture::Fixture;
use crate::queue::{Queue, event};
use crate::scenario::{ALL, SENT, Scenario};
use crate::schedule::Schedule;
use crate::stub::in_place_of_ffmpeg;
use crate::worker::{Report, Worker};

fn scenario(camera: &str) -> &'static Scenario {
    ALL.into_iter().find(|scenario| scenario.camera == camera).expect("a scenario")
}

/// Runs a schedule with these variables in the environment of the function.
async fn run(schedule: &Schedule, variables: &[(&str, &str)]) -> (Report, Worker) {
    let mut worker = Worker::start(Fixture::get().await).await;
    worker.variables.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    let report = worker.run(schedule).await;
    assert!(report.violations.is_empty(), "{report:?}\n{}", worker.log());
    (report, worker)
}

/// Attempts of a call before it fails.
const ATTEMPTS: usize = 3;
const ERROR: Fault = Fault::Status(500);
const HIDE: &str = "SQS ChangeMessageVisibilityBatch";

/// Returns a schedule of three requests in one event, the first of which fails once.
fn first_of_three_fails() -> Schedule {
    let requests = [("long", "a"), ("copied", "b"), ("nothing", "c")];
    let requests = requests.map(|(camera, n)| (scenario(camera), unique_name(n))).to_vec();
    Schedule { requests, failing: Some(("SNS Publish", ERROR, ATTEMPTS)), ..Schedule::default() }
}

/// From now on until the delivery is over, calls that hide messages meet this fault.
fn hiding_meets(fault: Fault) -> Vec<Planned> {
    vec![Planned { call: Which::First(HIDE), fault, lasting: true }]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_failed_comes_back_within_seconds() {
    let schedule = Schedule::of(scenario("long"), unique_name("back"), Vec::new());
    let (report, _) = run(&schedule, &[]).await;
    assert!(report.hidden.len() <= 1, "only at the start: {:?}", report.hidden);
    let schedule = Schedule { failing: Some(("SNS Publish", ERROR, ATTEMPTS)), ..schedule };
    let (report, _) = run(&schedule, &[]).await;
    let [start, failed, ..] = &report.hidden[..] else { panic!("two calls: {report:?}") };
    assert!((91..=92).contains(&start[0]), "what is left of 62 s and 30 s more: {start:?}");
    assert!((15..=18).contains(&failed[0]), "{failed:?}");
    assert!(report.lasted_s <= 25, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_delays_its_message_by_half_a_minute() {
    let killed = vec![Planned { call: Which::First("SNS Publish"), fault: Fault::KillBefore, lasting: false }];
    let (report, _) = run(&Schedule::of(scenario("copied"), unique_name("kill"), killed), &[]).await;
    assert!((90..=100).contains(&report.lasted_s), "62 s, 30 s, and the second delivery: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waits_of_8_deliveries_come_to_more_than_three_hours() {
    let ruined = Schedule::of(scenario("ruined"), unique_name("waits"), Vec::new());
    let (report, _) = run(&ruined, &[("SQS_RETRY_LIMIT", "0")]).await;
    let waits: Vec<i64> = report.hidden.iter().skip(1).step_by(2).map(|call| call[0]).collect();
    assert_eq!(waits.len(), 8, "{report:?}");
    for (wait, at_least) in waits.iter().zip([15, 60, 240, 960, 3600, 3600, 3600, 3600]) {
        assert!((at_least..=at_least + at_least / 5).contains(wait), "{waits:?}");
    }
    assert_eq!(report.dead.len(), 1);
    assert_eq!(report.put, ["FATAL_ERROR"; 8], "once a delivery, the last one included");
}

/// Runs the last delivery of a request, in which the calls of a name fail.
async fn run_last(failing: Option<&'static str>) -> Report {
    let failing = failing.map(|name| (name, ERROR, ATTEMPTS));
    let schedule = Schedule {
        max_receives: Some(1),
        may_end_unannounced: true,
        failing,
        ..Schedule::of(scenario("joint"), unique_name("last"), Vec::new())
    };
    run(&schedule, &[("SQS_MAX_RECEIVES", "1")]).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_of_the_last_delivery_is_told() {
    let report = run_last(None).await;
    assert_eq!((&report.put[..], report.dead.len()), (&["CLIP_AVAILABLE".to_owned()][..], 0));
    let report = run_last(Some("S3 PUT thumbnail")).await;
    assert_eq!(report.put, ["FATAL_ERROR"], "nothing is stored: {report:?}");
    assert_eq!((report.announced.len(), report.dead.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_the_last_delivery_has_put_stands() {
    let report = run_last(Some("SNS Publish")).await;
    assert_eq!(report.put, ["CLIP_AVAILABLE"], "{report:?}");
    assert_eq!((report.announced.len(), report.dead.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_that_is_stored_is_available_although_its_last_delivery_failed() {
    let report = run_last(Some("camera PUT clip")).await;
    // the API refused the first three
    assert_eq!(report.put, ["CLIP_AVAILABLE"; 4], "{report:?}");
    assert_eq!((report.announced.len(), report.dead.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_does_not_report_deletes_no_failed_message() {
    for (ignores_failures, reports) in [(true, "False"), (false, "True")] {
        for (failures, deletions) in [(ATTEMPTS, usize::from(ignores_failures)), (3 * ATTEMPTS, 0)] {
            let failing = Some(("SNS Publish", ERROR, failures));
            let schedule = Schedule { failing, ignores_failures, ..first_of_three_fails() };
            let (report, worker) = run(&schedule, &[("REPORT_BATCH_ITEM_FAILURES", reports)]).await;
            let deleted = report.calls.iter().filter(|call| *call == "SQS DeleteMessageBatch").count();
            assert_eq!(deleted, deletions, "{report:?}");
            assert_eq!(report.announced.len(), 3, "each once: {report:?}\n{}", worker.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_done_but_cannot_be_deleted_is_announced_again() {
    let plan = vec![Planned { call: Which::First("SQS DeleteMessageBatch"), fault: ERROR, lasting: true }];
    let schedule = Schedule { plan, ignores_failures: true, ..first_of_three_fails() };
    let (report, worker) = run(&schedule, &[("REPORT_BATCH_ITEM_FAILURES", "False")]).await;
    // the failed record comes back first, and the other two once they are visible again
    assert_eq!((report.took.len(), report.announced.len()), (3, 2 + 1 + 2), "{report:?}");
    assert!(worker.log().contains("finished messages not deleted"), "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_hides_all_messages_and_another_one_those_that_failed() {
    let (report, worker) = run(&first_of_three_fails(), &[("REPORT_BATCH_ITEM_FAILURES", "True")]).await;
    let state = worker.servers.shared.state();
    let hidden = state.effects.iter().filter_map(|effect| match effect {
        Effect::Hidden(messages) => Some(messages.iter().map(|(handle, _)| handle.as_str()).collect::<Vec<_>>()),
        _ => None,
    });
    let hidden: Vec<Vec<&str>> = hidden.collect();
    let first = |n: i32| format!("receipt-1-of-message-{n}");
    assert_eq!(hidden[0], [first(1), first(2), first(3)], "{report:?}");
    assert_eq!(hidden[1], [first(1)], "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hiding_messages_takes_at_most_5_s_a_call() {
    let within = Some(Duration::from_mins(15));
    let schedule = Schedule { plan: hiding_meets(Fault::Hang), within, ..first_of_three_fails() };
    let (report, _) = run(&schedule, &[("REPORT_BATCH_ITEM_FAILURES", "True")]).await;
    let took = report.took[0];
    // the first call begins with the work on the records, the second one after it
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(20), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_hide_messages_is_told_once() {
    let schedule = Schedule { plan: hiding_meets(Fault::Status(403)), ..first_of_three_fails() };
    let (report, worker) = run(&schedule, &[("REPORT_BATCH_ITEM_FAILURES", "True")]).await;
    assert_eq!(report.injected.iter().filter(|injected| injected.starts_with(HIDE)).count(), 2, "{report:?}");
    let warnings = worker.log().matches("visibility of messages not changed").count();
    assert_eq!(warnings, 1, "{}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_on_their_last_delivery_are_begun_first() {
    let mut worker = Worker::start(Fixture::get().await).await;
    worker.servers.schedule(&[]);
    let mut queue = Queue::new(SENT, testkit::stack_template::STACK.max_receives);
    let [early, late] = ["early", "late"].map(unique_name);
    queue.send(&scenario("long").body(&early), 0);
    for _ in 1..testkit::stack_template::STACK.max_receives {
        let taken = queue.receive(1);
        queue.hide(&taken[0].handle(), 0);
    }
    queue.send(&scenario("long").body(&late), 0);
    let mut taken = queue.receive(10);
    taken.sort_by_key(|entry| entry.clip() == early);
    assert!(queue.is_last_delivery(&taken[1..]) && !queue.is_last_delivery(&taken[..1]), "{taken:?}");
    worker.function().await.invoke(&event(&taken), Duration::from_mins(1)).await;
    let clips: Vec<String> = worker.servers.shared.state().effects.iter().filter_map(put).collect();
    assert_eq!(clips, [early, late], "{}", worker.log());
}

/// Returns the clip of a PUT.
fn put(effect: &Effect) -> Option<String> {
    matches!(effect, Effect::Put { .. }).then(|| effect.clip())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_a_last_delivery_ends_early_enough_to_tell_that_it_failed() {
    let mut worker = Worker::with_ffmpeg(Fixture::get().await, in_place_of_ffmpeg).await;
    worker.variables.push(("SQS_MAX_RECEIVES".to_owned(), "1".to_owned()));
    // after this invocation, the trial of ffmpeg at the start is over
    worker.function().await.invoke(&event(&[]), Duration::from_mins(1)).await;
    let within = Duration::from_secs(15);
    let schedule = Schedule {
        ffmpeg: Some("hang"),
        max_receives: Some(1),
        may_end_unannounced: true,
        within: Some(within),
        ..Schedule::of(scenario("joint"), unique_name("hangs"), Vec::new())
    };
    let report = worker.run(&schedule).await;
    assert!(report.violations.is_empty(), "{report:?}\n{}", worker.log());
    assert_eq!((&report.put[..], report.dead.len()), (&["FATAL_ERROR".to_owned()][..], 1), "{}", worker.log());
    let left = within.saturating_sub(report.took[0]);
    assert!(left > Duration::from_secs(5), "of 10 s: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_delivery_that_is_not_begun_is_sent_again_without_a_word() {
    let schedule = Schedule {
        max_receives: Some(1),
        within: Some(Duration::from_secs(11)),
        ..Schedule::of(scenario("long"), unique_name("again"), Vec::new())
    };
    let mut worker = Worker::start(Fixture::get().await).await;
    worker.variables.push(("SQS_MAX_RECEIVES".to_owned(), "1".to_owned()));
    // every delivery is too short, so the message goes round for ever
    let running = tokio::time::timeout(Duration::from_secs(3), worker.run(&schedule));
    assert!(running.await.is_err(), "the message is never dropped");
    let calls = worker.servers.shared.state().calls.clone();
    let is_allowed = |call: &String| matches!(call.as_str(), "SQS SendMessage" | "SQS ChangeMessageVisibilityBatch");
    assert!(calls.len() > 4 && calls.iter().all(is_allowed), "{calls:?}");
}
