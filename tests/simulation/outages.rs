//! A service that is out of order for three hours.

use cameras_service_generate_clip::contract::status::Status;

use crate::function::Service;
use crate::world::{Asked, End, HOUR_MS, World};

const SERVICES: [Service; 5] = [Service::CameraApi, Service::Recordings, Service::Clips, Service::Sqs, Service::Sns];
const OUTAGE_MS: i64 = 3 * HOUR_MS;
const REQUESTS: usize = 200;

/// Returns requests that arrive throughout the outage and a little before it. The footage of every third is late.
fn requests() -> Vec<Asked> {
    let step = (OUTAGE_MS + 60_000) / i64::try_from(REQUESTS).expect("small");
    let asked = |index: usize| {
        let number = i64::try_from(index).expect("small");
        let sent = number * step;
        let late = if index.is_multiple_of(3) { (number % 14) * 60_000 } else { 0 };
        Asked { sent, span_end: sent - 1000, footage: sent + late }
    };
    (0..REQUESTS).map(asked).collect()
}

fn is_announced_once_and_truly(end: &End) -> bool {
    let announced = matches!(end.announced[..], [(_, Status::Available)]);
    announced && !end.is_dead && end.put.iter().all(|status| matches!(status, Status::Pending | Status::Available))
}

#[test]
fn an_outage_of_three_hours_of_any_service_costs_no_message_and_tells_nobody_a_wrong_status() {
    for service in SERVICES {
        for (seed, shortest_waits) in [(1, true), (2, false), (3, false)] {
            // a minute after the first requests
            let outage = Some((service, 60_000..60_000 + OUTAGE_MS));
            let world = World { requests: requests(), outage, seed, shortest_waits, ..World::default() };
            let history = world.run();
            let wrong: Vec<&End> = history.ends.iter().filter(|end| !is_announced_once_and_truly(end)).collect();
            assert!(wrong.is_empty(), "{service:?}, seed {seed}: {} of {REQUESTS}: {:#?}", wrong.len(), wrong[0]);
            let last = history.over - 60_000 - OUTAGE_MS;
            let waits_at_most = match service {
                // without SQS no message can be shown again earlier than its visibility timeout says
                Service::Sqs => 5400,
                _ => 3600 * 6 / 5,
            };
            assert!(last / 1000 <= waits_at_most + 900, "{service:?}: {} s after the outage", last / 1000);
        }
    }
}

#[test]
fn an_outage_that_is_longer_than_all_waits_ends_in_dead_letters() {
    // what the test above says would be worth nothing if the model never lost a message
    let outage = Some((Service::CameraApi, 0..5 * HOUR_MS));
    let requests = vec![Asked { sent: 0, span_end: -1000, footage: 0 }];
    let history = World { requests, outage, ..World::default() }.run();
    assert!(history.ends[0].is_dead && history.ends[0].announced.is_empty(), "{history:?}");
    let outage = Some((Service::Sns, 0..5 * HOUR_MS));
    let requests = vec![Asked { sent: 0, span_end: -1000, footage: 0 }];
    let history = World { requests, outage, ..World::default() }.run();
    assert_eq!(history.ends[0].put, [Status::Available; 8], "the clip is there: {history:?}");
}

#[test]
fn a_fault_of_seconds_costs_seconds() {
    for service in SERVICES {
        let outage = Some((service, 0..5000));
        let requests = vec![Asked { sent: 0, span_end: -1000, footage: 0 }];
        let history = World { requests, outage, ..World::default() }.run();
        let [(announced, _)] = history.ends[0].announced[..] else { panic!("{history:?}") };
        assert!(announced <= 45_000, "{service:?}: {announced} ms");
    }
}
