//! Sends a read to every shard that may hold an answer and gathers what they found.
//!
//! A shard is read from this node's own replica when there is one (behind the leader's read barrier), else at the leader's node.
//! A shard that cannot answer within the deadline fails the read: never silently partial.

use super::changes::ShardChanges;
use super::fragment_service::{Found, ReadError, ReadKind, ReadSpec, read_local};
use super::frames::FrameReader;
use crate::meta::state::WorkspaceRecord;
use crate::meta::view::Workspace;
use crate::node::Node;
use crate::rpc::client::{header, request};
use futures::future::try_join_all;
use model::{MatchOp, Matcher, ShardId, StoreId};
use proto::node::{Matcher as WireMatcher, MatcherSet, ReadRequest, matcher, read_request};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);
/// Bytes of a sample in a frame.
const SAMPLE_BYTES: u64 = 16;

/// Reads `spec` from all shards of `workspace` whose generations meet its time range; one entry of the answer per shard. Begins again
/// by a newer shard map where a shard has one, unless the read asks for changes: what is known by an older map is of no use then.
///
/// # Errors
/// The first error of any shard, once its retries are spent.
pub async fn scatter(
    node: &Node,
    workspace: &WorkspaceRecord,
    mut spec: ReadSpec,
    deadline: Instant,
    cancelled: &Arc<AtomicBool>,
) -> Result<Vec<Found>, ReadError> {
    let mut newest: Option<Arc<Workspace>> = None;
    loop {
        let workspace = newest.as_deref().map_or(workspace, |newest| &newest.record);
        spec.known_revision = workspace.decided_rev;
        let shards = shards_in_range(workspace, spec.start_ms, spec.end_ms);
        let reads = shards.into_iter().map(|shard| read_shard(node, &workspace.id, shard, spec.clone(), deadline, Arc::clone(cancelled)));
        match try_join_all(reads).await {
            Err(stale @ ReadError::StaleMap { .. }) if !matches!(spec.kind, ReadKind::Changes) => {
                newest = Some(node.meta.newer_map(workspace, deadline).await.ok_or(stale)?);
            }
            outcome => return outcome,
        }
    }
}

/// Shards of every generation that covers some of `[start_ms, end_ms]`.
pub(crate) fn shards_in_range(workspace: &WorkspaceRecord, start_ms: i64, end_ms: i64) -> BTreeSet<ShardId> {
    let mut shards = BTreeSet::new();
    for (i, generation) in workspace.generations.iter().enumerate() {
        let until_ms = workspace.generations.get(i + 1).map_or(i64::MAX, |next| next.from_ms - 1);
        if generation.from_ms <= end_ms && until_ms >= start_ms {
            shards.extend(generation.shards.iter().copied().map(ShardId));
        }
    }
    shards
}

async fn read_shard(
    node: &Node,
    workspace: &str,
    shard: ShardId,
    spec: ReadSpec,
    deadline: Instant,
    cancelled: Arc<AtomicBool>,
) -> Result<Found, ReadError> {
    for attempt in 0.. {
        let backoff = backoff_before(attempt + 1);
        let result = match node.shards.serving(shard) {
            // Every other attempt asks elsewhere: the own replica may be the one that is cut off, and on a full disk it takes nothing in.
            Some(local) if attempt % 2 == 0 && (!node.reserve_spent.load(Ordering::Relaxed) || local.group.status().is_leader) => {
                read_local(node, local, spec.clone(), attempt_deadline(deadline), Arc::clone(&cancelled)).await
            }
            _ => read_remote(node, workspace, shard, &spec, attempt, attempt_deadline(deadline)).await,
        };
        match result {
            Err(ReadError::Unavailable { .. }) if Instant::now() + backoff < deadline => {
                tokio::time::sleep(backoff).await;
            }
            other => return other,
        }
    }
    Err(ReadError::Cancelled)
}

/// How long to wait before an attempt, the first being number 0.
pub(super) fn backoff_before(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    (BACKOFF_MIN * 2_u32.pow(doublings)).min(BACKOFF_MAX)
}

/// One attempt may not eat the whole deadline: a replica that hangs is left for another.
pub(super) fn attempt_deadline(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + Duration::from_secs(5).max(deadline.saturating_duration_since(Instant::now()) / 2))
}

async fn read_remote(
    node: &Node,
    workspace: &str,
    shard: ShardId,
    spec: &ReadSpec,
    attempt: usize,
    deadline: Instant,
) -> Result<Found, ReadError> {
    let unavailable = |reason: String| ReadError::Unavailable { shard, reason };
    let meta = node.meta.get();
    let store = node.leaders.leader(node, &meta, shard, attempt).ok_or_else(|| unavailable("its replicas are not known".to_owned()))?;
    read_from(node, workspace, shard, store, spec, deadline).await
}

/// Reads from the replica of one store, behind its read barrier.
///
/// # Errors
/// See [`ReadError`].
pub(crate) async fn read_from(
    node: &Node,
    workspace: &str,
    shard: ShardId,
    store: StoreId,
    spec: &ReadSpec,
    deadline: Instant,
) -> Result<Found, ReadError> {
    let unavailable = |reason: String| ReadError::Unavailable { shard, reason };
    let address = node.meta.get().stores.get(&store.0).map(|s| s.report.rpc_address.clone());
    let address = address.ok_or_else(|| unavailable(format!("store {store} is not known")))?;
    let mut client = node.peers.client(&address).map_err(|e| unavailable(e.to_string()))?;
    let left = deadline.saturating_duration_since(Instant::now());
    let message = to_wire(node, workspace, shard, spec, left);
    let frames = async {
        let mut stream = client.read(request(message, left)).await?.into_inner();
        let mut frames = Vec::new();
        while let Some(frame) = stream.message().await? {
            // Samples make up nearly all of a frame.
            let samples = frame.payload.len() as u64 / SAMPLE_BYTES;
            if let ReadKind::Samples { samples_max } = spec.kind
                && spec.gathered.fetch_add(samples, Ordering::Relaxed) + samples > samples_max
            {
                return Err(status_of(&ReadError::TooManySamples));
            }
            frames.push(frame.payload);
        }
        Ok::<_, tonic::Status>(frames)
    };
    let frames = match tokio::time::timeout_at(deadline, frames).await {
        Ok(Ok(frames)) => frames,
        Ok(Err(status)) => {
            node.leaders.note(shard, None);
            return Err(error_of(shard, &status));
        }
        Err(_) => return Err(unavailable(format!("store {store} gave no answer in time"))),
    };
    gather(&spec.kind, &frames).map_err(|e| ReadError::Storage { shard, reason: e.to_string() })
}

fn gather(kind: &ReadKind, frames: &[bytes::Bytes]) -> Result<Found, tsdb::rows::RowError> {
    let mut found = match kind {
        ReadKind::Changes => return ShardChanges::read(&frames.concat()).map(Found::Changes),
        ReadKind::Cardinality { .. } => return Ok(Found::Cardinality(frames.concat())),
        ReadKind::Samples { .. } => Found::Samples(Vec::new()),
        ReadKind::Series => Found::Series(Vec::new()),
        ReadKind::LabelNames | ReadKind::LabelValues { .. } => Found::Texts(BTreeSet::new()),
        ReadKind::Exemplars => Found::Exemplars(Vec::new()),
        ReadKind::Metadata { .. } => Found::Metadata(Vec::new()),
    };
    for frame in frames {
        let mut reader = FrameReader::new(frame);
        while !reader.is_done() {
            match &mut found {
                Found::Samples(series) => series.push(reader.samples()?),
                Found::Series(series) => series.push(reader.series()?),
                Found::Changes(_) | Found::Cardinality(_) => unreachable!("they were read above"),
                Found::Exemplars(series) => series.push(reader.exemplars()?),
                Found::Metadata(families) => families.push(reader.family()?),
                Found::Texts(texts) => {
                    texts.insert(reader.text()?.to_owned());
                }
            }
        }
    }
    Ok(found)
}

/// The status code by which a replica's node tells why it did not answer.
#[must_use]
pub fn status_of(error: &ReadError) -> tonic::Status {
    let code = match error {
        ReadError::Unavailable { .. } => tonic::Code::Unavailable,
        ReadError::StaleMap { .. } => tonic::Code::FailedPrecondition,
        ReadError::TooManySamples | ReadError::OverBudget(_) => tonic::Code::ResourceExhausted,
        ReadError::Cancelled => tonic::Code::Cancelled,
        ReadError::Unsupported { .. } => tonic::Code::Unimplemented,
        ReadError::Storage { .. } | ReadError::BadAnswer { .. } => tonic::Code::DataLoss,
    };
    tonic::Status::new(code, error.to_string())
}

pub(super) fn error_of(shard: ShardId, status: &tonic::Status) -> ReadError {
    match status.code() {
        tonic::Code::FailedPrecondition => ReadError::StaleMap { shard },
        tonic::Code::Unimplemented => ReadError::Unsupported { shard },
        tonic::Code::ResourceExhausted => ReadError::TooManySamples,
        tonic::Code::DataLoss => ReadError::Storage { shard, reason: status.message().to_owned() },
        _ => ReadError::Unavailable { shard, reason: status.message().to_owned() },
    }
}

fn to_wire(node: &Node, workspace: &str, shard: ShardId, spec: &ReadSpec, left: Duration) -> ReadRequest {
    let mut message = ReadRequest {
        header: Some(header(&node.cluster_id(), node.store_id().0, left)),
        workspace: workspace.to_owned(),
        shard: shard.0,
        known_revision: spec.known_revision,
        matcher_sets: sets_to_wire(&spec.matcher_sets),
        start_ms: spec.start_ms,
        end_ms: spec.end_ms,
        limit: spec.limit.map_or(0, |l| l as u64),
        ..ReadRequest::default()
    };
    let kind = match &spec.kind {
        ReadKind::Samples { samples_max } => {
            message.samples_max = *samples_max;
            read_request::Kind::Samples
        }
        ReadKind::Series => read_request::Kind::Series,
        ReadKind::LabelNames => read_request::Kind::LabelNames,
        ReadKind::LabelValues { label } => {
            message.label.clone_from(label);
            read_request::Kind::LabelValues
        }
        ReadKind::Changes => read_request::Kind::Changes,
        ReadKind::Exemplars => read_request::Kind::Exemplars,
        ReadKind::Metadata { family } => {
            // A family always has a name.
            message.label = family.clone().unwrap_or_default();
            read_request::Kind::Metadata
        }
        ReadKind::Cardinality { shards } => {
            message.shards = *shards as u64;
            read_request::Kind::Cardinality
        }
    };
    message.set_kind(kind);
    message
}

/// Sets of matchers as they travel.
#[must_use]
pub fn sets_to_wire(sets: &[Vec<Matcher>]) -> Vec<MatcherSet> {
    sets.iter().map(|set| MatcherSet { matchers: set.iter().map(matcher_to_wire).collect() }).collect()
}

fn matcher_to_wire(m: &Matcher) -> WireMatcher {
    let op = match m.op {
        MatchOp::Equal => matcher::Op::Equal,
        MatchOp::NotEqual => matcher::Op::NotEqual,
        MatchOp::Regex => matcher::Op::Regex,
        MatchOp::NotRegex => matcher::Op::NotRegex,
    };
    WireMatcher { op: op.into(), name: m.name.clone(), value: m.value.clone() }
}

/// Reads what [`sets_to_wire`] wrote.
///
/// # Errors
/// A matcher is not one.
#[allow(clippy::result_large_err)]
pub fn sets_from_wire(sets: &[MatcherSet]) -> Result<Vec<Vec<Matcher>>, tonic::Status> {
    let matcher = |m: &WireMatcher| {
        let op = match m.op() {
            matcher::Op::Equal => MatchOp::Equal,
            matcher::Op::NotEqual => MatchOp::NotEqual,
            matcher::Op::Regex => MatchOp::Regex,
            matcher::Op::NotRegex => MatchOp::NotRegex,
        };
        Matcher::new(m.name.as_str(), op, m.value.as_str()).map_err(|e| tonic::Status::invalid_argument(e.to_string()))
    };
    sets.iter().map(|set| set.matchers.iter().map(matcher).collect()).collect()
}

/// Reads a request of another node.
///
/// # Errors
/// A matcher is not one.
pub fn from_wire(request: &ReadRequest) -> Result<ReadSpec, tonic::Status> {
    let matcher_sets = sets_from_wire(&request.matcher_sets)?;
    let kind = match request.kind() {
        read_request::Kind::Samples => ReadKind::Samples { samples_max: request.samples_max },
        read_request::Kind::Series => ReadKind::Series,
        read_request::Kind::LabelNames => ReadKind::LabelNames,
        read_request::Kind::LabelValues => ReadKind::LabelValues { label: request.label.clone() },
        read_request::Kind::Changes => ReadKind::Changes,
        read_request::Kind::Exemplars => ReadKind::Exemplars,
        read_request::Kind::Metadata => ReadKind::Metadata { family: Some(request.label.clone()).filter(|family| !family.is_empty()) },
        read_request::Kind::Cardinality => ReadKind::Cardinality { shards: usize::try_from(request.shards).unwrap_or(usize::MAX) },
    };
    let limit = usize::try_from(request.limit).ok().filter(|l| *l > 0);
    let spec = ReadSpec::new(kind, request.start_ms, request.end_ms);
    Ok(ReadSpec { matcher_sets, known_revision: request.known_revision, limit, ..spec })
}
