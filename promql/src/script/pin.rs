//! A query whose value does not depend on when it is asked.

use crate::ast::{At, Expr, ExprKind};
use model::Timestamp;

/// Functions whose value follows the evaluation time even if their arguments stand still.
const FOLLOW_TIME: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// Gives every selector and subquery without `@` the time `at_ms`, except within a subquery that had one; false if the value follows the
/// evaluation time anyway.
pub(super) fn pin(expr: &mut Expr, at_ms: Timestamp) -> bool {
    walk(expr, at_ms, false)
}

fn walk(expr: &mut Expr, at_ms: Timestamp, is_pinned: bool) -> bool {
    let at = (!is_pinned).then_some(At::Time(at_ms));
    match &mut expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => true,
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => {
            selector.at = selector.at.or(at);
            true
        }
        ExprKind::Subquery(subquery) => {
            subquery.at = subquery.at.or(at);
            walk(&mut subquery.expr, at_ms, true)
        }
        ExprKind::Aggregate(aggregate) => {
            let is_safe = aggregate.param.as_mut().is_none_or(|param| walk(param, at_ms, is_pinned));
            walk(&mut aggregate.expr, at_ms, is_pinned) && is_safe
        }
        ExprKind::Call { function, args } => {
            // All are walked, whatever the first ones say.
            let unsafe_args = args.iter_mut().filter_map(|arg| (!walk(arg, at_ms, is_pinned)).then_some(())).count();
            unsafe_args == 0 && !FOLLOW_TIME.contains(&function.name)
        }
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => walk(expr, at_ms, is_pinned),
        ExprKind::Binary(binary) => {
            let is_safe = walk(&mut binary.left, at_ms, is_pinned);
            walk(&mut binary.right, at_ms, is_pinned) && is_safe
        }
    }
}
