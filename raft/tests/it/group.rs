//! One group: proposals, restarts, elections, membership.

use bytes::Bytes;
use model::{LogPoint, ReplicaId, StoreId, limits};
use raft::testing::{TestCluster, fast_config};
use raft::{ProposeError, Role};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sole_voter_elects_itself_at_once_applies_and_comes_back() {
    let mut cluster = TestCluster::founded(1, fast_config()).await.unwrap();
    let store = StoreId(1);
    let group = cluster.group(store);
    assert_eq!(group.propose("a=1".into(), None).await, Ok(Bytes::new()));
    assert_eq!(group.propose("a=2".into(), None).await, Ok("1".into()));
    cluster.crash(store, 0).await;
    cluster.run(store).await.unwrap();
    let began = Instant::now();
    cluster.leader().await;
    assert!(began.elapsed() < Duration::from_millis(300), "elected after {:?}", began.elapsed());
    cluster.group(store).wait_recovered(soon()).await.unwrap();
    assert_eq!(cluster.machine(store).get("a").as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_of_one_caller_are_applied_in_order() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let leader = cluster.leader().await;
    let payloads = (0..500).map(|number| Bytes::from(format!("k={number}"))).collect();
    let answers = cluster.group(leader).propose_many(payloads, None).await;
    for (number, answer) in answers.into_iter().enumerate() {
        let former = number.checked_sub(1).map_or_else(String::new, |former| former.to_string());
        assert_eq!(answer, Ok(Bytes::from(former)));
    }
    let index = cluster.group(leader).read_barrier().await.unwrap();
    for store in cluster.nodes.keys() {
        cluster.group(*store).wait_applied(index, soon()).await.unwrap();
        assert_eq!(cluster.machine(*store).get("k").as_deref(), Some("499"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposal_of_another_term_is_not_appended() {
    let cluster = TestCluster::founded(1, fast_config()).await.unwrap();
    let group = cluster.group(StoreId(1));
    let term = group.status().term;
    assert!(matches!(group.propose("a=1".into(), Some(term + 1)).await, Err(ProposeError::NotLeader { .. })));
    assert_eq!(group.propose("a=2".into(), Some(term)).await, Ok(Bytes::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_names_the_leader() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let leader = cluster.leader().await;
    let follower = cluster.nodes.keys().copied().find(|store| *store != leader).unwrap();
    let group = cluster.group(follower);
    assert_eq!(group.wait_leader(soon()).await, Ok((ReplicaId(leader.0), leader)));
    let refusal = group.propose("a=1".into(), None).await;
    assert_eq!(refusal, Err(ProposeError::NotLeader { leader: Some((ReplicaId(leader.0), leader)) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_bytes_in_flight_than_agreed_are_refused() {
    let config = raft::RaftConfig { group_pending_bytes: 1000, ..fast_config() };
    let cluster = TestCluster::founded(1, config).await.unwrap();
    let group = cluster.group(StoreId(1));
    cluster.machine(StoreId(1)).set_apply_delay(Duration::from_millis(200));
    let first = group.submit(Bytes::from(format!("a={}", "x".repeat(900))), None).await.unwrap();
    let refused = group.propose(Bytes::from(format!("b={}", "x".repeat(900))), None).await;
    assert_eq!(refused, Err(ProposeError::Overloaded));
    assert!(first.outcome().await.is_ok());
    assert!(group.propose("b=1".into(), None).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_18_entry_of_the_limit_passes_the_whole_path_and_one_byte_more_is_refused() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    let leader = cluster.leader().await;
    let group = cluster.group(leader);
    let payload = |bytes: usize| Bytes::from(format!("k={}", "x".repeat(bytes - 2)));
    let over = limits::ENTRY_BYTES_MAX + 1;
    assert_eq!(group.propose(payload(over), None).await, Err(ProposeError::TooLarge { bytes: over, max: limits::ENTRY_BYTES_MAX }));
    assert_eq!(group.propose(payload(limits::ENTRY_BYTES_MAX), None).await, Ok(Bytes::new()));
    let index = group.read_barrier().await.unwrap();
    for store in cluster.nodes.keys() {
        cluster.group(*store).wait_applied(index, soon()).await.unwrap();
        assert_eq!(cluster.machine(*store).get("k").map(|value| value.len()), Some(limits::ENTRY_BYTES_MAX - 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_on_request() {
    let cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    let heir = cluster.nodes.keys().copied().find(|store| *store != leader).unwrap();
    cluster.group(leader).transfer_leader(ReplicaId(heir.0)).await.unwrap();
    let mut status = cluster.group(heir).watch();
    tokio::time::timeout_at(soon(), status.wait_for(|status| status.is_leader)).await.unwrap().unwrap();
    cluster.put("a", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_group_grows_from_one_to_three_voters_by_one_joint_change() {
    let cluster = TestCluster::start(3, fast_config()).await.unwrap();
    let first = cluster.group(StoreId(1));
    first.initialize([(ReplicaId(1), StoreId(1))].into()).await.unwrap();
    cluster.leader().await;
    cluster.put("a", "1").await;
    for store in [2, 3] {
        first.add_learner(ReplicaId(store), StoreId(store)).await.unwrap();
    }
    first.change_membership(BTreeSet::from([1, 2, 3].map(ReplicaId))).await.unwrap();
    cluster.put("b", "2").await;
    let index = first.read_barrier().await.unwrap();
    for store in [2, 3].map(StoreId) {
        cluster.group(store).wait_applied(index, soon()).await.unwrap();
        assert_eq!(cluster.machine(store).get("a").as_deref(), Some("1"));
    }
    let status = first.status();
    assert_eq!((status.voters.len(), status.is_joint, status.role), (3, false, Role::Leader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leader_is_replaced_and_what_was_acknowledged_stays() {
    let mut cluster = TestCluster::founded(3, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    let leader = cluster.leader().await;
    cluster.crash(leader, 0).await;
    cluster.put("b", "2").await;
    cluster.run(leader).await.unwrap();
    let index = cluster.group(cluster.leader().await).read_barrier().await.unwrap();
    cluster.group(leader).wait_applied(index, soon()).await.unwrap();
    assert_eq!(cluster.machine(leader).get("a").as_deref(), Some("1"));
    assert_eq!(cluster.machine(leader).get("b").as_deref(), Some("2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn points_name_the_leader_of_their_term() {
    let cluster = TestCluster::founded(1, fast_config()).await.unwrap();
    cluster.put("a", "1").await;
    let LogPoint { leader, .. } = cluster.machine(StoreId(1)).checkpoint().unwrap();
    assert_eq!(leader, ReplicaId(1));
}
