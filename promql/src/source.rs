//! Where series come from.

use model::{Labels, Matcher, Timestamp};
use std::collections::HashMap;
use std::sync::Arc;

/// Number of a select within its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SelectId(pub u32);

/// One read of raw series that a plan needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    /// Its number, unique within the plan.
    pub id: SelectId,
    /// Conditions on the labels; all must hold.
    pub matchers: Vec<Matcher>,
    /// Samples are needed from after this time.
    pub start_ms: Timestamp,
    /// Samples are needed up to and including this time.
    pub end_ms: Timestamp,
}

/// One series as stored: stale markers included, times ascending and unique.
#[derive(Clone, Debug)]
pub struct RawSeries {
    /// Its labels.
    pub labels: Labels,
    /// Times in milliseconds.
    pub timestamps: Vec<Timestamp>,
    /// `values[i]` belongs to `timestamps[i]`.
    pub values: Vec<f64>,
}

/// What a select returned: series sorted by labels, each label set once.
#[derive(Clone, Debug, Default)]
pub struct SeriesSet {
    /// The series; shared, so that a set is cheap to clone.
    pub series: Vec<Arc<RawSeries>>,
}

/// Why series could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The source was never given an answer to this select.
    #[error("no series were gathered for select {0}")]
    NotGathered(u32),
    /// The storage below failed.
    #[error("{message}")]
    Storage {
        /// What it said.
        message: String,
    },
}

/// Answers selects. It may return samples outside the asked time range, never fewer.
pub trait SeriesSource {
    /// The series that match, sorted by labels.
    ///
    /// # Errors
    /// The series could not be read completely.
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError>;
}

/// Series in memory, for tests and benches.
#[derive(Clone, Debug, Default)]
pub struct MemorySource {
    set: SeriesSet,
}

impl MemorySource {
    /// Takes series in any order; parts of one series are joined by time, each time once.
    #[must_use]
    pub fn new(series: Vec<RawSeries>) -> Self {
        Self { set: join(series.into_iter().map(Arc::new).collect()) }
    }
}

impl SeriesSource for MemorySource {
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError> {
        let matches = |series: &&Arc<RawSeries>| select.matchers.iter().all(|m| m.matches_labels(&series.labels));
        let in_range = |series: &Arc<RawSeries>| {
            let first = series.timestamps.partition_point(|t| *t <= select.start_ms);
            let last = series.timestamps.partition_point(|t| *t <= select.end_ms);
            (first < last).then(|| Arc::clone(series))
        };
        Ok(SeriesSet { series: self.set.series.iter().filter(matches).filter_map(in_range).collect() })
    }
}

/// Answers of the shards, by select.
#[derive(Clone, Debug, Default)]
pub struct GatheredSource {
    sets: HashMap<SelectId, SeriesSet>,
}

impl GatheredSource {
    /// Joins what all shards returned for each select. Parts may be given in any order; a series whose samples lie on several
    /// shards (of different generations) becomes one with each time once. A select without any part is an error when it is asked
    /// for: give an empty part where no shard found a series.
    #[must_use]
    pub fn new(parts: impl IntoIterator<Item = (SelectId, Vec<RawSeries>)>) -> Self {
        let mut by_select: HashMap<SelectId, Vec<Arc<RawSeries>>> = HashMap::new();
        for (id, series) in parts {
            by_select.entry(id).or_default().extend(series.into_iter().map(Arc::new));
        }
        Self { sets: by_select.into_iter().map(|(id, series)| (id, join(series))).collect() }
    }
}

impl SeriesSource for GatheredSource {
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError> {
        self.sets.get(&select.id).cloned().ok_or(SourceError::NotGathered(select.id.0))
    }
}

/// Sorts by labels and joins equal label sets.
fn join(mut series: Vec<Arc<RawSeries>>) -> SeriesSet {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut joined: Vec<Arc<RawSeries>> = Vec::with_capacity(series.len());
    for next in series {
        match joined.last_mut() {
            Some(last) if last.labels == next.labels => *last = Arc::new(merge_samples(last, &next)),
            _ => joined.push(next),
        }
    }
    SeriesSet { series: joined }
}

fn merge_samples(a: &RawSeries, b: &RawSeries) -> RawSeries {
    let mut samples: Vec<(Timestamp, f64)> = a.timestamps.iter().copied().zip(a.values.iter().copied()).collect();
    samples.extend(b.timestamps.iter().copied().zip(b.values.iter().copied()));
    // By bits too, so that the outcome does not depend on which part came first.
    samples.sort_by_key(|(t, v)| (*t, v.to_bits()));
    samples.dedup_by_key(|(t, _)| *t);
    RawSeries {
        labels: a.labels.clone(),
        timestamps: samples.iter().map(|(t, _)| *t).collect(),
        values: samples.iter().map(|(_, v)| *v).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, samples: &[(i64, f64)]) -> RawSeries {
        RawSeries {
            labels: Labels::from_pairs([("__name__", name)]),
            timestamps: samples.iter().map(|s| s.0).collect(),
            values: samples.iter().map(|s| s.1).collect(),
        }
    }

    #[test]
    fn parts_of_one_series_from_several_shards_become_one() {
        let id = SelectId(0);
        let parts =
            [(id, vec![series("b", &[(1, 1.0)]), series("a", &[(30, 3.0), (40, 4.0)])]), (id, vec![series("a", &[(10, 1.0), (30, 3.0)])])];
        let source = GatheredSource::new(parts);
        let select = Select { id, matchers: Vec::new(), start_ms: 0, end_ms: 100 };
        let set = source.select(&select).unwrap();
        assert_eq!(set.series.len(), 2);
        assert_eq!((set.series[0].labels.metric_name(), &set.series[0].timestamps[..]), ("a", &[10, 30, 40][..]));
        let unknown = Select { id: SelectId(7), ..select };
        assert_eq!(source.select(&unknown).unwrap_err(), SourceError::NotGathered(7));
    }

    #[test]
    fn memory_leaves_out_series_without_samples_in_the_range() {
        let source = MemorySource::new(vec![series("a", &[(10, 1.0)]), series("b", &[(11, 1.0)])]);
        let select = Select { id: SelectId(0), matchers: Vec::new(), start_ms: 10, end_ms: 20 };
        let found = source.select(&select).unwrap();
        assert_eq!(found.series.iter().map(|s| s.labels.metric_name()).collect::<Vec<_>>(), ["b"]);
    }
}
