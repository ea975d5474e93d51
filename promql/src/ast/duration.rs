//! Lengths of time in a query: literals, and expressions over the query's own range and step.

use super::Span;

/// A range, a step or an offset.
#[derive(Clone, Debug, PartialEq)]
pub enum Duration {
    /// Milliseconds.
    Fixed(i64),
    /// What only the query's own times decide, or what is written with an operator or parentheses.
    Expr(Box<DurationExpr>),
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self::Fixed(0);

    /// Whether it is the literal 0, which is what an offset is that nobody wrote.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The milliseconds of a range or of a subquery's step, which must be positive.
    ///
    /// # Errors
    /// The expression divides by zero, is not positive, or does not fit.
    pub fn positive_ms(&self, query: QueryTimes) -> Result<i64, DurationError> {
        match self {
            Self::Fixed(ms) => Ok(*ms),
            Self::Expr(expr) => expr.milliseconds(query, false),
        }
    }

    /// The milliseconds of an offset, which may be negative.
    ///
    /// # Errors
    /// The expression divides by zero or does not fit.
    pub fn signed_ms(&self, query: QueryTimes) -> Result<i64, DurationError> {
        match self {
            Self::Fixed(ms) => Ok(*ms),
            Self::Expr(expr) => expr.milliseconds(query, true),
        }
    }
}

/// What duration expressions know of the query that they stand in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryTimes {
    /// From the first to the last evaluation time in milliseconds, `range()`.
    pub range_ms: i64,
    /// Distance of evaluation times in milliseconds, `step()`.
    pub step_ms: i64,
}

/// A node of a duration expression, which has 200 operators at most, and so many levels of signs, calls and parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// Where it stands in the query, without the parentheses around an operation.
    pub span: Span,
    /// What it is.
    pub kind: DurationKind,
    /// Whether parentheses stand around it.
    pub wrapped: bool,
}

/// The kinds of nodes of a duration expression.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// A number, or a duration if written with units.
    Number {
        /// Seconds.
        seconds: f64,
        /// Whether it was written with units.
        is_duration: bool,
    },
    /// `step()`.
    Step,
    /// `range()`.
    Range,
    /// `-operand`.
    Negate(Box<DurationExpr>),
    /// `left op right`, `min_of(left, right)` and `max_of(left, right)`.
    Operation {
        /// The operator.
        op: DurationOp,
        /// Left operand.
        left: Box<DurationExpr>,
        /// Right operand.
        right: Box<DurationExpr>,
    },
}

/// Operators of duration expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    MinOf,
    MaxOf,
}

impl DurationOp {
    /// The operator, or the name of the function, as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::MinOf => "min_of",
            Self::MaxOf => "max_of",
        }
    }

    /// Whether it is written as a call of two arguments.
    #[must_use]
    pub fn is_function(self) -> bool {
        matches!(self, Self::MinOf | Self::MaxOf)
    }
}

/// Why a duration expression has no value for a query. The texts and positions are Prometheus's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {reason}", span.start, span.end)]
pub struct DurationError {
    /// The expression that is at fault.
    pub span: Span,
    /// What is wrong with it.
    pub reason: DurationErrorReason,
}

/// What can be wrong with a duration expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum DurationErrorReason {
    #[error("duration must be greater than 0")]
    NotPositive,
    #[error("duration is out of range")]
    OutOfRange,
    #[error("division by zero")]
    DivisionByZero,
    #[error("modulo by zero")]
    ModuloByZero,
}

impl DurationExpr {
    fn milliseconds(&self, query: QueryTimes, may_be_negative: bool) -> Result<i64, DurationError> {
        let seconds = self.seconds(query)?;
        let ms = seconds * 1000.0;
        let reason = if seconds <= 0.0 && !may_be_negative {
            DurationErrorReason::NotPositive
        } else if ms.is_nan() || ms.abs() >= i64::MAX as f64 {
            DurationErrorReason::OutOfRange
        } else {
            return Ok(ms as i64);
        };
        Err(DurationError { span: self.span, reason })
    }

    /// The seconds that it stands for in a query, before they are cut to milliseconds.
    ///
    /// # Errors
    /// A divisor is zero.
    pub fn seconds(&self, query: QueryTimes) -> Result<f64, DurationError> {
        let (op, left, right) = match &self.kind {
            DurationKind::Number { seconds, .. } => return Ok(*seconds),
            DurationKind::Step => return Ok(query.step_ms as f64 / 1000.0),
            DurationKind::Range => return Ok(query.range_ms as f64 / 1000.0),
            DurationKind::Negate(operand) => return Ok(-operand.seconds(query)?),
            DurationKind::Operation { op, left, right } => (*op, left.seconds(query)?, right.seconds(query)?),
        };
        let by_zero = |reason| if right == 0.0 { Err(DurationError { span: self.span, reason }) } else { Ok(()) };
        Ok(match op {
            DurationOp::Add => left + right,
            DurationOp::Sub => left - right,
            DurationOp::Mul => left * right,
            DurationOp::Div => {
                by_zero(DurationErrorReason::DivisionByZero)?;
                left / right
            }
            DurationOp::Mod => {
                by_zero(DurationErrorReason::ModuloByZero)?;
                left % right
            }
            DurationOp::Pow => left.powf(right),
            // Unlike Rust's own, Go's are NaN if either is.
            _ if left.is_nan() || right.is_nan() => f64::NAN,
            DurationOp::MinOf => left.min(right),
            DurationOp::MaxOf => left.max(right),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(seconds: f64) -> Box<DurationExpr> {
        Box::new(DurationExpr {
            span: Span { start: 1, end: 2 },
            kind: DurationKind::Number { seconds, is_duration: false },
            wrapped: false,
        })
    }

    fn operation(op: DurationOp, left: f64, right: f64) -> Duration {
        let kind = DurationKind::Operation { op, left: number(left), right: number(right) };
        Duration::Expr(Box::new(DurationExpr { span: Span { start: 4, end: 9 }, kind, wrapped: false }))
    }

    #[test]
    fn expressions_are_computed_in_seconds_and_cut_to_milliseconds() {
        let query = QueryTimes { range_ms: 60_000, step_ms: 1_500 };
        for (op, left, right, ms) in [
            (DurationOp::Add, 1.0, 2.5, 3_500),
            (DurationOp::Sub, 1.0, 2.5, -1_500),
            (DurationOp::Mul, 1.5, 2.0, 3_000),
            (DurationOp::Div, 1.0, 3.0, 333),
            (DurationOp::Mod, 7.0, 4.0, 3_000),
            (DurationOp::Pow, 2.0, 10.0, 1_024_000),
            (DurationOp::MinOf, 2.0, -3.0, -3_000),
            (DurationOp::MaxOf, 2.0, -3.0, 2_000),
        ] {
            assert_eq!(operation(op, left, right).signed_ms(query), Ok(ms), "{op:?}");
        }
        let of = |kind| Duration::Expr(Box::new(DurationExpr { span: Span::default(), kind, wrapped: false }));
        assert_eq!(of(DurationKind::Step).positive_ms(query), Ok(1_500));
        assert_eq!(of(DurationKind::Range).positive_ms(query), Ok(60_000));
        assert_eq!(of(DurationKind::Negate(number(2.0))).signed_ms(query), Ok(-2_000));
    }

    #[test]
    fn durations_without_a_value_say_why_and_where() {
        let text = |duration: &Duration| duration.positive_ms(QueryTimes::default()).unwrap_err().to_string();
        assert_eq!(text(&operation(DurationOp::Sub, 1.0, 1.0)), "4:9: duration must be greater than 0");
        assert_eq!(text(&operation(DurationOp::Div, 1.0, 0.0)), "4:9: division by zero");
        assert_eq!(text(&operation(DurationOp::Mod, 1.0, 0.0)), "4:9: modulo by zero");
        assert_eq!(text(&operation(DurationOp::Pow, 9e9, 9.0)), "4:9: duration is out of range");
        assert_eq!(text(&operation(DurationOp::MinOf, f64::NAN, 1.0)), "4:9: duration is out of range");
    }
}
