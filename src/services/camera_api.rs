//! The camera API: the alias of a camera, its recordings, and the metadata of clips (docs/contract.md, "The camera API").
//!
//! The transport tolerates what Python's `requests` tolerated, because the API was only ever called by it: compressed
//! answers, a byte order mark, other charsets, an empty list as 204, and redirects on the same host.

use std::fmt::Display;
use std::time::Duration;

use exact_cut::deadline::Deadline;
use exact_cut::time::Span;
use reqwest::{Client, Method, StatusCode, header, redirect};
use serde_json::Value;
use url::Url;

use crate::contract::clip_metadata::ClipMetadata;
use crate::error::{Error, ErrorKind, chain};
use crate::services::errors::within;
use crate::services::http_answer::{Answer, delay, kind, media_type, redirected, refusal, text};
use crate::settings::Settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const MAX_BODY_BYTES: usize = 4 << 20;
const MAX_REDIRECTS: usize = 3;
/// A longer `Retry-After` fails the record, and the message stays hidden for at least that time.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// AWS X-Ray Developer Guide, "Tracing header".
const TRACE_HEADER: &str = "x-amzn-trace-id";
/// Pauses before the second and the third try.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// A client of the camera API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CameraApi {
    http: Client,
    pub(super) cameras: Url,
    pub(super) recordings: Url,
    clips_endpoint: String,
    trace_header: Option<String>,
}

/// The answer of the camera API to the metadata of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    Accepted,
    /// The API refuses the metadata for good (any 4xx but 429).
    Refused(Error),
}

/// A failed attempt.
struct Attempt {
    error: Error,
    /// `Retry-After` of the answer.
    retry_after: Option<Duration>,
}

impl CameraApi {
    /// Returns a client of the APIs in `settings`.
    ///
    /// # Errors
    /// Transient if TLS cannot be set up.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let http = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none()) // `follow` does, on the same host only
            .retry(reqwest::retry::never()) // `call` retries, within the deadline
            .user_agent(env!("CARGO_PKG_NAME"))
            .build()
            .map_err(|error| Error::transient("HTTP client", chain(&error)))?;
        Ok(Self {
            http,
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
        let answer = self.get(&url, deadline).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(permanent(&url, "the camera does not exist"));
        }
        let camera = json(&url, &answer)?;
        let alias = camera["alias"].as_str().filter(|alias| !matches!(*alias, "" | "." | ".."));
        alias.map(str::to_owned).ok_or_else(|| permanent(&url, "the camera has no alias"))
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
        let answer = self.get(&url, deadline).await?;
        if answer.status == StatusCode::NOT_FOUND || text(&answer).trim().is_empty() {
            return Ok(Vec::new());
        }
        match json(&url, &answer)? {
            Value::Null => Ok(Vec::new()),
            Value::Array(entries) => Ok(entries),
            other => Err(permanent(&url, format_args!("body: expected a list of recordings, got {}", kind(&other)))),
        }
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
        let answer = self.follow(&Method::PUT, &url, Some(&body), deadline).await?;
        let refusal = || permanent(&url, refusal(&Method::PUT, &answer));
        match answer.status {
            status if status.is_success() => Ok(PutOutcome::Accepted),
            status if status.is_client_error() => Ok(PutOutcome::Refused(refusal())),
            _ => Err(refusal()), // the API does not have the metadata
        }
    }

    /// Sends a GET request. Any answer but 2xx and 404 is an error.
    async fn get(&self, url: &Url, deadline: Deadline) -> Result<Answer, Error> {
        let answer = self.follow(&Method::GET, url, None, deadline).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        Err(permanent(url, refusal(&Method::GET, &answer)))
    }

    /// Sends a request and follows redirects on the same host. After 301 and 302 a PUT would become a GET (RFC 9110, section
    /// 15.4), so a PUT follows only 307 and 308, which keep method and body.
    pub(super) async fn follow(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&[u8]>,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.call(method, &at, body, deadline).await?;
            let keeps_method = matches!(answer.status.as_u16(), 307 | 308);
            match &answer.location {
                Some(to) if answer.status.is_redirection() => {
                    if *method != Method::GET && !keeps_method {
                        let (status, to) = (answer.status, loggable(to));
                        let reason =
                            format_args!("{method} answered {status}: set CAM_SERVICES_URL to the host of {to}");
                        return Err(permanent(url, reason));
                    }
                    at = redirected(&at, to)
                        .ok_or_else(|| permanent(url, format_args!("redirected to {}", loggable(to))))?;
                }
                _ => return Ok(answer),
            }
        }
        Err(permanent(url, format_args!("more than {MAX_REDIRECTS} redirects")))
    }

    /// Sends a request, and repeats it after a transient failure.
    async fn call(&self, method: &Method, url: &Url, body: Option<&[u8]>, deadline: Deadline) -> Result<Answer, Error> {
        let mut pauses = BACKOFF.into_iter();
        loop {
            let attempt = async { Ok(self.attempt(method, url, body).await) };
            let attempt = within(deadline, CALL_TIMEOUT, &loggable(url), attempt).await;
            let Attempt { error, retry_after } = match attempt {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(attempt)) => attempt,
                Err(error) => error.into(),
            };
            match pauses.next().map(|pause| retry_after.unwrap_or_default().max(pause)) {
                Some(pause) if error.kind.is_transient() && pause <= MAX_RETRY_AFTER => {
                    tokio::time::sleep(deadline.limit(pause)).await;
                }
                _ => {
                    let retry_after = retry_after.filter(|delay| *delay > MAX_RETRY_AFTER);
                    return Err(Error { retry_after, ..error });
                }
            }
        }
    }

    async fn attempt(&self, method: &Method, url: &Url, body: Option<&[u8]>) -> Result<Answer, Attempt> {
        let transient = |error: reqwest::Error| {
            let kind = if error.is_connect() { ErrorKind::Unreachable } else { ErrorKind::Transient };
            Attempt::from(Error::new(kind, loggable(url), chain(&error.without_url())))
        };
        let mut request = self.http.request(method.clone(), url.clone()).header(header::ACCEPT, "application/json");
        if let Some(trace) = &self.trace_header {
            request = request.header(TRACE_HEADER, trace);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let mut response = request.send().await.map_err(transient)?;
        let status = response.status();
        let field = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let location = field(header::LOCATION).and_then(|to| url.join(to).ok());
        let content_type = field(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let retry_after = field(header::RETRY_AFTER).and_then(delay);
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(transient)? {
            if body.len() + part.len() > MAX_BODY_BYTES {
                let reason = format_args!("body: expected at most {MAX_BODY_BYTES} bytes, got more");
                return Err(permanent(url, reason).into());
            }
            body.extend_from_slice(&part);
        }
        let answer = Answer { status, location, content_type, body };
        if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
            return Err(Attempt { error: Error::transient(loggable(url), refusal(method, &answer)), retry_after });
        }
        Ok(answer)
    }
}

impl From<Error> for Attempt {
    fn from(error: Error) -> Self {
        Self { error, retry_after: None }
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

fn json(url: &Url, answer: &Answer) -> Result<Value, Error> {
    serde_json::from_str(&text(answer)).map_err(|error| {
        let (length, media_type) = (answer.body.len(), media_type(answer));
        permanent(url, format_args!("body: expected JSON, got {length} bytes of {media_type}: {error}"))
    })
}

fn permanent(url: &Url, reason: impl Display) -> Error {
    Error::permanent(loggable(url), reason)
}

/// Returns a URL without what may be secret: its user info, which may hold a password, and its query, which may hold a
/// signature.
pub(super) fn loggable(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignores_the_path_of_the_base_and_keeps_a_segment_whole() {
        let base = Url::parse("https://host:8443/cameras/recording/?x=1#y").expect("valid");
        assert_eq!(url_of_path(&base, &["cameras", "a/b c"]).as_str(), "https://host:8443/cameras/a%2Fb%20c");
    }

    #[test]
    fn a_loggable_url_holds_no_secret() {
        let url = Url::parse("https://user:secret@host:8443/cameras/1?signature=secret#secret").expect("valid");
        assert_eq!(loggable(&url), "https://host:8443/cameras/1");
    }
}
