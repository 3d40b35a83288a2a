//! Finds what of an MP4 file tells where its samples lie: the `moov` box, in front of the media data or behind it, and
//! every `moof` of a fragmented file (ISO/IEC 14496-12, sections 8.2.1 and 8.8.4). Sans I/O: it says which bytes it wants.

use std::ops::Range;

use shiguredo_mp4::boxes::MoovBox;
use shiguredo_mp4::{BoxHeader, BoxType, Decode};

use crate::footage::boxes::check_versions;
use crate::footage::sound::Sound;
use crate::footage::tracks::Tracks;

/// The most bytes of `moov` and `moof` boxes that are read of a file: about ten hours at 60 frames a second.
pub const LARGEST: u64 = 64 << 20;
/// Boxes at the top of a file that are walked over before it is given up: a day of fragments of two seconds.
const MOST_BOXES: usize = 90_000;
/// The longest header of a box.
const HEADER: u64 = 16;

/// A file whose boxes are being walked over.
#[derive(Debug)]
pub struct Index {
    length: u64,
    at: u64,
    /// The box at `at` is wanted whole, up to here.
    until: Option<u64>,
    moov: Option<MoovBox>,
    /// `moof` boxes with the place of their first byte.
    moofs: Vec<(u64, Vec<u8>)>,
    boxes: usize,
    bytes: u64,
}

impl Index {
    /// Begins with a file of `length` bytes.
    #[must_use]
    pub const fn new(length: u64) -> Self {
        Self { length, at: 0, until: None, moov: None, moofs: Vec::new(), boxes: 0, bytes: 0 }
    }

    /// The bytes that are wanted next; `None` once all is known.
    #[must_use]
    pub fn wants(&self) -> Option<Range<u64>> {
        let done = match &self.moov {
            Some(moov) => moov.mvex_box.is_none() || self.at == self.length,
            None => false,
        };
        (!done).then(|| self.at..self.until.unwrap_or((self.at + HEADER).min(self.length)))
    }

    /// Takes the bytes that were wanted.
    ///
    /// # Errors
    /// Says what is wrong with them, which for other kinds of files is where it ends.
    pub fn take(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        match self.until.take() {
            None => self.header(&bytes),
            Some(end) => {
                check_versions(&bytes)?;
                if self.moov.is_none() {
                    let (moov, _) = MoovBox::decode(&bytes).map_err(|error| format!("moov: {error}"))?;
                    self.moov = Some(moov);
                } else {
                    self.moofs.push((self.at, bytes));
                }
                self.at = end;
                Ok(())
            }
        }
    }

    fn header(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (at, length) = (self.at, self.length);
        let (header, header_size) =
            BoxHeader::decode(bytes).map_err(|_| format!("no box of an MP4 file at byte {at} of {length}"))?;
        let size = match header.box_size.get() {
            0 => length - at, // "to the end of the file"
            size => size,
        };
        let end = at.checked_add(size).filter(|&end| size >= header_size as u64 && end <= length);
        let end = end.ok_or_else(|| format!("box {} at byte {at} claims {size} bytes of {length}", header.box_type))?;
        let name = if self.moov.is_none() { b"moov" } else { b"moof" };
        if header.box_type == BoxType::Normal(*name) {
            self.bytes += size;
            if self.bytes > LARGEST {
                return Err(format!("moov and moof of more than {LARGEST} bytes"));
            }
            self.until = Some(end);
            return Ok(());
        }
        self.boxes += 1;
        if self.moov.is_none() && end == length {
            return Err("no moov box: cut short, or no MP4 file".to_owned());
        }
        if self.boxes > MOST_BOXES {
            return Err(format!("more than {MOST_BOXES} boxes"));
        }
        self.at = end;
        Ok(())
    }

    /// Reads the tracks out of what was found.
    ///
    /// # Errors
    /// Says what makes them unusable.
    pub fn tracks(self) -> Result<Tracks, String> {
        Tracks::read(self.moov.as_ref().ok_or("no moov box")?, &self.moofs, self.length)
    }

    /// Reads the sound of a file that has no pictures.
    ///
    /// # Errors
    /// Says what makes it unusable.
    pub fn sound(self) -> Result<Sound, String> {
        Sound::read(self.moov.as_ref().ok_or("no moov box")?, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(size: u32, name: &str) -> Vec<u8> {
        [&size.to_be_bytes()[..], name.as_bytes()].concat()
    }

    /// An index that stands at `at`.
    fn standing(at: u64, length: u64) -> Index {
        Index { at, ..Index::new(length) }
    }

    #[test]
    fn only_headers_that_fit_the_file_are_followed() {
        let large = |size: u64| [&header(1, "mdat")[..], &size.to_be_bytes()].concat();
        for (bytes, at, wanted) in [
            (header(24, "ftyp"), 0, 24..40),
            (header(24, "moov"), 976, 976..1000),
            (header(0, "moov"), 976, 976..1000),
            (large(700), 24, 724..740),
            (large(970), 24, 994..1000),
        ] {
            let mut index = standing(at, 1000);
            index.take(bytes.clone()).expect("a box");
            assert_eq!(index.wants(), Some(wanted), "{bytes:?}");
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
            standing(at, 1000).take(bytes).expect_err("no such box");
        }
        standing(0, 1 << 40).take(header(u32::MAX, "moov")).expect_err("too large");
    }

    #[test]
    fn an_empty_file_ends_with_an_error_and_not_in_a_loop() {
        let mut index = Index::new(0);
        assert_eq!(index.wants(), Some(0..0));
        index.take(Vec::new()).expect_err("nothing there");
    }
}
