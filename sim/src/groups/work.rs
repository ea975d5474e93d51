//! The work that faults meet: checkpoints, transfers of leadership, changes of members.

use super::control::Control;
use super::store::Command;
use crate::random::Random;
use model::{ReplicaId, ShardId, StoreId};
use std::collections::BTreeSet;

fn some_shard(control: &Control, random: &mut Random) -> ShardId {
    ShardId(random.within(1..=control.stage.plan.groups))
}

/// Writes a checkpoint at one replica of a group, or at all.
pub(super) fn checkpoint(control: &Control, random: &mut Random) -> bool {
    let shard = some_shard(control, random);
    let homes: Vec<StoreId> = control.members.get(&shard).into_iter().flatten().map(|(_, home)| *home).collect();
    let everywhere = random.chance(50);
    let one = random.pick(&homes).copied();
    let mut is_any = false;
    for home in homes {
        if everywhere || Some(home) == one {
            is_any |= control.send(home, Command::Checkpoint(shard));
        }
    }
    is_any
}

/// Hands a leadership over.
pub(super) fn transfer(control: &Control, random: &mut Random) -> bool {
    let shard = some_shard(control, random);
    let Some((leader, status)) = control.leader(shard) else { return false };
    let others: Vec<ReplicaId> = status.voters.keys().copied().filter(|replica| *replica != status.replica).collect();
    random.pick(&others).is_some_and(|to| control.send(leader, Command::Transfer(shard, *to)))
}

/// Replaces one voter by a new replica elsewhere, or only finishes what was begun.
pub(super) fn replace(control: &mut Control, random: &mut Random) -> bool {
    let shard = some_shard(control, random);
    let Some((leader, status)) = control.leader(shard) else { return false };
    if control.changing.contains_key(&shard) || !control.is_up(leader) {
        return false;
    }
    let homes: BTreeSet<StoreId> = control.members.get(&shard).into_iter().flatten().map(|(_, home)| *home).collect();
    let free: Vec<StoreId> = control.stores.keys().copied().filter(|store| !homes.contains(store) && control.is_up(*store)).collect();
    let voters: Vec<ReplicaId> = status.voters.keys().copied().collect();
    let (add, remove) = match (random.pick(&free).copied(), random.pick(&voters).copied()) {
        (Some(home), Some(old)) if !status.is_joint && status.learners.is_empty() => {
            let replica = control.add_replica(shard, home);
            control.send(home, Command::Open(shard));
            (vec![(replica, home)], BTreeSet::from([old]))
        }
        _ => (Vec::new(), BTreeSet::new()),
    };
    let sent = control.send(leader, Command::Change(shard, add, remove));
    if sent {
        control.changing.insert(shard, leader);
    }
    sent
}
