//! Shards that nobody uses sleep, and nobody who uses them notices.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use std::time::{Duration, Instant};

/// Replicas that sleep on a node.
async fn asleep(caller: &Caller, node: usize) -> u64 {
    let text = caller.client.get(format!("{}/metrics", caller.urls[node])).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("flotilla_raft_asleep_replicas "));
    line.map_or(0, |count| count.parse::<f64>().unwrap() as u64)
}

/// Waits until all shards of both workspaces sleep on these nodes.
async fn all_asleep(caller: &Caller, nodes: &[usize]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    for node in nodes {
        while asleep(caller, *node).await < 6 {
            assert!(Instant::now() < deadline, "node {node} has replicas that stay awake");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

async fn write(caller: &Caller, node: usize, t: i64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let rows = (0..30).map(|i| series(&[("__name__", "slept"), ("i", &i.to_string())], &[(t, 1.0)])).collect();
        match caller.write(node, "/api/v1/write", rows).await {
            (StatusCode::NO_CONTENT, _) => return,
            (status, body) => assert!(status == StatusCode::SERVICE_UNAVAILABLE && Instant::now() < deadline, "{status} {body}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c17_shards_sleep_unless_they_are_used_and_a_leader_that_dies_asleep_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    // Without their own metrics, the nodes use no shard.
    let mut up = Up::start_with(3, &dir, &["--cluster.hibernate-after=1s", "--self-metrics.interval=0"]);
    up.wait_ready();
    let (caller, t) = (Caller::new(&up), now_ms());
    write(&caller, 0, t).await;
    for node in 0..3 {
        all_asleep(&caller, &[0, 1, 2]).await;
        write(&caller, node, t + 1 + node as i64).await;
        all_asleep(&caller, &[0, 1, 2]).await;
        let counted = caller.result(node, "sum(count_over_time(slept[1m]))", t + 1000).await;
        assert_eq!(counted[0]["value"][1], (30 * (node + 2)).to_string(), "a read wakes as a write does");
    }
    // One node is gone with the leaders that sleep on it, and does not come back for a while.
    for gone in 0..3 {
        all_asleep(&caller, &[0, 1, 2]).await;
        let pid = up.node_pid(gone + 1);
        kill_process(pid, Signal::STOP).unwrap();
        let others: Vec<usize> = (0..3).filter(|node| *node != usize::from(gone)).collect();
        for node in &others {
            write(&caller, *node, t + 10 + i64::from(gone)).await;
        }
        let counted = caller.result(others[0], "sum(count_over_time(slept[1m]))", t + 1000).await;
        assert_eq!(counted[0]["value"][1], (30 * (5 + usize::from(gone))).to_string());
        kill_process(pid, Signal::CONT).unwrap();
    }
    all_asleep(&caller, &[0, 1, 2]).await;
}
