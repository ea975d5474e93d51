//! A key-value state machine with checkpoints on a disk that forgets nothing it synced.

use crate::error::StateMachineError;
use crate::state_machine::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine};
use bytes::Bytes;
use model::LogPoint;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Rows = BTreeMap<String, String>;

/// What a power cut leaves: the newest synced checkpoint.
#[derive(Debug, Default)]
pub struct Disk {
    checkpoint: Mutex<Option<(Durable, Rows)>>,
}

impl Disk {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Rows of the checkpoint.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.checkpoint.lock().as_ref().map(|(_, rows)| rows.clone()).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct State {
    rows: Rows,
    applied: Option<LogPoint>,
    membership: Bytes,
}

/// Applies payloads of the form `key=value`; answers with the former value.
#[derive(Debug)]
pub struct KvMachine {
    disk: Arc<Disk>,
    state: Arc<Mutex<State>>,
    /// Entries applied since the start.
    applied_count: AtomicU64,
    apply_delay: Mutex<Duration>,
}

impl KvMachine {
    /// Starts from what the disk holds.
    #[must_use]
    pub fn open(disk: &Arc<Disk>) -> Arc<Self> {
        let state = match &*disk.checkpoint.lock() {
            Some((durable, rows)) => State { rows: rows.clone(), applied: Some(durable.point), membership: durable.membership.clone() },
            None => State::default(),
        };
        Arc::new(Self {
            disk: Arc::clone(disk),
            state: Arc::new(Mutex::new(state)),
            applied_count: AtomicU64::new(0),
            apply_delay: Mutex::default(),
        })
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.state.lock().rows.get(key).cloned()
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> Rows {
        self.state.lock().rows.clone()
    }

    /// Entries applied since the start.
    #[must_use]
    pub fn applied_count(&self) -> u64 {
        self.applied_count.load(Ordering::Relaxed)
    }

    /// Every later batch takes this long.
    pub fn set_apply_delay(&self, delay: Duration) {
        *self.apply_delay.lock() = delay;
    }

    /// Freezes the present state and syncs it; returns its point. `None` before the first entry.
    #[must_use]
    pub fn checkpoint(&self) -> Option<LogPoint> {
        let (durable, rows) = {
            let state = self.state.lock();
            (Durable { point: state.applied?, membership: state.membership.clone() }, state.rows.clone())
        };
        let point = durable.point;
        *self.disk.checkpoint.lock() = Some((durable, rows));
        Some(point)
    }
}

impl StateMachine for KvMachine {
    fn durable(&self) -> Option<Durable> {
        self.disk.checkpoint.lock().as_ref().map(|(durable, _)| durable.clone())
    }

    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
        let delay = *self.apply_delay.lock();
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let mut state = self.state.lock();
        let mut answers = Vec::with_capacity(batch.len());
        for entry in batch {
            let expected = state.applied.map_or(0, |applied| applied.index + 1);
            if entry.point.index != expected {
                return Err(StateMachineError::new(format!("expected entry {expected}, got {}", entry.point)));
            }
            state.applied = Some(entry.point);
            if let Some(membership) = entry.membership {
                state.membership = membership;
            }
            let text = std::str::from_utf8(&entry.payload).map_err(StateMachineError::new)?;
            let former = text.split_once('=').and_then(|(key, value)| state.rows.insert(key.to_owned(), value.to_owned()));
            answers.push(former.unwrap_or_default().into());
            self.applied_count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(answers)
    }

    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError> {
        let checkpoint = self.disk.checkpoint.lock().clone();
        Ok(checkpoint.map(|(meta, rows)| Box::new(Source { meta, rows: rows.into_iter(), rest: Bytes::new() }) as Box<dyn SnapshotSource>))
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        Ok(Box::new(Sink { meta, bytes: Vec::new(), disk: Arc::clone(&self.disk), state: Arc::clone(&self.state) }))
    }
}

/// Bytes of one block at most; every row begins a new one, so that a snapshot of few rows has several.
const BLOCK_BYTES: usize = 512 << 10;

struct Source {
    meta: Durable,
    rows: std::collections::btree_map::IntoIter<String, String>,
    rest: Bytes,
}

impl SnapshotSource for Source {
    fn meta(&self) -> Durable {
        self.meta.clone()
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        if self.rest.is_empty() {
            let Some((key, value)) = self.rows.next() else { return Ok(None) };
            self.rest = format!("{key}={value}\n").into();
        }
        Ok(Some(self.rest.split_to(self.rest.len().min(BLOCK_BYTES))))
    }
}

struct Sink {
    meta: Durable,
    bytes: Vec<u8>,
    disk: Arc<Disk>,
    state: Arc<Mutex<State>>,
}

impl SnapshotSink for Sink {
    fn write(&mut self, block: Bytes) -> Result<(), StateMachineError> {
        self.bytes.extend_from_slice(&block);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError> {
        let text = std::str::from_utf8(&self.bytes).map_err(StateMachineError::new)?;
        let row = |line: &str| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        let rows = text.lines().map(row).collect::<Option<Rows>>().ok_or_else(|| StateMachineError::new("a row without a value"))?;
        Ok(Box::new(Complete { meta: self.meta, rows, disk: self.disk, state: self.state }))
    }
}

struct Complete {
    meta: Durable,
    rows: Rows,
    disk: Arc<Disk>,
    state: Arc<Mutex<State>>,
}

impl Staged for Complete {
    fn install(self: Box<Self>) -> Result<(), StateMachineError> {
        let mut state = self.state.lock();
        *self.disk.checkpoint.lock() = Some((self.meta.clone(), self.rows.clone()));
        *state = State { rows: self.rows, applied: Some(self.meta.point), membership: self.meta.membership };
        Ok(())
    }
}
