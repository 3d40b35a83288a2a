//! Ten minutes in fragments: clips are exact although most of the file is never read, and cost few requests.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use exact_cut::compare::resolve_overlaps;
use exact_cut::deadline::Deadline;
use exact_cut::fragmented::WantedPart;
use exact_cut::open::open_recordings;
use exact_cut::ranges::{coalesce, total};
use exact_cut::{ClipRequest, Ffmpeg, ListedRecording, LocalFolder, Span, Timestamp, cut};
use tempfile::TempDir;
use testkit::footage::Footage;
use testkit::paths::ffmpeg;

use super::boxes::{Boxes, patched, reboxed};
use super::cameras::{Audio, Camera, Recording, camera, footage};
use super::cases::remuxed;
use super::film::Film;
use super::watched_store::WatchedStore;
use super::{T0, TOLERANCES};

const BEEPS: &str = "aevalsrc='0.7*lt(mod(t,0.5),0.02)*sin(2*PI*1000*t)':s=48000:d=600";
/// In milliseconds: inside, at both ends, and less than a fragment.
const SPANS: [(i64, i64); 4] = [(217_340, 237_340), (-200, 1700), (590_100, 599_950), (61_310, 61_830)];
/// Bytes of one request for the bytes of a clip.
const PART_BYTES: u64 = 8 << 20;

/// Returns ten minutes of a small picture, with a key frame each second.
fn ten_minutes() -> Footage {
    let small = footage("-bf 2 -g 10 -qp 20 -preset ultrafast");
    Footage { frames: 6000, rate: "10", size: (160, 90), audio: Some(BEEPS), ..small }
}

/// Returns two minutes that follow.
fn two_minutes() -> Footage {
    Footage { first: 10_000, frames: 1200, ..ten_minutes() }
}

/// Returns what `footage` shows, decoded once.
fn film(footage: &Footage) -> Film {
    static FILMS: [OnceLock<Film>; 2] = [const { OnceLock::new() }; 2];
    let film = FILMS[usize::from(footage.first > 0)].get_or_init(|| {
        let film = Film::of(&footage.file(), false);
        let beeps = (0..footage.frames / 5).map(|k| f64::from(k) * 5e5).collect();
        film.beeping(beeps)
    });
    film.clone()
}

/// A way to write fragments.
#[derive(Clone, Copy, Debug)]
enum Fragments {
    /// With `sidx` in front, and no `mfra`.
    Sidx,
    /// With `mfra` at the end.
    Mfra,
    /// Of two seconds, with `mfra`.
    Long,
    /// With neither.
    Plain,
    /// With a `sidx` in front of each fragment, which tells nothing of the others.
    EachWithSidx,
    /// Clocks that count from 1970.
    Epoch,
    /// `sidx` names the places of other fragments.
    LyingSidx,
    /// `mfra` names the places of other fragments.
    LyingMfra,
    /// The end of the file is missing.
    CutShort,
}

impl Fragments {
    fn name(self) -> String {
        format!("{self:?}")
    }

    /// Returns the file.
    fn of(self, footage: &Footage) -> PathBuf {
        let base = footage.file();
        let flags = "+frag_keyframe+empty_moov+default_base_moof";
        let (name, flags) = match self {
            Self::Sidx | Self::LyingSidx => ("sidx", format!("{flags}+global_sidx")),
            Self::Long => ("long", format!("{flags} -min_frag_duration 1500000")),
            Self::EachWithSidx => ("dash", format!("{flags}+dash")),
            Self::Mfra | Self::Plain | Self::Epoch | Self::LyingMfra | Self::CutShort => ("mfra", flags.to_owned()),
        };
        let muxed = remuxed(&[&base], name, &format!("-c copy -movflags {flags}"));
        let without_mfra = |boxes: &mut Boxes| boxes.0.retain(|node| node.kind != *b"mfra");
        match self {
            Self::Mfra | Self::Long => muxed,
            Self::Sidx | Self::Plain | Self::EachWithSidx => reboxed(&muxed, "no-mfra", without_mfra),
            Self::Epoch => reboxed(&muxed, "epoch", |boxes| {
                without_mfra(boxes);
                since_1970(boxes);
            }),
            Self::LyingSidx => reboxed(&muxed, "lying", |boxes| {
                without_mfra(boxes);
                let sidx = &mut boxes.at("sidx").own;
                // what is said of each size belongs to another fragment
                let references = &mut sidx[24..];
                for pair in references.chunks_exact_mut(24).skip(20).step_by(3) {
                    let (one, other) = pair.split_at_mut(12);
                    one.swap_with_slice(other);
                }
            }),
            Self::LyingMfra => patched(&muxed, "lying", |mut bytes| {
                let mfra = bytes.windows(4).rposition(|name| name == b"mfra").expect("an index");
                let tfra = mfra + 4 + 8 + 16;
                for number in (20..580).step_by(7) {
                    let time = tfra + number * 19;
                    let early = i64::from_be_bytes(bytes[time..time + 8].try_into().expect("eight")) - 55_000;
                    bytes[time..time + 8].copy_from_slice(&early.to_be_bytes());
                }
                bytes
            }),
            Self::CutShort => patched(&muxed, "cut", |mut bytes| {
                bytes.truncate(bytes.len() * 2 / 3);
                bytes
            }),
        }
    }
}

fn since_1970(boxes: &mut Boxes) {
    let rates = [0, 1].map(|track| boxes.at(&format!("moov/trak.{track}/mdia/mdhd")).words()[2]);
    for moof in boxes.all(*b"moof") {
        for (track, rate) in rates.into_iter().enumerate() {
            let tfdt = &mut moof.at(&format!("traf.{track}/tfdt")).own;
            assert_eq!(tfdt[0], 1, "64 bits");
            let time = u64::from_be_bytes(tfdt[4..12].try_into().expect("eight")) + 1_537_119_017 * u64::from(rate);
            tfdt[4..12].copy_from_slice(&time.to_be_bytes());
        }
    }
}

/// Returns cameras that write ten minutes in fragments.
pub fn all() -> Vec<Camera> {
    use Fragments::{EachWithSidx, Epoch, Long, LyingMfra, LyingSidx, Mfra, Plain, Sidx};
    let recording = |fragments: Fragments, footage: fn() -> Footage, at: i64| {
        Recording::of(move || fragments.of(&footage()), at).showing(move |_| vec![film(&footage())])
    };
    let one = |fragments: Fragments, spans: &[(i64, i64)]| {
        let name = format!("ten-minutes-{}", fragments.name());
        let camera = camera(&name, vec![recording(fragments, ten_minutes, 0)], spans).perhaps();
        camera.heard(Audio::Copied)
    };
    let cameras = [Sidx, Plain].map(|fragments| one(fragments, &SPANS));
    let others = [Mfra, Long, EachWithSidx, Epoch, LyingSidx, LyingMfra].map(|fragments| one(fragments, &SPANS[..1]));
    let two = [Sidx, Plain].map(|fragments| {
        let recordings = vec![recording(fragments, ten_minutes, 0), recording(fragments, two_minutes, 600_300)];
        let name = format!("ten-minutes-and-two-{}", fragments.name());
        camera(&name, recordings, &[(590_100, 611_200)]).heard(Audio::Copied)
    });
    cameras.into_iter().chain(others).chain(two).collect()
}

fn span((from, to): (i64, i64)) -> Span {
    let at = |ms: i64| Timestamp::from_ms(T0 + ms).expect("in range");
    Span::new(at(from), at(to)).expect("in order")
}

fn listed(file: &Path, at: i64) -> ListedRecording {
    let start = Timestamp::from_ms(T0 + at).expect("in range");
    ListedRecording { start, name: file.display().to_string(), end: None }
}

/// What a clip of a minute costs.
#[derive(Debug)]
struct Cost {
    /// Requests for anything but bytes of the clip.
    requests: usize,
    /// Requests for bytes of the clip.
    own_requests: u64,
    /// Bytes that were read and are not in the clip, in thousandths of the file.
    beside_per_mille: u64,
}

async fn cost(fragments: Fragments) -> Cost {
    let file = tokio::task::block_in_place(|| fragments.of(&ten_minutes()));
    let folder = TempDir::new().expect("a folder");
    let store = WatchedStore::new(|_| true);
    let request = ClipRequest { recordings: vec![listed(&file, 0)], span: span((217_340, 277_340)) };
    let clip = cut(&store, request, &Ffmpeg::new(ffmpeg(), None), &folder.path().join("clip.mp4")).await;
    let clip = clip.expect("a clip");
    assert_eq!((clip.frames, &clip.gaps[..]), (600, &[][..]));
    let log = store.log(&file);
    let own_requests = log.fetched.iter().map(|range| (range.end - range.start).div_ceil(PART_BYTES)).sum();
    let bytes = total(&coalesce([&log.reads[..], &log.fetched].concat(), 0));
    let length = std::fs::metadata(&file).expect("there").len();
    let beside_per_mille = bytes.saturating_sub(clip.bytes) * 1000 / length;
    let cost = Cost { requests: log.reads.len(), own_requests, beside_per_mille };
    println!("a minute of ten in fragments, {fragments:?}: {cost:?}");
    cost
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_ten_costs_few_requests_with_an_index() {
    for fragments in [Fragments::Sidx, Fragments::Mfra, Fragments::Long] {
        let cost = cost(fragments).await;
        assert!(cost.requests <= 12 && cost.beside_per_mille <= 20, "{fragments:?}: {cost:?}");
        assert!(cost.own_requests <= 8, "{fragments:?}: {cost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_ten_costs_at_most_40_requests_without_an_index() {
    for fragments in [Fragments::Plain, Fragments::EachWithSidx, Fragments::Epoch, Fragments::CutShort] {
        let cost = cost(fragments).await;
        assert!(cost.requests <= 40 && cost.own_requests <= 8, "{fragments:?}: {cost:?}");
    }
}

/// Opens recordings for a span, and finds what they share. Returns what each shows, and whether all of it was read.
async fn opened(listed: &[ListedRecording], wanted: (i64, i64)) -> Vec<(Span, bool)> {
    let folder = TempDir::new().expect("a folder");
    let wanted = WantedPart { span: span(wanted), joint_us: TOLERANCES.joint_us, folder: folder.path() };
    let store = LocalFolder::new("/");
    let recordings = open_recordings(&store, listed.to_vec(), wanted, Deadline::unknown()).await.expect("readable");
    let recordings = resolve_overlaps(recordings.opened, TOLERANCES.joint_us, Deadline::unknown()).await;
    let recordings = recordings.expect("readable");
    recordings.values().map(|recording| (recording.footage.span, recording.video.table.is_whole())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_with_two_names_is_one_also_if_it_is_read_in_part() {
    let file = tokio::task::block_in_place(|| Fragments::Plain.of(&ten_minutes()));
    let names = [listed(&file, 0), listed(&file, 700)];
    let opened = opened(&names, SPANS[0]).await;
    assert_eq!(opened.len(), 1, "{opened:?}");
    let ends = span((700, 600_700));
    assert_eq!(opened[0].0, ends, "the finer name counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_that_share_frames_are_told_by_their_bytes_also_if_they_are_read_in_part() {
    let [one, other] = tokio::task::block_in_place(|| {
        let base = ten_minutes().file();
        let muxed = |name: &str, part: &str| {
            let options = format!("{part} -c copy -movflags +frag_keyframe+empty_moov+default_base_moof");
            reboxed(&remuxed(&[&base], name, &options), "plain", |boxes| boxes.0.retain(|node| node.kind != *b"mfra"))
        };
        [muxed("until-300", "-t 300"), muxed("from-298", "-ss 298")]
    });
    let names = [listed(&one, 0), listed(&other, 298_200)];
    let near = opened(&names, (290_000, 310_000)).await;
    let whole = opened(&names, (-1000, 700_000)).await;
    let parts = |opened: &[(Span, bool)]| opened.iter().map(|(span, _)| *span).collect::<Vec<_>>();
    assert_eq!(parts(&near), parts(&whole));
    assert!(near[0].0.end() < span((0, 299_500)).end(), "without what the second one shows");
    let far = opened(&names, (100_000, 110_000)).await;
    assert!(far.iter().all(|(_, is_whole)| !is_whole), "what they share lies elsewhere");
}
