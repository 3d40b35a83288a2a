//! The alarms of the stack, on what happens in the simulation.

use testkit::stack_template::{TEMPLATE, default_of};

use crate::function::{Durations, Service};
use crate::world::{Asked, HOUR_MS, History, Invocation, Life, World};

const MINUTE_MS: i64 = 60_000;
/// Time between two self-checks, as the template schedules them.
const CHECKED_EVERY_MS: i64 = 15 * MINUTE_MS;

/// The value of a metric in a period, given by its begin and its end.
type Metric<'a> = dyn Fn(i64, i64) -> i64 + 'a;

/// An alarm of the template.
#[derive(Debug)]
struct Alarm {
    threshold: i64,
    period_ms: i64,
    periods: usize,
    is_inclusive: bool,
}

impl Alarm {
    /// Reads an alarm of the template.
    fn named(name: &str) -> Self {
        let (_, block) = TEMPLATE.split_once(&format!("\n  {name}:\n")).unwrap_or_else(|| panic!("{name}"));
        let value = |property: &str| {
            let line = block.lines().find_map(|line| line.trim().strip_prefix(&format!("{property}: ")));
            line.unwrap_or_else(|| panic!("{property} of {name}")).to_owned()
        };
        let number = |property| {
            let value = value(property);
            let parameter = value.strip_prefix("!Ref ").map(|parameter| default_of(parameter).into());
            parameter.unwrap_or_else(|| value.parse::<i64>().unwrap_or_else(|_| panic!("{property} of {name}")))
        };
        Self {
            threshold: number("Threshold"),
            period_ms: number("Period") * 1000,
            periods: number("EvaluationPeriods").try_into().expect("positive"),
            is_inclusive: value("ComparisonOperator") == "GreaterThanOrEqualToThreshold",
        }
    }

    /// Returns whether the alarm fires at a metric, wherever its periods begin.
    fn fires(&self, until: i64, metric: impl Fn(i64, i64) -> i64) -> bool {
        (0..self.period_ms).step_by(20_000).any(|offset| {
            let periods = (offset - self.period_ms..until).step_by(self.period_ms.try_into().expect("positive"));
            let breaching: Vec<bool> = periods
                .map(|from| {
                    let value = metric(from, from + self.period_ms);
                    value > self.threshold || self.is_inclusive && value == self.threshold
                })
                .collect();
            breaching.windows(self.periods).any(|window| window.iter().all(|&breaching| breaching))
        })
    }
}

/// Returns the greatest age of a message in a period, in seconds, with hidden messages included.
///
/// By its documentation, SQS leaves messages out of this metric that were received more than three times (Amazon SQS
/// Developer Guide, "Available `CloudWatch` metrics for Amazon SQS"). Here they count, which is the worse case.
fn oldest_s(history: &History, from: i64, to: i64) -> i64 {
    let age = |life: &Life| {
        let until = life.deleted.min(to);
        if life.sent < to && until > from { (until - life.sent) / 1000 } else { 0 }
    };
    history.lives.iter().map(age).max().unwrap_or_default()
}

fn failures(history: &History, from: i64, to: i64) -> i64 {
    let failed = history.lives.iter().flat_map(|life| &life.failed).filter(|&&at| (from..to).contains(&at));
    i64::try_from(failed.count()).expect("small")
}

/// Returns the greatest number of messages of a request, among those that are received in a period.
fn tries(history: &History, from: i64, to: i64) -> i64 {
    let in_period = |life: &&Life| life.received.iter().any(|at| (from..to).contains(at));
    history.lives.iter().filter(in_period).map(|life| life.tries.into()).max().unwrap_or_default()
}

/// Returns the duration that 1 % of the invocations of a period exceed, in ms.
fn p99_ms(history: &History, from: i64, to: i64) -> i64 {
    let in_period = history.invocations.iter().filter(|Invocation { over, .. }| (from..to).contains(over));
    let mut durations: Vec<i64> = in_period.map(|invocation| invocation.took_ms).collect();
    durations.sort_unstable();
    durations.get((durations.len() * 99 / 100).min(durations.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// Returns the number of self-checks in a period that find a service out of order. The first check comes after `first`.
fn failed_checks(world: &World, first: i64, from: i64, to: i64) -> i64 {
    let Some((_, outage)) = &world.outage else { return 0 };
    let checks = (first..to).step_by(usize::try_from(CHECKED_EVERY_MS).expect("positive"));
    i64::try_from(checks.filter(|at| *at >= from && outage.contains(at)).count()).expect("small")
}

/// Runs the world, and returns the alarms that fire.
fn firing(world: &World) -> Vec<&'static str> {
    let history = world.run();
    let until = history.over + HOUR_MS;
    let first_check = i64::try_from(world.seed).expect("small") * MINUTE_MS % CHECKED_EVERY_MS;
    let metrics: [(&str, &Metric); 5] = [
        ("OldestMessageAlarm", &|from, to| oldest_s(&history, from, to)),
        ("FailuresAlarm", &|from, to| failures(&history, from, to)),
        ("SlowAlarm", &|from, to| p99_ms(&history, from, to)),
        ("TriesAlarm", &|from, to| tries(&history, from, to)),
        ("SelfCheckAlarm", &|from, to| failed_checks(world, first_check, from, to)),
    ];
    let fires = metrics.into_iter().filter(|(name, metric)| Alarm::named(name).fires(until, metric));
    let mut firing: Vec<&str> = fires.map(|(name, _)| name).collect();
    if history.ends.iter().any(|end| end.is_dead) {
        firing.push("DeadLettersAlarm");
    }
    firing
}

fn requests(count: i64, every_ms: i64) -> Vec<Asked> {
    let asked = |number| {
        let sent = number * every_ms;
        Asked { sent, span_end: sent - 1000, footage: sent }
    };
    (0..count).map(asked).collect()
}

/// Returns a request whose footage comes after 14 minutes.
fn late(asked: Asked) -> Asked {
    Asked { footage: asked.sent + 880_000, ..asked }
}

#[test]
fn no_alarm_fires_for_a_fault_that_passes() {
    for minutes in [1, 3, 5, 10, 20] {
        for service in [Service::CameraApi, Service::Clips, Service::Recordings, Service::Sns] {
            let outage = Some((service, 0..minutes * MINUTE_MS));
            for seed in 0..20 {
                let world = World { requests: requests(1, 0), outage: outage.clone(), seed, ..World::default() };
                let mut fired = firing(&world);
                // two self-checks find what lasts longer than the time between them
                fired.retain(|alarm| *alarm != "SelfCheckAlarm" || minutes * MINUTE_MS <= CHECKED_EVERY_MS);
                assert!(fired.is_empty(), "{service:?} for {minutes} min, seed {seed}: {fired:?}");
            }
        }
    }
}

/// Without SQS, a message that failed comes back after its visibility timeout, so somebody does wait for an hour and a half.
#[test]
fn a_fault_of_sqs_raises_the_alarm_for_old_messages_only() {
    let mut raised = 0;
    for minutes in [1, 5, 10] {
        let outage = Some((Service::Sqs, 2 * MINUTE_MS..(2 + minutes) * MINUTE_MS));
        for seed in 0..20 {
            let requests = requests(1, 0).into_iter().map(late).collect();
            let fired = firing(&World { requests, outage: outage.clone(), seed, ..World::default() });
            assert!(matches!(fired[..], [] | ["OldestMessageAlarm"]), "{minutes} min, seed {seed}: {fired:?}");
            raised += fired.len();
        }
    }
    assert!(raised > 0, "the request is sent back every minute");
}

#[test]
fn no_alarm_fires_for_requests_that_wait_for_footage() {
    let requests = requests(200, 10_000).into_iter().map(late).collect();
    let fired = firing(&World { requests, ..World::default() });
    assert!(fired.is_empty(), "{fired:?}");
}

#[test]
fn self_checks_come_as_often_as_the_template_says() {
    let minutes = CHECKED_EVERY_MS / MINUTE_MS;
    assert!(TEMPLATE.contains(&format!("ScheduleExpression: rate({minutes} minutes)")), "{minutes}");
}

#[test]
fn an_outage_and_a_crowd_raise_an_alarm() {
    let outage = Some((Service::CameraApi, 0..HOUR_MS));
    let fired = firing(&World { requests: requests(200, 10_000), outage, ..World::default() });
    assert!(["FailuresAlarm", "SelfCheckAlarm"].iter().all(|alarm| fired.contains(alarm)), "{fired:?}");
    let fired = firing(&World { requests: requests(30_000, 1), ..World::default() });
    assert_eq!(fired, ["OldestMessageAlarm"], "an hour of work that arrives at once");
    let outage = Some((Service::CameraApi, 0..10 * HOUR_MS));
    let fired = firing(&World { requests: requests(1, 0), outage, ..World::default() });
    assert!(fired.contains(&"DeadLettersAlarm"), "{fired:?}");
    let durations = Durations { look_up: 200, render: 850_000 };
    let fired = firing(&World { requests: requests(10, 300_000), durations, ..World::default() });
    assert_eq!(fired, ["SlowAlarm"], "clips that take almost as long as an invocation may");
}
