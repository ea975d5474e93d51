use super::*;
use crate::ast::ValueType;
use model::Labels;
use proptest::prelude::*;
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

#[allow(clippy::disallowed_methods)]
fn facts() -> String {
    std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts")
}

fn corpus() -> Vec<Row> {
    let text = std::fs::read_to_string(format!("{}/promql-parser.jsonl", facts())).unwrap();
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
        ("{\"a.b\", \"c d\"!=`e\\`}", "{\"c d\"!=\"e\\\\\",__name__=\"a.b\"}"),
        ("'\\xff\\'\\u00e9'", "\"\\xff'é\""),
        ("a[90s:1e1] @ end() offset 2", "a[1m30s:10s] @ end() offset 2s"),
        ("a - ignoring() group_left c", "a - ignoring () group_left () c"),
        ("sum without(:job, \"x y\") (a)", "sum without (:job, \"x y\") (a)"),
        ("fill + 0x1F + 017 + 1_000 + inf + 5m", "fill + 31 + 15 + 1000 + +Inf + 5m"),
        ("a ^ b ^ c % d atan2 e", "a ^ b ^ c % d atan2 e"),
        ("a # nothing\n+ b", "a + b"),
    ] {
        assert_eq!(parse(query).unwrap().to_string(), canonical, "{query}");
    }
}

#[test]
fn operators_bind_as_in_prometheus() {
    fn grouped(expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Binary(b) => format!("({} {} {})", grouped(&b.left), b.op.as_str(), grouped(&b.right)),
            ExprKind::Unary { expr, .. } => format!("(-{})", grouped(expr)),
            _ => expr.to_string(),
        }
    }
    for (query, tree) in [
        ("a or b and c unless d == e + f * g ^ h", "(a or ((b and c) unless (d == (e + (f * (g ^ h))))))"),
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b * c", "((-(a ^ b)) * c)"),
        ("a ^ -b * c", "((a ^ (-b)) * c)"),
        ("a % b atan2 c / d", "(((a % b) atan2 c) / d)"),
        ("a > b <= bool c", "((a > b) <= c)"),
    ] {
        assert_eq!(grouped(&parse(query).unwrap()), tree, "{query}");
    }
}

#[test]
fn every_node_knows_its_bytes() {
    let query = "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) / -(1)";
    let expr = parse(query).unwrap();
    let text = |e: &Expr| &query[e.span.start as usize..e.span.end as usize];
    assert_eq!(text(&expr), query);
    let ExprKind::Binary(binary) = &expr.kind else { panic!("{expr:?}") };
    assert_eq!((text(&binary.left), text(&binary.right)), ("sum by (a) (rate(x{b=\"c\"}[5m] offset 1m))", "-(1)"));
    let ExprKind::Aggregate(aggregate) = &binary.left.kind else { panic!("{expr:?}") };
    assert_eq!(text(&aggregate.expr), "rate(x{b=\"c\"}[5m] offset 1m)");
    let ExprKind::Call { args, .. } = &aggregate.expr.kind else { panic!("{expr:?}") };
    assert_eq!(text(&args[0]), "x{b=\"c\"}[5m] offset 1m");
}

#[test]
fn errors_carry_line_and_column_and_all_are_listed() {
    let list = |query: &str| parse(query).unwrap_err().0.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        list("foo(1) +\n rate(x) offset 1m +\n  bar("),
        [
            "1:1: parse error: unknown function with name \"foo\"",
            "2:2: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            "3:7: parse error: unclosed left parenthesis",
        ]
    );
    assert_eq!(
        list("rate(x) + floor(1)"),
        [
            "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
            "1:17: parse error: expected type instant vector in call to function \"floor\", got scalar",
        ]
    );
    assert_eq!(list("a{b=~\"*\"}"), ["1:3: parse error: error parsing regexp: missing argument to repetition operator: `*`"]);
    assert_eq!(list("{a=\"\\xff\"}"), ["1:4: parse error: label matcher is not valid UTF-8"]);
}

#[test]
fn experimental_grammar_is_refused_unless_asked_for() {
    let refusal = |query: &str| parse(query).unwrap_err().to_string();
    assert_eq!(refusal("sort_by_label(a, \"b\")"), "1:1: parse error: function \"sort_by_label\" is not enabled");
    assert_eq!(
        refusal("limitk(1, a)"),
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
    );
    assert!(parse_with("limitk(1, sort_by_label(a, \"b\"))", ALL).is_ok());
    assert_eq!(refusal("a + fill(1) b"), "1:5: parse error: binop fill modifiers are experimental and not enabled");
    assert_eq!(refusal("a[1m] smoothed"), "1:7: parse error: smoothed modifier is experimental and not enabled");
    assert_eq!(refusal("a[1m+1s]"), "1:5: parse error: duration expressions are not supported");
    assert_eq!(functions::FUNCTIONS.iter().filter(|f| f.experimental).count(), 17);
    assert!(functions::FUNCTIONS.is_sorted_by_key(|f| f.name) && functions::FUNCTIONS.len() == 90);
}

/// Runs on a stack far smaller than that of a server's threads.
fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(512 << 10).spawn(test).unwrap().join().unwrap();
}

#[test]
fn long_chains_do_not_recurse() {
    on_small_stack(|| {
        let query = format!("a{}", " + a".repeat((QUERY_BYTES_MAX - 1) / 4));
        let expr = parse(&query).unwrap();
        assert_eq!(expr.to_string(), query);
        assert_eq!(expr.value_type(), ValueType::Vector);
        assert!(expr.clone() == expr);
        let scalars = parse(&format!("1{}", "+1".repeat((QUERY_BYTES_MAX - 1) / 2))).unwrap();
        assert_eq!(scalars.value_type(), ValueType::Scalar);
    });
}

#[test]
fn deep_nesting_and_long_texts_are_refused() {
    on_small_stack(|| {
        for (open, close) in [("(", ")"), ("abs(", ")"), ("sum(", ")"), ("-", ""), ("a^", ""), ("1+(", ")"), ("max by (x) (", ")")] {
            let nested = |n: usize| parse(&format!("{}a{}", open.repeat(n), close.repeat(n)));
            let levels = if open == "1+(" { 99 } else { QUERY_DEPTH_MAX - 1 };
            let deepest = nested(levels).unwrap();
            assert!(deepest.clone() == deepest && !deepest.to_string().is_empty());
            assert!(nested(1000).unwrap_err().to_string().ends_with("expression is nested deeper than 200 levels"), "{open}");
        }
        let subqueries = format!("a{}", "[1m:]".repeat(1000));
        assert!(parse(&subqueries).unwrap_err().to_string().ends_with("expression is nested deeper than 200 levels"));
        assert!(parse(&"(".repeat(10_000)).is_err());
        let long = parse(&" ".repeat(QUERY_BYTES_MAX + 1)).unwrap_err().to_string();
        assert_eq!(long, "1:1: parse error: query is longer than 16384 bytes");
    });
}

#[test]
fn selectors_need_a_matcher_that_does_not_match_the_empty_value() {
    let shown = |text: &str| parse_selector(text).map(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    assert_eq!(shown("up{a!=\"b\"}").unwrap(), "a!=\"b\" __name__=\"up\"");
    assert_eq!(shown("{\"x.y\",a=~\".+\"}").unwrap(), "__name__=\"x.y\" a=~\".+\"");
    assert_eq!(shown("sum").unwrap(), "__name__=\"sum\"");
    for (text, error) in [
        ("{}", "1:1: parse error: match[] must contain at least one non-empty matcher"),
        ("{a=~\".*\"}", "1:1: parse error: match[] must contain at least one non-empty matcher"),
        ("up[5m]", "1:3: parse error: unexpected \"[\""),
        ("sum(up)", "1:4: parse error: unexpected \"(\""),
        ("", "unknown position: parse error: unexpected end of input"),
    ] {
        assert_eq!(shown(text).unwrap_err().to_string(), error, "{text}");
    }
}

#[test]
fn series_descriptions_expand() {
    let (labels, values) = series_description("x{a=\"b c}\"} 1+2x2 _ stale -1 3x1 _x2 2-.5x2 1e-3 NaN -Inf").unwrap();
    assert_eq!(labels.to_string(), "{__name__=\"x\", a=\"b c}\"}");
    let shown: Vec<String> = values
        .iter()
        .map(|v| v.map_or("_".to_owned(), |v| if model::sample::is_stale(v) { "stale".to_owned() } else { v.to_string() }))
        .collect();
    assert_eq!(shown.join(" "), "1 3 5 _ stale -1 3 3 _ _ 2 1.5 1 0.001 NaN -inf");
    assert_eq!(series_description("{\"a.b\", c='d'} 0x1").unwrap().1, [Some(0.0), Some(0.0)]);
    assert_eq!(series_description("up").unwrap(), (Labels::from_pairs([("__name__", "up")]), Vec::new()));
    assert_eq!(series_description("{} 1 -2e+1+1e1x2").unwrap().1, [1.0, -20.0, -10.0, 0.0].map(Some));
    for text in ["x 1+2", "x 1y", "x stalex5", "x{a!=\"b\"} 1", "x{a=\"b\" 1", "x {{schema:1}}", "x 1x99999999", "x 0x1f", "x --1"] {
        assert!(series_description(text).is_err(), "{text}");
    }
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
fn every_float_series_of_the_acceptance_scripts_is_read() {
    let mut read = 0;
    for file in std::fs::read_dir(format!("{}/promqltest", facts())).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut loading = false;
        for line in text.lines().map(str::trim) {
            loading = line.starts_with("load") || (loading && !line.is_empty() && !line.starts_with('#'));
            let start_timestamps = line.split_whitespace().next().is_some_and(|first| first.ends_with("@st"));
            if loading && !line.starts_with("load") && !line.contains("{{") && !start_timestamps {
                let (labels, values) = series_description(line).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert!(!labels.is_empty() && !values.is_empty(), "{line}");
                read += 1;
            }
        }
    }
    assert_eq!(read, 819);
}

/// Queries of every construct; about a third of them type-check.
fn query() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-c]{1,2}(:x)?",
        "[a-c]\\{[a-c](=|!=|=~|!~)\"[a-c.]{0,2}\"(,\"x y\"='z')?\\}( @ -?[0-9]{1,3}(\\.[0-9])?)?( offset -?[1-9](m|s|h30m)?)?",
        "[0-9]{1,3}(\\.[0-9]{1,2})?",
        "[1-9]m",
        Just("\"a\\xff\\n\"".to_owned()),
        "rate\\([a-c]\\[[1-9](m|s|d)\\]( @ start\\(\\))?\\)",
    ];
    leaf.prop_recursive(5, 40, 3, |inner| {
        let operator = prop_oneof![
            "(\\+|-|\\*|/|%|\\^|atan2)( on \\([a-c]\\)( group_left( \\([d-e]\\))?)?| ignoring \\(\\))?",
            "(==|!=|<|>|<=|>=)( bool)?",
            "(and|or|unless)( on \\(\\))?",
        ];
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            ("[+-]", inner.clone()).prop_map(|(sign, a)| format!("{sign}{a}")),
            ("(sum|avg|count)( by \\([a-c](, \"x y\")?\\)| without \\(\\))?", inner.clone()).prop_map(|(op, a)| format!("{op} ({a})")),
            ("(topk|quantile)", inner.clone(), inner.clone()).prop_map(|(op, a, b)| format!("{op}({a}, {b}) by (a)")),
            ("(abs|floor|scalar|vector)", inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner, "\\[[1-9]h:([1-9]m)?\\]( offset 1m)?").prop_map(|(a, range)| format!("max_over_time(({a}){range})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn prints_are_fixed_points(query in query()) {
        if let Ok(expr) = parse(&query) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{printed}: {again:?}");
            prop_assert_eq!(again.unwrap().to_string(), printed);
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>(), words in proptest::collection::vec(
        prop::sample::select(vec!["a", "sum", "by", "(", ")", "[", "]", "{", "}", "1", "5m", ":", ",", "=", "\"", "offset", "@", "-", "^", "on",
            "group_left", "or", "é", "#", "\n", "start", "\\", "bool", "x", "_"]), 0..20)) {
        for text in [text, words.concat(), words.join(" ")] {
            let _ = parse(&text);
            let _ = parse_selector(&text);
            let _ = series_description(&text);
        }
    }
}
