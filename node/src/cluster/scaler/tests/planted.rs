//! The random histories find every bug that is planted for them.

use model::planted::{BUGS, Level, VARIABLE};
use std::process::Command;

const HISTORIES: &str = "cluster::scaler::tests::c8_whatever_the_views_and_their_order_every_acknowledged_sample_is_read_once";

/// Seeds that are tried against a bug; each takes the processor for a second or two.
const SEEDS: u32 = 20;

/// What the histories of a seed come to with a bug planted, in a process of their own.
fn histories_with(bug: &str, seed: u32) -> (bool, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", HISTORIES])
        .env(VARIABLE, bug)
        .envs([("PROPTEST_MAX_SHRINK_ITERS", "0"), ("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")])
        .env("PROPTEST_RNG_SEED", seed.to_string())
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_bug_planted_for_the_histories_is_found_by_them_and_none_where_there_is_none() {
    let (is_ok, told) = histories_with("none", 1);
    assert!(is_ok && told.contains("1 passed"), "{told}");
    for (name, ..) in BUGS.iter().filter(|(_, level, _)| *level == Level::Histories) {
        let is_found = |seed| {
            let (is_ok, told) = histories_with(name, seed);
            assert!(is_ok || told.contains("1 failed"), "{told}");
            !is_ok
        };
        assert!((1..=SEEDS).any(is_found), "{name} is not found");
    }
}
