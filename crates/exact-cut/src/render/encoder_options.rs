//! What the encoded pictures of a clip must look like: as those of its main recording.
//!
//! A decoder that changes from copied to encoded pictures must find the same size, pixel aspect ratio, colour and profile.
//! The parameter sets of the encoder get an id that no set of the recording has (`sps-id`; x264 uses the same number for
//! the PPS), because both share one sample entry: see [`crate::h264::parameter_sets`].
//!
//! The same request must give the same bytes on every machine. The number of threads and the vector instructions of the
//! processor change what x264 and the scaler write, so both are fixed: two threads, `cpu-independent`, bitexact flags.

use crate::error::FootageError;
use crate::h264::colour::Colour;
use crate::h264::parameter_sets::{NotCopyable, ParameterSets};
use crate::mp4::orientation::Orientation;
use crate::mp4::sample_entry::SampleEntry;
use crate::mp4::shape::{PictureShape, are_alike, colour_of};
use crate::mp4::tracks::VideoTrack;
use crate::render::quality::RateControl;

/// Frames from one IDR picture of encoded footage to the next: players find a place within two seconds.
pub const GROUP: usize = 60;
/// How ffmpeg scales pictures: bicubic, with the same values with or without the vector instructions of a CPU.
pub const SCALING_FLAGS: &str = "bicubic+accurate_rnd+bitexact";
/// The levels that x264 knows, as `level_idc` (ITU-T H.264, table A-1). It refuses any other.
const LEVELS: [u8; 19] = [9, 10, 11, 12, 13, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52, 60, 61];

/// How the pictures of a clip look.
#[derive(Clone, Copy, Debug)]
pub struct EncoderOptions<'a> {
    /// Approximate frames a second. It only tells the encoder what to expect.
    pub rate: u32,
    /// Shape of the pictures of the clip.
    pub shape: PictureShape,
    /// How the pictures of the clip are turned for display.
    pub orientation: Orientation,
    colour: Colour,
    entry: &'a SampleEntry,
    /// Parameter sets of the main recording, if some of its samples are copied.
    sets: Option<&'a ParameterSets>,
}

impl<'a> EncoderOptions<'a> {
    /// Returns options for pictures like those of `main` with the sample entry `entry`. `sets` are its parameter sets, if
    /// some of its samples are copied.
    ///
    /// # Errors
    /// [`FootageError::NoSize`].
    pub fn like(
        main: &VideoTrack,
        entry: &'a SampleEntry,
        sets: Option<&'a ParameterSets>,
    ) -> Result<Self, FootageError> {
        let mut shape = PictureShape::of(main, entry).ok_or(FootageError::NoSize)?;
        if sets.is_none() {
            // the encoder takes whole pixels of chroma only
            (shape.width, shape.height) = ((shape.width & !1).max(2), (shape.height & !1).max(2));
            shape.decoded = (shape.width, shape.height);
        }
        let (rate, orientation) = (main.table.rate(), main.orientation);
        // what is encoded beside copied pictures says of them what their parameter sets say
        let colour = sets.map_or_else(|| colour_of(entry).with_matrix(shape.height), ParameterSets::colour);
        Ok(Self { rate, shape, orientation, colour, entry, sets })
    }

    /// Returns the ffmpeg filters, each after a comma, that turn pictures of `video` with the sample entry `entry` into such
    /// pictures. Pictures of the main recording pass unchanged where some of it is copied. Pictures of another shape are
    /// fitted into the shape of the clip, with bars.
    ///
    /// # Errors
    /// [`FootageError::NoSize`].
    pub fn filters(&self, video: &VideoTrack, entry: &SampleEntry) -> Result<String, FootageError> {
        let from = PictureShape::of(video, entry).ok_or(FootageError::NoSize)?;
        let (to, turned) = (self.shape, video.orientation);
        let is_alike = entry.decoder_configuration() == self.entry.decoder_configuration() && from == to;
        if self.sets.is_some() && is_alike && turned == self.orientation {
            return Ok(String::new());
        }
        let mut filters = Vec::from_iter(from.cropping());
        if turned != self.orientation {
            let turns = [turned.to_upright, self.orientation.from_upright];
            filters.extend(turns.into_iter().filter(|filter| !filter.is_empty()).map(str::to_owned));
        }
        let (width, height) = (to.width, to.height);
        let fitted = fitted(from.upright(turned), to, self.orientation);
        let stored = if turned.swaps_sides == self.orientation.swaps_sides {
            (from.width, from.height)
        } else {
            (from.height, from.width)
        };
        if stored != (width, height) && (stored.0 & !1, stored.1 & !1) == (width, height) {
            filters.push(format!("crop={width}:{height}:0:0")); // not scaled for the sake of one column or row
        }
        let (out_matrix, out_range) = (self.colour.matrix(height), self.colour.range());
        let format = if self.colour.full_range { "yuvj420p" } else { "yuv420p" };
        // one step for size, colours, range and pixel format, so that every CPU computes the same values
        filters.push(format!(
            "scale={}:{}:flags={SCALING_FLAGS}{}:out_color_matrix={out_matrix}:out_range={out_range},format={format}",
            fitted.0,
            fitted.1,
            from_colours(colour_of(entry), from.height)
        ));
        if fitted != (width, height) {
            filters.push(format!(
                "pad={width}:{height}:{}:{}",
                (width - fitted.0) / 4 * 2,
                (height - fitted.1) / 4 * 2
            ));
        }
        if to.decoded != (width, height) {
            filters.push(format!("pad={}:{}:0:0", to.decoded.0, to.decoded.1));
        }
        let (across, down) = match self.sets {
            Some(sets) => sets.pixel_aspect().unwrap_or((0, 1)),
            None => to.pixel_aspect,
        };
        let [primaries, transfer, matrix] = self.colour.known().codes;
        filters.push(format!(
            "setsar=sar={across}/{down}:max=65535,\
             setparams=color_primaries={primaries}:color_trc={transfer}:colorspace={matrix}"
        ));
        Ok(filters.iter().flat_map(|filter| [",", filter]).collect())
    }

    /// Returns a filter, with a comma behind it, that makes frames of interlaced pictures: one of each, so that the number of
    /// frames stays. It looks at the pictures before and after, so it comes before any are taken out. Pictures that are not
    /// marked as interlaced pass unchanged.
    ///
    /// Browsers do not deinterlace, and show combs where something moves.
    #[must_use]
    pub fn deinterlacing(entry: &SampleEntry) -> &'static str {
        match ParameterSets::read(entry.avcc()) {
            Err(NotCopyable::Interlaced) => "bwdif=mode=send_frame:parity=auto:deint=interlaced,",
            _ => "",
        }
    }

    /// Returns the ffmpeg options of the encoder: the same bytes on every machine. Without copied pictures it may use all
    /// that players know.
    #[must_use]
    pub fn arguments(&self, rate_control: RateControl) -> Vec<String> {
        // x264 writes other bytes with another number of threads, on another CPU, and by its own adaptations; stitchable:
        // segments of other quantizers have the same parameter sets
        let mut x264: Vec<String> =
            ["cpu-independent=1", "aq-mode=0", "psy=0", "stitchable=1"].map(str::to_owned).into();
        let mut options = vec!["-c:v".to_owned(), "libx264".to_owned(), "-threads".to_owned(), "2".to_owned()];
        options.extend(rate_control.arguments());
        let group = GROUP.to_string();
        options.extend(["-g", &group, "-sc_threshold", "0"].map(str::to_owned));
        if self.sets.is_some() {
            options.extend(["-bf", "0"].map(str::to_owned));
        }
        options.push("-profile:v".to_owned());
        match self.sets {
            Some(sets) => {
                options.push(sets.profile().to_owned());
                let level = sets.avcc.avc_level_indication;
                x264.extend(LEVELS.contains(&level).then(|| format!("level={level}")));
                x264.push(format!("dpb-size={}", sets.decoded_pictures()));
                x264.extend(sets.free_id().map(|id| format!("sps-id={id}")));
            }
            None => options.push("high".to_owned()),
        }
        options.extend(["-x264-params".to_owned(), x264.join(":")]);
        options
    }
}

/// Returns options of ffmpeg's `scale`, each after a colon, that tell the colours of its input.
#[must_use]
pub fn from_colours(colour: Colour, height: u16) -> String {
    if colour.is_rgb() {
        return String::new();
    }
    format!(":in_color_matrix={}:in_range={}", colour.matrix(height), colour.range())
}

/// Returns width and height in stored pixels of the largest picture of an upright shape that fits into `to`.
fn fitted(upright: (u64, u64), to: PictureShape, orientation: Orientation) -> (u16, u16) {
    let whole = (to.width, to.height);
    if are_alike(upright, to.upright(orientation)) {
        return whole;
    }
    let (across, down) = if orientation.swaps_sides { (upright.1, upright.0) } else { upright };
    let (across, down) = (u128::from(across), u128::from(down));
    let aspect = (u128::from(to.pixel_aspect.0), u128::from(to.pixel_aspect.1));
    let (width, height) = (u128::from(to.width), u128::from(to.height));
    let even = |pixels: u128| u16::try_from(pixels.div_ceil(2) * 2).unwrap_or(u16::MAX).max(2);
    // the stored width of the shape at full height, and the stored height at full width
    let narrow = even(height * across * aspect.1 / (down * aspect.0));
    if narrow <= to.width {
        (narrow, to.height)
    } else {
        (to.width, even(width * aspect.0 * down / (aspect.1 * across)).min(to.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: u16, height: u16, across: u32, down: u32) -> PictureShape {
        PictureShape { width, height, decoded: (width, height), pixel_aspect: (across, down) }
    }

    const UPRIGHT: [i32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    const TURNED: [i32; 9] = [0, 0x1_0000, 0, -0x1_0000, 0, 0, 0, 0, 0x4000_0000];

    #[test]
    fn the_height_follows_the_displayed_aspect_ratio() {
        let [upright, turned] = [UPRIGHT, TURNED].map(|matrix| Orientation::from_matrix(&matrix));
        assert_eq!(shape(1280, 720, 1, 1).height_for(300, upright), 169);
        assert_eq!(shape(1280, 720, 1, 1).height_for(300, turned), 533);
        assert_eq!(shape(720, 576, 64, 45).height_for(1024, upright), 576);
        assert_eq!(shape(8192, 16, 1, 1).height_for(1, upright), 1);
    }

    #[test]
    fn another_shape_is_fitted_and_not_stretched() {
        let [upright, turned] = [UPRIGHT, TURNED].map(|matrix| Orientation::from_matrix(&matrix));
        let hd = shape(640, 360, 1, 1);
        assert_eq!(fitted((480, 360), hd, upright), (480, 360));
        assert_eq!(fitted((1280, 720), hd, upright), (640, 360));
        assert_eq!(fitted((1000, 500), hd, upright), (640, 320));
        assert_eq!(fitted((646, 360), hd, upright), (640, 360), "within 1 %");
        assert_eq!(fitted((16, 9), shape(720, 576, 16, 15), upright), (720, 432));
        assert_eq!(fitted((360, 480), hd, turned), (480, 360));
    }
}
