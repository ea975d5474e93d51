//! Bodies: remote write 1.0 out, PromQL results in.

use super::samples::SampleId;
use serde_json::Value;
use std::collections::BTreeMap;

/// Name of the clients' metric.
pub(super) const METRIC: &str = "sim_samples";

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn label(name: &str, value: &str, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    field(1, name.as_bytes(), &mut inner);
    field(2, value.as_bytes(), &mut inner);
    field(1, &inner, out);
}

/// The compressed body of a remote write of these samples.
pub(super) fn write_body(seed: u64, samples: &[SampleId]) -> Vec<u8> {
    let mut by_series: BTreeMap<u64, Vec<SampleId>> = BTreeMap::new();
    for sample in samples {
        by_series.entry(sample.series).or_default().push(*sample);
    }
    let mut request = Vec::new();
    for (series, samples) in by_series {
        let mut one = Vec::new();
        label("__name__", METRIC, &mut one);
        label("series", &series.to_string(), &mut one);
        for sample in samples {
            let mut inner = vec![1 << 3 | 1];
            inner.extend_from_slice(&sample.value(seed).to_le_bytes());
            inner.push(2 << 3);
            varint(u64::from_ne_bytes(sample.timestamp_ms().to_ne_bytes()), &mut inner);
            field(2, &inner, &mut one);
        }
        field(1, &one, &mut request);
    }
    snap::raw::Encoder::new().compress_vec(&request).unwrap_or_default()
}

/// Points of a matrix: series, timestamp in milliseconds, value.
pub(super) fn matrix(body: &[u8]) -> Option<Vec<(u64, i64, f64)>> {
    let mut points = Vec::new();
    for row in result(body)?.as_array()? {
        let series = row.get("metric")?.get("series")?.as_str()?.parse().ok()?;
        for point in row.get("values")?.as_array()? {
            let seconds = point.get(0)?.as_f64()?;
            points.push((series, (seconds * 1000.0).round() as i64, number(point.get(1)?.as_str()?)?));
        }
    }
    Some(points)
}

/// The only value of a vector of at most one; none of an empty one is 0.
pub(super) fn scalar(body: &[u8]) -> Option<f64> {
    let result = result(body)?;
    match result.as_array()?.first() {
        Some(row) => number(row.get("value")?.get(1)?.as_str()?),
        None => Some(0.0),
    }
}

fn result(body: &[u8]) -> Option<Value> {
    let mut answer: Value = serde_json::from_slice(body).ok()?;
    Some(answer.get_mut("data")?.get_mut("result")?.take())
}

fn number(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok(),
    }
}
