//! The boxes in front of a clip's media data: `ftyp`, `moov` and the header of `mdat`, and with them the order in which
//! the samples follow (ISO/IEC 14496-12). Pure; every size is known before a byte is written.

use std::num::NonZeroU32;
use std::ops::Range;

use shiguredo_mp4::Encode;
use shiguredo_mp4::boxes::{Brand, FtypBox, SampleEntry};

use crate::cut::boxes::{moov, trak};

/// Tracks are interleaved in chunks of about this length, as a fraction of a second.
const CHUNKS_PER_SECOND: i64 = 2;

/// A sample of the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its length in bytes.
    pub size: u32,
    /// When it is shown, in the track's timescale.
    pub pts: i64,
    /// Whether decoding may start here.
    pub sync: bool,
}

/// A track of the clip.
#[derive(Clone, Debug)]
pub struct Track {
    /// Codec and parameter sets.
    pub entry: SampleEntry,
    /// The transformation for display.
    pub matrix: [i32; 9],
    /// Ticks a second.
    pub timescale: NonZeroU32,
    /// In decode order; at least one.
    pub samples: Vec<Sample>,
    /// When the last sample's time is over.
    pub end_pts: i64,
}

/// All of the file up to the first sample, and the order of the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `ftyp`, `moov` and the header of `mdat`.
    pub bytes: Vec<u8>,
    /// What follows, without a byte between: runs of samples of a track.
    pub chunks: Vec<Chunk>,
}

/// A run of samples of one track that lie one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Index into the tracks.
    pub track: usize,
    /// The samples, in decode order.
    pub samples: Range<usize>,
}

impl Head {
    /// Lays the movie out.
    ///
    /// # Errors
    /// Says what can't be written: a time or a size beyond what its box holds.
    pub fn of(tracks: &[Track]) -> Result<Self, String> {
        let decode_times: Vec<Vec<i64>> = tracks.iter().map(decode_times).collect();
        let chunks = interleave(tracks, &decode_times);
        let data: u64 = tracks.iter().flat_map(|track| &track.samples).map(|sample| u64::from(sample.size)).sum();
        let ftyp = encoded(&FtypBox {
            major_brand: Brand::ISO4, // signed composition offsets
            minor_version: 0,
            compatible_brands: vec![Brand::ISO4, Brand::ISOM, Brand::AVC1, Brand::MP41],
        })?;
        let mdat = mdat_header(data);
        // the length of `moov` depends on the width of the offsets, and on nothing else that they hold
        let moov_of = |first: u64, wide: bool| -> Result<Vec<u8>, String> {
            let mut offsets = vec![Vec::new(); tracks.len()];
            let mut at = first;
            for chunk in &chunks {
                offsets[chunk.track].push(at);
                at += tracks[chunk.track].samples[chunk.samples.clone()].iter().map(|s| u64::from(s.size)).sum::<u64>();
            }
            let traks = tracks.iter().zip(&decode_times).enumerate().map(|(index, (track, dts))| {
                let lengths = chunks.iter().filter(|chunk| chunk.track == index).map(|chunk| chunk.samples.len());
                trak(index, track, dts, &lengths.collect::<Vec<_>>(), &offsets[index], wide)
            });
            encoded(&moov(tracks, traks.collect::<Result<_, _>>()?))
        };
        let length = |wide: bool| Ok::<_, String>((ftyp.len() + moov_of(0, wide)?.len() + mdat.len()) as u64);
        let wide = length(true)? + data > u64::from(u32::MAX);
        let moov = moov_of(length(wide)?, wide)?;
        Ok(Self { bytes: [ftyp, moov, mdat].concat(), chunks })
    }
}

fn encoded(thing: &impl Encode) -> Result<Vec<u8>, String> {
    thing.encode_to_vec().map_err(|error| error.to_string())
}

fn mdat_header(data: u64) -> Vec<u8> {
    match u32::try_from(data + 8) {
        Ok(size) => [&size.to_be_bytes()[..], b"mdat"].concat(),
        Err(_) => [&1_u32.to_be_bytes()[..], b"mdat", &(data + 16).to_be_bytes()].concat(),
    }
}

/// The k-th sample in decode order is decoded at the k-th smallest of all presentation times: rising, without drift, and
/// without an edit list; the composition offset takes either sign.
fn decode_times(track: &Track) -> Vec<i64> {
    let mut times: Vec<i64> = track.samples.iter().map(|sample| sample.pts).collect();
    times.sort_unstable();
    times
}

/// Chunks of about half a second, all tracks' in the order of their times.
fn interleave(tracks: &[Track], decode_times: &[Vec<i64>]) -> Vec<Chunk> {
    let mut chunks: Vec<(i64, Chunk)> = Vec::new();
    for (index, (track, times)) in tracks.iter().zip(decode_times).enumerate() {
        let slot = |time: &i64| time.saturating_mul(CHUNKS_PER_SECOND).div_euclid(i64::from(track.timescale.get()));
        let mut start = 0;
        for run in times.chunk_by(|a, b| slot(a) == slot(b)) {
            chunks.push((slot(&run[0]), Chunk { track: index, samples: start..start + run.len() }));
            start += run.len();
        }
    }
    chunks.sort_by_key(|(slot, chunk)| (*slot, chunk.track));
    chunks.into_iter().map(|(_, chunk)| chunk).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shiguredo_mp4::boxes::{Avc1Box, AvccBox, TkhdBox, VisualSampleEntryFields};
    use shiguredo_mp4::{BoxHeader, Decode, Uint};

    use super::*;
    use crate::footage::index::Index;
    use crate::footage::tracks::Tracks;

    fn entry() -> SampleEntry {
        SampleEntry::Avc1(Avc1Box {
            visual: VisualSampleEntryFields {
                data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
                width: 640,
                height: 360,
                horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
                vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
                frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
                compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
                depth: VisualSampleEntryFields::DEFAULT_DEPTH,
            },
            avcc_box: AvccBox {
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
            },
            unknown_boxes: Vec::new(),
        })
    }

    fn track(samples: Vec<Sample>, end_pts: i64) -> Track {
        Track {
            entry: entry(),
            matrix: TkhdBox::DEFAULT_MATRIX,
            timescale: NonZeroU32::new(30).expect("not 0"),
            samples,
            end_pts,
        }
    }

    /// Finds and reads the `moov` of `head` as a recording's is read.
    fn reopened(head: &Head, object_length: u64) -> Tracks {
        let mut index = Index::new(object_length);
        while let Some(wanted) = index.wants() {
            let wanted = usize::try_from(wanted.start).expect("small")..usize::try_from(wanted.end).expect("small");
            index.take(head.bytes[wanted].to_vec()).expect("boxes in order");
        }
        index.tracks().expect("readable")
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_is_read(
            (times, sizes) in (2_usize..67).prop_flat_map(|n| (
                prop::collection::btree_set(1_i64..500, n).prop_map(Vec::from_iter).prop_shuffle(),
                prop::collection::vec((1_u32..5000, any::<bool>()), n),
            )),
        ) {
            let mut samples: Vec<Sample> =
                times.iter().zip(&sizes).map(|(&pts, &(size, sync))| Sample { size, pts, sync }).collect();
            samples.iter_mut().min_by_key(|sample| sample.pts).expect("some").pts = 0; // a track begins at 0
            let track = track(samples.clone(), 503);
            let head = Head::of(std::slice::from_ref(&track)).expect("writable");
            let data: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
            let read = reopened(&head, head.bytes.len() as u64 + data).video;
            prop_assert_eq!(read.entry, track.entry);
            prop_assert_eq!(read.table.end_pts, 503);
            let mut at = head.bytes.len() as u64;
            for (read, written) in read.table.samples.iter().zip(&samples) {
                prop_assert_eq!((read.offset, read.size, read.sync, read.pts), (at, written.size, written.sync, written.pts));
                at += u64::from(read.size);
            }
        }
    }

    #[test]
    fn beyond_4_gib_offsets_and_the_data_header_grow() {
        let samples: Vec<_> = (0..3).map(|pts| Sample { size: 2 << 30, pts: pts * 30, sync: true }).collect();
        let head = Head::of(&[track(samples, 90)]).expect("writable");
        let read = reopened(&head, head.bytes.len() as u64 + (6 << 30)).video;
        assert_eq!(read.table.samples[2].offset, head.bytes.len() as u64 + (4 << 30));
        let (mdat, length) = BoxHeader::decode(&head.bytes[head.bytes.len() - 16..]).expect("a header");
        assert_eq!((mdat.box_size.get(), length), ((6 << 30) + 16, 16));
    }

    #[test]
    fn tracks_are_interleaved_by_time() {
        let samples = |step: i64| (0..6).map(|n| Sample { size: 1, pts: n * step, sync: true }).collect();
        let head = Head::of(&[track(samples(10), 60), track(samples(5), 30)]).expect("writable");
        let order: Vec<_> = head.chunks.iter().map(|chunk| (chunk.track, chunk.samples.clone())).collect();
        assert_eq!(order, [(0, 0..2), (1, 0..3), (0, 2..3), (1, 3..6), (0, 3..5), (0, 5..6)]);
    }
}
