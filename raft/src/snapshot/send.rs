//! The sending side: reads the checkpoint on a thread that may block, at a bounded rate.

use super::SNAPSHOT_BLOCK_BYTES_MAX;
use crate::blocking::blocking;
use crate::error::TransportError;
use crate::state_machine::SnapshotSource;
use crate::transport::{Transport, convert};
use crate::types::{SnapshotMeta, Vote};
use bytes::Bytes;
use futures::{StreamExt, stream};
use model::planted::{self, Bug};
use model::{ReplicaId, StoreId};
use proto::raft::{Block, Hello, SnapshotHeader, SnapshotTrailer, block::Body, snapshot_ack};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// Snapshots one node sends at a time.
const SENDS_MAX: usize = 2;
/// Blocks read ahead of the network.
const BLOCKS_AHEAD: usize = 2;

/// Bounds what a node sends.
#[derive(Debug)]
pub(crate) struct Senders {
    room: Semaphore,
    bytes_per_second: u64,
}

impl Senders {
    pub(crate) fn new(bytes_per_second: u64) -> Arc<Self> {
        Arc::new(Self { room: Semaphore::new(SENDS_MAX), bytes_per_second: bytes_per_second.max(1) })
    }
}

/// One snapshot to be sent.
pub(crate) struct Send {
    pub(crate) hello: Hello,
    pub(crate) ids: (ReplicaId, ReplicaId),
    pub(crate) store: StoreId,
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    pub(crate) source: Box<dyn SnapshotSource>,
}

/// Sends a snapshot and returns the receiver's vote once it is installed there, or refused for a higher vote.
pub(crate) async fn send(senders: &Senders, transport: &Arc<dyn Transport>, request: Send) -> Result<Vote, TransportError> {
    let store = request.store;
    let unreachable = |reason: String| TransportError::Unreachable { store, reason };
    let _room = senders.room.acquire().await.map_err(|_| unreachable("closed".to_owned()))?;
    let header = SnapshotHeader {
        hello: Some(request.hello),
        to_replica: request.ids.1.0,
        from_replica: request.ids.0.0,
        vote: Some(convert::vote_to_proto(&request.vote)),
        last: request.meta.last_log_id.map(convert::log_id_to_proto),
        membership: Some(convert::stored_membership_to_proto(&request.meta.last_membership)),
    };
    let (blocks, queue) = mpsc::channel(BLOCKS_AHEAD);
    let reading = read_blocks(request.source, blocks);
    let bytes_per_second = senders.bytes_per_second;
    let paced = ReceiverStream::new(queue).then(move |block: Block| async move {
        if let Some(Body::Data(data)) = &block.body {
            let micros = u64::try_from(data.len()).unwrap_or(u64::MAX).saturating_mul(1_000_000) / bytes_per_second;
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
        block
    });
    let header = stream::iter([Block { body: Some(Body::Header(header)), crc32c: 0 }]);
    // A receiver that has gone away drops the queue, which ends the reading.
    let (ack, read) = tokio::join!(transport.send_snapshot(store, header.chain(paced).boxed()), reading);
    // The source's own failure explains more than the receiver's complaint about a missing trailer.
    read.map_err(unreachable)?;
    match ack?.result {
        Some(snapshot_ack::Result::Vote(vote)) => convert::vote_from_proto(Some(&vote)).map_err(|error| unreachable(error.to_string())),
        Some(snapshot_ack::Result::Rejected(reason)) => Err(TransportError::Rejected { store, reason }),
        None => Err(unreachable("empty answer".to_owned())),
    }
}

/// Reads until the end, a failure, or the receiver's going away.
async fn read_blocks(mut source: Box<dyn SnapshotSource>, blocks: mpsc::Sender<Block>) -> Result<(), String> {
    let mut trailer = SnapshotTrailer::default();
    loop {
        let read = blocking(move || source.next_block().map(|data| (data, source))).await;
        let (data, rest): (Option<Bytes>, _) = read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        source = rest;
        let Some(data) = data else { break };
        if planted::is(Bug::SnapshotDropsBlock) && trailer.blocks == 1 {
            trailer.blocks += 1;
            continue;
        }
        if data.len() > SNAPSHOT_BLOCK_BYTES_MAX {
            return Err(format!("block of {} bytes exceeds {SNAPSHOT_BLOCK_BYTES_MAX}", data.len()));
        }
        trailer.blocks += 1;
        trailer.bytes += data.len() as u64;
        trailer.crc32c = crc32c::crc32c_append(trailer.crc32c, &data);
        let crc32c = crc32c::crc32c(&data);
        if blocks.send(Block { body: Some(Body::Data(data)), crc32c }).await.is_err() {
            return Ok(());
        }
    }
    if planted::is(Bug::SnapshotDropsBlock) && trailer.blocks > 1 {
        trailer.blocks -= 1;
    }
    // A receiver that has gone away has said why.
    let _ = blocks.send(Block { body: Some(Body::Trailer(trailer)), crc32c: 0 }).await;
    Ok(())
}
