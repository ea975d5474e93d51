//! From the syntax tree to the operators of a plan.

use super::select_set::SelectSet;
use super::{Grid, Node, NodeId, NodeKind, Plan, QueryParams, RangeInput, TimeShift};
use crate::ast::{Aggregate, At, Binary, Duration, Expr, ExprKind, Extended, QueryTimes, Subquery, ValueType, VectorSelector};
use crate::error::PlanError;
use crate::eval::function::{self, Function};
use crate::eval::info;
use crate::eval::range::window::reach_ms;
use crate::functions;
use crate::source::SelectId;
use model::labels::METRIC_NAME;
use model::{MatchOp, Matcher};
use std::ops::Range;

/// Plans `expr` at the steps `only`, or at all.
pub(super) fn build(expr: &Expr, params: QueryParams, only: Option<Range<usize>>) -> Result<Plan, PlanError> {
    if params.step_ms < 0 || params.end_ms < params.start_ms {
        return Err(PlanError::InvalidRange { start_ms: params.start_ms, end_ms: params.end_ms, step_ms: params.step_ms });
    }
    if depth(expr) > DEPTH_MAX {
        return Err(PlanError::TooDeep { depth_max: DEPTH_MAX });
    }
    let value_type = expr.value_type();
    let grid = if params.step_ms == 0 {
        Grid::single(params.start_ms)
    } else {
        if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
            return Err(PlanError::NotInstant { found: value_type.documented() });
        }
        let all = Grid::between(params.start_ms, params.end_ms, params.step_ms);
        only.map_or(all, |only| {
            let first = only.start.min(all.steps);
            Grid { start_ms: all.time(first), steps: only.end.min(all.steps) - first, ..all }
        })
    };
    let mut builder = Builder { nodes: Vec::new(), selects: SelectSet::default(), params, detects_resets: false };
    let root = builder.folded(expr, grid)?;
    Ok(Plan { nodes: builder.nodes, root, selects: builder.selects.finish(), params })
}

/// Levels of operators. The parser limits parentheses and calls, but a chain `a + b + c …` nests to the left as deep as it is long.
const DEPTH_MAX: usize = 500;

/// Levels of the tree, found without recursion.
fn depth(expr: &Expr) -> usize {
    let mut deepest = 0;
    let mut open = vec![(expr, 1)];
    while let Some((expr, level)) = open.pop() {
        deepest = deepest.max(level);
        let below = level + 1;
        match &expr.kind {
            ExprKind::Binary(binary) => open.extend([(&binary.left, below), (&binary.right, below)]),
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => open.push((expr, below)),
            ExprKind::Subquery(subquery) => open.push((&subquery.expr, below)),
            ExprKind::Aggregate(aggregate) => {
                open.push((&aggregate.expr, below));
                open.extend(aggregate.param.iter().map(|param| (param, below)));
            }
            ExprKind::Call { args, .. } => open.extend(args.iter().map(|arg| (arg, below))),
            ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix { .. } => {}
        }
    }
    deepest
}

/// Whether the value is the same at every step of the query.
fn is_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => true,
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Aggregate(a) => is_invariant(&a.expr) && a.param.as_ref().is_none_or(is_invariant),
        ExprKind::Call { function, args } if function.name == "info" => args.first().is_none_or(is_invariant),
        ExprKind::Call { function, args } => !depends_on_time(function) && args.iter().all(is_invariant),
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => is_invariant(expr),
        ExprKind::Binary(b) => is_invariant(&b.left) && is_invariant(&b.right),
    }
}

/// Functions whose value follows the evaluation time even if their arguments stand still.
fn depends_on_time(function: &functions::Function) -> bool {
    const DATES: [&str; 8] = ["days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year"];
    const OTHERS: [&str; 3] = ["predict_linear", "time", "timestamp"];
    DATES.contains(&function.name) || OTHERS.contains(&function.name)
}

struct Builder {
    nodes: Vec<Node>,
    selects: SelectSet,
    params: QueryParams,
    /// Whether the expression around is one that sees no buckets, so that resets are looked for where histograms are read.
    detects_resets: bool,
}

impl Builder {
    fn push(&mut self, expr: &Expr, grid: Grid, kind: NodeKind) -> NodeId {
        self.nodes.push(Node { span: expr.span, kind, grid, value_type: expr.value_type() });
        NodeId((self.nodes.len() - 1) as u32)
    }

    /// Plans a part of the expression whose selectors look for resets or do not.
    fn detecting<T>(&mut self, detects_resets: bool, plan: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.detects_resets, detects_resets);
        let planned = plan(self);
        self.detects_resets = outer;
        planned
    }

    /// Plans `expr`, evaluated once if it never changes.
    fn folded(&mut self, expr: &Expr, grid: Grid) -> Result<NodeId, PlanError> {
        let constant = matches!(expr.value_type(), ValueType::String | ValueType::Matrix);
        if constant || grid.steps <= 1 || !is_invariant(expr) {
            return self.plain(expr, grid);
        }
        let once = self.plain(expr, Grid::single(grid.start_ms))?;
        Ok(self.push(expr, grid, NodeKind::StepInvariant(once)))
    }

    fn plain(&mut self, expr: &Expr, grid: Grid) -> Result<NodeId, PlanError> {
        let kind = match &expr.kind {
            ExprKind::Paren(inner) => return self.plain(inner, grid),
            ExprKind::Unary { negative: false, expr } => return self.plain(expr, grid),
            ExprKind::Unary { negative: true, expr } => NodeKind::Negate(self.folded(expr, grid)?),
            ExprKind::Number { value, .. } => NodeKind::Number(*value),
            ExprKind::String(bytes) => NodeKind::String(bytes.clone()),
            ExprKind::Vector(selector) => self.vector(selector, grid)?,
            ExprKind::Matrix { selector, range } => self.matrix(selector, range, grid)?,
            ExprKind::Subquery(subquery) => self.subquery(subquery, grid)?,
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, grid)?,
            ExprKind::Call { function, args } => self.call(function, args, grid)?,
            ExprKind::Binary(binary) => self.binary(binary, grid)?,
        };
        Ok(self.push(expr, grid, kind))
    }

    fn times(&self) -> QueryTimes {
        QueryTimes { range_ms: self.params.end_ms - self.params.start_ms, step_ms: self.params.step_ms }
    }

    fn shift(&self, at: Option<At>, offset: &Duration) -> Result<TimeShift, PlanError> {
        let offset_ms = offset.signed_ms(self.times())?;
        let at_ms = at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.params.start_ms,
            At::End if self.params.step_ms == 0 => self.params.start_ms,
            At::End => self.params.end_ms,
        });
        Ok(TimeShift { at_ms, offset_ms })
    }

    fn vector(&mut self, selector: &VectorSelector, grid: Grid) -> Result<NodeKind, PlanError> {
        let shift = self.shift(selector.at, &selector.offset)?;
        let extended = selector.extended;
        let ahead_ms = if extended == Some(Extended::Smoothed) { self.params.lookback_ms } else { 0 };
        // Whether a histogram begins anew is told by the samples before it.
        let newest_only = grid.steps == 1 && extended.is_none() && !self.detects_resets;
        let select = self.read(&selector.matchers, (grid, shift), (self.params.lookback_ms, ahead_ms), newest_only);
        Ok(NodeKind::Vector { select, shift, extended, detects_resets: self.detects_resets })
    }

    /// Notes a read of samples from `back_ms` before to `ahead_ms` after the shifted times of a grid.
    fn read(
        &mut self,
        matchers: &[Matcher],
        (grid, shift): (Grid, TimeShift),
        (back_ms, ahead_ms): (i64, i64),
        newest_only: bool,
    ) -> SelectId {
        let start_ms = shift.apply(grid.start_ms).saturating_sub(back_ms);
        self.selects.add(matchers, (start_ms, shift.apply(grid.last_ms()).saturating_add(ahead_ms)), newest_only)
    }

    fn matrix(&mut self, selector: &VectorSelector, range: &Duration, grid: Grid) -> Result<NodeKind, PlanError> {
        let range_ms = range.positive_ms(self.times())?;
        let shift = self.shift(selector.at, &selector.offset)?;
        let extended = selector.extended;
        let (back_ms, ahead_ms) = extended.map_or((0, 0), |extended| reach_ms(extended, self.params.lookback_ms));
        let select = self.read(&selector.matchers, (grid, shift), (range_ms.saturating_add(back_ms), ahead_ms), false);
        Ok(NodeKind::Matrix { input: RangeInput::Select(select), range_ms, shift, extended, detects_resets: self.detects_resets })
    }

    fn subquery(&mut self, subquery: &Subquery, grid: Grid) -> Result<NodeKind, PlanError> {
        let shift = self.shift(subquery.at, &subquery.offset)?;
        let times = self.times();
        let step_ms = subquery.step.as_ref().map_or(Ok(self.params.subquery_step_ms), |step| step.positive_ms(times))?.max(1);
        let range_ms = subquery.range.positive_ms(times)?;
        let after_ms = shift.apply(grid.start_ms).saturating_sub(range_ms);
        // The inner times are multiples of the step, whatever the query's start: the first one after the window begins.
        // Division truncates towards zero, as Go's does.
        let mut start_ms = step_ms * (after_ms / step_ms);
        if start_ms <= after_ms {
            start_ms = start_ms.saturating_add(step_ms);
        }
        let inner = Grid::between(start_ms, shift.apply(grid.last_ms()), step_ms);
        let input = RangeInput::Subquery(self.detecting(false, |builder| builder.folded(&subquery.expr, inner))?);
        Ok(NodeKind::Matrix { input, range_ms, shift, extended: None, detects_resets: false })
    }

    fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Result<NodeKind, PlanError> {
        let param = aggregate.param.as_ref().map(|p| self.folded(p, grid)).transpose()?;
        let input = self.folded(&aggregate.expr, grid)?;
        let mut grouping = aggregate.grouping.clone();
        grouping.sort_unstable();
        grouping.dedup();
        Ok(NodeKind::Aggregate { op: aggregate.op, input, param, grouping, without: aggregate.without })
    }

    fn call(&mut self, signature: &'static functions::Function, args: &[Expr], grid: Grid) -> Result<NodeKind, PlanError> {
        if signature.name == "info" {
            return self.info(args, grid);
        }
        let function = function::resolve(signature.name).unwrap_or_else(|| unreachable!("every function of the language is evaluated"));
        let detects_resets = match signature.name {
            "histogram_count" | "histogram_sum" | "histogram_avg" => true,
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => false,
            _ => self.detects_resets,
        };
        let nodes = self.detecting(detects_resets, |builder| {
            let nodes = args.iter().map(|arg| match function {
                // It reads the time of the sample itself, which folding would hide.
                Function::Timestamp | Function::StartTimestamp => builder.plain(arg, grid),
                _ => builder.folded(arg, grid),
            });
            nodes.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(NodeKind::Call { function, args: nodes })
    }

    /// `info`: its second argument becomes a selector of the info series, at the times at which the first selector of the first
    /// argument looks.
    fn info(&mut self, args: &[Expr], grid: Grid) -> Result<NodeKind, PlanError> {
        let mut matchers = match args.get(1).map(|arg| &arg.kind) {
            Some(ExprKind::Vector(selector)) => selector.matchers.clone(),
            _ => Vec::new(),
        };
        let has_name = matchers.iter().any(|matcher| matcher.name == METRIC_NAME);
        if !has_name {
            matchers.push(Matcher::equal(METRIC_NAME, info::DEFAULT_METRIC));
        } else if !matchers.iter().any(info::says_name) {
            matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Regex, info::ANY_METRIC));
        }
        let none = TimeShift { at_ms: None, offset_ms: 0 };
        let shift = self.first_shift(&args[0], none)?.unwrap_or(none);
        let select = self.read(&matchers, (grid, shift), (self.params.lookback_ms, 0), false);
        let base = self.folded(&args[0], grid)?;
        let kind = NodeKind::Vector { select, shift, extended: None, detects_resets: false };
        self.nodes.push(Node { span: args[args.len() - 1].span, kind, grid, value_type: ValueType::Vector });
        let selector = NodeId((self.nodes.len() - 1) as u32);
        // A selector without a name means the default metric but, unlike no selector, leaves its series to be enriched.
        let skips_info = has_name || args.len() == 1;
        Ok(NodeKind::Call { function: Function::Info { skips_info }, args: vec![base, selector] })
    }

    /// Where the first selector of an expression looks, seen from outside of all subqueries around it.
    fn first_shift(&self, expr: &Expr, outer: TimeShift) -> Result<Option<TimeShift>, PlanError> {
        let within = |inner: TimeShift| match inner.at_ms {
            Some(_) => inner,
            None => TimeShift { at_ms: outer.at_ms, offset_ms: outer.offset_ms.saturating_add(inner.offset_ms) },
        };
        let first_of = |exprs: Vec<&Expr>| exprs.into_iter().find_map(|expr| self.first_shift(expr, outer).transpose()).transpose();
        match &expr.kind {
            ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => Ok(Some(within(self.shift(selector.at, &selector.offset)?))),
            ExprKind::Subquery(subquery) => self.first_shift(&subquery.expr, within(self.shift(subquery.at, &subquery.offset)?)),
            ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => self.first_shift(expr, outer),
            ExprKind::Aggregate(aggregate) => first_of(std::iter::once(&aggregate.expr).chain(&aggregate.param).collect()),
            ExprKind::Call { args, .. } => first_of(args.iter().collect()),
            ExprKind::Binary(binary) => first_of(vec![&binary.left, &binary.right]),
            ExprKind::Number { .. } | ExprKind::String(_) => Ok(None),
        }
    }

    fn binary(&mut self, binary: &Binary, grid: Grid) -> Result<NodeKind, PlanError> {
        let [left, right] = [&binary.left, &binary.right].map(|side| self.detecting(false, |builder| builder.folded(side, grid)));
        Ok(NodeKind::Binary {
            op: binary.op,
            left: left?,
            right: right?,
            matching: binary.matching.clone(),
            return_bool: binary.return_bool,
        })
    }
}
