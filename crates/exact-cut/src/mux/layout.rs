//! The layout of a clip: its header bytes and the ordered list of pieces that follow.
//!
//! A clip is data before it is bytes. The layout is complete before the first byte is written: `ftyp`, `moov` with final
//! chunk offsets, the header of `mdat`, and then pieces, each a range of a pinned recording or of bytes that were encoded.
//! So one executor can write it to disk, and another can stream it, and it can be verified before either has begun
//! ([`ClipLayout::locate`] finds the source of any of its bytes).
//!
//! Video and audio alternate in chunks of half a second, so that a player reads both with one forward read.

use std::ops::Range;

use shiguredo_mp4::Encode;
use shiguredo_mp4::boxes::{Brand, FtypBox};

use crate::mux::MuxError;
use crate::mux::moov::{ChunkTable, file_time, moov_box, trak_box};
use crate::mux::track::{SampleLocation, Track, TrackWithSources};
use crate::recording_id::RecordingId;
use crate::time::Timestamp;

/// Tracks are interleaved in chunks of half a second.
const CHUNKS_PER_SECOND: i64 = 2;

/// Where a piece of a clip comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PieceSource {
    /// The pinned version of a recording.
    Recording(RecordingId),
    /// Bytes that were made for this clip: encoded pictures, encoded audio, or samples with rewritten length fields. The
    /// number counts such sources from 0.
    Encoded(usize),
}

/// The layout of a clip.
pub type ClipLayout = Layout<PieceSource>;

/// Header bytes and the pieces that follow without a byte between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout<S> {
    /// `ftyp`, `moov` and the header of `mdat`.
    pub header: Vec<u8>,
    /// Pieces in order.
    pub pieces: Vec<Piece<S>>,
    /// Offset in the file of each piece.
    offsets: Vec<u64>,
}

/// A range of bytes of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<S> {
    /// The source.
    pub source: S,
    /// Bytes of the source.
    pub range: Range<u64>,
}

impl<S: Copy + PartialEq> Layout<S> {
    /// Lays out a file of `tracks` that states no dates.
    ///
    /// # Errors
    /// [`MuxError`] if a time or a size exceeds its box.
    pub fn of(tracks: &[TrackWithSources<S>]) -> Result<Self, MuxError> {
        Self::dated(tracks, None)
    }

    /// Lays out a file of `tracks` whose first frame was taken at `taken_at`. The file states that instant, and never when
    /// it was made: the same request gives the same bytes.
    ///
    /// # Errors
    /// [`MuxError`] if a time or a size exceeds its box.
    pub fn dated(tracks: &[TrackWithSources<S>], taken_at: Option<Timestamp>) -> Result<Self, MuxError> {
        let (header, chunks) = lay_out(&tracks.iter().map(|one| &one.track).collect::<Vec<_>>(), taken_at)?;
        let (mut pieces, mut offsets): (Vec<Piece<S>>, Vec<u64>) = (Vec::new(), Vec::new());
        let mut at = header.len() as u64;
        for chunk in &chunks {
            let TrackWithSources { track, locations } = &tracks[chunk.track];
            for (sample, location) in track.samples[chunk.samples.clone()].iter().zip(&locations[chunk.samples.clone()])
            {
                let size = u64::from(sample.size);
                match pieces.last_mut() {
                    Some(last) if last.source == location.source && last.range.end == location.offset => {
                        last.range.end += size;
                    }
                    _ => {
                        let range = location.offset..location.offset + size;
                        pieces.push(Piece { source: location.source, range });
                        offsets.push(at);
                    }
                }
                at += size;
            }
        }
        Ok(Self { header, pieces, offsets })
    }

    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.header.len() as u64 + self.pieces.iter().map(|piece| piece.range.end - piece.range.start).sum::<u64>()
    }

    /// Returns where the `size` bytes at `offset` of the file come from, or `None` if they are not all of one piece.
    #[must_use]
    pub fn locate(&self, offset: u64, size: u32) -> Option<SampleLocation<S>> {
        let index = self.offsets.partition_point(|&start| start <= offset).checked_sub(1)?;
        let Piece { source, range } = &self.pieces[index];
        let start = range.start + (offset - self.offsets[index]);
        (start + u64::from(size) <= range.end).then_some(SampleLocation { source: *source, offset: start })
    }
}

/// A run of samples of one track that lie one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chunk {
    track: usize,
    samples: Range<usize>,
}

/// Returns the header bytes, and the chunks that follow.
fn lay_out(tracks: &[&Track], taken_at: Option<Timestamp>) -> Result<(Vec<u8>, Vec<Chunk>), MuxError> {
    let date = file_time(taken_at);
    let decode_times: Vec<Vec<i64>> = tracks.iter().map(|track| track.decode_times()).collect();
    let chunks = interleave(tracks, &decode_times);
    let data: u64 = tracks.iter().flat_map(|track| &track.samples).map(|sample| u64::from(sample.size)).sum();
    let ftyp = encoded(&FtypBox {
        major_brand: Brand::ISO4, // allows signed composition offsets
        minor_version: 0,
        compatible_brands: vec![Brand::ISO4, Brand::ISOM, Brand::AVC1, Brand::MP41],
    })?;
    let mdat = mdat_header(data);
    // the length of `moov` depends on the width of the offsets, but not on their values
    let moov_of = |first: u64, wide_offsets: bool| -> Result<Vec<u8>, MuxError> {
        let mut tables = vec![ChunkTable { lengths: Vec::new(), offsets: Vec::new(), wide_offsets }; tracks.len()];
        let mut at = first;
        for chunk in &chunks {
            tables[chunk.track].lengths.push(chunk.samples.len());
            tables[chunk.track].offsets.push(at);
            at += tracks[chunk.track].samples[chunk.samples.clone()].iter().map(|s| u64::from(s.size)).sum::<u64>();
        }
        let traks = tracks.iter().zip(&decode_times).zip(&tables).enumerate();
        let traks =
            traks.map(|(index, ((track, decode_times), table))| trak_box(index, track, decode_times, table, date));
        encoded(&moov_box(tracks, traks.collect::<Result<_, _>>()?, date))
    };
    let length = |wide: bool| Ok::<_, MuxError>((ftyp.len() + moov_of(0, wide)?.len() + mdat.len()) as u64);
    let wide = length(true)? + data > u64::from(u32::MAX);
    let moov = moov_of(length(wide)?, wide)?;
    Ok(([ftyp, moov, mdat].concat(), chunks))
}

fn encoded(thing: &impl Encode) -> Result<Vec<u8>, MuxError> {
    thing.encode_to_vec().map_err(|error| MuxError::Encode(error.to_string()))
}

fn mdat_header(data: u64) -> Vec<u8> {
    match u32::try_from(data + 8) {
        Ok(size) => [&size.to_be_bytes()[..], b"mdat"].concat(),
        Err(_) => [&1_u32.to_be_bytes()[..], b"mdat", &(data + 16).to_be_bytes()].concat(),
    }
}

/// Returns chunks of about half a second, those of all tracks in order of time.
fn interleave(tracks: &[&Track], decode_times: &[Vec<i64>]) -> Vec<Chunk> {
    let mut chunks: Vec<(i64, Chunk)> = Vec::new();
    for (index, (track, times)) in tracks.iter().zip(decode_times).enumerate() {
        let half_second =
            |time: &i64| time.saturating_mul(CHUNKS_PER_SECOND).div_euclid(i64::from(track.timescale.get()));
        let mut start = 0;
        for run in times.chunk_by(|a, b| half_second(a) == half_second(b)) {
            chunks.push((half_second(&run[0]), Chunk { track: index, samples: start..start + run.len() }));
            start += run.len();
        }
    }
    chunks.sort_by_key(|(half_second, chunk)| (*half_second, chunk.track));
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use shiguredo_mp4::boxes::AvccBox;
    use shiguredo_mp4::{BoxHeader, Decode, Uint};

    use super::*;
    use crate::mp4::box_finder::BoxFinder;
    use crate::mp4::orientation::Orientation;
    use crate::mp4::sample_entry::SampleEntry;
    use crate::mp4::tracks::Tracks;
    use crate::mux::track::{Display, TrackSample};

    fn entry() -> SampleEntry {
        let avcc = AvccBox {
            avc_profile_indication: 66,
            profile_compatibility: 0,
            avc_level_indication: 30,
            length_size_minus_one: Uint::new(3),
            sps_list: vec![vec![0x67, 66, 0, 30]],
            pps_list: vec![vec![0x68]],
            chroma_format: None,
            bit_depth_luma_minus8: None,
            bit_depth_chroma_minus8: None,
            sps_ext_list: Vec::new(),
        };
        SampleEntry::avc1(640, 360, &avcc, &[]).expect("writable")
    }

    /// Returns a track whose samples lie in source 7, one after the other with a byte between them.
    fn track(samples: Vec<TrackSample>, end_pts: i64) -> TrackWithSources<u8> {
        let mut at = 0;
        let locations = samples.iter().map(|sample| {
            at += 1 + u64::from(sample.size);
            SampleLocation { source: 7, offset: at - u64::from(sample.size) }
        });
        let locations = locations.collect();
        let timescale = NonZeroU32::new(30).expect("not 0");
        let display = Display { size: (640, 360), orientation: Orientation::from_matrix(&[0; 9]) };
        let track = Track { entry: entry(), display: Some(display), timescale, samples, end_pts };
        TrackWithSources { track, locations }
    }

    /// Finds and reads the `moov` box as that of a recording is read.
    fn reopened(layout: &Layout<u8>) -> Tracks {
        let mut finder = BoxFinder::new(layout.length());
        while let Some(range) = finder.required_range() {
            let range = usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small");
            finder.feed(&layout.header[range]).expect("boxes in order");
        }
        finder.tracks().expect("readable")
    }

    proptest! {
        #[test]
        fn reading_a_layout_gives_what_was_laid_out(
            (times, sizes) in (2_usize..67).prop_flat_map(|n| (
                prop::collection::btree_set(1_i64..500, n).prop_map(Vec::from_iter).prop_shuffle(),
                prop::collection::vec((1_u32..5000, any::<bool>()), n),
            )),
        ) {
            let mut samples: Vec<TrackSample> =
                times.iter().zip(&sizes).map(|(&pts, &(size, sync))| TrackSample { size, pts, sync }).collect();
            samples.iter_mut().min_by_key(|sample| sample.pts).expect("some").pts = 0; // a track begins at 0
            let track = track(samples.clone(), 503);
            let layout = Layout::of(std::slice::from_ref(&track)).expect("writable");
            let read = reopened(&layout).video;
            prop_assert_eq!(read.entry, track.track.entry);
            prop_assert_eq!(read.table.stated_end_pts, 503);
            let mut at = layout.header.len() as u64;
            for ((read, written), &location) in read.table.samples.iter().zip(&samples).zip(&track.locations) {
                prop_assert_eq!((read.offset, read.size, read.sync, read.pts), (at, written.size, written.sync, written.pts));
                prop_assert_eq!(layout.locate(read.offset, read.size), Some(location));
                at += u64::from(read.size);
            }
            prop_assert_eq!(layout.length(), at);
            prop_assert_eq!(layout.locate(at - 1, 2), None, "beyond the end");
            prop_assert_eq!(layout.locate(3, 1), None, "in the header");
        }
    }

    #[test]
    fn beyond_4_gib_offsets_and_the_header_of_mdat_have_64_bits() {
        let samples: Vec<_> = (0..3).map(|pts| TrackSample { size: 2 << 30, pts: pts * 30, sync: true }).collect();
        let layout = Layout::of(&[track(samples, 90)]).expect("writable");
        let read = reopened(&layout).video;
        assert_eq!(read.table.samples[2].offset, layout.header.len() as u64 + (4 << 30));
        let (mdat, length) = BoxHeader::decode(&layout.header[layout.header.len() - 16..]).expect("a header");
        assert_eq!((mdat.box_size.get(), length), ((6 << 30) + 16, 16));
    }

    #[test]
    fn interleaves_tracks_by_time() {
        let samples = |step: i64| (0..6).map(|n| TrackSample { size: 1, pts: n * step, sync: true }).collect();
        let (a, b) = (track(samples(10), 60), track(samples(5), 30));
        let (_, chunks) = lay_out(&[&a.track, &b.track], None).expect("writable");
        let order: Vec<_> = chunks.iter().map(|chunk| (chunk.track, chunk.samples.clone())).collect();
        assert_eq!(order, [(0, 0..2), (1, 0..3), (0, 2..3), (1, 3..6), (0, 3..5), (0, 5..6)]);
    }
}
