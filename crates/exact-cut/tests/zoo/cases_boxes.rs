//! Boxes that are odd or wrong in files that every player plays.

use std::path::PathBuf;

use testkit::footage::Footage;

use crate::boxes::{Boxes, Node, patched, reboxed};
use crate::cameras::{Audio, Camera, Copies, Recording, camera, footage, muxed, numbered, stream_of};
use crate::cases::{SPAN, edited, film_of, heard, one, one_edited, plain, pyramid, remuxed, with};
use crate::film::Film;

/// Options that make a fragment of each group of pictures: 60, 60 and 30 frames.
pub const FRAGMENTS: &str = "-movflags +frag_keyframe+empty_moov+default_base_moof";

pub fn all() -> Vec<Camera> {
    let mut all = sound_entries();
    all.extend(ends_of_sample_entries());
    all.extend(composition_offsets());
    all.extend(late_first_pictures());
    all.extend(several_sample_entries());
    all.extend(sample_tables());
    all.extend(other_tracks());
    all.extend(ends_that_are_missing());
    all.extend(fragments());
    all.extend(several_movies());
    all.extend(unreadable());
    all.push(no_sets_in_avcc());
    all.push(no_sets_in_hvcc());
    all.push(zero_matrix());
    all
}

/// `QuickTime`'s sample entries of sound, and `esds` boxes that are cut short.
fn sound_entries() -> Vec<Camera> {
    let quicktime = with(&heard(), "-f mov");
    let cut_in_wave = {
        let shown = quicktime.clone();
        let make = move || {
            reboxed(&shown.file(), "cut-in-wave", |boxes| {
                let content = &mut boxes.table(1, "stsd/mp4a").own;
                let esds = content.windows(4).rposition(|kind| kind == b"esds").expect("esds in wave") - 4;
                // the descriptor of the synchronization layer goes; `esds`, `wave` and what is around them are shorter
                content.drain(esds + 54 - 6..esds + 54);
                content[esds + 3] -= 6;
                let around = content.windows(4).position(|kind| kind == b"wave").expect("wave") - 4;
                content[around + 3] -= 6;
            })
        };
        let shown = quicktime.clone();
        Recording::of(make, 0).showing(move |_| vec![film_of(&shown)])
    };
    let shown = quicktime.clone();
    vec![
        one("quicktime", Recording::of(move || shown.file(), 0)).heard(Audio::Copied),
        one("quicktime-esds-cut-short", cut_in_wave).heard(Audio::Copied),
        // the lengths of the descriptors still tell of the six bytes that are missing
        one_edited("esds-cut-short", &heard(), |boxes| {
            let esds = &mut boxes.table(1, "stsd/mp4a/esds").own;
            esds.truncate(esds.len() - 6);
        }),
        // nothing tells how the sound is coded
        one_edited("esds-cut-within-its-config", &heard(), |boxes| {
            let esds = &mut boxes.table(1, "stsd/mp4a/esds").own;
            let config = esds.windows(5).position(|bytes| bytes == [5, 0x80, 0x80, 0x80, 5]).expect("a config");
            esds.truncate(config + 5);
        })
        .heard(Audio::None),
    ]
}

/// Bytes behind the last box of a visual sample entry: `QuickTime` ends the list with four zeros.
fn ends_of_sample_entries() -> Vec<Camera> {
    let x265 = "-c:v libx265 -preset ultrafast -x265-params keyint=60:pools=1:log-level=error -tag:v hvc1";
    let hevc = one_edited("terminator-behind-hvc1", &footage(x265), |boxes| {
        boxes.table(0, "stsd/hvc1").after = vec![0; 4];
    });
    vec![
        one_edited("terminator-behind-avc1", &plain(), |boxes| boxes.table(0, "stsd/avc1").after = vec![0; 4]),
        one_edited("bytes-behind-avc1", &plain(), |boxes| boxes.table(0, "stsd/avc1").after = vec![1, 2, 3, 4, 5]),
        Camera { copies: Copies::None, ..hevc },
    ]
}

/// Composition offsets (`ctts`).
fn composition_offsets() -> Vec<Camera> {
    let negative = with(&pyramid(), "-movflags negative_cts_offsets");
    let count = |by: i32| {
        move |boxes: &mut Boxes| {
            let ctts = boxes.table(0, "ctts");
            let mut pairs = ctts.pairs();
            let last = pairs.last_mut().expect("a pair");
            last.0 = last.0.checked_add_signed(by).expect("a count");
            ctts.set_pairs(&pairs);
        }
    };
    vec![
        one_edited("ctts-version-0-with-signed-offsets", &negative, |boxes| {
            let ctts = boxes.table(0, "ctts");
            assert_eq!(ctts.own[0], 1, "a signed ctts box");
            ctts.own[0] = 0;
        }),
        one_edited("ctts-one-too-few", &pyramid(), count(-1)),
        one_edited("ctts-one-too-many", &pyramid(), count(1)),
    ]
}

/// A composition offset that puts the picture where decoding begins, which an edit list hides, behind nine others. Decoders
/// show it before them all the same.
fn late_first_pictures() -> [Camera; 2] {
    const FRAME: u32 = 512;
    const HIDDEN: u32 = 12;
    let hevc =
        footage("-c:v libx265 -preset ultrafast -x265-params keyint=60:pools=1:log-level=error:open-gop=0 -tag:v hvc1");
    let late = |name: &str, base: Footage| {
        let recording = edited(&base, name, |boxes| {
            let ctts = boxes.table(0, "ctts");
            let mut pairs = ctts.pairs();
            let first = (1, pairs[0].1 + 9 * FRAME + FRAME / 2);
            pairs[0].0 -= 1;
            pairs.insert(0, first);
            ctts.set_pairs(&pairs);
            let edit = boxes.at("moov/trak/edts/elst");
            let mut words = edit.words();
            words[1] -= HIDDEN * 1000 / 30; // in the ticks of the movie, 1000 a second
            words[2] += HIDDEN * FRAME;
            edit.set_words(&words);
        });
        let recording = recording.showing(move |_| {
            let shown = film_of(&base).only(HIDDEN as usize..150);
            vec![shown.later(-f64::from(HIDDEN) * 1e6 / 30.0)]
        });
        one(name, recording).spans(&[(0, 2203), (301, 2703)])
    };
    [late("late-first-picture", pyramid()), Camera { copies: Copies::None, ..late("late-first-picture-of-hevc", hevc) }]
}

/// Returns recordings of 75 frames each as one file, with a sample entry for each of them. Both begin at the same byte, and
/// have no B-frames.
pub fn joined(first: &Footage, second: &Footage) -> PathBuf {
    let other = std::fs::read(second.file()).expect("readable");
    let name = format!("joined-{}", second.file().file_stem().expect("a name").display());
    reboxed(&first.file(), &name, |boxes| {
        let mut other = Boxes::of(&other);
        let length = u32::try_from(boxes.at("mdat").own.len()).expect("small");
        boxes.at("mdat").own.extend(other.at("mdat").own.clone());
        let entry = other.table(0, "stsd").inner.remove(0);
        let entries = boxes.table(0, "stsd");
        entries.inner.push(entry);
        entries.own[7] = 2;
        let stts = [boxes.table(0, "stts").pairs(), other.table(0, "stts").pairs()].concat();
        boxes.table(0, "stts").set_pairs(&stts);
        let mut append = |name: &str, fixed: usize, add: u32| {
            let (mut words, more) = (boxes.table(0, name).words(), other.table(0, name).words());
            words[fixed - 1] += more[fixed - 1];
            words.extend(more[fixed..].iter().map(|word| word + add));
            boxes.table(0, name).set_words(&words);
        };
        append("stsz", 2, 0);
        append("stss", 1, 75);
        append("stco", 1, length);
        let chunks = boxes.table(0, "stco").words()[0] - other.table(0, "stco").words()[0];
        let (mut runs, more) = (boxes.table(0, "stsc").words(), other.table(0, "stsc").words());
        runs[0] += more[0];
        runs.extend(more[1..].chunks_exact(3).flat_map(|run| [run[0] + chunks, run[1], 2]));
        boxes.table(0, "stsc").set_words(&runs);
        let lengths = [("mvhd", 3), ("trak/tkhd", 4), ("trak/edts/elst", 1), ("trak/mdia/mdhd", 3)];
        for (path, at) in lengths {
            let node = boxes.at(&format!("moov/{path}"));
            let mut words = node.words();
            words[at] *= 2;
            node.set_words(&words);
        }
    })
}

/// Returns a recording of two halves with a sample entry each, and what it shows.
pub fn halves(first: &Footage, second: &Footage) -> Recording {
    halves_made_by(first, second, joined)
}

/// Returns a recording of two halves with one sample entry: the parameter sets of the second lie among its pictures.
pub fn halves_in_one_entry(first: &Footage, second: &Footage) -> Recording {
    halves_made_by(first, second, |first, second| {
        let name = format!("one-entry-{}-{}", first.file().file_stem().expect("a name").display(), second.size.0);
        muxed(&name, &[stream_of(first), stream_of(second)].concat())
    })
}

fn halves_made_by(first: &Footage, second: &Footage, join: fn(&Footage, &Footage) -> PathBuf) -> Recording {
    let halves = [first, second].map(|half| Footage { frames: 75, ..half.clone() });
    let halves = [halves[0].clone(), Footage { first: 75, ..halves[1].clone() }];
    let shown = halves.clone();
    Recording::of(move || join(&halves[0], &halves[1]), 0).showing(move |_| {
        let films = shown.each_ref().map(film_of);
        let [first, second] = films;
        vec![first, second.later(2_500_000.0)]
    })
}

/// Two sample entries, as `MP4Box` writes them where picture parameter sets change.
fn several_sample_entries() -> Vec<Camera> {
    let (one_set, another) = (footage("-bf 0 -g 15 -coder 0"), footage("-bf 0 -g 15 -coder 1"));
    vec![
        one_edited("two-equal-sample-entries", &heard(), |boxes| {
            let entries = boxes.table(0, "stsd");
            entries.own[7] = 2;
            entries.inner.push(entries.inner[0].clone());
            let stsc = boxes.table(0, "stsc");
            let runs = stsc.words();
            assert_eq!(runs.len(), 4, "one run of chunks");
            stsc.set_words(&[2, 1, runs[2], 1, 60, runs[2], 2]);
        }),
        one("two-different-sample-entries", halves(&one_set, &another))
            .spans(&[(517, 1900), SPAN, (2717, 4703)])
            .perhaps(),
    ]
}

/// Tables that say in other words, or wrongly, which samples there are.
fn sample_tables() -> Vec<Camera> {
    let chunks = |by: i32| {
        move |boxes: &mut Boxes| {
            let stsc = boxes.table(0, "stsc");
            let mut words = stsc.words();
            let last = words.len() - 2;
            words[last] = words[last].checked_add_signed(by).expect("a count");
            stsc.set_words(&words);
        }
    };
    vec![
        // players that begin at the first sample show all of it
        one_edited("first-key-frame-not-listed", &pyramid(), |boxes| {
            let stss = boxes.table(0, "stss");
            let numbers = stss.words();
            stss.set_words(&[&[numbers[0] - 1], &numbers[2..]].concat());
        })
        .spans(&[(17, 1503), SPAN])
        .perhaps(),
        one_edited("stz2", &plain(), |boxes| {
            let stbl = boxes.at("moov/trak/mdia/minf/stbl");
            let sizes = stbl.at("stsz").words().split_off(2);
            let count = u32::try_from(sizes.len()).expect("few");
            let sizes = sizes.iter().flat_map(|&size| u16::try_from(size).expect("small").to_be_bytes());
            let own = [0, 0, 0, 0, 0, 0, 0, 16].into_iter().chain(count.to_be_bytes()).chain(sizes);
            stbl.replace("stsz", Node::leaf(*b"stz2", own.collect::<Vec<_>>()));
        }),
        one_edited("stsc-one-too-many", &plain(), chunks(1)),
        one_edited("stsc-one-too-few", &plain(), chunks(-1)),
        one_edited("no-dinf", &plain(), |boxes| drop(boxes.at("moov/trak/mdia/minf").remove("dinf"))),
        empty_sample(),
    ]
}

/// A sample without a byte lies between two pictures, and takes the second half of the time of the first one.
fn empty_sample() -> Camera {
    one_edited("empty-sample", &plain(), |boxes| {
        boxes.table(0, "stts").set_pairs(&[(70, 512), (2, 256), (79, 512)]);
        let stsz = boxes.table(0, "stsz");
        let mut words = stsz.words();
        words[1] += 1;
        words.insert(2 + 71, 0);
        stsz.set_words(&words);
        let stsc = boxes.table(0, "stsc");
        let mut runs = stsc.words();
        let mut before = 0;
        for run in runs[1..].chunks_exact_mut(3) {
            // the run that holds sample 72; all chunks of a run are alike, so there must be one chunk in it
            if (before..before + run[1]).contains(&71) {
                run[1] += 1;
                break;
            }
            before += run[1];
        }
        stsc.set_words(&runs);
        let stss = boxes.table(0, "stss");
        let words: Vec<u32> = stss.words().iter().map(|&word| if word > 71 { word + 1 } else { word }).collect();
        stss.set_words(&words);
    })
}

/// Tracks that are not wanted.
fn other_tracks() -> Vec<Camera> {
    let other = Footage { first: 5000, ..plain() };
    let jpeg = Footage { options: "-c:v mjpeg -pix_fmt yuvj420p -f mov".to_owned(), ..other.clone() };
    let make_jpeg = move || remuxed(&[&jpeg.file(), &plain().file()], "jpeg-first", "-map 0:v -map 1:v -c copy -f mov");
    let make_disabled = move || {
        let both = remuxed(&[&other.file(), &plain().file()], "both", "-map 0:v -map 1:v -c copy");
        reboxed(&both, "disabled", |boxes| {
            boxes.at("moov/trak.0/tkhd").own[3] &= !1;
            boxes.at("moov/trak.1/tkhd").own[3] |= 1;
        })
    };
    let shows_second =
        |make: Box<dyn Fn() -> PathBuf + Send + Sync>| Recording::of(make, 0).showing(|_| vec![film_of(&plain())]);
    vec![
        one("first-video-track-motion-jpeg", shows_second(Box::new(make_jpeg))),
        one("first-video-track-disabled", shows_second(Box::new(make_disabled))),
        one_edited("broken-sound-track", &heard(), |boxes| {
            boxes.at("moov/trak.1/mdia/minf/stbl").remove("stsd");
        })
        .heard(Audio::None),
        one_edited("broken-track-of-no-interest", &plain(), |boxes| {
            boxes.at("moov").inner.push(Node::leaf(*b"trak", b"\0\0\0\x14tkhd\0\0\0\x07rubbish".to_vec()));
        }),
    ]
}

/// Returns offset and size of each sample of a track.
pub fn samples(boxes: &mut Boxes, track: usize) -> Vec<(usize, usize)> {
    let sizes = boxes.table(track, "stsz").words().split_off(2);
    let chunks = boxes.table(track, "stco").words().split_off(1);
    let runs = boxes.table(track, "stsc").words();
    let (mut samples, mut sizes) = (Vec::new(), sizes.into_iter());
    for (number, chunk) in (1..).zip(chunks) {
        let run = runs[1..].chunks_exact(3).rfind(|run| run[0] <= number).expect("a run");
        let mut at = chunk as usize;
        for size in sizes.by_ref().take(run[1] as usize) {
            samples.push((at, size as usize));
            at += size as usize;
        }
    }
    samples
}

/// Returns a recording with `moov` in front whose file ends early, and the frames that are there.
fn cut_short(base: &Footage, part: f64) -> Recording {
    let made = with(base, "-movflags +faststart");
    let shown = made.clone();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // some bytes
    let keep = move |length: usize| (length as f64 * part) as usize;
    let make = move || {
        patched(&made.file(), &format!("cut-at-{part}"), |mut bytes| {
            bytes.truncate(keep(bytes.len()));
            bytes
        })
    };
    Recording::of(make, 0).showing(move |_| {
        let file = shown.file();
        let bytes = std::fs::read(&file).expect("readable");
        let samples = samples(&mut Boxes::of(&bytes), 0);
        let whole = samples.iter().take_while(|(at, size)| at + size <= keep(bytes.len())).count();
        vec![Film::of(&file, false).only(0..whole)]
    })
}

/// The end of the file is missing. What is there counts, and the rest is a gap.
fn ends_that_are_missing() -> Vec<Camera> {
    vec![
        one("end-of-the-file-missing", cut_short(&plain(), 0.6)).spans(&[SPAN, (1117, 4703)]),
        one("end-of-the-file-missing-with-sound", cut_short(&heard(), 0.6)).spans(&[(1117, 4703)]).heard(Audio::Copied),
    ]
}

/// Returns the offset of each `moof` box.
fn moofs(bytes: &[u8]) -> Vec<usize> {
    let found = bytes.windows(4).enumerate().filter(|(_, kind)| *kind == b"moof");
    found.map(|(at, _)| at - 4).collect()
}

/// Returns a fragmented file of silent footage that ends `after` bytes behind the start of its second fragment, and the
/// frames that are there.
fn cut_in_second_fragment(name: &'static str, after: fn(&[u8]) -> usize) -> Camera {
    let fragmented = with(&plain(), FRAGMENTS);
    let shown = fragmented.clone();
    let cut = move |bytes: &[u8]| moofs(bytes)[1] + after(&bytes[moofs(bytes)[1]..moofs(bytes)[2]]);
    let make = move || {
        patched(&fragmented.file(), name, |mut bytes| {
            bytes.truncate(cut(&bytes));
            bytes
        })
    };
    let recording = Recording::of(make, 0).showing(move |_| {
        let bytes = std::fs::read(shown.file()).expect("readable");
        let start = moofs(&bytes)[1];
        let mut fragment = Boxes::of(&bytes[start..]);
        let moof = fragment.at("moof");
        let mut end = start + moof.bytes().len() + 8;
        let trun = moof.at("traf/trun");
        // data offset, flags of the first sample; then only the sizes of the samples
        assert_eq!(trun.own[1..4], [0, 2, 5], "the fields of trun");
        let sizes = trun.words().split_off(3);
        let whole = sizes.iter().take_while(|&&size| {
            end += size as usize;
            end <= cut(&bytes)
        });
        vec![film_of(&shown).only(0..60 + whole.count())]
    });
    one(name, recording).spans(&[(1117, 1900), (1117, 3900)]).perhaps()
}

/// Fragments: the last one may be cut short, and clocks may count from 1970.
fn fragments() -> Vec<Camera> {
    let epoch = |boxes: &mut Boxes| {
        let rates: Vec<u64> =
            (0..2).map(|track| boxes.at(&format!("moov/trak.{track}/mdia/mdhd")).words()[2].into()).collect();
        for moof in boxes.all(*b"moof") {
            for (track, rate) in rates.iter().enumerate() {
                let tfdt = &mut moof.at(&format!("traf.{track}/tfdt")).own;
                assert_eq!(tfdt[0], 1, "64 bits");
                let time = u64::from_be_bytes(tfdt[4..12].try_into().expect("eight")) + 1_537_119_017 * rate;
                tfdt[4..12].copy_from_slice(&time.to_be_bytes());
            }
        }
    };
    vec![
        one_edited(
            "trun-version-0-with-signed-offsets",
            &with(&pyramid(), &format!("{FRAGMENTS}+negative_cts_offsets")),
            |boxes| {
                for moof in boxes.all(*b"moof") {
                    let trun = &mut moof.at("traf/trun").own;
                    assert_eq!(trun[0], 1, "a signed trun box");
                    trun[0] = 0;
                }
            },
        ),
        cut_in_second_fragment("last-fragment-cut-in-its-pictures", |fragment| fragment.len() * 2 / 3),
        cut_in_second_fragment("last-fragment-cut-in-its-table", |_| 50),
        cut_in_second_fragment("last-fragment-cut-in-a-header", |_| 5),
        one_edited("fragments-since-1970", &with(&heard(), FRAGMENTS), epoch),
    ]
}

/// Two files, one behind the other. ffmpeg and Chromium play the first one; whether the second one counts as footage that
/// follows, or as none, is not asked here.
fn several_movies() -> Vec<Camera> {
    let twice = |name: &'static str, options: &str| {
        let (first, shown) = (with(&plain(), options), with(&plain(), options));
        let second = numbered(&first, 1);
        let make = move || {
            patched(&first.file(), "followed", |bytes| {
                [bytes, std::fs::read(second.file()).expect("readable")].concat()
            })
        };
        one(name, Recording::of(make, 0).showing(move |_| vec![film_of(&shown)]))
    };
    vec![twice("two-fragmented-movies", FRAGMENTS), twice("two-movies", "-movflags +faststart")]
}

/// Recordings that are no MP4 files at all: one that ended before the span harms nobody, one in the middle is a gap.
fn unreadable() -> Vec<Camera> {
    let plays = |n: u32| {
        let footage = numbered(&plain(), n);
        Recording::of(move || footage.file(), i64::from(n) * 5000)
    };
    let broken = |at: i64| {
        // `moov` is the last box
        let make = || {
            patched(&plain().file(), "without-moov", |mut bytes| {
                bytes.truncate(bytes.len() / 2);
                bytes
            })
        };
        Recording::of(make, at).showing(|_| Vec::new())
    };
    vec![
        camera("broken-recording-before-the-span", vec![broken(-7000), plays(0)], &[SPAN]),
        camera("broken-recording-in-the-middle", vec![plays(0), broken(5000), plays(2)], &[(3303, 11_703)]),
    ]
}

/// `avcC` holds no parameter sets: they lie among the pictures.
fn no_sets_in_avcc() -> Camera {
    let in_band = footage("-bf 0 -g 60 -tag:v avc3 -x264-params repeat-headers=1");
    one(
        "parameter-sets-in-band-only",
        edited(&in_band, "no-sets", |boxes| {
            let avcc = &mut boxes.table(0, "stsd/avc3/avcC").own;
            let chroma = if avcc[1] >= 100 { avcc.split_off(avcc.len() - 4) } else { Vec::new() };
            avcc.truncate(5);
            avcc.extend([0xe0, 0]);
            avcc.extend(chroma);
        }),
    )
}

/// The same with HEVC, whose sets alone say that luma has its full range.
fn no_sets_in_hvcc() -> Camera {
    let in_band = Footage {
        filters: ",scale=out_range=pc,format=yuvj420p",
        ..footage(
            "-c:v libx265 -preset ultrafast -x265-params keyint=60:repeat-headers=1:range=full:pools=1:log-level=error \
             -color_range pc -tag:v hev1",
        )
    };
    let recording = edited(&in_band, "no-sets", |boxes| {
        let entry = boxes.table(0, "stsd/hev1");
        entry.inner.retain(|node| node.kind != *b"colr");
        let hvcc = &mut entry.at("hvcC").own;
        hvcc.truncate(22);
        hvcc.push(0);
    });
    let recording = recording.showing(move |_| vec![Film::of(&in_band.file(), true)]);
    Camera { copies: Copies::None, full_range: true, ..one("parameter-sets-in-band-only-of-hevc", recording) }
}

/// A matrix of zeros, which players take for none.
fn zero_matrix() -> Camera {
    let camera = one_edited("zero-matrix", &plain(), |boxes| boxes.at("moov/trak/tkhd").own[40..76].fill(0));
    Camera { turned: Some([1, 0, 0, 1]), ..camera }
}
