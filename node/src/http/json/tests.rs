use super::*;
use model::histogram::Span;
use std::sync::Arc;

fn string(text: &str) -> String {
    let mut out = Vec::new();
    write_string(&mut out, text);
    String::from_utf8(out).unwrap()
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).unwrap()
}

#[test]
fn strings_are_escaped_as_gos_standard_library_does() {
    let cases = [
        ("", r#""""#),
        ("plain", r#""plain""#),
        ("a\"b\\c", r#""a\"b\\c""#),
        ("\n\r\t\u{8}\u{c}", r#""\n\r\t\b\f""#),
        ("\0\u{1f}\u{7f}", "\"\\u0000\\u001f\u{7f}\""),
        ("<a & b>", r#""\u003ca \u0026 b\u003e""#),
        ("\u{2028}x\u{2029}", r#""\u2028x\u2029""#),
        ("é\u{2027}😀", "\"é\u{2027}😀\""),
    ];
    for (given, expected) in cases {
        assert_eq!(string(given), expected);
        assert_eq!(serde_json::from_str::<String>(expected).unwrap(), given);
    }
}

#[test]
fn timestamps_carry_three_digits_only_if_there_is_a_fraction() {
    let cases = [
        (0, "0"),
        (1, "0.001"),
        (1050, "1.050"),
        (1_435_781_430_781, "1435781430.781"),
        (4000, "4"),
        (-1, "-0.001"),
        (-1500, "-1.500"),
        (i64::MAX, "9223372036854775.807"),
        (i64::MIN, "-9223372036854775.808"),
    ];
    for (ms, expected) in cases {
        let mut out = Vec::new();
        write_timestamp(&mut out, ms);
        assert_eq!(text(out), expected);
    }
}

#[test]
fn query_answers_have_prometheuss_bytes() {
    let up = Labels::from_pairs([("__name__", "up"), ("job", "a<b")]);
    let none = Annotations::default();

    let mut answer = Success::begin_query(ResultType::Vector);
    answer.vector_item(&up, 1_435_781_451_781, 1.0);
    answer.vector_item(&Labels::empty(), 1_000, f64::NAN);
    assert_eq!(
        text(answer.finish_query(ResultType::Vector, &[], none)),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a\u003cb"},"value":[1435781451.781,"1"]},{"metric":{},"value":[1,"NaN"]}]}}"#
    );

    let mut answer = Success::begin_query(ResultType::Matrix);
    answer.matrix_series(&up, [(0, f64::INFINITY), (15_500, -1e-7), (30_000, 1e21)].iter(), [].iter());
    assert_eq!(
        text(answer.finish_query(ResultType::Matrix, &[("stats", b"{}".to_vec())], none)),
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a\u003cb"},"values":[[0,"+Inf"],[15.500,"-1e-07"],[30,"1e+21"]]}],"stats":{}}}"#
    );
    let empty = Success::begin_query(ResultType::Matrix).finish_query(ResultType::Matrix, &[], none);
    assert_eq!(text(empty), r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#);

    let mut answer = Success::begin_query(ResultType::Scalar);
    answer.scalar(4_000, 2.0);
    assert_eq!(
        text(answer.finish_query(ResultType::Scalar, &[], none)),
        r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#
    );
    let mut answer = Success::begin_query(ResultType::String);
    answer.text(4_000, "a\"b");
    assert_eq!(
        text(answer.finish_query(ResultType::String, &[], none)),
        r#"{"status":"success","data":{"resultType":"string","result":[4,"a\"b"]}}"#
    );
}

#[test]
fn lists_are_never_null_and_annotations_are_left_out_when_empty_and_cut_after_ten_and_their_count() {
    assert_eq!(text(strings_body([], Annotations::default())), r#"{"status":"success","data":[]}"#);
    let warnings: Vec<String> = (0..12).map(|i| format!("w{i}")).collect();
    let body = text(strings_body(["a", "b"], Annotations { warnings: &warnings, infos: &["i".to_owned()] }));
    assert_eq!(
        body,
        r#"{"status":"success","data":["a","b"],"warnings":["w0","w1","w2","w3","w4","w5","w6","w7","w8","w9","w10"],"infos":["i"]}"#
    );
    let series = [Labels::from_pairs([("__name__", "up")]), Labels::empty()];
    assert_eq!(text(series_body(&series, Annotations::default())), r#"{"status":"success","data":[{"__name__":"up"},{}]}"#);
}

#[test]
fn native_histograms_show_their_buckets_that_count_something() {
    let histogram = FloatHistogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 12.0,
        sum: 18.4,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![1.0, 0.0],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_buckets: vec![9.0],
        ..FloatHistogram::default()
    };
    let buckets = r#"[[1,"-1","-0.5","9"],[3,"-0.001","0.001","2"],[0,"0.5","1","1"]]"#;
    let shown = format!(r#"{{"count":"12","sum":"18.4","buckets":{buckets}}}"#);
    let mut answer = Success::begin_query(ResultType::Matrix);
    answer.matrix_series(&Labels::empty(), [].iter(), [(1_500, Arc::new(histogram))].iter());
    let body = text(answer.finish_query(ResultType::Matrix, &[], Annotations::default()));
    let expected =
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{}},"histograms":[[1.500,{shown}]]}}]}}}}"#);
    assert_eq!(body, expected);
    let mut answer = Success::begin_query(ResultType::Vector);
    answer.vector_histogram(&Labels::empty(), 0, &FloatHistogram::default());
    let body = text(answer.finish_query(ResultType::Vector, &[], Annotations::default()));
    assert!(body.contains(r#""result":[{"metric":{},"histogram":[0,{"count":"0","sum":"0"}]}]"#), "{body}");
}

#[test]
fn errors_name_their_type() {
    assert_eq!(text(error_body(ErrorType::BadData, "a \"b\"")), r#"{"status":"error","errorType":"bad_data","error":"a \"b\""}"#);
    assert_eq!(text(error_body(ErrorType::Internal, "")), r#"{"status":"error","errorType":"internal"}"#);
}
