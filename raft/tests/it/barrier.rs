//! Coalesced read barriers.

use model::{ReplicaId, ShardId, StoreId};
use raft::BarrierError;
use raft::testing::{TestCluster, fast_config};
use std::time::Duration;
use tokio::time::Instant;

const SHARD: ShardId = ShardId(1);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c16_callers_of_one_window_share_a_request_and_see_what_was_acknowledged() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    let reader = cluster.nodes.keys().copied().find(|store| *store != leader).unwrap();
    let barrier = cluster.nodes[&reader].groups.as_ref().unwrap().barrier();
    let callers = (0..100).map(|_| barrier.confirm(SHARD, leader, soon()));
    for index in futures::future::join_all(callers).await {
        cluster.group(reader).wait_applied(index.unwrap(), soon()).await.unwrap();
    }
    assert_eq!(cluster.machine(reader).get("a").as_deref(), Some("1"));
    assert!(cluster.network.barrier_count() <= 3, "{} requests for 100 callers", cluster.network.barrier_count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local_leader_is_asked_without_a_request() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let leader = cluster.leader().await;
    let barrier = cluster.nodes[&leader].groups.as_ref().unwrap().barrier();
    barrier.confirm(SHARD, leader, soon()).await.unwrap();
    assert_eq!(cluster.network.barrier_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_who_leads_or_that_nobody_is_there() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let leader = cluster.leader().await;
    let others: Vec<StoreId> = cluster.nodes.keys().copied().filter(|store| *store != leader).collect();
    cluster.group(others[1]).wait_leader(soon()).await.unwrap();
    let barrier = cluster.nodes[&others[0]].groups.as_ref().unwrap().barrier();
    let wrong = barrier.confirm(SHARD, others[1], soon()).await;
    assert_eq!(wrong, Err(BarrierError::NotLeader { leader: Some((ReplicaId(leader.0), leader)) }));
    assert_eq!(barrier.confirm(ShardId(9), leader, soon()).await, Err(BarrierError::NotOpen(ShardId(9))));
    assert!(matches!(barrier.confirm(SHARD, StoreId(9), soon()).await, Err(BarrierError::Unreachable { store: StoreId(9), .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_that_is_cut_off_confirms_nothing() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let leader = cluster.leader().await;
    let all: Vec<StoreId> = cluster.nodes.keys().copied().collect();
    cluster.network.isolate(leader, &all);
    let barrier = cluster.nodes[&leader].groups.as_ref().unwrap().barrier();
    let outcome = barrier.confirm(SHARD, leader, soon()).await;
    assert!(matches!(outcome, Err(BarrierError::NoQuorum | BarrierError::NotLeader { .. })), "{outcome:?}");
}
