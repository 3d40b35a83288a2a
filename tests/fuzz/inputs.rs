//! What is done with an input: all that the function would do with it before it calls anybody.

use cameras_service_generate_clip::cut::orientation::Orientation;
use cameras_service_generate_clip::cut::picture::{Frame, Picture};
use cameras_service_generate_clip::cut::plan::{Plan, Source};
use cameras_service_generate_clip::cut::segments::Entries;
use cameras_service_generate_clip::footage::coverage::Coverage;
use cameras_service_generate_clip::footage::index::Index;
use cameras_service_generate_clip::footage::nal;
use cameras_service_generate_clip::footage::parameter_sets::ParameterSets;
use cameras_service_generate_clip::footage::recording::{NameFormat, Recording};
use cameras_service_generate_clip::footage::tracks::Tracks;
use cameras_service_generate_clip::request::Request;
use cameras_service_generate_clip::time::{Span, Timestamp};
use serde_json::Value;

use crate::mutate::Dice;

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

#[cfg(feature = "function")]
pub fn event(input: &[u8]) {
    let Ok(event) = serde_json::from_slice::<Value>(input) else { return };
    if let Ok(messages) = cameras_service_generate_clip::handler::messages(event) {
        assert!(messages.iter().all(|(id, _)| !id.is_empty()), "an empty id fails the whole batch");
    }
}

fn instant(us: i64) -> Timestamp {
    Timestamp::from_us(us)
}

pub fn recordings(input: &[u8]) {
    let Ok(entries) = serde_json::from_slice::<Vec<Value>>(input) else { return };
    let format = NameFormat::new("%Y%m%dT%H%M%S%f", input.len().is_multiple_of(2)).expect("a format");
    let span = Span::new(instant(1_537_119_017_000_000), instant(1_537_119_018_000_000)).expect("in order");
    for recording in entries.iter().filter_map(|entry| Recording::listed(entry, &format).ok()) {
        assert!(!recording.name.is_empty() && !matches!(recording.name.as_str(), "." | ".."));
        let _ = recording.may_show(span);
    }
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

/// The tracks of a file, read as the function reads one.
fn tracks(input: &[u8]) -> Option<Tracks> {
    let mut index = Index::new(input.len() as u64);
    while let Some(wanted) = index.wants() {
        let at = |place: u64| usize::try_from(place).expect("within the file");
        index.take(input.get(at(wanted.start)..at(wanted.end)).expect("only what is there is wanted").to_vec()).ok()?;
    }
    index.tracks().ok()
}

pub fn moov(input: &[u8]) {
    let Some(Tracks { video, sound }) = tracks(input) else { return };
    let _ = (video.table.rate(), video.table.length_us(), video.table.first_pts());
    assert!(!video.table.frames.is_empty(), "a table without frames is none");
    for frame in 0..video.table.frames.len() {
        assert!(video.table.frame_end(frame) >= video.table.frame(frame).pts);
    }
    let inside = |offset: u64, size: u32| offset + u64::from(size) <= input.len() as u64;
    assert!(video.table.samples.iter().all(|sample| inside(sample.offset, sample.size)), "a sample outside the file");
    let sets = ParameterSets::read(&video.entry);
    if let Ok(sets) = &sets {
        let _ = (sets.free_id(), sets.complete(), sets.joined(sets));
        for sample in &video.table.samples {
            let from = usize::try_from(sample.offset).expect("within the file");
            let bytes = &input[from..from + sample.size as usize];
            let _ = nal::entry(bytes, sets.length_size());
            for unit in nal::units(bytes, sets.length_size()).flatten() {
                let _ = sets.contradicted_by(unit);
            }
        }
    }
    if let Ok(frame) = Frame::of(&video) {
        let _ = Orientation::of(&video.matrix).map(|orientation| frame.height_for(300, orientation));
    }
    let picture = Picture::like(&video, sets.as_ref().ok());
    let _ = (picture.filters(&video), picture.encoder());
    let _ = sound.map(|sound| (sound.format(), sound.is_aac()));
}

pub fn plan(input: &[u8]) {
    let Some(Tracks { video, sound }) = tracks(input) else { return };
    let mut dice = Dice(input.iter().fold(7, |sum, &byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte))));
    let mut below = |end: usize| i64::try_from(dice.below(end)).expect("small");
    let starts: Vec<i64> = (0..=below(3)).map(|_| below(900_000)).collect();
    let Some(span) = Span::new(instant(below(500_000)), instant(500_001 + below(500_000))) else { return };
    let shown = |&start: &i64| Span::new(instant(start), instant(start.saturating_add(video.table.length_us())));
    let Some(shown) = starts.iter().map(shown).collect::<Option<Vec<Span>>>() else { return };
    let coverage = Coverage::of(span, &shown, below(2) * 500_000);
    let (entries, copy) = (Entries::default(), if below(4) == 0 { Err("for some reason") } else { Ok(()) });
    let source = |&start: &i64| Source {
        starts: instant(start),
        table: &video.table,
        entries: &entries,
        copy,
        sound: sound.as_ref().ok(),
    };
    let sources: Vec<Source<'_>> = starts.iter().map(source).collect();
    let Some(plan) = Plan::of(span, &coverage, &sources) else { return };
    assert!(plan.times.windows(2).all(|pair| pair[0] < pair[1]), "times that do not rise");
    assert_eq!(plan.times.first(), Some(&0));
    assert!(plan.end > *plan.times.last().expect("at least one frame"), "the last frame is shown");
    assert!(plan.locate(plan.poster()).is_some(), "the poster is one of the frames");
    let _ = (plan.counts(), plan.reasons());
}
