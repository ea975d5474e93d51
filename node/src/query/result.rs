//! The answer to a query as it is written out: of one evaluation, or of pieces that follow each other in time, kept ones among them,
//! which are shared and not copied.

use model::histogram::FloatHistogram;
use model::{Labels, Timestamp};
use promql::Stats;
use promql::value::{QueryOutput, Series, Value};
use std::sync::Arc;

/// A value and what is told about it.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// The value.
    pub value: ResultValue,
    /// Warnings with their positions in the query, at most ten and a line that counts the rest.
    pub warnings: Vec<String>,
    /// Infos, likewise.
    pub infos: Vec<String>,
    /// What the evaluation used; of a value in pieces nothing.
    pub stats: Stats,
}

impl From<QueryOutput> for QueryResult {
    fn from(output: QueryOutput) -> Self {
        let QueryOutput { value, warnings, infos, stats } = output;
        Self { value: ResultValue::Whole(value), warnings, infos, stats }
    }
}

/// A value.
#[derive(Clone, Debug)]
pub enum ResultValue {
    /// Of one evaluation.
    Whole(Value),
    /// A matrix in pieces, in the order of time; their spans do not overlap.
    Pieces(Vec<Piece>),
}

/// A part of a matrix by time.
#[derive(Clone, Debug)]
pub struct Piece {
    /// Sorted by labels. There may be more points than belong to the piece, and series without any that do.
    pub series: Arc<Vec<Series>>,
    /// The points from this time on belong to it.
    pub first_ms: Timestamp,
    /// Up to this time, inclusive.
    pub last_ms: Timestamp,
}

/// The points of a series that lie in a span of time.
pub(super) fn between<T>(samples: &[(Timestamp, T)], first_ms: Timestamp, last_ms: Timestamp) -> &[(Timestamp, T)] {
    if samples.first().is_none_or(|(t, _)| *t >= first_ms) && samples.last().is_none_or(|(t, _)| *t <= last_ms) {
        return samples;
    }
    let first = samples.partition_point(|(t, _)| *t < first_ms);
    let end = samples.partition_point(|(t, _)| *t <= last_ms);
    samples.get(first..end).unwrap_or_default()
}

/// One series of a matrix in pieces.
#[derive(Clone, Debug, Default)]
pub struct Row<'a> {
    /// Its labels.
    pub labels: Labels,
    /// Floats, piece by piece.
    pub points: Vec<&'a [(Timestamp, f64)]>,
    /// Native histograms, piece by piece.
    pub histograms: Vec<&'a [(Timestamp, Arc<FloatHistogram>)]>,
}

/// How far the series of a matrix in pieces were read.
#[derive(Clone, Debug, Default)]
pub struct Cursor {
    /// The next series of each piece.
    next: Vec<usize>,
}

impl Cursor {
    /// The next series in the order of labels that has a point; `row` is reused.
    pub fn next<'a>(&mut self, pieces: &'a [Piece], row: &mut Row<'a>) -> bool {
        self.next.resize(pieces.len(), 0);
        loop {
            let heads = pieces.iter().zip(&self.next).filter_map(|(piece, next)| piece.series.get(*next));
            let Some(first) = heads.min_by(|a, b| a.labels.cmp(&b.labels)) else { return false };
            row.points.clear();
            row.histograms.clear();
            for (piece, next) in pieces.iter().zip(&mut self.next) {
                let Some(series) = piece.series.get(*next).filter(|series| series.labels == first.labels) else { continue };
                *next += 1;
                let points = between(&series.points, piece.first_ms, piece.last_ms);
                let histograms = between(&series.histograms, piece.first_ms, piece.last_ms);
                row.points.extend((!points.is_empty()).then_some(points));
                row.histograms.extend((!histograms.is_empty()).then_some(histograms));
            }
            if !row.points.is_empty() || !row.histograms.is_empty() {
                row.labels = first.labels.clone();
                return true;
            }
        }
    }
}

impl QueryResult {
    /// The same in one piece: what evaluation of the whole would have given.
    #[must_use]
    pub fn into_output(self) -> QueryOutput {
        let Self { value, warnings, infos, stats } = self;
        let value = match value {
            ResultValue::Whole(value) => value,
            ResultValue::Pieces(pieces) => Value::Matrix(joined(&pieces)),
        };
        QueryOutput { value, warnings, infos, stats }
    }
}

/// The series of pieces, in one.
pub(super) fn joined(pieces: &[Piece]) -> Vec<Series> {
    let (mut cursor, mut row, mut series) = (Cursor::default(), Row::default(), Vec::new());
    while cursor.next(pieces, &mut row) {
        series.push(Series { labels: row.labels.clone(), points: row.points.concat(), histograms: row.histograms.concat() });
    }
    series
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first_ms: i64, last_ms: i64, series: &[(&str, &[i64])]) -> Piece {
        let one = |(name, times): &(&str, &[i64])| {
            Series::floats(Labels::from_pairs([("n", *name)]), times.iter().map(|t| (*t, *t as f64)).collect())
        };
        Piece { series: Arc::new(series.iter().map(one).collect()), first_ms, last_ms }
    }

    #[test]
    fn pieces_join_series_by_series_and_only_within_their_spans() {
        let pieces = [
            piece(10, 19, &[("a", &[5, 10, 15]), ("b", &[20]), ("d", &[12])]),
            piece(20, 29, &[("a", &[10, 20, 30]), ("c", &[25])]),
            piece(30, 39, &[("b", &[30]), ("d", &[31, 39, 40])]),
        ];
        let shown: Vec<(String, Vec<i64>)> = joined(&pieces)
            .into_iter()
            .map(|s| (s.labels.get("n").unwrap_or_default().to_owned(), s.points.iter().map(|p| p.0).collect()))
            .collect();
        let expected = [("a", vec![10, 15, 20]), ("b", vec![30]), ("c", vec![25]), ("d", vec![12, 31, 39])];
        assert_eq!(shown, expected.map(|(name, times)| (name.to_owned(), times)));
        assert!(joined(&[]).is_empty());
    }
}
