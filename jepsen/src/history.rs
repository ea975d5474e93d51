//! The run's history as JSON lines: one line an operation, faults among them.

use parking_lot::Mutex;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// The line that tells how long a heal took to show; nothing happens then.
pub const RECOVERED: &str = "Recovered";

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It provably did not happen.
    Fail,
    /// Nobody knows.
    Info,
}

/// One operation. Times are microseconds since the run began.
#[derive(Debug, Serialize)]
pub struct Op<'a> {
    /// `[invoked, completed]`.
    pub t: [u64; 2],
    /// The client that did it; -1 for the nemesis.
    pub p: i64,
    /// The node it went to, from 1; 0 for all.
    pub n: usize,
    /// `write`, `query`, a fault or a heal.
    pub f: &'a str,
    /// Lane and steps, or the fault's targets.
    pub v: serde_json::Value,
    /// How it ended.
    #[serde(rename = "type")]
    pub outcome: Outcome,
    /// HTTP status, or 0 without an answer.
    pub code: u16,
}

/// The open history file.
#[derive(Debug)]
pub struct History {
    began: Instant,
    next: AtomicU64,
    file: Mutex<BufWriter<File>>,
}

impl History {
    /// Creates the file.
    ///
    /// # Errors
    /// As the file system gives them.
    pub fn create(path: &Path) -> std::io::Result<Self> {
        let file = Mutex::new(BufWriter::with_capacity(1 << 16, File::create(path)?));
        Ok(Self { began: Instant::now(), next: AtomicU64::new(0), file })
    }

    /// Microseconds since the run began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Appends one operation. A full disk loses lines of the history, never the verdict.
    pub fn record(&self, op: &Op<'_>) {
        #[derive(Serialize)]
        struct Line<'a> {
            i: u64,
            #[serde(flatten)]
            op: &'a Op<'a>,
        }
        let line = Line { i: self.next.fetch_add(1, Ordering::Relaxed), op };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            let _lost = self.file.lock().write_all(&text);
        }
    }

    /// Writes what is buffered.
    pub fn flush(&self) {
        let _lost = self.file.lock().flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_operation_is_one_line_of_json() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history.jsonl");
        let history = History::create(&path).unwrap();
        for p in [3, -1] {
            let v = serde_json::json!({"lane": 2, "k": [5, 9]});
            history.record(&Op { t: [1, 2], p, n: 1, f: "write", v, outcome: Outcome::Info, code: 503 });
        }
        history.flush();
        let lines: Vec<serde_json::Value> =
            std::fs::read_to_string(&path).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!((&lines[0]["i"], &lines[1]["i"], &lines[1]["p"]), (&0.into(), &1.into(), &(-1).into()));
        assert_eq!((&lines[0]["type"], &lines[0]["v"]["k"][1]), (&"info".into(), &9.into()));
    }
}
