use super::*;
use axum::http::StatusCode;

fn query(text: &str) -> Params {
    Params::new(text, None).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.error_type.status(), StatusCode::BAD_REQUEST);
    error.message
}

#[test]
fn the_body_wins_and_repeated_names_add_up() {
    let params = Params::new("query=url&match[]=c&time=4", Some(b"query=body+1%2B1&match%5B%5D=a&match[]=b&&flag")).unwrap();
    assert_eq!((params.get("query"), params.get("time"), params.get("flag"), params.get("none")), ("body 1+1", "4", "", ""));
    assert_eq!(params.required_matches().unwrap(), ["a", "b", "c"]);
}

#[test]
fn forms_that_go_refuses_are_refused() {
    assert_eq!(refused(Params::new("a=%zz", None)), r#"error parsing form values: invalid URL escape "%zz""#);
    assert_eq!(refused(Params::new("a=%2", None)), r#"error parsing form values: invalid URL escape "%2""#);
    assert_eq!(refused(Params::new("", Some(b"a=1;b=2"))), "error parsing form values: invalid semicolon separator in query");
    assert!(Params::new(&"a&".repeat(PARAMETERS_MAX), None).is_ok());
    assert!(refused(Params::new(&"a&".repeat(PARAMETERS_MAX + 1), None)).contains("exceeded limit"));
    assert_eq!(query("a=%ff%C3%A9").get("a"), "\u{fffd}é");
}

#[test]
fn times_take_both_forms_and_refuse_in_prometheuss_words() {
    assert_eq!(query("time=1.0506").time_or("time", 7), Ok(1051));
    assert_eq!(query("time=1970-01-01T00:00:04Z").time_or("time", 7), Ok(4000));
    assert_eq!(query("time=").time_or("time", 7), Ok(7));
    // Grafana asks for exemplars with milliseconds in place of seconds: a far year, no error.
    assert_eq!(query("start=1700000000000").time("start"), Ok(1_700_000_000_000_000));
    assert_eq!(
        refused(query("time=x").time_or("time", 7)),
        r#"invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp"#
    );
    assert_eq!(refused(query("").time("start")), r#"invalid parameter "start": cannot parse "" to a valid timestamp"#);
    assert_eq!(query("").interval(), Ok((TIME_MIN, TIME_MAX)));
}

#[test]
fn limits_follow_atoi() {
    assert_eq!(query("").limit("limit"), Ok(None));
    assert_eq!(query("limit=0").limit("limit"), Ok(None));
    assert_eq!(query("limit=%2B12").limit("limit"), Ok(Some(12)));
    assert_eq!(refused(query("limit=-1").limit("limit")), r#"invalid parameter "limit": limit must be non-negative"#);
    for text in ["ten", "1.0", "-", "1 "] {
        let expected = format!(r#"invalid parameter "limit": strconv.Atoi: parsing "{text}": invalid syntax"#);
        assert_eq!(refused(query(&format!("limit={text}")).limit("limit")), expected);
    }
    assert_eq!(
        refused(query("limit=9223372036854775808").limit("limit")),
        r#"invalid parameter "limit": strconv.Atoi: parsing "9223372036854775808": value out of range"#
    );
}

#[test]
fn timeouts_are_capped_and_those_of_adapters_ignored() {
    let max = Duration::from_secs(120);
    for (text, expected) in [("", 120), ("timeout=5", 5), ("timeout=1m30s", 90), ("timeout=1h", 120), ("timeout=", 120)] {
        assert_eq!(query(text).timeout(max), Ok(Duration::from_secs(expected)), "{text}");
    }
    for text in ["timeout=0", "timeout=-30", "timeout=-29.9s"] {
        assert_eq!(query(text).timeout(max), Ok(max), "{text}");
    }
    assert_eq!(refused(query("timeout=soon").timeout(max)), r#"invalid parameter "timeout": cannot parse "soon" to a valid duration"#);
    assert_eq!(query("lookback_delta=5m").lookback_delta_ms(), Ok(Some(300_000)));
    assert_eq!(
        refused(query("lookback_delta=x").lookback_delta_ms()),
        r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#
    );
}

#[test]
fn ranges_are_judged_in_prometheuss_order() {
    assert_eq!(query("start=0&end=11000&step=1").range(), Ok(Range { start_ms: 0, end_ms: 11_000_000, step_ms: 1000 }));
    let too_many = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)";
    let step = r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#;
    let cases = [
        ("start=0&end=11001&step=1", too_many),
        ("start=0&end=1e15&step=1s", too_many),
        ("start=-9e15&end=9e15&step=1s", too_many),
        ("start=x&end=y&step=z", r#"invalid parameter "start": cannot parse "x" to a valid timestamp"#),
        ("start=2&end=y&step=z", r#"invalid parameter "end": cannot parse "y" to a valid timestamp"#),
        ("start=2&end=1&step=z", r#"invalid parameter "end": end timestamp must not be before start time"#),
        ("start=1&end=2&step=z", r#"invalid parameter "step": cannot parse "z" to a valid duration"#),
        ("start=1&end=2", r#"invalid parameter "step": cannot parse "" to a valid duration"#),
        ("start=1&end=2&step=0", step),
        ("start=1&end=2&step=-1", step),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(query(text).range()), expected, "{text}");
    }
}

#[test]
fn series_need_a_match() {
    assert_eq!(refused(query("match=up").required_matches()), "no match[] parameter provided");
}
