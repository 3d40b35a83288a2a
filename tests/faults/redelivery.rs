//! When failed messages come back, and what is told before they no longer do.

use std::time::Duration;

use testkit::random::unique_name;

use crate::fault::{Fault, Planned, Which};
use crate::fixture::Fixture;
use crate::scenario::{ALL, Scenario};
use crate::schedule::Schedule;
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
    let requests = [("long", "a"), ("copied", "b"), ("nothing", "c")];
    for (ignores_failures, reports) in [(true, "False"), (false, "True")] {
        for (failures, deletions) in [(ATTEMPTS, usize::from(ignores_failures)), (3 * ATTEMPTS, 0)] {
            let failing = Some(("SNS Publish", ERROR, failures));
            let requests = requests.map(|(camera, n)| (scenario(camera), unique_name(n))).to_vec();
            let schedule = Schedule { requests, failing, ignores_failures, ..Schedule::default() };
            let (report, worker) = run(&schedule, &[("REPORT_BATCH_ITEM_FAILURES", reports)]).await;
            let deleted = report.calls.iter().filter(|call| *call == "SQS DeleteMessageBatch").count();
            assert_eq!(deleted, deletions, "{report:?}");
            assert_eq!(report.announced.len(), 3, "each once: {report:?}\n{}", worker.log());
        }
    }
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
