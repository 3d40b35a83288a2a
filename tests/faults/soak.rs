//! Many requests through one warm process.

use testkit::random::{number_from_env, unique_name};

use crate::fixture::Fixture;
use crate::function::resident;
use crate::scenario::WAITING;
use crate::schedule::Schedule;
use crate::worker::Worker;

/// Returns the number of open files, and the resident memory in KiB.
fn held(id: u32) -> (usize, u64) {
    let files = std::fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count();
    (files, resident(&id.to_string()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_process_does_not_grow() {
    let count = if number_from_env("FAULTS_ALL", 0) == 0 { 60 } else { 1000 };
    let mut worker = Worker::start(Fixture::get().await).await;
    let id = worker.function().await.id();
    let mut warm = None;
    for request in 1..=count {
        let report = worker.run(&Schedule::of(&WAITING, unique_name("soak"), Vec::new())).await;
        assert_eq!(report.violations, Vec::<String>::new(), "request {request}");
        if request == count / 10 {
            warm = Some(held(id));
        }
    }
    assert_eq!(worker.function().await.id(), id, "one process served all");
    let ((files_warm, memory_warm), (files, memory)) = (warm.expect("count is 10 or more"), held(id));
    println!("{count} requests: open files {files_warm} then {files}, resident {memory_warm} KiB then {memory} KiB");
    // connections are kept for a while: a few more or fewer are not a leak
    assert!(files <= files_warm + 8, "open files: {files_warm}, then {files}");
    assert!(count < 1000 || memory * 100 <= memory_warm * 105, "resident KiB: {memory_warm}, then {memory}");
}
