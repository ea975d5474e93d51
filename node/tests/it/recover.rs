//! A cluster whose majority is lost for good goes on with what one disk holds.

use crate::cluster::{now_ms, series};
use crate::local::{Up, eventually, free_ports};
use crate::members::{Joined, caller, ctl, id_of, wait_placed};
use reqwest::StatusCode;
use std::process::Command;

fn recover(data: &std::path::Path, flags: &[&str]) -> Result<String, String> {
    let out = Command::new(env!("CARGO_BIN_EXE_flotilla")).args(["ctl", "recover", "--data"]).arg(data).args(flags).output().unwrap();
    if out.status.success() { Ok(String::from_utf8(out.stdout).unwrap()) } else { Err(String::from_utf8(out.stderr).unwrap()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c12_one_disk_of_three_is_enough_to_go_on_and_to_grow_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start(3, &dir);
    up.wait_ready();
    let (urls, data) = (up.urls(), up.data.join("node-2"));
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let (before, t) = (caller(&urls), now_ms());
    let rows = |n: usize, t: i64| (0..n).map(|i| series(&[("__name__", "kept"), ("i", &i.to_string())], &[(t, 1.0)])).collect::<Vec<_>>();
    assert_eq!(before.write(0, "/api/v1/write", rows(200, t)).await.0, StatusCode::NO_CONTENT);
    // Every node has it all before the others are lost.
    assert_eq!(before.result(1, "sum(kept)", t).await[0]["value"][1], "200");
    assert!(recover(&data, &["--accept-loss"]).unwrap_err().contains("must be stopped"));
    drop(up);
    eventually("the databases are free", || recover(&data, &[]).ok());
    let shown = recover(&data, &[]).unwrap();
    assert!(shown.contains("meta group: term") && shown.contains("nothing was changed"), "{shown}");
    assert!(recover(dir.path(), &["--accept-loss"]).unwrap_err().contains("no node of a cluster"));
    assert!(recover(&data, &["--accept-loss"]).unwrap().contains("stands alone"));

    // As the only node, under another name of its folder.
    std::fs::rename(&data, dir.path().join("alone")).unwrap();
    let port = free_ports(2);
    let alone = Joined::start_on(port, "alone", &dir, port + 1);
    eventually("it is a cluster of one", || (ctl(&alone.url, &["nodes"]).ok()?.as_array()?.len() == 1).then_some(()));
    let own = id_of(&alone.url, "alone");
    wait_placed(&alone.url, &[own]);
    let after = caller(&[&alone.url]);
    assert_eq!(after.result(0, "sum(kept)", t).await[0]["value"][1], "200");
    assert_eq!(after.write(0, "/api/v1/write", rows(300, t + 1000)).await.0, StatusCode::NO_CONTENT);

    // One of the lost comes back with its disk: nobody listens to it.
    std::fs::rename(dir.path().join("data/node-1"), dir.path().join("old")).unwrap();
    let _old = Joined::start("old", &dir, port + 1);
    let (two, three) = (Joined::start("two", &dir, port + 1), Joined::start("three", &dir, port + 1));
    wait_placed(&alone.url, &[own, id_of(&alone.url, "two"), id_of(&alone.url, "three")]);
    assert_eq!(ctl(&alone.url, &["nodes"]).unwrap().as_array().unwrap().len(), 3);
    let grown = caller(&[&alone.url, &two.url, &three.url]);
    for node in 0..3 {
        assert_eq!(grown.result(node, "sum(count_over_time(kept[1m]))", t + 2000).await[0]["value"][1], "500");
    }
}
