//! Pipelined appends of one group to one replica.
//!
//! The leader's queue of requests has no bound of its own: how fast this pulls is the back pressure. A slow follower parks only its own
//! replication task.

use super::convert;
use super::mux::{Answers, Requests, Taken, Window};
use crate::error::TransportError;
use crate::types::{Payload, TypeConfig};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use openraft::errors::{RPCError, Unreachable};
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use proto::raft::frame::Body;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Bytes of unanswered appends that one group may have towards one replica.
const GROUP_UNACKED_BYTES_MAX: u32 = 8 << 20;
/// Unanswered appends that one group may have towards one replica; the receiver keeps as much room.
pub(super) const UNACKED_MAX: usize = 64;
/// Silence after which a stream that waits for an answer is given up.
const IDLE: Duration = Duration::from_secs(2);

pub(super) type AppendResult = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// A request on its way, with the room it takes.
struct Sent {
    _group: OwnedSemaphorePermit,
    _peer: Taken,
}

struct Receiver {
    answers: Answers,
    in_flight: mpsc::Receiver<Result<Sent, TransportError>>,
    sender: AbortHandle,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.sender.abort();
    }
}

fn request_bytes(request: &AppendEntriesRequest<TypeConfig>) -> usize {
    let payload = |entry: &crate::types::Entry| match &entry.payload {
        Payload::Normal(blob) => blob.0.len() + 64,
        Payload::Blank | Payload::Membership(_) => 64,
    };
    64 + request.entries.iter().map(payload).sum::<usize>()
}

pub(super) fn unreachable(error: &TransportError) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(error))
}

/// Sends `input` over the exchange and yields the answers in order; ends at the first error.
pub(super) fn run<S>((requests, answers): (Requests, Answers), window: Arc<Window>, input: S) -> BoxStream<'static, AppendResult>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
{
    let (sent, in_flight) = mpsc::channel(UNACKED_MAX);
    let sender = tokio::spawn(send_all(requests, window, input, sent)).abort_handle();
    let receiver = Receiver { answers, in_flight, sender };
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        let answer = match receiver.in_flight.recv().await? {
            Ok(_sent) => receiver.answers.next(Instant::now() + IDLE).await,
            Err(error) => Err(error),
        };
        let result = match answer {
            Ok(Body::AppendAnswer(answer)) => {
                convert::append_answer_from_proto(&answer).map_err(|error| RPCError::Unreachable(Unreachable::from_string(error)))
            }
            Ok(_) => Err(RPCError::Unreachable(Unreachable::from_string("answer of another kind"))),
            Err(error) => Err(unreachable(&error)),
        };
        let goes_on = matches!(result, Ok(Ok(_)));
        Some((result, goes_on.then_some(receiver)))
    })
    .boxed()
}

async fn send_all<S>(mut requests: Requests, window: Arc<Window>, mut input: S, sent: mpsc::Sender<Result<Sent, TransportError>>)
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin,
{
    let room = Arc::new(Semaphore::new(GROUP_UNACKED_BYTES_MAX as usize));
    while let Some(request) = input.next().await {
        let bytes = request_bytes(&request);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).min(GROUP_UNACKED_BYTES_MAX);
        let Ok(group) = Arc::clone(&room).acquire_many_owned(permits).await else { return };
        let peer = window.take(bytes).await;
        // The place in the queue first: never more requests on the wire than the receiver has room for.
        let Ok(place) = sent.reserve().await else { return };
        match requests.send(Body::Append(convert::append_to_proto(&request)), Instant::now() + IDLE).await {
            Ok(()) => place.send(Ok(Sent { _group: group, _peer: peer })),
            Err(error) => {
                place.send(Err(error));
                return;
            }
        }
    }
}
