//! SIGTERM ends the process cleanly, together with its ffmpeg.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::Fixture;
use crate::patience::in_time;
use crate::queue::{Queue, event};
use crate::scenario::WAITING;
use crate::stub::in_place_of_ffmpeg;
use crate::worker::Worker;

fn send_sigterm(id: u32) {
    kill_process(Pid::from_raw(id.cast_signed()).expect("it runs"), Signal::TERM).expect("sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_leaves_nothing() {
    let mut worker = Worker::start(Fixture::get().await).await;
    let mut queue = Queue::new(crate::scenario::SENT, 1);
    queue.send("{}", 0);
    let function = worker.function().await;
    function.invoke(&event(&queue.receive(1)), Duration::from_secs(62)).await; // now it runs, and handles SIGTERM
    send_sigterm(function.id());
    assert!(function.ended().await, "{}", worker.log());
    assert_eq!(worker.scratch_folders(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_at_work_takes_its_ffmpeg_with_it() {
    let mut worker = Worker::with_ffmpeg(Fixture::get().await, in_place_of_ffmpeg).await;
    // after this invocation, the trial of ffmpeg at the start is over
    worker.function().await.invoke(&event(&[]), Duration::from_secs(62)).await;
    std::fs::write(worker.folder.path().join("ffmpeg-fault"), "hang\n").expect("written");
    worker.servers.schedule(&[]);
    worker.servers.shared.state().age_ms = 60_000;
    let mut queue = Queue::new(crate::scenario::SENT, 1);
    queue.send(&WAITING.body("told-to-end"), 0);
    let function = worker.function().await;
    let id = function.id();
    let children = async {
        loop {
            let children = crate::function::children(id);
            if !children.is_empty() {
                send_sigterm(id);
                return children;
            }
            tokio::time::sleep(Duration::from_millis(5)).await; // waiting for a process
        }
    };
    let request = event(&queue.receive(1));
    let children = in_time("the function starts ffmpeg", children);
    let (ended, children) = tokio::join!(function.invoke(&request, Duration::from_secs(62)), children);
    assert_eq!(ended, crate::function::Ended::Died);
    assert!(function.ended().await, "{}", worker.log());
    for child in children {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "ffmpeg still runs: {state}");
    }
    assert_eq!(worker.scratch_folders(), 0);
}
