//! The engine of tests: forgets, on demand, everything that was not synced.

use super::engine::{LogEngine, LogOp};
use super::keys::StateTag;
use super::loss::LogLoss;
use bytes::Bytes;
use model::ReplicaId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, Default)]
struct Rows {
    entries: BTreeMap<(ReplicaId, u64), Bytes>,
    state: BTreeMap<(ReplicaId, StateTag), Bytes>,
}

impl Rows {
    fn apply(&mut self, op: &LogOp) {
        match op {
            LogOp::PutEntry { replica, index, value } => {
                self.entries.insert((*replica, *index), value.clone());
            }
            LogOp::Truncate { replica, index } => self.entries.retain(|(owner, at), _| owner != replica || at < index),
            LogOp::Purge { replica, index } => self.entries.retain(|(owner, at), _| owner != replica || at > index),
            LogOp::PutState { replica, tag, value } => {
                self.state.insert((*replica, *tag), value.clone());
            }
            LogOp::Destroy { replica } => {
                self.entries.retain(|(owner, _), _| owner != replica);
                self.state.retain(|(owner, _), _| owner != replica);
            }
        }
    }
}

#[derive(Debug, Default)]
struct State {
    live: Rows,
    durable: Rows,
    unsynced: Vec<Vec<LogOp>>,
    dead: bool,
    delay: Duration,
    fail_next: bool,
    syncs: u64,
}

/// A [`LogEngine`] in memory whose power can be cut.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    state: Mutex<State>,
    loss: Option<LogLoss>,
}

impl MemoryEngine {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Cuts the power: of the batches not yet synced the first `kept` survive, as if the disk had got to them. This engine then fails
    /// every call; the returned one is what the next start finds.
    #[must_use]
    pub fn crash(&self, kept: usize) -> Arc<Self> {
        let mut state = self.state.lock();
        state.dead = true;
        let mut rows = state.durable.clone();
        for op in state.unsynced.iter().take(kept).flatten() {
            rows.apply(op);
        }
        let state = State { live: rows.clone(), durable: rows, syncs: state.syncs, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), loss: self.loss.clone() })
    }

    /// Cuts the power of a disk that lied about a sync: the last entry of `victim` is gone too, and the ledger tells.
    #[must_use]
    pub fn crash_with_loss(&self, victim: ReplicaId) -> Arc<Self> {
        let after = self.crash(0);
        let mut state = after.state.lock();
        let rows = &mut state.live;
        let last = rows.entries.range((victim, 0)..=(victim, u64::MAX)).next_back().map(|(key, _)| *key);
        if let Some(last) = last {
            rows.entries.remove(&last);
        }
        let replicas = rows.state.keys().map(|(replica, _)| *replica).collect();
        let (live, durable) = (rows.clone(), rows.clone());
        let loss = Some(LogLoss { latest: state.syncs, ledger: state.syncs + 1, replicas });
        Arc::new(Self { state: Mutex::new(State { live, durable, ..State::default() }), loss })
    }

    /// Batches written but not synced.
    #[must_use]
    pub fn unsynced_count(&self) -> usize {
        self.state.lock().unsynced.len()
    }

    /// Synced writes so far.
    #[must_use]
    pub fn sync_count(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Every later sync takes this long.
    pub fn set_sync_delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// The next write fails.
    pub fn fail_next_write(&self) {
        self.state.lock().fail_next = true;
    }

    fn check(state: &State) -> io::Result<()> {
        if state.dead { Err(io::Error::other("power is off")) } else { Ok(()) }
    }
}

impl LogEngine for MemoryEngine {
    fn write(&self, ops: &[LogOp], sync: bool) -> io::Result<()> {
        let delay = {
            let mut state = self.state.lock();
            Self::check(&state)?;
            if std::mem::take(&mut state.fail_next) {
                return Err(io::Error::other("injected write error"));
            }
            for op in ops {
                state.live.apply(op);
            }
            state.unsynced.push(ops.to_vec());
            state.delay
        };
        if !sync {
            return Ok(());
        }
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut state = self.state.lock();
        Self::check(&state)?;
        let batches = std::mem::take(&mut state.unsynced);
        for op in batches.iter().flatten() {
            state.durable.apply(op);
        }
        state.syncs += 1;
        Ok(())
    }

    fn entries(&self, replica: ReplicaId, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let state = self.state.lock();
        Self::check(&state)?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for expected in from..to {
            let Some(value) = state.live.entries.get(&(replica, expected)) else { break };
            bytes += value.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push((expected, value.clone()));
        }
        Ok(entries)
    }

    fn first_entry(&self, replica: ReplicaId) -> io::Result<Option<Bytes>> {
        let state = self.state.lock();
        Self::check(&state)?;
        Ok(state.live.entries.range((replica, 0)..=(replica, u64::MAX)).next().map(|(_, value)| value.clone()))
    }

    fn last_index(&self, replica: ReplicaId) -> io::Result<Option<u64>> {
        let state = self.state.lock();
        Self::check(&state)?;
        Ok(state.live.entries.range((replica, 0)..=(replica, u64::MAX)).next_back().map(|((_, index), _)| *index))
    }

    fn state(&self, replica: ReplicaId, tag: StateTag) -> io::Result<Option<Bytes>> {
        let state = self.state.lock();
        Self::check(&state)?;
        Ok(state.live.state.get(&(replica, tag)).cloned())
    }

    fn replicas(&self) -> io::Result<Vec<ReplicaId>> {
        let state = self.state.lock();
        Self::check(&state)?;
        let mut replicas: Vec<_> = state.live.state.keys().map(|(replica, _)| *replica).collect();
        replicas.extend(state.live.entries.keys().map(|(replica, _)| *replica));
        replicas.sort_unstable();
        replicas.dedup();
        Ok(replicas)
    }

    fn loss(&self) -> Option<&LogLoss> {
        self.loss.as_ref()
    }

    fn synced(&self) -> u64 {
        self.sync_count()
    }

    fn stored_bytes(&self) -> u64 {
        self.state.lock().live.entries.values().map(|value| value.len() as u64).sum()
    }

    fn flush(&self) -> io::Result<()> {
        Self::check(&self.state.lock())
    }
}
