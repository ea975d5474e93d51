//! What stands behind an expression: ranges, subqueries, `offset` and `@`.

use super::duration::Place;
use super::{Fatal, Parsed, Parser};
use crate::ast::{At, BinaryOp, Duration, Expr, ExprKind, Extended, Subquery};
use crate::lex::{Keyword, Preprocessor, Token};
use model::limits::QUERY_DEPTH_MAX;
use model::number;

impl Parser<'_> {
    #[inline(never)]
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
                Token::Keyword(Keyword::Anchored) => {
                    self.advance();
                    self.extend(&mut expr, Extended::Anchored);
                }
                Token::Keyword(Keyword::Smoothed) => {
                    self.advance();
                    self.extend(&mut expr, Extended::Smoothed);
                }
                _ => return Ok(expr),
            }
        }
    }

    /// `[range]` or `[range:step]`.
    fn range(&mut self, expr: Expr) -> Parsed<Expr> {
        let open = self.advance();
        let range = self.positive_duration(Place::RANGE)?;
        if self.accept(Token::Colon) {
            let has_step = self.item.token != Token::RightBracket;
            let step = if has_step { Some(self.positive_duration(Place::STEP)?) } else { None };
            if !self.accept(Token::RightBracket) {
                return Err(self.unexpected("subquery selector", "\"]\""));
            }
            let span = self.since(expr.span.start);
            let subquery = Subquery { expr, range, step, offset: Duration::ZERO, at: None };
            return Ok(Expr { span, kind: ExprKind::Subquery(Box::new(subquery)) });
        }
        if !self.accept(Token::RightBracket) {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let span = self.since(expr.span.start);
        let refused = match expr.kind {
            ExprKind::Vector(selector) if selector.offset.is_zero() && selector.at.is_none() => {
                return Ok(Expr { span, kind: ExprKind::Matrix { selector, range } });
            }
            ExprKind::Vector(selector) if !selector.offset.is_zero() => "no offset modifiers allowed before range",
            ExprKind::Vector(_) => "no @ modifiers allowed before range",
            _ => "ranges only allowed for vector selectors",
        };
        self.error(self.since(open.span.start), refused);
        Ok(Expr { span, kind: ExprKind::Number { value: 0.0, is_duration: false } })
    }

    /// The duration behind `offset`, applied to `expr`.
    fn offset(&mut self, expr: &mut Expr) -> Parsed<()> {
        let new = self.offset_duration()?;
        let end = self.last_end;
        match time_modifiers(expr) {
            None => {
                let what = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                self.error(expr.span, what);
            }
            Some((offset, _)) if !offset.is_zero() => self.error(expr.span, "offset may not be set multiple times"),
            Some((offset, _)) => *offset = new,
        }
        expr.span.end = end;
        Ok(())
    }

    /// `anchored` or `smoothed`, applied to `expr`.
    fn extend(&mut self, expr: &mut Expr, new: Extended) {
        let name = new.as_str();
        let message = match &mut expr.kind {
            _ if !self.options.extended_range_selectors => format!("{name} modifier is experimental and not enabled"),
            ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => match selector.extended.replace(new) {
                Some(old) if old != new => "anchored and smoothed modifiers cannot be used together".to_owned(),
                _ => return,
            },
            ExprKind::Subquery(_) => format!("{name} modifier is not supported for subqueries"),
            _ => format!("{name} modifier not implemented"),
        };
        self.error(expr.span, message);
    }

    /// The time behind `@`, applied to `expr`.
    fn at(&mut self, expr: &mut Expr) -> Parsed<()> {
        let new = match self.item.token {
            Token::Preprocessor(word @ (Preprocessor::Start | Preprocessor::End)) => {
                self.advance();
                if !self.accept(Token::LeftParen) || !self.accept(Token::RightParen) {
                    return Err(self.unexpected("@", "timestamp"));
                }
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
fn time_modifiers(expr: &mut Expr) -> Option<(&mut Duration, &mut Option<At>)> {
    match &mut expr.kind {
        ExprKind::Vector(selector) | ExprKind::Matrix { selector, .. } => Some((&mut selector.offset, &mut selector.at)),
        ExprKind::Subquery(subquery) => Some((&mut subquery.offset, &mut subquery.at)),
        _ => None,
    }
}
