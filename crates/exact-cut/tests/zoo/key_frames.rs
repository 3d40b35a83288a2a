//! Key frames that `stss` does not list are found without reading all that lies before.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use exact_cut::deadline::Deadline;
use exact_cut::ffmpeg::run::Ffmpeg;
use exact_cut::source::{OpenedObject, PinnedObject, RecordingStore, SourceError};
use exact_cut::{ClipRequest, ListedRecording, LocalFolder, Span, Timestamp, cut};
use futures::future::BoxFuture;
use tempfile::TempDir;
use testkit::footage::Footage;
use testkit::paths::ffmpeg;

use super::cameras::footage;
use super::{T0, mp4_edit};

/// Counts the bytes that are fetched of local files, and the ranges.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<(AtomicU64, AtomicU64)>);

#[derive(Debug)]
struct Counted {
    object: Arc<dyn PinnedObject>,
    counts: Counting,
}

impl RecordingStore for Counting {
    fn open<'a>(
        &'a self,
        name: &'a str,
        length: u64,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OpenedObject, SourceError>> {
        Box::pin(async move {
            let OpenedObject { first_bytes, object } = LocalFolder::new("/").open(name, length, deadline).await?;
            Ok(OpenedObject { first_bytes, object: Arc::new(Counted { object, counts: self.clone() }) })
        })
    }
}

impl PinnedObject for Counted {
    fn name(&self) -> &str {
        self.object.name()
    }

    fn length(&self) -> u64 {
        self.object.length()
    }

    fn modified(&self) -> Option<Timestamp> {
        self.object.modified()
    }

    fn read(&self, range: Range<u64>, deadline: Deadline) -> BoxFuture<'_, Result<Vec<u8>, SourceError>> {
        self.object.read(range, deadline)
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        let Counting(counts) = &self.counts;
        counts.0.fetch_add(ranges.iter().map(|range| range.end - range.start).sum(), Ordering::Relaxed);
        counts.1.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        self.object.fetch(ranges, file, deadline)
    }
}

/// Cuts 3 s, beginning 50 s after the start of a minute of footage whose first key frame alone is listed. Returns how many
/// frames were copied and encoded, the part of the file that was fetched, and the number of ranges.
async fn cut_late(options: &str) -> (usize, usize, f64, u64) {
    let minute = Footage { frames: 750, rate: "12.5", ..footage(options) };
    let file: PathBuf = mp4_edit::listing_only_the_first(&minute.file());
    let (store, folder) = (Counting::default(), TempDir::new().expect("a folder"));
    let at = |ms: i64| Timestamp::from_ms(T0 + ms).expect("in range");
    let recording = ListedRecording { start: at(0), name: file.display().to_string(), end: None };
    let span = Span::new(at(50_301), at(53_307)).expect("in order");
    let request = ClipRequest { recordings: vec![recording], span };
    let clip = cut(&store, request, &Ffmpeg::new(ffmpeg(), None), &folder.path().join("clip.mp4")).await;
    let report = clip.expect("a clip").report;
    let length = std::fs::metadata(&file).expect("a file").len();
    let (bytes, ranges) = (store.0.0.load(Ordering::Relaxed), store.0.1.load(Ordering::Relaxed));
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
