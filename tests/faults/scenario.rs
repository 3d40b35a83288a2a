//! What is asked for: requests whose right end is known.

use std::path::PathBuf;

use serde_json::{Value, json};

use testkit::footage::Footage;

/// 2018-09-16T17:30:17.000Z, when the first recording begins.
pub const T0: i64 = 1_537_119_017_000;
/// Stands in every secret, header, body and address that the function meets, and in nothing that it may log.
pub const CANARY: &str = "canary7f3a";

/// A request of one camera's footage.
#[derive(Debug)]
pub struct Scenario {
    /// Its camera, which names the scenario.
    pub camera: &'static str,
    /// The span, in ms after [`T0`].
    pub span: (i64, i64),
    /// Its recordings: name, and how long after the request was sent the API lists it, in ms.
    pub recordings: &'static [(&'static str, i64)],
    /// What may be said of it on the way.
    pub may: &'static [&'static str],
    /// What may be announced in the end; nothing for one that ends in the dead-letter queue.
    pub ends: &'static [&'static str],
}

const FIRST: &str = "test.20180916T173017000.mp4";
const SECOND: &str = "test.20180916T173022000.mp4";
/// Nothing but text.
const RUINED: &str = "test.20180916T183000000.mp4";

/// Footage of two recordings, the second of which comes late: every call there is.
pub const WAITING: Scenario = Scenario {
    camera: "waiting",
    span: (4300, 5700),
    recordings: &[(FIRST, 0), (SECOND, 30_000)],
    may: &["CLIP_PENDING", "CLIP_AVAILABLE"],
    ends: &["CLIP_AVAILABLE"],
};

/// The same, with all of it there from the start.
pub const JOINT: Scenario = Scenario { camera: "joint", recordings: &[(SECOND, 0), (FIRST, 0)], ..WAITING };

/// All courses; the first has no recordings of its own.
pub const ALL: [&Scenario; 7] = [
    &crate::hostile::SCENARIO,
    &WAITING,
    &JOINT,
    &Scenario {
        camera: "copied",
        span: (2000, 3950),
        recordings: &[(FIRST, 0)],
        may: &["CLIP_PENDING", "CLIP_AVAILABLE"],
        ends: &["CLIP_AVAILABLE"],
    },
    &Scenario {
        camera: "nothing",
        recordings: &[],
        may: &["CLIP_NOT_AVAILABLE"],
        ends: &["CLIP_NOT_AVAILABLE"],
        ..LATE
    },
    &Scenario { camera: "long", span: (0, 300_001), may: &["CLIP_TOO_LONG"], ends: &["CLIP_TOO_LONG"], ..WAITING },
    &Scenario {
        camera: "ruined",
        span: (3_583_000, 3_585_000),
        recordings: &[(RUINED, 0)],
        may: &["FATAL_ERROR", "CLIP_PENDING"],
        ends: &[],
    },
];

/// So far from when it is sent that nothing is waited for.
const LATE: Scenario = Scenario { span: (-100_000_000, -99_990_000), ..WAITING };

/// When requests are sent, in ms since the epoch: just after the span of most.
pub const SENT: i64 = T0 + 6000;

impl Scenario {
    /// The body of its message for the clip of that name.
    pub fn body(&self, clip: &str) -> String {
        let (from, to) = self.span;
        json!({
            "clipId": clip, "cameraId": self.camera, "startTimestampInMs": T0 + from, "endTimestampInMs": T0 + to,
            "retryTimestamps": [], "note": CANARY,
        })
        .to_string()
    }

    /// The recordings as the API lists them `after` ms after the request was sent.
    pub fn listed(&self, after: i64) -> Value {
        self.recordings.iter().filter(|(_, appears)| *appears <= after).map(|(name, _)| self.entry(name)).collect()
    }

    /// A recording as the API lists it.
    pub fn entry(&self, name: &str) -> Value {
        json!({
            "startDate": "2018-09-16T17:30:17.000Z", "endDate": "2018-09-16T18:30:27.000Z", "alias": self.camera,
            "recordingUrl": format!("https://camrewinds.test.com/test/{name}?X-Amz-Signature={CANARY}"),
            "thumbLargeUrl": CANARY, "thumbSmallUrl": CANARY,
        })
    }

    /// The numbers of the frames that its clip must show.
    pub fn frames(&self) -> Vec<u32> {
        match self.camera {
            "copied" => (60..119).collect(),
            _ => (129..150).chain(1000..1021).collect(),
        }
    }
}

/// All recordings of the bucket: name and file.
pub fn footage() -> Vec<(&'static str, PathBuf)> {
    vec![
        (FIRST, Footage::default().file()),
        (SECOND, Footage { first: 1000, ..Footage::default() }.file()),
        (RUINED, std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")),
    ]
}
