//! Properties of joints: clips of adjacent spans tile, and a film is the film, whatever the names of its recordings say.

use proptest::prelude::*;

use super::*;
use crate::mp4::sample_table::Sample;
use crate::plan::coverage::Tolerances;
use crate::plan::footage::Footage;

/// A recording of frames at equal distances.
#[derive(Clone, Debug)]
struct Recording {
    table: SampleTable,
    start: Timestamp,
}

impl Recording {
    fn new(timescale: u32, step: i64, frames: i64, start_us: i64) -> Self {
        let sample = |frame| Sample { offset: 0, size: 1, sync: true, pts: frame * step };
        let table = SampleTable::of_frames(timescale, (0..frames).map(sample).collect(), frames * step);
        Self { table, start: Timestamp::from_us(start_us) }
    }
}

fn span(from: i64, to: i64) -> Span {
    Span::new(Timestamp::from_us(from), Timestamp::from_us(to)).expect("in order")
}

/// The frames of a clip in order, and its times.
struct Shown {
    frames: Vec<(RecordingId, usize)>,
    /// Whether a frame of each begins in its footage: the span is neither shorter than a frame nor inside a hole.
    begins: bool,
    plan: Option<CutPlan>,
}

fn shown(recordings: &[Recording], wanted: Span, joint_us: i64) -> Shown {
    let footage = |recording: &Recording| Footage::of(recording.start, &recording.table, None).expect("footage");
    let coverage =
        Coverage::of(wanted, &recordings.iter().map(footage).collect(), Tolerances { gap_us: 500_000, joint_us });
    let points = RandomAccessPoints::default();
    let views: PerRecording<RecordingView<'_>> = recordings
        .iter()
        .map(|recording| RecordingView {
            start: recording.start,
            table: &recording.table,
            random_access: &points,
            copyable: Ok(()),
            audio: None,
        })
        .collect();
    let begins = coverage.parts.iter().any(|part| {
        let Recording { table, start } = &recordings[part.recording.index()];
        table.first_frame_at(part.footage.start(), *start) < table.first_frame_at(part.footage.end(), *start)
    });
    let plan = CutPlan::of(wanted, &coverage, &views);
    let segments = plan.iter().flat_map(|plan| &plan.segments);
    let frames = segments.flat_map(|segment| segment.frames.clone().map(|frame| (segment.recording, frame)));
    Shown { frames: frames.collect(), begins, plan }
}

prop_compose! {
    /// Recordings anywhere: with holes, joints, overlaps, one inside another.
    fn anything()(
        recordings in prop::collection::vec((1_usize..4, 1_i64..90, 0_i64..9_000_000), 1..6),
    ) -> Vec<Recording> {
        let one = |(kind, frames, start_us)| {
            let (timescale, step) = [(600, 20), (90_000, 3003), (25, 1)][kind - 1];
            Recording::new(timescale, step, frames, start_us)
        };
        let mut all: Vec<Recording> = recordings.into_iter().map(one).collect();
        all.sort_by_key(|recording| recording.start);
        all
    }
}

/// A film that was cut into recordings, and by how much each name is off.
#[derive(Clone, Debug)]
struct Film {
    recordings: Vec<Recording>,
    first_frames: Vec<usize>,
    /// Ticks of a frame.
    step: i64,
    tolerance_us: i64,
}

prop_compose! {
    fn film()(
        (timescale, step) in prop_oneof![
            Just((30_u32, 1_i64)), Just((90_000, 3003)), Just((1000, 33)), Just((15_360, 512)), Just((48_000, 1601)),
        ],
        lengths in prop::collection::vec(40_i64..90, 2..7),
        jitter in prop::collection::vec(-1000_i64..=1000, 7),
        tolerance_us in 20_000_i64..1_500_000,
    ) -> Film {
        let us = |frames: i64| frames * step * 1_000_000 / i64::from(timescale);
        let shortest = lengths.iter().copied().min().expect("some");
        // half of the tolerance, which is at most a quarter of the shortest recording
        let most = tolerance_us.min(us(shortest) / 4) / 2 - 2;
        let (mut recordings, mut first_frames, mut first) = (Vec::new(), Vec::new(), 0);
        for (&length, jitter) in lengths.iter().zip(jitter) {
            let start_us = 5_000_000 + us(first) + jitter * most / 1000;
            recordings.push(Recording::new(timescale, step, length, start_us));
            first_frames.push(usize::try_from(first).expect("positive"));
            first += length;
        }
        Film { recordings, first_frames, step, tolerance_us }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn clips_of_adjacent_spans_tile(
        recordings in anything(),
        from in 0_i64..10_000_000,
        lengths in (1_i64..4_000_000, 1_i64..4_000_000),
        joint_us in prop_oneof![Just(0_i64), Just(1_500_000), 1_i64..3_000_000],
    ) {
        let (middle, to) = (from + lengths.0, from + lengths.0 + lengths.1);
        let of = |from, to| shown(&recordings, span(from, to), joint_us);
        let (first, second, both) = (of(from, middle), of(middle, to), of(from, to));
        if first.begins && second.begins {
            prop_assert_eq!([first.frames, second.frames].concat(), both.frames);
        }
    }

    #[test]
    fn a_film_is_the_film_whatever_the_names_say(film in film(), from in 0_i64..20_000_000, length in 1_i64..20_000_000) {
        let Film { recordings, first_frames, step, tolerance_us } = film;
        let Shown { frames, begins, plan } = shown(&recordings, span(from, from + length), tolerance_us);
        let (Some(plan), true) = (plan, begins) else { return Ok(()) };
        let numbers: Vec<usize> =
            frames.iter().map(|(recording, frame)| first_frames[recording.index()] + frame).collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "lost or doubled: {numbers:?}");
        let (ticks, timescale) = (i64::from(plan.timescale), i64::from(recordings[0].table.timescale));
        let held_at_start = usize::from(from < recordings[0].start.as_us());
        for pair in plan.times.windows(2).skip(held_at_start) {
            let off = (pair[1] - pair[0]) * timescale - step * ticks;
            prop_assert!(off.abs() <= timescale, "a frame lasts {} of {ticks} ticks", pair[1] - pair[0]);
        }
    }
}
