//! What the encoded pictures of a clip must look like: as those of its main recording.
//!
//! A decoder that changes from copied to encoded pictures must find the same size, pixel aspect ratio, colour and profile.
//! The parameter sets of the encoder get an id that no set of the recording has (`sps-id`; x264 uses the same number for
//! the PPS), because both share one sample entry: see [`crate::h264::parameter_sets`].
//!
//! The same request must give the same bytes on every machine. The number of threads and the vector instructions of the
//! processor change what x264 and the scaler write, so both are fixed: two threads, `cpu-independent`, bitexact flags.

use std::num::NonZeroU32;

use crate::error::FootageError;
use crate::ffmpeg::memory::encoding;
use crate::h264::parameter_sets::ParameterSets;
use crate::mp4::orientation::Orientation;
use crate::mp4::sample_entry::{pixel_aspect, visual_fields};
use crate::mp4::tracks::VideoTrack;

/// How ffmpeg scales pictures: bicubic, with the same values with or without the vector instructions of a CPU.
pub const SCALING_FLAGS: &str = "bicubic+accurate_rnd+bitexact";

/// How the pictures of a clip are encoded.
#[derive(Clone, Copy, Debug)]
pub struct EncoderOptions<'a> {
    /// Approximate frames a second. It only tells the encoder what to expect.
    pub rate: u32,
    main: &'a VideoTrack,
    /// Parameter sets of the main recording, if some of its samples are copied.
    sets: Option<&'a ParameterSets>,
}

/// Size of a picture as stored, and the shape of its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureSize {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// Width and height of a pixel.
    pub pixel_aspect: (NonZeroU32, NonZeroU32),
}

impl PictureSize {
    /// Returns the size of the pictures of `video`.
    ///
    /// # Errors
    /// [`FootageError::Codec`] if the codec is not decoded.
    pub fn of(video: &VideoTrack) -> Result<Self, FootageError> {
        let visual = visual_fields(&video.entry).ok_or(FootageError::Codec)?;
        Ok(Self { width: visual.width, height: visual.height, pixel_aspect: pixel_aspect(&video.entry) })
    }

    /// Returns the number of pixels.
    #[must_use]
    pub fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Returns width and height as displayed, before rotation, in a unit that makes both whole. Neither is 0.
    fn displayed(self) -> (u64, u64) {
        let across = u64::from(self.width) * u64::from(self.pixel_aspect.0.get());
        (across.max(1), (u64::from(self.height) * u64::from(self.pixel_aspect.1.get())).max(1))
    }

    /// Returns the height of an upright picture of `width` pixels in the displayed aspect ratio, rounded, at least 1.
    #[must_use]
    pub fn height_for(self, width: u32, orientation: Orientation) -> u32 {
        let (across, down) = self.displayed();
        let (across, down) = if orientation.swaps_sides { (down, across) } else { (across, down) };
        u32::try_from((u64::from(width) * down + across / 2) / across).unwrap_or(u32::MAX).max(1)
    }
}

impl<'a> EncoderOptions<'a> {
    /// Returns options for pictures like those of `main`. `sets` are its parameter sets, if some of its samples are copied.
    #[must_use]
    pub fn like(main: &'a VideoTrack, sets: Option<&'a ParameterSets>) -> Self {
        Self { rate: main.table.rate(), main, sets }
    }

    /// Returns the bytes of memory that encoding pictures of `video` takes.
    ///
    /// # Errors
    /// [`FootageError::Codec`].
    pub fn memory(&self, video: &VideoTrack) -> Result<u64, FootageError> {
        Ok(encoding(PictureSize::of(video)?.pixels(), PictureSize::of(self.main)?.pixels()))
    }

    /// Returns the ffmpeg filters, each after a comma, that turn pictures of `video` into such pictures. Pictures of the
    /// main recording pass unchanged where some of it is copied.
    ///
    /// # Errors
    /// [`FootageError::Codec`] or [`FootageError::Orientation`].
    pub fn filters(&self, video: &VideoTrack) -> Result<String, FootageError> {
        PictureSize::of(video)?; // refuses codecs that are not decoded
        let main = PictureSize::of(self.main)?;
        let (horizontal, vertical) = main.pixel_aspect;
        if self.sets.is_some() && video.entry == self.main.entry && video.matrix == self.main.matrix {
            return Ok(String::new());
        }
        let orientation = |video: &VideoTrack| Orientation::from_matrix(&video.matrix).ok_or(FootageError::Orientation);
        let (from, to) = (orientation(video)?, orientation(self.main)?);
        let mut filters = Vec::new();
        if from != to {
            let turns = [from.to_upright, to.from_upright].into_iter().filter(|filter| !filter.is_empty());
            filters.extend(turns.map(str::to_owned));
        }
        let full_range = self.sets.is_some_and(ParameterSets::full_range);
        let (range, format) = if full_range { ("pc", "yuvj420p") } else { ("tv", "yuv420p") };
        // one step for size, range and pixel format, so that every CPU computes the same values
        let (width, height) = (main.width, main.height);
        filters.push(format!("scale={width}:{height}:flags={SCALING_FLAGS}:out_range={range}"));
        filters.push(format!("setsar={horizontal}/{vertical},format={format}"));
        Ok(filters.iter().flat_map(|filter| [",", filter]).collect())
    }

    /// Returns the ffmpeg options of the encoder: visually lossless, no B-frames, the same bytes on every machine.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        // x264 writes other bytes with another number of threads, on another CPU, and by its own adaptations
        let mut x264 = vec!["cpu-independent=1".to_owned(), "aq-mode=0".to_owned(), "psy=0".to_owned()];
        // at a fixed quantizer a slower preset only saves bytes, and edges are short
        let preset = if self.sets.is_some() { "ultrafast" } else { "veryfast" };
        let mut options = vec!["-c:v", "libx264", "-preset", preset, "-threads", "2", "-qp", "14", "-bf", "0"];
        options.extend(["-g", "60", "-sc_threshold", "0", "-profile:v"]);
        match self.sets {
            Some(sets) => {
                options.push(sets.profile());
                x264.push(format!("level={}", sets.avcc.avc_level_indication));
                x264.push(format!("dpb-size={}", sets.decoded_pictures()));
                x264.extend(sets.free_id().map(|id| format!("sps-id={id}")));
            }
            None => options.push("high"),
        }
        let x264 = x264.join(":");
        options.extend(["-x264-params", &x264]);
        options.into_iter().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use shiguredo_mp4::boxes::TkhdBox;

    use super::*;

    #[test]
    fn the_height_follows_the_displayed_aspect_ratio() {
        let size = |width, height, horizontal, vertical| PictureSize {
            width,
            height,
            pixel_aspect: (NonZeroU32::new(horizontal).expect("not 0"), NonZeroU32::new(vertical).expect("not 0")),
        };
        let upright = Orientation::from_matrix(&TkhdBox::DEFAULT_MATRIX).expect("upright");
        let turned = Orientation::from_matrix(&[0, 0x1_0000, 0, -0x1_0000, 0, 0, 0, 0, 0x4000_0000]).expect("turned");
        assert_eq!(size(1280, 720, 1, 1).height_for(300, upright), 169);
        assert_eq!(size(1280, 720, 1, 1).height_for(300, turned), 533);
        assert_eq!(size(720, 576, 64, 45).height_for(1024, upright), 576);
        assert_eq!(size(8192, 16, 1, 1).height_for(1, upright), 1);
    }
}
