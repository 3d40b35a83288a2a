//! A thousand random spans of an hour in six recordings: what the plans show, without rendering them.

use exact_cut::plan::coverage::{Coverage, Tolerances};
use exact_cut::plan::cut_plan::{CutPlan, RecordingView};
use exact_cut::plan::random_access::RandomAccessPoints;
use exact_cut::{Span, Timestamp};
use testkit::footage::{Footage, X264};
use testkit::random::SplitMix64;

use crate::film::{Film, T0, open};

const SPANS: usize = 1000;
const TOLERANCE_US: i64 = 1_500_000;

#[tokio::test(flavor = "multi_thread")]
async fn clips_of_an_hour_under_jittering_names_lose_double_and_hold_no_frame_and_tile() {
    let hour = Footage {
        frames: 36_000,
        rate: "10",
        size: (48, 32),
        options: format!("{X264} -preset ultrafast -bf 2 -g 50"),
        ..Footage::default()
    };
    let film = tokio::task::block_in_place(|| Film::new("hour", &hour, 600));
    assert_eq!(film.files.len(), 6, "recordings of ten minutes");
    let mut random = SplitMix64(7);
    let jitter: Vec<i64> =
        film.files.iter().map(|_| i64::try_from(random.below(1_480_001)).expect("small") - 740_000).collect();
    let listed = film.named(|number, _| jitter[number]);
    let hour = Span::new(Timestamp::from_us(T0), Timestamp::from_us(T0 + 3_600_000_000)).expect("in order");
    let opened = open(listed, hour, TOLERANCE_US).await;
    let footage = opened.map(|recording| recording.footage.clone());
    let points = RandomAccessPoints::default();
    let views = opened.map(|recording| RecordingView {
        start: recording.listed.start,
        table: &recording.video.table,
        random_access: &points,
        copyable: Ok(()),
        audio: None,
    });
    let first_frames: Vec<usize> = opened
        .values()
        .scan(0, |first, recording| {
            let before = *first;
            *first += recording.video.table.frames.len();
            Some(before)
        })
        .collect();
    let frames = |from_us: i64, to_us: i64| -> Vec<usize> {
        let span = Span::new(Timestamp::from_us(T0 + from_us), Timestamp::from_us(T0 + to_us)).expect("in order");
        let coverage = Coverage::of(span, &footage, Tolerances { gap_us: 500_000, joint_us: TOLERANCE_US });
        assert_eq!(coverage.gaps, [], "{span}");
        let plan = CutPlan::of(span, &coverage, &views).expect("footage");
        let longest = plan.times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        assert!(longest * 10 <= i64::from(plan.timescale) + 20, "{span}: a frame is held for {longest} ticks");
        let segments = plan.segments.iter();
        segments
            .flat_map(|part| part.frames.clone().map(|frame| first_frames[part.recording.index()] + frame))
            .collect()
    };
    for _ in 0..SPANS {
        // every other span begins within 5 s of a joint
        let near = 600_000_000 * i64::try_from(1 + random.below(5)).expect("small") - 5_000_000;
        let anywhere = i64::try_from(random.below(3_500_000_000)).expect("small") + 1_000_000;
        let jump = i64::try_from(random.below(10_000_000)).expect("small");
        let from = if random.below(2) == 0 { near + jump } else { anywhere };
        let length = |random: &mut SplitMix64| i64::try_from(2_000_000 + random.below(40_000_000)).expect("small");
        let middle = from + length(&mut random);
        let to = middle + length(&mut random);
        let (first, second, both) = (frames(from, middle), frames(middle, to), frames(from, to));
        assert!(both.windows(2).all(|pair| pair[1] == pair[0] + 1), "{from}..{to}: frames are lost or doubled");
        assert_eq!([first, second].concat(), both, "{from}..{middle}..{to}: adjacent clips tile");
    }
}
