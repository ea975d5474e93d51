//! Start timestamps of test scripts: a metric marked `@st` and, for each sample, how far from it its start timestamp is.

use super::{Items, metric};
use crate::ast::Span;
use crate::parse::{ParseErrors, located};
use model::time::parse_duration;
use model::{Labels, labels::quote};

/// Start timestamps of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct StartTimestamps {
    /// The metric.
    pub labels: Labels,
    /// For each step, from the first on, the milliseconds from the sample to its start timestamp, if it has one.
    pub offsets_ms: Vec<Option<i64>>,
}

/// Reads a line such as `metric{a="b"}@st _ -30s 0-1mx2`; none if it is not a line of start timestamps. Its items are `_`, `_xN` for N gaps,
/// signed durations, `axN` for N more of the same, and `a+bxN` and `a-bxN`, which count on.
///
/// # Errors
/// The line is one of start timestamps, but not of this form.
pub fn start_timestamps(line: &str) -> Result<Option<StartTimestamps>, ParseErrors> {
    let first = line.trim_start().split_ascii_whitespace().next().unwrap_or_default();
    let Some(text) = first.strip_suffix("@st") else { return Ok(None) };
    let labels = metric(text)?;
    let at = line.len() - line.trim_start().len() + first.len();
    let mut items = Items { text: line, at, values: Vec::new() };
    let mut offsets_ms = Vec::new();
    while items.skip_blanks() {
        let start = items.at;
        let read = items.start_timestamps(&mut offsets_ms).and_then(|()| items.end_of_item());
        read.map_err(|message| located(line, vec![(Span { start: start as u32, end: items.at as u32 }, message)]))?;
    }
    Ok(Some(StartTimestamps { labels, offsets_ms }))
}

impl Items<'_> {
    fn start_timestamps(&mut self, offsets: &mut Vec<Option<i64>>) -> Result<(), String> {
        let (first, step) = if self.accept("_") {
            (None, 0)
        } else {
            let first = self.signed_duration()?;
            let grows = matches!(self.peek(), Some(b'+' | b'-'));
            (Some(first), if grows { self.signed_duration()? } else { 0 })
        };
        let times = self.repetition()?;
        let count = times.map_or(1, |times| times.saturating_add(usize::from(first.is_some())));
        if count > super::VALUES_MAX - offsets.len().min(super::VALUES_MAX) {
            return Err(format!("more than {} values in one series", super::VALUES_MAX));
        }
        let mut value = first;
        for _ in 0..count {
            offsets.push(value);
            value = value.map(|ms| ms.saturating_add(step));
        }
        Ok(())
    }

    /// Milliseconds of `-1m`, `+5s` or `0`.
    fn signed_duration(&mut self) -> Result<i64, String> {
        let start = self.at;
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        let unsigned = self.at;
        self.take_while(|b| b.is_ascii_digit());
        self.take_while(|b| b"smhdwy".contains(&b));
        let text = &self.text[unsigned..self.at];
        let ms = parse_duration(text).map_err(|_| format!("unexpected {} in start timestamps", quote(&self.text[start..self.at])))?;
        Ok(if negative { -ms } else { ms })
    }
}
