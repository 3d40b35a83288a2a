//! The camera API: the alias of a camera, its recordings, and the metadata of clips (docs/contract.md, "The camera API").
//!
//! The transport tolerates what Python's `requests` tolerated, because the API was only ever called by it: compressed
//! answers, a byte order mark, other charsets, an empty list as 204, and redirects on the same host.

use std::sync::Arc;

use exact_cut::deadline::Deadline;
use exact_cut::time::Span;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

use crate::contract::clip_metadata::ClipMetadata;
use crate::error::Error;
use crate::mismatch::{kind, mismatch, shown};
use crate::services::http_answer::{Answer, media_type, refusal, text};
use crate::services::http_call::{Call, Http, permanent};
use crate::services::limits::IDLE;
use crate::settings::Settings;

/// The setting that names the API of cameras.
pub(super) const CAMERAS: &str = "CAM_SERVICES_URL";
/// The setting that names the API of recordings.
pub(super) const RECORDINGS: &str = "RECORDINGS_URL";
/// The settings that make the URL of a clip's metadata.
const CLIPS: &str = "CAM_SERVICES_URL and CLIPS_ENDPOINT";

/// A client of the camera API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CameraApi {
    pub(super) http: Arc<Http>,
    pub(super) cameras: Url,
    pub(super) recordings: Url,
    clips_endpoint: String,
    trace_header: Option<String>,
}

/// The answer of the camera API to the metadata of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Accepted,
    /// The API refuses the metadata for good (any 4xx but 408 and 429).
    Refused(Error),
}

impl CameraApi {
    /// Returns a client of the APIs in `settings`.
    ///
    /// # Errors
    /// Transient if TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            http: Arc::new(Http::new(IDLE)?),
            cameras: settings.cam_services_url.clone(),
            recordings: settings.recordings_url.clone(),
            clips_endpoint: settings.clips_endpoint.clone(),
            trace_header: None,
        })
    }

    /// Returns a client that sends the X-Ray trace header along. The SDKs send it by themselves.
    #[must_use]
    pub fn traced(&self, header: Option<&str>) -> Self {
        Self { trace_header: header.map(str::to_owned), ..self.clone() }
    }

    /// Returns the alias of a camera, which names it in recordings.
    ///
    /// # Errors
    /// Permanent if the camera does not exist or has no alias; transient if the API does not answer.
    pub async fn alias(&self, camera_id: &str, deadline: Deadline) -> Result<String, Error> {
        let url = url_of_path(&self.cameras, &["cameras", camera_id]);
        let answer = self.get(&url, deadline).await;
        answer.and_then(|answer| alias(&url, &answer)).map_err(|error| error.see(CAMERAS))
    }

    /// Returns the API's list of the recordings of `span`, unparsed and in any order.
    ///
    /// # Errors
    /// Permanent if the answer is not a list; transient if the API does not answer.
    pub async fn recordings(&self, alias: &str, span: Span, deadline: Deadline) -> Result<Vec<Value>, Error> {
        let mut url = url_of_path(&self.recordings, &["cameras", "recording", alias]);
        url.query_pairs_mut()
            .append_pair("startDate", &span.start().as_ms().to_string())
            .append_pair("endDate", &span.end().as_ms().to_string())
            .append_pair("allowPartialMatch", "true");
        let answer = self.get(&url, deadline).await;
        answer.and_then(|answer| listed(&url, &answer)).map_err(|error| error.see(RECORDINGS))
    }

    /// Sends the metadata of a clip.
    ///
    /// # Errors
    /// Transient if the API does not answer; permanent if it neither accepts nor refuses the metadata.
    pub async fn put_clip(
        &self,
        clip_id: &str,
        metadata: &ClipMetadata,
        deadline: Deadline,
    ) -> Result<PutOutcome, Error> {
        let path = self.clips_endpoint.replace("{clipId}", clip_id);
        let url = self.cameras.join(&path).map_err(|error| permanent(&self.cameras, error))?;
        let body = serde_json::to_vec(metadata).map_err(|error| permanent(&url, error))?;
        let call = Call { json: Some(&body), ..self.call(Method::PUT, &url) };
        let answer = self.http.call(&call, deadline).await.map_err(|error| error.see(CLIPS))?;
        let refusal = || permanent(&url, refusal(&Method::PUT, &answer)).see(CLIPS);
        match answer.status {
            status if status.is_success() => Ok(PutOutcome::Accepted),
            status if status.is_client_error() => Ok(PutOutcome::Refused(refusal())),
            _ => Err(refusal()), // the API does not have the metadata
        }
    }

    /// Sends a GET request. Any answer but 2xx and 404 is an error.
    async fn get(&self, url: &Url, deadline: Deadline) -> Result<Answer, Error> {
        let answer = self.http.call(&self.call(Method::GET, url), deadline).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        Err(permanent(url, refusal(&Method::GET, &answer)))
    }

    pub(super) fn call<'a>(&'a self, method: Method, url: &'a Url) -> Call<'a> {
        Call { method, url, json: None, trace_header: self.trace_header.as_deref() }
    }
}

/// Returns the URL of the path `segments` on the host of `base`. The path of the base is ignored, and a segment stays one
/// segment.
pub(super) fn url_of_path(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().extend(segments);
    }
    url
}

/// Returns the alias in the answer about a camera.
fn alias(url: &Url, answer: &Answer) -> Result<String, Error> {
    if answer.status == StatusCode::NOT_FOUND {
        return Err(permanent(url, mismatch("camera", "one that the API knows", "404 Not Found")));
    }
    let camera = json(url, answer)?;
    let alias = camera["alias"].as_str().filter(|alias| !matches!(*alias, "" | "." | ".."));
    let got = || if camera["alias"].is_null() { "nothing".to_owned() } else { shown(&camera["alias"].to_string()) };
    alias.map(str::to_owned).ok_or_else(|| permanent(url, mismatch("alias", "the name of the camera", got())))
}

/// Returns the recordings in an answer.
fn listed(url: &Url, answer: &Answer) -> Result<Vec<Value>, Error> {
    if answer.status == StatusCode::NOT_FOUND || text(answer).trim().is_empty() {
        return Ok(Vec::new());
    }
    match json(url, answer)? {
        Value::Null => Ok(Vec::new()),
        Value::Array(entries) => Ok(entries),
        other => Err(permanent(url, mismatch("body", "a list of recordings", kind(&other)))),
    }
}

fn json(url: &Url, answer: &Answer) -> Result<Value, Error> {
    serde_json::from_str(&text(answer)).map_err(|error| {
        let (length, media_type) = (answer.body.len(), media_type(answer));
        permanent(url, mismatch("body", "JSON", format_args!("{length} bytes of {media_type}: {error}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_the_path_of_the_base_and_keeps_a_segment_whole() {
        let base = Url::parse("https://host:8443/cameras/recording/?x=1#y").expect("valid");
        assert_eq!(url_of_path(&base, &["cameras", "a/b c"]).as_str(), "https://host:8443/cameras/a%2Fb%20c");
    }
}
