//! What a line of the log looks like: text for people, or one flat JSON object.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use control_api::rfc3339;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether lines are JSON. May change while the relay starts: the configuration says so.
#[derive(Debug, Clone, Default)]
pub(super) struct Style(Arc<AtomicBool>);

impl Style {
    pub(super) fn set_json(&self, is_json: bool) {
        self.0.store(is_json, Ordering::Relaxed);
    }

    pub(super) fn is_json(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Writes events in the style of the moment.
pub(super) struct Lines {
    style: Style,
    text: Format<Full>,
}

impl Lines {
    pub(super) fn new(style: Style) -> Self {
        Self { style, text: Format::default().with_target(false) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !self.style.is_json() {
            return self.text.format_event(context, writer, event);
        }
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        writeln!(writer, "{}", object(event.metadata().level().as_str(), fields.0))
    }
}

/// A line that no event is behind: what libraries print, counters.
pub(super) fn line(message: &str, (name, value): (&str, Value)) -> String {
    let fields = [("message".to_owned(), message.into()), (name.to_owned(), value)];
    format!("{}\n", object("INFO", fields.into_iter().collect()))
}

/// `time` and `level` are in every line; what an event calls so as well loses.
fn object(level: &str, mut fields: Map<String, Value>) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (rfc3339(now.as_secs()), now.subsec_micros());
    let time = seconds.strip_suffix('Z').map(|seconds| format!("{seconds}.{micros:06}Z"));
    fields.insert("time".to_owned(), time.unwrap_or(seconds).into());
    fields.insert("level".to_owned(), level.into());
    Value::Object(fields)
}

/// The fields of an event as JSON has them.
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_an_event_is_an_object_too() {
        let line = line("output", ("line", "a \"quoted\"\tword".into()));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!((&value["message"], &value["level"]), (&"output".into(), &"INFO".into()));
        assert_eq!(value["line"], "a \"quoted\"\tword");
        let time = value["time"].as_str().unwrap();
        assert!(time.len() == "2026-11-28T22:00:00.000000Z".len() && time.ends_with('Z'), "{time}");
    }
}
