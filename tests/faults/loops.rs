//! Requests that wait for footage in a loop of messages, and Lambda, which stops loops.

use testkit::random::unique_name;

use crate::fixture::Fixture;
use crate::scenario::LATE_FOOTAGE;
use crate::schedule::Schedule;
use crate::worker::{Report, Worker};

async fn run(cuts_loops: bool) -> (Report, String) {
    let mut worker = Worker::start(Fixture::get().await).await;
    let plain = Schedule::of(&LATE_FOOTAGE, unique_name("loop"), Vec::new());
    let report = worker.run(&Schedule { cuts_loops, may_end_unannounced: cuts_loops, ..plain }).await;
    assert!(report.violations.is_empty(), "{report:?}\n{}", worker.log());
    (report, worker.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_for_more_than_16_rounds_is_announced_with_the_settings_of_the_stack() {
    let (report, log) = run(false).await;
    let pending = report.put.iter().filter(|status| *status == "CLIP_PENDING").count();
    assert!(pending > 16, "Lambda would stop it: {report:?}");
    assert_eq!(report.put.last().map(String::as_str), Some("CLIP_AVAILABLE"));
    assert!(report.dead.is_empty() && report.announced.len() == 1, "{report:?}");
    let tries = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let most = tries.filter_map(|line| line["tries"].as_u64()).max().expect("lines");
    assert_eq!(usize::try_from(most).expect("few"), pending + 1, "the log counts the messages");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_that_setting_lambda_stops_it_and_nobody_is_told() {
    let (report, _) = run(true).await;
    assert_eq!(report.put, ["CLIP_PENDING"; 16], "one in each invocation: {report:?}");
    assert!(report.announced.is_empty() && report.dead.len() == 1, "{report:?}");
}
