//! What all pictures of a clip have in common: those of its main recording. Encoded ones are made to fit.

use std::num::NonZeroU32;

use crate::cut::orientation::Orientation;
use crate::footage::entry::{pixel_aspect, visual};
use crate::footage::parameter_sets::ParameterSets;
use crate::footage::tracks::Video;

/// How ffmpeg scales pictures: bicubic, and to the same values with or without a CPU's vector instructions.
pub const SCALING: &str = "bicubic+accurate_rnd+bitexact";

/// How a clip's encoded pictures look, and how they are encoded.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// Frames a second, roughly; only tells the encoder what to expect.
    pub rate: u32,
    main: &'a Video,
    /// Of the main recording, if some of it is copied.
    sets: Option<&'a ParameterSets>,
}

/// Size in pixels as stored, and the shape of a pixel: its width and height.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// A pixel's width and height.
    pub pixel_aspect: (NonZeroU32, NonZeroU32),
}

impl Frame {
    /// The frame of `video`.
    ///
    /// # Errors
    /// If its codec is not one that is decoded here.
    pub fn of(video: &Video) -> Result<Self, &'static str> {
        let visual = visual(&video.entry).ok_or("neither H.264 nor HEVC")?;
        Ok(Self { width: visual.width, height: visual.height, pixel_aspect: pixel_aspect(&video.entry) })
    }

    /// Width and height as displayed, before rotation, in a unit that makes both whole; neither is 0.
    fn displayed(self) -> (u64, u64) {
        let across = u64::from(self.width) * u64::from(self.pixel_aspect.0.get());
        (across.max(1), (u64::from(self.height) * u64::from(self.pixel_aspect.1.get())).max(1))
    }

    /// The height of an upright picture of that width in the displayed aspect ratio, rounded, at least 1.
    #[must_use]
    pub fn height_for(self, width: u32, orientation: Orientation) -> u32 {
        let (across, down) = self.displayed();
        let (across, down) = if orientation.swaps { (down, across) } else { (across, down) };
        u32::try_from((u64::from(width) * down + across / 2) / across).unwrap_or(u32::MAX).max(1)
    }
}

impl<'a> Picture<'a> {
    /// Pictures like those of `main`; `sets` are its parameter sets if some of its samples are copied.
    #[must_use]
    pub fn like(main: &'a Video, sets: Option<&'a ParameterSets>) -> Self {
        Self { rate: main.table.rate(), main, sets }
    }

    /// The filters, each after a comma, that make pictures of `video` such pictures. The main recording's own are not
    /// touched.
    ///
    /// # Errors
    /// If one of them is turned by no multiple of 90°.
    pub fn filters(&self, video: &Video) -> Result<String, String> {
        Frame::of(video)?; // of a codec that is decoded here
        let main = Frame::of(self.main)?;
        let (horizontal, vertical) = main.pixel_aspect;
        if self.sets.is_some() && video.entry == self.main.entry && video.matrix == self.main.matrix {
            return Ok(String::new());
        }
        let turned = |video: &Video| Orientation::of(&video.matrix).ok_or("turned by no multiple of 90°");
        let (from, to) = (turned(video)?, turned(self.main)?);
        let mut filters = Vec::new();
        if from != to {
            filters.extend([from.upright, to.back].into_iter().filter(|filter| !filter.is_empty()).map(str::to_owned));
        }
        let full_range = self.sets.is_some_and(ParameterSets::full_range);
        let (range, format) = if full_range { ("pc", "yuvj420p") } else { ("tv", "yuv420p") };
        // one step for size, range and pixel format, so that all of them are computed the same on every CPU
        let (width, height) = (main.width, main.height);
        filters.push(format!("scale={width}:{height}:flags={SCALING}:out_range={range}"));
        filters.push(format!("setsar={horizontal}/{vertical},format={format}"));
        Ok(filters.iter().flat_map(|filter| [",", filter]).collect())
    }

    /// The encoder and its options.
    #[must_use]
    pub fn encoder(&self) -> Vec<String> {
        // thread count and CPU change what x264 writes; so do its own adaptations
        let mut x264 = vec!["cpu-independent=1".to_owned(), "aq-mode=0".to_owned(), "psy=0".to_owned()];
        // at a fixed quantizer a slower preset saves bytes, of which edges have few
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
