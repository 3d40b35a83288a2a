//! Thumbnails: pictures of one frame in several sizes, by one run of ffmpeg and one decode. Four PNGs of up to 3000 pixels
//! take 0.29 s with `-compression_level 1 -pred sub`, 0.8 s with ffmpeg's defaults; JPEGs take 0.11 s (two cores).

use std::path::PathBuf;

use crate::error::{Error, FootageError};
use crate::fetch::FetchedRecording;
use crate::ffmpeg::command::{Pictures, file_url, reading_pictures};
use crate::ffmpeg::memory;
use crate::mp4::shape::{PictureShape, colour_of, filter_before_decoding};
use crate::render::context::RenderContext;
use crate::render::encoder_options::{SCALING_FLAGS, from_colours};
use crate::render::excerpt::{ANY_RATE, Excerpt, write_excerpt};
use crate::render::write_file::PieceFiles;

/// Format of the thumbnails. Its name is the file extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum PictureFormat {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpg,
}

impl PictureFormat {
    /// Returns the file extension.
    #[must_use]
    pub fn extension(self) -> &'static str {
        self.into()
    }

    /// Returns the media type (RFC 2045).
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpg => "image/jpeg",
        }
    }
}

/// The thumbnails that are wanted.
#[derive(Clone, Copy, Debug)]
pub struct ThumbnailSpec<'a> {
    /// Widths in pixels, each one different.
    pub widths: &'a [u32],
    /// Format of all of them.
    pub format: PictureFormat,
}

/// A thumbnail on disk.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    /// Width in pixels.
    pub width: u32,
    /// Path of the file.
    pub path: PathBuf,
}

/// Renders the one frame of `excerpt` in every width, upright and in its displayed aspect ratio.
///
/// # Errors
/// [`FootageError::NoThumbnail`] or [`FootageError::ThumbnailSize`] if a picture is missing or of another size: ffmpeg can
/// exit with 0 without having written one. Or the error of ffmpeg or the disk.
pub async fn render_thumbnails(
    cx: RenderContext<'_>,
    recording: &FetchedRecording,
    excerpt: &Excerpt,
    files: &PieceFiles,
    ThumbnailSpec { widths, format }: ThumbnailSpec<'_>,
) -> Result<Vec<Thumbnail>, Error> {
    let footage = |error: FootageError| Error::footage(recording.name(), error);
    let input = cx.folder.join("poster.mp4");
    let rank = write_excerpt(recording, excerpt, files, ANY_RATE, &input).await?.start;
    let video = &recording.open.video;
    let entry = video.entry_of(excerpt.decode.start);
    let size = PictureShape::of(video, entry).ok_or_else(|| footage(FootageError::NoSize))?;
    let (orientation, colour) = (video.orientation, colour_of(entry));
    let sizes: Vec<(u32, u32)> = widths.iter().map(|&width| (width, size.height_for(width, orientation))).collect();

    let pixels = sizes.iter().map(|&(width, height)| u64::from(width) * u64::from(height)).sum();
    let takes = memory::thumbnails(size.pixels(), pixels);

    let to_upright = Some(orientation.to_upright.to_owned()).filter(|turn| !turn.is_empty());
    let to_upright: String =
        size.cropping().into_iter().chain(to_upright).flat_map(|filter| [",".to_owned(), filter]).collect();
    let inputs: String = (0..sizes.len()).map(|n| ["[in", &n.to_string(), "]"].concat()).collect();
    let mut graph =
        vec![format!("[0:v:0]trim=start_pts={rank}:end_pts={}{to_upright},split={}{inputs}", rank + 1, sizes.len())];
    let colours = from_colours(colour, size.height);
    let colours = match format {
        PictureFormat::Png => colours,
        // JFIF, section "Color space": BT.601, full range
        PictureFormat::Jpg => colours + ":out_color_matrix=smpte170m:out_range=pc",
    };
    for (n, (width, height)) in sizes.iter().enumerate() {
        graph.push(format!("[in{n}]scale={width}:{height}:flags={SCALING_FLAGS}{colours},setsar=1[out{n}]"));
    }
    let mut command = reading_pictures(cx.ffmpeg, Pictures { path: &input, filter: filter_before_decoding(entry) });
    command.filter_complex(graph.join(";"));
    let mut thumbnails = Vec::with_capacity(sizes.len());
    for (n, &(width, _)) in sizes.iter().enumerate() {
        let path = cx.folder.join(format!("thumbnail_{width}.{format}"));
        command.map(format!("[out{n}]")).frames(1).args(["-threads", "1"]);
        command.args(["-fflags", "+bitexact", "-flags:v", "+bitexact"]);
        match format {
            PictureFormat::Png => command.codec_video("png").args(["-compression_level", "1", "-pred", "sub"]),
            // this transform gives the same values with or without the vector instructions of a CPU
            PictureFormat::Jpg => command.codec_video("mjpeg").pix_fmt("yuvj420p").args(["-q:v", "2", "-dct", "int"]),
        };
        command.args(["-update", "1", "-f", "image2"]).output(file_url(&path));
        thumbnails.push(Thumbnail { width, path });
    }
    cx.run_ffmpeg(command, takes, recording.name()).await?;
    for (thumbnail, &(width, height)) in thumbnails.iter().zip(&sizes) {
        let unreadable = |error: imagesize::ImageError| FootageError::NoThumbnail { width, reason: error.to_string() };
        let is = imagesize::size(&thumbnail.path).map_err(|error| footage(unreadable(error)))?;
        if (is.width, is.height) != (width as usize, height as usize) {
            let (is, expected) = ((is.width, is.height), (width, height));
            return Err(footage(FootageError::ThumbnailSize { is, expected }));
        }
    }
    Ok(thumbnails)
}
