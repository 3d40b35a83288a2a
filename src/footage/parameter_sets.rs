//! The parameter sets of H.264 video, as `avcC` holds them: whether pictures that use them can be copied, and how they
//! are joined with those of encoded pictures (ITU-T H.264, section 7.3.2; ISO/IEC 14496-15, section 5.3.3).

use std::collections::BTreeSet;

use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{AspectRatioInfo, ChromaFormat, FrameMbsFlags, SeqParameterSet};
use h264_reader::nal::{Nal, RefNal, UnitType};
use shiguredo_mp4::Uint;
use shiguredo_mp4::boxes::{AvccBox, SampleEntry};

use crate::footage::nal::kind;

/// The largest id of a sequence parameter set (section 7.4.2.1.1). Picture parameter sets may have larger ones.
const LARGEST_SPS_ID: u8 = 31;

/// Parameter sets that pictures can be copied with.
#[derive(Clone, Debug)]
pub struct ParameterSets {
    /// Their box.
    pub avcc: AvccBox,
    sps: SeqParameterSet,
    ids: BTreeSet<u8>,
}

impl ParameterSets {
    /// Reads those of a sample entry.
    ///
    /// # Errors
    /// Says why pictures of such a track can't be copied into a clip.
    pub fn read(entry: &SampleEntry) -> Result<Self, &'static str> {
        let SampleEntry::Avc1(avc1) = entry else { return Err("not H.264 (avc1)") };
        let avcc = avc1.avcc_box.clone();
        if avcc.sps_list.iter().chain(&avcc.pps_list).any(Vec::is_empty) {
            return Err("a parameter set is empty");
        }
        let mut context = Context::new();
        let mut ids = BTreeSet::new();
        for unit in &avcc.sps_list {
            let sps = SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits());
            let sps = sps.map_err(|_| "a sequence parameter set is unreadable")?;
            ids.insert(sps.id().id());
            context.put_seq_param_set(sps);
        }
        for unit in &avcc.pps_list {
            let pps = PicParameterSet::from_bits(&context, RefNal::new(unit, &[], true).rbsp_bits());
            let pps = pps.map_err(|_| "a picture parameter set is unreadable")?;
            ids.insert(pps.pic_parameter_set_id.id());
        }
        let [_] = &avcc.sps_list[..] else { return Err("not just one sequence parameter set") };
        let sps = context.sps().next().cloned().ok_or("no sequence parameter set")?;
        let chroma = &sps.chroma_info;
        if sps.frame_mbs_flags != FrameMbsFlags::Frames {
            return Err("interlaced");
        }
        if !matches!(avcc.avc_profile_indication, 66 | 77 | 100) {
            return Err("a profile other than Baseline, Main and High");
        }
        if avcc.avc_profile_indication == 100
            && (chroma.chroma_format != ChromaFormat::YUV420
                || chroma.bit_depth_luma_minus8 + chroma.bit_depth_chroma_minus8 > 0)
        {
            return Err("not 8 bits a sample, 4:2:0");
        }
        Ok(Self { avcc, sps, ids })
    }

    /// Bytes of the length field before each NAL unit.
    #[must_use]
    pub fn length_size(&self) -> usize {
        usize::from(self.avcc.length_size_minus_one.get()) + 1
    }

    /// Whether `unit` is a parameter set other than those in `avcC`: pictures after it may mean another.
    #[must_use]
    pub fn contradicted_by(&self, unit: &[u8]) -> bool {
        let known = match kind(unit) {
            Some(UnitType::SeqParameterSet) => &self.avcc.sps_list,
            Some(UnitType::PicParameterSet) => &self.avcc.pps_list,
            _ => return false,
        };
        // zeros behind a unit belong to the byte stream that it came in (section B.1.1)
        let bare = |unit: &[u8]| unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        !known.iter().any(|set| set[..bare(set)] == unit[..bare(unit)])
    }

    /// The encoder's name of a profile that the same decoders decode.
    #[must_use]
    pub fn profile(&self) -> &'static str {
        match self.avcc.avc_profile_indication {
            66 => "baseline",
            77 => "main",
            _ => "high",
        }
    }

    /// Whether luma uses all of 0 to 255.
    #[must_use]
    pub fn full_range(&self) -> bool {
        signal(&self.sps).0
    }

    /// An id that neither kind of parameter set has: encoded pictures take it for both.
    #[must_use]
    pub fn free_id(&self) -> Option<u8> {
        (0..=LARGEST_SPS_ID).find(|id| !self.ids.contains(id))
    }

    /// How many pictures a decoder holds back at most. Encoded pictures say the same, so that a decoder has no reason
    /// to drop what it holds where they meet (`no_output_of_prior_pics_flag`, section C.4.4).
    #[must_use]
    pub fn decoded_pictures(&self) -> u32 {
        let restrictions = self.sps.vui_parameters.as_ref().and_then(|vui| vui.bitstream_restrictions.as_ref());
        let frames =
            restrictions.map_or(self.sps.max_num_ref_frames, |restrictions| restrictions.max_dec_frame_buffering);
        frames.clamp(1, 16)
    }

    /// One box for copied and encoded pictures: the sets of both, a profile and a level that cover both.
    ///
    /// # Errors
    /// If they are not to be had in one: they share an id, or their pictures differ in kind.
    pub fn joined(&self, encoded: &Self) -> Result<AvccBox, &'static str> {
        if self.ids.intersection(&encoded.ids).next().is_some() {
            return Err("copied and encoded pictures share a parameter set's id");
        }
        if self.sps.pixel_dimensions().ok() != encoded.sps.pixel_dimensions().ok() {
            return Err("copied and encoded pictures differ in size");
        }
        if signal(&self.sps) != signal(&encoded.sps) {
            return Err("copied and encoded pictures differ in colour or pixel aspect");
        }
        let (a, b) = (self.complete(), encoded.complete());
        let sets = |one: &[Vec<u8>], other: &[Vec<u8>]| [one, other].concat();
        Ok(AvccBox {
            sps_list: sets(&a.sps_list, &b.sps_list),
            pps_list: sets(&a.pps_list, &b.pps_list),
            avc_profile_indication: a.avc_profile_indication.max(b.avc_profile_indication),
            profile_compatibility: a.profile_compatibility & b.profile_compatibility,
            avc_level_indication: a.avc_level_indication.max(b.avc_level_indication),
            chroma_format: a.chroma_format.or(b.chroma_format),
            bit_depth_luma_minus8: a.bit_depth_luma_minus8.or(b.bit_depth_luma_minus8),
            bit_depth_chroma_minus8: a.bit_depth_chroma_minus8.or(b.bit_depth_chroma_minus8),
            ..a
        })
    }

    /// The box with length fields of four bytes.
    #[must_use]
    pub fn complete(&self) -> AvccBox {
        AvccBox { length_size_minus_one: Uint::new(3), ..self.avcc.clone() }
    }
}

/// Fills in the chroma fields that files of High profiles lack if they were written before 2005; a muxer insists on them
/// (ISO/IEC 14496-15, section 5.3.3.1.2).
pub fn fill_in(avcc: &mut AvccBox) {
    if !matches!(avcc.avc_profile_indication, 100 | 110 | 122 | 144) || avcc.chroma_format.is_some() {
        return;
    }
    let sps = avcc
        .sps_list
        .first()
        .and_then(|unit| SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits()).ok());
    let chroma = sps.map(|sps| sps.chroma_info);
    let depths =
        chroma.as_ref().map_or((0, 0), |chroma| (chroma.bit_depth_luma_minus8, chroma.bit_depth_chroma_minus8));
    let format = match chroma.map(|chroma| chroma.chroma_format) {
        Some(ChromaFormat::Monochrome) => 0,
        Some(ChromaFormat::YUV422) => 2,
        Some(ChromaFormat::YUV444) => 3,
        _ => 1,
    };
    avcc.chroma_format = Some(Uint::new(format));
    avcc.bit_depth_luma_minus8 = Some(Uint::new(depths.0 & 7));
    avcc.bit_depth_chroma_minus8 = Some(Uint::new(depths.1 & 7));
}

/// What pictures must have in common to be shown alike: range and kind of colour, shape of pixels.
fn signal(sps: &SeqParameterSet) -> (bool, [u8; 3], (u16, u16)) {
    const UNSPECIFIED: u8 = 2;
    let vui = sps.vui_parameters.as_ref();
    let video = vui.and_then(|vui| vui.video_signal_type.as_ref());
    let colour = video.and_then(|video| video.colour_description.as_ref());
    let colour = colour.map_or([UNSPECIFIED; 3], |colour| {
        [colour.colour_primaries, colour.transfer_characteristics, colour.matrix_coefficients]
    });
    let aspect = vui.and_then(|vui| vui.aspect_ratio_info.as_ref()).and_then(AspectRatioInfo::get);
    (video.is_some_and(|video| video.video_full_range_flag), colour, aspect.unwrap_or((1, 1)))
}
