//! Commands and responses of the meta group, as they stand in its log: JSON behind a version byte.

use super::state::{ChangeReason, Limits, ReplicaChange, ScaleReason, StoreRecord, StoreReport, WorkspaceRecord};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const VERSION: u8 = 1;

/// What can be asked of the meta group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MetaCommand {
    /// Gives the cluster its identity; the first one wins.
    FoundCluster {
        /// Random, minted by the proposer.
        cluster_id: String,
        /// The meta group's voters: replica and store ids.
        members: Vec<(u64, u64)>,
    },
    /// Changes nothing; its answer tells the revision that everything before it has led to.
    Confirm,
    /// Begins a change of a shard's replicas; 0 is the meta group.
    BeginChange {
        /// Which shard.
        shard: u64,
        /// The record's `conf_ver` on which this was decided.
        conf_ver: u64,
        /// Stores that get a replica.
        add: Vec<u64>,
        /// Replicas that go.
        remove: Vec<u64>,
        /// Why.
        reason: ChangeReason,
        /// Cluster time of the proposer.
        now_ms: i64,
    },
    /// Has a change undone.
    CancelChange {
        /// Of which shard.
        shard: u64,
    },
    /// Ends a change: the group's membership is settled and committed.
    FinishChange {
        /// Which shard.
        shard: u64,
        /// Its voters now.
        voters: BTreeSet<u64>,
    },
    /// Notes that a replica's store has lost what it had stored.
    MarkLost {
        /// Which shard.
        shard: u64,
        /// Which replica.
        replica: u64,
    },
    /// Makes a replica the preferred leader of its shard.
    PreferLeader {
        /// Which shard; not the meta group.
        shard: u64,
        /// Where the replica is.
        store: u64,
    },
    /// Has a store emptied, or takes that back.
    SetDraining {
        /// Which store.
        store_id: u64,
        /// Whether it is to be emptied.
        is_draining: bool,
    },
    /// Forgets a store that holds no replica any more.
    RemoveStore {
        /// Which.
        store_id: u64,
    },
    /// Makes a store known, or refreshes what is known of it.
    RegisterStore {
        /// The id of a founder; none asks for a new one.
        store_id: Option<u64>,
        /// What its node tells of it.
        report: StoreReport,
    },
    /// Goes on with one store after all others were lost for good, as a cluster of another id.
    AcceptLoss {
        /// Which store is left.
        survivor: u64,
        /// The new id.
        cluster_id: String,
        /// The survivor's time.
        now_ms: i64,
    },
    /// Lets the cluster do what all of its binaries can; none that cannot is taken back from then on.
    RaiseLevel {
        /// The feature level.
        level: u32,
    },
    /// One node's reading of its clock; what a majority has reached may be stamped into entries.
    ReportTime {
        /// Who reports.
        store_id: u64,
        /// Its estimate of cluster time.
        now_ms: i64,
        /// Batches of its log that were synced, from the level [`LEVEL_SYNCED`](super::LEVEL_SYNCED) on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        synced: Option<u64>,
    },
    /// Creates a workspace with its first generation.
    CreateWorkspace {
        /// `default`, `system` or `ws-<uuid>`.
        id: String,
        /// Free text, for people.
        alias: Option<String>,
        /// Key of the placement hash; random, minted by the proposer.
        placement_key: u64,
        /// Data key of the workspace, wrapped by the proposer; none if the cluster does not encrypt.
        wrapped_key: Option<String>,
        /// Shards of the first generation.
        shards: u32,
        /// Limits to begin with.
        limits: Limits,
        /// Names and values given by the user.
        tags: BTreeMap<String, String>,
        /// A repeated token returns the first answer.
        client_token: Option<String>,
        /// Cluster time of the proposer.
        now_ms: i64,
    },
    /// Deletes a workspace and its data.
    DeleteWorkspace {
        /// Which.
        id: String,
    },
    /// Begins a generation with another number of shards; it is pending until all current shards have stopped taking what it moves.
    BeginScale {
        /// Which workspace.
        id: String,
        /// Shards of the new generation.
        shards: u32,
        /// Its first millisecond.
        from_ms: i64,
        /// When it is given up.
        decide_by_ms: i64,
        /// Least time from the newest generation to the new one, in milliseconds.
        interval_ms: i64,
        /// Why.
        reason: ScaleReason,
        /// Cluster time of the proposer.
        now_ms: i64,
    },
    /// Notes that a shard has taken the fence of a pending generation; the last one makes it hold.
    AcceptFence {
        /// Which workspace.
        id: String,
        /// The pending generation's revision.
        rev: u64,
        /// Which shard.
        shard: u64,
    },
    /// Gives a pending generation up.
    AbortScale {
        /// Which workspace.
        id: String,
        /// The pending generation's revision.
        rev: u64,
    },
    /// Forgets the generations that end at or before a time of which no sample is kept, and the shards that no other lists.
    RetireGenerations {
        /// Which workspace.
        id: String,
        /// The time.
        before_ms: i64,
    },
    /// Replaces a workspace's limits; `limits.version` is counted up by apply.
    SetLimits {
        /// Which.
        id: String,
        /// The new limits.
        limits: Limits,
    },
}

/// What the meta group answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum MetaResponse {
    /// Done, nothing more to say.
    Done,
    /// A blank or membership entry.
    None,
    /// What everything so far has led to.
    Revision {
        /// The state's revision.
        revision: u64,
    },
    /// The change as it now is.
    Change {
        /// What was begun or cancelled.
        change: ReplicaChange,
    },
    /// The store as it is now known.
    Store {
        /// The record.
        store: StoreRecord,
    },
    /// The workspace as it now is.
    Workspace {
        /// The record.
        workspace: Box<WorkspaceRecord>,
    },
    /// Nothing changed: the named thing does not exist.
    NotFound {
        /// What was named.
        id: String,
    },
    /// Nothing changed: there is no room.
    Full {
        /// What was named.
        id: String,
        /// What is full.
        reason: String,
    },
    /// Nothing changed: the command does not fit the state.
    Conflict {
        /// What was named.
        id: String,
        /// Why.
        reason: String,
    },
}

/// Why bytes are not a command or a response.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Written by a binary that knows more.
    #[error("unknown format version {0:?} of a meta record")]
    Version(Option<u8>),
    /// Not the JSON it should be, or of an unknown kind.
    #[error("malformed meta record: {0}")]
    Json(#[from] serde_json::Error),
}

/// Encodes a command, a response or the state.
///
/// # Panics
/// Never: the types hold nothing that JSON cannot.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let mut out = vec![VERSION];
    serde_json::to_writer(&mut out, value).expect("meta records have only text keys");
    Bytes::from(out)
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: for<'d> Deserialize<'d>>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&VERSION, json)) => Ok(serde_json::from_slice(json)?),
        other => Err(DecodeError::Version(other.map(|(v, _)| *v))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_round_trip_and_unknown_kinds_are_refused() {
        let limits = Limits { version: 1, out_of_order_window_ms: 2, late_window_ms: 3, retention_ms: 4, exemplars_max: 5 };
        for command in [
            MetaCommand::FoundCluster { cluster_id: "c".into(), members: vec![(1, 1), (2, 2)] },
            MetaCommand::CreateWorkspace {
                id: "w".into(),
                alias: None,
                placement_key: u64::MAX,
                wrapped_key: Some("k".into()),
                shards: 3,
                limits,
                tags: BTreeMap::from([("a".into(), "b".into())]),
                client_token: None,
                now_ms: -1,
            },
            MetaCommand::BeginChange { shard: 0, conf_ver: 1, add: vec![2], remove: vec![1], reason: ChangeReason::Dead, now_ms: 5 },
            MetaCommand::FinishChange { shard: 7, voters: BTreeSet::from([1024, 1025]) },
            MetaCommand::BeginScale {
                id: "w".into(),
                shards: 6,
                from_ms: 9,
                decide_by_ms: 8,
                interval_ms: 7,
                reason: ScaleReason::Load,
                now_ms: 6,
            },
            MetaCommand::AcceptFence { id: "w".into(), rev: 2, shard: 3 },
            MetaCommand::Confirm,
        ] {
            assert_eq!(decode::<MetaCommand>(&encode(&command)).unwrap(), command);
        }
        let command = MetaCommand::ReportTime { store_id: 2, now_ms: 5, synced: None };
        let bytes = encode(&command);
        assert_eq!(bytes.as_ref(), b"\x01{\"kind\":\"report_time\",\"store_id\":2,\"now_ms\":5}");
        assert_eq!(decode::<MetaCommand>(&bytes).unwrap(), command);
        let command = MetaCommand::ReportTime { store_id: 2, now_ms: 5, synced: Some(7) };
        let bytes = encode(&command);
        assert_eq!(bytes.as_ref(), b"\x01{\"kind\":\"report_time\",\"store_id\":2,\"now_ms\":5,\"synced\":7}");
        assert_eq!(decode::<MetaCommand>(&bytes).unwrap(), command);
        assert!(matches!(decode::<MetaCommand>(b"\x01{\"kind\":\"from_the_future\"}"), Err(DecodeError::Json(_))));
        assert!(matches!(decode::<MetaCommand>(b"\x02{}"), Err(DecodeError::Version(Some(2)))));
    }
}
