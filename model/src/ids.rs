//! Identities. All are minted by the meta group (series ids: by the shard's own log) and never used twice.

use std::fmt;
use std::sync::Arc;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_id!(
    /// A shard, unique in the cluster; also names its Raft group. [`ShardId::META`] is the meta group.
    ShardId(u64)
);
number_id!(
    /// A store: one data directory of one node. A wiped disk comes back as another store.
    StoreId(u64)
);
number_id!(
    /// One replica of one shard on one store; the Raft node id. Never reused.
    ReplicaId(u64)
);
number_id!(
    /// A series inside one shard, given in apply, never reassigned.
    SeriesId(u32)
);

/// A place in one group's Raft log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPoint {
    /// Term in which the entry was proposed.
    pub term: u64,
    /// Replica that led the term.
    pub leader: ReplicaId,
    /// Position, from 0 (the membership the group began with).
    pub index: u64,
}

impl fmt::Display for LogPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}-N{}.{}", self.term, self.leader, self.index)
    }
}

impl ShardId {
    /// The group that owns nodes, workspaces and placement.
    pub const META: Self = Self(0);
}

/// Names an isolated customer space: `default`, `system` or `ws-<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspaceId(Arc<str>);

impl WorkspaceId {
    /// The workspace of requests that name none.
    pub const DEFAULT: &'static str = "default";
    /// The workspace that holds the cluster's own metrics.
    pub const SYSTEM: &'static str = "system";

    /// Takes an identity as it stands in a path or in the meta group's state.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(Arc::from(id))
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
