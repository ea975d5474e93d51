use super::*;
use crate::meta::state::{ChangeReason, ReplicaRecord};

fn record(voters: &[(u64, u64)], learners: &[(u64, u64)]) -> ShardRecord {
    let with = |role| move |(replica, store): &(u64, u64)| ReplicaRecord { replica: *replica, store: *store, role, is_lost: false };
    let voters = voters.iter().map(with(ReplicaRole::Voter));
    let replicas = voters.chain(learners.iter().map(with(ReplicaRole::Learner))).collect();
    ShardRecord { shard: 7, workspace: "w".into(), replicas, conf_ver: 2 }
}

fn change(add: &[u64], remove: &[u64]) -> ReplicaChange {
    ReplicaChange { shard: 7, add: add.into(), remove: remove.into(), reason: ChangeReason::Asked, began_ms: 1, is_cancelled: false }
}

fn ids(replicas: &[u64]) -> BTreeSet<ReplicaId> {
    replicas.iter().copied().map(ReplicaId).collect()
}

/// The leader's view: replica 1 leads, every log is as long as the leader's unless told.
fn status(voters: &[u64], learners: &[u64], behind: &[u64]) -> GroupStatus {
    let members = |ids: &[u64]| ids.iter().map(|id| (ReplicaId(*id), StoreId(*id))).collect();
    let matched = voters.iter().chain(learners).map(|id| (ReplicaId(*id), Some(if behind.contains(id) { 10 } else { 5000 }))).collect();
    GroupStatus {
        replica: ReplicaId(1),
        is_leader: true,
        last_log_index: Some(5000),
        voters: members(voters),
        learners: members(learners),
        matched,
        ..GroupStatus::default()
    }
}

#[test]
fn a_replica_joins_catches_up_and_then_all_change_at_once() {
    let record = record(&[(1, 1), (2, 2), (3, 3)], &[(9, 4)]);
    let change = change(&[9], &[3]);
    let next = |status: &GroupStatus| next_step(&record, &change, status);
    assert_eq!(next(&status(&[1, 2, 3], &[], &[])), Step::AddLearner(ReplicaId(9), StoreId(4)));
    assert_eq!(next(&status(&[1, 2, 3], &[9], &[9])), Step::CatchUp(ids(&[9])));
    assert_eq!(next(&status(&[1, 2, 3], &[9], &[])), Step::ChangeVoters(ids(&[1, 2, 9])));
    let joint = GroupStatus { is_joint: true, ..status(&[1, 2, 3, 9], &[], &[9]) };
    assert_eq!(next(&joint), Step::ChangeVoters(ids(&[1, 2, 9])), "whoever leads then completes it");
    assert_eq!(next(&status(&[1, 2, 9], &[], &[])), Step::Finish(ids(&[1, 2, 9])));
}

#[test]
fn a_leader_that_goes_hands_over_first_if_anybody_stays() {
    let moved = record(&[(1, 1), (2, 2), (3, 3)], &[(9, 4)]);
    assert_eq!(next_step(&moved, &change(&[9], &[1]), &status(&[1, 2, 3], &[9], &[2])), Step::HandOver(ReplicaId(3)));
    let alone = record(&[(1, 1)], &[(9, 4)]);
    assert_eq!(next_step(&alone, &change(&[9], &[1]), &status(&[1], &[9], &[])), Step::ChangeVoters(ids(&[9])));
}

#[test]
fn a_cancelled_change_is_undone_unless_it_has_gone_through() {
    let record = record(&[(1, 1), (2, 2), (3, 3)], &[(9, 4)]);
    let cancelled = ReplicaChange { is_cancelled: true, ..change(&[9], &[3]) };
    let next = |status: &GroupStatus| next_step(&record, &cancelled, status);
    assert_eq!(next(&status(&[1, 2, 3], &[9], &[9])), Step::RemoveLearners(ids(&[9])));
    assert_eq!(next(&status(&[1, 2, 3], &[], &[])), Step::Finish(ids(&[1, 2, 3])));
    let joint = GroupStatus { is_joint: true, ..status(&[1, 2, 3, 9], &[], &[]) };
    assert_eq!(next(&joint), Step::ChangeVoters(ids(&[1, 2, 9])));
    assert_eq!(next(&status(&[1, 2, 9], &[], &[])), Step::Finish(ids(&[1, 2, 9])));
}

#[test]
fn one_replica_becomes_three_and_three_become_one_in_one_step_each() {
    let grown = record(&[(1, 1)], &[(8, 2), (9, 3)]);
    let grow = change(&[8, 9], &[]);
    assert_eq!(next_step(&grown, &grow, &status(&[1], &[8], &[])), Step::AddLearner(ReplicaId(9), StoreId(3)));
    assert_eq!(next_step(&grown, &grow, &status(&[1], &[8, 9], &[])), Step::ChangeVoters(ids(&[1, 8, 9])));
    let shrunk = record(&[(1, 1), (8, 2), (9, 3)], &[]);
    assert_eq!(next_step(&shrunk, &change(&[], &[8, 9]), &status(&[1, 8, 9], &[], &[])), Step::ChangeVoters(ids(&[1])));
}
