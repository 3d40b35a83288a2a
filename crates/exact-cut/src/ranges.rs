//! Arithmetic of byte ranges: which bytes of a file are needed, and which of them are still missing.

use std::ops::Range;

/// Sorts `ranges` and merges those that overlap, touch, or have at most `gap` bytes between them.
#[must_use]
pub fn coalesce(mut ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| (range.start, range.end));
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.end.saturating_add(gap) >= range.start => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Returns the parts of `wanted` that are not in `present`. Both are coalesced.
#[must_use]
pub fn subtract(wanted: &[Range<u64>], present: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut missing = Vec::new();
    for range in wanted {
        let mut start = range.start;
        for known in present.iter().filter(|known| known.end > range.start && known.start < range.end) {
            if known.start > start {
                missing.push(start..known.start);
            }
            start = start.max(known.end);
        }
        if start < range.end {
            missing.push(start..range.end);
        }
    }
    missing
}

/// Returns the number of bytes in `ranges`, which do not overlap.
#[must_use]
pub fn total(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subtracts_what_is_present() {
        let present = [3..5, 7..11, 17..19];
        #[allow(clippy::type_complexity)] // the columns of a table
        let table: [(&[Range<u64>], &[Range<u64>]); 5] = [
            (&[0..23], &[0..3, 5..7, 11..17, 19..23]),
            (&[4..9], &[5..7]),
            (&[7..11], &[]),
            (&[1..2, 18..20], &[1..2, 19..20]),
            (&[11..17], &[11..17]),
        ];
        for (wanted, missing) in table {
            assert_eq!(subtract(wanted, &present), missing, "{wanted:?}");
        }
    }

    proptest! {
        #[test]
        fn coalescing_loses_no_byte_and_adds_only_gaps_up_to_the_limit(
            ranges in prop::collection::vec((0_u64..200, 1_u64..30), 0..12),
            gap in 0_u64..20,
        ) {
            let ranges: Vec<Range<u64>> = ranges.into_iter().map(|(start, length)| start..start + length).collect();
            let needed: BTreeSet<u64> = ranges.iter().cloned().flatten().collect();
            let merged = coalesce(ranges, gap);
            let bytes: BTreeSet<u64> = merged.iter().cloned().flatten().collect();
            prop_assert!(needed.is_subset(&bytes));
            prop_assert_eq!(total(&merged), bytes.len() as u64);
            let added: Vec<u64> = bytes.difference(&needed).copied().collect();
            for run in added.chunk_by(|a, b| a + 1 == *b) {
                prop_assert!(run.len() as u64 <= gap, "{run:?}");
            }
            prop_assert!(merged.windows(2).all(|pair| pair[0].end + gap < pair[1].start));
        }
    }
}
