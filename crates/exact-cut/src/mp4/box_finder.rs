//! Finds the boxes that tell where the samples lie: the `moov` box, in front of the media data or behind it, and every
//! `moof` box of a fragmented file (ISO/IEC 14496-12, sections 8.2.1 and 8.8.4).
//!
//! Sans I/O: the finder says which bytes it requires and is fed with them, so it serves ranged reads of an object, files
//! on disk and bytes in memory alike.

use std::ops::Range;

use shiguredo_mp4::{BoxHeader, BoxType, Decode};

use crate::mp4::Mp4Error;
use crate::mp4::audio_track::AudioTrack;
use crate::mp4::boxes::{child, children};
use crate::mp4::tracks::{Tracks, audio_of_file_without_video};

/// The most bytes of `moov` and `moof` boxes that are read of one file: about ten hours at 60 frames a second.
pub const MAX_TABLE_BYTES: u64 = 64 << 20;
/// The most top-level boxes that are walked over: a day of fragments of two seconds.
const MAX_BOXES: usize = 90_000;
/// The longest header of a box, in bytes.
const MAX_HEADER: u64 = 16;

/// What a fragmented file begins with.
#[derive(Clone, Copy, Debug)]
pub struct FragmentedStart<'a> {
    /// Content of the `moov` box.
    pub moov: &'a [u8],
    /// Offset of the first `moof` box.
    pub first: u64,
    /// The `sidx` boxes between the two, as their bytes in the file.
    pub indices: &'a [Range<u64>],
}

/// A walk over the top-level boxes of a file.
#[derive(Debug)]
pub struct BoxFinder {
    length: u64,
    at: u64,
    /// End of the box at `at`, if all of that box is required.
    until: Option<u64>,
    /// Content of the `moov` box.
    moov: Option<Vec<u8>>,
    fragmented: bool,
    /// Contents of the `moof` boxes, with the offsets of the boxes in the file.
    moofs: Vec<(u64, Vec<u8>)>,
    /// The `sidx` boxes in front of the first `moof` box.
    indices: Vec<Range<u64>>,
    boxes: usize,
    table_bytes: u64,
}

impl BoxFinder {
    /// Starts a walk over a file of `length` bytes.
    #[must_use]
    pub const fn new(length: u64) -> Self {
        Self {
            length,
            at: 0,
            until: None,
            moov: None,
            fragmented: false,
            moofs: Vec::new(),
            indices: Vec::new(),
            boxes: 0,
            table_bytes: 0,
        }
    }

    /// Returns the bytes that must be fed next, or `None` once all boxes are found.
    #[must_use]
    pub fn required_range(&self) -> Option<Range<u64>> {
        let done = self.moov.is_some() && (!self.fragmented || self.at == self.length);
        (!done).then(|| self.at..self.until.unwrap_or((self.at + MAX_HEADER).min(self.length)))
    }

    /// Takes the bytes of [`Self::required_range`]. What follows the `moov` box and is no box, or not all there, ends the walk.
    ///
    /// # Errors
    /// [`Mp4Error`] if they are not what an MP4 file has there.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Mp4Error> {
        let Some(end) = self.until.take() else {
            let result = self.feed_header(bytes);
            if self.moov.is_some() && matches!(result, Err(Mp4Error::NotABox { .. } | Mp4Error::BoxSize { .. })) {
                self.at = self.length;
                return Ok(());
            }
            return result;
        };
        let (_, content) = children(bytes).next().unwrap_or_default();
        if self.moov.is_none() {
            self.fragmented = child(content, b"mvex").is_some();
            self.moov = Some(content.to_vec());
        } else {
            self.moofs.push((self.at, content.to_vec()));
        }
        self.at = end;
        Ok(())
    }

    fn feed_header(&mut self, bytes: &[u8]) -> Result<(), Mp4Error> {
        let (at, length) = (self.at, self.length);
        let (header, header_size) = BoxHeader::decode(bytes).map_err(|_| Mp4Error::NotABox { at, length })?;
        let size = match header.box_size.get() {
            0 => length - at, // the box reaches to the end of the file
            size => size,
        };
        let end = at.checked_add(size).filter(|&end| size >= header_size as u64 && end <= length);
        let end = end.ok_or(Mp4Error::BoxSize { name: header.box_type, at, size, length })?;
        let required = if self.moov.is_none() { b"moov" } else { b"moof" };
        if header.box_type == BoxType::Normal(*required) {
            self.table_bytes += size;
            if self.table_bytes > MAX_TABLE_BYTES {
                return Err(Mp4Error::TablesTooLarge);
            }
            self.until = Some(end);
            return Ok(());
        }
        if header.box_type == BoxType::Normal(*b"sidx") && self.moofs.is_empty() {
            self.indices.push(at..end);
        }
        self.boxes += 1;
        if self.moov.is_none() && end == length {
            return Err(Mp4Error::NoMoov);
        }
        if self.boxes > MAX_BOXES {
            return Err(Mp4Error::TooManyBoxes { max: MAX_BOXES });
        }
        self.at = end;
        Ok(())
    }

    /// Returns the start of a fragmented file, once its first fragment is found and the next one is not.
    #[must_use]
    pub fn fragmented_start(&self) -> Option<FragmentedStart<'_>> {
        match (&self.moov, &self.moofs[..]) {
            (Some(moov), [(first, _)]) => Some(FragmentedStart { moov, first: *first, indices: &self.indices }),
            _ => None,
        }
    }

    /// Returns the tracks of the file.
    ///
    /// # Errors
    /// [`Mp4Error`] if the video track is unusable.
    pub fn tracks(self) -> Result<Tracks, Mp4Error> {
        Tracks::read(self.moov.as_deref().ok_or(Mp4Error::NoMoov)?, &self.moofs, self.length, None)
    }

    /// Returns the audio of a file that has no video.
    ///
    /// # Errors
    /// [`Mp4Error`] if the audio track is unusable.
    pub fn audio(self) -> Result<AudioTrack, Mp4Error> {
        audio_of_file_without_video(self.moov.as_deref().ok_or(Mp4Error::NoMoov)?, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u32, name: &str) -> Vec<u8> {
        [&size.to_be_bytes()[..], name.as_bytes()].concat()
    }

    fn finder_at(at: u64, length: u64) -> BoxFinder {
        BoxFinder { at, ..BoxFinder::new(length) }
    }

    #[test]
    fn follows_only_headers_that_fit_the_file() {
        let large = |size: u64| [&header(1, "mdat")[..], &size.to_be_bytes()].concat();
        for (bytes, at, required) in [
            (header(24, "ftyp"), 0, 24..40),
            (header(24, "moov"), 976, 976..1000),
            (header(0, "moov"), 976, 976..1000),
            (large(700), 24, 724..740),
            (large(970), 24, 994..1000),
        ] {
            let mut finder = finder_at(at, 1000);
            finder.feed(&bytes).expect("a box");
            assert_eq!(finder.required_range(), Some(required), "{bytes:?}");
        }
        for (bytes, at) in [
            (header(25, "moov"), 976),
            (header(7, "moov"), 0),
            (header(0, "mdat"), 24),
            (header(976, "mdat"), 24),
            (large(u64::MAX), 24),
            (b"#EXTM3U\n".to_vec(), 0),
            (vec![], 0),
        ] {
            finder_at(at, 1000).feed(&bytes).expect_err("not such a box");
        }
        finder_at(0, 1 << 40).feed(&header(u32::MAX, "moov")).expect_err("too large");
    }

    #[test]
    fn an_empty_file_is_an_error_and_not_an_endless_walk() {
        let mut finder = BoxFinder::new(0);
        assert_eq!(finder.required_range(), Some(0..0));
        finder.feed(&[]).expect_err("nothing there");
    }
}
