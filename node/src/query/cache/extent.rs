//! A kept piece of a result: all series over a run of steps, and as of which entries of the shards' logs it holds.

use crate::query::changes::Versions;
use crate::query::result::Piece;
use model::Timestamp;
use promql::value::Series;
use std::mem::size_of;
use std::sync::Arc;

/// Steps `first_ms..=last_ms` of a query's grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first_ms: Timestamp,
    pub(super) last_ms: Timestamp,
}

impl Run {
    pub(super) fn contains(&self, other: &Run) -> bool {
        self.first_ms <= other.first_ms && other.last_ms <= self.last_ms
    }
}

/// Kept series over a run of steps.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) run: Run,
    /// Sorted by labels. Points outside the run do not count.
    pub(super) series: Arc<Vec<Series>>,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    pub(super) versions: Versions,
}

impl Extent {
    /// Whether something was said about the run as a whole, so that a part of it cannot be told apart.
    pub(super) fn is_annotated(&self) -> bool {
        !self.warnings.is_empty() || !self.infos.is_empty()
    }

    /// Whether it answers some steps of `wanted`, or grows by them.
    pub(super) fn is_of_use(&self, wanted: Run, step_ms: i64) -> bool {
        let touches = self.run.first_ms <= wanted.last_ms + step_ms && self.run.last_ms >= wanted.first_ms - step_ms;
        touches && (!self.is_annotated() || wanted.contains(&self.run))
    }

    /// All of it, as a piece of an answer.
    pub(super) fn piece(&self) -> Piece {
        Piece { series: Arc::clone(&self.series), first_ms: self.run.first_ms, last_ms: self.run.last_ms }
    }

    /// Bytes it takes, roughly and rather more.
    pub(super) fn bytes(&self) -> u64 {
        let of_series = |series: &Series| {
            let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
            let histograms: usize = series.histograms.iter().map(|(_, h)| h.size() + 32).sum();
            size_of::<Series>() + labels + series.points.capacity() * size_of::<(Timestamp, f64)>() + histograms
        };
        let texts: usize = self.warnings.iter().chain(&self.infos).map(|text| text.len() + size_of::<String>()).sum();
        (size_of::<Self>() + texts + self.versions.len() * 32 + self.series.iter().map(of_series).sum::<usize>()) as u64
    }
}
