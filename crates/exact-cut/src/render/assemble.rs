//! Assembles the video track of a clip: which bytes of which source become its samples, under which one sample entry.
//!
//! The clip has one `avc1` sample entry, whose `avcC` holds the parameter sets of the recording and of the encoded edges. Two
//! sample entries, as ffmpeg writes them, stop Chromium at the seam (`PIPELINE_ERROR_DECODE`). The level is the maximum, and
//! high enough for the bit rate of the edges; the compatibility flags are the intersection, and the profile covers both.
//!
//! Samples whose NAL units have lengths of 1 or 2 bytes are rewritten with 4 bytes, because one sample entry has one length
//! size.

use std::fs::File;
use std::num::NonZeroU32;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use shiguredo_mp4::boxes::AvccBox;

use crate::blocking::blocking;
use crate::error::{Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::h264::level::level_for;
use crate::h264::nal_units::with_4_byte_lengths;
use crate::h264::parameter_sets::ParameterSets;
use crate::mp4::boxes::boxed;
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::sample_table::Sample;
use crate::mp4::shape::PictureShape;
use crate::mp4::tracks::VideoTrack;
use crate::mux::layout::PieceSource;
use crate::mux::track::{Display, SampleLocation, Track, TrackSample, TrackWithSources};
use crate::plan::cut_plan::CutPlan;
use crate::plan::segments::{Method, Segment};
use crate::recording_id::PerRecording;
use crate::render::bitstream_facts::BitstreamFacts;
use crate::render::excerpt::LocalVideo;
use crate::render::write_file::PieceFiles;

/// Size of the length field before each NAL unit of a clip, in bytes.
const LENGTH_SIZE: usize = 4;

/// What the samples of a segment are taken from.
#[derive(Debug)]
pub enum SegmentSource {
    /// The recording itself.
    Recording,
    /// The frames, encoded.
    Encoded(Box<LocalVideo>),
    /// The samples of the recording with longer length fields.
    Widened(WidenedSamples),
}

/// Samples whose length fields were rewritten.
#[derive(Debug)]
pub struct WidenedSamples {
    file: Arc<File>,
    /// Offset and size of each sample in the file, in bytes.
    samples: Vec<(u64, u32)>,
}

/// Returns the source of a segment that is copied, with a work file at `path` if one is needed. A clip has one size of
/// length fields (ISO/IEC 14496-15, section 5.3.3.1.2): samples with shorter ones are rewritten, their NAL units unchanged.
///
/// # Errors
/// [`FootageError::NalLength`], or [`Cause::Disk`](crate::error::Cause::Disk).
pub async fn copy_source(
    segment: &Segment,
    recording: &FetchedRecording,
    facts: &BitstreamFacts,
    path: &Path,
) -> Result<SegmentSource, Error> {
    let length_size = facts.sets.as_ref().map_or(LENGTH_SIZE, ParameterSets::length_size);
    if length_size == LENGTH_SIZE {
        return Ok(SegmentSource::Recording);
    }
    let failed = |error| Error::new(path.display().to_string(), error);
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
    let (source, samples) =
        (Arc::clone(&recording.copy.file), recording.open.video.table.samples[segment.samples()].to_vec());
    let widened = blocking(move || widen(&source, &samples, length_size, file)).await.map_err(failed)?;
    Ok(SegmentSource::Widened(widened.map_err(|error| Error::footage(recording.name(), error))?))
}

fn widen(
    source: &File,
    samples: &[Sample],
    length_size: usize,
    file: File,
) -> std::io::Result<Result<WidenedSamples, FootageError>> {
    let (mut widened, mut at) = (Vec::with_capacity(samples.len()), 0);
    for sample in samples {
        let mut bytes = vec![0; sample.size as usize];
        source.read_exact_at(&mut bytes, sample.offset)?;
        let bytes = match with_4_byte_lengths(&bytes, length_size) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(error.into())),
        };
        file.write_all_at(&bytes, at)?;
        let size = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        widened.push((at, size));
        at += u64::from(size);
    }
    Ok(Ok(WidenedSamples { file: Arc::new(file), samples: widened }))
}

/// Returns the clip's one sample entry. It holds the parameter sets of the copied pictures, `copied`, and those of the
/// encoded ones, and says of the display what the main recording says.
///
/// # Errors
/// [`FootageError`] if one entry cannot hold both.
pub fn sample_entry(
    sources: &[SegmentSource],
    main: &SampleEntry,
    shape: PictureShape,
    copied: Option<&ParameterSets>,
) -> Result<SampleEntry, FootageError> {
    let encoded = || {
        sources.iter().filter_map(|source| match source {
            SegmentSource::Encoded(local) => Some(&local.video),
            _ => None,
        })
    };
    let first = encoded().next().map(|video| &video.entry);
    if encoded()
        .map(|video| &video.entry)
        .any(|entry| Some(entry.decoder_configuration()) != first.map(SampleEntry::decoder_configuration))
    {
        return Err(FootageError::EncodedSetsDiffer);
    }
    let (avcc, display) = match (first, copied) {
        (None, None) => return Err(FootageError::NotAvc),
        (None, Some(copied)) => (copied.with_4_byte_lengths(), display_boxes(main, shape)),
        (Some(first), None) => (with_level(first.avcc(), encoded())?, first.display_boxes()),
        (Some(first), Some(copied)) => {
            let avcc = with_level(first.avcc(), encoded())?;
            let encoded = ParameterSets::read(Some(avcc)).map_err(|_| FootageError::NotAvc)?;
            (copied.joined(&encoded)?, display_boxes(main, shape))
        }
    };
    SampleEntry::avc1(shape.width, shape.height, &avcc, &display).map_err(FootageError::SampleEntry)
}

/// Returns the parameter sets of the encoder with a level whose bit rate all that it `encoded` keeps within.
fn with_level<'a>(
    avcc: Option<AvccBox>,
    encoded: impl Iterator<Item = &'a VideoTrack>,
) -> Result<AvccBox, FootageError> {
    let mut avcc = avcc.ok_or(FootageError::NotAvc)?;
    let level = encoded.fold(avcc.avc_level_indication, |level, video| {
        let bits: Vec<u64> = video.table.samples.iter().map(|sample| u64::from(sample.size) * 8).collect();
        level_for(avcc.avc_profile_indication, level, &bits, video.table.timescale)
    });
    avcc.avc_level_indication = level;
    // after the header of the NAL unit, the profile and its constraints
    avcc.sps_list.iter_mut().filter_map(|sps| sps.get_mut(3)).for_each(|stated| *stated = level);
    Ok(avcc)
}

/// Returns the boxes of the main recording about the display, with the shape of a pixel if only `tkhd` or the parameter sets
/// state it.
fn display_boxes(main: &SampleEntry, shape: PictureShape) -> Vec<u8> {
    let (across, down) = shape.pixel_aspect;
    let pasp = match main.pixel_aspect() {
        None if across != down => boxed(b"pasp", &[across.to_be_bytes(), down.to_be_bytes()].concat()),
        _ => Vec::new(),
    };
    [main.display_boxes(), pasp].concat()
}

/// Returns the video track of the clip, made of the samples of all segments. Files of encoded samples are added to
/// `files`.
///
/// # Panics
/// If `sources` does not hold one source for each segment, encoded where the plan says so.
#[must_use]
pub fn video_track(
    plan: &CutPlan,
    sources: &[SegmentSource],
    entry: SampleEntry,
    display: Display,
    facts: &PerRecording<BitstreamFacts>,
    recordings: &PerRecording<FetchedRecording>,
    files: &mut PieceFiles,
) -> TrackWithSources<PieceSource> {
    let mut samples = Vec::with_capacity(plan.times.len());
    let mut locations = Vec::with_capacity(plan.times.len());
    for (segment, source) in plan.segments.iter().zip(sources) {
        let recording: &VideoTrack = &recordings[segment.recording].open.video;
        let times = &plan.times[samples.len()..samples.len() + segment.frames.len()];
        let (table, range) = match (&segment.method, source) {
            (Method::Copy { samples }, _) => (&recording.table, samples.clone()),
            (Method::Encode { .. }, SegmentSource::Encoded(local)) => {
                (&local.video.table, 0..local.video.table.samples.len())
            }
            (Method::Encode { .. }, _) => panic!("a segment to be encoded has an encoded source"),
        };
        let piece_source = match source {
            SegmentSource::Recording => PieceSource::Recording(segment.recording),
            SegmentSource::Encoded(local) => files.add(Arc::clone(&local.file)),
            SegmentSource::Widened(widened) => files.add(Arc::clone(&widened.file)),
        };
        // the k-th frame in time gets the k-th time of the plan
        let mut by_time: Vec<usize> = range.clone().collect();
        by_time.sort_by_key(|&sample| table.samples[sample].pts);
        let mut pts = vec![0; by_time.len()];
        for (&sample, &time) in by_time.iter().zip(times) {
            pts[sample - range.start] = time;
        }
        for (index, (number, pts)) in range.zip(pts).enumerate() {
            let sample = table.samples[number];
            let sync = match segment.method {
                Method::Copy { .. } => facts[segment.recording].random_access.is_idr(number),
                Method::Encode { .. } => sample.sync,
            };
            let (offset, size) = match source {
                SegmentSource::Widened(widened) => widened.samples[index],
                _ => (sample.offset, sample.size),
            };
            samples.push(TrackSample { size, pts, sync });
            locations.push(SampleLocation { source: piece_source, offset });
        }
    }
    let timescale = NonZeroU32::new(plan.timescale).unwrap_or(NonZeroU32::MIN);
    TrackWithSources {
        track: Track { entry, display: Some(display), timescale, samples, end_pts: plan.end },
        locations,
    }
}
