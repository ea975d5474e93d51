//! The parser: binding powers over the lexer's tokens, one error list with positions and Prometheus's texts.

mod duration;
mod error;
mod modifier;
mod operator;
mod selector;
mod series;
#[cfg(test)]
mod tests;

pub use error::{ParseError, ParseErrors};
pub use series::{SequenceValue, SeriesDescription, StartTimestamps, series_description, start_timestamps};

use crate::ast::{BinaryOp, Expr, ExprKind, Span};
use crate::check::Checker;
use crate::functions::{self, Function};
use crate::lex::{Item, Keyword, Lexer, Token};
use error::located;
use model::Matcher;
use model::limits::{QUERY_BYTES_MAX, QUERY_DEPTH_MAX};
use model::regex::RegexCache;
use operator::binding_power;

/// Parts of the language that are off unless asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `promql-experimental-functions`.
    pub experimental_functions: bool,
    /// `promql-duration-expr`: arithmetic in ranges, steps and offsets.
    pub duration_expressions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left` and `fill_right`.
    pub binop_fill_modifiers: bool,
}

impl Options {
    /// The whole language.
    pub const ALL: Self =
        Self { experimental_functions: true, duration_expressions: true, extended_range_selectors: true, binop_fill_modifiers: true };
}

/// Parses and checks a query with the default [`Options`].
///
/// # Errors
/// The text is not a query, does not type-check, or exceeds [`QUERY_BYTES_MAX`] or [`QUERY_DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Expr, ParseErrors> {
    parse_with(text, Options::default())
}

/// Parses and checks a query.
///
/// # Errors
/// See [`parse`].
pub fn parse_with(text: &str, options: Options) -> Result<Expr, ParseErrors> {
    expression(Parser::new(text, options))
}

/// Parses and checks a query as [`parse_with`] does, with the patterns of its matchers taken from a cache.
///
/// # Errors
/// See [`parse`].
pub fn parse_cached(text: &str, options: Options, patterns: &RegexCache) -> Result<Expr, ParseErrors> {
    expression(Parser { patterns: Some(patterns), ..Parser::new(text, options) })
}

fn expression(mut parser: Parser<'_>) -> Result<Expr, ParseErrors> {
    let text = parser.text;
    let parsed = parser.whole(|p| {
        if p.item.token == Token::Eof {
            let span = p.item.span;
            p.errors.push((Span { start: 0, ..span }, "no expression found in input".to_owned()));
            return Err(Fatal);
        }
        p.expression(0)
    });
    let mut expr = parser.finish(parsed)?;
    let mut checker = Checker::new(text);
    checker.check(&mut expr);
    if checker.errors.is_empty() { Ok(expr) } else { Err(located(text, checker.errors)) }
}

/// Parses a vector selector, as the API's `match[]` parameters hold it, to its matchers.
///
/// # Errors
/// The text is not a vector selector, or every matcher matches the empty value.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let mut parser = Parser::new(text, Options::default());
    let parsed = parser.whole(|p| match p.item.token {
        Token::LeftBrace => p.vector_selector(None),
        token if is_metric_name(token) => {
            let name = p.advance();
            p.vector_selector(Some(name.span))
        }
        _ => Err(p.unexpected("", "")),
    });
    let expr = parser.finish(parsed)?;
    let span = expr.span;
    let matchers = if let ExprKind::Vector(selector) = expr.kind { selector.matchers } else { Vec::new() };
    if matchers.iter().all(Matcher::matches_empty) {
        return Err(located(text, vec![(span, "match[] must contain at least one non-empty matcher".to_owned())]));
    }
    Ok(matchers)
}

/// The text cannot be read further; the reason is in the parser's list.
#[derive(Debug)]
struct Fatal;

type Parsed<T> = Result<T, Fatal>;

/// Stands for a function that does not exist; a tree that holds it is never returned.
static UNKNOWN: Function = Function { name: "", args: &[], variadic: -1, returns: crate::ast::ValueType::Vector, experimental: false };

/// Reads tokens and builds the tree by recursion, up to the depth limit. What a level calls is not inlined into it where that would make
/// the frame of each level larger.
struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// The token that is looked at.
    item: Item,
    /// Where the token before it ended.
    last_end: u32,
    depth: usize,
    /// Aggregations that are open.
    aggregations: usize,
    /// Operators of the duration that is being read.
    duration_operators: usize,
    options: Options,
    /// Where compiled patterns are kept, if anywhere.
    patterns: Option<&'a RegexCache>,
    errors: Vec<(Span, String)>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, options: Options) -> Self {
        let errors = if text.len() > QUERY_BYTES_MAX {
            vec![(Span::default(), format!("query is longer than {QUERY_BYTES_MAX} bytes"))]
        } else {
            Vec::new()
        };
        let item = Item { token: Token::Eof, span: Span::default() };
        Self {
            text,
            lexer: Lexer::new(text),
            item,
            last_end: 0,
            depth: 0,
            aggregations: 0,
            duration_operators: 0,
            options,
            patterns: None,
            errors,
        }
    }

    /// Runs `rule` and demands that it consumes the whole text.
    fn whole<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if !self.errors.is_empty() {
            return Err(Fatal);
        }
        self.advance();
        let value = rule(self)?;
        if self.item.token == Token::Eof { Ok(value) } else { Err(self.unexpected("", "")) }
    }

    fn finish<T>(self, parsed: Parsed<T>) -> Result<T, ParseErrors> {
        match parsed {
            Ok(value) if self.errors.is_empty() => Ok(value),
            _ => Err(located(self.text, self.errors)),
        }
    }

    /// Moves to the next token and returns the one that was looked at.
    fn advance(&mut self) -> Item {
        let item = self.item;
        self.last_end = item.span.end;
        self.item = self.lexer.next();
        item
    }

    /// Notes the lexer's error if it is what the parser looks at. Prometheus's parser does not look ahead where it need not, so
    /// that what is wrong before such an error comes first.
    fn look(&mut self) {
        if self.item.token == Token::Error
            && let Some(message) = self.lexer.error.take()
        {
            self.errors.push((self.item.span, message));
        }
    }

    fn accept(&mut self, token: Token) -> bool {
        let found = self.item.token == token;
        if found {
            self.advance();
        }
        found
    }

    /// Takes `token` or gives up with the plain error.
    fn expect(&mut self, token: Token) -> Parsed<Item> {
        if self.item.token == token { Ok(self.advance()) } else { Err(self.unexpected("", "")) }
    }

    fn text_of(&self, span: Span) -> &'a str {
        &self.text[span.start as usize..span.end as usize]
    }

    fn since(&self, start: u32) -> Span {
        Span { start, end: self.last_end }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push((span, message.into()));
    }

    /// Reports the token that is looked at, or what the lexer has against it. What has no context of its own is in the innermost
    /// aggregation, if there is one.
    #[inline(never)]
    fn unexpected(&mut self, context: &str, expected: &str) -> Fatal {
        let context = if context.is_empty() && self.aggregations > 0 { "aggregation" } else { context };
        self.look();
        if self.item.token != Token::Error {
            let mut message = format!("unexpected {}", self.describe(self.item));
            for (word, text) in [(" in ", context), (", expected ", expected)] {
                if !text.is_empty() {
                    message.push_str(word);
                    message.push_str(text);
                }
            }
            self.error(self.item.span, message);
        }
        Fatal
    }

    #[inline(never)]
    fn describe(&self, item: Item) -> String {
        let text = self.text_of(item.span);
        let short = |text: &str| match text.char_indices().nth(10) {
            Some((cut, _)) if text.len() > 10 => format!("{}...", model::labels::quote(&text[..cut])),
            _ => model::labels::quote(text),
        };
        match item.token {
            Token::Eof => "end of input".to_owned(),
            Token::Identifier => format!("identifier {}", model::labels::quote(text)),
            Token::MetricIdentifier => format!("metric identifier {}", model::labels::quote(text)),
            Token::String => format!("string {}", short(text)),
            Token::Number => format!("number {}", short(text)),
            Token::Duration => format!("duration {}", short(text)),
            Token::Operator(_) | Token::RegexMatch | Token::RegexNotMatch | Token::At => format!("<op:{text}>"),
            Token::Aggregator(_) => format!("<aggr:{text}>"),
            Token::Keyword(_) => format!("<{text}>"),
            _ => short(text),
        }
    }

    /// Runs `rule` one level deeper; trees deeper than the limit are refused, so that nothing that walks them can overflow.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= QUERY_DEPTH_MAX {
            self.error(self.item.span, format!("expression is nested deeper than {QUERY_DEPTH_MAX} levels"));
            return Err(Fatal);
        }
        self.depth += 1;
        let value = rule(self);
        self.depth -= 1;
        value
    }

    /// Everything whose operators bind at least as tightly as `power`.
    fn expression(&mut self, power: u8) -> Parsed<Expr> {
        self.nested(|p| {
            let mut left = p.operand()?;
            while let Token::Operator(op) = p.item.token {
                let own = binding_power(op);
                if own < power {
                    break;
                }
                p.advance();
                let mut binary = p.binary_modifiers(op)?;
                binary.right = p.expression(if op == BinaryOp::Pow { own } else { own + 1 })?;
                let span = Span { start: left.span.start, end: binary.right.span.end };
                let fills = binary.matching.as_ref().is_some_and(|m| m.fill_left.is_some() || m.fill_right.is_some());
                if fills && !p.options.binop_fill_modifiers {
                    p.look();
                    p.error(span, "binop fill modifiers are experimental and not enabled");
                }
                binary.left = left;
                left = Expr { span, kind: ExprKind::Binary(binary) };
            }
            Ok(left)
        })
    }

    /// A signed operand, or a primary expression with what stands behind it.
    fn operand(&mut self) -> Parsed<Expr> {
        let negative = match self.item.token {
            Token::Operator(BinaryOp::Add) => false,
            Token::Operator(BinaryOp::Sub) => true,
            _ => {
                let primary = self.primary()?;
                return self.postfix(primary);
            }
        };
        let sign = self.advance();
        let mut expr = self.expression(binding_power(BinaryOp::Mul) + 1)?;
        let span = Span { start: sign.span.start, end: expr.span.end };
        if let ExprKind::Number { value, .. } = &mut expr.kind {
            *value = if negative { -*value } else { *value };
            expr.span = span;
            return Ok(expr);
        }
        Ok(Expr { span, kind: ExprKind::Unary { negative, expr: Box::new(expr) } })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.item.token {
            Token::Number | Token::Duration => {
                let item = self.advance();
                let value = self.seconds(item);
                Ok(Expr { span: item.span, kind: ExprKind::Number { value, is_duration: item.token == Token::Duration } })
            }
            Token::String => {
                let item = self.advance();
                Ok(Expr { span: item.span, kind: ExprKind::String(selector::unquote(self.text_of(item.span))) })
            }
            Token::LeftParen => {
                let open = self.advance();
                let inner = self.expression(0)?;
                self.expect(Token::RightParen)?;
                Ok(Expr { span: self.since(open.span.start), kind: ExprKind::Paren(Box::new(inner)) })
            }
            Token::LeftBrace => self.vector_selector(None),
            Token::Aggregator(op) => {
                let item = self.advance();
                match self.item.token {
                    Token::LeftParen | Token::Keyword(Keyword::By | Keyword::Without) => self.aggregate(op, item.span.start),
                    _ => self.vector_selector(Some(item.span)),
                }
            }
            token if is_metric_name(token) => {
                let item = self.advance();
                if self.item.token == Token::LeftParen && matches!(token, Token::Identifier | Token::Preprocessor(_)) {
                    return self.call(item.span);
                }
                self.vector_selector(Some(item.span))
            }
            _ => Err(self.unexpected("", "")),
        }
    }

    /// `(a, b, …)`.
    #[inline(never)]
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        self.expect(Token::LeftParen)?;
        let mut args = Vec::new();
        if self.accept(Token::RightParen) {
            return Ok(args);
        }
        let mut comma = self.item;
        loop {
            if args.is_empty() || begins_expression(self.item.token) {
                args.push(self.expression(0)?);
            } else {
                self.look();
                self.error(comma.span, "trailing commas not allowed in function call args");
            }
            comma = self.item;
            if !self.accept(Token::Comma) {
                self.expect(Token::RightParen)?;
                return Ok(args);
            }
        }
    }

    #[inline(never)]
    fn call(&mut self, name_span: Span) -> Parsed<Expr> {
        let name = self.text_of(name_span);
        let args = self.arguments()?;
        let function = match functions::find(name) {
            Some(function) if function.experimental && !self.options.experimental_functions => {
                self.error(name_span, format!("function {} is not enabled", model::labels::quote(name)));
                function
            }
            Some(function) => function,
            None => {
                self.error(name_span, format!("unknown function with name {}", model::labels::quote(name)));
                &UNKNOWN
            }
        };
        Ok(Expr { span: self.since(name_span.start), kind: ExprKind::Call { function, args } })
    }
}

/// Whether a token can be the name of a metric; most keywords can.
fn is_metric_name(token: Token) -> bool {
    match token {
        Token::Identifier | Token::MetricIdentifier | Token::Aggregator(_) | Token::Preprocessor(_) => true,
        Token::Operator(op) => op.is_set(),
        Token::Keyword(word) => {
            matches!(word, Keyword::By | Keyword::Offset | Keyword::Without | Keyword::Anchored | Keyword::Smoothed)
        }
        _ => false,
    }
}

fn begins_expression(token: Token) -> bool {
    use Token::{Duration, LeftBrace, LeftParen, Number, String};
    let is_sign = matches!(token, Token::Operator(BinaryOp::Add | BinaryOp::Sub));
    is_sign || matches!(token, Number | Duration | String | LeftParen | LeftBrace) || is_metric_name(token)
}
