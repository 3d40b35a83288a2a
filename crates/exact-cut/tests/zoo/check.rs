//! Checks a clip: everything that can be seen and heard of it.
#![allow(clippy::cast_precision_loss)] // times of a few minutes

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use exact_cut::plan::audio_plan::AudioMethod;
use exact_cut::plan::segments::Method;
use exact_cut::render::clip::RenderedClip;
use exact_cut::render::encode::PROVEN_WHOLE;
use exact_cut::{Span, Timestamp};
use serde_json::json;
use shiguredo_mp4::boxes::{MoovBox, SampleEntry};
use shiguredo_mp4::{Decode, FixedPointNumber};

use super::cameras::{Audio, Camera, Copies};
use super::expected::Expected;
use super::film::{Film, beeps_us, number_at};
use super::{Cut, Row, T0};

/// The least PSNR of a frame of an edge against its source, in dB, and the least average of what is encoded as a whole.
const MIN_PSNR: f64 = 40.0;
/// The least PSNR of a frame of what is encoded as a whole.
const MIN_PSNR_OF_WHOLE: f64 = 35.0;

/// Checks a clip, and returns its line in the table.
pub fn check(
    camera: &Camera,
    films: &[Film],
    expected: &Expected,
    (name, file): (&str, &Path),
    Cut { rendered, steps, .. }: &Cut,
) -> Row {
    let clip = Film::of(file, camera.full_range);
    check_shape((camera, films), expected, (name, file), &clip);
    let numbers = check_numbers(name, films, expected, &clip);
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
    check_gaps(name, expected, &rendered.gaps);
    check_thumbnails(camera, (films, &clip), expected, name, rendered);
    let worst_db = check_pictures(camera, (films, &clip), expected, name, rendered);
    check_boxes(name, file, camera.audio != Audio::None);
    check_audio((camera, films), expected, (name, file), rendered);
    let (copied, encoded) = rendered.plan.counts();
    match camera.copies {
        Copies::Some => assert!(copied > 0, "{name}: nothing was copied: {}; {steps:?}", rendered.plan.reasons()),
        Copies::None => assert_eq!(copied, 0, "{name}: copied"),
        Copies::Perhaps => {}
    }
    if let Some(expected) = &camera.steps {
        let alike = steps.len() == expected.len() && steps.iter().zip(expected).all(|(is, part)| is.contains(part));
        assert!(alike, "{name}: ways that failed before: {steps:?}, expected {expected:?}");
    }
    let most = camera.most_encoded.unwrap_or(usize::MAX);
    assert!(encoded <= most, "{name}: {encoded} frames encoded, expected at most {most}");
    if let Some(numbers) = numbers {
        describe((camera, &clip), &numbers, file, rendered);
    }
    let bytes = rendered.layout.length();
    Row { clip: name.to_owned(), copied, encoded, bytes, worst_db, reasons: rendered.plan.reasons() }
}

/// Checks the numbers of the frames. Returns them if they are all at the place where the browser test looks for them.
fn check_numbers(name: &str, films: &[Film], expected: &Expected, clip: &Film) -> Option<Vec<u32>> {
    let number_of = |&(n, k): &(usize, usize)| {
        let film = &films[n];
        (!film.numbers.is_empty()).then(|| film.numbers[k].expect("footage with numbers"))
    };
    let should: Vec<Option<u32>> = expected.frames.iter().map(number_of).collect();
    let read = |(at, picture): (usize, &Arc<[u8]>)| match expected.frames.get(at) {
        Some(&(n, _)) if films[n].numbers.is_empty() => None,
        Some(&(n, _)) => number_at(picture, clip.size.0, films[n].size, place(&films[n], clip)),
        None => clip.numbers[at],
    };
    let is: Vec<Option<u32>> = clip.pictures.iter().enumerate().map(read).collect();
    let shown = |numbers: &[Option<u32>]| {
        let numbers = numbers.iter().map(|number| number.map_or("?".to_owned(), |number| number.to_string()));
        numbers.collect::<Vec<_>>().join(" ")
    };
    assert!(is == should, "{name}: the numbers of its frames are {}, not {}", shown(&is), shown(&should));
    clip.numbers.iter().copied().collect()
}

/// Checks which parts of the span are named as missing.
fn check_gaps(name: &str, expected: &Expected, gaps: &[Span]) {
    let us = |at: Timestamp| at.as_us() as f64 - T0 as f64 * 1e3;
    let is: Vec<_> = gaps.iter().map(|gap| (us(gap.start()), us(gap.end()))).collect();
    let near = |a: f64, b: f64| (a - b).abs() <= expected.tolerance_us + 1000.0;
    let alike = is.len() == expected.gaps_us.len()
        && is.iter().zip(&expected.gaps_us).all(|(is, should)| near(is.0, should.0) && near(is.1, should.1));
    assert!(alike, "{name}: the gaps are {is:?}, not {:?}", expected.gaps_us);
}

/// Checks that everything in the clip that tells its displayed shape tells the same, and how it is turned.
fn check_shape((camera, films): (&Camera, &[Film]), expected: &Expected, (name, file): (&str, &Path), clip: &Film) {
    let Film { displayed: should, size, .. } = films[expected.main];
    assert_eq!(clip.size, size, "{name}: the size of its pictures");
    let alike = |shape: f64, should: f64| (shape / should - 1.0).abs() <= 0.01;
    assert!(alike(clip.displayed, should), "{name}: displayed {:.4} : 1, not {should:.4} : 1", clip.displayed);
    let tkhd = movie(file).trak_boxes.remove(0).tkhd_box;
    let [a, b, _, c, d, ..] = tkhd.matrix;
    let side = |side: FixedPointNumber<i16, u16>| f64::from(side.integer) + f64::from(side.fraction) / 65536.0;
    let stated = side(tkhd.width) / side(tkhd.height);
    let unturned = if b == 0 { should } else { 1.0 / should };
    assert!(alike(stated, unturned), "{name}: tkhd says {stated:.4} : 1, not {unturned:.4} : 1");
    if let Some(turned) = camera.turned {
        assert_eq!([a, b, c, d], turned.map(|factor| i32::from(factor) << 16), "{name}: how it is turned");
    }
}

/// Returns where the picture of `film` lies in `clip`: x, y, width and height. Pictures of another shape are fitted within.
fn place(film: &Film, clip: &Film) -> (usize, usize, usize, usize) {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels
    let even = |side: f64| 2 * (side / 2.0).round() as usize;
    let ((width, height), wider) = (clip.size, film.displayed / clip.displayed);
    if (wider - 1.0).abs() <= 0.01 {
        (0, 0, width, height)
    } else if wider > 1.0 {
        let inner = even(height as f64 / wider);
        (0, (height - inner) / 2, width, inner)
    } else {
        let inner = even(width as f64 * wider);
        ((width - inner) / 2, 0, inner, height)
    }
}

/// Checks the sizes of the thumbnails and, where the camera says so, what they show.
fn check_thumbnails(
    camera: &Camera,
    (films, clip): (&[Film], &Film),
    expected: &Expected,
    name: &str,
    rendered: &RenderedClip,
) {
    let should = films[expected.main].displayed;
    for thumbnail in &rendered.thumbnails {
        let (width, height) = image::image_dimensions(&thumbnail.path).expect("a picture");
        assert_eq!(width, thumbnail.width, "{name}: the width of a thumbnail");
        let high = f64::from(width) / should;
        assert!((f64::from(height) - high).abs() <= 1.0, "{name}: a thumbnail of {width} × {height}, not {high:.1}");
        if !camera.looks_at_thumbnails {
            continue;
        }
        let picture = image::open(&thumbnail.path).expect("a picture").to_rgb8();
        if camera.red {
            let [red, green, blue] = picture.get_pixel(width / 2, height * 3 / 4).0;
            let is_red = red >= 252 && green <= 3 && blue <= 3;
            assert!(is_red, "{name}: a thumbnail is ({red}, {green}, {blue}), not red");
        }
        // in the smaller ones a block is less than a pixel or two
        if width >= 200 {
            check_poster(camera, (films, clip), expected, name, &picture);
        }
    }
}

/// Checks that a thumbnail shows the frame at a quarter of the clip, or its neighbour if the quarter falls between two.
fn check_poster(
    camera: &Camera,
    (films, clip): (&[Film], &Film),
    expected: &Expected,
    name: &str,
    picture: &image::RgbImage,
) {
    let (quarter, tolerance) = (expected.end_us / 4.0, expected.tolerance_us.min(4000.0));
    let ends = expected.times_us[1..].iter().copied().chain([f64::MAX]);
    let shown = expected.times_us.iter().zip(ends).enumerate();
    let shown = shown.filter(|(_, (since, until))| **since - tolerance <= quarter && quarter < until + tolerance);
    let matrix = camera.turned.unwrap_or([1, 0, 0, 1]).map(f64::from);
    // one coordinate of the displayed picture, as a fraction
    let upright = |column: usize, x: f64, y: f64| {
        let (of_x, of_y) = (matrix[column], matrix[column + 2]);
        of_x * x + of_y * y + f64::from(of_x + of_y < 0.0)
    };
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let read_at = |(n, k): (usize, usize)| {
        let (film, (clip_width, clip_height)) = (&films[n], clip.size);
        let (left, top, wide, high) = place(film, clip);
        let luma = |x: f64, y: f64| {
            let x = (left as f64 + x * wide as f64) / clip_width as f64;
            let y = (top as f64 + y * high as f64) / clip_height as f64;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // pixels
            let pixel = ((upright(0, x, y) * width) as u32, (upright(1, x, y) * height) as u32);
            picture.get_pixel(pixel.0, pixel.1).0[1]
        };
        (testkit::frame_numbers::read(film.size, luma), film.numbers[k])
    };
    let read: Vec<_> = shown.map(|(frame, _)| read_at(expected.frames[frame])).collect();
    assert!(read.iter().any(|(is, should)| is == should), "{name}: the thumbnail shows one of {read:?}: (is, should)");
}

/// Checks that copied pictures are those of a full decode of their source, and that encoded ones come close. Returns the
/// least PSNR.
fn check_pictures(
    camera: &Camera,
    (films, clip): (&[Film], &Film),
    expected: &Expected,
    name: &str,
    rendered: &RenderedClip,
) -> Option<f64> {
    let mut fitted: BTreeMap<usize, Vec<Arc<[u8]>>> = BTreeMap::new();
    let mut frame = 0;
    let mut worst: Option<f64> = None;
    let is_whole = !rendered.plan.has_copies();
    let mut all = Vec::new();
    for segment in &rendered.plan.segments {
        let is_edge = !is_whole && segment.frames.len() <= PROVEN_WHOLE;
        let least = camera.least_psnr.unwrap_or(if is_edge { MIN_PSNR } else { MIN_PSNR_OF_WHOLE });
        let last = frame + segment.frames.len() - 1;
        let first = frame;
        while frame <= last {
            let (n, k) = expected.frames[frame];
            let film = &films[n];
            let (x, y, width, height) = place(film, clip);
            let source = if film.size == (width, height) && clip.size == film.size {
                &film.pictures[k]
            } else {
                let fit = || {
                    let (whole, high) = clip.size;
                    let filters = format!("scale={width}:{height}:flags=bicubic,pad={whole}:{high}:{x}:{y},");
                    film.through(clip.size, &filters)
                };
                &fitted.entry(n).or_insert_with(fit)[k]
            };
            let shown = &clip.pictures[frame];
            match segment.method {
                Method::Copy { .. } => {
                    assert!(shown == source, "{name}: copied frame {frame} is another than frame {k} of recording {n}");
                }
                Method::Encode { .. } => {
                    let db = psnr(shown, source);
                    assert!(db >= least, "{name}: encoded frame {frame} is {db:.1} dB from frame {k} of recording {n}");
                    worst = Some(worst.map_or(db, |worst| worst.min(db)));
                    all.push(db);
                    // where no number tells frames apart, pictures must
                    let is_without_number = film.numbers.is_empty() && clip.size == film.size;
                    let beside = [(first < frame).then(|| k - 1), (frame < last).then(|| k + 1)];
                    for k in beside.into_iter().flatten().filter(|_| is_without_number) {
                        let nearer = psnr(shown, &film.pictures[k]);
                        let step = psnr(source, &film.pictures[k]);
                        assert!(
                            nearer <= db || nearer <= step,
                            "{name}: encoded frame {frame} is {db:.2} dB from its own and {nearer:.2} dB from frame {k}"
                        );
                    }
                }
            }
            frame += 1;
        }
    }
    assert_eq!(frame, expected.frames.len(), "{name}: the plan's frames");
    if is_whole {
        let average = all.iter().sum::<f64>() / all.len() as f64;
        assert!(
            average >= camera.least_psnr.unwrap_or(MIN_PSNR),
            "{name}: encoded frames have {average:.1} dB on average"
        );
    }
    worst
}

/// Returns the peak signal-to-noise ratio of 8-bit samples, in dB.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares.max(1) as f64).log10()
}

/// Returns the `moov` box of a clip.
fn movie(file: &Path) -> MoovBox {
    let bytes = std::fs::read(file).expect("readable");
    let at = bytes.windows(4).position(|found| found == b"moov").expect("a moov box") - 4;
    MoovBox::decode(&bytes[at..]).expect("readable").0
}

/// Checks that the clip has one `avc1` track with one sample entry, perhaps an audio track, and no edit list.
fn check_boxes(name: &str, file: &Path, audio: bool) {
    let moov = movie(file);
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
        for beep in films[n].beeps_us.iter().map(|beep| films[n].start_us + beep) {
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
fn describe((camera, clip): (&Camera, &Film), numbers: &[u32], file: &Path, rendered: &RenderedClip) {
    let mut joints = Vec::new();
    let mut end = 0;
    for segment in &rendered.plan.segments {
        end += segment.frames.len();
        joints.push(end);
    }
    joints.pop();
    let quarters = ["turned-by-90", "turned-by-180", "turned-by-270"].iter().position(|name| *name == camera.name);
    let rotation = match camera.turned {
        Some([0, 1, -1, 0]) => 90,
        Some([0, -1, 1, 0]) => 270,
        Some([-1, 0, 0, 1]) => return, // the numbers cannot be read in a mirror
        _ => quarters.map_or(0, |quarters| (quarters + 1) * 90),
    };
    let times_ms: Vec<f64> = clip.times_us.iter().map(|time| time / 1e3).collect();
    let description = json!({
        "frames": numbers, "times_ms": times_ms, "end_ms": clip.stated_end_us / 1e3, "joints": joints,
        "size": [clip.size.0, clip.size.1], "rotation": rotation,
        "blocks": {"x": 0, "y": 0, "block": clip.size.0 / 24, "bits": 24},
    });
    std::fs::write(file.with_extension("json"), description.to_string()).expect("written");
}
