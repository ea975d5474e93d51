//! Runs Prometheus's `.test` scripts: `load` series, `eval` queries, compare.
//!
//! Every instant query is also asked at other times, with its selectors pinned to the first time by `@` and printed again, and in the
//! middle of a range, as Prometheus's own runner does.

mod buckets;
mod check;
mod pin;
mod read;
mod run;
mod store;

pub use run::{Settings, run};

use crate::ast::Expr;
use crate::parse::{SeriesDescription, StartTimestamps};
use model::Timestamp;

/// One command of a script.
#[derive(Clone, Debug)]
enum Command {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Series to add.
#[derive(Clone, Debug)]
struct Load {
    step_ms: i64,
    /// Whether classic histograms are also added as native ones with custom buckets.
    with_native: bool,
    series: Vec<SeriesDescription>,
    starts: Vec<StartTimestamps>,
}

/// When a query is evaluated.
#[derive(Clone, Copy, Debug)]
enum When {
    Instant { at_ms: Timestamp },
    Range { start_ms: Timestamp, end_ms: Timestamp, step_ms: i64 },
}

/// A query and what it must answer.
#[derive(Clone, Debug)]
struct Eval {
    line: usize,
    when: When,
    query: String,
    expr: Expr,
    expected: Expected,
}

#[derive(Clone, Debug, Default)]
struct Expected {
    fails: Option<Text>,
    ordered: bool,
    warnings: Annotated,
    infos: Annotated,
    scalar: Option<f64>,
    string: Option<Vec<u8>>,
    /// A range vector from an instant query, at these times.
    range_vector: Option<(Timestamp, Timestamp, i64)>,
    series: Vec<SeriesDescription>,
}

#[derive(Clone, Debug, Default)]
struct Annotated {
    some: Vec<Text>,
    none: bool,
}

/// What a message must be.
#[derive(Clone, Debug)]
enum Text {
    Any,
    Exactly(String),
    Matching(model::regex::Regex),
}

/// A query whose answer was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Line of the `eval` command, from 1.
    pub line: usize,
    /// The query, in the form that gave the wrong answer.
    pub query: String,
    /// What was wrong.
    pub detail: String,
}

/// The outcome of one script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `eval` commands in the script.
    pub evals: usize,
    /// Those that answered as expected.
    pub passed: usize,
    /// Those that answered otherwise.
    pub failures: Vec<Failure>,
}

/// A line that is no command, or a query that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}
