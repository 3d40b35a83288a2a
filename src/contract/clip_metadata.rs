//! The clip metadata: what the camera API and SNS learn about a clip (docs/contract.md, "What is announced").

use exact_cut::render::thumbnails::PictureFormat;
use exact_cut::time::Span;
use serde::Serialize;
use url::Url;

use crate::contract::message_body::Request;
use crate::contract::object_keys::Keys;
use crate::contract::status::Status;

/// Where consumers find the objects of an available clip.
#[derive(Clone, Copy, Debug)]
pub struct ClipLocation<'a> {
    /// Destination bucket.
    pub bucket: &'a str,
    /// Base of the public URLs.
    pub clip_url: &'a Url,
    /// Format of the thumbnails.
    pub format: PictureFormat,
    /// Widths of the thumbnails, in pixels.
    pub sizes: &'a [u32],
}

/// The metadata message. Its serialized form is the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClipMetadata {
    clip_id: String,
    camera_id: String,
    start_timestamp_in_ms: i64,
    end_timestamp_in_ms: i64,
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
    /// Returns the metadata of an available clip that lacks `gaps` of its span.
    #[must_use]
    pub fn available(request: &Request, location: &ClipLocation<'_>, gaps: &[Span]) -> Self {
        let keys = Keys { request, format: location.format };
        Self {
            bucket: Some(location.bucket.to_owned()),
            clip: Some(address(location.clip_url, &keys.clip())),
            thumbnail: Thumbnail {
                address: Some(address(location.clip_url, &keys.thumbnail("{size}"))),
                sizes: location.sizes.to_vec(),
            },
            gaps: gaps
                .iter()
                .map(|gap| Gap { start_timestamp_in_ms: gap.start().as_ms(), end_timestamp_in_ms: gap.end().as_ms() })
                .collect(),
            ..Self::without_clip(request, Status::Available)
        }
    }

    /// Returns the metadata of a request without a clip. It names no bucket, clip or thumbnail.
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

/// Joins the origin of `base` and `key`, as RFC 3986 section 5.2.2 resolves an absolute path: the path of the base is
/// ignored. Nothing is percent-encoded, because ids hold only unreserved characters and `{size}` stays literal.
fn address(base: &Url, key: &str) -> Address {
    let origin = base.origin().ascii_serialization();
    Address { url: format!("{origin}/{key}"), key: format!("/{key}") }
}

#[cfg(test)]
mod tests {
    use exact_cut::time::Timestamp;

    use super::*;
    use crate::contract::message_body::tests::request;

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
        let location = ClipLocation {
            bucket: "s3-test",
            clip_url: &base,
            format: PictureFormat::Png,
            sizes: &[300, 640, 1500, 3000],
        };
        let request = request(1_534_305_591_000, 1_534_305_611_000);
        serde_json::to_value(ClipMetadata::available(&request, &location, gaps)).expect("serializes")
    }

    #[test]
    fn an_available_clip_serializes_to_the_example_of_the_contract() {
        let expected: serde_json::Value = serde_json::from_str(EXAMPLE).expect("valid example");
        for base in ["https://camclips.sandbox.test.com", "https://camclips.sandbox.test.com/ignored/path/"] {
            assert_eq!(available(base, &[]), expected, "base {base}");
        }
    }

    #[test]
    fn the_field_gaps_exists_only_when_the_clip_has_gaps() {
        let gap = Span::new(Timestamp::from_us(1_534_305_600_000_999), Timestamp::from_us(1_534_305_607_000_000));
        let metadata = available("https://camclips.sandbox.test.com", &[gap.expect("in order")]);
        assert_eq!(
            metadata["gaps"],
            serde_json::json!([{"startTimestampInMs": 1_534_305_600_000_i64, "endTimestampInMs": 1_534_305_607_000_i64}])
        );
    }

    #[test]
    fn other_statuses_name_no_bucket_clip_or_thumbnail() {
        let metadata = ClipMetadata::without_clip(&request(1_537_119_363_001, 1_537_119_363_002), Status::Pending);
        assert_eq!(
            serde_json::to_string(&metadata).expect("serializes"),
            concat!(
                r#"{"clipId":"1111111111111","cameraId":"1111111111111","startTimestampInMs":1537119363001,"#,
                r#""endTimestampInMs":1537119363002,"#,
                r#""status":"CLIP_PENDING","thumbnail":{"sizes":[]}}"#
            )
        );
    }
}
