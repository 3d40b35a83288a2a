//! The destination bucket: whether a request's clip is already stored, and storing it.
//!
//! A stored object names the request that it was made for in its user-defined metadata (docs/contract.md, section 4). So a
//! repeated request is recognized, and announced again without rendering.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use exact_cut::deadline::Deadline;
use exact_cut::render::thumbnails::{PictureFormat, Thumbnail};
use exact_cut::time::{Span, Timestamp};
use futures::future::try_join_all;
use tracing::warn;

use crate::contract::message_body::Request;
use crate::contract::object_keys::Keys;
use crate::error::Error;
use crate::mismatch::mismatch;
use crate::services::s3::{LookUp, ObjectHead, ObjectId, S3, Upload};
use crate::settings::Settings;

/// The setting that names the bucket.
const SETTING: &str = "S3_BUCKET_DESTINATION";
/// Changes whenever the same request would give other bytes.
const RECIPE: &str = "6";
const RECIPE_FIELD: &str = "recipe";
const GAPS: &str = "gaps";
const NO_GAPS: &str = "none";
const TOO_MANY_GAPS: &str = "many";
/// S3 holds 2 KB of user-defined metadata an object (`PutObject`, "User-defined object metadata").
const MAX_GAPS_BYTES: usize = 1500;

/// The clips and thumbnails in the destination bucket.
#[derive(Clone, Debug)]
pub struct ClipStore {
    s3: S3,
    bucket: String,
    widths: Vec<u32>,
    format: PictureFormat,
    cache_control: Option<String>,
    /// Whether a warning has said that the role may not look objects up.
    has_warned: Arc<AtomicBool>,
}

/// A clip that is stored with all its thumbnails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredClip {
    /// Parts of the span that the clip lacks.
    pub gaps: Vec<Span>,
}

/// A clip and its thumbnails on disk.
#[derive(Clone, Copy, Debug)]
pub struct ClipFiles<'a> {
    /// The clip.
    pub clip: &'a Path,
    /// Its thumbnails.
    pub thumbnails: &'a [Thumbnail],
    /// Name under which a browser saves the clip.
    pub download_name: &'a str,
}

impl ClipStore {
    #[must_use]
    pub fn new(s3: S3, settings: &Settings) -> Self {
        Self {
            s3,
            bucket: settings.bucket_destination.clone(),
            widths: settings.thumbnail_sizes.clone(),
            format: settings.thumbnail_format,
            cache_control: settings.clip_cache_control.clone(),
            has_warned: Arc::default(),
        }
    }

    /// Returns the clip of `request`, if it was made for this very request and its thumbnails are there. To a role that may
    /// not look, no clip counts as stored.
    ///
    /// # Errors
    /// As S3 answers.
    pub async fn look_up(&self, request: &Request, deadline: Deadline) -> Result<Option<StoredClip>, Error> {
        let objects = match self.heads(request, deadline).await? {
            Heads::Answered(objects) => objects,
            Heads::Forbidden(error) => {
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    let Error { object, reason, .. } = error;
                    warn!(object, reason, "stored clips not recognized: the role needs s3:GetObject and s3:ListBucket");
                }
                return Ok(None);
            }
        };
        let heads: Option<Vec<ObjectHead>> = objects.into_iter().map(|(_, head)| head).collect();
        let Some(heads) = heads else { return Ok(None) };
        let gaps = heads.first().and_then(|clip| read_gaps(&clip.metadata));
        Ok(gaps.map(|gaps| StoredClip { gaps }))
    }

    /// Stores a clip and its thumbnails. Thumbnails go first: if a clip is stored, its thumbnails are, too. Returns the
    /// objects as they must be found afterwards, the clip first.
    ///
    /// # Errors
    /// As S3 answers, or transient if the disk fails.
    pub async fn put(
        &self,
        request: &Request,
        files: ClipFiles<'_>,
        gaps: &[Span],
        deadline: Deadline,
    ) -> Result<Vec<ObjectHead>, Error> {
        let (keys, metadata) = (self.keys(request), self.tag(request).with_gaps(gaps));
        let disposition = format!("inline; filename=\"{}\"", files.download_name);
        let put = |key: String, upload| {
            let id = self.object(key);
            async move { self.s3.put(&id, upload, deadline).await.map_err(|error| error.see(SETTING)) }
        };
        let upload = |path, content_type| Upload {
            path,
            content_type,
            content_disposition: None,
            cache_control: None,
            metadata: &metadata,
        };
        let thumbnails = files.thumbnails.iter();
        let thumbnails =
            thumbnails.map(|one| put(keys.thumbnail(one.width), upload(&one.path, self.format.content_type())));
        let thumbnails = try_join_all(thumbnails).await?;
        let clip = Upload {
            content_disposition: Some(&disposition),
            cache_control: self.cache_control.as_deref(),
            ..upload(files.clip, "video/mp4")
        };
        let clip = put(keys.clip(), clip).await?;
        let lengths = [clip].into_iter().chain(thumbnails);
        Ok(lengths.map(|length| ObjectHead { length, metadata: metadata.clone() }).collect())
    }

    /// Checks that the objects of `request` are those that were stored. To a role that may not look, the CRC-32 of each
    /// upload is the proof.
    ///
    /// # Errors
    /// Transient if they are not, else as S3 answers.
    pub async fn check(&self, request: &Request, stored: Vec<ObjectHead>, deadline: Deadline) -> Result<(), Error> {
        match self.heads(request, deadline).await? {
            Heads::Answered(objects) => {
                let is_kept =
                    |index: usize, head: &Option<ObjectHead>| head.is_some() && head.as_ref() == stored.get(index);
                let other = objects.iter().enumerate().filter(|(index, (_, head))| !is_kept(*index, head));
                let other: Vec<&ObjectId> = other.map(|(_, (id, _))| id).collect();
                let Some(first) = other.first() else { return Ok(()) };
                let expected = format_args!("{} as they were sent", objects.len());
                let got = format_args!("{} (missing or another: {first})", objects.len() - other.len());
                Err(Error::transient(&request.clip_id, mismatch("stored objects", expected, got)))
            }
            Heads::Forbidden(_) => Ok(()),
        }
    }

    async fn heads(&self, request: &Request, deadline: Deadline) -> Result<Heads, Error> {
        let keys = self.keys(request);
        let thumbnails = self.widths.iter().map(|width| keys.thumbnail(width));
        let objects = [keys.clip()].into_iter().chain(thumbnails).map(|key| self.object(key));
        let look_up = |id: ObjectId| async move {
            let found = self.s3.head(&id, deadline).await.map_err(|error| error.see(SETTING))?;
            Ok::<_, Error>((id, found))
        };
        let (tag, mut answered) = (self.tag(request), Vec::new());
        for (id, found) in try_join_all(objects.map(look_up)).await? {
            let head = match found {
                LookUp::Forbidden(error) => return Ok(Heads::Forbidden(error)),
                LookUp::Found(head) => Some(head).filter(|head| head.length > 0 && tag.matches(&head.metadata)),
                LookUp::NotFound => None,
            };
            answered.push((id, head));
        }
        Ok(Heads::Answered(answered))
    }

    fn tag(&self, request: &Request) -> StoredClipTag {
        StoredClipTag::new(request, &self.widths, self.format)
    }

    fn keys<'a>(&self, request: &'a Request) -> Keys<'a> {
        Keys { request, format: self.format }
    }

    fn object(&self, key: String) -> ObjectId {
        ObjectId { bucket: self.bucket.clone(), key }
    }
}

/// The objects under the keys of a request.
enum Heads {
    /// S3 says what is there, the clip first. `None` is an object that is missing, empty, or made for another request.
    Answered(Vec<(ObjectId, Option<ObjectHead>)>),
    /// The role may not look at one of them.
    Forbidden(Error),
}

/// The metadata of every object that is stored for one request, except for the gaps, which only the footage tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StoredClipTag(HashMap<String, String>);

impl StoredClipTag {
    fn new(request: &Request, widths: &[u32], format: PictureFormat) -> Self {
        let widths: Vec<String> = widths.iter().map(u32::to_string).collect();
        let fields = [
            ("clip", request.clip_id.clone()),
            ("camera", request.camera_id.clone()),
            ("start-ms", request.span.start().as_ms().to_string()),
            ("end-ms", request.span.end().as_ms().to_string()),
            ("sizes", widths.join(" ")),
            ("format", format.extension().to_owned()),
            (RECIPE_FIELD, RECIPE.to_owned()),
        ];
        Self(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Returns the metadata as it is stored. A clip with more gaps than fit is rendered anew when it is asked for again.
    fn with_gaps(&self, gaps: &[Span]) -> HashMap<String, String> {
        let written: Vec<String> =
            gaps.iter().map(|gap| format!("{}-{}", gap.start().as_ms(), gap.end().as_ms())).collect();
        let written = match written.join(",") {
            empty if empty.is_empty() => NO_GAPS.to_owned(), // an empty header may get lost on its way
            long if long.len() > MAX_GAPS_BYTES => TOO_MANY_GAPS.to_owned(),
            written => written,
        };
        let mut metadata = self.0.clone();
        metadata.insert(GAPS.to_owned(), written);
        metadata
    }

    /// Returns whether `metadata` belongs to the same request. The recipe is noted, not compared: a clip that was announced
    /// stays as it is.
    fn matches(&self, metadata: &HashMap<String, String>) -> bool {
        self.0.iter().all(|(name, value)| name == RECIPE_FIELD || metadata.get(name) == Some(value))
    }
}

/// Returns the gaps that stored metadata names, or `None` if it names none that can be read.
fn read_gaps(metadata: &HashMap<String, String>) -> Option<Vec<Span>> {
    let gap = |text: &str| {
        let (start, end) = text.split_once('-')?;
        Span::new(Timestamp::from_ms(start.parse().ok()?)?, Timestamp::from_ms(end.parse().ok()?)?)
    };
    match metadata.get(GAPS)?.as_str() {
        NO_GAPS => Some(Vec::new()),
        gaps => gaps.split(',').map(gap).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::message_body::tests::request;

    fn gap(from: i64, to: i64) -> Span {
        Span::new(Timestamp::from_ms(from).expect("valid"), Timestamp::from_ms(to).expect("valid")).expect("in order")
    }

    #[test]
    fn gaps_survive_being_stored() {
        let tag = StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_364_700), &[300], PictureFormat::Png);
        for gaps in [vec![], vec![gap(7, 11)], vec![gap(7, 11), gap(1300, 1700)]] {
            let stored = tag.with_gaps(&gaps);
            assert_eq!(read_gaps(&stored), Some(gaps));
            assert!(tag.matches(&stored));
        }
    }

    #[test]
    fn more_gaps_than_s3_holds_do_not_count_as_none() {
        let gaps: Vec<Span> = (0..200).map(|n| gap(n * 10 + 1_537_119_363_000, n * 10 + 1_537_119_363_007)).collect();
        let stored = StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_363_007), &[300], PictureFormat::Png)
            .with_gaps(&gaps);
        assert!(stored.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() < 2048);
        assert_eq!(read_gaps(&stored), None);
    }

    #[test]
    fn a_clip_of_an_earlier_recipe_is_of_the_same_request() {
        let tag = StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_363_007), &[300], PictureFormat::Png);
        let mut stored = tag.with_gaps(&[]);
        stored.insert(RECIPE_FIELD.to_owned(), "1".to_owned());
        assert!(tag.matches(&stored));
    }

    #[test]
    fn the_tag_of_another_request_does_not_match() {
        let tag = StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_363_007), &[300, 640], PictureFormat::Png);
        for other in [
            StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_363_008), &[300, 640], PictureFormat::Png),
            StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_363_007), &[300], PictureFormat::Png),
            StoredClipTag::new(&request(1_537_119_363_005, 1_537_119_363_007), &[300, 640], PictureFormat::Jpg),
        ] {
            assert!(!tag.matches(&other.with_gaps(&[])));
        }
        assert!(!tag.matches(&HashMap::new()));
    }
}
