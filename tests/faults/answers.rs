//! Answers of AWS that only the real one gives: expired credentials, a wrong clock, a bucket elsewhere, keys of KMS, archives.
//! The codes are those of the API references of S3, SQS and SNS ("Error responses", "Common errors").

use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use testkit::random::unique_name;

use crate::fault::{Fault, Planned, Which};
use crate::fixture::Fixture;
use crate::scenario::{JOINT, Scenario, WAITING};
use crate::schedule::{Schedule, run_each};
use crate::worker::{Report, Worker};

const MAX_COST: Duration = Duration::from_secs(20);

/// Runs `scenario` once for each of `faults`: the first call of that name meets it, and so do later ones until the delivery is
/// over.
async fn answered(scenario: &'static Scenario, faults: &[(&'static str, Fault)]) -> Vec<(&'static str, Report)> {
    let plan = |&(name, fault)| Planned { call: Which::First(name), fault, lasting: true };
    let plans: Vec<Planned> = faults.iter().map(plan).collect();
    let schedule = move |index: usize| Schedule::of(scenario, unique_name("answered"), vec![plans[index]]);
    let reports = run_each(faults.len(), schedule).await;
    faults.iter().map(|&(name, _)| name).zip(reports).collect()
}

fn assert_passed(reports: &[(&str, Report)]) {
    for (name, report) in reports {
        assert_eq!(report.violations, Vec::<String>::new(), "{name}");
        assert!(!report.injected.is_empty(), "{name}");
        assert!(!report.put.contains(&"FATAL_ERROR".to_owned()), "{name}: {:?}", report.put);
        assert!(report.took.iter().all(|took| *took < MAX_COST), "{name}: {:?}", report.took);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials_are_no_lasting_failure() {
    let reports = answered(
        &WAITING,
        &[
            ("S3 HEAD clip", Fault::Code(400, "ExpiredToken")),
            ("S3 GET recording", Fault::Code(400, "ExpiredToken")),
            ("S3 PUT clip", Fault::Code(400, "ExpiredToken")),
            ("SQS SendMessage", Fault::Code(403, "ExpiredTokenException")),
            ("SNS Publish", Fault::Code(403, "ExpiredToken")),
        ],
    )
    .await;
    assert_passed(&reports);
    for (name, report) in &reports {
        assert_eq!(report.took.len(), 3, "{name}: one delivery fails, and comes back as transient: {report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_an_hour_wrong_fails_no_delivery() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let mut schedule = Schedule::of(&WAITING, unique_name("clock"), Vec::new());
    let usual = worker.run(&schedule).await.took.len();
    for wrong in [TimeDelta::hours(1), TimeDelta::hours(-1)] {
        worker.function = None; // the SDKs of this process know the right time
        schedule.clock = Some(DateTime::<Utc>::from(SystemTime::now()) + wrong);
        schedule.requests = vec![(&WAITING, unique_name("clock"))];
        let report = worker.run(&schedule).await;
        let refused: Vec<&str> = report.injected.iter().filter_map(|refused| refused.split(' ').next()).collect();
        for service in ["S3", "SQS", "SNS"] {
            assert!(refused.contains(&service), "{service}: {:?}", report.injected);
        }
        assert_eq!(report.took.len(), usual, "{wrong}: {}", worker.log());
        assert_passed(&[("clock", report)]);
        assert!(!worker.log().contains("stored clips not recognized"), "{}", worker.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_elsewhere_fails_the_record_until_it_is_back() {
    let moved = Fault::Code(301, "PermanentRedirect");
    let reports =
        answered(&JOINT, &[("S3 HEAD clip", moved), ("S3 GET recording", moved), ("S3 PUT clip", moved)]).await;
    assert_passed(&reports);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_bucket_elsewhere_names_its_region() {
    let mut worker = Worker::start(Fixture::get().await).await;
    for name in ["S3 HEAD clip", "S3 GET recording"] {
        let fault = Fault::Code(301, "PermanentRedirect");
        let plan = vec![Planned { call: Which::First(name), fault, lasting: true }];
        worker.run(&Schedule::of(&JOINT, unique_name("region"), plan)).await;
        assert!(worker.log().contains("the bucket is in the region eu-west-1"), "{name}: {}", worker.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_and_forbidden_keys_fail_the_record_until_they_work() {
    let reports = answered(
        &WAITING,
        &[
            ("S3 GET recording", Fault::Code(403, "AccessDenied")),
            ("S3 GET recording", Fault::Code(400, "KMS.DisabledException")),
            ("S3 PUT clip", Fault::Code(503, "SlowDown")),
            ("S3 PUT clip", Fault::Code(400, "ThrottlingException")),
            ("SQS SendMessage", Fault::Code(400, "KmsThrottled")),
            ("SNS Publish", Fault::Code(400, "KMSThrottling")),
        ],
    )
    .await;
    assert_passed(&reports);
}

/// Here ministack itself compares the CRC-32 that is sent with the body.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_changes_on_its_way_is_refused_and_stored_at_the_next_delivery() {
    let mut worker = Worker::start(Fixture::get().await).await;
    for name in ["S3 PUT clip", "S3 PUT thumbnail"] {
        let plan = vec![Planned { call: Which::First(name), fault: Fault::Corrupt, lasting: false }];
        let report = worker.run(&Schedule::of(&JOINT, unique_name("changed"), plan)).await;
        assert_eq!((report.took.len(), report.announced.len()), (2, 1), "{name}: {report:?}");
        assert_passed(&[(name, report)]);
        assert!(worker.log().contains("answered 400 Bad Request: BadDigest: "), "{}", worker.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_in_an_archive_is_announced_once_it_is_restored() {
    let reports = answered(&JOINT, &[("S3 GET recording", Fault::Code(403, "InvalidObjectState"))]).await;
    assert_passed(&reports);
    assert_eq!(reports[0].1.announced.len(), 1);
}
