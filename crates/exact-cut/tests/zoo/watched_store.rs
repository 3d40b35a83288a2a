//! Local files, with a look at each fetch of their samples, and a list of all reads.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};

use exact_cut::deadline::Deadline;
use exact_cut::source::{OpenedObject, PinnedObject, RecordingStore, SourceError, SourceErrorKind};
use exact_cut::{LocalFolder, Timestamp};
use futures::future::BoxFuture;

/// Gets the ranges of a fetch. Returns whether the fetch may go on; else it fails, and another try might succeed.
type Watch = Arc<dyn Fn(&[Range<u64>]) -> bool + Send + Sync>;

/// The bytes that were read of a recording.
#[derive(Clone, Debug, Default)]
pub struct ReadLog {
    /// Reads of tables, the first one too.
    pub reads: Vec<Range<u64>>,
    /// Ranges that were fetched, for the clip.
    pub fetched: Vec<Range<u64>>,
}

/// What was read, by path.
type Logs = Arc<Mutex<BTreeMap<String, ReadLog>>>;

/// A store whose recordings are named by their paths.
pub struct WatchedStore {
    watch: Watch,
    logs: Logs,
}

impl WatchedStore {
    pub fn new(watch: impl Fn(&[Range<u64>]) -> bool + Send + Sync + 'static) -> Self {
        Self { watch: Arc::new(watch), logs: Logs::default() }
    }

    /// Returns what was read of a recording so far.
    pub fn log(&self, path: &Path) -> ReadLog {
        let logs = self.logs.lock().expect("no panic in between");
        logs.get(&path.display().to_string()).cloned().unwrap_or_default()
    }
}

struct WatchedObject {
    object: Arc<dyn PinnedObject>,
    watch: Watch,
    logs: Logs,
}

impl WatchedObject {
    fn note(&self, note: impl FnOnce(&mut ReadLog)) {
        note(self.logs.lock().expect("no panic in between").entry(self.name().to_owned()).or_default());
    }
}

impl std::fmt::Debug for WatchedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.object.fmt(f)
    }
}

impl RecordingStore for WatchedStore {
    fn open<'a>(
        &'a self,
        name: &'a str,
        length: u64,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OpenedObject, SourceError>> {
        Box::pin(async move {
            let OpenedObject { first_bytes, object } = LocalFolder::new("/").open(name, length, deadline).await?;
            let object = WatchedObject { object, watch: Arc::clone(&self.watch), logs: Arc::clone(&self.logs) };
            object.note(|log| log.reads.push(0..first_bytes.len() as u64));
            Ok(OpenedObject { first_bytes, object: Arc::new(object) })
        })
    }
}

impl PinnedObject for WatchedObject {
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
        self.note(|log| log.reads.push(range.clone()));
        self.object.read(range, deadline)
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.note(|log| log.fetched.extend(ranges.iter().cloned()));
        if (self.watch)(ranges) {
            return self.object.fetch(ranges, file, deadline);
        }
        let object = self.name().to_owned();
        let error = SourceError { kind: SourceErrorKind::Transient, object, source: "connection reset".into() };
        Box::pin(async { Err(error) })
    }
}
