//! Crowds: what bounds the function, and which knob helps. `cargo test --test simulation -- --nocapture crowds` prints the
//! table of docs/operations.md.

use crate::function::Durations;
use crate::world::{Asked, History, World};

/// What a clip of the benchmark's named case takes on two cores, and a look-up that finds nothing (docs/operations.md, "Scale").
const DURATIONS: Durations = Durations { look_up: 200, render: 1000 };

/// A crowd in numbers.
struct Row {
    crowd: &'static str,
    concurrency: usize,
    /// Time until every request is announced, in s.
    drained_s: i64,
    /// Median and 99th percentile of the time that a user waits, in s.
    waits_s: [i64; 2],
    /// Times of requests in the queue before their first delivery: 99th percentile, in s.
    queued_s: i64,
    invocations: usize,
}

impl Row {
    fn of(crowd: &'static str, concurrency: usize, requests: Vec<Asked>, watched: usize) -> Self {
        let world = World { requests, concurrency, durations: DURATIONS, ..World::default() };
        let history = world.run();
        assert!(history.ends.iter().all(|end| end.announced.len() == 1 && !end.is_dead), "{crowd}");
        let most = history.ends.iter().map(|end| end.messages).max().unwrap_or_default();
        assert!(most < 100, "far from the alarm: {most} messages of one request");
        let first = world.requests.len() - watched;
        let waits = sorted(world.requests[first..].iter().zip(&history.ends[first..]).map(|(asked, end)| {
            let announced = end.announced.first().expect("announced").0;
            announced - asked.sent.max(asked.span_end).max(asked.footage)
        }));
        let queued = sorted(history.ends[first..].iter().map(|end| end.queued));
        let History { over, invocations, .. } = history;
        let [median, last] = [50, 99].map(|percent| percentile(&waits, percent) / 1000);
        let queued_s = percentile(&queued, 99) / 1000;
        Self {
            crowd,
            concurrency,
            drained_s: over / 1000,
            waits_s: [median, last],
            queued_s,
            invocations: invocations.len(),
        }
    }
}

fn sorted(values: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values
}

fn percentile(sorted: &[i64], percent: usize) -> i64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn at_once(count: usize) -> Vec<Asked> {
    vec![Asked { sent: 0, span_end: -1000, footage: 0 }; count]
}

/// Returns requests that wait ten minutes for their footage, and then one ready request a second.
fn waiting_and_ready(waiting: usize, ready: i64) -> Vec<Asked> {
    let wait = Asked { sent: 0, span_end: -1000, footage: 600_000 };
    let ready = (0..ready).map(|second| Asked { sent: second * 1000, span_end: second * 1000 - 1000, footage: 0 });
    std::iter::repeat_n(wait, waiting).chain(ready).collect()
}

#[test]
fn crowds_are_served_as_fast_as_the_concurrency_allows() {
    let mut rows = Vec::new();
    for concurrency in [10, 50, 100] {
        rows.push(Row::of("10,000 at once", concurrency, at_once(10_000), 10_000));
    }
    for concurrency in [10, 50, 100] {
        rows.push(Row::of("10,000 waiting; ready ones", concurrency, waiting_and_ready(10_000, 500), 500));
    }
    rows.push(Row::of("one camera 1,000 times", 10, at_once(1000), 1000));
    println!("| crowd | concurrency | drained after | wait, median | wait, p99 | in the queue, p99 | invocations |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for Row { crowd, concurrency, drained_s, waits_s: [median, last], queued_s, invocations } in &rows {
        println!("| {crowd} | {concurrency} | {drained_s} s | {median} s | {last} s | {queued_s} s | {invocations} |");
    }
    let drained: Vec<i64> = rows[..3].iter().map(|row| row.drained_s).collect();
    assert_eq!(drained, [1200, 240, 120], "10,000 × 1.2 s, by the concurrency");
    assert!(rows[3].waits_s[1] > rows[5].waits_s[1], "polls keep ready requests waiting");
}
