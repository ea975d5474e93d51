//! Checks that the operators of a fragment fit their operands, so that its evaluation can rely on it.

use super::{FragmentError, malformed};
use crate::ast::{AggregateOp, BinaryOp, ValueType};
use crate::eval::function::Function;
use crate::functions;
use crate::plan::fragment::{Export, Fragment};
use crate::plan::{Node, NodeId, NodeKind, Plan, RangeInput, pushdown};

/// Operators of a fragment, at most.
const NODES_MAX: usize = 20_000;
/// Levels of operators; the planner's limit and what folding adds.
const DEPTH_MAX: usize = 1_100;

/// Checks a fragment.
pub(super) fn check(fragment: &Fragment) -> Result<(), FragmentError> {
    let plan = &fragment.plan;
    if plan.nodes.len() > NODES_MAX || fragment.exports.len() > NODES_MAX {
        return Err(malformed("too many operators"));
    }
    let mut depths = Vec::with_capacity(plan.nodes.len());
    for (number, node) in plan.nodes.iter().enumerate() {
        let mut depth = 0;
        for child in node.kind.children() {
            // Children come first, so there are no circles.
            let below = (child.0 as usize) < number;
            depth = depth.max(*depths.get(child.0 as usize).filter(|_| below).ok_or_else(|| malformed("operand after its operator"))?);
        }
        if depth >= DEPTH_MAX {
            return Err(malformed("operators nest too deep"));
        }
        depths.push(depth + 1);
        if node.grid.step_ms < 1 || u32::try_from(node.grid.steps).is_err() {
            return Err(malformed("impossible times"));
        }
        if !fits(plan, node) {
            return Err(malformed(format!("operator {number} does not fit its operands")));
        }
    }
    if fragment.exports.iter().all(|export| can_be_sent(plan, *export)) { Ok(()) } else { Err(malformed("result that cannot be sent")) }
}

fn can_be_sent(plan: &Plan, export: Export) -> bool {
    let node = |id: NodeId| plan.nodes.get(id.0 as usize);
    match export {
        Export::Series(id) => node(id).is_some_and(|node| node.value_type == ValueType::Vector),
        Export::Raw(select) => (select.0 as usize) < plan.selects.len(),
        Export::Partial(id) => node(id).is_some_and(|node| match &node.kind {
            NodeKind::Aggregate { op, param, .. } => {
                *op != AggregateOp::LimitRatio && (*op == AggregateOp::Quantile || param.is_some() == op.param_type().is_some())
            }
            NodeKind::Call { function, .. } => matches!(function, Function::Scalar | Function::Absent | Function::AbsentOverTime),
            _ => false,
        }),
    }
}

/// Whether types and times of the operands are those that the operator needs.
fn fits(plan: &Plan, node: &Node) -> bool {
    let type_of = |id: &NodeId| plan.node(*id).value_type;
    let same_times = |id: &NodeId| plan.node(*id).grid == node.grid;
    let is = |value_type: ValueType| node.value_type == value_type;
    let is_select = |select: crate::source::SelectId| (select.0 as usize) < plan.selects.len();
    match &node.kind {
        NodeKind::Number(_) => is(ValueType::Scalar),
        NodeKind::String(_) => is(ValueType::String),
        NodeKind::Vector { select, .. } => is(ValueType::Vector) && is_select(*select),
        NodeKind::Matrix { input: RangeInput::Select(select), .. } => is(ValueType::Matrix) && is_select(*select),
        NodeKind::Matrix { input: RangeInput::Subquery(inner), .. } => {
            is(ValueType::Matrix) && matches!(type_of(inner), ValueType::Vector | ValueType::Scalar)
        }
        NodeKind::StepInvariant(once) => {
            let is_value = matches!(node.value_type, ValueType::Vector | ValueType::Scalar);
            is_value && type_of(once) == node.value_type && plan.node(*once).grid.steps == 1
        }
        NodeKind::Negate(inner) => {
            matches!(node.value_type, ValueType::Vector | ValueType::Scalar) && type_of(inner) == node.value_type && same_times(inner)
        }
        NodeKind::Call { function, args } => args.iter().all(same_times) && call_fits(plan, node, *function, args),
        NodeKind::Aggregate { op, input, param, .. } => {
            let param_fits = match (param, op.param_type()) {
                // Only of partial results, which do without.
                (None, wanted) => wanted.is_none() || *op == AggregateOp::Quantile,
                (Some(param), wanted) => wanted == Some(type_of(param)) && same_times(param),
            };
            is(ValueType::Vector) && type_of(input) == ValueType::Vector && same_times(input) && param_fits
        }
        NodeKind::Binary { op, left, right, matching, return_bool } => {
            let bool_fits = !*return_bool || op.is_comparison();
            let vectors = [left, right].iter().filter(|id| type_of(id) == ValueType::Vector).count();
            let scalars = [left, right].iter().filter(|id| type_of(id) == ValueType::Scalar).count();
            let needs_vectors = op.is_set() || matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
            let types_fit = match (vectors, scalars) {
                (2, 0) => is(ValueType::Vector) && matching.is_some(),
                (1, 1) => is(ValueType::Vector) && matching.is_none() && !op.is_set(),
                (0, 2) => is(ValueType::Scalar) && matching.is_none() && !needs_vectors,
                _ => false,
            };
            same_times(left) && same_times(right) && bool_fits && types_fit
        }
    }
}

fn call_fits(plan: &Plan, node: &Node, function: Function, args: &[NodeId]) -> bool {
    let Some(signature) = pushdown::name(function).and_then(functions::find) else { return false };
    let wanted = signature.args.len();
    let (least, most) = match signature.variadic {
        0 => (wanted, wanted),
        more => (wanted - 1, usize::try_from(more).map_or(usize::MAX, |more| wanted - 1 + more)),
    };
    let types_fit = args.iter().enumerate().all(|(i, arg)| {
        let want = signature.args.get(i).or(signature.args.last());
        want.is_some_and(|want| plan.node(*arg).value_type == *want)
    });
    node.value_type == signature.returns && (least..=most).contains(&args.len()) && types_fit
}
