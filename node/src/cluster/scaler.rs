//! Brings generations of shard maps to the shards and their answers to the meta group (`core.md` C8).
//!
//! ```text
//! begin (any node) -> barrier of all current shards -> BeginScale -> pending
//! leader of each shard:  Fence -> taken? -> AcceptFence, or AbortScale        -> decided, once for each revision
//! leader of meta group:  AbortScale when `decide_by` has passed
//! leader of each shard:  Open, where a decided generation is missing; Unfence, where one was aborted
//! ```
//!
//! Every step follows from what the meta group and the shard hold, so that whoever leads next goes on from where the last one stopped.

use super::admin::{self, AdminError};
use super::operator::{MetaError, propose};
use crate::meta::state::{MetaState, ScaleReason, WorkspaceRecord};
use crate::meta::{MetaCommand, MetaResponse};
use crate::node::Node;
use crate::shard::LocalShard;
use model::{Generation, ShardId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;
use tsdb::shard::{FenceState, MapState};

/// How often a node looks whether a shard that it leads lacks something.
const ROUND: Duration = Duration::from_millis(200);
/// How long one entry may take before it is tried again.
const STEP_TIME_MAX: Duration = Duration::from_secs(5);
/// Part of the lead that is left between the decision and the first millisecond of a generation.
const DECIDE_SHARE: u32 = 5;
/// Leads from the beginning of one generation to that of the next, at least.
pub(super) const LEADS_BETWEEN: u32 = 8;
/// How long after retention generations are kept, in milliseconds.
const RETIRE_MARGIN_MS: i64 = 24 * 3_600_000;

/// Why a workspace does not get another number of shards.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// A shard does not answer: before all do, nothing begins.
    #[error(transparent)]
    Shard(#[from] AdminError),
    /// The meta group does not answer.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// This node does not know the time.
    #[error("{0}")]
    Time(String),
}

/// What the leader of a shard does next about its map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Propose the decided map.
    Open(Vec<Generation>),
    /// Propose the pending generation.
    Fence(Generation),
    /// Propose the end of an aborted generation.
    Unfence {
        /// Its number.
        generation: u64,
        /// Its revision.
        rev: u64,
    },
    /// Tell the meta group that the fence is taken.
    Accept {
        /// Of which revision.
        rev: u64,
    },
    /// Tell the meta group that it never will be.
    Refuse {
        /// Of which revision.
        rev: u64,
    },
}

/// The next step for `shard`, whose log has led to `known`; none if it knows all that the meta group decided.
#[must_use]
pub fn next_step(workspace: &WorkspaceRecord, shard: u64, known: &MapState) -> Option<Step> {
    // A shard without a map gets its first one from its runner.
    known.generations.first()?;
    let decided = |g: &Generation| workspace.generations.iter().any(|d| d.generation == g.generation && d.rev == g.rev);
    let oldest = workspace.generations.first()?.generation;
    // What retention took off the front of the list is no matter of shards.
    let is_aborted = |g: &&Generation| g.rev <= workspace.decided_rev && g.generation > oldest && !decided(g);
    if let Some(aborted) = known.generations.iter().find(is_aborted) {
        return Some(Step::Unfence { generation: aborted.generation, rev: aborted.rev });
    }
    let is_known = |d: &Generation| known.generations.contains(d);
    let map: Vec<Generation> = workspace.generations.iter().map(Generation::from).collect();
    if !map.iter().all(is_known) {
        return Some(Step::Open(map));
    }
    let pending = workspace.pending.as_ref()?;
    let rev = pending.generation.rev;
    let must_accept = workspace.current_shards().contains(&shard);
    match known.fence(pending.generation.generation, rev) {
        FenceState::Unknown => Some(Step::Fence(Generation::from(&pending.generation))),
        FenceState::Accepted => (must_accept && !pending.accepted.contains(&shard)).then_some(Step::Accept { rev }),
        FenceState::Refused => must_accept.then_some(Step::Refuse { rev }),
    }
}

/// Carries out what concerns the shards that this node leads, until dropped.
pub async fn run(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let steps = node.shards.all().into_iter().map(|local| carry_on(&node, local));
        futures::future::join_all(steps).await;
    }
}

async fn carry_on(node: &Arc<Node>, local: Arc<LocalShard>) {
    let status = local.group.status();
    if !status.is_leader {
        return;
    }
    let Some(workspace) = node.meta.workspace(local.workspace.as_str()) else { return };
    let (shard, record) = (local.id, &workspace.record);
    let Some(step) = next_step(record, shard.0, &local.shard.map_state()) else { return };
    let now_ms = node.time.now().unwrap_or(0);
    let id = record.id.clone();
    let entry = match &step {
        Step::Open(map) => tsdb::entry::open(record.placement_key, map),
        Step::Fence(generation) => tsdb::entry::fence(now_ms, generation),
        Step::Unfence { generation, rev } => tsdb::entry::unfence(*generation, *rev),
        Step::Accept { rev } => return tell(node, shard, &step, MetaCommand::AcceptFence { id, rev: *rev, shard: shard.0 }).await,
        Step::Refuse { rev } => return tell(node, shard, &step, MetaCommand::AbortScale { id, rev: *rev }).await,
    };
    match tokio::time::timeout(STEP_TIME_MAX, local.group.propose(entry, Some(status.term))).await {
        Ok(Ok(_)) => tracing::info!(%shard, ?step, "shard map"),
        Ok(Err(error)) => tracing::debug!(%shard, ?step, %error, "shard map put off"),
        Err(_) => tracing::warn!(%shard, ?step, "shard map without an outcome in time"),
    }
}

async fn tell(node: &Arc<Node>, shard: ShardId, step: &Step, command: MetaCommand) {
    match propose(node, command).await {
        Ok(MetaResponse::Workspace { .. }) => tracing::info!(%shard, ?step, "shard map"),
        Ok(answer) => tracing::warn!(%shard, ?step, ?answer, "the meta group does not take it"),
        Err(error) => tracing::debug!(%shard, ?step, %error, "shard map put off"),
    }
}

/// Gives up what should have been decided by now, and forgets generations older than retention; asked of the meta group's leader.
///
/// # Errors
/// See [`MetaError`].
pub async fn keep_up(node: &Node, meta: &MetaState) -> Result<(), MetaError> {
    let Ok(now_ms) = node.time.now() else { return Ok(()) };
    for workspace in meta.workspaces.values() {
        if let Some(command) = overdue(workspace, now_ms) {
            tracing::info!(workspace = workspace.id, ?command, "shard map");
            propose(node, command).await?;
        }
    }
    Ok(())
}

/// What time alone asks for.
fn overdue(workspace: &WorkspaceRecord, now_ms: i64) -> Option<MetaCommand> {
    let id = workspace.id.clone();
    if let Some(pending) = workspace.pending.as_ref().filter(|pending| now_ms >= pending.decide_by_ms) {
        return Some(MetaCommand::AbortScale { id, rev: pending.generation.rev });
    }
    let before_ms = now_ms.saturating_sub(workspace.limits.retention_ms).saturating_sub(RETIRE_MARGIN_MS);
    workspace.generations.get(1).filter(|next| next.from_ms <= before_ms).map(|_| MetaCommand::RetireGenerations { id, before_ms })
}

/// Begins a generation of `shards` shards, once every current shard has answered a read barrier.
///
/// # Errors
/// See [`ScaleError`]; the meta group's own refusals are in its answer.
pub async fn begin(node: &Arc<Node>, workspace: &str, shards: u32, reason: ScaleReason) -> Result<MetaResponse, ScaleError> {
    let newest_ms = admin::newest_sample(node, workspace).await?;
    let now_ms = node.time.now().map_err(|e| ScaleError::Time(e.to_string()))?;
    let lead = node.config.cluster.scale_lead;
    let ms = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    let from_ms = now_ms.max(newest_ms).saturating_add(ms(lead));
    let command = MetaCommand::BeginScale {
        id: workspace.to_owned(),
        shards,
        from_ms,
        decide_by_ms: from_ms.saturating_sub(ms(lead / DECIDE_SHARE)),
        interval_ms: ms(lead * LEADS_BETWEEN),
        reason,
        now_ms,
    };
    Ok(propose(node, command).await?)
}

#[cfg(test)]
mod tests;
