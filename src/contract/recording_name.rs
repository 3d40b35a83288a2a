//! The name of a recording, which holds the instant of its first frame (docs/contract.md, "Recordings in S3").

use chrono::NaiveDateTime;
use chrono::format::{Item, StrftimeItems};
use exact_cut::time::Timestamp;
use percent_encoding::percent_decode_str;
use url::Url;

/// How names hold an instant: a format of Python's `strptime`, where `%f` is a decimal fraction of 1 to 6 digits (chrono's
/// own `%f` counts nanoseconds).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameFormat {
    whole_seconds: String,
    old_first: bool,
}

impl NameFormat {
    /// Reads a format. If it has a `%f`, the `%f` stands at the end. Names with and without a fraction are both accepted;
    /// `old_first` tries names without one first.
    ///
    /// # Errors
    /// Says what was expected of the format.
    pub fn new(format: &str, old_first: bool) -> Result<Self, &'static str> {
        let whole_seconds = format.strip_suffix("%f").unwrap_or(format);
        if StrftimeItems::new(whole_seconds).any(|item| item == Item::Error) {
            return Err("directives of strptime");
        }
        if whole_seconds.contains("%f") {
            return Err("%f only at the end");
        }
        let parsed = Self { whole_seconds: whole_seconds.to_owned(), old_first };
        let example = Timestamp::from_us(1_537_119_017_000_000);
        match parsed.instant(&format!("{}.mp4", parsed.format(example))) {
            Some(instant) if instant == example => Ok(parsed),
            _ => Err("a date and a time to the second"),
        }
    }

    fn format(&self, instant: Timestamp) -> String {
        chrono::DateTime::from_timestamp_micros(instant.as_us())
            .map(|instant| instant.format(&self.whole_seconds).to_string())
            .unwrap_or_default()
    }

    /// Returns the instant of the first frame of the recording `name`: the last part before `.mp4`, in any case.
    #[must_use]
    pub fn instant(&self, name: &str) -> Option<Timestamp> {
        let (stem, extension) = name.rsplit_once('.')?;
        if !extension.eq_ignore_ascii_case("mp4") {
            return None;
        }
        let dots = self.whole_seconds.matches('.').count();
        let text = stem.rsplitn(dots + 2, '.').take(dots + 1).last().map(|last| &stem[offset(stem, last)..])?;
        let (seconds, fraction) = NaiveDateTime::parse_and_remainder(text, &self.whole_seconds).ok()?;
        let seconds = Timestamp::from_us(seconds.and_utc().timestamp_micros());
        // chrono accepts other widths and signs too; only text that formats back to itself is meant
        if self.format(seconds) != text[..text.len() - fraction.len()] {
            return None;
        }
        let old = || fraction.is_empty().then_some(0);
        let new = || fraction_us(fraction);
        let us = if self.old_first { old().or_else(new) } else { new().or_else(old) }?;
        Some(Timestamp::from_us(seconds.as_us() + us)).filter(|instant| Timestamp::from_ms(instant.as_ms()).is_some())
    }
}

/// Returns the offset of `part`, a slice of `whole`, in `whole`.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// Reads `digits` as a decimal fraction of a second, in microseconds.
fn fraction_us(digits: &str) -> Option<i64> {
    let plain = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| format!("{digits:0<6}").parse().ok()).flatten()
}

/// Returns the name of the object at a recording's URL: the last path segment, without query and fragment, percent-decoded
/// once. Returns `None` if that is not the name of an object.
#[must_use]
pub fn object_name(url: &str) -> Option<String> {
    let any_base = Url::parse("http://recordings/").expect("a constant, valid URL");
    let url = any_base.join(url).ok()?;
    let segment = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    let is_name = !matches!(&*name, "" | "." | "..") && !name.contains('/') && !name.chars().any(char::is_control);
    is_name.then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PYTHON: &str = "%Y%m%dT%H%M%S%f";

    fn format(text: &str, old_first: bool) -> NameFormat {
        NameFormat::new(text, old_first).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn reads_names_old_and_new_whichever_is_tried_first() {
        let table = [
            ("hbpiernscam.stream.20181031T025200051.mp4", Some(1_540_954_320_051_000)),
            ("hbpiernscam.20180815T140019.mp4", Some(1_534_341_619_000_000)),
            ("test.20180916T173017000.mp4", Some(1_537_119_017_000_000)),
            ("20180916T173017.mp4", Some(1_537_119_017_000_000)),
            ("c.20180916T1730175.mp4", Some(1_537_119_017_500_000)),
            ("c.20180916T173017123456.mp4", Some(1_537_119_017_123_456)),
            ("c.20180916T1730171234567.mp4", None),
            ("c.20180916T173017.MP4", Some(1_537_119_017_000_000)),
            ("c.20180916T173017.Mp4", Some(1_537_119_017_000_000)),
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
    fn follows_other_formats() {
        let noon = Some(Timestamp::from_us(1_537_099_200_500_000));
        assert_eq!(format("%Y-%m-%d_%H.%M.%S.%f", false).instant("a.b.2018-09-16_12.00.00.5.mp4"), noon);
        assert_eq!(
            format("%Y%m%dT%H%M%S", false).instant("a.20180916T120000500.mp4"),
            noon,
            "names with and without a fraction are always accepted"
        );
        for bad in ["", "%Y%m%d", "%Q", "%f%Y%m%dT%H%M%S", "%H%M%S%f", "%Y%m%dT%H%M%f"] {
            NameFormat::new(bad, false).expect_err(bad);
        }
    }

    #[test]
    fn the_object_name_is_the_last_segment_decoded_once() {
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
        for (url, expected) in table {
            assert_eq!(object_name(url).as_deref(), expected, "{url}");
        }
    }

    proptest! {
        #[test]
        fn reads_the_instant_that_was_written(us in 0..253_402_300_799_999_999_i64) {
            let format = format(PYTHON, false);
            let name = format!("c.{}{:06}.mp4", format.format(Timestamp::from_us(us)), us % 1_000_000);
            prop_assert_eq!(format.instant(&name), Some(Timestamp::from_us(us)));
        }

        #[test]
        fn never_panics_on_any_name(text in any::<String>()) {
            let _ = format(PYTHON, false).instant(&format!("{text}.mp4"));
            let _ = object_name(&text);
            let _ = NameFormat::new(&text, false);
        }
    }
}
