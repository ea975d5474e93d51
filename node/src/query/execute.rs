//! Computes a fragment of a query on this node's replica of a shard: the frames of the answer, as they are made.

use super::fragment_service::{KnownMap, ReadError, histogram_sample, raw_series, ready, storage_error};
use crate::node::Node;
use crate::shard::LocalShard;
use model::ShardId;
use promql::source::{HistogramSample, RawSeries, Select, SeriesSet, SeriesSource, SeriesView, SourceError, Visitor};
use promql::{Budget, EvalError, Fragment, Frame, Residence};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tsdb::view::{ReadError as StorageError, ReadView, SelectedSeries, TimeRange};

/// Bytes that the fragment of one query may hold on one shard.
pub const FRAGMENT_BYTES_MAX: u64 = 512 << 20;
/// Frames that wait to be sent; who computes them waits while there are more.
const FRAMES_WAITING: usize = 4;
/// Bytes of samples between two looks at the budget while they are read.
const PROBE_BYTES: u64 = 4 << 20;

/// What to compute.
#[derive(Clone, Debug)]
pub struct ExecuteSpec {
    /// The operators.
    pub fragment: Arc<Fragment>,
    /// Where series lie, if the shard map changed within the time that is looked at.
    pub residence: Option<Arc<Residence>>,
    /// Newest revision of the shard map that the asker knows.
    pub known_revision: u64,
    /// Samples that may be held.
    pub samples_max: u64,
    /// Bytes that may be held.
    pub bytes_max: u64,
}

/// How a shard worked on a fragment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Time from the read barrier to the beginning of the work.
    pub queued: Duration,
    /// Time of the work.
    pub evaluated: Duration,
    /// Whether the replica led its group.
    pub is_leader: bool,
    /// Every entry of the shard's log up to this one is part of the answer.
    pub applied: u64,
}

/// A frame of the answer; the last one comes with a report.
#[derive(Debug)]
pub struct Sent {
    /// The frame.
    pub frame: Frame,
    /// With the last frame.
    pub report: Option<Report>,
}

/// A fragment that is about to be computed here, behind the read barrier.
#[derive(Debug)]
pub struct Execution {
    local: Arc<LocalShard>,
    spec: ExecuteSpec,
    budget: Budget,
    cancelled: Arc<AtomicBool>,
    is_leader: bool,
    applied: u64,
    ready_since: Instant,
}

/// Takes what a shard answers, in order; an error ends the work.
pub type Take<'t> = &'t mut dyn FnMut(Result<Sent, ReadError>) -> Result<(), EvalError>;

impl Execution {
    /// Waits until this node's replica of a shard holds what every write acknowledged before the call left there.
    ///
    /// # Errors
    /// The replica cannot be read now.
    pub async fn ready(
        node: &Node,
        local: Arc<LocalShard>,
        spec: ExecuteSpec,
        deadline: Instant,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Self, ReadError> {
        let range = spec.fragment.time_range().map_or((i64::MAX, i64::MIN), |(after_ms, until_ms)| (after_ms.saturating_add(1), until_ms));
        let applied = ready(node, &local, KnownMap { revision: spec.known_revision, range }, deadline).await?;
        let is_leader = local.group.status().leader.is_some_and(|(_, store)| store == node.store_id());
        let ends = node.clock.monotonic() + deadline.saturating_duration_since(Instant::now());
        let budget = Budget::with_deadline(spec.samples_max, spec.bytes_max, Arc::clone(&node.clock), ends, Arc::clone(&cancelled));
        Ok(Self { local, spec, budget, cancelled, is_leader, applied, ready_since: Instant::now() })
    }

    /// Computes the fragment. CPU-bound, and reads the store.
    pub fn run(self, take: Take<'_>) {
        let Self { local, spec, budget, cancelled, is_leader, applied, ready_since } = self;
        let began = Instant::now();
        let mut report = Report { queued: began - ready_since, evaluated: Duration::ZERO, is_leader, applied };
        let (budget, cancelled) = (&budget, &*cancelled);
        let storage = Storage { view: local.shard.read_view(), shard: local.id, budget, cancelled, failed: RefCell::default() };
        let mut send = |frame: Frame| {
            // An answer that failed because of storage is no answer: another replica may give one.
            let outcome = match storage.failed.take() {
                Some(error) => Err(error),
                None => {
                    let is_last = frame.is_last();
                    report.evaluated = began.elapsed();
                    Ok(Sent { frame, report: is_last.then_some(report) })
                }
            };
            take(outcome)
        };
        // That nobody takes the frames any more is all that can go wrong here.
        let _ = match &spec.residence {
            Some(residence) => spec.fragment.execute_resident(&storage, residence, budget, &mut send),
            None => spec.fragment.execute(&storage, budget, &mut send),
        };
    }
}

/// Computes `spec` on this node's replica of `shard`, for another node; dropping the receiver ends the work.
///
/// # Errors
/// See [`Execution::ready`].
pub async fn execute_local(
    node: &Node,
    local: Arc<LocalShard>,
    spec: ExecuteSpec,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
) -> Result<mpsc::Receiver<Result<Sent, ReadError>>, ReadError> {
    let execution = Execution::ready(node, local, spec, deadline, cancelled).await?;
    let (sender, receiver) = mpsc::channel(FRAMES_WAITING);
    // Nobody waits for the work itself: its frames and their end tell all.
    if model::threads::are_inline() {
        let mut frames = Vec::new();
        execution.run(&mut |outcome| {
            frames.push(outcome);
            Ok(())
        });
        tokio::spawn(async move {
            for frame in frames {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
        });
        return Ok(receiver);
    }
    #[allow(clippy::disallowed_methods, reason = "it sends while it computes, and waits for who takes it")]
    drop(tokio::task::spawn_blocking(move || {
        execution.run(&mut |outcome| sender.blocking_send(outcome).map_err(|_| EvalError::Cancelled));
    }));
    Ok(receiver)
}

/// The series of one shard.
struct Storage<'a> {
    view: ReadView,
    shard: ShardId,
    budget: &'a Budget,
    cancelled: &'a AtomicBool,
    failed: RefCell<Option<ReadError>>,
}

impl Storage<'_> {
    fn read(&self, select: &Select, visit: impl FnMut(SelectedSeries<'_>) -> ControlFlow<()>) -> Result<(), StorageError> {
        let range = TimeRange { after_ms: select.start_ms, to_ms: select.end_ms };
        if select.newest_only {
            self.view.select_newest(&select.matchers, range, visit)
        } else {
            self.view.select(&select.matchers, range, visit)
        }
    }
}

impl SeriesSource for Storage<'_> {
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError> {
        let mut series: Vec<Arc<RawSeries>> = Vec::new();
        let (mut bytes, mut probed) = (0, 0);
        let mut refused = None;
        let each = |one: SelectedSeries<'_>| {
            let raw = raw_series(one);
            bytes += raw.heap_bytes() as u64;
            series.push(Arc::new(raw));
            if self.cancelled.load(Ordering::Relaxed) {
                refused = Some(EvalError::Cancelled);
            } else if bytes - probed >= PROBE_BYTES {
                // The evaluator takes the room once all is read; here is only looked whether there is enough.
                probed = bytes;
                refused = self.budget.check().and_then(|()| self.budget.reserve(0, bytes).map(drop)).err();
            }
            if refused.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = self.read(select, each);
        if let Some(error) = refused {
            return Err(SourceError::Refused(Box::new(error)));
        }
        if let Err(error) = outcome {
            let message = error.to_string();
            *self.failed.borrow_mut() = Some(storage_error(self.shard, &error));
            return Err(SourceError::Storage { message });
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(SeriesSet { series })
    }

    fn visit(&self, select: &Select, visit: Visitor<'_>) -> Result<(), EvalError> {
        let mut ended = Ok(());
        let each = |one: SelectedSeries<'_>| {
            let SelectedSeries { labels, timestamps, values, start_timestamps, histograms, .. } = one;
            let histograms: Vec<HistogramSample> = histograms.iter().filter_map(histogram_sample).collect();
            ended = visit(SeriesView { labels, timestamps, values, start_timestamps, histograms: &histograms });
            if ended.is_ok() && self.cancelled.load(Ordering::Relaxed) {
                ended = Err(EvalError::Cancelled);
            }
            if ended.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome = self.read(select, each);
        ended?;
        outcome.map_err(|error| {
            let message = error.to_string();
            *self.failed.borrow_mut() = Some(storage_error(self.shard, &error));
            EvalError::Source(SourceError::Storage { message })
        })
    }
}
