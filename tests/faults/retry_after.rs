//! `Retry-After` of the camera API (docs/contract.md, section 2): up to 10 s are waited for; more fails the record, whose
//! message then stays hidden for at least that time.

use std::time::Duration;

use testkit::random::unique_name;

use crate::fault::Fault;
use crate::scenario::JOINT;
use crate::schedule::{Schedule, run_each};
use crate::worker::Report;

/// The calls of the camera API.
const CALLS: [&str; 3] = ["camera GET camera", "camera GET recordings", "camera PUT clip"];
/// The answers that may have a `Retry-After` (RFC 9110, section 15.6.4; RFC 6585, section 4).
const STATUSES: [u16; 2] = [429, 503];

/// Runs a request for each call and status. The first answer to the call has a `Retry-After` of so many seconds.
async fn told_to_wait(seconds: u32) -> Vec<(&'static str, Report)> {
    let cases = CALLS.map(|name| STATUSES.map(|status| (name, Fault::RetryAfter(status, seconds), 1))).concat();
    let failing = cases.clone();
    let schedule = move |index: usize| Schedule {
        failing: Some(failing[index]),
        ..Schedule::of(&JOINT, unique_name("wait"), Vec::new())
    };
    let reports = run_each(cases.len(), schedule).await;
    let reports: Vec<(&str, Report)> = cases.into_iter().map(|(name, ..)| name).zip(reports).collect();
    for (name, report) in &reports {
        assert_eq!(report.violations, Vec::<String>::new(), "{name}");
        assert_eq!((report.injected.len(), report.announced.len()), (1, 1), "{name}: {report:?}");
        assert!(!report.put.contains(&"FATAL_ERROR".to_owned()), "{name}: {:?}", report.put);
    }
    reports
}

fn calls(report: &Report, name: &str) -> usize {
    report.calls.iter().filter(|call| *call == name).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_of_a_second_is_waited_for() {
    for (name, report) in told_to_wait(1).await {
        let [took] = report.took[..] else { panic!("{name}: one delivery: {report:?}") };
        assert!(took >= Duration::from_secs(1), "{name}: {took:?}");
        assert_eq!(calls(&report, name), 2, "{name}: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_after_of_two_minutes_hides_the_message_for_at_least_as_long() {
    for (name, report) in told_to_wait(120).await {
        assert_eq!(report.took.len(), 2, "{name}: {report:?}");
        assert_eq!(calls(&report, name), 2, "{name}: once in each delivery: {report:?}");
        let [_at_the_start, failed, ..] = &report.hidden[..] else { panic!("{name}: {report:?}") };
        assert!((120..=144).contains(&failed[0]), "{name}: two minutes, and up to 20 % more: {failed:?}");
        assert!(report.lasted_s >= 120, "{name}: {report:?}");
    }
}
