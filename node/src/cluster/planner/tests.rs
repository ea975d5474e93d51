use super::*;
use crate::meta::testing::{founded, register, report, workspace};
use crate::meta::{MetaCommand, MetaResponse};
use proptest::prelude::*;

/// Carries out everything that is planned until nothing is; gives what was done.
fn settle(state: &mut MetaState, silent: &BTreeSet<u64>) -> Vec<Wanted> {
    let mut done = Vec::new();
    for _ in 0..1000 {
        let wanted = plan(state, silent);
        if wanted.is_empty() {
            return done;
        }
        assert!(wanted.len() <= CHANGES_MAX);
        for Wanted { shard, conf_ver, add, remove, reason } in wanted.clone() {
            let begun = state.apply(MetaCommand::BeginChange { shard, conf_ver, add, remove, reason, now_ms: 5 });
            assert!(matches!(begun, MetaResponse::Change { .. }), "{begun:?}");
        }
        for Wanted { shard, .. } in &wanted {
            let change = state.changes[shard].clone();
            let record = state.record(ShardId(*shard)).unwrap();
            let voters = record.replicas.iter().map(|r| r.replica).filter(|r| !change.remove.contains(r)).collect();
            assert_eq!(state.apply(MetaCommand::FinishChange { shard: *shard, voters }), MetaResponse::Done);
        }
        done.extend(wanted);
    }
    panic!("it never settles: {done:?}");
}

fn stores_of(record: &ShardRecord) -> BTreeSet<u64> {
    assert!(record.replicas.iter().all(|r| r.role == ReplicaRole::Voter));
    record.replicas.iter().map(|r| r.store).collect()
}

#[test]
fn nothing_is_planned_where_nothing_is_wrong() {
    let mut state = founded(&["a", "b", "c"]);
    workspace(&mut state, "default", 3);
    assert_eq!(plan(&state, &BTreeSet::new()), []);
    assert_eq!(plan(&state, &BTreeSet::from([2])), [], "three stores hold three replicas: there is nowhere to go");
}

#[test]
fn c12_one_node_grows_into_three_and_back_without_ever_two_replicas() {
    let mut state = founded(&[""]);
    workspace(&mut state, "default", 1);
    register(&mut state, 2, "");
    assert_eq!(plan(&state, &BTreeSet::new()), [], "never two");
    register(&mut state, 3, "");
    let first = plan(&state, &BTreeSet::new());
    assert_eq!(first[0].shard, 0, "the meta group comes first");
    let done = settle(&mut state, &BTreeSet::new());
    assert!(done.iter().all(|w| w.add.len() == 2 && w.reason == ChangeReason::Replication));
    assert!(state.records().all(|r| stores_of(r) == BTreeSet::from([1, 2, 3])));

    state.apply(MetaCommand::SetDraining { store_id: 1, is_draining: true });
    settle(&mut state, &BTreeSet::new());
    assert!(state.records().all(|r| r.replicas.len() == 1 && r.replicas[0].store != 1));
    assert_eq!(state.apply(MetaCommand::RemoveStore { store_id: 1 }), MetaResponse::Done);
    let again = state.apply(MetaCommand::RegisterStore { store_id: Some(1), report: report("disk-1", "") });
    assert!(matches!(again, MetaResponse::Conflict { .. }), "a removed disk does not come back");
}

#[test]
fn a_silent_store_is_replaced_and_a_drained_one_emptied() {
    let mut state = founded(&["a", "b", "c", "c"]);
    for n in 0..6 {
        workspace(&mut state, &format!("w{n}"), 2);
    }
    let done = settle(&mut state, &BTreeSet::from([3]));
    assert!(done.iter().all(|w| w.reason == ChangeReason::Dead));
    assert!(state.records().all(|r| !stores_of(r).contains(&3)));

    // It comes back empty, and takes its share again.
    settle(&mut state, &BTreeSet::new());
    state.apply(MetaCommand::SetDraining { store_id: 4, is_draining: true });
    settle(&mut state, &BTreeSet::new());
    assert!(state.records().all(|r| stores_of(r) == BTreeSet::from([1, 2, 3])));
}

#[test]
fn a_group_without_a_majority_waits_for_its_replicas() {
    let mut state = founded(&["", ""]);
    workspace(&mut state, "default", 1);
    let holder = state.shards[&1].replicas[0].store;
    settle(&mut state, &BTreeSet::new());
    assert_eq!(plan(&state, &BTreeSet::from([holder])).iter().find(|w| w.shard == 1), None);
}

#[test]
fn a_lost_replica_is_replaced_on_its_own_store_under_another_id() {
    let mut state = founded(&["a", "b", "c"]);
    workspace(&mut state, "default", 1);
    let lost = state.shards[&1].replicas[1];
    state.apply(MetaCommand::MarkLost { shard: 1, replica: lost.replica });
    let done = settle(&mut state, &BTreeSet::new());
    assert_eq!((done.len(), done[0].add.clone(), done[0].remove.clone()), (1, vec![lost.store], vec![lost.replica]));
    assert_eq!(stores_of(&state.shards[&1]), BTreeSet::from([1, 2, 3]));
}

#[test]
fn replicas_move_to_a_zone_that_has_none_and_to_a_store_that_holds_few() {
    let mut state = founded(&["a", "a", "b"]);
    for n in 0..4 {
        workspace(&mut state, &format!("w{n}"), 1);
    }
    register(&mut state, 4, "c");
    let done = settle(&mut state, &BTreeSet::new());
    assert!(!done.is_empty());
    for record in state.records() {
        let zones: BTreeSet<&str> = record.replicas.iter().map(|r| state.stores[&r.store].report.zone.as_str()).collect();
        assert_eq!(zones.len(), 3, "{record:?}");
    }
}

proptest! {
    /// Whatever stores come, drain and fall silent: it settles, with an odd number of replicas on different stores, none of them on a
    /// store that is being drained if the others suffice.
    #[test]
    fn every_history_settles(
        zones in proptest::collection::vec(0u8..3, 1..6),
        workspaces in proptest::collection::vec(1u32..4, 0..5),
        steps in proptest::collection::vec((0u8..4, 1u64..9, 0u8..3), 0..12),
    ) {
        let names: Vec<String> = zones.iter().map(u8::to_string).collect();
        let mut state = founded(&names.iter().map(String::as_str).collect::<Vec<_>>());
        for (n, shards) in workspaces.into_iter().enumerate() {
            workspace(&mut state, &format!("w{n}"), shards);
        }
        let mut silent = BTreeSet::new();
        settle(&mut state, &silent);
        for (kind, store, zone) in steps {
            match kind {
                0 if !state.stores.contains_key(&store) && !state.removed_stores.contains_key(&store) => {
                    register(&mut state, store, &zone.to_string());
                }
                1 => drop(state.apply(MetaCommand::SetDraining { store_id: store, is_draining: zone > 0 })),
                2 if silent.is_empty() => drop(silent.insert(store)),
                3 => silent.clear(),
                _ => {}
            }
            settle(&mut state, &silent);
            let ready = state.stores.values().filter(|s| !s.is_draining && !silent.contains(&s.store_id)).count();
            for record in state.records() {
                let stores = stores_of(record);
                prop_assert_eq!(stores.len(), record.replicas.len());
                prop_assert_eq!(stores.len() % 2, 1);
                // Who holds a majority that is silent waits.
                if ready >= 3 && stores.iter().filter(|s| silent.contains(s)).count() * 2 < stores.len() {
                    prop_assert!(stores.iter().all(|s| !state.stores[s].is_draining), "{:?}", record);
                }
            }
        }
    }
}
