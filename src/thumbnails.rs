//! Pictures of one frame in several sizes: one run of ffmpeg, one decode.

use std::path::{Path, PathBuf};

use crate::cut::edges::{Excerpt, Fetched, Picture, write_excerpt};
use crate::deadline::Deadline;
use crate::error::Error;
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
    let rank = tokio::task::block_in_place(|| write_excerpt(fetched, excerpt, &input))?.start;
    let picture = Picture::of(fetched.video).map_err(unusable)?;
    let (upright, turned) =
        orientation(&fetched.video.matrix).ok_or_else(|| unusable("rotated by no right angle".to_owned()))?;
    let sizes: Vec<(u32, u32)> = widths.iter().map(|&width| (width, height(picture, turned, width))).collect();

    let mut graph = format!("[0:v:0]trim=start_pts={rank}:end_pts={}{upright},split={}", rank + 1, sizes.len());
    graph.extend((0..sizes.len()).map(|n| format!("[in{n}]")));
    for (n, (width, height)) in sizes.iter().enumerate() {
        graph.push_str(&format!(";[in{n}]scale={width}:{height}:flags=bicubic+accurate_rnd,setsar=1[out{n}]"));
    }
    let mut command = ffmpeg.reading(&input);
    command.filter_complex(graph);
    let mut thumbnails = Vec::with_capacity(sizes.len());
    for (n, &(width, _)) in sizes.iter().enumerate() {
        let path = folder.join(format!("thumbnail_{width}.{}", format.extension()));
        command.map(format!("[out{n}]")).frames(1).args([
            "-fflags",
            "+bitexact",
            "-flags:v",
            "+bitexact",
            "-threads",
            "1",
        ]);
        match format {
            PictureFormat::Png => command.codec_video("png").args(["-compression_level", "1", "-pred", "sub"]),
            PictureFormat::Jpg => command.codec_video("mjpeg").pix_fmt("yuvj420p").args(["-q:v", "2"]),
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

/// The height of a picture of that width in the displayed aspect ratio, rounded, at least 1.
fn height(picture: Picture, turned: bool, width: u32) -> u32 {
    let across = u64::from(picture.width) * u64::from(picture.pixel_aspect.0.get());
    let down = u64::from(picture.height) * u64::from(picture.pixel_aspect.1.get());
    let (across, down) = if turned { (down, across) } else { (across, down) };
    let across = across.max(1);
    u32::try_from((u64::from(width) * down + across / 2) / across).unwrap_or(u32::MAX).max(1)
}

/// The filters that turn a picture upright, and whether they swap width and height. `tkhd`'s matrix maps (x, y) to
/// (a·x + c·y, b·x + d·y), in 16.16 (ISO/IEC 14496-12, section 8.3.2). `None` if it is no multiple of 90°, mirrored or not.
fn orientation(matrix: &[i32; 9]) -> Option<(&'static str, bool)> {
    const ONE: i32 = 0x1_0000;
    let &[a, b, _, c, d, ..] = matrix;
    Some(match [a, b, c, d].map(|n| n.checked_div(ONE).unwrap_or_default()) {
        [1, 0, 0, 1] => ("", false),
        [0, 1, -1, 0] => (",transpose=clock", true),
        [-1, 0, 0, -1] => (",hflip,vflip", false),
        [0, -1, 1, 0] => (",transpose=cclock", true),
        [-1, 0, 0, 1] => (",hflip", false),
        [1, 0, 0, -1] => (",vflip", false),
        [0, 1, 1, 0] => (",transpose=cclock_flip", true),
        [0, -1, -1, 0] => (",transpose=clock_flip", true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn the_height_follows_the_displayed_aspect_ratio() {
        let picture = |width, height, horizontal, vertical| Picture {
            width,
            height,
            pixel_aspect: (NonZeroU32::new(horizontal).expect("not 0"), NonZeroU32::new(vertical).expect("not 0")),
            rate: 30,
        };
        assert_eq!(height(picture(1280, 720, 1, 1), false, 300), 169);
        assert_eq!(height(picture(1280, 720, 1, 1), true, 300), 533);
        assert_eq!(height(picture(720, 576, 64, 45), false, 1024), 576);
        assert_eq!(height(picture(8192, 16, 1, 1), false, 1), 1);
    }
}
