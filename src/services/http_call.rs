//! Calls of an HTTP API: attempts, each with its limit, and redirects.
//!
//! Most faults that pass concern one connection. So a first attempt leaves time for another one, and later attempts get
//! connections of their own.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

use exact_cut::deadline::Deadline;
use reqwest::{Client, Method, header, redirect};
use tokio::time::Instant;
use url::Url;

use crate::error::{Error, ErrorKind, chain};
use crate::mismatch::mismatch;
use crate::services::errors::timed_out;
use crate::services::http_answer::{Answer, delay, redirected, refusal};
use crate::services::limits::{CALL, CONNECT, FIRST_CAMERA_ATTEMPT};
use crate::services::renewable::Renewable;

const MAX_BODY_BYTES: usize = 4 << 20;
const MAX_REDIRECTS: usize = 3;
/// A longer `Retry-After` fails the record, and the message stays hidden for at least that time.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);
/// AWS X-Ray Developer Guide, "Tracing header".
const TRACE_HEADER: &str = "x-amzn-trace-id";
/// Pauses before the second and the third attempt.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// HTTP clients.
#[derive(Debug)]
pub(super) struct Http {
    /// For first attempts. Keeps connections.
    pooled: Renewable<Client>,
    /// For later attempts. Makes a connection for each.
    unpooled: OnceLock<Client>,
    idle: Duration,
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub method: Method,
    pub url: &'a Url,
    /// The body.
    pub json: Option<&'a [u8]>,
    /// The X-Ray trace header.
    pub trace_header: Option<&'a str>,
}

/// The time for all attempts and redirects of a call.
#[derive(Clone, Copy)]
struct CallTime {
    whole: Duration,
    end: Instant,
}

/// A failed attempt.
struct Failure {
    error: Error,
    /// Whether there was an answer.
    is_answered: bool,
    /// `Retry-After` of the answer.
    retry_after: Option<Duration>,
}

impl Http {
    /// Returns clients that close a connection that was unused for `idle`.
    ///
    /// # Errors
    /// Transient if TLS cannot be set up.
    pub fn new(idle: Duration) -> Result<Self, Error> {
        Ok(Self { pooled: Renewable::new(move || client(idle, usize::MAX))?, unpooled: OnceLock::new(), idle })
    }

    /// Sends a request and follows redirects on the same host. After 301 and 302 a PUT would become a GET (RFC 9110, section
    /// 15.4), so a PUT follows only 307 and 308, which keep method and body.
    ///
    /// # Errors
    /// Transient if there is no usable answer in time; permanent if it is a redirect that is not followed, or too long.
    pub async fn call(&self, call: &Call<'_>, deadline: Deadline) -> Result<Answer, Error> {
        let time = CallTime::new(deadline);
        let (method, url) = (&call.method, call.url);
        let mut at = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.repeat(&Call { url: &at, ..call.clone() }, time).await?;
            let keeps_method = matches!(answer.status.as_u16(), 307 | 308);
            match &answer.location {
                Some(to) if answer.status.is_redirection() => {
                    if *method != Method::GET && !keeps_method {
                        let (status, to) = (answer.status, loggable(to));
                        let reason = format_args!("{method} answered {status}: the API has moved to {to}");
                        return Err(permanent(url, reason));
                    }
                    at = redirected(&at, to).ok_or_else(|| {
                        permanent(url, mismatch("redirect", "one on the same host, not to http", loggable(to)))
                    })?;
                }
                _ => return Ok(answer),
            }
        }
        Err(permanent(url, mismatch("redirects", format_args!("at most {MAX_REDIRECTS}"), MAX_REDIRECTS + 1)))
    }

    /// Sends a request, and repeats it after a transient failure.
    async fn repeat(&self, call: &Call<'_>, time: CallTime) -> Result<Answer, Error> {
        let mut pauses = BACKOFF.into_iter();
        let mut attempt = self.first_attempt(call, time).await;
        loop {
            let Failure { error, retry_after, .. } = match attempt {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            match pauses.next().map(|pause| retry_after.unwrap_or_default().max(pause)) {
                Some(pause) if error.kind.is_transient() && pause <= MAX_RETRY_AFTER && pause < time.left() => {
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    let retry_after = retry_after.filter(|delay| *delay > MAX_RETRY_AFTER);
                    return Err(Error { retry_after, ..error });
                }
            }
            attempt = self::attempt(self.unpooled()?, call, time.left(), time).await;
        }
    }

    async fn first_attempt(&self, call: &Call<'_>, time: CallTime) -> Result<Answer, Failure> {
        let (pooled, generation) = self.pooled.get();
        let attempt = attempt(&pooled, call, time.of_first_attempt(), time).await;
        if attempt.as_ref().is_err_and(|failure| !failure.is_answered) {
            self.pooled.renew(generation);
        }
        attempt
    }

    fn unpooled(&self) -> Result<&Client, Error> {
        match self.unpooled.get() {
            Some(client) => Ok(client),
            None => client(self.idle, 0).map(|client| self.unpooled.get_or_init(|| client)),
        }
    }
}

/// Returns a client that keeps unused connections for `idle`, and at most `max_idle` of them to each host.
fn client(idle: Duration, max_idle: usize) -> Result<Client, Error> {
    Client::builder()
        .connect_timeout(CONNECT)
        .pool_idle_timeout(idle)
        .pool_max_idle_per_host(max_idle)
        .redirect(redirect::Policy::none()) // `call` follows, on the same host only
        .retry(reqwest::retry::never()) // `repeat` retries, within the deadline
        .user_agent(env!("CARGO_PKG_NAME"))
        .build()
        .map_err(|error| Error::transient("HTTP client", chain(&error)))
}

async fn attempt(http: &Client, call: &Call<'_>, limit: Duration, time: CallTime) -> Result<Answer, Failure> {
    let answer = tokio::time::timeout(limit, exchange(http, call)).await;
    answer.unwrap_or_else(|_| Err(timed_out(&loggable(call.url), limit, time.whole < CALL).into()))
}

/// Sends a request and receives the whole answer.
async fn exchange(http: &Client, Call { method, url, json, trace_header }: &Call<'_>) -> Result<Answer, Failure> {
    let transient = |error: reqwest::Error| {
        let kind = if error.is_connect() { ErrorKind::Unreachable } else { ErrorKind::Transient };
        Failure::from(Error::new(kind, loggable(url), chain(&error.without_url())))
    };
    let mut request = http.request(method.clone(), (*url).clone()).header(header::ACCEPT, "application/json");
    if let Some(trace) = trace_header {
        request = request.header(TRACE_HEADER, *trace);
    }
    if let Some(body) = json {
        request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_vec());
    }
    let mut response = request.send().await.map_err(transient)?;
    let status = response.status();
    let field = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let location = field(header::LOCATION).and_then(|to| url.join(to).ok());
    let content_type = field(header::CONTENT_TYPE).unwrap_or_default().to_owned();
    let retry_after = field(header::RETRY_AFTER).and_then(delay);
    let length = response.content_length();
    let mut body = Vec::new();
    while let Some(part) = response.chunk().await.map_err(transient)? {
        if body.len() + part.len() > MAX_BODY_BYTES {
            let expected = format_args!("at most {MAX_BODY_BYTES} bytes");
            let at_least = || format!("at least {}", body.len() + part.len());
            let got = length.map_or_else(at_least, |length| length.to_string());
            return Err(permanent(url, mismatch("body", expected, got)).into());
        }
        body.extend_from_slice(&part);
    }
    let answer = Answer { status, location, content_type, body };
    if status.is_server_error() || matches!(status.as_u16(), 408 | 429) {
        let error = Error::transient(loggable(url), refusal(method, &answer));
        return Err(Failure { error, is_answered: true, retry_after });
    }
    Ok(answer)
}

impl CallTime {
    fn new(deadline: Deadline) -> Self {
        let whole = deadline.limit(CALL);
        Self { whole, end: Instant::now() + whole }
    }

    fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// Returns the usual limit, or the same share of less time.
    fn of_first_attempt(self) -> Duration {
        self.left().min(self.whole.mul_f64(FIRST_CAMERA_ATTEMPT.div_duration_f64(CALL)))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, is_answered: false, retry_after: None }
    }
}

pub(super) fn permanent(url: &Url, reason: impl Display) -> Error {
    Error::permanent(loggable(url), reason)
}

/// Returns a URL without what may be secret: its user info, which may hold a password, and its query, which may hold a
/// signature.
pub(super) fn loggable(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

#[cfg(test)]
mod tests {
    use testkit::camera_api::{Answer, CameraApi};

    use super::*;
    use crate::services::limits::IDLE;

    #[test]
    fn a_loggable_url_holds_no_secret() {
        let url = Url::parse("https://user:secret@host:8443/cameras/1?signature=secret#secret").expect("valid");
        assert_eq!(loggable(&url), "https://host:8443/cameras/1");
    }

    #[test]
    fn a_first_attempt_gets_8_s_of_20_and_the_same_share_of_less() {
        let first = |left: Duration| CallTime::new(Deadline::after(left)).of_first_attempt();
        assert_eq!(CallTime::new(Deadline::unknown()).of_first_attempt(), FIRST_CAMERA_ATTEMPT);
        assert_eq!(first(Duration::from_hours(1)), FIRST_CAMERA_ATTEMPT);
        let short = first(Duration::from_secs(40));
        assert!(short <= Duration::from_secs(4) && short > Duration::from_millis(3900), "of 10 s: {short:?}");
    }

    /// Returns the number of connections for so many calls, one after the other.
    async fn connections(idle: Duration, calls: usize) -> usize {
        let api = CameraApi::start().await;
        api.answers("GET /cameras/1", [Answer::text("{}")]);
        let url = Url::parse(&format!("{}/cameras/1", api.url)).expect("valid");
        let http = Http::new(idle).expect("a client");
        for _ in 0..calls {
            let call = Call { method: Method::GET, url: &url, json: None, trace_header: None };
            assert!(http.call(&call, Deadline::unknown()).await.is_ok());
        }
        api.connections()
    }

    #[tokio::test]
    async fn a_connection_is_used_again_until_it_was_unused_for_too_long() {
        assert!(connections(IDLE, 20).await < 20);
        assert_eq!(connections(Duration::from_nanos(1), 20).await, 20);
    }
}
