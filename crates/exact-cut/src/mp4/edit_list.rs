//! The edit list of a track: which parts of it are shown, and when (`elst`, ISO/IEC 14496-12, section 8.6.6).

use std::ops::Range;

use crate::mp4::boxes::Fields;
use crate::time::rescaled;

/// The most edits that are followed: each one takes a look at all samples.
const MAX_EDITS: usize = 64;

/// The edits of a track that show something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditList {
    /// Ranges of composition times that are shown, one after the other, at least one. Each comes with its shift: how many
    /// ticks later than the first range it is shown.
    pub shown: Vec<(Range<i64>, i64)>,
    /// Movie time of composition time 0, if the first edit showed the whole track.
    offset: i64,
}

impl EditList {
    /// Reads the content of an `elst` box of a track of `timescale` ticks a second. Rates are ignored, as players do; an
    /// edit that stands still (rate 0) shows nothing new. Edits beyond the 64th are ignored, too.
    #[must_use]
    pub fn read(elst: Option<&[u8]>, timescale: u32, movie_timescale: u32) -> Self {
        let ticks = |duration: u64| rescaled(i64::try_from(duration).unwrap_or(i64::MAX), movie_timescale, timescale);
        let (mut shown, mut offset, mut movie_time): (Vec<(Range<i64>, i64)>, i64, i64) = (Vec::new(), 0, 0);
        for Edit { duration, media_time, stands_still } in elst.and_then(edits).unwrap_or_default() {
            let length = ticks(duration);
            if let (Some(media_time), false) = (media_time, stands_still) {
                let shift = movie_time.saturating_sub(media_time);
                if shown.is_empty() {
                    offset = shift;
                }
                // fragmented files state 0: the edit lasts as long as the media
                let until = Some(length).filter(|&length| length > 0).and_then(|length| media_time.checked_add(length));
                shown.push((media_time..until.unwrap_or(i64::MAX), shift.saturating_sub(offset)));
            }
            movie_time = movie_time.saturating_add(length);
        }
        if shown.is_empty() {
            return Self::showing_everything();
        }
        shown.truncate(MAX_EDITS);
        Self { shown, offset }
    }

    /// Returns the list of a track without edits.
    #[must_use]
    pub fn showing_everything() -> Self {
        Self { shown: vec![(i64::MIN..i64::MAX, 0)], offset: 0 }
    }

    /// Returns the movie time of a composition time of the first edit.
    #[must_use]
    pub const fn movie_time(&self, time: i64) -> i64 {
        time.saturating_add(self.offset)
    }
}

struct Edit {
    /// In ticks of the movie.
    duration: u64,
    /// In ticks of the track; nothing is shown if `None`.
    media_time: Option<i64>,
    stands_still: bool,
}

fn edits(elst: &[u8]) -> Option<Vec<Edit>> {
    let mut fields = Fields(elst);
    let (version, _) = fields.version_and_flags()?;
    let (count, wide) = (fields.u32()?, version == 1);
    let edit = |mut fields: Fields<'_>| {
        let duration = fields.u64_if(wide)?;
        let media_time = fields.u64_if(wide)?;
        // -1 of either width
        let is_empty = media_time == u64::MAX || media_time == u64::from(u32::MAX);
        let media_time = i64::try_from(media_time).ok().filter(|_| !is_empty);
        Some(Edit { duration, media_time, stands_still: fields.i32()? == 0 })
    };
    Some(if wide {
        fields.table::<20>(count).filter_map(edit).collect()
    } else {
        fields.table::<12>(count).filter_map(edit).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: [u8; 4] = [0, 1, 0, 0];

    fn narrow(edits: &[(u32, i32)]) -> Vec<u8> {
        let count = u32::try_from(edits.len()).expect("few");
        let edits = edits.iter().flat_map(|(d, m)| [d.to_be_bytes(), m.to_be_bytes(), NORMAL].concat());
        [&[0; 4][..], &count.to_be_bytes(), &edits.collect::<Vec<_>>()].concat()
    }

    #[test]
    fn reads_empty_and_several_edits() {
        let read = |elst: &[u8]| EditList::read(Some(elst), 100, 10);
        let one = read(&narrow(&[(7, -1), (20, 30)]));
        assert_eq!((one.shown.clone(), one.movie_time(30)), (vec![(30..230, 0)], 70));
        let two = read(&narrow(&[(10, 0), (10, 300)]));
        assert_eq!(two.shown, [(0..100, 0), (300..400, -200)]);
        let endless = read(&narrow(&[(0, 5)]));
        assert_eq!(endless.shown, [(5..i64::MAX, 0)]);
        let wide = |media_time: u64| {
            [&[1, 0, 0, 0, 0, 0, 0, 1][..], &9_u64.to_be_bytes(), &media_time.to_be_bytes(), &NORMAL].concat()
        };
        assert_eq!(read(&wide(u64::MAX)), EditList::showing_everything());
        assert_eq!(read(&wide(0xffff_ffff)), EditList::showing_everything());
        assert_eq!(read(&wide(7)).shown, [(7..97, 0)]);
    }

    #[test]
    fn a_list_that_cannot_be_read_shows_everything() {
        assert_eq!(EditList::read(None, 1, 1), EditList::showing_everything());
        assert_eq!(EditList::read(Some(&[0; 3]), 1, 1), EditList::showing_everything());
        let mut claims = narrow(&[(10, 0)]);
        claims[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(EditList::read(Some(&claims), 1, 1).shown, [(0..10, 0)]);
    }
}
