//! Properties of the plan, over made-up recordings of all kinds.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::footage::coverage::Part;
use crate::footage::nal::Entry;
use crate::footage::samples::{Building, Packet, Sample};

const TOLERANCE_US: i64 = 500_000;

/// How the pictures of a group refer to each other, as far as a table shows it.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// Shown as they are decoded.
    Plain,
    /// So many are decoded after the one that is shown after them.
    BFrames(usize),
    /// Of three between two others, the middle one is decoded first.
    Pyramid,
    /// Of four, the second and the fourth are decoded before the first.
    Late,
}

/// What begins a group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Group {
    /// An IDR picture.
    Closed,
    /// A recovery point, before which some of the pictures after it are shown.
    Open,
    /// A picture that is listed but leads nowhere.
    Refresh,
}

/// A made-up recording: its table, and what the bytes of its samples would say.
#[derive(Clone, Debug)]
struct Recording {
    table: SampleTable,
    truth: Vec<Entry>,
    starts: Timestamp,
}

prop_compose! {
    fn recording()(
        timescale in prop_oneof![Just(600_u32), Just(11_456), Just(15_360), Just(90_000), Just(200_000), 600_u32..200_000],
        frames in 1_usize..120,
        length in 1_usize..40,
        order in prop_oneof![Just(Order::Plain), (1_usize..4).prop_map(Order::BFrames), Just(Order::Pyramid), Just(Order::Late)],
        group in prop_oneof![3 => Just(Group::Closed), 2 => Just(Group::Open), 1 => Just(Group::Refresh)],
        durations in prop::collection::vec(1_u32..7, 120),
        rate in 5_u32..60,
        shift in -3_i64..4,
        hidden in 0_usize..20,
        starts in 0_i64..3_000_000,
    ) -> Recording {
        let step = (timescale / rate).max(1);
        // composition order: which places of a group come when in decode order
        let mut decode: Vec<(usize, Entry)> = Vec::new();
        let mut at = 0;
        while at < frames {
            let size = length.min(frames - at);
            let entry = match group {
                _ if at == 0 => Entry::Idr,
                Group::Closed => Entry::Idr,
                Group::Open => Entry::Recovery,
                Group::Refresh => Entry::None,
            };
            decode.extend(places(order, size).into_iter().map(|place| (at + place, Entry::None)));
            let first = decode.len() - size;
            decode[first].1 = entry;
            // an open group's first picture is decoded before the last one of the group before it
            if entry == Entry::Recovery && first > 0 && size > 1 {
                decode.swap(first - 1, first);
            }
            at += size;
        }
        let mut times = vec![0_i64];
        for frame in 0..frames {
            times.push(times[frame] + i64::from(step * durations[frame]));
        }
        let mut dts = 0;
        let mut table = Building::default();
        for (sample, &(frame, entry)) in decode.iter().enumerate() {
            let duration = u32::try_from(times[sample + 1] - times[sample]).expect("short");
            let pts = times[frame] + shift * i64::from(step);
            table.push(Packet {
                offset: sample as u64 * 100, size: 100, sync: entry != Entry::None || frame % 29 == 3, dts, duration,
                composition_offset: pts - dts,
            });
            dts += i64::from(duration);
        }
        let first_shown = times[hidden.min(frames - 1)] + shift * i64::from(step);
        let shown = if hidden > 0 { first_shown..i64::MAX } else { i64::MIN..i64::MAX };
        let table = table.finish(timescale, None, &[(shown, 0)]).expect("a table");
        let truth = decode.iter().map(|&(_, entry)| entry).collect();
        Recording { table, truth, starts: Timestamp::from_us(starts) }
    }
}

/// The places of a group of that size in the order in which they are decoded; the first is first.
fn places(order: Order, size: usize) -> Vec<usize> {
    let run = match order {
        Order::Plain => return (0..size).collect(),
        Order::BFrames(count) => count + 1,
        Order::Pyramid | Order::Late => 4,
    };
    let mut places = vec![0];
    let rest: Vec<usize> = (1..size).collect();
    for run in rest.chunks(run) {
        let (last, between) = run.split_last().expect("not empty");
        match (order, between) {
            (Order::Pyramid, [a, b, c]) => places.extend([*last, *b, *a, *c]),
            (Order::Late, [a, b, c]) => places.extend([*b, *last, *a, *c]),
            _ => places.extend([last].into_iter().chain(between)),
        }
    }
    places
}

impl Recording {
    /// What is known once all bytes have been seen.
    fn seen(&self) -> Entries {
        let mut entries = Entries::default();
        for (sample, &entry) in self.truth.iter().enumerate() {
            entries.saw(sample, entry);
        }
        entries
    }

    fn span(&self) -> Span {
        let ends = Timestamp::from_us(self.starts.as_us() + self.table.length_us().max(1));
        Span::new(self.starts, ends).expect("in order")
    }
}

/// Up to three recordings, and a span somewhere about them.
fn request() -> impl Strategy<Value = (Vec<Recording>, Span)> {
    let recordings = prop::collection::vec(recording(), 1..4).prop_map(|mut recordings| {
        recordings.sort_by_key(|recording| recording.starts);
        recordings
    });
    (recordings, any::<(Index, Index)>()).prop_map(|(recordings, (from, length))| {
        let last = recordings.iter().map(|recording| recording.span().end().as_us()).max().unwrap_or_default();
        let whole = usize::try_from(last).expect("after the epoch") + 1;
        let from = i64::try_from(from.index(whole)).expect("short");
        let to = from + 1 + i64::try_from(length.index(whole)).expect("short");
        (recordings, Span::new(Timestamp::from_us(from), Timestamp::from_us(to)).expect("in order"))
    })
}

fn planned(recordings: &[Recording], span: Span) -> Option<(Coverage, Plan)> {
    let shown: Vec<Span> = recordings.iter().map(Recording::span).collect();
    let coverage = Coverage::of(span, &shown, TOLERANCE_US);
    let entries: Vec<Entries> = recordings.iter().map(Recording::seen).collect();
    let source = |(recording, entries)| {
        let Recording { table, starts, .. }: &Recording = recording;
        Source { starts: *starts, table, entries, copy: Ok(()), sound: None }
    };
    let sources: Vec<Source<'_>> = recordings.iter().zip(&entries).map(source).collect();
    let plan = Plan::of(span, &coverage, &sources);
    assert_eq!(plan.is_none(), coverage.parts.is_empty(), "there is a plan where there is footage");
    Some((coverage, plan?))
}

/// A number as a real one: those here are small enough for it.
fn real(number: i64) -> f64 {
    i32::try_from(number).map_or_else(|_| panic!("{number} is large"), f64::from)
}

/// The frames of the clip, part by part: a frame belongs to the instant at which it is first shown, told without a
/// division. Where no frame is first shown, it is the one on screen.
fn wanted<'a>(recordings: &[Recording], coverage: &'a Coverage) -> Vec<(&'a Part, Range<usize>)> {
    let first_at = |part: &Part, at: Timestamp| {
        let Recording { table, starts, .. } = &recordings[part.recording];
        let is_before = |frame: &usize| {
            let ticks = i128::from(table.frame(*frame).pts - table.first_pts()) * 1_000_000;
            ticks < i128::from(at.as_us() - starts.as_us()) * i128::from(table.timescale)
        };
        (0..table.frames.len()).take_while(is_before).count()
    };
    let frames = |part| (part, first_at(part, part.span.start())..first_at(part, part.span.end()));
    let wanted: Vec<_> = coverage.parts.iter().map(frames).filter(|(_, frames)| !frames.is_empty()).collect();
    if wanted.is_empty() {
        let part = &coverage.parts[0];
        let on_screen = first_at(part, part.span.start()) - 1;
        return vec![(part, on_screen..on_screen + 1)];
    }
    wanted
}

proptest! {
    #[test]
    fn every_wanted_frame_comes_exactly_once_and_in_order((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let wanted: Vec<_> = wanted(&recordings, &coverage)
            .into_iter()
            .flat_map(|(part, frames)| frames.map(|frame| (part.recording, frame)))
            .collect();
        let planned: Vec<_> = plan.segments.iter()
            .flat_map(|segment| segment.frames.clone().map(|frame| (segment.recording, frame)))
            .collect();
        prop_assert_eq!(planned, wanted);
    }

    #[test]
    fn a_copied_run_begins_at_an_idr_picture_and_nothing_outside_of_it_is_shown_within((recordings, span) in request()) {
        let Some((_, plan)) = planned(&recordings, span) else { return Ok(()) };
        for segment in &plan.segments {
            let How::Copy { samples } = &segment.how else { continue };
            let Recording { table, truth, .. } = &recordings[segment.recording];
            prop_assert_eq!(truth[samples.start], Entry::Idr);
            let frames: BTreeSet<usize> =
                segment.frames.clone().map(|frame| table.frames[frame] as usize).collect();
            prop_assert_eq!(frames, samples.clone().collect::<BTreeSet<_>>(), "its samples are its frames");
            let pts = |range: Range<usize>| table.samples[range].iter().map(|sample| sample.pts);
            let (first, last) = (pts(samples.clone()).min(), pts(samples.clone()).max());
            prop_assert!(pts(0..samples.start).max() < first, "what is decoded before is shown before");
            prop_assert!(pts(samples.end..table.samples.len()).min().is_none_or(|after| Some(after) > last));
        }
    }

    /// By trying all runs there are, from the first IDR picture on, the longest first.
    #[test]
    fn no_longer_run_could_be_copied_from_the_first_place_where_one_can((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let mut expected = Vec::new();
        for (part, frames) in wanted(&recordings, &coverage) {
            let Recording { table, truth, .. } = &recordings[part.recording];
            let wanted: BTreeSet<usize> = frames.map(|frame| table.frames[frame] as usize).collect();
            let pts = |samples: Range<usize>| table.samples[samples].iter().map(|sample| sample.pts);
            let count = truth.len();
            let parts_in_time = |at: usize| pts(0..at).max() < pts(at..count).min() || at == count;
            let can_be_copied = |(start, end): &(usize, usize)| {
                pts(*start..count).min() == Some(table.samples[*start].pts)
                    && parts_in_time(*start)
                    && parts_in_time(*end)
                    && (*start..*end).all(|sample| wanted.contains(&sample))
            };
            let starts = wanted.iter().copied().filter(|&sample| truth[sample] == Entry::Idr);
            let runs = starts.flat_map(|start| (start + 1..=count).rev().map(move |end| (start, end)));
            expected.extend({ runs }.find(can_be_copied).map(|(start, end)| (part.recording, start..end)));
        }
        let copied = plan.segments.iter().filter(|segment| matches!(segment.how, How::Copy { .. }));
        let copied: Vec<_> = copied.map(|segment| (segment.recording, segment.samples())).collect();
        prop_assert_eq!(copied, expected);
    }

    #[test]
    fn an_encoded_run_is_decoded_from_where_decoding_may_begin((recordings, span) in request()) {
        let Some((_, plan)) = planned(&recordings, span) else { return Ok(()) };
        for segment in &plan.segments {
            let How::Encode { decode, .. } = &segment.how else { continue };
            let Recording { table, truth, .. } = &recordings[segment.recording];
            let wanted: Vec<&Sample> = segment.frames.clone().map(|frame| table.frame(frame)).collect();
            let first = wanted.iter().map(|sample| sample.pts).min().expect("not empty");
            prop_assert!(decode.start == 0 || truth[decode.start] != Entry::None);
            if truth[decode.start] == Entry::Recovery {
                prop_assert!(table.samples[decode.start].pts <= first, "no leading picture is wanted");
            }
            let needed = segment.frames.clone().map(|frame| table.frames[frame] as usize);
            let (least, greatest) = needed.fold((usize::MAX, 0), |(a, b), sample| (a.min(sample), b.max(sample)));
            prop_assert!(decode.start <= least);
            prop_assert_eq!(decode.end, greatest + 1, "and no further than needed");
            let later = (decode.start + 1..=least)
                .find(|&sample| truth[sample] != Entry::None && table.samples[sample].pts <= first);
            prop_assert_eq!(later, None, "and from the last place where it may");
        }
    }

    /// Told by real numbers, part by part, where the plan reckons with integers, frame by frame.
    #[test]
    fn times_are_those_of_the_world_but_for_gaps_and_what_is_held((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let ticks = |us: f64| us * f64::from(plan.timescale) / 1e6;
        let us = |from: Timestamp, to: Timestamp| real(to.as_us() - from.as_us());
        // microseconds that are cut out before an instant
        let cut_out = |until: Timestamp| -> f64 {
            coverage.gaps.iter().filter(|gap| gap.end() <= until).map(|gap| real(gap.length_us())).sum()
        };
        let at = |part: &Part, pts: i64| {
            let Recording { table, starts, .. } = &recordings[part.recording];
            let in_recording = real(pts - table.first_pts()) * 1e6 / f64::from(table.timescale);
            ticks(us(span.start(), *starts) + in_recording - cut_out(part.span.start()))
        };
        let wanted = wanted(&recordings, &coverage);
        let wanted: Vec<_> =
            wanted.into_iter().flat_map(|(part, frames)| frames.map(move |frame| (part, frame))).collect();
        let (first_part, last_part) = (coverage.parts[0], coverage.parts[coverage.parts.len() - 1]);
        let time = |&(part, frame): &(&Part, usize)| at(part, recordings[part.recording].table.frame(frame).pts);
        let hole = us(span.start(), first_part.span.start());
        let origin = if hole > 0.0 && hole <= real(TOLERANCE_US) { 0.0 } else { time(&wanted[0]) };
        prop_assert_eq!((plan.times[0], plan.times.len()), (0, wanted.len()));
        for (frame, pair) in wanted.iter().skip(1).zip(plan.times.windows(2)) {
            let least = real(pair[0]) + 1.0; // where two recordings' frames would fall on one tick
            let expected = (time(frame) - origin).max(least);
            prop_assert!(real(pair[1]) >= least && (real(pair[1]) - expected).abs() <= 1.0, "{} for {expected}", pair[1]);
        }
        let (part, frame) = wanted[wanted.len() - 1];
        let natural = at(part, recordings[part.recording].table.frame_end(frame)) - origin;
        let whole = |end: Timestamp| ticks(us(span.start(), end) - cut_out(end));
        let expected = match us(last_part.span.end(), span.end()) {
            hole if hole > real(TOLERANCE_US) => natural.min(whole(last_part.span.end())),
            hole if hole > 0.0 => whole(span.end()), // held
            _ => natural.min(whole(span.end())),
        };
        let expected = expected.max(real(plan.times[plan.times.len() - 1]) + 1.0);
        prop_assert!((real(plan.end) - expected).abs() <= 1.0, "end {} for {expected}", plan.end);
    }

    /// What the plan is made with at first, that sync samples are IDR pictures, leads to the same plan as the truth once
    /// the bytes it asks for have been seen, as often as it asks.
    #[test]
    fn looking_at_what_the_plan_asks_for_ends_in_the_plan_of_the_truth((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let mut entries = vec![Entries::default(); recordings.len()];
        let mut last = None;
        for _ in 0..500 {
            let source = |(recording, entries)| {
                let Recording { table, starts, .. }: &Recording = recording;
                Source { starts: *starts, table, entries, copy: Ok(()), sound: None }
            };
            let sources: Vec<Source<'_>> = recordings.iter().zip(&entries).map(source).collect();
            let guessed = Plan::of(span, &coverage, &sources).expect("a plan");
            for segment in &guessed.segments {
                let truth = &recordings[segment.recording].truth;
                segment.samples().for_each(|sample| entries[segment.recording].saw(sample, truth[sample]));
            }
            if last.as_ref() == Some(&guessed) {
                break;
            }
            last = Some(guessed);
        }
        let guessed = last.expect("a plan");
        prop_assert_eq!((guessed.times, guessed.end), (plan.times, plan.end));
        for segment in &guessed.segments {
            if let How::Copy { samples } = &segment.how {
                prop_assert_eq!(recordings[segment.recording].truth[samples.start], Entry::Idr);
            }
        }
    }

    /// What is fetched is what is copied and decoded, and of what lies between only holes that cost less than a request.
    #[test]
    fn ranges_are_joined_without_losing_a_byte_or_adding_more_than_holes(
        ranges in prop::collection::vec((0_u64..200, 1_u64..30), 0..12),
        hole in 0_u64..20,
    ) {
        let ranges: Vec<Range<u64>> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
        let needed: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
        let fetched = joined(ranges, hole);
        let bytes: BTreeSet<u64> = fetched.iter().cloned().flatten().collect();
        prop_assert!(needed.is_subset(&bytes));
        let added: Vec<u64> = bytes.difference(&needed).copied().collect();
        for run in added.chunk_by(|a, b| a + 1 == *b) {
            prop_assert!(run.len() as u64 <= hole, "{run:?}");
        }
        prop_assert!(fetched.windows(2).all(|pair| pair[0].end + hole < pair[1].start));
    }
}

#[test]
fn a_plans_frames_are_found_counted_and_one_of_them_is_the_poster() {
    let copy = Segment { recording: 3, frames: 5..12, how: How::Copy { samples: 5..12 } };
    let encode = |why| Segment { recording: 1, frames: 2..6, how: How::Encode { decode: 0..6, why } };
    let segments = vec![encode("for one reason"), copy, encode("for one reason")];
    let times: Vec<i64> = (0..15).map(|frame| frame * 7).collect();
    let plan = Plan { segments, timescale: 600, times, end: 112, sound: None };
    let located: Vec<_> = (0..16).map(|frame| plan.locate(frame)).collect();
    let expected = (2..6).map(|frame| Some((1, frame))).chain((5..12).map(|frame| Some((3, frame))));
    let expected = expected.chain((2..6).map(|frame| Some((1, frame)))).chain([None]);
    assert_eq!(located, expected.collect::<Vec<_>>());
    assert_eq!(plan.counts(), (7, 8));
    assert_eq!(plan.reasons(), "for one reason");
    // a quarter of 112 is 28, when frame 4 begins; a tick earlier it is still frame 3
    assert_eq!(plan.poster(), 4);
    assert_eq!(Plan { end: 111, ..plan }.poster(), 3);
}

/// A recording that starts at `starts_us` and shows a frame at each of these milliseconds, the last one for one.
fn plain(starts_us: i64, shown_at_ms: &[u32]) -> Recording {
    let mut table = Building::default();
    for (sample, &at) in shown_at_ms.iter().enumerate() {
        let duration = shown_at_ms.get(sample + 1).map_or(1, |next| next - at);
        let (offset, dts) = (sample as u64, i64::from(at));
        table.push(Packet { offset, size: 1, sync: sample == 0, dts, duration, composition_offset: 0 });
    }
    let table = table.finish(1000, None, &[(i64::MIN..i64::MAX, 0)]).expect("a table");
    let truth = (0..shown_at_ms.len()).map(|sample| if sample == 0 { Entry::Idr } else { Entry::None }).collect();
    Recording { table, truth, starts: Timestamp::from_us(starts_us) }
}

#[test]
fn no_two_frames_fall_on_one_tick_and_none_lasts_for_none() {
    let span = |to| Span::new(Timestamp::from_us(0), Timestamp::from_us(to)).expect("in order");
    // a second and 0.3 ms after the first recording's start the next one takes over, where ticks are of 1 ms
    let recordings = [plain(0, &[0, 500, 1000, 2000]), plain(1_000_300, &[0, 1, 2, 900])];
    let (_, plan) = planned(&recordings, span(1_003_000)).expect("a plan");
    assert_eq!((plan.times, plan.end), (vec![0, 500, 1000, 1001, 1002, 1003], 1004));
    let (_, plan) = planned(&recordings[..1], span(1_000_200)).expect("a plan");
    assert_eq!((plan.times, plan.end), (vec![0, 500, 1000], 1001));
}
