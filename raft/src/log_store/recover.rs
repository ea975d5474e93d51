//! Making one replica a group of its own after the others were lost for good (`core.md` C12).

use super::codec::Codec;
use super::{LogEngine, LogOp, StateTag};
use crate::types::{CommittedLeader, Entry, LogId, Membership, Node, Payload, Vote, log_id_of, point_of};
use model::seal::Seal;
use model::{LogPoint, ReplicaId, ShardId, StoreId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// One replica of a log that nobody has open.
#[derive(Clone, Debug)]
pub struct StoppedReplica {
    /// Its group.
    pub shard: ShardId,
    /// Itself.
    pub replica: ReplicaId,
    /// The store that holds it.
    pub store: StoreId,
    /// Where its last synced checkpoint stands.
    pub checkpoint: Option<LogPoint>,
}

/// The last entry that a replica has, in its log or its checkpoint; none if it has nothing.
///
/// # Errors
/// The log cannot be read.
pub fn last_entry(engine: &dyn LogEngine, seal: &Seal, stopped: &StoppedReplica) -> io::Result<Option<LogPoint>> {
    let codec = Codec { seal: seal.clone(), shard: stopped.shard, replica: stopped.replica };
    Ok(last_id(engine, &codec, stopped.checkpoint)?.map(point_of))
}

fn last_id(engine: &dyn LogEngine, codec: &Codec, checkpoint: Option<LogPoint>) -> io::Result<Option<LogId>> {
    let replica = codec.replica;
    let purged = engine.state(replica, StateTag::Purged)?;
    let purged = purged.map(|value| codec.decode_log_id(StateTag::Purged, &value)).transpose()?.flatten();
    let mut last = purged.max(checkpoint.map(log_id_of));
    if let Some(index) = engine.last_index(replica)?
        && let Some((_, value)) = engine.entries(replica, index, index + 1, 0)?.first()
    {
        last = last.max(Some(codec.decode_entry(index, value)?.log_id));
    }
    Ok(last)
}

/// Appends the membership of this replica alone, in a term above every one it has heard of: when it starts again it elects itself and
/// commits everything that its log holds, whether it was committed before or not. Durable when this returns.
///
/// What only the lost replicas had is gone, and they must never come back: give the cluster another id.
///
/// # Errors
/// The log cannot be read or written, or the replica has nothing to stand on.
pub fn stand_alone(engine: &dyn LogEngine, seal: &Seal, stopped: &StoppedReplica) -> io::Result<LogPoint> {
    let StoppedReplica { shard, replica, store, checkpoint } = *stopped;
    let codec = Codec { seal: seal.clone(), shard, replica };
    let last = last_id(engine, &codec, checkpoint)?.ok_or_else(|| io::Error::other("the replica has neither log nor checkpoint"))?;
    let vote = engine.state(replica, StateTag::Vote)?.map(|value| codec.decode_vote(&value)).transpose()?.flatten();
    let term = vote.map_or(0, |vote| vote.leader_id.term).max(last.leader_id.term) + 1;
    let nodes = BTreeMap::from([(replica.0, Node { store_id: store.0 })]);
    let members = Membership::new(vec![BTreeSet::from([replica.0])], nodes).map_err(|e| io::Error::other(e.to_string()))?;
    let id = LogId::new(CommittedLeader { term, node: replica.0 }, last.index + 1);
    let entry = codec.encode_entry(&Entry { log_id: id, payload: Payload::Membership(members) })?;
    let mut ops = Vec::new();
    if engine.last_index(replica)?.is_none_or(|in_log| in_log < last.index) {
        // The checkpoint is ahead of the log: what lies between is nowhere.
        ops.push(LogOp::Purge { replica, index: last.index });
        ops.push(LogOp::PutState { replica, tag: StateTag::Purged, value: codec.encode_log_id(StateTag::Purged, Some(last))? });
    }
    ops.push(LogOp::PutEntry { replica, index: id.index, value: entry });
    ops.push(LogOp::PutState { replica, tag: StateTag::Vote, value: codec.encode_vote(&Vote::new(term, replica.0))? });
    engine.write(&ops, true)?;
    Ok(point_of(id))
}
