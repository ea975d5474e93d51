//! Reads all stored parts of this node once in a period, at a steady rate, to find damage before somebody needs them.

use super::LocalShard;
use crate::metrics;
use crate::node::Node;
use crate::task;
use std::sync::Arc;
use std::time::Duration;
use tsdb::shard::{ScrubPlace, Scrubbed};

/// Shortest and longest pause after a part; the longest also notices new parts of a node that has few.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Goes over all replicas again and again until dropped; a pass takes about `period`.
pub async fn run(node: Arc<Node>, period: Duration) {
    loop {
        let mut total: u64 = 0;
        for local in node.shards.all() {
            total = total.saturating_add(local.shard.stored_bytes());
        }
        let pace = Pace { bytes: total.max(1), period };
        let mut has_parts = false;
        for local in node.shards.all() {
            let mut place: Option<ScrubPlace> = None;
            while let Some(scrubbed) = next(&node, &local, place).await {
                has_parts = true;
                place = Some(scrubbed.place);
                metrics::count_scrubbed(scrubbed.bytes, scrubbed.is_damaged);
                show_damage(&node);
                tokio::time::sleep(pace.after(scrubbed.bytes)).await;
            }
        }
        show_damage(&node);
        if !has_parts {
            tokio::time::sleep(period.clamp(PAUSE_MIN, PAUSE_MAX)).await;
        }
    }
}

async fn next(node: &Arc<Node>, local: &Arc<LocalShard>, place: Option<ScrubPlace>) -> Option<Scrubbed> {
    if local.closed.is_cancelled() {
        return None;
    }
    let (shard, stop) = (Arc::clone(&local.shard), Arc::clone(node));
    match task::blocking(move || shard.scrub_next(place, &stop.draining)).await {
        Ok(Ok(scrubbed)) => scrubbed,
        Ok(Err(error)) => {
            tracing::warn!(shard = %local.id, %error, "stored parts not checked");
            None
        }
        Err(error) => {
            tracing::error!(shard = %local.id, %error, "check of stored parts aborted");
            None
        }
    }
}

fn show_damage(node: &Node) {
    metrics::set_quarantined_days(node.shards.all().iter().map(|local| local.shard.damaged_days().len()).sum());
}

/// Spreads a pass over its period.
#[derive(Clone, Copy, Debug)]
struct Pace {
    bytes: u64,
    period: Duration,
}

impl Pace {
    fn after(self, bytes: u64) -> Duration {
        self.period.mul_f64((bytes as f64 / self.bytes as f64).min(1.0)).clamp(PAUSE_MIN, PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_takes_about_its_period_but_never_stands_still() {
        let day = Duration::from_secs(86_400);
        let pace = Pace { bytes: 1 << 30, period: 14 * day };
        let of_mebibyte = pace.after(1 << 20) * 1024;
        assert!(of_mebibyte.abs_diff(PAUSE_MAX * 1024) < day);
        let pace = Pace { bytes: 1 << 40, period: 14 * day };
        assert!((pace.after(1 << 30) * 1024).abs_diff(7 * day) < day, "the longest pause bounds it");
        assert_eq!(pace.after(1), PAUSE_MIN);
    }
}
