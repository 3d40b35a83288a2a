//! The keys of a request's objects in the destination bucket.

use std::fmt::Display;

use exact_cut::render::thumbnails::PictureFormat;

use crate::contract::message_body::Request;

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
