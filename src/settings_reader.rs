//! Reads variables one by one and collects everything that is wrong with them. A refusal reads
//! `<VARIABLE>: expected <what>, got <what>`; it never repeats a URL, which may hold a password.

use std::fmt::Display;
use std::str::FromStr;

use tracing_subscriber::filter::Targets;
use url::Url;

/// Limit of `DelaySeconds` in SQS's `SendMessage`.
const MAX_DELAY_S: i32 = 900;
const MAX_THUMBNAIL_WIDTH: u32 = 8192;
const MAX_THUMBNAILS: usize = 16;

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    expected: String,
    /// If unset, the value itself is shown.
    got: Option<String>,
}

impl Mismatch {
    fn expected(expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), got: None }
    }

    fn got(self, got: impl Into<String>) -> Self {
        Self { got: Some(got.into()), ..self }
    }
}

impl From<&str> for Mismatch {
    fn from(expected: &str) -> Self {
        Self::expected(expected)
    }
}

/// Reads variables by `lookup`. An empty variable counts as unset.
pub struct Reader<F> {
    lookup: F,
    refusals: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub const fn new(lookup: F) -> Self {
        Self { lookup, refusals: Vec::new() }
    }

    /// Returns the raw value of a variable.
    pub fn raw(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|text| !text.is_empty())
    }

    /// Returns a variable that must be set, or `None` after a refusal.
    pub fn required<T, E: Into<Mismatch>>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(text) = self.raw(name) else {
            self.refuse(name, "a value", "nothing");
            return None;
        };
        self.parse(name, &text, parse)
    }

    /// Returns a variable or its default, or `None` after a refusal.
    pub fn or<T, E: Into<Mismatch>>(
        &mut self,
        name: &str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.raw(name);
        self.parse(name, text.as_deref().unwrap_or(default), parse)
    }

    /// Returns all refusals as one text, or `None` if there are none.
    pub fn refusals(&self) -> Option<String> {
        (!self.refusals.is_empty()).then(|| self.refusals.join("; "))
    }

    fn parse<T, E: Into<Mismatch>>(
        &mut self,
        name: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let refused = |mismatch: E| {
            let Mismatch { expected, got } = mismatch.into();
            self.refuse(name, expected, got.unwrap_or_else(|| format!("{text:?}")));
        };
        parse(text).map_err(refused).ok()
    }

    fn refuse(&mut self, name: &str, expected: impl Display, got: impl Display) {
        self.refusals.push(format!("{name}: expected {expected}, got {got}"));
    }
}

/// Reads Python's `True` or `False`, in any case.
pub fn boolean(text: &str) -> Result<bool, Mismatch> {
    match &*text.to_lowercase() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("True or False".into()),
    }
}

pub fn seconds(text: &str) -> Result<u32, Mismatch> {
    text.parse().map_err(|_| "a whole number of seconds".into())
}

/// Reads milliseconds, and returns microseconds.
pub fn milliseconds_as_us(text: &str) -> Result<i64, Mismatch> {
    let ms: u32 = text.parse().map_err(|_| Mismatch::expected("a whole number of milliseconds"))?;
    Ok(i64::from(ms) * 1000)
}

/// Reads seconds by which SQS can delay a message.
pub fn delay_seconds(text: &str) -> Result<i32, Mismatch> {
    let delay = text.parse().ok().and_then(|seconds: u32| i32::try_from(seconds).ok());
    let expected = || Mismatch::expected(format!("0 to {MAX_DELAY_S} seconds"));
    delay.filter(|&seconds| seconds <= MAX_DELAY_S).ok_or_else(expected)
}

pub fn http_url(text: &str) -> Result<Url, Mismatch> {
    let mismatch = Mismatch::expected("an http or https URL");
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) if url.has_host() => Err(mismatch.got(format!("the scheme {:?}", url.scheme()))),
        Ok(_) => Err(mismatch.got("a URL without a host")),
        Err(error) => Err(mismatch.got(format!("a text that is not a URL ({error})"))),
    }
}

/// Reads a path with the placeholder `{clipId}`, and makes it begin with one slash.
pub fn clips_endpoint(text: &str) -> Result<String, Mismatch> {
    let path = text.replace("{clipId}", "x");
    match path.find(['{', '}', '?', '#']) {
        None => Ok(format!("/{}", text.trim_start_matches('/'))),
        Some(at) => {
            let mismatch = Mismatch::expected("a path with no placeholder but {clipId}, and without ? and #");
            Err(mismatch.got(format!("a path with {}", &path[at..=at])))
        }
    }
}

pub fn arn(text: &str) -> Result<String, Mismatch> {
    if text.starts_with("arn:") { Ok(text.to_owned()) } else { Err("an ARN".into()) }
}

/// Reads the ARN of a queue that can delay single messages.
pub fn standard_queue_arn(text: &str) -> Result<String, Mismatch> {
    refuse_fifo(text.rsplit(':').next().unwrap_or_default())?;
    arn(text)
}

/// Reads the URL of a queue that can delay single messages.
pub fn standard_queue_url(text: &str) -> Result<String, Mismatch> {
    let url = http_url(text)?;
    refuse_fifo(url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default())?;
    Ok(text.to_owned())
}

/// The name of a FIFO queue ends in `.fifo` (Amazon SQS Developer Guide, "FIFO queue and message identifiers").
#[allow(clippy::case_sensitive_file_extension_comparisons)] // not a file extension
fn refuse_fifo(queue: &str) -> Result<(), Mismatch> {
    if queue.ends_with(".fifo") {
        let mismatch = Mismatch::expected("a standard queue");
        return Err(mismatch.got(format!("the FIFO queue {queue:?}, which cannot delay a single message")));
    }
    Ok(())
}

pub fn bucket(text: &str) -> Result<String, Mismatch> {
    if text.contains(['/', ' ']) { Err("the name of a bucket".into()) } else { Ok(text.to_owned()) }
}

/// Reads widths in pixels, separated by spaces or commas.
pub fn thumbnail_widths(text: &str) -> Result<Vec<u32>, Mismatch> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let width = |word: &str| word.parse().ok().filter(|width| (1..=MAX_THUMBNAIL_WIDTH).contains(width));
    words
        .map(width)
        .collect::<Option<Vec<u32>>>()
        .filter(|widths| (1..=MAX_THUMBNAILS).contains(&widths.len()))
        .filter(|widths| (1..widths.len()).all(|n| !widths[..n].contains(&widths[n])))
        .ok_or_else(|| {
            Mismatch::expected(format!("1 to {MAX_THUMBNAILS} different widths of 1 to {MAX_THUMBNAIL_WIDTH} pixels"))
        })
}

/// Reads a filter of `tracing`, or one of Python's level names.
pub fn log_filter(text: &str) -> Result<Targets, Mismatch> {
    let level = match &*text.to_uppercase() {
        "WARNING" => "warn",
        "CRITICAL" | "FATAL" => "error",
        "NOTSET" => "trace",
        _ => text,
    };
    Targets::from_str(level).map_err(|_| "a log level or filter".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_nothing_of_a_url_but_its_scheme() {
        for url in ["ftp://user:secret@host/?key=secret", "user:secret@host", "secret", "http://u:secret@h:port/"] {
            let mut reader = Reader::new(|_: &str| Some(url.to_owned()));
            assert_eq!(reader.required("CLIP_URL", http_url), None);
            let refusals = reader.refusals().expect("a refusal");
            assert!(refusals.starts_with("CLIP_URL: expected an http or https URL, got "), "{refusals}");
            assert!(!refusals.contains("secret"), "{refusals}");
        }
    }
}
