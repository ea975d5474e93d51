//! Warnings and infos that a query returns beside its value.

use crate::ast::Span;
use crate::eval::function::DatePart;
use crate::frame::codec::{FrameError, Reader, put_bytes, put_float, put_number, put_signed};
use model::Timestamp;
use model::labels::quote;
use model::number::DisplayGeneral;
use std::collections::BTreeMap;
use std::fmt;

/// Annotations of each kind that are written out; the rest is counted.
const SHOWN_MAX: usize = 10;
/// Annotations of each kind that are remembered at all.
const KEPT_MAX: usize = 1_000;

/// Which counts of classic histograms had to be raised to be monotonic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MonotonicityFix {
    first_ms: Timestamp,
    last_ms: Timestamp,
    lowest: f64,
    highest: f64,
    difference: f64,
    count: u64,
}

impl MonotonicityFix {
    /// At one time, buckets `lowest` to `highest` were up to `difference` too small.
    pub(crate) fn new(at_ms: Timestamp, lowest: f64, highest: f64, difference: f64) -> Self {
        Self { first_ms: at_ms, last_ms: at_ms, lowest, highest, difference, count: 1 }
    }

    /// Both.
    pub(crate) fn merged(self, other: Self) -> Self {
        Self {
            first_ms: self.first_ms.min(other.first_ms),
            last_ms: self.last_ms.max(other.last_ms),
            lowest: self.lowest.min(other.lowest),
            highest: self.highest.max(other.highest),
            difference: self.difference.max(other.difference),
            count: self.count.saturating_add(other.count),
        }
    }
}

impl fmt::Display for MonotonicityFix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lowest, highest, difference) = (general(self.lowest), general(self.highest), general_digits(self.difference, 2));
        write!(f, ", from buckets {lowest} to {highest}, with a max diff of {difference}, over {} samples", self.count)?;
        write!(f, " from {} to {}", rfc3339(self.first_ms), rfc3339(self.last_ms))
    }
}

/// Where an annotation belongs and what is added to its text.
#[derive(Clone, Copy, Debug)]
struct Detail {
    span: Span,
    fix: Option<MonotonicityFix>,
}

/// Collects annotations; equal texts count once, as in Prometheus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    warnings: BTreeMap<String, Detail>,
    infos: BTreeMap<String, Detail>,
}

impl Annotations {
    /// Adds a warning about the part of the query at `span`.
    pub(crate) fn warn(&mut self, span: Span, text: impl Into<String>) {
        add(&mut self.warnings, format!("PromQL warning: {}", text.into()), detail_at(span));
    }

    /// Adds an info about the part of the query at `span`.
    pub(crate) fn info(&mut self, span: Span, text: impl Into<String>) {
        add(&mut self.infos, format!("PromQL info: {}", text.into()), detail_at(span));
    }

    /// Adds the info that a classic histogram was not monotonic.
    pub(crate) fn info_monotonicity(&mut self, span: Span, metric_name: &str, fix: MonotonicityFix) {
        let mut text = "PromQL info: input to histogram_quantile needed to be fixed for monotonicity \
            (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
            .to_owned();
        if !metric_name.is_empty() {
            text.push_str(" for metric name ");
            text.push_str(&quote(metric_name));
        }
        add(&mut self.infos, text, Detail { span, fix: Some(fix) });
    }

    /// Adds those of another evaluation of the same query.
    pub(crate) fn merge(&mut self, other: Self) {
        other.warnings.into_iter().for_each(|(text, detail)| add(&mut self.warnings, text, detail));
        other.infos.into_iter().for_each(|(text, detail)| add(&mut self.infos, text, detail));
    }

    /// Appends them as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for set in [&self.warnings, &self.infos] {
            put_number(out, set.len() as u64);
            for (text, Detail { span, fix }) in set {
                put_bytes(out, text.as_bytes());
                put_number(out, u64::from(span.start));
                put_number(out, u64::from(span.end));
                put_number(out, fix.map_or(0, |fix| fix.count));
                if let Some(fix) = fix {
                    put_signed(out, fix.first_ms);
                    put_signed(out, fix.last_ms);
                    [fix.lowest, fix.highest, fix.difference].into_iter().for_each(|value| put_float(out, value));
                }
            }
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let mut annotations = Self::default();
        for set in [&mut annotations.warnings, &mut annotations.infos] {
            for _ in 0..reader.count(4)? {
                let text = reader.text()?.to_owned();
                let mut position = || u32::try_from(reader.number()?).map_err(|_| reader.error("position out of range"));
                let span = Span { start: position()?, end: position()? };
                let count = reader.number()?;
                let fix = if count == 0 { None } else { Some(decode_fix(reader, count)?) };
                add(set, text, Detail { span, fix });
            }
        }
        Ok(annotations)
    }

    /// The texts with positions, sorted: (warnings, infos).
    #[must_use]
    pub(crate) fn render(&self, query: &str) -> (Vec<String>, Vec<String>) {
        (render(&self.warnings, query, "warning"), render(&self.infos, query, "info"))
    }
}

fn decode_fix(reader: &mut Reader<'_>, count: u64) -> Result<MonotonicityFix, FrameError> {
    let (first_ms, last_ms) = (reader.signed()?, reader.signed()?);
    Ok(MonotonicityFix { first_ms, last_ms, lowest: reader.float()?, highest: reader.float()?, difference: reader.float()?, count })
}

/// Of equal texts the last position in the query is kept, of too many texts the first ones: in whichever order they come.
fn add(set: &mut BTreeMap<String, Detail>, text: String, detail: Detail) {
    let known = set.entry(text).or_insert(detail_at(detail.span));
    if (detail.span.start, detail.span.end) > (known.span.start, known.span.end) {
        known.span = detail.span;
    }
    known.fix = match (known.fix, detail.fix) {
        (Some(a), Some(b)) => Some(a.merged(b)),
        (a, b) => a.or(b),
    };
    if set.len() > KEPT_MAX {
        set.pop_last();
    }
}

fn detail_at(span: Span) -> Detail {
    Detail { span, fix: None }
}

fn render(set: &BTreeMap<String, Detail>, query: &str, kind: &str) -> Vec<String> {
    let line = |(text, detail): (&String, &Detail)| {
        let fix = detail.fix.map_or_else(String::new, |fix| fix.to_string());
        format!("{text}{fix} ({})", position(query, detail.span))
    };
    let mut lines: Vec<String> = set.iter().take(SHOWN_MAX).map(line).collect();
    if set.len() > SHOWN_MAX {
        lines.push(format!("{} more {kind} annotations omitted", set.len() - SHOWN_MAX));
    }
    lines
}

/// A float as Go's `%g` prints it: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn general(value: f64) -> String {
    DisplayGeneral(value).to_string()
}

/// As Go's `%.Ng` with `N` significant digits.
pub(crate) fn general_digits(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return general(value);
    }
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    if value != 0.0 && (exponent < -4 || exponent >= digits as i32) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    // Rounded to the digits first, then written out in full.
    format!("{mantissa}e{exponent}").parse::<f64>().unwrap_or(value).to_string()
}

/// A time in UTC with whole seconds.
fn rfc3339(ms: Timestamp) -> String {
    let seconds = ms / 1000;
    let part = |part: DatePart| part.of(seconds as f64) as i64;
    let [year, month, day] = [DatePart::Year, DatePart::Month, DatePart::DayOfMonth].map(part);
    let [hour, minute] = [DatePart::Hour, DatePart::Minute].map(part);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", seconds.rem_euclid(60))
}

/// `line:column` of the first byte of `span`, both from one.
fn position(query: &str, span: Span) -> String {
    let before = &query.as_bytes()[..(span.start as usize).min(query.len())];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    format!("{line}:{}", before.len() - line_start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_go() {
        let printed = [0.0, 1.1, -1.1, 123456.5, 1e21, 0.0001, 0.00001, f64::INFINITY].map(general);
        assert_eq!(printed, ["0", "1.1", "-1.1", "123456.5", "1e+21", "0.0001", "1e-05", "+Inf"]);
        assert_eq!([0.1234, 123.0, 2.0].map(|v| general_digits(v, 2)), ["0.12", "1.2e+02", "2"]);
    }

    #[test]
    fn positions_count_lines_and_columns_and_the_eleventh_is_only_counted() {
        let mut annotations = Annotations::default();
        annotations.info(Span { start: 6, end: 7 }, "x");
        assert_eq!(annotations.render("abc\nabcdef").1, ["PromQL info: x (2:3)"]);
        for i in 0..12 {
            annotations.warn(Span::default(), format!("w{i:02}"));
            annotations.warn(Span::default(), format!("w{i:02}"));
        }
        let (warnings, _) = annotations.render("abc");
        assert_eq!(warnings.len(), 11);
        assert_eq!(warnings[10], "2 more warning annotations omitted");
        assert_eq!(warnings[9], "PromQL warning: w09 (1:1)");
    }
}
