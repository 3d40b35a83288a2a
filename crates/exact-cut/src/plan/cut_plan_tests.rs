//! Properties of the plan, over generated recordings of all kinds.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::h264::nal_units::RandomAccess;
use crate::mp4::sample_boxes::{ListedSample, Step};
use crate::mp4::sample_table::{Sample, SampleTableBuilder};
use crate::plan::coverage::Tolerances;
use crate::plan::footage::Footage;

const TOLERANCE_US: i64 = 500_000;

/// In which order the pictures of a group are decoded.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// In the order in which they are shown.
    Plain,
    /// This many pictures are decoded after the one that is shown after them.
    BFrames(usize),
    /// Of three pictures between two others, the middle one is decoded first.
    Pyramid,
    /// Of four pictures, the second and the fourth are decoded before the first.
    Late,
}

/// The picture that begins a group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Group {
    /// An IDR picture.
    Closed,
    /// A recovery point with leading pictures.
    Open,
    /// A sync sample at which decoding may not begin.
    Refresh,
}

/// A generated recording: its table, and what the bytes of its samples would say.
#[derive(Clone, Debug)]
struct Recording {
    table: SampleTable,
    truth: Vec<RandomAccess>,
    start: Timestamp,
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
        start in 0_i64..3_000_000,
    ) -> Recording {
        let step = (timescale / rate).max(1);
        // frames in decode order
        let mut decode: Vec<(usize, RandomAccess)> = Vec::new();
        let mut at = 0;
        while at < frames {
            let size = length.min(frames - at);
            let entry = match group {
                _ if at == 0 => RandomAccess::Idr,
                Group::Closed => RandomAccess::Idr,
                Group::Open => RandomAccess::RecoveryPoint,
                Group::Refresh => RandomAccess::No,
            };
            decode.extend(places(order, size).into_iter().map(|place| (at + place, RandomAccess::No)));
            let first = decode.len() - size;
            decode[first].1 = entry;
            // the first picture of an open group is decoded before the last one of the group before it
            if entry == RandomAccess::RecoveryPoint && first > 0 && size > 1 {
                decode.swap(first - 1, first);
            }
            at += size;
        }
        let mut times = vec![0_i64];
        for frame in 0..frames {
            times.push(times[frame] + i64::from(step * durations[frame]));
        }
        let mut dts = 0;
        let mut table = SampleTableBuilder::default();
        for (sample, &(frame, entry)) in decode.iter().enumerate() {
            let duration = u32::try_from(times[sample + 1] - times[sample]).expect("short");
            let pts = times[frame] + shift * i64::from(step);
            table.push(ListedSample {
                offset: sample as u64 * 100, size: 100, sync: entry != RandomAccess::No || frame % 29 == 3, dts,
                step: Step::Forward(duration), entry: 0,
                composition_offset: pts - dts,
            });
            dts += i64::from(duration);
        }
        let first_shown = times[hidden.min(frames - 1)] + shift * i64::from(step);
        let shown = if hidden > 0 { first_shown..i64::MAX } else { i64::MIN..i64::MAX };
        let table = table.finish(timescale, None, &[(shown, 0)], None).expect("a table");
        let truth = decode.iter().map(|&(_, entry)| entry).collect();
        Recording { table, truth, start: Timestamp::from_us(start) }
    }
}

/// Returns the places of a group of that size in decode order, beginning with the first place.
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
    /// What is known once all bytes were inspected.
    fn inspected(&self) -> RandomAccessPoints {
        let mut points = RandomAccessPoints::default();
        for (sample, &access) in self.truth.iter().enumerate() {
            points.record(sample, access);
        }
        points
    }

    fn view<'a>(&'a self, random_access: &'a RandomAccessPoints) -> RecordingView<'a> {
        RecordingView { start: self.start, table: &self.table, random_access, copyable: Ok(()), audio: None }
    }

    fn span(&self) -> Span {
        let ends = Timestamp::from_us(self.start.as_us() + self.table.us_after_start(self.table.end_pts).max(1));
        Span::new(self.start, ends).expect("in order")
    }
}

/// Up to three recordings, and a span that touches them or lies near.
fn request() -> impl Strategy<Value = (Vec<Recording>, Span)> {
    let recordings = prop::collection::vec(recording(), 1..4).prop_map(|mut recordings| {
        recordings.sort_by_key(|recording| recording.start);
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

fn planned(recordings: &[Recording], span: Span) -> Option<(Coverage, CutPlan)> {
    let shown = recordings.iter().map(|recording| Footage::from(recording.span())).collect();
    let coverage = Coverage::of(span, &shown, Tolerances { gap_us: TOLERANCE_US, joint_us: 0 });
    let points: Vec<RandomAccessPoints> = recordings.iter().map(Recording::inspected).collect();
    let views = recordings.iter().zip(&points).map(|(recording, points)| recording.view(points)).collect();
    let plan = CutPlan::of(span, &coverage, &views);
    assert_eq!(plan.is_none(), coverage.parts.is_empty(), "footage leads to a plan");
    Some((coverage, plan?))
}

/// Converts a small number.
fn real(number: i64) -> f64 {
    i32::try_from(number).map_or_else(|_| panic!("{number} is large"), f64::from)
}

/// Returns the frames of the clip, part by part. A frame belongs to the instant at which it is first shown, computed without
/// a division. If no frame is first shown in the span, the frame on screen is the only one.
fn wanted<'a>(recordings: &[Recording], coverage: &'a Coverage) -> Vec<(&'a Part, Range<usize>)> {
    let first_at = |part: &Part, at: Timestamp| {
        let Recording { table, start, .. } = &recordings[part.recording.index()];
        let is_before = |frame: &usize| {
            let ticks = i128::from(table.frame(*frame).pts - table.first_pts()) * 1_000_000;
            ticks < i128::from(at.as_us() - start.as_us()) * i128::from(table.timescale)
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
    fn every_wanted_frame_is_in_the_plan_once_and_in_order((recordings, span) in request()) {
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
    fn a_copied_run_begins_at_an_idr_picture_and_is_closed_in_time((recordings, span) in request()) {
        let Some((_, plan)) = planned(&recordings, span) else { return Ok(()) };
        for segment in &plan.segments {
            let Method::Copy { samples } = &segment.method else { continue };
            let Recording { table, truth, .. } = &recordings[segment.recording.index()];
            prop_assert_eq!(truth[samples.start], RandomAccess::Idr);
            let frames: BTreeSet<usize> =
                segment.frames.clone().map(|frame| table.frames[frame] as usize).collect();
            prop_assert_eq!(frames, samples.clone().collect::<BTreeSet<_>>(), "its samples are its frames");
            let pts = |range: Range<usize>| table.samples[range].iter().map(|sample| sample.pts);
            let (first, last) = (pts(samples.clone()).min(), pts(samples.clone()).max());
            prop_assert!(pts(0..samples.start).max() < first, "samples decoded before the run are shown before it");
            prop_assert!(pts(samples.end..table.samples.len()).min().is_none_or(|after| Some(after) > last));
        }
    }

    /// Tries all runs from the first IDR picture on, the longest first.
    #[test]
    fn no_longer_run_could_be_copied((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let mut expected = Vec::new();
        for (part, frames) in wanted(&recordings, &coverage) {
            let Recording { table, truth, .. } = &recordings[part.recording.index()];
            let wanted: BTreeSet<usize> = frames.map(|frame| table.frames[frame] as usize).collect();
            let pts = |samples: Range<usize>| table.samples[samples].iter().map(|sample| sample.pts);
            let count = truth.len();
            let orders_agree = |at: usize| pts(0..at).max() < pts(at..count).min() || at == count;
            let can_be_copied = |(start, end): &(usize, usize)| {
                pts(*start..count).min() == Some(table.samples[*start].pts)
                    && orders_agree(*start)
                    && orders_agree(*end)
                    && (*start..*end).all(|sample| wanted.contains(&sample))
            };
            let starts = wanted.iter().copied().filter(|&sample| truth[sample] == RandomAccess::Idr);
            let runs = starts.flat_map(|start| (start + 1..=count).rev().map(move |end| (start, end)));
            expected.extend({ runs }.find(can_be_copied).map(|(start, end)| (part.recording, start..end)));
        }
        let copied = plan.segments.iter().filter(|segment| matches!(segment.method, Method::Copy { .. }));
        let copied: Vec<_> = copied.map(|segment| (segment.recording, segment.samples())).collect();
        prop_assert_eq!(copied, expected);
    }

    #[test]
    fn an_encoded_segment_is_decoded_from_the_last_random_access_point((recordings, span) in request()) {
        let Some((_, plan)) = planned(&recordings, span) else { return Ok(()) };
        for segment in &plan.segments {
            let Method::Encode { decode, .. } = &segment.method else { continue };
            let Recording { table, truth, .. } = &recordings[segment.recording.index()];
            let wanted: Vec<&Sample> = segment.frames.clone().map(|frame| table.frame(frame)).collect();
            let first = wanted.iter().map(|sample| sample.pts).min().expect("not empty");
            prop_assert!(decode.start == 0 || truth[decode.start] != RandomAccess::No);
            if truth[decode.start] == RandomAccess::RecoveryPoint {
                prop_assert!(table.samples[decode.start].pts <= first, "no leading picture is wanted");
            }
            let needed = segment.frames.clone().map(|frame| table.frames[frame] as usize);
            let (least, greatest) = needed.fold((usize::MAX, 0), |(a, b), sample| (a.min(sample), b.max(sample)));
            prop_assert!(decode.start <= least);
            prop_assert_eq!(decode.end, greatest + 1, "and not further than needed");
            let later = (decode.start + 1..=least)
                .find(|&sample| truth[sample] != RandomAccess::No && table.samples[sample].pts <= first);
            prop_assert_eq!(later, None, "and from the last point where decoding may begin");
        }
    }

    /// Computes with real numbers, part by part, what the plan computes with integers, frame by frame.
    #[test]
    fn times_are_those_of_the_world_except_for_gaps_and_held_frames((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let ticks = |us: f64| us * f64::from(plan.timescale) / 1e6;
        let us = |from: Timestamp, to: Timestamp| real(to.as_us() - from.as_us());
        // microseconds of gaps before an instant
        let cut_out = |until: Timestamp| -> f64 {
            coverage.gaps.iter().filter(|gap| gap.end() <= until).map(|gap| real(gap.length_us())).sum()
        };
        let at = |part: &Part, pts: i64| {
            let Recording { table, start, .. } = &recordings[part.recording.index()];
            let in_recording = real(pts - table.first_pts()) * 1e6 / f64::from(table.timescale);
            ticks(us(span.start(), *start) + in_recording - cut_out(part.span.start()))
        };
        let wanted = wanted(&recordings, &coverage);
        let wanted: Vec<_> =
            wanted.into_iter().flat_map(|(part, frames)| frames.map(move |frame| (part, frame))).collect();
        let (first_part, last_part) = (coverage.parts[0], coverage.parts[coverage.parts.len() - 1]);
        let time = |&(part, frame): &(&Part, usize)| at(part, recordings[part.recording.index()].table.frame(frame).pts);
        let hole = us(span.start(), first_part.span.start());
        let origin = if hole > 0.0 && hole <= real(TOLERANCE_US) { 0.0 } else { time(&wanted[0]) };
        prop_assert_eq!((plan.times[0], plan.times.len()), (0, wanted.len()));
        for (frame, pair) in wanted.iter().skip(1).zip(plan.times.windows(2)) {
            let least = real(pair[0]) + 1.0; // frames of two recordings may fall on one tick
            let expected = (time(frame) - origin).max(least);
            prop_assert!(real(pair[1]) >= least && (real(pair[1]) - expected).abs() <= 1.0, "{} for {expected}", pair[1]);
        }
        let (part, frame) = wanted[wanted.len() - 1];
        let natural = at(part, recordings[part.recording.index()].table.frame_end(frame)) - origin;
        let whole = |end: Timestamp| ticks(us(span.start(), end) - cut_out(end));
        let expected = match us(last_part.span.end(), span.end()) {
            hole if hole > real(TOLERANCE_US) => natural.min(whole(last_part.span.end())),
            hole if hole > 0.0 => whole(span.end()), // held
            _ => natural.min(whole(span.end())),
        };
        let expected = expected.max(real(plan.times[plan.times.len() - 1]) + 1.0);
        prop_assert!((real(plan.end) - expected).abs() <= 1.0, "end {} for {expected}", plan.end);
    }

    /// The first plan takes sync samples for IDR pictures. Inspecting the bytes that each plan needs leads to the plan of
    /// the truth.
    #[test]
    fn inspecting_what_each_plan_needs_leads_to_the_right_plan((recordings, span) in request()) {
        let Some((coverage, plan)) = planned(&recordings, span) else { return Ok(()) };
        let mut points = vec![RandomAccessPoints::default(); recordings.len()];
        let mut last = None;
        for _ in 0..500 {
            let views = recordings.iter().zip(&points).map(|(recording, points)| recording.view(points)).collect();
            let guessed = CutPlan::of(span, &coverage, &views).expect("a plan");
            for segment in &guessed.segments {
                let recording = segment.recording.index();
                let truth = &recordings[recording].truth;
                segment.samples().for_each(|sample| points[recording].record(sample, truth[sample]));
            }
            if last.as_ref() == Some(&guessed) {
                break;
            }
            last = Some(guessed);
        }
        let guessed = last.expect("a plan");
        prop_assert_eq!((guessed.times, guessed.end), (plan.times, plan.end));
        for segment in &guessed.segments {
            if let Method::Copy { samples } = &segment.method {
                prop_assert_eq!(recordings[segment.recording.index()].truth[samples.start], RandomAccess::Idr);
            }
        }
    }
}

#[test]
fn a_plan_locates_and_counts_its_frames_and_names_the_poster() {
    let ids: PerRecording<()> = [(); 4].into_iter().collect();
    let ids: Vec<RecordingId> = ids.iter().map(|(id, ())| id).collect();
    let copy = Segment { recording: ids[3], frames: 5..12, method: Method::Copy { samples: 5..12 } };
    let encode = |reason| Segment { recording: ids[1], frames: 2..6, method: Method::Encode { decode: 0..6, reason } };
    let segments = vec![encode(EncodeReason::NoIdr), copy, encode(EncodeReason::NoIdr)];
    let times: Vec<i64> = (0..15).map(|frame| frame * 7).collect();
    let plan = CutPlan { segments, timescale: 600, times, end: 112, taken_at: Timestamp::from_us(0), audio: None };
    let located: Vec<_> = (0..16).map(|frame| plan.locate(frame)).collect();
    let at = |recording: usize, frame| Some(FrameOfRecording { recording: ids[recording], frame });
    let expected = (2..6).map(|frame| at(1, frame)).chain((5..12).map(|frame| at(3, frame)));
    let expected = expected.chain((2..6).map(|frame| at(1, frame))).chain([None]);
    assert_eq!(located, expected.collect::<Vec<_>>());
    assert_eq!(plan.counts(), (7, 8));
    assert_eq!(plan.reasons(), EncodeReason::NoIdr.to_string());
    // a quarter of 112 is 28, when frame 4 begins; a tick earlier it is still frame 3
    assert_eq!(plan.poster(), 4);
    assert_eq!(CutPlan { end: 111, ..plan }.poster(), 3);
}

/// Returns a recording that starts at `start_us` and shows a frame at each of these milliseconds; the last frame lasts 1 ms.
fn plain(start_us: i64, shown_at_ms: &[u32]) -> Recording {
    let mut table = SampleTableBuilder::default();
    for (sample, &at) in shown_at_ms.iter().enumerate() {
        let duration = shown_at_ms.get(sample + 1).map_or(1, |next| next - at);
        let (offset, dts) = (sample as u64, i64::from(at));
        table.push(ListedSample {
            offset,
            size: 1,
            sync: sample == 0,
            dts,
            step: Step::Forward(duration),
            composition_offset: 0,
            entry: 0,
        });
    }
    let table = table.finish(1000, None, &[(i64::MIN..i64::MAX, 0)], None).expect("a table");
    let truth =
        (0..shown_at_ms.len()).map(|sample| if sample == 0 { RandomAccess::Idr } else { RandomAccess::No }).collect();
    Recording { table, truth, start: Timestamp::from_us(start_us) }
}

#[test]
fn no_two_frames_share_a_tick_and_every_frame_lasts() {
    let span = |to| Span::new(Timestamp::from_us(0), Timestamp::from_us(to)).expect("in order");
    // the second recording begins 1000.003 ms after the first one, and a tick is 0.011 ms
    let recordings = [plain(0, &[0, 500, 1000, 2000]), plain(1_000_003, &[0, 1, 2, 900])];
    let (_, plan) = planned(&recordings, span(1_003_000)).expect("a plan");
    assert_eq!((plan.times, plan.end), (vec![0, 45_000, 90_000, 90_001, 90_090, 90_180], 90_270));
    let (_, plan) = planned(&recordings[..1], span(1_000_200)).expect("a plan");
    assert_eq!((plan.times, plan.end), (vec![0, 500, 1000], 1001));
}
