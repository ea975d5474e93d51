//! From a query's result to the body of its answer, piece by piece.

use crate::compute::{ComputeError, Lane};
use crate::http::json::{ANNOTATIONS_MAX, Annotations, ResultType, Success, TRUNCATED};
use crate::http::respond;
use crate::query::result::{Cursor, QueryResult, ResultValue, Row};
use axum::response::Response;
use futures::stream;
use promql::value::{SampleValue, Series, Value};
use std::io;

/// Bytes of an answer that are written before they are sent.
const CHUNK_BYTES: usize = 256 << 10;
/// What is written at once on a reactor's thread, in points.
const POINTS_INLINE: usize = 8_000;
/// What the labels of a series cost to write, in points.
const SERIES_POINTS: usize = 8;
/// What a native histogram costs to write, in points.
const HISTOGRAM_POINTS: usize = 64;

/// Further members of `data`, with their JSON.
pub(super) type Extras = Vec<(&'static str, Vec<u8>)>;

/// The answer, written on the threads of `lane` as the client takes it unless it is short.
///
/// # Errors
/// The lane is overloaded.
pub(super) async fn respond(result: QueryResult, limit: Option<usize>, extras: Extras, lane: &Lane) -> Result<Response, ComputeError> {
    let mut writer = Writer::new(result, limit, extras);
    if writer.cost() <= POINTS_INLINE {
        return Ok(respond::json(writer.next_chunk(usize::MAX)));
    }
    let (first, writer) = lane.run(move || (writer.next_chunk(CHUNK_BYTES), writer)).await?;
    if writer.is_done {
        return Ok(respond::json(first));
    }
    let rest = stream::unfold((writer, lane.clone()), async |(mut writer, lane)| {
        if writer.is_done {
            return None;
        }
        match lane.run(move || (writer.next_chunk(CHUNK_BYTES), writer)).await {
            Ok((chunk, writer)) => Some((Ok(chunk), (writer, lane))),
            Err(error) => Some((Err(io::Error::other(error)), (Writer::done(), lane))),
        }
    });
    Ok(respond::json_stream(first, rest))
}

/// Writes an answer; holds one chunk of it at a time.
struct Writer {
    result: QueryResult,
    result_type: ResultType,
    /// Series that may still be written.
    left: usize,
    extras: Extras,
    success: Success,
    /// Series of a whole value that were written.
    written: usize,
    cursor: Cursor,
    is_done: bool,
}

impl Writer {
    fn new(mut result: QueryResult, limit: Option<usize>, extras: Extras) -> Self {
        if limit.is_some_and(|limit| has_more_than(&result.value, limit)) {
            warn(&mut result.warnings, TRUNCATED.to_owned());
        }
        let result_type = type_of(&result.value);
        Self {
            result,
            result_type,
            left: limit.unwrap_or(usize::MAX),
            extras,
            success: Success::begin_query(result_type),
            written: 0,
            cursor: Cursor::default(),
            is_done: false,
        }
    }

    /// What is left where an answer cannot go on.
    fn done() -> Self {
        let value = ResultValue::Whole(Value::Matrix(Vec::new()));
        let nothing = QueryResult { value, warnings: Vec::new(), infos: Vec::new(), stats: promql::Stats::default() };
        Self { is_done: true, ..Self::new(nothing, None, Vec::new()) }
    }

    /// What it takes to write, about.
    fn cost(&self) -> usize {
        let of = |series: &[Series]| {
            series.iter().map(|one| SERIES_POINTS + one.points.len() + one.histograms.len() * HISTOGRAM_POINTS).sum::<usize>()
        };
        match &self.result.value {
            ResultValue::Whole(Value::Vector { samples, .. }) => samples.len() * (SERIES_POINTS + 1),
            ResultValue::Whole(Value::Matrix(series)) => of(series),
            ResultValue::Whole(_) => 1,
            ResultValue::Pieces(pieces) => pieces.iter().map(|piece| of(&piece.series)).sum(),
        }
    }

    /// The next bytes of the answer, at least `bytes_min` unless it ends before, and no more than a series beyond that.
    fn next_chunk(&mut self, bytes_min: usize) -> Vec<u8> {
        let success = &mut self.success;
        let mut row = Row::default();
        while success.out.len() < bytes_min && self.left > 0 {
            let more = match &self.result.value {
                ResultValue::Whole(value) => write_nth(success, value, self.written),
                ResultValue::Pieces(pieces) => {
                    let more = self.cursor.next(pieces, &mut row);
                    if more {
                        write_row(success, &row);
                    }
                    more
                }
            };
            self.written += 1;
            self.left = if more { self.left - 1 } else { 0 };
        }
        if self.left == 0 {
            self.is_done = true;
            let success = std::mem::replace(success, Success::begin());
            let annotations = Annotations { warnings: &self.result.warnings, infos: &self.result.infos };
            return success.finish_query(self.result_type, &self.extras, annotations);
        }
        std::mem::take(&mut success.out)
    }
}

fn type_of(value: &ResultValue) -> ResultType {
    match value {
        ResultValue::Whole(Value::Vector { .. }) => ResultType::Vector,
        ResultValue::Whole(Value::Scalar { .. }) => ResultType::Scalar,
        ResultValue::Whole(Value::String { .. }) => ResultType::String,
        ResultValue::Whole(Value::Matrix(_)) | ResultValue::Pieces(_) => ResultType::Matrix,
    }
}

fn has_more_than(value: &ResultValue, limit: usize) -> bool {
    match value {
        ResultValue::Whole(Value::Vector { samples, .. }) => samples.len() > limit,
        ResultValue::Whole(Value::Matrix(series)) => series.len() > limit,
        ResultValue::Whole(Value::Scalar { .. } | Value::String { .. }) => false,
        ResultValue::Pieces(pieces) => {
            let (mut cursor, mut row) = (Cursor::default(), Row::default());
            (0..=limit).all(|_| cursor.next(pieces, &mut row))
        }
    }
}

/// Writes the `n`-th element of a value; false if there is none.
fn write_nth(success: &mut Success, value: &Value, n: usize) -> bool {
    match value {
        Value::Vector { timestamp_ms, samples } => {
            let Some(sample) = samples.get(n) else { return false };
            match &sample.value {
                SampleValue::Float(value) => success.vector_item(&sample.labels, *timestamp_ms, *value),
                SampleValue::Histogram(histogram) => success.vector_histogram(&sample.labels, *timestamp_ms, histogram),
            }
        }
        Value::Matrix(series) => {
            let Some(Series { labels, points, histograms }) = series.get(n) else { return false };
            success.matrix_series(labels, points.iter(), histograms.iter());
        }
        Value::Scalar { timestamp_ms, value } => {
            success.scalar(*timestamp_ms, *value);
            return false;
        }
        Value::String { timestamp_ms, value } => {
            success.text(*timestamp_ms, &String::from_utf8_lossy(value));
            return false;
        }
    }
    true
}

fn write_row(success: &mut Success, row: &Row<'_>) {
    let points = row.points.iter().copied().flatten();
    success.matrix_series(&row.labels, points, row.histograms.iter().copied().flatten());
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
mod tests;
