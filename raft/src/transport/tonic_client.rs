//! The transport of production: tonic over TCP, one connection a lane.

use super::gather::{Boxed, batches, frames};
use super::{Connection, Dialer, FRAMES_WAITING_MAX, Identity, Lane, Transport, in_time};
use crate::error::{HelloError, TransportError};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use model::{StoreId, limits};
use parking_lot::{Mutex, RwLock};
use proto::raft::frame::Body;
use proto::raft::raft_transport_client::RaftTransportClient;
use proto::raft::{Block, Frame, HibernateAnswer, HibernateRequest, ReadBarrierAnswer, ReadBarrierRequest, SnapshotAck};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

type Client = RaftTransportClient<Channel>;

/// Where a lane of a store is reached: a new address is a new connection.
type ChannelKey = (StoreId, Lane, String);

struct Inner {
    identity: Identity,
    dialer: Dialer,
    addresses: RwLock<HashMap<StoreId, String>>,
    channels: Mutex<HashMap<ChannelKey, Channel>>,
}

/// A [`Transport`] over tonic.
#[derive(Clone)]
pub struct TonicTransport {
    inner: Arc<Inner>,
}

impl fmt::Debug for TonicTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TonicTransport").field("store", &self.inner.identity.store()).finish_non_exhaustive()
    }
}

impl TonicTransport {
    /// Speaks as `identity`. Addresses come by [`Transport::set_peer`], as `host:port`.
    #[must_use]
    pub fn new(identity: Identity) -> Arc<Self> {
        Self::dialling(identity, Dialer::default())
    }

    /// The same over connections that `dialer` makes.
    #[must_use]
    pub fn dialling(identity: Identity, dialer: Dialer) -> Arc<Self> {
        let inner = Inner { identity, dialer, addresses: RwLock::default(), channels: Mutex::default() };
        Arc::new(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn client(&self, store: StoreId, lane: Lane) -> Result<Client, TransportError> {
        let address = self.addresses.read().get(&store).cloned().ok_or(TransportError::UnknownPeer(store))?;
        let mut channels = self.channels.lock();
        let key = (store, lane, address);
        let channel = match channels.get(&key) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.dialer.channel(&endpoint(&key.2).map_err(|error| unreachable(store, &error))?);
                channels.retain(|(known, of, _), _| (*known, *of) != (store, lane));
                channels.insert(key, channel.clone());
                channel
            }
        };
        Ok(Client::new(channel)
            .max_decoding_message_size(limits::RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::RPC_MESSAGE_BYTES_MAX))
    }
}

fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(3))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .http2_adaptive_window(false))
}

fn unreachable(store: StoreId, reason: &dyn fmt::Display) -> TransportError {
    TransportError::Unreachable { store, reason: reason.to_string() }
}

/// A refusal of the peer's hello check travels as `failed precondition`.
fn failed(store: StoreId, status: &tonic::Status) -> TransportError {
    match status.code() {
        tonic::Code::FailedPrecondition => TransportError::Rejected { store, reason: status.message().to_owned() },
        tonic::Code::DeadlineExceeded => TransportError::Timeout(store),
        _ => unreachable(store, status),
    }
}

async fn pipe(inner: Arc<Inner>, store: StoreId, lane: Lane) -> Result<Connection, TransportError> {
    let mut client = inner.client(store, lane)?;
    let (outgoing, queue) = mpsc::channel(FRAMES_WAITING_MAX);
    let hello = Frame { body: Some(Body::Hello(inner.identity.hello())), ..Frame::default() };
    outgoing.send(hello).await.map_err(|error| unreachable(store, &error))?;
    let opened = in_time(store, CONNECT_TIMEOUT, client.pipe(batches(queue))).await?;
    let mut answers = opened.map_err(|status| failed(store, &status))?.into_inner();
    let first = in_time(store, CONNECT_TIMEOUT, answers.message()).await?;
    let first = first.map_err(|status| failed(store, &status))?.unwrap_or_default();
    let mut rest = first.frames.into_iter();
    let Some(Frame { body: Some(Body::Hello(theirs)), .. }) = rest.next() else {
        return Err(TransportError::Hello { store, source: HelloError::Missing });
    };
    inner.identity.check(&theirs, Some(store)).map_err(|source| TransportError::Hello { store, source })?;
    Ok(Connection { outgoing, incoming: frames(rest.collect(), answers) })
}

impl Transport for TonicTransport {
    fn connect(&self, to: StoreId, lane: Lane) -> BoxFuture<'static, Result<Connection, TransportError>> {
        pipe(Arc::clone(&self.inner), to, lane).boxed()
    }

    fn send_snapshot(&self, to: StoreId, blocks: BoxStream<'static, Block>) -> BoxFuture<'static, Result<SnapshotAck, TransportError>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let answer = inner.client(to, Lane::Bulk)?.snapshot(Boxed(blocks)).await;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(to, &status))
        }
        .boxed()
    }

    fn read_barrier(
        &self,
        to: StoreId,
        request: ReadBarrierRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<ReadBarrierAnswer, TransportError>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let mut client = inner.client(to, Lane::Control)?;
            let mut request = tonic::Request::new(request);
            request.set_timeout(timeout);
            let answer = in_time(to, timeout, client.read_barrier(request)).await?;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(to, &status))
        }
        .boxed()
    }

    fn hibernate(
        &self,
        to: StoreId,
        request: HibernateRequest,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<HibernateAnswer, TransportError>> {
        let inner = Arc::clone(&self.inner);
        async move {
            let mut client = inner.client(to, Lane::Control)?;
            let mut request = tonic::Request::new(request);
            request.set_timeout(timeout);
            let answer = in_time(to, timeout, client.hibernate(request)).await?;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(to, &status))
        }
        .boxed()
    }

    fn set_peer(&self, store: StoreId, address: &str) {
        self.inner.addresses.write().insert(store, address.to_owned());
    }
}
