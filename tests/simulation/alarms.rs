//! The alarms of the stack, on what happens in the simulation.

use testkit::stack_template::TEMPLATE;

use crate::function::Service;
use crate::world::{Asked, HOUR_MS, History, World};

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
        let number = |property| value(property).parse::<i64>().unwrap_or_else(|_| panic!("{property} of {name}"));
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
    let age = |life: &crate::world::Life| {
        let until = life.deleted.min(to);
        if life.sent < to && until > from { (until - life.sent) / 1000 } else { 0 }
    };
    history.lives.iter().map(age).max().unwrap_or_default()
}

fn failures(history: &History, from: i64, to: i64) -> i64 {
    let failed = history.lives.iter().flat_map(|life| &life.failed).filter(|&&at| (from..to).contains(&at));
    i64::try_from(failed.count()).expect("small")
}

/// Returns the alarms that fire.
fn firing(history: &History) -> Vec<&'static str> {
    let until = history.over + HOUR_MS;
    let mut firing = Vec::new();
    if Alarm::named("OldestMessageAlarm").fires(until, |from, to| oldest_s(history, from, to)) {
        firing.push("OldestMessageAlarm");
    }
    if Alarm::named("FailuresAlarm").fires(until, |from, to| failures(history, from, to)) {
        firing.push("FailuresAlarm");
    }
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

#[test]
fn no_alarm_fires_for_a_fault_that_passes() {
    for minutes in [1, 3, 5, 10, 20] {
        for service in [Service::CameraApi, Service::Clips, Service::Recordings, Service::Sns] {
            let outage = Some((service, 0..minutes * 60_000));
            for seed in 0..20 {
                let world = World { requests: requests(1, 0), outage: outage.clone(), seed, ..World::default() };
                let fired = firing(&world.run());
                assert!(fired.is_empty(), "{service:?} for {minutes} min, seed {seed}: {fired:?}");
            }
        }
    }
}

#[test]
fn no_alarm_fires_for_requests_that_wait_for_footage() {
    let late = |asked: Asked| Asked { footage: asked.sent + 880_000, ..asked };
    let requests = requests(200, 10_000).into_iter().map(late).collect();
    let fired = firing(&World { requests, ..World::default() }.run());
    assert!(fired.is_empty(), "{fired:?}");
}

#[test]
fn an_outage_and_a_crowd_raise_an_alarm() {
    let outage = Some((Service::CameraApi, 0..HOUR_MS));
    let fired = firing(&World { requests: requests(200, 10_000), outage, ..World::default() }.run());
    assert!(fired.contains(&"FailuresAlarm"), "{fired:?}");
    let fired = firing(&World { requests: requests(30_000, 1), ..World::default() }.run());
    assert_eq!(fired, ["OldestMessageAlarm"], "an hour of work that arrives at once");
    let outage = Some((Service::CameraApi, 0..10 * HOUR_MS));
    let fired = firing(&World { requests: requests(1, 0), outage, ..World::default() }.run());
    assert!(fired.contains(&"DeadLettersAlarm"), "{fired:?}");
}
