//! Runs Prometheus's `.test` scripts: `load` series, `eval` queries, compare.
//!
//! Only what this engine computes is run: floats and the language that the parser accepts. A query that reads a series with
//! native histograms or start timestamps, or that the parser or planner refuses, is skipped and counted.

mod check;
mod read;
mod run;

pub use run::run;

use model::{Labels, Timestamp};

/// A metric and one float for each step, none where it has no sample.
type FloatSeries = (Labels, Vec<Option<f64>>);

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
    with_buckets: bool,
    series: Vec<LoadLine>,
}

#[derive(Clone, Debug)]
enum LoadLine {
    Floats(FloatSeries),
    /// Labels of a series that is not of floats alone; none if not even they can be read.
    Other(Option<Labels>),
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
    expected: Expected,
}

#[derive(Clone, Debug, Default)]
struct Expected {
    fails: Option<Text>,
    must_fail: bool,
    ordered: bool,
    warnings: Annotated,
    infos: Annotated,
    scalar: Option<f64>,
    string: Option<String>,
    /// A range vector from an instant query, at these times.
    range_vector: Option<(Timestamp, Timestamp, i64)>,
    series: Vec<FloatSeries>,
    /// A line that this engine cannot read, such as a native histogram.
    unreadable: Option<String>,
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
    Matching(String),
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
    /// Those that were not run: (line, why).
    pub skipped: Vec<(usize, String)>,
    /// Those that answered otherwise.
    pub failures: Vec<Failure>,
}

/// A line that is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {detail}")]
pub struct ScriptError {
    /// From 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}
