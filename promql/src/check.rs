//! Type checks, with Prometheus's texts, of a tree that parsed.

use crate::ast::{Aggregate, Binary, Cardinality, Expr, ExprKind, Span, ValueType, VectorSelector};
use crate::functions::Function;
use crate::lex::is_space;
use model::Matcher;
use model::labels::{METRIC_NAME, quote};

/// Collects what is wrong with a tree.
pub(crate) struct Checker<'a> {
    text: &'a str,
    pub(crate) errors: Vec<(Span, String)>,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, errors: Vec::new() }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push((span, message.into()));
    }

    /// Checks a tree and returns its type. Binary operations between anything but two vectors lose their matching, set
    /// operations become many-to-many. The left spine of a chain is walked in a loop.
    pub(crate) fn check(&mut self, expr: &mut Expr) -> ValueType {
        let ExprKind::Binary(_) = &expr.kind else { return self.check_flat(expr) };
        let mut spine = Vec::new();
        let mut current = std::mem::take(expr);
        while let ExprKind::Binary(binary) = &mut current.kind {
            let left = std::mem::take(&mut binary.left);
            spine.push(std::mem::replace(&mut current, left));
        }
        let mut value_type = self.check_flat(&mut current);
        while let Some(mut node) = spine.pop() {
            let span = node.span;
            if let ExprKind::Binary(binary) = &mut node.kind {
                binary.left = current;
                value_type = self.check_binary(binary, span, value_type);
            }
            current = node;
        }
        *expr = current;
        value_type
    }

    /// Anything but a binary operation.
    fn check_flat(&mut self, expr: &mut Expr) -> ValueType {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Aggregate(aggregate) => self.check_aggregate(aggregate),
            ExprKind::Call { function, args } => self.check_call(function, args, span),
            ExprKind::Paren(inner) => {
                self.check(inner);
            }
            ExprKind::Unary { expr: inner, .. } => {
                let got = self.check(inner);
                if !matches!(got, ValueType::Scalar | ValueType::Vector) {
                    let got = quote(got.documented());
                    self.error(span, format!("unary expression only allowed on expressions of type scalar or instant vector, got {got}"));
                }
            }
            ExprKind::Subquery(subquery) => {
                let got = self.check(&mut subquery.expr);
                if got != ValueType::Vector {
                    self.error(span, format!("subquery is only allowed on instant vector, got {} instead", got.as_str()));
                }
            }
            ExprKind::Matrix { selector, .. } | ExprKind::Vector(selector) => self.check_selector(selector, span, false),
            ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Binary(_) => {}
        }
        expr.value_type()
    }

    /// Checks `expr`, which must be of type `want`; `context` is made only for an error.
    fn expect_type(&mut self, expr: &mut Expr, want: ValueType, context: impl FnOnce() -> String) {
        let got = self.check(expr);
        if got != want {
            self.error(expr.span, format!("expected type {} in {}, got {}", want.documented(), context(), got.documented()));
        }
    }

    fn check_aggregate(&mut self, aggregate: &mut Aggregate) {
        self.expect_type(&mut aggregate.expr, ValueType::Vector, || "aggregation expression".to_owned());
        if let (Some(want), Some(param)) = (aggregate.op.param_type(), &mut aggregate.param) {
            self.expect_type(param, want, || "aggregation parameter".to_owned());
        }
    }

    fn check_call(&mut self, function: &Function, args: &mut [Expr], span: Span) {
        self.check_count(function, args.len(), span);
        let is_info = function.name == "info";
        if let (true, Some(labels)) = (is_info, args.get(1)) {
            self.check_info_labels(labels, span);
        }
        for (i, arg) in args.iter_mut().enumerate() {
            let Some(want) = function.args.get(i).or(function.args.last().filter(|_| function.variadic != 0)) else { break };
            match &arg.kind {
                ExprKind::Vector(selector) if is_info && i == 1 => self.check_selector(selector, arg.span, true),
                _ => self.expect_type(arg, *want, || call_to(function)),
            }
        }
    }

    /// Whether a function takes this many arguments.
    fn check_count(&mut self, function: &Function, got: usize, span: Span) {
        let wanted = function.args.len();
        let expected = if function.variadic == 0 {
            (wanted != got).then(|| wanted.to_string())
        } else {
            let least = wanted.saturating_sub(1);
            let most = usize::try_from(function.variadic).map_or(usize::MAX, |n| least + n);
            let least = (got < least).then(|| format!("at least {least}"));
            least.or_else(|| (got > most).then(|| format!("at most {most}")))
        };
        if let Some(expected) = expected {
            self.error(span, format!("expected {expected} argument(s) in call to {}, got {got}", quote(function.name)));
        }
    }

    /// The second argument of `info` is a selector without a name; its matchers may all match the empty value.
    fn check_info_labels(&mut self, arg: &Expr, call: Span) {
        let got = arg.value_type();
        if got != ValueType::Vector {
            self.error(call, format!("expected type instant vector in call to function \"info\", got {}", got.documented()));
        }
        match &arg.kind {
            ExprKind::Vector(selector) if selector.name.is_empty() => {}
            ExprKind::Vector(_) => self.error(arg.span, "expected label selectors only, got vector selector instead"),
            _ => self.error(arg.span, "expected label selectors only"),
        }
    }

    fn check_selector(&mut self, selector: &VectorSelector, span: Span, may_be_empty: bool) {
        if selector.name.is_empty() {
            if !may_be_empty && selector.matchers.iter().all(Matcher::matches_empty) {
                self.error(span, "vector selector must contain at least one non-empty matcher");
            }
            return;
        }
        // The last matcher is the one that the name stands for.
        let in_braces = &selector.matchers[..selector.matchers.len() - 1];
        for matcher in in_braces.iter().filter(|m| m.name == METRIC_NAME) {
            let (first, second) = (quote(&selector.name), quote(&matcher.value));
            self.error(span, format!("metric name must not be set twice: {first} or {second}"));
        }
    }

    fn check_binary(&mut self, binary: &mut Binary, span: Span, left: ValueType) -> ValueType {
        let right = self.check(&mut binary.right);
        let op = binary.op;
        let both_scalar = left == ValueType::Scalar && right == ValueType::Scalar;
        if binary.return_bool && !op.is_comparison() {
            self.error(self.operator_span(binary), "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !binary.return_bool && both_scalar {
            self.error(self.operator_span(binary), "comparisons between scalars must use BOOL modifier");
        }
        self.check_included_labels(binary);
        for (value_type, operand) in [(left, binary.left.span), (right, binary.right.span)] {
            if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
                self.error(operand, "binary expression must contain only scalar and instant vector types");
            }
        }
        if let Some(matching) = &mut binary.matching {
            let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
            if op.is_set() && matching.cardinality == Cardinality::OneToOne {
                matching.cardinality = Cardinality::ManyToMany;
            }
            if left != ValueType::Vector || right != ValueType::Vector {
                if !matching.labels.is_empty() {
                    self.error(span, "vector matching only allowed between instant vectors");
                }
                if fills {
                    self.error(span, "filling in missing series only allowed between instant vectors");
                }
                binary.matching = None;
            } else if op.is_set() {
                if matching.cardinality != Cardinality::ManyToMany {
                    self.error(span, format!("no grouping allowed for {} operation", quote(op.as_str())));
                    self.error(span, "set operations must always be many-to-many");
                }
                if fills {
                    self.error(span, "filling in missing series not allowed for set operators");
                }
            }
        }
        if op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
            self.error(span, format!("set operator {} not allowed in binary scalar expression", quote(op.as_str())));
        }
        if both_scalar { ValueType::Scalar } else { ValueType::Vector }
    }

    fn check_included_labels(&mut self, binary: &Binary) {
        let Some(matching) = binary.matching.as_ref().filter(|m| m.on) else { return };
        for label in matching.labels.iter().filter(|l| matching.include.contains(l)) {
            let label = quote(label);
            self.error(self.operator_span(binary), format!("label {label} must not occur in ON and GROUP clause at once"));
        }
    }

    /// What stands between the operands, without the blanks around it.
    fn operator_span(&self, binary: &Binary) -> Span {
        let (begin, end) = (binary.left.span.end as usize, binary.right.span.start as usize);
        let between = self.text.as_bytes().get(begin..end).unwrap_or_default();
        let blanks = between.iter().take_while(|b| is_space(**b)).count();
        let length = between.trim_ascii_end().len();
        Span { start: (begin + blanks) as u32, end: (begin + length) as u32 }
    }
}

/// How errors name the arguments of a function.
fn call_to(function: &Function) -> String {
    format!("call to function {}", quote(function.name))
}
