//! Keeps what this node knows of the others current: their clocks, whether they can lead, and the meta state where this node has no replica of it.

use super::identity::Identity;
use crate::meta::command::decode;
use crate::meta::{LEVEL_SYNCED, MetaState};
use crate::node::Node;
use crate::recover;
use crate::rpc::client::{Peers, header, request};
use crate::task;
use futures::future::join_all;
use model::{ShardId, StoreId};
use proto::node::{FetchMetaRequest, PingRequest};
use raft::FatalError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

const PING: Duration = Duration::from_millis(500);
const PING_TIMEOUT: Duration = Duration::from_millis(450);
const FETCH: Duration = Duration::from_millis(500);
/// A member of the meta group fetches its state once in so many rounds.
const MEMBER_ROUNDS: usize = 4;
/// How long a start waits for what others remember of its disk.
const MEMORY_TIMEOUT: Duration = Duration::from_millis(400);
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads the other nodes' clocks until dropped, and hears whether they can lead and at which of the configured addresses which store answers now: a cluster
/// whose nodes all moved could otherwise not agree on where they are.
pub async fn clocks(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(PING);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let mut addresses: BTreeSet<String> = node.others().into_values().collect();
        addresses.extend(super::bootstrap::initial_nodes(&node.config));
        addresses.remove(&node.config.rpc.advertise_address.to_string());
        join_all(addresses.iter().map(|address| ping(&node, address))).await;
        crate::metrics::set_stamping(node.time.now().is_ok());
    }
}

/// How far other nodes have heard that the log of `store` was synced; none if none answers at once. Asked before the log is opened: an older
/// image of a disk must not vote with what it has forgotten.
pub async fn synced_elsewhere(peers: &Peers, addresses: BTreeSet<String>, cluster_id: &str, store: StoreId) -> Option<u64> {
    let asked = addresses.iter().map(|address| async move {
        let message = PingRequest { header: Some(header(cluster_id, store.0, MEMORY_TIMEOUT)) };
        let mut client = peers.client(address).ok()?;
        let reply = tokio::time::timeout(MEMORY_TIMEOUT, client.ping(request(message, MEMORY_TIMEOUT))).await.ok()?.ok()?.into_inner();
        Some(reply.heard_synced).filter(|_| reply.store_id != store.0)
    });
    join_all(asked).await.into_iter().flatten().max()
}

async fn ping(node: &Node, address: &str) {
    let Ok(mut client) = node.peers.client(address) else { return };
    let message = PingRequest { header: Some(header(&node.cluster_id(), node.store_id().0, PING_TIMEOUT)) };
    let sent = node.clock.monotonic();
    let Ok(reply) = client.ping(request(message, PING_TIMEOUT)).await else { return };
    let reply = reply.into_inner();
    let store = StoreId(reply.store_id);
    if store == node.store_id() {
        return;
    }
    refuse_old_image(node, reply.heard_synced);
    if reply.unfit {
        node.unfit.write().insert(store);
    } else {
        node.unfit.write().remove(&store);
    }
    node.heard_at.write().insert(store, node.clock.monotonic());
    node.heard_starts.write().insert(store, reply.started);
    let mut synced = node.heard_synced.write();
    let known = synced.entry(store).or_default();
    *known = reply.synced.max(*known);
    drop(synced);
    let trip = node.clock.monotonic().saturating_sub(sent);
    node.time.observe(store, reply.now_ms, sent + trip / 2);
    if node.others().get(&store).is_none_or(|known| known != address) {
        node.heard.write().insert(store, address.to_owned());
    }
}

/// Ends the process if another node has heard more of this disk's log than it holds: that node did not answer when this one started.
fn refuse_old_image(node: &Node, heard: u64) {
    let held = node.groups.log_reaches();
    if heard > held {
        node.fatal.call(&FatalError::OldImage { held, heard });
    }
}

/// Fetches the meta state until dropped, from one other node after another. A member of the meta group hears of it there and asks
/// rarely; but one that was removed is told by nobody, and goes on to know the leader it had.
pub async fn meta(node: Arc<Node>) {
    let mut rounds = tokio::time::interval(FETCH);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0.. {
        rounds.tick().await;
        if node.groups.group(ShardId::META).is_some() && round % MEMBER_ROUNDS != 0 {
            continue;
        }
        let mut known: BTreeSet<String> = node.others().into_values().collect();
        if known.is_empty() {
            known.extend(super::bootstrap::initial_nodes(&node.config));
            known.remove(&node.config.rpc.advertise_address.to_string());
        }
        let mut addresses: Vec<String> = known.into_iter().collect();
        let first = round / MEMBER_ROUNDS % addresses.len().max(1);
        addresses.rotate_left(first);
        for address in addresses {
            if fetch(&node, &address).await.is_some() {
                break;
            }
        }
    }
}

async fn fetch(node: &Node, address: &str) -> Option<()> {
    let mut client = node.peers.client(address).ok()?;
    let message =
        FetchMetaRequest { header: Some(header(&node.cluster_id(), node.store_id().0, FETCH_TIMEOUT)), revision: node.meta.get().revision };
    let reply = client.fetch_meta(request(message, FETCH_TIMEOUT)).await.ok()?.into_inner();
    if !reply.state.is_empty() {
        node.meta.publish(Arc::new(decode::<MetaState>(&reply.state).ok()?));
    }
    Some(())
}

/// Keeps this node's identity current until dropped: the cluster's id as soon as the meta group tells it, and where the other nodes are.
pub async fn identity(node: Arc<Node>) {
    let mut changes = node.meta.watch();
    let mut is_adopted = false;
    loop {
        let meta = changes.newest();
        // A recovered node has its new id before the meta group knows it.
        let is_old = recover::is_pending(&node.config.node.data) && meta.cluster_id != Some(node.cluster_id());
        if let Some(id) = meta.cluster_id.as_ref().filter(|_| !is_old) {
            if !is_adopted {
                adopt(&node, id).await;
                is_adopted = true;
            }
            if meta.level >= LEVEL_SYNCED {
                keep_peers(&node).await;
            }
        }
        if !changes.changed().await {
            return;
        }
    }
}

async fn keep_peers(node: &Node) {
    let mut identity = node.identity.read().clone();
    let peers = node.others().into_values().collect();
    if let Some(membership) = identity.membership.as_mut().filter(|membership| membership.peers != peers) {
        membership.peers = peers;
        store(node, identity).await;
    }
}

/// Nobody else changes the identity of a node that has its place.
async fn store(node: &Node, identity: Identity) {
    let (stored, data) = (identity.clone(), node.config.node.data.clone());
    match task::blocking(move || stored.store(&data)).await {
        Ok(Ok(())) => {}
        Ok(Err(e)) => tracing::error!(error = %e, "identity not stored"),
        Err(e) => tracing::error!(error = %e, "identity not stored"),
    }
    *node.identity.write() = identity;
}

async fn adopt(node: &Node, id: &str) {
    let mut identity = node.identity.read().clone();
    let Some(membership) = identity.membership.as_mut() else { return };
    match &membership.cluster_id {
        Some(known) if known != id => {
            tracing::error!(ours = %known, theirs = id, "the meta group is of another cluster");
            return;
        }
        Some(_) => {}
        None => {
            membership.cluster_id = Some(id.to_owned());
            store(node, identity).await;
        }
    }
    if let Err(e) = node.raft_identity.set_cluster(id.as_bytes()) {
        tracing::error!(error = %e, "the meta group is of another cluster");
    }
}
