//! The log writer: one thread that gathers what all groups want written into one synced batch.

use super::engine::{LogEngine, LogOp};
use crate::config::FatalHandler;
use crate::error::FatalError;
use crate::metrics;
use model::clock::Clock;
use parking_lot::Mutex;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// A batch takes in waiting requests up to this size.
const BATCH_BYTES_MAX: usize = 4 << 20;
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

/// Handle of the writer thread.
pub(crate) struct LogWriter {
    // `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
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
    /// Starts the thread. `queue_bytes` may wait for it.
    pub(crate) fn start(
        engine: Arc<dyn LogEngine>,
        queue_bytes: usize,
        fatal: FatalHandler,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Arc<Self>> {
        let (queue, requests) = mpsc::channel();
        let permits_max = (queue_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        let thread = std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || run(&*engine, &requests, &fatal, &*clock))?;
        Ok(Arc::new(Self {
            queue: Mutex::new(Some(queue)),
            room: Arc::new(Semaphore::new(permits_max)),
            permits_max,
            thread: Mutex::new(Some(thread)),
        }))
    }

    fn send(&self, request: Request) -> io::Result<()> {
        match &*self.queue.lock() {
            Some(queue) => queue.send(request).map_err(|_| closed()),
            None => Err(closed()),
        }
    }

    /// Queues changes; `done` runs once they are durable, after the `done` of everything queued before.
    pub(crate) async fn append(&self, ops: Vec<LogOp>, done: Done) -> io::Result<()> {
        let bytes: usize = ops.iter().map(LogOp::bytes).sum();
        let permits = (bytes / PERMIT_BYTES + 1).min(self.permits_max);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| closed())?;
        self.send(Request { ops, sync: true, done: Some(done), _room: Some(room) })
    }

    /// Queues changes that need not be durable before a later append is.
    pub(crate) fn enqueue(&self, ops: Vec<LogOp>) -> io::Result<()> {
        self.send(Request { ops, sync: false, done: None, _room: None })
    }

    /// Writes changes and returns when they are durable.
    pub(crate) async fn write_durably(&self, ops: Vec<LogOp>) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let done: Done = Box::new(move |result| drop(sender.send(result)));
        self.send(Request { ops, sync: true, done: Some(done), _room: None })?;
        receiver.await.map_err(|_| closed())?
    }

    /// Writes what is queued and ends the thread.
    pub(crate) fn close(&self) {
        self.queue.lock().take();
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

fn run(engine: &dyn LogEngine, requests: &mpsc::Receiver<Request>, fatal: &FatalHandler, clock: &dyn Clock) {
    let mut failed: Option<(io::ErrorKind, String)> = None;
    while let Ok(first) = requests.recv() {
        let batch = gather(first, requests);
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

fn gather(first: Request, requests: &mpsc::Receiver<Request>) -> Vec<Request> {
    let bytes_of = |request: &Request| request.ops.iter().map(LogOp::bytes).sum::<usize>();
    let mut bytes = bytes_of(&first);
    let mut batch = vec![first];
    while bytes < BATCH_BYTES_MAX {
        let Ok(next) = requests.try_recv() else { break };
        bytes += bytes_of(&next);
        batch.push(next);
    }
    batch
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
