//! The state machine of the simulated groups: the list of everything that was applied, and a hash chained over it. A read is a length and
//! the hash at that length, so that all readers can be compared.

use crate::interposed::mix;
use crate::watch::{Event, Watch};
use bytes::Bytes;
use model::{LogPoint, ReplicaId};
use parking_lot::Mutex;
use raft::{AppliedEntry, Durable, SnapshotSink, SnapshotSource, Staged, StateMachine, StateMachineError};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Operations in one block of a snapshot.
const BLOCK_OPS: usize = 64;

/// Everything applied so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Operations in order.
    pub ops: Vec<u64>,
    /// Chained over them.
    pub chain: u64,
}

impl Contents {
    /// Adds an operation; returns its position.
    pub fn push(&mut self, op: u64) -> u64 {
        self.ops.push(op);
        self.chain = mix(self.chain ^ op);
        self.ops.len() as u64 - 1
    }
}

/// What a power cut leaves of one replica's state: the newest synced checkpoint.
#[derive(Debug, Default)]
pub struct StateDisk {
    checkpoint: Mutex<Option<(Durable, Contents)>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    contents: Contents,
    applied: Option<LogPoint>,
    membership: Bytes,
}

/// A state frozen for a checkpoint.
#[derive(Debug)]
pub struct Frozen {
    durable: Durable,
    contents: Contents,
}

/// One replica's state.
#[derive(Clone, Debug)]
pub struct ListMachine {
    replica: ReplicaId,
    watch: Watch,
    disk: Arc<StateDisk>,
    state: Arc<Mutex<State>>,
}

/// The operation that a payload carries.
#[must_use]
pub fn op_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

impl ListMachine {
    /// Starts from what the disk holds.
    #[must_use]
    pub fn open(replica: ReplicaId, disk: &Arc<StateDisk>, watch: Watch) -> Arc<Self> {
        let state = match &*disk.checkpoint.lock() {
            Some((durable, contents)) => {
                State { contents: contents.clone(), applied: Some(durable.point), membership: durable.membership.clone() }
            }
            None => State::default(),
        };
        watch.see(&Event::Opened { replica, durable: state.applied });
        Arc::new(Self { replica, watch, disk: Arc::clone(disk), state: Arc::new(Mutex::new(state)) })
    }

    /// What is applied now: how many operations, and the hash over them.
    #[must_use]
    pub fn read(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.contents.ops.len() as u64, state.contents.chain)
    }

    /// All that is applied now.
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.state.lock().contents.clone()
    }

    /// Freezes the present state; `None` before the first entry.
    #[must_use]
    pub fn freeze(&self) -> Option<Frozen> {
        let state = self.state.lock();
        let durable = Durable { point: state.applied?, membership: state.membership.clone() };
        Some(Frozen { durable, contents: state.contents.clone() })
    }

    /// The frozen state is synced from now on; returns its point. `None` if a newer one is there.
    #[must_use]
    pub fn sync(&self, frozen: Frozen) -> Option<LogPoint> {
        let point = frozen.durable.point;
        let mut checkpoint = self.disk.checkpoint.lock();
        if checkpoint.as_ref().is_some_and(|(durable, _)| durable.point.index >= point.index) {
            return None;
        }
        *checkpoint = Some((frozen.durable, frozen.contents));
        drop(checkpoint);
        self.watch.see(&Event::Checkpointed { replica: self.replica, point });
        Some(point)
    }
}

impl StateMachine for ListMachine {
    fn durable(&self) -> Option<Durable> {
        self.disk.checkpoint.lock().as_ref().map(|(durable, _)| durable.clone())
    }

    fn apply(&self, batch: Vec<AppliedEntry>) -> Result<Vec<Bytes>, StateMachineError> {
        let mut answers = Vec::with_capacity(batch.len());
        for entry in batch {
            let hash = if entry.payload.is_empty() { 0 } else { xxh3_64(&entry.payload) | 1 };
            self.watch.see(&Event::Applied { replica: self.replica, point: entry.point, hash });
            let mut state = self.state.lock();
            state.applied = Some(entry.point);
            if let Some(membership) = entry.membership {
                state.membership = membership;
            }
            let position = op_of(&entry.payload).map(|op| state.contents.push(op));
            answers.push(position.map(|position| Bytes::copy_from_slice(&position.to_le_bytes())).unwrap_or_default());
        }
        Ok(answers)
    }

    fn snapshot(&self) -> Result<Option<Box<dyn SnapshotSource>>, StateMachineError> {
        let checkpoint = self.disk.checkpoint.lock().clone();
        Ok(checkpoint.map(|(meta, contents)| Box::new(Source { meta, contents, sent: 0 }) as Box<dyn SnapshotSource>))
    }

    fn stage(&self, meta: Durable) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        Ok(Box::new(Incoming { meta, contents: Contents::default(), machine: self.clone() }))
    }
}

struct Source {
    meta: Durable,
    contents: Contents,
    sent: usize,
}

impl SnapshotSource for Source {
    fn meta(&self) -> Durable {
        self.meta.clone()
    }

    fn next_block(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        let rest = &self.contents.ops[self.sent..];
        let block = &rest[..rest.len().min(BLOCK_OPS)];
        self.sent += block.len();
        let bytes: Vec<u8> = block.iter().flat_map(|op| op.to_le_bytes()).collect();
        Ok((!bytes.is_empty()).then(|| bytes.into()))
    }
}

struct Incoming {
    meta: Durable,
    contents: Contents,
    machine: ListMachine,
}

impl SnapshotSink for Incoming {
    fn write(&mut self, block: Bytes) -> Result<(), StateMachineError> {
        for op in block.chunks(8) {
            let op = op_of(op).ok_or_else(|| StateMachineError::new("a block of half operations"))?;
            self.contents.push(op);
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Staged>, StateMachineError> {
        Ok(self)
    }
}

impl Staged for Incoming {
    fn install(self: Box<Self>) -> Result<(), StateMachineError> {
        let Self { meta, contents, machine } = *self;
        let point = meta.point;
        machine.watch.see(&Event::Installed { replica: machine.replica, point });
        *machine.disk.checkpoint.lock() = Some((meta.clone(), contents.clone()));
        *machine.state.lock() = State { contents, applied: Some(point), membership: meta.membership };
        Ok(())
    }
}
