//! Log lines on standard error.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Our crates; what libraries say is logged from one level above.
const OWN_TARGETS: &[&str] = &["flotilla", "node", "raft", "tsdb", "promql"];

/// Sends what is traced to standard error, one line each, with the name of the node.
///
/// # Errors
/// The process logs somewhere already.
pub fn init(log: &LogConfig, node: &str) -> Result<(), TryInitError> {
    let lines = Lines { format: log.format, node: node.to_owned() };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).fmt_fields(JsonFields::new()).event_format(lines);
    tracing_subscriber::registry().with(layer).with(filter(log.level)).try_init()
}

fn filter(level: LogLevel) -> Targets {
    let (own, libraries) = match level {
        LogLevel::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
        LogLevel::Info => (LevelFilter::INFO, LevelFilter::WARN),
        LogLevel::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        LogLevel::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
    };
    // It warns of each attempt to reach a replica that is away, twice a second and group.
    let consensus = if level == LogLevel::Debug { libraries } else { LevelFilter::ERROR };
    Targets::new().with_default(libraries).with_target("openraft", consensus).with_targets(OWN_TARGETS.iter().map(|target| (*target, own)))
}

/// Renders an event with the fields of the spans around it; an inner field wins over an outer one of the same name.
#[derive(Debug)]
struct Lines {
    format: LogFormat,
    node: String,
}

impl<S> FormatEvent<S, JsonFields> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(&self, context: &FmtContext<'_, S, JsonFields>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields(Map::new());
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(formatted) = span.extensions().get::<FormattedFields<JsonFields>>()
                && let Ok(Value::Object(outer)) = serde_json::from_str(&formatted.fields)
            {
                fields.0.extend(outer);
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let head = [
            ("ts", Value::from(time)),
            ("level", metadata.level().as_str().to_ascii_lowercase().into()),
            ("node", self.node.as_str().into()),
            ("target", metadata.target().into()),
            ("msg", fields.0.remove("message").unwrap_or_default()),
        ];
        let tail = fields.0.iter().map(|(key, value)| (key.as_str(), value)).filter(|(key, _)| !head.iter().any(|(taken, _)| taken == key));
        self.write(writer, head.iter().map(|(key, value)| (*key, value)).chain(tail))
    }
}

impl Lines {
    fn write<'a>(&self, mut writer: Writer<'_>, pairs: impl Iterator<Item = (&'a str, &'a Value)>) -> fmt::Result {
        let json = self.format == LogFormat::Json;
        let (open, between, close) = if json { ("{", ",", "}") } else { ("", " ", "") };
        writer.write_str(open)?;
        for (i, (key, value)) in pairs.enumerate() {
            if i > 0 {
                writer.write_str(between)?;
            }
            match value {
                _ if json => write!(writer, "{}:{value}", Value::from(key))?,
                Value::String(text) if is_plain(text) => write!(writer, "{key}={text}")?,
                Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => write!(writer, "{key}={value}")?,
                Value::Array(_) | Value::Object(_) => write!(writer, "{key}={}", Value::from(value.to_string()))?,
            }
        }
        writeln!(writer, "{close}")
    }
}

/// Whether a text can stand in logfmt without quotes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\'))
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().trim_start_matches("r#").to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, value.to_string().into());
    }
}

#[cfg(test)]
mod tests;
