//! Writes checkpoints when they are due, one at a time on a node, and lets the log go behind them.

use super::LocalShard;
use crate::meta::machine::MetaMachine;
use crate::metrics;
use crate::node::Node;
use crate::task;
use model::ShardId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

const ROUND: Duration = Duration::from_millis(500);
/// CPU share below which the node counts as idle.
const IDLE_SHARE: f64 = 0.2;
/// Meta entries after which its state is written.
const META_ENTRIES: u64 = 64;

/// Watches all replicas until dropped.
pub async fn run(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut cpu, mut background_errors) = (CpuShare::default(), 0);
    loop {
        rounds.tick().await;
        let idle = cpu.sample(&node) < IDLE_SHARE;
        for local in node.shards.all() {
            // One that is being rewritten has its turn afterwards; the others do not wait for it.
            if local.shard.wants_checkpoint(idle).is_some() && !local.shard.is_writing_parts() {
                checkpoint(&local).await;
            }
        }
        keep_heads_within(&node).await;
        metrics::set_memory_used("chunk_db", node.db.memory_used());
        let failed_before = std::mem::replace(&mut background_errors, node.db.background_errors());
        metrics::set_background_errors(background_errors);
        if background_errors > failed_before {
            tracing::error!(
                errors = background_errors,
                "flushes or compactions of the chunk database fail: it may take no writes until the node is started again"
            );
        }
        let meta = node.meta_machine.lock().clone();
        if let Some(machine) = meta.filter(|m| m.wants_checkpoint(META_ENTRIES)) {
            checkpoint_meta(&node, &machine).await;
        }
        if idle && let Err(e) = node.groups.reclaim_log().await {
            tracing::error!(error = %e, "space of purged log entries not given back");
        }
        show_active_series(&node);
    }
}

/// When all heads together fill their share, checkpoints the replica that frees most; if no checkpoint can free anything, no new series
/// are taken until the heads shrink.
async fn keep_heads_within(node: &Node) {
    let heads = || node.shards.all().iter().map(|local| local.shard.head_bytes()).sum::<u64>();
    let mut bytes = heads();
    if bytes >= node.shares.heads {
        let shards = node.shards.all();
        let fullest = shards.iter().filter(|l| l.shard.is_worth_flushing()).max_by_key(|l| l.shard.head_bytes());
        if let Some(fullest) = fullest {
            checkpoint(fullest).await;
            bytes = heads();
        }
    }
    metrics::set_memory_used("heads", bytes);
    let is_full = bytes >= node.shares.heads;
    if node.heads_full.swap(is_full, Ordering::Relaxed) != is_full {
        tracing::warn!(is_full, bytes, share = node.shares.heads, "memory for new series");
    }
}

/// Checkpoints one replica and purges its log behind that; errors are logged, the log then stays.
pub async fn checkpoint(local: &Arc<LocalShard>) {
    let began = Instant::now();
    let shard = Arc::clone(&local.shard);
    match task::blocking(move || shard.checkpoint()).await {
        Ok(Ok(Some(point))) => {
            metrics::observe_checkpoint(began.elapsed());
            tracing::debug!(shard = %local.id, %point, took = ?began.elapsed(), "checkpoint written");
            if let Err(e) = local.group.checkpointed(point).await {
                tracing::warn!(shard = %local.id, error = %e, "log not purged");
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(e)) => tracing::error!(shard = %local.id, error = %e, "checkpoint not written"),
        Err(e) => tracing::error!(shard = %local.id, error = %e, "checkpoint aborted"),
    }
}

/// Checkpoints the meta group's replica and purges its log behind that.
pub async fn checkpoint_meta(node: &Node, machine: &Arc<MetaMachine>) {
    let writer = Arc::clone(machine);
    match task::blocking(move || writer.checkpoint()).await {
        Ok(Ok(Some(point))) => {
            if let Some(group) = node.groups.group(ShardId::META)
                && let Err(e) = group.checkpointed(point).await
            {
                tracing::warn!(error = %e, "meta log not purged");
            }
        }
        Ok(Ok(None)) => {}
        Ok(Err(e)) => tracing::error!(error = %e, "meta checkpoint not written"),
        Err(e) => tracing::error!(error = %e, "meta checkpoint aborted"),
    }
}

fn show_active_series(node: &Node) {
    let mut by_workspace = std::collections::BTreeMap::<String, u64>::new();
    for local in node.shards.all().iter().filter(|l| l.group.status().is_leader) {
        *by_workspace.entry(local.workspace.as_str().to_owned()).or_default() += local.shard.active_series();
    }
    for (workspace, series) in by_workspace {
        metrics::set_active_series(&workspace, series);
    }
}

/// This process's share of one core since the last look.
#[derive(Debug, Default)]
struct CpuShare {
    /// CPU time used and the monotonic clock, both at the last look.
    last: Option<(Duration, Duration)>,
}

impl CpuShare {
    fn sample(&mut self, node: &Node) -> f64 {
        let (used, now) = (cpu_time(), node.clock.monotonic());
        let share = self.last.map_or(1.0, |(used_before, at)| {
            used.saturating_sub(used_before).as_secs_f64() / now.saturating_sub(at).as_secs_f64().max(0.001)
        });
        self.last = Some((used, now));
        share
    }
}

/// User and system time of this process so far; a system call, no file.
fn cpu_time() -> Duration {
    if model::threads::are_inline() {
        // A simulated node is idle: what this machine's processor does is not its own.
        return Duration::ZERO;
    }
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_this_process_grows_with_its_work() {
        let before = cpu_time();
        let mut word = 1u64;
        while cpu_time() < before + Duration::from_millis(5) {
            word = std::hint::black_box(word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }
}
