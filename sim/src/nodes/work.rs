//! The work that faults meet: checkpoints, transfers of leadership, moves of replicas.

use super::control::Control;
use super::store::Inside;
use crate::plan::Fault;
use crate::random::Random;
use model::{ReplicaId, StoreId};
use raft::GroupStatus;

/// Does a piece; true if there was something to do.
pub(super) fn work(control: &mut Control, kind: Fault, random: &mut Random) -> bool {
    match kind {
        Fault::Membership => change(control, random),
        Fault::Transfer => transfer(control, random),
        _ => checkpoint(control, random),
    }
}

/// A shard, or the meta group, with its leader's view.
fn some_led(control: &Control, random: &mut Random) -> Option<GroupStatus> {
    let led: Vec<GroupStatus> = control.statuses().into_iter().map(|(_, status)| status).filter(|status| status.is_leader).collect();
    random.pick(&led).cloned()
}

/// Moves a replica to a store that has none of the shard.
fn change(control: &mut Control, random: &mut Random) -> bool {
    let Some(status) = some_led(control, random) else { return false };
    let homes: Vec<StoreId> = status.voters.values().copied().collect();
    let free: Vec<StoreId> = control.stores.keys().copied().filter(|store| !homes.contains(store)).collect();
    let (Some(from), Some(to)) = (random.pick(&homes).copied(), random.pick(&free).copied()) else { return false };
    control.requests.operate(format!("/cluster/shards/{}/move", status.shard), format!("from={from}&to={to}"));
    true
}

/// Hands a leadership over.
fn transfer(control: &Control, random: &mut Random) -> bool {
    let Some(status) = some_led(control, random) else { return false };
    let others: Vec<ReplicaId> = status.voters.keys().copied().filter(|replica| *replica != status.replica).collect();
    let home = status.voters.get(&status.replica).copied();
    let to = random.pick(&others).copied();
    home.zip(to).is_some_and(|(home, to)| control.inside(home, Inside::Transfer(status.shard, to)))
}

/// Writes a checkpoint at all replicas of a group.
fn checkpoint(control: &Control, random: &mut Random) -> bool {
    let statuses = control.statuses();
    let Some((_, status)) = random.pick(&statuses) else { return false };
    let homes = status.voters.values().copied();
    homes.map(|home| control.inside(home, Inside::Checkpoint(status.shard))).fold(false, |any, sent| any | sent)
}
