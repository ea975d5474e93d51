//! The formatted text of a tree, as Prometheus's `format_query` lays it out: what is wider than a line is split at its operators
//! and arguments, each level indented by two blanks.

use super::{aggregate_head, operator_text, subquery_times};
use crate::ast::{Aggregate, Binary, Expr, ExprKind};
use std::fmt::{self, Display, Write};

/// Bytes of a text that need not be split.
const LINE_BYTES_MAX: usize = 100;

/// Bytes of a formatted text. A chain of operators is indented by as many levels as it is long, so that the text grows with the square
/// of the query.
const FORMATTED_BYTES_MAX: usize = 1 << 20;

/// Formats a query for reading; the text parses to the same tree. What would grow beyond a mebibyte is not split into lines.
#[must_use]
pub fn format(expr: &Expr) -> String {
    let mut out = String::new();
    match write(&mut out, expr, 0) {
        Ok(()) => out,
        Err(fmt::Error) => expr.to_string(),
    }
}

/// Counts bytes up to one more than a line may have.
struct Width(usize);

impl Write for Width {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        if self.0 > LINE_BYTES_MAX { Err(fmt::Error) } else { Ok(()) }
    }
}

/// The bytes of a text, or some number beyond a line.
fn width(text: impl Display) -> usize {
    let mut width = Width(0);
    // It fails only to end the counting.
    let _ = write!(width, "{text}");
    width.0
}

fn indent(out: &mut String, level: usize) -> fmt::Result {
    if out.len() + 2 * level > FORMATTED_BYTES_MAX {
        return Err(fmt::Error);
    }
    out.extend(std::iter::repeat_n("  ", level));
    Ok(())
}

fn write(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    match &expr.kind {
        ExprKind::Binary(_) => return chain(out, expr, level),
        ExprKind::Unary { negative, expr } => {
            let mut operand = String::new();
            write(&mut operand, expr, level)?;
            indent(out, level)?;
            return write!(out, "{}{}", if *negative { '-' } else { '+' }, operand.trim());
        }
        // Prometheus does not indent a subquery that fits into a line.
        ExprKind::Subquery(_) if width(expr) <= LINE_BYTES_MAX => return write!(out, "{expr}"),
        ExprKind::Subquery(subquery) => {
            write(out, &subquery.expr, level)?;
            return write!(out, "{}", fmt::from_fn(|f| subquery_times(subquery, f)));
        }
        _ => indent(out, level)?,
    }
    match &expr.kind {
        ExprKind::Aggregate(of) if width(expr) > LINE_BYTES_MAX => aggregate(out, of, level),
        ExprKind::Call { function, args } if width(expr) > LINE_BYTES_MAX => {
            write!(out, "{}(", function.name)?;
            lines(out, args.iter(), level)
        }
        ExprKind::Paren(inner) if width(expr) > LINE_BYTES_MAX => {
            out.push('(');
            lines(out, [&**inner].into_iter(), level)
        }
        _ => write!(out, "{expr}"),
    }
}

/// Arguments, a line each, and the parenthesis that closes them.
fn lines<'e>(out: &mut String, args: impl Iterator<Item = &'e Expr>, level: usize) -> fmt::Result {
    for (i, arg) in args.enumerate() {
        out.push_str(if i > 0 { ",\n" } else { "\n" });
        write(out, arg, level + 1)?;
    }
    out.push('\n');
    indent(out, level)?;
    out.push(')');
    Ok(())
}

fn aggregate(out: &mut String, aggregate: &Aggregate, level: usize) -> fmt::Result {
    write!(out, "{}(", fmt::from_fn(|f| aggregate_head(aggregate, f)))?;
    lines(out, aggregate.param.iter().chain([&aggregate.expr]), level)
}

/// A chain of left-associative operators, whose first operand stands deepest.
fn chain(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    let mut nodes: Vec<&Binary> = Vec::new();
    let mut first = expr;
    while let ExprKind::Binary(binary) = &first.kind {
        nodes.push(binary);
        first = &binary.left;
    }
    nodes.reverse();
    // The longest beginning that fits into a line stays whole.
    let mut whole = first;
    let mut joined = 0;
    let mut bytes = width(first);
    for (i, node) in nodes.iter().enumerate() {
        bytes += width(fmt::from_fn(|f| write!(f, " {} {}", fmt::from_fn(|f| operator_text(node, f)), node.right)));
        if bytes > LINE_BYTES_MAX {
            break;
        }
        joined = i + 1;
        whole = nodes.get(joined).map_or(expr, |next| &next.left);
    }
    let splits = nodes.len() - joined;
    if joined > 0 {
        indent(out, level + splits)?;
        write!(out, "{whole}")?;
    } else {
        write(out, first, level + splits)?;
    }
    for (node, depth) in nodes[joined..].iter().zip((0..splits).rev()) {
        out.push('\n');
        indent(out, level + depth)?;
        writeln!(out, "{}", fmt::from_fn(|f| operator_text(node, f)))?;
        write(out, &node.right, level + depth + 1)?;
    }
    Ok(())
}
