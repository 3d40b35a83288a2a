//! What one MP4 holds: its pictures and its sound, on one clock (ISO/IEC 14496-12, sections 8.3 to 8.8). Pure: it is given
//! the boxes that [`Index`](crate::footage::index::Index) finds, never a file.

use std::ops::Range;

use shiguredo_mp4::boxes::{Avc1Box, EdtsBox, MoovBox, SampleEntry, TrakBox, UnknownBox};
use shiguredo_mp4::{BoxType, Decode};

use crate::footage::fragments;
use crate::footage::parameter_sets::fill_in;
use crate::footage::samples::{self, Building, Packet, SampleTable};
use crate::footage::sound::{Sound, SoundPacket};
use crate::time::rescaled;

/// The most stretches that an edit list may put one behind the other: each takes a look at all samples.
const MOST_EDITS: usize = 64;

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

/// The first video track and the first sound track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracks {
    /// The pictures.
    pub video: Video,
    /// The sound. What is wrong with it costs only the sound.
    pub sound: Result<Sound, String>,
}

impl Tracks {
    /// Reads them. `object_length` is that of the whole file, in bytes.
    ///
    /// # Errors
    /// Says what makes the video unusable. Nothing that the boxes claim is believed before it is checked against the
    /// bytes that are there.
    pub fn read(moov: &MoovBox, moofs: &[(u64, Vec<u8>)], object_length: u64) -> Result<Self, String> {
        let file = File { moov, moofs, object_length };
        let track = file.track(*b"vide").ok_or("no video track")?;
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let mut table = Building::default();
        file.packets(track, |packet| table.push(packet))?;
        let edit = Edit::read(track.edts_box.as_ref(), timescale, moov.mvhd_box.timescale.get())?;
        let cslg = track.mdia_box.minf_box.stbl_box.cslg_box.as_ref().filter(|_| moofs.is_empty());
        let stated_end = cslg.map(|cslg| cslg.composition_end_time);
        let table = table.finish(timescale, stated_end, &edit.shown)?;
        let starts = edit.movie_time(table.first_pts());
        let sound = file.sound((starts, timescale));
        Ok(Self { video: Video { table, entry: entry(track)?, matrix: track.tkhd_box.matrix }, sound })
    }
}

impl Sound {
    /// Reads the sound of a file without pictures, of `object_length` bytes.
    ///
    /// # Errors
    /// Says what makes it unusable.
    pub fn read(moov: &MoovBox, object_length: u64) -> Result<Self, String> {
        File { moov, moofs: &[], object_length }.sound((0, 1))
    }
}

/// A file's boxes.
struct File<'a> {
    moov: &'a MoovBox,
    moofs: &'a [(u64, Vec<u8>)],
    object_length: u64,
}

impl File<'_> {
    fn track(&self, handler: [u8; 4]) -> Option<&TrakBox> {
        self.moov.trak_boxes.iter().find(|track| track.mdia_box.hdlr_box.handler_type == handler)
    }

    /// Gives the packets of a track to `take`, each checked.
    fn packets(&self, track: &TrakBox, mut take: impl FnMut(Packet)) -> Result<(), String> {
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let mut checked = |packet: Packet| {
            packet.check(timescale, self.object_length)?;
            take(packet);
            Ok(())
        };
        samples::packets(&track.mdia_box.minf_box.stbl_box, &mut checked)?;
        if self.moov.mvex_box.is_some() {
            fragments::packets(self.moov, self.moofs, track.tkhd_box.track_id, checked)?;
        }
        Ok(())
    }

    /// The sound, where the first frame is shown at `starts` of the movie, in ticks and ticks a second.
    fn sound(&self, starts: (i64, u32)) -> Result<Sound, String> {
        let track = self.track(*b"soun").ok_or("no sound track")?;
        let timescale = track.mdia_box.mdhd_box.timescale.get();
        let edit = Edit::read(track.edts_box.as_ref(), timescale, self.moov.mvhd_box.timescale.get())?;
        if edit.shown.len() > 1 {
            return Err("its edit list has several edits".to_owned());
        }
        let starts = rescaled(starts.0, starts.1, timescale);
        let at = |dts: i64| edit.movie_time(dts).saturating_sub(starts);
        let (mut packets, mut end) = (Vec::new(), 0);
        self.packets(track, |Packet { offset, size, dts, duration, .. }| {
            packets.push(SoundPacket { offset, size, at: at(dts) });
            end = at(dts).saturating_add(i64::from(duration));
        })?;
        if packets.is_empty() {
            return Err("no packet of sound".to_owned());
        }
        Ok(Sound { timescale, packets, end, entry: entry(track)? })
    }
}

/// The track's one sample entry, complete, and without what is true of its own file only (`btrt`, its bit rate).
fn entry(track: &TrakBox) -> Result<SampleEntry, String> {
    let [entry] = &track.mdia_box.minf_box.stbl_box.stsd_box.entries[..] else {
        return Err("not just one sample entry".to_owned());
    };
    let mut entry = match entry {
        SampleEntry::Unknown(unknown) if unknown.box_type == BoxType::Normal(*b"avc3") => avc1(unknown)?,
        entry => entry.clone(),
    };
    let unknown = match &mut entry {
        SampleEntry::Avc1(entry) => {
            fill_in(&mut entry.avcc_box);
            &mut entry.unknown_boxes
        }
        SampleEntry::Mp4a(entry) => &mut entry.unknown_boxes,
        _ => return Ok(entry),
    };
    unknown.retain(|unknown| unknown.box_type != BoxType::Normal(*b"btrt"));
    Ok(entry)
}

/// An `avc3` entry as `avc1`. The two differ only in that parameter sets may also lie among the pictures
/// (ISO/IEC 14496-15, section 5.4.2.1); whether these agree with `avcC` is looked at before anything is copied.
fn avc1(avc3: &UnknownBox) -> Result<SampleEntry, String> {
    let size = u32::try_from(avc3.payload.len() + 8).map_err(|error| error.to_string())?;
    let renamed = [&size.to_be_bytes()[..], b"avc1", &avc3.payload].concat();
    let (avc1, _) = Avc1Box::decode(&renamed).map_err(|error| format!("avc3: {error}"))?;
    Ok(SampleEntry::Avc1(avc1))
}

/// What an edit list makes of a track (`elst`, section 8.6.6).
struct Edit {
    /// The composition times that are shown, one stretch behind the other, and how much later than the first stretch each
    /// is shown; at least one.
    shown: Vec<(Range<i64>, i64)>,
    /// When composition time 0 would come in the movie, were all of it shown as the first stretch is.
    offset: i64,
}

impl Edit {
    fn read(edts: Option<&EdtsBox>, timescale: u32, movie_timescale: u32) -> Result<Self, String> {
        let entries = edts.and_then(|edts| edts.elst_box.as_ref()).map_or(&[][..], |elst| &elst.entries);
        let ticks = |duration: u64| rescaled(i64::try_from(duration).unwrap_or(i64::MAX), movie_timescale, timescale);
        let (mut shown, mut offset, mut movie_time): (Vec<(Range<i64>, i64)>, i64, i64) = (Vec::new(), 0, 0);
        for entry in entries {
            let length = ticks(entry.edit_duration);
            let media_time = entry.media_time;
            if media_time != -1 {
                if entry.media_rate.integer != 1 || entry.media_rate.fraction != 0 || media_time < 0 {
                    return Err("elst: an edit of another rate".to_owned());
                }
                let later = movie_time.saturating_sub(media_time);
                if shown.is_empty() {
                    offset = later;
                }
                // 0 is "as long as there is", which is what fragmented files say
                let until = Some(length).filter(|&length| length > 0).and_then(|length| media_time.checked_add(length));
                shown.push((media_time..until.unwrap_or(i64::MAX), later.saturating_sub(offset)));
            }
            movie_time = movie_time.saturating_add(length);
        }
        if shown.is_empty() {
            shown.push((i64::MIN..i64::MAX, 0));
        }
        if shown.len() > MOST_EDITS {
            return Err(format!("elst: {} edits", shown.len()));
        }
        Ok(Self { shown, offset })
    }

    /// When a composition time of the first stretch comes in the movie. Without an edit the two are the same.
    fn movie_time(&self, time: i64) -> i64 {
        time.saturating_add(self.offset)
    }
}
