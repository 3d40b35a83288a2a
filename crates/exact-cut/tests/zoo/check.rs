//! Checks a clip: everything that can be seen and heard of it.
#![allow(clippy::cast_precision_loss)] // times of a few minutes

use std::collections::BTreeMap;
use std::path::Path;

use exact_cut::plan::audio_plan::AudioMethod;
use exact_cut::plan::segments::Method;
use exact_cut::render::clip::RenderedClip;
use serde_json::json;
use shiguredo_mp4::Decode;
use shiguredo_mp4::boxes::{MoovBox, SampleEntry};

use super::Row;
use super::cameras::{Audio, Camera, Copies};
use super::expected::Expected;
use super::film::{Film, beeps_us};

/// The least PSNR of an encoded frame against its source, in dB.
const MIN_PSNR: f64 = 45.0;

/// Checks a clip, and returns its line in the table.
pub fn check(
    camera: &Camera,
    films: &[Film],
    expected: &Expected,
    (name, file): (&str, &Path),
    rendered: &RenderedClip,
) -> Row {
    let clip = Film::of(file, camera.full_range);
    let numbers: Vec<u32> = expected.frames.iter().map(|&(n, k)| films[n].numbers[k]).collect();
    assert_eq!(clip.numbers, numbers, "{name}: the numbers of its frames");
    for (n, (is, should)) in clip.times_us.iter().zip(&expected.times_us).enumerate() {
        assert!((is - should).abs() <= expected.tolerance_us, "{name}: frame {n} is shown at {is} µs, not at {should}");
    }
    let late = clip.stated_end_us - expected.end_us;
    assert!(
        late.abs() <= 2.0 * expected.tolerance_us,
        "{name}: ends at {} µs, not at {}",
        clip.stated_end_us,
        expected.end_us
    );
    let worst_db = check_pictures(name, films, expected, &clip, rendered);
    check_boxes(name, file, camera.audio != Audio::None);
    check_audio((camera, films), expected, (name, file), rendered);
    let (copied, encoded) = rendered.plan.counts();
    match camera.copies {
        Copies::Some => assert!(copied > 0, "{name}: nothing was copied: {}", rendered.plan.reasons()),
        Copies::None => assert_eq!(copied, 0, "{name}: copied"),
        Copies::Perhaps => {}
    }
    describe(camera, &clip, file, rendered);
    let bytes = rendered.layout.length();
    Row { clip: name.to_owned(), copied, encoded, bytes, worst_db, reasons: rendered.plan.reasons() }
}

/// Checks that copied pictures are those of a full decode of their source, and that encoded ones come close. Returns the
/// least PSNR.
fn check_pictures(
    name: &str,
    films: &[Film],
    expected: &Expected,
    clip: &Film,
    rendered: &RenderedClip,
) -> Option<f64> {
    let mut scaled: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    let mut frame = 0;
    let mut worst: Option<f64> = None;
    for segment in &rendered.plan.segments {
        for _ in segment.frames.clone() {
            let (n, k) = expected.frames[frame];
            let film = &films[n];
            let source = if film.size == clip.size {
                &film.pictures[k]
            } else {
                &scaled.entry(n).or_insert_with(|| film.scaled(clip.size))[k]
            };
            let shown = &clip.pictures[frame];
            match segment.method {
                Method::Copy { .. } => {
                    assert!(shown == source, "{name}: copied frame {frame} is another than frame {k} of recording {n}");
                }
                Method::Encode { .. } => {
                    let db = psnr(shown, source);
                    assert!(
                        db >= MIN_PSNR,
                        "{name}: encoded frame {frame} is {db:.1} dB from frame {k} of recording {n}"
                    );
                    worst = Some(worst.map_or(db, |worst| worst.min(db)));
                }
            }
            frame += 1;
        }
    }
    assert_eq!(frame, expected.frames.len(), "{name}: the plan's frames");
    worst
}

/// Returns the peak signal-to-noise ratio of 8-bit samples, in dB.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares.max(1) as f64).log10()
}

/// Checks that the clip has one `avc1` track with one sample entry, perhaps an audio track, and no edit list.
fn check_boxes(name: &str, file: &Path, audio: bool) {
    let bytes = std::fs::read(file).expect("readable");
    let at = bytes.windows(4).position(|found| found == b"moov").expect("a moov box") - 4;
    let (moov, _) = MoovBox::decode(&bytes[at..]).expect("readable");
    let mut kinds = Vec::new();
    for track in &moov.trak_boxes {
        let [entry] = &track.mdia_box.minf_box.stbl_box.stsd_box.entries[..] else {
            panic!("{name}: not just one sample entry")
        };
        assert!(track.edts_box.is_none(), "{name}: an edit list");
        kinds.push(match entry {
            SampleEntry::Avc1(_) => "avc1",
            SampleEntry::Mp4a(_) => "mp4a",
            _ => "other",
        });
    }
    assert_eq!(kinds, if audio { vec!["avc1", "mp4a"] } else { vec!["avc1"] }, "{name}: its tracks");
}

/// Checks that every beep comes within half an AAC frame of its time, and that there are no other beeps.
fn check_audio(
    (camera, films): (&Camera, &[Film]),
    expected: &Expected,
    (name, file): (&str, &Path),
    rendered: &RenderedClip,
) {
    let Some(plan) = &rendered.plan.audio else {
        assert_eq!(camera.audio, Audio::None, "{name}: silent");
        return;
    };
    let method = if matches!(plan.method, AudioMethod::Copy(_)) { Audio::Copied } else { Audio::Encoded };
    assert_eq!(method, camera.audio, "{name}: its audio");
    let (beeps, length_us) = beeps_us(file, plan.format.rate);
    let frame_us = 1024e6 / f64::from(plan.format.rate);
    assert!((length_us - expected.end_us).abs() <= frame_us, "{name}: {length_us} µs of audio");
    // near the ends of a part, an AAC frame more or less is heard, and so a beep or none
    let doubtful = 2.0 * frame_us + 25_000.0;
    let (mut sure, mut possible, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for &(n, since, until, off) in &expected.parts_us {
        let starts = camera.recordings[n].at as f64 * 1e3;
        let silent = films[n].silent;
        for beep in (0..60).map(|k| starts + f64::from(k) * 5e5).filter(|_| !silent) {
            if (since - doubtful..until + doubtful).contains(&beep) {
                possible.push(beep - off);
            }
            ends.extend([since - off, until - off]);
            if (since + doubtful..until - doubtful).contains(&beep) {
                sure.push(beep - off);
            }
        }
    }
    let near = |a: f64, list: &[f64]| list.iter().any(|b| (a - b).abs() <= frame_us / 2.0 + 3000.0);
    for &beep in &sure {
        assert!(near(beep, &beeps), "{name}: no beep at {beep} µs, but at {beeps:?}");
    }
    for &beep in &beeps {
        let at_an_end = ends.iter().any(|end| (beep - end).abs() < doubtful);
        assert!(near(beep, &possible) || at_an_end, "{name}: a beep at {beep} µs, where none belongs: {possible:?}");
    }
}

/// Writes what a player must show into a file beside the clip.
fn describe(camera: &Camera, clip: &Film, file: &Path, rendered: &RenderedClip) {
    let mut joints = Vec::new();
    let mut end = 0;
    for segment in &rendered.plan.segments {
        end += segment.frames.len();
        joints.push(end);
    }
    joints.pop();
    let quarters = ["turned-by-90", "turned-by-180", "turned-by-270"].iter().position(|name| *name == camera.name);
    let rotation = quarters.map_or(0, |quarters| (quarters + 1) * 90);
    let times_ms: Vec<f64> = clip.times_us.iter().map(|time| time / 1e3).collect();
    let description = json!({
        "frames": clip.numbers, "times_ms": times_ms, "end_ms": clip.stated_end_us / 1e3, "joints": joints,
        "size": [clip.size.0, clip.size.1], "rotation": rotation,
        "blocks": {"x": 0, "y": 0, "block": clip.size.0 / 24, "bits": 24},
    });
    std::fs::write(file.with_extension("json"), description.to_string()).expect("written");
}
