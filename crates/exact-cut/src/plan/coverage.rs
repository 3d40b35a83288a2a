//! Which recording shows which part of a span, and what no recording shows.
//!
//! The instant in a recording's name and the length of its video track decide, not the dates of a list. An instant maps to
//! one place in the footage, and later instants never map to earlier places: so clips of adjacent spans hold every frame
//! once. Where two recordings are one film (see [`super::joints`]), instants before the second one's start map at most to
//! the joint, and from it on into the second one. Where recordings overlap by more, the one that began last is used.
//!
//! What no recording shows is a hole: up to a tolerance a frame is held over it, beyond that it is a gap, which the clip
//! leaves out and names. The hole of a joint is neither. The order of the list does not matter.

use std::collections::BTreeSet;

use crate::plan::footage::Footage;
use crate::plan::joints::{Joint, joints};
use crate::recording_id::{PerRecording, RecordingId};
use crate::time::{Span, Timestamp};

/// How long a hole may be that is not a gap, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerances {
    /// The longest hole over which a frame is held.
    pub gap_us: i64,
    /// How far the name of a recording may be off from the end of the one before; 0 if names are exact.
    pub joint_us: i64,
}

/// A part of the span that one recording shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The recording.
    pub recording: RecordingId,
    /// The part of the span.
    pub span: Span,
    /// What is shown of the recording, by its own clock: frames that begin in it. At a joint it may be longer than `span`.
    pub footage: Span,
    /// How much later the clip shows the footage than its own clock says, in microseconds: less for each gap before it,
    /// more or less for each joint before it.
    pub shift_us: i64,
}

/// How recordings cover a span.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Disjoint parts of the span, in order.
    pub parts: Vec<Part>,
    /// Holes that are too long to hold a frame over, in order. They are cut out of the clip.
    pub gaps: Vec<Span>,
    /// Holes over which a frame is held, in order.
    pub held: Vec<Span>,
    /// Joints that the span crosses or touches, in order.
    pub joints: Vec<Joint>,
    /// Gaps that are holes inside a recording: nothing will ever fill them.
    lost: Vec<Span>,
}

impl Coverage {
    /// Covers `span` with recordings, each given by what it shows. Where several show the same instant, the one that began
    /// last wins, so a large overlap goes to the later recording from its start on; among equals the longer one wins, then
    /// the later one in the list.
    #[must_use]
    pub fn of(span: Span, recordings: &PerRecording<Footage>, tolerances: Tolerances) -> Self {
        let joints = joints(recordings, tolerances.joint_us);
        let mut coverage = Self { parts: parts(span, recordings), ..Self::default() };
        if coverage.parts.is_empty()
            && let Some((joint, part)) = inside_joint(span, &joints)
        {
            coverage.joints.push(joint);
            coverage.parts.push(part);
        }
        coverage.follow_joints(span, &joints, tolerances);
        let is_lost = |gap: &&Span| {
            let mut holes = recordings.values().flat_map(|footage| &footage.holes);
            holes.any(|hole| hole.intersection(**gap) == Some(**gap))
        };
        coverage.lost = coverage.gaps.iter().filter(is_lost).copied().collect();
        coverage
    }

    /// Extends parts to the ends of their recordings where these are joined to the next ones, and sorts the holes.
    fn follow_joints(&mut self, span: Span, joints: &[Joint], Tolerances { gap_us, .. }: Tolerances) {
        let (mut shift_us, mut shown_until, mut shown): (i64, Timestamp, Option<RecordingId>) = (0, span.start(), None);
        let (is_empty, parts) = (self.parts.is_empty(), std::mem::take(&mut self.parts));
        for mut part in parts {
            let joint = joints.iter().find(|joint| joint.after == part.recording && joint.start == part.span.start());
            let hides_start = |joint: &Joint| joint.end <= span.start() && joint.start > span.start();
            let joint = joint.filter(|joint| shown.map_or(hides_start(joint), |shown| shown == joint.before));
            if let Some(joint) = joint {
                if shown.is_some() {
                    shift_us -= joint.off_us();
                }
                self.joints.push(*joint);
            } else if let Some(hole) = Span::new(shown_until, part.span.start()) {
                if hole.length_us() > gap_us {
                    self.gaps.push(hole);
                    shift_us -= hole.length_us();
                } else {
                    self.held.push(hole);
                }
            }
            part.shift_us = shift_us;
            let next = joints.iter().find(|joint| joint.before == part.recording && joint.start == part.span.end());
            if let Some(footage) = next.and_then(|joint| Span::new(part.footage.start(), joint.end)) {
                part.footage = footage; // the joint is reached, so the recording is shown to its end
            }
            (shown_until, shown) = (part.span.end(), Some(part.recording));
            self.parts.push(part);
        }
        let tail = Span::new(shown_until, span.end());
        let at_end = |joint: &&Joint| {
            let ends_in_hole = joint.end == shown_until && joint.end < span.end() && joint.start >= span.end();
            let is_reached = joint.start == span.end() && joint.end > span.end();
            Some(joint.before) == shown && (ends_in_hole || is_reached)
        };
        match (tail, joints.iter().find(at_end)) {
            (_, Some(joint)) => self.joints.push(*joint),
            (Some(hole), None) if hole.length_us() > gap_us || is_empty => self.gaps.push(hole),
            (Some(hole), None) => self.held.push(hole),
            (None, None) => {}
        }
    }

    /// Returns whether the end of the span lies in a gap.
    #[must_use]
    pub fn has_tail_gap(&self, span: Span) -> bool {
        self.gaps.last().is_some_and(|gap| gap.end() == span.end())
    }

    /// Returns whether a frame is held at the end of the span.
    #[must_use]
    pub fn is_held_to_end(&self, span: Span) -> bool {
        self.held.last().is_some_and(|hole| hole.end() == span.end())
    }

    /// Returns whether a frame is held at the start of the span.
    #[must_use]
    pub fn is_held_from_start(&self, span: Span) -> bool {
        self.held.first().is_some_and(|hole| hole.start() == span.start())
    }

    /// Returns whether footage of that gap may still come: the gap is not a hole inside a recording.
    #[must_use]
    pub fn may_be_filled(&self, gap: &Span) -> bool {
        !self.lost.contains(gap)
    }

    /// Returns whether two neighbouring parts, given by number, are one film.
    #[must_use]
    pub fn are_joined(&self, one: usize, other: usize) -> bool {
        let (Some(first), Some(second)) = (self.parts.get(one.min(other)), self.parts.get(one.max(other))) else {
            return false;
        };
        self.joints.iter().any(|joint| joint.before == first.recording && joint.after == second.recording)
    }

    /// Returns the recording that shows most of the span; of equals, the first.
    #[must_use]
    pub fn main_recording(&self) -> Option<RecordingId> {
        let shown = |recording: RecordingId| -> i64 {
            self.parts.iter().filter(|part| part.recording == recording).map(|part| part.span.length_us()).sum()
        };
        let recordings: BTreeSet<RecordingId> = self.parts.iter().map(|part| part.recording).collect();
        recordings.into_iter().rev().max_by_key(|&recording| shown(recording))
    }
}

/// Sweeps over the starts and ends of all recordings and their holes. The recordings that cover the current instant are kept
/// in order of preference.
fn parts(span: Span, recordings: &PerRecording<Footage>) -> Vec<Part> {
    let mut turns: Vec<(Timestamp, bool, RecordingId)> = Vec::with_capacity(2 * recordings.len());
    for (id, Footage { span: shown, holes }) in recordings.iter() {
        let starts = [shown.start()].into_iter().chain(holes.iter().map(|hole| hole.end()));
        let ends = holes.iter().map(|hole| hole.start()).chain([shown.end()]);
        for inside in starts.zip(ends).filter_map(|(start, end)| Span::new(start, end)?.intersection(span)) {
            turns.push((inside.start(), true, id));
            turns.push((inside.end(), false, id));
        }
    }
    turns.sort_unstable();
    let mut parts: Vec<Part> = Vec::new();
    let mut covering: BTreeSet<(Timestamp, Timestamp, RecordingId)> = BTreeSet::new();
    let mut since = span.start();
    for (at, begins, id) in turns {
        if let (Some(&(.., recording)), Some(shown)) = (covering.last(), Span::new(since, at)) {
            match parts.last_mut() {
                Some(last) if last.recording == recording && last.span.end() == since => {
                    if let Some(longer) = Span::new(last.span.start(), at) {
                        (last.span, last.footage) = (longer, longer);
                    }
                }
                _ => parts.push(Part { recording, span: shown, footage: shown, shift_us: 0 }),
            }
        }
        since = at;
        let entry = (recordings[id].span.start(), recordings[id].span.end(), id);
        if begins {
            covering.insert(entry)
        } else {
            covering.remove(&entry)
        };
    }
    parts
}

/// Returns the part of a span that lies wholly in the hole of a joint: it shows the second recording's first frame. Its
/// footage ends where that frame begins, so that it is the one that follows.
fn inside_joint(span: Span, joints: &[Joint]) -> Option<(Joint, Part)> {
    let joint = joints.iter().find(|joint| joint.end <= span.start() && joint.start >= span.end())?;
    let before = Timestamp::from_us(joint.start.as_us() - span.length_us());
    let footage = Span::new(before, joint.start)?;
    Some((*joint, Part { recording: joint.after, span, footage, shift_us: 0 }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span::new(Timestamp::from_us(from), Timestamp::from_us(to)).expect("in order")
    }

    /// Covers `wanted` with recordings whose names are exact.
    fn of(wanted: Span, recordings: &[Span], gap_us: i64) -> Coverage {
        with_joints(wanted, recordings, gap_us, 0)
    }

    fn with_joints(wanted: Span, recordings: &[Span], gap_us: i64, joint_us: i64) -> Coverage {
        let recordings = recordings.iter().copied().map(Footage::from).collect();
        Coverage::of(wanted, &recordings, Tolerances { gap_us, joint_us })
    }

    /// Parts as plain numbers: index of the recording, start and end.
    fn numbers(coverage: &Coverage) -> Vec<(usize, Span)> {
        coverage.parts.iter().map(|part| (part.recording.index(), part.span)).collect()
    }

    #[test]
    fn covers_a_span_as_the_table_says() {
        let wanted = span(100, 200);
        let r = span;
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)] // the columns of a table
        let table: &[(&str, &[Span], &[(usize, Span)], &[Span])] = &[
            ("nothing",                        &[],                                 &[],                                               &[r(100, 200)]),
            ("elsewhere",                      &[r(0, 100), r(200, 300)],           &[],                                               &[r(100, 200)]),
            ("all of it",                      &[r(0, 300)],                        &[(0, r(100, 200))],                              &[]),
            ("two that meet",                  &[r(0, 151), r(151, 300)],           &[(0, r(100, 151)), (1, r(151, 200))],           &[]),
            ("the later wins from its start",  &[r(0, 163), r(150, 300)],           &[(0, r(100, 150)), (1, r(150, 200))],           &[]),
            ("the earlier goes on after it",   &[r(0, 300), r(120, 137)],           &[(0, r(100, 120)), (1, r(120, 137)), (0, r(137, 200))], &[]),
            ("a hole just within",             &[r(0, 120), r(127, 300)],           &[(0, r(100, 120)), (1, r(127, 200))],           &[]),
            ("a hole just over",               &[r(0, 120), r(128, 300)],           &[(0, r(100, 120)), (1, r(128, 200))],           &[r(120, 128)]),
            ("held at both ends",              &[r(107, 193)],                      &[(0, r(107, 193))],                              &[]),
            ("gaps at both ends",              &[r(108, 192)],                      &[(0, r(108, 192))],                              &[r(100, 108), r(192, 200)]),
            ("the same twice",                 &[r(0, 300), r(0, 300)],             &[(1, r(100, 200))],                              &[]),
            ("same start, the longer wins",    &[r(100, 300), r(100, 150)],         &[(0, r(100, 200))],                              &[]),
        ];
        for (case, recordings, parts, gaps) in table {
            let coverage = of(wanted, recordings, 7);
            assert_eq!((&numbers(&coverage)[..], &coverage.gaps[..]), (*parts, *gaps), "{case}");
        }
    }

    #[test]
    fn a_span_without_footage_is_a_gap_of_any_length() {
        assert_eq!(of(span(100, 101), &[], 500).gaps, [span(100, 101)]);
    }

    #[test]
    fn only_a_gap_at_the_end_is_a_tail_gap() {
        let wanted = span(100, 200);
        let tail = |recordings: &[Span]| of(wanted, recordings, 7).has_tail_gap(wanted);
        assert!(tail(&[]));
        assert!(tail(&[span(0, 192)]));
        assert!(!tail(&[span(0, 193)]));
        assert!(!tail(&[span(108, 200)]));
    }

    #[test]
    fn a_hole_within_the_tolerance_is_held_and_a_longer_one_is_not() {
        let wanted = span(100, 200);
        let held = |recordings: &[Span]| of(wanted, recordings, 7).held;
        assert_eq!(held(&[span(0, 300)]), []);
        assert_eq!(held(&[span(0, 120), span(127, 150), span(158, 193)]), [span(120, 127), span(193, 200)]);
        assert_eq!(held(&[]), []);
    }

    #[test]
    fn the_main_recording_shows_most_of_the_span_and_is_the_first_of_equals() {
        let main = |recordings: &[Span]| of(span(100, 200), recordings, 7).main_recording().map(RecordingId::index);
        assert_eq!(main(&[]), None);
        assert_eq!(main(&[span(0, 160), span(160, 300)]), Some(0));
        assert_eq!(main(&[span(0, 140), span(140, 300)]), Some(1));
        assert_eq!(main(&[span(0, 150), span(150, 300)]), Some(0));
        // the first shows 30 before and 30 after the second
        assert_eq!(main(&[span(100, 200), span(130, 170)]), Some(0));
    }

    /// What is shown of each recording, by its own clock, and by how much the clip shifts it.
    fn shown(coverage: &Coverage) -> Vec<(usize, Span, i64)> {
        coverage.parts.iter().map(|part| (part.recording.index(), part.footage, part.shift_us)).collect()
    }

    #[test]
    fn a_joint_shows_the_first_recording_to_its_end_and_then_the_second() {
        let r = span;
        let early = [r(0, 100), r(95, 200)];
        let late = [r(0, 100), r(105, 200)];
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)] // the columns of a table
        let table: &[(&str, [Span; 2], Span, &[(usize, Span, i64)], &[Span], &[Span], &[i64])] = &[
            ("early: across",                   early, r(90, 110), &[(0, r(90, 100), 0), (1, r(95, 110), 5)],   &[], &[], &[-5]),
            ("early: before the second",        early, r(90, 94),  &[(0, r(90, 94), 0)],                        &[], &[], &[]),
            ("early: up to the second",         early, r(90, 95),  &[(0, r(90, 100), 0)],                       &[], &[], &[-5]),
            ("early: from the second on",       early, r(95, 99),  &[(1, r(95, 99), 0)],                        &[], &[], &[]),
            ("late: across",                    late,  r(90, 110), &[(0, r(90, 100), 0), (1, r(105, 110), -5)], &[], &[], &[5]),
            ("late: up to the first's end",     late,  r(90, 100), &[(0, r(90, 100), 0)],                       &[], &[], &[]),
            ("late: into the hole",             late,  r(90, 103), &[(0, r(90, 100), 0)],                       &[], &[], &[5]),
            ("late: up to the second",          late,  r(90, 105), &[(0, r(90, 100), 0)],                       &[], &[], &[5]),
            ("late: out of the hole",           late,  r(103, 110), &[(1, r(105, 110), 0)],                     &[], &[], &[5]),
            ("late: inside the hole",           late,  r(101, 104), &[(1, r(102, 105), 0)],                     &[], &[], &[5]),
            ("late: before and behind: gaps",   late,  r(-9, 210), &[(0, r(0, 100), -9), (1, r(105, 200), -14)], &[r(-9, 0), r(200, 210)], &[], &[5]),
            ("late: before and behind: held",   late,  r(-2, 202), &[(0, r(0, 100), 0), (1, r(105, 200), -5)],  &[], &[r(-2, 0), r(200, 202)], &[5]),
        ];
        for (case, recordings, wanted, expected, gaps, held, off) in table {
            let coverage = with_joints(*wanted, recordings, 7, 5);
            assert_eq!(shown(&coverage), *expected, "{case}");
            assert_eq!((&coverage.gaps[..], &coverage.held[..]), (*gaps, *held), "{case}");
            assert_eq!(coverage.joints.iter().map(|joint| joint.off_us()).collect::<Vec<_>>(), *off, "{case}");
        }
    }

    #[test]
    fn a_hole_inside_a_recording_is_a_gap_that_nothing_will_fill() {
        let recording = Footage { span: span(0, 300), holes: vec![span(120, 150)] };
        let of = |wanted: Span, others: &[Span]| {
            let others = others.iter().copied().map(Footage::from);
            let all = [recording.clone()].into_iter().chain(others).collect();
            Coverage::of(wanted, &all, Tolerances { gap_us: 7, joint_us: 0 })
        };
        let across = of(span(100, 200), &[]);
        assert_eq!(shown(&across), [(0, span(100, 120), 0), (0, span(150, 200), -30)]);
        assert_eq!(across.gaps, [span(120, 150)]);
        assert!(!across.may_be_filled(&across.gaps[0]));
        let tail = of(span(100, 140), &[]);
        assert_eq!((tail.gaps.as_slice(), tail.may_be_filled(&span(120, 140))), (&[span(120, 140)][..], false));
        // another recording shows some of it
        let other = of(span(100, 200), &[span(110, 140)]);
        assert_eq!(shown(&other), [(0, span(100, 110), 0), (1, span(110, 140), 0), (0, span(150, 200), -10)]);
        assert_eq!(other.gaps, [span(140, 150)]);
        let behind = of(span(290, 320), &[]);
        assert!(behind.may_be_filled(&span(300, 320)));
    }

    fn recordings() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0_i64..97, 1_i64..41).prop_map(|(from, length)| span(from, from + length)), 0..9)
    }

    proptest! {
        #[test]
        fn every_instant_is_shown_by_the_recording_that_began_last(recordings in recordings(), from in 0_i64..89, length in 1_i64..53) {
            let wanted = span(from, from + length);
            let coverage = of(wanted, &recordings, 3);
            for t in from..from + length {
                let instant = span(t, t + 1);
                let shown: Vec<_> = coverage.parts.iter().filter(|part| part.span.intersection(instant).is_some()).collect();
                let best = recordings.iter().filter(|r| r.intersection(instant).is_some()).max_by_key(|r| (r.start(), r.end()));
                match best {
                    None => prop_assert!(shown.is_empty()),
                    Some(best) => {
                        prop_assert_eq!(shown.len(), 1, "parts are disjoint and complete");
                        prop_assert_eq!(recordings[shown[0].recording.index()], *best);
                    }
                }
            }
            prop_assert!(coverage.parts.windows(2).all(|pair| pair[0].span.end() <= pair[1].span.start()));
            prop_assert!(coverage.parts.iter().all(|part| part.span.intersection(wanted) == Some(part.span)));
        }

        #[test]
        fn parts_and_holes_make_up_the_span(recordings in recordings(), from in 0_i64..89, length in 1_i64..53) {
            let wanted = span(from, from + length);
            let Coverage { parts, gaps, held, .. } = of(wanted, &recordings, 3);
            let total: i64 = [&gaps, &held].into_iter().flatten().chain(parts.iter().map(|part| &part.span))
                .map(|span| span.length_us()).sum();
            prop_assert_eq!(total, length);
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(
            (recordings, shuffled) in recordings().prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
        ) {
            let wanted = span(11, 83);
            let shown = |list: &[Span]| -> (Vec<(Span, Span)>, Vec<Span>) {
                let coverage = of(wanted, list, 3);
                (coverage.parts.iter().map(|part| (list[part.recording.index()], part.span)).collect(), coverage.gaps)
            };
            prop_assert_eq!(shown(&recordings), shown(&shuffled));
        }
    }
}
