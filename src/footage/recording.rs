//! A recording's name, and the instant of its first frame that stands in it (CONTRACT.md section 3).

use chrono::NaiveDateTime;
use chrono::format::{Item, StrftimeItems};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use crate::time::{Span, Timestamp};

/// How the instant stands in a name: a format of Python's `strptime`, where `%f` is a decimal fraction of 1 to 6 digits
/// (chrono's own `%f` counts nanoseconds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFormat {
    whole_seconds: String,
    old_first: bool,
}

impl NameFormat {
    /// `format` with its `%f`, if it has one, at the end. Names with and without the fraction are both read; `old_first`
    /// says that those without are tried first.
    ///
    /// # Errors
    /// Says what is wrong with the format.
    pub fn new(format: &str, old_first: bool) -> Result<Self, String> {
        let whole_seconds = format.strip_suffix("%f").unwrap_or(format);
        if StrftimeItems::new(whole_seconds).any(|item| item == Item::Error) {
            return Err("holds a directive that is not known".to_owned());
        }
        if whole_seconds.contains("%f") {
            return Err("holds %f anywhere but at its end".to_owned());
        }
        let this = Self { whole_seconds: whole_seconds.to_owned(), old_first };
        let example = Timestamp::from_us(1_537_119_017_000_000);
        match this.instant(&format!("{}.mp4", this.written(example))) {
            Some(read) if read == example => Ok(this),
            _ => Err("does not name a date and a time to the second".to_owned()),
        }
    }

    fn written(&self, instant: Timestamp) -> String {
        chrono::DateTime::from_timestamp_micros(instant.as_us())
            .map(|instant| instant.format(&self.whole_seconds).to_string())
            .unwrap_or_default()
    }

    /// The instant of the first frame of the recording called `name`: the last part before `.mp4`.
    #[must_use]
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        let stem = name.strip_suffix(".mp4")?;
        let dots = self.whole_seconds.matches('.').count();
        let text = stem.rsplitn(dots + 2, '.').take(dots + 1).last().map(|last| &stem[offset(stem, last)..])?;
        let (seconds, fraction) = NaiveDateTime::parse_and_remainder(text, &self.whole_seconds).ok()?;
        let seconds = Timestamp::from_us(seconds.and_utc().timestamp_micros());
        // chrono is lenient about widths and signs; what doesn't read back the same is not what was meant
        if self.written(seconds) != text[..text.len() - fraction.len()] {
            return None;
        }
        let old = || fraction.is_empty().then_some(0);
        let new = || fraction_us(fraction);
        let us = if self.old_first { old().or_else(new) } else { new().or_else(old) }?;
        Some(Timestamp::from_us(seconds.as_us() + us)).filter(|instant| Timestamp::from_ms(instant.as_ms()).is_some())
    }
}

/// Where `part`, a slice of `whole`, begins in it.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// `digits` read as a decimal fraction of a second.
fn fraction_us(digits: &str) -> Option<i64> {
    let plain = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| format!("{digits:0<6}").parse().ok()).flatten()
}

/// A recording that the camera API lists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recording {
    /// The instant of its first frame.
    pub starts: Timestamp,
    /// The last segment of its address: the object's name below `S3_BUCKET_ORIGIN_DIR`.
    pub name: String,
    /// The end that the API gives. Only chooses whether the file is opened.
    pub listed_end: Option<Timestamp>,
    /// The name held no instant, so the API's `startDate` was taken.
    pub starts_by_api: bool,
}

impl Recording {
    /// Reads one entry of the API's list.
    ///
    /// # Errors
    /// Says why the entry can't be used.
    pub fn listed(entry: &Value, format: &NameFormat) -> Result<Self, String> {
        let address = entry["recordingUrl"].as_str().ok_or("an entry without a recordingUrl")?;
        let name = name(address)?;
        let date = |field: &str| {
            let date = chrono::DateTime::parse_from_rfc3339(entry[field].as_str()?).ok()?;
            Timestamp::from_ms(date.timestamp_millis())
        };
        let by_name = format.instant(&name);
        let starts = by_name.or_else(|| date("startDate"));
        let starts = starts.ok_or_else(|| format!("neither the name {name:?} nor startDate holds an instant"))?;
        Ok(Self { starts, name, listed_end: date("endDate"), starts_by_api: by_name.is_none() })
    }

    /// Whether the file must be opened for `span`: it begins before the span's end, and the API doesn't say that it
    /// ended well before the span's start.
    #[must_use]
    pub fn may_show(&self, span: Span) -> bool {
        /// Names, lengths and the API's dates disagree by up to seconds (clock drift).
        const DRIFT_US: i64 = 10_000_000;
        let ended = self.listed_end.is_some_and(|end| end.as_us().saturating_add(DRIFT_US) <= span.start().as_us());
        self.starts < span.end() && !ended
    }
}

/// The last path segment of a recording's address, without query and fragment, percent-decoded once.
fn name(address: &str) -> Result<String, String> {
    let unusable = || "an entry whose recordingUrl names no object".to_owned();
    let anywhere = Url::parse("http://recordings/").expect("a constant, valid address");
    let address = anywhere.join(address).map_err(|_| unusable())?;
    let segment = address.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let name = percent_decode_str(segment).decode_utf8().map_err(|_| unusable())?;
    let is_name = !matches!(&*name, "" | "." | "..") && !name.contains('/') && !name.chars().any(char::is_control);
    is_name.then(|| name.into_owned()).ok_or_else(unusable)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const PYTHON: &str = "%Y%m%dT%H%M%S%f";

    fn format(text: &str, old_first: bool) -> NameFormat {
        NameFormat::new(text, old_first).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn names_old_and_new_are_read_whichever_is_tried_first() {
        let table = [
            ("hbpiernscam.stream.20181031T025200051.mp4", Some(1_540_954_320_051_000)),
            ("hbpiernscam.20180815T140019.mp4", Some(1_534_341_619_000_000)),
            ("test.20180916T173017000.mp4", Some(1_537_119_017_000_000)),
            ("20180916T173017.mp4", Some(1_537_119_017_000_000)),
            ("c.20180916T1730175.mp4", Some(1_537_119_017_500_000)),
            ("c.20180916T173017123456.mp4", Some(1_537_119_017_123_456)),
            ("c.20180916T1730171234567.mp4", None),
            ("c.20180916T173017.mov", None),
            ("c.20180916T17301.mp4", None),
            ("c.20180916T1730.mp4", None),
            ("c.20181316T173017.mp4", None),
            ("c.20180916T173017x.mp4", None),
            ("c.+20180916T173017.mp4", None),
            ("c.19600916T173017.mp4", None),
            ("c.mp4", None),
            (".mp4", None),
            ("", None),
        ];
        for (name, us) in table {
            for old_first in [false, true] {
                assert_eq!(format(PYTHON, old_first).instant(name), us.map(Timestamp::from_us), "{name}");
            }
        }
    }

    #[test]
    fn other_formats_are_followed() {
        let noon = Some(Timestamp::from_us(1_537_099_200_500_000));
        assert_eq!(format("%Y-%m-%d_%H.%M.%S.%f", false).instant("a.b.2018-09-16_12.00.00.5.mp4"), noon);
        assert_eq!(
            format("%Y%m%dT%H%M%S", false).instant("a.20180916T120000500.mp4"),
            noon,
            "both kinds are always accepted"
        );
        for bad in ["", "%Y%m%d", "%Q", "%f%Y%m%dT%H%M%S", "%H%M%S%f", "%Y%m%dT%H%M%f"] {
            NameFormat::new(bad, false).expect_err(bad);
        }
    }

    #[test]
    fn the_name_is_the_last_segment_decoded_once() {
        let table = [
            ("https://camrewinds.test.com/test/test.20180916T160017000.mp4", Some("test.20180916T160017000.mp4")),
            ("https://h/a/b.mp4?x=/y.mp4#/z.mp4", Some("b.mp4")),
            ("/a/b%20c%2525.mp4", Some("b c%25.mp4")),
            ("b.mp4", Some("b.mp4")),
            ("https://h/a/", None),
            ("https://h", None),
            ("https://h/a/%2e%2E", None),
            ("https://h/a/..", None),
            ("https://h/a/b%2Fc.mp4", None),
            ("https://h/a/%00.mp4", None),
            ("https://h/a/%ff.mp4", None),
            ("", None),
        ];
        for (address, expected) in table {
            assert_eq!(name(address).ok().as_deref(), expected, "{address}");
        }
    }

    #[test]
    fn a_name_without_an_instant_falls_back_to_the_api() {
        let entry =
            |url: &str| json!({"recordingUrl": url, "startDate": "2018-09-16T16:00:17.250Z", "endDate": "nonsense"});
        let format = format(PYTHON, false);
        let named = Recording::listed(&entry("https://h/c.20180916T160018.mp4"), &format).expect("usable");
        assert_eq!((named.starts.as_us(), named.starts_by_api), (1_537_113_618_000_000, false));
        let unnamed = Recording::listed(&entry("https://h/rewind.mp4"), &format).expect("usable");
        assert_eq!((unnamed.starts.as_us(), unnamed.starts_by_api), (1_537_113_617_250_000, true));
        assert_eq!(unnamed.listed_end, None);
        for unusable in
            [json!({"recordingUrl": "https://h/rewind.mp4"}), json!({"recordingUrl": 7}), json!("x"), json!(null)]
        {
            Recording::listed(&unusable, &format).expect_err("unusable");
        }
    }

    #[test]
    fn only_files_that_may_show_something_are_opened() {
        let at = |s: i64| Timestamp::from_us(s * 1_000_000);
        let span = Span::new(at(1000), at(1060)).expect("in order");
        let recording = |from, to: Option<i64>| Recording {
            starts: at(from),
            name: String::new(),
            listed_end: to.map(at),
            starts_by_api: false,
        };
        assert!(recording(400, Some(1000)).may_show(span), "may run longer than the API says");
        assert!(recording(400, None).may_show(span));
        assert!(recording(1059, Some(1659)).may_show(span));
        assert!(!recording(1060, Some(1660)).may_show(span), "begins when the span is over");
        assert!(!recording(300, Some(900)).may_show(span));
    }

    proptest! {
        #[test]
        fn an_instant_written_is_the_instant_read(us in 0..253_402_300_799_999_999_i64) {
            let format = format(PYTHON, false);
            let name = format!("c.{}{:06}.mp4", format.written(Timestamp::from_us(us)), us % 1_000_000);
            prop_assert_eq!(format.instant(&name), Some(Timestamp::from_us(us)));
        }

        #[test]
        fn no_name_makes_it_panic(text in any::<String>()) {
            let _ = format(PYTHON, false).instant(&format!("{text}.mp4"));
            let _ = name(&text);
            let _ = NameFormat::new(&text, false);
        }
    }
}
