//! `flotilla ctl recover`: makes a cluster of one node out of what is left when a majority is lost for good (`core.md` C12).
//!
//! Works on a stopped node's data directory. It makes every group on it a group of its own and gives the cluster another id, so that nodes of
//! the old one are not listened to. At the next start the node tells its meta group ([`at_start`]), which forgets the other stores.

use crate::cluster::identity::{Identity, IdentityError, random_hex};
use crate::cluster::operator::propose;
use crate::keys::{KeysError, NodeKeys};
use crate::memory::Shares;
use crate::meta::{MetaCommand, MetaResponse};
use crate::node::Node;
use crate::task;
use model::{LogPoint, ShardId, StoreId};
use raft::recover::{StoppedReplica, last_entry, stand_alone};
use raft::{LogEngine, OpenError, RocksEngine, RocksOptions};
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tsdb::db::{Db, DbOptions};
use tsdb::error::StoreError;
use tsdb::store::faults::FaultPlan;

/// Stands in the data directory from the recovery until the meta group knows of it.
const MARK: &str = "recovered";
const PAUSE: Duration = Duration::from_millis(200);
/// Memory for databases that are opened for a moment.
const MEMORY_BYTES: u64 = 64 << 20;

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The identity of the data directory.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The directory never belonged to a cluster.
    #[error("{0} holds no node of a cluster")]
    NoCluster(PathBuf),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The log cannot be opened; another process may have it open.
    #[error("the node must be stopped: {0}")]
    Log(#[from] OpenError),
    /// The chunk database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// One replica.
    #[error("shard {shard}: {source}")]
    Replica {
        /// Of which shard.
        shard: ShardId,
        /// Why.
        source: io::Error,
    },
}

/// Shows how far each group's log reaches on this disk; with `accept_loss` makes each a group of its own as well. Blocks.
///
/// # Errors
/// See [`RecoverError`]; a recovery that failed half-way is repeated.
pub fn run(data: &Path, key_file: Option<&Path>, accept_loss: bool) -> Result<String, RecoverError> {
    if !data.join("identity.json").is_file() {
        return Err(RecoverError::NoCluster(data.to_owned()));
    }
    let mut identity = Identity::open(data)?;
    let Some(membership) = identity.membership.as_mut().filter(|membership| membership.cluster_id.is_some()) else {
        return Err(RecoverError::NoCluster(data.to_owned()));
    };
    let store = StoreId(membership.store_id);
    let keys = NodeKeys::open(data, key_file, store)?;
    let shares = Shares::of(MEMORY_BYTES);
    let bytes = |share: u64| usize::try_from(share).unwrap_or(usize::MAX);
    let log = RocksOptions { memory_bytes: bytes(shares.log_memtables), ..RocksOptions::default() };
    let engine = RocksEngine::open(&data.join("raftdb"), log)?;
    let memory_bytes = bytes(shares.chunk_db);
    let options = DbOptions { path: data.join("chunkdb"), memory_bytes, seal: keys.seal.clone(), faults: FaultPlan::default() };
    let db = Db::open(options)?;
    let mark = data.join(MARK);
    if accept_loss {
        membership.cluster_id = Some(random_hex());
        membership.founders.clear();
        // The mark first: a start between the two finds a cluster of another id, and nothing to tell its meta group yet.
        std::fs::write(&mark, b"").map_err(|source| RecoverError::Io { path: mark, source })?;
        identity.store(data)?;
    }
    let mut shown = String::new();
    for known in db.shards() {
        let checkpoint = db.open_shard(known.shard, known.replica)?.view().point();
        let stopped = StoppedReplica { shard: known.shard, replica: known.replica, store, checkpoint };
        let failed = |source| RecoverError::Replica { shard: known.shard, source };
        let last = last_entry(&engine, &keys.seal, &stopped).map_err(failed)?;
        let name = if known.shard == ShardId::META { "meta group".to_owned() } else { format!("shard {}", known.shard) };
        let _ = writeln!(
            shown,
            "{name}: {}",
            last.map_or_else(|| "nothing".to_owned(), |LogPoint { term, index, .. }| format!("term {term} entry {index}"))
        );
        if accept_loss && last.is_some() {
            stand_alone(&engine, &keys.seal, &stopped).map_err(failed)?;
        }
    }
    db.flush()?;
    engine.flush().map_err(|source| RecoverError::Io { path: data.join("raftdb"), source })?;
    shown.push_str(match accept_loss {
        true => "every group stands alone: start this node; all others must begin with empty disks",
        false => "nothing was changed: with --accept-loss every group here goes on alone",
    });
    Ok(shown)
}

/// Whether the meta group is yet to be told of a recovery.
#[must_use]
pub fn is_pending(data: &Path) -> bool {
    data.join(MARK).exists()
}

/// Tells the meta group of a recovery, if there was one: it forgets all other stores. Runs until that is done.
pub async fn at_start(node: Arc<Node>) {
    let mark = node.config.node.data.join(MARK);
    let Some(cluster_id) = node.identity.read().membership.as_ref().and_then(|m| m.cluster_id.clone()) else { return };
    while is_pending(&node.config.node.data) {
        let now_ms = node.time.now().unwrap_or_else(|_| node.clock.now_ms());
        let command = MetaCommand::AcceptLoss { survivor: node.store_id().0, cluster_id: cluster_id.clone(), now_ms };
        match propose(&node, command).await {
            Ok(MetaResponse::Done) => {
                tracing::warn!("the cluster goes on with this node alone: what only the others had is lost");
                let mark = mark.clone();
                if let Ok(Err(error)) = task::blocking(move || std::fs::remove_file(mark)).await {
                    tracing::error!(%error, "mark of the recovery not removed");
                    return;
                }
            }
            Ok(answer) => tracing::error!(?answer, "the meta group does not take the recovery"),
            Err(error) => tracing::debug!(%error, "recovery not told yet"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
