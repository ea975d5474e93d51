//! Reads scripts.

use super::{Command, Eval, Expected, FloatSeries, Load, LoadLine, ScriptError, Text, When};
use crate::parse::{SequenceValue, series_description};
use model::Labels;
use model::time::parse_duration;

/// Reads all commands of a script.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, ScriptError> {
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
        if word.starts_with("clear") {
            commands.push(Command::Clear);
            continue;
        }
        let length = lines[at..].iter().position(|line| line.is_empty()).unwrap_or(lines.len() - at);
        let body = &lines[at..at + length];
        at += length;
        if word.starts_with("load") {
            commands.push(Command::Load(load(lines[first], body).map_err(error)?));
        } else if word.starts_with("eval") {
            let (eval, used) = eval(first + 1, lines[first], body).map_err(error)?;
            at -= length - used;
            commands.push(Command::Eval(Box::new(eval)));
        } else {
            return Err(error(format!("invalid command {word:?}")));
        }
    }
    Ok(commands)
}

fn load(head: &str, body: &[&str]) -> Result<Load, String> {
    let (word, step) = head.split_once(char::is_whitespace).ok_or("no step")?;
    let step_ms = duration(step.trim())?;
    let series = body.iter().map(|line| load_line(line)).collect();
    Ok(Load { step_ms, with_buckets: word.contains("with_nhcb"), series })
}

fn load_line(line: &str) -> LoadLine {
    let has_start_times = line.split_whitespace().next().is_some_and(|first| first.ends_with("@st"));
    if has_start_times {
        let metric = line.split("@st").next().unwrap_or("");
        return LoadLine::Other(labels(metric));
    }
    if let Some(at) = line.find("{{") {
        return LoadLine::Other(labels(&line[..at]));
    }
    floats(line).map_or_else(|_| LoadLine::Other(None), LoadLine::Floats)
}

/// A series of floats alone.
fn floats(line: &str) -> Result<FloatSeries, String> {
    let series = series_description(line).map_err(|e| e.to_string())?;
    let values = series.values.iter().map(|value| match value {
        SequenceValue::Omitted => Ok(None),
        SequenceValue::Float(value) => Ok(Some(*value)),
        SequenceValue::Histogram { .. } => Err("native histograms are not supported".to_owned()),
    });
    Ok((series.labels, values.collect::<Result<_, _>>()?))
}

/// Labels of a series whose values cannot be read.
fn labels(text: &str) -> Option<Labels> {
    series_description(text.trim_end()).ok().map(|series| series.labels)
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
    let mut expected = Expected { must_fail: word == "eval_fail", ordered: word == "eval_ordered", ..Expected::default() };
    match word {
        "eval_warn" => expected.warnings.some.push(Text::Any),
        "eval_info" => expected.infos.some.push(Text::Any),
        _ => {}
    }
    let mut used = 0;
    for text in body {
        used += 1;
        if !expectation(text, &mut expected)? {
            break;
        }
    }
    Ok((Eval { line, when, query: query.trim().to_owned(), expected }, used))
}

/// Reads one line of what an `eval` must answer; false if it is the last one.
fn expectation(line: &str, expected: &mut Expected) -> Result<bool, String> {
    if let Some(message) = line.strip_prefix("expected_fail_message") {
        expected.fails = Some(Text::Exactly(message.trim().to_owned()));
        return Ok(false);
    }
    if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
        expected.fails = Some(Text::Matching(pattern.trim().to_owned()));
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
        if let crate::ast::ExprKind::String(bytes) = &expr.kind {
            expected.string = Some(String::from_utf8_lossy(bytes).into_owned());
        }
        return Ok(true);
    }
    if let Some(what) = line.strip_prefix("expect ").or_else(|| line.strip_prefix("expect\t")) {
        return expect(what.trim(), expected).map(|()| true);
    }
    if let Ok(number) = model::number::parse_number(line) {
        expected.scalar = Some(number);
        return Ok(false);
    }
    match floats(line) {
        Ok(series) => expected.series.push(series),
        Err(error) => expected.unreadable = Some(error),
    }
    Ok(true)
}

fn expect(what: &str, expected: &mut Expected) -> Result<(), String> {
    let end = what.find(char::is_whitespace).unwrap_or(what.len());
    let (kind, rest) = (&what[..end], what[end..].trim());
    let text = match rest.split_once(':') {
        Some(("msg", text)) => Text::Exactly(text.trim().to_owned()),
        Some(("regex", text)) => Text::Matching(text.trim().to_owned()),
        _ => Text::Any,
    };
    match kind {
        "ordered" => expected.ordered = true,
        "fail" => {
            expected.must_fail = true;
            expected.fails = Some(text);
        }
        "warn" => expected.warnings.some.push(text),
        "no_warn" => expected.warnings.none = true,
        "info" => expected.infos.some.push(text),
        "no_info" => expected.infos.none = true,
        _ => return Err(format!("cannot expect {kind:?}")),
    }
    Ok(())
}
