//! The receiving side: checks every block, stages beside the present state, and lets openraft flip.

use crate::error::StateMachineError;
use crate::group::Group;
use crate::groups::Registry;
use crate::state_machine::{Durable, SnapshotData, SnapshotSink, Staged};
use crate::transport::{Identity, convert};
use crate::types::{SnapshotMeta, Vote, point_of};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::ReplicaId;
use openraft::Snapshot;
use proto::raft::{Block, SnapshotHeader, SnapshotTrailer, block::Body};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Snapshots one node takes in at a time.
const RECEIVES_MAX: usize = 4;

/// Bounds what a node takes in.
#[derive(Debug)]
pub(crate) struct Receivers {
    room: Semaphore,
}

impl Default for Receivers {
    fn default() -> Self {
        Self { room: Semaphore::new(RECEIVES_MAX) }
    }
}

type Blocks = BoxStream<'static, Result<Block, String>>;

/// Takes in one snapshot; returns our vote once it is in force, or refused because we know a higher one.
pub(crate) async fn receive(
    receivers: &Receivers,
    identity: &Identity,
    registry: &Arc<Registry>,
    mut blocks: Blocks,
) -> Result<Vote, String> {
    let _room = receivers.room.try_acquire().map_err(|_| "too many snapshots at once".to_owned())?;
    let (group, vote, meta) = open(identity, registry, next(&mut blocks).await?)?;
    let point = meta.last_log_id.map(point_of).ok_or("a snapshot of nothing")?;
    let membership = convert::stored_membership_to_bytes(&meta.last_membership);
    let state_machine = Arc::clone(&group.inner.state_machine);
    let sink = blocking(move || state_machine.stage(Durable { point, membership })).await?;
    let staged = write(sink, &mut blocks).await?;
    let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(staged) };
    let installed = group.inner.raft.install_full_snapshot(vote, snapshot).await.map_err(|error| error.to_string())?;
    Ok(installed.vote)
}

async fn next(blocks: &mut Blocks) -> Result<Body, String> {
    let block = blocks.next().await.ok_or("the snapshot ended without a trailer")??;
    let body = block.body.ok_or("an empty block")?;
    if let Body::Data(data) = &body
        && crc32c::crc32c(data) != block.crc32c
    {
        return Err("a block's checksum differs".to_owned());
    }
    Ok(body)
}

fn open(identity: &Identity, registry: &Registry, first: Body) -> Result<(Group, Vote, SnapshotMeta), String> {
    let Body::Header(SnapshotHeader { hello, to_replica, vote, last, membership, .. }) = first else {
        return Err("the first block is not a header".to_owned());
    };
    identity.check(&hello.ok_or("no hello")?, None).map_err(|error| error.to_string())?;
    let group = registry.replica(ReplicaId(to_replica)).ok_or_else(|| format!("replica {to_replica} is not here"))?;
    let vote = convert::vote_from_proto(vote.as_ref()).map_err(|error| error.to_string())?;
    let membership = membership.ok_or("no membership")?;
    let last_membership = convert::stored_membership_from_proto(&membership).map_err(|error| error.to_string())?;
    Ok((group, vote, SnapshotMeta { last_log_id: last.as_ref().map(convert::log_id_from_proto), last_membership }))
}

/// Writes all blocks; what the trailer counts must have arrived.
async fn write(mut sink: Box<dyn SnapshotSink>, blocks: &mut Blocks) -> Result<Box<dyn Staged>, String> {
    let mut seen = SnapshotTrailer::default();
    loop {
        match next(blocks).await? {
            Body::Data(data) => {
                seen.blocks += 1;
                seen.bytes += data.len() as u64;
                seen.crc32c = crc32c::crc32c_append(seen.crc32c, &data);
                sink = blocking(move || sink.write(data).map(|()| sink)).await?;
            }
            Body::Trailer(trailer) if trailer == seen => return blocking(move || sink.finish()).await,
            Body::Trailer(trailer) => return Err(format!("the trailer counts {trailer:?}, {seen:?} arrived")),
            Body::Header(_) => return Err("a second header".to_owned()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StateMachineError> + Send + 'static) -> Result<T, String> {
    let outcome = crate::blocking::blocking(work).await.map_err(|error| error.to_string())?;
    outcome.map_err(|error| error.to_string())
}
