//! Reads of a fragmented file only what a span needs: the first fragment, the last one and those of the span.
//!
//! The first fragment has the clock of the recording, the last one its end. In between, the fragments of the span are found
//! by an index (`sidx`, `mfra`) or by a search, and their bytes are fetched together with their `moof` boxes: the clip needs
//! them anyway. The table then lists the samples of the span alone, so nothing can take what was not read for a hole.
//!
//! Nothing that a file says of itself is believed before it agrees with what lies there. Where anything does not, all `moof`
//! boxes are read, one after the other.

mod chain;
mod locate;

use std::ops::Range;
use std::path::Path;

use crate::deadline::Deadline;
use crate::error::Error;
use crate::fragmented::chain::{ChainReader, Found, Fragment};
use crate::mp4::box_finder::FragmentedStart;
use crate::mp4::fragment_index::FragmentIndex;
use crate::mp4::tracks::Tracks;
use crate::source::PinnedObject;
use crate::sparse_copy::SparseCopy;
use crate::time::{Span, Timestamp, rescaled};

/// Smaller files are read as a whole, in bytes: that takes few requests, too.
pub const MIN_LENGTH: u64 = 2 << 20;
/// How much earlier than wanted the part begins, in seconds: audio often lies a little beside the pictures of its time.
const LEAD_IN_S: f64 = 0.5;
/// The least audio around the wanted part, in microseconds.
const AUDIO_MARGIN_US: i64 = 50_000;
/// Times that the part is extended before all is read. Each extension is twice as long as the one before.
const MAX_EXTENSIONS: u32 = 6;
/// The most fragments at the start that are read for one with pictures.
const MAX_HEAD: usize = 8;
/// How far from its ends a recording counts as near to them, in tolerances of joints. Where recordings meet, they are compared
/// up to two tolerances back, and may lie three tolerances beside each other.
const REACH: i64 = 4;

/// What is wanted of recordings.
#[derive(Clone, Copy, Debug)]
pub struct WantedPart<'a> {
    /// The span of the clip.
    pub span: Span,
    /// How far the name of a recording may be off from the end of the one before, in microseconds.
    pub joint_us: i64,
    /// A folder on the disk for local copies.
    pub folder: &'a Path,
}

/// What was read of a file.
#[derive(Debug)]
pub struct Part {
    /// The tracks, of which only the samples of the wanted part are listed.
    pub tracks: Tracks,
    /// The bytes that were read.
    pub copy: SparseCopy,
}

/// Times in ticks of the video track, as composition times; `None` where the part reaches to the first or the last fragment.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    from: Option<i64>,
    to: Option<i64>,
}

/// Reads a part of one file.
#[derive(Debug)]
struct PartReader<'a> {
    chain: ChainReader<'a>,
    moov: &'a [u8],
    track_id: u32,
    timescale: u32,
    /// What decode times count from.
    base: i64,
    /// The first fragments, up to the first one that has pictures.
    head: Vec<Fragment>,
    index: Option<FragmentIndex>,
}

/// Reads the part of a fragmented file that is wanted of a recording whose name holds the instant `recording_start`, or returns
/// `None` if all of the file must be read for it. `known` are bytes of the file that were read before, with their offset.
///
/// # Errors
/// The error of the source or the disk.
pub async fn read_part(
    object: &dyn PinnedObject,
    start: FragmentedStart<'_>,
    known: (u64, &[u8]),
    recording_start: Timestamp,
    wanted: WantedPart<'_>,
    deadline: Deadline,
) -> Result<Option<Part>, Error> {
    let FragmentedStart { moov, first, indices } = start;
    let length = object.length();
    let Some(track_id) = Tracks::video_id_of_fragments(moov, length) else { return Ok(None) };
    let mut chain = ChainReader::new(object, moov, track_id, wanted.folder, deadline)?;
    chain.keep(known.1, known.0)?;
    let Some(head) = read_head(&mut chain, first).await? else { return Ok(None) };
    let Ok(tracks) = Tracks::read(moov, &boxes(&head), length, None) else { return Ok(None) };
    if tracks.edits != 1 || tracks.video_id != track_id {
        return Ok(None);
    }
    let (timescale, base) = (tracks.video.table.timescale, tracks.base);
    let mut reader = PartReader { chain, moov, track_id, timescale, base, head, index: None };
    let Some(tail) = reader.find_tail(indices).await? else { return Ok(None) };
    let tracks = reader.read(&tail, recording_start, wanted).await?;
    let copy = reader.chain.into_copy();
    Ok(tracks.map(|tracks| Part { tracks, copy }))
}

/// Reads the first fragments, up to the first one that has pictures.
async fn read_head(chain: &mut ChainReader<'_>, first: u64) -> Result<Option<Vec<Fragment>>, Error> {
    let (mut head, mut at) = (Vec::new(), first);
    while head.len() < MAX_HEAD {
        let Found::Fragment(fragment) = chain.fragment(at).await? else { return Ok(None) };
        at = fragment.end;
        let has_pictures = fragment.summary.track.is_some();
        head.push(*fragment);
        if has_pictures {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// Returns the offsets and contents of `moof` boxes.
fn boxes<'a>(fragments: impl IntoIterator<Item = &'a Fragment>) -> Vec<(u64, Vec<u8>)> {
    fragments.into_iter().map(|fragment| (fragment.at, fragment.moof.clone())).collect()
}

impl PartReader<'_> {
    /// Reads the wanted part, and returns the tracks, or `None` if what is found does not agree.
    async fn read(
        &mut self,
        tail: &[Fragment],
        start: Timestamp,
        wanted: WantedPart<'_>,
    ) -> Result<Option<Tracks>, Error> {
        let Some(first_of_tail) = tail.first() else { return Ok(None) };
        let Some(Bounds { from, to }) = self.bounds(tail, start, wanted) else { return Ok(None) };
        let second = i64::from(self.timescale);
        #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // half a second
        let lead_in = (LEAD_IN_S * second as f64) as i64;
        let (mut locate, mut until) = (from.map(|from| from - lead_in), to);
        for extension in 0..MAX_EXTENSIONS {
            let at = match locate {
                Some(time) => self.locate(time, first_of_tail).await?,
                None => self.head.first().map(|first| first.at),
            };
            let Some(at) = at else { return Ok(None) };
            let Some((fragments, end)) = self.part(at, until, tail).await? else { return Ok(None) };
            let begins = self.head.first().is_some_and(|first| first.at == at);
            let listed = at..end;
            let others = self.head.iter().filter(|fragment| fragment.at < at);
            let behind = tail.iter().filter(|fragment| fragment.at >= end);
            let all: Vec<&Fragment> = others.chain(&fragments).chain(behind).collect();
            if !self.are_in_order(&all) {
                return Ok(None);
            }
            let tracks = Tracks::read(self.moov, &boxes(all.iter().copied()), self.chain.length(), Some(listed)).ok();
            let (lacks_before, lacks_behind) = match &tracks {
                Some(tracks) => lacks(tracks, Bounds { from, to }),
                None => (!begins, begins),
            };
            if !lacks_before && !lacks_behind {
                return Ok(tracks);
            }
            let further = second << extension;
            if lacks_before {
                locate = from.map(|from| from - lead_in - further).filter(|_| !begins);
            }
            if lacks_behind {
                until = to.map(|to| to + further);
            }
        }
        Ok(None)
    }

    /// Returns which times are wanted, by the length of the recording.
    fn bounds(&self, tail: &[Fragment], start: Timestamp, wanted: WantedPart<'_>) -> Option<Bounds> {
        let (first, last) = (self.head.last()?, tail.first()?);
        let is_apart = first.end <= last.at && self.follows(first, last);
        let all: Vec<&Fragment> = self.head.iter().chain(tail).collect();
        let listed = self.head.first()?.at..first.end;
        is_apart.then_some(())?;
        let tracks = Tracks::read(self.moov, &boxes(all), self.chain.length(), Some(listed)).ok()?;
        let table = &tracks.video.table;
        let length_us = table.us_after_start(table.beyond.end_pts?);
        let us = |instant: Timestamp| instant.as_us().saturating_sub(start.as_us());
        let (from, to) = (us(wanted.span.start()), us(wanted.span.end()));
        let reach = wanted.joint_us.saturating_mul(REACH);
        let near_start = from <= reach;
        let near_end = to >= length_us - reach;
        let from = if near_end { from.min(length_us - reach) } else { from };
        let to = if near_start { to.max(reach) } else { to };
        let ticks = |us: i64| table.origin.saturating_add(rescaled(us, 1_000_000, self.timescale));
        Some(Bounds { from: (!near_start).then(|| ticks(from)), to: (!near_end).then(|| ticks(to)) })
    }

    /// Reads the fragments from `at` up to the first one whose pictures all come at `until` or later, or to the end of the file.
    /// Returns them and where the last one ends, or `None` if they do not follow each other.
    async fn part(
        &mut self,
        mut at: u64,
        until: Option<i64>,
        tail: &[Fragment],
    ) -> Result<Option<(Vec<Fragment>, u64)>, Error> {
        let Some(first_of_tail) = tail.first() else { return Ok(None) };
        let mut fragments: Vec<Fragment> = Vec::new();
        let mut fetched = at;
        if let Some(until) = until {
            self.entry_at(until).await?; // an index inside the index may hold the end
        }
        loop {
            let Found::Fragment(fragment) = self.chain.fragment(at).await? else { return Ok(None) };
            if fragment.at == first_of_tail.at {
                self.chain.fetch(fragment.at..self.chain.length()).await?;
                fragments.extend(tail.iter().cloned());
                return Ok(Some((fragments, self.chain.length())));
            }
            if fragment.at > first_of_tail.at {
                return Ok(None);
            }
            let first_pts = fragment.summary.track.map(|track| track.first_pts - self.base);
            let is_last = until.is_some_and(|until| first_pts.is_some_and(|pts| pts >= until));
            if !is_last && fragment.end > fetched {
                fetched = match until {
                    Some(until) => self.estimated_end(until, &fragment, first_of_tail),
                    None => first_of_tail.at,
                };
                self.chain.fetch(fragment.at..fetched).await?;
            }
            at = fragment.end;
            fragments.push(*fragment);
            if is_last {
                return Ok(Some((fragments, at)));
            }
        }
    }

    /// Returns when the pictures of a fragment are decoded, if it has any.
    fn times(&self, fragment: &Fragment) -> Option<Range<i64>> {
        let track = fragment.summary.track?;
        let start = track.decode_time - self.base;
        Some(start..start.saturating_add(track.duration))
    }

    /// Returns whether one fragment may lie somewhere behind another one.
    fn follows(&self, before: &Fragment, fragment: &Fragment) -> bool {
        let times = self.times(before).zip(self.times(fragment));
        let in_time = times.is_none_or(|(before, times)| before.start < times.start);
        // some muxers do not count fragments
        let counted = before.summary.sequence < fragment.summary.sequence;
        let uncounted = self.head.iter().all(|first| first.summary.sequence == fragment.summary.sequence);
        before.end <= fragment.at
            && in_time
            && (counted || uncounted && before.summary.sequence == fragment.summary.sequence)
    }

    /// Returns whether fragments follow each other, and time passes among them as it does in the whole file. Where it passes more
    /// slowly there, the clock was set back in between, and only all fragments tell by how much.
    fn are_in_order(&self, fragments: &[&Fragment]) -> bool {
        let with_pictures: Vec<&Fragment> =
            fragments.iter().copied().filter(|fragment| self.times(fragment).is_some()).collect();
        let follow = |fragments: &[&Fragment]| fragments.windows(2).all(|pair| self.follows(pair[0], pair[1]));
        if !follow(fragments) || !follow(&with_pictures) {
            return false;
        }
        let rate = |from: &Fragment, to: &Fragment| -> Option<(i128, i128)> {
            let (start, end) = self.times(from).zip(self.times(to))?;
            let count = to.summary.sequence.checked_sub(from.summary.sequence).filter(|&count| count > 0)?;
            Some((i128::from(end.start - start.start), i128::from(count)))
        };
        let (Some(first), Some(last)) = (with_pictures.first(), with_pictures.last()) else { return false };
        let Some((whole, count)) = rate(first, last) else { return true };
        let inside = with_pictures.get(1..with_pictures.len().saturating_sub(1)).unwrap_or_default();
        let inside = inside.first().zip(inside.last()).and_then(|(from, to)| rate(from, to));
        inside.is_none_or(|(part, of_part)| whole * of_part * 4 >= part * count * 3)
    }
}

/// Returns whether tracks lack some of what is wanted: before what they list, and behind it.
fn lacks(tracks: &Tracks, Bounds { from, to }: Bounds) -> (bool, bool) {
    let table = &tracks.video.table;
    let last = table.frames.len() - 1;
    let (mut before, mut behind) =
        (from.is_some_and(|from| table.shown_at(0) > from), to.is_some_and(|to| table.shown_at(last) < to));
    if let Ok(audio) = &tracks.audio {
        let us = |at: i64| rescaled(at, audio.timescale, 1_000_000);
        let first = audio.frames.first().map_or(i64::MAX, |first| us(first.at));
        before |= from.is_some_and(|from| first > table.us_after_start(from) - AUDIO_MARGIN_US);
        behind |= to.is_some_and(|to| us(audio.end) < table.us_after_start(to) + AUDIO_MARGIN_US);
    }
    (before && table.beyond.first_pts.is_some(), behind && table.beyond.end_pts.is_some())
}

#[cfg(test)]
mod test_film;
#[cfg(test)]
mod tests;
