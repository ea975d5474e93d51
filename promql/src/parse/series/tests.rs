use super::*;
use proptest::prelude::*;

fn shown(text: &str) -> String {
    let series = series_description(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let show = |value: &SequenceValue| match value {
        SequenceValue::Omitted => "_".to_owned(),
        SequenceValue::Float(v) if sample::is_stale(*v) => "stale".to_owned(),
        SequenceValue::Float(v) => v.to_string(),
        SequenceValue::Histogram { histogram, has_hint } => format!("{:?}/{has_hint}", histogram.positive_buckets),
    };
    series.values.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn histogram(text: &str) -> FloatHistogram {
    let series = series_description(&format!("x {text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    let [SequenceValue::Histogram { histogram, .. }] = series.values.as_slice() else { panic!("{text}: {series:?}") };
    FloatHistogram::clone(histogram)
}

fn refusal(text: &str) -> String {
    series_description(text).map(|series| series.values.len()).expect_err(text).to_string()
}

#[test]
fn floats_gaps_and_stale_markers_expand() {
    let series = series_description("x{a=\"b c}\"} 1").unwrap();
    assert_eq!(series.labels.to_string(), "{__name__=\"x\", a=\"b c}\"}");
    assert_eq!(shown("x{a=\"b c}\"} 1+2x2 _ stale -1 3x1 _x2 2-.5x2 1e-3 NaN -Inf"), "1 3 5 _ stale -1 3 3 _ _ 2 1.5 1 0.001 NaN -inf");
    assert_eq!(shown("{\"a.b\", c='d'} 0x1"), "0 0");
    assert_eq!(shown("{} 1 -2e+1+1e1x2"), "1 -20 -10 0");
    assert_eq!(shown("x inf+1x1 1x0 1+1x0 _x0"), "inf inf 1 1");
    let bare = series_description("up").unwrap();
    assert_eq!((bare.labels, bare.values.len()), (Labels::from_pairs([("__name__", "up")]), 0));
}

#[test]
fn what_is_no_value_is_refused_where_it_stands() {
    for (text, error) in [
        ("x 1+2", "1:3: parse error: unexpected end of value in series values"),
        ("x 1y", "1:3: parse error: unexpected \"y\" in series values"),
        ("x 1 stalex5", "1:5: parse error: unexpected \"stalex5\" in series values"),
        ("x stales", "1:3: parse error: unexpected \"stales\" in series values"),
        ("x --1", "1:3: parse error: unexpected \"-1\" in series values"),
        ("x 1x", "1:3: parse error: invalid repetition in series values: \"\""),
        ("x _5", "1:3: parse error: unexpected \"5\" in series values"),
        ("x 0x1f", "1:3: parse error: unexpected \"f\" in series values"),
        ("x 1x99999999", "1:3: parse error: more than 1048576 values in one series"),
        ("x{a!=\"b\"} 1", "1:1: parse error: unexpected <op:!=> in label set, expected \"=\""),
        ("x{a=\"b\" 1", "1:9: parse error: unexpected character inside braces: '1'"),
    ] {
        assert_eq!(refusal(text), error, "{text}");
    }
}

#[test]
fn histograms_are_read_key_by_key() {
    let all = "{{schema:-1  sum:-0.3 count:3.1 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10  7 ] offset:-3 n_buckets:[4.1 Inf] n_offset:5 counter_reset_hint:gauge  }}";
    let h = histogram(all);
    assert_eq!((h.schema, h.sum, h.count, h.zero_count, h.zero_threshold), (-1, -0.3, 3.1, 7.1, 0.05));
    assert_eq!((h.positive_buckets, h.negative_buckets), (vec![5.1, 10.0, 7.0], vec![4.1, f64::INFINITY]));
    assert_eq!((h.positive_spans[0].offset, h.positive_spans[0].length), (-3, 3));
    assert_eq!((h.negative_spans[0].offset, h.negative_spans[0].length), (5, 2));
    assert_eq!(h.counter_reset_hint, model::histogram::CounterResetHint::Gauge);
    let custom = histogram("{{schema:-53 custom_values:[1 2.5] buckets:[1 1 1]}}");
    assert_eq!((custom.schema, &*custom.custom_values), (-53, &[1.0, 2.5][..]));
    for empty in ["{{}}", "{{ }}"] {
        assert_eq!(format!("{:?}", histogram(empty)), format!("{:?}", FloatHistogram::default()), "{empty}");
    }
    assert_eq!(shown("x {{buckets:[1]}}x2 {{counter_reset_hint:unknown}} 3"), "[1.0]/false [1.0]/false [1.0]/false []/true 3");
}

#[test]
fn histograms_grow_and_shrink() {
    assert_eq!(
        shown("x {{buckets:[5 10 7] schema:1}}+{{buckets:[1 2 3] schema:1}}x2 1"),
        "[5.0, 10.0, 7.0]/false [6.0, 12.0, 10.0]/false [7.0, 14.0, 13.0]/false 1"
    );
    assert_eq!(shown("x {{buckets:[5]}}-{{buckets:[1] counter_reset_hint:gauge}}x1"), "[5.0]/true [4.0]/true");
    assert_eq!(shown("x {{buckets:[5]}}+{{buckets:[1]}}x0"), "[5.0]/false");
    for (text, error) in [
        ("{{buckets:[1]}}+{{buckets:[1]}}", "unexpected end of value in series values"),
        ("{{schema:1}}+{{schema:0}}x2", "error combining histograms: cannot merge from schema 0 to 1"),
        ("{{schema:-53}}+{{schema:0}}x1", "cannot apply this operation on histograms with a mix of exponential and custom bucket schemas"),
        ("{{}}+{{}}x2000000", "more than 1048576 values in one series"),
        ("{{buckets:[1 2 3 4 5 6 7 8]}}+{{}}x1000000", "histograms of more than 67108864 bytes in one series"),
    ] {
        assert_eq!(refusal(&format!("x {text}")), format!("1:3: parse error: {error}"), "{text}");
    }
}

/// Every kind of line of the acceptance scripts: `load` lines, what `eval` lines expect, and start timestamps.
#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::disallowed_methods)]
fn every_series_of_the_acceptance_scripts_is_read() {
    let folder = std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts");
    let (mut series, mut histograms, mut start_times) = (0, 0, 0);
    for file in std::fs::read_dir(format!("{folder}/promqltest")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut block = "";
        for line in text.lines().map(str::trim) {
            let is_blank = line.is_empty() || line.starts_with('#');
            if is_blank || line.starts_with("load") || line.starts_with("eval") {
                block = if is_blank { "" } else { line };
                continue;
            }
            let is_expectation = line.starts_with("expect") || number::parse_number(line).is_ok();
            if block.is_empty() || is_expectation || line == "clear" {
                continue;
            }
            if let Some(read) = start_timestamps(line).unwrap_or_else(|error| panic!("{line}: {error}")) {
                start_times += usize::from(!read.offsets_ms.is_empty());
                continue;
            }
            let read = series_description(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(!read.values.is_empty(), "{line}");
            histograms += usize::from(read.values.iter().any(|v| matches!(v, SequenceValue::Histogram { .. })));
            series += 1;
        }
    }
    assert_eq!((series, histograms, start_times), (4118, 522, 37));
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>(), words in proptest::collection::vec(prop::sample::select(vec![
        "x", "{", "}", "{{", "}}", " ", "\"", "=", "_", "1", "2.5", "-", "+", "x3", "stale", "schema:1", "schema:-53", "buckets:[1 2]", "n_buckets:[3]",
        "offset:2147483647", "offset:-2147483648", "n_offset:-9", "custom_values:[1 2]", "z_bucket:1", "z_bucket_w:0.1", "sum:NaN", "count:4",
        "counter_reset_hint:reset", "@st", "5s", "é", "[", "]", ":", "x99999999999999999999"]), 0..24)) {
        for text in [text, words.concat(), words.join(" "), format!("x {}", words.concat()), format!("x {{{{{}}}}}x2", words[..words.len() / 2].join(" ")),
            format!("x {{{{{}}}}}+{{{{{}}}}}x3", words[..words.len() / 2].join(" "), words[words.len() / 2..].join(" "))] {
            let _ = series_description(&text);
            let _ = start_timestamps(&text);
        }
    }

    #[test]
    fn growth_of_any_histograms_does_not_panic(
        sides in proptest::collection::vec((-4..=9i32, any::<i32>(), 1..4usize, any::<i32>(), 0..3usize, 0..3u8), 2)
    ) {
        let text = |(schema, offset, n, n_offset, m, custom): (i32, i32, usize, i32, usize, u8)| {
            let buckets = |n: usize| vec!["1"; n].join(" ");
            let negative = if m > 0 { format!(" n_buckets:[{}] n_offset:{n_offset}", buckets(m)) } else { String::new() };
            let schema = if custom == 0 { "schema:-53 custom_values:[1 2]".to_owned() } else { format!("schema:{schema}") };
            format!("{{{{{schema} buckets:[{}] offset:{offset}{negative} z_bucket_w:0.5}}}}", buckets(n))
        };
        let (a, b) = (text(sides[0]), text(sides[1]));
        let _ = series_description(&format!("x {a}+{b}x3"));
        let _ = series_description(&format!("x {b}-{a}x3"));
    }
}

#[test]
fn what_is_no_histogram_is_refused() {
    const NO_KEY: &str = "in histogram description, expected histogram description key, e.g. buckets:[5 10 7]";
    for (text, error) in [
        ("{{schema:1 schema:1}}", "duplicate key \"schema\" in histogram".to_owned()),
        ("{{foo:1}}", "bad histogram descriptor found: \"foo\"".to_owned()),
        ("{{schema :1}}", "missing `:` for histogram descriptor".to_owned()),
        ("{{schema: 1}}", "invalid integer in histogram description: \"\"".to_owned()),
        ("{{buckets:[ 1]}}", "unexpected end of value in series values".to_owned()),
        ("{{ schema:1}}", format!("unexpected \"s\" {NO_KEY}")),
        ("{{schema:1", format!("unexpected end of input {NO_KEY}")),
        ("{{counter_reset_hint:foo}}", "bad histogram descriptor found: \"foo\"".to_owned()),
    ] {
        assert_eq!(refusal(&format!("x {text}")), format!("1:3: parse error: {error}"), "{text}");
    }
}

#[test]
fn start_timestamps_expand() {
    let read = |line: &str| start_timestamps(line).unwrap().map(|st| (st.labels.to_string(), st.offsets_ms));
    assert_eq!(
        read("  a{b=\"c\"}@st _ -30s 0-1mx2 _x2 1msx1 -0ms +1m"),
        Some((
            "{__name__=\"a\", b=\"c\"}".to_owned(),
            vec![None, Some(-30_000), Some(0), Some(-60_000), Some(-120_000), None, None, Some(1), Some(1), Some(0), Some(60_000)]
        ))
    );
    assert_eq!(read("a{b=\"c\"} 1 2"), None);
    assert_eq!(read(""), None);
    let error = start_timestamps("a@st _ 5x3").unwrap_err().to_string();
    assert_eq!(error, "1:8: parse error: unexpected \"5\" in start timestamps");
    assert!(start_timestamps("a@st 1sx99999999").is_err());
}
