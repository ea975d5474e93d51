//! From a query's output to the body of its answer.

use crate::http::json::{ANNOTATIONS_MAX, Annotations, ResultType, Success, TRUNCATED};
use promql::value::{QueryOutput, SampleValue, Value};

/// The body of an answer with at most `limit` series and further members of `data`.
pub(super) fn body(mut output: QueryOutput, limit: Option<usize>, extras: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let rows = match &output.value {
        Value::Vector { samples, .. } => samples.len(),
        Value::Matrix(series) => series.len(),
        Value::Scalar { .. } | Value::String { .. } => 0,
    };
    let shown = limit.unwrap_or(usize::MAX);
    if rows > shown {
        warn(&mut output.warnings, TRUNCATED.to_owned());
    }
    let annotations = Annotations { warnings: &output.warnings, infos: &output.infos };
    let (mut success, result_type) = begin(&output.value);
    match &output.value {
        Value::Vector { timestamp_ms, samples } => {
            for sample in samples.iter().take(shown) {
                match &sample.value {
                    SampleValue::Float(value) => success.vector_item(&sample.labels, *timestamp_ms, *value),
                    SampleValue::Histogram(histogram) => success.vector_histogram(&sample.labels, *timestamp_ms, histogram),
                }
            }
        }
        Value::Matrix(series) => {
            for one in series.iter().take(shown) {
                let histograms = one.histograms.iter().map(|(t, histogram)| (*t, &**histogram));
                success.matrix_series(&one.labels, one.points.iter().copied(), histograms);
            }
        }
        Value::Scalar { timestamp_ms, value } => success.scalar(*timestamp_ms, *value),
        Value::String { timestamp_ms, value } => success.text(*timestamp_ms, &String::from_utf8_lossy(value)),
    }
    success.finish_query(result_type, extras, annotations)
}

fn begin(value: &Value) -> (Success, ResultType) {
    let result_type = match value {
        Value::Vector { .. } => ResultType::Vector,
        Value::Matrix(_) => ResultType::Matrix,
        Value::Scalar { .. } => ResultType::Scalar,
        Value::String { .. } => ResultType::String,
    };
    (Success::begin_query(result_type), result_type)
}

/// Adds a warning to those of the evaluation: before them, so that it is never among those that are only counted.
pub(super) fn warn(warnings: &mut Vec<String>, text: String) {
    warnings.insert(0, text);
    if warnings.len() <= ANNOTATIONS_MAX {
        return;
    }
    let already = warnings.get(ANNOTATIONS_MAX + 1).and_then(|line| line.split(' ').next()).and_then(|count| count.parse::<u64>().ok());
    warnings.truncate(ANNOTATIONS_MAX);
    warnings.push(format!("{} more warning annotations omitted", already.unwrap_or(0) + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_added_warning_is_shown_and_the_omitted_ones_are_counted() {
        let mut warnings: Vec<String> = (0..9).map(|i| format!("w{i}")).collect();
        warn(&mut warnings, "a".to_owned());
        assert_eq!((warnings.len(), &*warnings[0], &*warnings[9]), (10, "a", "w8"));
        warn(&mut warnings, "b".to_owned());
        assert_eq!((warnings.len(), &*warnings[0], &*warnings[9], &*warnings[10]), (11, "b", "w7", "1 more warning annotations omitted"));
        warn(&mut warnings, "c".to_owned());
        assert_eq!((warnings.len(), &*warnings[10]), (11, "2 more warning annotations omitted"));
    }
}
