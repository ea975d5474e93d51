//! Where series come from.

use crate::error::EvalError;
use model::histogram::FloatHistogram;
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
    /// Whether of each series the newest of those samples is enough.
    pub newest_only: bool,
}

/// A native histogram at one time.
#[derive(Clone, Debug)]
pub struct HistogramSample {
    /// Time in milliseconds.
    pub timestamp_ms: Timestamp,
    /// When counting started, in milliseconds; 0 if that is not known.
    pub start_ms: Timestamp,
    /// The histogram.
    pub histogram: Arc<FloatHistogram>,
}

/// One series as stored: stale markers included. Floats and native histograms are apart, so that a series of floats alone is two
/// plain columns; the times of both together are unique, each column's are ascending.
#[derive(Clone, Debug, Default)]
pub struct RawSeries {
    /// Its labels.
    pub labels: Labels,
    /// Times of the floats in milliseconds.
    pub timestamps: Vec<Timestamp>,
    /// `values[i]` belongs to `timestamps[i]`.
    pub values: Vec<f64>,
    /// `start_timestamps[i]` is when the counter of `values[i]` started, in milliseconds, 0 if that is not known. Empty if it is not
    /// known of any.
    pub start_timestamps: Vec<Timestamp>,
    /// The native histograms.
    pub histograms: Vec<HistogramSample>,
}

impl RawSeries {
    /// A series of floats alone.
    #[must_use]
    pub fn floats(labels: Labels, timestamps: Vec<Timestamp>, values: Vec<f64>) -> Self {
        Self { labels, timestamps, values, start_timestamps: Vec::new(), histograms: Vec::new() }
    }

    /// When the counter of `values[index]` started, 0 if that is not known.
    #[must_use]
    pub fn start_ms(&self, index: usize) -> Timestamp {
        self.start_timestamps.get(index).copied().unwrap_or(0)
    }

    /// Number of floats and histograms.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len() + self.histograms.len()
    }

    /// Whether it has no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether any sample lies in `(start_ms, end_ms]`.
    #[must_use]
    pub fn has_samples_between(&self, start_ms: Timestamp, end_ms: Timestamp) -> bool {
        let floats = self.timestamps.partition_point(|t| *t <= start_ms) < self.timestamps.partition_point(|t| *t <= end_ms);
        floats || self.histograms.iter().any(|h| h.timestamp_ms > start_ms && h.timestamp_ms <= end_ms)
    }

    /// The series as a visitor sees it.
    #[must_use]
    pub fn view(&self) -> SeriesView<'_> {
        SeriesView {
            labels: &self.labels,
            timestamps: &self.timestamps,
            values: &self.values,
            start_timestamps: &self.start_timestamps,
            histograms: &self.histograms,
        }
    }

    /// Bytes that labels and samples take.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let histograms = self.histograms.iter().map(|h| size_of::<HistogramSample>() + histogram_bytes(&h.histogram)).sum::<usize>();
        self.timestamps.len() * 16 + self.start_timestamps.len() * 8 + histograms + self.labels.heap_bytes()
    }
}

/// One series whose samples somebody else holds; what its parts are stands at [`RawSeries`].
#[derive(Clone, Copy, Debug)]
pub struct SeriesView<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Times of the floats in milliseconds, ascending.
    pub timestamps: &'a [Timestamp],
    /// `values[i]` belongs to `timestamps[i]`.
    pub values: &'a [f64],
    /// When the counter of each float started, or empty.
    pub start_timestamps: &'a [Timestamp],
    /// The native histograms.
    pub histograms: &'a [HistogramSample],
}

impl<'a> SeriesView<'a> {
    /// The samples in `(after_ms, to_ms]`.
    #[must_use]
    pub fn between(self, after_ms: Timestamp, to_ms: Timestamp) -> Self {
        let floats_lie_within = self.timestamps.first().is_none_or(|t| *t > after_ms) && self.timestamps.last().is_none_or(|t| *t <= to_ms);
        let first = self.histograms.first().is_none_or(|h| h.timestamp_ms > after_ms);
        if floats_lie_within && first && self.histograms.last().is_none_or(|h| h.timestamp_ms <= to_ms) {
            return self;
        }
        let from = self.timestamps.partition_point(|t| *t <= after_ms);
        let to = from + self.timestamps[from..].partition_point(|t| *t <= to_ms);
        let start_timestamps = if self.start_timestamps.is_empty() { self.start_timestamps } else { &self.start_timestamps[from..to] };
        let first = self.histograms.partition_point(|h| h.timestamp_ms <= after_ms);
        let last = first + self.histograms[first..].partition_point(|h| h.timestamp_ms <= to_ms);
        Self {
            labels: self.labels,
            timestamps: &self.timestamps[from..to],
            values: &self.values[from..to],
            start_timestamps,
            histograms: &self.histograms[first..last],
        }
    }

    /// The newest sample alone.
    #[must_use]
    pub fn newest(self) -> Self {
        let float = self.timestamps.last().copied();
        let histogram = self.histograms.last().map(|h| h.timestamp_ms);
        self.between(float.max(histogram).map_or(i64::MAX, |newest_ms| newest_ms.saturating_sub(1)), i64::MAX)
    }

    /// When the counter of `values[index]` started, 0 if that is not known.
    #[must_use]
    pub fn start_ms(&self, index: usize) -> Timestamp {
        self.start_timestamps.get(index).copied().unwrap_or(0)
    }

    /// A copy that stays.
    #[must_use]
    pub fn to_raw(&self) -> RawSeries {
        RawSeries {
            labels: self.labels.clone(),
            timestamps: self.timestamps.to_vec(),
            values: self.values.to_vec(),
            start_timestamps: self.start_timestamps.to_vec(),
            histograms: self.histograms.to_vec(),
        }
    }
}

/// Bytes that a histogram takes.
pub(crate) fn histogram_bytes(histogram: &FloatHistogram) -> usize {
    let spans = (histogram.positive_spans.len() + histogram.negative_spans.len()) * 8;
    let buckets = (histogram.positive_buckets.len() + histogram.negative_buckets.len()) * 8;
    size_of::<FloatHistogram>() + spans + buckets + histogram.custom_values.len() * 8
}

/// As how many samples a histogram counts: as Prometheus does, one for 16 bytes.
pub(crate) fn histogram_samples(histogram: &FloatHistogram) -> u64 {
    histogram.samples() as u64
}

/// What a select returned: series sorted by labels, each label set once.
#[derive(Clone, Debug, Default)]
pub struct SeriesSet {
    /// The series; shared, so that a set is cheap to clone.
    pub series: Vec<Arc<RawSeries>>,
}

/// Why series could not be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
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
    /// The query may not go on, or not hold so much.
    #[error(transparent)]
    Refused(Box<EvalError>),
}

/// Answers selects. It may return more samples than asked for, never fewer.
pub trait SeriesSource {
    /// The series that match, sorted by labels.
    ///
    /// # Errors
    /// The series could not be read completely.
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError>;

    /// Hands the series that match to `visit`, each once and in any order. A source that makes series as it reads them need not hold
    /// them all: a query that looks at each series once is answered in the room of one.
    ///
    /// # Errors
    /// The series could not be read completely, or `visit` failed.
    fn visit(&self, select: &Select, visit: Visitor<'_>) -> Result<(), EvalError> {
        self.select(select)?.series.iter().try_for_each(|series| visit(series.view()))
    }
}

/// Takes series one by one; an error ends the read.
pub type Visitor<'v> = &'v mut dyn FnMut(SeriesView<'_>) -> Result<(), EvalError>;

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

    /// All series, sorted by labels.
    pub fn series(&self) -> impl Iterator<Item = &RawSeries> {
        self.set.series.iter().map(|series| &**series)
    }
}

impl MemorySource {
    fn matching(&self, select: &Select) -> impl Iterator<Item = &Arc<RawSeries>> {
        let matches = |series: &&Arc<RawSeries>| select.matchers.iter().all(|m| m.matches_labels(&series.labels));
        let in_range = |series: &&Arc<RawSeries>| series.has_samples_between(select.start_ms, select.end_ms);
        self.set.series.iter().filter(matches).filter(in_range)
    }
}

impl SeriesSource for MemorySource {
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError> {
        let newest = |series: &Arc<RawSeries>| Arc::new(series.view().between(select.start_ms, select.end_ms).newest().to_raw());
        let wanted = |series: &Arc<RawSeries>| if select.newest_only { newest(series) } else { Arc::clone(series) };
        Ok(SeriesSet { series: self.matching(select).map(wanted).collect() })
    }

    fn visit(&self, select: &Select, visit: Visitor<'_>) -> Result<(), EvalError> {
        self.matching(select).try_for_each(|series| {
            let series = series.view();
            visit(if select.newest_only { series.between(select.start_ms, select.end_ms).newest() } else { series })
        })
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
        Self::of_shared(parts.into_iter().map(|(id, series)| (id, series.into_iter().map(Arc::new).collect())))
    }

    /// As [`Self::new`], of series that others hold too.
    pub(crate) fn of_shared(parts: impl IntoIterator<Item = (SelectId, Vec<Arc<RawSeries>>)>) -> Self {
        let mut by_select: HashMap<SelectId, Vec<Arc<RawSeries>>> = HashMap::new();
        for (id, series) in parts {
            by_select.entry(id).or_default().extend(series);
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
    let floats_of = |series: &RawSeries| -> Vec<(Timestamp, f64, Timestamp)> {
        let times = series.timestamps.iter().zip(&series.values).enumerate();
        times.map(|(i, (t, v))| (*t, *v, series.start_ms(i))).collect()
    };
    let mut floats = floats_of(a);
    floats.extend(floats_of(b));
    // By bits too, so that the outcome does not depend on which part came first.
    floats.sort_by_key(|(t, v, start)| (*t, v.to_bits(), *start));
    floats.dedup_by_key(|(t, ..)| *t);
    let timestamps: Vec<Timestamp> = floats.iter().map(|(t, ..)| *t).collect();
    let has_starts = floats.iter().any(|(.., start)| *start != 0);
    let mut histograms: Vec<HistogramSample> = a.histograms.iter().chain(&b.histograms).cloned().collect();
    histograms.sort_by_key(|h| (h.timestamp_ms, h.histogram.count.to_bits(), h.histogram.sum.to_bits(), h.start_ms));
    histograms.dedup_by_key(|h| h.timestamp_ms);
    histograms.retain(|h| timestamps.binary_search(&h.timestamp_ms).is_err());
    RawSeries {
        labels: a.labels.clone(),
        timestamps,
        values: floats.iter().map(|(_, v, _)| *v).collect(),
        start_timestamps: if has_starts { floats.iter().map(|(.., start)| *start).collect() } else { Vec::new() },
        histograms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, samples: &[(i64, f64)]) -> RawSeries {
        let (timestamps, values) = samples.iter().copied().unzip();
        RawSeries::floats(Labels::from_pairs([("__name__", name)]), timestamps, values)
    }

    #[test]
    fn parts_of_one_series_from_several_shards_become_one() {
        let id = SelectId(0);
        let parts =
            [(id, vec![series("b", &[(1, 1.0)]), series("a", &[(30, 3.0), (40, 4.0)])]), (id, vec![series("a", &[(10, 1.0), (30, 3.0)])])];
        let source = GatheredSource::new(parts);
        let select = Select { id, matchers: Vec::new(), start_ms: 0, end_ms: 100, newest_only: false };
        let set = source.select(&select).unwrap();
        assert_eq!(set.series.len(), 2);
        assert_eq!((set.series[0].labels.metric_name(), &set.series[0].timestamps[..]), ("a", &[10, 30, 40][..]));
        let unknown = Select { id: SelectId(7), ..select };
        assert_eq!(source.select(&unknown).unwrap_err(), SourceError::NotGathered(7));
    }

    #[test]
    fn start_times_and_histograms_of_parts_are_joined_by_time() {
        let histogram = |t: i64| HistogramSample { timestamp_ms: t, start_ms: 1, histogram: Arc::new(FloatHistogram::default()) };
        let mut first = series("a", &[(10, 1.0), (20, 2.0)]);
        first.start_timestamps = vec![5, 5];
        first.histograms = vec![histogram(40)];
        let mut second = series("a", &[(50, 3.0)]);
        second.histograms = vec![histogram(30), histogram(40), histogram(50)];
        let set = MemorySource::new(vec![second, first]).set;
        let joined = &set.series[0];
        assert_eq!((&joined.timestamps[..], &joined.start_timestamps[..]), (&[10, 20, 50][..], &[5, 5, 0][..]));
        assert_eq!(joined.histograms.iter().map(|h| h.timestamp_ms).collect::<Vec<_>>(), [30, 40], "a float takes precedence");
        assert!(joined.has_samples_between(20, 30) && !joined.has_samples_between(20, 29));
    }

    #[test]
    fn memory_leaves_out_series_without_samples_in_the_range() {
        let source = MemorySource::new(vec![series("a", &[(10, 1.0)]), series("b", &[(11, 1.0)])]);
        let select = Select { id: SelectId(0), matchers: Vec::new(), start_ms: 10, end_ms: 20, newest_only: false };
        let found = source.select(&select).unwrap();
        assert_eq!(found.series.iter().map(|s| s.labels.metric_name()).collect::<Vec<_>>(), ["b"]);
    }
    #[test]
    fn the_newest_sample_is_a_float_or_a_histogram() {
        let mut both = series("a", &[(10, 1.0), (20, 2.0)]);
        both.histograms = vec![HistogramSample { timestamp_ms: 30, start_ms: 0, histogram: Arc::new(FloatHistogram::default()) }];
        both.start_timestamps = vec![1, 2];
        let source = MemorySource::new(vec![both, series("b", &[]), series("c", &[(i64::MIN, 0.0)])]);
        let newest = |end_ms: i64| {
            let select = Select { id: SelectId(0), matchers: Vec::new(), start_ms: 5, end_ms, newest_only: true };
            let (mut visited, set) = (Vec::new(), source.select(&select).unwrap());
            source
                .visit(&select, &mut |series| {
                    visited.push((series.timestamps.to_vec(), series.start_timestamps.to_vec(), series.histograms.len()));
                    Ok(())
                })
                .unwrap();
            let selected = set.series.iter().map(|s| (s.timestamps.clone(), s.start_timestamps.clone(), s.histograms.len()));
            assert_eq!(selected.collect::<Vec<_>>(), visited);
            visited
        };
        assert_eq!(newest(40), [(vec![], vec![], 1)]);
        assert_eq!(newest(29), [(vec![20], vec![2], 0)]);
        assert_eq!(newest(19), [(vec![10], vec![1], 0)]);
        assert_eq!(newest(9), []);
    }
}
