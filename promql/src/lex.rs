//! The lexer: a state machine, because the language's words depend on where they stand.
//!
//! Inside braces there are no keywords; inside brackets a letter cannot begin a name; `fill` is a keyword only before a
//! parenthesis. Tokens are produced on demand and carry byte positions.

mod keyword;

use crate::ast::{AggregateOp, BinaryOp, Span};
use keyword::keyword;
pub(crate) use keyword::{Keyword, Preprocessor};

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
    /// Right after `[`.
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
    /// Set with the first [`Token::Error`]; nothing follows it.
    pub(crate) error: Option<String>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str) -> Self {
        Self { input, position: 0, start: 0, state: State::Statements, paren_depth: 0, bracket_open: false, colon_seen: false, error: None }
    }

    /// The next token; [`Token::Eof`] again and again at the end.
    pub(crate) fn next(&mut self) -> Item {
        self.skip_blanks();
        self.start = self.position;
        let token = match self.state {
            _ if self.error.is_some() => Token::Error,
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

    fn refuse(&mut self, message: impl Into<String>) -> Token {
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

    /// The first token of a range; what follows is read as everywhere.
    fn bracket_begin(&mut self) -> Token {
        self.state = State::Statements;
        match self.peek_char() {
            None => self.refuse("unexpected end of input in duration expression"),
            Some(':') => self.refuse("unexpected colon before duration in duration expression"),
            Some(']' | '(' | ')' | '+' | '-' | '*' | '/' | '%' | '^' | ',' | '.' | '0'..='9') => self.statement(),
            Some(c) => match self.duration_word() {
                Some(token) => token,
                None => self.refuse(format!("unexpected character in duration expression: {}", quote_char(c))),
            },
        }
    }

    /// The words that duration expressions know: `step`, `range`, `min_of` and `max_of`.
    fn duration_word(&mut self) -> Option<Token> {
        let begin = self.position;
        while self.accept(is_alphanumeric) {}
        let token = keyword(&self.input[begin..self.position]).filter(|token| matches!(token, Token::Preprocessor(_)));
        if token.is_none() {
            self.position = begin;
        }
        token
    }

    fn inside_braces(&mut self) -> Token {
        let Some(b) = self.peek_byte() else { return self.refuse("unexpected end of input inside braces") };
        if is_alpha(b) {
            while self.accept(is_alphanumeric) {}
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
        while self.accept(|b| is_alphanumeric(b) || b == b':') {}
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

    fn number_or_duration(&mut self) -> Token {
        if self.scan_number() {
            return Token::Number;
        }
        if self.scan_duration_rest() {
            return Token::Duration;
        }
        self.bad_number()
    }

    fn bad_number(&mut self) -> Token {
        let text = model::labels::quote(&self.input[self.start..self.position]);
        self.refuse(format!("bad number or duration syntax: {text}"))
    }

    /// Takes the longest run that could be a number; false if what stands there is not one.
    fn scan_number(&mut self) -> bool {
        let mut hex = false;
        if self.accept(|b| b == b'0') && self.accept(|b| matches!(b, b'x' | b'X')) {
            self.accept(|b| b == b'_');
            hex = true;
        }
        let digit = move |b: u8| if hex { b.is_ascii_hexdigit() } else { b.is_ascii_digit() };
        let exponent = |b: u8| matches!(b, b'e' | b'E');
        let after_mark = |b: u8| matches!(b, b'.' | b'_' | b'e' | b'E');
        let (mut dot_seen, mut exponent_seen) = (false, false);
        self.accept(|b| b == b'.');
        self.accept(digit);
        while let Some(b) = self.peek_byte() {
            if b == b'.' {
                self.position += 1;
                if dot_seen || self.accept(|b| matches!(b, b'_' | b'.')) || hex {
                    return false;
                }
                dot_seen = true;
            } else if exponent(b) {
                self.position += 1;
                if exponent_seen {
                    return false;
                }
                exponent_seen = true;
                self.accept(|b| matches!(b, b'+' | b'-'));
                if self.accept(after_mark) || self.peek_byte().is_none() {
                    return false;
                }
            } else if b == b'_' {
                self.position += 1;
                if self.accept(after_mark) || self.peek_byte().is_none() {
                    return false;
                }
            } else if digit(b) {
                while self.accept(digit) {}
            } else {
                break;
            }
        }
        !self.peek_byte().is_some_and(is_alphanumeric)
    }

    /// The units and further numbers of a duration whose first digits are taken. Order and units are checked later.
    fn scan_duration_rest(&mut self) -> bool {
        if !self.accept(|b| b"smhdwy".contains(&b)) {
            return false;
        }
        self.accept(|b| b == b's');
        while self.accept(|b| b.is_ascii_digit()) {
            while self.accept(|b| b.is_ascii_digit()) {}
            if !self.accept(|b| b"smhdw".contains(&b)) {
                return false;
            }
            self.accept(|b| b == b's');
        }
        // A refused text is shown with the character that was one too many.
        !self.accept(is_alphanumeric)
    }

    fn string(&mut self, quote: u8) -> Token {
        loop {
            match self.next_char() {
                Some('\\') => {
                    if let Err(message) = self.escape(quote) {
                        return self.refuse(message);
                    }
                }
                Some('\u{fffd}') => return self.refuse("invalid UTF-8 rune"),
                None | Some('\n') => return self.refuse("unterminated quoted string"),
                Some(c) if c == char::from(quote) => return Token::String,
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Token {
        loop {
            match self.next_char() {
                Some('\u{fffd}') => return self.refuse("invalid UTF-8 rune"),
                None => return self.refuse("unterminated raw string"),
                Some('`') => return Token::String,
                Some(_) => {}
            }
        }
    }

    fn escape(&mut self, quote: u8) -> Result<(), String> {
        const ENDED: &str = "escape sequence not terminated";
        let first = self.next_char().ok_or(ENDED)?;
        let (digits, radix, max) = match first {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => return Ok(()),
            c if c == char::from(quote) => return Ok(()),
            '0'..='7' => {
                self.position -= 1;
                (3, 8, 255)
            }
            'x' => (2, 16, 255),
            'u' => (4, 16, 0x0010_ffff),
            'U' => (8, 16, 0x0010_ffff),
            c => return Err(format!("unknown escape sequence {}", code_point(c))),
        };
        let mut value = 0u64;
        for _ in 0..digits {
            let c = self.next_char().ok_or(ENDED)?;
            let digit = c.to_digit(radix).ok_or_else(|| format!("illegal character {} in escape sequence", code_point(c)))?;
            value = value * u64::from(radix) + u64::from(digit);
        }
        if value > max || (0xd800..0xe000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }
}

/// Go's `%#U`.
fn code_point(c: char) -> String {
    if c.is_control() { format!("U+{:04X}", c as u32) } else { format!("U+{:04X} '{c}'", c as u32) }
}

/// Go's `%q` of a character.
pub(crate) fn quote_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = model::labels::quote(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

pub(crate) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_alpha(b: u8) -> bool {
    b == b'_' || b.is_ascii_alphabetic()
}

fn is_alphanumeric(b: u8) -> bool {
    is_alpha(b) || b.is_ascii_digit()
}
