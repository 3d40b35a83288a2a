//! Which recording shows which part of a span, and what no recording shows.
//!
//! The instant in a recording's name and the length of its video track decide, not the dates of a list. Where several
//! recordings show the same instant, the one that began last is used. What no recording shows is a hole: up to a tolerance
//! a frame is held over it, beyond that it is a gap, which the clip leaves out and names. The order of the list does not
//! matter.

use std::collections::BTreeSet;

use crate::recording_id::{PerRecording, RecordingId};
use crate::time::{Span, Timestamp};

/// A part of the span that one recording shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The recording.
    pub recording: RecordingId,
    /// The part of the span.
    pub span: Span,
}

/// How recordings cover a span.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Disjoint parts of the span, in order.
    pub parts: Vec<Part>,
    /// Holes that are too long to hold a frame over, in order. They are cut out of the clip.
    pub gaps: Vec<Span>,
}

impl Coverage {
    /// Covers `span` with recordings, each given by the span that it shows. Where several show the same instant, the one
    /// that began last wins, so an overlap goes to the later recording from its start on; among equals the longer one
    /// wins, then the later one in the list. A hole of up to `gap_tolerance_us` is not a gap.
    #[must_use]
    pub fn of(span: Span, recordings: &PerRecording<Span>, gap_tolerance_us: i64) -> Self {
        let parts = parts(span, recordings);
        let gaps = holes(span, &parts)
            .into_iter()
            .filter(|hole| hole.length_us() > gap_tolerance_us || parts.is_empty())
            .collect();
        Self { parts, gaps }
    }

    /// Returns whether the end of the span lies in a gap.
    #[must_use]
    pub fn has_tail_gap(&self, span: Span) -> bool {
        self.gaps.last().is_some_and(|gap| gap.end() == span.end())
    }

    /// Returns the holes over which a frame is held.
    #[must_use]
    pub fn held(&self, span: Span) -> Vec<Span> {
        holes(span, &self.parts).into_iter().filter(|hole| !self.gaps.contains(hole)).collect()
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

/// Sweeps over the starts and ends of all recordings. The recordings that cover the current instant are kept in order of
/// preference.
fn parts(span: Span, recordings: &PerRecording<Span>) -> Vec<Part> {
    let mut turns: Vec<(Timestamp, bool, RecordingId)> = Vec::with_capacity(2 * recordings.len());
    for (id, recording) in recordings.iter() {
        if let Some(inside) = recording.intersection(span) {
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
                        last.span = longer;
                    }
                }
                _ => parts.push(Part { recording, span: shown }),
            }
        }
        since = at;
        let entry = (recordings[id].start(), recordings[id].end(), id);
        if begins {
            covering.insert(entry)
        } else {
            covering.remove(&entry)
        };
    }
    parts
}

/// Returns what lies between the parts, and between them and the ends of the span.
fn holes(span: Span, parts: &[Part]) -> Vec<Span> {
    let starts = parts.iter().map(|part| part.span.start()).chain([span.end()]);
    let ends = [span.start()].into_iter().chain(parts.iter().map(|part| part.span.end()));
    ends.zip(starts).filter_map(|(end, start)| Span::new(end, start)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: i64, to: i64) -> Span {
        Span::new(Timestamp::from_us(from), Timestamp::from_us(to)).expect("in order")
    }

    fn of(wanted: Span, recordings: &[Span], gap_tolerance_us: i64) -> Coverage {
        Coverage::of(wanted, &recordings.iter().copied().collect(), gap_tolerance_us)
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
        let held = |recordings: &[Span]| of(wanted, recordings, 7).held(wanted);
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
            let parts = of(wanted, &recordings, 3).parts;
            let total: i64 = parts.iter().map(|part| part.span.length_us()).sum::<i64>()
                + holes(wanted, &parts).iter().map(|hole| hole.length_us()).sum::<i64>();
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
