//! Runs scripts.

use super::pin::pin;
use super::store::Store;
use super::{Command, Eval, Failure, Report, ScriptError, When, check, read};
use crate::ast::Expr;
use crate::budget::{BYTES_MAX_DEFAULT, Budget};
use crate::error::EvalError;
use crate::parse::{Options, parse_with};
use crate::plan::{Plan, QueryParams};
use crate::source::MemorySource;
use crate::value::{QueryOutput, Value};
use model::Timestamp;

/// Samples that a query of a script may hold.
const SAMPLES_MAX: u64 = 10_000;

/// How a plan is evaluated: with the text of its query, over all series of the script.
type Evaluate<'a> = &'a dyn Fn(&Plan, &str, &MemorySource, &Budget) -> Result<QueryOutput, EvalError>;

/// How a script is run.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// Whether names are dropped at the end of queries or, as the server does, by each operator.
    pub delayed_name_removal: bool,
    /// Whether start timestamps count.
    pub use_start_timestamps: bool,
    /// How a plan is evaluated.
    pub evaluate: Evaluate<'a>,
}

impl Settings<'_> {
    /// The settings of Prometheus's own runner, on series in memory.
    #[must_use]
    pub fn prometheus() -> Self {
        let evaluate: Evaluate<'_> = &|plan, query, source, budget| plan.evaluate(query, source, budget);
        Self { delayed_name_removal: true, use_start_timestamps: true, evaluate }
    }
}

impl std::fmt::Debug for Settings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags = (self.delayed_name_removal, self.use_start_timestamps);
        f.debug_tuple("Settings").field(&flags).finish()
    }
}

/// Runs a script from an empty store. After an `eval` that fails the rest is still run.
///
/// # Errors
/// A line is no command, a query does not parse, or what is loaded makes no sense.
pub fn run(text: &str, settings: Settings<'_>) -> Result<Report, ScriptError> {
    let mut report = Report::default();
    let mut store = Store::default();
    for (line, command) in read::commands(text)? {
        match command {
            Command::Clear => store = Store::default(),
            Command::Load(load) => store.load(&load).map_err(|detail| ScriptError { line, detail })?,
            Command::Eval(eval) => {
                report.evals += 1;
                match (Run { store: &store, settings, eval: &eval }).check() {
                    Ok(()) => report.passed += 1,
                    Err(Wrong { query, detail }) => report.failures.push(Failure { line: eval.line, query, detail }),
                }
            }
        }
    }
    Ok(report)
}

/// A query that was not answered as expected.
struct Wrong {
    query: String,
    detail: String,
}

/// One `eval` on what is loaded.
struct Run<'a> {
    store: &'a Store,
    settings: Settings<'a>,
    eval: &'a Eval,
}

impl Run<'_> {
    fn check(&self) -> Result<(), Wrong> {
        let eval = self.eval;
        match eval.when {
            When::Range { start_ms, end_ms, step_ms } => self.range(start_ms, end_ms, step_ms),
            When::Instant { at_ms } => {
                self.instant(&eval.expr, &eval.query, at_ms)?;
                let mut pinned = eval.expr.clone();
                if !pin(&mut pinned, at_ms) {
                    return Ok(());
                }
                let text = pinned.to_string();
                let pinned = parse_with(&text, Options::ALL)
                    .map_err(|e| Wrong { query: text.clone(), detail: format!("does not parse again: {e}") })?;
                let times = if at_ms == 0 { vec![-1_000, 0, 1_000] } else { vec![-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms] };
                times.into_iter().try_for_each(|time| self.instant(&pinned, &text, time))
            }
        }
    }

    fn range(&self, start_ms: Timestamp, end_ms: Timestamp, step_ms: i64) -> Result<(), Wrong> {
        let wrong = |detail: String| Wrong { query: self.eval.query.clone(), detail };
        let answer = self.query(&self.eval.expr, &self.eval.query, QueryParams::range(start_ms, end_ms, step_ms));
        let Some(output) = check::outcome(&self.eval.expected, answer).map_err(wrong)? else { return Ok(()) };
        check::annotations(&self.eval.expected, &output).map_err(wrong)?;
        match &output.value {
            Value::Matrix(series) => check::matrix(&self.eval.expected, series, start_ms, end_ms, step_ms).map_err(wrong),
            value => Err(wrong(format!("no matrix: {value:?}"))),
        }
    }

    /// The query at one time, and in the middle of a range around it.
    fn instant(&self, expr: &Expr, text: &str, at_ms: Timestamp) -> Result<(), Wrong> {
        let expected = &self.eval.expected;
        let wrong = |detail: String| Wrong { query: format!("{text}, at {at_ms}"), detail };
        let answer = self.query(expr, text, QueryParams::instant(at_ms));
        let Some(output) = check::outcome(expected, answer).map_err(wrong)? else { return Ok(()) };
        check::annotations(expected, &output).map_err(wrong)?;
        check::instant(expected, &output.value).map_err(wrong)?;
        let names_the_range = ["start()", "end()", "range()", "step()"].iter().any(|call| text.contains(call));
        if names_the_range || expected.string.is_some() || expected.range_vector.is_some() || expected.ordered {
            return Ok(());
        }
        let wrong = |detail: String| Wrong { query: format!("{text}, as range around {at_ms}"), detail };
        let answer = self.query(expr, text, QueryParams::range(at_ms - 60_000, at_ms + 60_000, 60_000));
        let output = answer.map_err(|message| wrong(format!("failed: {message}")))?;
        check::middle(expected, &output.value, at_ms).map_err(wrong)
    }

    fn query(&self, expr: &Expr, text: &str, times: QueryParams) -> Result<QueryOutput, String> {
        let Settings { delayed_name_removal, use_start_timestamps, evaluate } = self.settings;
        let params = QueryParams { delayed_name_removal, use_start_timestamps, ..times };
        let plan = Plan::new(expr, params).map_err(|e| e.to_string())?;
        evaluate(&plan, text, &self.store.source, &Budget::new(SAMPLES_MAX, BYTES_MAX_DEFAULT)).map_err(|e| e.to_string())
    }
}
