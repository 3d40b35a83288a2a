//! Reads fragments one after the other: each `moof` box with the `mdat` box behind it.
//!
//! A place is believed to hold a fragment only if all of it agrees: the boxes inside `moof`, the samples that they list, and an
//! `mdat` box behind it in which these samples lie. Bytes of a picture may look like a box.

use std::ops::Range;
use std::path::Path;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::mp4::boxes::{Fields, child};
use crate::mp4::fragments::FragmentSummary;
use crate::scratch::ensure_free_space;
use crate::source::{PinnedObject, READ_AHEAD};
use crate::sparse_copy::SparseCopy;

/// The largest `moof` box that is read here, in bytes: one of 100,000 samples. Files with larger ones are read from the start.
const MAX_MOOF: u64 = 4 << 20;
/// Boxes that may lie between two fragments (ISO/IEC 14496-12, section 4.3, and ISO/IEC 23009-1).
const OTHER_BOXES: [&[u8; 4]; 11] =
    [b"styp", b"sidx", b"ssix", b"prft", b"emsg", b"free", b"skip", b"uuid", b"mfra", b"meta", b"pdin"];
/// The most of them that are skipped at one place.
const MAX_OTHER_BOXES: usize = 16;

/// A fragment.
#[derive(Clone, Debug)]
pub struct Fragment {
    /// Offset of `moof`.
    pub at: u64,
    /// End of `mdat`, or of the file if that ends before.
    pub end: u64,
    /// Content of `moof`.
    pub moof: Vec<u8>,
    pub summary: FragmentSummary,
}

/// What lies at a place.
#[derive(Clone, Debug)]
pub enum Found {
    Fragment(Box<Fragment>),
    /// The file ends, or a box that does not fit into it begins.
    End,
    /// Neither.
    Nothing,
}

/// The header of a box.
#[derive(Clone, Copy, Debug)]
struct Header {
    name: [u8; 4],
    content: u64,
    /// May lie behind the end of the file.
    end: u64,
}

/// Reads fragments of an object. What is read stays in a local copy, and is not read again.
#[derive(Debug)]
pub struct ChainReader<'a> {
    object: &'a dyn PinnedObject,
    folder: &'a Path,
    deadline: Deadline,
    copy: SparseCopy,
    moov: &'a [u8],
    /// `track_ID` of the video track.
    track_id: u32,
    /// Reads of the object so far, other than those of a clip's own bytes.
    pub reads: usize,
}

impl<'a> ChainReader<'a> {
    /// Returns a reader of `object`. Its copy lies on the disk that holds `folder`.
    ///
    /// # Errors
    /// [`Cause::Disk`](crate::error::Cause::Disk).
    pub fn new(
        object: &'a dyn PinnedObject,
        moov: &'a [u8],
        track_id: u32,
        folder: &'a Path,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let copy = SparseCopy::new(folder, object.length())?;
        Ok(Self { object, folder, deadline, copy, moov, track_id, reads: 0 })
    }

    pub fn length(&self) -> u64 {
        self.object.length()
    }

    pub fn into_copy(self) -> SparseCopy {
        self.copy
    }

    /// Keeps bytes that were read before.
    pub fn keep(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        self.copy.write(bytes, at).map_err(|error| Error::new(self.object.name(), error))
    }

    /// Returns bytes of the object. What is not present yet is read, together with what follows it.
    pub async fn read(&mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        for missing in self.copy.missing(std::slice::from_ref(&range)) {
            let ahead = missing.end.max(missing.start + READ_AHEAD).min(self.length());
            self.reads += 1;
            let bytes = self.object.read(missing.start..ahead, self.deadline).await?;
            self.keep(&bytes, missing.start)?;
        }
        self.copy.read(&range).map_err(|error| Error::new(self.object.name(), error))
    }

    /// Fetches bytes that the clip needs, unless the disk has no space for them: then they are fetched once it is known that
    /// they fit.
    pub async fn fetch(&mut self, range: Range<u64>) -> Result<(), Error> {
        if ensure_free_space(self.folder, (range.end - range.start).saturating_mul(2)).is_ok() {
            self.copy.fetch(self.object, std::slice::from_ref(&range), self.deadline).await?;
        }
        Ok(())
    }

    /// Returns the header of the box at a place, or `None` where the file ends.
    async fn header(&mut self, at: u64) -> Result<Option<Header>, Error> {
        let bytes = self.read(at..(at + 16).min(self.length())).await?;
        let mut fields = Fields(&bytes);
        let (Some(size), Some(name)) = (fields.u32(), fields.name()) else { return Ok(None) };
        let (size, header) = match size {
            0 => (self.length() - at, 8),
            1 => (fields.u64().unwrap_or(0), 16),
            size => (size.into(), 8),
        };
        let end = at.checked_add(size).filter(|_| size >= header).unwrap_or(at);
        Ok(Some(Header { name, content: at + header, end }))
    }

    /// Returns the content of the box of that type at a place.
    pub async fn content(&mut self, at: u64, name: &[u8; 4]) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let Some(header) = self.header(at).await? else { return Ok(None) };
        let fits = (header.content..=self.length()).contains(&header.end) && header.end - at <= MAX_MOOF;
        if header.name != *name || !fits {
            return Ok(None);
        }
        Ok(Some((self.read(header.content..header.end).await?, header.end)))
    }

    /// Returns the fragment at a place, or behind other boxes there.
    pub async fn fragment(&mut self, mut at: u64) -> Result<Found, Error> {
        for _ in 0..MAX_OTHER_BOXES {
            let Some(header) = self.header(at).await? else { return Ok(Found::End) };
            let is_known = OTHER_BOXES.contains(&&header.name) || matches!(&header.name, b"moof" | b"mdat");
            if !is_known || header.end < header.content {
                return Ok(Found::Nothing);
            }
            if header.end > self.length() {
                return Ok(Found::End);
            }
            match &header.name {
                b"moof" => return Ok(self.fragment_of(at, header).await?.unwrap_or(Found::Nothing)),
                b"mdat" => return Ok(Found::Nothing),
                _ => at = header.end,
            }
        }
        Ok(Found::Nothing)
    }

    /// Returns the fragment of the `moof` box at a place, if its samples lie in an `mdat` box behind it.
    async fn fragment_of(&mut self, at: u64, moof: Header) -> Result<Option<Found>, Error> {
        if moof.end - at > MAX_MOOF {
            return Ok(None);
        }
        let content = self.read(moof.content..moof.end).await?;
        if child(&content, b"traf").is_none() {
            return Ok(None);
        }
        let Some(summary) = FragmentSummary::of(self.moov, at, &content, self.track_id) else { return Ok(None) };
        let Some(mdat) = self.header(moof.end).await? else { return Ok(Some(Found::End)) };
        let holds_data = mdat.content <= summary.data.start && summary.data.end <= mdat.end;
        if mdat.name != *b"mdat" || mdat.end < mdat.content || !(holds_data || summary.data.is_empty()) {
            return Ok(None);
        }
        let end = mdat.end.min(self.length());
        Ok(Some(Found::Fragment(Box::new(Fragment { at, end, moof: content, summary }))))
    }

    /// Returns the fragments from a place to the end of the file, at most `most`, or `None` if something else lies between.
    pub async fn until_end(&mut self, mut at: u64, most: usize) -> Result<Option<Vec<Fragment>>, Error> {
        let mut fragments = Vec::new();
        while fragments.len() <= most {
            match self.fragment(at).await? {
                Found::Fragment(fragment) => {
                    at = fragment.end;
                    fragments.push(*fragment);
                }
                Found::End => return Ok(Some(fragments)),
                Found::Nothing => return Ok(None),
            }
        }
        Ok(None)
    }
}
