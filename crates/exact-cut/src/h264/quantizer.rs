//! How coarsely pictures were quantized: what the slice headers say (ITU-T H.264, section 7.4.3, `slice_qp_delta`).
//! Encoded pictures beside copied ones need not be finer than those.

use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::slice::SliceHeader;
use h264_reader::nal::sps::SeqParameterSet;
use h264_reader::nal::{Nal, RefNal, UnitType};

use crate::h264::nal_units::{nal_units, unit_type};
use crate::h264::parameter_sets::ParameterSets;

/// Bytes of a slice that are looked at: its header is shorter.
const MAX_HEADER: usize = 256;
/// The quantizer that `pic_init_qp_minus26` counts from.
const INITIAL: i32 = 26;

/// Returns the median quantizer of the first slices of `samples`, 0 to 51, or `None` if none can be read.
pub fn median_quantizer<'a>(sets: &ParameterSets, samples: impl Iterator<Item = &'a [u8]>) -> Option<u8> {
    let mut context = Context::new();
    for unit in &sets.avcc.sps_list {
        let sps = SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits()).ok()?;
        context.put_seq_param_set(sps);
    }
    for unit in &sets.avcc.pps_list {
        let pps = PicParameterSet::from_bits(&context, RefNal::new(unit, &[], true).rbsp_bits()).ok()?;
        context.put_pic_param_set(pps);
    }
    let mut found: Vec<u8> = samples.filter_map(|sample| of_sample(&context, sample, sets.length_size())).collect();
    found.sort_unstable();
    found.get(found.len() / 2).copied()
}

fn of_sample(context: &Context, sample: &[u8], length_size: usize) -> Option<u8> {
    let is_slice = |unit: &&[u8]| {
        use UnitType::{SliceLayerWithoutPartitioningIdr, SliceLayerWithoutPartitioningNonIdr};
        matches!(unit_type(unit), Some(SliceLayerWithoutPartitioningIdr | SliceLayerWithoutPartitioningNonIdr))
    };
    let unit = nal_units(sample, length_size).map_while(Result::ok).find(is_slice)?;
    let nal = RefNal::new(&unit[..unit.len().min(MAX_HEADER)], &[], true);
    let (slice, _, pps) = SliceHeader::from_bits(context, &mut nal.rbsp_bits(), nal.header().ok()?, None).ok()?;
    u8::try_from((INITIAL + pps.pic_init_qp_minus26 + slice.slice_qp_delta).clamp(0, 51)).ok()
}
