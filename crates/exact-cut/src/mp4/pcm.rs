//! The samples of a track of PCM. Each PCM sample is a sample of the file, millions of them in ten minutes, so a table of
//! them is not made: consecutive ones of a chunk are taken together (ISO/IEC 14496-12, section 8.7.4). What `stsz` states
//! is not read: `QuickTime` writes 1 there, whatever the size is.

use std::ops::ControlFlow;

use crate::mp4::Mp4Error;
use crate::mp4::sample_boxes::{ListedSample, MAX_SAMPLES, Step, chunk_offsets, runs, samples_per_chunk};

/// PCM samples that are taken together: as many as an AAC frame has.
const TOGETHER: u32 = 1024;

/// Passes the samples of `stbl` to `take` until it breaks, some PCM samples at once. One of all channels has `frame_bytes`.
///
/// # Errors
/// [`Mp4Error`] if the table claims more samples than are read.
pub fn for_each_packet(
    stbl: &[u8],
    frame_bytes: u32,
    mut take: impl FnMut(ListedSample) -> ControlFlow<()>,
) -> Result<(), Mp4Error> {
    let Some(chunks) = chunk_offsets(stbl) else { return Ok(()) };
    // all PCM samples last equally long
    let duration = runs(stbl, b"stts").next().map_or(1, |(_, duration)| duration.cast_unsigned().max(1));
    let (mut dts, mut packets) = (0_i64, 0);
    for (mut offset, (mut left, entry)) in chunks.zip(samples_per_chunk(stbl)) {
        while left > 0 {
            let count = left.min(TOGETHER);
            left -= count;
            let (size, ticks) = (count.saturating_mul(frame_bytes), count.saturating_mul(duration));
            let step = Step::Forward(ticks);
            if take(ListedSample { offset, size, sync: true, dts, step, composition_offset: 0, entry }).is_break() {
                return Ok(());
            }
            offset = offset.saturating_add(size.into());
            dts = dts.saturating_add(ticks.into());
            packets += 1;
            if packets > MAX_SAMPLES {
                return Err(Mp4Error::TooManySamples { name: "stsc", claimed: packets.into() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes::boxed;

    #[allow(clippy::trivially_copy_pass_by_ref)] // as byte strings are written
    fn words(name: &[u8; 4], words: &[u32]) -> Vec<u8> {
        boxed(name, &[0].iter().chain(words).flat_map(|word: &u32| word.to_be_bytes()).collect::<Vec<_>>())
    }

    fn packets(per_chunk: u32, chunks: &[u32]) -> Result<Vec<(u64, u32, i64)>, Mp4Error> {
        let count = u32::try_from(chunks.len()).expect("few");
        let offsets: Vec<u32> = [count].iter().chain(chunks).copied().collect();
        let stbl =
            [words(b"stts", &[1, 7, 1]), words(b"stsc", &[1, 1, per_chunk, 1]), words(b"stco", &offsets)].concat();
        let mut packets = Vec::new();
        for_each_packet(&stbl, 2, |sample| {
            packets.push((sample.offset, sample.size, sample.dts));
            ControlFlow::Continue(())
        })?;
        Ok(packets)
    }

    #[test]
    fn takes_samples_of_a_chunk_together() {
        let expected = [(70, 2048, 0), (2118, 26, 1024), (9000, 2048, 1037), (11_048, 26, 2061)];
        assert_eq!(packets(1037, &[70, 9000]), Ok(expected.to_vec()));
        assert_eq!(packets(0, &[70, 9000]), Ok(Vec::new()));
    }

    #[test]
    fn refuses_a_chunk_that_claims_too_much() {
        packets(u32::MAX, &[70]).expect_err("four billion samples");
    }
}
