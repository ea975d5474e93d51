//! Lengths of time: a literal, or an expression over the query's range and step.

use super::{Fatal, Parsed, Parser};
use crate::ast::{BinaryOp, Duration, DurationExpr, DurationKind, DurationOp, Span};
use crate::lex::{Item, Preprocessor, Token};
use model::{number, time};

/// Nanoseconds of Prometheus's durations are 64 bits; seconds beyond this do not fit.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

/// Operators of one duration expression. A chain of them nests as deep as it is long.
const DURATION_OPERATORS_MAX: usize = 200;

/// Where a duration stands, for the error if there is none.
#[derive(Clone, Copy)]
pub(super) struct Place {
    context: &'static str,
    expected: &'static str,
}

impl Place {
    pub(super) const RANGE: Self = Self { context: "subquery or range selector", expected: "number, duration, step(), or range()" };
    pub(super) const STEP: Self = Self { context: "subquery selector", expected: "number, duration, step(), range(), or \"]\"" };
    pub(super) const OFFSET: Self = Self { context: "offset", expected: "number, duration, step(), or range()" };
}

impl Parser<'_> {
    /// The seconds of a number or duration token.
    pub(super) fn seconds(&mut self, item: Item) -> f64 {
        let text = self.text_of(item.span);
        if item.token == Token::Number {
            return number::parse_number(text).unwrap_or_else(|error| {
                self.error(item.span, format!("error parsing number: {error}"));
                0.0
            });
        }
        match time::parse_duration(text) {
            Ok(ms) => ms as f64 / 1000.0,
            Err(error) => {
                self.error(item.span, error.to_string());
                0.0
            }
        }
    }

    /// What stands in brackets; a literal must be positive.
    pub(super) fn positive_duration(&mut self, place: Place) -> Parsed<Duration> {
        self.duration_operators = 0;
        let errors = self.errors.len();
        let expr = self.duration_expression(0, place)?;
        match literal(&expr) {
            Some(seconds) if seconds <= 0.0 && self.errors.len() == errors => {
                self.error(expr.span, "duration must be greater than 0");
                Ok(Duration::ZERO)
            }
            _ => Ok(duration(expr)),
        }
    }

    /// What stands behind `offset`: an operator behind it belongs to what is around it, unless parentheses or a second sign
    /// began an expression. That is how Prometheus's grammar resolves it.
    pub(super) fn offset_duration(&mut self) -> Parsed<Duration> {
        self.duration_operators = 0;
        let place = Place::OFFSET;
        let Some(negative) = self.sign() else {
            let expr = if self.item.token == Token::LeftParen { self.duration_expression(0, place) } else { self.duration_primary(place) };
            return expr.map(duration);
        };
        let sign = self.advance();
        let signs = self.sign();
        let operand = if signs.is_some() {
            let operand = self.duration_expression(power(DurationOp::Mul) + 1, place)?;
            let first = self.signed(sign.span, negative, operand);
            let mut whole = self.duration_operations(first, 0, place)?;
            // Printed without parentheses, operators would not be read as a part of the offset.
            whole.wrapped |= has_open_operator(&whole);
            whole
        } else {
            let operand = self.duration_primary(place)?;
            self.signed(sign.span, negative, operand)
        };
        Ok(duration(operand))
    }

    /// Whether the token that is looked at is a sign, and if so a minus.
    fn sign(&self) -> Option<bool> {
        match self.item.token {
            Token::Operator(BinaryOp::Add) => Some(false),
            Token::Operator(BinaryOp::Sub) => Some(true),
            _ => None,
        }
    }

    fn duration_expression(&mut self, least: u8, place: Place) -> Parsed<DurationExpr> {
        self.nested(|p| {
            let operand = p.duration_operand(place)?;
            p.duration_operations(operand, least, place)
        })
    }

    /// The operators that follow `left` and bind at least as tightly as `least`.
    fn duration_operations(&mut self, mut left: DurationExpr, least: u8, place: Place) -> Parsed<DurationExpr> {
        while let Some(op) = arithmetic(self.item.token).filter(|op| power(*op) >= least) {
            if self.duration_operators == DURATION_OPERATORS_MAX {
                self.error(self.item.span, format!("duration expression has more than {DURATION_OPERATORS_MAX} operators"));
                return Err(Fatal);
            }
            self.duration_operators += 1;
            let sign = self.advance();
            let right = self.duration_expression(if op == DurationOp::Pow { power(op) } else { power(op) + 1 }, place)?;
            self.demand_duration_expressions(left.span);
            let by_zero = match op {
                DurationOp::Div => "division by zero",
                DurationOp::Mod => "modulo by zero",
                _ => "",
            };
            if !by_zero.is_empty() && literal(&right) == Some(0.0) {
                self.error(sign.span, by_zero);
            }
            let span = Span { start: left.span.start, end: right.span.end };
            left = operation(op, left, right, span);
        }
        Ok(left)
    }

    fn duration_operand(&mut self, place: Place) -> Parsed<DurationExpr> {
        let Some(negative) = self.sign() else { return self.duration_primary(place) };
        let sign = self.advance();
        let operand = self.duration_expression(power(DurationOp::Mul) + 1, place)?;
        Ok(self.signed(sign.span, negative, operand))
    }

    /// A literal takes the sign into itself; a plus before anything else is not kept.
    fn signed(&mut self, sign: Span, negative: bool, mut operand: DurationExpr) -> DurationExpr {
        let span = Span { start: sign.start, end: operand.span.end };
        match &mut operand.kind {
            DurationKind::Number { seconds, .. } if !operand.wrapped => {
                *seconds = if negative { -*seconds } else { *seconds };
                operand.span = span;
                operand
            }
            _ if negative => DurationExpr { span, kind: DurationKind::Negate(Box::new(operand)), wrapped: false },
            _ => operand,
        }
    }

    /// A literal, a call, or an expression in parentheses.
    fn duration_primary(&mut self, place: Place) -> Parsed<DurationExpr> {
        let item = self.item;
        let wrapped = false;
        match item.token {
            Token::Number | Token::Duration => {
                self.advance();
                let errors = self.errors.len();
                let mut seconds = self.seconds(item);
                if self.errors.len() == errors && (seconds.is_nan() || seconds.abs() >= SECONDS_MAX) {
                    self.error(item.span, "duration out of range");
                    seconds = 0.0;
                }
                let kind = DurationKind::Number { seconds, is_duration: item.token == Token::Duration };
                Ok(DurationExpr { span: item.span, kind, wrapped })
            }
            Token::Preprocessor(word @ (Preprocessor::Step | Preprocessor::Range)) => {
                self.advance();
                self.duration_token(Token::LeftParen, place)?;
                self.duration_token(Token::RightParen, place)?;
                let kind = if word == Preprocessor::Step { DurationKind::Step } else { DurationKind::Range };
                Ok(DurationExpr { span: self.since(item.span.start), kind, wrapped })
            }
            Token::Preprocessor(word @ (Preprocessor::MinOf | Preprocessor::MaxOf)) => {
                self.advance();
                self.duration_token(Token::LeftParen, place)?;
                let left = self.duration_expression(0, place)?;
                self.duration_token(Token::Comma, place)?;
                let right = self.duration_expression(0, place)?;
                self.duration_token(Token::RightParen, place)?;
                let op = if word == Preprocessor::MinOf { DurationOp::MinOf } else { DurationOp::MaxOf };
                Ok(operation(op, left, right, self.since(item.span.start)))
            }
            Token::LeftParen => {
                self.advance();
                let mut inner = self.duration_expression(0, place)?;
                self.duration_token(Token::RightParen, place)?;
                self.demand_duration_expressions(inner.span);
                if !inner.wrapped && matches!(inner.kind, DurationKind::Number { .. }) {
                    inner.span.start = item.span.start;
                }
                inner.wrapped = true;
                Ok(inner)
            }
            _ => Err(self.unexpected(place.context, place.expected)),
        }
    }

    fn duration_token(&mut self, token: Token, place: Place) -> Parsed<()> {
        if self.accept(token) { Ok(()) } else { Err(self.unexpected(place.context, place.expected)) }
    }

    fn demand_duration_expressions(&mut self, span: Span) {
        if !self.options.duration_expressions {
            self.look();
            self.error(span, "experimental duration expression is not enabled");
        }
    }
}

fn operation(op: DurationOp, left: DurationExpr, right: DurationExpr, span: Span) -> DurationExpr {
    let kind = DurationKind::Operation { op, left: Box::new(left), right: Box::new(right) };
    DurationExpr { span, kind, wrapped: false }
}

/// Whether an operator stands in it that no parentheses enclose.
fn has_open_operator(expr: &DurationExpr) -> bool {
    let is_open = match &expr.kind {
        DurationKind::Operation { op, .. } => !op.is_function(),
        DurationKind::Negate(operand) => has_open_operator(operand),
        DurationKind::Number { .. } | DurationKind::Step | DurationKind::Range => false,
    };
    is_open && !expr.wrapped
}

/// The seconds of what is a number without parentheses.
fn literal(expr: &DurationExpr) -> Option<f64> {
    match expr.kind {
        DurationKind::Number { seconds, .. } if !expr.wrapped => Some(seconds),
        _ => None,
    }
}

fn duration(expr: DurationExpr) -> Duration {
    match literal(&expr) {
        Some(seconds) => Duration::Fixed((seconds * 1e9).round() as i64 / 1_000_000),
        None => Duration::Expr(Box::new(expr)),
    }
}

fn arithmetic(token: Token) -> Option<DurationOp> {
    let Token::Operator(op) = token else { return None };
    Some(match op {
        BinaryOp::Add => DurationOp::Add,
        BinaryOp::Sub => DurationOp::Sub,
        BinaryOp::Mul => DurationOp::Mul,
        BinaryOp::Div => DurationOp::Div,
        BinaryOp::Mod => DurationOp::Mod,
        BinaryOp::Pow => DurationOp::Pow,
        _ => return None,
    })
}

/// How tightly an operator binds its operands.
fn power(op: DurationOp) -> u8 {
    match op {
        DurationOp::Add | DurationOp::Sub => 1,
        DurationOp::Mul | DurationOp::Div | DurationOp::Mod => 2,
        DurationOp::Pow | DurationOp::MinOf | DurationOp::MaxOf => 3,
    }
}
