//! Rewrites parts when that is due, one replica at a time on a node: days that are over, many flushes, what deletes left.

use super::{LocalShard, repair};
use crate::metrics;
use crate::node::Node;
use crate::task;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tsdb::error::StoreError;

const ROUND: Duration = Duration::from_secs(5);
/// Time for which a replica is left alone after a rewrite of it failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(600);

/// Watches all replicas until dropped.
pub async fn run(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed: HashMap<model::ShardId, Instant> = HashMap::new();
    loop {
        rounds.tick().await;
        failed.retain(|_, at| at.elapsed() < PAUSE_AFTER_ERROR);
        for local in node.shards.all() {
            // A full disk has no room for a second copy of a day.
            let may_rewrite = !failed.contains_key(&local.id) && !node.disk_full.load(std::sync::atomic::Ordering::Relaxed);
            if may_rewrite && local.is_recovered() && !tend(&node, &local).await {
                failed.insert(local.id, Instant::now());
            }
        }
    }
}

/// Does what is due for one replica; tells whether it went well.
async fn tend(node: &Arc<Node>, local: &Arc<LocalShard>) -> bool {
    if let Some((day, _)) = local.shard.damaged_days().into_iter().max_by_key(|(_, has_samples)| *has_samples) {
        let _alone = node.rewriting.lock().await;
        match repair::drop_damaged_files(node, local, day).await {
            Ok(true) => {}
            Ok(false) => return true,
            Err(error) => tracing::error!(shard = %local.id, day = day.0, %error, "damaged files not dropped"),
        }
    }
    if let Some((day, _)) = local.shard.damaged_days().into_iter().find(|(_, has_samples)| *has_samples) {
        let _alone = node.rewriting.lock().await;
        let repaired = repair::day(node, local, day).await;
        metrics::count_repair(repaired.is_ok());
        return repaired.inspect_err(|error| tracing::error!(shard = %local.id, day = day.0, %error, "damaged day not repaired")).is_ok();
    }
    if local.shard.wants_rewrite() {
        return rewrite(node, local).await;
    }
    let status = local.group.status();
    let shard = Arc::clone(&local.shard);
    if status.is_leader
        && let Some(day) = local.shard.wants_day_digest()
    {
        let _alone = node.rewriting.lock().await;
        return match task::blocking(move || shard.day_digest(day)).await {
            // Not proposed, or changed meanwhile: later.
            Ok(Ok(Some(digest))) => local.group.propose(tsdb::entry::day_digest(digest), Some(status.term)).await.is_ok(),
            Ok(Ok(None)) => false,
            Ok(Err(error)) => unchecked(local, &error),
            Err(error) => unchecked(local, &error),
        };
    }
    if local.shard.wants_digest_check() {
        let _alone = node.rewriting.lock().await;
        return match task::blocking(move || shard.check_digest()).await {
            Ok(Ok(_)) => true,
            Ok(Err(error)) => unchecked(local, &error),
            Err(error) => unchecked(local, &error),
        };
    }
    true
}

fn unchecked(local: &LocalShard, error: &dyn std::fmt::Display) -> bool {
    tracing::warn!(shard = %local.id, %error, "a day was not compared with other replicas");
    false
}

/// Rewrites what is due first; tells whether it went well.
async fn rewrite(node: &Arc<Node>, local: &Arc<LocalShard>) -> bool {
    let _alone = node.rewriting.lock().await;
    let began = Instant::now();
    let (shard, stop) = (Arc::clone(&local.shard), Arc::clone(node));
    match task::blocking(move || shard.rewrite_due(&stop.draining)).await {
        Ok(Ok(Some(_))) => metrics::observe_rewrite(began.elapsed()),
        Ok(Ok(None) | Err(StoreError::Cancelled)) => {}
        Ok(Err(error)) => {
            tracing::error!(shard = %local.id, %error, "parts not rewritten");
            return false;
        }
        Err(error) => {
            tracing::error!(shard = %local.id, %error, "rewrite aborted");
            return false;
        }
    }
    true
}
