//! Edits the boxes of a file into what no available muxer writes. The `moov` box ends the file, so it may grow.

use std::ops::Range;
use std::path::{Path, PathBuf};

use shiguredo_mp4::aux::SampleTableAccessor;
use shiguredo_mp4::boxes::{EdtsBox, ElstBox, ElstEntry, MoovBox, SampleEntry, StszBox, TrakBox};
use shiguredo_mp4::{Decode, Either, Encode, FixedPointNumber, Uint};

/// An MP4 file, `moov` box last.
struct Mp4 {
    media: Vec<u8>,
    moov: MoovBox,
}

impl Mp4 {
    fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("readable");
        let at = bytes.windows(4).rposition(|name| name == b"moov").expect("a moov box") - 4;
        let (moov, _) = MoovBox::decode(&bytes[at..]).expect("readable");
        Self { media: bytes[..at].to_vec(), moov }
    }

    fn video(&mut self) -> &mut TrakBox {
        &mut self.moov.trak_boxes[0]
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.media[..], &self.moov.encode_to_vec().expect("writable")].concat()
    }
}

/// Returns the file at `path` after an edit. It lies beside the original, and is made once.
fn edited_file(path: &Path, name: &str, edit: impl FnOnce(Mp4) -> Vec<u8>) -> PathBuf {
    let target = path.with_extension(format!("{name}.mp4"));
    if !target.exists() {
        let folder = path.parent().expect("a folder");
        let scratch = tempfile::NamedTempFile::new_in(folder).expect("a file");
        std::fs::write(scratch.path(), edit(Mp4::open(path))).expect("written");
        scratch.persist(&target).expect("moved into place");
    }
    target
}

/// Turns the picture by this many quarters, clockwise.
pub fn turned(path: &Path, quarters: usize) -> PathBuf {
    const ONE: i32 = 0x1_0000;
    let [a, b, c, d] = [[ONE, 0, 0, ONE], [0, ONE, -ONE, 0], [-ONE, 0, 0, -ONE], [0, -ONE, ONE, 0]][quarters];
    edited_file(path, &format!("turned-{quarters}"), |mut file| {
        file.video().tkhd_box.matrix = [a, b, 0, c, d, 0, 0, 0, 0x4000_0000];
        file.bytes()
    })
}

/// Hides the first ticks by an edit list.
pub fn hiding(path: &Path, ticks: i64) -> PathBuf {
    edited_file(path, &format!("hiding-{ticks}"), |mut file| {
        let composed_from =
            file.video().edts_box.as_ref().and_then(|edts| Some(edts.elst_box.as_ref()?.entries[0].media_time));
        let media_time = composed_from.unwrap_or(0) + ticks;
        let media = &file.moov.trak_boxes[0].mdia_box.mdhd_box;
        let shown = media.duration - u64::try_from(ticks).expect("not negative");
        let entry = ElstEntry {
            edit_duration: shown * u64::from(file.moov.mvhd_box.timescale.get()) / u64::from(media.timescale.get()),
            media_time,
            media_rate: FixedPointNumber::new(1, 0),
        };
        file.video().edts_box =
            Some(EdtsBox { elst_box: Some(ElstBox { entries: vec![entry] }), unknown_boxes: Vec::new() });
        file.bytes()
    })
}

/// Shows two ranges of frames, of 512 ticks each, one after the other, by an edit list.
pub fn edited(path: &Path, ranges: [Range<u64>; 2]) -> PathBuf {
    edited_file(path, "edited", |mut file| {
        let composed_from =
            file.video().edts_box.as_ref().and_then(|edts| Some(edts.elst_box.as_ref()?.entries[0].media_time));
        let media_timescale = u64::from(file.video().mdia_box.mdhd_box.timescale.get());
        let movie_timescale = u64::from(file.moov.mvhd_box.timescale.get());
        let entry = |range: Range<u64>| ElstEntry {
            edit_duration: (range.end - range.start) * 512 * movie_timescale / media_timescale,
            media_time: composed_from.unwrap_or(0) + i64::try_from(range.start * 512).expect("small"),
            media_rate: FixedPointNumber::new(1, 0),
        };
        let elst_box = Some(ElstBox { entries: ranges.map(entry).to_vec() });
        file.video().edts_box = Some(EdtsBox { elst_box, unknown_boxes: Vec::new() });
        file.bytes()
    })
}

/// Lists only the first sample as a sync sample.
pub fn listing_only_the_first(path: &Path) -> PathBuf {
    edited_file(path, "one-listed", |mut file| {
        let stbl = &mut file.video().mdia_box.minf_box.stbl_box;
        stbl.stss_box.as_mut().expect("sync samples").sample_numbers.truncate(1);
        file.bytes()
    })
}

/// Removes the chroma fields at the end of `avcC`, which files before 2005 lack (ISO/IEC 14496-15, section 5.3.3.1.2).
pub fn without_chroma_fields(path: &Path) -> PathBuf {
    edited_file(path, "without-chroma", |file| {
        let mut bytes = file.bytes();
        let mut at = bytes.len();
        for name in [&b"avcC"[..], b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"] {
            at = bytes[..at].windows(4).rposition(|found| found == name).expect("a box") - 4;
            let size = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
            if name == b"avcC" {
                let end = at + size as usize;
                assert_eq!(bytes[end - 4] & 0xfc, 0xfc, "chroma_format at the end");
                bytes.drain(end - 4..end);
            }
            bytes[at..at + 4].copy_from_slice(&(size - 4).to_be_bytes());
        }
        bytes
    })
}

/// Writes the lengths of NAL units with two bytes.
pub fn short_lengths(path: &Path) -> PathBuf {
    let short = |unit: &[u8]| [&u16::try_from(unit.len()).expect("a short NAL unit").to_be_bytes()[..], unit].concat();
    rewritten(path, "short-lengths", short, |entry| {
        let SampleEntry::Avc1(avc1) = entry else { panic!("H.264") };
        avc1.avcc_box.length_size_minus_one = Uint::new(1);
    })
}

/// Puts each slice behind a prefix (ITU-T H.264, section 7.3.2.12) and a start code, all under one length.
pub fn hidden_slices(path: &Path) -> PathBuf {
    const PREFIX: [u8; 8] = [0x6e, 0xc0, 0x80, 0x0f, 0, 0, 0, 1];
    let hidden = |unit: &[u8]| {
        let before: &[u8] = if matches!(unit[0] & 0x1f, 1 | 5) { &PREFIX } else { &[] };
        let length = u32::try_from(before.len() + unit.len()).expect("small");
        [&length.to_be_bytes()[..], before, unit].concat()
    };
    rewritten(path, "hidden-slices", hidden, |_| {})
}

/// Writes each NAL unit of the samples, which have lengths of four bytes, in another way.
fn rewritten(
    path: &Path,
    name: &str,
    written: impl Fn(&[u8]) -> Vec<u8>,
    edit: impl FnOnce(&mut SampleEntry),
) -> PathBuf {
    edited_file(path, name, |mut file| {
        let source = file.media.clone();
        let stbl = &mut file.video().mdia_box.minf_box.stbl_box;
        let table = SampleTableAccessor::new(&*stbl).expect("readable");
        let (mut media, mut sizes, mut offsets) =
            ([&16_u32.to_be_bytes()[..], b"ftypisom\0\0\0\0"].concat(), vec![], vec![]);
        media.extend([0, 0, 0, 0, b'm', b'd', b'a', b't']);
        for chunk in table.chunks() {
            offsets.push(u32::try_from(media.len()).expect("small"));
            for sample in chunk.samples() {
                let start = usize::try_from(sample.data_offset()).expect("small");
                let mut rest = &source[start..start + sample.data_size() as usize];
                let before = media.len();
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let (unit, after) = after.split_at(u32::from_be_bytes(*length) as usize);
                    media.extend(written(unit));
                    rest = after;
                }
                sizes.push(u32::try_from(media.len() - before).expect("small"));
            }
        }
        let length = u32::try_from(media.len() - 16).expect("small");
        media[16..20].copy_from_slice(&length.to_be_bytes());
        stbl.stsz_box = StszBox::Variable { entry_sizes: sizes };
        stbl.stco_or_co64_box = Either::A(shiguredo_mp4::boxes::StcoBox { chunk_offsets: offsets });
        edit(&mut stbl.stsd_box.entries[0]);
        file.media = media;
        file.bytes()
    })
}

/// Writes the length of `mdat` with 64 bits: ffmpeg leaves room for it in a `free` box.
pub fn wide_mdat(path: &Path) -> PathBuf {
    edited_file(path, "wide-mdat", |mut file| {
        let free = file.media.windows(16).position(|found| &found[..8] == b"\0\0\0\x08free" && &found[12..] == b"mdat");
        let free = free.expect("a free box before mdat");
        let length = (file.media.len() - free) as u64;
        file.media[free..free + 16]
            .copy_from_slice(&[&1_u32.to_be_bytes()[..], b"mdat", &length.to_be_bytes()].concat());
        file.bytes()
    })
}

/// Damages every tenth picture, so that a decoder must conceal parts of them.
pub fn damaged(path: &Path) -> PathBuf {
    edited_file(path, "damaged", |mut file| {
        let source = file.video().clone();
        let table = SampleTableAccessor::new(&source.mdia_box.minf_box.stbl_box).expect("readable");
        for sample in table.samples().skip(5).step_by(10) {
            let middle = usize::try_from(sample.data_offset()).expect("small") + sample.data_size() as usize / 2;
            for byte in &mut file.media[middle..middle + 16] {
                *byte ^= 0x55;
            }
        }
        file.bytes()
    })
}
