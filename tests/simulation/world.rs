//! The world: a queue with its trigger, requests, and an outage.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use cameras_service_generate_clip::contract::message_body::Request;
use cameras_service_generate_clip::contract::retry_schedule::{delay_range_s, hidden_while_working_s, wait_range_s};
use cameras_service_generate_clip::contract::status::Status;
use serde_json::json;
use testkit::random::SplitMix64;
use testkit::stack_template::STACK;

use crate::function::{Delivery, Durations, Service};

/// When the simulation begins, in ms since the epoch.
pub const BEGIN_MS: i64 = 1_537_119_000_000;
pub const HOUR_MS: i64 = 3_600_000;
/// The default of `SQS_TIMEOUT`.
const RETRY_DELAY_S: i32 = 60;

/// A request: all times in ms after the begin.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub sent: i64,
    /// The span, of one minute, ends then.
    pub span_end: i64,
    /// When the footage is there.
    pub footage: i64,
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub struct End {
    pub put: Vec<Status>,
    pub announced: Vec<(i64, Status)>,
    pub is_dead: bool,
    /// Messages of the request.
    pub messages: u32,
    /// Time of its first message in the queue.
    pub queued: i64,
    stored: bool,
}

/// A message from its sending to its deletion, and when its record failed.
#[derive(Clone, Debug)]
pub struct Life {
    pub sent: i64,
    pub deleted: i64,
    /// Number of this message among those of its request, counted from 1.
    pub tries: u32,
    /// When it was received.
    pub received: Vec<i64>,
    pub failed: Vec<i64>,
}

/// An invocation.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    pub over: i64,
    pub took_ms: i64,
}

#[derive(Clone, Debug)]
struct Message {
    request: usize,
    body: String,
    life: Life,
}

/// How the world is set up.
#[derive(Clone, Debug)]
pub struct World {
    pub requests: Vec<Asked>,
    pub outage: Option<(Service, Range<i64>)>,
    /// `MaximumConcurrency`.
    pub concurrency: usize,
    pub durations: Durations,
    /// Whether waits are always as short as the rules allow.
    pub shortest_waits: bool,
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub ends: Vec<End>,
    pub lives: Vec<Life>,
    /// When the last invocation ended.
    pub over: i64,
    pub invocations: Vec<Invocation>,
}

impl Default for World {
    fn default() -> Self {
        let durations = Durations { look_up: 200, render: 1000 };
        Self { requests: Vec::new(), outage: None, concurrency: 10, durations, shortest_waits: false, seed: 1 }
    }
}

impl World {
    /// Runs until the queue is empty.
    pub fn run(&self) -> History {
        let mut random = SplitMix64(self.seed);
        let mut history = History { ends: vec![End::default(); self.requests.len()], ..History::default() };
        let mut messages: Vec<Message> = Vec::new();
        // visible at, index; and when each invocation at a time is free
        let mut queue: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        let mut free: BinaryHeap<Reverse<i64>> = (0..self.concurrency).map(|_| Reverse(0)).collect();
        let send = |messages: &mut Vec<Message>, request, body, sent: i64, delay_ms: i64| {
            let life = Life { sent, deleted: i64::MAX, tries: 0, received: Vec::new(), failed: Vec::new() };
            messages.push(Message { request, body, life });
            Reverse((sent + delay_ms, messages.len() - 1))
        };
        for (index, asked) in self.requests.iter().enumerate() {
            queue.push(send(&mut messages, index, body(index, asked), asked.sent, 0));
        }
        while let Some(Reverse((visible, index))) = queue.pop() {
            let Reverse(slot) = free.pop().expect("at least one");
            let now = visible.max(slot);
            let Message { request, body, life } = &mut messages[index];
            let (request, asked, end) = (*request, self.requests[*request], &mut history.ends[*request]);
            if life.received.len() == usize::try_from(STACK.max_receives).expect("small") {
                end.is_dead = true;
                life.deleted = now;
                free.push(Reverse(slot));
                continue;
            }
            life.received.push(now);
            if life.received.len() == 1 {
                end.messages += 1;
                life.tries = end.messages;
                end.queued = if end.messages == 1 { now - life.sent } else { end.queued };
            }
            let works = |service| !matches!(&self.outage, Some((out, when)) if *out == service && when.contains(&now));
            let sent = (BEGIN_MS + life.sent).to_string();
            let parsed = Request::parse(body, Some(&sent)).expect("a good body");
            let receives = u32::try_from(life.received.len()).expect("small");
            let delivery = Delivery {
                request: &parsed,
                receives,
                is_stored: end.stored,
                has_footage: now >= asked.footage,
                durations: self.durations,
                works: &works,
            };
            let outcome = delivery.work();
            let over = now + outcome.took_ms;
            history.invocations.push(Invocation { over, took_ms: outcome.took_ms });
            history.over = history.over.max(over);
            free.push(Reverse(over));
            end.stored |= outcome.stored;
            end.put.extend(&outcome.put);
            end.announced.extend(outcome.announced.map(|status| (over, status)));
            if outcome.failed {
                life.failed.push(over);
                let wait = wait_range_s(receives, STACK.max_receives, None);
                let hidden_until = if works(Service::Sqs) {
                    over + i64::from(self.draw(wait, &mut random)) * 1000
                } else {
                    now + i64::try_from(STACK.visibility.as_millis()).expect("small")
                };
                queue.push(Reverse((hidden_until, index)));
            } else {
                life.deleted = over;
                if let Some(body) = outcome.sent_back {
                    let delay = i64::from(self.draw(delay_range_s(RETRY_DELAY_S), &mut random)) * 1000;
                    queue.push(send(&mut messages, request, body, over, delay));
                }
            }
        }
        history.lives = messages.into_iter().map(|message| message.life).collect();
        history
    }

    fn draw(&self, range: RangeInclusive<i32>, random: &mut SplitMix64) -> i32 {
        let width = usize::try_from(range.end() - range.start()).expect("in order");
        let drawn = random.below(width + 1);
        if self.shortest_waits { *range.start() } else { range.start() + i32::try_from(drawn).expect("small") }
    }
}

/// Returns the body of the first message of a request.
fn body(index: usize, asked: &Asked) -> String {
    let end = BEGIN_MS + asked.span_end;
    json!({
        "clipId": format!("clip-{index}"), "cameraId": "camera", "retryTimestamps": [],
        "startTimestampInMs": end - 60_000, "endTimestampInMs": end,
    })
    .to_string()
}

#[test]
fn a_message_that_is_being_worked_on_is_hidden_longer_than_the_invocation() {
    let hidden = Duration::from_secs(hidden_while_working_s(STACK.timeout).try_into().expect("positive"));
    assert!(hidden > STACK.timeout && hidden < STACK.visibility);
}
