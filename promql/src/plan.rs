//! A query as operators: what to read, at which times each operator is evaluated, and in which order values flow.
//!
//! The plan is an arena of nodes, children before parents. Every node knows its grid, the times at which it has a value: the
//! query's own, one single time below an expression that does not change (`@`, literals), or the inner grid of a subquery.
//!
//! `pushdown` judges where each operator can be computed, `fragment` cuts the plan there, `wire` makes bytes of what the shards do,
//! `residence` tells which series are on one shard although the shard map changed. [`Plan::fragments`] lists the reads of the whole plan.

pub(crate) mod explain;
pub(crate) mod fragment;
mod logical;
pub(crate) mod pushdown;
pub(crate) mod residence;
mod select_set;
pub(crate) mod wire;

use crate::ast::{AggregateOp, BinaryOp, Expr, Extended, Span, ValueType, VectorMatching};
use crate::budget::Budget;
use crate::error::{EvalError, PlanError};
use crate::eval::function::Function;
use crate::eval::labels::is_unique_without_name;
use crate::eval::range::window::reach_ms;
use crate::source::{Select, SelectId, SeriesSource};
use crate::value::QueryOutput;
use fragment::Distributed;
use model::Timestamp;
use std::ops::Range;

/// Lookback delta unless configured otherwise.
pub const LOOKBACK_MS_DEFAULT: i64 = 300_000;
/// Step of subqueries without one unless configured otherwise.
pub const SUBQUERY_STEP_MS_DEFAULT: i64 = 60_000;

/// When and how a query is evaluated. It travels with fragments: the numbers of its fields are never given again.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct QueryParams {
    /// First evaluation time in milliseconds.
    #[prost(sint64, tag = "1")]
    pub start_ms: Timestamp,
    /// Last possible evaluation time in milliseconds.
    #[prost(sint64, tag = "2")]
    pub end_ms: Timestamp,
    /// Distance of evaluation times in milliseconds; 0 is an instant query at `start_ms`.
    #[prost(int64, tag = "3")]
    pub step_ms: i64,
    /// How old the newest sample may be, in milliseconds.
    #[prost(int64, tag = "4")]
    pub lookback_ms: i64,
    /// Step of subqueries that name none, in milliseconds.
    #[prost(int64, tag = "5")]
    pub subquery_step_ms: i64,
    /// Whether metric names are dropped at the end of the query instead of by each operator.
    #[prost(bool, tag = "6")]
    pub delayed_name_removal: bool,
    /// Whether start timestamps tell of counter resets, and of zeros before the first sample.
    #[prost(bool, tag = "7")]
    pub use_start_timestamps: bool,
    /// Whether `__type__` says what a metric is, instead of its name.
    #[prost(bool, tag = "8")]
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
        /// Whether values between samples are interpolated (`smoothed`).
        extended: Option<Extended>,
        /// Whether resets of native histograms are looked for on reading: below `histogram_count` and its kin.
        detects_resets: bool,
    },
    /// All samples of each series in a window that ends at each step.
    Matrix {
        /// Where the samples come from.
        input: RangeInput,
        /// Length of the window in milliseconds.
        range_ms: i64,
        /// Where it looks.
        shift: TimeShift,
        /// What stands for the ends of the window, if not the samples in it.
        extended: Option<Extended>,
        /// As of a vector.
        detects_resets: bool,
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

impl NodeKind {
    /// The nodes whose values it takes, in the order in which they are evaluated.
    pub(crate) fn children(&self) -> Vec<NodeId> {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector { .. } | Self::Matrix { input: RangeInput::Select(_), .. } => Vec::new(),
            Self::Matrix { input: RangeInput::Subquery(inner), .. } | Self::Negate(inner) | Self::StepInvariant(inner) => vec![*inner],
            Self::Call { args, .. } => args.clone(),
            Self::Aggregate { input, param, .. } => param.iter().chain([input]).copied().collect(),
            Self::Binary { left, right, .. } => vec![*left, *right],
        }
    }

    /// Replaces those nodes.
    pub(crate) fn map_children(&mut self, to: &mut dyn FnMut(NodeId) -> NodeId) {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector { .. } | Self::Matrix { input: RangeInput::Select(_), .. } => {}
            Self::Matrix { input: RangeInput::Subquery(inner), .. } | Self::Negate(inner) | Self::StepInvariant(inner) => {
                *inner = to(*inner)
            }
            Self::Call { args, .. } => args.iter_mut().for_each(|arg| *arg = to(*arg)),
            Self::Aggregate { input, param, .. } => {
                *input = to(*input);
                if let Some(param) = param {
                    *param = to(*param);
                }
            }
            Self::Binary { left, right, .. } => {
                *left = to(*left);
                *right = to(*right);
            }
        }
    }

    /// The read of a selector.
    pub(crate) fn select(&self) -> Option<SelectId> {
        match self {
            Self::Vector { select, .. } | Self::Matrix { input: RangeInput::Select(select), .. } => Some(*select),
            _ => None,
        }
    }

    /// The read of a selector, to change.
    pub(crate) fn select_mut(&mut self) -> Option<&mut SelectId> {
        match self {
            Self::Vector { select, .. } | Self::Matrix { input: RangeInput::Select(select), .. } => Some(select),
            _ => None,
        }
    }
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

impl Node {
    /// The time after which and the time up to which a selector looks at samples; none of other operators.
    pub(crate) fn span_of_samples(&self, lookback_ms: i64) -> Option<(Timestamp, Timestamp)> {
        let (shift, back_ms, extended) = match &self.kind {
            NodeKind::Vector { shift, extended, .. } => (shift, lookback_ms, extended),
            NodeKind::Matrix { input: RangeInput::Select(_), range_ms, shift, extended, .. } => (shift, *range_ms, extended),
            _ => return None,
        };
        let (further_ms, ahead_ms) = match (extended, &self.kind) {
            // An instant value lies between the newest sample and the next.
            (Some(Extended::Smoothed), NodeKind::Vector { .. }) => (0, lookback_ms),
            (Some(_), NodeKind::Vector { .. }) | (None, _) => (0, 0),
            (Some(extended), _) => reach_ms(*extended, lookback_ms),
        };
        let after_ms = shift.apply(self.grid.start_ms).saturating_sub(back_ms).saturating_sub(further_ms);
        Some((after_ms, shift.apply(self.grid.last_ms()).saturating_add(ahead_ms)))
    }
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
        logical::build(expr, params, None)
    }

    /// Plans only the steps `steps` of a range query; what the whole query says of itself (`start()`, `@ end()`) stays.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of_steps(expr: &Expr, params: QueryParams, steps: Range<usize>) -> Result<Self, PlanError> {
        logical::build(expr, params, Some(steps))
    }

    /// Whether the query asks what is absent, so that missing samples would turn its answer into the opposite.
    #[must_use]
    pub fn tells_absence(&self) -> bool {
        let tells = |node: &Node| matches!(node.kind, NodeKind::Call { function: Function::Absent | Function::AbsentOverTime, .. });
        self.nodes.iter().any(tells)
    }

    /// Number of steps of the query.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.node(self.root).grid.steps
    }

    /// Whether the steps can be evaluated apart and the results be put together. Not where an operator that drops names fails
    /// because of two series that have values at different steps, and not where names are dropped at the end: whether a series loses its
    /// name depends on all its steps.
    #[must_use]
    pub fn can_be_sliced(&self) -> bool {
        let looks_at_all_steps = |node: &Node| match &node.kind {
            NodeKind::Call { function: Function::Range(_), args } => {
                let mut ranges = args.iter().filter(|arg| self.node(**arg).value_type == ValueType::Matrix);
                ranges.any(|arg| !is_unique_without_name(self, *arg))
            }
            _ => false,
        };
        let is_vector = self.value_type() == ValueType::Vector && self.params.step_ms > 0;
        is_vector && !self.params.delayed_name_removal && !self.nodes.iter().any(looks_at_all_steps)
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
        Distributed::new(self.clone()).evaluate(query, &[source], budget)
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn select(&self, id: SelectId) -> &Select {
        &self.selects[id.0 as usize]
    }
}
