use super::*;
use crate::ast::ValueType;
use proptest::prelude::*;
use serde::Deserialize;

const ALL: Options = Options::ALL;

#[derive(Deserialize)]
struct Row {
    q: String,
    ok: bool,
    #[serde(default)]
    str: String,
    #[serde(default)]
    pretty: String,
    #[serde(default)]
    tree: String,
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

/// The tree as Prometheus draws it: a line for each node with its type and its text, indented by depth.
fn draw(expr: &Expr, level: &str, out: &mut String) {
    let kind = match &expr.kind {
        ExprKind::Number { .. } => "NumberLiteral",
        ExprKind::String(_) => "StringLiteral",
        ExprKind::Vector(_) => "VectorSelector",
        ExprKind::Matrix { .. } => "MatrixSelector",
        ExprKind::Subquery(_) => "SubqueryExpr",
        ExprKind::Aggregate(_) => "AggregateExpr",
        ExprKind::Call { .. } => "Call",
        ExprKind::Unary { .. } => "UnaryExpr",
        ExprKind::Binary(_) => "BinaryExpr",
        ExprKind::Paren(_) => "ParenExpr",
    };
    out.push_str(&format!("{level} |---- {kind} :: {expr}\n"));
    let below = format!("{level} · · ·");
    let mut child = |expr: &Expr| draw(expr, &below, out);
    match &expr.kind {
        ExprKind::Number { .. } | ExprKind::String(_) | ExprKind::Vector(_) => {}
        ExprKind::Matrix { selector, .. } => child(&Expr { span: expr.span, kind: ExprKind::Vector(selector.clone()) }),
        ExprKind::Subquery(subquery) => child(&subquery.expr),
        ExprKind::Aggregate(aggregate) => {
            child(&aggregate.expr);
            aggregate.param.iter().for_each(child);
        }
        ExprKind::Call { args, .. } => args.iter().for_each(child),
        ExprKind::Unary { expr, .. } | ExprKind::Paren(expr) => child(expr),
        ExprKind::Binary(binary) => {
            child(&binary.left);
            child(&binary.right);
        }
    }
}

fn drawn(expr: &Expr) -> String {
    let mut out = String::new();
    draw(expr, "", &mut out);
    out
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::print_stdout)]
fn the_recorded_verdicts_trees_prints_formats_and_errors_are_met() {
    let rows = corpus();
    let cache = RegexCache::default();
    let mut differences = Vec::new();
    let mut differ = |what: &str, row: &Row, found: &str, wanted: &str| {
        if found != wanted {
            differences.push(format!("{what} of {:?}:\n{found}\ninstead of\n{wanted}", row.q));
        }
        found == wanted
    };
    let mut met = 0;
    for row in &rows {
        let cached = parse_cached(&row.q, ALL, &cache).map_or_else(|e| e.to_string(), |expr| expr.to_string());
        let plain = parse_with(&row.q, ALL).map_or_else(|e| e.to_string(), |expr| expr.to_string());
        differ("parse with known patterns", row, &cached, &plain);
        met += usize::from(match parse_with(&row.q, ALL) {
            Ok(expr) => {
                let text = expr.to_string();
                let again = parse_with(&text, ALL).map_or_else(|e| e.to_string(), |again| again.to_string());
                let mut json = Vec::new();
                crate::translate(&mut json, &expr, |out, text| out.extend(serde_json::to_vec(text).unwrap()));
                assert!(serde_json::from_slice::<serde_json::Value>(&json).unwrap()["type"].is_string(), "{}", row.q);
                differ("verdict", row, "accepted", if row.ok { "accepted" } else { &row.err })
                    && [
                        differ("print", row, &text, &row.str),
                        differ("second print", row, &again, &text),
                        differ("tree", row, &drawn(&expr), &row.tree),
                        differ("format", row, &crate::format(&expr), &row.pretty),
                    ] == [true; 4]
            }
            Err(errors) => differ("verdict", row, &errors.to_string(), if row.ok { "accepted" } else { &row.err }),
        });
    }
    println!("parser corpus: {met} of {}", rows.len());
    assert!(differences.is_empty() && met == 2769, "{}", differences.join("\n"));
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
        ("sum by(bool, \"Without\", 'inf', offset) (a)", "sum by (bool, \"Without\", \"inf\", offset) (a)"),
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
    let info = |query: &str| parse_with(query, ALL).unwrap_err().0.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        info("info(1, 2)"),
        [
            "1:1: parse error: expected type instant vector in call to function \"info\", got scalar",
            "1:9: parse error: expected label selectors only",
            "1:6: parse error: expected type instant vector in call to function \"info\", got scalar",
            "1:9: parse error: expected type instant vector in call to function \"info\", got scalar",
        ]
    );
    assert!(parse_with("info(a, {})", ALL).is_ok() && parse_with("info(a, {b=~\".*\"})", ALL).is_ok());
    assert_eq!(list("a{b=~\"*\"}"), ["1:3: parse error: error parsing regexp: missing argument to repetition operator: `*`"]);
    assert_eq!(list("{a=\"\\xff\"}"), ["1:4: parse error: label matcher is not valid UTF-8"]);
}

#[test]
fn the_first_error_is_the_one_that_prometheus_meets_first() {
    for (query, error) in [
        ("sum(a b)", "1:7: parse error: unexpected identifier \"b\" in aggregation"),
        ("sum by (x) a", "1:12: parse error: unexpected identifier \"a\" in aggregation"),
        ("sum(rate(a[5m] b))", "1:16: parse error: unexpected identifier \"b\" in aggregation"),
        ("sum(a{b c})", "1:9: parse error: unexpected identifier \"c\" in label matching, expected label matching operator"),
        ("sum(a) b", "1:8: parse error: unexpected identifier \"b\""),
        ("abs(a, , b)", "1:6: parse error: trailing commas not allowed in function call args"),
        ("abs(a, !)", "1:8: parse error: unexpected character after '!': ')'"),
        ("foo(a))", "1:1: parse error: unknown function with name \"foo\""),
        (
            "1 offset 1m )",
            "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
        ),
        ("sum() }", "1:7: parse error: unexpected character: '}'"),
        ("sum by (a) () }", "1:1: parse error: no arguments for aggregate expression provided"),
        ("a + on() group_left ) b", "1:22: parse error: unexpected right parenthesis ')'"),
        ("a + on() group_left, b", "1:20: parse error: unexpected \",\" in grouping opts, expected \"(\""),
        ("a + on() group_right", "1:21: parse error: unexpected end of input in grouping opts, expected \"(\""),
        ("sum() by (a))", "1:1: parse error: no arguments for aggregate expression provided"),
        ("sum by (without) (a)", "1:9: parse error: unexpected <without> in grouping opts, expected label"),
        ("a @ start(5)", "1:11: parse error: unexpected number \"5\" in @, expected timestamp"),
    ] {
        assert_eq!(parse(query).unwrap_err().to_string(), error, "{query}");
    }
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
    assert_eq!(refusal("a + fill(1) b"), "1:1: parse error: binop fill modifiers are experimental and not enabled");
    assert_eq!(refusal("a[1m] smoothed"), "1:1: parse error: smoothed modifier is experimental and not enabled");
    assert_eq!(refusal("a[1m] anchored"), "1:1: parse error: anchored modifier is experimental and not enabled");
    for (query, column) in [("a[1m+1s]", 3), ("a offset (5m)", 11), ("a[5m:(1m)]", 7)] {
        assert_eq!(refusal(query), format!("1:{column}: parse error: experimental duration expression is not enabled"), "{query}");
    }
    assert_eq!(functions::FUNCTIONS.iter().filter(|f| f.experimental).count(), 17);
    assert!(functions::FUNCTIONS.is_sorted_by_key(|f| f.name) && functions::FUNCTIONS.len() == 90);
}

/// Runs on a stack far smaller than that of a server's threads.
#[allow(clippy::disallowed_methods, reason = "a stack is a thread's")]
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
        deep_durations_are_refused();
        let long = parse(&" ".repeat(QUERY_BYTES_MAX + 1)).unwrap_err().to_string();
        assert_eq!(long, "1:1: parse error: query is longer than 16384 bytes");
    });
}

fn deep_durations_are_refused() {
    for (open, close) in [("(", ")"), ("-", ""), ("min_of(1,", ")"), ("2^", ""), ("1-(", ")")] {
        let nested = |n: usize| parse_with(&format!("a[{}1{}]", open.repeat(n), close.repeat(n)), ALL);
        let deepest = nested(if open == "1-(" { 90 } else { 190 }).unwrap();
        assert!(deepest.clone() == deepest && !deepest.to_string().is_empty(), "{open}");
        assert!(nested(1000).is_err(), "{open}");
    }
    let chained = |n: usize| parse_with(&format!("a offset ({}1)", "1+".repeat(n)), ALL);
    assert!(chained(200).is_ok());
    assert_eq!(chained(201).unwrap_err().to_string(), "1:412: parse error: duration expression has more than 200 operators");
    let both = format!("a[{}1{}]", "(".repeat(150), "+1+1+1+1)".repeat(150));
    assert!(parse_with(&both, ALL).unwrap_err().to_string().ends_with("duration expression has more than 200 operators"));
}

#[test]
fn duration_expressions_are_read_and_refused_where_they_stand() {
    for (query, canonical) in [
        ("a offset --5 + 2", "a offset (5 + 2)"),
        ("a offset -+1^1", "a offset (-1 ^ 1)"),
        ("a offset +-min_of(1, 2)", "a offset -min_of(1, 2)"),
        ("a offset --step()", "a offset --step()"),
        ("a offset -(5)*2", "a offset -(5) * 2"),
        ("a offset (5) * 2", "a offset (5) * 2"),
        ("a[step():step()*2]", "a[step():step() * 2]"),
        ("a[1h:] offset (-step())", "a[1h:] offset (-step())"),
        ("a[1.5e3-2^3^0.5%7]", "a[1500 - 2 ^ 3 ^ 0.5 % 7]"),
        ("a[-1s^2*-3]", "a[-1s ^ 2 * -3]"),
    ] {
        assert_eq!(parse_with(query, ALL).unwrap().to_string(), canonical, "{query}");
    }
    let refusal = |query: &str| parse_with(query, ALL).unwrap_err().to_string();
    for (query, error) in [
        ("a[start()]", "1:3: parse error: unexpected character in duration expression: 's'"),
        ("a[(x", "1:4: parse error: unexpected character in duration expression: 'x'"),
        ("a[(", "1:4: parse error: unexpected end of input in duration expression"),
        ("a[.", "1:3: parse error: unexpected character in duration expression: '.'"),
        ("a[:1m]", "1:3: parse error: unexpected colon before duration in duration expression"),
        ("a[1m::1m]", "1:6: parse error: unexpected colon ':'"),
        ("a[1m+]", "1:6: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()"),
        ("a[1m:5m 3m]", "1:9: parse error: unexpected duration \"3m\" in subquery selector, expected \"]\""),
        ("a[1m:)]", "1:7: parse error: unexpected right parenthesis ')'"),
        ("a[1m < 2m]", "1:6: parse error: unexpected <op:<> in subquery or range, expected \":\" or \"]\""),
        ("a offset min_of(1)", "1:18: parse error: unexpected \")\" in offset, expected number, duration, step(), or range()"),
        ("a offset (1m) + b", "1:17: parse error: unexpected identifier \"b\" in offset, expected number, duration, step(), or range()"),
        ("a offset step() offset 1m", "1:1: parse error: offset may not be set multiple times"),
    ] {
        assert_eq!(refusal(query), error, "{query}");
    }
}

#[test]
fn extended_selectors_and_fill_modifiers_are_checked() {
    let refusal = |query: &str| parse_with(query, ALL).unwrap_err().to_string();
    for (query, error) in [
        ("a anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
        ("a[1h:1m] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"),
        ("sum(a) anchored", "1:1: parse error: anchored modifier not implemented"),
        ("a + fill(1) 1", "1:1: parse error: filling in missing series only allowed between instant vectors"),
        ("a and fill(1) b", "1:1: parse error: filling in missing series not allowed for set operators"),
        ("a + fill(b) c", "1:10: parse error: unexpected identifier \"b\""),
        ("a + fill_left(1) fill(2) c", "1:18: parse error: unexpected <fill>"),
        ("a </ bool b", "1:3: parse error: bool modifier can only be used on comparison operators"),
    ] {
        assert_eq!(refusal(query), error, "{query}");
    }
    for (query, canonical) in [
        ("a anchored anchored", "a anchored"),
        ("a anchored [5m] offset 1m", "a[5m] anchored offset 1m"),
        ("a+fill_right(-1.5e9)fill_left(0x1f)b", "a + fill_left (31) fill_right (-1.5e+09) b"),
        ("a - on() fill(1m) b", "a - on () fill (60) b"),
        ("a >/ b </ c == d", "a >/ b </ c == d"),
    ] {
        assert_eq!(parse_with(query, ALL).unwrap().to_string(), canonical, "{query}");
    }
}

#[test]
fn long_chains_format_in_bounded_space() {
    on_small_stack(|| {
        let query = format!("a{}", " + a".repeat((QUERY_BYTES_MAX - 1) / 4));
        let expr = parse(&query).unwrap();
        assert_eq!(crate::format(&expr), query, "what would grow too long is not split");
        let shorter = parse(&format!("a{}", " + a".repeat(500))).unwrap();
        let formatted = crate::format(&shorter);
        assert!(formatted.lines().count() > 500 && formatted.len() < 1 << 20);
        assert_eq!(parse(&formatted.replace("  ", "")).unwrap().to_string(), shorter.to_string());
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
            "group_left", "or", "é", "#", "\n", "start", "\\", "bool", "x", "_", "step()", "range", "min_of", "max_of(", "anchored", "smoothed", "fill(",
            "fill_right", "</", ">/", "==", "5y", "0x", "1e", "9e99", "rate(", "a[", "offset (", "nan"]), 0..20)) {
        for text in [text, words.concat(), words.join(" ")] {
            if let Ok(expr) = parse_with(&text, ALL) {
                let printed = expr.to_string();
                let again = parse_with(&printed, ALL).map(|expr| expr.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&printed), "{}", text);
                let formatted = parse_with(&crate::format(&expr), ALL).map(|expr| expr.to_string());
                prop_assert_eq!(formatted.as_ref(), Ok(&printed), "{}", text);
            }
            let _ = parse(&text);
            let _ = parse_selector(&text);
            let _ = series_description(&text);
        }
    }
}
