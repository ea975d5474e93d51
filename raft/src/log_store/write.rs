//! The log writer: one thread that gathers what all groups want written into one synced batch, workspace by workspace in turn.
//!
//! In a simulation it is a task that writes, waits as long as the simulated disk says, and syncs: a power cut between the two finds what a
//! real one would.

use super::engine::{LogEngine, LogOp};
use super::fair::{FairQueue, QUANTUM_BYTES_MIN};
use crate::config::FatalHandler;
use crate::error::FatalError;
use crate::metrics;
use model::clock::Clock;
use model::planted::{self, Bug};
use model::{ReplicaId, WorkspaceId};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

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

/// What wakes the writer.
enum Wake {
    Thread(Condvar),
    Task(Notify),
}

/// What the writer and those who write share.
struct Shared {
    state: Mutex<State>,
    wake: Wake,
}

impl Shared {
    fn push(&self, state: &mut State, replica: ReplicaId, request: Request) -> io::Result<()> {
        if state.closed {
            return Err(closed());
        }
        let workspace = state.workspace(replica);
        state.waiting.push(&workspace, request.bytes(), request);
        self.notify();
        Ok(())
    }

    fn notify(&self) {
        match &self.wake {
            Wake::Thread(wake) => drop(wake.notify_one()),
            Wake::Task(wake) => wake.notify_one(),
        }
    }

    /// The thread's next batch; `None` once closed and empty.
    fn wait(&self, wake: &Condvar) -> Option<Vec<Request>> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            wake.wait(&mut state);
        }
        Some(state.waiting.take(BATCH_BYTES_MAX))
    }

    /// The task's next batch; `None` once closed and empty.
    async fn next(&self, wake: &Notify) -> Option<Vec<Request>> {
        loop {
            {
                let mut state = self.state.lock();
                if !state.waiting.is_empty() {
                    return Some(state.waiting.take(BATCH_BYTES_MAX));
                }
                if state.closed {
                    return None;
                }
            }
            wake.notified().await;
        }
    }
}

/// What writes.
enum Running {
    Thread(JoinHandle<()>),
    Task(tokio::task::JoinHandle<()>),
}

/// Handle of the writer.
pub(crate) struct LogWriter {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    permits_max: usize,
    running: Mutex<Option<Running>>,
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
    /// Starts it. `queue_bytes` may wait for it, and beside that [`GUARANTEED_BYTES`] and one request of every workspace.
    pub(crate) fn start(
        engine: Arc<dyn LogEngine>,
        queue_bytes: usize,
        fatal: FatalHandler,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let inline = model::threads::are_inline();
        let wake = if inline { Wake::Task(Notify::new()) } else { Wake::Thread(Condvar::new()) };
        let shared = Arc::new(Shared { state: Mutex::default(), wake });
        let permits_max = (queue_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let disk = Disk { engine, fatal, clock, failed: None };
        let running = if inline {
            Running::Task(tokio::spawn(disk.run_task(Arc::clone(&shared))))
        } else {
            let shared = Arc::clone(&shared);
            #[allow(clippy::disallowed_methods, reason = "a thread that blocks, and none in a simulation")]
            Running::Thread(std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || disk.run_thread(&shared))?)
        };
        Ok(Arc::new(Self { shared, room: Arc::new(Semaphore::new(permits_max)), permits_max, running: Mutex::new(Some(running)) }))
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

    /// Takes nothing more, and returns when what was queued is written.
    pub(crate) async fn finish(self: &Arc<Self>) -> io::Result<()> {
        self.refuse();
        let running = self.running.lock().take();
        match running {
            Some(Running::Task(task)) => task.await.map_err(io::Error::other),
            Some(Running::Thread(thread)) => crate::blocking::blocking(move || drop(thread.join())).await,
            None => Ok(()),
        }
    }

    fn refuse(&self) {
        self.shared.state.lock().closed = true;
        self.shared.notify();
    }

    /// Takes nothing more and waits until the thread has written what was queued; a task goes on by itself.
    pub(crate) fn close(&self) {
        self.refuse();
        // The last handle may be dropped by a callback, on the thread itself, which ends by itself then.
        if let Some(Running::Thread(thread)) = self.running.lock().take()
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

/// The writer's end of the engine.
struct Disk {
    engine: Arc<dyn LogEngine>,
    fatal: FatalHandler,
    clock: Arc<dyn Clock>,
    /// After a failure nothing is known about the disk: no later write may pretend to be durable.
    failed: Option<(io::ErrorKind, String)>,
}

impl Disk {
    fn run_thread(mut self, shared: &Shared) {
        let Wake::Thread(wake) = &shared.wake else { return };
        while let Some(batch) = shared.wait(wake) {
            let sync = batch.iter().any(|request| request.sync);
            let result = self.write(&batch, sync);
            self.answer(batch, result);
        }
    }

    async fn run_task(mut self, shared: Arc<Shared>) {
        let Wake::Task(wake) = &shared.wake else { return };
        while let Some(batch) = shared.next(wake).await {
            let mut result = self.write(&batch, false);
            if planted::is(Bug::AckBeforeFsync) {
                self.answer(batch, result);
                tokio::time::sleep(self.engine.sync_pause()).await;
                let _ = self.write(&[], true);
                continue;
            }
            if result.is_ok() && batch.iter().any(|request| request.sync) {
                tokio::time::sleep(self.engine.sync_pause()).await;
                result = self.write(&[], true);
            }
            self.answer(batch, result);
        }
    }

    fn write(&self, batch: &[Request], sync: bool) -> io::Result<()> {
        if let Some((kind, text)) = &self.failed {
            return Err(io::Error::new(*kind, text.clone()));
        }
        let ops: Vec<LogOp> = batch.iter().flat_map(|request| request.ops.iter().cloned()).collect();
        let began = self.clock.monotonic();
        self.engine.write(&ops, sync)?;
        if sync {
            metrics::observe_fsync(self.clock.monotonic().saturating_sub(began));
        }
        Ok(())
    }

    fn answer(&mut self, batch: Vec<Request>, result: io::Result<()>) {
        let result = if planted::is(Bug::IgnoreWriteError) { Ok(()) } else { result };
        let outcome = result.as_ref().copied().map_err(|error| (error.kind(), error.to_string()));
        for request in batch {
            if let Some(done) = request.done {
                done(outcome.clone().map_err(|(kind, text)| io::Error::new(kind, text)));
            }
        }
        if let (Err(error), None) = (result, &self.failed) {
            self.failed = Some((error.kind(), error.to_string()));
            self.fatal.call(&FatalError::LogWrite(error));
        }
    }
}
