//! Histograms, starts, exemplars and metadata out of both versions, down to the rows of the shards.

use super::wire::*;
use crate::ingest::admit::AdmitLimits;
use crate::ingest::decode::{BUCKETS_MAX, DecodeError, Version};
use crate::ingest::split::{SplitRequest, SplitRules, Splitter};
use model::{Generation, GenerationList, ShardId};
use proptest::prelude::*;
use prost::Message;
use proto::prometheus::{Exemplar, Label, MetricMetadata};
use tsdb::metadata::{FamilyMetadata, MetricKind};
use tsdb::record::{Item, Record, Value};
use tsdb::rows::{Rows, labels_of};

const NOW_MS: i64 = 1_790_000_000_000;

fn split(version: Version, body: &[u8]) -> Result<SplitRequest, DecodeError> {
    let generation = Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![ShardId(7)] };
    let generations = GenerationList::new(vec![generation]).unwrap();
    let rules = SplitRules { admit: &AdmitLimits::new(1), generations: &generations, hash_key: 1, known: None };
    Splitter::default().split_decoded(version, body, &rules)
}

fn split_2(symbols: &[&str], timeseries: Vec<Series2>) -> SplitRequest {
    let symbols = symbols.iter().map(|s| (*s).to_owned()).collect();
    split(Version::V2, &Request2 { symbols, timeseries }.encode_to_vec()).unwrap()
}

/// Every series with its floats and records, as text.
fn rows_of(request: &SplitRequest) -> Vec<String> {
    let mut found = Vec::new();
    for part in &request.parts {
        for row in Rows::new(&part.rows).map(Result::unwrap) {
            let mut text = labels_of(row.labels).unwrap().to_string();
            row.samples().for_each(|s| text += &format!(" {}@{}", s.value, s.timestamp_ms - NOW_MS));
            row.records(|item, _| match item {
                Item::Sample(Record { timestamp_ms, start_ms, value }) => {
                    let value = match value {
                        Value::Float(value) => value.to_string(),
                        Value::Histogram(h) => h.to_string(),
                    };
                    text += &format!(" {value}@{}", timestamp_ms - NOW_MS);
                    if start_ms != 0 {
                        text += &format!("<{}", start_ms - NOW_MS);
                    }
                }
                Item::Exemplar(exemplar) => {
                    text += &format!(" #{}{}@{}", exemplar.value, labels_of(exemplar.labels).unwrap(), exemplar.timestamp_ms - NOW_MS);
                }
            })
            .unwrap();
            found.push(text);
        }
    }
    found
}

fn families(request: &SplitRequest) -> Vec<(String, MetricKind, String, String)> {
    let mut found = Vec::new();
    for part in &request.parts {
        let mut rows = Rows::new(&part.rows);
        assert!(rows.by_ref().all(|row| row.is_ok()));
        let own = |FamilyMetadata { family, kind, help, unit }| (String::from(family), kind, String::from(help), String::from(unit));
        found.extend(rows.into_metadata().into_iter().map(own));
    }
    found
}

const H4: &str = "{count:17, sum:18.5, [-0.001,0.001]:4, (0.7071067811865475,1]:4, (1,1.414213562373095]:5, (2,2.82842712474619]:4}";

#[test]
fn version_1_brings_histograms_exemplars_and_metadata() {
    let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
    let exemplar = |value, ts| Exemplar { labels: vec![label("trace_id", "x")], value, timestamp: NOW_MS + ts };
    let both = Series1 {
        labels: vec![label("__name__", "h")],
        samples: vec![Sample { value: 1.5, timestamp: NOW_MS - 9, start_timestamp: 0 }],
        exemplars: vec![exemplar(0.5, -1), exemplar(0.7, 0)],
        histograms: vec![whole_histogram(NOW_MS, 4)],
    };
    let bare = Series1 { labels: vec![label("__name__", "e")], exemplars: vec![exemplar(1.0, 0)], ..Series1::default() };
    let metadata = |family: &str, help: &str| MetricMetadata {
        r#type: 3,
        metric_family_name: family.into(),
        help: help.into(),
        unit: "seconds".into(),
    };
    let request =
        Request1 { timeseries: vec![both, bare], metadata: vec![metadata("h", "old"), metadata("", "no name"), metadata("h", "new")] };
    let request = split(Version::V1, &request.encode_to_vec()).unwrap();
    assert!(request.rejected.is_empty());
    assert_eq!((request.samples, request.metadata), (2, 1));
    assert_eq!(rows_of(&request), [format!("{{__name__=\"h\"}} 1.5@-9 {H4}@0 #0.5{{trace_id=\"x\"}}@-1 #0.7{{trace_id=\"x\"}}@0")]);
    assert_eq!(families(&request), [("h".to_owned(), MetricKind::Histogram, "new".to_owned(), "seconds".to_owned())]);
}

#[test]
fn version_2_brings_everything_through_its_symbols() {
    let symbols = ["", "__name__", "requests_total", "job", "a", "trace_id", "x", "How many.", "s", "latency_bucket"];
    let counter = Series2 {
        labels_refs: vec![1, 2, 3, 4],
        samples: vec![
            Sample { value: 1.0, timestamp: NOW_MS - 2, start_timestamp: NOW_MS - 50 },
            Sample { value: 2.0, timestamp: NOW_MS - 1, start_timestamp: 0 },
        ],
        exemplars: vec![Exemplar2 { labels_refs: vec![5, 6], value: 3.0, timestamp: NOW_MS }],
        metadata: Some(Metadata2 { r#type: 1, help_ref: 7, unit_ref: 0 }),
        ..Series2::default()
    };
    let histogram = Histogram { start_timestamp: NOW_MS - 7, ..whole_histogram(NOW_MS, 4) };
    let histograms = Series2 {
        labels_refs: vec![1, 9],
        histograms: vec![whole_histogram(NOW_MS - 5, 4), histogram],
        metadata: Some(Metadata2 { r#type: 3, help_ref: 7, unit_ref: 8 }),
        created_timestamp: NOW_MS - 60,
        ..Series2::default()
    };
    let plain = Series2 {
        labels_refs: vec![1, 4],
        samples: vec![Sample { value: 5.0, timestamp: NOW_MS, start_timestamp: 0 }],
        ..Series2::default()
    };
    let request = split_2(&symbols, vec![counter, histograms, plain]);
    assert!(request.rejected.is_empty(), "{}", request.rejected.body());
    assert_eq!((request.samples, request.series), (5, 3));
    assert_eq!(
        rows_of(&request),
        [
            "{__name__=\"requests_total\", job=\"a\"} 1@-2<-50 2@-1 #3{trace_id=\"x\"}@0".to_owned(),
            format!("{{__name__=\"latency_bucket\"}} {H4}@-5<-60 {H4}@0<-7"),
            "{__name__=\"a\"} 5@0".to_owned(),
        ]
    );
    let known = |family: &str, kind, unit: &str| (family.to_owned(), kind, "How many.".to_owned(), unit.to_owned());
    assert_eq!(families(&request), [known("latency", MetricKind::Histogram, "s"), known("requests_total", MetricKind::Counter, "")]);
}

#[test]
fn what_version_2_does_not_allow_is_refused_series_by_series() {
    let symbols = ["", "__name__", "up", "a"];
    let sample = Sample { value: 1.0, timestamp: NOW_MS, start_timestamp: 0 };
    let with = |labels_refs: &[u32]| Series2 { labels_refs: labels_refs.to_vec(), samples: vec![sample], ..Series2::default() };
    let cases = [
        (with(&[1, 2, 3]), "parsing labels for series: invalid labelRefs length 3"),
        (with(&[1, 9]), "parsing labels for series: labelRefs 1 = 9 outside of symbols table (size 4)"),
        (with(&[3, 3]), "invalid metric name or labels, got {a=\"a\"}"),
        (with(&[1, 2, 3, 3, 3, 2]), "invalid labels for series, labels {__name__=\"up\", a=\"a\", a=\"up\"}, duplicated label a"),
        (
            Series2 { labels_refs: vec![1, 2], ..Series2::default() },
            "TimeSeries must contain at least one sample or histogram for series {__name__=\"up\"}",
        ),
        (
            Series2 { histograms: vec![whole_histogram(NOW_MS, 1)], ..with(&[1, 2]) },
            "TimeSeries must contain either samples or histograms but not both for series {__name__=\"up\"}",
        ),
        (
            Series2 { metadata: Some(Metadata2 { r#type: 1, help_ref: 4, unit_ref: 0 }), ..with(&[1, 2]) },
            "parsing labels for series: labelRefs 0 = 4 outside of symbols table (size 4)",
        ),
    ];
    for (bad, text) in cases {
        let request = split_2(&symbols, vec![bad, with(&[1, 3])]);
        assert_eq!(request.rejected.body(), text);
        assert_eq!(rows_of(&request), ["{__name__=\"a\"} 1@0"], "the others go on: {text}");
    }
    let first = Request2 { symbols: vec!["x".into()], timeseries: vec![] }.encode_to_vec();
    assert_eq!(split(Version::V2, &first).unwrap_err(), DecodeError::FirstSymbol);
    let many = [0x22, 0x00].repeat((1 << 20) + 1);
    assert!(matches!(split(Version::V2, &many), Err(DecodeError::TooManySymbols { .. })));
}

#[test]
fn a_bad_histogram_is_refused_alone_in_prometheus_words() {
    let bad = |change: &dyn Fn(&mut Histogram)| {
        let mut h = whole_histogram(NOW_MS - 1, 4);
        change(&mut h);
        h
    };
    let fine = "{__name__=\"up\"} ".to_owned() + H4 + "@0";
    for (histogram, text) in [
        (
            bad(&|h| h.count = Some(Count::Int(18))),
            "17 observations found in buckets, but the Count field is 18: histogram's observation count should equal the number of observations found in the buckets (in absence of NaN) for series {__name__=\"up\"}",
        ),
        (
            bad(&|h| (h.sum, h.count) = (f64::NAN, Some(Count::Int(16)))),
            "17 observations found in buckets, but the Count field is 16: histogram's observation count should be at least the number of observations found in the buckets for series {__name__=\"up\"}",
        ),
        (
            bad(&|h| h.positive_deltas = vec![4, 1]),
            "positive side: spans need 3 buckets, have 2 buckets: histogram spans specify different number of buckets than provided for series {__name__=\"up\"}",
        ),
        (
            bad(&|h| h.positive_deltas = vec![4, -5, 1]),
            "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation count is negative for series {__name__=\"up\"}",
        ),
        (
            bad(&|h| h.schema = -5),
            "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema -5 for series {__name__=\"up\"}",
        ),
        (
            bad(&|h| h.positive_deltas = vec![1; 20_000]),
            "histogram has 16385 buckets, more than the limit of 16384 for series {__name__=\"up\"}",
        ),
    ] {
        let series = Series2 { labels_refs: vec![1, 2], histograms: vec![histogram, whole_histogram(NOW_MS, 4)], ..Series2::default() };
        let request = split_2(&["", "__name__", "up"], vec![series]);
        assert_eq!(request.rejected.body(), text);
        assert_eq!((request.rejected.samples(), request.discarded[0]), (1, ("histogram_invalid", 1)));
        assert_eq!(rows_of(&request), std::slice::from_ref(&fine), "{text}");
    }
}

#[test]
fn finer_histograms_are_made_coarser_and_float_ones_are_taken_as_they_are() {
    let float = Histogram {
        count: Some(Count::Float(3.5)),
        zero_count: Some(ZeroCount::Float(0.5)),
        sum: -1.0,
        schema: 10,
        zero_threshold: 0.5,
        positive_spans: vec![BucketSpan { offset: 1, length: 8 }],
        positive_counts: vec![0.25; 8],
        positive_deltas: vec![7; 8],
        reset_hint: 3,
        timestamp: NOW_MS,
        ..Histogram::default()
    };
    let custom = Histogram {
        count: Some(Count::Int(3)),
        schema: -53,
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, 1],
        custom_values: vec![1.5],
        timestamp: NOW_MS + 1,
        ..Histogram::default()
    };
    let series = Series2 { labels_refs: vec![1, 2], histograms: vec![float, custom], ..Series2::default() };
    let request = split_2(&["", "__name__", "up"], vec![series]);
    assert!(request.rejected.is_empty(), "{}", request.rejected.body());
    let rows = rows_of(&request);
    assert!(rows[0].contains("{count:3.5, sum:-1, [-0.5,0.5]:0.5, (1,1.0027"), "{rows:?}");
    assert!(rows[0].contains("{count:3, sum:0, [-Inf,1.5]:1, (1.5,+Inf]:2}@1"), "{rows:?}");
}

#[test]
fn one_request_of_large_histograms_comes_in_parts_that_fit_entries() {
    let wide = |timestamp| Histogram {
        count: Some(Count::Float(1.0)),
        schema: 8,
        positive_spans: vec![BucketSpan { offset: 0, length: BUCKETS_MAX as u32 }],
        positive_counts: (0..BUCKETS_MAX).map(|n| 0.1 + n as f64).collect(),
        timestamp,
        ..Histogram::default()
    };
    let names: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    let symbols: Vec<&str> = ["", "__name__"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let series = (2..42).map(|name| Series2 { labels_refs: vec![1, name], histograms: vec![wide(NOW_MS)], ..Series2::default() });
    let request = split_2(&symbols, series.collect());
    assert_eq!((request.samples, request.rejected.body()), (40, String::new()));
    assert!(request.parts.len() > 1);
    assert!(request.parts.iter().all(|part| part.rows.len() < model::limits::ENTRY_BYTES_MAX));
    assert_eq!(request.parts.iter().map(|part| part.row_count).sum::<u32>(), 40);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn mutated_bodies_of_version_2_never_panic(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let series = |n: u32| Series2 {
            labels_refs: vec![1, 2],
            histograms: vec![whole_histogram(NOW_MS, n)],
            exemplars: vec![Exemplar2 { labels_refs: vec![1, 2], value: 1.0, timestamp: NOW_MS }],
            metadata: Some(Metadata2 { r#type: 1, help_ref: 2, unit_ref: 0 }),
            ..Series2::default()
        };
        let symbols = ["", "__name__", "up"].map(str::to_owned).to_vec();
        let mut body = Request2 { symbols, timeseries: vec![series(1), series(2)] }.encode_to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(request) = split(Version::V2, &body) {
            rows_of(&request);
        }
        let cut = cut.index(body.len());
        let _ = split(Version::V2, &body[..cut]);
    }
}
