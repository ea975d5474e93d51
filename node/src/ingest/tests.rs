//! Remote write bodies and heads, judged without a cluster: what goes in, which status and text come out.

mod full;
pub(crate) mod wire;

use crate::http::error::WriteError;
use crate::ingest::admit::AdmitLimits;
use crate::ingest::check_headers;
use crate::ingest::decode::BodyLimits;
use crate::ingest::split::{SplitRules, Splitter};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::IntoResponse;
use model::{Generation, GenerationList, ShardId};
use prost::Message;
use proto::prometheus::{Exemplar, Label, MetricMetadata, Sample, TimeSeries, WriteRequest};

const NOW_MS: i64 = 1_790_000_000_000;
const RETENTION_MS: i64 = 30 * 86_400_000;

/// The status and the body that the sender gets.
fn answer(headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    match judge(headers, body) {
        Ok(()) => (204, String::new()),
        Err(error) => (error.clone().into_response().status().as_u16(), error.to_string()),
    }
}

fn judge(headers: &[(&str, &str)], body: &[u8]) -> Result<(), WriteError> {
    let header = |(name, value): &(&str, &str)| (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    let version = check_headers(&headers.iter().map(header).collect::<HeaderMap>())?;
    let generation = Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![ShardId(7), ShardId(8)] };
    let generations = GenerationList::new(vec![generation]).unwrap();
    let rules = SplitRules { admit: &AdmitLimits::new(NOW_MS - RETENTION_MS), generations: &generations, hash_key: 1, known: None };
    let request = Splitter::default().split(version, body, &BodyLimits::default(), &rules)?;
    if request.rejected.is_empty() { Ok(()) } else { Err(WriteError::Rejected { text: request.rejected.body() }) }
}

fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).unwrap()
}

fn one(pairs: &[(&str, &str)], timestamp: i64, value: f64) -> TimeSeries {
    let labels = pairs.iter().map(|(n, v)| Label { name: (*n).into(), value: (*v).into() }).collect();
    TimeSeries { labels, samples: vec![Sample { value, timestamp }], exemplars: vec![] }
}

fn block(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    snappy(&WriteRequest { timeseries, metadata: vec![] }.encode_to_vec())
}

fn up() -> Vec<u8> {
    block(vec![one(&[("__name__", "up"), ("job", "node")], NOW_MS, 1.0)])
}

/// Name and value.
type Pair<'a> = (&'a str, &'a str);

const UP: [(&str, &str); 1] = [("__name__", "up")];

#[test]
fn heads_are_judged_as_prometheus_judges_them() {
    let (kind, encoding) = ("content-type", "content-encoding");
    let refused_type = |found: &str| (415, format!("expected application/x-protobuf as the first (media) part, got {found} content-type"));
    let refused_encoding =
        |found: &str| (415, format!("{found} encoding (compression) is not accepted by this server; only snappy is acceptable"));
    let ok = || (204, String::new());
    let table: [(&[Pair<'_>], (u16, String)); 16] = [
        (&[], ok()),
        (&[(kind, ""), (encoding, "")], ok()),
        (&[(kind, "application/x-protobuf"), (encoding, "snappy")], ok()),
        (&[(kind, "application/x-protobuf;proto=prometheus.WriteRequest")], ok()),
        (&[(kind, "application/x-protobuf; proto=prometheus.WriteRequest")], ok()),
        (&[("x-prometheus-remote-write-version", "7")], ok()),
        (&[(kind, "application/json")], refused_type("application/json")),
        (&[(kind, "image/png")], refused_type("image/png")),
        (&[(kind, "application/x-protobuffer")], refused_type("application/x-protobuffer")),
        // A body of version 1 has nothing that version 2 reads.
        (&[(kind, "application/x-protobuf;proto=io.prometheus.write.v2.Request")], ok()),
        (&[(encoding, "Snappy")], ok()),
        (
            &[(kind, "application/x-protobuf;proto=yolo")],
            (
                415,
                "got application/x-protobuf;proto=yolo content type; unknown type for remote write protobuf message yolo, \
                 supported: prometheus.WriteRequest, io.prometheus.write.v2.Request"
                    .into(),
            ),
        ),
        (
            &[(kind, "application/x-protobuf;a=b=c")],
            (
                415,
                "as per https://www.rfc-editor.org/rfc/rfc9110#parameter expected parameters to be key-values, \
                 got a=b=c in application/x-protobuf;a=b=c content-type"
                    .into(),
            ),
        ),
        (&[(encoding, "gzip")], refused_encoding("gzip")),
        (&[(encoding, "deflate")], refused_encoding("deflate")),
        (&[(encoding, "zstd")], refused_encoding("zstd")),
    ];
    for (headers, expected) in table {
        assert_eq!(answer(headers, &up()), expected, "{headers:?}");
    }
}

#[test]
fn broken_bodies_are_refused_as_a_whole() {
    let corrupt = || (400, "snappy: corrupt input".to_owned());
    let mut first_byte = up();
    first_byte[0] ^= 0x55;
    let valid = WriteRequest { timeseries: vec![one(&UP, NOW_MS, 1.0)], metadata: vec![] }.encode_to_vec();
    let with = |extra: &[u8]| snappy(&[&valid[..], extra].concat());
    let fault = |at: usize, text: &str| (400, format!("malformed remote write request at byte {}: {text}", valid.len() + at));
    let table: Vec<(&str, Vec<u8>, (u16, String))> = vec![
        ("empty body", vec![], corrupt()),
        ("plain protobuf", valid.clone(), corrupt()),
        ("first byte", first_byte, corrupt()),
        ("truncated snappy", up()[..up().len() - 1].to_vec(), corrupt()),
        ("empty block", vec![0], (204, String::new())),
        ("zero series", block(vec![]), (204, String::new())),
        (
            "truncated protobuf",
            snappy(&valid[..valid.len() - 1]),
            (400, "malformed remote write request at byte 2: unexpected end of input".into()),
        ),
        ("wire type", with(&[0x0d, 0, 0, 0, 0]), fault(1, "wrong wire type 5 for field 1")),
        ("unknown field", with(&[0x52, 0x03, 1, 2, 3]), (204, String::new())),
        (
            "varint overflow",
            with(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            fault(1, "varint overflows 64 bits"),
        ),
        (
            "negative length",
            with(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            fault(11, "unexpected end of input"),
        ),
        ("group", with(&[0x0b, 0x0c]), fault(0, "group in field 1")),
    ];
    for (name, body, expected) in table {
        assert_eq!(answer(&[], &body), expected, "{name}");
    }
}

#[test]
fn sizes_beyond_the_limits_are_413() {
    let claim = |bytes: u64| {
        let mut block = Vec::new();
        prost::encoding::encode_varint(bytes, &mut block);
        block.extend([0; 64]);
        block
    };
    assert_eq!(answer(&[], &claim(1 << 32)), (413, "received message larger than max (4294967296 vs 67108864)".into()));
    assert_eq!(answer(&[], &claim((64 << 20) + 1)), (413, "received message larger than max (67108865 vs 67108864)".into()));
    assert_eq!(answer(&[], &claim(64 << 20)), (400, "snappy: corrupt input".into()));
    assert_eq!(answer(&[], &vec![0; (16 << 20) + 1]), (413, "received message larger than max (16777217 vs 16777216)".into()));
}

#[test]
fn series_are_judged_one_by_one() {
    let long_name = "n".repeat(1025);
    let long_value = "v".repeat(2049);
    let many: Vec<String> = (0..150).map(|i| format!("l{i}")).collect();
    let many: Vec<(&str, &str)> = UP.into_iter().chain(many.iter().map(|n| (n.as_str(), "v"))).collect();
    let wide: Vec<String> = (0..20).map(|i| format!("l{i:02}")).collect();
    let wide: Vec<(&str, &str)> = UP.into_iter().chain(wide.iter().map(|n| (n.as_str(), &long_value[1..]))).collect();
    // Each text is the beginning of the answer.
    let table: Vec<(&str, Vec<Pair<'_>>, &str)> = vec![
        ("no name", vec![("job", "x")], "invalid metric name or labels, got {job=\"x\"}"),
        ("empty name", vec![("__name__", "")], "invalid metric name or labels, got {__name__=\"\"}"),
        ("no labels", vec![], "invalid metric name or labels, got {}"),
        (
            "duplicate",
            vec![UP[0], ("x", "1"), ("x", "1")],
            "invalid labels for series, labels {__name__=\"up\", x=\"1\", x=\"1\"}, duplicated label x",
        ),
        (
            "reserved",
            vec![UP[0], ("__tenant__", "a")],
            "invalid labels for series, labels {__name__=\"up\", __tenant__=\"a\"}, reserved label",
        ),
        ("too many", many, "series has too many labels (actual: 151, limit: 150) series: '{__name__=\"up\""),
        ("long name", vec![UP[0], (&long_name, "v")], "label name too long for metric (actual: 1025, limit: 1024) metric: \"up{nnn"),
        ("long value", vec![UP[0], ("a", &long_value)], "label value too long for metric (actual: 2049, limit: 2048) metric: \"up{a="),
        ("all labels", wide, "labels size bytes exceeded for metric (actual: 41030, limit: 32768) metric: \"up{l00="),
    ];
    for (name, labels, expected) in table {
        let (status, text) = answer(&[], &block(vec![one(&labels, NOW_MS, 1.0)]));
        assert_eq!(status, 400, "{name}");
        assert!(text.starts_with(expected), "{name}: {text}");
    }
    let accepted = [
        vec![("job", "x"), UP[0]],
        vec![UP[0], ("empty", "")],
        vec![("__name__", "http.server duration"), ("a.b", "line\nbreak"), ("größe", "😀")],
    ];
    for labels in accepted {
        assert_eq!(answer(&[], &block(vec![one(&labels, NOW_MS, 1.0)])), (204, String::new()), "{labels:?}");
    }
}

#[test]
fn invalid_utf8_is_refused() {
    let mut body = WriteRequest { timeseries: vec![one(&[UP[0], ("a", "bc")], NOW_MS, 1.0)], metadata: vec![] }.encode_to_vec();
    let at = body.windows(2).position(|w| w == b"bc").unwrap();
    body[at] = 0xff;
    assert_eq!(answer(&[], &snappy(&body)), (400, "invalid metric name or labels, got {__name__=\"up\", a=\"\u{fffd}c\"}".into()));
}

#[test]
fn c6_timestamps_out_of_bounds_are_refused_and_the_future_is_left_to_the_shard() {
    for timestamp in [0, -1, i64::MIN, NOW_MS - RETENTION_MS - 1] {
        let expected = format!("out of bounds: timestamp {timestamp} is older than the retention for series {{__name__=\"up\"}}");
        assert_eq!(answer(&[], &block(vec![one(&UP, timestamp, 1.0)])), (400, expected));
    }
    for timestamp in [NOW_MS - RETENTION_MS, NOW_MS + 3_600_000, i64::MAX] {
        assert_eq!(answer(&[], &block(vec![one(&UP, timestamp, 1.0)])), (204, String::new()), "{timestamp}");
    }
}

#[test]
fn every_float_is_accepted() {
    for bits in [0x7ff0_0000_0000_0002u64, 0x7ff8_0000_0000_0001, 0x7ff0 << 48, 0xfff0 << 48, 1 << 63] {
        assert_eq!(answer(&[], &block(vec![one(&UP, NOW_MS, f64::from_bits(bits))])), (204, String::new()));
    }
}

#[test]
fn exemplars_and_metadata_are_no_reason_to_refuse() {
    let mut series = one(&UP, NOW_MS, 1.0);
    series.exemplars = vec![Exemplar { labels: vec![], value: 1.0, timestamp: 0 }];
    let metadata = vec![MetricMetadata { r#type: 1, metric_family_name: "up".into(), help: "h".repeat(5000), unit: String::new() }];
    let body = WriteRequest { timeseries: vec![series], metadata }.encode_to_vec();
    assert_eq!(answer(&[], &snappy(&body)), (204, String::new()));
}

#[test]
fn ten_refusals_are_listed_in_request_order() {
    let bad = |i: usize| one(&[("job", ["a", "b", "c"][i % 3])], NOW_MS, 1.0);
    let (status, text) = answer(&[], &block((0..12).map(bad).chain([one(&UP, NOW_MS, 1.0)]).collect()));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((status, lines.len(), lines[10]), (400, 11, "and 2 more"));
    assert_eq!(
        (lines[0], lines[1]),
        (r#"invalid metric name or labels, got {job="a"}"#, r#"invalid metric name or labels, got {job="b"}"#)
    );
}
