//! The parameter sets of an H.264 track, as `avcC` holds them: whether its pictures can be copied into a clip, and how
//! they share one sample entry with encoded pictures (ITU-T H.264, section 7.3.2; ISO/IEC 14496-15, section 5.3.3).
//!
//! Copied and encoded pictures need different parameter sets, but a track with two sample entries stops Chromium at the
//! joint, and encoded pictures that reuse the camera's ids in-band break the rule of `avc1`. So the encoder gets an id
//! that no set of the camera uses, and one `avcC` holds the sets of both.

use std::collections::BTreeSet;

use h264_reader::Context;
use h264_reader::nal::pps::PicParameterSet;
use h264_reader::nal::sps::{AspectRatioInfo, ChromaFormat, FrameMbsFlags, SeqParameterSet};
use h264_reader::nal::{Nal, RefNal, UnitType};
use shiguredo_mp4::Uint;
use shiguredo_mp4::boxes::AvccBox;

use crate::h264::colour::Colour;
use crate::h264::nal_units::unit_type;
use crate::time::gcd;

/// The largest id of a sequence parameter set (section 7.4.2.1.1). Picture parameter sets may have larger ones.
const MAX_SPS_ID: u8 = 31;

/// Why the pictures of a track cannot be copied into a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCopyable {
    /// The codec is another one, or its configuration cannot be read.
    #[error("the codec is not H.264, or avcC cannot be read")]
    Codec,
    /// A parameter set has no bytes.
    #[error("a parameter set is empty")]
    EmptySet,
    /// A sequence parameter set cannot be read.
    #[error("a sequence parameter set cannot be read")]
    UnreadableSps,
    /// A picture parameter set cannot be read.
    #[error("a picture parameter set cannot be read")]
    UnreadablePps,
    /// The sample entry does not hold exactly one sequence parameter set.
    #[error("the sample entry does not hold exactly one sequence parameter set")]
    SpsCount,
    /// Pictures may be coded as fields.
    #[error("the pictures are interlaced")]
    Interlaced,
    /// The profile is not Baseline, Main or High.
    #[error("the profile is not Baseline, Main or High")]
    Profile,
    /// Pictures have more than 8 bits a sample, or more chroma than 4:2:0.
    #[error("the pictures are not 4:2:0 with 8 bits a sample")]
    PictureFormat,
}

/// Why copied and encoded pictures cannot share one sample entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotJoin {
    /// A parameter set of each has the same id.
    #[error("copied and encoded pictures share the id of a parameter set")]
    SharedId,
    /// The sizes differ.
    #[error("copied and encoded pictures differ in size")]
    Size,
    /// Colour range, colour description or pixel aspect differ.
    #[error("copied and encoded pictures differ in colour or pixel aspect")]
    Signal,
}

/// The parameter sets of a track whose pictures can be copied.
#[derive(Clone, Debug)]
pub struct ParameterSets {
    /// The box that holds them.
    pub avcc: AvccBox,
    sps: SeqParameterSet,
    ids: BTreeSet<u8>,
}

impl ParameterSets {
    /// Reads the parameter sets of `avcC`. Without one the codec is another.
    ///
    /// # Errors
    /// [`NotCopyable`] if pictures of such a track cannot be copied.
    pub fn read(avcc: Option<AvccBox>) -> Result<Self, NotCopyable> {
        let mut avcc = avcc.ok_or(NotCopyable::Codec)?;
        fill_in_chroma_fields(&mut avcc);
        if avcc.sps_list.iter().chain(&avcc.pps_list).any(Vec::is_empty) {
            return Err(NotCopyable::EmptySet);
        }
        let mut context = Context::new();
        let mut ids = BTreeSet::new();
        for unit in &avcc.sps_list {
            let sps = SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits());
            let sps = sps.map_err(|_| NotCopyable::UnreadableSps)?;
            ids.insert(sps.id().id());
            context.put_seq_param_set(sps);
        }
        for unit in &avcc.pps_list {
            let pps = PicParameterSet::from_bits(&context, RefNal::new(unit, &[], true).rbsp_bits());
            let pps = pps.map_err(|_| NotCopyable::UnreadablePps)?;
            ids.insert(pps.pic_parameter_set_id.id());
        }
        let [_] = &avcc.sps_list[..] else { return Err(NotCopyable::SpsCount) };
        let sps = context.sps().next().cloned().ok_or(NotCopyable::SpsCount)?;
        let chroma = &sps.chroma_info;
        if sps.frame_mbs_flags != FrameMbsFlags::Frames {
            return Err(NotCopyable::Interlaced);
        }
        if !matches!(avcc.avc_profile_indication, 66 | 77 | 100) {
            return Err(NotCopyable::Profile);
        }
        if avcc.avc_profile_indication == 100
            && (chroma.chroma_format != ChromaFormat::YUV420
                || chroma.bit_depth_luma_minus8 + chroma.bit_depth_chroma_minus8 > 0)
        {
            return Err(NotCopyable::PictureFormat);
        }
        Ok(Self { avcc, sps, ids })
    }

    /// Returns the size of the length field before each NAL unit, in bytes.
    #[must_use]
    pub fn length_size(&self) -> usize {
        usize::from(self.avcc.length_size_minus_one.get()) + 1
    }

    /// Returns whether `unit` is a parameter set that `avcC` does not hold: later pictures may refer to it.
    #[must_use]
    pub fn is_contradicted_by(&self, unit: &[u8]) -> bool {
        let known = match unit_type(unit) {
            Some(UnitType::SeqParameterSet) => &self.avcc.sps_list,
            Some(UnitType::PicParameterSet) => &self.avcc.pps_list,
            _ => return false,
        };
        // zeros after a unit belong to the byte stream that it was taken from (section B.1.1)
        let trimmed = |unit: &[u8]| unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        !known.iter().any(|set| set[..trimmed(set)] == unit[..trimmed(unit)])
    }

    /// Returns x264's name of the profile.
    #[must_use]
    pub fn profile(&self) -> &'static str {
        match self.avcc.avc_profile_indication {
            66 => "baseline",
            77 => "main",
            _ => "high",
        }
    }

    /// Returns how the values of pixels mean colours.
    #[must_use]
    pub fn colour(&self) -> Colour {
        signal(&self.sps).colour
    }

    /// Returns width and height of a pixel in lowest terms, if they are stated.
    #[must_use]
    pub fn pixel_aspect(&self) -> Option<(u32, u32)> {
        signal(&self.sps).pixel_aspect
    }

    /// Returns an id that no parameter set of either kind has. Encoded pictures use it for both kinds.
    #[must_use]
    pub fn free_id(&self) -> Option<u8> {
        (0..=MAX_SPS_ID).find(|id| !self.ids.contains(id))
    }

    /// Returns the size of the decoded picture buffer, in pictures. Encoded pictures state the same size, so that a
    /// decoder has no reason to drop held pictures at a joint (`no_output_of_prior_pics_flag`, section C.4.4).
    #[must_use]
    pub fn decoded_pictures(&self) -> u32 {
        let restrictions = self.sps.vui_parameters.as_ref().and_then(|vui| vui.bitstream_restrictions.as_ref());
        let frames =
            restrictions.map_or(self.sps.max_num_ref_frames, |restrictions| restrictions.max_dec_frame_buffering);
        frames.clamp(1, 16)
    }

    /// Returns one box for copied and encoded pictures: the sets of both, and a profile and level that cover both.
    ///
    /// # Errors
    /// [`CannotJoin`] if they share an id or their pictures differ in kind.
    pub fn joined(&self, encoded: &Self) -> Result<AvccBox, CannotJoin> {
        if self.ids.intersection(&encoded.ids).next().is_some() {
            return Err(CannotJoin::SharedId);
        }
        if self.sps.pixel_dimensions().ok() != encoded.sps.pixel_dimensions().ok() {
            return Err(CannotJoin::Size);
        }
        if !signal(&self.sps).looks_like(&signal(&encoded.sps)) {
            return Err(CannotJoin::Signal);
        }
        let (a, b) = (self.with_4_byte_lengths(), encoded.with_4_byte_lengths());
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

    /// Returns the box with length fields of four bytes.
    #[must_use]
    pub fn with_4_byte_lengths(&self) -> AvccBox {
        AvccBox { length_size_minus_one: Uint::new(3), ..self.avcc.clone() }
    }
}

/// Fills in the chroma fields of `avcC` that files of High profiles written before 2005 lack. A muxer requires them
/// (ISO/IEC 14496-15, section 5.3.3.1.2).
fn fill_in_chroma_fields(avcc: &mut AvccBox) {
    if !matches!(avcc.avc_profile_indication, 100 | 110 | 122 | 144) || avcc.chroma_format.is_some() {
        return;
    }
    let sps = first_sps(avcc);
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

/// What a sequence parameter set says of its pictures.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Width and height in pixels, cropped.
    pub size: (u16, u16),
    /// The picture is cropped on the left or at the top.
    pub has_offset: bool,
    /// Pictures may be coded as two fields, which may be samples of their own.
    pub may_be_fields: bool,
    /// Width and height of a pixel, if they are stated.
    pub pixel_aspect: Option<(u32, u32)>,
    /// How the values of pixels mean colours.
    pub colour: Colour,
}

/// Returns what the first sequence parameter set says of its pictures.
#[must_use]
pub fn picture_of(avcc: &AvccBox) -> Option<Picture> {
    let sps = first_sps(avcc)?;
    let (width, height) = sps.pixel_dimensions().ok()?;
    let Signal { colour, pixel_aspect } = signal(&sps);
    let size = (u16::try_from(width).ok()?, u16::try_from(height).ok()?);
    let has_offset = sps.frame_cropping.as_ref().is_some_and(|crop| crop.left_offset > 0 || crop.top_offset > 0);
    let may_be_fields = sps.frame_mbs_flags != FrameMbsFlags::Frames;
    Some(Picture { size, has_offset, may_be_fields, pixel_aspect, colour })
}

/// Reads the first sequence parameter set.
fn first_sps(avcc: &AvccBox) -> Option<SeqParameterSet> {
    let unit = avcc.sps_list.first().filter(|unit| !unit.is_empty())?;
    SeqParameterSet::from_bits(RefNal::new(unit, &[], true).rbsp_bits()).ok()
}

/// What pictures must have in common to look alike.
struct Signal {
    colour: Colour,
    /// Width and height of a pixel in lowest terms, if they are stated.
    pixel_aspect: Option<(u32, u32)>,
}

impl Signal {
    /// Returns whether players show pictures of both alike. Pixels are square unless their shape is stated, and a code that
    /// is not known says nothing.
    fn looks_like(&self, other: &Self) -> bool {
        self.colour.known() == other.colour.known()
            && self.pixel_aspect.unwrap_or((1, 1)) == other.pixel_aspect.unwrap_or((1, 1))
    }
}

fn signal(sps: &SeqParameterSet) -> Signal {
    const UNSPECIFIED: u8 = 2;
    let vui = sps.vui_parameters.as_ref();
    let video = vui.and_then(|vui| vui.video_signal_type.as_ref());
    let codes = video.and_then(|video| video.colour_description.as_ref());
    let codes = codes.map_or([UNSPECIFIED; 3], |colour| {
        [colour.colour_primaries, colour.transfer_characteristics, colour.matrix_coefficients]
    });
    let full_range = video.is_some_and(|video| video.video_full_range_flag);
    let aspect = vui.and_then(|vui| vui.aspect_ratio_info.as_ref()).and_then(AspectRatioInfo::get);
    let aspect = aspect.filter(|(across, down)| *across > 0 && *down > 0);
    let pixel_aspect = aspect.map(|(across, down)| {
        let divisor = gcd(across.into(), down.into());
        let part = |size: u16| u32::try_from(u64::from(size) / divisor).unwrap_or(u32::MAX);
        (part(across), part(down))
    });
    Signal { colour: Colour { codes, full_range }, pixel_aspect }
}
