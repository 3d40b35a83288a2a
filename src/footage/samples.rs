//! One MP4's sample table: which bytes make up which frame, and when it is shown (ISO/IEC 14496-12, sections 8.5 to 8.7).
//! Pure: it is given the bytes of the `moov` box, never a file.

use shiguredo_mp4::aux::SampleTableAccessor;
use shiguredo_mp4::boxes::{EdtsBox, MoovBox, SampleEntry, StblBox, StszBox, TrakBox};
use shiguredo_mp4::{BoxHeader, BoxType, Decode};

use crate::time::Timestamp;

/// The largest `moov` that is read: about ten hours at 60 frames a second.
pub const LARGEST_MOOV: u64 = 64 << 20;
/// The most samples of one track. One 8-byte `stts` entry can claim 2³² of them, so the claim is checked first.
const MOST_SAMPLES: u32 = 2_000_000;
/// The longest recording, in days; with it no product of times overflows an `i128`.
const LONGEST_DAYS: u64 = 7;

/// A sample: one picture or one packet of sound, as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u32,
    /// Listed as a sync sample. Only a nomination: `stss` also lists pictures of open GOPs.
    pub sync: bool,
    /// When it is shown (composition time), in the track's timescale.
    pub pts: i64,
}

/// A track's samples and the frames that are shown of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleTable {
    /// Ticks a second.
    pub timescale: u32,
    /// In decode order.
    pub samples: Vec<Sample>,
    /// Indices into `samples` of the frames that are shown, in the order in which they are. What an edit list hides is
    /// no frame.
    pub frames: Vec<u32>,
    /// When the last frame's time is over.
    pub end_pts: i64,
}

impl SampleTable {
    /// The sample of the frame that is shown as number `frame`, counted from 0.
    ///
    /// # Panics
    /// If there is no such frame.
    #[must_use]
    pub fn frame(&self, frame: usize) -> &Sample {
        &self.samples[self.frames[frame] as usize]
    }

    /// When the first frame is shown: the instant that stands in the recording's name. A table has a frame at least.
    #[must_use]
    pub fn first_pts(&self) -> i64 {
        self.frame(0).pts
    }

    /// When frame number `frame` stops being shown.
    #[must_use]
    pub fn frame_end(&self, frame: usize) -> i64 {
        if frame + 1 < self.frames.len() { self.frame(frame + 1).pts } else { self.end_pts }
    }

    /// Frames a second, roughly: from the median distance of two, 1 to 240.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let mut distances: Vec<i64> = (0..self.frames.len()).map(|n| self.frame_end(n) - self.frame(n).pts).collect();
        let middle = distances.len() / 2;
        let (_, &mut median, _) = distances.select_nth_unstable(middle);
        let per_second = (i64::from(self.timescale) + median / 2) / median.max(1);
        u32::try_from(per_second.clamp(1, 240)).unwrap_or(1)
    }

    /// From the first frame's start to the last one's end, in microseconds, rounded.
    #[must_use]
    pub fn length_us(&self) -> i64 {
        let ticks = i128::from(self.end_pts - self.first_pts());
        let timescale = i128::from(self.timescale);
        i64::try_from((ticks * 1_000_000 + timescale / 2) / timescale).unwrap_or(i64::MAX)
    }

    /// The number of the first frame that is shown at `at` or later, where the first one is shown at `starts`.
    #[must_use]
    pub fn first_frame_at(&self, at: Timestamp, starts: Timestamp) -> usize {
        let first_pts = self.first_pts();
        let us = i128::from(at.as_us()) - i128::from(starts.as_us());
        self.frames.partition_point(|&sample| {
            let ticks = i128::from(self.samples[sample as usize].pts) - i128::from(first_pts);
            ticks * 1_000_000 < us * i128::from(self.timescale)
        })
    }
}

/// A video track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// Its frames.
    pub table: SampleTable,
    /// Its one sample entry: codec and parameter sets, without its bit rate, which is the file's own.
    pub entry: SampleEntry,
    /// The transformation for display, from `tkhd`: rotation by the camera's mounting.
    pub matrix: [i32; 9],
}

impl Video {
    /// Reads the first video track of a `moov` box. `object_length` is that of the whole file, in bytes.
    ///
    /// # Errors
    /// Says what makes the table unusable. Nothing that the box claims is believed before it is checked against the
    /// bytes that are there.
    pub fn read(moov: &[u8], object_length: u64) -> Result<Self, String> {
        let (moov, _) = MoovBox::decode(moov).map_err(|error| format!("moov: {error}"))?;
        if moov.mvex_box.is_some() {
            return Err("the file is fragmented".to_owned());
        }
        let is_video = |track: &&TrakBox| track.mdia_box.hdlr_box.handler_type == *b"vide";
        let track = moov.trak_boxes.iter().find(is_video).ok_or("no video track")?;
        let stbl = &track.mdia_box.minf_box.stbl_box;
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let (samples, end_pts) = samples(stbl, timescale, object_length)?;
        let shown = edit(track.edts_box.as_ref(), timescale, moov.mvhd_box.timescale.get())?;
        let table = shown_of(samples, end_pts, timescale, &shown)?;
        let [entry] = &stbl.stsd_box.entries[..] else { return Err("not just one sample entry".to_owned()) };
        Ok(Self { table, entry: without_bit_rate(entry.clone()), matrix: track.tkhd_box.matrix })
    }
}

/// A video's sample entry without what is true of its own file only (`btrt`, its bit rate).
fn without_bit_rate(mut entry: SampleEntry) -> SampleEntry {
    if let SampleEntry::Avc1(avc1) = &mut entry {
        avc1.unknown_boxes.retain(|unknown| unknown.box_type != BoxType::Normal(*b"btrt"));
    }
    entry
}

/// All samples in decode order, and when the one that is shown last has been shown.
fn samples(stbl: &StblBox, timescale: u32, object_length: u64) -> Result<(Vec<Sample>, i64), String> {
    let claimed = match &stbl.stsz_box {
        StszBox::Fixed { sample_count, .. } => *sample_count,
        StszBox::Variable { entry_sizes } => u32::try_from(entry_sizes.len()).unwrap_or(u32::MAX),
    };
    if claimed == 0 || claimed > MOST_SAMPLES {
        return Err(format!("stsz: {claimed} samples"));
    }
    let table = SampleTableAccessor::new(stbl).map_err(|error| format!("stbl: {error}"))?;
    let durations = stbl.stts_box.entries.iter().flat_map(|run| repeat(run.sample_count, i64::from(run.sample_delta)));
    let offsets = stbl.ctts_box.iter().flat_map(|ctts| &ctts.entries);
    let offsets = offsets.flat_map(|run| repeat(run.sample_count, run.sample_offset)).chain(std::iter::repeat(0));
    let longest = i64::try_from(LONGEST_DAYS * 24 * 3600 * u64::from(timescale)).unwrap_or(i64::MAX);
    let mut dts = 0_i64;
    let mut samples = Vec::with_capacity(claimed as usize);
    for ((sample, duration), composition_offset) in table.samples().zip(durations).zip(offsets) {
        let (offset, size) = (sample.data_offset(), sample.data_size());
        let inside = offset.checked_add(u64::from(size)).is_some_and(|end| end <= object_length);
        if size == 0 || !inside {
            return Err(format!("sample {} of {size} bytes at {offset} in a file of {object_length}", sample.index()));
        }
        let pts = dts + composition_offset;
        samples.push(Sample { offset, size, sync: sample.is_sync_sample(), pts });
        dts += duration;
        if dts > longest || pts.abs() > longest {
            return Err(format!("stts: longer than {LONGEST_DAYS} days"));
        }
    }
    // durations belong to decode times: only their sum says how long the last frame shown lasts, unless `cslg` does
    let (first, last) =
        samples.iter().fold((i64::MAX, i64::MIN), |(a, b), sample| (a.min(sample.pts), b.max(sample.pts)));
    let stated =
        stbl.cslg_box.as_ref().map(|cslg| cslg.composition_end_time).filter(|&end| end > last && end <= longest);
    Ok((samples, stated.unwrap_or(first + dts).max(last + 1)))
}

/// `std::iter::repeat_n` takes a `usize`; `count` has been checked against the number of samples.
fn repeat(count: u32, value: i64) -> impl Iterator<Item = i64> {
    std::iter::repeat_n(value, count as usize)
}

/// What an edit list leaves to be seen: composition times from `from` until `until`.
struct Shown {
    from: i64,
    until: Option<i64>,
}

/// Reads `elst` (ISO/IEC 14496-12, section 8.6.6). A leading empty edit delays all of the track alike; the recording's
/// name already says when the first frame was taken.
fn edit(edts: Option<&EdtsBox>, timescale: u32, movie_timescale: u32) -> Result<Shown, String> {
    let entries = edts.and_then(|edts| edts.elst_box.as_ref()).map_or(&[][..], |elst| &elst.entries);
    let mut edits = entries.iter().filter(|entry| entry.media_time != -1);
    let Some(edit) = edits.next() else { return Ok(Shown { from: i64::MIN, until: None }) };
    if edits.next().is_some() || edit.media_rate.integer != 1 || edit.media_rate.fraction != 0 || edit.media_time < 0 {
        return Err("elst: more than one plain edit".to_owned());
    }
    let ticks = u128::from(edit.edit_duration) * u128::from(timescale) / u128::from(movie_timescale);
    let until =
        i64::try_from(ticks).ok().filter(|&ticks| ticks > 0).and_then(|ticks| edit.media_time.checked_add(ticks));
    Ok(Shown { from: edit.media_time, until })
}

fn shown_of(samples: Vec<Sample>, end_pts: i64, timescale: u32, shown: &Shown) -> Result<SampleTable, String> {
    let end_pts = shown.until.map_or(end_pts, |until| until.min(end_pts));
    let is_shown = |pts: i64| pts >= shown.from && pts < end_pts;
    let indices = (0_u32..).zip(&samples).filter(|(_, sample)| is_shown(sample.pts));
    let mut frames: Vec<u32> = indices.map(|(index, _)| index).collect();
    frames.sort_by_key(|&index| samples[index as usize].pts);
    if frames.is_empty() {
        return Err("no frame is shown".to_owned());
    }
    if frames.windows(2).any(|pair| samples[pair[0] as usize].pts == samples[pair[1] as usize].pts) {
        return Err("ctts: two frames at the same time".to_owned());
    }
    Ok(SampleTable { timescale, samples, frames, end_pts })
}

/// A step on the way to the `moov` box, over the boxes at the top of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The `moov` box lies at these bytes.
    Moov {
        /// Its first byte.
        offset: u64,
        /// Its length, header included.
        size: u64,
    },
    /// The next box begins here.
    Next(u64),
}

/// Reads the header of the box at `offset` of a file of `object_length` bytes, from the bytes that begin there (16 are
/// enough).
///
/// # Errors
/// Says what is wrong with the header, which for other kinds of files is where it ends.
pub fn step(bytes: &[u8], offset: u64, object_length: u64) -> Result<Step, String> {
    let (header, header_size) =
        BoxHeader::decode(bytes).map_err(|_| format!("no box of an MP4 file at byte {offset} of {object_length}"))?;
    let size = match header.box_size.get() {
        0 => object_length - offset, // "to the end of the file"
        size => size,
    };
    let end = offset.checked_add(size).filter(|&end| size >= header_size as u64 && end <= object_length);
    let named = |name: &[u8; 4]| header.box_type == BoxType::Normal(*name);
    match end {
        None => Err(format!("box {} at byte {offset} claims {size} bytes of {object_length}", header.box_type)),
        Some(_) if named(b"moov") && size > LARGEST_MOOV => Err(format!("moov of {size} bytes")),
        Some(_) if named(b"moov") => Ok(Step::Moov { offset, size }),
        Some(end) if end == object_length => Err("no moov box: cut short, or no MP4 file".to_owned()),
        Some(end) => Ok(Step::Next(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of frames that are shown in decode order.
    fn table(timescale: u32, pts: &[i64], end_pts: i64) -> SampleTable {
        let samples = pts.iter().map(|&pts| Sample { offset: 0, size: 1, sync: true, pts }).collect::<Vec<_>>();
        let frames = (0..u32::try_from(pts.len()).expect("few")).collect();
        SampleTable { timescale, samples, frames, end_pts }
    }

    #[test]
    fn a_frame_belongs_to_the_instant_at_which_it_is_first_shown() {
        let table = table(30, &[7, 8, 9, 13], 14);
        let starts = Timestamp::from_us(5_000_000);
        let first = |us: i64| table.first_frame_at(Timestamp::from_us(5_000_000 + us), starts);
        assert_eq!(first(-1), 0);
        assert_eq!(first(0), 0);
        assert_eq!(first(1), 1);
        assert_eq!(first(33_333), 1, "frame 1 is shown a third of a microsecond later");
        assert_eq!(first(33_334), 2);
        assert_eq!(first(200_000), 3);
        assert_eq!(first(200_001), 4);
        assert_eq!(table.length_us(), 233_333);
        assert_eq!((table.frame_end(2), table.frame_end(3)), (13, 14));
    }

    #[test]
    fn only_headers_that_fit_the_file_are_followed() {
        let header = |size: u32, name: &[u8; 4]| [&size.to_be_bytes()[..], name].concat();
        assert_eq!(step(&header(24, b"ftyp"), 0, 1000), Ok(Step::Next(24)));
        assert_eq!(step(&header(24, b"moov"), 976, 1000), Ok(Step::Moov { offset: 976, size: 24 }));
        assert_eq!(step(&header(0, b"moov"), 976, 1000), Ok(Step::Moov { offset: 976, size: 24 }));
        let large = [&header(1, b"mdat")[..], &700_u64.to_be_bytes()].concat();
        assert_eq!(step(&large, 24, 1000), Ok(Step::Next(724)));
        for (bytes, offset) in [
            (header(25, b"moov"), 976),
            (header(7, b"moov"), 0),
            (header(0, b"mdat"), 24),
            (header(976, b"mdat"), 24),
            ([&header(1, b"mdat")[..], &u64::MAX.to_be_bytes()].concat(), 24),
            (b"#EXTM3U\n".to_vec(), 0),
            (vec![], 0),
        ] {
            step(&bytes, offset, 1000).expect_err("no such box");
        }
        step(&header(u32::MAX, b"moov"), 0, 1 << 40).expect_err("too large");
    }
}
