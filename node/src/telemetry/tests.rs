//! What log lines look like.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Buffer {
    type Writer = Buffer;

    fn make_writer(&'a self) -> Buffer {
        self.clone()
    }
}

fn logged(format: LogFormat, level: LogLevel, work: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let lines = Lines { format, node: "node-1".to_owned() };
    let layer = tracing_subscriber::fmt::layer().with_writer(buffer.clone()).fmt_fields(JsonFields::new()).event_format(lines);
    let subscriber = tracing_subscriber::registry().with(layer).with(filter(level));
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(buffer.0.lock().clone()).unwrap()
}

#[test]
fn logfmt_quotes_what_needs_quotes_and_carries_span_fields() {
    let line = logged(LogFormat::Logfmt, LogLevel::Info, || {
        let _span = tracing::info_span!("request", workspace = "default", id = 7).entered();
        tracing::warn!(id = 8, path = "/a b", nested = %"say \"hi\"\n", "shard has no leader");
    });
    let (ts, rest) = line.split_once(' ').unwrap();
    assert!(ts.starts_with("ts=20") && ts.ends_with('Z'), "{ts}");
    assert_eq!(
        rest,
        "level=warn node=node-1 target=node::telemetry::tests msg=\"shard has no leader\" id=8 nested=\"say \\\"hi\\\"\\n\" path=\"/a b\" workspace=default\n"
    );
}

#[test]
fn json_is_one_object_a_line() {
    let line = logged(LogFormat::Json, LogLevel::Info, || tracing::error!(term = 3u64, ok = false, "lost \"leadership\""));
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line.matches('\n').count(), 1);
    assert_eq!(value["msg"], "lost \"leadership\"");
    assert_eq!(value["level"], "error");
    assert_eq!(value["node"], "node-1");
    assert_eq!(value["term"], 3);
    assert_eq!(value["ok"], false);
}

#[test]
fn libraries_speak_one_level_above() {
    let line = logged(LogFormat::Logfmt, LogLevel::Info, || {
        tracing::info!(target: "hyper::client", "chatter");
        tracing::warn!(target: "openraft::replication", "a replica is still away");
        tracing::debug!("detail");
        tracing::info!(target: "raft::group", "became leader");
    });
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("msg=\"became leader\""), "{line}");
}
