//! Faults of the network below HTTP: connections that died while the process was frozen, black holes, TLS. Each passes, costs
//! at most 20 s (a service that stays silent for an upload: three attempts of 10 s), and nobody is told a wrong status. The
//! function has its real limits and the time of a real invocation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testkit::random::unique_name;

use crate::certificates::{Authority, HOST};
use crate::fault::{Fault, Planned, Which};
use crate::fixture::Fixture;
use crate::gate::{Door, Forgotten, Gate};
use crate::scenario::{JOINT, WAITING};
use crate::schedule::{Schedule, run_each};
use crate::worker::{Report, Worker};

/// The most that a fault may cost.
const MAX_COST: Duration = Duration::from_secs(20);
/// Time of the function, as the stack sets it.
const INVOCATION: Duration = Duration::from_mins(15);

/// Returns a worker whose function reaches the camera API and AWS through gates, in this order.
async fn gated(usual: &Door, scheme: &str, host: &str) -> (Worker, [Arc<Gate>; 2]) {
    let mut worker = Worker::start(Fixture::get().await).await;
    let camera = Arc::new(Gate::before(&worker.servers.camera, usual.clone()));
    let aws = Arc::new(Gate::before(&worker.servers.aws, usual.clone()));
    for (variable, gate) in [("CAM_SERVICES_URL", &camera), ("RECORDINGS_URL", &camera), ("AWS_ENDPOINT_URL", &aws)] {
        let port = gate.address.rsplit(':').next().expect("a port");
        worker.variables.push((variable.to_owned(), format!("{scheme}://{host}:{port}")));
    }
    worker.gates = vec![Arc::clone(&camera), Arc::clone(&aws)];
    (worker, [camera, aws])
}

fn request(name: &str) -> Schedule {
    Schedule { within: Some(INVOCATION), ..Schedule::of(&JOINT, unique_name(name), Vec::new()) }
}

/// Checks that all promises were kept, and that no delivery cost too much.
fn assert_passed(what: &str, report: &Report, worker: &Worker) {
    assert_eq!(report.violations, Vec::<String>::new(), "{what}: {}", worker.log());
    assert_eq!(report.announced.len(), 1, "{what}: {}", worker.log());
    assert!(!report.put.contains(&"FATAL_ERROR".to_owned()), "{what}: {:?}", report.put);
    assert!(report.took.iter().all(|took| *took < MAX_COST), "{what}: deliveries took {:?}", report.took);
}

async fn connections_forgotten_while_frozen(how: Forgotten) {
    let (mut worker, gates) = gated(&Door::Open, "http", "127.0.0.1").await;
    let report = worker.run(&request("before")).await;
    assert_passed("before the freeze", &report, &worker);
    let process = Pid::from_raw(worker.function().await.id().cast_signed()).expect("it runs");
    kill_process(process, Signal::STOP).expect("stopped");
    for gate in gates {
        assert!(gate.forget(how).await > 0, "the function keeps connections");
    }
    kill_process(process, Signal::CONT).expect("thawed");
    let report = worker.run(&request("after")).await;
    assert_passed(&format!("{how:?}"), &report, &worker);
    assert_eq!(report.took.len(), 1, "{how:?}: the delivery after the freeze succeeds; {}", worker.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_closed_while_the_process_was_frozen_fail_no_delivery() {
    connections_forgotten_while_frozen(Forgotten::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_were_reset_while_the_process_was_frozen_fail_no_delivery() {
    connections_forgotten_while_frozen(Forgotten::Reset).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_went_silent_while_the_process_was_frozen_fail_no_delivery() {
    connections_forgotten_while_frozen(Forgotten::Silent).await;
}

/// Time for the work of a delivery, on a machine that does much else.
const WORK: Duration = Duration::from_secs(10);

/// Returns what a connection costs that goes silent at a call of this name: the limit of the attempt.
fn cost_of_silence(name: &str) -> Duration {
    Duration::from_secs(match name {
        "SQS ChangeMessageVisibilityBatch" => 0, // it runs beside the work, and is given up with it
        "S3 PUT clip" | "S3 PUT thumbnail" => 10,
        _ if name.starts_with("camera") => 8,
        _ => 5,
    })
}

/// At each call in turn, an established connection goes silent, before the answer or in the middle of it, or drips. Others
/// work.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_goes_silent_fails_no_delivery() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let usual = worker.run(&Schedule::of(&WAITING, unique_name("calls"), Vec::new())).await;
    let faults = [Fault::Hang, Fault::SilentInBody, Fault::DripInBody];
    let calls = usual.calls.len();
    let planned = move |index: usize| (index % calls, faults[index / calls]);
    let silent = move |index| {
        let (call, fault) = planned(index);
        let plan = vec![Planned { call: Which::Number(call), fault, lasting: false }];
        Schedule { within: Some(INVOCATION), ..Schedule::of(&WAITING, unique_name("silent"), plan) }
    };
    for (index, report) in run_each(calls * faults.len(), silent).await.into_iter().enumerate() {
        let fault = planned(index).1;
        let [injected] = &report.injected[..] else { panic!("{fault:?} at call {}: {report:?}", planned(index).0) };
        assert_eq!(report.violations, Vec::<String>::new(), "{injected}");
        let name = injected.split(':').next().expect("a name");
        // a message that took effect is sent twice
        if name != "SQS SendMessage" || fault == Fault::Hang {
            assert_eq!(report.took.len(), usual.took.len(), "{injected}: no delivery fails; took {:?}", report.took);
        }
        let cost = cost_of_silence(name);
        let longest = *report.took.iter().max().expect("a delivery");
        assert!(longest < MAX_COST.min(cost + WORK), "{injected}: deliveries took {:?}", report.took);
        // short bodies drip in less time
        assert!(fault == Fault::DripInBody || longest >= cost, "{injected}: deliveries took {:?}", report.took);
    }
}

/// At each call in turn, a service goes silent until the delivery is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_goes_silent_costs_the_time_of_its_attempts_together() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let usual = worker.run(&Schedule::of(&WAITING, unique_name("calls"), Vec::new())).await;
    let names: BTreeSet<String> = usual.calls.into_iter().collect();
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    let plans = names.clone();
    let silent = move |index: usize| {
        let plan = vec![Planned { call: Which::First(plans[index]), fault: Fault::Hang, lasting: true }];
        Schedule { within: Some(INVOCATION), ..Schedule::of(&WAITING, unique_name("dead"), plan) }
    };
    for (name, report) in names.iter().zip(run_each(names.len(), silent).await) {
        assert_eq!(report.violations, Vec::<String>::new(), "{name}");
        assert!(!report.put.contains(&"FATAL_ERROR".to_owned()), "{name}: {:?}", report.put);
        let longest = *report.took.iter().max().expect("a delivery");
        let cost = match *name {
            _ if name.starts_with("camera") => Duration::from_secs(20),
            _ => 3 * cost_of_silence(name), // an upload has no limit of its own
        };
        assert!((cost..cost + WORK).contains(&longest), "{name}: deliveries took {:?}", report.took);
    }
}

/// Closes each gate in turn with `door` until the delivery is over. Returns what was logged meanwhile, and how long the
/// delivery took.
async fn a_closed_door_passes(
    door: &Door,
    usual: &Door,
    (scheme, host): (&str, &str),
    variables: &[(String, String)],
) -> [(String, Duration); 2] {
    let closed = [0, 1].map(|index| {
        Box::pin(async move {
            let (mut worker, gates) = gated(usual, scheme, host).await;
            worker.variables.extend_from_slice(variables);
            worker.function().await;
            gates[index].set(door.clone()).await;
            let report = worker.run(&request("closed")).await;
            let what = ["camera API", "AWS"][index];
            assert_passed(what, &report, &worker);
            assert_eq!(report.took.len(), 2, "{what}: the delivery fails and the next one succeeds; {}", worker.log());
            (worker.log(), report.took[0])
        })
    });
    let [camera, aws] = closed;
    let (camera, aws) = tokio::join!(camera, aws);
    [camera, aws]
}

/// Three attempts, each with 2 s to connect.
fn assert_is_the_time_to_connect(took: Duration, log: &str) {
    assert!(log.contains("\"error\""), "{log}");
    assert!(took >= 3 * Duration::from_secs(2), "{took:?}: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_costs_only_the_time_to_connect() {
    for (log, took) in a_closed_door_passes(&Door::Full, &Door::Open, ("http", "127.0.0.1"), &[]).await {
        assert_is_the_time_to_connect(took, &log);
    }
}

/// Returns an authority, the door that it vouches for, and the variable that makes the function trust it.
fn trusted() -> (Authority, Door, Vec<(String, String)>, tempfile::TempDir) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (authority, file) = (Authority::new(), folder.path().join("authority.pem"));
    authority.write(&file);
    let door = Door::Tls(authority.accepts(4000));
    (authority, door, vec![("SSL_CERT_FILE".to_owned(), file.display().to_string())], folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_named_and_passes() {
    let (authority, usual, variables, _folder) = trusted();
    let expired = Door::Tls(authority.accepts(2020));
    for (log, _) in a_closed_door_passes(&expired, &usual, ("https", HOST), &variables).await {
        assert!(log.contains("certificate expired"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_named_and_passes() {
    let (_authority, usual, variables, _folder) = trusted();
    let unknown = Door::Tls(Authority::new().accepts(4000));
    for (log, _) in a_closed_door_passes(&unknown, &usual, ("https", HOST), &variables).await {
        assert!(log.contains("UnknownIssuer") || log.contains("BadSignature"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_hangs_costs_only_the_time_to_connect() {
    let (_authority, usual, variables, _folder) = trusted();
    for (log, took) in a_closed_door_passes(&Door::Mute, &usual, ("https", HOST), &variables).await {
        assert_is_the_time_to_connect(took, &log);
    }
}
