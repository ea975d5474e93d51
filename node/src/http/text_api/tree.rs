//! A query's tree as JSON, in the shape that Prometheus's own interface draws: one object a node, keys in order.
//!
//! Written without recursion, for a chain of operators nests as deep as it is long.

use crate::http::json::{write_list, write_string, write_strings};
use model::{MatchOp, Matcher};
use promql::ast::{Aggregate, At, Binary, Cardinality, Duration, Expr, ExprKind, Extended, Subquery, VectorMatching, VectorSelector};
use promql::functions::Function;

/// What is still to be written, the next last.
enum Work<'a> {
    Node(&'a Expr),
    Text(&'static str),
    Bytes(Vec<u8>),
}

/// Writes the tree.
pub(super) fn to_json(out: &mut Vec<u8>, expr: &Expr) {
    let mut work = vec![Work::Node(expr)];
    while let Some(next) = work.pop() {
        match next {
            Work::Text(text) => out.extend_from_slice(text.as_bytes()),
            Work::Bytes(bytes) => out.extend_from_slice(&bytes),
            Work::Node(expr) => {
                let mut parts = node(expr);
                parts.reverse();
                work.append(&mut parts);
            }
        }
    }
}

fn node(expr: &Expr) -> Vec<Work<'_>> {
    match &expr.kind {
        ExprKind::Number { value, .. } => vec![Work::Bytes(literal("numberLiteral", &plain_float(*value)))],
        ExprKind::String(bytes) => vec![Work::Bytes(literal("stringLiteral", &String::from_utf8_lossy(bytes)))],
        ExprKind::Vector(vector) => vec![Work::Bytes(selector(vector, None, "vectorSelector"))],
        ExprKind::Matrix { selector: vector, range } => vec![Work::Bytes(selector(vector, Some(range), "matrixSelector"))],
        ExprKind::Paren(inner) => vec![Work::Text("{\"expr\":"), Work::Node(inner), Work::Text(",\"type\":\"parenExpr\"}")],
        ExprKind::Unary { negative, expr } => {
            let end = if *negative { ",\"op\":\"-\",\"type\":\"unaryExpr\"}" } else { ",\"op\":\"+\",\"type\":\"unaryExpr\"}" };
            vec![Work::Text("{\"expr\":"), Work::Node(expr), Work::Text(end)]
        }
        ExprKind::Subquery(inner) => vec![Work::Text("{\"expr\":"), Work::Node(&inner.expr), Work::Bytes(after_subquery(inner))],
        ExprKind::Aggregate(inner) => aggregate(inner),
        ExprKind::Call { function, args } => call(function, args),
        ExprKind::Binary(inner) => binary(inner),
    }
}

fn literal(kind: &str, value: &str) -> Vec<u8> {
    let mut out = format!("{{\"type\":\"{kind}\",\"val\":").into_bytes();
    write_string(&mut out, value);
    out.push(b'}');
    out
}

/// As Go prints it with as many digits as needed and no exponent.
fn plain_float(value: f64) -> String {
    if value.is_infinite() { if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned() } else { value.to_string() }
}

/// A duration that only the query's times decide has no value here: 0, as in Prometheus.
fn fixed_ms(duration: &Duration) -> i64 {
    match duration {
        Duration::Fixed(ms) => *ms,
        Duration::Expr(_) => 0,
    }
}

fn start_or_end(at: Option<At>) -> &'static str {
    match at {
        Some(At::Start) => "\"start\"",
        Some(At::End) => "\"end\"",
        Some(At::Time(_)) | None => "null",
    }
}

fn timestamp(at: Option<At>) -> String {
    if let Some(At::Time(ms)) = at { ms.to_string() } else { "null".to_owned() }
}

fn selector(selector: &VectorSelector, range: Option<&Duration>, kind: &str) -> Vec<u8> {
    let VectorSelector { name, matchers, offset, at, extended } = selector;
    let mut out = format!("{{\"anchored\":{},\"matchers\":", *extended == Some(Extended::Anchored)).into_bytes();
    write_list(&mut out, matchers, matcher);
    out.extend_from_slice(b",\"name\":");
    write_string(&mut out, name);
    let range = range.map_or_else(String::new, |range| format!(",\"range\":{}", fixed_ms(range)));
    let rest = format!(
        ",\"offset\":{}{range},\"smoothed\":{},\"startOrEnd\":{},\"timestamp\":{},\"type\":\"{kind}\"}}",
        fixed_ms(offset),
        *extended == Some(Extended::Smoothed),
        start_or_end(*at),
        timestamp(*at)
    );
    out.extend_from_slice(rest.as_bytes());
    out
}

fn matcher(out: &mut Vec<u8>, matcher: &Matcher) {
    let op = match matcher.op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    for (key, value) in [("{\"name\":", &*matcher.name), (",\"type\":", op), (",\"value\":", &matcher.value)] {
        out.extend_from_slice(key.as_bytes());
        write_string(out, value);
    }
    out.push(b'}');
}

fn after_subquery(subquery: &Subquery) -> Vec<u8> {
    let Subquery { expr: _, range, step, offset, at } = subquery;
    format!(
        ",\"offset\":{},\"range\":{},\"startOrEnd\":{},\"step\":{},\"timestamp\":{},\"type\":\"subquery\"}}",
        fixed_ms(offset),
        fixed_ms(range),
        start_or_end(*at),
        step.as_ref().map_or(0, fixed_ms),
        timestamp(*at)
    )
    .into_bytes()
}

fn aggregate(aggregate: &Aggregate) -> Vec<Work<'_>> {
    let Aggregate { op, expr, param, grouping, without } = aggregate;
    let mut middle = b",\"grouping\":".to_vec();
    write_strings(&mut middle, grouping.iter().map(String::as_str));
    middle.extend_from_slice(format!(",\"op\":\"{}\",\"param\":", op.as_str()).as_bytes());
    let param = param.as_ref().map_or(Work::Text("null"), Work::Node);
    let end = if *without { ",\"type\":\"aggregation\",\"without\":true}" } else { ",\"type\":\"aggregation\",\"without\":false}" };
    vec![Work::Text("{\"expr\":"), Work::Node(expr), Work::Bytes(middle), param, Work::Text(end)]
}

fn call<'a>(function: &'static Function, args: &'a [Expr]) -> Vec<Work<'a>> {
    let mut work = vec![Work::Text("{\"args\":[")];
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            work.push(Work::Text(","));
        }
        work.push(Work::Node(arg));
    }
    let mut end = b"],\"func\":{\"argTypes\":".to_vec();
    write_strings(&mut end, function.args.iter().map(|kind| kind.as_str()));
    let rest = format!(
        ",\"name\":\"{}\",\"returnType\":\"{}\",\"variadic\":{}}},\"type\":\"call\"}}",
        function.name,
        function.returns.as_str(),
        function.variadic
    );
    end.extend_from_slice(rest.as_bytes());
    work.push(Work::Bytes(end));
    work
}

fn binary(binary: &Binary) -> Vec<Work<'_>> {
    let Binary { op, left, right, matching, return_bool } = binary;
    let mut middle = b",\"matching\":".to_vec();
    match matching {
        Some(matching) => write_matching(&mut middle, matching),
        None => middle.extend_from_slice(b"null"),
    }
    middle.extend_from_slice(b",\"op\":");
    write_string(&mut middle, op.as_str());
    middle.extend_from_slice(b",\"rhs\":");
    let start = if *return_bool { "{\"bool\":true,\"lhs\":" } else { "{\"bool\":false,\"lhs\":" };
    vec![Work::Text(start), Work::Node(left), Work::Bytes(middle), Work::Node(right), Work::Text(",\"type\":\"binaryExpr\"}")]
}

fn write_matching(out: &mut Vec<u8>, matching: &VectorMatching) {
    let VectorMatching { cardinality, labels, on, include, fill_left, fill_right } = matching;
    let card = match cardinality {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    let fill = |value: &Option<f64>| value.filter(|value| value.is_finite()).map_or_else(|| "null".to_owned(), |value| value.to_string());
    let fills = format!("{{\"card\":\"{card}\",\"fillValues\":{{\"lhs\":{},\"rhs\":{}}},\"include\":", fill(fill_left), fill(fill_right));
    out.extend_from_slice(fills.as_bytes());
    write_strings(out, include.iter().map(String::as_str));
    out.extend_from_slice(b",\"labels\":");
    write_strings(out, labels.iter().map(String::as_str));
    out.extend_from_slice(format!(",\"on\":{on}}}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn tree(text: &str) -> Value {
        let mut out = Vec::new();
        to_json(&mut out, &promql::parse_with(text, promql::Options::ALL).unwrap());
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn nodes_have_prometheuss_shape() {
        assert_eq!(
            tree("topk(2, rate(a{b!~\"c<\"}[5m] offset 1m @ start()))"),
            json!({
                "type": "aggregation", "op": "topk", "grouping": [], "without": false,
                "param": {"type": "numberLiteral", "val": "2"},
                "expr": {
                    "type": "call",
                    "func": {"name": "rate", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
                    "args": [{
                        "type": "matrixSelector", "name": "a", "range": 300_000, "offset": 60_000, "timestamp": null, "startOrEnd": "start",
                        "anchored": false, "smoothed": false,
                        "matchers": [{"name": "b", "type": "!~", "value": "c<"}, {"name": "__name__", "type": "=", "value": "a"}],
                    }],
                },
            })
        );
        let sum = tree("-(a) == bool on (x) group_left (y) max_over_time(b[1h:5m] @ 3)");
        assert_eq!(sum["matching"]["card"], "many-to-one");
        assert_eq!((&sum["bool"], &sum["matching"]["include"], &sum["lhs"]["op"]), (&json!(true), &json!(["y"]), &json!("-")));
        assert_eq!(sum["rhs"]["args"][0]["timestamp"], 3000);
        assert_eq!((&sum["rhs"]["args"][0]["step"], &sum["rhs"]["args"][0]["range"]), (&json!(300_000), &json!(3_600_000)));
        assert_eq!(tree("1e21 + Inf")["lhs"]["val"], "1000000000000000000000");
    }

    #[test]
    fn a_chain_as_long_as_a_query_may_be_is_written() {
        let text = format!("1{}", "+1".repeat(8_000));
        let mut out = Vec::new();
        to_json(&mut out, &promql::parse(&text).unwrap());
        assert_eq!(out.iter().filter(|b| **b == b'{').count(), 16_001);
    }
}
