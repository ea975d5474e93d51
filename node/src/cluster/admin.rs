//! Deletes and what is left of them on disk: brought to every shard of a workspace, done when all have done it (`core.md` C8, C14).

use crate::node::Node;
use crate::query::fragment_service::{KnownMap, ready};
use crate::query::scatter::{sets_from_wire, sets_to_wire, shards_in_range};
use crate::rpc::client::{header, request};
use crate::task;
use futures::future::{join_all, try_join_all};
use model::planted::{self, Bug};
use model::{Matcher, ShardId, StoreId, Timestamp};
use proto::node::{AdminReply, AdminRequest, admin_request};
use raft::ProposeError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Response, Status};
use tsdb::entry::{Delete, DeleteError};
use tsdb::verdict::ApplyResponse;

/// How long a delete looks for the leaders of its shards.
const DELETE_BUDGET: Duration = Duration::from_secs(30);
/// How long one of several attempts may take.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);
/// How long a change of shards waits for all of them.
const BARRIER_BUDGET: Duration = Duration::from_secs(15);
/// How long replicas may take to rewrite what deletes touch.
const CLEAN_BUDGET: Duration = Duration::from_secs(3600);
const PAUSE: Duration = Duration::from_millis(100);

/// Why an administrative request was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdminError {
    /// The workspace is not known any more.
    #[error("the workspace is gone")]
    NoWorkspace,
    /// The delete cannot be an entry.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// A shard, or a replica of it, did not do it in time; others may have.
    #[error("shard {shard} is unavailable: {reason}")]
    Unavailable {
        /// Which shard.
        shard: ShardId,
        /// What the last attempt met.
        reason: String,
    },
}

/// What is asked of one shard.
#[derive(Clone, Debug)]
struct Asked<'a> {
    workspace: &'a str,
    known_revision: u64,
    kind: admin_request::Kind,
    matcher_sets: &'a [Vec<Matcher>],
    start_ms: Timestamp,
    end_ms: Timestamp,
}

impl Asked<'_> {
    fn message(&self, node: &Node, shard: ShardId, left: Duration) -> AdminRequest {
        AdminRequest {
            header: Some(header(&node.cluster_id(), node.store_id().0, left)),
            workspace: self.workspace.to_owned(),
            shard: shard.0,
            known_revision: self.known_revision,
            kind: self.kind.into(),
            matcher_sets: sets_to_wire(self.matcher_sets),
            start_ms: self.start_ms,
            end_ms: self.end_ms,
        }
    }

    async fn ask(&self, node: &Arc<Node>, shard: ShardId, store: StoreId, deadline: Instant) -> Result<AdminReply, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = self.message(node, shard, left);
        if store == node.store_id() {
            return serve(node, &message, left).await.map_err(|status| status.message().to_owned());
        }
        let address = node.others().remove(&store).ok_or_else(|| format!("store {store} is not known"))?;
        let mut client = node.peers.client(&address).map_err(|e| e.to_string())?;
        client.admin(request(message, left)).await.map(Response::into_inner).map_err(|status| status.message().to_owned())
    }
}

/// Deletes what the series that satisfy any of the sets hold from `start_ms` to `end_ms`, as far as it was written before the call.
/// Every read that begins after it returns sees the delete.
///
/// # Errors
/// See [`AdminError`]; some shards may have deleted their share.
pub async fn delete_series(
    node: &Arc<Node>,
    workspace: &str,
    start_ms: Timestamp,
    end_ms: Timestamp,
    matcher_sets: &[Vec<Matcher>],
) -> Result<(), AdminError> {
    tsdb::entry::delete(&Delete { known_revision: 0, first_ms: start_ms, last_ms: end_ms, matcher_sets: matcher_sets.to_vec() })?;
    let deadline = Instant::now() + DELETE_BUDGET;
    let mut done: BTreeSet<ShardId> = BTreeSet::new();
    for attempt in 0.. {
        // Looked up anew each time: a shard that knows a newer map refuses until this node knows it too.
        let known = node.meta.workspace(workspace).ok_or(AdminError::NoWorkspace)?;
        let known_revision = known.record.decided_rev;
        let asked = Asked { workspace, known_revision, kind: admin_request::Kind::Delete, matcher_sets, start_ms, end_ms };
        let mut meant = shards_in_range(&known.record, start_ms, end_ms);
        if planted::is(Bug::DeleteByNewestMap) {
            meant.retain(|shard| known.record.current_shards().contains(&shard.0));
        }
        let open: Vec<ShardId> = meant.difference(&done).copied().collect();
        let outcomes = join_all(open.iter().map(|shard| ask_leader(node, &asked, *shard, attempt, deadline))).await;
        let mut failed = None;
        for (shard, outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => drop(done.insert(shard)),
                Err(reason) => failed = Some(AdminError::Unavailable { shard, reason }),
            }
        }
        let Some(error) = failed else { return Ok(()) };
        if Instant::now() + PAUSE >= deadline {
            return Err(error);
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(AdminError::NoWorkspace)
}

/// Asks the shard's leader, as far as it is known, once.
async fn ask_leader(node: &Arc<Node>, asked: &Asked<'_>, shard: ShardId, attempt: usize, deadline: Instant) -> Result<AdminReply, String> {
    let meta = node.meta.get();
    let store = node.leaders.leader(node, &meta, shard, attempt).ok_or_else(|| "its replicas are not known".to_owned())?;
    // One that hangs is left for another.
    let until = deadline.min(Instant::now() + ATTEMPT_MAX);
    let outcome = match tokio::time::timeout_at(until, asked.ask(node, shard, store, until)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("store {store} gave no answer in time")),
    };
    if outcome.is_err() {
        node.leaders.note(shard, None);
    }
    outcome
}

/// The newest sample that any current shard of a workspace ever took, behind a read barrier of each.
///
/// # Errors
/// See [`AdminError`]: one that does not answer fails the call.
pub async fn newest_sample(node: &Arc<Node>, workspace: &str) -> Result<Timestamp, AdminError> {
    let known = node.meta.workspace(workspace).ok_or(AdminError::NoWorkspace)?;
    let known_revision = known.record.decided_rev;
    let kind = admin_request::Kind::NewestSample;
    let asked = Asked { workspace, known_revision, kind, matcher_sets: &[], start_ms: i64::MIN, end_ms: i64::MAX };
    let deadline = Instant::now() + BARRIER_BUDGET;
    let asked = &asked;
    let answers = known.record.current_shards().iter().map(|shard| async move {
        let shard = ShardId(*shard);
        for attempt in 0.. {
            match ask_leader(node, asked, shard, attempt, deadline).await {
                Ok(reply) => return Ok(reply.newest_ms),
                Err(reason) if Instant::now() + PAUSE >= deadline => return Err(AdminError::Unavailable { shard, reason }),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        Err(AdminError::NoWorkspace)
    });
    Ok(try_join_all(answers).await?.into_iter().flatten().max().unwrap_or(Timestamp::MIN))
}

/// Has every replica of every shard rewrite what deletes touch, so that nothing of it is left on any disk.
///
/// # Errors
/// See [`AdminError`]; some replicas may have done it.
pub async fn clean_tombstones(node: &Arc<Node>, workspace: &str) -> Result<(), AdminError> {
    let known = node.meta.workspace(workspace).ok_or(AdminError::NoWorkspace)?;
    let known_revision = known.record.decided_rev;
    let kind = admin_request::Kind::CleanTombstones;
    let asked = Asked { workspace, known_revision, kind, matcher_sets: &[], start_ms: i64::MIN, end_ms: i64::MAX };
    let meta = node.meta.get();
    let deadline = Instant::now() + CLEAN_BUDGET;
    let replicas = shards_in_range(&known.record, i64::MIN, i64::MAX).into_iter().flat_map(|shard| {
        let replicas = meta.shards.get(&shard.0).map(|record| record.replicas.clone()).unwrap_or_default();
        replicas.into_iter().map(move |replica| (shard, StoreId(replica.store)))
    });
    let asked = &asked;
    try_join_all(replicas.map(|(shard, store)| async move {
        let unavailable = |reason| AdminError::Unavailable { shard, reason: format!("store {store}: {reason}") };
        asked.ask(node, shard, store, deadline).await.map_err(unavailable)
    }))
    .await?;
    Ok(())
}

/// Does what a node asks of this one's replica.
///
/// # Errors
/// `UNAVAILABLE` if the replica is not here, does not lead or cannot do it now; see `AdminRequest` for the others.
#[allow(clippy::result_large_err)]
pub async fn serve(node: &Arc<Node>, request: &AdminRequest, left: Duration) -> Result<AdminReply, Status> {
    let shard = ShardId(request.shard);
    let local = node.shards.get(shard).ok_or_else(|| Status::unavailable(format!("shard {shard} is not here")))?;
    if local.workspace.as_str() != request.workspace {
        return Err(Status::permission_denied(format!("shard {shard} is not of workspace {}", request.workspace)));
    }
    match request.kind() {
        admin_request::Kind::Delete => {
            let matcher_sets = sets_from_wire(&request.matcher_sets)?;
            if !local.shard.takes_deletes(matcher_sets.len()) {
                return Err(Status::resource_exhausted("too many deletes wait to be carried out: clean_tombstones does it"));
            }
            let known_revision = request.known_revision;
            let delete = Delete { known_revision, first_ms: request.start_ms, last_ms: request.end_ms, matcher_sets };
            let payload = tsdb::entry::delete(&delete).map_err(|e| Status::invalid_argument(e.to_string()))?;
            let status = local.group.status();
            if !status.is_leader {
                return Err(Status::unavailable("the replica does not lead"));
            }
            let response =
                local.group.propose(payload, Some(status.term)).await.map_err(|e: ProposeError| Status::unavailable(e.to_string()))?;
            let response = ApplyResponse::decode(&response).map_err(|e| Status::internal(e.to_string()))?;
            if response.parts.iter().all(tsdb::PartVerdict::is_final) {
                return Ok(AdminReply::default());
            }
            Err(Status::failed_precondition("the shard has a newer map"))
        }
        admin_request::Kind::CleanTombstones => {
            let unavailable = |e: &dyn std::fmt::Display| Status::unavailable(e.to_string());
            let deadline = Instant::now() + left;
            ready(node, &local, KnownMap::ANY, deadline).await.map_err(|e| unavailable(&e))?;
            let _alone = node.rewriting.lock().await;
            let node = Arc::clone(node);
            let cleaned = task::blocking(move || local.shard.clean_tombstones(&node.draining)).await;
            cleaned.map_err(|e| unavailable(&e))?.map_err(|e| unavailable(&e))?;
            Ok(AdminReply::default())
        }
        admin_request::Kind::NewestSample => {
            let deadline = Instant::now() + left;
            ready(node, &local, KnownMap::ANY, deadline).await.map_err(|e| Status::unavailable(e.to_string()))?;
            Ok(AdminReply { newest_ms: local.shard.newest_sample_ms() })
        }
    }
}
