//! Aggregations, the modifiers of binary operators, and the label lists of both.

use super::{Parsed, Parser, begins_expression, is_metric_name, selector};
use crate::ast::{Aggregate, AggregateOp, Binary, BinaryOp, Cardinality, Expr, ExprKind, Span, VectorMatching};
use crate::lex::{Keyword, Token};

impl Parser<'_> {
    pub(super) fn aggregate(&mut self, op: AggregateOp, start: u32) -> Parsed<Expr> {
        self.aggregations += 1;
        let mut modifier = self.aggregate_modifier()?;
        let args = self.arguments()?;
        if modifier.is_none() {
            modifier = self.aggregate_modifier()?;
        }
        if modifier.is_none() {
            self.look();
        }
        self.aggregations -= 1;
        Ok(self.aggregation(op, self.since(start), modifier.unwrap_or_default(), args))
    }

    /// Kept apart from [`Parser::aggregate`], which recurses.
    #[inline(never)]
    fn aggregation(&mut self, op: AggregateOp, span: Span, (grouping, without): (Vec<String>, bool), mut args: Vec<Expr>) -> Expr {
        let wanted = if op.param_type().is_some() { 2 } else { 1 };
        if args.is_empty() {
            self.error(span, "no arguments for aggregate expression provided");
        } else if op.is_experimental() && !self.options.experimental_functions {
            let name = op.as_str();
            self.error(span, format!("{name}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"));
        } else if args.len() != wanted {
            let got = args.len();
            self.error(span, format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"));
        }
        let expr = args.pop().unwrap_or_default();
        let param = if wanted == 2 { args.pop() } else { None };
        Expr { span, kind: ExprKind::Aggregate(Box::new(Aggregate { op, expr, param, grouping, without })) }
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(Vec<String>, bool)>> {
        let without = match self.item.token {
            Token::Keyword(Keyword::By) => false,
            Token::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((self.grouping_labels()?, without)))
    }

    /// A binary node whose operands are still missing, with `bool`, `on`, `ignoring`, `group_left` and `group_right`.
    #[inline(never)]
    pub(super) fn binary_modifiers(&mut self, op: BinaryOp) -> Parsed<Box<Binary>> {
        let mut matching = VectorMatching {
            cardinality: Cardinality::OneToOne,
            labels: Vec::new(),
            on: false,
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let return_bool = self.accept(Token::Keyword(Keyword::Bool));
        if let Token::Keyword(word @ (Keyword::On | Keyword::Ignoring)) = self.item.token {
            self.advance();
            matching.on = word == Keyword::On;
            matching.labels = self.grouping_labels()?;
            if let Token::Keyword(word @ (Keyword::GroupLeft | Keyword::GroupRight)) = self.item.token {
                self.advance();
                let left = word == Keyword::GroupLeft;
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                let fills = matches!(self.item.token, Token::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight));
                // The list may be left out before an operand or a fill; whatever else stands here is an error of the list.
                if self.item.token == Token::LeftParen || !(fills || begins_expression(self.item.token)) {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        self.fill_values(&mut matching)?;
        Ok(Box::new(Binary { op, left: Expr::default(), right: Expr::default(), matching: Some(matching), return_bool }))
    }

    /// `fill(1)`, or one or both of `fill_left(1)` and `fill_right(1)`.
    fn fill_values(&mut self, matching: &mut VectorMatching) -> Parsed<()> {
        if self.accept(Token::Keyword(Keyword::Fill)) {
            let value = self.fill_value()?;
            matching.fill_left = Some(value);
            matching.fill_right = Some(value);
            return Ok(());
        }
        if self.accept(Token::Keyword(Keyword::FillLeft)) {
            matching.fill_left = Some(self.fill_value()?);
        }
        if self.accept(Token::Keyword(Keyword::FillRight)) {
            matching.fill_right = Some(self.fill_value()?);
            if matching.fill_left.is_none() && self.accept(Token::Keyword(Keyword::FillLeft)) {
                matching.fill_left = Some(self.fill_value()?);
            }
        }
        Ok(())
    }

    /// `(1)`: a number or a duration, with a sign or without.
    fn fill_value(&mut self) -> Parsed<f64> {
        self.expect(Token::LeftParen)?;
        let negative = self.item.token == Token::Operator(BinaryOp::Sub);
        if negative || self.item.token == Token::Operator(BinaryOp::Add) {
            self.advance();
        }
        if !matches!(self.item.token, Token::Number | Token::Duration) {
            return Err(self.unexpected("", ""));
        }
        let item = self.advance();
        let value = self.seconds(item);
        self.expect(Token::RightParen)?;
        Ok(if negative { -value } else { value })
    }

    /// `(a, "b", …)`.
    fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        if !self.accept(Token::LeftParen) {
            return Err(self.unexpected(CONTEXT, "\"(\""));
        }
        let mut labels = Vec::new();
        if self.accept(Token::RightParen) {
            return Ok(labels);
        }
        loop {
            let item = self.item;
            let name = match item.token {
                Token::String => String::from_utf8(selector::unquote(self.text_of(item.span))).unwrap_or_default(),
                Token::Keyword(Keyword::Without) => return Err(self.unexpected(CONTEXT, "label")),
                token if is_metric_name(token) => self.text_of(item.span).to_owned(),
                Token::Keyword(_) | Token::Operator(BinaryOp::Atan2) => self.text_of(item.span).to_owned(),
                _ => return Err(self.unexpected(CONTEXT, "label")),
            };
            if name.is_empty() {
                return Err(self.unexpected(CONTEXT, "label"));
            }
            self.advance();
            labels.push(name);
            let comma = self.accept(Token::Comma);
            if self.accept(Token::RightParen) {
                return Ok(labels);
            }
            if !comma {
                return Err(self.unexpected(CONTEXT, "\",\" or \")\""));
            }
        }
    }
}

/// How tightly an operator binds its operands.
pub(super) fn binding_power(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::TrimUpper | BinaryOp::TrimLower => 3,
        op if op.is_comparison() => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Pow => 6,
        _ => 5,
    }
}
