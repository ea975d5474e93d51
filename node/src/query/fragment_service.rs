//! Reads one fragment from one replica on this node, after a read barrier.

use super::changes::ShardChanges;
use super::frames::{FRAME_BYTES, put_exemplars, put_family, put_samples, put_series, put_text};
use crate::compute::ComputeError;
use crate::metrics;
use crate::node::Node;
use crate::shard::LocalShard;
use bytes::Bytes;
use model::planted::{self, Bug};
use model::{Labels, Matcher, ShardId, StoreId};
use promql::source::{HistogramSample, RawSeries};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::time::Instant;
use tsdb::metadata::Known;
use tsdb::record::{Record, Value};
use tsdb::view::{ReadError as StorageError, ReadView, SelectedSeries, TimeRange};

/// What to read.
#[derive(Clone, Debug)]
pub enum ReadKind {
    /// Series with samples in `(start_ms, end_ms]`.
    Samples {
        /// Samples the answer may hold at most.
        samples_max: u64,
    },
    /// Label sets of series with samples in `[start_ms, end_ms]`.
    Series,
    /// Label names of such series.
    LabelNames,
    /// Values of one label of such series.
    LabelValues {
        /// Which label.
        label: String,
    },
    /// What was written into `(start_ms, end_ms]`, and by which entries.
    Changes,
    /// Exemplars in `[start_ms, end_ms]` of series that match.
    Exemplars,
    /// What is known about metric families.
    Metadata {
        /// About this one only.
        family: Option<String>,
    },
    /// What the labels of the series in the head make, for the largest `limit` of each kind.
    Cardinality {
        /// How many shards are asked together.
        shards: usize,
    },
}

/// An exemplar as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundExemplar {
    /// Milliseconds.
    pub timestamp_ms: i64,
    /// The observed value.
    pub value: f64,
    /// Its own labels.
    pub labels: Labels,
}

/// The exemplars of one series, in the order written.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// Labels of the series.
    pub labels: Labels,
    /// Its exemplars.
    pub exemplars: Vec<FoundExemplar>,
}

/// One read of one shard.
#[derive(Clone, Debug)]
pub struct ReadSpec {
    /// What.
    pub kind: ReadKind,
    /// Any of these sets; none means all series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// See [`ReadKind`].
    pub start_ms: i64,
    /// Inclusive.
    pub end_ms: i64,
    /// Newest decided revision of the shard map that the asker knows.
    pub known_revision: u64,
    /// Most texts or label sets, if limited.
    pub limit: Option<usize>,
    /// Samples gathered so far by all reads of the query on this node.
    pub gathered: Arc<AtomicU64>,
}

impl ReadSpec {
    /// First and last millisecond that it reads.
    fn meets(&self) -> (i64, i64) {
        let is_open = matches!(self.kind, ReadKind::Samples { .. } | ReadKind::Changes);
        (if is_open { self.start_ms.saturating_add(1) } else { self.start_ms }, self.end_ms)
    }

    /// A read of all series from `start_ms` to `end_ms`, whatever the shard map, without a limit.
    #[must_use]
    pub fn new(kind: ReadKind, start_ms: i64, end_ms: i64) -> Self {
        Self { kind, matcher_sets: Vec::new(), start_ms, end_ms, known_revision: 0, limit: None, gathered: Arc::default() }
    }
}

/// What a read found.
#[derive(Clone, Debug)]
pub enum Found {
    /// Of [`ReadKind::Samples`].
    Samples(Vec<RawSeries>),
    /// Of [`ReadKind::Series`].
    Series(Vec<Labels>),
    /// Of [`ReadKind::LabelNames`] and [`ReadKind::LabelValues`].
    Texts(BTreeSet<String>),
    /// Of [`ReadKind::Changes`].
    Changes(ShardChanges),
    /// Of [`ReadKind::Exemplars`].
    Exemplars(Vec<SeriesExemplars>),
    /// Of [`ReadKind::Metadata`].
    Metadata(Vec<(String, Known)>),
    /// Of [`ReadKind::Cardinality`]: something for [`tsdb::cardinality::Cardinality::merge`].
    Cardinality(Vec<u8>),
}

/// Why a replica did not answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReadError {
    /// The replica is not here, lags, or its leader is not known: another attempt may succeed.
    #[error("shard {shard} is unavailable: {reason}")]
    Unavailable {
        /// Which shard.
        shard: ShardId,
        /// Why.
        reason: String,
    },
    /// The shard has a newer map than the asker.
    #[error("shard {shard} has a newer shard map")]
    StaleMap {
        /// Which shard.
        shard: ShardId,
    },
    /// The answer would hold more samples than it may.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// The asker went away or its deadline passed.
    #[error("query timed out in expression evaluation")]
    Cancelled,
    /// The node that was asked does not know the operators of the fragment: the samples must be read instead.
    #[error("shard {shard} does not know the operators of the query")]
    Unsupported {
        /// Which shard.
        shard: ShardId,
    },
    /// The answer takes more than the query may hold.
    #[error(transparent)]
    OverBudget(promql::EvalError),
    /// The answer cannot be read.
    #[error("shard {shard}: {reason}")]
    BadAnswer {
        /// Which shard.
        shard: ShardId,
        /// What is wrong with it.
        reason: String,
    },
    /// Stored data could not be read.
    #[error("shard {shard}: {reason}")]
    Storage {
        /// Which shard.
        shard: ShardId,
        /// What storage said.
        reason: String,
    },
}

/// Reads from this node's replica of `shard` what every write acknowledged before the call left there.
///
/// # Errors
/// See [`ReadError`].
pub async fn read_local(
    node: &Node,
    local: Arc<LocalShard>,
    spec: ReadSpec,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
) -> Result<Found, ReadError> {
    let shard = local.id;
    let applied = ready(node, &local, KnownMap { revision: spec.known_revision, range: spec.meets() }, deadline).await?;
    if matches!(spec.kind, ReadKind::Changes) {
        let range = TimeRange { after_ms: spec.start_ms, to_ms: spec.end_ms };
        return Ok(Found::Changes(ShardChanges { shard, applied, changes: local.shard.changes(range) }));
    }
    let aborted = |e: ComputeError| ReadError::Unavailable { shard, reason: e.to_string() };
    node.compute(move || read(&local, &spec, &cancelled)).await.map_err(aborted)?
}

/// What an asker knows of the shard map, and for which time it matters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownMap {
    /// Newest decided revision.
    pub(crate) revision: u64,
    /// First and last millisecond of what is read.
    pub(crate) range: (i64, i64),
}

impl KnownMap {
    /// For a caller that has no use for other shards.
    pub(crate) const ANY: Self = Self { revision: u64::MAX, range: (i64::MIN, i64::MAX) };
}

/// Waits until the replica holds what every write acknowledged before the call left; answers up to which entry that is.
///
/// # Errors
/// It lags or its leader is not known, or the shard has a newer map of that time than the asker (`core.md` C8).
pub(crate) async fn ready(node: &Node, local: &LocalShard, known: KnownMap, deadline: Instant) -> Result<u64, ReadError> {
    let shard = local.id;
    let unavailable = |reason: String| ReadError::Unavailable { shard, reason };
    let leader = local.group.status().leader.map(|(_, store)| store);
    let leader: StoreId = leader.ok_or_else(|| unavailable("its leader is not known".to_owned()))?;
    if planted::is(Bug::ReadWithoutBarrier) {
        return Ok(0);
    }
    let index = match node.barrier.confirm(shard, leader, deadline).await {
        Ok(index) => index,
        Err(error) => {
            // A follower that sleeps would believe in a leader that is gone.
            local.group.stir();
            return Err(unavailable(error.to_string()));
        }
    };
    local.group.wait_applied(index, deadline).await.map_err(|e| unavailable(e.to_string()))?;
    if local.shard.has_newer_map(known.revision, known.range.0, known.range.1) {
        return Err(ReadError::StaleMap { shard });
    }
    Ok(index)
}

fn read(local: &LocalShard, spec: &ReadSpec, cancelled: &AtomicBool) -> Result<Found, ReadError> {
    let shard = local.id;
    let view = local.shard.read_view();
    let all = [Vec::new()];
    let sets: &[Vec<Matcher>] = if spec.matcher_sets.is_empty() { &all } else { &spec.matcher_sets };
    let found = match &spec.kind {
        ReadKind::Samples { samples_max } => return samples(&view, shard, sets, spec, *samples_max, cancelled),
        ReadKind::Series => {
            let found = each(sets, cancelled, |set| view.series(set, inclusive(spec), spec.limit.unwrap_or(usize::MAX)));
            found.map(|f| Found::Series(f.into_iter().collect::<BTreeSet<_>>().into_iter().collect()))
        }
        ReadKind::LabelNames => each(sets, cancelled, |set| view.label_names(set, inclusive(spec), spec.limit.unwrap_or(0)))
            .map(|f| Found::Texts(f.into_iter().collect())),
        ReadKind::LabelValues { label } => {
            let found = each(sets, cancelled, |set| view.label_values(label, set, inclusive(spec), spec.limit.unwrap_or(usize::MAX)));
            found.map(|f| Found::Texts(f.into_iter().collect()))
        }
        ReadKind::Exemplars => exemplars(&view, sets, spec).map(Found::Exemplars),
        ReadKind::Metadata { family } => {
            let mut families = Vec::new();
            local.shard.families(family.as_deref(), |family, known| families.push((family.to_owned(), known.clone())));
            Ok(Found::Metadata(families))
        }
        ReadKind::Cardinality { shards } => Ok(Found::Cardinality(local.shard.cardinality(spec.limit.unwrap_or(0), *shards))),
        ReadKind::Changes => unreachable!("it is answered without a view"),
    };
    found
        .map_err(|e| storage_error(shard, &e))
        .and_then(|f| if cancelled.load(Ordering::Relaxed) { Err(ReadError::Cancelled) } else { Ok(f) })
}

/// The reader's half-open range for a span whose both ends count.
fn inclusive(spec: &ReadSpec) -> TimeRange {
    TimeRange { after_ms: spec.start_ms.saturating_sub(1), to_ms: spec.end_ms }
}

fn each<T>(
    sets: &[Vec<Matcher>],
    cancelled: &AtomicBool,
    mut one: impl FnMut(&[Matcher]) -> Result<Vec<T>, StorageError>,
) -> Result<Vec<T>, StorageError> {
    let mut found = Vec::new();
    for set in sets {
        if cancelled.load(Ordering::Relaxed) {
            break;
        }
        found.extend(one(set)?);
    }
    Ok(found)
}

fn exemplars(view: &ReadView, sets: &[Vec<Matcher>], spec: &ReadSpec) -> Result<Vec<SeriesExemplars>, StorageError> {
    let mut found = Vec::new();
    view.exemplars(sets, inclusive(spec), |labels, exemplars| {
        let read = |exemplar: &tsdb::record::Exemplar<'_>| {
            // Judged before they were stored.
            let labels = tsdb::rows::labels_of(exemplar.labels).unwrap_or_default();
            FoundExemplar { timestamp_ms: exemplar.timestamp_ms, value: exemplar.value, labels }
        };
        found.push(SeriesExemplars { labels: labels.clone(), exemplars: exemplars.iter().map(read).collect() });
    })?;
    Ok(found)
}

/// A stored series as the evaluator takes it.
pub(super) fn raw_series(series: SelectedSeries<'_>) -> RawSeries {
    RawSeries {
        labels: series.labels.clone(),
        timestamps: series.timestamps.to_vec(),
        values: series.values.to_vec(),
        start_timestamps: series.start_timestamps.to_vec(),
        histograms: series.histograms.iter().filter_map(histogram_sample).collect(),
    }
}

/// A stored histogram as the evaluator takes it.
pub(super) fn histogram_sample(record: &Record) -> Option<HistogramSample> {
    let Value::Histogram(histogram) = &record.value else { return None };
    Some(HistogramSample { timestamp_ms: record.timestamp_ms, start_ms: record.start_ms, histogram: Arc::clone(histogram) })
}

fn samples(
    view: &ReadView,
    shard: ShardId,
    sets: &[Vec<Matcher>],
    spec: &ReadSpec,
    samples_max: u64,
    cancelled: &AtomicBool,
) -> Result<Found, ReadError> {
    let range = TimeRange { after_ms: spec.start_ms, to_ms: spec.end_ms };
    let mut series = Vec::new();
    let mut stopped = None;
    for matchers in sets {
        let outcome = view.select(matchers, range, |one| {
            let count = (one.timestamps.len() + one.histograms.iter().map(histogram_weight).sum::<usize>()) as u64;
            if spec.gathered.fetch_add(count, Ordering::Relaxed) + count > samples_max {
                stopped = Some(ReadError::TooManySamples);
            } else if cancelled.load(Ordering::Relaxed) {
                stopped = Some(ReadError::Cancelled);
            } else {
                series.push(raw_series(one));
                return ControlFlow::Continue(());
            }
            ControlFlow::Break(())
        });
        if let Some(error) = stopped.take() {
            return Err(error);
        }
        outcome.map_err(|e| storage_error(shard, &e))?;
    }
    Ok(Found::Samples(series))
}

/// As how many samples a histogram counts.
fn histogram_weight(record: &Record) -> usize {
    match &record.value {
        Value::Histogram(histogram) => histogram.samples(),
        Value::Float(_) => 1,
    }
}

pub(super) fn storage_error(shard: ShardId, error: &StorageError) -> ReadError {
    if error.is_retriable() {
        ReadError::Unavailable { shard, reason: error.to_string() }
    } else if error.is_damage() {
        // Another replica holds the same, undamaged.
        tracing::error!(%shard, %error, "stored data is damaged");
        metrics::count_damaged_read();
        ReadError::Unavailable { shard, reason: error.to_string() }
    } else {
        tracing::error!(%shard, %error, "stored data cannot be read");
        ReadError::Storage { shard, reason: error.to_string() }
    }
}

/// Cuts what was found into frames of about [`FRAME_BYTES`].
#[must_use]
pub fn to_frames(found: &Found) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut frame = Vec::new();
    let mut cut = |frame: &mut Vec<u8>, last: bool| {
        if frame.len() >= FRAME_BYTES || (last && !frame.is_empty()) {
            frames.push(Bytes::from(std::mem::take(frame)));
        }
    };
    match found {
        Found::Samples(series) => {
            for s in series {
                put_samples(&mut frame, s);
                cut(&mut frame, false);
            }
        }
        Found::Series(series) => {
            for labels in series {
                put_series(&mut frame, labels);
                cut(&mut frame, false);
            }
        }
        Found::Texts(texts) => {
            for text in texts {
                put_text(&mut frame, text);
                cut(&mut frame, false);
            }
        }
        Found::Changes(changes) => changes.put(&mut frame),
        Found::Cardinality(told) => {
            for piece in told.chunks(FRAME_BYTES) {
                frame.extend_from_slice(piece);
                cut(&mut frame, false);
            }
        }
        Found::Exemplars(series) => {
            for one in series {
                put_exemplars(&mut frame, one);
                cut(&mut frame, false);
            }
        }
        Found::Metadata(families) => {
            for (family, known) in families {
                put_family(&mut frame, family, known);
                cut(&mut frame, false);
            }
        }
    }
    cut(&mut frame, true);
    frames
}
