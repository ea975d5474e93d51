//! A kept piece of a result: all series over a run of steps, and as of which entries of the shards' logs it holds.

use crate::query::changes::ShardChanges;
use model::{ShardId, Timestamp};
use promql::value::Series;
use std::collections::BTreeMap;
use std::mem::size_of;
use tsdb::TimeRange;

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

/// Entries of each shard's log that a result is known to include.
pub(super) type Versions = BTreeMap<ShardId, u64>;

/// What the shards told before anything else was read.
pub(super) fn versions(changes: &[ShardChanges]) -> Versions {
    changes.iter().map(|told| (told.shard, told.applied)).collect()
}

/// The entries that both include.
pub(super) fn earlier(a: &Versions, b: &Versions) -> Versions {
    a.iter().filter_map(|(shard, index)| Some((*shard, *index.min(b.get(shard)?)))).collect()
}

/// The first millisecond of `ranges` that was written after `versions`.
pub(super) fn first_change(changes: &[ShardChanges], ranges: &[TimeRange], versions: &Versions) -> Option<Timestamp> {
    let of_shard = |told: &ShardChanges| {
        let known = versions.get(&told.shard).copied().unwrap_or(0);
        ranges.iter().filter_map(|range| told.changes.first_after(*range, known)).min()
    };
    changes.iter().filter_map(of_shard).min()
}

/// Kept series over a run of steps.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) run: Run,
    /// Sorted by labels; each has a value at some step.
    pub(super) series: Vec<Series>,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    pub(super) versions: Versions,
}

impl Extent {
    /// Whether something was said about the run as a whole, so that a part of it cannot be told apart.
    pub(super) fn is_annotated(&self) -> bool {
        !self.warnings.is_empty() || !self.infos.is_empty()
    }

    /// The part within `run`.
    pub(super) fn clipped(&self, run: Run) -> Vec<Series> {
        if run.contains(&self.run) {
            return self.series.clone();
        }
        self.series.iter().filter_map(|series| clip(series, run)).collect()
    }

    /// Bytes it takes, roughly and rather more.
    pub(super) fn bytes(&self) -> u64 {
        let of_series = |series: &Series| {
            let labels: usize = series.labels.iter().map(|(name, value)| name.len() + value.len() + 16).sum();
            let histograms: usize = series.histograms.iter().map(|(_, h)| h.size() + 32).sum();
            size_of::<Series>() + labels + series.points.len() * size_of::<(Timestamp, f64)>() + histograms
        };
        let texts: usize = self.warnings.iter().chain(&self.infos).map(|text| text.len() + size_of::<String>()).sum();
        (size_of::<Self>() + texts + self.versions.len() * 32 + self.series.iter().map(of_series).sum::<usize>()) as u64
    }
}

/// The steps of a series within `run`, if it has any there.
pub(super) fn clip(series: &Series, run: Run) -> Option<Series> {
    fn part<T>(samples: &[(Timestamp, T)], run: Run) -> &[(Timestamp, T)] {
        let first = samples.partition_point(|(t, _)| *t < run.first_ms);
        let end = samples.partition_point(|(t, _)| *t <= run.last_ms);
        samples.get(first..end).unwrap_or_default()
    }
    let (points, histograms) = (part(&series.points, run), part(&series.histograms, run));
    let some = !points.is_empty() || !histograms.is_empty();
    some.then(|| Series { labels: series.labels.clone(), points: points.to_vec(), histograms: histograms.to_vec() })
}

/// Joins pieces that follow each other in time.
pub(super) fn join(pieces: impl IntoIterator<Item = Vec<Series>>) -> Vec<Series> {
    let mut pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
    let Some(mut joined) = pieces.next() else { return Vec::new() };
    for piece in pieces {
        joined = join_two(joined, piece);
    }
    joined
}

/// Both are sorted by labels, and so is what comes out.
fn join_two(earlier: Vec<Series>, later: Vec<Series>) -> Vec<Series> {
    let mut out = Vec::with_capacity(earlier.len().max(later.len()));
    let mut later = later.into_iter().peekable();
    for mut series in earlier {
        while let Some(next) = later.next_if(|next| next.labels < series.labels) {
            out.push(next);
        }
        if let Some(next) = later.next_if(|next| next.labels == series.labels) {
            series.points.extend(next.points);
            series.histograms.extend(next.histograms);
        }
        out.push(series);
    }
    out.extend(later);
    out
}
