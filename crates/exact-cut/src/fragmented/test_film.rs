//! Fragmented files for tests, made of made-up samples.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;

use crate::deadline::Deadline;
use crate::mp4::boxes::boxed;
use crate::mp4::sample_entry::SampleEntry;
use crate::source::{PinnedObject, SourceError};
use crate::time::Timestamp;

/// Ticks a second of the pictures.
pub const TIMESCALE: u32 = 12_800;
const FRAME_TICKS: u32 = 512; // 25 frames a second
/// PCM samples a second; an AAC frame is 1024 of them.
const AUDIO_RATE: u32 = 48_000;
pub const VIDEO: u32 = 1;
const AUDIO: u32 = 2;

/// Where a file says where its fragments are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    None,
    Sidx,
    /// A `sidx` of several others, each in front of its fragments.
    NestedSidx,
    Mfra,
}

/// What a file is made of.
#[derive(Clone, Debug)]
pub struct Film {
    /// Number of frames of each fragment; every one begins with a key frame, unless there are fewer of those.
    pub fragments: Vec<u32>,
    /// A key frame comes each so many fragments.
    pub key_every: usize,
    /// Bytes of the pictures of each fragment.
    pub bytes: Vec<u32>,
    /// Whether frames are decoded in another order than shown.
    pub reordered: bool,
    pub audio: Option<AudioLayout>,
    pub index: Index,
    /// What decode times count from, in seconds.
    pub epoch_s: u64,
    /// Whether `mfhd` counts.
    pub counted: bool,
    /// Fragments whose pictures hold a copy of the fragment before, boxes and all.
    pub decoys: Vec<usize>,
}

/// How audio lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioLayout {
    /// In the fragments of the pictures.
    Together,
    /// In fragments of its own, each behind the pictures, so many frames at once.
    Apart(u32),
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

struct Run {
    track: u32,
    decode_time: u64,
    /// Duration, size, whether it is no sync sample, composition offset.
    samples: Vec<(u32, u32, bool, u32)>,
}

/// Returns a fragment: `moof` and `mdat`.
fn fragment(sequence: u32, runs: &[Run], data: &[Vec<u8>]) -> Vec<u8> {
    let moof = |first: u32| {
        let mut from = first;
        let trafs = runs.iter().zip(data).map(|(run, data)| {
            let flags = |non_sync: bool| if non_sync { 0x0101_0000 } else { 0x0200_0000 };
            let samples = run
                .samples
                .iter()
                .flat_map(|&(duration, size, non_sync, offset)| words(&[duration, size, flags(non_sync), offset]));
            let count = u32::try_from(run.samples.len()).expect("few");
            let trun = [words(&[0x0f01, count, from]), samples.collect()].concat();
            from += u32::try_from(data.len()).expect("small");
            let tfdt = [&words(&[1 << 24])[..], &run.decode_time.to_be_bytes()].concat();
            let boxes = [boxed(b"tfhd", &words(&[0x02_0000, run.track])), boxed(b"tfdt", &tfdt), boxed(b"trun", &trun)];
            boxed(b"traf", &boxes.concat())
        });
        let trafs: Vec<u8> = trafs.flatten().collect();
        boxed(b"moof", &[boxed(b"mfhd", &words(&[0, sequence])), trafs].concat())
    };
    let length = u32::try_from(moof(0).len()).expect("small");
    [moof(length + 8), boxed(b"mdat", &data.concat())].concat()
}

fn track(id: u32, handler: [u8; 4], timescale: u32, entry: &SampleEntry) -> Vec<u8> {
    let tkhd = [words(&[1, 0, 0, id]), vec![0; 76 - 12]].concat();
    let mdhd = words(&[0, 0, 0, timescale, 0, 0]);
    let hdlr = [&words(&[0, 0])[..], &handler, &[0; 13]].concat();
    let stsd = [words(&[0, 1]), boxed(&entry.kind, entry.payload())].concat();
    let stbl = boxed(b"stbl", &boxed(b"stsd", &stsd));
    let mdia = [boxed(b"mdhd", &mdhd), boxed(b"hdlr", &hdlr), boxed(b"minf", &stbl)].concat();
    boxed(b"trak", &[boxed(b"tkhd", &tkhd), boxed(b"mdia", &mdia)].concat())
}

impl Film {
    /// Returns so many fragments of so many frames each, with so many bytes.
    pub fn of(count: usize, frames: u32, bytes: u32) -> Self {
        Self {
            fragments: vec![frames; count],
            key_every: 1,
            bytes: vec![bytes; count],
            reordered: false,
            audio: None,
            index: Index::None,
            epoch_s: 0,
            counted: true,
            decoys: Vec::new(),
        }
    }

    /// Returns the file.
    pub fn bytes(&self) -> Vec<u8> {
        let fragments = self.all_fragments();
        let config = SampleEntry::mp4a(&[0x11, 0x90], AUDIO_RATE, 2).expect("an entry");
        let avc1 = SampleEntry::new(*b"avc1", &[0; 78]);
        let mut moov = [boxed(b"mvhd", &words(&[0, 0, 0, 1000, 0])), track(VIDEO, *b"vide", TIMESCALE, &avc1)].concat();
        let mut mvex = boxed(b"trex", &words(&[0, VIDEO, 1, 0, 0, 0]));
        if self.audio.is_some() {
            moov.extend(track(AUDIO, *b"soun", AUDIO_RATE, &config));
            mvex.extend(boxed(b"trex", &words(&[0, AUDIO, 1, 0, 0, 0])));
        }
        moov.extend(boxed(b"mvex", &mvex));
        let start = [boxed(b"ftyp", b"isom\0\0\0\0"), boxed(b"moov", &moov)].concat();
        match self.index {
            Index::None => [start, fragments.concat()].concat(),
            Index::Sidx => [start, self.sidx(&fragments, 0), fragments.concat()].concat(),
            Index::NestedSidx => {
                let groups: Vec<&[Vec<u8>]> = fragments.chunks(fragments.len().div_ceil(5)).collect();
                let mut first = 0;
                let inner = groups.iter().map(|group| {
                    let sidx = self.sidx(group, first);
                    first += group.len();
                    [sidx, group.concat()].concat()
                });
                let inner: Vec<Vec<u8>> = inner.collect();
                let frames = self.fragments.chunks(groups[0].len()).map(|group| group.iter().sum());
                [start, sidx(0, inner.iter().map(Vec::len).zip(frames).collect(), 1 << 31), inner.concat()].concat()
            }
            Index::Mfra => {
                let mut at = start.len();
                let mut frames = 0;
                let entries =
                    fragments.iter().zip(&self.fragments).enumerate().filter_map(|(number, (bytes, count))| {
                        let entry = [frames * FRAME_TICKS, u32::try_from(at).expect("small"), 0x0101_0100];
                        (at, frames) = (at + bytes.len(), frames + count);
                        number.is_multiple_of(self.key_every).then(|| words(&entry)[..11].to_vec())
                    });
                let entries: Vec<Vec<u8>> = entries.collect();
                let count = u32::try_from(entries.len()).expect("few");
                let tfra = boxed(b"tfra", &[words(&[0, VIDEO, 0, count]), entries.concat()].concat());
                let size = u32::try_from(tfra.len() + 24).expect("small");
                let mfra = boxed(b"mfra", &[tfra, boxed(b"mfro", &words(&[0, size]))].concat());
                [start, fragments.concat(), mfra].concat()
            }
        }
    }

    fn sidx(&self, fragments: &[Vec<u8>], first: usize) -> Vec<u8> {
        let before: u32 = self.fragments[..first].iter().sum();
        let references = fragments.iter().map(Vec::len).zip(self.fragments[first..].iter().copied());
        sidx(before * FRAME_TICKS, references.collect(), 0)
    }

    /// Returns the fragments of the pictures, each with audio fragments behind it.
    fn all_fragments(&self) -> Vec<Vec<u8>> {
        let (mut sequence, mut frames, mut audio_frames) = (0, 0_u32, 0_u32);
        let mut made: Vec<Vec<u8>> = Vec::new();
        for (number, (&count, &bytes)) in self.fragments.iter().zip(&self.bytes).enumerate() {
            let mut next = || {
                sequence += 1;
                if self.counted { sequence } else { 0 }
            };
            let decode_time = self.epoch_s * u64::from(TIMESCALE) + u64::from(frames * FRAME_TICKS);
            let is_key = |frame: u32| frame == 0 && number.is_multiple_of(self.key_every);
            let offset = |frame: u32| match (self.reordered, frame % 3) {
                (false, _) | (true, 2) => 0,
                (true, 1) if frame + 1 < count => 2 * FRAME_TICKS,
                (true, _) => FRAME_TICKS,
            };
            let decoy = self.decoys.contains(&number).then(|| made.last()).flatten().cloned().unwrap_or_default();
            let size =
                |frame: u32| bytes / count + (frames + frame) % 7 + if frame == 0 { decoy_len(&decoy) } else { 0 };
            let samples: Vec<_> =
                (0..count).map(|frame| (FRAME_TICKS, size(frame), !is_key(frame), offset(frame))).collect();
            let length: u32 = samples.iter().map(|sample| sample.1).sum();
            let mut data = decoy;
            data.resize(length as usize, u8::try_from(number % 256).expect("a byte"));
            let video = Run { track: VIDEO, decode_time, samples };
            frames += count;
            let until =
                u64::from(frames) * u64::from(FRAME_TICKS) * u64::from(AUDIO_RATE) / u64::from(TIMESCALE) / 1024;
            let until = u32::try_from(until).expect("small");
            let audio = |from: u32, until: u32| {
                let decode_time = self.epoch_s * u64::from(AUDIO_RATE) + u64::from(from) * 1024;
                let samples: Vec<_> = (from..until).map(|frame| (1024, 50 + frame % 5, false, 0)).collect();
                let length: u32 = samples.iter().map(|sample| sample.1).sum();
                (Run { track: AUDIO, decode_time, samples }, vec![7; length as usize])
            };
            made.push(match self.audio {
                None => fragment(next(), &[video], &[data]),
                Some(AudioLayout::Together) => {
                    let (heard, sound) = audio(audio_frames, until);
                    audio_frames = until;
                    fragment(next(), &[video, heard], &[data, sound])
                }
                Some(AudioLayout::Apart(at_once)) => {
                    let mut all = fragment(next(), &[video], &[data]);
                    let is_last = number + 1 == self.fragments.len();
                    while audio_frames + at_once <= until || is_last && audio_frames < until {
                        let (heard, sound) = audio(audio_frames, (audio_frames + at_once).min(until));
                        audio_frames = (audio_frames + at_once).min(until);
                        all.extend(fragment(next(), &[heard], &[sound]));
                    }
                    all
                }
            });
        }
        made
    }
}

fn decoy_len(decoy: &[u8]) -> u32 {
    u32::try_from(decoy.len()).expect("small")
}

fn sidx(time: u32, references: Vec<(usize, u32)>, kind: u32) -> Vec<u8> {
    let count = u32::try_from(references.len()).expect("few");
    let references = references.into_iter().flat_map(|(bytes, frames)| {
        words(&[u32::try_from(bytes).expect("small") | kind, frames * FRAME_TICKS, 1 << 31])
    });
    boxed(b"sidx", &[words(&[0, VIDEO, TIMESCALE, time, 0, count]), references.collect()].concat())
}

/// A file in memory that notes what is read of it.
#[derive(Debug)]
pub struct Watched {
    pub bytes: Vec<u8>,
    pub reads: Mutex<Vec<Range<u64>>>,
    pub fetches: Mutex<Vec<Range<u64>>>,
}

impl Watched {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, reads: Mutex::default(), fetches: Mutex::default() }
    }

    pub fn slice(&self, range: &Range<u64>) -> &[u8] {
        &self.bytes[usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small")]
    }
}

impl PinnedObject for Watched {
    fn name(&self) -> &'static str {
        "film.mp4"
    }

    fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn modified(&self) -> Option<Timestamp> {
        None
    }

    fn read(&self, range: Range<u64>, _deadline: Deadline) -> BoxFuture<'_, Result<Vec<u8>, SourceError>> {
        self.reads.lock().expect("no panic in between").push(range.clone());
        Box::pin(async move { Ok(self.slice(&range).to_vec()) })
    }

    fn fetch<'a>(
        &'a self,
        ranges: &'a [Range<u64>],
        file: Arc<File>,
        _deadline: Deadline,
    ) -> BoxFuture<'a, Result<(), SourceError>> {
        self.fetches.lock().expect("no panic in between").extend(ranges.iter().cloned());
        for range in ranges {
            file.write_all_at(self.slice(range), range.start).expect("space");
        }
        Box::pin(async { Ok(()) })
    }
}
