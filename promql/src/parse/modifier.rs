//! What stands behind an expression: ranges, subqueries, `offset` and `@`.

use super::{Fatal, Parsed, Parser};
use crate::ast::{At, BinaryOp, Expr, ExprKind, Span, Subquery};
use crate::lex::{Item, Keyword, Preprocessor, Token};
use model::limits::QUERY_DEPTH_MAX;
use model::{number, time};

const DURATION: &str = "number, duration, step(), or range()";
/// Nanoseconds of Prometheus's durations are 64 bits; seconds beyond this do not fit.
const SECONDS_MAX: f64 = 9_223_372_036.854_776;

impl Parser<'_> {
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Parsed<Expr> {
        let mut levels = 0;
        loop {
            match self.item.token {
                Token::LeftBracket => {
                    levels += 1;
                    if self.depth + levels > QUERY_DEPTH_MAX {
                        self.error(self.item.span, format!("expression is nested deeper than {QUERY_DEPTH_MAX} levels"));
                        return Err(Fatal);
                    }
                    expr = self.range(expr)?;
                }
                Token::Keyword(Keyword::Offset) => {
                    self.advance();
                    self.offset(&mut expr)?;
                }
                Token::At => {
                    self.advance();
                    self.at(&mut expr)?;
                }
                Token::Keyword(word @ (Keyword::Anchored | Keyword::Smoothed)) => {
                    let name = if word == Keyword::Anchored { "anchored" } else { "smoothed" };
                    self.error(self.item.span, format!("{name} modifier is experimental and not enabled"));
                    return Err(Fatal);
                }
                _ => return Ok(expr),
            }
        }
    }

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

    /// A signed number or duration in milliseconds, cut off, and where it stands.
    fn duration(&mut self, context: &str, expected: &str) -> Parsed<(i64, Span)> {
        let start = self.item.span.start;
        let mut sign = 1.0;
        while let Token::Operator(op @ (BinaryOp::Add | BinaryOp::Sub)) = self.item.token {
            sign = if op == BinaryOp::Sub { -sign } else { sign };
            self.advance();
        }
        if matches!(self.item.token, Token::LeftParen | Token::Preprocessor(_)) {
            self.error(self.item.span, "duration expressions are not supported");
            return Err(Fatal);
        }
        if !matches!(self.item.token, Token::Number | Token::Duration) {
            return Err(self.unexpected(context, expected));
        }
        let errors = self.errors.len();
        let item = self.advance();
        let seconds = sign * self.seconds(item);
        let span = Span { start, end: item.span.end };
        if self.errors.len() == errors && (seconds.is_nan() || seconds.abs() >= SECONDS_MAX) {
            self.error(span, "duration out of range");
        }
        Ok(((seconds * 1e9).round() as i64 / 1_000_000, span))
    }

    fn positive_duration(&mut self, context: &str, expected: &str) -> Parsed<i64> {
        let errors = self.errors.len();
        let (ms, span) = self.duration(context, expected)?;
        self.no_duration_arithmetic()?;
        if ms <= 0 && self.errors.len() == errors {
            self.error(span, "duration must be greater than 0");
        }
        Ok(ms)
    }

    /// Refuses the arithmetic that may follow a duration inside brackets.
    fn no_duration_arithmetic(&mut self) -> Parsed<()> {
        if matches!(self.item.token, Token::Operator(_)) {
            self.error(self.item.span, "duration expressions are not supported");
            return Err(Fatal);
        }
        Ok(())
    }

    /// `[range]` or `[range:step]`.
    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance();
        let range_ms = self.positive_duration("subquery or range selector", DURATION)?;
        if self.accept(Token::Colon) {
            let step_ms = if self.item.token == Token::RightBracket {
                None
            } else {
                Some(self.positive_duration("subquery selector", &format!("{DURATION} or \"]\""))?)
            };
            if !self.accept(Token::RightBracket) {
                return Err(self.unexpected("subquery selector", "\"]\""));
            }
            let span = self.since(expr.span.start);
            let subquery = Subquery { expr, range_ms, step_ms, offset_ms: 0, at: None };
            return Ok(Expr { span, kind: ExprKind::Subquery(Box::new(subquery)) });
        }
        if !self.accept(Token::RightBracket) {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let span = self.since(expr.span.start);
        let refused = match expr.kind {
            ExprKind::Vector(selector) if selector.offset_ms == 0 && selector.at.is_none() => {
                return Ok(Expr { span, kind: ExprKind::Matrix { selector, range_ms } });
            }
            ExprKind::Vector(selector) if selector.offset_ms != 0 => "no offset modifiers allowed before range",
            ExprKind::Vector(_) => "no @ modifiers allowed before range",
            _ => "ranges only allowed for vector selectors",
        };
        self.error(self.since(open.span.start), refused);
        Ok(Expr { span, kind: ExprKind::Number { value: 0.0, is_duration: false } })
    }

    /// The duration behind `offset`, applied to `expr`.
    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let (ms, _) = self.duration("offset", DURATION)?;
        let end = self.last_end;
        match time_modifiers(expr) {
            None => {
                let what = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                self.error(expr.span, what);
            }
            Some((offset_ms, _)) if *offset_ms != 0 => self.error(expr.span, "offset may not be set multiple times"),
            Some((offset_ms, _)) => *offset_ms = ms,
        }
        expr.span.end = end;
        Ok(())
    }

    /// The time behind `@`, applied to `expr`.
    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        let new = match self.item.token {
            Token::Preprocessor(word @ (Preprocessor::Start | Preprocessor::End)) => {
                self.advance();
                self.expect(Token::LeftParen)?;
                self.expect(Token::RightParen)?;
                Some(if word == Preprocessor::Start { At::Start } else { At::End })
            }
            _ => self.timestamp(expr)?.map(At::Time),
        };
        let end = self.last_end;
        match (time_modifiers(expr), new) {
            (None, _) => {
                let what = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                self.error(expr.span, what);
            }
            (Some((_, at)), _) if at.is_some() => self.error(expr.span, "@ <timestamp> may not be set multiple times"),
            (Some((_, at)), new) => *at = new,
        }
        expr.span.end = end;
        Ok(())
    }

    fn timestamp(&mut self, expr: &Expr) -> Parsed<Option<i64>> {
        let negative = self.item.token == Token::Operator(BinaryOp::Sub);
        if negative || self.item.token == Token::Operator(BinaryOp::Add) {
            self.advance();
        }
        if !matches!(self.item.token, Token::Number | Token::Duration) {
            return Err(self.unexpected("@", "timestamp"));
        }
        let item = self.advance();
        let seconds = self.seconds(item) * if negative { -1.0 } else { 1.0 };
        if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 {
            let shown = if seconds.is_finite() { format!("{seconds:.6}") } else { number::format_float(seconds) };
            self.error(expr.span, format!("timestamp out of bounds for @ modifier: {shown}"));
            return Ok(None);
        }
        Ok(Some((seconds * 1000.0).round() as i64))
    }
}

/// The `offset` and `@` of what can have them.
fn time_modifiers(expr: &mut Expr) -> Option<(&mut i64, &mut Option<At>)> {
    match &mut expr.kind {
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => Some((&mut selector.offset_ms, &mut selector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset_ms, &mut subquery.at)),
        _ => None,
    }
}
