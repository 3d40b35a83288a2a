//! Finds the fragment of a time: by an index, or by reading at interpolated places.
//!
//! An index is used as long as what lies at the places that it names agrees with it. Without one, 1 MiB is read where the
//! fragment should lie, and the fragments that are found there narrow the search.

use std::ops::Range;

use crate::error::Error;
use crate::fragmented::PartReader;
use crate::fragmented::chain::{Found, Fragment};
use crate::mp4::fragment_index::{FragmentIndex, MFRO_BYTES, mfra_range};
use crate::source::READ_AHEAD;
use crate::time::rescaled;

/// Bytes that are read at a place to find a fragment.
const PROBE: u64 = 1 << 20;
/// The most reads of that size in which not a single fragment begins: fragments are seldom longer than that.
const MAX_PROBES_IN_A_ROW: usize = 8;
/// The most reads before a search is given up. All `moof` boxes are read then.
const MAX_READS: usize = 36;
/// The most `sidx` boxes that are looked at for that of the pictures.
const MAX_INDICES: usize = 4;
/// The most fragments behind the last one of an index.
const MAX_BEHIND_INDEX: usize = 16;
/// The most indices inside indices that are read for one time.
const MAX_NESTED: usize = 4;
/// How far times of an index may be off, in seconds: they are presentation times, perhaps after an edit list.
const INDEX_OFF_S: i64 = 1;

impl PartReader<'_> {
    /// Returns the last fragment that has pictures, and those behind it. From then on an index is used, if there is one that is
    /// right about it. `indices` are the `sidx` boxes at the start of the file.
    pub(super) async fn find_tail(&mut self, indices: &[Range<u64>]) -> Result<Option<Vec<Fragment>>, Error> {
        let sidx = indices.iter().take(MAX_INDICES).map(|sidx| Some(sidx.start));
        for sidx in sidx.chain([None]) {
            let index = match sidx {
                Some(at) => self.read_sidx(at).await?,
                None => self.read_mfra().await?,
            };
            let is_plausible =
                |index: &FragmentIndex| self.begins_with_head(index) && index.may_reach_end(self.chain.length());
            let Some(index) = index.filter(is_plausible) else { continue };
            self.index = Some(index);
            let last = self.entry_at(i64::MAX).await?;
            if let Some((time, at)) = last
                && let Some(tail) = self.chain.until_end(at, MAX_BEHIND_INDEX).await?
                && let Some(first) = tail.iter().find_map(|fragment| self.times(fragment))
                && self.agrees(time, &first)
            {
                return Ok(self.last_with_pictures(tail));
            }
            self.index = None;
        }
        self.search_tail().await
    }

    /// Returns the offset of the fragment that holds what is decoded at `time`, or of one shortly before, or `None` if it cannot
    /// be found.
    pub(super) async fn locate(&mut self, time: i64, tail: &Fragment) -> Result<Option<u64>, Error> {
        if let Some((told, at)) = self.entry_at(time).await? {
            if let Some(found) = self.first_picture(at).await?
                && self.agrees(told, &found)
            {
                return Ok(Some(at));
            }
            self.index = None;
        }
        self.search(time, tail).await
    }

    /// Returns about where the first fragment begins that comes at `time` or later, at least behind `from`.
    pub(super) fn estimated_end(&self, time: i64, from: &Fragment, tail: &Fragment) -> u64 {
        if let Some(index) = &self.index {
            let later = index.entries.iter().find(|entry| self.time_of(index, entry.time) >= time);
            return later.map_or(tail.at, |entry| entry.at).max(from.end);
        }
        let (Some(from_time), Some(tail_time)) = (self.times(from), self.times(tail)) else { return from.end };
        let place = interpolated((from.at, from_time.start), (tail.at, tail_time.start), time);
        place.clamp(from.end, tail.at.max(from.end))
    }

    async fn read_sidx(&mut self, at: u64) -> Result<Option<FragmentIndex>, Error> {
        let length = self.chain.length();
        let sidx = self.chain.content(at, b"sidx").await?;
        Ok(sidx.and_then(|(sidx, end)| FragmentIndex::of_sidx(&sidx, end, self.track_id, length)))
    }

    async fn read_mfra(&mut self) -> Result<Option<FragmentIndex>, Error> {
        let length = self.chain.length();
        // the index itself often comes with its last box
        let from = length.saturating_sub(READ_AHEAD);
        let last = self.chain.read(from..length).await?;
        let last = last.last_chunk::<MFRO_BYTES>().map_or(&[][..], |mfro| mfro);
        let Some(mfra) = mfra_range(last, length) else { return Ok(None) };
        let content = self.chain.content(mfra.start, b"mfra").await?;
        Ok(content.and_then(|(mfra, _)| FragmentIndex::of_mfra(&mfra, self.track_id, length)))
    }

    /// Returns whether the first place of an index is the file's first fragment.
    fn begins_with_head(&self, index: &FragmentIndex) -> bool {
        let (first, last) = (self.head.first(), self.head.last());
        let (Some(first), Some(last), Some(entry)) = (first, last, index.entries.first()) else { return false };
        let place = if index.timescale.is_some() { 0..=first.at } else { last.at..=last.at };
        entry.is_index || place.contains(&entry.at)
    }

    /// Returns the last place that the index names for `time` or earlier, with its time, or `None` without an index. Indices
    /// inside the index are read.
    pub(super) async fn entry_at(&mut self, time: i64) -> Result<Option<(i64, u64)>, Error> {
        for _ in 0..MAX_NESTED {
            let Some(index) = &self.index else { return Ok(None) };
            let later = index.entries.partition_point(|entry| self.time_of(index, entry.time) <= time);
            let number = later.saturating_sub(1);
            let entry = index.entries[number];
            if !entry.is_index {
                return Ok(Some((self.time_of(index, entry.time), entry.at)));
            }
            let inner = self.read_sidx(entry.at).await?;
            match (inner, &mut self.index) {
                (Some(inner), Some(index)) if inner.timescale == index.timescale => index.expand(number, inner),
                _ => self.index = None,
            }
        }
        self.index = None;
        Ok(None)
    }

    /// Returns the time of the track that an index means. Its first place is the first fragment.
    fn time_of(&self, index: &FragmentIndex, time: i64) -> i64 {
        let after = time.saturating_sub(index.entries.first().map_or(0, |first| first.time));
        let after = index.timescale.map_or(after, |timescale| rescaled(after, timescale, self.timescale));
        self.head.iter().find_map(|fragment| self.times(fragment)).map_or(0, |head| head.start).saturating_add(after)
    }

    fn agrees(&self, told: i64, found: &Range<i64>) -> bool {
        let off = INDEX_OFF_S * i64::from(self.timescale);
        (found.start.saturating_sub(off)..=found.end.saturating_add(off)).contains(&told)
    }

    /// Returns when the first fragment with pictures at a place comes.
    async fn first_picture(&mut self, mut at: u64) -> Result<Option<Range<i64>>, Error> {
        for _ in 0..MAX_BEHIND_INDEX {
            let Found::Fragment(fragment) = self.chain.fragment(at).await? else { return Ok(None) };
            if let Some(times) = self.times(&fragment) {
                return Ok(Some(times));
            }
            at = fragment.end;
        }
        Ok(None)
    }

    fn last_with_pictures(&self, mut fragments: Vec<Fragment>) -> Option<Vec<Fragment>> {
        let last = fragments.iter().rposition(|fragment| self.times(fragment).is_some())?;
        Some(fragments.split_off(last))
    }

    /// Searches the last fragment with pictures from the end of the file backwards.
    async fn search_tail(&mut self) -> Result<Option<Vec<Fragment>>, Error> {
        let mut start = self.chain.length();
        for _ in 0..MAX_PROBES_IN_A_ROW {
            let end = start;
            start = start.saturating_sub(PROBE);
            for at in self.candidates(start..end).await?.into_iter().rev() {
                let Some(chain) = self.chain.until_end(at, MAX_BEHIND_INDEX).await? else { continue };
                if let Some(tail) = self.last_with_pictures(chain) {
                    return Ok(Some(tail));
                }
            }
            if start == 0 || self.chain.reads > MAX_READS {
                break;
            }
        }
        Ok(None)
    }

    /// Returns where `moof` stands in `range`, as if boxes began there.
    async fn candidates(&mut self, range: Range<u64>) -> Result<Vec<u64>, Error> {
        let end = (range.end + 8).min(self.chain.length()); // a header may lie across the end
        let bytes = self.chain.read(range.start..end).await?;
        let names = bytes.windows(8).zip(range.start..range.end).filter(|(header, _)| &header[4..] == b"moof");
        Ok(names.map(|(_, at)| at).collect())
    }

    /// Searches the fragment of `time` between the first one and `tail`.
    async fn search(&mut self, time: i64, tail: &Fragment) -> Result<Option<u64>, Error> {
        let Some(mut low) = self.head.iter().rfind(|head| self.times(head).is_some()).cloned() else { return Ok(None) };
        let Some(tail_time) = self.times(tail) else { return Ok(None) };
        let mut high = (tail.at, tail_time.start);
        for turn in 0_u64.. {
            let low_time = self.times(&low).unwrap_or_default();
            if time < low_time.end || low.end >= high.0 {
                return Ok(Some(low.at));
            }
            if self.chain.reads > MAX_READS {
                break;
            }
            let place = match turn % 4 {
                3 => low.end.midpoint(high.0), // the bit rate is too uneven for proportions
                _ => interpolated((low.at, low_time.start), high, time),
            };
            let start = place.saturating_sub(PROBE / 2).clamp(low.end, high.0);
            let found = self.fragments_from(start, &low, high, tail).await?;
            let Some(first) = found.iter().find_map(|fragment| Some((fragment.at, self.times(fragment)?.start))) else {
                high.0 = start;
                continue;
            };
            if first.1 > time {
                high = first;
                // nothing begins between the place that was looked at and this fragment
                high.0 = if start > low.end { start.max(low.end) } else { return Ok(Some(low.at)) };
                continue;
            }
            let is_early = |fragment: &&Fragment| self.times(fragment).is_some_and(|times| times.start <= time);
            let Some(early) = found.iter().rfind(is_early).cloned() else { break };
            let has_later = found.last().and_then(|last| self.times(last)).is_some_and(|times| times.start > time);
            low = early;
            if has_later {
                return Ok(Some(low.at));
            }
        }
        Ok(None)
    }

    /// Returns the fragments that begin in the first 1 MiB from `start` on in which any begins before `high`. Each is one that
    /// others follow in order, and lies between `low` and `high` in time.
    async fn fragments_from(
        &mut self,
        start: u64,
        low: &Fragment,
        high: (u64, i64),
        tail: &Fragment,
    ) -> Result<Vec<Fragment>, Error> {
        let mut window = start..(start + PROBE).min(high.0);
        for _ in 0..MAX_PROBES_IN_A_ROW {
            for at in self.candidates(window.clone()).await? {
                let mut found: Vec<Fragment> = Vec::new();
                let mut at = at;
                while at < window.end {
                    let Found::Fragment(fragment) = self.chain.fragment(at).await? else { break };
                    let before = found.last().unwrap_or(low);
                    if !self.follows(before, &fragment) || !self.follows(&fragment, tail) {
                        break;
                    }
                    at = fragment.end;
                    found.push(*fragment);
                }
                let is_followed = match (found.last(), at) {
                    (Some(_), at) if at == high.0 || at == tail.at => true,
                    (Some(last), at) if at >= window.end => {
                        let next = self.chain.fragment(at).await?;
                        matches!(&next, Found::Fragment(next) if next.at == tail.at || self.follows(last, next))
                    }
                    _ => false,
                };
                if is_followed {
                    return Ok(found);
                }
            }
            if window.end >= high.0 {
                break;
            }
            window = window.end..(window.end + PROBE).min(high.0);
        }
        Ok(Vec::new())
    }
}

/// Returns the offset at which something of that time should lie, if bytes between two places pass evenly.
fn interpolated(low: (u64, i64), high: (u64, i64), time: i64) -> u64 {
    let (bytes, ticks) = (i128::from(high.0.saturating_sub(low.0)), i128::from(high.1) - i128::from(low.1));
    let after = (i128::from(time) - i128::from(low.1)).clamp(0, ticks.max(0));
    low.0 + u64::try_from(bytes * after / ticks.max(1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_between_places() {
        assert_eq!(interpolated((100, 5), (170, 12), 7), 120);
        assert_eq!(interpolated((100, 5), (170, 12), 3), 100, "before the first");
        assert_eq!(interpolated((100, 5), (170, 12), 99), 170, "behind the last");
        assert_eq!(interpolated((100, 5), (170, 5), 5), 100, "no time between");
    }
}
