//! The lexer: a state machine, because the language's words depend on where they stand.
//!
//! Inside braces there are no keywords; inside brackets a letter cannot begin a name; `fill` is a keyword only before a
//! parenthesis. Tokens are produced on demand and carry byte positions.

mod keyword;
mod number;
mod string;

use crate::ast::{AggregateOp, BinaryOp, Span};
use keyword::keyword;
pub(crate) use keyword::{Keyword, Preprocessor};
pub(crate) use string::quote_char;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Eof,
    /// The lexer refused the text; its message says why.
    Error,
    Comma,
    Colon,
    Assign,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Identifier,
    /// A name with a colon in it.
    MetricIdentifier,
    String,
    Number,
    Duration,
    Operator(BinaryOp),
    RegexMatch,
    RegexNotMatch,
    At,
    Aggregator(AggregateOp),
    Keyword(Keyword),
    /// `start`, `end` and the other words that begin a call inside modifiers.
    Preprocessor(Preprocessor),
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) token: Token,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Statements,
    Braces,
    /// Behind `[`, where no number was read yet.
    BracketBegin,
}

/// Cuts a query into tokens.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    input: &'a str,
    position: usize,
    start: usize,
    state: State,
    paren_depth: i32,
    bracket_open: bool,
    colon_seen: bool,
    /// Whether the open bracket has a word that stands for a duration.
    duration_seen: bool,
    /// Set with the first [`Token::Error`]; nothing follows it.
    refused: bool,
    /// What was wrong, until the parser takes it.
    pub(crate) error: Option<String>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Self {
        Self {
            input,
            position: 0,
            start: 0,
            state: State::Statements,
            paren_depth: 0,
            bracket_open: false,
            colon_seen: false,
            duration_seen: false,
            refused: false,
            error: None,
        }
    }

    /// The next token; [`Token::Eof`] again and again at the end.
    pub(crate) fn next(&mut self) -> Item {
        self.skip_blanks();
        self.start = self.position;
        let token = match self.state {
            _ if self.refused => Token::Error,
            State::Statements => self.statement(),
            State::Braces => self.inside_braces(),
            State::BracketBegin => self.bracket_begin(),
        };
        let end = if token == Token::Error { self.input.len() } else { self.position };
        Item { token, span: Span { start: self.start as u32, end: end as u32 } }
    }

    fn skip_blanks(&mut self) {
        let bytes = self.input.as_bytes();
        while let Some(b) = bytes.get(self.position) {
            if is_space(*b) {
                self.position += 1;
            } else if *b == b'#' && self.state != State::BracketBegin {
                self.position = self.input[self.position..].find('\n').map_or(bytes.len(), |n| self.position + n);
            } else {
                break;
            }
        }
    }

    fn peek_byte(&self) -> Option<u8> {
        self.input.as_bytes().get(self.position).copied()
    }

    fn peek_char(&self) -> Option<char> {
        self.input[self.position..].chars().next()
    }

    fn next_char(&mut self) -> Option<char> {
        let c = self.peek_char()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, valid: impl Fn(u8) -> bool) -> bool {
        let found = self.peek_byte().is_some_and(valid);
        self.position += usize::from(found);
        found
    }

    fn skip_while(&mut self, accepts: impl Fn(u8) -> bool) {
        self.position += self.input.as_bytes()[self.position..].iter().take_while(|b| accepts(**b)).count();
    }

    fn refuse(&mut self, message: impl Into<String>) -> Token {
        self.refused = true;
        self.error = Some(message.into());
        Token::Error
    }

    fn statement(&mut self) -> Token {
        let Some(b) = self.peek_byte() else { return self.end_of_input() };
        let follows = self.input.as_bytes().get(self.position + 1).copied();
        if b.is_ascii_digit() || (b == b'.' && follows.is_some_and(|f| f.is_ascii_digit())) {
            return self.number_or_duration();
        }
        if (is_alpha(b) || b == b':') && !self.bracket_open {
            return self.word();
        }
        if is_alpha(b)
            && let Some(token) = self.duration_word()
        {
            return token;
        }
        self.next_char();
        match b {
            b',' => Token::Comma,
            b'*' => Token::Operator(BinaryOp::Mul),
            b'/' => Token::Operator(BinaryOp::Div),
            b'%' => Token::Operator(BinaryOp::Mod),
            b'+' => Token::Operator(BinaryOp::Add),
            b'-' => Token::Operator(BinaryOp::Sub),
            b'^' => Token::Operator(BinaryOp::Pow),
            b'@' => Token::At,
            b'=' | b'!' | b'<' | b'>' => self.comparison(b),
            b'"' | b'\'' => self.string(b),
            b'`' => self.raw_string(),
            b'(' | b')' | b'[' | b']' | b'{' => self.delimiter(b),
            b':' => self.colon(),
            _ => self.unexpected_character(),
        }
    }

    fn end_of_input(&mut self) -> Token {
        if self.paren_depth != 0 {
            self.refuse("unclosed left parenthesis")
        } else if self.bracket_open {
            self.refuse("unclosed left bracket")
        } else {
            Token::Eof
        }
    }

    fn unexpected_character(&mut self) -> Token {
        let c = self.input[self.start..].chars().next().unwrap_or_default();
        let expected = if self.bracket_open && c.is_ascii() && is_alpha(c as u8) { ", expected ':'" } else { "" };
        self.refuse(format!("unexpected character: {}{expected}", quote_char(c)))
    }

    fn comparison(&mut self, b: u8) -> Token {
        let equals = self.accept(|f| f == b'=');
        match (b, equals) {
            (b'=', true) => Token::Operator(BinaryOp::Equal),
            (b'!', true) => Token::Operator(BinaryOp::NotEqual),
            (b'<', true) => Token::Operator(BinaryOp::LessOrEqual),
            (b'>', true) => Token::Operator(BinaryOp::GreaterOrEqual),
            (b'<', false) if self.accept(|f| f == b'/') => Token::Operator(BinaryOp::TrimUpper),
            (b'<', false) => Token::Operator(BinaryOp::Less),
            (b'>', false) if self.accept(|f| f == b'/') => Token::Operator(BinaryOp::TrimLower),
            (b'>', false) => Token::Operator(BinaryOp::Greater),
            (b'=', false) if self.peek_byte() != Some(b'~') => Token::Assign,
            _ => {
                let c = self.peek_char().map_or("'�'".to_owned(), quote_char);
                self.refuse(format!("unexpected character after '{}': {c}", char::from(b)))
            }
        }
    }

    fn delimiter(&mut self, b: u8) -> Token {
        match b {
            b'(' => {
                self.paren_depth += 1;
                Token::LeftParen
            }
            b')' if self.paren_depth == 0 => {
                // Prometheus places this error behind the parenthesis.
                self.start = self.position;
                self.refuse("unexpected right parenthesis ')'")
            }
            b')' => {
                self.paren_depth -= 1;
                Token::RightParen
            }
            b'{' => {
                self.state = State::Braces;
                Token::LeftBrace
            }
            b'[' if self.bracket_open => self.refuse("unexpected left bracket '['"),
            b'[' => {
                self.bracket_open = true;
                self.colon_seen = false;
                self.duration_seen = false;
                self.state = State::BracketBegin;
                Token::LeftBracket
            }
            _ if !self.bracket_open => self.refuse("unexpected right bracket ']'"),
            _ => {
                self.bracket_open = false;
                Token::RightBracket
            }
        }
    }

    fn colon(&mut self) -> Token {
        if self.colon_seen {
            return self.refuse("unexpected colon ':'");
        }
        self.colon_seen = true;
        Token::Colon
    }

    /// A token behind `[`, until the first number: what follows that is read as everywhere.
    fn bracket_begin(&mut self) -> Token {
        let follows = self.input.as_bytes().get(self.position + 1);
        match self.peek_char() {
            None => self.refuse("unexpected end of input in duration expression"),
            Some(':') if !self.duration_seen => self.refuse("unexpected colon before duration in duration expression"),
            Some('+' | '-' | '*' | '/' | '%' | '^' | '(' | ')' | ',') => self.statement(),
            Some(c) if matches!(c, '0'..='9' | ']' | ':') || (c == '.' && follows.is_some_and(u8::is_ascii_digit)) => {
                self.state = State::Statements;
                self.statement()
            }
            Some(c) => match self.duration_word() {
                Some(token) => {
                    self.duration_seen = true;
                    token
                }
                None => self.refuse(format!("unexpected character in duration expression: {}", quote_char(c))),
            },
        }
    }

    /// The words that duration expressions know: `step`, `range`, `min_of` and `max_of`.
    fn duration_word(&mut self) -> Option<Token> {
        use Preprocessor::{MaxOf, MinOf, Range, Step};
        let begin = self.position;
        self.skip_while(is_alpha);
        let word = keyword(&self.input[begin..self.position]);
        let token = word.filter(|token| matches!(token, Token::Preprocessor(Step | Range | MinOf | MaxOf)));
        if token.is_none() {
            self.position = begin;
        }
        token
    }

    fn inside_braces(&mut self) -> Token {
        let Some(b) = self.peek_byte() else { return self.refuse("unexpected end of input inside braces") };
        if is_alpha(b) {
            self.skip_while(is_alphanumeric);
            return Token::Identifier;
        }
        self.next_char();
        match b {
            b',' => Token::Comma,
            b'"' | b'\'' => self.string(b),
            b'`' => self.raw_string(),
            b'=' if self.accept(|f| f == b'~') => Token::RegexMatch,
            b'=' => Token::Assign,
            b'!' if self.accept(|f| f == b'~') => Token::RegexNotMatch,
            b'!' if self.accept(|f| f == b'=') => Token::Operator(BinaryOp::NotEqual),
            b'!' => {
                let c = self.peek_char().map_or("'�'".to_owned(), quote_char);
                self.refuse(format!("unexpected character after '!' inside braces: {c}"))
            }
            b'{' => self.refuse("unexpected left brace '{'"),
            b'}' => {
                self.state = State::Statements;
                Token::RightBrace
            }
            _ => {
                let c = self.input[self.start..].chars().next().unwrap_or_default();
                self.refuse(format!("unexpected character inside braces: {}", quote_char(c)))
            }
        }
    }

    fn word(&mut self) -> Token {
        self.skip_while(|b| is_alphanumeric(b) || b == b':');
        let word = &self.input[self.start..self.position];
        match keyword(word) {
            Some(Token::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) if !self.parenthesis_follows() => {
                Token::Identifier
            }
            Some(token) => token,
            None if word.contains(':') => Token::MetricIdentifier,
            None => Token::Identifier,
        }
    }

    fn parenthesis_follows(&self) -> bool {
        self.input.as_bytes()[self.position..].iter().find(|b| !is_space(**b)) == Some(&b'(')
    }
}

const SPACE: u8 = 1;
const ALPHA: u8 = 2;
const DIGIT: u8 = 4;

/// What each byte may be a part of.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut i = 0;
    while i < classes.len() {
        classes[i] = match i as u8 {
            b' ' | b'\t' | b'\n' | b'\r' => SPACE,
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => ALPHA,
            b'0'..=b'9' => DIGIT,
            _ => 0,
        };
        i += 1;
    }
    classes
}

fn is(b: u8, class: u8) -> bool {
    CLASSES[usize::from(b)] & class != 0
}

pub(crate) fn is_space(b: u8) -> bool {
    is(b, SPACE)
}

fn is_alpha(b: u8) -> bool {
    is(b, ALPHA)
}

fn is_alphanumeric(b: u8) -> bool {
    is(b, ALPHA | DIGIT)
}
