//! A query as operators: what to read, at which times each operator is evaluated, and in which order values flow.
//!
//! The plan is an arena of nodes, children before parents. Every node knows its grid, the times at which it has a value: the
//! query's own, one single time below an expression that does not change (`@`, literals), or the inner grid of a subquery.
//! [`Plan::fragments`] lists the reads that leave this process; everything else is evaluated where the answers are gathered.

mod fragment;
mod logical;

use crate::annotations::Annotations;
use crate::ast::{AggregateOp, BinaryOp, Expr, Span, ValueType, VectorMatching};
use crate::budget::Budget;
use crate::error::{EvalError, PlanError};
use crate::eval::Evaluator;
use crate::eval::function::Function;
use crate::source::{Select, SelectId, SeriesSource};
use crate::value::QueryOutput;
use model::Timestamp;

/// Lookback delta unless configured otherwise.
pub const LOOKBACK_MS_DEFAULT: i64 = 300_000;
/// Step of subqueries without one unless configured otherwise.
pub const SUBQUERY_STEP_MS_DEFAULT: i64 = 60_000;

/// When and how a query is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryParams {
    /// First evaluation time in milliseconds.
    pub start_ms: Timestamp,
    /// Last possible evaluation time in milliseconds.
    pub end_ms: Timestamp,
    /// Distance of evaluation times in milliseconds; 0 is an instant query at `start_ms`.
    pub step_ms: i64,
    /// How old the newest sample may be, in milliseconds.
    pub lookback_ms: i64,
    /// Step of subqueries that name none, in milliseconds.
    pub subquery_step_ms: i64,
    /// Whether metric names are dropped at the end of the query instead of by each operator.
    pub delayed_name_removal: bool,
    /// Whether start timestamps tell of counter resets, and of zeros before the first sample.
    pub use_start_timestamps: bool,
    /// Whether `__type__` says what a metric is, instead of its name.
    pub type_and_unit_labels: bool,
}

impl QueryParams {
    /// An instant query with the default settings.
    #[must_use]
    pub fn instant(at_ms: Timestamp) -> Self {
        Self::range(at_ms, at_ms, 0)
    }

    /// A range query with the default settings.
    #[must_use]
    pub fn range(start_ms: Timestamp, end_ms: Timestamp, step_ms: i64) -> Self {
        Self {
            start_ms,
            end_ms,
            step_ms,
            lookback_ms: LOOKBACK_MS_DEFAULT,
            subquery_step_ms: SUBQUERY_STEP_MS_DEFAULT,
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
        }
    }
}

/// Evaluation times `start_ms + k * step_ms` for `k < steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// First time.
    pub(crate) start_ms: Timestamp,
    /// Distance, at least 1.
    pub(crate) step_ms: i64,
    /// Number of times; a subquery's grid may have none.
    pub(crate) steps: usize,
}

impl Grid {
    /// The grid of one time.
    #[must_use]
    pub(crate) fn single(at_ms: Timestamp) -> Self {
        Self { start_ms: at_ms, step_ms: 1, steps: 1 }
    }

    /// All multiples of `step_ms` from `start_ms` that are not after `end_ms`.
    #[must_use]
    pub(crate) fn between(start_ms: Timestamp, end_ms: Timestamp, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let steps = if end_ms < start_ms { 0 } else { (end_ms.saturating_sub(start_ms) / step_ms) as usize + 1 };
        Self { start_ms, step_ms, steps }
    }

    /// The time of step `index`.
    #[must_use]
    pub(crate) fn time(&self, index: usize) -> Timestamp {
        self.start_ms.saturating_add((index as i64).saturating_mul(self.step_ms))
    }

    /// The last time; the first one if there is none.
    #[must_use]
    pub(crate) fn last_ms(&self) -> Timestamp {
        self.time(self.steps.saturating_sub(1))
    }
}

/// Number of a node within its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub u32);

/// Which times a selector or subquery looks back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeShift {
    /// A fixed reference time, from `@`.
    pub(crate) at_ms: Option<Timestamp>,
    /// Subtracted from the reference time.
    pub(crate) offset_ms: i64,
}

impl TimeShift {
    /// The time that stands for evaluation time `ts`.
    #[must_use]
    pub(crate) fn apply(&self, ts: Timestamp) -> Timestamp {
        self.at_ms.unwrap_or(ts).saturating_sub(self.offset_ms)
    }
}

/// Where the samples of a range come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeInput {
    /// Raw samples.
    Select(SelectId),
    /// The values of another node at the times of its own grid.
    Subquery(NodeId),
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum NodeKind {
    /// A number.
    Number(f64),
    /// A string.
    String(Vec<u8>),
    /// The newest sample of each series at each step.
    Vector {
        /// What is read.
        select: SelectId,
        /// Where it looks.
        shift: TimeShift,
    },
    /// All samples of each series in a window that ends at each step.
    Matrix {
        /// Where the samples come from.
        input: RangeInput,
        /// Length of the window in milliseconds.
        range_ms: i64,
        /// Where it looks.
        shift: TimeShift,
    },
    /// A function.
    Call {
        /// Which.
        function: Function,
        /// Its arguments.
        args: Vec<NodeId>,
    },
    /// An aggregation over series.
    Aggregate {
        /// The operator.
        op: AggregateOp,
        /// What is aggregated.
        input: NodeId,
        /// Its parameter.
        param: Option<NodeId>,
        /// Labels of the modifier, sorted, each once.
        grouping: Vec<String>,
        /// Whether those labels are left out instead of kept.
        without: bool,
    },
    /// Negates.
    Negate(NodeId),
    /// Combines two values.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: NodeId,
        /// Right operand.
        right: NodeId,
        /// How vectors find each other.
        matching: Option<VectorMatching>,
        /// Whether a comparison yields 0 or 1.
        return_bool: bool,
    },
    /// A value that is computed once and holds at every step.
    StepInvariant(NodeId),
}

/// An operator of a plan.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// The part of the query it came from, for annotations.
    pub(crate) span: Span,
    /// What it does.
    pub(crate) kind: NodeKind,
    /// When it has values.
    pub(crate) grid: Grid,
    /// The type of its value.
    pub(crate) value_type: ValueType,
}

/// A query that is ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    pub(crate) selects: Vec<Select>,
    pub(crate) params: QueryParams,
}

impl Plan {
    /// Plans `expr`, which must have passed the parser's type check.
    ///
    /// # Errors
    /// The times make no sense, the type cannot be queried over a range, or a function is not supported.
    pub fn new(expr: &Expr, params: QueryParams) -> Result<Self, PlanError> {
        logical::build(expr, params)
    }

    /// The reads that the plan needs, each once.
    #[must_use]
    pub fn fragments(&self) -> &[Select] {
        &self.selects
    }

    /// The type of the query's value before a range query turns it into a matrix.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.node(self.root).value_type
    }

    /// When the query is evaluated.
    #[must_use]
    pub fn params(&self) -> &QueryParams {
        &self.params
    }

    /// Evaluates over what `source` answers. CPU-bound; checks `budget` at least once a series.
    /// The result does not depend on the order in which the source was filled. `query` is the text that was parsed, for the
    /// positions of annotations.
    ///
    /// # Errors
    /// Reading failed, the budget ended, or the data does not fit the query (duplicate series and the like).
    pub fn evaluate(&self, query: &str, source: &dyn SeriesSource, budget: &Budget) -> Result<QueryOutput, EvalError> {
        let mut evaluator = Evaluator::new(self, source, budget);
        let value = evaluator.run()?;
        let (annotations, mut stats): (Annotations, _) = evaluator.finish();
        (stats.samples_peak, stats.bytes_peak) = budget.peak();
        let (warnings, infos) = annotations.render(query);
        Ok(QueryOutput { value, warnings, infos, stats })
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn select(&self, id: SelectId) -> &Select {
        &self.selects[id.0 as usize]
    }
}
