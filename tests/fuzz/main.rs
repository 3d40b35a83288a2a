//! Feeds every reader and planner with valid inputs that were mutated at random. Nothing may panic. `cargo-fuzz` needs
//! a nightly toolchain; these tests need none, and make up by speed for having no guidance.
//!
//! `FUZZ_EXECUTIONS` is the number of inputs of each kind, and `FUZZ_SEED` the first seed. Inputs that failed once lie
//! in `regressions` and are tried first.

mod inputs;
mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use testkit::paths::kept_files;
use testkit::random::{SplitMix64, number_from_env};

use mutate::mutated;

/// Inputs of each kind: more than 100,000 of all kinds together.
const EXECUTIONS: u64 = 20_000;

/// Tries `target` on mutations of `seeds`.
fn fuzz(name: &str, seeds: &[Vec<u8>], target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/regressions").join(name);
    let mut regressions = 0;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        target(&std::fs::read(entry.path()).expect("readable"));
        regressions += 1;
    }
    let (first, count) = (number_from_env("FUZZ_SEED", 1), number_from_env("FUZZ_EXECUTIONS", EXECUTIONS));
    for seed in first..first + count {
        let input = mutated(seeds, &mut SplitMix64(seed));
        if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
            let kept = kept_files().join(format!("fuzz-{name}-{seed}"));
            std::fs::write(&kept, &input).expect("written");
            panic!(
                "{name} panics on {}; to repeat: FUZZ_SEED={seed} FUZZ_EXECUTIONS=1 cargo test --locked --test fuzz {name}",
                kept.display()
            );
        }
    }
    println!("{name}: {count} executions, seeds {first} to {}, and {regressions} regressions", first + count - 1);
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const JSON: &str = r#"{"clipId":"a-1","retryTimestamps":[1537119363007,"1537119363000"],"cameraId":"b_2","startTimestampInMs":"1537119363000","endTimestampInMs":1537119423000,"more":{"x":[1.5e3,null,true,"\u00e9\\"]}}"#;
const PYTHON: &str = r#"{'clipId': '1', 'retryTimestamps': [], 'cameraId': "it's", 'startTimestampInMs': 1537119363000, 'endTimestampInMs': 1537119423000, 'n': None, 't': (1, True), 'e': '\x41\'\n'}"#;

#[test]
fn body() {
    fuzz("body", &texts(&[JSON, PYTHON]), inputs::body);
}

#[test]
fn event() {
    let recorded = include_str!("../../events/event.json");
    let two = r#"{"Records":[{"messageId":"a","body":"{}","attributes":{"SentTimestamp":"1523232000000"}},{"messageId":"b"}]}"#;
    fuzz("event", &texts(&[recorded, two]), inputs::event);
}

#[test]
fn recordings() {
    let listed = r#"[{"startDate":"2018-09-16T17:30:17.000Z","endDate":"2018-09-16T17:40:17.051Z","recordingUrl":"https://h/a/c.stream.20180916T173017051.mp4?x=1"},{"recordingUrl":"https://h/%2e%2e/c.20180916T173017.mp4"},null]"#;
    fuzz("recordings", &texts(&[listed]), inputs::recordings);
}

#[test]
fn name() {
    let names = ["%Y%m%dT%H%M%S%f\n0\nhb.stream.20181031T025200051.mp4", "%d.%m.%y-%H%M%S\n1\nhb.31.10.18-025200.mp4"];
    fuzz("name", &texts(&names), inputs::name);
}

fn movies() -> Vec<Vec<u8>> {
    let front = include_bytes!("corpus/front.mp4").to_vec();
    vec![front, include_bytes!("corpus/b-frames.mp4").to_vec(), include_bytes!("corpus/fragmented.mp4").to_vec()]
}

#[test]
fn moov() {
    fuzz("moov", &movies(), inputs::moov);
}

#[test]
fn plan() {
    fuzz("plan", &movies(), inputs::plan);
}
