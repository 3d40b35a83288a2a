//! Local files, with a look at each fetch of their samples.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use exact_cut::deadline::Deadline;
use exact_cut::source::{OpenedObject, PinnedObject, RecordingStore, SourceError, SourceErrorKind};
use exact_cut::{LocalFolder, Timestamp};
use futures::future::BoxFuture;

/// Gets the ranges of a fetch. Returns whether the fetch may go on; else it fails, and another try might succeed.
type Watch = Arc<dyn Fn(&[Range<u64>]) -> bool + Send + Sync>;

/// A store whose recordings are named by their paths.
pub struct WatchedStore(Watch);

impl WatchedStore {
    pub fn new(watch: impl Fn(&[Range<u64>]) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }
}

struct WatchedObject {
    object: Arc<dyn PinnedObject>,
    watch: Watch,
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
            Ok(OpenedObject { first_bytes, object: Arc::new(WatchedObject { object, watch: Arc::clone(&self.0) }) })
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
        self.object.read(range, deadline)
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        if (self.watch)(ranges) {
            return self.object.fetch(ranges, file, deadline);
        }
        let object = self.name().to_owned();
        let error = SourceError { kind: SourceErrorKind::Transient, object, source: "connection reset".into() };
        Box::pin(async { Err(error) })
    }
}
