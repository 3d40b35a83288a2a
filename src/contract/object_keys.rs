//! The keys of a request's objects in the destination bucket, and the name under which a browser saves a clip.

use std::fmt::Display;

use exact_cut::render::thumbnails::PictureFormat;
use exact_cut::time::Timestamp;

use crate::contract::message_body::Request;

/// Longest name of a downloaded file, in characters.
const MAX_NAME: usize = 100;

/// Returns the file name of a clip of the camera `alias` whose first frame was taken at `taken_at`, such as
/// `hbpiernscam-20180916T173944500Z.mp4`. It has at most 100 characters, all of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn download_name(alias: &str, taken_at: Timestamp) -> String {
    let instant = chrono::DateTime::from_timestamp_millis(taken_at.as_ms()).unwrap_or_default();
    let end = format!("-{}.mp4", instant.format("%Y%m%dT%H%M%S%3fZ"));
    let is_plain = |character: &char| character.is_ascii_alphanumeric() || "._-".contains(*character);
    let plain = alias.chars().map(|character| Some(character).filter(is_plain).unwrap_or('_'));
    plain.take(MAX_NAME - end.len()).collect::<String>() + &end
}

/// The keys of one request.
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    pub request: &'a Request,
    /// Format of the thumbnails.
    pub format: PictureFormat,
}

impl Keys<'_> {
    /// Returns the key of the clip.
    #[must_use]
    pub fn clip(&self) -> String {
        format!("{}/{}.mp4", self.request.camera_id, self.request.clip_id)
    }

    /// Returns the key of the thumbnail that is `size` pixels wide. With `{size}` as `size`, it is the pattern of all keys.
    #[must_use]
    pub fn thumbnail(&self, size: impl Display) -> String {
        format!("{}/{}_{size}.{}", self.request.camera_id, self.request.clip_id, self.format.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_bears_the_camera_and_the_instant_of_its_first_frame() {
        let at = Timestamp::from_us(1_537_119_584_500_999);
        assert_eq!(download_name("hbpiernscam", at), "hbpiernscam-20180916T173944500Z.mp4");
        assert_eq!(download_name("a b/ü\"\r;c.d_e-f", at), "a_b_____c.d_e-f-20180916T173944500Z.mp4");
        let long = download_name(&"x".repeat(300), at);
        assert_eq!((long.len(), &long[75..]), (100, "x-20180916T173944500Z.mp4"));
    }
}
