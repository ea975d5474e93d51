//! Which queries may be answered piece by piece: those whose value at a step depends on nothing but the samples around that step, and
//! that cannot fail for the whole range where each piece succeeds.

use promql::ast::ValueType;
use promql::ast::{Aggregate, AggregateOp, At, Binary, Duration, Expr, ExprKind, VectorSelector};

/// Functions that look at the bounds of the query, or judge all of its series at once.
const WHOLE_RANGE_FUNCTIONS: [&str; 6] = ["end", "info", "label_join", "label_replace", "range", "start"];

/// Levels of operators that are looked at; what nests deeper is simply not kept.
const DEPTH_MAX: usize = 200;

/// Whether a range query may be cut into pieces by time.
#[must_use]
pub(super) fn is_eligible(expr: &Expr) -> bool {
    names(expr, 0).is_some()
}

/// How the series of a value differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// By labels other than the name, at every step and over the whole range.
    Unique,
    /// Maybe by name only. An operator that drops names may then make two equal; that is an error even if they never have a value
    /// at the same step, which no piece of the range could tell.
    Matter,
}

/// `None` if the query may not be cut.
fn names(expr: &Expr, depth: usize) -> Option<Names> {
    if depth > DEPTH_MAX {
        return None;
    }
    let below = |expr: &Expr| names(expr, depth + 1);
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) => Some(Names::Unique),
        ExprKind::Vector(selector) => of_selector(selector),
        ExprKind::Matrix { selector, range } => of_selector(selector).filter(|_| is_fixed(range)),
        ExprKind::Paren(inner) | ExprKind::Unary { negative: false, expr: inner } => below(inner),
        ExprKind::Unary { negative: true, expr } => below(expr).and_then(dropped),
        ExprKind::Subquery(subquery) => {
            let fixed = is_fixed(&subquery.range) && is_fixed(&subquery.offset) && subquery.step.as_ref().is_none_or(is_fixed);
            below(&subquery.expr).filter(|_| fixed && is_fixed_time(subquery.at))
        }
        ExprKind::Call { function, args } => {
            let refused = WHOLE_RANGE_FUNCTIONS.contains(&function.name);
            let mut args = args.iter().map(|arg| below(arg).and_then(dropped));
            (!refused && args.all(|arg| arg.is_some())).then_some(Names::Unique)
        }
        ExprKind::Aggregate(aggregate) => of_aggregate(aggregate, below),
        ExprKind::Binary(binary) => of_binary(binary, below),
    }
}

fn dropped(names: Names) -> Option<Names> {
    (names == Names::Unique).then_some(names)
}

fn is_fixed(duration: &Duration) -> bool {
    matches!(duration, Duration::Fixed(_))
}

fn is_fixed_time(at: Option<At>) -> bool {
    !matches!(at, Some(At::Start | At::End))
}

fn of_selector(selector: &VectorSelector) -> Option<Names> {
    if !is_fixed(&selector.offset) || !is_fixed_time(selector.at) || selector.extended.is_some() {
        return None;
    }
    let one_name =
        selector.matchers.iter().any(|m| m.name == model::labels::METRIC_NAME && m.op == model::MatchOp::Equal && !m.value.is_empty());
    Some(if one_name { Names::Unique } else { Names::Matter })
}

fn of_aggregate(aggregate: &Aggregate, below: impl Fn(&Expr) -> Option<Names>) -> Option<Names> {
    let input = below(&aggregate.expr)?;
    if let Some(param) = &aggregate.param {
        below(param)?;
    }
    let groups_by_name = !aggregate.without && aggregate.grouping.iter().any(|label| label == model::labels::METRIC_NAME);
    match aggregate.op {
        AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => Some(input),
        // The label it makes may be the name.
        AggregateOp::CountValues => Some(Names::Matter),
        _ => Some(if groups_by_name { Names::Matter } else { Names::Unique }),
    }
}

fn of_binary(binary: &Binary, below: impl Fn(&Expr) -> Option<Names>) -> Option<Names> {
    let (left, right) = (below(&binary.left)?, below(&binary.right)?);
    let is_vector = |expr: &Expr| expr.value_type() == ValueType::Vector;
    let kept = if left == Names::Matter || right == Names::Matter { Names::Matter } else { Names::Unique };
    if !(is_vector(&binary.left) && is_vector(&binary.right)) {
        // A filter by a number keeps names, arithmetic drops them.
        return if binary.op.is_comparison() && !binary.return_bool { Some(kept) } else { dropped(kept) };
    }
    let copies_name = binary.matching.as_ref().is_some_and(|m| m.include.iter().any(|label| label == model::labels::METRIC_NAME));
    if binary.op.is_set() || binary.op.is_comparison() || copies_name {
        return Some(if copies_name { Names::Matter } else { kept });
    }
    // Equal results are judged step by step.
    Some(Names::Unique)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_bounds_of_the_range_is_not_cut() {
        let cut = |text: &str| is_eligible(&promql::parse_with(text, promql::Options::ALL).unwrap());
        for text in [
            "up",
            "sum by (job) (rate(http_requests_total[5m]))",
            "a / on (x) group_left (y) b",
            "count({__name__=~\".+\"}) by (job)",
            "{__name__=~\"a|b\"} > 0",
            "max_over_time(sum(rate(a[5m]))[30m:1m] offset 1d)",
            "a @ 1000",
            "topk(3, {job=\"x\"})",
            "histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))",
            "{__name__=~\"a|b\"} + on (x) c",
            "time() - a",
        ] {
            assert!(cut(text), "{text}");
        }
        for text in [
            "a @ end()",
            "max_over_time(a[5m:1m] @ start())",
            "time() - start()",
            "rate({__name__=~\"a|b\"}[5m])",
            "-{job=\"x\"}",
            "{job=\"x\"} * 2",
            "abs(sum by (__name__) (a))",
            "label_replace(a, \"b\", \"$1\", \"c\", \"(.*)\")",
            "rate(a[step()])",
            "rate(a[5m] smoothed)",
            "abs(topk(3, {job=\"x\"}))",
            "abs({job=\"x\"} and b)",
        ] {
            assert!(!cut(text), "{text}");
        }
    }
}
