//! Native histograms of series descriptions, `{{schema:1 sum:3 count:4 buckets:[1 2 1] offset:-1}}`.

use super::{Items, SequenceValue};
use crate::lex::is_space;
use model::FloatHistogram;
use model::histogram::{CounterResetHint, Span};
use model::labels::quote;
use std::sync::Arc;

/// Bytes of the histograms that one growing item may expand to.
const HISTOGRAM_BYTES_MAX: usize = 64 << 20;

/// What stands between the braces: each key once at most.
#[derive(Default)]
struct Description {
    schema: Option<i32>,
    sum: Option<f64>,
    count: Option<f64>,
    zero_count: Option<f64>,
    zero_threshold: Option<f64>,
    custom_values: Option<Vec<f64>>,
    positive: Buckets,
    negative: Buckets,
    hint: Option<CounterResetHint>,
}

#[derive(Default)]
struct Buckets {
    counts: Option<Vec<f64>>,
    offset: Option<i32>,
}

impl Buckets {
    /// The counts, and the one span that they are in.
    fn finish(self) -> (Vec<f64>, Vec<Span>) {
        let counts = self.counts.unwrap_or_default();
        let length = counts.len() as u32;
        let spans = if length == 0 { Vec::new() } else { vec![Span { offset: self.offset.unwrap_or_default(), length }] };
        (counts, spans)
    }
}

impl Description {
    fn finish(self) -> FloatHistogram {
        let (positive_buckets, positive_spans) = self.positive.finish();
        let (negative_buckets, negative_spans) = self.negative.finish();
        FloatHistogram {
            counter_reset_hint: self.hint.unwrap_or_default(),
            schema: self.schema.unwrap_or_default(),
            zero_threshold: self.zero_threshold.unwrap_or_default(),
            zero_count: self.zero_count.unwrap_or_default(),
            count: self.count.unwrap_or_default(),
            sum: self.sum.unwrap_or_default(),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values.unwrap_or_default().into(),
        }
    }
}

fn set<T>(field: &mut Option<T>, key: &str, value: T) -> Result<(), String> {
    if field.replace(value).is_some() { Err(format!("duplicate key \"{key}\" in histogram")) } else { Ok(()) }
}

impl Items<'_> {
    /// A histogram whose opening braces are taken, with its repetition or growth.
    pub(super) fn histograms(&mut self) -> Result<(), String> {
        let (first, has_hint) = self.histogram()?;
        let grows = self.accept("+{{");
        if !grows && !self.accept("-{{") {
            let value = SequenceValue::Histogram { histogram: Arc::new(first), has_hint };
            let count = self.repetition()?.map_or(1, |times| times.saturating_add(1));
            return self.push(value, count);
        }
        // Prometheus remembers only of the histogram that it read last whether it had a hint.
        let (step, has_hint) = self.histogram()?;
        let times = self.repetition()?.ok_or_else(|| self.unexpected())?;
        self.push_growing_histograms(first, &step, grows, times, has_hint)
    }

    /// Appends `first` and `times` histograms more, to each of which `step` is added once more, or subtracted.
    fn push_growing_histograms(
        &mut self,
        first: FloatHistogram,
        step: &FloatHistogram,
        grows: bool,
        times: usize,
        has_hint: bool,
    ) -> Result<(), String> {
        if times > 0 && first.schema > step.schema {
            return Err(format!("error combining histograms: cannot merge from schema {} to {}", step.schema, first.schema));
        }
        self.reserve(times.saturating_add(1))?;
        let mut current = first;
        let mut bytes = 0;
        for i in 0..=times {
            if i > 0 {
                let combined = if grows { current.add(step) } else { current.sub(step) };
                combined.map_err(|error| error.to_string())?;
            }
            bytes += current.size();
            if bytes > HISTOGRAM_BYTES_MAX {
                return Err(format!("histograms of more than {HISTOGRAM_BYTES_MAX} bytes in one series"));
            }
            self.values.push(SequenceValue::Histogram { histogram: Arc::new(current.clone()), has_hint });
        }
        Ok(())
    }

    /// What follows `{{`, up to and with `}}`; and whether a counter reset hint was given.
    fn histogram(&mut self) -> Result<(FloatHistogram, bool), String> {
        let mut description = Description::default();
        let blank = !self.take_while(is_space).is_empty();
        if !self.accept("}}") {
            if blank {
                return Err(self.no_key());
            }
            self.entry(&mut description)?;
            while !self.end_of_histogram()? {
                self.entry(&mut description)?;
            }
        }
        let has_hint = description.hint.is_some();
        Ok((description.finish(), has_hint))
    }

    /// Whether the histogram ends here, blanks skipped; else blanks must stand before the next key.
    fn end_of_histogram(&mut self) -> Result<bool, String> {
        let blank = !self.take_while(is_space).is_empty();
        if self.accept("}}") {
            return Ok(true);
        }
        if blank { Ok(false) } else { Err(self.no_key()) }
    }

    fn no_key(&self) -> String {
        let found = self.text[self.at..].chars().next().map_or_else(|| "end of input".to_owned(), |c| quote(c.encode_utf8(&mut [0; 4])));
        format!("unexpected {found} in histogram description, expected histogram description key, e.g. buckets:[5 10 7]")
    }

    /// `key:value`.
    fn entry(&mut self, into: &mut Description) -> Result<(), String> {
        let key = self.take_while(|b| b.is_ascii_alphabetic() || b == b'_').to_ascii_lowercase();
        if key.is_empty() {
            return Err(self.no_key());
        }
        let colon = self.accept(":");
        match key.as_str() {
            _ if !colon && KEYS.contains(&key.as_str()) => Err("missing `:` for histogram descriptor".to_owned()),
            "schema" => self.integer().and_then(|v| set(&mut into.schema, &key, v)),
            "sum" => self.signed_number().and_then(|v| set(&mut into.sum, &key, v)),
            "count" => self.signed_number().and_then(|v| set(&mut into.count, &key, v)),
            "z_bucket" => self.signed_number().and_then(|v| set(&mut into.zero_count, &key, v)),
            "z_bucket_w" => self.number().and_then(|v| set(&mut into.zero_threshold, &key, v)),
            "custom_values" => self.numbers().and_then(|v| set(&mut into.custom_values, &key, v)),
            "buckets" => self.numbers().and_then(|v| set(&mut into.positive.counts, &key, v)),
            "offset" => self.integer().and_then(|v| set(&mut into.positive.offset, &key, v)),
            "n_buckets" => self.numbers().and_then(|v| set(&mut into.negative.counts, &key, v)),
            "n_offset" => self.integer().and_then(|v| set(&mut into.negative.offset, &key, v)),
            "counter_reset_hint" => self.hint().and_then(|v| set(&mut into.hint, &key, v)),
            _ => Err(format!("bad histogram descriptor found: {}", quote(&key))),
        }
    }

    fn integer(&mut self) -> Result<i32, String> {
        let start = self.at;
        self.accept("-");
        self.take_while(|b| b.is_ascii_digit());
        let digits = &self.text[start..self.at];
        digits.parse().map_err(|_| format!("invalid integer in histogram description: {}", quote(digits)))
    }

    /// `[1 2 3]`: at least one number, blanks between them and perhaps behind the last.
    fn numbers(&mut self) -> Result<Vec<f64>, String> {
        if !self.accept("[") {
            return Err(self.no_key());
        }
        let mut numbers = Vec::new();
        loop {
            numbers.push(self.signed_number()?);
            let blanks = self.take_while(is_space);
            if self.accept("]") {
                return Ok(numbers);
            }
            if blanks.is_empty() {
                return Err(self.no_key());
            }
        }
    }

    fn hint(&mut self) -> Result<CounterResetHint, String> {
        let word = self.take_while(|b| b.is_ascii_alphabetic() || b == b'_');
        match word.to_ascii_lowercase().as_str() {
            "unknown" => Ok(CounterResetHint::Unknown),
            "reset" => Ok(CounterResetHint::Reset),
            "not_reset" => Ok(CounterResetHint::NotReset),
            "gauge" => Ok(CounterResetHint::Gauge),
            _ => Err(format!("bad histogram descriptor found: {}", quote(word))),
        }
    }
}

/// All keys of a description.
const KEYS: [&str; 11] = [
    "schema",
    "sum",
    "count",
    "z_bucket",
    "z_bucket_w",
    "custom_values",
    "buckets",
    "offset",
    "n_buckets",
    "n_offset",
    "counter_reset_hint",
];
