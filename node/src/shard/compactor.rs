//! Rewrites parts when that is due, one replica at a time on a node: days that are over, many flushes, what deletes left.

use super::LocalShard;
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
            if may_rewrite && local.is_recovered() && local.shard.wants_rewrite() && !rewrite(&node, &local).await {
                failed.insert(local.id, Instant::now());
            }
        }
    }
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
