//! Every call meets every fault.

use std::collections::BTreeMap;

use testkit::random::{number_from_env, unique_name};

use crate::fault::{Fault, OF_A_CALL, Planned, Which};
use crate::fixture::Fixture;
use crate::scenario::WAITING;
use crate::schedule::{Schedule, run_all};
use crate::worker::Worker;

/// Injects each of `faults` at every call of a scenario that makes every call.
async fn at_every_call(test: &str, faults: &[Fault], lasting: bool, every: usize) -> BTreeMap<String, usize> {
    let mut worker = Worker::start(Fixture::get().await).await;
    let calls = worker.run(&Schedule::of(&WAITING, unique_name("calls"), Vec::new())).await.calls.len();
    let each = |call| faults.iter().map(move |&fault| Planned { call: Which::Number(call), fault, lasting });
    let all: Vec<Planned> = (0..calls).flat_map(each).step_by(every).collect();
    let schedule = {
        let all = all.clone();
        move |index: usize| Schedule::of(&WAITING, unique_name("single"), vec![all[index]])
    };
    let again = format!("cargo test --locked --test faults {test}");
    run_all(|_| Fixture::ffmpeg(), all.len(), schedule, move |_| again.clone()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_meets_every_fault() {
    let injected = at_every_call("every_call_meets_every_fault", &OF_A_CALL, false, 1).await;
    let faults: usize = injected.values().sum();
    println!("{faults} single faults, {} kinds of call and fault", injected.len());
    assert!(faults >= 180, "{injected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_meets_every_fault_until_the_delivery_is_over() {
    // a third of them, unless all are asked for: 17 kinds and 3 have no common factor, so each call meets some
    let every = if number_from_env("FAULTS_ALL", 0) == 0 { 3 } else { 1 };
    let injected = at_every_call("until_the_delivery_is_over", &OF_A_CALL, true, every).await;
    println!(
        "{} calls met lasting faults, {} kinds of call and fault",
        injected.values().sum::<usize>(),
        injected.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_killed_at_every_call() {
    let injected = at_every_call("killed_at_every_call", &[Fault::KillBefore, Fault::KillAfter], false, 1).await;
    println!("killed {} times at a call", injected.values().sum::<usize>());
}

/// Tests the tests: they must notice a violation.
#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_without_effect_is_noticed() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let lie = Planned { call: Which::First("SNS Publish"), fault: Fault::Lie, lasting: false };
    let report = worker.run(&Schedule::of(&WAITING, unique_name("lie"), vec![lie])).await;
    assert!(report.violations.iter().any(|violation| violation.starts_with("A: ")), "{report:?}");
}
