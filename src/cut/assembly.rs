//! Puts a clip's video track together: which bytes of which file become its samples, under which one sample entry.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::num::NonZeroU32;
use std::path::Path;

use shiguredo_mp4::boxes::{AvccBox, SampleEntry};

use crate::cut::edges::Movie;
use crate::cut::evidence::Evidence;
use crate::cut::movie::{Sample, Track};
use crate::cut::plan::Plan;
use crate::cut::segments::{How, Segment};
use crate::cut::splice::{Place, Spliced};
use crate::error::Error;
use crate::fetch::Fetched;
use crate::footage::nal::with_wide_lengths;
use crate::footage::parameter_sets::ParameterSets;

/// What a segment's samples are taken from.
#[derive(Debug)]
pub enum Piece {
    /// The recording itself.
    Recording,
    /// Its pictures, encoded anew.
    Encoded(Box<Movie>),
    /// Its samples, with longer length fields: each one's place and size in the file.
    Widened(File, Vec<(u64, u32)>),
}

/// How a clip's samples announce the length of each NAL unit: by that many bytes.
const LENGTH_SIZE: usize = 4;

/// What the samples of `segment` are taken from if they are copied. One clip has one size of length fields
/// (ISO/IEC 14496-15, section 5.3.3.1.2); samples with shorter ones are written anew, their NAL units as they are.
///
/// # Errors
/// Unusable if a sample is not made of NAL units; passing if the disk fails.
pub fn copied(segment: &Segment, fetched: &Fetched<'_>, evidence: &Evidence, path: &Path) -> Result<Piece, Error> {
    let length_size = evidence.sets.as_ref().map_or(LENGTH_SIZE, ParameterSets::length_size);
    if length_size == LENGTH_SIZE {
        return Ok(Piece::Recording);
    }
    let failed = |error: std::io::Error| Error::passing(path.display().to_string(), error);
    let file = File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
    let mut writer = BufWriter::new(&file);
    let (mut samples, mut at) = (Vec::new(), 0);
    for sample in segment.samples() {
        let bytes = with_wide_lengths(&fetched.sample(sample)?, length_size)
            .map_err(|reason| Error::unusable(&fetched.object, reason))?;
        writer.write_all(&bytes).map_err(failed)?;
        let size = u32::try_from(bytes.len()).map_err(|error| Error::unusable(&fetched.object, error))?;
        samples.push((at, size));
        at += u64::from(size);
    }
    writer.flush().map_err(failed)?;
    drop(writer);
    Ok(Piece::Widened(file, samples))
}

/// The clip's one sample entry, with the parameter sets of what is copied and of what was encoded.
///
/// # Errors
/// Says why one entry can't hold both.
pub fn entry(
    pieces: &[Piece],
    main: &SampleEntry,
    copied: Option<&ParameterSets>,
) -> Result<SampleEntry, &'static str> {
    let mut encoded = pieces.iter().filter_map(|piece| match piece {
        Piece::Encoded(movie) => Some(&movie.video.entry),
        _ => None,
    });
    let Some(first) = encoded.next() else { return with_sets(main, copied.map(ParameterSets::complete)) };
    if encoded.any(|entry| entry != first) {
        return Err("the encoded segments' parameter sets differ");
    }
    match copied {
        Some(copied) => with_sets(main, Some(copied.joined(&ParameterSets::read(first)?)?)),
        None => Ok(first.clone()),
    }
}

fn with_sets(entry: &SampleEntry, avcc: Option<AvccBox>) -> Result<SampleEntry, &'static str> {
    match (entry.clone(), avcc) {
        (SampleEntry::Avc1(mut avc1), Some(avcc)) => {
            avc1.avcc_box = avcc;
            Ok(SampleEntry::Avc1(avc1))
        }
        _ => Err("copied pictures are not H.264"),
    }
}

/// The files that samples are taken from: the recordings', then the pieces' own.
#[must_use]
pub fn files<'a>(fetched: &'a [Fetched<'_>], pieces: &'a [Piece]) -> Vec<&'a File> {
    let own = pieces.iter().filter_map(|piece| match piece {
        Piece::Recording => None,
        Piece::Encoded(movie) => Some(&movie.file),
        Piece::Widened(file, _) => Some(file),
    });
    fetched.iter().map(|fetched| &fetched.file).chain(own).collect()
}

/// The clip's one video track, out of all segments' samples, in the files of [`files`].
///
/// # Errors
/// If the plan makes no sense.
pub fn track(
    plan: &Plan,
    (entry, matrix): (SampleEntry, [i32; 9]),
    pieces: &[Piece],
    evidence: &[Evidence],
    fetched: &[Fetched<'_>],
) -> Result<Spliced, &'static str> {
    let (mut samples, mut places) = (Vec::with_capacity(plan.times.len()), Vec::with_capacity(plan.times.len()));
    let mut next_file = fetched.len();
    for (segment, piece) in plan.segments.iter().zip(pieces) {
        let times = &plan.times[samples.len()..samples.len() + segment.frames.len()];
        let own = &fetched[segment.recording].video.table;
        let (table, range) = match (&segment.how, piece) {
            (How::Copy { samples }, _) => (own, samples.clone()),
            (How::Encode { .. }, Piece::Encoded(movie)) => (&movie.video.table, 0..movie.video.table.samples.len()),
            (How::Encode { .. }, _) => return Err("a segment is missing"),
        };
        let file = if matches!(piece, Piece::Recording) { segment.recording } else { next_file };
        next_file += usize::from(!matches!(piece, Piece::Recording));
        // the frames' order in time gives each sample its time
        let mut by_time: Vec<usize> = range.clone().collect();
        by_time.sort_by_key(|&sample| table.samples[sample].pts);
        let mut pts = vec![0; by_time.len()];
        for (&sample, &time) in by_time.iter().zip(times) {
            pts[sample - range.start] = time;
        }
        for (index, (sample, pts)) in range.zip(pts).enumerate() {
            let source = table.samples[sample];
            let sync = match segment.how {
                How::Copy { .. } => evidence[segment.recording].entries.is_idr(sample),
                How::Encode { .. } => source.sync,
            };
            let (offset, size) = match piece {
                Piece::Widened(_, widened) => widened[index],
                _ => (source.offset, source.size),
            };
            samples.push(Sample { size, pts, sync });
            places.push(Place { file, offset });
        }
    }
    let timescale = NonZeroU32::new(plan.timescale).ok_or("a timescale of 0")?;
    Ok(Spliced { track: Track { entry, matrix, timescale, samples, end_pts: plan.end }, places })
}
