use super::*;
use serde::Deserialize;

const ALL: Options = Options { experimental_functions: true };

#[derive(Deserialize)]
struct Row {
    q: String,
    ok: bool,
    #[serde(default)]
    str: String,
    #[serde(default)]
    err: String,
}

fn corpus() -> Vec<Row> {
    #[allow(clippy::disallowed_methods)]
    let folder = std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts");
    let text = std::fs::read_to_string(format!("{folder}/promql-parser.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whether a query uses grammar that this version refuses with a message of its own.
fn is_refused_grammar(message: &str) -> bool {
    message.contains("not enabled") || message.contains("duration expressions are not supported") || message.contains("unexpected <op:/>")
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::print_stdout)]
fn verdicts_prints_and_errors_agree_with_the_recorded_ones() {
    let rows = corpus();
    let (mut accepted, mut printed, mut refused, mut worded, mut beyond) = (0, 0, 0, 0, 0);
    let mut differences = Vec::new();
    for row in &rows {
        match (parse_with(&row.q, ALL), row.ok) {
            (Ok(expr), true) => {
                accepted += 1;
                let text = expr.to_string();
                if text == row.str {
                    printed += 1;
                } else {
                    differences.push(format!("print   {:?}: {text:?} not {:?}", row.q, row.str));
                }
                assert_eq!(parse_with(&text, ALL).unwrap().to_string(), text, "a print must be a fixed point");
            }
            (Err(errors), false) if !is_refused_grammar(&errors.to_string()) || errors.to_string() == row.err => {
                refused += 1;
                if errors.to_string() == row.err {
                    worded += 1;
                } else {
                    differences.push(format!("error   {:?}: {errors} not {}", row.q, row.err));
                }
            }
            (Err(errors), _) if is_refused_grammar(&errors.to_string()) => beyond += 1,
            (Err(errors), _) => differences.push(format!("refused {:?}: {errors}", row.q)),
            (Ok(expr), false) => differences.push(format!("wrongly accepted {:?}: {expr} not {}", row.q, row.err)),
        }
    }
    println!("accepted {accepted}, printed {printed}, refused {refused}, worded {worded}, grammar beyond {beyond}");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    // These may only grow, and `beyond` only shrink.
    assert_eq!((accepted, printed, refused, worded, beyond), (2161, 2161, 190, 190, 418));
}

#[test]
fn queries_print_canonically() {
    for (query, canonical) in [
        ("SUM(a) BY (b,) / 0", "sum by (b) (a) / 0"),
        ("-1^2 * -a", "-1 ^ 2 * -a"),
        ("a{x='}', b=~\"b\"} @ 3.3335 offset -1m40s", "a{b=~\"b\",x=\"}\"} @ 3.334 offset -1m40s"),
    ] {
        assert_eq!(parse(query).unwrap().to_string(), canonical);
    }
}
