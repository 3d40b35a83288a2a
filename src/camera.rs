//! The camera API: a camera's name, its recordings, and what is told of a clip (CONTRACT.md section 2).

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, header, redirect};
use serde_json::Value;
use url::Url;

use crate::deadline::Deadline;
use crate::error::{Error, Kind, chain};
use crate::metadata::ClipMetadata;
use crate::settings::Settings;
use crate::time::Span;

const CONNECT: Duration = Duration::from_secs(3);
const WHOLE_CALL: Duration = Duration::from_secs(20);
/// The longest answer that is read, in bytes.
const LONGEST_BODY: usize = 4 << 20;
const MOST_REDIRECTS: usize = 3;
/// AWS X-Ray Developer Guide, "Tracing header".
const TRACE_HEADER: &str = "x-amzn-trace-id";
/// Pauses before the second and the third try.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// A client of the camera API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CameraApi {
    http: Client,
    cameras: Url,
    recordings: Url,
    clips_endpoint: String,
    trace_header: Option<String>,
}

/// What the camera API said to a clip's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It took it.
    Accepted,
    /// It will never take it (any 4xx but 429): logged and counted, nothing else depends on it.
    Refused(Error),
}

/// An answer with its whole body.
struct Answer {
    status: StatusCode,
    location: Option<Url>,
    body: Vec<u8>,
}

impl CameraApi {
    /// A client for the APIs that `settings` name.
    ///
    /// # Errors
    /// If the TLS stack can't be set up.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let http = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none()) // followed here: only for GET, only on the same host
            .retry(reqwest::retry::never()) // here too: with the deadline in view
            .user_agent(env!("CARGO_PKG_NAME"))
            .build()
            .map_err(|error| Error::passing("HTTP client", chain(&error)))?;
        Ok(Self {
            http,
            cameras: settings.cam_services_url.clone(),
            recordings: settings.recordings_url.clone(),
            clips_endpoint: settings.clips_endpoint.clone(),
            trace_header: None,
        })
    }

    /// The same, sending X-Ray's trace header along. The SDKs do so by themselves.
    #[must_use]
    pub fn traced(&self, header: Option<&str>) -> Self {
        Self { trace_header: header.map(str::to_owned), ..self.clone() }
    }

    /// The camera's name in recordings.
    ///
    /// # Errors
    /// Refused if there is no such camera or it has no alias; passing if the API doesn't answer.
    pub async fn alias(&self, camera_id: &str, deadline: Deadline) -> Result<String, Error> {
        let url = below(&self.cameras, &["cameras", camera_id]);
        let answer = self.get(&url, deadline).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(refused(&url, "no such camera"));
        }
        let camera = json(&url, &answer)?;
        let alias = camera["alias"].as_str().filter(|alias| !matches!(*alias, "" | "." | ".."));
        alias.map(str::to_owned).ok_or_else(|| refused(&url, "a camera without an alias"))
    }

    /// The API's list of the recordings of `span`, entry by entry as it came, in any order.
    ///
    /// # Errors
    /// Refused if the answer is no list; passing if the API doesn't answer.
    pub async fn recordings(&self, alias: &str, span: Span, deadline: Deadline) -> Result<Vec<Value>, Error> {
        let mut url = below(&self.recordings, &["cameras", "recording", alias]);
        url.query_pairs_mut()
            .append_pair("startDate", &span.start().as_ms().to_string())
            .append_pair("endDate", &span.end().as_ms().to_string())
            .append_pair("allowPartialMatch", "true");
        let answer = self.get(&url, deadline).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Vec::new());
        }
        match json(&url, &answer)? {
            Value::Null => Ok(Vec::new()),
            Value::Array(entries) => Ok(entries),
            _ => Err(refused(&url, "the recordings are no list")),
        }
    }

    /// Tells what became of a clip.
    ///
    /// # Errors
    /// Passing if the API doesn't answer; refused if its answer is none of HTTP's to a PUT.
    pub async fn put_clip(&self, clip_id: &str, metadata: &ClipMetadata, deadline: Deadline) -> Result<Told, Error> {
        let path = self.clips_endpoint.replace("{clipId}", clip_id);
        let url = self.cameras.join(&path).map_err(|error| refused(&self.cameras, error))?;
        let body = serde_json::to_vec(metadata).map_err(|error| refused(&url, error))?;
        let answer = self.call(&Method::PUT, &url, Some(&body), deadline).await?;
        let refusal = || refused(&url, format_args!("PUT answered {}", answer.status));
        match answer.status {
            status if status.is_success() => Ok(Told::Accepted),
            status if status.is_client_error() => Ok(Told::Refused(refusal())),
            _ => Err(refusal()), // a redirect, say: nobody has been told
        }
    }

    /// GET, following redirects on the same host. Any answer but 2xx and 404 is an error.
    async fn get(&self, url: &Url, deadline: Deadline) -> Result<Answer, Error> {
        let mut at = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.call(&Method::GET, &at, None, deadline).await?;
            match answer {
                Answer { status, location: Some(to), .. } if status.is_redirection() => {
                    let downgrade = at.scheme() == "https" && to.scheme() != "https";
                    if to.host() != at.host() || downgrade || !matches!(to.scheme(), "http" | "https") {
                        return Err(refused(url, "redirected elsewhere"));
                    }
                    at = to;
                }
                Answer { status, .. } if status.is_success() || status == StatusCode::NOT_FOUND => return Ok(answer),
                Answer { status, .. } => return Err(refused(url, format_args!("GET answered {status}"))),
            }
        }
        Err(refused(url, format_args!("more than {MOST_REDIRECTS} redirects")))
    }

    /// One call, tried again where that may help.
    async fn call(&self, method: &Method, url: &Url, body: Option<&[u8]>, deadline: Deadline) -> Result<Answer, Error> {
        let mut pauses = BACKOFF.into_iter();
        loop {
            let error = match deadline.run(WHOLE_CALL, &shown(url), self.attempt(method, url, body)).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match pauses.next() {
                Some(pause) if error.kind == Kind::Passing => tokio::time::sleep(deadline.limit(pause)).await,
                _ => return Err(error),
            }
        }
    }

    async fn attempt(&self, method: &Method, url: &Url, body: Option<&[u8]>) -> Result<Answer, Error> {
        let passing = |error: reqwest::Error| Error::passing(shown(url), chain(&error.without_url()));
        let mut request = self.http.request(method.clone(), url.clone()).header(header::ACCEPT, "application/json");
        if let Some(trace) = &self.trace_header {
            request = request.header(TRACE_HEADER, trace);
        }
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_vec());
        }
        let mut response = request.send().await.map_err(passing)?;
        let status = response.status();
        let location = response.headers().get(header::LOCATION).and_then(|to| url.join(to.to_str().ok()?).ok());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(passing)? {
            if body.len() + part.len() > LONGEST_BODY {
                return Err(refused(url, format_args!("an answer of more than {LONGEST_BODY} bytes")));
            }
            body.extend_from_slice(&part);
        }
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(Error::passing(shown(url), format_args!("{method} answered {status}")));
        }
        Ok(Answer { status, location, body })
    }
}

/// The address of `segments` on `base`'s host. The base's own path is ignored, and each segment stays one.
fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().extend(segments);
    }
    url
}

fn json(url: &Url, answer: &Answer) -> Result<Value, Error> {
    serde_json::from_slice(&answer.body).map_err(|error| refused(url, format_args!("no JSON: {error}")))
}

fn refused(url: &Url, reason: impl std::fmt::Display) -> Error {
    Error::new(Kind::Refused, shown(url), reason)
}

/// An address as it may stand in a log: a redirect's query may hold a signature, a base's user a password.
fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_the_base_is_ignored_and_a_segment_stays_one() {
        let base = Url::parse("https://host:8443/cameras/recording/?x=1#y").expect("valid");
        assert_eq!(below(&base, &["cameras", "a/b c"]).as_str(), "https://host:8443/cameras/a%2Fb%20c");
    }

    #[test]
    fn no_secret_of_an_address_is_shown() {
        let url = Url::parse("https://user:secret@host:8443/cameras/1?signature=secret#secret").expect("valid");
        assert_eq!(shown(&url), "https://host:8443/cameras/1");
    }
}
