//! Pictures of one frame in several sizes: one run of ffmpeg, one decode.

use std::path::{Path, PathBuf};

use crate::cut::edges::{ANY_RATE, Excerpt, write_excerpt};
use crate::cut::orientation::Orientation;
use crate::cut::picture::{Frame, SCALING};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::fetch::Fetched;
use crate::ffmpeg::{Ffmpeg, url};
use crate::metadata::PictureFormat;

/// A thumbnail on disk.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    /// Its width in pixels.
    pub width: u32,
    /// The file.
    pub path: PathBuf,
}

/// Renders the one frame of `excerpt` in every one of `widths`, upright and in its displayed aspect ratio.
///
/// # Errors
/// Unusable if a picture is missing or of another size; ffmpeg can exit with 0 without having written one.
pub async fn render(
    ffmpeg: &Ffmpeg,
    fetched: &Fetched<'_>,
    excerpt: &Excerpt,
    (widths, format): (&[u32], PictureFormat),
    folder: &Path,
    deadline: Deadline,
) -> Result<Vec<Thumbnail>, Error> {
    let unusable = |reason: String| Error::unusable(&fetched.object, reason);
    let input = folder.join("poster.mp4");
    let rank = write_excerpt(fetched.video, &fetched.file, excerpt, ANY_RATE, &input)?.start;
    let frame = Frame::of(fetched.video).map_err(|reason| unusable(reason.to_owned()))?;
    let orientation = Orientation::of(&fetched.video.matrix);
    let orientation = orientation.ok_or_else(|| unusable("turned by no multiple of 90°".to_owned()))?;
    let sizes: Vec<(u32, u32)> = widths.iter().map(|&width| (width, frame.height_for(width, orientation))).collect();

    let upright = [",", orientation.upright].concat();
    let upright = if orientation.upright.is_empty() { "" } else { &upright };
    let inputs: String = (0..sizes.len()).map(|n| ["[in", &n.to_string(), "]"].concat()).collect();
    let mut graph =
        vec![format!("[0:v:0]trim=start_pts={rank}:end_pts={}{upright},split={}{inputs}", rank + 1, sizes.len())];
    for (n, (width, height)) in sizes.iter().enumerate() {
        graph.push(format!("[in{n}]scale={width}:{height}:flags={SCALING},setsar=1[out{n}]"));
    }
    let mut command = ffmpeg.reading(&[&input]);
    command.filter_complex(graph.join(";"));
    let mut thumbnails = Vec::with_capacity(sizes.len());
    for (n, &(width, _)) in sizes.iter().enumerate() {
        let path = folder.join(format!("thumbnail_{width}.{}", format.extension()));
        command.map(format!("[out{n}]")).frames(1).args(["-threads", "1"]);
        command.args(["-fflags", "+bitexact", "-flags:v", "+bitexact"]);
        match format {
            PictureFormat::Png => command.codec_video("png").args(["-compression_level", "1", "-pred", "sub"]),
            // the transform that is the same with or without a CPU's vector instructions
            PictureFormat::Jpg => command.codec_video("mjpeg").pix_fmt("yuvj420p").args(["-q:v", "2", "-dct", "int"]),
        };
        command.args(["-update", "1", "-f", "image2"]).output(url(&path));
        thumbnails.push(Thumbnail { width, path });
    }
    ffmpeg.run(command, &fetched.object, deadline).await?;
    for (thumbnail, &(width, height)) in thumbnails.iter().zip(&sizes) {
        let size =
            imagesize::size(&thumbnail.path).map_err(|error| unusable(format!("thumbnail of {width}: {error}")))?;
        if (size.width, size.height) != (width as usize, height as usize) {
            return Err(unusable(format!(
                "a thumbnail of {}x{} in place of {width}x{height}",
                size.width, size.height
            )));
        }
    }
    Ok(thumbnails)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use shiguredo_mp4::boxes::TkhdBox;

    use super::*;

    #[test]
    fn the_height_follows_the_displayed_aspect_ratio() {
        let frame = |width, height, horizontal, vertical| Frame {
            width,
            height,
            pixel_aspect: (NonZeroU32::new(horizontal).expect("not 0"), NonZeroU32::new(vertical).expect("not 0")),
        };
        let upright = Orientation::of(&TkhdBox::DEFAULT_MATRIX).expect("upright");
        let turned = Orientation::of(&[0, 0x1_0000, 0, -0x1_0000, 0, 0, 0, 0, 0x4000_0000]).expect("turned");
        assert_eq!(frame(1280, 720, 1, 1).height_for(300, upright), 169);
        assert_eq!(frame(1280, 720, 1, 1).height_for(300, turned), 533);
        assert_eq!(frame(720, 576, 64, 45).height_for(1024, upright), 576);
        assert_eq!(frame(8192, 16, 1, 1).height_for(1, upright), 1);
    }
}
