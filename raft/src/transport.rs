//! One connection a peer and lane, shared by all groups.
//!
//! ```text
//! openraft ─ Peer ─┐                                            ┌─ group 1
//! openraft ─ Peer ─┼─ Mux: one Link a (store, lane) ─ frames ─> ┼─ Inbox ─ group 2
//! openraft ─ Peer ─┘                 <─ answers, by stream id ─ └─ …
//! ```
//!
//! Heartbeats of all groups to one peer wait up to ten milliseconds for each other and go in one message; so do their answers. Each is
//! delivered to its group, and answered by it alone. A heartbeat that a read waits for goes at once.
//!
//! Every connection begins with a [`Hello`](proto::raft::Hello) each way. Every frame names its target replica; an unknown or wrong one is rejected, never
//! answered for. A stream id names one exchange and is never used twice; answers to forgotten ones are dropped.

mod append;
pub(crate) mod convert;
mod dial;
pub(crate) mod gather;
mod hello;
mod inbox;
mod mux;
mod peer;
mod tonic_client;
mod tonic_server;

#[cfg(test)]
mod tests;

pub use dial::{Dialer, Wire};
pub use gather::Arrived;
pub use hello::{Identity, PROTOCOL_MAX, PROTOCOL_MIN};
pub use inbox::Inbox;
pub(crate) use mux::Mux;
pub(crate) use peer::PeerFactory;
pub use tonic_client::TonicTransport;
pub use tonic_server::{RaftService, server};

use crate::error::TransportError;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::StoreId;
use proto::raft::{Block, Frame, HibernateAnswer, HibernateRequest, ReadBarrierAnswer, ReadBarrierRequest, SnapshotAck};
use std::fmt;
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes of one message, beside one large entry.
pub const MESSAGE_BYTES_TARGET: usize = 1 << 20;
/// Frames that may wait for a connection.
pub(crate) const FRAMES_WAITING_MAX: usize = 1024;

/// Waits for a peer's answer, but not longer than `timeout`.
pub(crate) async fn in_time<T>(peer: StoreId, timeout: Duration, answer: impl Future<Output = T>) -> Result<T, TransportError> {
    tokio::time::timeout(timeout, answer).await.map_err(|_| TransportError::Timeout(peer))
}

/// Connections are separate so that bulk never stands in front of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, heartbeats, transfers of leadership, read barriers.
    Control,
    /// Entries.
    Log,
    /// Snapshots.
    Bulk,
}

/// An open, greeted connection: frames out, frames in. It ends when either side is dropped.
#[derive(Debug)]
pub struct Connection {
    /// To the peer, in order.
    pub outgoing: mpsc::Sender<Frame>,
    /// From the peer, in order.
    pub incoming: mpsc::Receiver<Arrived>,
}

/// Moves messages between stores. Implemented over tonic, and in memory for tests.
pub trait Transport: Send + Sync + fmt::Debug + 'static {
    /// Connects a lane to a store and exchanges hellos.
    fn connect(&self, to: StoreId, lane: Lane) -> BoxFuture<'static, Result<Connection, TransportError>>;

    /// Sends one snapshot, header first.
    fn send_snapshot(&self, to: StoreId, blocks: BoxStream<'static, Block>) -> BoxFuture<'static, Result<SnapshotAck, TransportError>>;

    /// Asks a store to confirm the groups it leads.
    fn read_barrier(
        &self,
        to: StoreId,
        request: ReadBarrierRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ReadBarrierAnswer, TransportError>>;

    /// Asks a store to stop the timers of idle groups.
    fn hibernate(
        &self,
        to: StoreId,
        request: HibernateRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<HibernateAnswer, TransportError>>;

    /// Tells where a store is reached from now on; a changed address closes nothing by itself.
    fn set_peer(&self, store: StoreId, address: &str);
}
