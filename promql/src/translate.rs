//! The tree as JSON, as Prometheus's `parse_query` answers it: an object a node, its members in alphabetical order.
//!
//! Ranges, steps and offsets are milliseconds, 0 where an expression stands; the expression is then a member of its own
//! (`rangeExpr`, `stepExpr`, `offsetExpr`), which ordinary queries do not have.

use crate::ast::{
    Aggregate, At, Binary, Cardinality, Duration, DurationExpr, DurationKind, Expr, ExprKind, Subquery, ValueType, VectorMatching,
    VectorSelector,
};
use crate::functions::Function;
use model::Matcher;
use model::number::{format_float, write_float};

#[cfg(test)]
mod tests;

/// Appends a text as a JSON string, with the escapes of the answers that the tree is a part of.
pub type WriteString = fn(&mut Vec<u8>, &str);

/// Appends the tree of a checked query to `out`. A node nests as deep as its expression, left-associative chains included, but
/// nothing here recurses along a chain.
pub fn translate(out: &mut Vec<u8>, expr: &Expr, write_string: WriteString) {
    Writer { out, write_string }.expr(expr);
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    write_string: WriteString,
}

impl Writer<'_> {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn string(&mut self, text: &str) {
        (self.write_string)(self.out, text);
    }

    /// A member whose value is written by what follows. `lead` is what stands before its name: a comma, or an opening brace.
    fn name(&mut self, lead: char, name: &str) {
        self.out.push(lead as u8);
        self.out.push(b'"');
        self.raw(name);
        self.raw("\":");
    }

    fn text_member(&mut self, lead: char, name: &str, text: &str) {
        self.name(lead, name);
        self.string(text);
    }

    fn bool_member(&mut self, lead: char, name: &str, value: bool) {
        self.name(lead, name);
        self.raw(if value { "true" } else { "false" });
    }

    fn number_member(&mut self, lead: char, name: &str, value: i64) {
        self.name(lead, name);
        self.raw(&value.to_string());
    }

    /// The last member, the type of the node, and the end of the object.
    fn end(&mut self, node_type: &str) {
        self.text_member(',', "type", node_type);
        self.out.push(b'}');
    }

    fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.out.push(b'[');
        for (i, item) in items.into_iter().enumerate() {
            if i > 0 {
                self.out.push(b',');
            }
            write(self, item);
        }
        self.out.push(b']');
    }

    fn strings(&mut self, texts: &[String]) {
        self.list(texts, |w, text| w.string(text));
    }

    fn expr(&mut self, expr: &Expr) {
        let mut chain = Vec::new();
        let mut first = expr;
        while let ExprKind::Binary(binary) = &first.kind {
            self.bool_member('{', "bool", binary.return_bool);
            self.name(',', "lhs");
            chain.push(&**binary);
            first = &binary.left;
        }
        self.flat(first);
        for binary in chain.iter().rev() {
            self.operator_and_right(binary);
        }
    }

    /// Anything but a binary operation.
    fn flat(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Number { value, .. } => {
                self.out.push(b'{');
                self.raw("\"type\":\"numberLiteral\"");
                self.text_member(',', "val", &format_float(*value));
                self.out.push(b'}');
            }
            ExprKind::String(bytes) => {
                self.out.push(b'{');
                self.raw("\"type\":\"stringLiteral\"");
                self.text_member(',', "val", &utf8(bytes));
                self.out.push(b'}');
            }
            ExprKind::Vector(selector) => self.selector(selector, None),
            ExprKind::Matrix { selector, range } => self.selector(selector, Some(range)),
            ExprKind::Subquery(subquery) => self.subquery(subquery),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate),
            ExprKind::Call { function, args } => {
                self.name('{', "args");
                self.list(args, |w, arg| w.expr(arg));
                self.function(function);
                self.end("call");
            }
            ExprKind::Unary { negative, expr } => {
                self.name('{', "expr");
                self.expr(expr);
                self.text_member(',', "op", if *negative { "-" } else { "+" });
                self.end("unaryExpr");
            }
            ExprKind::Paren(inner) => {
                self.name('{', "expr");
                self.expr(inner);
                self.end("parenExpr");
            }
            ExprKind::Binary(_) => unreachable!("a chain ends in something else"),
        }
    }

    fn operator_and_right(&mut self, binary: &Binary) {
        self.name(',', "matching");
        match &binary.matching {
            Some(matching) => self.matching(matching),
            None => self.raw("null"),
        }
        self.text_member(',', "op", binary.op.as_str());
        self.name(',', "rhs");
        self.expr(&binary.right);
        self.end("binaryExpr");
    }

    fn matching(&mut self, matching: &VectorMatching) {
        let cardinality = match matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        };
        self.text_member('{', "card", cardinality);
        self.name(',', "fillValues");
        for (lead, name, value) in [('{', "lhs", matching.fill_left), (',', "rhs", matching.fill_right)] {
            self.name(lead, name);
            match value {
                Some(value) if value.is_finite() => write_float(self.out, value),
                // JSON has no such numbers; they are texts, as in results.
                Some(value) => self.string(&format_float(value)),
                None => self.raw("null"),
            }
        }
        self.out.push(b'}');
        self.name(',', "include");
        self.strings(&matching.include);
        self.name(',', "labels");
        self.strings(&matching.labels);
        self.bool_member(',', "on", matching.on);
        self.out.push(b'}');
    }

    fn selector(&mut self, selector: &VectorSelector, range: Option<&Duration>) {
        use crate::ast::Extended::{Anchored, Smoothed};
        self.bool_member('{', "anchored", selector.extended == Some(Anchored));
        self.name(',', "matchers");
        self.list(&selector.matchers, Self::matcher);
        self.text_member(',', "name", &selector.name);
        self.duration(["offset", "offsetExpr"], Some(&selector.offset));
        if range.is_some() {
            self.duration(["range", "rangeExpr"], range);
        }
        self.bool_member(',', "smoothed", selector.extended == Some(Smoothed));
        self.start_or_end(selector.at);
        self.timestamp(selector.at);
        self.end(if range.is_some() { "matrixSelector" } else { "vectorSelector" });
    }

    fn matcher(&mut self, matcher: &Matcher) {
        self.text_member('{', "name", &matcher.name);
        self.text_member(',', "type", matcher.op.as_str());
        self.text_member(',', "value", &matcher.value);
        self.out.push(b'}');
    }

    fn subquery(&mut self, subquery: &Subquery) {
        self.name('{', "expr");
        self.expr(&subquery.expr);
        self.duration(["offset", "offsetExpr"], Some(&subquery.offset));
        self.duration(["range", "rangeExpr"], Some(&subquery.range));
        self.start_or_end(subquery.at);
        self.duration(["step", "stepExpr"], subquery.step.as_ref());
        self.timestamp(subquery.at);
        self.end("subquery");
    }

    fn start_or_end(&mut self, at: Option<At>) {
        self.name(',', "startOrEnd");
        self.raw(match at {
            Some(At::Start) => "\"start\"",
            Some(At::End) => "\"end\"",
            Some(At::Time(_)) | None => "null",
        });
    }

    fn timestamp(&mut self, at: Option<At>) {
        match at {
            Some(At::Time(ms)) => self.number_member(',', "timestamp", ms),
            _ => self.raw(",\"timestamp\":null"),
        }
    }

    /// A duration under the first of two names, and what it is computed from, if it is, under the second.
    fn duration(&mut self, names: [&str; 2], duration: Option<&Duration>) {
        let ms = if let Some(Duration::Fixed(ms)) = duration { *ms } else { 0 };
        self.number_member(',', names[0], ms);
        if let Some(Duration::Expr(expr)) = duration {
            self.name(',', names[1]);
            self.duration_expr(expr);
        }
    }

    fn duration_expr(&mut self, expr: &DurationExpr) {
        let (op, operands) = match &expr.kind {
            DurationKind::Number { seconds, is_duration } => {
                // Parentheses around a literal are kept as a plus in parentheses.
                if expr.wrapped {
                    self.raw("{\"lhs\":null,\"op\":\"+\",\"rhs\":");
                }
                self.bool_member('{', "duration", *is_duration);
                self.raw(",\"type\":\"numberLiteral\"");
                self.text_member(',', "val", &format_float(*seconds));
                self.raw(if expr.wrapped { "},\"type\":\"durationExpr\",\"wrapped\":true}" } else { "}" });
                return;
            }
            DurationKind::Step => ("step", [None, None]),
            DurationKind::Range => ("range", [None, None]),
            DurationKind::Negate(operand) => ("-", [None, Some(operand)]),
            DurationKind::Operation { op, left, right } => (op.as_str(), [Some(left), Some(right)]),
        };
        let [left, right] = operands;
        self.name('{', "lhs");
        self.operand(left.map(|left| &**left));
        self.text_member(',', "op", op);
        self.name(',', "rhs");
        self.operand(right.map(|right| &**right));
        self.raw(",\"type\":\"durationExpr\"");
        self.bool_member(',', "wrapped", expr.wrapped);
        self.out.push(b'}');
    }

    fn operand(&mut self, expr: Option<&DurationExpr>) {
        match expr {
            Some(expr) => self.duration_expr(expr),
            None => self.raw("null"),
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        self.name('{', "expr");
        self.expr(&aggregate.expr);
        self.name(',', "grouping");
        self.strings(&aggregate.grouping);
        self.text_member(',', "op", aggregate.op.as_str());
        self.name(',', "param");
        match &aggregate.param {
            Some(param) => self.expr(param),
            None => self.raw("null"),
        }
        self.raw(",\"type\":\"aggregation\"");
        self.bool_member(',', "without", aggregate.without);
        self.out.push(b'}');
    }

    fn function(&mut self, function: &Function) {
        self.name(',', "func");
        self.name('{', "argTypes");
        self.list(function.args, |w, arg: &ValueType| w.string(arg.as_str()));
        self.text_member(',', "name", function.name);
        self.text_member(',', "returnType", function.returns.as_str());
        self.number_member(',', "variadic", function.variadic.into());
        self.out.push(b'}');
    }
}

/// The text of bytes, with a replacement character for each byte that is no part of one.
fn utf8(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}
