//! The samples of a fragmented file, as its `moof` boxes list them (ISO/IEC 14496-12, section 8.8).
//!
//! A field of a sample comes from `trun`, else from `tfhd`, else from `trex`. Data begin where `tfhd` says, else where the
//! `moof` begins, else after the data of the run before. `sidx` and `mfra` are not used: they may be missing or wrong, and
//! the chain of boxes is needed anyway.

use shiguredo_mp4::boxes::{MoofBox, MoovBox, TrafBox, TrexBox, TrunBox};
use shiguredo_mp4::{BoxType, Decode};

use crate::mp4::Mp4Error;
use crate::mp4::box_children::children;
use crate::mp4::sample_table::{ListedSample, MAX_SAMPLES};

/// `tr_flags` that give each sample bytes of its own: duration, size, flags, composition offset (section 8.8.8).
const PER_SAMPLE_FLAGS: u32 = 0x0f00;

/// Passes every sample of the track to `take`, in decode order.
///
/// # Errors
/// [`Mp4Error`] if a fragment cannot be read, or the error of `take`. Claims are checked before memory is allocated.
pub fn for_each_sample(
    moov: &MoovBox,
    moofs: &[(u64, Vec<u8>)],
    track_id: u32,
    mut take: impl FnMut(ListedSample) -> Result<(), Mp4Error>,
) -> Result<(), Mp4Error> {
    let trexes = moov.mvex_box.as_ref().map_or(&[][..], |mvex| &mvex.trex_boxes);
    let trex = trexes.iter().find(|trex| trex.track_id == track_id).ok_or(Mp4Error::NoTrex)?;
    let mut count: u64 = 0;
    let mut decode_time = 0;
    for (at, bytes) in moofs {
        check_claims(bytes)?;
        let (moof, _) = MoofBox::decode(bytes).map_err(|error| Mp4Error::decode("moof", error))?;
        let mut previous_end = *at; // where the data of the previous track fragment ends
        for traf in &moof.traf_boxes {
            let selected = traf.tfhd_box.track_id == track_id;
            let mut fragment = TrackFragment { base: data_base(traf, *at, previous_end), trex, traf, decode_time };
            if let (true, Some(tfdt)) = (selected, &traf.tfdt_box) {
                let time = i64::try_from(tfdt.base_media_decode_time);
                fragment.decode_time = time.map_err(|_| Mp4Error::FragmentOverflow { name: "tfdt" })?;
            }
            let mut data = fragment.base;
            for trun in &traf.trun_boxes {
                let samples = fragment.read(trun, &mut data)?;
                if selected {
                    count += samples.len() as u64;
                    samples.into_iter().try_for_each(&mut take)?;
                }
                if count > u64::from(MAX_SAMPLES) {
                    return Err(Mp4Error::TooManySamples { name: "moof", claimed: count });
                }
            }
            previous_end = data;
            if selected {
                decode_time = fragment.decode_time;
            }
        }
    }
    Ok(())
}

/// Returns the offset that `data_offset` counts from (section 8.8.7).
fn data_base(traf: &TrafBox, moof: u64, previous_end: u64) -> u64 {
    match traf.tfhd_box.base_data_offset {
        Some(stated) => stated,
        None if traf.tfhd_box.default_base_is_moof => moof,
        None => previous_end,
    }
}

/// One `traf` box, with the defaults that hold for it.
struct TrackFragment<'a> {
    base: u64,
    trex: &'a TrexBox,
    traf: &'a TrafBox,
    decode_time: i64,
}

impl TrackFragment<'_> {
    /// Reads the samples of `trun`. The first one lies at `data` unless the run states an offset.
    fn read(&mut self, trun: &TrunBox, data: &mut u64) -> Result<Vec<ListedSample>, Mp4Error> {
        let overflow = Mp4Error::FragmentOverflow { name: "trun" };
        let defaults = &self.traf.tfhd_box;
        if let Some(offset) = trun.data_offset {
            *data = self.base.checked_add_signed(i64::from(offset)).ok_or(overflow.clone())?;
        }
        let mut samples = Vec::with_capacity(trun.samples.len());
        for (index, sample) in trun.samples.iter().enumerate() {
            let own = sample.flags.or(defaults.default_sample_flags).unwrap_or(self.trex.default_sample_flags);
            let flags = trun.first_sample_flags.filter(|_| index == 0).unwrap_or(own);
            let size = sample.size.or(defaults.default_sample_size).unwrap_or(self.trex.default_sample_size);
            let duration =
                sample.duration.or(defaults.default_sample_duration).unwrap_or(self.trex.default_sample_duration);
            samples.push(ListedSample {
                offset: *data,
                size,
                sync: !flags.sample_is_non_sync_sample(),
                dts: self.decode_time,
                duration,
                composition_offset: sample.composition_time_offset.unwrap_or(0),
            });
            *data = data.checked_add(u64::from(size)).ok_or(overflow.clone())?;
            self.decode_time = self.decode_time.checked_add(i64::from(duration)).ok_or(overflow.clone())?;
        }
        Ok(samples)
    }
}

/// Refuses runs that claim too many samples without bytes of their own: 20 bytes can claim any number of them.
fn check_claims(moof: &[u8]) -> Result<(), Mp4Error> {
    let named = |wanted: &'static [u8; 4]| move |(name, _): &(BoxType, &[u8])| *name == BoxType::Normal(*wanted);
    let truns = children(moof).filter(named(b"traf")).flat_map(|(_, traf)| children(traf)).filter(named(b"trun"));
    let claims = truns.filter_map(|(_, trun)| {
        let word = |at: usize| trun.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let (flags, count) = (word(8)?, word(12)?);
        (flags & PER_SAMPLE_FLAGS == 0).then_some(u64::from(count))
    });
    match claims.sum::<u64>() {
        claimed if claimed > u64::from(MAX_SAMPLES) => Err(Mp4Error::TooManySamples { name: "trun", claimed }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::box_children::tests::boxed;

    #[test]
    fn refuses_a_run_that_claims_samples_without_bytes_before_it_is_read() {
        let moof = |count: u32| {
            let trun = boxed("trun", &[&[0; 4][..], &count.to_be_bytes()].concat());
            boxed("moof", &[boxed("mfhd", &[0; 8]), boxed("traf", &trun)].concat())
        };
        assert_eq!(check_claims(&moof(MAX_SAMPLES)), Ok(()));
        check_claims(&moof(MAX_SAMPLES + 1)).expect_err("too many");
        check_claims(&[0; 8]).expect("no boxes, no claims");
    }
}
