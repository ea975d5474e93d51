//! The sending side: one link a (store, lane), many exchanges on it.

use super::gather::{Arrived, PATIENCE_MAX};
use super::{Connection, Lane, Transport};
use crate::error::TransportError;
use model::{ReplicaId, StoreId};
use parking_lot::Mutex;
use proto::raft::{Frame, frame::Body};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Bytes of unanswered appends that one peer may have.
const PEER_UNACKED_BYTES_MAX: usize = 64 << 20;
/// Answers that may wait for one exchange; requests beyond the peer's own pipeline never happen.
const ANSWERS_WAITING_MAX: usize = 1024;

type Exchanges = Arc<Mutex<HashMap<u64, mpsc::Sender<Body>>>>;

/// Bytes in flight to one peer, over all groups.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: AtomicUsize,
    freed: Notify,
}

impl Window {
    /// Waits for room, then takes `bytes`. A single large request passes when nothing else is in flight.
    pub(super) async fn take(self: &Arc<Self>, bytes: usize) -> Taken {
        loop {
            let freed = self.freed.notified();
            let taken = self.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
                (used == 0 || used + bytes <= PEER_UNACKED_BYTES_MAX).then_some(used + bytes)
            });
            if taken.is_ok() {
                return Taken { window: Arc::clone(self), bytes };
            }
            freed.await;
        }
    }
}

/// Bytes taken from a window, given back when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    window: Arc<Window>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.window.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.window.freed.notify_waiters();
    }
}

/// One connection and the exchanges that wait for answers on it.
#[derive(Clone, Debug)]
struct Link {
    outgoing: mpsc::Sender<Frame>,
    exchanges: Exchanges,
    /// Cleared before the exchanges are, when the connection breaks.
    alive: Arc<AtomicBool>,
}

impl Link {
    fn is_usable(&self) -> bool {
        self.alive.load(Ordering::Acquire) && !self.outgoing.is_closed()
    }
}

/// Where a lane's connection is, or is being made: who comes meanwhile waits for it.
type Slot = Arc<tokio::sync::Mutex<Option<Link>>>;

/// Connects lanes when they are needed and shares them.
pub(crate) struct Mux {
    transport: Arc<dyn Transport>,
    links: Mutex<HashMap<(StoreId, Lane), Slot>>,
    windows: Mutex<HashMap<StoreId, Arc<Window>>>,
    next_stream: AtomicU64,
}

impl fmt::Debug for Mux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mux").field("transport", &self.transport).finish_non_exhaustive()
    }
}

/// The requests of one ordered exchange with one replica.
#[derive(Debug)]
pub(super) struct Requests {
    store: StoreId,
    ids: (ReplicaId, ReplicaId),
    stream: u64,
    sequence: u64,
    /// How long a request may wait for those of other groups.
    patience: Duration,
    link: Link,
}

/// The answers of one exchange, in the order of its requests. Dropping it tells the peer to forget the exchange.
#[derive(Debug)]
pub(super) struct Answers {
    store: StoreId,
    to_replica: ReplicaId,
    stream: u64,
    link: Link,
    answers: mpsc::Receiver<Body>,
}

impl Mux {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { transport, links: Mutex::default(), windows: Mutex::default(), next_stream: AtomicU64::new(1) })
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    pub(super) fn window(&self, store: StoreId) -> Arc<Window> {
        Arc::clone(self.windows.lock().entry(store).or_default())
    }

    /// Opens an exchange from our replica to theirs.
    pub(super) async fn open(
        &self,
        store: StoreId,
        lane: Lane,
        ids: (ReplicaId, ReplicaId),
    ) -> Result<(Requests, Answers), TransportError> {
        let slot = Arc::clone(self.links.lock().entry((store, lane)).or_default());
        let mut slot = slot.lock().await;
        let link = match &*slot {
            Some(link) if link.is_usable() => link.clone(),
            _ => {
                let link = start(self.transport.connect(store, lane).await?);
                *slot = Some(link.clone());
                link
            }
        };
        drop(slot);
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        link.exchanges.lock().insert(stream, sender);
        if !link.is_usable() {
            link.exchanges.lock().remove(&stream);
            return Err(broken(store));
        }
        let answers = Answers { store, to_replica: ids.1, stream, link: link.clone(), answers };
        Ok((Requests { store, ids, stream, sequence: 0, patience: Duration::ZERO, link }, answers))
    }
}

/// Runs the receiving end of a connection: answers go to their exchanges; when it breaks, all of them end.
fn start(connection: Connection) -> Link {
    let Connection { outgoing, mut incoming } = connection;
    let exchanges = Exchanges::default();
    let alive = Arc::new(AtomicBool::new(true));
    let link = Link { outgoing, exchanges: Arc::clone(&exchanges), alive: Arc::clone(&alive) };
    tokio::spawn(async move {
        while let Some(Arrived { frame, .. }) = incoming.recv().await {
            let exchange = exchanges.lock().get(&frame.stream).cloned();
            // An exchange that was given up is unknown: its late answers fall away here.
            if let (Some(exchange), Some(body)) = (exchange, frame.body)
                && exchange.try_send(body).is_err()
            {
                exchanges.lock().remove(&frame.stream);
            }
        }
        alive.store(false, Ordering::Release);
        exchanges.lock().clear();
    });
    link
}

fn as_millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn broken(store: StoreId) -> TransportError {
    TransportError::Unreachable { store, reason: "connection broke".to_owned() }
}

impl Requests {
    /// Lets every request wait this long for those of other groups to the same peer.
    pub(super) fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sends one request.
    pub(super) async fn send(&mut self, body: Body, deadline: Instant) -> Result<(), TransportError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let frame = Frame {
            from_replica: self.ids.0.0,
            to_replica: self.ids.1.0,
            stream: self.stream,
            sequence: self.sequence,
            // Zero would say that there is none.
            deadline_ms: as_millis(left).max(1),
            patience_ms: as_millis(self.patience),
            body: Some(body),
        };
        self.sequence += 1;
        match tokio::time::timeout_at(deadline, self.link.outgoing.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(broken(self.store)),
            Err(_) => Err(TransportError::Timeout(self.store)),
        }
    }
}

impl Answers {
    pub(super) async fn next(&mut self, deadline: Instant) -> Result<Body, TransportError> {
        let store = self.store;
        match tokio::time::timeout_at(deadline, self.answers.recv()).await {
            Err(_) => Err(TransportError::Timeout(store)),
            Ok(None) => Err(broken(store)),
            Ok(Some(Body::Rejected(reason))) => Err(TransportError::Rejected { store, reason }),
            Ok(Some(body)) => Ok(body),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if self.link.exchanges.lock().remove(&self.stream).is_some() {
            let closed = Frame {
                to_replica: self.to_replica.0,
                stream: self.stream,
                patience_ms: as_millis(PATIENCE_MAX),
                body: Some(Body::Closed(true)),
                ..Frame::default()
            };
            // If the queue is full the peer forgets with the connection.
            let _ = self.link.outgoing.try_send(closed);
        }
    }
}
