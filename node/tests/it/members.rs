//! A cluster that changes under load: nodes join, one becomes three, a node leaves, a node dies and is replaced.

use crate::cluster::{Caller, now_ms, series};
use crate::local::{Up, eventually, free_ports};
use reqwest::StatusCode;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

/// A node beside those of [`Up`], killed at the end of the test.
pub(crate) struct Joined {
    child: Child,
    pub(crate) url: String,
}

impl Joined {
    pub(crate) fn start(name: &str, dir: &tempfile::TempDir, first_rpc: u16) -> Self {
        Self::start_on(free_ports(2), name, dir, first_rpc)
    }

    /// Starts on two ports from `port` on, on what is in the folder of that name.
    pub(crate) fn start_on(port: u16, name: &str, dir: &tempfile::TempDir, first_rpc: u16) -> Self {
        let data: PathBuf = dir.path().join(name);
        std::fs::create_dir_all(&data).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_flotilla"))
            .args(["serve", "--node-name", name, "--initial-nodes", &format!("127.0.0.1:{first_rpc}"), "--cluster.replace-after=4s"])
            .args(["--web.listen-address", &format!("127.0.0.1:{port}"), "--rpc.listen-address", &format!("127.0.0.1:{}", port + 1)])
            .args(["--log.level=error", "--data"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://127.0.0.1:{port}") }
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the node ends", || self.child.try_wait().unwrap())
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `flotilla ctl` and gives what it prints.
pub(crate) fn ctl(url: &str, args: &[&str]) -> Result<Value, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_flotilla")).args(["ctl", "--json", "--url", url]).args(args).output().unwrap();
    if out.status.success() { Ok(serde_json::from_slice(&out.stdout).unwrap()) } else { Err(String::from_utf8(out.stderr).unwrap()) }
}

/// Stores that hold a voting replica of each group, or none while changes are under way.
fn placed(url: &str) -> Option<Vec<Vec<u64>>> {
    let shards = ctl(url, &["shards"]).ok()?;
    let settled = |shard: &&Value| shard["change"].is_null() && shard["replicas"].as_array().unwrap().iter().all(|r| r["role"] == "voter");
    let stores = |shard: &Value| {
        let mut stores: Vec<u64> = shard["replicas"].as_array().unwrap().iter().map(|r| r["store"].as_u64().unwrap()).collect();
        stores.sort_unstable();
        stores
    };
    let shards = shards.as_array().unwrap();
    shards.iter().all(|shard| settled(&shard)).then(|| shards.iter().map(stores).collect())
}

pub(crate) fn wait_placed(url: &str, stores: &[u64]) {
    let mut stores = stores.to_vec();
    stores.sort_unstable();
    eventually(&format!("all groups on {stores:?}"), || placed(url).filter(|placed| placed.iter().all(|s| *s == stores)));
}

pub(crate) fn id_of(url: &str, name: &str) -> u64 {
    eventually(&format!("{name} is known"), || {
        let nodes = ctl(url, &["nodes"]).ok()?;
        nodes.as_array()?.iter().find(|node| node["name"] == name)?["id"].as_u64()
    })
}

/// Writes a sample a step as long as it is told to, through any of the nodes that are named; `last` is the newest acknowledged one.
async fn keep_writing(caller: Caller, first: i64, last: Arc<AtomicI64>, stop: Arc<AtomicBool>) -> usize {
    let mut refused = 0;
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let t = first + n * 1000;
        let rows: Vec<_> = (0..8).map(|i| series(&[("__name__", "kept"), ("i", &i.to_string())], &[(t, n as f64)])).collect();
        loop {
            let (status, _) = caller.write(0, "/api/v1/write", rows.clone()).await;
            if status == StatusCode::NO_CONTENT {
                break;
            }
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "a sender never retries another error");
            refused += 1;
        }
        last.store(n, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    refused
}

pub(crate) fn caller(urls: &[&str]) -> Caller {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
    Caller { client, urls: urls.iter().map(|url| (*url).to_owned()).collect() }
}

/// Everything acknowledged is there, once, on each node.
async fn check(caller: &Caller, first: i64, last: i64) {
    for node in 0..caller.urls.len() {
        let query = format!("sum(count_over_time(kept[{}ms])) - 8 * {}", (last + 1) * 1000, last + 1);
        let found = caller.result(node, &query, first + last * 1000).await;
        assert_eq!(found[0]["value"][1], "0", "node {node}: {found}");
        let sum = caller.result(node, &format!("sum(sum_over_time(kept[{}ms]))", (last + 1) * 1000), first + last * 1000).await;
        assert_eq!(sum[0]["value"][1], (4 * last * (last + 1)).to_string(), "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_one_node_becomes_three_a_node_leaves_and_another_is_replaced_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(1, &dir, &["--cluster.replace-after=4s"]);
    up.wait_ready();
    let (first_rpc, one) = (up.port + 1, up.urls()[0].clone());
    let first = now_ms() / 1000 * 1000 - 3_600_000;
    let (last, stop) = (Arc::<AtomicI64>::default(), Arc::<AtomicBool>::default());
    let load = tokio::spawn(keep_writing(caller(&[&one]), first, Arc::clone(&last), Arc::clone(&stop)));
    let so_far = || last.load(Ordering::Relaxed);

    let mut two = Joined::start("two", &dir, first_rpc);
    assert_eq!(id_of(&one, "two"), 1024);
    assert_eq!(placed(&one).unwrap(), [[1], [1], [1]], "never two replicas");
    let mut three = Joined::start("three", &dir, first_rpc);
    wait_placed(&one, &[1, 1024, id_of(&one, "three")]);
    let three_id = id_of(&one, "three");
    check(&caller(&[&one, &two.url, &three.url]), first, so_far()).await;

    let four = Joined::start("four", &dir, first_rpc);
    let four_id = id_of(&one, "four");
    let refused = ctl(&one, &["remove", "two"]).unwrap_err();
    assert!(refused.contains("drain it first"), "{refused}");
    ctl(&three.url, &["drain", "two"]).unwrap();
    wait_placed(&one, &[1, three_id, four_id]);
    eventually("two has destroyed what it held", || (ctl(&two.url, &["status"]).ok()?["groupsHere"] == 0).then_some(()));
    ctl(&one, &["remove", "two"]).unwrap();
    assert_eq!(ctl(&one, &["nodes"]).unwrap().as_array().unwrap().len(), 3);
    two.kill();
    check(&caller(&[&one, &three.url, &four.url]), first, so_far()).await;

    let five = Joined::start("five", &dir, first_rpc);
    let five_id = id_of(&one, "five");
    three.kill();
    let dead = eventually("three is replaced", || placed(&one).filter(|placed| placed.iter().all(|s| !s.contains(&three_id))));
    assert!(dead.iter().all(|stores| *stores == [1, four_id, five_id]), "{dead:?}");
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    check(&caller(&[&one, &four.url, &five.url]), first, so_far()).await;
}
