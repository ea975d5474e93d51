//! Encryption of what is stored, as an operator sees it.

use crate::cluster::{Caller, now_ms, series};
use crate::local::Up;
use reqwest::StatusCode;
use rustix::process::{Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Metric, label name and label value; no other text of the product has these words.
const NEEDLES: [&str; 3] = ["quixotic_metric", "zebra_label", "narwhal-value"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![folder.to_owned()] };
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

fn leaks(folder: &Path, needles: &[Vec<u8>]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in files(folder) {
        // A running database removes files meanwhile.
        let Ok(bytes) = fs::read(&path) else { continue };
        for needle in needles.iter().filter(|needle| bytes.windows(needle.len()).any(|window| window == needle.as_slice())) {
            found.push((path.clone(), String::from_utf8_lossy(needle).into_owned()));
        }
    }
    found
}

#[tokio::test]
async fn c11_nothing_of_a_series_is_found_on_disk_and_all_of_it_after_every_node_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    fs::write(&key, "5a".repeat(32)).unwrap();
    let flag = format!("--storage.encryption-key-file={}", key.display());
    let value = 1_234.567_890_123_f64;
    let t = now_ms() / 1000 * 1000;
    let mut needles: Vec<Vec<u8>> = NEEDLES.iter().map(|text| text.as_bytes().to_vec()).collect();
    needles.extend([value.to_le_bytes().to_vec(), value.to_be_bytes().to_vec()]);
    let many: Vec<_> = (0..40)
        .map(|i| series(&[("__name__", NEEDLES[0]), ("zebra_label", NEEDLES[2]), ("i", &i.to_string())], &[(t - 5000, value)]))
        .collect();

    let mut up = Up::start_with(3, &dir, &[&flag]);
    up.wait_ready();
    let caller = Caller::new(&up);
    assert_eq!(caller.write(0, "/api/v1/write", many).await.0, StatusCode::NO_CONTENT);
    assert_eq!(caller.result(1, "sum(count_over_time(quixotic_metric[1m]))", t).await[0]["value"][1], "40");
    assert_eq!(leaks(&up.data, &needles), [], "while the nodes run");
    for pid in up.node_pids() {
        kill_process(pid, Signal::KILL).unwrap();
    }
    for number in 1..=3 {
        up.line(&format!("node-{number}: died"));
        up.line(&format!("node-{number}: ready"));
        up.line(&format!("node-{number}: ready"));
    }
    let caller = Caller::new(&up);
    for node in 0..3 {
        let found = caller.result(node, "quixotic_metric{zebra_label=\"narwhal-value\",i=\"7\"}", t).await;
        assert_eq!(found[0]["value"][1], "1234.567890123");
    }
    // A graceful stop writes checkpoints, parts and index segments.
    kill_process(up.pid(), Signal::TERM).unwrap();
    up.wait_exit();
    let data = up.data.clone();
    assert_eq!(leaks(&data, &needles), [], "after checkpoints");
    drop(up);

    let mut up = Up::start_with(3, &dir, &[&flag]);
    up.wait_ready();
    let caller = Caller::new(&up);
    assert_eq!(caller.result(2, "sum(count_over_time(quixotic_metric[1m]))", t).await[0]["value"][1], "40");
    assert_eq!(leaks(&data, &needles), []);
    kill_process(up.pid(), Signal::TERM).unwrap();
    up.wait_exit();
    drop(up);

    fs::write(&key, "a5".repeat(32)).unwrap();
    let before: Vec<_> = files(&data).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    for (flags, text) in [(vec![flag.as_str()], "is encrypted with key"), (vec![], "name its key file")] {
        let output = Command::new(env!("CARGO_BIN_EXE_flotilla"))
            .args(["serve", "--web.listen-address=127.0.0.1:0", "--data"])
            .arg(data.join("node-1"))
            .args(flags)
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&said).contains(text), "{}", String::from_utf8_lossy(&said));
    }
    let after: Vec<_> = files(&data).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(before == after, "a start that is refused touches nothing");
}
