//! Sound that is told, cut or timed in an odd way. Beeps tell whether it is there, and when.

use testkit::footage::Footage;
use testkit::random::SplitMix64;

use crate::boxes::{Boxes, reboxed};
use crate::cameras::{Audio, Camera, Recording, camera, numbered};
use crate::cases::{SPAN, edited, film_of, heard, one, one_edited, remuxed, with};

const SILENCE: &str = "anullsrc=r=48000:cl=mono:d=60";
/// PCM samples of an AAC frame, which are the ticks of the sound.
const FRAME: u32 = 1024;

pub fn all() -> Vec<Camera> {
    let mut all = object_types();
    all.extend(other_codecs());
    all.extend(second_tracks());
    all.push(other_bit_rates());
    all.extend(edits());
    all.extend(clocks());
    all
}

/// Returns where the decoder's configuration begins in `esds`: object type, stream type, buffer, two bit rates.
fn decoder_config(esds: &[u8]) -> usize {
    esds.windows(4).position(|bytes| bytes == [4, 0x80, 0x80, 0x80]).expect("a configuration") + 5
}

/// The object types of MPEG-2 AAC hold the same packets as that of MPEG-4.
fn object_types() -> Vec<Camera> {
    let types = [0x66, 0x67, 0x68];
    let told = |object_type: u8| {
        one_edited(&format!("sound-of-object-type-{object_type:x}"), &heard(), move |boxes| {
            let esds = &mut boxes.table(1, "stsd/mp4a/esds").own;
            let at = decoder_config(esds);
            assert_eq!(esds[at], 0x40, "MPEG-4 AAC");
            esds[at] = object_type;
        })
    };
    types.map(told).into()
}

/// Sound that a clip cannot hold is encoded; sound that is not decoded costs only the sound.
fn other_codecs() -> Vec<Camera> {
    let coded = |name: &str, options: &str| {
        let footage = with(&heard(), options);
        one(name, Recording::of(move || footage.file(), 0)).heard(Audio::Encoded).spans(&[SPAN, (0, 4903)])
    };
    let broken = edited(&heard(), "sound-of-rubbish", |boxes| {
        // frames of nothing but the size that an MP3 has
        let esds = &mut boxes.table(1, "stsd/mp4a/esds").own;
        let at = decoder_config(esds);
        esds[at] = 0x6b;
    });
    vec![
        one("sound-dts", {
            let footage = with(&heard(), "-c:a dca -strict -2 -ac 2");
            Recording::of(move || footage.file(), 0)
        }),
        coded("sound-ac-3", "-c:a ac3"),
        coded("sound-e-ac-3", "-c:a eac3"),
        coded("sound-alac", "-c:a alac"),
        coded("sound-alac-in-quicktime", "-c:a alac -f mov"),
        coded("sound-flac", "-c:a flac -strict -2"),
        coded("sound-mp3", "-c:a libmp3lame"),
        coded("sound-mp3-of-a-low-rate", "-c:a libmp3lame -ar 22050"),
        coded("sound-opus", "-c:a libopus"),
        coded("sound-g-711-in-quicktime", "-c:a pcm_alaw -ar 8000 -f mov"),
        coded("sound-g-711-mu-law-in-quicktime", "-c:a pcm_mulaw -ar 8000 -ac 1 -f mov"),
        coded("sound-pcm-in-quicktime", "-c:a pcm_s16le -f mov"),
        coded("sound-pcm-of-24-bits-in-quicktime", "-c:a pcm_s24be -ar 44100 -f mov"),
        coded("sound-pcm-of-floats-in-quicktime", "-c:a pcm_f32le -ar 16000 -f mov"),
        one("sound-that-cannot-be-decoded", broken),
    ]
}

/// The first usable enabled track of sound counts.
fn second_tracks() -> Vec<Camera> {
    let shows_second = |name: &str, first: Footage, edit: fn(&mut Boxes)| {
        let both = move || remuxed(&[&first.file(), &heard().file()], "two-sounds", "-map 0 -map 1:a -c copy");
        let name_of_edit = name.to_owned();
        let make = move || reboxed(&both(), &name_of_edit, edit);
        one(name, Recording::of(make, 0).showing(|_| vec![film_of(&heard())])).heard(Audio::Copied)
    };
    let silent = Footage { audio: Some(SILENCE), ..heard() };
    vec![
        shows_second("second-sound-after-dts", with(&silent, "-c:a dca -strict -2 -ac 2"), |_| {}),
        shows_second("second-sound-after-a-disabled-one", silent.clone(), |boxes| {
            boxes.at("moov/trak.1/tkhd").own[3] &= !1;
            boxes.at("moov/trak.2/tkhd").own[3] |= 1;
        }),
        shows_second("second-sound-after-a-broken-one", silent, |boxes| {
            boxes.at("moov/trak.1/mdia/minf/stbl").remove("stsz");
        }),
    ]
}

/// Two files of one encoder: what `esds` and `btrt` say of the bit rate differs, which no decoder needs.
fn other_bit_rates() -> Camera {
    let other = |boxes: &mut Boxes| {
        let esds = &mut boxes.table(1, "stsd/mp4a/esds").own;
        let rates = decoder_config(esds) + 5;
        esds[rates..rates + 8].copy_from_slice(&[0, 1, 0, 7, 0, 1, 0, 5]);
        boxes.table(1, "stsd/mp4a/btrt").own[11] ^= 0x55;
    };
    let recordings =
        vec![edited(&heard(), "bit-rates", |_| {}), edited(&numbered(&heard(), 1), "other-bit-rates", other).at(5000)];
    camera("sound-of-other-bit-rates", recordings, &[(3317, 6703)]).heard(Audio::Copied)
}

/// Returns a camera whose sound has the edits: duration in milliseconds, and start in ticks after the encoder's delay, or
/// `None` for silence. It beeps at these times, in milliseconds.
fn with_edits(name: &str, edits: &'static [(u32, Option<u32>)], beeps_ms: &'static [u32]) -> Camera {
    let recording = edited(&heard(), name, move |boxes| {
        let entries = edits
            .iter()
            .flat_map(|&(duration, start)| [duration, start.map_or(u32::MAX, |start| start + FRAME), 0x1_0000]);
        let count = u32::try_from(edits.len()).expect("few");
        boxes.at("moov/trak.1/edts/elst").set_words(&[count].into_iter().chain(entries).collect::<Vec<_>>());
    });
    one(name, beeping(recording, move || beeps_ms.iter().map(|&beep| f64::from(beep) * 1e3).collect()))
        .heard(Audio::Copied)
        .spans(&[(1117, 4903)])
}

/// Returns a recording that beeps at these times.
fn beeping(recording: Recording, beeps_us: impl Fn() -> Vec<f64> + Send + Sync + 'static) -> Recording {
    let Recording { make, at, shows } = recording;
    let shows = shows.expect("the footage that it was made of");
    Recording { make, at, shows: None }
        .showing(move |file| shows(file).into_iter().map(|film| film.beeping(beeps_us())).collect())
}

/// Edits of the sound: parts with silence between, an end before that of the pictures, and silence first.
fn edits() -> Vec<Camera> {
    let late = &[(700, None), (4300, Some(0))];
    let beeps_late = &[700, 1200, 1700, 2200, 2700, 3200, 3700, 4200, 4700];
    let other_width = {
        let name = "sound-late-by-an-edit-of-another-width";
        let recording = edited(&heard(), name, |boxes| {
            // a time of 64 bits whose -1 was written with 32
            let entry = |duration: u64, time: u64| {
                [&duration.to_be_bytes()[..], &time.to_be_bytes(), &0x1_0000_u32.to_be_bytes()].concat()
            };
            let head = [1, 0, 0, 0, 0, 0, 0, 2];
            boxes.at("moov/trak.1/edts/elst").own =
                [&head[..], &entry(700, u32::MAX.into()), &entry(4300, FRAME.into())].concat();
        });
        let beeps = || beeps_late.iter().map(|&beep| f64::from(beep) * 1e3).collect();
        one(name, beeping(recording, beeps)).heard(Audio::Copied).spans(&[(517, 4903)])
    };
    vec![
        with_edits(
            "sound-of-several-edits",
            // 1.8 s, silence of 0.7 s, and the next 1.8 s
            &[(1800, Some(0)), (700, None), (1800, Some(86_400))],
            &[0, 500, 1000, 1500, 2700, 3200, 3700, 4200],
        ),
        with_edits("sound-ends-by-an-edit", &[(3300, Some(0))], &[0, 500, 1000, 1500, 2000, 2500, 3000]),
        with_edits("sound-late-by-an-edit", late, beeps_late),
        other_width,
    ]
}

/// Returns durations of frames that come so many at a time.
fn bursts(count: u32, together: u32) -> Vec<(u32, u32)> {
    let bursts = [(together - 1, 1), (1, together * (FRAME - 1) + 1)].repeat((count / together) as usize);
    [bursts, vec![(count % together, FRAME)]].concat()
}

/// Returns durations of frames that come up to 30 ms too early or too late.
fn jittering(count: u32) -> Vec<(u32, u32)> {
    let (mut random, mut at, mut last) = (SplitMix64(5), 0, 0);
    let mut durations = Vec::new();
    for frame in 1..=count {
        let jitter = u32::try_from(random.below(2 * 1440)).expect("small");
        // the first frame comes in time, so that the edit keeps its meaning
        at = (frame * FRAME + jitter).saturating_sub(1440).max(at + 1);
        durations.push((1, at - last));
        last = at;
    }
    durations
}

/// Times of the sound that cannot be meant.
fn clocks() -> Vec<Camera> {
    let retimed = |name: &str, times: fn(u32) -> Vec<(u32, u32)>| {
        one_edited(name, &heard(), move |boxes| {
            let count = boxes.table(1, "stsz").words()[1];
            boxes.table(1, "stts").set_pairs(&times(count));
        })
    };
    let jumps = |name: &str, duration: u32, by_us: f64| {
        let recording = edited(&heard(), name, move |boxes| {
            let count = boxes.table(1, "stsz").words()[1];
            boxes.table(1, "stts").set_pairs(&[(105, FRAME), (1, duration), (count - 106, FRAME)]);
        });
        // the frame lies before 2.24 s
        let beep = move |k: u32| f64::from(k) * 5e5 + if k > 4 { by_us } else { 0.0 };
        one(name, beeping(recording, move || (0..10).map(beep).collect())).heard(Audio::Copied)
    };
    vec![
        retimed("sound-whose-last-duration-underflowed", |count| vec![(count - 1, FRAME), (1, FRAME.wrapping_neg())])
            .spans(&[SPAN, (3117, 5000)]),
        // as it came from the network, some packets at a time
        retimed("sound-in-bursts-of-3", |count| bursts(count, 3)).spans(&[SPAN, (317, 4903)]),
        retimed("sound-in-bursts-of-4", |count| bursts(count, 4)).spans(&[SPAN, (317, 4903)]),
        retimed("sound-in-bursts-of-20", |count| bursts(count, 20)).spans(&[SPAN, (317, 4903)]),
        retimed("sound-with-jitter-of-30-ms", jittering).spans(&[SPAN, (317, 4903)]),
        jumps("sound-with-a-hole", FRAME + 72_000, 1.5e6).spans(&[(1117, 4903)]),
        // by the contract it lasts one tick; ffmpeg takes the clock back by two frames
        jumps("sound-whose-clock-steps-back", FRAME.wrapping_neg(), -1023.0 / 0.048),
    ]
}
