//! The tracks of one MP4 file: its pictures and its audio, on one clock (ISO/IEC 14496-12, sections 8.3 to 8.8).
//!
//! The first frame is the first sample that the first non-empty edit shows. The instant in the recording's name belongs
//! to that frame, and so does time 0 of the audio.

use std::ops::Range;

use shiguredo_mp4::boxes::{EdtsBox, MoovBox, SampleEntry, TrakBox};

use crate::mp4::audio_track::{AudioFrame, AudioTrack};
use crate::mp4::sample_entry::normalized;
use crate::mp4::sample_table::{self, ListedSample, SampleTable, SampleTableBuilder};
use crate::mp4::{Mp4Error, fragments};
use crate::time::rescaled;

/// The most edits of an edit list that are followed: each one takes a look at all samples.
const MAX_EDITS: usize = 64;

/// A video track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoTrack {
    /// Samples and frames.
    pub table: SampleTable,
    /// The one sample entry: codec and parameter sets, without the bit rate.
    pub entry: SampleEntry,
    /// The display matrix of `tkhd`: rotation by the mounting of the camera.
    pub matrix: [i32; 9],
}

/// The first video track and the first audio track of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks {
    /// The pictures.
    pub video: VideoTrack,
    /// The audio. Faults of the audio track cost only the audio.
    pub audio: Result<AudioTrack, Mp4Error>,
}

impl Tracks {
    /// Reads the tracks of a file of `object_length` bytes.
    ///
    /// # Errors
    /// [`Mp4Error`] if the video track is unusable.
    pub(crate) fn read(moov: &MoovBox, moofs: &[(u64, Vec<u8>)], object_length: u64) -> Result<Self, Mp4Error> {
        let boxes = FileBoxes { moov, moofs, object_length };
        let track = boxes.track(*b"vide").ok_or(Mp4Error::NoVideoTrack)?;
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let mut table = SampleTableBuilder::default();
        boxes.for_each_sample(track, |sample| table.push(sample))?;
        let edits = EditList::read(track.edts_box.as_ref(), timescale, moov.mvhd_box.timescale.get())?;
        let cslg = track.mdia_box.minf_box.stbl_box.cslg_box.as_ref().filter(|_| moofs.is_empty());
        let stated_end = cslg.map(|cslg| cslg.composition_end_time);
        let table = table.finish(timescale, stated_end, &edits.shown)?;
        let start = edits.movie_time(table.first_pts());
        let audio = boxes.audio(start, timescale);
        Ok(Self { video: VideoTrack { table, entry: sample_entry(track)?, matrix: track.tkhd_box.matrix }, audio })
    }
}

/// Reads the audio of a file of `object_length` bytes that has no video. Times count from the start of the movie.
pub(crate) fn audio_of_file_without_video(moov: &MoovBox, object_length: u64) -> Result<AudioTrack, Mp4Error> {
    FileBoxes { moov, moofs: &[], object_length }.audio(0, 1)
}

/// The boxes of one file.
struct FileBoxes<'a> {
    moov: &'a MoovBox,
    moofs: &'a [(u64, Vec<u8>)],
    object_length: u64,
}

impl FileBoxes<'_> {
    fn track(&self, handler: [u8; 4]) -> Option<&TrakBox> {
        self.moov.trak_boxes.iter().find(|track| track.mdia_box.hdlr_box.handler_type == handler)
    }

    /// Passes every sample of a track to `take`, after checking it.
    fn for_each_sample(&self, track: &TrakBox, mut take: impl FnMut(ListedSample)) -> Result<(), Mp4Error> {
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let mut checked = |sample: ListedSample| {
            sample.check(timescale, self.object_length)?;
            take(sample);
            Ok(())
        };
        sample_table::for_each_sample(&track.mdia_box.minf_box.stbl_box, &mut checked)?;
        if self.moov.mvex_box.is_some() {
            fragments::for_each_sample(self.moov, self.moofs, track.tkhd_box.track_id, checked)?;
        }
        Ok(())
    }

    /// Reads the audio. The first picture is shown at `start`, in ticks of `start_timescale`, of the movie.
    fn audio(&self, start: i64, start_timescale: u32) -> Result<AudioTrack, Mp4Error> {
        let track = self.track(*b"soun").ok_or(Mp4Error::NoAudioTrack)?;
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let edits = EditList::read(track.edts_box.as_ref(), timescale, self.moov.mvhd_box.timescale.get())?;
        if edits.shown.len() > 1 {
            return Err(Mp4Error::AudioEdits);
        }
        let start = rescaled(start, start_timescale, timescale);
        let at = |dts: i64| edits.movie_time(dts).saturating_sub(start);
        let (mut frames, mut end) = (Vec::new(), 0);
        self.for_each_sample(track, |ListedSample { offset, size, dts, duration, .. }| {
            frames.push(AudioFrame { offset, size, at: at(dts) });
            end = at(dts).saturating_add(i64::from(duration));
        })?;
        if frames.is_empty() {
            return Err(Mp4Error::NoAudioTrack);
        }
        Ok(AudioTrack { timescale, frames, end, entry: sample_entry(track)? })
    }
}

fn sample_entry(track: &TrakBox) -> Result<SampleEntry, Mp4Error> {
    match &track.mdia_box.minf_box.stbl_box.stsd_box.entries[..] {
        [entry] => normalized(entry),
        entries => Err(Mp4Error::SampleEntryCount(entries.len())),
    }
}

/// The edit list of a track (`elst`, section 8.6.6).
struct EditList {
    /// Ranges of composition times that are shown, one after the other, at least one. Each comes with its shift: how many
    /// ticks later than the first range it is shown.
    shown: Vec<(Range<i64>, i64)>,
    /// Movie time of composition time 0, if the first edit showed the whole track.
    offset: i64,
}

impl EditList {
    fn read(edts: Option<&EdtsBox>, timescale: u32, movie_timescale: u32) -> Result<Self, Mp4Error> {
        let entries = edts.and_then(|edts| edts.elst_box.as_ref()).map_or(&[][..], |elst| &elst.entries);
        let ticks = |duration: u64| rescaled(i64::try_from(duration).unwrap_or(i64::MAX), movie_timescale, timescale);
        let (mut shown, mut offset, mut movie_time): (Vec<(Range<i64>, i64)>, i64, i64) = (Vec::new(), 0, 0);
        for entry in entries {
            let length = ticks(entry.edit_duration);
            let media_time = entry.media_time;
            if media_time != -1 {
                if entry.media_rate.integer != 1 || entry.media_rate.fraction != 0 || media_time < 0 {
                    return Err(Mp4Error::EditRate);
                }
                let shift = movie_time.saturating_sub(media_time);
                if shown.is_empty() {
                    offset = shift;
                }
                // fragmented files state 0: the edit lasts as long as the media
                let until = Some(length).filter(|&length| length > 0).and_then(|length| media_time.checked_add(length));
                shown.push((media_time..until.unwrap_or(i64::MAX), shift.saturating_sub(offset)));
            }
            movie_time = movie_time.saturating_add(length);
        }
        if shown.is_empty() {
            shown.push((i64::MIN..i64::MAX, 0));
        }
        if shown.len() > MAX_EDITS {
            return Err(Mp4Error::TooManyEdits { edits: shown.len(), max: MAX_EDITS });
        }
        Ok(Self { shown, offset })
    }

    /// Returns the movie time of a composition time of the first edit.
    fn movie_time(&self, time: i64) -> i64 {
        time.saturating_add(self.offset)
    }
}
