//! What finds the planted bugs: seeds are run against each until one breaks a rule.

use crate::many::Many;
use model::planted::{BUGS, Level};
use std::io::{self, Write};
use std::time::Duration;

/// How one bug fared.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Its name.
    pub name: &'static str,
    /// What is wrong with it.
    pub about: &'static str,
    /// The seed that found it, and how.
    pub found: Option<(u64, String)>,
    /// Processor time of all seeds that were run against it.
    pub cpu: Duration,
}

/// Runs `many`'s seeds against each bug that simulations can see and whose name is asked for, or all; prints a table as it goes.
///
/// # Errors
/// A process cannot be started, or nobody reads what is printed.
pub fn hunt(many: &Many, only: &[String], out: &mut dyn Write) -> io::Result<Vec<Hunt>> {
    writeln!(out, "| bug | what is wrong | seed | processor time | rule that was broken |\n|---|---|---|---|---|")?;
    let mut hunts = Vec::new();
    let is_wanted = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    for (name, level, about) in BUGS.iter().filter(|(name, level, _)| *level != Level::Histories && is_wanted(name)) {
        let mut arguments = many.arguments.clone();
        arguments.extend((*level == Level::Nodes).then(|| "--nodes".to_owned()));
        let planted = Many { arguments, planted: Some(name), stop_at_first: true, ..many.clone() };
        let ended = planted.run(|_| ())?;
        let found = ended.iter().find(|one| !one.is_ok).map(|one| (one.seed, rule(&one.line)));
        let cpu = ended.iter().map(|one| one.cpu).sum::<Duration>();
        let (seed, broken) = found.clone().map_or(("-".to_owned(), "not found".to_owned()), |(seed, rule)| (seed.to_string(), rule));
        writeln!(out, "| `{name}` | {about} | {seed} | {:.1} s | {broken} |", cpu.as_secs_f64())?;
        out.flush()?;
        hunts.push(Hunt { name, about, found, cpu });
    }
    Ok(hunts)
}

/// The name of the rule in a report's line.
fn rule(line: &str) -> String {
    let violation = line.split_once("VIOLATION ").map_or(line, |(_, violation)| violation);
    violation.chars().take(110).collect::<String>().replace('|', "/")
}
