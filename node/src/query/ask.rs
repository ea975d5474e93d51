//! Asks the shards of a query for their shares, each at its own replica here or at another node, and tries again elsewhere.

use super::execute::{ExecuteSpec, Execution, FRAGMENT_BYTES_MAX, Report, Sent};
use super::fragment_service::ReadError;
use super::scatter::{attempt_deadline, backoff_before, error_of};
use crate::node::Node;
use crate::rpc::client::{header, request};
use crate::shard::LocalShard;
use crate::task;
use model::{ShardId, StoreId};
use promql::budget::Reservation;
use promql::{Budget, DecodeError, EvalError, Frame, Residence, Residents};
use proto::node::{ExecuteFrame, ExecuteReport, ExecuteRequest, GenerationShards};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// The share of one shard.
#[derive(Debug)]
pub struct ShardAnswer {
    /// All frames.
    pub frames: Vec<Frame>,
    /// The room that they take.
    pub held: Vec<Reservation>,
    /// What the work took.
    pub stats: ShardStats,
}

/// What one shard did for a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStats {
    /// Which.
    pub shard: ShardId,
    /// The store whose replica answered.
    pub store: StoreId,
    /// Its role, time in the queue and time of evaluation.
    pub report: Report,
    /// Series read.
    pub series: u64,
    /// Samples read.
    pub samples: u64,
    /// Bytes that came over the network; 0 from this node itself.
    pub bytes: u64,
    /// Replicas that were asked.
    pub attempts: usize,
}

/// One query's view of what it asks.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose shards.
    pub workspace: String,
    /// What they compute.
    pub spec: ExecuteSpec,
    /// The fragment as bytes, once another node was asked.
    pub encoded: OnceLock<bytes::Bytes>,
    /// When a shard is given up.
    pub deadline: Instant,
    /// Room for what comes from other nodes.
    pub budget: Budget,
    /// Set once the asker has gone.
    pub cancelled: Arc<AtomicBool>,
}

impl Question {
    /// Asks one shard until a replica answers or the deadline passes, the first being attempt number `first`.
    ///
    /// # Errors
    /// No replica answered in time, the shard map has changed, or a replica gave an answer that no other will better.
    pub async fn ask(&self, node: &Node, shard: ShardId, first: usize) -> Result<ShardAnswer, ReadError> {
        for attempt in first.. {
            let deadline = attempt_deadline(self.deadline);
            let outcome = match node.shards.serving(shard) {
                // Every other attempt asks elsewhere: the own replica may be the one that is cut off.
                Some(local) if attempt % 2 == 0 => self.ask_here(node, local, |answer| answer).await,
                _ => self.ask_remote(node, shard, attempt, deadline).await,
            };
            let backoff = backoff_before(attempt + 1);
            match outcome {
                Err(ReadError::Unavailable { .. }) if Instant::now() + backoff < self.deadline => {
                    tokio::time::sleep(backoff).await;
                }
                Ok(mut answer) => {
                    answer.stats.attempts = attempt + 1;
                    return Ok(answer);
                }
                Err(error) => return Err(error),
            }
        }
        Err(ReadError::Cancelled)
    }

    /// Asks this node's replica once, and gives what `then` makes of its answer on the thread that computed it.
    ///
    /// # Errors
    /// The replica gave no answer in time, the shard map has changed, or the answer is one that no other replica will better.
    pub async fn ask_here<T: Send + 'static>(
        &self,
        node: &Node,
        local: Arc<LocalShard>,
        then: impl FnOnce(ShardAnswer) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let (shard, store, deadline) = (local.id, node.store_id(), attempt_deadline(self.deadline));
        let execution = Execution::ready(node, local, self.spec.clone(), deadline, Arc::clone(&self.cancelled)).await?;
        let budget = self.budget.clone();
        // It has the query's place; the budget ends it by the deadline.
        let work = task::blocking(move || answer_of(execution, Unfinished::new(shard, store), &budget).map(then));
        let unavailable = |reason: &str| ReadError::Unavailable { shard, reason: reason.to_owned() };
        match tokio::time::timeout_at(deadline, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the evaluation was aborted")),
            Err(_) => Err(unavailable("the evaluation did not end in time")),
        }
    }

    async fn ask_remote(&self, node: &Node, shard: ShardId, attempt: usize, deadline: Instant) -> Result<ShardAnswer, ReadError> {
        let unavailable = |reason: String| ReadError::Unavailable { shard, reason };
        let store = replica_for(node, shard, attempt).ok_or_else(|| unavailable("its replicas are not known".to_owned()))?;
        let address = node.meta.get().stores.get(&store.0).map(|s| s.report.rpc_address.clone());
        let address = address.ok_or_else(|| unavailable(format!("store {store} is not known")))?;
        let mut client = node.peers.client(&address).map_err(|e| unavailable(e.to_string()))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let message = self.message(node, shard, left);
        let mut answer = Unfinished::new(shard, store);
        let frames = async {
            let mut stream = client.execute(request(message, left)).await.map_err(|status| error_of(shard, &status))?.into_inner();
            while let Some(ExecuteFrame { payload, report }) = stream.message().await.map_err(|status| error_of(shard, &status))? {
                answer.bytes += payload.len() as u64;
                let (fragment, budget) = (Arc::clone(&self.spec.fragment), self.budget.clone());
                let frame = node.compute(move || Frame::decode(&payload, &fragment, &budget)).await;
                let frame = frame.map_err(|e| unavailable(e.to_string()))?;
                let frame = frame.map_err(|error| match error {
                    DecodeError::Budget(error) => ReadError::OverBudget(error),
                    DecodeError::Frame(_) => ReadError::BadAnswer { shard, reason: error.to_string() },
                })?;
                answer.push(frame, &self.budget)?;
                if let Some(report) = report {
                    return Ok(Some(report_of(&report)));
                }
            }
            Ok(None)
        };
        let outcome = match tokio::time::timeout_at(deadline, frames).await {
            Ok(Ok(Some(report))) => return Ok(answer.finish(report)),
            Ok(Ok(None)) => Err(unavailable(format!("store {store} ended its answer early"))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(unavailable(format!("store {store} gave no answer in time"))),
        };
        node.leaders.note(shard, None);
        outcome
    }

    fn message(&self, node: &Node, shard: ShardId, left: Duration) -> ExecuteRequest {
        let residence = self.spec.residence.as_deref();
        let to_wire = |Residents { from_ms, shards }: &Residents| GenerationShards {
            from_ms: *from_ms,
            shards: shards.iter().map(|shard| shard.0).collect(),
        };
        ExecuteRequest {
            header: Some(header(&node.cluster_id(), node.store_id().0, left)),
            workspace: self.workspace.clone(),
            shard: shard.0,
            known_revision: self.spec.known_revision,
            fragment: self.encoded.get_or_init(|| self.spec.fragment.encode().into()).clone(),
            placement_key: residence.map_or(0, |residence| residence.key),
            generations: residence.map(|residence| residence.generations.iter().map(to_wire).collect()).unwrap_or_default(),
            samples_max: self.spec.samples_max,
            bytes_max: self.spec.bytes_max,
        }
    }
}

/// The whole answer of this node's replica.
fn answer_of(execution: Execution, mut answer: Unfinished, budget: &Budget) -> Result<ShardAnswer, ReadError> {
    let (mut report, mut failed) = (None, None);
    execution.run(&mut |outcome| {
        let taken = outcome.and_then(|sent| {
            report = sent.report;
            answer.push(sent.frame, budget)
        });
        taken.map_err(|error| {
            failed = Some(error);
            EvalError::Cancelled
        })
    });
    match (failed, report) {
        (Some(error), _) => Err(error),
        (None, Some(report)) => Ok(answer.finish(report)),
        (None, None) => Err(ReadError::Unavailable { shard: answer.shard, reason: "the answer has no end".to_owned() }),
    }
}

/// An answer that is still coming.
struct Unfinished {
    shard: ShardId,
    store: StoreId,
    frames: Vec<Frame>,
    held: Vec<Reservation>,
    bytes: u64,
}

impl Unfinished {
    fn new(shard: ShardId, store: StoreId) -> Self {
        Self { shard, store, frames: Vec::new(), held: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, frame: Frame, budget: &Budget) -> Result<(), ReadError> {
        self.held.push(budget.reserve(0, frame.heap_bytes()).map_err(ReadError::OverBudget)?);
        self.frames.push(frame);
        Ok(())
    }

    fn finish(self, report: Report) -> ShardAnswer {
        let Self { shard, store, frames, held, bytes } = self;
        let read = frames.last().and_then(Frame::stats).unwrap_or_default();
        let stats = ShardStats { shard, store, report, series: read.series_read, samples: read.samples_read, bytes, attempts: 1 };
        ShardAnswer { frames, held, stats }
    }
}

/// Whom to ask: the leader first, as far as it is known, then one replica after another.
fn replica_for(node: &Node, shard: ShardId, attempt: usize) -> Option<StoreId> {
    let meta = node.meta.get();
    if attempt == 0
        && let Some(leader) = node.leaders.leader(node, &meta, shard, attempt).filter(|leader| *leader != node.store_id())
    {
        return Some(leader);
    }
    let others: Vec<StoreId> = meta.shards.get(&shard.0)?.voting_stores().filter(|store| *store != node.store_id()).collect();
    // A replica of this node takes every other attempt.
    let turn = if node.shards.get(shard).is_some() { attempt / 2 } else { attempt };
    others.get(turn % others.len().max(1)).copied()
}

/// Reads a request of another node.
///
/// # Errors
/// `UNIMPLEMENTED` for a fragment that this node does not know, `INVALID_ARGUMENT` for one that is none.
#[allow(clippy::result_large_err)]
pub fn spec_of(request: &ExecuteRequest) -> Result<ExecuteSpec, tonic::Status> {
    let fragment = promql::Fragment::decode(&request.fragment).map_err(|error| match error {
        promql::FragmentError::Unknown { .. } => tonic::Status::unimplemented(error.to_string()),
        promql::FragmentError::Malformed { .. } => tonic::Status::invalid_argument(error.to_string()),
    })?;
    let of_wire = |GenerationShards { from_ms, shards }: &GenerationShards| Residents {
        from_ms: *from_ms,
        shards: shards.iter().copied().map(ShardId).collect(),
    };
    let generations: Vec<Residents> = request.generations.iter().map(of_wire).collect();
    if generations.iter().any(|generation| generation.shards.is_empty()) {
        return Err(tonic::Status::invalid_argument("generation without shards"));
    }
    if !generations.is_sorted_by(|a, b| a.from_ms < b.from_ms) {
        return Err(tonic::Status::invalid_argument("generations are not in the order of time"));
    }
    let residence = (generations.len() > 1).then(|| Arc::new(Residence { key: request.placement_key, generations }));
    Ok(ExecuteSpec {
        fragment: Arc::new(fragment),
        residence,
        known_revision: request.known_revision,
        samples_max: request.samples_max,
        bytes_max: request.bytes_max.min(FRAGMENT_BYTES_MAX),
    })
}

/// A frame as it travels.
#[must_use]
pub fn to_wire(sent: &Sent) -> ExecuteFrame {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let report = sent.report.map(|report| ExecuteReport {
        queued_us: micros(report.queued),
        evaluated_us: micros(report.evaluated),
        is_leader: report.is_leader,
        applied: report.applied,
    });
    ExecuteFrame { payload: sent.frame.encode().into(), report }
}

fn report_of(wire: &ExecuteReport) -> Report {
    let ExecuteReport { queued_us, evaluated_us, is_leader, applied } = *wire;
    Report { queued: Duration::from_micros(queued_us), evaluated: Duration::from_micros(evaluated_us), is_leader, applied }
}

#[cfg(test)]
mod tests {
    use super::*;
    use promql::{Distributed, Plan, QueryParams};

    fn asked(fragment: Vec<u8>, generations: &[&[u64]]) -> Result<ExecuteSpec, tonic::Status> {
        let generation = |(from_ms, shards): (i64, &&[u64])| GenerationShards { from_ms, shards: shards.to_vec() };
        let generations = (-1..).zip(generations).map(generation).collect();
        let request =
            ExecuteRequest { fragment: fragment.into(), generations, placement_key: 7, bytes_max: u64::MAX, ..ExecuteRequest::default() };
        spec_of(&request)
    }

    fn fragment() -> Vec<u8> {
        let expr = promql::parse("sum(rate(m[5m]))").unwrap();
        Distributed::new(Plan::new(&expr, QueryParams::instant(0)).unwrap()).fragment().encode()
    }

    #[test]
    fn a_fragment_of_another_version_is_unimplemented_so_that_the_asker_reads_samples() {
        let version_77 = vec![0x08, 77];
        let status = asked(version_77, &[]).unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unimplemented);
        assert_eq!(error_of(ShardId(3), &status), ReadError::Unsupported { shard: ShardId(3) });
        assert_eq!(asked(vec![0xff], &[]).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn c8_a_request_names_generations_only_if_they_are_several() {
        let spec = asked(fragment(), &[]).unwrap();
        assert_eq!((spec.residence, spec.bytes_max), (None, FRAGMENT_BYTES_MAX));
        let residence = asked(fragment(), &[&[1], &[1, 2]]).unwrap().residence.unwrap();
        assert_eq!((residence.key, residence.generations.len()), (7, 2));
        assert_eq!(asked(fragment(), &[&[1], &[]]).unwrap_err().code(), tonic::Code::InvalidArgument);
    }

    #[test]
    fn a_report_survives_the_wire_to_the_microsecond() {
        let report = Report { queued: Duration::from_micros(3), evaluated: Duration::from_micros(70_000), is_leader: true, applied: 9 };
        let expr = promql::parse("m").unwrap();
        let distributed = Distributed::new(Plan::new(&expr, QueryParams::instant(0)).unwrap());
        let mut last = None;
        let source = promql::MemorySource::default();
        let keep = &mut |frame| {
            last = Some(frame);
            Ok(())
        };
        distributed.fragment().execute(&source, &Budget::default(), keep).unwrap();
        let wire = to_wire(&Sent { frame: last.unwrap(), report: Some(report) });
        assert_eq!(wire.report.as_ref().map(report_of), Some(report));
        assert!(Frame::decode(&wire.payload, distributed.fragment(), &Budget::default()).unwrap().is_last());
    }
}
