//! Groups that nobody uses: their timers stand still on all stores, and whatever happens wakes them in time.

use model::{ReplicaId, StoreId};
use raft::testing::{TestCluster, fast_config};
use raft::{Group, RaftConfig};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

const AFTER: Duration = Duration::from_millis(300);

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn config() -> RaftConfig {
    RaftConfig { hibernate_after: Some(AFTER), ..fast_config() }
}

/// What each node does about once a second.
async fn round(cluster: &TestCluster, silent: &[StoreId]) {
    for (store, node) in &cluster.nodes {
        if let Some(groups) = &node.groups {
            groups.hibernate(silent.iter().copied().filter(|silent| silent != store).collect()).await;
        }
    }
}

fn running(cluster: &TestCluster) -> Vec<Group> {
    cluster.nodes.iter().filter(|(_, node)| node.groups.is_some()).map(|(store, _)| cluster.group(*store)).collect()
}

async fn asleep(cluster: &TestCluster) {
    let deadline = soon();
    while !running(cluster).iter().all(Group::is_asleep) {
        assert!(Instant::now() < deadline, "somebody stays awake: {:?}", running(cluster).iter().map(Group::status).collect::<Vec<_>>());
        round(cluster, &[]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn led_by(cluster: &TestCluster, who: impl Fn(StoreId) -> bool) -> StoreId {
    let deadline = soon();
    loop {
        for group in running(cluster) {
            let leads = group.status().is_leader.then(|| group.status().leader).flatten();
            if let Some((_, store)) = leads.filter(|(_, store)| who(*store)) {
                return store;
            }
        }
        assert!(Instant::now() < deadline, "nobody leads");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_a_group_that_nobody_uses_sends_nothing_until_a_write_or_a_read_wakes_it() {
    let cluster = TestCluster::founded(3, config()).await.unwrap();
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    asleep(&cluster).await;
    let stores: Vec<StoreId> = cluster.nodes.keys().copied().collect();
    let carried = || stores.iter().flat_map(|from| stores.iter().map(|to| cluster.network.carried(*from, *to).frames)).sum::<u64>();
    let (before, term) = (carried(), cluster.group(leader).status().term);
    // Many election timeouts.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(carried(), before, "nothing is sent");
    assert_eq!(cluster.group(leader).propose("a=2".into(), None).await, Ok("1".into()), "the first write passes");
    assert!(!cluster.group(leader).is_asleep());
    asleep(&cluster).await;
    let index = cluster.group(leader).read_barrier().await.unwrap();
    for store in &stores {
        cluster.group(*store).wait_applied(index, soon()).await.unwrap();
        assert_eq!(cluster.machine(*store).get("a").as_deref(), Some("2"));
    }
    assert_eq!((led_by(&cluster, |_| true).await, cluster.group(leader).status().term), (leader, term), "nobody stood for election");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_followers_of_a_leader_that_died_asleep_elect_another() {
    let mut cluster = TestCluster::founded(3, config()).await.unwrap();
    let leader = cluster.leader().await;
    asleep(&cluster).await;
    cluster.crash(leader, 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(running(&cluster).iter().all(Group::is_asleep), "they do not see it by themselves");
    round(&cluster, &[leader]).await;
    led_by(&cluster, |store| store != leader).await;
    cluster.put("b", "1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_a_restarted_follower_does_not_unseat_a_leader_that_sleeps() {
    let mut cluster = TestCluster::founded(3, config()).await.unwrap();
    cluster.put("c", "1").await;
    let leader = cluster.leader().await;
    asleep(&cluster).await;
    let term = cluster.group(leader).status().term;
    let follower = cluster.nodes.keys().copied().find(|store| *store != leader).unwrap();
    cluster.crash(follower, usize::MAX).await;
    cluster.run(follower).await.unwrap();
    let known = cluster.group(follower).wait_leader(soon()).await.unwrap();
    assert_eq!(known.1, leader);
    cluster.put("c", "2").await;
    assert_eq!((led_by(&cluster, |_| true).await, cluster.group(leader).status().term), (leader, term));
    asleep(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_a_group_sleeps_on_all_stores_or_on_none() {
    let cluster = TestCluster::founded(3, config()).await.unwrap();
    let leader = cluster.leader().await;
    let (follower, other) = {
        let mut others = cluster.nodes.keys().copied().filter(|store| *store != leader);
        (others.next().unwrap(), others.next().unwrap())
    };
    let until = Instant::now() + AFTER * 5;
    while Instant::now() < until {
        cluster.group(follower).stir();
        round(&cluster, &[]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let deadline = soon();
    while running(&cluster).iter().any(Group::is_asleep) {
        cluster.group(follower).stir();
        assert!(Instant::now() < deadline, "the leader's heartbeat wakes those that agreed");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Nor while a store does not answer.
    cluster.network.isolate(other, &[leader, follower]);
    tokio::time::sleep(AFTER * 2).await;
    round(&cluster, &[]).await;
    tokio::time::sleep(AFTER).await;
    assert!(!cluster.group(leader).is_asleep() && !cluster.group(follower).is_asleep());
    cluster.network.heal();
    asleep(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_a_client_that_asks_a_sleeping_follower_ends_the_rule_of_a_leader_that_is_gone() {
    let cluster = TestCluster::founded(3, config()).await.unwrap();
    let leader = cluster.leader().await;
    asleep(&cluster).await;
    // Its store answers, its replica does not.
    cluster.nodes[&leader].groups.as_ref().unwrap().destroy(ReplicaId(leader.0)).await.unwrap();
    let others: BTreeSet<StoreId> = cluster.nodes.keys().copied().filter(|store| *store != leader).collect();
    for store in &others {
        cluster.group(*store).stir();
    }
    let deadline = soon();
    let leads = |store: &&StoreId| cluster.group(**store).status().is_leader;
    while !others.iter().any(|store| leads(&store)) {
        assert!(Instant::now() < deadline, "nobody leads");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
