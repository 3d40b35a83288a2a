//! Puts what was found and planned into a request's document.

use std::ops::Range;

use crate::cut::plan::{Plan, joined};
use crate::cut::segments::{How, Segment};
use crate::cut::sound;
use crate::footage::coverage::{self, Coverage};
use crate::survey::{Opened, Survey};
use crate::time::{Span, rescaled};
use crate::trace::document::{Clip, Document, Part, Piece, Recording, Stretch};

impl Document {
    pub(super) fn stored(&mut self, gaps: &[Span]) {
        self.mode = Some("stored");
        self.gaps = gaps.iter().copied().map(Stretch::from).collect();
    }

    pub(super) fn surveyed(&mut self, span: Span, survey: &Survey, coverage: &Coverage) {
        let opened = survey.opened.iter().map(|opened| Recording {
            name: opened.recording.name.clone(),
            shows: Some(opened.span.into()),
            bytes: opened.version.length,
        });
        let absent = survey.absent.iter().map(|name| Recording { name: name.clone(), shows: None, bytes: 0 });
        self.recordings = opened.chain(absent).collect();
        self.bytes.recordings = self.recordings.iter().map(|recording| recording.bytes).sum();
        let part = |part: &coverage::Part| Part { recording: part.recording, shows: part.span.into() };
        self.parts = coverage.parts.iter().map(part).collect();
        self.gaps = coverage.gaps.iter().copied().map(Stretch::from).collect();
        let ends = [span.start()].into_iter().chain(coverage.parts.iter().map(|part| part.span.end()));
        let starts = coverage.parts.iter().map(|part| part.span.start()).chain([span.end()]);
        let holes = ends.zip(starts).filter_map(|(end, start)| Span::new(end, start));
        self.held = holes.filter(|hole| !coverage.gaps.contains(hole)).map(Stretch::from).collect();
    }

    pub(super) fn planned(&mut self, plan: &Plan, opened: &[Opened], poster: &(usize, Range<usize>)) {
        let (copied, encoded) = plan.counts();
        self.mode = Some(match (copied, encoded) {
            (_, 0) => "copy",
            (0, _) => "encode",
            _ => "splice",
        });
        self.why = Some(plan.reasons()).filter(|why| !why.is_empty());
        let mut before = 0;
        self.segments = plan.segments.iter().map(|segment| piece(plan, opened, segment, &mut before)).collect();
        self.clip = Some(Clip {
            frames: plan.times.len(),
            copied,
            encoded,
            length_us: clip_us(plan, plan.end),
            poster: plan.poster(),
        });
        self.sound = plan.sound.as_ref().map(|sound| match sound.how {
            sound::How::Copy(_) => "copy",
            sound::How::Encode { .. } => "encode",
        });
        self.bytes.needed = needed(plan, opened, poster);
    }
}

/// The clip's time, in microseconds.
fn clip_us(plan: &Plan, ticks: i64) -> i64 {
    rescaled(ticks, plan.timescale, 1_000_000)
}

/// `before` counts the frames of the clip that come before the segment.
fn piece(plan: &Plan, opened: &[Opened], segment: &Segment, before: &mut usize) -> Piece {
    let Opened { recording, video, .. } = &opened[segment.recording];
    let table = &video.table;
    let frames = segment.frames.clone();
    let wall = |pts: i64| recording.starts.as_us() + rescaled(pts - table.first_pts(), table.timescale, 1_000_000);
    let first = *before;
    *before += frames.len();
    let (how, why) = match segment.how {
        How::Copy { .. } => ("copy", None),
        How::Encode { why, .. } => ("encode", Some(why)),
    };
    Piece {
        recording: segment.recording,
        how,
        why,
        frames: frames.len(),
        shows: Stretch { start_us: wall(table.shown_at(frames.start)), end_us: wall(table.frame_end(frames.end - 1)) },
        in_clip: Stretch {
            start_us: clip_us(plan, plan.times[first]),
            end_us: clip_us(plan, plan.times.get(*before).copied().unwrap_or(plan.end)),
        },
        bytes: table.samples[segment.samples()].iter().map(|sample| u64::from(sample.size)).sum(),
    }
}

/// Bytes of recordings that a clip and its thumbnails are made of, each counted once.
fn needed(plan: &Plan, opened: &[Opened], poster: &(usize, Range<usize>)) -> u64 {
    let bytes = |offset: u64, size: u32| offset..offset + u64::from(size);
    let of_one = |(index, Opened { video, sound, .. }): (usize, &Opened)| -> u64 {
        let segments = plan.segments.iter().map(|segment| (segment.recording, segment.samples()));
        let samples = segments.chain([poster.clone()]).filter(|(recording, _)| *recording == index);
        let samples = samples.flat_map(|(_, samples)| &video.table.samples[samples]);
        let packets = plan.sound.iter().flat_map(|sound| sound.packets(index));
        let packets = packets.flat_map(|packets| sound.iter().flat_map(move |sound| &sound.packets[packets.clone()]));
        let read = samples.map(|sample| bytes(sample.offset, sample.size));
        let read = read.chain(packets.map(|packet| bytes(packet.offset, packet.size)));
        joined(read.collect(), 0).iter().map(|range| range.end - range.start).sum()
    };
    opened.iter().enumerate().map(of_one).sum()
}
