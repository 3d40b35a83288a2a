use proptest::prelude::*;
use tempfile::TempDir;
use testkit::random::SplitMix64;

use super::test_film::{AudioLayout, Film, Index, TIMESCALE, Watched};
use super::*;
use crate::mp4::box_finder::BoxFinder;
use crate::mp4::sample_table::Sample;
use crate::ranges::{coalesce, total};
use crate::source::READ_AHEAD;

/// The instant of the first frame, in microseconds.
const T0: i64 = 1_537_119_017_000_000;
const JOINT_US: i64 = 1_500_000;

fn span(from_ms: i64, to_ms: i64) -> Span {
    let at = |ms: i64| Timestamp::from_us(T0 + ms * 1000);
    Span::new(at(from_ms), at(to_ms)).expect("in order")
}

/// Feeds a walk until it has found the first fragment, or everything.
fn walk(file: &[u8], all: bool) -> BoxFinder {
    let mut finder = BoxFinder::new(file.len() as u64);
    while let Some(required) = finder.required_range() {
        if !all && finder.fragmented_start().is_some() {
            break;
        }
        let at = |offset: u64| usize::try_from(offset).expect("small");
        finder.feed(&file[at(required.start)..at(required.end)]).expect("boxes");
    }
    finder
}

/// Reads a part of a file.
fn part(file: &Watched, span: Span) -> Option<Part> {
    let finder = walk(&file.bytes, false);
    let start = finder.fragmented_start().expect("fragments");
    let folder = TempDir::new().expect("a folder");
    let wanted = WantedPart { span, joint_us: JOINT_US, folder: folder.path() };
    let known = file.slice(&(0..READ_AHEAD.min(file.length())));
    let read = read_part(file, start, (0, known), Timestamp::from_us(T0), wanted, Deadline::unknown());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(read).expect("no error of the disk")
}

/// Asserts that a part tells of a span what the whole file tells.
fn assert_equal_inside(part: &Tracks, whole: &Tracks, span: Span, case: &str) {
    let (one, other) = (&part.video.table, &whole.video.table);
    let start = Timestamp::from_us(T0);
    assert_eq!((one.origin, one.timescale), (other.origin, other.timescale), "{case}: clock");
    assert_eq!(one.recording_first_pts(), other.first_pts(), "{case}: first frame");
    assert_eq!(one.recording_end_pts(), other.end_pts, "{case}: end");
    let shown = |table: &crate::mp4::sample_table::SampleTable| -> Vec<(Sample, i64, i64)> {
        // from the frame that is on screen on
        let from = table.first_frame_at(span.start(), start);
        let from = if table.frames.get(from).is_some_and(|_| table.shown_at(from) == 0) {
            from
        } else {
            from.saturating_sub(1)
        };
        let to = table.first_frame_at(span.end(), start);
        (from..to).map(|frame| (*table.frame(frame), table.shown_at(frame), table.frame_end(frame))).collect()
    };
    assert_eq!(shown(one), shown(other), "{case}: frames");
    let key = |table: &crate::mp4::sample_table::SampleTable| -> Option<Sample> {
        let first = table.first_frame_at(span.start(), start).saturating_sub(1);
        let sample = *table.frames.get(first)? as usize;
        table.samples[..=sample].iter().rfind(|sample| sample.sync).copied()
    };
    let meets = one.recording_first_pts() <= one.end_pts && shown(other).len() > 1;
    if meets {
        assert_eq!(key(one), key(other), "{case}: key frame");
    }
    match (&part.audio, &whole.audio) {
        (Ok(one), Ok(other)) => {
            let margin = 1024;
            let ticks = |at: Timestamp| rescaled(at.as_us() - T0, 1_000_000, one.timescale);
            let heard = |track: &crate::mp4::audio_track::AudioTrack| -> Vec<_> {
                let inside = ticks(span.start()) - margin..ticks(span.end()) + margin;
                track.frames.iter().filter(|frame| inside.contains(&frame.at)).copied().collect()
            };
            if meets {
                assert_eq!(heard(one), heard(other), "{case}: audio");
            }
            assert_eq!((&one.config, one.codec), (&other.config, other.codec));
        }
        (one, other) => assert_eq!(one, other, "{case}: audio"),
    }
}

/// A file, and what all of it tells.
struct Whole {
    file: Watched,
    tracks: Tracks,
}

impl Whole {
    fn of(film: &Film) -> Self {
        Self::of_bytes(film.bytes())
    }

    fn of_bytes(bytes: Vec<u8>) -> Self {
        let tracks = walk(&bytes, true).tracks().expect("tracks");
        Self { file: Watched::new(bytes), tracks }
    }

    /// Reads a part, which must be found, and returns what it costs: requests for anything but the bytes of the span, and bytes
    /// beside those of the span's samples.
    fn assert_part(&self, span: Span, case: &str) -> (usize, u64) {
        self.file.reads.lock().expect("no panic").clear();
        self.file.fetches.lock().expect("no panic").clear();
        assert!(self.is_equal(span, case), "{case}: all was read");
        cost(&self.file, &self.tracks, span)
    }

    /// Reads a part, which must be right if it is found. Returns whether it is.
    fn is_equal(&self, span: Span, case: &str) -> bool {
        let part = part(&self.file, span);
        part.inspect(|part| assert_equal_inside(&part.tracks, &self.tracks, span, case)).is_some()
    }
}

fn cost(file: &Watched, whole: &Tracks, span: Span) -> (usize, u64) {
    let table = &whole.video.table;
    let [from, to] = [span.start(), span.end()].map(|at| table.first_frame_at(at, Timestamp::from_us(T0)));
    let samples = (from..to).map(|frame| table.frame(frame));
    let own: u64 = samples.map(|sample| u64::from(sample.size)).sum();
    let heard = whole.audio.iter().flat_map(|audio| &audio.frames);
    let [from, to] = [span.start(), span.end()].map(|at| (at.as_us() - T0) * 48 / 1000);
    let own =
        own + heard.filter(|frame| (from..to).contains(&frame.at)).map(|frame| u64::from(frame.size)).sum::<u64>();
    let reads = file.reads.lock().expect("no panic").clone();
    let fetches = file.fetches.lock().expect("no panic").clone();
    let first = std::iter::once(0..READ_AHEAD.min(file.length()));
    let all = reads.iter().chain(&fetches).cloned().chain(first).collect();
    (reads.len() + 1, total(&coalesce(all, 0)).saturating_sub(own))
}

#[test]
fn an_index_costs_at_most_12_requests_and_2_percent() {
    for index in [Index::Sidx, Index::NestedSidx, Index::Mfra] {
        for (count, frames) in [(600, 25), (300, 50)] {
            let film = Film { index, audio: Some(AudioLayout::Together), ..Film::of(count, frames, 2000 * frames) };
            let whole = Whole::of(&film);
            for (from, to) in [(217_340, 277_340), (500, 1700), (590_000, 599_000), (61_000, 62_500)] {
                let case = format!("{index:?}, {count} fragments, {from}");
                let (requests, beside) = whole.assert_part(span(from, to), &case);
                assert!(requests <= 12, "{case}: {requests} requests");
                assert!(beside * 50 <= whole.file.length(), "{case}: {beside} bytes beside the clip's");
            }
        }
    }
}

#[test]
fn a_search_costs_at_most_40_requests() {
    for (count, frames, bytes) in [(600, 25, 50_000), (300, 50, 100_000), (600, 25, 400), (60, 250, 1_500_000)] {
        let mut film = Film { audio: Some(AudioLayout::Together), ..Film::of(count, frames, bytes) };
        // from some time on, bright and dark take turns
        for (number, bytes) in film.bytes.iter_mut().enumerate().skip(count / 3) {
            *bytes = *bytes / 4 + *bytes / 2 * u32::try_from(number % 5).expect("small");
        }
        let whole = Whole::of(&film);
        for (from, to) in [(217_340, 277_340), (500, 1700), (597_000, 599_000), (61_000, 62_500)] {
            let case = format!("{count} fragments, {from}");
            let (requests, _) = whole.assert_part(span(from, to), &case);
            assert!(requests <= 40, "{case}: {requests} requests");
        }
    }
}

#[test]
fn a_span_beside_the_recording_costs_its_ends() {
    let whole = Whole::of(&Film::of(600, 25, 50_000));
    for (from, to) in [(-60_000, -20_000), (-60_000, -1000), (601_000, 630_000), (700_000, 760_000)] {
        assert!(whole.assert_part(span(from, to), "beside").1 < 3 << 20, "{from}");
    }
}

#[test]
fn an_index_that_lies_never_leads_to_another_part() {
    for index in [Index::Sidx, Index::Mfra] {
        let film = Film { index, audio: Some(AudioLayout::Together), ..Film::of(300, 25, 20_000) };
        let mut whole = Whole::of(&film);
        let true_bytes = whole.file.bytes.clone();
        let name: &[u8] = if index == Index::Sidx { b"sidx" } else { b"tfra" };
        let at = true_bytes.windows(4).rposition(|found| found == name).expect("an index") + 24;
        let mut random = SplitMix64(5);
        for lie in 0..20 {
            // numbers of 32 bits: sizes, times, offsets
            for _ in 0..=lie / 2 {
                let word = at + random.below(700) * 4;
                let by = u8::try_from(random.below(255) + 1).expect("a byte");
                whole.file.bytes[word + 1 + random.below(3)] ^= by;
            }
            let from = 1000 * i64::try_from(random.below(290)).expect("small");
            whole.is_equal(span(from, from + 7000), &format!("{index:?}, lie {lie}"));
            whole.file.bytes[at..at + 3000].copy_from_slice(&true_bytes[at..at + 3000]);
        }
    }
}

#[test]
fn a_fragment_inside_of_pictures_is_not_believed() {
    for index in [Index::None, Index::Sidx] {
        let decoys = (3..300).step_by(2).chain([299]).collect();
        let whole = Whole::of(&Film { index, decoys, ..Film::of(300, 25, 30_000) });
        for from in [40_300, 151_000, 294_000] {
            whole.assert_part(span(from, from + 5000), "decoys");
        }
    }
}

#[test]
fn clocks_that_count_from_1970_are_followed() {
    for index in [Index::None, Index::Sidx, Index::Mfra] {
        let film = Film { index, audio: Some(AudioLayout::Together), ..Film::of(300, 25, 30_000) };
        Whole::of(&Film { epoch_s: 1_537_119_017, ..film }).assert_part(span(100_000, 110_000), "epoch");
    }
}

#[test]
fn fragments_that_are_not_counted_are_found() {
    let film = Film { counted: false, ..Film::of(300, 25, 30_000) };
    Whole::of(&film).assert_part(span(100_000, 110_000), "uncounted");
}

#[test]
fn a_clock_that_was_set_back_makes_everything_be_read() {
    let mut bytes = Film::of(300, 25, 30_000).bytes();
    let tfdts = bytes.windows(4).enumerate().filter(|(_, name)| *name == b"tfdt").map(|(at, _)| at + 8);
    for at in tfdts.skip(150).collect::<Vec<_>>() {
        let time: [u8; 8] = bytes[at..at + 8].try_into().expect("eight");
        let earlier = u64::from_be_bytes(time) - 100 * u64::from(TIMESCALE);
        bytes[at..at + 8].copy_from_slice(&earlier.to_be_bytes());
    }
    assert!(part(&Watched::new(bytes), span(60_000, 70_000)).is_none(), "200 s in 300 fragments of a second");
}

#[test]
fn a_file_whose_end_is_missing_ends_where_it_is_cut() {
    let film = Film { audio: Some(AudioLayout::Together), ..Film::of(300, 25, 30_000) };
    for (index, cut) in [(Index::None, 20_000), (Index::Sidx, 20_000), (Index::None, 1300), (Index::None, 100)] {
        let mut bytes = Film { index, ..film.clone() }.bytes();
        let moofs = bytes.windows(4).enumerate().filter(|(_, name)| *name == b"moof").map(|(at, _)| at - 4);
        let second_last = moofs.clone().nth(298).expect("a fragment");
        bytes.truncate(second_last + cut);
        let whole = Whole::of_bytes(bytes);
        for from in [100_000, 290_000] {
            whole.assert_part(span(from, from + 20_000), &format!("cut at {cut}"));
        }
    }
}

#[test]
fn damaged_boxes_are_no_reason_to_panic() {
    let mut random = SplitMix64(3);
    for index in [Index::None, Index::NestedSidx, Index::Sidx, Index::Mfra] {
        let film = Film { index, audio: Some(AudioLayout::Apart(40)), ..Film::of(30, 10, 300) };
        let bytes = film.bytes();
        for _ in 0..150 {
            let mut bytes = bytes.clone();
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 42][random.below(6)];
            }
            bytes.truncate(bytes.len() - if random.below(3) == 0 { random.below(bytes.len() / 2) } else { 0 });
            let mut finder = BoxFinder::new(bytes.len() as u64);
            while let Some(required) = finder.required_range().filter(|_| finder.fragmented_start().is_none()) {
                let at = |offset: u64| usize::try_from(offset).expect("small");
                if finder.feed(&bytes[at(required.start)..at(required.end)]).is_err() {
                    break;
                }
            }
            if finder.fragmented_start().is_some() {
                part(&Watched::new(bytes), span(4000, 6000));
            }
        }
    }
}

/// Fragments: their frames, and KiB of 30 frames.
fn fragments() -> impl Strategy<Value = Vec<(u32, u32)>> {
    prop::collection::vec((1_u32..60, 1_u32..60), 40..200)
}

fn audio() -> impl Strategy<Value = Option<AudioLayout>> {
    let apart = (1_u32..90).prop_map(|frames| Some(AudioLayout::Apart(frames)));
    prop_oneof![Just(None), Just(Some(AudioLayout::Together)), apart]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_part_tells_of_its_span_what_the_whole_file_tells(
        fragments in fragments(),
        key_every in 1_usize..4,
        reordered in any::<bool>(),
        audio in audio(),
        index in prop::sample::select(vec![Index::None, Index::Sidx, Index::NestedSidx, Index::Mfra]),
        epoch_s in prop::sample::select(vec![0, 5, 1_537_119_017]),
        spans in prop::collection::vec((-20_000_i64..400_000, 1_i64..70_000), 1..5),
    ) {
        let bytes = fragments.iter().map(|(frames, kib)| frames * kib * 30).collect();
        let fragments = fragments.iter().map(|(frames, _)| *frames).collect();
        let film = Film { fragments, key_every, bytes, reordered, audio, index, epoch_s, ..Film::of(0, 0, 0) };
        let whole = Whole::of(&film);
        for (from, length) in spans {
            whole.is_equal(span(from, from + length), "random");
        }
    }
}
