//! What a fragmented file tells of its fragments in one place: `sidx` boxes in front of the fragments (ISO/IEC 14496-12,
//! section 8.16.3), or the `mfra` box at the end of the file (sections 8.8.9 to 8.8.11).
//!
//! An index may be missing, old or wrong. So it only says where to look: what is found there must be a fragment of that time.

use std::ops::Range;

use crate::mp4::boxes::{Fields, child, children};

/// Length of `mfro`, the last box of `mfra`, in bytes.
pub const MFRO_BYTES: usize = 16;

/// A place that an index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Presentation time, in ticks of the index.
    pub time: i64,
    /// Offset in the file, in bytes.
    pub at: u64,
    /// Another index begins there, in place of a fragment.
    pub is_index: bool,
}

/// Places of fragments, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FragmentIndex {
    /// Ticks a second, if the index states them; else those of the track.
    pub timescale: Option<u32>,
    /// At least one; offsets and times rise.
    pub entries: Vec<IndexEntry>,
}

impl FragmentIndex {
    /// Reads the content of a `sidx` box that ends at the offset `end` of a file, if it is that of the track.
    #[must_use]
    pub fn of_sidx(sidx: &[u8], end: u64, track_id: u32, file_length: u64) -> Option<Self> {
        let mut fields = Fields(sidx);
        let (version, _) = fields.version_and_flags()?;
        (fields.u32()? == track_id).then_some(())?; // reference_ID
        let timescale = fields.u32().filter(|&timescale| timescale > 0)?;
        let mut time = i64::try_from(fields.u64_if(version > 0)?).ok()?;
        let mut at = end.checked_add(fields.u64_if(version > 0)?)?;
        fields.u16()?;
        let count = fields.u16()?;
        let mut entries = Vec::new();
        for mut reference in fields.table::<12>(count.into()) {
            let (kind_and_size, duration) = (reference.u32()?, reference.u32()?);
            entries.push(IndexEntry { time, at, is_index: kind_and_size >> 31 == 1 });
            at = at.checked_add(u64::from(kind_and_size & 0x7fff_ffff))?;
            time = time.checked_add(duration.into())?;
        }
        Self { timescale: Some(timescale), entries }.checked(file_length)
    }

    /// Reads what the content of an `mfra` box tells of a track.
    #[must_use]
    pub fn of_mfra(mfra: &[u8], track_id: u32, file_length: u64) -> Option<Self> {
        let tables = children(mfra).filter(|(name, _)| name == b"tfra");
        let mut entries = tables.map(|(_, tfra)| Fields(tfra)).find_map(|fields| random_access(fields, track_id))?;
        entries.dedup_by_key(|entry| entry.at); // one for each sync sample
        Self { timescale: None, entries }.checked(file_length)
    }

    /// Returns the index without places behind the end of the file, if the others are in order.
    fn checked(mut self, file_length: u64) -> Option<Self> {
        self.entries.retain(|entry| entry.at < file_length);
        let in_order = self.entries.windows(2).all(|pair| pair[0].at < pair[1].at && pair[0].time < pair[1].time);
        (in_order && !self.entries.is_empty()).then_some(self)
    }

    /// Returns whether the last place may be near the end of the file: behind it lie not many times more bytes than from one
    /// place to the next.
    #[must_use]
    pub fn may_reach_end(&self, file_length: u64) -> bool {
        const MANY: u64 = 16;
        const ALWAYS: u64 = 1 << 20;
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else { return false };
        let each = (last.at - first.at) / (self.entries.len() as u64 - 1).max(1);
        file_length - last.at <= each.saturating_mul(MANY).max(ALWAYS)
    }

    /// Replaces entry number `entry`, at which another index lies, by the entries of that one.
    pub fn expand(&mut self, entry: usize, inner: Self) {
        self.entries.splice(entry..=entry, inner.entries);
    }
}

/// Returns the bytes of `mfra`, if the last bytes of a file of `length` bytes are `mfro`.
#[must_use]
pub fn mfra_range(last_bytes: &[u8], length: u64) -> Option<Range<u64>> {
    let mfro = last_bytes.last_chunk::<MFRO_BYTES>()?;
    let mut fields = Fields(child(mfro, b"mfro")?);
    fields.version_and_flags()?;
    let start = length.checked_sub(fields.u32()?.into())?;
    Some(start..length)
}

/// Returns the entries of `tfra`, if it is that of the track.
fn random_access(mut fields: Fields<'_>, track_id: u32) -> Option<Vec<IndexEntry>> {
    let (version, _) = fields.version_and_flags()?;
    (fields.u32()? == track_id).then_some(())?;
    let lengths = fields.u32()?;
    let numbers: u32 = [4, 2, 0].map(|shift| (lengths >> shift & 3) + 1).iter().sum();
    let count = fields.u32()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (Some(time), Some(at)) = (fields.u64_if(version == 1), fields.u64_if(version == 1)) else { break };
        fields.skip(numbers as usize)?;
        entries.push(IndexEntry { time: i64::try_from(time).ok()?, at, is_index: false });
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes::boxed;

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn entry(time: i64, at: u64) -> IndexEntry {
        IndexEntry { time, at, is_index: false }
    }

    #[test]
    fn reads_both_versions_of_sidx() {
        let references = [13, 5, 0, 0x8000_0011, 7, 0, 19, 11, 0];
        let narrow = [words(&[0, 1, 90, 3, 2, 3]), words(&references)].concat();
        let wide = [words(&[1 << 24, 1, 90, 0, 3, 0, 2, 3]), words(&references)].concat();
        let inner = IndexEntry { is_index: true, ..entry(8, 115) };
        for sidx in [narrow, wide] {
            let index = FragmentIndex::of_sidx(&sidx, 100, 1, 1000).expect("an index");
            assert_eq!((index.timescale, &index.entries[..]), (Some(90), &[entry(3, 102), inner, entry(15, 132)][..]));
            let short = FragmentIndex::of_sidx(&sidx, 100, 1, 132).expect("an index");
            assert_eq!(short.entries.len(), 2, "the file ends before the third");
            assert_eq!(FragmentIndex::of_sidx(&sidx, 100, 1, 102), None);
        }
    }

    #[test]
    fn refuses_times_that_do_not_rise() {
        let sidx = words(&[0, 1, 90, 3, 2, 2, 13, 0, 0, 13, 5, 0]);
        assert_eq!(FragmentIndex::of_sidx(&sidx, 100, 1, 1000), None);
    }

    #[test]
    fn an_index_inside_an_index_is_expanded() {
        let outer = FragmentIndex { timescale: Some(1), entries: vec![entry(0, 10), entry(5, 20), entry(9, 30)] };
        let inner = FragmentIndex { timescale: Some(1), entries: vec![entry(5, 22), entry(7, 26)] };
        let mut index = outer;
        index.expand(1, inner);
        assert_eq!(index.entries, [entry(0, 10), entry(5, 22), entry(7, 26), entry(9, 30)]);
    }

    #[test]
    fn reads_the_table_of_the_track() {
        // numbers of one, two and one bytes
        let tfra = |track: u32| {
            let entries = [(0_u32, 50_u32), (3, 50), (7, 90)];
            let entries = entries.iter().flat_map(|&(time, at)| [&words(&[time, at])[..], &[1, 0, 1, 1]].concat());
            boxed(b"tfra", &[words(&[0, track, 0b00_01_00, 3]), entries.collect()].concat())
        };
        let mfra = [tfra(7), tfra(2)].concat();
        let index = FragmentIndex::of_mfra(&mfra, 2, 1000).expect("an index");
        assert_eq!((index.timescale, &index.entries[..]), (None, &[entry(0, 50), entry(7, 90)][..]));
        assert_eq!(FragmentIndex::of_mfra(&mfra, 1, 1000), None, "no such track");
    }

    #[test]
    fn finds_mfra_by_the_last_bytes() {
        let mfro = |size: u32| boxed(b"mfro", &words(&[0, size]));
        assert_eq!(mfra_range(&mfro(24), 100), Some(76..100));
        assert_eq!(mfra_range(&mfro(101), 100), None);
        assert_eq!(mfra_range(&[7; 20], 100), None);
        assert_eq!(mfra_range(&[7; 3], 100), None);
    }
}
