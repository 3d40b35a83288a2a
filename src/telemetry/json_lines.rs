//! JSON log lines with everything at their root: the fields of the event, those of the spans around it (`requestId` among
//! them, as in the lines of AWS's managed runtimes), and the version of the function.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Fields that come first, so that a person finds them.
const FIRST: [&str; 3] = ["timestamp", "level", "message"];

/// Writes events as lines of JSON.
pub(super) struct JsonLines {
    pub(super) inner: Format<Json, SystemTime>,
    /// Version of the function.
    pub(super) version: String,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        self.inner.format_event(cx, Writer::new(&mut text), event)?;
        let mut line: Map<String, Value> = serde_json::from_str(&text).map_err(|_| fmt::Error)?;
        // from the innermost span outwards: the first to name a field wins
        for span in cx.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<N>>();
            let fields = fields.and_then(|fields| serde_json::from_str::<Map<String, Value>>(&fields.fields).ok());
            for (name, value) in fields.into_iter().flatten() {
                line.entry(name).or_insert(value);
            }
        }
        line.insert("version".to_owned(), self.version.as_str().into());
        let first = FIRST.iter().filter_map(|&name| line.remove(name).map(|value| (name.to_owned(), value)));
        let first: Vec<_> = first.collect();
        writer.write_char('{')?;
        for (index, (name, value)) in first.into_iter().chain(line).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(writer, "{comma}{}:{value}", Value::from(name))?;
        }
        writeln!(writer, "}}")
    }
}
