//! The boxes of a sample table: which bytes are the samples of a track, and when each is decoded and shown (ISO/IEC
//! 14496-12, sections 8.5 to 8.7).

use std::ops::ControlFlow;

use crate::mp4::Mp4Error;
use crate::mp4::boxes::{Fields, child, table};

/// The most samples of one track that are read.
pub const MAX_SAMPLES: u32 = 2_000_000;
/// The longest recording, in days. It keeps every product of times within an `i128`.
pub const MAX_DAYS: u64 = 7;

/// A sample of any track, as its table or its fragment lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedSample {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u32,
    /// Listed as a sync sample (`stss`).
    pub sync: bool,
    /// Decode time, in ticks.
    pub dts: i64,
    /// How long it takes until the next sample is decoded.
    pub step: Step,
    /// Composition time minus decode time, in ticks.
    pub composition_offset: i64,
    /// Number of its sample entry, counted from 0.
    pub entry: usize,
}

/// Passes the samples of a track to `take`, in decode order, until it breaks. They come from the content of `stbl`: where a
/// table is shorter than the others, the last duration goes on, samples are shown when they are decoded, and the list of
/// samples ends.
///
/// # Errors
/// [`Mp4Error`] if the table claims more samples than are read.
pub fn for_each_sample(stbl: &[u8], mut take: impl FnMut(ListedSample) -> ControlFlow<()>) -> Result<(), Mp4Error> {
    let (Some(sizes), Some(chunks)) = (sizes(stbl)?, chunk_offsets(stbl)) else { return Ok(()) };
    let repeated = |(count, value): (u32, i32)| std::iter::repeat_n(value, count as usize);
    let mut durations = runs(stbl, b"stts").flat_map(repeated);
    let mut offsets = runs(stbl, b"ctts").flat_map(repeated);
    let mut sync = sync_samples(stbl);
    let mut sizes = sizes.zip(1_u32..);
    let (mut dts, mut duration) = (0, 0);
    for (mut offset, (count, entry)) in chunks.zip(samples_per_chunk(stbl)) {
        for (size, number) in sizes.by_ref().take(count as usize) {
            duration = durations.next().unwrap_or(duration);
            let step = Step::of(duration.cast_unsigned());
            let sync = sync.as_mut().is_none_or(|listed| listed.contains(number));
            let composition_offset = offsets.next().unwrap_or(0).into();
            if take(ListedSample { offset, size, sync, dts, step, composition_offset, entry }).is_break() {
                return Ok(());
            }
            dts += step.ticks(); // less than 2³¹ times 2 million
            offset = offset.saturating_add(size.into());
        }
    }
    Ok(())
}

/// How long it takes until the next sample is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many ticks.
    Forward(u32),
    /// The clock of the camera stepped back: the duration is negative, or absurd.
    Back,
}

impl Step {
    /// Returns the meaning of a duration. One of 2³¹ or more is negative.
    #[must_use]
    pub const fn of(duration: u32) -> Self {
        if duration < 1 << 31 { Self::Forward(duration) } else { Self::Back }
    }

    /// Returns the ticks until the next sample: one if the clock stepped back.
    #[must_use]
    pub fn ticks(self) -> i64 {
        match self {
            Self::Forward(ticks) => ticks.into(),
            Self::Back => 1,
        }
    }
}

/// Returns the sizes of the samples (`stsz`, `stz2`).
fn sizes(stbl: &[u8]) -> Result<Option<Box<dyn Iterator<Item = u32> + '_>>, Mp4Error> {
    let (compact, content) = match (child(stbl, b"stsz"), child(stbl, b"stz2")) {
        (Some(stsz), _) => (false, stsz),
        (None, Some(stz2)) => (true, stz2),
        (None, None) => return Ok(None),
    };
    let mut fields = Fields(content);
    let (Some(_), Some(size), Some(count)) = (fields.u32(), fields.u32(), fields.u32()) else { return Ok(None) };
    let claimed = if !compact && size > 0 { count as usize } else { (count as usize).min(fields.0.len() * 2) };
    if claimed > MAX_SAMPLES as usize {
        return Err(Mp4Error::TooManySamples { name: "stsz", claimed: count.into() });
    }
    let halves = |byte: &u8| [u32::from(byte >> 4), u32::from(byte & 15)];
    Ok(Some(match (compact, size & 0xff) {
        (false, _) if size > 0 => Box::new(std::iter::repeat_n(size, claimed)),
        (false, _) => Box::new(fields.table::<4>(count).filter_map(|mut entry| entry.u32())),
        (true, 4) => Box::new(fields.0.iter().flat_map(halves).take(claimed)),
        (true, 8) => Box::new(fields.0.iter().map(|&byte| byte.into()).take(claimed)),
        (true, _) => Box::new(fields.table::<2>(count).filter_map(|mut entry| entry.u16().map(u32::from))),
    }))
}

/// Returns the offsets of the chunks (`stco`, `co64`).
pub(super) fn chunk_offsets(stbl: &[u8]) -> Option<Box<dyn Iterator<Item = u64> + '_>> {
    if let Some(narrow) = table::<4>(stbl, b"stco") {
        return Some(Box::new(narrow.filter_map(|mut entry| entry.u32().map(u64::from))));
    }
    Some(Box::new(table::<8>(stbl, b"co64")?.filter_map(|mut entry| entry.u64())))
}

/// Returns for each chunk the number of its samples, and that of their sample entry, counted from 0 (`stsc`). The last entry
/// goes on.
pub(super) fn samples_per_chunk(stbl: &[u8]) -> impl Iterator<Item = (u32, usize)> {
    let mut entries = table::<12>(stbl, b"stsc")
        .into_iter()
        .flatten()
        .filter_map(|mut entry| Some((entry.u32()?, entry.u32()?, (entry.u32()? as usize).saturating_sub(1))));
    let mut current = entries.next().map(|(_, count, entry)| (count, entry));
    let mut later = entries.peekable();
    (1_u32..).map_while(move |chunk| {
        while let Some((_, count, entry)) = later.next_if(|(first, ..)| *first <= chunk) {
            current = Some((count, entry));
        }
        current
    })
}

/// Returns the entries of a table of counts and signed values (`stts`, `ctts`). Offsets of version 0 are unsigned by the
/// standard; files with negative ones state that version, and no offset is as large as such would be otherwise.
pub(super) fn runs<'a>(stbl: &'a [u8], name: &[u8; 4]) -> impl Iterator<Item = (u32, i32)> + 'a {
    let runs = table::<8>(stbl, name).into_iter().flatten().filter_map(|mut entry| Some((entry.u32()?, entry.i32()?)));
    runs.filter(|(count, _)| *count > 0)
}

/// The numbers of the sync samples, which are asked for in order.
struct SyncSamples<I: Iterator<Item = u32>>(std::iter::Peekable<I>);

impl<I: Iterator<Item = u32>> SyncSamples<I> {
    fn contains(&mut self, number: u32) -> bool {
        while self.0.next_if(|&listed| listed < number).is_some() {}
        self.0.peek() == Some(&number)
    }
}

/// Returns the sync samples (`stss`), or `None` if all are.
fn sync_samples(stbl: &[u8]) -> Option<SyncSamples<impl Iterator<Item = u32>>> {
    Some(SyncSamples(table::<4>(stbl, b"stss")?.filter_map(|mut entry| entry.u32()).peekable()))
}

impl ListedSample {
    /// Returns whether the sample can be read: it lies inside a file of `object_length` bytes, and comes no later than a
    /// recording can last.
    #[must_use]
    pub fn is_present(&self, timescale: u32, object_length: u64) -> bool {
        let Self { offset, size, dts, composition_offset, .. } = *self;
        let inside = offset.checked_add(u64::from(size)).is_some_and(|end| end <= object_length);
        let max = i64::try_from(MAX_DAYS * 24 * 3600 * u64::from(timescale)).unwrap_or(i64::MAX);
        let pts = dts.checked_add(composition_offset);
        inside && (0..=max).contains(&dts) && pts.and_then(i64::checked_abs).is_some_and(|pts| pts <= max)
    }
}
