//! The tracks of one MP4 file: its pictures and its audio, on one clock (ISO/IEC 14496-12, sections 8.3 to 8.8).
//!
//! The first frame is the first sample that the first non-empty edit shows. The instant in the recording's name belongs
//! to that frame, and so does time 0 of the audio.
//!
//! Of several video tracks the first one is read that is enabled and of a codec that is decoded; of several audio tracks
//! likewise. A track that is not read may be of any shape.

use std::cell::Cell;
use std::ops::{ControlFlow, Range};

use crate::mp4::audio_clock::follow_clock;
use crate::mp4::audio_codec::AudioCodec;
use crate::mp4::audio_track::{AudioFrame, AudioTrack};
use crate::mp4::boxes::{Fields, child, children, descendant};
use crate::mp4::edit_list::EditList;
use crate::mp4::orientation::Orientation;
use crate::mp4::sample_boxes::{self, ListedSample, MAX_DAYS, Step};
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::sample_table::{SampleTable, SampleTableBuilder};
use crate::mp4::{Mp4Error, fragments, pcm};
use crate::time::rescaled;

/// A video track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Samples and frames.
    pub table: SampleTable,
    /// The sample entry of the first frame: codec and parameter sets.
    pub entry: SampleEntry,
    /// All sample entries, as the numbers in the table mean them.
    pub entries: Vec<SampleEntry>,
    /// How pictures are turned for display: by the mounting of the camera.
    pub orientation: Orientation,
    /// Width and height of the display that `tkhd` states, in 65,536ths of a pixel, if it states any.
    pub display_size: Option<(u32, u32)>,
}

impl VideoTrack {
    /// Returns the sample entry of a sample.
    #[must_use]
    pub fn entry_of(&self, sample: usize) -> &SampleEntry {
        self.entries.get(self.table.entry_of(sample)).unwrap_or(&self.entry)
    }

    /// Has `entry` hold from `sample` on, until the next one that is known to hold.
    pub fn change_entry(&mut self, sample: usize, entry: SampleEntry) {
        let number = self.entries.iter().position(|known| *known == entry).unwrap_or_else(|| {
            self.entries.push(entry);
            self.entries.len() - 1
        });
        let changes = &mut self.table.entries;
        changes.retain(|(from, _)| *from != sample);
        changes.insert(changes.partition_point(|(from, _)| *from < sample), (sample, number));
        self.entry = self.entry_of(self.table.frames[0] as usize).clone();
    }

    /// Returns whether decoders are set up alike for all frames.
    #[must_use]
    pub fn has_one_configuration(&self) -> bool {
        let numbers = self.table.entries.iter().map(|(_, number)| self.entries.get(*number).unwrap_or(&self.entry));
        let configuration = self.entry.decoder_configuration();
        numbers.map(SampleEntry::decoder_configuration).all(|other| other == configuration)
    }
}

/// The video track and the audio track of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks {
    /// The pictures.
    pub video: VideoTrack,
    /// The audio. Faults of the audio track cost only the audio.
    pub audio: Result<AudioTrack, Mp4Error>,
    /// `track_ID` of the video track.
    pub(crate) video_id: u32,
    /// What the decode times of the video track's fragments count from, in its ticks.
    pub(crate) base: i64,
    /// Number of edits of the video track that show something.
    pub(crate) edits: usize,
}

impl Tracks {
    /// Reads the tracks of a file of `object_length` bytes, from the content of its `moov` box and its `moof` boxes. Where some
    /// `moof` boxes are missing, only the samples of those that follow each other are `listed`: their bytes.
    ///
    /// # Errors
    /// [`Mp4Error`] if there is no usable video track.
    pub(crate) fn read(
        moov: &[u8],
        moofs: &[(u64, Vec<u8>)],
        object_length: u64,
        listed: Option<Range<u64>>,
    ) -> Result<Self, Mp4Error> {
        let file = FileBoxes { listed, ..FileBoxes::new(moov, moofs, object_length) };
        let mut reason = Mp4Error::NoVideoTrack;
        for track in file.tracks(*b"vide") {
            match file.video(&track) {
                Ok((video, edits, base)) => {
                    let start = edits.movie_time(video.table.origin);
                    let clock = PictureClock { start, base, timescale: video.table.timescale };
                    let (video_id, edits) = (track.id, edits.shown.len());
                    return Ok(Self { audio: file.audio(clock), video, video_id, base, edits });
                }
                // the codec of the first one is the best reason, unless a later one says more
                Err(error) if matches!(reason, Mp4Error::NoVideoTrack | Mp4Error::Codec { .. }) => reason = error,
                Err(_) => {}
            }
        }
        Err(reason)
    }
}

impl Tracks {
    /// Returns `track_ID` of the first video track that may be read, if only fragments list samples of pictures and audio.
    pub(crate) fn video_id_of_fragments(moov: &[u8], object_length: u64) -> Option<u32> {
        let file = FileBoxes::new(moov, &[], object_length);
        let (pictures, audio) = (file.tracks(*b"vide"), file.tracks(*b"soun"));
        let mut listed = false;
        for track in pictures.iter().chain(&audio) {
            let any = |_| {
                listed = true;
                ControlFlow::Break(())
            };
            sample_boxes::for_each_sample(track.stbl, any).ok()?;
        }
        let is_readable = |track: &&TrackBoxes<'_>| track.entries.iter().all(|entry| entry.video_codec().is_some());
        pictures.iter().find(is_readable).filter(|_| !listed).map(|track| track.id)
    }
}

/// Reads the audio of a file of `object_length` bytes that has no video. Times count from the start of the movie.
pub(crate) fn audio_of_file_without_video(moov: &[u8], object_length: u64) -> Result<AudioTrack, Mp4Error> {
    FileBoxes::new(moov, &[], object_length).audio(PictureClock { start: 0, base: 0, timescale: 1 })
}

/// When the first picture is shown.
#[derive(Clone, Copy)]
struct PictureClock {
    /// In ticks of the movie's time, counted from `base`.
    start: i64,
    /// What the decode times of fragments count from.
    base: i64,
    /// Ticks a second.
    timescale: u32,
}

/// The boxes of one file.
struct FileBoxes<'a> {
    moov: &'a [u8],
    moofs: &'a [(u64, Vec<u8>)],
    object_length: u64,
    movie_timescale: u32,
    /// The bytes whose samples are listed; all if `None`.
    listed: Option<Range<u64>>,
}

/// The boxes of one track.
struct TrackBoxes<'a> {
    trak: &'a [u8],
    id: u32,
    enabled: bool,
    orientation: Orientation,
    display_size: Option<(u32, u32)>,
    timescale: u32,
    entries: Vec<SampleEntry>,
    stbl: &'a [u8],
}

impl<'a> TrackBoxes<'a> {
    /// Reads a track that has that handler.
    fn read(trak: &'a [u8], handler: [u8; 4]) -> Option<Self> {
        let mdia = child(trak, b"mdia")?;
        let mut hdlr = Fields(child(mdia, b"hdlr")?);
        hdlr.skip(8)?;
        (hdlr.name()? == handler).then_some(())?;
        let mut tkhd = Fields(child(trak, b"tkhd")?);
        let (version, flags) = tkhd.version_and_flags()?;
        tkhd.skip(if version == 1 { 16 } else { 8 })?;
        let id = tkhd.u32()?;
        tkhd.skip(if version == 1 { 12 } else { 8 } + 16)?;
        let mut matrix = [0; 9];
        for number in &mut matrix {
            *number = tkhd.i32()?;
        }
        let display_size = tkhd.u32().zip(tkhd.u32()).filter(|(width, height)| *width > 0 && *height > 0);
        let timescale = timescale(child(mdia, b"mdhd")?)?;
        let stbl = descendant(mdia, &[b"minf", b"stbl"])?;
        let entries = children(child(stbl, b"stsd")?.get(8..)?);
        let entries = entries.map(|(kind, payload)| SampleEntry::new(kind, payload)).collect();
        let orientation = Orientation::from_matrix(&matrix);
        Some(Self { trak, id, enabled: flags & 1 != 0, orientation, display_size, timescale, entries, stbl })
    }
}

/// Returns the ticks a second that `mvhd` or `mdhd` states, if not 0.
fn timescale(header: &[u8]) -> Option<u32> {
    let mut fields = Fields(header);
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 1 { 16 } else { 8 })?;
    fields.u32().filter(|&timescale| timescale > 0)
}

impl<'a> FileBoxes<'a> {
    fn new(moov: &'a [u8], moofs: &'a [(u64, Vec<u8>)], object_length: u64) -> Self {
        let movie_timescale = child(moov, b"mvhd").and_then(timescale).unwrap_or(1000);
        Self { moov, moofs, object_length, movie_timescale, listed: None }
    }

    /// Returns the tracks with that handler: the enabled ones first.
    fn tracks(&self, handler: [u8; 4]) -> Vec<TrackBoxes<'a>> {
        let traks = children(self.moov).filter(|(name, _)| name == b"trak");
        let mut tracks: Vec<_> = traks.filter_map(|(_, trak)| TrackBoxes::read(trak, handler)).collect();
        tracks.sort_by_key(|track| !track.enabled);
        tracks
    }

    /// Passes the samples of a track to `take`, up to the first one that the file does not have. Decode times count from
    /// `base`.
    fn for_each_sample(
        &self,
        track: &TrackBoxes<'_>,
        base: i64,
        mut take: impl FnMut(ListedSample),
    ) -> Result<(), Mp4Error> {
        let complete = Cell::new(true);
        let mut present = |mut sample: ListedSample| {
            sample.dts -= base;
            complete.set(sample.is_present(track.timescale, self.object_length));
            if !complete.get() {
                return ControlFlow::Break(());
            }
            take(sample);
            ControlFlow::Continue(())
        };
        sample_boxes::for_each_sample(track.stbl, &mut present)?;
        if complete.get() && child(self.moov, b"mvex").is_some() {
            fragments::for_each_sample(self.moov, self.moofs, track.id, present)?;
        }
        Ok(())
    }

    /// Reads a video track. Returns its edit list, and what its decode times count from, in its ticks: fragments of a live
    /// stream count from 1970.
    fn video(&self, track: &TrackBoxes<'_>) -> Result<(VideoTrack, EditList, i64), Mp4Error> {
        let timescale = track.timescale;
        let first_entry = track.entries.first().ok_or(Mp4Error::NoSampleEntry)?;
        if let Some(foreign) = track.entries.iter().find(|entry| entry.video_codec().is_none()) {
            return Err(not_decoded(foreign));
        }
        let longest = i64::try_from(MAX_DAYS * 24 * 3600 * u64::from(timescale)).unwrap_or(i64::MAX);
        let base = fragments::first_decode_time(self.moofs, track.id).filter(|&first| first > longest).unwrap_or(0);
        let mut table = SampleTableBuilder::default();
        self.for_each_sample(track, base, |sample| table.push(sample))?;
        let elst = descendant(track.trak, &[b"edts", b"elst"]);
        let stated_end = child(track.stbl, b"cslg").filter(|_| self.moofs.is_empty()).and_then(composition_end);
        let edits = EditList::read(elst, timescale, self.movie_timescale);
        // an edit list that shows nothing is not followed by players either
        let (table, edits) = match table.finish(timescale, stated_end, &edits.shown, self.listed.as_ref()) {
            Ok(table) => (table, edits),
            Err((error, _)) if self.listed.is_some() => return Err(error),
            Err((_, table)) => {
                let everything = EditList::showing_everything();
                let table = table.finish(timescale, stated_end, &everything.shown, None).map_err(|(error, _)| error)?;
                (table, everything)
            }
        };
        let entry = track.entries.get(table.entry_of(table.frames[0] as usize)).unwrap_or(first_entry).clone();
        let entries = track.entries.clone();
        let TrackBoxes { orientation, display_size, .. } = *track;
        Ok((VideoTrack { table, entry, entries, orientation, display_size }, edits, base))
    }

    /// Reads the audio: the first track that can be used, or why none can.
    fn audio(&self, clock: PictureClock) -> Result<AudioTrack, Mp4Error> {
        let mut result = Err(Mp4Error::NoAudioTrack);
        for track in self.tracks(*b"soun") {
            match self.audio_of(&track, clock) {
                Ok(audio) => return Ok(audio),
                Err(error) if result == Err(Mp4Error::NoAudioTrack) => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    fn audio_of(&self, track: &TrackBoxes<'_>, clock: PictureClock) -> Result<AudioTrack, Mp4Error> {
        let timescale = track.timescale;
        let entry = track.entries.first().ok_or(Mp4Error::NoSampleEntry)?.clone();
        let codec = AudioCodec::of(&entry).ok_or_else(|| not_decoded(&entry))?;
        let elst = descendant(track.trak, &[b"edts", b"elst"]);
        let edits = EditList::read(elst, timescale, self.movie_timescale);
        let start = rescaled(clock.start, clock.timescale, timescale);
        let base = rescaled(clock.base, clock.timescale, timescale);
        let (mut listed, mut end) = (Vec::new(), 0);
        let list = |sample: ListedSample| {
            end = sample.dts.saturating_add(if sample.step == Step::Back { 0 } else { sample.step.ticks() });
            listed.push(sample);
        };
        match codec {
            // fragments list every PCM sample
            AudioCodec::Pcm { frame_bytes } if self.moofs.is_empty() => {
                let mut list = list;
                pcm::for_each_packet(track.stbl, frame_bytes, |sample| {
                    if !sample.is_present(timescale, self.object_length) {
                        return ControlFlow::Break(());
                    }
                    list(sample);
                    ControlFlow::Continue(())
                })?;
            }
            _ => self.for_each_sample(track, base, list)?,
        }
        // audio that comes before its edit is heard: there is no other picture for it
        let mut frames: Vec<AudioFrame> = Vec::with_capacity(listed.len());
        for (number, (range, shift)) in edits.shown.iter().enumerate() {
            let at = |dts: i64| edits.movie_time(dts).saturating_add(*shift).saturating_sub(start);
            let inside = |sample: &&ListedSample| {
                number == 0 && sample.dts < range.end || number > 0 && range.contains(&sample.dts)
            };
            let shown = listed.iter().filter(|sample| sample.size > 0).filter(inside);
            frames.extend(shown.map(|sample| AudioFrame {
                offset: sample.offset,
                size: sample.size,
                at: at(sample.dts),
            }));
        }
        let (last, shift) = edits.shown.last().ok_or(Mp4Error::NoAudioTrack)?;
        let end = edits.movie_time(end.min(last.end)).saturating_add(*shift).saturating_sub(start);
        let end = self.list_only(&mut frames).unwrap_or(end);
        let last = frames.last().ok_or(Mp4Error::NoAudioTrack)?.at;
        let config = entry.aac_config().map_or_else(|| [&entry.kind, entry.payload()].concat(), <[u8]>::to_vec);
        let mut audio = AudioTrack { timescale, frames, end: end.max(last + 1), entry, codec, config };
        follow_clock(&mut audio);
        Ok(audio)
    }
}

impl FileBoxes<'_> {
    /// Takes out the audio frames that are not listed, and returns where the last one ends if others behind it are not listed. A
    /// track without listed frames keeps the first one, which tells its format.
    fn list_only(&self, frames: &mut Vec<AudioFrame>) -> Option<i64> {
        let listed = self.listed.as_ref()?;
        let is_listed = |frame: &AudioFrame| listed.contains(&frame.offset);
        let is_behind = frames.last().is_some_and(|last| last.offset >= listed.end);
        if frames.iter().any(is_listed) {
            frames.retain(is_listed);
        } else {
            frames.truncate(1);
        }
        let (last, before) = (frames.last()?.at, frames.len().checked_sub(2).map(|before| frames[before].at));
        is_behind.then(|| last + before.map_or(1, |before| (last - before).max(1)))
    }
}

/// Says why a track with that sample entry is not decoded.
fn not_decoded(entry: &SampleEntry) -> Mp4Error {
    let kind = String::from_utf8_lossy(&entry.kind).into_owned();
    if entry.is_encrypted() { Mp4Error::Encrypted { kind } } else { Mp4Error::Codec { kind } }
}

/// Returns `compositionEndTime` of `cslg` (section 8.6.1.4).
fn composition_end(cslg: &[u8]) -> Option<i64> {
    let mut fields = Fields(cslg);
    let (version, _) = fields.version_and_flags()?;
    if version == 1 {
        fields.skip(32)?;
        return fields.u64().map(u64::cast_signed);
    }
    fields.skip(16)?;
    fields.i32().map(i64::from)
}
