//! An HTTP answer: its text, the reason of a refusal, where a redirect leads, and how long to wait.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use url::Url;

/// Fields in which APIs say why they refuse. Other parts of an answer may be secret.
const REASON_FIELDS: [&str; 8] = ["message", "Message", "error", "detail", "title", "code", "__type", "reason"];
const MAX_REASON_CHARS: usize = 200;

/// An answer with its complete body.
pub(super) struct Answer {
    pub status: StatusCode,
    pub location: Option<Url>,
    /// `Content-Type`.
    pub content_type: String,
    pub body: Vec<u8>,
}

/// Returns the target of a redirect, or `None` if it must not be followed: to another host, or from https to http. User and
/// password are kept on the same scheme, host and port.
pub(super) fn redirected(from: &Url, to: &Url) -> Option<Url> {
    let downgrade = from.scheme() == "https" && to.scheme() != "https";
    if to.host() != from.host() || downgrade || !matches!(to.scheme(), "http" | "https") {
        return None;
    }
    let mut to = to.clone();
    let same_origin = to.origin() == from.origin();
    let user = if same_origin { from.username() } else { "" };
    to.set_username(user).ok()?;
    to.set_password(from.password().filter(|_| same_origin)).ok()?;
    Some(to)
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn delay(text: &str) -> Option<Duration> {
    let seconds = || text.trim().parse().ok().map(Duration::from_secs);
    let date = || {
        let seconds = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?.timestamp();
        let instant = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().ok()?);
        Some(instant.duration_since(SystemTime::now()).unwrap_or_default())
    };
    seconds().or_else(date)
}

/// Returns the body as text, without a byte order mark: in the charset of the mark, else of `Content-Type`, else in UTF-8.
/// Known are UTF-8, UTF-16 and ISO-8859-1; a library with all others puts the package over its limit
/// of 6 MB.
pub(super) fn text(answer: &Answer) -> Cow<'_, str> {
    let parameters = answer.content_type.split(';').skip(1);
    let charset = parameters.filter_map(|parameter| parameter.trim().split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        Cow::Owned(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
    };
    match (&answer.body[..], charset.as_deref()) {
        ([0xEF, 0xBB, 0xBF, body @ ..], _) => String::from_utf8_lossy(body),
        ([0xFF, 0xFE, body @ ..], _) | (body, Some("utf-16le" | "utf-16")) => utf16(body, u16::from_le_bytes),
        ([0xFE, 0xFF, body @ ..], _) | (body, Some("utf-16be")) => utf16(body, u16::from_be_bytes),
        (body, Some("iso-8859-1" | "latin1")) => body.iter().map(|&byte| char::from(byte)).collect(),
        (body, _) => String::from_utf8_lossy(body),
    }
}

/// Says how the API answered, and why if it gives a reason.
pub(super) fn refusal(method: &Method, answer: &Answer) -> String {
    let status = answer.status;
    let body = text(answer);
    let reason = match serde_json::from_str::<Value>(&body) {
        Ok(body) => REASON_FIELDS.iter().find_map(|&field| body[field].as_str().map(str::to_owned)),
        Err(_) => None,
    };
    match reason {
        Some(reason) => format!("{method} answered {status}: {reason:.MAX_REASON_CHARS$}"),
        None if answer.body.is_empty() => format!("{method} answered {status} without a body"),
        None => format!("{method} answered {status} with {} bytes of {}", answer.body.len(), media_type(answer)),
    }
}

pub(super) fn media_type(answer: &Answer) -> &str {
    match answer.content_type.split(';').next().map(str::trim) {
        None | Some("") => "an unknown type",
        Some(media_type) => media_type,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(content_type: &str, body: &[u8]) -> Answer {
        Answer {
            status: StatusCode::FORBIDDEN,
            location: None,
            content_type: content_type.to_owned(),
            body: body.to_vec(),
        }
    }

    #[test]
    fn reads_a_body_in_the_charset_that_it_names() {
        for (content_type, body) in [
            ("application/json", &b"[\"\xc3\xa9\"]"[..]),
            ("application/json", b"\xef\xbb\xbf[\"\xc3\xa9\"]"),
            ("application/json; charset=utf-8", b"\xef\xbb\xbf[\"\xc3\xa9\"]"),
            ("application/json;charset=\"ISO-8859-1\"", b"[\"\xe9\"]"),
            ("text/plain; Charset=latin1", b"[\"\xe9\"]"),
            ("application/json; charset=UTF-16BE", b"\0[\0\"\0\xe9\0\"\0]"),
            ("application/json; charset=unheard-of", b"[\"\xc3\xa9\"]"),
            ("", b"\xff\xfe[\0\"\0\xe9\0\"\0]\0"),
        ] {
            assert_eq!(text(&answer(content_type, body)), "[\"é\"]", "{content_type} {body:?}");
        }
    }

    #[test]
    fn a_refusal_gives_the_reason_of_the_api_and_nothing_else_of_its_answer() {
        let told = |content_type, body: &str| refusal(&Method::GET, &answer(content_type, body.as_bytes()));
        let json = "application/json";
        assert_eq!(
            told(json, r#"{"message": "no such user", "token": "x"}"#),
            "GET answered 403 Forbidden: no such user"
        );
        assert_eq!(told(json, r#"{"token": "x"}"#), "GET answered 403 Forbidden with 14 bytes of application/json");
        assert_eq!(told("text/html; charset=x", "<p>"), "GET answered 403 Forbidden with 3 bytes of text/html");
        assert_eq!(told("", ""), "GET answered 403 Forbidden without a body");
    }

    #[test]
    fn follows_redirects_on_the_same_host_and_keeps_credentials_there() {
        let from = "http://u:p@host:8080/a";
        for (from, to, followed) in [
            (from, "http://host:8080/b", Some("http://u:p@host:8080/b")),
            (from, "http://x:y@host:8080/b", Some("http://u:p@host:8080/b")),
            (from, "http://host/b", Some("http://host/b")),
            (from, "https://host:8080/b", Some("https://host:8080/b")),
            ("https://u:p@host/a", "http://host/b", None),
            (from, "http://other:8080/b", None),
            (from, "ftp://host/b", None),
        ] {
            let (from, to) = (Url::parse(from).expect("valid"), Url::parse(to).expect("valid"));
            assert_eq!(redirected(&from, &to).as_ref().map(Url::as_str), followed, "{to}");
        }
    }

    #[test]
    fn reads_retry_after_as_seconds_or_as_a_date() {
        assert_eq!(delay("7"), Some(Duration::from_secs(7)));
        assert_eq!(delay("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert!(delay("Fri, 31 Dec 2100 23:59:59 GMT") > Some(Duration::from_hours(24)));
        assert_eq!(delay("soon"), None);
    }
}
