//! From the syntax tree to the operators of a plan.

use super::fragment::SelectSet;
use super::{Grid, Node, NodeId, NodeKind, Plan, QueryParams, RangeInput, TimeShift};
use crate::ast::{Aggregate, At, Binary, BinaryOp, Duration, Expr, ExprKind, QueryTimes, Subquery, ValueType, VectorSelector};
use crate::error::PlanError;
use crate::eval::function::{self, Function};
use crate::functions;

/// Plans `expr`.
pub(super) fn build(expr: &Expr, params: QueryParams) -> Result<Plan, PlanError> {
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
        Grid::between(params.start_ms, params.end_ms, params.step_ms)
    };
    let mut builder = Builder { nodes: Vec::new(), selects: SelectSet::default(), params };
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

/// Refuses what this engine does not evaluate.
fn supported(selector: &VectorSelector) -> Result<(), PlanError> {
    selector.extended.map_or(Ok(()), |extended| Err(PlanError::UnsupportedFunction { function: extended.as_str() }))
}

struct Builder {
    nodes: Vec<Node>,
    selects: SelectSet,
    params: QueryParams,
}

impl Builder {
    fn push(&mut self, expr: &Expr, grid: Grid, kind: NodeKind) -> NodeId {
        self.nodes.push(Node { span: expr.span, kind, grid, value_type: expr.value_type() });
        NodeId((self.nodes.len() - 1) as u32)
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
        supported(selector)?;
        let shift = self.shift(selector.at, &selector.offset)?;
        let start_ms = shift.apply(grid.start_ms).saturating_sub(self.params.lookback_ms);
        let select = self.selects.add(&selector.matchers, start_ms, shift.apply(grid.last_ms()));
        Ok(NodeKind::Vector { select, shift })
    }

    fn matrix(&mut self, selector: &VectorSelector, range: &Duration, grid: Grid) -> Result<NodeKind, PlanError> {
        supported(selector)?;
        let range_ms = range.positive_ms(self.times())?;
        let shift = self.shift(selector.at, &selector.offset)?;
        let start_ms = shift.apply(grid.start_ms).saturating_sub(range_ms);
        let select = self.selects.add(&selector.matchers, start_ms, shift.apply(grid.last_ms()));
        Ok(NodeKind::Matrix { input: RangeInput::Select(select), range_ms, shift })
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
        let input = RangeInput::Subquery(self.folded(&subquery.expr, inner)?);
        Ok(NodeKind::Matrix { input, range_ms, shift })
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
        let function = function::resolve(signature.name, args)?;
        let nodes = args.iter().map(|arg| match function {
            // It reads the time of the sample itself, which folding would hide.
            Function::Timestamp => self.plain(arg, grid),
            _ => self.folded(arg, grid),
        });
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        Ok(NodeKind::Call { function, args: nodes })
    }

    fn binary(&mut self, binary: &Binary, grid: Grid) -> Result<NodeKind, PlanError> {
        if matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            return Err(PlanError::UnsupportedFunction { function: binary.op.as_str() });
        }
        if binary.matching.as_ref().is_some_and(|matching| matching.fill_left.is_some() || matching.fill_right.is_some()) {
            return Err(PlanError::UnsupportedFunction { function: "fill" });
        }
        Ok(NodeKind::Binary {
            op: binary.op,
            left: self.folded(&binary.left, grid)?,
            right: self.folded(&binary.right, grid)?,
            matching: binary.matching.clone(),
            return_bool: binary.return_bool,
        })
    }
}
