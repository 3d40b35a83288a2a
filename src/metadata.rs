//! What is said of a clip, to the camera API and to SNS (CONTRACT.md section 5).

use serde::Serialize;
use url::Url;

use crate::request::Request;
use crate::time::Span;
use crate::verdict::Status;

/// The format of the thumbnails, which is also their file extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PictureFormat {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpg,
}

impl PictureFormat {
    /// The file extension.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
        }
    }

    /// The media type (RFC 2045).
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpg => "image/jpeg",
        }
    }
}

/// The names of what a request leaves in the destination bucket.
pub struct Keys<'a> {
    /// The request.
    pub request: &'a Request,
    /// The thumbnails' format.
    pub format: PictureFormat,
}

impl Keys<'_> {
    /// The clip's key.
    #[must_use]
    pub fn clip(&self) -> String {
        format!("{}/{}.mp4", self.request.camera_id, self.request.clip_id)
    }

    /// The key of the thumbnail of that many pixels' width, or of all of them with `{size}`.
    #[must_use]
    pub fn thumbnail(&self, size: impl std::fmt::Display) -> String {
        format!("{}/{}_{size}.{}", self.request.camera_id, self.request.clip_id, self.format.extension())
    }
}

/// Where an available clip is to be had.
pub struct Place<'a> {
    /// The destination bucket.
    pub bucket: &'a str,
    /// The base of the public addresses.
    pub clip_url: &'a Url,
    /// The thumbnails' format.
    pub format: PictureFormat,
    /// The thumbnails' widths in pixels.
    pub sizes: &'a [u32],
}

/// The message of CONTRACT.md section 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClipMetadata {
    clip_id: String,
    camera_id: String,
    start_timestamp_in_ms: i64,
    end_timestamp_in_ms: i64,
    /// What became of the request.
    pub status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clip: Option<Address>,
    thumbnail: Thumbnail,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Gap>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Address {
    url: String,
    key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Thumbnail {
    #[serde(flatten)]
    address: Option<Address>,
    sizes: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gap {
    start_timestamp_in_ms: i64,
    end_timestamp_in_ms: i64,
}

impl ClipMetadata {
    /// An available clip, and what of the span it misses.
    #[must_use]
    pub fn available(request: &Request, place: &Place<'_>, gaps: &[Span]) -> Self {
        let keys = Keys { request, format: place.format };
        Self {
            bucket: Some(place.bucket.to_owned()),
            clip: Some(address(place.clip_url, &keys.clip())),
            thumbnail: Thumbnail {
                address: Some(address(place.clip_url, &keys.thumbnail("{size}"))),
                sizes: place.sizes.to_vec(),
            },
            gaps: gaps
                .iter()
                .map(|gap| Gap { start_timestamp_in_ms: gap.start().as_ms(), end_timestamp_in_ms: gap.end().as_ms() })
                .collect(),
            ..Self::without_clip(request, Status::Available)
        }
    }

    /// Any other status: there is no clip to point to.
    #[must_use]
    pub fn without_clip(request: &Request, status: Status) -> Self {
        Self {
            clip_id: request.clip_id.clone(),
            camera_id: request.camera_id.clone(),
            start_timestamp_in_ms: request.span.start().as_ms(),
            end_timestamp_in_ms: request.span.end().as_ms(),
            status,
            bucket: None,
            clip: None,
            thumbnail: Thumbnail { address: None, sizes: Vec::new() },
            gaps: Vec::new(),
        }
    }
}

/// The base's path is ignored (RFC 3986, section 5.2.2), and `{size}` stays literal, so nothing is percent-encoded here;
/// ids are of an alphabet that never needs it.
fn address(base: &Url, key: &str) -> Address {
    let origin = base.origin().ascii_serialization();
    Address { url: format!("{origin}/{key}"), key: format!("/{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::request;
    use crate::time::Timestamp;

    const EXAMPLE: &str = r#"{
      "clipId": "1111111111111", "cameraId": "1111111111111",
      "startTimestampInMs": 1534305591000, "endTimestampInMs": 1534305611000,
      "status": "CLIP_AVAILABLE",
      "bucket": "s3-test",
      "clip": { "url": "https://camclips.sandbox.test.com/1111111111111/1111111111111.mp4", "key": "/1111111111111/1111111111111.mp4" },
      "thumbnail": { "url": "https://camclips.sandbox.test.com/1111111111111/1111111111111_{size}.png",
                     "key": "/1111111111111/1111111111111_{size}.png", "sizes": [300, 640, 1500, 3000] }
    }"#;

    fn available(base: &str, gaps: &[Span]) -> serde_json::Value {
        let base = Url::parse(base).expect("a valid base");
        let place =
            Place { bucket: "s3-test", clip_url: &base, format: PictureFormat::Png, sizes: &[300, 640, 1500, 3000] };
        let request = request(1_534_305_591_000, 1_534_305_611_000);
        serde_json::to_value(ClipMetadata::available(&request, &place, gaps)).expect("serializes")
    }

    #[test]
    fn an_available_clip_reads_as_the_contract_shows_it() {
        let expected: serde_json::Value = serde_json::from_str(EXAMPLE).expect("valid example");
        for base in ["https://camclips.sandbox.test.com", "https://camclips.sandbox.test.com/ignored/path/"] {
            assert_eq!(available(base, &[]), expected, "base {base}");
        }
    }

    #[test]
    fn gaps_are_named_and_only_there_when_there_are_any() {
        let gap = Span::new(Timestamp::from_us(1_534_305_600_000_999), Timestamp::from_us(1_534_305_607_000_000));
        let metadata = available("https://camclips.sandbox.test.com", &[gap.expect("in order")]);
        assert_eq!(
            metadata["gaps"],
            serde_json::json!([{"startTimestampInMs": 1_534_305_600_000_i64, "endTimestampInMs": 1_534_305_607_000_i64}])
        );
    }

    #[test]
    fn any_other_status_points_nowhere() {
        let metadata = ClipMetadata::without_clip(&request(1, 2), Status::Pending);
        assert_eq!(
            serde_json::to_string(&metadata).expect("serializes"),
            concat!(
                r#"{"clipId":"1111111111111","cameraId":"1111111111111","startTimestampInMs":1,"endTimestampInMs":2,"#,
                r#""status":"CLIP_PENDING","thumbnail":{"sizes":[]}}"#
            )
        );
    }
}
