//! The boxes of a clip's `moov` (ISO/IEC 14496-12, sections 8.2 to 8.7).
//!
//! **Decode times without an edit list.** The k-th sample in decode order gets the k-th smallest presentation time as its
//! decode time, and a signed composition offset. Decode times rise without drift, variable frame rates survive, and the
//! clip needs no edit list, which players treat differently. This takes `ctts` version 1, `cslg` and the brand `iso4`. The
//! muxer of `shiguredo_mp4` does not write them, so `moov` is composed here, from the box types of that crate.
//!
//! All sizes are known before the first byte is written, so `moov` precedes the media data, and a player can begin at once.

use std::num::NonZeroU32;
use std::time::Duration;

use shiguredo_mp4::boxes::{
    Co64Box, CslgBox, CttsBox, CttsEntry, DinfBox, HdlrBox, MdhdBox, MdiaBox, MediaHeader, MinfBox, MoovBox, MvhdBox,
    SmhdBox, StblBox, StcoBox, StscBox, StscEntry, StsdBox, StssBox, StszBox, SttsBox, TkhdBox, TrakBox, VmhdBox,
};
use shiguredo_mp4::{Either, FixedPointNumber, LanguageCode, Mp4FileTime};

use crate::mux::MuxError;
use crate::mux::track::Track;
use crate::time::Timestamp;

/// Ticks a second of the movie. Tracks have their own timescales.
const MOVIE_TIMESCALE: NonZeroU32 = NonZeroU32::new(1000).expect("not 0");

/// The chunks of one track.
#[derive(Clone, Debug)]
pub struct ChunkTable {
    /// Number of samples of each chunk.
    pub lengths: Vec<usize>,
    /// Offset of each chunk in the file, in bytes.
    pub offsets: Vec<u64>,
    /// Whether offsets are written with 64 bits (`co64`).
    pub wide_offsets: bool,
}

/// Returns the duration of a track in ticks of the movie, rounded up, so that the movie never ends before a track does.
fn movie_duration(track: &Track) -> u64 {
    let ticks = u128::try_from(track.end_pts).unwrap_or_default() * u128::from(MOVIE_TIMESCALE.get());
    u64::try_from(ticks.div_ceil(u128::from(track.timescale.get()))).unwrap_or(u64::MAX)
}

/// Returns an instant as boxes state it: whole seconds since 1904, rounded down; 0 for none (section 8.2.2.3). Boxes of
/// version 1 have room for instants after 2040.
#[must_use]
pub fn file_time(instant: Option<Timestamp>) -> Mp4FileTime {
    let since_epoch = instant.and_then(|instant| u64::try_from(instant.as_us()).ok()).map(Duration::from_micros);
    since_epoch.map(Mp4FileTime::from_unix_time).unwrap_or_default()
}

/// Returns the `moov` box of `tracks`, with `date` as its creation time.
#[must_use]
pub fn moov_box(tracks: &[&Track], trak_boxes: Vec<TrakBox>, date: Mp4FileTime) -> MoovBox {
    let mvhd_box = MvhdBox {
        creation_time: date,
        modification_time: date,
        timescale: MOVIE_TIMESCALE,
        duration: tracks.iter().map(|track| movie_duration(track)).max().unwrap_or_default(),
        rate: MvhdBox::DEFAULT_RATE,
        volume: MvhdBox::DEFAULT_VOLUME,
        matrix: MvhdBox::DEFAULT_MATRIX,
        next_track_id: u32::try_from(tracks.len()).unwrap_or(u32::MAX).saturating_add(1),
    };
    MoovBox { mvhd_box, trak_boxes, mvex_box: None, unknown_boxes: Vec::new() }
}

/// Returns the `trak` box of track number `index`, counted from 0, with `date` as its creation time.
///
/// # Errors
/// [`MuxError`] if a time or a size exceeds its box.
pub fn trak_box(
    index: usize,
    track: &Track,
    decode_times: &[i64],
    chunks: &ChunkTable,
    date: Mp4FileTime,
) -> Result<TrakBox, MuxError> {
    let visual = track.display;
    let (width, height) = visual.map_or((0, 0), |display| display.size);
    let pixels = |pixels: u16| FixedPointNumber::new(i16::try_from(pixels).unwrap_or(i16::MAX), 0);
    let volume = if visual.is_some() { TkhdBox::DEFAULT_VIDEO_VOLUME } else { TkhdBox::DEFAULT_AUDIO_VOLUME };
    let tkhd_box = TkhdBox {
        flag_track_enabled: true,
        flag_track_in_movie: true,
        flag_track_in_preview: false,
        flag_track_size_is_aspect_ratio: false,
        creation_time: date,
        modification_time: date,
        track_id: u32::try_from(index + 1).map_err(|_| MuxError::FieldOverflow("a track id"))?,
        duration: movie_duration(track),
        layer: TkhdBox::DEFAULT_LAYER,
        alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
        volume,
        matrix: visual.map_or(TkhdBox::DEFAULT_MATRIX, |display| display.orientation.matrix()),
        width: pixels(width),
        height: pixels(height),
    };
    let mdhd_box = MdhdBox {
        creation_time: date,
        modification_time: date,
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
    let stbl_box = stbl_box(track, decode_times, chunks)?;
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

fn stbl_box(track: &Track, decode_times: &[i64], chunks: &ChunkTable) -> Result<StblBox, MuxError> {
    let ends = decode_times.iter().skip(1).copied().chain([track.end_pts]);
    let deltas = decode_times
        .iter()
        .zip(ends)
        .map(|(start, end)| u32::try_from(end - start).map_err(|_| MuxError::EndBeforeLastSample));
    let stts_box = SttsBox::from_sample_deltas(deltas.collect::<Result<Vec<_>, _>>()?)
        .map_err(|error| MuxError::Encode(error.to_string()))?;
    let composition_offsets: Vec<i64> =
        track.samples.iter().zip(decode_times).map(|(sample, dts)| sample.pts - dts).collect();
    let (ctts_box, cslg_box) = composition_boxes(&composition_offsets, decode_times, track.end_pts).unzip();
    let number = |index: usize| {
        let number = u32::try_from(index + 1).ok().and_then(NonZeroU32::new);
        number.ok_or(MuxError::FieldOverflow("the number of samples"))
    };
    let mut stsc: Vec<StscEntry> = Vec::new();
    for (chunk, &length) in chunks.lengths.iter().enumerate() {
        let sample_per_chunk = u32::try_from(length).map_err(|_| MuxError::FieldOverflow("the length of a chunk"))?;
        if stsc.last().is_none_or(|last| last.sample_per_chunk != sample_per_chunk) {
            stsc.push(StscEntry {
                first_chunk: number(chunk)?,
                sample_per_chunk,
                sample_description_index: NonZeroU32::MIN,
            });
        }
    }
    let chunk_offsets = if chunks.wide_offsets {
        Either::B(Co64Box { chunk_offsets: chunks.offsets.clone() })
    } else {
        let narrow = |&offset: &u64| u32::try_from(offset).map_err(|_| MuxError::FieldOverflow("an offset"));
        Either::A(StcoBox { chunk_offsets: chunks.offsets.iter().map(narrow).collect::<Result<_, _>>()? })
    };
    let sync = track.samples.iter().enumerate().filter(|(_, sample)| sample.sync).map(|(index, _)| number(index));
    let sample_numbers = sync.collect::<Result<Vec<_>, _>>()?;
    let all_sync = sample_numbers.len() == track.samples.len();
    Ok(StblBox {
        stsd_box: StsdBox { entries: vec![track.entry.as_box()] },
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

/// Returns `ctts` and `cslg` (sections 8.6.1.3 and 8.6.1.4), or `None` if samples are shown in decode order.
fn composition_boxes(offsets: &[i64], decode_times: &[i64], end: i64) -> Option<(CttsBox, CslgBox)> {
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
