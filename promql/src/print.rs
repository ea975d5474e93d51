//! The canonical text of a tree, as Prometheus's `String()` writes it; it parses to the same tree.

use crate::ast::{Aggregate, At, Binary, Cardinality, Expr, ExprKind, VectorSelector};
use model::labels::{METRIC_NAME, is_plain_metric_name, quote};
use model::number::DisplayFloat;
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
        ExprKind::Number { value, is_duration: true } => duration((value * 1000.0).round() as i64, f),
        ExprKind::Number { value, is_duration: false } => DisplayFloat(*value).fmt(f),
        ExprKind::String(bytes) => quoted_bytes(bytes, f),
        ExprKind::Vector(selector) => {
            selector_text(selector, f)?;
            modifiers(selector.at, selector.offset_ms, f)
        }
        ExprKind::Matrix { selector, range_ms } => {
            selector_text(selector, f)?;
            write!(f, "[{}]", DisplayDuration(*range_ms))?;
            modifiers(selector.at, selector.offset_ms, f)
        }
        ExprKind::Subquery(subquery) => {
            write!(f, "{}[{}:", subquery.expr, DisplayDuration(subquery.range_ms))?;
            if let Some(step_ms) = subquery.step_ms {
                DisplayDuration(step_ms).fmt(f)?;
            }
            f.write_char(']')?;
            modifiers(subquery.at, subquery.offset_ms, f)
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

fn duration(ms: i64, f: &mut Formatter<'_>) -> fmt::Result {
    DisplayDuration(ms).fmt(f)
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

fn modifiers(at: Option<At>, offset_ms: i64, f: &mut Formatter<'_>) -> fmt::Result {
    match at {
        Some(At::Time(ms)) => {
            let sign = if ms < 0 { "-" } else { "" };
            write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)?;
        }
        Some(At::Start) => f.write_str(" @ start()")?,
        Some(At::End) => f.write_str(" @ end()")?,
        None => {}
    }
    if offset_ms == 0 { Ok(()) } else { write!(f, " offset {}", DisplayDuration(offset_ms)) }
}

fn aggregate_text(aggregate: &Aggregate, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_str(aggregate.op.as_str())?;
    if aggregate.without || !aggregate.grouping.is_empty() {
        f.write_str(if aggregate.without { " without " } else { " by " })?;
        labels(&aggregate.grouping, f)?;
        f.write_char(' ')?;
    }
    f.write_char('(')?;
    if let Some(param) = &aggregate.param {
        write!(f, "{param}, ")?;
    }
    write!(f, "{})", aggregate.expr)
}

fn operator_and_right(binary: &Binary, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, " {}", binary.op.as_str())?;
    if binary.return_bool {
        f.write_str(" bool")?;
    }
    if let Some(matching) = &binary.matching {
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
    }
    write!(f, " {}", binary.right)
}

fn labels(names: &[String], f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('(')?;
    for (i, name) in names.iter().enumerate() {
        f.write_str(if i > 0 { ", " } else { "" })?;
        if is_plain_metric_name(name) {
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
