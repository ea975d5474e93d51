//! What idle groups cost on the wire.

use model::{ReplicaId, ShardId, StoreId, WorkspaceId};
use raft::testing::{Disk, KvMachine, TestCluster, fast_config};
use raft::{Group, GroupSpec, RaftConfig};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const GROUPS: u64 = 64;
const GATHERED: Duration = Duration::from_millis(10);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// Opens replicas of `shard` on every store and founds the group at store 1, which then leads it.
async fn found(cluster: &TestCluster, shard: u64) -> Group {
    let replica = |store: StoreId| ReplicaId(shard * 10 + store.0);
    for (store, node) in &cluster.nodes {
        let spec = GroupSpec { shard: ShardId(shard), replica: replica(*store), workspace: WorkspaceId::new("w"), is_new: true };
        node.groups.as_ref().unwrap().create(spec, KvMachine::open(&Disk::new())).await.unwrap();
    }
    let members: BTreeMap<_, _> = cluster.nodes.keys().map(|store| (replica(*store), *store)).collect();
    let group = cluster.nodes[&StoreId(1)].groups.as_ref().unwrap().group(ShardId(shard)).unwrap();
    group.initialize(members).await.unwrap();
    group
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_of_many_idle_groups_go_to_a_peer_in_a_hundred_messages_a_second_at_most() {
    let config = RaftConfig {
        heartbeat: RaftConfig::default().heartbeat,
        election_min: Duration::from_secs(5),
        election_max: Duration::from_secs(10),
        ..fast_config()
    };
    let cluster = TestCluster::founded(3, config).await.unwrap();
    for shard in 2..=GROUPS {
        let group = found(&cluster, shard).await;
        let led = group.wait_leader(soon()).await.unwrap();
        assert_eq!(led.1, StoreId(1), "who founds a group leads it");
    }
    let leader = cluster.leader().await;
    // What the foundings left to do is done: only heartbeats are sent from here on.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let peer = cluster.nodes.keys().copied().find(|store| *store != leader).unwrap();
    let (began, sent, answered) = (Instant::now(), cluster.network.carried(leader, peer), cluster.network.carried(peer, leader));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (sent_now, answered_now) = (cluster.network.carried(leader, peer), cluster.network.carried(peer, leader));
    let windows = began.elapsed().div_duration_f64(GATHERED);
    let (messages, frames) = (sent_now.messages - sent.messages, sent_now.frames - sent.frames);
    let (answer_messages, answers) = (answered_now.messages - answered.messages, answered_now.frames - answered.frames);
    let figures = format!("{messages} messages of {frames} frames, {answer_messages} of {answers} answers, {windows:.0} windows");
    assert!(frames >= 2 * GROUPS && answers >= GROUPS, "every group is told and answers for itself: {figures}");
    assert!(messages as f64 <= windows + 10.0, "{figures}");
    assert!(messages * 3 <= frames && answer_messages * 2 <= answers, "{figures}");
    assert_eq!(cluster.group(leader).status().leader.map(|(_, store)| store), Some(leader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeat_that_a_read_waits_for_waits_for_no_other() {
    let cluster = TestCluster::founded(3, RaftConfig { heartbeat: Duration::from_millis(160), ..fast_config() }).await.unwrap();
    let group = cluster.group(cluster.leader().await);
    let mut fastest = Duration::MAX;
    for _ in 0..50 {
        // Beside the interval of heartbeats, so that most rounds are the read's own.
        tokio::time::sleep(Duration::from_millis(7)).await;
        let began = Instant::now();
        group.read_barrier().await.unwrap();
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < GATHERED, "the fastest of fifty reads took {fastest:?}");
}
