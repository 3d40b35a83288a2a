//! Properties of the audio plan, over generated recordings.

use proptest::prelude::*;

use super::*;
use crate::mp4::audio_codec::AudioCodec;
use crate::mp4::audio_track::AudioFrame;
use crate::mp4::sample_entry::SampleEntry;
use crate::plan::coverage::Tolerances;
use crate::plan::footage::Footage;
use crate::time::Span;

/// AAC-LC, 48 kHz, two channels.
const CONFIG: [u8; 2] = [0x11, 0x90];
const RATE: u32 = 48_000;

prop_compose! {
    /// Audio in a timescale that may not divide an AAC frame, which begins some ticks before or after the pictures.
    fn track()(
        timescale in prop_oneof![Just(RATE), Just(90_000_u32), Just(1000)],
        count in 1_i64..200,
        lead in -50_i64..50,
    ) -> AudioTrack {
        let at = |n: i64| lead + rescaled(n * AAC_FRAME, RATE, timescale);
        let frames = (0..count).map(|n| AudioFrame { offset: 0, size: 1, at: at(n) }).collect();
        AudioTrack { timescale, frames, end: at(count), entry: SampleEntry::new(*b"mp4a", &[]), codec: AudioCodec::Aac, config: CONFIG.to_vec() }
    }
}

/// Recordings of up to four seconds, one after the other, with holes and overlaps; and a span.
fn request() -> impl Strategy<Value = (Vec<(Timestamp, Option<AudioTrack>)>, Span)> {
    let one = (prop::option::weighted(0.8, track()), -400_000_i64..700_000);
    (prop::collection::vec(one, 1..4), 0_i64..3_000_000, 1_i64..6_000_000).prop_map(|(recordings, from, length)| {
        let mut at = 0;
        let placed = recordings.into_iter().map(|(track, hole)| {
            let start = Timestamp::from_us(at);
            at += 4_000_000 + hole;
            (start, track)
        });
        let (from, to) = (Timestamp::from_us(from), Timestamp::from_us(from + length));
        (placed.collect(), Span::new(from, to).expect("in order"))
    })
}

fn planned(recordings: &[(Timestamp, Option<AudioTrack>)], span: Span) -> Option<(AudioPlan, Coverage)> {
    let shown: PerRecording<Footage> = recordings
        .iter()
        .map(|(start, _)| Span::new(*start, Timestamp::from_us(start.as_us() + 4_000_000)).expect("in order").into())
        .collect();
    let coverage = Coverage::of(span, &shown, Tolerances { gap_us: 500_000, joint_us: 0 });
    let clock = ClipClock { start: span.start(), timescale: 90_000 };
    let (first, last) = (coverage.parts.first()?, coverage.parts.last()?);
    let origin = first.span.start();
    let until = if coverage.has_tail_gap(span) { last.span.end() } else { span.end() };
    let end = WallInstant::at(until).shifted(last.shift_us);
    let end = clock.ticks(end) - clock.ticks(WallInstant::at(origin).shifted(first.shift_us));
    let origin = WallInstant::at(origin).shifted(first.shift_us);
    let pictures = PictureTimes { clock, origin, end: end.max(1) };
    let audio: PerRecording<AudioOfRecording<'_>> =
        recordings.iter().map(|(start, track)| AudioOfRecording { start: *start, track: track.as_ref() }).collect();
    let plan = AudioPlan::of(pictures, &coverage, &audio)?;
    Some((plan, coverage))
}

proptest! {
    #[test]
    fn every_frame_is_heard_within_half_a_frame_of_its_time_where_a_run_begins((recordings, span) in request()) {
        let Some((plan, _)) = planned(&recordings, span) else { return Ok(()) };
        for source in plan.runs.iter().filter_map(|run| run.source.as_ref()) {
            let track = recordings[source.recording.index()].1.as_ref().expect("a recording with audio");
            let at = |frame: usize| rescaled(track.frames[frame].at, track.timescale, RATE);
            for (place, frame) in (0..).zip(source.frames.clone()) {
                let off = at(frame) - source.at - place * AAC_FRAME;
                let most = if place == 0 { AAC_FRAME / 2 } else { AAC_FRAME };
                prop_assert!(off.abs() <= most, "place {place} of {source:?} is {off} off");
            }
        }
    }

    #[test]
    fn the_runs_fill_the_clip_and_no_frame_is_heard_twice((recordings, span) in request()) {
        let Some((plan, coverage)) = planned(&recordings, span) else { return Ok(()) };
        prop_assert!(matches!(plan.method, AudioMethod::Copy(_)));
        let cut_out: i64 = coverage.gaps.iter().map(|gap| gap.length_us()).sum();
        let frame_us = AAC_FRAME * 1_000_000 / i64::from(RATE);
        let heard_us = i64::try_from(plan.length()).expect("few") * AAC_FRAME * 1_000_000 / i64::from(RATE);
        let held = span.length_us() - cut_out;
        prop_assert!((heard_us - held).abs() <= 500_000 + frame_us, "{heard_us} µs of {held}");
        for run in &plan.runs {
            prop_assert!(run.length > 0);
            prop_assert!(run.source.as_ref().is_none_or(|source| source.frames.len() == run.length));
        }
        let ids: PerRecording<()> = recordings.iter().map(|_| ()).collect();
        for (recording, ()) in ids.iter() {
            let mut frames: Vec<Range<usize>> = plan.frames_of(recording).collect();
            frames.sort_by_key(|frames| frames.start);
            prop_assert!(frames.windows(2).all(|pair| pair[0].end <= pair[1].start), "{frames:?}");
        }
    }
}
