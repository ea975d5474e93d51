//! Ways to lose acknowledged data, each with the test that would show it.

use bytes::Bytes;
use model::{ReplicaId, ShardId, StoreId, WorkspaceId};
use proptest::prelude::*;
use raft::testing::{Disk, KvMachine, TestCluster, fast_config};
use raft::{GroupError, GroupSpec, LogEngine, LossCause, MemoryEngine, ProposeError, RaftConfig};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn block_on<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work)
}

/// Every running replica has applied what the leader confirms, and holds the same rows.
async fn settle(cluster: &TestCluster) {
    let leader = cluster.leader().await;
    let index = cluster.group(leader).read_barrier().await.unwrap();
    let running = || cluster.nodes.iter().filter(|(_, node)| node.groups.is_some()).map(|(store, _)| *store);
    for store in running() {
        let group = cluster.group(store);
        assert_eq!(group.wait_applied(index, soon()).await, Ok(()), "{index} is not applied: {:?}", group.status());
    }
    for store in running() {
        assert_eq!(cluster.machine(store).rows(), cluster.machine(leader).rows());
    }
}

/// Writes under a slow disk, cuts the power of all three at once, and returns with them running again.
async fn power_cycle(writes: usize, wait: Duration, kept: [usize; 3], checkpoint_at: Option<usize>) {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    for node in cluster.nodes.values() {
        node.engine.set_sync_delay(Duration::from_millis(2));
    }
    let group = cluster.group(cluster.leader().await);
    let mut proposals = Vec::new();
    for number in 0..writes {
        if let Ok(proposal) = group.submit(Bytes::from(format!("k{number}={number}")), None).await {
            proposals.push((number, proposal));
        }
        if checkpoint_at == Some(number) {
            for store in cluster.nodes.keys() {
                if let Some(point) = cluster.machine(*store).checkpoint() {
                    let _ = cluster.group(*store).checkpointed(point).await;
                }
            }
        }
    }
    let answers = proposals.into_iter().map(|(number, proposal)| async move { proposal.outcome().await.ok().map(|_| number) });
    let answers = tokio::spawn(futures::future::join_all(answers));
    tokio::time::sleep(wait).await;
    for (store, kept) in (1..=3).map(StoreId).zip(kept) {
        cluster.crash(store, kept).await;
    }
    let acknowledged: Vec<usize> = answers.await.unwrap().into_iter().flatten().collect();
    for store in (1..=3).map(StoreId) {
        cluster.run(store).await.unwrap();
    }
    settle(&cluster).await;
    for number in acknowledged {
        let value = cluster.machine(StoreId(1)).get(&format!("k{number}"));
        assert_eq!(value, Some(number.to_string()), "acknowledged and lost");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn pitfall_01_ack_before_fsync_loses_nothing_when_all_lose_power(writes in 1_usize..60, wait_ms in 0_u64..40, kept: [u8; 3]) {
        block_on(power_cycle(writes, Duration::from_millis(wait_ms), kept.map(|kept| usize::from(kept % 4)), None));
    }

    #[test]
    fn pitfall_05_checkpoint_and_replay_equal_full_replay_at_every_crash_point(
        writes in 2_usize..60, at in 0_usize..60, wait_ms in 0_u64..40, kept: [u8; 3]
    ) {
        block_on(power_cycle(writes, Duration::from_millis(wait_ms), kept.map(|kept| usize::from(kept % 4)), Some(at % writes)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_03_two_leaders_in_one_term_never_happen() {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let mut leaders = std::collections::BTreeMap::new();
    for round in 0..6 {
        let leader = cluster.leader().await;
        let term = cluster.group(leader).status().term;
        assert_eq!(*leaders.entry(term).or_insert(leader), leader, "term {term} has two leaders");
        cluster.put("round", &round.to_string()).await;
        cluster.crash(leader, round % 3).await;
        cluster.run(leader).await.unwrap();
    }
    settle(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_04_log_after_the_checkpoint_is_there_whenever_the_power_goes() {
    for kept in [0, 1, usize::MAX] {
        let mut cluster = TestCluster::founded(1, fast_config()).await.unwrap();
        let store = StoreId(1);
        for number in 0..20 {
            cluster.put(&format!("k{number}"), "v").await;
        }
        let point = cluster.machine(store).checkpoint().unwrap();
        cluster.put("later", "v").await;
        cluster.group(store).checkpointed(point).await.unwrap();
        let mut status = cluster.group(store).watch();
        let purged = status.wait_for(|status| status.purged_index.is_some());
        let purged = tokio::time::timeout_at(soon(), purged).await.unwrap().unwrap().purged_index;
        assert_eq!(purged, Some(point.index));
        cluster.crash(store, kept).await;
        cluster.run(store).await.unwrap();
        settle(&cluster).await;
        assert_eq!(cluster.machine(store).rows().len(), 21);
        assert!(cluster.machine(store).applied_count() <= 5, "only what follows the checkpoint is applied again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_checkpoint_older_than_the_purged_log_marks_the_replica_lost() {
    let mut cluster = TestCluster::founded(1, fast_config()).await.unwrap();
    let store = StoreId(1);
    cluster.put("a", "1").await;
    let point = cluster.machine(store).checkpoint().unwrap();
    cluster.group(store).checkpointed(point).await.unwrap();
    let mut status = cluster.group(store).watch();
    tokio::time::timeout_at(soon(), status.wait_for(|status| status.purged_index.is_some())).await.unwrap().unwrap();
    // The purge itself is not synced: it survives with the next write.
    cluster.put("b", "2").await;
    cluster.crash(store, 0).await;
    for disk in cluster.nodes.get_mut(&store).unwrap().disks.values_mut() {
        *disk = Disk::new();
    }
    let Err(GroupError::Lost(lost)) = cluster.run(store).await else { panic!("a lost replica was opened") };
    assert!(matches!(lost.cause, LossCause::CheckpointBehindLog { durable: None, .. }), "{lost}");
    assert_eq!(lost.replica, ReplicaId(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_07_leader_restarted_at_once_serves_nothing_stale() {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    assert!(cluster.machine(leader).checkpoint().is_some());
    cluster.put("a", "2").await;
    let term = cluster.group(leader).status().term;
    cluster.crash(leader, 0).await;
    cluster.run(leader).await.unwrap();
    assert!(!cluster.group(leader).status().is_leader, "leadership is not restored, it is won again");
    let now = cluster.leader().await;
    assert!(cluster.group(now).status().term > term);
    let index = cluster.group(now).read_barrier().await.unwrap();
    cluster.group(leader).wait_applied(index, soon()).await.unwrap();
    assert_eq!(cluster.machine(leader).get("a").as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_11_replica_that_loses_power_while_it_takes_a_snapshot_has_the_old_or_the_new_state() {
    for wait in [5, 40, 80, 160, 400] {
        let mut cluster = TestCluster::start(2, fast_config()).await.unwrap();
        let first = cluster.group(StoreId(1));
        first.initialize([(ReplicaId(1), StoreId(1))].into()).await.unwrap();
        for number in 0..20 {
            cluster.put(&format!("k{number}"), "v").await;
        }
        let point = cluster.machine(StoreId(1)).checkpoint().unwrap();
        first.checkpointed(point).await.unwrap();
        cluster.network.set_snapshot_block_delay(Duration::from_millis(5));
        first.add_learner(ReplicaId(2), StoreId(2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(wait)).await;
        cluster.crash(StoreId(2), 1).await;
        let rows = cluster.nodes[&StoreId(2)].disks.values().next().unwrap().rows().len();
        assert!(rows == 0 || rows == 20, "half installed: {rows} rows");
        cluster.run(StoreId(2)).await.unwrap();
        settle(&cluster).await;
        assert_eq!(cluster.machine(StoreId(2)).rows().len(), 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_12_log_behind_a_snapshot_in_transfer_is_not_purged() {
    let cluster = TestCluster::start(2, fast_config()).await.unwrap();
    let first = cluster.group(StoreId(1));
    first.initialize([(ReplicaId(1), StoreId(1))].into()).await.unwrap();
    for number in 0..50 {
        cluster.put(&format!("k{number}"), "v").await;
    }
    first.checkpointed(cluster.machine(StoreId(1)).checkpoint().unwrap()).await.unwrap();
    cluster.network.set_snapshot_block_delay(Duration::from_millis(10));
    first.add_learner(ReplicaId(2), StoreId(2)).await.unwrap();
    for number in 0..20 {
        cluster.put(&format!("later{number}"), "v").await;
        first.checkpointed(cluster.machine(StoreId(1)).checkpoint().unwrap()).await.unwrap();
    }
    let index = first.read_barrier().await.unwrap();
    cluster.group(StoreId(2)).wait_applied(index, soon()).await.unwrap();
    assert_eq!(cluster.machine(StoreId(2)).rows().len(), 70);
    assert_eq!(cluster.network.snapshot_count(), 1, "caught up by the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_15_and_16_leader_that_is_cut_off_acknowledges_nothing() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let old = cluster.leader().await;
    let all: Vec<StoreId> = cluster.nodes.keys().copied().collect();
    let group = cluster.group(old);
    cluster.network.isolate(old, &all);
    let proposal = group.submit("a=old".into(), None).await.unwrap();
    let outcome = tokio::spawn(proposal.outcome());
    cluster.put("a", "new").await;
    assert!(cluster.leader().await != old);
    assert!(!outcome.is_finished() || outcome.await.unwrap().is_err(), "acknowledged without a quorum");
    cluster.network.heal();
    settle(&cluster).await;
    assert_eq!(cluster.machine(old).get("a").as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_15_discarded_proposal_ends_as_unknown() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let old = cluster.leader().await;
    let all: Vec<StoreId> = cluster.nodes.keys().copied().collect();
    cluster.network.isolate(old, &all);
    let proposal = cluster.group(old).submit("a=old".into(), None).await.unwrap();
    cluster.put("a", "new").await;
    cluster.network.heal();
    let outcome = tokio::time::timeout_at(soon(), proposal.outcome()).await.unwrap();
    assert_eq!(outcome, Err(ProposeError::Unknown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_17_failed_write_acknowledges_nothing_and_stops_the_process() {
    let cluster = TestCluster::founded(1, fast_config()).await.unwrap();
    let node = &cluster.nodes[&StoreId(1)];
    cluster.put("a", "1").await;
    node.engine.fail_next_write();
    let outcome = cluster.group(StoreId(1)).propose("a=2".into(), None).await;
    assert!(matches!(outcome, Err(ProposeError::Unknown | ProposeError::Stopped)), "{outcome:?}");
    let deadline = soon();
    while node.fatal_count.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the process would have gone on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_20_isolated_replica_keeps_its_term_and_disturbs_nobody_on_return() {
    let config = RaftConfig { election_min: Duration::from_millis(200), election_max: Duration::from_millis(300), ..fast_config() };
    let cluster = TestCluster::founded(3, config).await.unwrap();
    let leader = cluster.leader().await;
    let term = cluster.group(leader).status().term;
    let all: Vec<StoreId> = cluster.nodes.keys().copied().collect();
    let alone = all.iter().copied().find(|store| *store != leader).unwrap();
    settle(&cluster).await;
    cluster.network.isolate(alone, &all);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(cluster.group(alone).status().term, term, "ten election timeouts alone");
    cluster.network.heal();
    cluster.put("a", "1").await;
    settle(&cluster).await;
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(cluster.group(leader).status().term, term);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_replica_whose_log_lost_its_end_is_refused_alone_and_its_node_serves_new_ones() {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    settle(&cluster).await;
    let victim = cluster.nodes.keys().copied().find(|store| !cluster.group(*store).status().is_leader).unwrap();
    let lost_id = ReplicaId(victim.0);
    cluster.crash_with_loss(victim).await;
    let stored = cluster.nodes[&victim].engine.last_index(lost_id).unwrap();
    let Err(GroupError::Lost(lost)) = cluster.run(victim).await else { panic!("a lost replica was opened") };
    assert_eq!((lost.replica, lost.shard), (lost_id, ShardId(1)));
    assert!(matches!(lost.cause, LossCause::LogBehindLedger { latest, ledger } if latest < ledger), "{lost}");

    // The others go on without it, and the node itself opens a replica under a new id, which catches up.
    cluster.put("b", "2").await;
    let groups = Arc::clone(cluster.nodes[&victim].groups.as_ref().unwrap());
    assert_eq!(groups.lost(), [lost]);
    assert!(groups.list().is_empty());
    let again = GroupSpec { shard: ShardId(1), replica: lost_id, workspace: WorkspaceId::new("w"), is_new: false };
    assert!(matches!(groups.create(again, KvMachine::open(&Disk::new())).await, Err(GroupError::Lost(again)) if again == lost));
    let unseen = GroupSpec { shard: ShardId(1), replica: ReplicaId(77), workspace: WorkspaceId::new("w"), is_new: false };
    assert!(matches!(groups.create(unseen, KvMachine::open(&Disk::new())).await, Err(GroupError::Lost(_))), "all of it may be lost");
    assert_eq!(cluster.nodes[&victim].engine.last_index(lost_id).unwrap(), stored, "what it has stored is left in place");

    let heir = ReplicaId(1024);
    let machine = KvMachine::open(&Disk::new());
    let spec = GroupSpec { shard: ShardId(1), replica: heir, workspace: WorkspaceId::new("w"), is_new: true };
    let group = groups.create(spec, Arc::<KvMachine>::clone(&machine)).await.unwrap();
    let leader = cluster.leader().await;
    let led = cluster.group(leader);
    led.add_learner(heir, victim).await.unwrap();
    let voters = led.status().voters.into_keys().filter(|replica| *replica != lost_id).chain([heir]).collect();
    led.change_membership(voters).await.unwrap();
    let index = led.read_barrier().await.unwrap();
    group.wait_applied(index, soon()).await.unwrap();
    assert_eq!(machine.rows(), cluster.machine(leader).rows());
    groups.destroy(lost_id).await.unwrap();
    assert_eq!(groups.lost().iter().map(|lost| lost.replica).collect::<Vec<_>>(), [ReplicaId(77)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_09_checkpoint_without_a_log_is_refused() {
    let mut cluster = TestCluster::founded(1, fast_config()).await.unwrap();
    let store = StoreId(1);
    cluster.put("a", "1").await;
    let point = cluster.machine(store).checkpoint().unwrap();
    cluster.crash(store, 0).await;
    cluster.nodes.get_mut(&store).unwrap().engine = MemoryEngine::new();
    let Err(GroupError::Lost(lost)) = cluster.run(store).await else { panic!("a replica without its log was opened") };
    assert_eq!(lost.cause, LossCause::LogMissing { durable: point });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_follower_with_a_full_disk_refuses_what_clients_wrote_and_nothing_else() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    settle(&cluster).await;
    let leader = cluster.leader().await;
    let followers: Vec<StoreId> = cluster.nodes.keys().copied().filter(|store| *store != leader).collect();
    let full = followers[0];
    let term = cluster.group(leader).status().term;
    cluster.nodes[&full].disk_full.store(true, Ordering::SeqCst);
    let before = cluster.group(full).status().last_log_index;
    for number in 0..20 {
        cluster.put(&format!("k{number}"), "v").await;
    }
    cluster.group(followers[1]).wait_applied(cluster.group(leader).read_barrier().await.unwrap(), soon()).await.unwrap();
    let status = cluster.group(full).status();
    assert_eq!(status.last_log_index, before, "nothing was written");
    assert_eq!((status.term, status.leader.map(|(_, store)| store)), (term, Some(leader)), "heartbeats go through");

    // Two of three full: nothing is acknowledged, and the leader stays one that reads are confirmed by.
    cluster.nodes[&followers[1]].disk_full.store(true, Ordering::SeqCst);
    let refused = cluster.group(leader).submit("late=1".into(), None).await.unwrap();
    let outcome = tokio::spawn(refused.outcome());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!outcome.is_finished(), "acknowledged without a quorum");
    assert_eq!(cluster.leader().await, leader);

    for store in &followers {
        cluster.nodes[store].disk_full.store(false, Ordering::SeqCst);
    }
    assert_eq!(tokio::time::timeout_at(soon(), outcome).await.unwrap().unwrap(), Ok(Bytes::new()));
    settle(&cluster).await;
    assert_eq!(cluster.machine(full).rows().len(), 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_full_disk_takes_the_empty_entry_of_a_new_leader_and_the_meta_groups_entries() {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    settle(&cluster).await;
    for node in cluster.nodes.values() {
        node.disk_full.store(true, Ordering::SeqCst);
    }
    let old = cluster.leader().await;
    cluster.crash(old, 0).await;
    // A new leader is confirmed only once its empty entry is on a quorum.
    assert_ne!(cluster.leader().await, old);

    let meta = TestCluster::founded_as(ShardId::META, 3, fast_config()).await.unwrap();
    for node in meta.nodes.values() {
        node.disk_full.store(true, Ordering::SeqCst);
    }
    meta.put("a", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_full_disk_takes_what_an_earlier_term_left_in_the_leaders_log() {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    settle(&cluster).await;
    let leader = cluster.leader().await;
    let followers: Vec<StoreId> = cluster.nodes.keys().copied().filter(|store| *store != leader).collect();
    for store in &followers {
        cluster.nodes[store].disk_full.store(true, Ordering::SeqCst);
    }
    let before = cluster.group(leader).status().last_log_index;
    drop(cluster.group(leader).submit("late=1".into(), None).await.unwrap());
    while cluster.group(leader).status().last_log_index == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    // Beside one full follower only the old leader can win: its log is the longer one.
    cluster.crash(followers[1], usize::MAX).await;
    cluster.crash(leader, usize::MAX).await;
    cluster.run(leader).await.unwrap();
    assert_eq!(cluster.leader().await, leader, "its empty entry stands behind the entry of the earlier term");
    settle(&cluster).await;
    assert_eq!(cluster.machine(followers[0]).rows().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_full_disk_takes_of_earlier_terms_no_more_than_can_have_been_in_flight() {
    let room = 64 * 1024;
    let mut cluster = TestCluster::founded(3, RaftConfig { group_pending_bytes: room, ..fast_config() }).await.unwrap();
    let leader = cluster.leader().await;
    let late = cluster.nodes.keys().copied().find(|store| *store != leader).unwrap();
    cluster.crash(late, usize::MAX).await;
    for number in 0..8 {
        cluster.put(&format!("k{number}"), &"v".repeat(room / 4)).await;
    }
    cluster.crash(leader, usize::MAX).await;
    cluster.run(leader).await.unwrap();
    let leader = cluster.leader().await;
    cluster.nodes[&late].disk_full.store(true, Ordering::SeqCst);
    cluster.run(late).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(cluster.machine(late).rows().len() <= 4, "the rest waits for room");
    cluster.nodes[&late].disk_full.store(false, Ordering::SeqCst);
    settle(&cluster).await;
    assert_eq!(cluster.machine(late).rows(), cluster.machine(leader).rows());
}
