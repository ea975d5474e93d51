//! Rewrites an RE2 pattern for the `regex` crate, or refuses it with RE2's text.

use super::RegexError;
use std::fmt::Write as _;

const REPEAT_MAX: u32 = 1000;

/// A pattern in the other dialect.
#[derive(Debug)]
pub(super) struct Translated {
    /// Groups in it are unnamed.
    pub(super) pattern: String,
    /// Names of the groups, the first group first.
    pub(super) group_names: Vec<Option<String>>,
}

pub(super) fn translate(pattern: &str) -> Result<Translated, RegexError> {
    let mut scanner = Scanner {
        pattern,
        position: 0,
        out: String::with_capacity(pattern.len() + 16),
        group_names: Vec::new(),
        groups: vec![Group::default()],
    };
    scanner.run()?;
    Ok(Translated { pattern: scanner.out, group_names: scanner.group_names })
}

fn syntax(what: &str, text: &str) -> RegexError {
    RegexError::Syntax(format!("{what}: `{text}`"))
}

/// What an open group knows of the text so far.
#[derive(Debug, Default)]
struct Group {
    /// Product of the nested repeat counts of the last atom; none if there is nothing to repeat.
    atom: Option<u32>,
    /// The largest such product of the atoms before.
    weight: u32,
}

#[derive(Debug)]
struct Scanner<'a> {
    pattern: &'a str,
    position: usize,
    out: String,
    group_names: Vec<Option<String>>,
    /// The open groups; the first stands for the whole pattern.
    groups: Vec<Group>,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.position += text.len();
        }
        found
    }

    fn since(&self, start: usize) -> &'a str {
        &self.pattern[start..self.position]
    }

    /// Notes that something that can be repeated was written.
    fn atom(&mut self, weight: u32) {
        if let Some(group) = self.groups.last_mut() {
            group.weight = group.weight.max(group.atom.unwrap_or(1));
            group.atom = Some(weight);
        }
    }

    fn run(&mut self) -> Result<(), RegexError> {
        // Where the repeat operator right before the current position begins.
        let mut repeat_before = None;
        while let Some(c) = self.peek() {
            let start = self.position;
            let mut repeat_here = None;
            match c {
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => {
                    self.take();
                    self.out.push('|');
                    self.atom(1);
                    self.forget_atom();
                }
                '[' => {
                    self.class()?;
                    self.atom(1);
                }
                '\\' => self.escape()?,
                '*' | '+' | '?' => {
                    self.take();
                    self.repeat(start, repeat_before, (0, 1), &c.to_string())?;
                    repeat_here = Some(repeat_before.unwrap_or(start));
                }
                '{' => match self.counts()? {
                    Some((min, max)) => {
                        let text = match max {
                            Some(max) => format!("{{{min},{max}}}"),
                            None => format!("{{{min},}}"),
                        };
                        self.repeat(start, repeat_before, (min, max.unwrap_or(min)), &text)?;
                        repeat_here = Some(start);
                    }
                    None => self.literal_here(),
                },
                '^' | '$' | '.' => {
                    self.take();
                    self.out.push(c);
                    self.atom(1);
                }
                _ => self.literal_here(),
            }
            repeat_before = repeat_here;
        }
        if self.groups.len() > 1 {
            return Err(syntax("missing closing )", self.pattern));
        }
        Ok(())
    }

    fn forget_atom(&mut self) {
        if let Some(group) = self.groups.last_mut() {
            group.atom = None;
        }
    }

    fn literal_here(&mut self) {
        if let Some(c) = self.take() {
            self.literal(c);
        }
    }

    fn literal(&mut self, c: char) {
        push_literal(c, &mut self.out);
        self.atom(1);
    }

    /// Applies a repeat operator that was read from `start` on; `counts` are the least and the largest count.
    fn repeat(&mut self, start: usize, before: Option<usize>, counts: (u32, u32), text: &str) -> Result<(), RegexError> {
        let lazy = self.accept("?");
        if let Some(before) = before {
            return Err(syntax("invalid nested repetition operator", self.since(before)));
        }
        let Some(weight) = self.groups.last().and_then(|g| g.atom) else {
            return Err(syntax("missing argument to repetition operator", self.since(start)));
        };
        let product = weight.saturating_mul(counts.1.max(1));
        if counts.1 >= 2 && product > REPEAT_MAX {
            return Err(syntax("invalid repeat count", self.since(start)));
        }
        if let Some(group) = self.groups.last_mut() {
            group.atom = Some(product);
        }
        self.out.push_str(text);
        if lazy {
            self.out.push('?');
        }
        Ok(())
    }

    /// Reads `{n}`, `{n,}` or `{n,m}`; none, and nothing read, if the brace is literal.
    fn counts(&mut self) -> Result<Option<(u32, Option<u32>)>, RegexError> {
        let Some((body, _)) = self.rest()[1..].split_once('}') else { return Ok(None) };
        let whole = &self.rest()[..body.len() + 2];
        let (min, max) = match body.split_once(',') {
            None => (body, Some(body)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        let count = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let leading_zero = text.len() > 1 && text.starts_with('0');
            (digits && !leading_zero).then(|| text.parse::<u32>().unwrap_or(u32::MAX))
        };
        let Some(min) = count(min) else { return Ok(None) };
        let max = match max.map(count) {
            None => None,
            Some(None) => return Ok(None),
            Some(max) => max,
        };
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || min > max) {
            return Err(syntax("invalid repeat count", whole));
        }
        self.position += whole.len();
        Ok(Some((min, max)))
    }

    /// `(`, `(?:`, `(?flags:`, `(?flags)`, `(?P<name>` or `(?<name>`.
    fn open(&mut self) -> Result<(), RegexError> {
        let start = self.position;
        self.take();
        if !self.accept("?") {
            self.group_names.push(None);
            self.out.push('(');
            self.groups.push(Group::default());
            return Ok(());
        }
        if self.accept("P<") || (!self.rest().starts_with("<=") && !self.rest().starts_with("<!") && self.accept("<")) {
            let Some((name, _)) = self.rest().split_once('>') else {
                return Err(syntax("invalid named capture", &self.pattern[start..]));
            };
            self.position += name.len() + 1;
            if name.is_empty() || !name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) {
                return Err(syntax("invalid named capture", self.since(start)));
            }
            if self.group_names.iter().any(|n| n.as_deref() == Some(name)) {
                return Err(syntax("duplicate capture group name", name));
            }
            self.group_names.push(Some(name.to_owned()));
            self.out.push('(');
            self.groups.push(Group::default());
            return Ok(());
        }
        self.flags(start)
    }

    fn flags(&mut self, start: usize) -> Result<(), RegexError> {
        let flags_start = self.position;
        let (mut negated, mut flag_seen) = (false, false);
        loop {
            match self.take() {
                Some('i' | 'm' | 's' | 'U') => flag_seen = true,
                Some('-') if !negated => {
                    negated = true;
                    flag_seen = false;
                }
                Some(end @ (':' | ')')) if flag_seen || !negated => {
                    let flags = &self.pattern[flags_start..self.position - 1];
                    if end == ':' {
                        let _ = write!(self.out, "(?{flags}:");
                        self.groups.push(Group::default());
                    } else if !flags.is_empty() {
                        let _ = write!(self.out, "(?{flags})");
                    }
                    return Ok(());
                }
                None => return Err(syntax("missing closing )", self.pattern)),
                Some(_) => return Err(syntax("invalid or unsupported Perl syntax", self.since(start))),
            }
        }
    }

    fn close(&mut self) -> Result<(), RegexError> {
        if self.groups.len() == 1 {
            return Err(syntax("unexpected )", self.pattern));
        }
        self.take();
        self.out.push(')');
        if let Some(group) = self.groups.pop() {
            self.atom(group.weight.max(group.atom.unwrap_or(1)));
        }
        Ok(())
    }

    /// An escape outside a class.
    fn escape(&mut self) -> Result<(), RegexError> {
        if self.accept("\\Q") {
            let (text, length) = match self.rest().split_once("\\E") {
                Some((text, _)) => (text, text.len() + 2),
                None => (self.rest(), self.rest().len()),
            };
            text.chars().for_each(|c| self.literal(c));
            self.position += length;
            return Ok(());
        }
        for (escape, translation) in [("\\A", r"\A"), ("\\z", r"\z"), ("\\b", r"(?-u:\b)"), ("\\B", r"(?-u:\B)")] {
            if self.accept(escape) {
                self.out.push_str(translation);
                self.atom(1);
                return Ok(());
            }
        }
        if !self.class_escape()? {
            let c = self.character_escape()?;
            push_literal(c, &mut self.out);
        }
        self.atom(1);
        Ok(())
    }

    /// `\d`, `\pL` and the like, inside or outside a class; false, and nothing read, if it is another escape.
    fn class_escape(&mut self) -> Result<bool, RegexError> {
        let start = self.position;
        if self.peek() != Some('\\') {
            return Ok(false);
        }
        let perl = match self.rest().as_bytes().get(1) {
            Some(b'd') => "[0-9]",
            Some(b'D') => "[^0-9]",
            Some(b's') => r"[\t\n\x0C\r ]",
            Some(b'S') => r"[^\t\n\x0C\r ]",
            Some(b'w') => "[0-9A-Za-z_]",
            Some(b'W') => "[^0-9A-Za-z_]",
            Some(b'p' | b'P') => {
                self.unicode_class(start)?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.position += 2;
        self.out.push_str(perl);
        Ok(true)
    }

    /// `\pN`, `\p{Greek}`, `\p{^Greek}`: categories and scripts only.
    fn unicode_class(&mut self, start: usize) -> Result<(), RegexError> {
        let mut negated = self.rest().as_bytes()[1] == b'P';
        self.position += 2;
        let name = if self.accept("{") {
            let Some((name, _)) = self.rest().split_once('}') else {
                return Err(syntax("invalid character class range", &self.pattern[start..]));
            };
            self.position += name.len() + 1;
            match name.strip_prefix('^') {
                Some(name) => {
                    negated = !negated;
                    name
                }
                None => name,
            }
        } else {
            let begin = self.position;
            self.take();
            self.since(begin)
        };
        let letters = !name.is_empty() && name.bytes().all(|b| b == b'_' || b.is_ascii_alphabetic());
        let property = match name {
            _ if !letters => None,
            "Any" => Some("Any".to_owned()),
            _ if name.len() <= 2 && is_category(name) => Some(format!("gc={name}")),
            _ if name.len() > 2 && name.as_bytes()[0].is_ascii_uppercase() => Some(format!("sc={name}")),
            _ => None,
        };
        let property = property
            .filter(|p| regex_syntax::parse(&format!(r"\p{{{p}}}")).is_ok())
            .ok_or_else(|| syntax("invalid character class range", self.since(start)))?;
        let _ = write!(self.out, r"\{}{{{property}}}", if negated { 'P' } else { 'p' });
        Ok(())
    }

    /// An escape that stands for one character.
    fn character_escape(&mut self) -> Result<char, RegexError> {
        let start = self.position;
        self.take();
        let Some(c) = self.take() else {
            return Err(RegexError::Syntax("trailing backslash at end of expression: ``".to_owned()));
        };
        let followed_by_octal = matches!(self.peek(), Some('0'..='7'));
        let character = match c {
            '1'..='7' if !followed_by_octal => None,
            '0'..='7' => {
                let begin = self.position - 1;
                while self.position - begin < 3 && matches!(self.peek(), Some('0'..='7')) {
                    self.position += 1;
                }
                u32::from_str_radix(self.since(begin), 8).ok().and_then(char::from_u32)
            }
            'x' => self.hexadecimal(),
            'a' => Some('\x07'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(c),
            _ => None,
        };
        character.ok_or_else(|| syntax("invalid escape sequence", self.since(start)))
    }

    /// Two hexadecimal digits, or any number of them in braces.
    fn hexadecimal(&mut self) -> Option<char> {
        let begin = self.position;
        if self.accept("{") {
            let (digits, _) = self.rest().split_once('}')?;
            self.position += digits.len() + 1;
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            return u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
        }
        for _ in 0..2 {
            self.take().filter(char::is_ascii_hexdigit)?;
        }
        u32::from_str_radix(self.since(begin), 16).ok().and_then(char::from_u32)
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), RegexError> {
        let start = self.position;
        self.take();
        self.out.push('[');
        if self.accept("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || self.peek() != Some(']') {
            if self.peek().is_none() {
                return Err(syntax("missing closing ]", &self.pattern[start..]));
            }
            first = false;
            if self.posix_class()? || self.class_escape()? {
                continue;
            }
            let range_start = self.position;
            let low = self.class_character(start)?;
            let mut high = low;
            if self.rest().starts_with('-') && !self.rest().starts_with("-]") && self.rest().len() > 1 {
                self.take();
                high = self.class_character(start)?;
                if high < low {
                    return Err(syntax("invalid character class range", self.since(range_start)));
                }
            }
            let _ = write!(self.out, r"\x{{{:X}}}", low as u32);
            if high != low {
                let _ = write!(self.out, r"-\x{{{:X}}}", high as u32);
            }
        }
        self.take();
        self.out.push(']');
        Ok(())
    }

    fn class_character(&mut self, class_start: usize) -> Result<char, RegexError> {
        match self.peek() {
            Some('\\') => self.character_escape(),
            Some(_) => self.take().ok_or_else(|| syntax("missing closing ]", &self.pattern[class_start..])),
            None => Err(syntax("missing closing ]", &self.pattern[class_start..])),
        }
    }

    /// `[:alpha:]` inside a class; false, and nothing read, if there is none.
    fn posix_class(&mut self) -> Result<bool, RegexError> {
        const NAMES: [&str; 14] =
            ["alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word", "xdigit"];
        let Some(body) = self.rest().strip_prefix("[:") else { return Ok(false) };
        let Some((name, _)) = body.split_once(":]") else { return Ok(false) };
        let whole = &self.rest()[..name.len() + 4];
        if !NAMES.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(syntax("invalid character class range", whole));
        }
        self.position += whole.len();
        self.out.push_str(whole);
        Ok(true)
    }
}

fn push_literal(c: char, out: &mut String) {
    if regex_syntax::is_meta_character(c) {
        out.push('\\');
    }
    out.push(c);
}

/// The general categories that Go knows by one or two letters.
fn is_category(name: &str) -> bool {
    const CATEGORIES: [&str; 37] = [
        "C", "Cc", "Cf", "Co", "Cs", "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc", "Pd",
        "Pe", "Pf", "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Cn",
    ];
    CATEGORIES.contains(&name)
}
