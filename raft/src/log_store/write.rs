//! The log writer: one thread that gathers what all groups want written into one synced batch, workspace by workspace in turn.

use super::engine::{LogEngine, LogOp};
use super::fair::{FairQueue, QUANTUM_BYTES_MIN};
use crate::config::FatalHandler;
use crate::error::FatalError;
use crate::metrics;
use model::clock::Clock;
use model::{ReplicaId, WorkspaceId};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A batch takes in waiting requests up to this size, and the rest of the round that reached it.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Bytes that may always wait for one workspace, however full the queue is.
const GUARANTEED_BYTES: usize = QUANTUM_BYTES_MIN;
/// Bytes one permit of the queue stands for.
const PERMIT_BYTES: usize = 1 << 10;

type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Request {
    ops: Vec<LogOp>,
    sync: bool,
    done: Option<Done>,
    /// Held until the request is written: bounds the queue.
    _room: Option<OwnedSemaphorePermit>,
}

impl Request {
    fn bytes(&self) -> usize {
        self.ops.iter().map(LogOp::bytes).sum()
    }
}

#[derive(Default)]
struct State {
    waiting: FairQueue<Request>,
    /// Whose turn a replica's requests share.
    workspaces: HashMap<ReplicaId, WorkspaceId>,
    closed: bool,
}

impl State {
    fn workspace(&self, replica: ReplicaId) -> WorkspaceId {
        // A replica that was never opened has nothing here that it could overtake.
        self.workspaces.get(&replica).cloned().unwrap_or_else(|| WorkspaceId::new(""))
    }
}

/// What the thread and those who write share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

impl Shared {
    fn push(&self, state: &mut State, replica: ReplicaId, request: Request) -> io::Result<()> {
        if state.closed {
            return Err(closed());
        }
        let workspace = state.workspace(replica);
        state.waiting.push(&workspace, request.bytes(), request);
        self.wake.notify_one();
        Ok(())
    }

    /// The next batch; `None` once closed and empty.
    fn next(&self) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
        Some(state.waiting.take(BATCH_BYTES_MAX))
    }
}

/// Handle of the writer thread.
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    permits_max: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("room", &self.room.available_permits()).finish_non_exhaustive()
    }
}

fn closed() -> io::Error {
    io::Error::other("the log writer is closed")
}

impl LogWriter {
    /// Starts the thread. `queue_bytes` may wait for it, and beside that [`GUARANTEED_BYTES`] and one request of every workspace.
    pub(crate) fn start(
        engine: Arc<dyn LogEngine>,
        queue_bytes: usize,
        fatal: FatalHandler,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let shared = Arc::<Shared>::default();
        let permits_max = (queue_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let thread = std::thread::Builder::new().name("raft-log".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || run(&*engine, &shared, &fatal, &*clock)
        })?;
        Ok(Arc::new(Self { shared, room: Arc::new(Semaphore::new(permits_max)), permits_max, thread: Mutex::new(Some(thread)) }))
    }

    /// From now on what this replica writes shares the turn of `workspace`. Call it before the replica writes anything: its requests
    /// keep their order only within one workspace.
    pub(crate) fn register(&self, replica: ReplicaId, workspace: &WorkspaceId) {
        self.shared.state.lock().workspaces.insert(replica, workspace.clone());
    }

    fn send(&self, replica: ReplicaId, request: Request) -> io::Result<()> {
        self.shared.push(&mut self.shared.state.lock(), replica, request)
    }

    /// Queues changes of one replica; `done` runs once they are durable, after the `done` of everything that the replica queued before.
    pub(crate) async fn append(&self, replica: ReplicaId, ops: Vec<LogOp>, done: Done) -> io::Result<()> {
        let bytes: usize = ops.iter().map(LogOp::bytes).sum();
        let request = |room| Request { ops, sync: true, done: Some(done), _room: room };
        {
            let mut state = self.shared.state.lock();
            let workspace = state.workspace(replica);
            // Past the common room, or another workspace's flood would hold this one up before it even has a turn.
            if state.waiting.bytes(&workspace) < GUARANTEED_BYTES {
                return self.shared.push(&mut state, replica, request(None));
            }
        }
        let permits = (bytes / PERMIT_BYTES + 1).min(self.permits_max);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| closed())?;
        self.send(replica, request(Some(room)))
    }

    /// Queues changes of one replica that need not be durable before a later append is.
    pub(crate) fn enqueue(&self, replica: ReplicaId, ops: Vec<LogOp>) -> io::Result<()> {
        self.send(replica, Request { ops, sync: false, done: None, _room: None })
    }

    /// Writes changes of one replica and returns when they are durable.
    pub(crate) async fn write_durably(&self, replica: ReplicaId, ops: Vec<LogOp>) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let done: Done = Box::new(move |result| drop(sender.send(result)));
        self.send(replica, Request { ops, sync: true, done: Some(done), _room: None })?;
        receiver.await.map_err(|_| closed())?
    }

    /// Removes everything of a replica, behind what it queued before, and returns when that is durable.
    pub(crate) async fn destroy(&self, replica: ReplicaId) -> io::Result<()> {
        self.write_durably(replica, vec![LogOp::Destroy { replica }]).await?;
        self.shared.state.lock().workspaces.remove(&replica);
        Ok(())
    }

    /// Writes what is queued and ends the thread.
    pub(crate) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_one();
        // The last handle may be dropped by a callback, on the thread itself, which ends by itself then.
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.close();
    }
}

fn run(engine: &dyn LogEngine, shared: &Shared, fatal: &FatalHandler, clock: &dyn Clock) {
    let mut failed: Option<(io::ErrorKind, String)> = None;
    while let Some(batch) = shared.next() {
        // After a failure nothing is known about the disk: no later write may pretend to be durable.
        let result = match &failed {
            Some((kind, text)) => Err(io::Error::new(*kind, text.clone())),
            None => write(engine, &batch, clock),
        };
        let outcome = result.as_ref().copied().map_err(|error| (error.kind(), error.to_string()));
        for request in batch {
            if let Some(done) = request.done {
                done(outcome.clone().map_err(|(kind, text)| io::Error::new(kind, text)));
            }
        }
        if let (Err(error), None) = (result, &failed) {
            failed = Some((error.kind(), error.to_string()));
            fatal.call(&FatalError::LogWrite(error));
        }
    }
}

fn write(engine: &dyn LogEngine, batch: &[Request], clock: &dyn Clock) -> io::Result<()> {
    let ops: Vec<LogOp> = batch.iter().flat_map(|request| request.ops.iter().cloned()).collect();
    let sync = batch.iter().any(|request| request.sync);
    let began = clock.monotonic();
    engine.write(&ops, sync)?;
    if sync {
        metrics::observe_fsync(clock.monotonic().saturating_sub(began));
    }
    Ok(())
}
