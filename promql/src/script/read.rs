//! Reads scripts.

use super::{Command, Eval, Expected, Load, ScriptError, Text, When};
use crate::ast::ExprKind;
use crate::parse::{Options, parse_with, series_description, start_timestamps};
use model::regex::Regex;
use model::time::parse_duration;

/// Reads all commands of a script, each with its line.
pub(super) fn commands(text: &str) -> Result<Vec<(usize, Command)>, ScriptError> {
    let lines: Vec<&str> = text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let first = at;
        at += 1;
        if lines[first].is_empty() {
            continue;
        }
        let error = |detail: String| ScriptError { line: first + 1, detail };
        let word = lines[first].split_whitespace().next().unwrap_or("").to_lowercase();
        if word == "clear" {
            commands.push((first + 1, Command::Clear));
            continue;
        }
        let length = lines[at..].iter().position(|line| line.is_empty()).unwrap_or(lines.len() - at);
        let body = &lines[at..at + length];
        at += length;
        if word.starts_with("load") {
            commands.push((first + 1, Command::Load(load(lines[first], body).map_err(error)?)));
        } else if word.starts_with("eval") {
            let (eval, used) = eval(first + 1, lines[first], body).map_err(error)?;
            at -= length - used;
            commands.push((first + 1, Command::Eval(Box::new(eval))));
        } else {
            return Err(error(format!("invalid command {word:?}")));
        }
    }
    Ok(commands)
}

fn load(head: &str, body: &[&str]) -> Result<Load, String> {
    let (word, step) = head.split_once(char::is_whitespace).ok_or("no step")?;
    let with_native = match word {
        "load" => false,
        "load_with_nhcb" => true,
        _ => return Err(format!("invalid load command {word:?}")),
    };
    let mut load = Load { step_ms: duration(step.trim())?, with_native, series: Vec::new(), starts: Vec::new() };
    for line in body {
        match start_timestamps(line).map_err(|e| e.to_string())? {
            Some(starts) => load.starts.push(starts),
            None => load.series.push(series_description(line).map_err(|e| e.to_string())?),
        }
    }
    match load.starts.iter().find(|starts| !load.series.iter().any(|series| series.labels == starts.labels)) {
        Some(starts) => Err(format!("{} has start timestamps but no values", starts.labels)),
        None => Ok(load),
    }
}

fn duration(text: &str) -> Result<i64, String> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let ms = parse_duration(digits).map_err(|e| e.to_string())?;
    Ok(if negative { -ms } else { ms })
}

fn eval(line: usize, head: &str, body: &[&str]) -> Result<(Eval, usize), String> {
    let (word, rest) = head.split_once(char::is_whitespace).ok_or("no query")?;
    let rest = rest.trim_start();
    let (when, query) = if let Some(rest) = rest.strip_prefix("instant") {
        let rest = rest.trim_start();
        match rest.strip_prefix("at ") {
            Some(rest) => {
                let (at, query) = rest.trim_start().split_once(char::is_whitespace).ok_or("no query")?;
                (When::Instant { at_ms: duration(at)? }, query)
            }
            None => (When::Instant { at_ms: 0 }, rest),
        }
    } else {
        let rest = rest.strip_prefix("range from ").ok_or("neither instant nor range")?;
        let (start, rest) = rest.split_once(" to ").ok_or("no end")?;
        let (end, rest) = rest.split_once(" step ").ok_or("no step")?;
        let (step, query) = rest.trim_start().split_once(char::is_whitespace).ok_or("no query")?;
        (When::Range { start_ms: duration(start.trim())?, end_ms: duration(end.trim())?, step_ms: duration(step)? }, query)
    };
    let mut expected = Expected { ordered: word == "eval_ordered", ..Expected::default() };
    match word {
        "eval" | "eval_ordered" => {}
        "eval_fail" => expected.fails = Some(Text::Any),
        "eval_warn" => expected.warnings.some.push(Text::Any),
        "eval_info" => expected.infos.some.push(Text::Any),
        _ => return Err(format!("invalid eval command {word:?}")),
    }
    let query = query.trim();
    let expr = parse_with(query, Options::ALL).map_err(|errors| format!("does not parse: {errors}"))?;
    let mut used = 0;
    for text in body {
        used += 1;
        if !expectation(text, &mut expected)? {
            break;
        }
    }
    for (annotated, name) in [(&expected.warnings, "warn"), (&expected.infos, "info")] {
        if annotated.none && !annotated.some.is_empty() {
            return Err(format!("{name} and no_{name} are both expected"));
        }
    }
    if expected.ordered && matches!(when, When::Range { .. }) {
        return Err("the answer of a range query has no other order".to_owned());
    }
    Ok((Eval { line, when, query: query.to_owned(), expr, expected }, used))
}

/// Reads one line of what an `eval` must answer; false if it is the last one.
fn expectation(line: &str, expected: &mut Expected) -> Result<bool, String> {
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        expected.fails = Some(Text::Exactly(message.trim().to_owned()));
        return Ok(false);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        expected.fails = Some(matching(pattern.trim())?);
        return Ok(false);
    }
    if let Some(times) = line.strip_prefix("expect range vector") {
        let times = times.trim().strip_prefix("from ").ok_or("no start")?;
        let (start, rest) = times.split_once(" to ").ok_or("no end")?;
        let (end, step) = rest.split_once(" step ").ok_or("no step")?;
        expected.range_vector = Some((duration(start.trim())?, duration(end.trim())?, duration(step.trim())?));
        return Ok(true);
    }
    if let Some(literal) = line.strip_prefix("expect string") {
        let expr = crate::parse::parse(literal.trim()).map_err(|e| e.to_string())?;
        let ExprKind::String(bytes) = expr.kind else { return Err(format!("{literal} is no string")) };
        expected.string = Some(bytes);
        return Ok(true);
    }
    if let Some(what) = line.strip_prefix("expect ").or_else(|| line.strip_prefix("expect\t")) {
        return expect(what.trim(), expected).map(|()| true);
    }
    if let Ok(number) = model::number::parse_number(line) {
        expected.scalar = Some(number);
        return Ok(false);
    }
    expected.series.push(series_description(line).map_err(|e| e.to_string())?);
    Ok(true)
}

/// A pattern that is found anywhere in a message.
fn matching(pattern: &str) -> Result<Text, String> {
    Regex::anchored(&format!("(?s:.*)(?:{pattern})(?s:.*)")).map(Text::Matching).map_err(|e| e.to_string())
}

fn expect(what: &str, expected: &mut Expected) -> Result<(), String> {
    let end = what.find(char::is_whitespace).unwrap_or(what.len());
    let (kind, rest) = (&what[..end], what[end..].trim());
    let text = match rest.split_once(':') {
        Some(("msg", text)) => Text::Exactly(text.trim().to_owned()),
        Some(("regex", text)) => matching(text.trim())?,
        _ if rest.is_empty() => Text::Any,
        _ => return Err(format!("cannot expect {rest:?}")),
    };
    match kind {
        "ordered" => expected.ordered = true,
        "fail" if expected.fails.is_some() => return Err("a failure is expected twice".to_owned()),
        "fail" => expected.fails = Some(text),
        "warn" => expected.warnings.some.push(text),
        "no_warn" => expected.warnings.none = true,
        "info" => expected.infos.some.push(text),
        "no_info" => expected.infos.none = true,
        _ => return Err(format!("cannot expect {kind:?}")),
    }
    Ok(())
}
