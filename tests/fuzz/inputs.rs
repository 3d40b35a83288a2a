//! What is done with an input: everything that the function does with it before it calls a service.

use cameras_service_generate_clip::contract::message_body::Request;
use cameras_service_generate_clip::contract::recording_name::NameFormat;
use cameras_service_generate_clip::contract::sqs_event::deliveries;
use cameras_service_generate_clip::recording_list::{parse_listing, select};
use exact_cut::h264::nal_units::{nal_units, random_access, without_slice};
use exact_cut::h264::parameter_sets::ParameterSets;
use exact_cut::mp4::box_finder::BoxFinder;
use exact_cut::mp4::shape::PictureShape;
use exact_cut::mp4::tracks::Tracks;
use exact_cut::plan::coverage::{Coverage, Tolerances};
use exact_cut::plan::cut_plan::{CutPlan, RecordingView};
use exact_cut::plan::footage::Footage;
use exact_cut::plan::random_access::RandomAccessPoints;
use exact_cut::plan::segments::EncodeReason;
use exact_cut::recording_id::PerRecording;
use exact_cut::render::encoder_options::EncoderOptions;
use exact_cut::render::quality::RateControl;
use exact_cut::time::{Span, Timestamp};
use serde_json::Value;
use testkit::random::SplitMix64;

pub fn body(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(request) = Request::parse(&text, Some("1537119363000")) {
        let again =
            Request::parse(&request.next_try(), Some("1537119363001")).expect("what is sent back is understood");
        assert_eq!((again.clip_id, again.span), (request.clip_id, request.span));
        assert_eq!(again.retry_timestamps_ms.len(), request.retry_timestamps_ms.len() + 1);
    }
    let _ = Request::parse("{}", Some(&text));
}

pub fn event(input: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(input) else { return };
    if let Ok(deliveries) = deliveries(event) {
        assert!(deliveries.iter().all(|delivery| !delivery.message_id.is_empty()), "an empty id fails the whole batch");
    }
}

fn instant(us: i64) -> Timestamp {
    Timestamp::from_us(us)
}

pub fn recordings(input: &[u8]) {
    let Ok(entries) = serde_json::from_slice::<Vec<Value>>(input) else { return };
    let format = NameFormat::new("%Y%m%dT%H%M%S%f", input.len().is_multiple_of(2)).expect("a format");
    let span = Span::new(instant(1_537_119_017_000_000), instant(1_537_119_018_000_000)).expect("in order");
    let listed = parse_listing(&entries, &format);
    for entry in &listed {
        let name = entry.name.as_str();
        assert!(!name.is_empty() && !matches!(name, "." | ".."), "{name}");
    }
    let selected = select(&listed, span);
    assert!(selected.iter().all(|recording| recording.start < span.end()), "{selected:?}");
}

pub fn name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.splitn(3, '\n');
    let (format, old_first, name) = (lines.next(), lines.next(), lines.next());
    if let (Some(Ok(format)), Some(name)) = (format.map(|format| NameFormat::new(format, old_first == Some("1"))), name)
    {
        let _ = format.instant(name);
    }
}

/// Returns the tracks of a file, found as the engine finds them.
fn tracks(input: &[u8]) -> Option<Tracks> {
    let mut finder = BoxFinder::new(input.len() as u64);
    while let Some(required) = finder.required_range() {
        let at = |offset: u64| usize::try_from(offset).expect("within the file");
        finder.feed(input.get(at(required.start)..at(required.end)).expect("a range of the file")).ok()?;
    }
    finder.tracks().ok()
}

pub fn moov(input: &[u8]) {
    let Some(Tracks { video, audio, .. }) = tracks(input) else { return };
    let _ = (video.table.rate(), video.table.us_after_start(video.table.end_pts), video.table.first_pts());
    assert!(!video.table.frames.is_empty(), "a table has frames");
    for frame in 0..video.table.frames.len() {
        assert!(video.table.frame_end(frame) >= video.table.frame(frame).pts);
    }
    let inside = |offset: u64, size: u32| offset + u64::from(size) <= input.len() as u64;
    assert!(video.table.samples.iter().all(|sample| inside(sample.offset, sample.size)), "a sample outside the file");
    let sets = ParameterSets::read(video.entry.avcc());
    if let Ok(sets) = &sets {
        let _ = (
            sets.free_id(),
            sets.profile(),
            sets.colour(),
            sets.pixel_aspect(),
            sets.decoded_pictures(),
            sets.joined(sets),
        );
        for sample in &video.table.samples {
            let from = usize::try_from(sample.offset).expect("within the file");
            let bytes = &input[from..from + sample.size as usize];
            let format = video.entry.nal_format().expect("avcC has parameter sets");
            let _ = (random_access(bytes, format), without_slice(bytes, format));
            for unit in nal_units(bytes, sets.length_size()).flatten() {
                let _ = sets.is_contradicted_by(unit);
            }
        }
    }
    if let Some(shape) = PictureShape::of(&video, &video.entry) {
        let _ = (shape.height_for(300, video.orientation), shape.for_track_header());
    }
    if let Ok(options) = EncoderOptions::like(&video, &video.entry, sets.as_ref().ok()) {
        let _ = (options.filters(&video, &video.entry), options.arguments(RateControl::Edge { quantizer: 14 }));
    }
    let _ = audio.map(|audio| (audio.aac_lc_format(), audio.plain_entry()));
}

pub fn plan(input: &[u8]) {
    let Some(Tracks { video, audio, .. }) = tracks(input) else { return };
    let mut random = SplitMix64(input.iter().fold(7, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let mut below = |end: usize| i64::try_from(random.below(end)).expect("small");
    let starts: Vec<i64> = (0..=below(3)).map(|_| below(900_000)).collect();
    let Some(span) = Span::new(instant(below(500_000)), instant(500_001 + below(500_000))) else { return };
    let shown = |&start: &i64| Footage::of(instant(start), &video.table, audio.as_ref().ok());
    let Some(shown) = starts.iter().map(shown).collect::<Option<PerRecording<Footage>>>() else { return };
    let tolerances = Tolerances { gap_us: below(2) * 500_000, joint_us: below(3) * 700_000 };
    let coverage = Coverage::of(span, &shown, tolerances);
    let copyable = if below(4) == 0 { Err(EncodeReason::Requested) } else { Ok(()) };
    let points = RandomAccessPoints::default();
    let view = |&start: &i64| RecordingView {
        start: instant(start),
        table: &video.table,
        random_access: &points,
        copyable,
        audio: audio.as_ref().ok(),
    };
    let views = starts.iter().map(view).collect::<PerRecording<_>>();
    let Some(plan) = CutPlan::of(span, &coverage, &views) else { return };
    assert!(plan.times.windows(2).all(|pair| pair[0] < pair[1]), "the times of frames rise strictly");
    assert_eq!(plan.times.first(), Some(&0));
    assert!(plan.end > *plan.times.last().expect("at least one frame"), "the last frame has a duration");
    assert!(plan.locate(plan.poster()).is_some(), "the poster is one of the frames");
    let _ = (plan.counts(), plan.reasons());
}
