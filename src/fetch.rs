//! Local copies of recordings: just the bytes that are needed, each where it lies in the object.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::aws::store::{Store, Version};
use crate::cut::plan::joined;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::footage::samples::Sample;
use crate::footage::sound::Sound;
use crate::footage::tracks::Video;
use crate::survey::Opened;

/// Bytes between two needed runs that are fetched rather than asked around: a request costs more.
const SMALLEST_HOLE: u64 = 32 << 10;

/// A recording, some bytes of which lie in a local file.
#[derive(Debug)]
pub struct Fetched<'a> {
    /// The object's name, for errors.
    pub object: String,
    /// Its frames.
    pub video: &'a Video,
    /// Its sound, if it has any.
    pub sound: Option<&'a Sound>,
    /// Its bytes, with holes where nothing is needed.
    pub file: File,
    version: &'a Version,
    have: Vec<Range<u64>>,
}

impl<'a> Fetched<'a> {
    /// Makes an empty copy in `folder`.
    ///
    /// # Errors
    /// Passing if the file can't be made.
    pub fn new(opened: &'a Opened, index: usize, folder: &Path) -> Result<Self, Error> {
        let path = folder.join(format!("recording-{index}.mp4"));
        let create = || {
            let file = File::options().read(true).write(true).create_new(true).open(&path)?;
            file.set_len(opened.version.length)?; // sparse: holes take no space
            Ok::<_, std::io::Error>(file)
        };
        let file = create().map_err(|error| Error::passing(path.display().to_string(), error))?;
        let Opened { version, video, sound, .. } = opened;
        let sound = sound.as_ref().ok();
        Ok(Self { object: version.id.to_string(), video, sound, file, version, have: Vec::new() })
    }

    /// Fetches what of `samples`, and of `packets` of sound, is not there yet.
    ///
    /// # Errors
    /// As the store says.
    pub async fn need(
        &mut self,
        samples: &[Range<usize>],
        packets: &[Range<usize>],
        store: &Store,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let bytes = |offset: u64, size: u32| offset..offset + u64::from(size);
        let samples = samples.iter().flat_map(|range| &self.video.table.samples[range.clone()]);
        let samples = samples.map(|sample| bytes(sample.offset, sample.size));
        let packets =
            self.sound.iter().flat_map(|sound| packets.iter().flat_map(|range| &sound.packets[range.clone()]));
        let packets = packets.map(|packet| bytes(packet.offset, packet.size));
        let needed = joined(samples.chain(packets).collect(), SMALLEST_HOLE);
        let missing = without(&needed, &self.have);
        store.fetch(self.version, &missing, &self.file, deadline).await?;
        self.have = joined(self.have.iter().cloned().chain(missing).collect(), 0);
        Ok(())
    }

    /// The bytes of a sample that has been fetched.
    ///
    /// # Errors
    /// Passing if the disk fails.
    pub fn sample(&self, sample: usize) -> Result<Vec<u8>, Error> {
        let Sample { offset, size, .. } = self.video.table.samples[sample];
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Error::passing(&self.object, error))?;
        Ok(bytes)
    }
}

/// What of `wanted` is not in `have`; both sorted and joined.
fn without(wanted: &[Range<u64>], have: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut missing = Vec::new();
    for range in wanted {
        let mut start = range.start;
        for known in have.iter().filter(|known| known.end > range.start && known.start < range.end) {
            if known.start > start {
                missing.push(start..known.start);
            }
            start = start.max(known.end);
        }
        if start < range.end {
            missing.push(start..range.end);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_fetched() {
        let have = [3..5, 7..11, 17..19];
        #[allow(clippy::type_complexity)] // a table's columns
        let table: [(&[Range<u64>], &[Range<u64>]); 5] = [
            (&[0..23], &[0..3, 5..7, 11..17, 19..23]),
            (&[4..9], &[5..7]),
            (&[7..11], &[]),
            (&[1..2, 18..20], &[1..2, 19..20]),
            (&[11..17], &[11..17]),
        ];
        for (wanted, missing) in table {
            assert_eq!(without(wanted, &have), missing, "{wanted:?}");
        }
    }
}
