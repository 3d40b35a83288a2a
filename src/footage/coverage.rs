//! Which recording shows which part of a span, and what no recording shows. Pure, and independent of the list's order.

use std::collections::BTreeSet;

use crate::time::{Span, Timestamp};

/// A part of the span, and which of the recordings shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index into the recordings that were given.
    pub recording: usize,
    /// What it shows.
    pub span: Span,
}

/// How recordings cover a span.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Disjoint, in order, inside the span.
    pub parts: Vec<Part>,
    /// Holes too long to hold a frame over, in order. Shorter ones are neither part nor gap.
    pub gaps: Vec<Span>,
}

impl Coverage {
    /// Covers `span` with `recordings`. Where several show the same instant, the one that began last wins, so an overlap
    /// (or clock drift) goes to the later recording from its start on; among equals the longer, then the later in order.
    /// A hole of up to `gap_tolerance_us`, between recordings or at either end, is no gap.
    #[must_use]
    pub fn of(span: Span, recordings: &[Span], gap_tolerance_us: i64) -> Self {
        let parts = parts(span, recordings);
        let gaps = holes(span, &parts)
            .into_iter()
            .filter(|hole| hole.length_us() > gap_tolerance_us || parts.is_empty())
            .collect();
        Self { parts, gaps }
    }

    /// Whether the span's end lies in a gap.
    #[must_use]
    pub fn tail_gap(&self, span: Span) -> bool {
        self.gaps.last().is_some_and(|gap| gap.end() == span.end())
    }
}

/// Sweeps over the starts and ends of all recordings, with those that cover the current instant in order of preference.
fn parts(span: Span, recordings: &[Span]) -> Vec<Part> {
    let mut turns: Vec<(Timestamp, bool, usize)> = Vec::with_capacity(2 * recordings.len());
    for (index, recording) in recordings.iter().enumerate() {
        if let Some(inside) = recording.intersection(span) {
            turns.push((inside.start(), true, index));
            turns.push((inside.end(), false, index));
        }
    }
    turns.sort_unstable();
    let mut parts: Vec<Part> = Vec::new();
    let mut covering: BTreeSet<(Timestamp, Timestamp, usize)> = BTreeSet::new();
    let mut since = span.start();
    for (at, begins, index) in turns {
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
        let entry = (recordings[index].start(), recordings[index].end(), index);
        if begins {
            covering.insert(entry)
        } else {
            covering.remove(&entry)
        };
    }
    parts
}

/// What lies between the parts, and between them and the span's ends.
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

    fn part(recording: usize, from: i64, to: i64) -> Part {
        Part { recording, span: span(from, to) }
    }

    #[test]
    fn table() {
        let wanted = span(100, 200);
        let r = span;
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)] // a table's columns
        let table: &[(&str, &[Span], &[Part], &[Span])] = &[
            ("nothing",                        &[],                                 &[],                                               &[r(100, 200)]),
            ("elsewhere",                      &[r(0, 100), r(200, 300)],           &[],                                               &[r(100, 200)]),
            ("all of it",                      &[r(0, 300)],                        &[part(0, 100, 200)],                              &[]),
            ("two that meet",                  &[r(0, 151), r(151, 300)],           &[part(0, 100, 151), part(1, 151, 200)],           &[]),
            ("the later wins from its start",  &[r(0, 163), r(150, 300)],           &[part(0, 100, 150), part(1, 150, 200)],           &[]),
            ("the earlier goes on after it",   &[r(0, 300), r(120, 137)],           &[part(0, 100, 120), part(1, 120, 137), part(0, 137, 200)], &[]),
            ("a hole just within",             &[r(0, 120), r(127, 300)],           &[part(0, 100, 120), part(1, 127, 200)],           &[]),
            ("a hole just over",               &[r(0, 120), r(128, 300)],           &[part(0, 100, 120), part(1, 128, 200)],           &[r(120, 128)]),
            ("held at both ends",              &[r(107, 193)],                      &[part(0, 107, 193)],                              &[]),
            ("gaps at both ends",              &[r(108, 192)],                      &[part(0, 108, 192)],                              &[r(100, 108), r(192, 200)]),
            ("the same twice",                 &[r(0, 300), r(0, 300)],             &[part(1, 100, 200)],                              &[]),
            ("same start, the longer wins",    &[r(100, 300), r(100, 150)],         &[part(0, 100, 200)],                              &[]),
        ];
        for (case, recordings, parts, gaps) in table {
            let coverage = Coverage::of(wanted, recordings, 7);
            assert_eq!((&coverage.parts[..], &coverage.gaps[..]), (*parts, *gaps), "{case}");
        }
    }

    #[test]
    fn a_span_without_footage_is_a_gap_however_short() {
        assert_eq!(Coverage::of(span(100, 101), &[], 500).gaps, [span(100, 101)]);
    }

    #[test]
    fn the_tail() {
        let wanted = span(100, 200);
        let tail = |recordings: &[Span]| Coverage::of(wanted, recordings, 7).tail_gap(wanted);
        assert!(tail(&[]));
        assert!(tail(&[span(0, 192)]));
        assert!(!tail(&[span(0, 193)]));
        assert!(!tail(&[span(108, 200)]));
    }

    fn recordings() -> impl Strategy<Value = Vec<Span>> {
        prop::collection::vec((0_i64..97, 1_i64..41).prop_map(|(from, length)| span(from, from + length)), 0..9)
    }

    proptest! {
        #[test]
        fn every_instant_is_shown_by_the_recording_that_began_last(recordings in recordings(), from in 0_i64..89, length in 1_i64..53) {
            let wanted = span(from, from + length);
            let coverage = Coverage::of(wanted, &recordings, 3);
            for t in from..from + length {
                let instant = span(t, t + 1);
                let shown: Vec<_> = coverage.parts.iter().filter(|part| part.span.intersection(instant).is_some()).collect();
                let best = recordings.iter().filter(|r| r.intersection(instant).is_some()).max_by_key(|r| (r.start(), r.end()));
                match best {
                    None => prop_assert!(shown.is_empty()),
                    Some(best) => {
                        prop_assert_eq!(shown.len(), 1, "parts are disjoint and leave nothing out");
                        prop_assert_eq!(recordings[shown[0].recording], *best);
                    }
                }
            }
            prop_assert!(coverage.parts.windows(2).all(|pair| pair[0].span.end() <= pair[1].span.start()));
            prop_assert!(coverage.parts.iter().all(|part| part.span.intersection(wanted) == Some(part.span)));
        }

        #[test]
        fn parts_and_holes_make_up_the_span(recordings in recordings(), from in 0_i64..89, length in 1_i64..53) {
            let wanted = span(from, from + length);
            let parts = Coverage::of(wanted, &recordings, 3).parts;
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
                let coverage = Coverage::of(wanted, list, 3);
                (coverage.parts.iter().map(|part| (list[part.recording], part.span)).collect(), coverage.gaps)
            };
            prop_assert_eq!(shown(&recordings), shown(&shuffled));
        }
    }
}
