//! Numbers and durations. What is taken for one need not be valid: the parser finds out.

use super::{Lexer, Token, is_alphanumeric};

impl Lexer<'_> {
    pub(super) fn number_or_duration(&mut self) -> Token {
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
}
