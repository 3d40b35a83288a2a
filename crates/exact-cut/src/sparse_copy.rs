//! A local copy of an object with only some of its bytes, each at the offset at which it lies in the object.
//!
//! The copy is a sparse file without a name, so every offset of a sample table is valid in it, the disk holds only what was
//! fetched, and the space is free again when the last owner is dropped.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::ranges::{coalesce, subtract, total};
use crate::source::PinnedObject;

/// Some bytes of an object on the scratch disk. Clones share the file, but not what they know to be present in it.
#[derive(Clone, Debug)]
pub struct SparseCopy {
    /// The file. Bytes that were not fetched read as zeros.
    pub file: Arc<File>,
    /// What was fetched, coalesced.
    present: Vec<Range<u64>>,
}

impl SparseCopy {
    /// Makes an empty copy of an object of `length` bytes on the disk that holds `folder`.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub fn new(folder: &Path, length: u64) -> Result<Self, Error> {
        let create = || {
            let file = tempfile::tempfile_in(folder)?;
            file.set_len(length)?; // holes take no space
            Ok::<_, io::Error>(file)
        };
        let file = create().map_err(|error| Error::new(folder.display().to_string(), error))?;
        Ok(Self { file: Arc::new(file), present: Vec::new() })
    }

    /// Returns the number of bytes that are present.
    #[must_use]
    pub fn bytes_present(&self) -> u64 {
        total(&self.present)
    }

    /// Returns whether all bytes of `range` are present.
    #[must_use]
    pub fn holds(&self, range: &Range<u64>) -> bool {
        self.missing(std::slice::from_ref(range)).is_empty()
    }

    /// Returns the parts of `wanted`, which is coalesced, that are not present.
    #[must_use]
    pub fn missing(&self, wanted: &[Range<u64>]) -> Vec<Range<u64>> {
        subtract(wanted, &self.present)
    }

    /// Fetches the parts of `wanted`, which is coalesced, that are not present.
    ///
    /// # Errors
    /// The error of the source.
    pub async fn fetch(
        &mut self,
        object: &dyn PinnedObject,
        wanted: &[Range<u64>],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let missing = self.missing(wanted);
        object.fetch(&missing, Arc::clone(&self.file), deadline).await?;
        self.present = coalesce(self.present.iter().cloned().chain(missing).collect(), 0);
        Ok(())
    }

    /// Writes bytes that were read of the object.
    ///
    /// # Errors
    /// As the disk answers.
    pub fn write(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        let written = at..at + bytes.len() as u64;
        self.present = coalesce(self.present.iter().cloned().chain([written]).collect(), 0);
        Ok(())
    }

    /// Reads bytes that are present.
    ///
    /// # Errors
    /// As the disk answers.
    pub fn read(&self, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes)
    }
}
