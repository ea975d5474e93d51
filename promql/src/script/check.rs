//! Compares answers with what a script expects.

use super::{Annotated, Expected, Text};
use crate::parse::{SequenceValue, SeriesDescription};
use crate::value::{QueryOutput, SampleValue, Series, Value};
use model::histogram::FloatHistogram;
use model::sample::is_stale;
use model::{Labels, Timestamp};
use std::sync::Arc;

/// Relative difference of floats that are taken for equal.
const EPSILON: f64 = 1e-6;

pub(super) fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let difference = (a - b).abs();
    let size = a.abs() + b.abs();
    if a == 0.0 || b == 0.0 || size < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / size.min(f64::MAX) < EPSILON
}

/// Whether a histogram is as expected, but for empty buckets and rounding; the hint counts only if one was given.
fn almost_equal_histograms(expected: &FloatHistogram, found: &FloatHistogram, has_hint: bool) -> bool {
    if has_hint && expected.counter_reset_hint != found.counter_reset_hint {
        return false;
    }
    let [mut expected, mut found] = [expected.clone(), found.clone()];
    expected.compact(0);
    found.compact(0);
    let all_equal = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| almost_equal(*a, *b));
    let is_same = |a: &f64, b: &f64| a.to_bits() == b.to_bits();
    expected.schema == found.schema
        && almost_equal(expected.count, found.count)
        && almost_equal(expected.sum, found.sum)
        && expected.zero_threshold == found.zero_threshold
        && almost_equal(expected.zero_count, found.zero_count)
        && expected.positive_spans == found.positive_spans
        && expected.negative_spans == found.negative_spans
        && all_equal(&expected.positive_buckets, &found.positive_buckets)
        && all_equal(&expected.negative_buckets, &found.negative_buckets)
        && expected.custom_values.len() == found.custom_values.len()
        && expected.custom_values.iter().zip(found.custom_values.iter()).all(|(a, b)| is_same(a, b))
}

fn is_as_expected(expected: &SequenceValue, found: &SampleValue) -> bool {
    match (expected, found) {
        (SequenceValue::Float(expected), SampleValue::Float(found)) => almost_equal(*expected, *found),
        (SequenceValue::Histogram { histogram, has_hint }, SampleValue::Histogram(found)) => {
            almost_equal_histograms(histogram, found, *has_hint)
        }
        _ => false,
    }
}

impl Text {
    fn accepts(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(text) => text == message,
            Self::Matching(regex) => regex.is_match(message),
        }
    }
}

/// Checks whether a query failed as it should; its output if it should not and did not.
pub(super) fn outcome(expected: &Expected, answer: Result<QueryOutput, String>) -> Result<Option<QueryOutput>, String> {
    match (answer, &expected.fails) {
        (Ok(output), None) => Ok(Some(output)),
        (Ok(output), Some(_)) => Err(format!("did not fail: {:?}", output.value)),
        (Err(message), None) => Err(format!("failed: {message}")),
        (Err(message), Some(text)) if text.accepts(&message) => Ok(None),
        (Err(message), Some(text)) => Err(format!("failed with {message:?}, expected {text:?}")),
    }
}

/// Checks warnings and infos.
pub(super) fn annotations(expected: &Expected, output: &QueryOutput) -> Result<(), String> {
    for (expected, found) in [(&expected.warnings, &output.warnings), (&expected.infos, &output.infos)] {
        annotated(expected, found)?;
    }
    Ok(())
}

fn annotated(expected: &Annotated, found: &[String]) -> Result<(), String> {
    if expected.none && !found.is_empty() {
        return Err(format!("unexpected annotations {found:?}"));
    }
    if expected.some.is_empty() {
        return Ok(());
    }
    if let Some(missing) = expected.some.iter().find(|text| !found.iter().any(|message| text.accepts(message))) {
        return Err(format!("no annotation is {missing:?}; found {found:?}"));
    }
    match found.iter().find(|message| !expected.some.iter().any(|text| text.accepts(message))) {
        Some(message) => Err(format!("unexpected annotation {message:?}")),
        None => Ok(()),
    }
}

/// Checks the answer of an instant query.
pub(super) fn instant(expected: &Expected, value: &Value) -> Result<(), String> {
    match value {
        Value::Scalar { value, .. } => match expected.scalar {
            Some(scalar) if almost_equal(scalar, *value) => Ok(()),
            other => Err(format!("scalar {value}, expected {other:?}")),
        },
        Value::String { value, .. } => match &expected.string {
            Some(text) if text == value => Ok(()),
            other => Err(format!("string {value:?}, expected {other:?}")),
        },
        Value::Vector { samples, .. } => {
            let found: Vec<(&Labels, SampleValue)> = samples.iter().map(|s| (&s.labels, s.value.clone())).collect();
            let wanted = wanted(expected)?;
            vector(&wanted, &found)?;
            let is_ordered = wanted.iter().map(|w| w.0).eq(found.iter().map(|f| f.0));
            if expected.ordered && !is_ordered { Err(format!("in another order: {found:?}")) } else { Ok(()) }
        }
        Value::Matrix(series) => match expected.range_vector {
            Some((start_ms, end_ms, step_ms)) => matrix(expected, series, start_ms, end_ms, step_ms),
            None => Err("a range vector".to_owned()),
        },
    }
}

/// The elements that a vector must have, each with its one value.
fn wanted(expected: &Expected) -> Result<Vec<(&Labels, &SequenceValue)>, String> {
    if let Some(scalar) = expected.scalar {
        return Err(format!("a vector, expected scalar {scalar}"));
    }
    if expected.string.is_some() || expected.range_vector.is_some() {
        return Err("a vector, expected something else".to_owned());
    }
    let one = |series: &'_ SeriesDescription| match &series.values[..] {
        [SequenceValue::Omitted] | [] | [_, _, ..] => Err(format!("{} is not expected to have exactly one value", series.labels)),
        [_] => Ok(()),
    };
    expected.series.iter().try_for_each(one)?;
    Ok(expected.series.iter().map(|series| (&series.labels, &series.values[0])).collect())
}

fn vector(wanted: &[(&Labels, &SequenceValue)], found: &[(&Labels, SampleValue)]) -> Result<(), String> {
    let mut labels: Vec<&Labels> = found.iter().map(|(labels, _)| *labels).collect();
    labels.sort_unstable();
    if !labels.is_sorted_by(|a, b| a < b) {
        return Err(format!("a label set twice: {found:?}"));
    }
    for (labels, value) in wanted {
        match found.iter().find(|(other, _)| other == labels) {
            Some((_, found)) if is_as_expected(value, found) => {}
            Some((_, found)) => return Err(format!("{labels} is {found:?}, expected {value:?}")),
            None => return Err(format!("{labels} is missing, found {found:?}")),
        }
    }
    if wanted.len() == found.len() { Ok(()) } else { Err(format!("found {found:?}, expected {wanted:?}")) }
}

/// Checks the step in the middle of a range query against the answer that an instant query must give there.
pub(super) fn middle(expected: &Expected, value: &Value, at_ms: Timestamp) -> Result<(), String> {
    let Value::Matrix(series) = value else { return Err("no matrix".to_owned()) };
    require_sorted(series)?;
    let at = |series: &Series| {
        let float = series.points.iter().find(|(t, _)| *t == at_ms).map(|(_, v)| SampleValue::Float(*v));
        float.or_else(|| series.histograms.iter().find(|(t, _)| *t == at_ms).map(|(_, h)| SampleValue::Histogram(Arc::clone(h))))
    };
    let found: Vec<(&Labels, SampleValue)> = series.iter().filter_map(|s| at(s).map(|v| (&s.labels, v))).collect();
    match expected.scalar {
        Some(scalar) => vector(&[(&Labels::empty(), &SequenceValue::Float(scalar))], &found),
        None => vector(&wanted(expected)?, &found),
    }
}

fn require_sorted(series: &[Series]) -> Result<(), String> {
    if series.is_sorted_by(|a, b| a.labels <= b.labels) { Ok(()) } else { Err("not sorted by labels".to_owned()) }
}

/// Checks the answer of a range query.
pub(super) fn matrix(expected: &Expected, found: &[Series], start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), String> {
    require_sorted(found)?;
    if expected.scalar.is_some() || expected.string.is_some() {
        return Err("a matrix, expected something else".to_owned());
    }
    for series in &expected.series {
        let labels = &series.labels;
        let Some(found) = found.iter().find(|s| s.labels == *labels) else {
            return Err(format!("{labels} is missing, found {found:?}"));
        };
        let wanted = points(series, start_ms, end_ms, step_ms);
        let found = samples(found);
        let is_equal =
            |((a, expected), (b, found)): (&(i64, &SequenceValue), &(i64, SampleValue))| a == b && is_as_expected(expected, found);
        if wanted.len() != found.len() || !wanted.iter().zip(&found).all(is_equal) {
            return Err(format!("{labels} is {found:?}, expected {wanted:?}"));
        }
    }
    match found.iter().find(|s| !expected.series.iter().any(|series| s.labels == series.labels)) {
        Some(series) => Err(format!("unexpected {}", series.labels)),
        None => Ok(()),
    }
}

/// Floats and histograms of a series by time.
fn samples(series: &Series) -> Vec<(i64, SampleValue)> {
    let floats = series.points.iter().map(|(t, v)| (*t, SampleValue::Float(*v)));
    let mut all: Vec<_> = floats.chain(series.histograms.iter().map(|(t, h)| (*t, SampleValue::Histogram(Arc::clone(h))))).collect();
    all.sort_by_key(|(t, _)| *t);
    all
}

fn points(series: &SeriesDescription, start_ms: i64, end_ms: i64, step_ms: i64) -> Vec<(i64, &SequenceValue)> {
    let at = |i: usize| start_ms + i as i64 * step_ms;
    let is_given = |(t, value): &(i64, &SequenceValue)| *t <= end_ms && !matches!(value, SequenceValue::Omitted);
    series.values.iter().enumerate().map(|(i, value)| (at(i), value)).filter(is_given).collect()
}
