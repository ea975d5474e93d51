//! The canonical text of a tree, as Prometheus's `String()` writes it; it parses to the same tree.

mod pretty;

pub use pretty::format;

use crate::ast::{
    Aggregate, At, Binary, Cardinality, Duration, DurationExpr, DurationKind, Expr, ExprKind, Extended, Subquery, VectorMatching,
    VectorSelector,
};
use model::labels::{METRIC_NAME, is_plain_metric_name, quote};
use model::number::{DisplayFloat, DisplayGeneral};
use model::time::DisplayDuration;
use model::{MatchOp, Matcher};
use std::fmt::{self, Display, Formatter, Write as _};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut chain = Vec::new();
        let mut first = self;
        while let ExprKind::Binary(binary) = &first.kind {
            chain.push(&**binary);
            first = &binary.left;
        }
        flat(first, f)?;
        chain.iter().rev().try_for_each(|binary| operator_and_right(binary, f))
    }
}

/// Anything but a binary operation.
fn flat(expr: &Expr, f: &mut Formatter<'_>) -> fmt::Result {
    match &expr.kind {
        ExprKind::Number { value, is_duration } => number(*value, *is_duration, f),
        ExprKind::String(bytes) => quoted_bytes(bytes, f),
        ExprKind::Vector(selector) => {
            selector_text(selector, f)?;
            at(selector.at, f)?;
            extended(selector.extended, f)?;
            offset(&selector.offset, f)
        }
        ExprKind::Matrix { selector, range } => {
            selector_text(selector, f)?;
            write!(f, "[{range}]")?;
            extended(selector.extended, f)?;
            at(selector.at, f)?;
            offset(&selector.offset, f)
        }
        ExprKind::Subquery(subquery) => {
            subquery.expr.fmt(f)?;
            subquery_times(subquery, f)
        }
        ExprKind::Aggregate(aggregate) => aggregate_text(aggregate, f),
        ExprKind::Call { function, args } => {
            write!(f, "{}(", function.name)?;
            for (i, arg) in args.iter().enumerate() {
                f.write_str(if i > 0 { ", " } else { "" })?;
                arg.fmt(f)?;
            }
            f.write_char(')')
        }
        ExprKind::Unary { negative, expr } => write!(f, "{}{expr}", if *negative { '-' } else { '+' }),
        ExprKind::Paren(inner) => write!(f, "({inner})"),
        ExprKind::Binary(_) => expr.fmt(f),
    }
}

fn number(value: f64, is_duration: bool, f: &mut Formatter<'_>) -> fmt::Result {
    if is_duration { DisplayDuration((value * 1000.0).round() as i64).fmt(f) } else { DisplayFloat(value).fmt(f) }
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(ms) => DisplayDuration(*ms).fmt(f),
            Self::Expr(expr) => expr.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.wrapped { "(" } else { "" })?;
        match &self.kind {
            DurationKind::Number { seconds, is_duration } => number(*seconds, *is_duration, f)?,
            DurationKind::Step => f.write_str("step()")?,
            DurationKind::Range => f.write_str("range()")?,
            DurationKind::Negate(operand) => write!(f, "-{operand}")?,
            DurationKind::Operation { op, left, right } if op.is_function() => write!(f, "{}({left}, {right})", op.as_str())?,
            DurationKind::Operation { op, left, right } => write!(f, "{left} {} {right}", op.as_str())?,
        }
        f.write_str(if self.wrapped { ")" } else { "" })
    }
}

/// Name and matchers, sorted by their text, without the matcher that the name stands for.
fn selector_text(selector: &VectorSelector, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(&selector.name)?;
    let says_the_name = |m: &&Matcher| m.name == METRIC_NAME && m.op == MatchOp::Equal && m.value == selector.name && !m.value.is_empty();
    let mut texts: Vec<String> = selector.matchers.iter().filter(|m| !says_the_name(m)).map(ToString::to_string).collect();
    if texts.is_empty() {
        return if selector.name.is_empty() { f.write_str("{}") } else { Ok(()) };
    }
    texts.sort_unstable();
    write!(f, "{{{}}}", texts.join(","))
}

fn at(at: Option<At>, f: &mut Formatter<'_>) -> fmt::Result {
    match at {
        Some(At::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
        }
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        None => Ok(()),
    }
}

fn extended(extended: Option<Extended>, f: &mut Formatter<'_>) -> fmt::Result {
    extended.map_or(Ok(()), |extended| write!(f, " {}", extended.as_str()))
}

fn offset(offset: &Duration, f: &mut Formatter<'_>) -> fmt::Result {
    if offset.is_zero() { Ok(()) } else { write!(f, " offset {offset}") }
}

/// What stands behind the expression of a subquery.
fn subquery_times(subquery: &Subquery, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "[{}:", subquery.range)?;
    if let Some(step) = &subquery.step {
        step.fmt(f)?;
    }
    f.write_char(']')?;
    at(subquery.at, f)?;
    offset(&subquery.offset, f)
}

fn aggregate_text(aggregate: &Aggregate, f: &mut Formatter<'_>) -> fmt::Result {
    aggregate_head(aggregate, f)?;
    f.write_char('(')?;
    if let Some(param) = &aggregate.param {
        write!(f, "{param}, ")?;
    }
    write!(f, "{})", aggregate.expr)
}

/// The operator with its modifier, up to the parenthesis.
fn aggregate_head(aggregate: &Aggregate, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(aggregate.op.as_str())?;
    if aggregate.without || !aggregate.grouping.is_empty() {
        f.write_str(if aggregate.without { " without " } else { " by " })?;
        labels(&aggregate.grouping, f)?;
        f.write_char(' ')?;
    }
    Ok(())
}

fn operator_and_right(binary: &Binary, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char(' ')?;
    operator_text(binary, f)?;
    write!(f, " {}", binary.right)
}

/// The operator with its modifiers.
fn operator_text(binary: &Binary, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(binary.op.as_str())?;
    if binary.return_bool {
        f.write_str(" bool")?;
    }
    binary.matching.as_ref().map_or(Ok(()), |matching| matching_text(matching, f))
}

fn matching_text(matching: &VectorMatching, f: &mut Formatter<'_>) -> fmt::Result {
    let grouped = match matching.cardinality {
        Cardinality::ManyToOne => Some(" group_left "),
        Cardinality::OneToMany => Some(" group_right "),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if matching.on || grouped.is_some() || !matching.labels.is_empty() {
        f.write_str(if matching.on { " on " } else { " ignoring " })?;
        labels(&matching.labels, f)?;
    }
    if let Some(word) = grouped {
        f.write_str(word)?;
        labels(&matching.include, f)?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => fill("fill", Some(left), f),
        (left, right) => {
            fill("fill_left", left, f)?;
            fill("fill_right", right, f)
        }
    }
}

fn fill(word: &str, value: Option<f64>, f: &mut Formatter<'_>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {word} ({})", DisplayGeneral(value)))
}

/// Words that are read as something else than a label if they are not quoted.
const NO_LABELS: [&str; 3] = ["inf", "nan", "without"];

fn labels(names: &[String], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('(')?;
    for (i, name) in names.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        if is_plain_metric_name(name) && !NO_LABELS.iter().any(|word| name.eq_ignore_ascii_case(word)) {
            f.write_str(name)?;
        } else {
            f.write_str(&quote(name))?;
        }
    }
    f.write_char(')')
}

/// Go's `%q` of bytes: what is not UTF-8 is escaped byte by byte.
fn quoted_bytes(bytes: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for chunk in bytes.utf8_chunks() {
        let quoted = quote(chunk.valid());
        f.write_str(&quoted[1..quoted.len() - 1])?;
        for b in chunk.invalid() {
            write!(f, "\\x{b:02x}")?;
        }
    }
    f.write_char('"')
}
