//! Damage on one node's disk: found, quarantined, never answered from, and repaired from the other nodes.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use proto::prometheus::TimeSeries;
use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const SAMPLES: i64 = 400;
const SERIES: i64 = 20;

fn data(t: i64) -> Vec<TimeSeries> {
    let samples: Vec<(i64, f64)> = (0..SAMPLES).map(|i| (t - (SAMPLES - i) * 10_000, (i % 17) as f64)).collect();
    (0..SERIES).map(|i| series(&[("__name__", "kept"), ("i", &i.to_string())], &samples)).collect()
}

/// Flips bytes in the data of every file that holds samples or their index; gives the files.
fn damage_samples(folder: &Path, t: i64) -> Vec<PathBuf> {
    let mut damaged = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "sst") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        // The first key of a file is written whole: a day, then the node's own number of the shard.
        let days = [t, t - SAMPLES * 10_000].map(|ms| u16::try_from(ms / 86_400_000).unwrap().to_be_bytes());
        let begins = days.iter().any(|day| bytes.windows(4).take(16).any(|at| at == [day[0], day[1], 0, 0]));
        if begins {
            // Inside the first block of data: what describes the file as a whole would keep the database from opening.
            bytes[100] ^= 0x55;
            fs::write(&path, bytes).unwrap();
            damaged.push(path);
        }
    }
    damaged
}

async fn metric(caller: &Caller, node: usize, line: &str) -> Option<f64> {
    let response = caller.client.get(format!("{}/metrics", caller.urls[node])).send().await.ok()?;
    let text = response.text().await.ok()?;
    text.lines().find_map(|found| found.strip_prefix(line)).and_then(|value| value.trim().parse().ok())
}

#[tokio::test]
async fn damaged_files_of_one_node_are_found_and_replaced_while_every_node_goes_on_answering() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(3, &dir, &["--web.enable-admin-api=true", "--storage.scrub-period=1s", "--self-metrics.interval=0s"]);
    up.wait_ready();
    let caller = Caller::new(&up);
    let t = now_ms() / 1000 * 1000;
    assert_eq!(caller.write(0, "/api/v1/write", data(t)).await.0, StatusCode::NO_CONTENT);
    // Every replica writes its checkpoint for this.
    let url = format!("{}/api/v1/admin/tsdb/clean_tombstones", caller.urls[0]);
    assert_eq!(caller.client.post(url).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let damaged = damage_samples(&up.data.join("node-2/chunkdb/rocks"), t);
    assert!(!damaged.is_empty(), "samples are on the disk");
    kill_process(up.node_pid(2), Signal::KILL).unwrap();
    up.line("node-2: died");
    up.line("node-2: ready");
    up.line("node-2: ready");
    let caller = Caller::new(&up);
    let (mut found, mut repaired, mut quarantined) = (None, None, None);
    for _ in 0..1200 {
        let total = caller.result(1, "sum(count_over_time(kept[2h]))", t).await;
        assert_eq!(total[0]["value"][1], (SAMPLES * SERIES).to_string(), "never a wrong answer");
        found = metric(&caller, 1, "flotilla_scrubbed_damaged_parts_total").await;
        repaired = metric(&caller, 1, "flotilla_day_repairs_total{outcome=\"repaired\"}").await;
        quarantined = metric(&caller, 1, "flotilla_quarantined_days").await;
        if found >= Some(1.0) && repaired >= Some(1.0) && quarantined == Some(0.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(found >= Some(1.0) && repaired >= Some(1.0) && quarantined == Some(0.0), "{found:?} {repaired:?} {quarantined:?}");
    assert!(damaged.iter().any(|file| !file.exists()), "what cannot be read is gone: {damaged:?}");
    assert_eq!(metric(&caller, 1, "flotilla_chunkdb_background_errors").await, Some(0.0));
    for node in 0..3 {
        let last = caller.result(node, "sum by (i) (sum_over_time(kept[2h]))", t).await;
        let expected = (0..SAMPLES).map(|i| i % 17).sum::<i64>().to_string();
        assert_eq!(last.as_array().unwrap().len(), usize::try_from(SERIES).unwrap());
        assert!(last.as_array().unwrap().iter().all(|one| one["value"][1] == expected), "node {node}: {last}");
    }
}
