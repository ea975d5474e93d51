//! Runs scripts.

use super::{Command, Eval, Failure, Load, LoadLine, Report, ScriptError, When, check, read};
use crate::ast::{At, Expr, ExprKind};
use crate::budget::Budget;
use crate::parse::{Options, parse_with};
use crate::plan::{Plan, QueryParams};
use crate::source::{MemorySource, RawSeries};
use crate::value::{QueryOutput, Value};
use model::labels::METRIC_NAME;
use model::{Labels, LabelsBuilder, Timestamp};

/// Runs a script from an empty store, with names dropped at the end of queries or, as the server does, by each operator.
///
/// # Errors
/// A line is no command.
pub fn run(text: &str, delayed_name_removal: bool) -> Result<Report, ScriptError> {
    let mut report = Report::default();
    let empty = || Store { delayed_name_removal, ..Store::default() };
    let mut store = empty();
    for command in read::commands(text)? {
        match command {
            Command::Clear => store = empty(),
            Command::Load(load) => store.load(load),
            Command::Eval(eval) => {
                report.evals += 1;
                match store.eval(&eval) {
                    Ok(()) => report.passed += 1,
                    Err(Outcome::Skipped(why)) => report.skipped.push((eval.line, why)),
                    Err(Outcome::Wrong { query, detail }) => report.failures.push(Failure { line: eval.line, query, detail }),
                }
            }
        }
    }
    Ok(report)
}

/// Why an eval did not pass.
enum Outcome {
    Skipped(String),
    Wrong { query: String, detail: String },
}

#[derive(Default)]
struct Store {
    series: Vec<RawSeries>,
    /// Series that exist but are not held, since they are not of floats alone.
    other: Vec<Labels>,
    /// Whether there are series of which not even the labels are known.
    is_unknown: bool,
    source: MemorySource,
    delayed_name_removal: bool,
}

impl Store {
    fn load(&mut self, load: Load) {
        let first = self.series.len();
        for line in load.series {
            match line {
                LoadLine::Other(Some(labels)) => self.other.push(labels),
                LoadLine::Other(None) => self.is_unknown = true,
                LoadLine::Floats((labels, values)) => {
                    if load.with_buckets {
                        self.other.push(base_of_bucket(&labels));
                    }
                    let samples = values.iter().enumerate().filter_map(|(i, v)| v.map(|v| (i as i64 * load.step_ms, v)));
                    let (timestamps, values) = samples.unzip();
                    // In one load a later line takes the place of an earlier one of the same series.
                    if let Some(at) = self.series[first..].iter().position(|s| s.labels == labels) {
                        self.series.remove(first + at);
                    }
                    self.series.push(RawSeries::floats(labels, timestamps, values));
                }
            }
        }
        self.source = MemorySource::new(self.series.clone());
    }

    fn eval(&self, eval: &Eval) -> Result<(), Outcome> {
        if let Some(line) = &eval.expected.unreadable {
            return Err(Outcome::Skipped(format!("expected line: {line}")));
        }
        let expr = parse(&eval.query)?;
        let (start_ms, end_ms, step_ms) = match eval.when {
            When::Instant { at_ms } => (at_ms, at_ms, 0),
            When::Range { start_ms, end_ms, step_ms } => (start_ms, end_ms, step_ms),
        };
        let wrong = |detail: String| Outcome::Wrong { query: eval.query.clone(), detail };
        let answer = self.query(&expr, &eval.query, start_ms, end_ms, step_ms)?;
        if eval.expected.must_fail {
            return match (answer, &eval.expected.fails) {
                (Ok(output), _) => Err(wrong(format!("did not fail: {:?}", output.value))),
                (Err(message), Some(text)) if !text.accepts(&message) => Err(wrong(format!("failed with {message:?}, expected {text:?}"))),
                (Err(_), _) => Ok(()),
            };
        }
        let output = answer.map_err(|message| wrong(format!("failed: {message}")))?;
        check::annotations(&eval.expected.warnings, &output.warnings).map_err(wrong)?;
        check::annotations(&eval.expected.infos, &output.infos).map_err(wrong)?;
        match (&output.value, eval.when) {
            (Value::Matrix(series), When::Range { start_ms, end_ms, step_ms }) => {
                check::matrix(&eval.expected, series, start_ms, end_ms, step_ms).map_err(wrong)
            }
            (value, When::Instant { at_ms }) => {
                check::instant(&eval.expected, value).map_err(wrong)?;
                self.as_range(eval, &expr, at_ms)?;
                self.at_other_times(eval, &expr, at_ms)
            }
            (value, When::Range { .. }) => Err(wrong(format!("no matrix: {value:?}"))),
        }
    }

    /// The same query must give the same answer in the middle of a range.
    fn as_range(&self, eval: &Eval, expr: &Expr, at_ms: Timestamp) -> Result<(), Outcome> {
        let names_the_range = ["start()", "end()", "range()", "step()"].iter().any(|call| eval.query.contains(call));
        let expected = &eval.expected;
        if names_the_range || expected.string.is_some() || expected.range_vector.is_some() || expected.ordered {
            return Ok(());
        }
        let text = expr.to_string();
        let wrong = |detail: String| Outcome::Wrong { query: format!("{text}, as range around {at_ms}"), detail };
        let answer = self.query(expr, &text, at_ms - 60_000, at_ms + 60_000, 60_000)?;
        let output = answer.map_err(|message| wrong(format!("failed: {message}")))?;
        check::middle(expected, &output.value, at_ms).map_err(wrong)
    }

    /// The same query with `@` of its time must give the same answer whenever it is asked.
    fn at_other_times(&self, eval: &Eval, expr: &Expr, at_ms: Timestamp) -> Result<(), Outcome> {
        let mut pinned = expr.clone();
        if !pin(&mut pinned, at_ms) {
            return Ok(());
        }
        let text = pinned.to_string();
        let pinned =
            parse_with(&text, OPTIONS).map_err(|e| Outcome::Wrong { query: text.clone(), detail: format!("does not parse again: {e}") })?;
        let times = if at_ms == 0 { vec![-1_000, 0, 1_000] } else { vec![-10 * at_ms, 0, at_ms / 5, at_ms, 10 * at_ms] };
        for time in times {
            let wrong = |detail: String| Outcome::Wrong { query: format!("{text}, at {time}"), detail };
            let output = self.query(&pinned, &text, time, time, 0)?.map_err(|message| wrong(format!("failed: {message}")))?;
            check::instant(&eval.expected, &output.value).map_err(wrong)?;
            let moved = Eval { query: text.clone(), ..eval.clone() };
            self.as_range(&moved, &pinned, time)?;
        }
        Ok(())
    }

    /// Evaluates, unless the query needs what this engine has not.
    fn query(&self, expr: &Expr, text: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Result<QueryOutput, String>, Outcome> {
        let params = QueryParams { delayed_name_removal: self.delayed_name_removal, ..QueryParams::range(start_ms, end_ms, step_ms) };
        let plan = match Plan::new(expr, params) {
            Ok(plan) => plan,
            Err(crate::error::PlanError::UnsupportedFunction { function }) => {
                return Err(Outcome::Skipped(format!("function {function}")));
            }
            Err(error) => return Ok(Err(error.to_string())),
        };
        let reads_other = plan.fragments().iter().any(|select| {
            let matches = |labels: &Labels| select.matchers.iter().all(|m| m.matches_labels(labels));
            self.is_unknown || self.other.iter().any(matches)
        });
        if reads_other {
            return Err(Outcome::Skipped("reads series that are not of floats alone".to_owned()));
        }
        Ok(plan.evaluate(text, &self.source, &Budget::default()).map_err(|e| e.to_string()))
    }
}

const OPTIONS: Options = Options::ALL;

fn parse(query: &str) -> Result<Expr, Outcome> {
    parse_with(query, OPTIONS).map_err(|errors| Outcome::Skipped(format!("does not parse: {errors}")))
}

/// The native histogram that Prometheus makes of a classic one.
fn base_of_bucket(labels: &Labels) -> Labels {
    let name = labels.metric_name();
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(METRIC_NAME, base).remove("le");
    builder.build()
}

/// Functions whose value follows the evaluation time even if their arguments stand still.
const FOLLOW_TIME: [&str; 13] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "hour",
    "minute",
    "month",
    "year",
    "predict_linear",
    "time",
    "timestamp",
    "start",
    "end",
];

/// Gives every selector and outermost subquery without `@` the time `at_ms`; false if the value follows the evaluation time anyway.
fn pin(expr: &mut Expr, at_ms: Timestamp) -> bool {
    let at = Some(At::Time(at_ms));
    match &mut expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => true,
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => {
            selector.at = selector.at.or(at);
            true
        }
        ExprKind::Subquery(subquery) => {
            subquery.at = subquery.at.or(at);
            // Inside, times stay as they are: only the functions count.
            pin(&mut subquery.expr.clone(), at_ms)
        }
        ExprKind::Aggregate(aggregate) => {
            let is_safe = aggregate.param.as_mut().is_none_or(|param| pin(param, at_ms));
            pin(&mut aggregate.expr, at_ms) && is_safe
        }
        ExprKind::Call { function, args } => {
            let are_safe = args.iter_mut().all(|arg| pin(arg, at_ms));
            are_safe && !FOLLOW_TIME.contains(&function.name)
        }
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => pin(expr, at_ms),
        ExprKind::Binary(binary) => {
            let is_safe = pin(&mut binary.left, at_ms);
            pin(&mut binary.right, at_ms) && is_safe
        }
    }
}
