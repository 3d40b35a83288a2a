//! Reads variables one by one and collects everything that is wrong with them. A refusal never repeats a URL, which may hold
//! a password.
//!
//! Every value is cleaned in the same way, because values come from files with CRLF, from shells that keep quotes, and from
//! consoles into which people paste: white space and one pair of equal quotes around it are removed. A value in which a
//! character is left that nobody sees is refused, and so is a value with a character that no such value can have: a folder
//! that does not exist would make the function announce that footage is missing.

use std::path::PathBuf;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use url::Url;

use crate::contract::recording_name::NameFormat;
use crate::contract::retry_schedule::MAX_DELAY_S;
use crate::mismatch::{mismatch, shown};

const MAX_RECEIVES: u32 = 1000;
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

/// Reads variables by `lookup`. A variable that is empty when cleaned counts as unset.
pub struct Reader<F> {
    lookup: F,
    refusals: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub const fn new(lookup: F) -> Self {
        Self { lookup, refusals: Vec::new() }
    }

    /// Returns the cleaned value of a variable, or `None` if it is unset.
    pub fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| cleaned(&text).to_owned()).filter(|text| !text.is_empty())
    }

    /// Returns a variable that must be set, or `None` after a refusal.
    pub fn required<T, E: Into<Mismatch>>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let Some(text) = self.text(name) else {
            self.refusals.push(mismatch(name, "a value", "nothing"));
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
        let text = self.text(name);
        self.parse(name, text.as_deref().unwrap_or(default), parse)
    }

    /// Returns a variable, or `None` if it is unset and after a refusal.
    pub fn optional<T, E: Into<Mismatch>>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.text(name).and_then(|text| self.parse(name, &text, parse))
    }

    /// Returns all refusals.
    pub fn into_refusals(self) -> Vec<String> {
        self.refusals
    }

    fn parse<T, E: Into<Mismatch>>(
        &mut self,
        name: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let refused = |Mismatch { expected, got }| {
            self.refusals.push(mismatch(name, expected, got.unwrap_or_else(|| shown_value(text))));
        };
        let value = match text.chars().find(|&character| is_unseen(character)) {
            None => parse(text).map_err(E::into),
            Some(character) => {
                let expected = Mismatch::expected("a text in UTF-8 whose characters are all seen");
                Err(expected.got(format!("{} with the character {character:?}", shown_value(text))))
            }
        };
        value.map_err(refused).ok()
    }
}

/// Returns `text` without white space and one pair of equal quotes around it.
fn cleaned(text: &str) -> &str {
    let text = text.trim();
    let unquoted = |quote| text.strip_prefix(quote).and_then(|text: &str| text.strip_suffix(quote));
    unquoted('"').or_else(|| unquoted('\'')).unwrap_or(text).trim()
}

/// Returns a value as a refusal shows it. What may be a URL with a password is not shown.
fn shown_value(text: &str) -> String {
    if text.contains("://") || text.contains('@') {
        format!("{} bytes that may be a URL", text.len())
    } else {
        shown(text)
    }
}

/// Returns whether a character does not show: control characters, those without a width or that change the direction of
/// writing (Unicode, section 23.2), and what stands for bytes that were not UTF-8. Two values that look the same must be so.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || character == char::REPLACEMENT_CHARACTER
}

/// Refuses a character that no value of this kind can have.
fn refuse_characters(expected: &str, text: &str, is_refused: impl Fn(char) -> bool) -> Result<(), Mismatch> {
    match text.chars().find(|&character| is_refused(character)) {
        None => Ok(()),
        Some(character) => {
            let got = format!("{} with the character {character:?}", shown_value(text));
            Err(Mismatch::expected(expected).got(got))
        }
    }
}

/// Returns whether a character is a quote, or one that word processors make of it.
fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
}

/// White space, quotes and backslashes stand in no URL and in no ARN.
fn is_foreign(character: char) -> bool {
    character.is_whitespace() || is_quote(character) || character == '\\'
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

/// Reads the length of something that has one.
pub fn at_least_1_second(text: &str) -> Result<u32, Mismatch> {
    seconds(text).ok().filter(|&seconds| seconds > 0).ok_or_else(|| "a whole number of seconds, at least 1".into())
}

/// Reads milliseconds, and returns microseconds.
pub fn milliseconds_as_us(text: &str) -> Result<i64, Mismatch> {
    let ms: u32 = text.parse().map_err(|_| Mismatch::expected("a whole number of milliseconds"))?;
    Ok(i64::from(ms) * 1000)
}

/// Reads the directives of a `Cache-Control` header (RFC 9111, section 5.2).
pub fn cache_control(text: &str) -> Result<String, Mismatch> {
    let is_token =
        |token: &str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_directive = |directive: &str| match directive.split_once('=') {
        None => is_token(directive),
        Some((name, value)) => is_token(name) && is_token(value.trim_matches('"')),
    };
    let is_valid = text.split(',').map(str::trim).all(is_directive);
    let expected = || Mismatch::expected("directives of Cache-Control, such as \"public, max-age=60\"");
    is_valid.then(|| text.to_owned()).ok_or_else(expected)
}

/// Reads seconds by which SQS can delay a message.
pub fn delay_seconds(text: &str) -> Result<i32, Mismatch> {
    let delay = text.parse().ok().and_then(|seconds: u32| i32::try_from(seconds).ok());
    let expected = || Mismatch::expected(format!("0 to {MAX_DELAY_S} seconds"));
    delay.filter(|&seconds| seconds <= MAX_DELAY_S).ok_or_else(expected)
}

/// Reads a `maxReceiveCount` (Amazon SQS API Reference, `SetQueueAttributes`), or 0 for an unknown one.
pub fn receives(text: &str) -> Result<u32, Mismatch> {
    let receives = text.parse().ok().filter(|receives| *receives <= MAX_RECEIVES);
    receives.ok_or_else(|| Mismatch::expected(format!("0 to {MAX_RECEIVES} deliveries")))
}

pub fn http_url(text: &str) -> Result<Url, Mismatch> {
    let refused = Mismatch::expected("an http or https URL");
    refuse_characters("an http or https URL", text, is_foreign)?;
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) if url.has_host() => Err(refused.got(format!("the scheme {:?}", url.scheme()))),
        Ok(_) => Err(refused.got("a URL without a host")),
        Err(error) => Err(refused.got(format!("a text that is not a URL ({error})"))),
    }
}

/// Reads a path in which `{clipId}`, if it is there, stands for the id of a clip. Makes it begin with one slash.
pub fn clips_endpoint(text: &str) -> Result<String, Mismatch> {
    const EXPECTED: &str = "a path on the host of CAM_SERVICES_URL";
    // a scheme, a port, or the prefix of an ARN
    if text.split('/').next().is_some_and(|first| first.contains(':')) {
        return Err(Mismatch::expected(EXPECTED).got("a whole URL or an ARN"));
    }
    refuse_characters(EXPECTED, text, is_foreign)?;
    let path = text.replace("{clipId}", "x").to_ascii_lowercase();
    match ["{", "}", "%7b", "%7d", "?", "#"].into_iter().find(|&part| path.contains(part)) {
        None => Ok(format!("/{}", text.trim_start_matches('/'))),
        Some(part) => {
            let refused = Mismatch::expected("a path with no placeholder but {clipId}, and without ? and #");
            Err(refused.got(format!("a path with {part}")))
        }
    }
}

/// Reads an ARN of `service`, such as `sqs`. It has six parts (IAM User Guide, "Amazon Resource Names"); those of the samples
/// have fewer, and only the first three are checked. One of more parts names a subscription.
fn arn(text: &str, service: &str) -> Result<String, Mismatch> {
    let expected = format!("an ARN of {service}, arn:aws:{service}:<region>:<account>:<name>");
    refuse_characters(&expected, text, is_foreign)?;
    match text.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, named, _, ref rest @ ..] if named == service && rest.len() <= 2 => Ok(text.to_owned()),
        _ => Err(Mismatch::expected(expected)),
    }
}

/// Reads the ARN of a standard topic. `Publish` to a FIFO topic needs a message group (Amazon SNS Developer Guide, "FIFO
/// topics"), which subscribers of a standard topic do not expect.
pub fn standard_topic_arn(text: &str) -> Result<String, Mismatch> {
    let text = arn(text, "sns")?;
    let topic = text.rsplit(':').next().unwrap_or_default();
    if is_fifo(topic) {
        return Err(Mismatch::expected("a standard topic").got(format!("the FIFO topic {topic:?}")));
    }
    Ok(text)
}

/// Reads the ARN of a queue that can delay single messages.
pub fn standard_queue_arn(text: &str) -> Result<String, Mismatch> {
    let text = arn(text, "sqs")?;
    refuse_fifo(text.rsplit(':').next().unwrap_or_default())?;
    Ok(text)
}

/// Reads the URL of a queue that can delay single messages.
pub fn standard_queue_url(text: &str) -> Result<String, Mismatch> {
    let url = http_url(text)?;
    let mut segments = url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    refuse_fifo(segments.next_back().unwrap_or_default())?;
    Ok(text.to_owned())
}

/// The name of a FIFO queue or topic ends in `.fifo` (Amazon SQS Developer Guide, "FIFO queue and message identifiers").
#[allow(clippy::case_sensitive_file_extension_comparisons)] // not a file extension
fn is_fifo(name: &str) -> bool {
    name.ends_with(".fifo")
}

fn refuse_fifo(queue: &str) -> Result<(), Mismatch> {
    if is_fifo(queue) {
        let refused = Mismatch::expected("a standard queue");
        return Err(refused.got(format!("the FIFO queue {queue:?}, which cannot delay a single message")));
    }
    Ok(())
}

fn refuse_address(expected: &'static str, text: &str) -> Result<(), Mismatch> {
    if text.contains("://") || text.starts_with("arn:") {
        return Err(Mismatch::expected(expected).got("a URL or an ARN"));
    }
    Ok(())
}

/// Reads the name of a bucket: 3 to 63 characters, or up to 255 for those made in us-east-1 before 2018, which may also have
/// capitals and underscores (Amazon S3 User Guide, "General purpose bucket naming rules").
pub fn bucket(text: &str) -> Result<String, Mismatch> {
    const EXPECTED: &str = "the name of a bucket, 3 to 255 of a-z A-Z 0-9 . _ -";
    refuse_characters(EXPECTED, text, |character| {
        !(character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-'))
    })?;
    if (3..=255).contains(&text.len()) { Ok(text.to_owned()) } else { Err(EXPECTED.into()) }
}

/// Reads the path of a folder in a bucket, without the slashes and the white space around it.
pub fn folder(text: &str) -> Result<String, Mismatch> {
    const EXPECTED: &str = "the path of a folder in a bucket";
    refuse_address(EXPECTED, text)?;
    refuse_characters(EXPECTED, text, |character| is_quote(character) || matches!(character, '\\' | '{' | '}'))?;
    Ok(text.trim_matches(|character: char| character == '/' || character.is_whitespace()).to_owned())
}

/// Reads the path of a file or a folder on this machine.
pub fn path(text: &str) -> Result<PathBuf, Mismatch> {
    const EXPECTED: &str = "a path on this machine";
    refuse_address(EXPECTED, text)?;
    refuse_characters(EXPECTED, text, is_quote)?;
    Ok(PathBuf::from(text))
}

/// Reads how names hold an instant.
pub fn name_format(text: &str, old_first: bool) -> Result<NameFormat, Mismatch> {
    refuse_characters("a format of strptime", text, is_quote)?;
    NameFormat::new(text, old_first).map_err(Mismatch::expected)
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

/// Reads a filter of `tracing`: levels and `target=level`, separated by commas. A word alone must be a level, or Python's name
/// of one: for `tracing` it would be a target, so a mistyped level would silence everything else.
pub fn log_filter(text: &str) -> Result<Targets, Mismatch> {
    const EXPECTED: &str = "error, warn, info, debug, trace or off, or a list such as info,hyper=warn";
    let level = |word: &str| match &*word.to_ascii_uppercase() {
        "WARNING" => Some("warn".to_owned()),
        "CRITICAL" | "FATAL" => Some("error".to_owned()),
        "NOTSET" => Some("trace".to_owned()),
        _ => LevelFilter::from_str(word).ok().map(|_| word.to_owned()),
    };
    let directive = |directive: &str| match directive.trim().split_once('=') {
        Some((target, word)) => Some(format!("{target}={}", level(word)?)),
        None => level(directive.trim()),
    };
    let filter = text.split(',').map(directive).collect::<Option<Vec<_>>>().ok_or(EXPECTED)?;
    Targets::from_str(&filter.join(",")).map_err(|_| EXPECTED.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_nothing_of_a_url_but_its_scheme() {
        for url in ["ftp://user:secret@host/?key=secret", "user:secret@host", "secret", "http://u:secret@h:port/"] {
            let mut reader = Reader::new(|_: &str| Some(url.to_owned()));
            assert_eq!(reader.required("CLIP_URL", http_url), None);
            let refusals = reader.into_refusals();
            assert!(refusals[0].starts_with("CLIP_URL: expected an http or https URL, got "), "{refusals:?}");
            assert!(!refusals[0].contains("secret"), "{refusals:?}");
        }
    }
}
