//! What happened in a run: a hash over everything, and lines to read.

use crate::interposed;
use std::fmt::Write as _;
use xxhash_rust::xxh3::Xxh3;

/// Lines kept at most; the hash goes over all.
const LINES_MAX: usize = 400_000;

/// The trace of one run.
pub struct Trace {
    hash: Xxh3,
    keep: bool,
    lines: Vec<String>,
}

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trace").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

impl Trace {
    /// An empty one; `keep` keeps the lines.
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Self { hash: Xxh3::new(), keep, lines: Vec::new() }
    }

    /// Adds what is worth reading.
    pub fn line(&mut self, text: impl FnOnce() -> String) {
        let mut line = format!("{:>10.3} ", interposed::elapsed().as_secs_f64());
        let _ = line.write_str(&text());
        self.hash.update(line.as_bytes());
        if self.keep && self.lines.len() < LINES_MAX {
            self.lines.push(line);
        }
    }

    /// Adds what is only compared, unless lines are kept.
    pub fn hash(&mut self, text: impl FnOnce() -> String) {
        self.line(text);
    }

    /// The hash over everything so far.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// The lines kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
