//! The transport of production: tonic over TCP, one connection a lane.

use super::{Connection, FRAMES_WAITING_MAX, Identity, Lane, Transport};
use crate::error::{HelloError, TransportError};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use model::{StoreId, limits};
use parking_lot::{Mutex, RwLock};
use proto::raft::frame::Body;
use proto::raft::raft_transport_client::RaftTransportClient;
use proto::raft::{Block, Frame, Frames, ReadBarrierAnswer, ReadBarrierRequest, SnapshotAck};
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

type Client = RaftTransportClient<Channel>;

/// Where a lane of a store is reached: a new address is a new connection.
type ChannelKey = (StoreId, Lane, String);

struct Inner {
    identity: Identity,
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
        let inner = Inner { identity, addresses: RwLock::default(), channels: Mutex::default() };
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
                let channel = endpoint(&key.2).map_err(|error| unreachable(store, &error))?.connect_lazy();
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

/// A boxed stream under a name: the compiler cannot see that a future which holds the bare box is `Send`.
pub(super) struct Boxed<T>(BoxStream<'static, T>);

impl<T> Stream for Boxed<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}

/// Gathers what waits into messages: large ones alone, small ones together.
pub(super) fn batches(frames: mpsc::Receiver<Frame>) -> Boxed<Frames> {
    let batches = futures::stream::unfold((frames, None), |(mut frames, held)| async move {
        let first: Frame = match held {
            Some(held) => held,
            None => frames.recv().await?,
        };
        let mut bytes = frame_bytes(&first);
        let mut batch = vec![first];
        let mut held = None;
        while let Ok(next) = frames.try_recv() {
            bytes += frame_bytes(&next);
            if bytes > super::MESSAGE_BYTES_TARGET {
                held = Some(next);
                break;
            }
            batch.push(next);
        }
        Some((Frames { frames: batch }, (frames, held)))
    });
    Boxed(batches.boxed())
}

fn frame_bytes(frame: &Frame) -> usize {
    prost::Message::encoded_len(frame)
}

async fn pipe(inner: Arc<Inner>, store: StoreId, lane: Lane) -> Result<Connection, TransportError> {
    let mut client = inner.client(store, lane)?;
    let (outgoing, queue) = mpsc::channel(FRAMES_WAITING_MAX);
    let hello = Frame { body: Some(Body::Hello(inner.identity.hello())), ..Frame::default() };
    outgoing.send(hello).await.map_err(|error| unreachable(store, &error))?;
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, client.pipe(batches(queue))).await;
    let mut answers = opened.map_err(|_| TransportError::Timeout(store))?.map_err(|status| failed(store, &status))?.into_inner();
    let first = tokio::time::timeout(CONNECT_TIMEOUT, answers.message()).await.map_err(|_| TransportError::Timeout(store))?;
    let first = first.map_err(|status| failed(store, &status))?.unwrap_or_default();
    let mut rest = first.frames.into_iter();
    let Some(Frame { body: Some(Body::Hello(theirs)), .. }) = rest.next() else {
        return Err(TransportError::Hello { store, source: HelloError::Missing });
    };
    inner.identity.check(&theirs, Some(store)).map_err(|source| TransportError::Hello { store, source })?;
    let (sender, incoming) = mpsc::channel(FRAMES_WAITING_MAX);
    tokio::spawn(async move {
        for frame in rest {
            if sender.send(frame).await.is_err() {
                return;
            }
        }
        while let Ok(Some(message)) = answers.message().await {
            for frame in message.frames {
                if sender.send(frame).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(Connection { outgoing, incoming })
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
            let answer = tokio::time::timeout(timeout, client.read_barrier(request)).await;
            let answer = answer.map_err(|_| TransportError::Timeout(to))?;
            answer.map(tonic::Response::into_inner).map_err(|status| failed(to, &status))
        }
        .boxed()
    }

    fn set_peer(&self, store: StoreId, address: &str) {
        self.inner.addresses.write().insert(store, address.to_owned());
    }
}
