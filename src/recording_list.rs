//! The camera API's list of recordings, and which of them are opened (docs/contract.md, "The camera API" and "Recordings in
//! S3").

use exact_cut::open::ListedRecording;
use exact_cut::time::{Span, Timestamp};
use serde_json::Value;
use tracing::{error, warn};

use crate::contract::message_body::FIRST_MS;
use crate::contract::recording_name::{NameFormat, object_name};
use crate::mismatch::{mismatch, shown};

/// How far names, lengths and the API's dates may be apart, in microseconds: clocks drift.
const DRIFT_US: i64 = 10_000_000;
/// Recordings that are opened although only their dates put them into the span.
const MAX_BY_DATE_ALONE: usize = 32;
/// Recordings without an end that are opened although they begin before the span, with others between.
const MAX_WITHOUT_END: usize = 4;

/// An entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// Name of the object.
    pub name: String,
    /// The instant in the name, else `startDate`.
    pub start: Timestamp,
    /// `endDate`, if it is later than `start`. Any other end is an error of the list.
    pub end: Option<Timestamp>,
    /// Whether `start` is `startDate`, because the name holds no instant.
    pub start_from_api: bool,
}

impl ListedEntry {
    /// Reads one entry of the list.
    ///
    /// # Errors
    /// Says why the entry cannot be used.
    pub fn parse(entry: &Value, format: &NameFormat) -> Result<Self, String> {
        let url = entry["recordingUrl"].as_str();
        let url = url.ok_or_else(|| mismatch("recordingUrl", "a URL", shown(&got(&entry["recordingUrl"]))))?;
        let path = url.split(['?', '#']).next().unwrap_or_default(); // a signature may follow
        let name = object_name(url).ok_or_else(|| mismatch("recordingUrl", "the URL of an object", shown(path)))?;
        let date = |field: &str| {
            let date = chrono::DateTime::parse_from_rfc3339(entry[field].as_str()?).ok()?;
            Timestamp::from_ms(date.timestamp_millis())
        };
        let named = format.instant(&name);
        // before 2001, it is the zero of a field without a value, or seconds taken for milliseconds
        let start = named.or_else(|| date("startDate").filter(|start| start.as_ms() >= FIRST_MS));
        let refused = || {
            let date = got(&entry["startDate"]);
            mismatch(
                "recording",
                "an instant in its name as TIMESTAMP_FORMAT describes it, or a startDate in RFC 3339 from 2001 on",
                format_args!("the name {} and the startDate {}", shown(&name), shown(&date)),
            )
        };
        let start = start.ok_or_else(refused)?;
        let end = date("endDate").filter(|&end| end > start);
        Ok(Self { name, start, end, start_from_api: named.is_none() })
    }
}

/// Returns a field as it is shown; nothing for one that is not there.
fn got(field: &Value) -> String {
    match field {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads the list, in order of the starts. An entry that cannot be used is skipped with an `error` line. Of entries with
/// the same name there is one, with the latest of their ends.
#[must_use]
pub fn parse_listing(entries: &[Value], format: &NameFormat) -> Vec<ListedEntry> {
    let mut listed = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        match ListedEntry::parse(entry, format) {
            Ok(entry) => {
                if entry.start_from_api {
                    warn!(name = entry.name, "name without an instant, startDate used");
                }
                listed.push(entry);
            }
            Err(reason) => {
                error!(error = reason, stage = "recordings", object = format!("entry {index}"), "recording skipped");
            }
        }
    }
    // the latest end of each name comes first; an entry without an end comes last
    listed.sort_by(|a, b| a.name.cmp(&b.name).then(b.end.cmp(&a.end)).then(a.start.cmp(&b.start)));
    listed.dedup_by(|later, first| later.name == first.name);
    listed.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
    listed
}

/// Returns the recordings that must be opened for `span`, in order of their starts.
///
/// The instant in a name and the length of its video decide what a recording shows. The API's dates must not hide a
/// recording, because they may be wrong; the cost of a wrong date is a request to S3. So a recording is left out only if
/// its name and the name of the next recording, as well as its dates, put it outside the span. What could be opened for
/// nothing is bounded.
#[must_use]
pub fn select(listed: &[ListedEntry], span: Span) -> Vec<ListedRecording> {
    let shows_after = |end: Timestamp| end.as_us().saturating_add(DRIFT_US) > span.start().as_us();
    let mut selected = Vec::new();
    let (mut by_date_alone, mut without_end) = (Vec::new(), Vec::new());
    for (index, entry) in listed.iter().enumerate().filter(|(_, entry)| entry.start < span.end()) {
        let next = listed[index..].iter().map(|later| later.start).find(|&start| start > entry.start);
        let recording = ListedRecording { start: entry.start, name: entry.name.clone(), end: next.max(entry.end) };
        if next.is_none_or(shows_after) {
            selected.push(recording);
        } else if entry.end.is_some_and(shows_after) {
            by_date_alone.push(recording);
        } else if entry.end.is_none() {
            without_end.push(recording);
        }
    }
    // both are in order of their starts: the nearest are the last
    let ignored = by_date_alone.len().saturating_sub(MAX_BY_DATE_ALONE);
    if ignored > 0 {
        let (first, last) = (&by_date_alone[0].name, &by_date_alone[ignored - 1].name);
        warn!(ignored, first, last, "recordings that are in the span by their dates alone not opened");
    }
    selected.extend(by_date_alone.split_off(ignored));
    selected.extend(without_end.split_off(without_end.len().saturating_sub(MAX_WITHOUT_END)));
    selected.sort();
    selected
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format() -> NameFormat {
        NameFormat::new("%Y%m%dT%H%M%S%f", false).expect("valid")
    }

    #[test]
    fn a_name_without_an_instant_starts_at_the_start_date() {
        let entry =
            |url: &str| json!({"recordingUrl": url, "startDate": "2018-09-16T16:00:17.250Z", "endDate": "nonsense"});
        let named = ListedEntry::parse(&entry("https://h/c.20180916T160018.mp4"), &format()).expect("usable");
        assert_eq!((named.start.as_us(), named.start_from_api), (1_537_113_618_000_000, false));
        let unnamed = ListedEntry::parse(&entry("https://h/rewind.mp4"), &format()).expect("usable");
        assert_eq!((unnamed.start.as_us(), unnamed.start_from_api), (1_537_113_617_250_000, true));
        assert_eq!(unnamed.end, None);
        for unusable in [
            json!({"recordingUrl": "https://h/rewind.mp4"}),
            json!({"recordingUrl": 7}),
            json!("x"),
            json!(null),
            json!({"recordingUrl": "https://h/rewind.mp4", "startDate": "1970-01-18T18:58:37.017Z"}),
        ] {
            ListedEntry::parse(&unusable, &format()).expect_err("unusable");
        }
    }

    #[test]
    fn an_end_that_is_not_later_than_the_start_is_none() {
        for (end, used) in [
            ("1970-01-01T00:00:00.000Z", false),
            ("2018-09-16T16:00:17.999Z", false),
            ("2018-09-16T16:00:18.000Z", false),
            ("2018-09-16T16:00:18.001Z", true),
            ("2018-09-16T18:00:18.001+02:00", true),
        ] {
            let entry = json!({"recordingUrl": "https://h/c.20180916T160018.mp4", "endDate": end});
            let entry = ListedEntry::parse(&entry, &format()).expect("usable");
            assert_eq!(entry.end.is_some(), used, "{end}");
        }
    }

    #[test]
    fn of_equal_names_the_latest_end_counts() {
        let entry = |end: Value| json!({"recordingUrl": "https://h/c.20180916T160000.mp4", "endDate": end});
        let ends = [json!("2018-09-16T16:00:01.000Z"), json!(null), json!("2018-09-16T16:10:00.000Z"), json!(7)];
        for first in 0..ends.len() {
            let entries: Vec<Value> = (0..ends.len()).map(|n| entry(ends[(first + n) % ends.len()].clone())).collect();
            let listed = parse_listing(&entries, &format());
            let [only] = &listed[..] else { panic!("{listed:?}") };
            assert_eq!(only.end.map(Timestamp::as_us), Some(1_537_114_200_000_000));
        }
    }

    const fn at(s: i64) -> Timestamp {
        Timestamp::from_us(s * 1_000_000)
    }

    /// Returns the starts of the selected recordings, in seconds. Recordings are given as start and end.
    fn selected(recordings: &[(i64, Option<i64>)]) -> Vec<i64> {
        let entry = |&(start, end): &(i64, Option<i64>)| ListedEntry {
            name: format!("{start:09}"),
            start: at(start),
            end: end.map(at).filter(|&end| end > at(start)),
            start_from_api: false,
        };
        let listed: Vec<ListedEntry> = recordings.iter().map(entry).collect();
        let span = Span::new(at(10_000), at(10_060)).expect("in order");
        select(&listed, span).into_iter().map(|recording| recording.start.as_us() / 1_000_000).collect()
    }

    #[test]
    fn leaves_out_only_what_dates_and_names_put_outside_the_span() {
        for (recordings, expected) in [
            // the only recording is opened whatever its dates say
            (&[(9_800, Some(9_900))][..], &[9_800][..]),
            (&[(9_800, Some(0))], &[9_800]),
            (&[(9_800, None)], &[9_800]),
            // a later name and the date say that it ended
            (&[(8_800, Some(9_400)), (9_400, Some(10_000)), (10_000, Some(10_600))], &[9_400, 10_000]),
            // the date says so, the later name does not
            (&[(9_400, Some(9_500)), (10_020, Some(10_600))], &[9_400, 10_020]),
            // the later name says so, the date does not
            (&[(8_000, Some(10_050)), (9_400, Some(10_000)), (10_000, Some(10_600))], &[8_000, 9_400, 10_000]),
            // nothing that begins at the end of the span or later
            (&[(10_000, Some(10_600)), (10_060, Some(10_660)), (10_600, None)], &[10_000]),
        ] {
            assert_eq!(selected(recordings), expected, "{recordings:?}");
        }
    }

    #[test]
    fn opens_few_of_many_recordings_without_an_end() {
        let all: Vec<(i64, Option<i64>)> = (0..1500).map(|n| (n * 10, None)).collect();
        // by name 9990 to 10050 are in the span; the four before have no end
        let expected: Vec<i64> = (995..1006).map(|n| n * 10).collect();
        assert_eq!(selected(&all), expected);
    }

    #[test]
    fn opens_the_nearest_of_many_recordings_that_are_in_the_span_by_date_alone() {
        let mut all: Vec<(i64, Option<i64>)> = (0..100).map(|n| (n * 10, Some(20_000))).collect();
        all.push((10_000, Some(10_600)));
        let expected: Vec<i64> = (67..99).map(|n| n * 10).chain([990, 10_000]).collect();
        assert_eq!(selected(&all), expected);
    }
}
