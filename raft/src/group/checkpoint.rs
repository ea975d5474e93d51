//! Purging: behind the synced checkpoint, behind transfers in flight, behind followers that do not lag too far.

use super::{Inner, status};
use crate::error::WaitError;
use crate::types::log_id_of;
use model::LogPoint;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long openraft may take to note a checkpoint.
const NOTE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a finished transfer still holds the log: until the follower's progress is known.
const LINGER: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Hold {
    index: u64,
    /// Set once the transfer ended.
    expires: Option<Instant>,
}

/// Snapshots being sent: the log behind them must stay, or the follower would need another snapshot at once.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    holds: Mutex<Vec<(u64, Hold)>>,
    next: std::sync::atomic::AtomicU64,
}

/// Keeps the log after a snapshot while it is in flight and a little longer.
#[derive(Debug)]
pub(crate) struct TransferGuard {
    transfers: Arc<Transfers>,
    number: u64,
}

impl Transfers {
    /// Holds the log after `index`.
    pub(crate) fn begin(self: &Arc<Self>, index: u64) -> TransferGuard {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.holds.lock().push((number, Hold { index, expires: None }));
        TransferGuard { transfers: Arc::clone(self), number }
    }

    /// The lowest index held.
    pub(crate) fn lowest(&self, now: Instant) -> Option<u64> {
        let mut holds = self.holds.lock();
        holds.retain(|(_, hold)| hold.expires.is_none_or(|expires| expires > now));
        holds.iter().map(|(_, hold)| hold.index).min()
    }
}

impl Drop for TransferGuard {
    fn drop(&mut self) {
        let expires = Instant::now() + LINGER;
        for (number, hold) in self.transfers.holds.lock().iter_mut() {
            if *number == self.number {
                hold.expires = Some(expires);
            }
        }
    }
}

pub(super) async fn checkpointed(inner: &Inner, point: LogPoint) -> Result<(), WaitError> {
    let id = log_id_of(point);
    inner.raft.trigger().snapshot().await.map_err(|_| WaitError::Stopped)?;
    let mut noted = inner.raft.watch_snapshot_progress();
    match tokio::time::timeout(NOTE_TIMEOUT, noted.wait_until_ge(&Some(id))).await {
        Err(_) => return Err(WaitError::Timeout),
        Ok(Err(_)) => return Err(WaitError::Stopped),
        Ok(Ok(_)) => {}
    }
    let Some(upto) = purge_point(inner, point.index) else { return Ok(()) };
    inner.raft.trigger().purge_log(upto).await.map_err(|_| WaitError::Stopped)
}

/// The last index that nobody needs any more, if there is something to purge.
fn purge_point(inner: &Inner, durable: u64) -> Option<u64> {
    let status = status::current(inner.shard, &inner.raft);
    let mut upto = durable;
    if let Some(held) = inner.transfers.lowest(Instant::now()) {
        upto = upto.min(held);
    }
    let lag_entries_max = inner.config.lag_bytes / inner.store.log.entry_bytes_mean();
    let last = status.last_log_index.unwrap_or(durable);
    let purged = inner.store.log.purged().map(|purged| purged.index);
    for matched in status.matched.values() {
        // Of a replica that has not been heard since we lead nothing is known: it may need all there is.
        let matched = matched.or(purged).unwrap_or(0);
        // One that lags too far takes a snapshot instead.
        if last.saturating_sub(matched) <= lag_entries_max {
            upto = upto.min(matched);
        }
    }
    purged.is_none_or(|purged| upto > purged).then_some(upto)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_held_during_a_transfer_and_a_little_longer() {
        let transfers = Arc::new(Transfers::default());
        let (far, near) = (transfers.begin(10), transfers.begin(4));
        assert_eq!(transfers.lowest(Instant::now()), Some(4));
        drop(near);
        assert_eq!(transfers.lowest(Instant::now()), Some(4));
        let later = Instant::now() + LINGER + LINGER;
        assert_eq!(transfers.lowest(later), Some(10));
        drop(far);
        assert_eq!(transfers.lowest(Instant::now()), Some(10));
        assert_eq!(transfers.lowest(later), None);
    }
}
