//! What the bytes of samples say for or against a plan: whether decoding may begin where `stss` nominates, and whether a
//! run that is to be copied brings parameter sets of its own along.

use crate::cut::segments::{Entries, How, Segment};
use crate::error::Error;
use crate::fetch::Fetched;
use crate::footage::nal::{entry, units};
use crate::footage::parameter_sets::ParameterSets;

/// What is known of one recording beyond its table.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Where decoding it may begin.
    pub entries: Entries,
    /// Why its samples can't be copied, if that is so.
    pub copy: Result<(), &'static str>,
    /// Its parameter sets, if it is H.264 as it can be copied.
    pub sets: Option<ParameterSets>,
}

impl Evidence {
    /// Looks at the bytes of `segment`, which have been fetched.
    ///
    /// # Errors
    /// Passing if the disk fails.
    pub fn gather(&mut self, segment: &Segment, fetched: &Fetched<'_>) -> Result<(), Error> {
        let Some(sets) = &self.sets else { return Ok(()) };
        let copied = matches!(segment.how, How::Copy { .. });
        for sample in segment.samples() {
            let look = fetched.video.table.samples[sample].sync && !self.entries.has_seen(sample);
            if !copied && !look {
                continue;
            }
            let bytes = fetched.sample(sample)?;
            if look {
                self.entries.saw(sample, entry(&bytes, sets.length_size()));
            }
            if copied {
                for unit in units(&bytes, sets.length_size()) {
                    match unit {
                        Ok(unit) if sets.contradicted_by(unit) => {
                            self.copy = Err("parameter sets among the pictures contradict those in avcC");
                        }
                        Ok(_) => {}
                        Err(reason) => self.copy = Err(reason),
                    }
                }
            }
        }
        Ok(())
    }
}
