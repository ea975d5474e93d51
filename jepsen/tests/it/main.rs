//! Runs the built `jepsen`: against fake nodes, honest and lying, and against the real node.

#![allow(clippy::unwrap_used, reason = "a failed test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The directory of this profile's programs.
fn built() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_jepsen")).parent().unwrap().to_path_buf()
}

fn jepsen(binary: &Path, seed: u64, time: &str, rate: u64) -> (Output, tempfile::TempDir) {
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_jepsen"))
        .args([
            "run",
            "--workload",
            "samples,sessions,deletes",
            "--nodes",
            "3",
            "--time",
            time,
            "--seed",
            &seed.to_string(),
            "--rate",
            &rate.to_string(),
        ])
        .arg("--binary")
        .arg(binary)
        .arg("--out")
        .arg(out.path())
        .output()
        .unwrap();
    (output, out)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_string()
}

/// A program that runs a fake node, one that tells `lie`.
fn fake_node(dir: &Path, lie: Option<&str>) -> PathBuf {
    let node = built().join("examples/fake_node");
    assert!(node.exists(), "{} is not built; cargo test -p jepsen builds it", node.display());
    let script = dir.join(lie.unwrap_or("honest"));
    let lie = lie.map(|l| format!(" --lie {l}")).unwrap_or_default();
    std::fs::write(&script, format!("#!/bin/sh\nexec {} \"$@\"{lie}\n", node.display())).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    script
}

/// Runs fake nodes that tell `lie` for `time`.
fn fake(lie: Option<&str>, seed: u64, time: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    jepsen(&fake_node(dir.path(), lie), seed, time, 1000).0
}

/// Restarts fake nodes in turn that tell `lie`, with such as tell `new_lie` if there is one.
fn rolled(lie: Option<&str>, new_lie: Option<&str>) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jepsen"));
    command.args(["rolling", "--nodes", "3", "--time", "1s", "--rate", "1000", "--binary"]).arg(fake_node(dir.path(), lie));
    if new_lie.is_some() {
        command.arg("--new-binary").arg(fake_node(dir.path(), new_lie));
    }
    command.arg("--out").arg(dir.path().join("out")).output().unwrap()
}

/// The figure `name=N` of a verdict.
fn figure(line: &str, name: &str) -> u64 {
    let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {line:?}"))
}

fn assert_caught(lie: &str, by: &[&str]) {
    let output = fake(Some(lie), 7, "4s");
    let line = last_line(&output);
    assert_eq!(output.status.code(), Some(1), "{lie}: {}", text(&output));
    assert!(line.starts_with("FAILED seed=7 acked="), "{lie}: {line}");
    assert!(by.iter().any(|name| figure(&line, name) > 0), "{lie} must show as one of {by:?}: {}", text(&output));
}

#[test]
fn honest_nodes_pass_under_faults() {
    let output = fake(None, 3, "10s");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let line = last_line(&output);
    let expected = format!("OK seed=3 acked={} missing=0 wrong=0 phantom=0 faults={}", figure(&line, "acked"), figure(&line, "faults"));
    assert_eq!(line, expected);
    assert!(figure(&line, "faults") >= 3 && figure(&line, "acked") > 500, "{line}");
}

#[test]
fn a_lost_sample_fails_the_run() {
    assert_caught("lose", &["missing"]);
}

#[test]
fn a_flipped_bit_fails_the_run() {
    assert_caught("corrupt", &["wrong"]);
}

#[test]
fn an_invented_sample_fails_the_run() {
    assert_caught("phantom", &["phantom"]);
}

#[test]
fn a_point_given_twice_fails_the_run() {
    assert_caught("duplicate", &["wrong"]);
}

#[test]
fn writes_forgotten_by_a_restart_fail_the_run() {
    assert_caught("forget", &["missing"]);
}

#[test]
fn a_stale_read_fails_the_run() {
    assert_caught("stale", &["missing"]);
}

#[test]
fn a_refused_valid_write_fails_the_run() {
    assert_caught("refuse", &["refused"]);
}

#[test]
fn a_changed_nan_payload_fails_the_run() {
    assert_caught("payload", &["wrong", "refused"]);
}

#[test]
fn a_lost_stale_marker_fails_the_run() {
    assert_caught("marker", &["missing"]);
}

#[test]
fn a_panic_in_a_log_fails_the_run() {
    assert_caught("panic", &["crashed"]);
}

#[test]
fn i11_a_forgotten_delete_fails_the_run() {
    assert_caught("undelete", &["reappeared"]);
}

#[test]
fn i20_samples_counted_twice_fail_the_run() {
    assert_caught("meter", &["metering"]);
}

#[test]
fn i23_a_rolling_restart_passes_with_honest_nodes_and_not_with_a_version_that_loses_samples() {
    let output = rolled(None, None);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(last_line(&output).starts_with("OK restarts=3 failed=0 unclean=0 missing=0"), "{}", text(&output));
    for lie in ["forget", "lose"] {
        let output = rolled(None, Some(lie));
        assert!(output.status.code() == Some(1) && figure(&last_line(&output), "missing") > 0, "{lie}: {}", text(&output));
    }
}

#[test]
fn a_node_that_ends_with_an_error_when_it_is_asked_to_fails_a_rolling_restart() {
    let output = rolled(Some("unclean"), None);
    assert!(output.status.code() == Some(1) && figure(&last_line(&output), "unclean") == 3, "{}", text(&output));
}

#[test]
fn nodes_that_do_not_start_give_no_verdict() {
    let output = fake(Some("crash"), 1, "5s");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(last_line(&output).starts_with("could not run: "), "{}", text(&output));
}

#[test]
fn a_missing_binary_gives_no_verdict() {
    let (output, _out) = jepsen(Path::new("/nonexistent/flotilla"), 1, "5s", 1000);
    assert_eq!(output.status.code(), Some(2));
    assert!(last_line(&output).starts_with("could not run: /nonexistent/flotilla: "), "{}", text(&output));
}

#[test]
fn a_real_cluster_survives_a_short_run() {
    let binary = std::env::var_os("FLOTILLA_BINARY").map_or_else(|| built().join("flotilla"), PathBuf::from);
    assert!(binary.exists(), "{} is not built: run `cargo build --release --bin flotilla`, or set FLOTILLA_BINARY", binary.display());
    let (output, out) = jepsen(&binary, 1, "12s", 2000);
    let passed = output.status.code() == Some(0) && last_line(&output).starts_with("OK seed=1 acked=");
    if !passed {
        let kept = out.keep();
        panic!("{}\neverything is kept in {}", text(&output), kept.display());
    }
}
