//! An older image of a node's disk is no member of its groups: what it has forgotten must not count for a majority.

use crate::cluster::{now_ms, series};
use crate::local::{Up, eventually, free_ports};
use crate::members::{Joined, caller, ctl, id_of, wait_placed};
use reqwest::StatusCode;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Ids of the replicas on a store.
fn replicas(url: &str, store: u64) -> BTreeSet<u64> {
    let shards = ctl(url, &["shards"]).unwrap();
    let all = shards.as_array().unwrap().iter().flat_map(|shard| shard["replicas"].as_array().unwrap().clone());
    all.filter(|replica: &Value| replica["store"] == store).map(|replica| replica["replica"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_09_a_disk_that_was_restored_or_is_damaged_is_filled_by_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(1, &dir, &[]);
    up.wait_ready();
    let (first_rpc, one) = (up.port + 1, up.urls()[0].clone());
    let port = free_ports(2);
    let mut two = Joined::start_on(port, "two", &dir, first_rpc);
    let three = Joined::start("three", &dir, first_rpc);
    let two_id = id_of(&one, "two");
    let all = [1, two_id, id_of(&one, "three")];
    wait_placed(&one, &all);
    let urls = [one.as_str(), three.url.as_str()];
    let (writer, t) = (caller(&urls), now_ms());
    let rows = |t: i64| (0..50).map(|i| series(&[("__name__", "kept"), ("i", &i.to_string())], &[(t, 1.0)])).collect::<Vec<_>>();
    assert_eq!(writer.write(0, "/api/v1/write", rows(t)).await.0, StatusCode::NO_CONTENT);
    two.kill();
    copy(&dir.path().join("two"), &dir.path().join("image"));

    two = Joined::start_on(port, "two", &dir, first_rpc);
    eventually("two has caught up", || (ctl(&two.url, &["status"]).ok()?["ready"] == true).then_some(()));
    for step in 1..=20 {
        assert_eq!(writer.write(0, "/api/v1/write", rows(t + step * 100)).await.0, StatusCode::NO_CONTENT);
    }
    let before = replicas(&one, two_id);
    // Others hear twice a second how far a log is synced.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    two.kill();
    std::fs::remove_dir_all(dir.path().join("two")).unwrap();
    std::fs::rename(dir.path().join("image"), dir.path().join("two")).unwrap();

    two = Joined::start_on(port, "two", &dir, first_rpc);
    eventually("every replica of the old disk is replaced", || (replicas(&one, two_id).is_disjoint(&before)).then_some(()));
    let whole = async |two: &Joined| {
        wait_placed(&one, &all);
        eventually("two serves again", || (ctl(&two.url, &["status"]).ok()?["ready"] == true).then_some(()));
        let reader = caller(&[&one, &two.url, &three.url]);
        for node in 0..3 {
            assert_eq!(reader.result(node, "sum(count_over_time(kept[1m]))", t + 3000).await[0]["value"][1], (50 * 21).to_string());
        }
    };
    whole(&two).await;

    // A database that does not open any more comes back from the others.
    for (database, current) in [("chunkdb", "rocks/CURRENT"), ("raftdb", "CURRENT")] {
        two.kill();
        std::fs::write(dir.path().join("two").join(database).join(current), b"garbage").unwrap();
        two = Joined::start_on(port, "two", &dir, first_rpc);
        eventually("it is set aside", || dir.path().join("two").join(format!("{database}.damaged")).exists().then_some(()));
        whole(&two).await;
    }
    drop(up);
    two.kill();
    drop(three);
    std::fs::write(dir.path().join("two/chunkdb/rocks/CURRENT"), b"garbage").unwrap();
    let mut alone = Joined::start_on(port, "two", &dir, first_rpc);
    assert!(!alone.wait().success(), "where nobody answers the disk is all there is");
}
