//! What a replica does while it leads: gathers parts of many requests into entries, stamps and proposes them, and keeps the shard's
//! log supplied with its map, its limits and the time.
//!
//! No timer delays a proposal (`core.md` C16): with fewer than two own entries in flight the queue goes out at once, otherwise it
//! gathers until one commits or a full entry is there.

use super::registry::LocalShard;
use crate::cluster::time::{ClusterTime, Stamp};
use crate::meta::MetaView;
use crate::meta::view::Workspace;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use model::StoreId;
use model::limits::{ENTRY_BYTES_TARGET, SHARD_PENDING_BYTES_MAX};
use parking_lot::Mutex;
use raft::ProposeError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tsdb::entry::{Limits, Origin};
use tsdb::resolve::{EntryBuilder, PartError, PartInput};
use tsdb::verdict::{ApplyResponse, PartVerdict};

/// Own entries in flight beyond which parts are gathered.
const IN_FLIGHT_EAGER: usize = 2;
/// Own entries in flight at most.
const IN_FLIGHT_MAX: usize = 8;
/// A part that waits longer turns newcomers away.
const WAITING_MAX: Duration = Duration::from_secs(2);
/// How often a leader looks whether its shard needs an entry of its own: map, limits, time, eviction.
const UPKEEP: Duration = Duration::from_millis(500);

/// One part of one request.
#[derive(Clone, Debug)]
pub struct Part {
    /// Names the part across retries.
    pub batch_id: u128,
    /// Generation by which the router chose this shard.
    pub generation: u64,
    /// Rows as `tsdb::rows` lays them out.
    pub rows: Bytes,
}

/// What became of a part.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The shard judged it.
    Applied(PartVerdict),
    /// Nothing was appended; the leader is elsewhere, if known.
    NotLeader(Option<StoreId>),
    /// Nothing was appended: the node cannot take it now.
    Unavailable(String),
    /// Nothing was appended: too much is waiting.
    Overloaded,
    /// Nothing was appended: the rows lack the labels of a series that the shard does not know.
    NeedsLabels,
    /// It may or may not have been appended.
    Unknown,
}

struct Waiting {
    part: Part,
    since: Instant,
    reply: oneshot::Sender<Outcome>,
}

#[derive(Default)]
struct Queue {
    parts: VecDeque<Waiting>,
    bytes: usize,
    closed: bool,
}

/// The queue before a shard's proposals; cheap to clone.
#[derive(Clone, Default)]
pub struct WriteQueue {
    queue: Arc<Mutex<Queue>>,
    arrived: Arc<Notify>,
}

impl std::fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteQueue").finish_non_exhaustive()
    }
}

impl WriteQueue {
    /// Puts a part into the queue and waits for its outcome. Dropping the future leaves the part in the queue.
    pub async fn write(&self, part: Part) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        {
            let mut queue = self.queue.lock();
            if queue.closed {
                return Outcome::Unavailable("the replica is closing".to_owned());
            }
            // What waits so long already would only wait longer behind more.
            if queue.parts.front().is_some_and(|first| first.since.elapsed() > WAITING_MAX) {
                return Outcome::Overloaded;
            }
            // A part larger than the bound may stand alone.
            if queue.bytes > 0 && queue.bytes + part.rows.len() > SHARD_PENDING_BYTES_MAX {
                return Outcome::Overloaded;
            }
            queue.bytes += part.rows.len();
            queue.parts.push_back(Waiting { part, since: Instant::now(), reply });
        }
        self.arrived.notify_one();
        outcome.await.unwrap_or(Outcome::Unknown)
    }

    fn waiting_bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    fn is_empty(&self) -> bool {
        self.queue.lock().parts.is_empty()
    }

    /// Takes parts worth one entry, at least one if any waits.
    fn take(&self) -> Vec<Waiting> {
        let mut queue = self.queue.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.parts.front() {
            if !taken.is_empty() && bytes + next.part.rows.len() > ENTRY_BYTES_TARGET * 2 {
                break;
            }
            bytes += next.part.rows.len();
            taken.extend(queue.parts.pop_front());
        }
        queue.bytes -= bytes;
        taken
    }

    fn close(&self) {
        self.queue.lock().closed = true;
    }

    fn refuse_all(&self, outcome: &Outcome) {
        for waiting in std::iter::from_fn(|| Some(self.take()).filter(|t| !t.is_empty())).flatten() {
            let _ = waiting.reply.send(outcome.clone());
        }
    }
}

type Completion = (Vec<oneshot::Sender<Outcome>>, Result<Bytes, ProposeError>);

/// The task that feeds one replica's log while it leads.
pub struct Runner {
    local: Arc<LocalShard>,
    time: Arc<ClusterTime>,
    meta: MetaView,
    /// Set while the disk has too little room: proposals are refused before anything is written.
    disk_full: Arc<AtomicBool>,
    /// Set while there is no memory for more series.
    heads_full: Arc<AtomicBool>,
    stamp: Option<(u64, Stamp)>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runner").field("shard", &self.local.id).finish_non_exhaustive()
    }
}

impl Runner {
    /// Prepares the task of `local`.
    #[must_use]
    pub fn new(local: Arc<LocalShard>, time: Arc<ClusterTime>, meta: MetaView, disk_full: Arc<AtomicBool>) -> Self {
        Self { local, time, meta, disk_full, heads_full: Arc::default(), stamp: None }
    }

    /// Refuses parts with series that the head does not hold, as overload, while `heads_full` is set.
    #[must_use]
    pub fn without_new_series_while(self, heads_full: Arc<AtomicBool>) -> Self {
        Self { heads_full, ..self }
    }

    /// Runs until dropped; then parts still waiting are refused, those in flight stay unknown.
    pub async fn run(mut self) {
        let _close = CloseOnDrop(self.local.queue.clone());
        let mut in_flight: FuturesUnordered<futures::future::BoxFuture<'static, Completion>> = FuturesUnordered::new();
        let mut upkeep = tokio::time::interval(UPKEEP);
        upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let full = self.local.queue.waiting_bytes() >= ENTRY_BYTES_TARGET;
            let may_propose = in_flight.len() < IN_FLIGHT_EAGER || (full && in_flight.len() < IN_FLIGHT_MAX);
            if may_propose && !self.local.queue.is_empty() {
                if let Some(flight) = self.propose_waiting() {
                    in_flight.push(flight);
                }
                continue;
            }
            tokio::select! {
                () = self.local.queue.arrived.notified() => {}
                Some((replies, result)) = in_flight.next(), if !in_flight.is_empty() => answer(replies, result),
                _ = upkeep.tick() => self.upkeep().await,
            }
        }
    }

    /// The time for the next entry, or why there is none.
    fn stamp(&mut self, term: u64) -> Result<i64, Outcome> {
        let estimate = self.time.now().map_err(|e| Outcome::Unavailable(e.to_string()))?;
        let at = self.time.clock().monotonic();
        if self.stamp.as_ref().is_none_or(|(t, _)| *t != term) {
            self.stamp = Some((term, Stamp::elected(self.local.shard.time_ms(), at)));
        }
        let confirmed = self.meta.confirmed_ms();
        Ok(self.stamp.as_mut().map_or(estimate, |(_, stamp)| stamp.next(estimate, at, confirmed)))
    }

    fn may_lead(&self) -> Result<u64, Outcome> {
        let status = self.local.group.status();
        if !status.is_leader {
            return Err(Outcome::NotLeader(status.leader.map(|(_, store)| store)));
        }
        if self.disk_full.load(Ordering::Relaxed) {
            return Err(Outcome::Unavailable("too little free disk space".to_owned()));
        }
        if !self.local.shard.has_map() {
            return Err(Outcome::Unavailable("the shard has no map yet".to_owned()));
        }
        Ok(status.term)
    }

    fn propose_waiting(&mut self) -> Option<futures::future::BoxFuture<'static, Completion>> {
        let ready = self.may_lead().and_then(|term| Ok((term, self.stamp(term)?)));
        let (term, time_ms) = match ready {
            Ok(ready) => ready,
            Err(outcome) => {
                self.local.queue.refuse_all(&outcome);
                return None;
            }
        };
        let mut builder = EntryBuilder::new(time_ms, term);
        if self.heads_full.load(Ordering::Relaxed) {
            builder = builder.without_new_series();
        }
        let mut replies = Vec::new();
        for Waiting { part, reply, .. } in self.local.queue.take() {
            let input = PartInput { batch_id: part.batch_id, generation: part.generation, origin: Origin::RemoteWrite, rows: &part.rows };
            match builder.add_part(&self.local.shard, input) {
                Ok(()) => replies.push(reply),
                Err(PartError::NeedsLabels) => {
                    let _ = reply.send(Outcome::NeedsLabels);
                }
                Err(PartError::NewSeries) => {
                    let _ = reply.send(Outcome::Overloaded);
                }
                Err(e @ PartError::Malformed(_)) => {
                    let _ = reply.send(Outcome::Unavailable(e.to_string()));
                }
            }
        }
        if replies.is_empty() {
            return None;
        }
        let group = self.local.group.clone();
        let payload = builder.finish();
        Some(Box::pin(async move {
            let result = group.propose(payload, Some(term)).await;
            (replies, result)
        }))
    }

    /// Proposes what the shard's own log needs: its map first, then limits, then the time.
    async fn upkeep(&mut self) {
        let status = self.local.group.status();
        if !status.is_leader || self.disk_full.load(Ordering::Relaxed) {
            return;
        }
        let Some(workspace) = self.meta.workspace(self.local.workspace.as_str()) else { return };
        let Some(payload) = self.due(&workspace, status.term) else { return };
        if let Err(e) = self.local.group.propose(payload, Some(status.term)).await {
            tracing::debug!(shard = %self.local.id, error = %e, "upkeep entry not proposed");
        }
    }

    fn due(&mut self, workspace: &Workspace, term: u64) -> Option<Bytes> {
        let shard = Arc::clone(&self.local.shard);
        if !shard.has_map() {
            let first = workspace.record.first_map(self.local.id.0);
            return (!first.is_empty()).then(|| tsdb::entry::open(workspace.record.placement_key, &first));
        }
        let limits = workspace.record.limits;
        if shard.limits().version < limits.version {
            return Some(tsdb::entry::set_limits(&Limits {
                version: limits.version,
                out_of_order_window_ms: limits.out_of_order_window_ms,
                late_window_ms: limits.late_window_ms,
                retention_ms: limits.retention_ms,
                exemplars_max: limits.exemplars_max,
            }));
        }
        let now = self.stamp(term).ok()?;
        if let Some(before_ms) = shard.wants_drop_day(now) {
            return Some(tsdb::entry::drop_day(now, before_ms));
        }
        shard.wants_evict_idle(now).then(|| tsdb::entry::evict_idle(now))
    }
}

struct CloseOnDrop(WriteQueue);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
        self.0.refuse_all(&Outcome::Unavailable("the replica is closing".to_owned()));
    }
}

fn answer(replies: Vec<oneshot::Sender<Outcome>>, result: Result<Bytes, ProposeError>) {
    let response = match result {
        Ok(bytes) => ApplyResponse::decode(&bytes).map_err(|e| {
            tracing::error!(error = %e, "a shard answered what this binary cannot read");
            Outcome::Unknown
        }),
        Err(ProposeError::NotLeader { leader }) => Err(Outcome::NotLeader(leader.map(|(_, store)| store))),
        Err(ProposeError::Overloaded) => Err(Outcome::Overloaded),
        Err(e @ (ProposeError::TooLarge { .. } | ProposeError::Stopped)) => Err(Outcome::Unavailable(e.to_string())),
        Err(ProposeError::Unknown) => Err(Outcome::Unknown),
    };
    match response {
        Ok(response) => {
            let mut verdicts = response.parts.into_iter();
            for reply in replies {
                let _ = reply.send(verdicts.next().map_or(Outcome::Unknown, Outcome::Applied));
            }
        }
        Err(outcome) => {
            for reply in replies {
                let _ = reply.send(outcome.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: usize) -> Part {
        Part { batch_id: 1, generation: 1, rows: Bytes::from(vec![0; bytes]) }
    }

    #[tokio::test]
    async fn c16_a_queue_that_is_full_or_stands_still_turns_parts_away() {
        let queue = WriteQueue::default();
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.write(part(SHARD_PENDING_BYTES_MAX)).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(queue.write(part(1)).await, Outcome::Overloaded);
        assert_eq!(queue.take().len(), 1);
        assert_eq!(waiting.await.unwrap(), Outcome::Unknown, "its reply was dropped with what was taken");

        let (reply, still) = oneshot::channel();
        let since = Instant::now().checked_sub(WAITING_MAX * 2).unwrap();
        queue.queue.lock().parts.push_back(Waiting { part: part(0), since, reply });
        assert_eq!(queue.write(part(1)).await, Outcome::Overloaded);
        queue.close();
        queue.refuse_all(&Outcome::Overloaded);
        assert_eq!(still.await.unwrap(), Outcome::Overloaded);
        assert!(matches!(queue.write(part(1)).await, Outcome::Unavailable(_)));
    }
}
