//! Series descriptions of test scripts: a metric and its values, `metric{a="b"} 1+2x5 _ stale NaN`.

use super::{ParseErrors, Parser, located};
use crate::ast::{ExprKind, Span};
use crate::lex::{Token, is_space};
use model::labels::LabelsBuilder;
use model::{Labels, MatchOp, number, sample};

/// A metric and one value for each step; a step without a sample has none.
pub type SeriesDescription = (Labels, Vec<Option<f64>>);

/// Values of one description.
const VALUES_MAX: usize = 1 << 20;

/// Reads a metric and its values. Values are numbers, `stale`, `_` for a gap; `axN` repeats `a` N times more,
/// `a+bxN` and `a-bxN` count on, `_xN` is a gap of N steps.
///
/// # Errors
/// The text is not of this form.
pub fn series_description(text: &str) -> Result<SeriesDescription, ParseErrors> {
    let metric_end = metric_end(text);
    let labels = metric(&text[..metric_end])?;
    let mut values = Vec::new();
    let mut position = metric_end;
    let bytes = text.as_bytes();
    while position < bytes.len() {
        if is_space(bytes[position]) {
            position += 1;
            continue;
        }
        let length = bytes[position..].iter().take_while(|b| !is_space(**b)).count();
        let item = &text[position..position + length];
        let span = Span { start: position as u32, end: (position + length) as u32 };
        push_values(item, &mut values).map_err(|message| located(text, vec![(span, message)]))?;
        position += length;
    }
    Ok((labels, values))
}

/// Where the metric ends: behind its closing brace, or at the first byte that cannot belong to a name.
fn metric_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let name = bytes.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':')).count();
    if bytes.get(name) != Some(&b'{') {
        return name;
    }
    let mut quote = None;
    let mut escaped = false;
    for (i, b) in bytes.iter().enumerate().skip(name) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(q) if *b == b'\\' => escaped = q != b'`',
            Some(q) if *b == q => quote = None,
            Some(_) => {}
            None if matches!(b, b'"' | b'\'' | b'`') => quote = Some(*b),
            None if *b == b'}' => return i + 1,
            None => {}
        }
    }
    bytes.len()
}

/// Reads `name{label="value", …}` as a label set.
fn metric(text: &str) -> Result<Labels, ParseErrors> {
    let mut parser = Parser::new(text, super::Options::default());
    let parsed = parser.whole(|p| match p.item.token {
        Token::LeftBrace => p.vector_selector(None),
        token if super::is_metric_name(token) => {
            let name = p.advance();
            p.vector_selector(Some(name.span))
        }
        _ => Err(p.unexpected("", "")),
    });
    let expr = parser.finish(parsed)?;
    let matchers = if let ExprKind::Vector(selector) = &expr.kind { selector.matchers.as_slice() } else { &[] };
    let mut builder = LabelsBuilder::default();
    for matcher in matchers {
        if matcher.op != MatchOp::Equal {
            let message = format!("unexpected <op:{}> in label set, expected \"=\"", matcher.op.as_str());
            return Err(located(text, vec![(expr.span, message)]));
        }
        builder.set(&matcher.name, &matcher.value);
    }
    Ok(builder.build())
}

/// Appends the values of one item.
fn push_values(item: &str, values: &mut Vec<Option<f64>>) -> Result<(), String> {
    if item.starts_with("{{") {
        return Err("native histograms in series descriptions are not supported".to_owned());
    }
    let bad = || format!("unexpected {} in series values", model::labels::quote(item));
    if item.eq_ignore_ascii_case("stale") {
        return push(values, Some(sample::stale_nan()), 0.0, 1);
    }
    let (start, times) = match item.rsplit_once('x') {
        Some((start, times)) => (start, Some(times.parse::<usize>().map_err(|_| bad())?)),
        None => (item, None),
    };
    if start == "_" {
        return push(values, None, 0.0, times.unwrap_or(1));
    }
    // A sign behind the first number begins the increment, unless it belongs to an exponent.
    let split = start
        .char_indices()
        .skip(1)
        .find(|(i, c)| matches!(c, '+' | '-') && !(matches!(start.as_bytes()[i - 1], b'e' | b'E') && start.as_bytes()[0] != b'I'));
    let (first, step) = match split {
        Some((at, _)) if times.is_some() => (&start[..at], number(&start[at..]).ok_or_else(bad)?),
        Some(_) => return Err(bad()),
        None => (start, 0.0),
    };
    let first = number(first).ok_or_else(bad)?;
    push(values, Some(first), step, times.map_or(1, |n| n.saturating_add(1)))
}

fn number(text: &str) -> Option<f64> {
    let digits = text.trim_start_matches(['+', '-']);
    let hexadecimal = digits.len() > 1 && digits.as_bytes()[1].eq_ignore_ascii_case(&b'x');
    if hexadecimal || text.len() - digits.len() > 1 {
        return None;
    }
    let magnitude = number::parse_number(digits).ok()?;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// Appends `count` values that begin with `first` and grow by `step`.
fn push(values: &mut Vec<Option<f64>>, first: Option<f64>, step: f64, count: usize) -> Result<(), String> {
    if count > VALUES_MAX - values.len().min(VALUES_MAX) {
        return Err(format!("more than {VALUES_MAX} values in one series"));
    }
    let mut value = first;
    for _ in 0..count {
        values.push(value);
        // The stale marker and every other NaN stay what they are.
        value = value.map(|v| if step == 0.0 { v } else { v + step });
    }
    Ok(())
}
