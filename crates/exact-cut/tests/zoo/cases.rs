//! Footage that people had trouble with, from public bug reports and from files of real cameras, made anew. Each is a
//! camera of the zoo. Where a file cannot be trusted, what it shows is said by the footage that it was made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use testkit::footage::Footage;
use testkit::paths::footage_folder;

use super::boxes::{Boxes, reboxed};
use super::cameras::{Audio, BEEPS, Camera, PLAIN, PYRAMID, Recording, camera, footage};
use super::film::Film;
use super::{cases_boxes, cases_ladder, cases_pictures, cases_shape, cases_sound, cases_time, fragmented};

/// A span in which a group of pictures is copied, with frames before and after.
pub const SPAN: (i64, i64) = (1117, 3900);

/// Returns all of them.
pub fn all() -> Vec<Camera> {
    let all = [cases_boxes::all(), cases_time::all(), cases_shape::all(), cases_pictures::all(), cases_sound::all()];
    all.into_iter().chain([cases_ladder::all(), fragmented::all()]).flatten().collect()
}

/// Returns silent footage without B-frames, 150 frames at 30 frames a second and 15,360 ticks.
pub fn plain() -> Footage {
    footage(PLAIN)
}

/// Returns the same with B-frames.
pub fn pyramid() -> Footage {
    footage(PYRAMID)
}

/// Returns the same with beeps, without B-frames.
pub fn heard() -> Footage {
    Footage { audio: Some(BEEPS), ..footage(PLAIN) }
}

/// Returns footage with other options of the encoder and the muxer.
pub fn with(base: &Footage, options: &str) -> Footage {
    Footage { options: format!("{} {options}", base.options), ..base.clone() }
}

/// Returns what `footage` shows. What most cameras are made of is decoded once.
pub fn film_of(footage: &Footage) -> Film {
    static FILMS: Mutex<BTreeMap<PathBuf, Film>> = Mutex::new(BTreeMap::new());
    let file = footage.file();
    if ![plain(), heard()].iter().any(|common| common.options == footage.options && common.size == footage.size) {
        return Film::of(&file, false);
    }
    let mut films = FILMS.lock().expect("no panic in between");
    films.entry(file).or_insert_with_key(|file| Film::of(file, false)).clone()
}

/// Returns a camera with one recording.
pub fn one(name: &str, recording: Recording) -> Camera {
    camera(name, vec![recording], &[SPAN])
}

/// Returns a recording that is `footage` after an edit of its boxes, and shows what `footage` shows.
pub fn edited(footage: &Footage, name: &str, edit: impl Fn(&mut Boxes) + Send + Sync + 'static) -> Recording {
    let (made, shown, name) = (footage.clone(), footage.clone(), name.to_owned());
    let make = move || reboxed(&made.file(), &name, &edit);
    Recording::of(make, 0).showing(move |_| vec![film_of(&shown)])
}

/// Returns a camera with one recording that is `footage` after an edit of its boxes, and shows what `footage` shows.
pub fn one_edited(name: &str, footage: &Footage, edit: impl Fn(&mut Boxes) + Send + Sync + 'static) -> Camera {
    let audio = if footage.audio.is_some() { Audio::Copied } else { Audio::None };
    Camera { audio, ..one(name, edited(footage, name, edit)) }
}

/// Returns what Debian's ffmpeg makes of files, with these options for the output. It lies beside the first file, and is
/// made once.
pub fn remuxed(inputs: &[&Path], name: &str, options: &str) -> PathBuf {
    let target = inputs[0].with_extension(format!("{name}.mp4"));
    if target.exists() {
        return target;
    }
    let folder = footage_folder();
    let partial = tempfile::Builder::new().suffix(".mp4").tempfile_in(&folder).expect("a file").into_temp_path();
    let mut remux = Command::new("ffmpeg");
    remux.args(["-nostdin", "-y", "-v", "error"]);
    for input in inputs {
        remux.arg("-i").arg(input);
    }
    let status = remux.args(options.split(' ')).arg(&*partial).status().expect("Debian's ffmpeg");
    assert!(status.success(), "making {name}: {status}");
    partial.persist(&target).expect("moved into place");
    target
}

/// Makes a track and the movie longer, as far as the headers and the edit list say how long they are.
pub fn lengthen(boxes: &mut Boxes, track: usize, by_s: u32) {
    let path = |name: &str| format!("moov/trak.{track}/{name}");
    let rate = boxes.at(&path("mdia/mdhd")).words()[2];
    let lengths = [(path("mdia/mdhd"), 3, rate), (path("tkhd"), 4, 1000), (path("edts/elst"), 1, 1000)];
    for (path, at, rate) in lengths {
        let node = boxes.at(&path);
        let mut words = node.words();
        words[at] += by_s * rate;
        node.set_words(&words);
    }
    let mvhd = boxes.at("moov/mvhd");
    let (mut words, longest) = (mvhd.words(), boxes.at(&path("tkhd")).words()[4]);
    words[3] = words[3].max(longest);
    boxes.at("moov/mvhd").set_words(&words);
}

impl Recording {
    /// Begins at this time.
    pub fn at(self, at: i64) -> Self {
        Self { at, ..self }
    }
}

impl Camera {
    /// Cuts these spans.
    pub fn spans(self, spans: &[(i64, i64)]) -> Self {
        Self { spans: spans.to_vec(), ..self }
    }

    /// Has audio that gets into the clips in this way.
    pub fn heard(self, audio: Audio) -> Self {
        Self { audio, ..self }
    }
}
