//! Vector selectors, their matchers, and the strings in them.

use super::{Parsed, Parser};
use crate::ast::{BinaryOp, Duration, Expr, ExprKind, Span, VectorSelector};
use crate::lex::Token;
use model::labels::METRIC_NAME;
use model::{MatchOp, Matcher};

const CONTEXT: &str = "label matching";

impl Parser<'_> {
    /// `name`, `name{…}` or `{…}`; the name, if any, is already taken.
    #[inline(never)]
    pub(super) fn vector_selector(&mut self, name: Option<Span>) -> Parsed<Expr> {
        let start = name.unwrap_or(self.item.span).start;
        let mut matchers = Vec::new();
        if self.item.token == Token::LeftBrace {
            self.advance();
            self.matchers(&mut matchers)?;
        }
        let name = name.map(|span| self.text_of(span).to_owned()).unwrap_or_default();
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name.as_str()));
        }
        let selector = VectorSelector { name, matchers, offset: Duration::ZERO, at: None, extended: None };
        Ok(Expr { span: self.since(start), kind: ExprKind::Vector(selector) })
    }

    /// What follows `{`, up to and with `}`.
    fn matchers(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<()> {
        if self.accept(Token::RightBrace) {
            return Ok(());
        }
        loop {
            self.matcher(matchers)?;
            let comma = self.accept(Token::Comma);
            if self.accept(Token::RightBrace) {
                return Ok(());
            }
            if !comma {
                return Err(self.unexpected(CONTEXT, "\",\" or \"}\""));
            }
        }
    }

    fn matcher(&mut self, matchers: &mut Vec<Matcher>) -> Parsed<()> {
        let label = self.item;
        let quoted = label.token == Token::String;
        if !quoted && label.token != Token::Identifier {
            return Err(self.unexpected(CONTEXT, "identifier or \"}\""));
        }
        self.advance();
        let name = if quoted { self.utf8(label.span) } else { self.text_of(label.span).to_owned() };
        let op = match self.item.token {
            Token::Assign => MatchOp::Equal,
            Token::Operator(BinaryOp::NotEqual) => MatchOp::NotEqual,
            Token::RegexMatch => MatchOp::Regex,
            Token::RegexNotMatch => MatchOp::NotRegex,
            Token::Comma | Token::RightBrace if quoted => {
                matchers.push(Matcher::equal(METRIC_NAME, name));
                return Ok(());
            }
            _ if quoted => return Err(self.unexpected(CONTEXT, "\",\" or \"}\"")),
            _ => return Err(self.unexpected(CONTEXT, "label matching operator")),
        };
        self.advance();
        if self.item.token != Token::String {
            return Err(self.unexpected(CONTEXT, "string"));
        }
        let value = self.advance();
        let pattern = self.utf8(value.span);
        let matcher = match self.patterns {
            Some(cache) => Matcher::cached(cache, name, op, pattern),
            None => Matcher::new(name, op, pattern),
        };
        match matcher {
            Ok(matcher) => matchers.push(matcher),
            Err(error) => self.error(Span { start: label.span.start, end: value.span.end }, error.to_string()),
        }
        Ok(())
    }

    /// The text of a string token; stored labels are UTF-8, so a matcher on other bytes is refused.
    pub(super) fn utf8(&mut self, span: Span) -> String {
        String::from_utf8(unquote(self.text_of(span))).unwrap_or_else(|_| {
            self.error(span, "label matcher is not valid UTF-8");
            String::new()
        })
    }
}

/// The bytes of a string token that the lexer accepted, quotes included.
pub(super) fn unquote(quoted: &str) -> Vec<u8> {
    let bytes = quoted.as_bytes();
    let body = &bytes[1..bytes.len() - 1];
    if bytes[0] == b'`' || !body.contains(&b'\\') {
        return body.to_vec();
    }
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((b, tail)) = rest.split_first() {
        rest = tail;
        if *b == b'\\' {
            rest = unescape(rest, &mut out);
        } else {
            out.push(*b);
        }
    }
    out
}

/// Appends what the escape after a backslash stands for and returns what follows it.
fn unescape<'b>(rest: &'b [u8], out: &mut Vec<u8>) -> &'b [u8] {
    let (digits, radix, skip) = match rest[0] {
        b'x' => (2, 16, 1),
        b'u' => (4, 16, 1),
        b'U' => (8, 16, 1),
        b'0'..=b'7' => (3, 8, 0),
        simple => {
            out.push(match simple {
                b'a' => 7,
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => other,
            });
            return &rest[1..];
        }
    };
    let (number, tail) = rest[skip..].split_at(digits);
    let value = number.iter().fold(0, |n, b| n * radix + char::from(*b).to_digit(radix).unwrap_or_default());
    match char::from_u32(value) {
        Some(c) if digits >= 4 => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        _ => out.push(value as u8),
    }
    tail
}
