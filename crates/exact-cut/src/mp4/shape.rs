//! The size, the shape and the colours of the pictures of a track: how they are stored, and how players show them (docs/contract.md,
//! "Shape").

use crate::h264::colour::Colour;
use crate::h264::parameter_sets::Picture;
use crate::h264::{hevc, parameter_sets};
use crate::mp4::orientation::Orientation;
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::tracks::VideoTrack;
use crate::time::gcd;

/// Side of a macroblock of H.264, in pixels.
const MACROBLOCK: u16 = 16;

/// Pictures as they are stored, and the shape of their pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureShape {
    /// Stored width in pixels, without what players crop.
    pub width: u16,
    /// Stored height in pixels.
    pub height: u16,
    /// Width and height in pixels of what a decoder gives by the parameter sets alone: as wide and high, or some more on the
    /// right and at the bottom.
    pub decoded: (u16, u16),
    /// Width and height of a pixel, as displayed. Neither is 0.
    pub pixel_aspect: (u32, u32),
}

impl PictureShape {
    /// Returns the shape of the pictures of `video` that have that sample entry, or `None` if it states no size.
    ///
    /// The stored size is that of the sequence parameter set, if it can be read. Where that ends with whole macroblocks and
    /// the sample entry cuts the last ones, as Canon's cameras do with 1088 lines, the entry is right. The shape comes from
    /// `pasp`; else from `tkhd` where that differs by more than 1 % from the stored size; else from the sequence parameter
    /// set.
    #[must_use]
    pub fn of(video: &VideoTrack, entry: &SampleEntry) -> Option<Self> {
        let (picture, stated) = (picture_of(entry), entry.stated_size());
        let decoded = picture.map(|picture| picture.size).or(stated)?;
        let cuts = |stated: &(u16, u16)| {
            let cuts_side = |stated: u16, decoded: u16| {
                stated <= decoded && stated.div_ceil(MACROBLOCK) == decoded.div_ceil(MACROBLOCK)
            };
            let is_h264 = entry.avcc().is_some() && picture.is_some_and(|picture| !picture.has_offset);
            is_h264 && cuts_side(stated.0, decoded.0) && cuts_side(stated.1, decoded.1)
        };
        let (width, height) = stated.filter(cuts).unwrap_or(decoded);
        if width == 0 || height == 0 {
            return None;
        }
        let stated = entry.pixel_aspect().map(|(across, down)| (across.get(), down.get()));
        let displayed = || {
            let (across, down) = video.display_size?;
            // width × pixel width ÷ (height × pixel height) is the displayed shape
            let aspect = reduced(u64::from(across) * u64::from(height), u64::from(down) * u64::from(width));
            (!alike(aspect, (1, 1))).then_some(aspect)
        };
        let pixel_aspect = stated.or_else(displayed).or_else(|| picture?.pixel_aspect).unwrap_or((1, 1));
        Some(Self { width, height, decoded, pixel_aspect })
    }

    /// Returns ffmpeg's filter that cuts what players do not show of decoded pictures, if there is any.
    #[must_use]
    pub fn cropping(self) -> Option<String> {
        let Self { width, height, decoded, .. } = self;
        (decoded != (width, height)).then(|| format!("crop={width}:{height}:0:0"))
    }

    /// Returns the number of stored pixels.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Returns width and height as displayed, before rotation, in a unit that makes both whole. Neither is 0.
    #[must_use]
    pub fn displayed(self) -> (u64, u64) {
        let across = u64::from(self.width) * u64::from(self.pixel_aspect.0);
        (across.max(1), (u64::from(self.height) * u64::from(self.pixel_aspect.1)).max(1))
    }

    /// Returns width and height as displayed and turned upright, in a unit that makes both whole.
    #[must_use]
    pub fn upright(self, orientation: Orientation) -> (u64, u64) {
        let (across, down) = self.displayed();
        if orientation.swaps_sides { (down, across) } else { (across, down) }
    }

    /// Returns the height of an upright picture of `width` pixels in the displayed aspect ratio, rounded, at least 1.
    #[must_use]
    pub fn height_for(self, width: u32, orientation: Orientation) -> u32 {
        let (across, down) = self.upright(orientation);
        let (across, down) = (u128::from(across), u128::from(down));
        u32::try_from((u128::from(width) * down + across / 2) / across).unwrap_or(u32::MAX).max(1)
    }

    /// Returns width and height in pixels for `tkhd`: the width carries the shape of a pixel.
    #[must_use]
    pub fn for_track_header(self) -> (u16, u16) {
        let width = u64::from(self.width) * u64::from(self.pixel_aspect.0) / u64::from(self.pixel_aspect.1);
        (u16::try_from(width).unwrap_or(u16::MAX), self.height)
    }
}

/// Returns whether two upright shapes, given as width and height, are shown alike: they differ by at most 1 %.
#[must_use]
pub fn are_alike(a: (u64, u64), b: (u64, u64)) -> bool {
    let (one, other) = (u128::from(a.0) * u128::from(b.1), u128::from(b.0) * u128::from(a.1));
    one.abs_diff(other) * 100 <= one.max(other)
}

fn alike(a: (u32, u32), b: (u32, u32)) -> bool {
    are_alike((a.0.into(), a.1.into()), (b.0.into(), b.1.into()))
}

/// Returns a ratio in its lowest terms, each at most 65,535: what `pasp` and a sequence parameter set hold.
fn reduced(a: u64, b: u64) -> (u32, u32) {
    let divisor = gcd(a, b).max(1);
    let (mut a, mut b) = (a / divisor, b / divisor);
    while a.max(b) > u64::from(u16::MAX) {
        (a, b) = (a / 2, b / 2);
    }
    (u32::try_from(a.max(1)).unwrap_or(1), u32::try_from(b.max(1)).unwrap_or(1))
}

/// Returns what the first sequence parameter set of a sample entry says of its pictures.
fn picture_of(entry: &SampleEntry) -> Option<Picture> {
    match entry.avcc() {
        Some(avcc) => parameter_sets::picture_of(&avcc),
        None => hevc::picture_of(entry.visual_child(b"hvcC")?),
    }
}

/// Returns width and height in pixels of the pictures that the parameter sets of a sample entry describe.
#[must_use]
pub fn described_size(entry: &SampleEntry) -> Option<(u16, u16)> {
    picture_of(entry).map(|picture| picture.size)
}

/// Returns whether a picture with that sample entry may be two samples, each a field.
#[must_use]
pub fn may_be_fields(entry: &SampleEntry) -> bool {
    picture_of(entry).is_some_and(|picture| picture.may_be_fields)
}

/// Returns the colours that players show of pictures with that sample entry: by `colr`, else by the sequence parameter set.
#[must_use]
pub fn colour_of(entry: &SampleEntry) -> Colour {
    let by_sets = picture_of(entry).map_or(Colour::UNSPECIFIED, |picture| picture.colour);
    match entry.colour() {
        Some((codes, full_range)) => Colour { codes, full_range: full_range.unwrap_or(by_sets.full_range) },
        None => by_sets,
    }
}

/// Returns the bitstream filter of ffmpeg that pictures with that sample entry must pass before they are decoded: its own
/// filters refuse pictures whose matrix is reserved, which players show as if nothing were said.
#[must_use]
pub fn filter_before_decoding(entry: &SampleEntry) -> Option<&'static str> {
    if !picture_of(entry)?.colour.has_reserved_matrix() {
        return None;
    }
    Some(match entry.avcc() {
        Some(_) => "h264_metadata=matrix_coefficients=2",
        None => "hevc_metadata=matrix_coefficients=2",
    })
}
