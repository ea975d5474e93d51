//! Series descriptions of test scripts: a metric and its values, `metric{a="b"} 1+2x5 _ stale {{schema:1 buckets:[1 2]}}`.

mod histogram;
mod start_timestamps;
#[cfg(test)]
mod tests;

pub use start_timestamps::{StartTimestamps, start_timestamps};

use super::{Options, ParseErrors, Parser, located};
use crate::ast::{ExprKind, Span};
use crate::lex::{Token, is_space};
use model::labels::{LabelsBuilder, quote};
use model::{FloatHistogram, Labels, MatchOp, number, sample};
use std::sync::Arc;

/// A metric and what it has at each step.
#[derive(Clone, Debug)]
pub struct SeriesDescription {
    /// The metric.
    pub labels: Labels,
    /// One for each step, from the first on.
    pub values: Vec<SequenceValue>,
}

/// What a series has at one step.
#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// No sample.
    Omitted,
    /// A float, the stale marker among them.
    Float(f64),
    /// A native histogram.
    Histogram {
        /// The histogram; the copies of a repetition share it.
        histogram: Arc<FloatHistogram>,
        /// Whether its counter reset hint was given, and so is to be compared.
        has_hint: bool,
    },
}

/// Values of one description.
const VALUES_MAX: usize = 1 << 20;

/// Reads a metric and its values. Values are numbers, `stale`, `_` for a gap, histograms in double braces; `axN` repeats `a` N times
/// more, `a+bxN` and `a-bxN` count on, `_xN` is a gap of N steps.
///
/// # Errors
/// The text is not of this form, or describes more than a million values.
pub fn series_description(text: &str) -> Result<SeriesDescription, ParseErrors> {
    let end = metric_end(text);
    let labels = metric(&text[..end])?;
    let mut items = Items { text, at: end, values: Vec::new() };
    while items.skip_blanks() {
        let start = items.at;
        let read = items.item().and_then(|()| items.end_of_item());
        read.map_err(|message| located(text, vec![(Span { start: start as u32, end: items.at as u32 }, message)]))?;
    }
    Ok(SeriesDescription { labels, values: items.values })
}

/// Where the metric ends: behind its closing brace, or at the first byte that cannot belong to a name.
fn metric_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let name = bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')).count();
    if bytes.get(name) != Some(&b'{') {
        return name;
    }
    let mut quote = None;
    let mut escaped = false;
    for (i, b) in bytes.iter().enumerate().skip(name) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if *b == b'\\' => escaped = q != b'`',
            Some(q) if *b == q => quote = None,
            Some(_) => {}
            None if matches!(b, b'"' | b'\'' | b'`') => quote = Some(*b),
            None if *b == b'}' => return i + 1,
            None => {}
        }
    }
    bytes.len()
}

/// Reads `name{label="value", …}` as a label set.
fn metric(text: &str) -> Result<Labels, ParseErrors> {
    let mut parser = Parser::new(text, Options::default());
    let parsed = parser.whole(|p| match p.item.token {
        Token::LeftBrace => p.vector_selector(None),
        token if super::is_metric_name(token) => {
            let name = p.advance();
            p.vector_selector(Some(name.span))
        }
        _ => Err(p.unexpected("", "")),
    });
    let expr = parser.finish(parsed)?;
    let matchers = if let ExprKind::Vector(selector) = &expr.kind { selector.matchers.as_slice() } else { &[] };
    let mut builder = LabelsBuilder::default();
    for matcher in matchers {
        if matcher.op != MatchOp::Equal {
            let message = format!("unexpected <op:{}> in label set, expected \"=\"", matcher.op.as_str());
            return Err(located(text, vec![(expr.span, message)]));
        }
        builder.set(&matcher.name, &matcher.value);
    }
    Ok(builder.build())
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')
}

/// Reads values and expands them.
struct Items<'a> {
    text: &'a str,
    at: usize,
    values: Vec<SequenceValue>,
}

impl<'a> Items<'a> {
    /// Moves to the next item; false if there is none.
    fn skip_blanks(&mut self) -> bool {
        self.take_while(is_space);
        self.at < self.text.len()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn take_while(&mut self, accepts: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|b| b.is_ascii() && accepts(*b)).count();
        self.at += length;
        &rest[..length]
    }

    /// What is wrong if what stands here cannot follow.
    fn unexpected(&self) -> String {
        let rest = &self.text[self.at..];
        let word = rest.split_ascii_whitespace().next().filter(|_| !rest.starts_with(|c: char| c.is_ascii_whitespace()));
        word.map_or_else(
            || "unexpected end of value in series values".to_owned(),
            |word| format!("unexpected {} in series values", quote(word)),
        )
    }

    /// A blank or the end must follow.
    fn end_of_item(&self) -> Result<(), String> {
        if self.peek().is_none_or(is_space) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn item(&mut self) -> Result<(), String> {
        if self.accept("_") {
            let count = self.repetition()?.unwrap_or(1);
            return self.push(SequenceValue::Omitted, count);
        }
        if self.accept("{{") {
            return self.histograms();
        }
        let first = match self.stale_marker() {
            Some(stale) => return self.push(stale, 1),
            None => self.signed_number()?,
        };
        let step = if matches!(self.peek(), Some(b'+' | b'-')) { Some(self.signed_number()?) } else { None };
        match (step, self.repetition()?) {
            (None, None) => self.push(SequenceValue::Float(first), 1),
            // Without a step, the stale marker and every other NaN stay what they are.
            (None, Some(times)) => self.push(SequenceValue::Float(first), times.saturating_add(1)),
            (Some(step), Some(times)) => self.push_growing(first, step, times),
            (Some(_), None) => Err(self.unexpected()),
        }
    }

    /// The word `stale`, if it stands here.
    fn stale_marker(&mut self) -> Option<SequenceValue> {
        let start = self.at;
        let is_stale = self.take_while(is_word) == "stale";
        if !is_stale {
            self.at = start;
        }
        is_stale.then(|| SequenceValue::Float(sample::stale_nan()))
    }

    /// `xN`, if it stands here.
    fn repetition(&mut self) -> Result<Option<usize>, String> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.take_while(|b| b.is_ascii_digit());
        digits.parse().map(Some).map_err(|_| format!("invalid repetition in series values: {}", quote(digits)))
    }

    fn signed_number(&mut self) -> Result<f64, String> {
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        let magnitude = self.number()?;
        Ok(if negative { -magnitude } else { magnitude })
    }

    /// A decimal number, `Inf` or `NaN`. There are no hexadecimal ones, since `x` begins a repetition.
    fn number(&mut self) -> Result<f64, String> {
        let start = self.at;
        if self.peek().is_some_and(|b| b.is_ascii_alphabetic()) {
            let word = self.take_while(is_word);
            if !["inf", "nan"].iter().any(|known| word.eq_ignore_ascii_case(known)) {
                self.at = start;
                return Err(self.unexpected());
            }
        } else {
            let mantissa = |b: u8| b.is_ascii_digit() || matches!(b, b'.' | b'_');
            self.take_while(mantissa);
            if matches!(self.peek(), Some(b'e' | b'E')) {
                self.at += 1;
                if !self.accept("+") {
                    self.accept("-");
                }
                self.take_while(mantissa);
            }
        }
        if start == self.at {
            return Err(self.unexpected());
        }
        number::parse_number(&self.text[start..self.at]).map_err(|error| format!("error parsing number: {error}"))
    }

    fn reserve(&mut self, count: usize) -> Result<(), String> {
        if count > VALUES_MAX - self.values.len().min(VALUES_MAX) {
            return Err(format!("more than {VALUES_MAX} values in one series"));
        }
        self.values.reserve(count);
        Ok(())
    }

    fn push(&mut self, value: SequenceValue, count: usize) -> Result<(), String> {
        self.reserve(count)?;
        self.values.extend(std::iter::repeat_n(value, count));
        Ok(())
    }

    /// Appends `first` and `times` values more, each `step` greater than the one before.
    fn push_growing(&mut self, first: f64, step: f64, times: usize) -> Result<(), String> {
        self.reserve(times.saturating_add(1))?;
        let mut value = first;
        for _ in 0..=times {
            self.values.push(SequenceValue::Float(value));
            value += step;
        }
        Ok(())
    }
}
