//! What holds for every seed holds for these.

use sim::many::{Many, report};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_sim"))
}

/// The line of one seed, without its processor time.
fn line(arguments: &[&str], seed: u64) -> String {
    let output = Command::new(program()).args(["run", "--seed", &seed.to_string()]).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.starts_with("seed ")).unwrap().rsplit_once(" cpu ").unwrap().0.to_owned()
}

fn hold(first: u64, seeds: u64, arguments: &[&str]) {
    let traces = tempfile::tempdir().unwrap().keep();
    let many = Many {
        program: program(),
        first,
        seeds,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        planted: None,
        stop_at_first: false,
        patience: Duration::from_secs(1800),
    };
    let mut told = Vec::new();
    let is_ok = report(&many, &traces, &mut told).unwrap();
    assert!(is_ok, "{}", String::from_utf8_lossy(&told));
    std::fs::remove_dir_all(traces).unwrap();
}

#[test]
fn one_seed_always_gives_the_same_trace_and_another_gives_another() {
    let of = |seed| line(&["--storm", "10"], seed);
    let mut traces = std::collections::BTreeSet::new();
    for seed in 1..=6 {
        let trace = of(seed);
        assert_eq!(trace, of(seed));
        traces.insert(trace.split_once(" trace ").unwrap().1.to_owned());
    }
    assert_eq!(traces.len(), 6);
}

#[test]
fn one_seed_of_whole_nodes_always_gives_the_same_trace() {
    for seed in 1..=3 {
        let of = || line(&["--storm", "5", "--nodes"], seed);
        assert_eq!(of(), of());
    }
}

#[test]
fn nodes_keep_their_promises_in_every_seed() {
    hold(1, 50, &["--storm", "10", "--nodes"]);
}

#[test]
fn groups_keep_their_promises_in_every_seed() {
    hold(1, 150, &["--storm", "20"]);
}
