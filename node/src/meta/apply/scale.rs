//! Generations of shard maps (`core.md` C8): what may begin, and the one decision on each revision.

use crate::meta::command::MetaResponse;
use crate::meta::state::{GenerationRecord, MetaState, PendingGeneration, ScaleReason, WorkspaceRecord};
use model::limits::SHARDS_PER_WORKSPACE_MAX;
use model::planted::{self, Bug};
use std::collections::BTreeSet;

/// What is asked of [`MetaState::begin_scale`].
pub(super) struct BeginScale {
    pub(super) id: String,
    pub(super) shards: u32,
    pub(super) from_ms: i64,
    pub(super) decide_by_ms: i64,
    pub(super) interval_ms: i64,
    pub(super) reason: ScaleReason,
    pub(super) now_ms: i64,
}

impl MetaState {
    pub(super) fn begin_scale(&mut self, begin: BeginScale) -> MetaResponse {
        let BeginScale { id, shards, from_ms, decide_by_ms, interval_ms, reason, now_ms } = begin;
        let Some(workspace) = self.workspaces.get(&id) else { return MetaResponse::NotFound { id } };
        if let Some(pending) = &workspace.pending {
            // The same command, proposed again because its first outcome was not heard of.
            let is_same = pending.generation.from_ms == from_ms && pending.generation.shards.len() == shards as usize;
            return match is_same {
                true => MetaResponse::Workspace { workspace: Box::new(workspace.clone()) },
                false => MetaResponse::Conflict { id, reason: format!("a change of shards is under way since {} ms", pending.began_ms) },
            };
        }
        let Some(newest) = workspace.generations.last().cloned() else { return MetaResponse::NotFound { id } };
        if newest.from_ms == from_ms && newest.shards.len() == shards as usize {
            return MetaResponse::Workspace { workspace: Box::new(workspace.clone()) };
        }
        if let Some(reason) = refusal(&newest, shards, from_ms.saturating_sub(interval_ms)) {
            return MetaResponse::Conflict { id, reason };
        }
        // Extended, or cut at its end: only so does the jump hash leave most series where they are.
        let mut list: Vec<u64> = newest.shards.iter().take(shards as usize).copied().collect();
        let more = shards.saturating_sub(u32::try_from(list.len()).unwrap_or(u32::MAX));
        match self.new_shards(&id, more) {
            Ok(ids) => list.extend(ids),
            Err(full) => return *full,
        }
        self.revision += 1;
        let Some(workspace) = self.workspaces.get_mut(&id) else { return MetaResponse::NotFound { id } };
        let (generation, rev) = (newest.generation + 1, workspace.decided_rev + 1);
        let generation = GenerationRecord { generation, rev, from_ms, shards: list };
        workspace.pending = Some(PendingGeneration { generation, decide_by_ms, accepted: BTreeSet::new(), reason, began_ms: now_ms });
        MetaResponse::Workspace { workspace: Box::new(workspace.clone()) }
    }

    pub(super) fn accept_fence(&mut self, id: String, rev: u64, shard: u64) -> MetaResponse {
        let Some(workspace) = self.workspaces.get_mut(&id) else { return MetaResponse::NotFound { id } };
        let must_accept: BTreeSet<u64> = workspace.current_shards().iter().copied().collect();
        let Some(pending) = workspace.pending.as_mut().filter(|pending| pending.generation.rev == rev) else {
            return decided(workspace);
        };
        if !must_accept.contains(&shard) {
            return MetaResponse::Conflict { id, reason: format!("shard {shard} is none of the newest generation") };
        }
        if pending.accepted.insert(shard) {
            self.revision += 1;
        }
        if pending.accepted == must_accept
            && let Some(pending) = workspace.pending.take()
        {
            workspace.decided_rev = rev;
            workspace.generations.push(pending.generation);
        }
        decided(workspace)
    }

    pub(super) fn abort_scale(&mut self, id: String, rev: u64) -> MetaResponse {
        let Some(workspace) = self.workspaces.get_mut(&id) else { return MetaResponse::NotFound { id } };
        if planted::is(Bug::DecidedTwice) && workspace.generations.len() > 1 {
            workspace.generations.retain(|generation| generation.rev != rev);
        }
        let Some(pending) = workspace.pending.take_if(|pending| pending.generation.rev == rev) else {
            return decided(workspace);
        };
        workspace.decided_rev = rev;
        let kept: BTreeSet<u64> = workspace.generations.iter().flat_map(|g| g.shards.iter().copied()).collect();
        let answer = decided(workspace);
        self.drop_shards(pending.generation.shards.iter().filter(|shard| !kept.contains(shard)));
        self.revision += 1;
        answer
    }

    pub(super) fn retire_generations(&mut self, id: String, before_ms: i64) -> MetaResponse {
        let Some(workspace) = self.workspaces.get_mut(&id) else { return MetaResponse::NotFound { id } };
        let over = workspace.generations.iter().skip(1).take_while(|next| next.from_ms <= before_ms).count();
        if over == 0 {
            return decided(workspace);
        }
        let retired: Vec<GenerationRecord> = workspace.generations.drain(..over).collect();
        let pending = workspace.pending.iter().map(|pending| &pending.generation);
        let kept: BTreeSet<u64> = workspace.generations.iter().chain(pending).flat_map(|g| g.shards.iter().copied()).collect();
        let answer = decided(workspace);
        self.drop_shards(retired.iter().flat_map(|g| &g.shards).filter(|shard| !kept.contains(shard)));
        self.revision += 1;
        answer
    }

    fn drop_shards<'s>(&mut self, shards: impl Iterator<Item = &'s u64>) {
        for shard in shards {
            self.shards.remove(shard);
            self.changes.remove(shard);
        }
    }
}

fn decided(workspace: &WorkspaceRecord) -> MetaResponse {
    MetaResponse::Workspace { workspace: Box::new(workspace.clone()) }
}

/// Why there cannot be a generation of so many shards after `newest`, which must have begun by `begun_by_ms`.
fn refusal(newest: &GenerationRecord, shards: u32, begun_by_ms: i64) -> Option<String> {
    if shards == 0 || shards > SHARDS_PER_WORKSPACE_MAX {
        return Some(format!("a workspace has 1 to {SHARDS_PER_WORKSPACE_MAX} shards"));
    }
    if newest.shards.len() == shards as usize {
        return Some(format!("it has {shards} shards"));
    }
    if newest.from_ms > begun_by_ms {
        return Some("the change of shards before is too recent".to_owned());
    }
    None
}

#[cfg(test)]
mod tests;
