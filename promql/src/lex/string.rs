//! Quoted texts and characters.

use super::{Lexer, Token};

impl Lexer<'_> {
    pub(super) fn string(&mut self, quote: u8) -> Token {
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

    pub(super) fn raw_string(&mut self) -> Token {
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
