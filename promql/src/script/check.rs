//! Compares answers with what a script expects.

use super::{Annotated, Expected, Text};
use crate::value::{Series, Value};
use model::sample::is_stale;
use model::{Labels, Timestamp};
use std::collections::HashMap;

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

impl Text {
    pub(super) fn accepts(&self, message: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(text) => text == message,
            Self::Matching(pattern) => {
                model::regex::Regex::anchored(&format!(".*(?:{pattern}).*")).is_ok_and(|regex| regex.is_match(message))
            }
        }
    }
}

/// Checks warnings or infos.
pub(super) fn annotations(expected: &Annotated, found: &[String]) -> Result<(), String> {
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
            Some(text) if text.as_bytes() == value => Ok(()),
            other => Err(format!("string {value:?}, expected {other:?}")),
        },
        Value::Vector { samples, .. } => {
            let found: Vec<(&Labels, f64)> = samples.iter().filter_map(|s| s.value.as_float().map(|v| (&s.labels, v))).collect();
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

fn wanted(expected: &Expected) -> Result<Vec<(&Labels, f64)>, String> {
    if let Some(scalar) = expected.scalar {
        return Err(format!("a vector, expected scalar {scalar}"));
    }
    let one = |(labels, values): &'_ super::FloatSeries| values.first().copied().flatten().map(|v| (labels.clone(), v));
    if expected.series.iter().any(|series| one(series).is_none()) {
        return Err("an expected series has no value".to_owned());
    }
    Ok(expected.series.iter().filter_map(|(labels, values)| values.first().copied().flatten().map(|v| (labels, v))).collect())
}

fn vector(wanted: &[(&Labels, f64)], found: &[(&Labels, f64)]) -> Result<(), String> {
    let by_labels: HashMap<&Labels, f64> = found.iter().copied().collect();
    if by_labels.len() != found.len() {
        return Err(format!("a label set twice: {found:?}"));
    }
    for (labels, value) in wanted {
        match by_labels.get(labels) {
            Some(found) if almost_equal(*value, *found) => {}
            Some(found) => return Err(format!("{labels} is {found:?}, expected {value:?}")),
            None => return Err(format!("{labels} is missing, found {found:?}")),
        }
    }
    if wanted.len() == found.len() { Ok(()) } else { Err(format!("found {found:?}, expected {wanted:?}")) }
}

/// Checks the step in the middle of a range query against the answer that an instant query must give there.
pub(super) fn middle(expected: &Expected, value: &Value, at_ms: Timestamp) -> Result<(), String> {
    let Value::Matrix(series) = value else { return Err("no matrix".to_owned()) };
    let at = |series: &Series| series.points.iter().find(|(t, _)| *t == at_ms).map(|(_, v)| *v);
    let found: Vec<(&Labels, f64)> = series.iter().filter_map(|s| at(s).map(|v| (&s.labels, v))).collect();
    match expected.scalar {
        Some(scalar) => {
            let empty = Labels::empty();
            vector(&[(&empty, scalar)], &found)
        }
        None => vector(&wanted(expected)?, &found),
    }
}

/// Checks the answer of a range query.
pub(super) fn matrix(expected: &Expected, found: &[Series], start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), String> {
    if !found.is_sorted_by(|a, b| a.labels <= b.labels) {
        return Err("not sorted by labels".to_owned());
    }
    let wanted: Vec<(&Labels, Vec<(i64, f64)>)> = match expected.scalar {
        Some(_) => return Err("a scalar of a range query".to_owned()),
        None => expected.series.iter().map(|(labels, values)| (labels, points(values, start_ms, end_ms, step_ms))).collect(),
    };
    for (labels, points) in &wanted {
        let Some(series) = found.iter().find(|s| s.labels == **labels) else {
            return Err(format!("{labels} is missing, found {found:?}"));
        };
        let is_equal = |(a, b): (&(i64, f64), &(i64, f64))| a.0 == b.0 && almost_equal(a.1, b.1);
        if points.len() != series.points.len() || !points.iter().zip(&series.points).all(is_equal) {
            return Err(format!("{labels} is {:?}, expected {points:?}", series.points));
        }
    }
    match found.iter().find(|s| !wanted.iter().any(|(labels, _)| s.labels == **labels)) {
        Some(series) => Err(format!("unexpected {}", series.labels)),
        None => Ok(()),
    }
}

fn points(values: &[Option<f64>], start_ms: i64, end_ms: i64, step_ms: i64) -> Vec<(i64, f64)> {
    let at = |i: usize| start_ms + i as i64 * step_ms;
    values.iter().enumerate().filter_map(|(i, v)| v.filter(|_| at(i) <= end_ms).map(|v| (at(i), v))).collect()
}
