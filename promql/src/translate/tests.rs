use super::*;
use crate::parse::{Options, parse_with};
use serde_json::{Value, json};

/// Enough for texts without control characters.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::to_string(text).unwrap().as_bytes());
}

fn text(query: &str) -> String {
    let expr = parse_with(query, Options::ALL).unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut out = Vec::new();
    translate(&mut out, &expr, write_string);
    String::from_utf8(out).unwrap()
}

fn tree(query: &str) -> Value {
    serde_json::from_str(&text(query)).unwrap()
}

fn number(value: &str) -> Value {
    json!({"type": "numberLiteral", "val": value})
}

fn vector(name: &str) -> Value {
    json!({
        "type": "vectorSelector", "name": name, "offset": 0, "timestamp": null, "startOrEnd": null, "anchored": false, "smoothed": false,
        "matchers": [{"name": "__name__", "type": "=", "value": name}]
    })
}

#[test]
fn members_stand_in_alphabetical_order() {
    assert_eq!(
        text("rate(up{job!~\"a|b\"}[5m] offset -1s @ start())"),
        "{\"args\":[{\"anchored\":false,\"matchers\":[{\"name\":\"job\",\"type\":\"!~\",\"value\":\"a|b\"},\
         {\"name\":\"__name__\",\"type\":\"=\",\"value\":\"up\"}],\"name\":\"up\",\"offset\":-1000,\"range\":300000,\"smoothed\":false,\
         \"startOrEnd\":\"start\",\"timestamp\":null,\"type\":\"matrixSelector\"}],\
         \"func\":{\"argTypes\":[\"matrix\"],\"name\":\"rate\",\"returnType\":\"vector\",\"variadic\":0},\"type\":\"call\"}"
    );
    assert_eq!(
        text("1 + -a"),
        "{\"bool\":false,\"lhs\":{\"type\":\"numberLiteral\",\"val\":\"1\"},\"matching\":null,\"op\":\"+\",\"rhs\":{\"expr\":\
         {\"anchored\":false,\"matchers\":[{\"name\":\"__name__\",\"type\":\"=\",\"value\":\"a\"}],\"name\":\"a\",\"offset\":0,\
         \"smoothed\":false,\"startOrEnd\":null,\"timestamp\":null,\"type\":\"vectorSelector\"},\"op\":\"-\",\"type\":\"unaryExpr\"},\
         \"type\":\"binaryExpr\"}"
    );
}

#[test]
fn literals_and_parentheses_are_translated() {
    assert_eq!(tree("(1e30)"), json!({"type": "parenExpr", "expr": number("1000000000000000000000000000000")}));
    assert_eq!(tree("5m"), number("300"));
    assert_eq!(tree("-Inf"), number("-Inf"));
    assert_eq!(tree("'a\\xff\"'"), json!({"type": "stringLiteral", "val": "a\u{fffd}\""}));
    assert_eq!(tree("+a"), json!({"type": "unaryExpr", "op": "+", "expr": vector("a")}));
}

#[test]
fn selectors_keep_their_modifiers() {
    let mut wanted = vector("a");
    wanted["timestamp"] = json!(1500);
    wanted["smoothed"] = json!(true);
    assert_eq!(tree("a @ 1.5 smoothed"), wanted);
    let mut wanted = vector("a");
    wanted["startOrEnd"] = json!("end");
    wanted["anchored"] = json!(true);
    wanted["range"] = json!(60_000);
    wanted["type"] = json!("matrixSelector");
    assert_eq!(tree("a[1m] @ end() anchored"), wanted);
    let subquery = |step: i64| {
        json!({
            "type": "subquery", "expr": vector("a"), "range": 3_600_000, "step": step, "offset": 5000, "timestamp": 7000, "startOrEnd": null
        })
    };
    assert_eq!(tree("a[1h:1m] offset 5s @ 7"), subquery(60_000));
    assert_eq!(tree("a[1h:] offset 5s @ 7"), subquery(0));
}

#[test]
fn operations_tell_how_vectors_are_matched() {
    let operation = |op: &str, matching: Value| json!({"type": "binaryExpr", "op": op, "bool": op == "==", "lhs": vector("a"), "rhs": vector("b"), "matching": matching});
    let matching = |card: &str, on: bool, labels: &[&str], include: &[&str], fill: [Value; 2]| json!({"card": card, "on": on, "labels": labels, "include": include, "fillValues": {"lhs": fill[0], "rhs": fill[1]}});
    let none = || [Value::Null, Value::Null];
    assert_eq!(tree("a == bool b"), operation("==", matching("one-to-one", false, &[], &[], none())));
    assert_eq!(tree("a and on(x) b"), operation("and", matching("many-to-many", true, &["x"], &[], none())));
    assert_eq!(
        tree("a * ignoring(x) group_left(y, z) fill_right(-1.5) b"),
        operation("*", matching("many-to-one", false, &["x"], &["y", "z"], [Value::Null, json!(-1.5)]))
    );
    assert_eq!(
        tree("a </ on(x) group_right fill(NaN) b"),
        operation("</", matching("one-to-many", true, &["x"], &[], [json!("NaN"), json!("NaN")]))
    );
    let sum = tree("a + a + a");
    assert_eq!((&sum["rhs"], &sum["lhs"]["lhs"], &sum["lhs"]["rhs"]), (&vector("a"), &vector("a"), &vector("a")));
}

#[test]
fn aggregations_and_calls_are_translated() {
    assert_eq!(
        tree("topk without (x) (3, a)"),
        json!({"type": "aggregation", "op": "topk", "expr": vector("a"), "param": number("3"), "grouping": ["x"], "without": true})
    );
    assert_eq!(
        tree("sum(a)"),
        json!({"type": "aggregation", "op": "sum", "expr": vector("a"), "param": null, "grouping": [], "without": false})
    );
    assert_eq!(
        tree("time()"),
        json!({"type": "call", "args": [], "func": {"name": "time", "argTypes": [], "variadic": 0, "returnType": "scalar"}})
    );
    assert_eq!(tree("label_join(a, 'b', 'c')")["func"]["variadic"], json!(-1));
}

#[test]
fn duration_expressions_are_members_of_their_own() {
    let node = |op: &str, lhs: Value, rhs: Value, wrapped: bool| json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": wrapped});
    let literal = |val: &str, duration: bool| json!({"type": "numberLiteral", "val": val, "duration": duration});
    let step = || node("step", Value::Null, Value::Null, false);
    let matrix = tree("foo[max_of(step(),5m+3m)] offset (10m/2)");
    assert_eq!((&matrix["range"], &matrix["offset"]), (&json!(0), &json!(0)));
    assert_eq!(matrix["rangeExpr"], node("max_of", step(), node("+", literal("300", true), literal("180", true), false), false));
    assert_eq!(matrix["offsetExpr"], node("/", literal("600", true), literal("2", false), true));
    let subquery = tree("foo[range():1s*2] offset -step()");
    assert_eq!(subquery["rangeExpr"], node("range", Value::Null, Value::Null, false));
    assert_eq!(subquery["stepExpr"], node("*", literal("1", true), literal("2", false), false));
    assert_eq!(subquery["offsetExpr"], node("-", Value::Null, step(), false));
    assert_eq!(tree("foo offset (5)")["offsetExpr"], node("+", Value::Null, literal("5", false), true));
}
