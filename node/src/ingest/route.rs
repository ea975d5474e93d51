//! Brings each part of a write to the leader of its shard and stays with it until its outcome is final or the budget is spent.

use super::split::Part;
use crate::meta::MetaState;
use crate::node::Node;
use crate::rpc::client::{header, request};
use crate::shard::runner::{Outcome, Part as ShardPart};
use bytes::Bytes;
use futures::future::join_all;
use model::planted::{self, Bug};
use model::{ShardId, StoreId};
use parking_lot::Mutex;
use proto::node::{WritePart, WritePartReply, WriteRequest, write_part_reply};
use rand::RngExt;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::Instant;
use tsdb::verdict::PartVerdict;

/// How long a request may look for leaders before its sender is told to come back.
pub const BUDGET: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// The outcome of a part when the budget ended.
#[derive(Clone, Debug, PartialEq)]
pub enum PartOutcome {
    /// The shard's verdict.
    Final(PartVerdict),
    /// Nothing was appended: the shard does not know a series whose labels the rows lack.
    NeedsLabels,
    /// The shard's map puts some rows elsewhere, and nothing was said of those: the request must be split by a newer map.
    StaleMap(PartVerdict),
    /// No final verdict: the sender must retry.
    Unfinished {
        /// What the last attempt met.
        reason: String,
    },
}

impl PartOutcome {
    /// Samples that are stored because of the part, as far as it is known.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        match self {
            Self::Final(verdict) | Self::StaleMap(verdict) => u64::from(verdict.accepted),
            Self::NeedsLabels | Self::Unfinished { .. } => 0,
        }
    }
}

/// Remembers which store led each shard when last asked.
#[derive(Debug, Default)]
pub struct LeaderHints(Mutex<HashMap<ShardId, StoreId>>);

impl LeaderHints {
    /// The store to ask first: the local replica's knowledge, the last answer, the preferred replica.
    pub fn leader(&self, node: &Node, meta: &MetaState, shard: ShardId, attempt: usize) -> Option<StoreId> {
        if let Some(local) = node.shards.get(shard)
            && let Some((_, store)) = local.group.status().leader
        {
            return Some(store);
        }
        if attempt == 0
            && let Some(store) = self.0.lock().get(&shard)
        {
            return Some(*store);
        }
        let record = meta.shards.get(&shard.0)?;
        record.voting_stores().nth(attempt % record.voting_stores().count().max(1))
    }

    /// Notes an answer.
    pub fn note(&self, shard: ShardId, leader: Option<StoreId>) {
        let mut hints = self.0.lock();
        match leader {
            Some(store) => hints.insert(shard, store),
            None => hints.remove(&shard),
        };
    }
}

struct Open {
    index: usize,
    shard: ShardId,
    batch_id: u128,
    generation: u64,
    rows: Bytes,
    reason: String,
}

/// Writes the parts of one request, until `deadline`; `outcomes[i]` belongs to `parts[i]`.
///
/// Cancelling the future leaves parts that may or may not be applied; a retry of the same bytes is safe.
pub async fn write(node: &Node, workspace: &str, parts: &[Part], deadline: Instant) -> Vec<PartOutcome> {
    let request_id: u128 = rand::rng().random();
    let mut outcomes: Vec<Option<PartOutcome>> = vec![None; parts.len()];
    let mut open: Vec<Open> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| Open {
            index,
            shard: part.shard,
            batch_id: request_id.wrapping_add(index as u128),
            generation: part.generation,
            rows: part.rows.clone(),
            reason: "not sent".to_owned(),
        })
        .collect();
    let mut backoff = BACKOFF_MIN;
    for attempt in 0.. {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut still_open = Vec::new();
        for (mut part, outcome) in round(node, workspace, open, attempt, left).await {
            match outcome {
                Outcome::NeedsLabels => {
                    outcomes[part.index] = Some(PartOutcome::NeedsLabels);
                    continue;
                }
                Outcome::Applied(verdict) if verdict.is_final() => {
                    outcomes[part.index] = Some(PartOutcome::Final(verdict));
                    continue;
                }
                Outcome::Applied(verdict) if !verdict.unresolved => {
                    outcomes[part.index] = Some(PartOutcome::StaleMap(verdict));
                    continue;
                }
                // Nothing of it was applied.
                Outcome::Applied(_) => part.reason = format!("shard {} did not know a series", part.shard),
                Outcome::NotLeader(leader) => {
                    node.leaders.note(part.shard, leader);
                    part.reason = format!("shard {} has no known leader", part.shard);
                }
                Outcome::Unavailable(reason) => part.reason = reason,
                Outcome::Overloaded => part.reason = format!("shard {} has too much waiting", part.shard),
                Outcome::Unknown => part.reason = format!("shard {} gave no answer", part.shard),
            }
            // A follower that sleeps would believe in a leader that is gone.
            if let Some(local) = node.shards.get(part.shard) {
                local.group.stir();
            }
            still_open.push(part);
        }
        open = still_open;
        let jitter = rand::rng().random_range(0.5..1.0);
        let pause = backoff.mul_f64(jitter);
        if open.is_empty() || Instant::now() + pause >= deadline {
            break;
        }
        tokio::time::sleep(pause).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
    let done = outcomes.iter().flatten().find(|o| matches!(o, PartOutcome::Final(_))).cloned();
    if let Some(done) = done.filter(|_| planted::is(Bug::AckSomeParts)) {
        return outcomes.into_iter().map(|o| o.unwrap_or_else(|| done.clone())).collect();
    }
    for part in open {
        outcomes[part.index] = Some(PartOutcome::Unfinished { reason: part.reason });
    }
    outcomes.into_iter().map(|o| o.unwrap_or_else(|| PartOutcome::Unfinished { reason: "not sent".to_owned() })).collect()
}

/// One attempt at every open part: local parts by call, others by one request to each leader's node.
async fn round(node: &Node, workspace: &str, open: Vec<Open>, attempt: usize, left: Duration) -> Vec<(Open, Outcome)> {
    let meta = node.meta.get();
    let mut local = Vec::new();
    let mut remote: BTreeMap<u64, Vec<Open>> = BTreeMap::new();
    let mut done = Vec::new();
    for part in open {
        match node.leaders.leader(node, &meta, part.shard, attempt) {
            Some(store) if store == node.store_id() => local.push(part),
            Some(store) => remote.entry(store.0).or_default().push(part),
            None => done.push((part, Outcome::NotLeader(None))),
        }
    }
    let local = join_all(local.into_iter().map(|part| async move {
        let outcome = write_local(
            node,
            part.shard,
            ShardPart { batch_id: part.batch_id, generation: part.generation, rows: part.rows.clone() },
            left,
        )
        .await;
        (part, outcome)
    }));
    let remote = join_all(remote.into_iter().map(|(store, parts)| write_remote(node, &meta, workspace, store, parts, left)));
    let (local, remote) = futures::join!(local, remote);
    done.extend(local);
    done.extend(remote.into_iter().flatten());
    done
}

/// Writes a part through this node's own replica.
pub async fn write_local(node: &Node, shard: ShardId, part: ShardPart, left: Duration) -> Outcome {
    let Some(local) = node.shards.get(shard) else { return Outcome::Unavailable(format!("shard {shard} is not here")) };
    local.group.stir();
    tokio::time::timeout(left, local.queue.write(part)).await.unwrap_or(Outcome::Unknown)
}

async fn write_remote(
    node: &Node,
    meta: &MetaState,
    workspace: &str,
    store: u64,
    parts: Vec<Open>,
    left: Duration,
) -> Vec<(Open, Outcome)> {
    let refused = |parts: Vec<Open>, outcome: Outcome| parts.into_iter().map(|p| (p, outcome.clone())).collect();
    let Some(address) = meta.stores.get(&store).map(|s| &s.report.rpc_address) else {
        return refused(parts, Outcome::Unavailable(format!("store {store} is not known")));
    };
    let mut client = match node.peers.client(address) {
        Ok(client) => client,
        Err(e) => return refused(parts, Outcome::Unavailable(e.to_string())),
    };
    let message = WriteRequest {
        header: Some(header(&node.cluster_id(), node.store_id().0, left)),
        workspace: workspace.to_owned(),
        parts: parts
            .iter()
            .map(|p| WritePart {
                shard: p.shard.0,
                generation: p.generation,
                batch_id: Bytes::copy_from_slice(&p.batch_id.to_le_bytes()),
                rows: p.rows.clone(),
            })
            .collect(),
    };
    match client.write(request(message, left)).await {
        Ok(reply) => {
            let replies = reply.into_inner().parts;
            let mut outcomes = replies.into_iter().map(outcome_of);
            parts.into_iter().map(|part| (part, outcomes.next().unwrap_or(Outcome::Unknown))).collect()
        }
        // The request may have arrived: nobody knows what became of it.
        Err(status) => {
            tracing::debug!(store, error = %status, "write not answered");
            for part in &parts {
                node.leaders.note(part.shard, None);
            }
            refused(parts, Outcome::Unknown)
        }
    }
}

fn outcome_of(reply: WritePartReply) -> Outcome {
    use write_part_reply::Outcome as Wire;
    match reply.outcome() {
        Wire::Applied => PartVerdict::decode(&reply.verdict).map_or(Outcome::Unknown, Outcome::Applied),
        Wire::NotLeader => Outcome::NotLeader(Some(StoreId(reply.leader_store)).filter(|s| s.0 != 0)),
        Wire::Unavailable => Outcome::Unavailable("the leader's node cannot take it now".to_owned()),
        Wire::Overloaded => Outcome::Overloaded,
        Wire::NeedsLabels => Outcome::NeedsLabels,
        Wire::Unknown => Outcome::Unknown,
    }
}

/// The wire form of an outcome.
#[must_use]
pub fn reply_of(outcome: Outcome) -> WritePartReply {
    use write_part_reply::Outcome as Wire;
    let (outcome, verdict, leader_store) = match outcome {
        Outcome::Applied(verdict) => (Wire::Applied, verdict.encode(), 0),
        Outcome::NotLeader(leader) => (Wire::NotLeader, Bytes::new(), leader.map_or(0, |s| s.0)),
        Outcome::Unavailable(_) => (Wire::Unavailable, Bytes::new(), 0),
        Outcome::Overloaded => (Wire::Overloaded, Bytes::new(), 0),
        Outcome::NeedsLabels => (Wire::NeedsLabels, Bytes::new(), 0),
        Outcome::Unknown => (Wire::Unknown, Bytes::new(), 0),
    };
    WritePartReply { outcome: outcome.into(), verdict, leader_store }
}
