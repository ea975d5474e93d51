//! A network in memory: every store's inbox under its id, each direction between two stores can be cut or slowed.

use crate::error::{HelloError, TransportError};
use crate::transport::gather::{batches, frames};
use crate::transport::{Arrived, Connection, FRAMES_WAITING_MAX, Identity, Inbox, Lane, Transport, in_time};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use model::StoreId;
use parking_lot::Mutex;
use proto::raft::{Block, Frame, Frames, HibernateAnswer, HibernateRequest, ReadBarrierAnswer, ReadBarrierRequest, SnapshotAck};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// What went over one direction of a wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Messages, each of one or more frames.
    pub messages: u64,
    /// Frames.
    pub frames: u64,
}

#[derive(Debug, Default)]
struct State {
    inboxes: HashMap<StoreId, Inbox>,
    /// Changes whenever a store is plugged in or pulled: connections of its former self break.
    plugs: HashMap<StoreId, u64>,
    cuts: HashSet<(StoreId, StoreId)>,
    carried: HashMap<(StoreId, StoreId), Carried>,
    delay: Duration,
    snapshot_block_delay: Duration,
}

/// The wire between all stores of a test.
#[derive(Debug, Default)]
pub struct MemoryNetwork {
    state: Mutex<State>,
    /// Read barrier requests delivered so far.
    barriers: AtomicU64,
    /// Snapshots begun so far.
    snapshots: AtomicU64,
}

impl MemoryNetwork {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Plugs a store in; replaces its former self.
    pub fn attach(&self, store: StoreId, inbox: Inbox) {
        let mut state = self.state.lock();
        state.inboxes.insert(store, inbox);
        *state.plugs.entry(store).or_default() += 1;
    }

    /// Pulls a store's plug.
    pub fn detach(&self, store: StoreId) {
        let mut state = self.state.lock();
        state.inboxes.remove(&store);
        *state.plugs.entry(store).or_default() += 1;
    }

    /// Drops everything from `from` to `to`.
    pub fn cut(&self, from: StoreId, to: StoreId) {
        self.state.lock().cuts.insert((from, to));
    }

    /// Cuts both directions between `store` and everyone else.
    pub fn isolate(&self, store: StoreId, others: &[StoreId]) {
        for other in others.iter().filter(|other| **other != store) {
            self.cut(store, *other);
            self.cut(*other, store);
        }
    }

    /// Mends every cut.
    pub fn heal(&self) {
        self.state.lock().cuts.clear();
    }

    /// Every message takes this long.
    pub fn set_delay(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// Every block of a snapshot takes this long.
    pub fn set_snapshot_block_delay(&self, delay: Duration) {
        self.state.lock().snapshot_block_delay = delay;
    }

    /// Read barrier requests delivered so far.
    #[must_use]
    pub fn barrier_count(&self) -> u64 {
        self.barriers.load(Ordering::Relaxed)
    }

    /// Snapshots begun so far.
    #[must_use]
    pub fn snapshot_count(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// The end of the wire that `identity`'s store sends from.
    #[must_use]
    pub fn transport(self: &Arc<Self>, identity: Identity) -> Arc<MemoryTransport> {
        Arc::new(MemoryTransport { identity, network: Arc::clone(self) })
    }

    fn plugs(&self, from: StoreId, to: StoreId) -> (Option<u64>, Option<u64>) {
        let state = self.state.lock();
        (state.plugs.get(&from).copied(), state.plugs.get(&to).copied())
    }

    fn is_cut(&self, from: StoreId, to: StoreId) -> bool {
        self.state.lock().cuts.contains(&(from, to))
    }

    fn inbox(&self, from: StoreId, to: StoreId) -> Result<Inbox, TransportError> {
        let state = self.state.lock();
        if state.cuts.contains(&(from, to)) || state.cuts.contains(&(to, from)) {
            return Err(TransportError::Unreachable { store: to, reason: "cut".to_owned() });
        }
        state.inboxes.get(&to).cloned().ok_or(TransportError::UnknownPeer(to))
    }

    /// Moves messages one way, in order; a cut swallows them.
    fn carry(self: &Arc<Self>, from: StoreId, to: StoreId) -> (mpsc::Sender<Frame>, mpsc::Receiver<Arrived>) {
        let (sender, queue) = mpsc::channel(FRAMES_WAITING_MAX);
        let (network, plugs) = (Arc::clone(self), self.plugs(from, to));
        let messages = batches(queue).then(move |message| {
            let network = Arc::clone(&network);
            async move {
                let delay = network.state.lock().delay;
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if network.plugs(from, to) != plugs {
                    return Err("unplugged");
                }
                if network.is_cut(from, to) {
                    return Ok(Frames::default());
                }
                network.count(from, to, message.frames.len());
                Ok(message)
            }
        });
        (sender, frames(Vec::new(), messages.boxed()))
    }

    fn count(&self, from: StoreId, to: StoreId, frames: usize) {
        let mut state = self.state.lock();
        let carried = state.carried.entry((from, to)).or_default();
        carried.messages += 1;
        carried.frames += frames as u64;
    }

    /// What arrived at `to` from `from` so far.
    #[must_use]
    pub fn carried(&self, from: StoreId, to: StoreId) -> Carried {
        self.state.lock().carried.get(&(from, to)).copied().unwrap_or_default()
    }
}

/// One store's end of a [`MemoryNetwork`].
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    identity: Identity,
    network: Arc<MemoryNetwork>,
}

impl Transport for MemoryTransport {
    fn connect(&self, to: StoreId, _lane: Lane) -> BoxFuture<'static, Result<Connection, TransportError>> {
        let (network, identity) = (Arc::clone(&self.network), self.identity.clone());
        async move {
            let from = identity.store();
            let inbox = network.inbox(from, to)?;
            let refuse = |source: HelloError| TransportError::Hello { store: to, source };
            inbox.identity().check(&identity.hello(), None).map_err(refuse)?;
            identity.check(&inbox.identity().hello(), Some(to)).map_err(refuse)?;
            let (outgoing, arriving) = network.carry(from, to);
            let (answers, incoming) = network.carry(to, from);
            tokio::spawn(async move { inbox.serve(Connection { outgoing: answers, incoming: arriving }).await });
            Ok(Connection { outgoing, incoming })
        }
        .boxed()
    }

    fn send_snapshot(&self, to: StoreId, blocks: BoxStream<'static, Block>) -> BoxFuture<'static, Result<SnapshotAck, TransportError>> {
        let (network, from) = (Arc::clone(&self.network), self.identity.store());
        async move {
            let inbox = network.inbox(from, to)?;
            network.snapshots.fetch_add(1, Ordering::Relaxed);
            let wire = Arc::clone(&network);
            let slowed = blocks.then(move |block| {
                let wire = Arc::clone(&wire);
                async move {
                    let delay = wire.state.lock().snapshot_block_delay;
                    tokio::time::sleep(delay).await;
                    if wire.is_cut(from, to) { Err("cut".to_owned()) } else { Ok(block) }
                }
            });
            Ok(inbox.receive_snapshot(slowed.boxed()).await)
        }
        .boxed()
    }

    fn read_barrier(
        &self,
        to: StoreId,
        request: ReadBarrierRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ReadBarrierAnswer, TransportError>> {
        let (network, from) = (Arc::clone(&self.network), self.identity.store());
        async move {
            let inbox = network.inbox(from, to)?;
            network.barriers.fetch_add(1, Ordering::Relaxed);
            in_time(to, timeout, inbox.read_barrier(&request)).await
        }
        .boxed()
    }

    fn hibernate(
        &self,
        to: StoreId,
        request: HibernateRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<HibernateAnswer, TransportError>> {
        let (network, from) = (Arc::clone(&self.network), self.identity.store());
        in_time(to, timeout, async move { network.inbox(from, to).map(|inbox| inbox.hibernate(&request)) })
            .map(|answer| answer.and_then(|answer| answer))
            .boxed()
    }

    fn set_peer(&self, _store: StoreId, _address: &str) {}
}
