//! After the storm: faults have stopped, everything must come to rest within a bound, and what is there then is compared.

use super::control::Control;
use super::store::Command;
use crate::stage::Scenario;
use model::{ReplicaId, ShardId, StoreId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long coming to rest may take.
const REST_MAX: Duration = Duration::from_secs(60);
/// Time between two attempts.
const ROUND: Duration = Duration::from_millis(250);

/// Waits until every group has a leader that acknowledges, no change of members is half done, and all members hold the same; then audits.
pub(super) fn converge(control: &mut Control) {
    let until = control.stage.elapsed() + REST_MAX;
    let acknowledged = control.oracle.acknowledged_count;
    let mut waits_for = String::new();
    while control.stage.elapsed() < until && !control.stage.has_failed() {
        let round_ends = control.stage.elapsed() + ROUND;
        while control.stage.elapsed() < round_ends {
            control.step();
        }
        if control.oracle.acknowledged_count < acknowledged + control.stage.plan.groups {
            control.probe();
            waits_for = "operations to be acknowledged".to_owned();
            continue;
        }
        let shards = (1..=control.stage.plan.groups).map(ShardId);
        match shards.map(|shard| settle(control, shard)).find_map(Result::err) {
            Some(reason) => waits_for = reason,
            None => return,
        }
    }
    if !control.stage.has_failed() {
        control.stage.watch.fail(format!("liveness: {} s after the last fault still waiting for {waits_for}", REST_MAX.as_secs()));
    }
}

/// Whether a group is at rest and right; helps it there.
fn settle(control: &mut Control, shard: ShardId) -> Result<(), String> {
    let (leader, status) = control.leader(shard).ok_or_else(|| format!("a leader of shard {shard}"))?;
    if control.changing.contains_key(&shard) {
        return Err(format!("a change of shard {shard}"));
    }
    if status.is_joint || !status.learners.is_empty() {
        // Whoever began the change lost its leadership: the next leader finishes it.
        if control.send(leader, Command::Change(shard, Vec::new(), BTreeSet::new())) {
            control.changing.insert(shard, leader);
        }
        return Err(format!("a change of shard {shard} that was half done"));
    }
    let members: BTreeMap<ReplicaId, StoreId> = status.voters.iter().map(|(replica, home)| (*replica, *home)).collect();
    control.destroy_others(shard, &members.keys().copied().collect());
    let commit = status.commit_index;
    for (replica, home) in &members {
        let groups = control.stores.get(home).and_then(|store| store.process.lock().as_ref().map(|process| Arc::clone(&process.groups)));
        let group = groups.and_then(|groups| groups.group(shard)).ok_or_else(|| format!("replica {replica} to be open"))?;
        if group.applied_index() != commit || group.status().last_log_index != commit {
            return Err(format!("replica {replica} to apply {commit:?}, it has {:?}", group.applied_index()));
        }
    }
    for (replica, home) in members {
        let Some(machine) = control.machine(shard, home) else { return Err(format!("replica {replica} to be open")) };
        if let Err(violation) = control.oracle.audit(shard, &machine.contents()) {
            control.stage.watch.fail(format!("replica {replica}: {violation}"));
            return Ok(());
        }
    }
    Ok(())
}
