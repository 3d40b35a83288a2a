//! Requests with known results.

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::footage::Footage;

/// Start of the first recording: 2018-09-16T17:30:17.000Z.
pub const T0: i64 = 1_537_119_017_000;
/// A marker in every secret, header, body and address that the function sees. It must not be logged.
pub const CANARY: &str = "canary7f3a";

/// A request, and what may be announced for it.
#[derive(Debug)]
pub struct Scenario {
    /// Id of the camera, which is the name of the scenario.
    pub camera: &'static str,
    /// The span, in ms after [`T0`].
    pub span: (i64, i64),
    /// Recordings: name, and time after the request at which the camera API lists it, in ms.
    pub recordings: &'static [(&'static str, i64)],
    /// Statuses that may be PUT or announced.
    pub may: &'static [&'static str],
    /// Statuses that may be announced last; none if the message ends in the dead-letter queue.
    pub ends: &'static [&'static str],
}

const FIRST: &str = "test.20180916T173017000.mp4";
const SECOND: &str = "test.20180916T173022000.mp4";
/// A text file.
const RUINED: &str = "test.20180916T183000000.mp4";

/// Footage of two recordings, the second of which arrives late. The function makes every call that it can make.
pub const WAITING: Scenario = Scenario {
    camera: "waiting",
    span: (4300, 5700),
    recordings: &[(FIRST, 0), (SECOND, 30_000)],
    may: &["CLIP_PENDING", "CLIP_AVAILABLE"],
    ends: &["CLIP_AVAILABLE"],
};

/// The same request, for whose second recording it waits more than 16 rounds of 60 s.
pub const LATE_FOOTAGE: Scenario =
    Scenario { camera: "late", recordings: &[(FIRST, 0), (SECOND, 1_500_000)], ..WAITING };

/// The same request, with both recordings from the start.
pub const JOINT: Scenario = Scenario { camera: "joint", recordings: &[(SECOND, 0), (FIRST, 0)], ..WAITING };

/// All scenarios. The first has no recordings of its own.
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

/// Returns the scenario with this name.
pub fn named(camera: &str) -> Option<&'static Scenario> {
    ALL.into_iter().chain([&LATE_FOOTAGE]).find(|scenario| scenario.camera == camera)
}

/// A span so far from the request that its footage is not waited for.
const LATE: Scenario = Scenario { span: (-100_000_000, -99_990_000), ..WAITING };

/// Instant at which requests are sent, in ms since the epoch: just after most spans.
pub const SENT: i64 = T0 + 6000;

impl Scenario {
    /// Returns the body of the message for a clip.
    pub fn body(&self, clip: &str) -> String {
        let (from, to) = self.span;
        json!({
            "clipId": clip, "cameraId": self.camera, "startTimestampInMs": T0 + from, "endTimestampInMs": T0 + to,
            "retryTimestamps": [], "note": CANARY,
        })
        .to_string()
    }

    /// Returns the answer of the recordings API, `after` ms after the request was sent.
    pub fn listed(&self, after: i64) -> Value {
        self.recordings.iter().filter(|(_, appears)| *appears <= after).map(|(name, _)| self.entry(name)).collect()
    }

    /// Returns the entry of a recording in that answer.
    pub fn entry(&self, name: &str) -> Value {
        json!({
            "startDate": "2018-09-16T17:30:17.000Z", "endDate": "2018-09-16T18:30:27.000Z", "alias": self.camera,
            "recordingUrl": format!("https://camrewinds.test.com/test/{name}?X-Amz-Signature={CANARY}"),
            "thumbLargeUrl": CANARY, "thumbSmallUrl": CANARY,
        })
    }

    /// Returns the numbers of the frames of the clip.
    pub fn frames(&self) -> Vec<u32> {
        match self.camera {
            "copied" => (60..119).collect(),
            _ => (129..150).chain(1000..1021).collect(),
        }
    }
}

/// Returns names and files of all recordings in the bucket.
pub fn footage() -> Vec<(&'static str, PathBuf)> {
    vec![
        (FIRST, Footage::default().file()),
        (SECOND, Footage { first: 1000, ..Footage::default() }.file()),
        (RUINED, std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")),
    ]
}
