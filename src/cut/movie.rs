//! The boxes in front of a clip's media data: `ftyp`, `moov` and the header of `mdat`, and with them the order in which
//! the samples follow (ISO/IEC 14496-12). Pure; every size is known before a byte is written.

use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;

use shiguredo_mp4::boxes::{
    Brand, Co64Box, CslgBox, CttsBox, CttsEntry, DinfBox, FtypBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader, MinfBox,
    MoovBox, MvhdBox, SampleEntry, SmhdBox, StblBox, StcoBox, StscBox, StscEntry, StsdBox, StssBox, StszBox, SttsBox,
    TkhdBox, TrakBox, VisualSampleEntryFields, VmhdBox,
};
use shiguredo_mp4::{BoxType, Either, Encode, FixedPointNumber, LanguageCode, Mp4FileTime};

/// The movie's own ticks a second. Tracks have theirs.
const MOVIE_TIMESCALE: NonZeroU32 = NonZeroU32::new(1000).expect("not 0");
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

/// Rounded up, so that the movie never ends before a track does.
fn movie_duration(track: &Track) -> u64 {
    let ticks = u128::try_from(track.end_pts).unwrap_or_default() * u128::from(MOVIE_TIMESCALE.get());
    u64::try_from(ticks.div_ceil(u128::from(track.timescale.get()))).unwrap_or(u64::MAX)
}

fn moov(tracks: &[Track], trak_boxes: Vec<TrakBox>) -> MoovBox {
    let mvhd_box = MvhdBox {
        creation_time: Mp4FileTime::default(), // the same request gives the same bytes: no dates
        modification_time: Mp4FileTime::default(),
        timescale: MOVIE_TIMESCALE,
        duration: tracks.iter().map(movie_duration).max().unwrap_or_default(),
        rate: MvhdBox::DEFAULT_RATE,
        volume: MvhdBox::DEFAULT_VOLUME,
        matrix: MvhdBox::DEFAULT_MATRIX,
        next_track_id: u32::try_from(tracks.len()).unwrap_or(u32::MAX).saturating_add(1),
    };
    MoovBox { mvhd_box, trak_boxes, mvex_box: None, unknown_boxes: Vec::new() }
}

fn trak(
    index: usize,
    track: &Track,
    decode_times: &[i64],
    chunk_lengths: &[usize],
    offsets: &[u64],
    wide: bool,
) -> Result<TrakBox, String> {
    let visual = visual(&track.entry);
    let (width, height) = visual.map_or((0, 0), |visual| displayed(&track.entry, visual));
    let volume = if visual.is_some() { TkhdBox::DEFAULT_VIDEO_VOLUME } else { TkhdBox::DEFAULT_AUDIO_VOLUME };
    let tkhd_box = TkhdBox {
        flag_track_enabled: true,
        flag_track_in_movie: true,
        flag_track_in_preview: false,
        flag_track_size_is_aspect_ratio: false,
        creation_time: Mp4FileTime::default(),
        modification_time: Mp4FileTime::default(),
        track_id: u32::try_from(index + 1).map_err(|error| error.to_string())?,
        duration: movie_duration(track),
        layer: TkhdBox::DEFAULT_LAYER,
        alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
        volume,
        matrix: track.matrix,
        width: FixedPointNumber::new(width, 0),
        height: FixedPointNumber::new(height, 0),
    };
    let mdhd_box = MdhdBox {
        creation_time: Mp4FileTime::default(),
        modification_time: Mp4FileTime::default(),
        timescale: track.timescale,
        duration: u64::try_from(track.end_pts).unwrap_or_default(),
        language: LanguageCode::UNDEFINED,
    };
    let (handler_type, name) = match visual {
        Some(_) => (HdlrBox::HANDLER_TYPE_VIDE, b"video\0".to_vec()),
        None => (HdlrBox::HANDLER_TYPE_SOUN, b"sound\0".to_vec()),
    };
    let media_header = match visual {
        Some(_) => MediaHeader::Vmhd(VmhdBox {
            graphicsmode: VmhdBox::DEFAULT_GRAPHICSMODE,
            opcolor: VmhdBox::DEFAULT_OPCOLOR,
        }),
        None => MediaHeader::Smhd(SmhdBox { balance: SmhdBox::DEFAULT_BALANCE }),
    };
    let stbl_box = stbl(track, decode_times, chunk_lengths, offsets, wide)?;
    let minf_box = MinfBox {
        media_header: Some(media_header),
        dinf_box: DinfBox::LOCAL_FILE,
        stbl_box,
        unknown_boxes: Vec::new(),
    };
    let hdlr_box = HdlrBox { handler_type, name };
    let mdia_box = MdiaBox { mdhd_box, hdlr_box, minf_box, unknown_boxes: Vec::new() };
    Ok(TrakBox { tkhd_box, edts_box: None, mdia_box, unknown_boxes: Vec::new() })
}

fn stbl(
    track: &Track,
    decode_times: &[i64],
    chunk_lengths: &[usize],
    offsets: &[u64],
    wide: bool,
) -> Result<StblBox, String> {
    let ends = decode_times.iter().skip(1).copied().chain([track.end_pts]);
    let deltas = decode_times
        .iter()
        .zip(ends)
        .map(|(start, end)| u32::try_from(end - start).map_err(|_| "a time that goes back"));
    let stts_box =
        SttsBox::from_sample_deltas(deltas.collect::<Result<Vec<_>, _>>()?).map_err(|error| error.to_string())?;
    let composition_offsets: Vec<i64> =
        track.samples.iter().zip(decode_times).map(|(sample, dts)| sample.pts - dts).collect();
    let (ctts_box, cslg_box) = composition(&composition_offsets, decode_times, track.end_pts).unzip();
    let number = |index: usize| u32::try_from(index + 1).ok().and_then(NonZeroU32::new).ok_or("more than 2³² samples");
    let mut stsc: Vec<StscEntry> = Vec::new();
    for (chunk, &length) in chunk_lengths.iter().enumerate() {
        let sample_per_chunk = u32::try_from(length).map_err(|error| error.to_string())?;
        if stsc.last().is_none_or(|last| last.sample_per_chunk != sample_per_chunk) {
            stsc.push(StscEntry {
                first_chunk: number(chunk)?,
                sample_per_chunk,
                sample_description_index: NonZeroU32::MIN,
            });
        }
    }
    let chunk_offsets = if wide {
        Either::B(Co64Box { chunk_offsets: offsets.to_vec() })
    } else {
        let narrow = offsets.iter().map(|&offset| u32::try_from(offset).map_err(|error| error.to_string()));
        Either::A(StcoBox { chunk_offsets: narrow.collect::<Result<_, _>>()? })
    };
    let sync = track.samples.iter().enumerate().filter(|(_, sample)| sample.sync).map(|(index, _)| number(index));
    let sample_numbers = sync.collect::<Result<Vec<_>, _>>()?;
    let all_sync = sample_numbers.len() == track.samples.len();
    Ok(StblBox {
        stsd_box: StsdBox { entries: vec![track.entry.clone()] },
        stts_box,
        ctts_box,
        cslg_box,
        stsc_box: StscBox { entries: stsc },
        stsz_box: StszBox::Variable { entry_sizes: track.samples.iter().map(|sample| sample.size).collect() },
        stco_or_co64_box: chunk_offsets,
        stss_box: (!all_sync).then_some(StssBox { sample_numbers }),
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    })
}

/// `ctts` and `cslg` (sections 8.6.1.3 and 8.6.1.4), where samples are not shown in the order in which they are decoded.
fn composition(offsets: &[i64], decode_times: &[i64], end: i64) -> Option<(CttsBox, CslgBox)> {
    let (&least, &greatest) = (offsets.iter().min()?, offsets.iter().max()?);
    if least == 0 && greatest == 0 {
        return None;
    }
    let runs = offsets.chunk_by(|a, b| a == b);
    let entries =
        runs.map(|run| CttsEntry { sample_count: u32::try_from(run.len()).unwrap_or(u32::MAX), sample_offset: run[0] });
    let cslg = CslgBox {
        version: 1,
        composition_to_dts_shift: (-least).max(0),
        least_decode_to_display_delta: least,
        greatest_decode_to_display_delta: greatest,
        composition_start_time: *decode_times.first()?,
        composition_end_time: end,
    };
    Some((CttsBox { version: u8::from(least < 0), entries: entries.collect() }, cslg))
}

/// The fields that every video's sample entry begins with; none for sound.
#[must_use]
pub fn visual(entry: &SampleEntry) -> Option<&VisualSampleEntryFields> {
    match entry {
        SampleEntry::Avc1(entry) => Some(&entry.visual),
        SampleEntry::Hev1(entry) => Some(&entry.visual),
        SampleEntry::Hvc1(entry) => Some(&entry.visual),
        _ => None,
    }
}

/// The pixel aspect ratio of a sample entry (`pasp`, section 12.1.4): a pixel's width and height; 1 to 1 unless stated.
#[must_use]
pub fn pixel_aspect(entry: &SampleEntry) -> (NonZeroU32, NonZeroU32) {
    const SQUARE: (NonZeroU32, NonZeroU32) = (NonZeroU32::MIN, NonZeroU32::MIN);
    let boxes = match entry {
        SampleEntry::Avc1(entry) => &entry.unknown_boxes,
        SampleEntry::Hev1(entry) => &entry.unknown_boxes,
        SampleEntry::Hvc1(entry) => &entry.unknown_boxes,
        _ => return SQUARE,
    };
    let pasp = boxes.iter().find(|unknown| unknown.box_type == BoxType::Normal(*b"pasp"));
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u32::from_be_bytes).and_then(NonZeroU32::new);
    pasp.and_then(|pasp| Some((number(pasp.payload.get(..4)?)?, number(pasp.payload.get(4..8)?)?))).unwrap_or(SQUARE)
}

/// Width and height as displayed, before rotation: the width carries the pixel aspect ratio.
fn displayed(entry: &SampleEntry, visual: &VisualSampleEntryFields) -> (i16, i16) {
    let (horizontal, vertical) = pixel_aspect(entry);
    let width = u64::from(visual.width) * u64::from(horizontal.get()) / u64::from(vertical.get());
    let fits = |pixels: u64| i16::try_from(pixels).unwrap_or(i16::MAX);
    (fits(width), fits(u64::from(visual.height)))
}

/// Where a sample entry's data lies: in the file itself.
pub const THIS_FILE: NonZeroU16 = NonZeroU16::MIN;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shiguredo_mp4::boxes::{Avc1Box, AvccBox};
    use shiguredo_mp4::{BoxHeader, Decode, Uint};

    use super::*;
    use crate::footage::index::Index;
    use crate::footage::tracks::Tracks;

    fn entry() -> SampleEntry {
        SampleEntry::Avc1(Avc1Box {
            visual: VisualSampleEntryFields {
                data_reference_index: THIS_FILE,
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
