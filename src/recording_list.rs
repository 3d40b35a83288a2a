//! The camera API's list of recordings (docs/contract.md, "The camera API").

use exact_cut::open::ListedRecording;
use exact_cut::time::{Span, Timestamp};
use serde_json::Value;
use tracing::{error, warn};

use crate::contract::recording_name::{NameFormat, object_name};

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    pub recording: ListedRecording,
    /// `endDate`. It only decides whether the recording is opened.
    pub listed_end: Option<Timestamp>,
    /// The name holds no instant, so the recording starts at `startDate`.
    pub start_from_api: bool,
}

impl ListedEntry {
    /// Reads one entry of the list.
    ///
    /// # Errors
    /// Says why the entry cannot be used.
    pub fn parse(entry: &Value, format: &NameFormat) -> Result<Self, String> {
        let url = entry["recordingUrl"].as_str().ok_or("recordingUrl: expected a URL, got nothing")?;
        let name = object_name(url).ok_or("recordingUrl: expected the URL of an object, got another text")?;
        let date = |field: &str| {
            let date = chrono::DateTime::parse_from_rfc3339(entry[field].as_str()?).ok()?;
            Timestamp::from_ms(date.timestamp_millis())
        };
        let named = format.instant(&name);
        let start = named.or_else(|| date("startDate"));
        let start = start.ok_or_else(|| format!("neither the name {name:?} nor startDate holds an instant"))?;
        Ok(Self {
            recording: ListedRecording { start, name },
            listed_end: date("endDate"),
            start_from_api: named.is_none(),
        })
    }

    /// Returns whether the recording must be opened for `span`: it begins before the end of the span, and the API does not
    /// say that it ended well before the start of the span.
    #[must_use]
    pub fn may_show(&self, span: Span) -> bool {
        /// Names, lengths and the API's dates differ by up to seconds, because clocks drift.
        const DRIFT_US: i64 = 10_000_000;
        let ended = self.listed_end.is_some_and(|end| end.as_us().saturating_add(DRIFT_US) <= span.start().as_us());
        self.recording.start < span.end() && !ended
    }
}

/// Reads the list, in order of the starts and without repeated names. An entry that cannot be used is skipped with an
/// `error` line.
#[must_use]
pub fn parse_listing(entries: &[Value], format: &NameFormat) -> Vec<ListedEntry> {
    let mut listed = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match ListedEntry::parse(entry, format) {
            Ok(entry) => {
                if entry.start_from_api {
                    warn!(name = entry.recording.name, "name without an instant, startDate used");
                }
                listed.push(entry);
            }
            Err(reason) => {
                error!(error = reason, stage = "recordings", object = format!("entry {index}"), "recording skipped");
            }
        }
    }
    listed.sort_by(|a, b| order(a).cmp(&order(b)));
    listed.dedup_by(|a, b| a.recording.name == b.recording.name);
    listed
}

fn order(entry: &ListedEntry) -> (Timestamp, &str, Option<Timestamp>, bool) {
    (entry.recording.start, &entry.recording.name, entry.listed_end, entry.start_from_api)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_without_an_instant_starts_at_the_start_date() {
        let entry =
            |url: &str| json!({"recordingUrl": url, "startDate": "2018-09-16T16:00:17.250Z", "endDate": "nonsense"});
        let format = NameFormat::new("%Y%m%dT%H%M%S%f", false).expect("valid");
        let named = ListedEntry::parse(&entry("https://h/c.20180916T160018.mp4"), &format).expect("usable");
        assert_eq!((named.recording.start.as_us(), named.start_from_api), (1_537_113_618_000_000, false));
        let unnamed = ListedEntry::parse(&entry("https://h/rewind.mp4"), &format).expect("usable");
        assert_eq!((unnamed.recording.start.as_us(), unnamed.start_from_api), (1_537_113_617_250_000, true));
        assert_eq!(unnamed.listed_end, None);
        for unusable in
            [json!({"recordingUrl": "https://h/rewind.mp4"}), json!({"recordingUrl": 7}), json!("x"), json!(null)]
        {
            ListedEntry::parse(&unusable, &format).expect_err("unusable");
        }
    }

    #[test]
    fn opens_only_recordings_that_may_show_part_of_the_span() {
        let at = |s: i64| Timestamp::from_us(s * 1_000_000);
        let span = Span::new(at(1000), at(1060)).expect("in order");
        let entry = |from, to: Option<i64>| ListedEntry {
            recording: ListedRecording { start: at(from), name: String::new() },
            listed_end: to.map(at),
            start_from_api: false,
        };
        assert!(entry(400, Some(1000)).may_show(span), "may last longer than the API says");
        assert!(entry(400, None).may_show(span));
        assert!(entry(1059, Some(1659)).may_show(span));
        assert!(!entry(1060, Some(1660)).may_show(span), "begins at the end of the span");
        assert!(!entry(300, Some(900)).may_show(span));
    }
}
