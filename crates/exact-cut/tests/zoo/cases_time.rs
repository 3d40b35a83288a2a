//! Durations that cannot be believed, clocks that step back or stand still, holes inside a file, and samples that are no
//! pictures.

use std::path::PathBuf;
use std::process::Command;

use testkit::footage::Footage;

use crate::boxes::Boxes;
use crate::cameras::{Audio, BEEPS, Camera, Copies, PLAIN, Recording, camera, footage, numbered};
use crate::cases::{SPAN, edited, film_of, heard, lengthen, one, one_edited, plain, with};
use crate::cases_boxes::{FRAGMENTS, samples};
use crate::mp4_edit;

/// Microseconds of a tick of the footage.
const TICK_US: f64 = 1e6 / 15_360.0;
/// Ticks of a frame.
const FRAME: u32 = 512;
/// A clock that steps back by a frame.
const BACK: u32 = FRAME.wrapping_neg();

pub fn all() -> Vec<Camera> {
    let mut all = last_durations();
    all.push(clock_that_steps_back());
    all.extend(fragments());
    all.extend(holes());
    all.extend(held());
    all.extend(equal_times());
    all.extend(delimiters());
    all.push(unlisted_key_frames());
    all.extend(coarse_clocks());
    all.push(start_without_a_key_frame());
    all
}

/// Returns a camera with a recording of 5 s and one that begins at 20 s, and a span that shows both.
fn with_a_gap(name: &str, base: &Footage, edit: impl Fn(&mut Boxes) + Clone + Send + Sync + 'static) -> Camera {
    let recordings = vec![edited(base, name, edit.clone()), edited(&numbered(base, 1), name, edit).at(20_000)];
    camera(name, recordings, &[(2303, 21_701), (3301, 4801), (3301, 11_003)])
}

/// What the last sample is said to last. It lasts as long as the others, and then nothing is shown.
fn last_durations() -> Vec<Camera> {
    let lasting = |name: &str, base: &Footage, last: u32| {
        with_a_gap(name, base, move |boxes| {
            boxes.at("moov/trak").remove("edts");
            boxes.table(0, "stts").set_pairs(&[(149, FRAME), (1, last)]);
        })
    };
    vec![
        lasting("last-duration-underflowed", &plain(), BACK),
        lasting("last-duration-absurd", &plain(), i32::MAX.unsigned_abs()),
        lasting("last-duration-zero", &plain(), 0),
        with_a_gap("last-duration-of-a-fragment-underflowed", &with(&plain(), FRAGMENTS), |boxes| {
            let moof = boxes.0.iter_mut().rfind(|node| node.kind == *b"moof").expect("a fragment");
            let trun = moof.at("traf/trun");
            // data offset, flags of the first sample, and sizes; durations come in addition
            assert_eq!(trun.own[1..4], [0, 2, 5], "the fields of trun");
            trun.own[2] |= 1;
            let words = trun.words();
            let count = words[0];
            let mut durations = vec![FRAME; count as usize];
            *durations.last_mut().expect("a sample") = 360_u32.wrapping_neg();
            let samples = durations.iter().zip(&words[3..]).flat_map(|(&duration, &size)| [duration, size]);
            trun.set_words(&[count, words[1] + 4 * count, words[2]].into_iter().chain(samples).collect::<Vec<_>>());
        }),
    ]
}

/// A negative duration in the middle. By the contract it is one tick, and what follows keeps its distance. ffmpeg
/// takes the clock back and shows what follows one frame sooner.
fn clock_that_steps_back() -> Camera {
    let recording = edited(&plain(), "clock-steps-back", |boxes| {
        boxes.table(0, "stts").set_pairs(&[(80, FRAME), (1, BACK), (69, FRAME)]);
    });
    let recording = recording.showing(|_| {
        let shift = f64::from(FRAME - 1) * TICK_US;
        let film = film_of(&plain());
        vec![film.retimed(|frame, time| if frame > 80 { time - shift } else { time })]
    });
    one("clock-steps-back", recording).spans(&[SPAN, (2301, 2703), (3117, 5000)]).perhaps()
}

/// Fragments that say to begin before the end of the one before: by the contract they go on behind it. ffmpeg drops what it
/// takes for pictures that it has had.
fn fragments() -> Vec<Camera> {
    let fragmented = with(&heard(), FRAGMENTS);
    // sets the time of the fragments from a time on, of all tracks
    let retimed = |retime: fn(usize, i64, i64) -> i64| {
        move |boxes: &mut Boxes| {
            let rates: Vec<i64> =
                (0..2).map(|track| boxes.at(&format!("moov/trak.{track}/mdia/mdhd")).words()[2].into()).collect();
            for (fragment, moof) in boxes.all(*b"moof").into_iter().enumerate() {
                for (track, &rate) in rates.iter().enumerate() {
                    let tfdt = &mut moof.at(&format!("traf.{track}/tfdt")).own;
                    let time = i64::from_be_bytes(tfdt[4..12].try_into().expect("eight"));
                    tfdt[4..12].copy_from_slice(&retime(fragment, time, rate).max(0).to_be_bytes());
                }
            }
        }
    };
    vec![
        one_edited("fragments-whose-clock-restarts", &fragmented, {
            retimed(|fragment, time, rate| if fragment > 0 { time - 2 * rate } else { time })
        }),
        one_edited("fragment-too-early", &fragmented, {
            retimed(|fragment, time, rate| if fragment == 1 { time - rate } else { time })
        }),
    ]
}

/// Pictures, and sound if there is any, jump by 20 s: a hole in the recording.
fn holes() -> Vec<Camera> {
    let jumps = |name: &str, base: &Footage| {
        let shown = base.clone();
        let sounds = base.audio.is_some();
        let recording = edited(base, name, move |boxes| {
            boxes.table(0, "stts").set_pairs(&[(66, FRAME), (1, FRAME + 20 * 15_360), (83, FRAME)]);
            lengthen(boxes, 0, 20);
            if sounds {
                // the first AAC frame is the encoder's delay, so this one ends 6 ms behind the picture
                let count = boxes.table(1, "stsz").words()[1];
                boxes.table(1, "stts").set_pairs(&[(105, 1024), (1, 1024 + 20 * 48_000), (count - 106, 1024)]);
                lengthen(boxes, 1, 20);
            }
        });
        let recording = recording.showing(move |_| {
            let film = film_of(&shown);
            vec![film.only(0..67), film.only(67..150).later(2e7)]
        });
        one(name, recording).spans(&[(1117, 23_903), (3001, 23_303), (1117, 9007), (22_301, 24_703)]).perhaps()
    };
    vec![
        jumps("hole-of-20-s-in-a-file", &plain()),
        jumps("hole-of-20-s-in-a-file-with-sound", &heard()).heard(Audio::Copied),
    ]
}

/// Pictures that are shown for long, but no hole.
fn held() -> Vec<Camera> {
    let still = footage(&format!("{PLAIN} -fps_mode vfr"));
    let (for_12_s, for_4_s) = (",select='lt(n,60)+gt(n,419)'", ",select='lt(n,60)+gt(n,179)'");
    let still_12_s = Footage { frames: 480, filters: for_12_s, audio: Some(BEEPS), ..still.clone() };
    let still_4_s = Footage { frames: 240, filters: for_4_s, ..still };
    let slow = Footage { frames: 8, rate: "1/6", ..footage("-bf 0 -g 2 -keyint_min 2") };
    let plays = |footage: Footage| Recording::of(move || footage.file(), 0);
    vec![
        // the sound goes on
        one("picture-held-for-12-s-with-sound", plays(still_12_s)).spans(&[(1117, 15_103)]).heard(Audio::Copied),
        one("picture-held-for-4-s", plays(still_4_s)).spans(&[(1117, 7507)]),
        // no picture lasts more than ten times as long as others
        Camera {
            tolerance_us: Some(20_000.0),
            ..one("picture-every-6-s", plays(slow)).spans(&[(7001, 31_007), (1117, 5003)])
        }
        .perhaps(),
    ]
}

/// A sample that lasts no time: the picture after it is shown one tick later.
fn equal_times() -> Vec<Camera> {
    let still = |name: &str, at: u32| {
        let base = plain();
        let recording = edited(&base, name, move |boxes| {
            let pairs = [(at, FRAME), (1, 0), (149 - at, FRAME)];
            boxes.table(0, "stts").set_pairs(&pairs[usize::from(at == 0)..]);
        });
        let frame_us = f64::from(FRAME) * TICK_US;
        let recording = recording.showing(move |_| {
            let retime = |frame: usize, time: f64| match frame.cmp(&(at as usize + 1)) {
                std::cmp::Ordering::Less => time,
                std::cmp::Ordering::Equal => time - frame_us + TICK_US,
                std::cmp::Ordering::Greater => time - frame_us,
            };
            vec![film_of(&base).retimed(retime)]
        });
        one(name, recording)
    };
    vec![
        still("first-sample-lasts-0", 0).spans(&[SPAN, (0, 1501)]),
        still("sample-lasts-0", 70).spans(&[SPAN, (2303, 2407)]).perhaps(),
    ]
}

/// What is split off the pictures as samples of their own, one tick before them.
#[derive(Clone, Copy)]
struct Split {
    /// The media track.
    track: usize,
    /// Where the picture begins in a sample that has its delimiter at that place.
    picture: fn(&[u8], usize) -> usize,
    /// Whether the list of key frames names the delimiters, and not the pictures.
    lists_delimiters: bool,
}

/// Returns a camera that makes a sample of each access unit delimiter of `base`, where the length of a unit and its first
/// byte are `delimiter`.
fn split(name: &str, base: &Footage, delimiter: [u8; 5], how: Split) -> Camera {
    one_edited(name, base, move |boxes| {
        let Split { track, picture, lists_delimiters } = how;
        let sizes: Vec<(usize, usize)> = samples(boxes, track);
        let count = u32::try_from(sizes.len()).expect("few");
        // the media begin behind `ftyp`, `free` and the header of `mdat`
        let before = boxes.at("ftyp").bytes().len() + 16;
        let media = &boxes.at("mdat").own;
        let sizes = sizes.into_iter().flat_map(|(at, size)| {
            let sample = &media[at - before..at - before + size];
            // in front of the first one lies a message of the encoder
            let delimiter = sample.windows(5).position(|unit| unit == delimiter).expect("a delimiter");
            let split = picture(sample, delimiter);
            [split, size - split].map(|size| u32::try_from(size).expect("small"))
        });
        let sizes: Vec<u32> = sizes.collect();
        boxes.table(track, "stsz").set_words(&[0, 2 * count].into_iter().chain(sizes).collect::<Vec<_>>());
        boxes.table(track, "stts").set_pairs(&[(1, 1), (1, FRAME - 1)].repeat(count as usize));
        let mut runs = boxes.table(track, "stsc").words();
        runs[1..].chunks_exact_mut(3).for_each(|run| run[1] *= 2);
        boxes.table(track, "stsc").set_words(&runs);
        let mut key_frames = boxes.table(track, "stss").words();
        key_frames[1..].iter_mut().for_each(|number| *number = 2 * *number - u32::from(lists_delimiters));
        boxes.table(track, "stss").set_words(&key_frames);
        if let Some(ctts) =
            boxes.at(&format!("moov/trak.{track}/mdia/minf/stbl")).inner.iter_mut().find(|node| node.kind == *b"ctts")
        {
            let pairs: Vec<(u32, u32)> = ctts.pairs().into_iter().map(|(count, offset)| (2 * count, offset)).collect();
            ctts.set_pairs(&pairs);
        }
    })
}

/// Access unit delimiters are samples of their own, and what else lies in front of a picture may be one with them.
fn delimiters() -> Vec<Camera> {
    const AUD: [u8; 5] = [0, 0, 0, 2, 9];
    const HEVC_AUD: [u8; 5] = [0, 0, 0, 3, 70];
    let behind: fn(&[u8], usize) -> usize = |_, delimiter| delimiter + 6;
    // sets and messages stay with the delimiter
    let before_the_slice = |sample: &[u8], delimiter: usize| {
        let mut at = delimiter;
        while !matches!(sample[at + 4] & 0x1f, 1 | 5) {
            at += 4 + u32::from_be_bytes(sample[at..at + 4].try_into().expect("four")) as usize;
        }
        at
    };
    let plain = footage("-bf 0 -g 60 -x264-params aud=1");
    let repeating = footage("-bf 0 -g 60 -x264-params aud=1:repeat-headers=1");
    let pyramid = footage("-bf 3 -b_strategy 0 -g 60 -x264-params aud=1:b-pyramid=normal:ref=4");
    let heard = Footage { audio: Some(BEEPS), ..plain.clone() };
    let hevc = footage(
        "-c:v libx265 -preset ultrafast -x265-params keyint=60:bframes=0:pools=1:log-level=error -tag:v hvc1 -bsf:v hevc_metadata=aud=insert",
    );
    let spans = [SPAN, (0, 1501), (3301, 5000)];
    let usual = |picture| Split { track: 0, picture, lists_delimiters: false };
    vec![
        split("delimiters-are-samples", &plain, AUD, usual(behind)).spans(&spans),
        split("delimiters-are-samples-with-b-frames", &pyramid, AUD, usual(behind)).spans(&spans),
        split("delimiters-are-samples-with-sound", &heard, AUD, usual(behind)).spans(&spans),
        split("delimiters-and-sets-are-samples", &repeating, AUD, usual(before_the_slice)).spans(&spans),
        split("delimiters-are-samples-and-listed", &plain, AUD, Split { lists_delimiters: true, ..usual(behind) })
            .spans(&spans),
        Camera {
            copies: Copies::None,
            ..split("delimiters-are-samples-of-hevc", &hevc, HEVC_AUD, usual(|_, delimiter| delimiter + 7))
                .spans(&spans)
        },
    ]
}

/// Only the first of many key frames is listed.
fn unlisted_key_frames() -> Camera {
    let long = Footage { frames: 600, ..footage("-bf 0 -g 30") };
    let recording = Recording::of(move || mp4_edit::listing_only_the_first(&long.file()), 0);
    let camera = one("key-frames-not-listed", recording).spans(&[(17_301, 19_507), (4301, 6503)]);
    Camera { most_encoded: Some(30), ..camera }
}

/// One tick a second: times that lie between two ticks are exact all the same.
fn coarse_clocks() -> Vec<Camera> {
    let slow = Footage { frames: 10, rate: "1", ..footage("-bf 0 -g 3 -keyint_min 3 -video_track_timescale 1") };
    let at = |n: u32, at: i64| {
        let slow = numbered(&slow, n);
        Recording::of(move || slow.file(), at)
    };
    let exact = |camera: Camera| Camera { tolerance_us: Some(5000.0), ..camera }.perhaps();
    vec![exact(one("one-tick-a-second-held", at(0, 0)).spans(&[(-400, 4701), (-307, 2003)]))]
}

/// Ten seconds cut in two at 2.7 s, without regard to key frames. What the second file shows before its first key frame is
/// missing.
fn start_without_a_key_frame() -> Camera {
    let whole = Footage { frames: 300, ..plain() };
    let shown = whole.clone();
    let recording = Recording::of(move || second_segment(&whole), 0).showing(move |_| {
        let film = film_of(&shown);
        vec![film.only(120..300).later(-2_700_000.0)]
    });
    one("start-without-a-key-frame", recording).spans(&[(301, 4103), (2117, 3907)])
}

fn second_segment(whole: &Footage) -> PathBuf {
    let file = whole.file();
    let target = file.with_extension("second-segment.mp4");
    if !target.exists() {
        let folder = tempfile::TempDir::new_in(file.parent().expect("a folder")).expect("a folder");
        let mut cut = Command::new("ffmpeg");
        cut.args(["-nostdin", "-y", "-v", "error", "-i"]).arg(&file);
        cut.args("-c copy -f segment -segment_times 2.7 -break_non_keyframes 1 -reset_timestamps 1".split(' '));
        let status = cut.arg(folder.path().join("%d.mp4")).status().expect("Debian's ffmpeg");
        assert!(status.success(), "cutting: {status}");
        std::fs::rename(folder.path().join("1.mp4"), &target).expect("moved into place");
    }
    target
}
