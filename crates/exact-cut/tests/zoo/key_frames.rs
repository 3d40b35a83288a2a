//! Key frames that `stss` does not list are found without reading all that lies before.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::{ClipRequest, ListedRecording, Span, Timestamp, cut};
use tempfile::TempDir;
use testkit::footage::Footage;
use testkit::paths::ffmpeg;

use super::cameras::footage;
use super::watched_store::WatchedStore;
use super::{T0, mp4_edit};

/// Cuts 3 s, beginning 50 s after the start of a minute of footage whose first key frame alone is listed. Returns how many
/// frames were copied and encoded, the part of the file that was fetched, and the number of ranges.
async fn cut_late(options: &str) -> (usize, usize, f64, u64) {
    let minute = Footage { frames: 750, rate: "12.5", ..footage(options) };
    let file: PathBuf = mp4_edit::listing_only_the_first(&minute.file());
    let (counts, folder) = (Arc::new((AtomicU64::new(0), AtomicU64::new(0))), TempDir::new().expect("a folder"));
    let counting = Arc::clone(&counts);
    let store = WatchedStore::new(move |ranges| {
        counting.0.fetch_add(ranges.iter().map(|range| range.end - range.start).sum(), Ordering::Relaxed);
        counting.1.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        true
    });
    let at = |ms: i64| Timestamp::from_ms(T0 + ms).expect("in range");
    let recording = ListedRecording { start: at(0), name: file.display().to_string(), end: None };
    let span = Span::new(at(50_301), at(53_307)).expect("in order");
    let request = ClipRequest { recordings: vec![recording], span };
    let clip = cut(&store, request, &Ffmpeg::new(ffmpeg(), None), &folder.path().join("clip.mp4")).await;
    let report = clip.expect("a clip").report;
    let length = std::fs::metadata(&file).expect("a file").len();
    let (bytes, ranges) = (counts.0.load(Ordering::Relaxed), counts.1.load(Ordering::Relaxed));
    #[allow(clippy::cast_precision_loss)] // some megabytes
    let part = bytes as f64 / length as f64;
    (report.copied, report.encoded, part, ranges)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_frame_that_is_not_listed_is_found_before_the_cut() {
    let (copied, encoded, part, ranges) = cut_late("-bf 0 -g 25").await;
    assert!(copied >= 12 && encoded <= 25, "{copied} frames are copied, {encoded} are encoded");
    assert!(part < 0.2 && ranges <= 40, "{part} of the file was fetched in {ranges} ranges");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_frame_everything_before_is_decoded() {
    let (copied, encoded, part, ranges) = cut_late("-bf 0 -g 9999").await;
    assert_eq!((copied, encoded), (0, 38));
    assert!(part > 0.8 && ranges <= 40, "{part} of the file was fetched in {ranges} ranges");
}
