//! The samples that a fragmented file tells of in its `moof` boxes (ISO/IEC 14496-12, section 8.8).

use shiguredo_mp4::boxes::{MoofBox, MoovBox, TrafBox, TrexBox, TrunBox};
use shiguredo_mp4::{BoxType, Decode};

use crate::footage::boxes::children;
use crate::footage::samples::{MOST_SAMPLES, Packet};

/// `tr_flags` that give each sample of a run bytes of its own: duration, size, flags, composition offset (8.8.8).
const PER_SAMPLE: u32 = 0x0f00;

/// Gives all samples of the track to `take`, in decode order.
///
/// # Errors
/// Says what can't be read, or as `take` does. Claims are checked before anything is allocated for them.
pub fn packets(
    moov: &MoovBox,
    moofs: &[(u64, Vec<u8>)],
    track_id: u32,
    mut take: impl FnMut(Packet) -> Result<(), String>,
) -> Result<(), String> {
    let trexes = moov.mvex_box.as_ref().map_or(&[][..], |mvex| &mvex.trex_boxes);
    let trex = trexes.iter().find(|trex| trex.track_id == track_id).ok_or("no trex box for the track")?;
    let mut count = 0;
    let mut decode_time = 0;
    for (at, bytes) in moofs {
        check_claims(bytes)?;
        let (moof, _) = MoofBox::decode(bytes).map_err(|error| format!("moof at byte {at}: {error}"))?;
        let mut behind = *at; // where the data of the track fragment before ends
        for traf in &moof.traf_boxes {
            let ours = traf.tfhd_box.track_id == track_id;
            let mut run = Run { base: base(traf, *at, behind), trex, traf, decode_time };
            if let (true, Some(tfdt)) = (ours, &traf.tfdt_box) {
                run.decode_time = i64::try_from(tfdt.base_media_decode_time).map_err(|_| "tfdt: too late")?;
            }
            let mut data = run.base;
            for trun in &traf.trun_boxes {
                let read = run.read(trun, &mut data)?;
                if ours {
                    count += read.len();
                    read.into_iter().try_for_each(&mut take)?;
                }
                if count > MOST_SAMPLES as usize {
                    return Err(format!("more than {MOST_SAMPLES} samples"));
                }
            }
            behind = data;
            if ours {
                decode_time = run.decode_time;
            }
        }
    }
    Ok(())
}

/// What `data_offset` counts from (8.8.7).
fn base(traf: &TrafBox, moof: u64, behind: u64) -> u64 {
    match traf.tfhd_box.base_data_offset {
        Some(stated) => stated,
        None if traf.tfhd_box.default_base_is_moof => moof,
        None => behind,
    }
}

/// The runs of one track fragment.
struct Run<'a> {
    base: u64,
    trex: &'a TrexBox,
    traf: &'a TrafBox,
    decode_time: i64,
}

impl Run<'_> {
    /// The samples of `trun`, the first of which lies at `data` unless the run says where.
    fn read(&mut self, trun: &TrunBox, data: &mut u64) -> Result<Vec<Packet>, String> {
        let defaults = &self.traf.tfhd_box;
        if let Some(offset) = trun.data_offset {
            *data = self.base.checked_add_signed(i64::from(offset)).ok_or("trun: data before the file")?;
        }
        let mut packets = Vec::with_capacity(trun.samples.len());
        for (index, sample) in trun.samples.iter().enumerate() {
            let own = sample.flags.or(defaults.default_sample_flags).unwrap_or(self.trex.default_sample_flags);
            let flags = trun.first_sample_flags.filter(|_| index == 0).unwrap_or(own);
            let size = sample.size.or(defaults.default_sample_size).unwrap_or(self.trex.default_sample_size);
            let duration =
                sample.duration.or(defaults.default_sample_duration).unwrap_or(self.trex.default_sample_duration);
            packets.push(Packet {
                offset: *data,
                size,
                sync: !flags.sample_is_non_sync_sample(),
                dts: self.decode_time,
                duration,
                composition_offset: sample.composition_time_offset.unwrap_or(0),
            });
            *data = data.checked_add(u64::from(size)).ok_or("trun: data beyond all files")?;
            self.decode_time = self.decode_time.checked_add(i64::from(duration)).ok_or("trun: too late")?;
        }
        Ok(packets)
    }
}

/// A run whose samples have no bytes of their own can claim any number of them in 20 bytes.
fn check_claims(moof: &[u8]) -> Result<(), String> {
    let named = |wanted: &'static [u8; 4]| move |(name, _): &(BoxType, &[u8])| *name == BoxType::Normal(*wanted);
    let truns = children(moof).filter(named(b"traf")).flat_map(|(_, traf)| children(traf)).filter(named(b"trun"));
    let claims = truns.filter_map(|(_, trun)| {
        let word = |at: usize| trun.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let (flags, count) = (word(8)?, word(12)?);
        (flags & PER_SAMPLE == 0).then_some(u64::from(count))
    });
    match claims.sum::<u64>() {
        claimed if claimed > u64::from(MOST_SAMPLES) => Err(format!("trun: {claimed} samples")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footage::boxes::tests::boxed;

    #[test]
    fn a_run_that_claims_samples_without_bytes_is_refused_before_it_is_read() {
        let moof = |count: u32| {
            let trun = boxed("trun", &[&[0; 4][..], &count.to_be_bytes()].concat());
            boxed("moof", &[boxed("mfhd", &[0; 8]), boxed("traf", &trun)].concat())
        };
        assert_eq!(check_claims(&moof(MOST_SAMPLES)), Ok(()));
        check_claims(&moof(MOST_SAMPLES + 1)).expect_err("too many");
        check_claims(&[0; 8]).expect("no boxes, no claims");
    }
}
