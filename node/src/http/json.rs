//! Prometheus's JSON, written straight into bytes: the envelope, results, label sets, texts.
//!
//! Escaping is that of Go's `encoding/json`: besides what JSON demands, `<`, `>`, `&`, U+2028 and U+2029 are escaped.

use crate::http::error::ErrorType;
use model::histogram::FloatHistogram;
use model::number::write_float;
use model::{Labels, Timestamp};
use std::sync::Arc;

/// Media type of every JSON answer.
pub const CONTENT_TYPE_JSON: &str = "application/json";
/// Warnings, and infos, that an answer carries; one more line may tell how many were left out.
pub const ANNOTATIONS_MAX: usize = 10;
/// The warning in an answer that was cut to the limit that was asked for.
pub const TRUNCATED: &str = "results truncated due to limit";

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let Some((escape, length)) = escape_at(bytes, i, byte) else { continue };
        out.extend_from_slice(&bytes[written..i]);
        match escape {
            Escape::Short(letter) => out.extend_from_slice(&[b'\\', letter]),
            Escape::Unit(unit) => {
                out.extend_from_slice(b"\\u");
                out.extend((0..4).rev().map(|nibble| b"0123456789abcdef"[usize::from(unit >> (4 * nibble)) & 15]));
            }
        }
        written = i + length;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

enum Escape {
    Short(u8),
    Unit(u16),
}

fn escape_at(bytes: &[u8], i: usize, byte: u8) -> Option<(Escape, usize)> {
    match byte {
        b'"' | b'\\' => Some((Escape::Short(byte), 1)),
        b'\n' => Some((Escape::Short(b'n'), 1)),
        b'\r' => Some((Escape::Short(b'r'), 1)),
        b'\t' => Some((Escape::Short(b't'), 1)),
        0x08 => Some((Escape::Short(b'b'), 1)),
        0x0c => Some((Escape::Short(b'f'), 1)),
        0..0x20 | b'<' | b'>' | b'&' => Some((Escape::Unit(u16::from(byte)), 1)),
        0xe2 => match bytes.get(i + 1..i + 3) {
            Some([0x80, 0xa8]) => Some((Escape::Unit(0x2028), 3)),
            Some([0x80, 0xa9]) => Some((Escape::Unit(0x2029), 3)),
            _ => None,
        },
        _ => None,
    }
}

/// Appends a list of strings; an empty one is `[]`.
pub fn write_strings<'a>(out: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a str>) {
    write_list(out, texts, write_string);
}

/// Appends a list of anything.
pub fn write_list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Appends a label set as an object, in name order.
pub fn write_labels(out: &mut Vec<u8>, labels: &Labels) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// Appends milliseconds as seconds: an integer, with three digits of fraction only if there is one.
pub fn write_timestamp(out: &mut Vec<u8>, timestamp_ms: Timestamp) {
    if timestamp_ms < 0 {
        out.push(b'-');
    }
    let ms = timestamp_ms.unsigned_abs();
    write_u64(out, ms / 1000);
    let fraction = ms % 1000;
    if fraction > 0 {
        out.push(b'.');
        out.extend([100, 10, 1].map(|unit| b'0' + (fraction / unit % 10) as u8));
    }
}

fn write_u64(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `[timestamp,"value"]`.
pub fn write_point(out: &mut Vec<u8>, timestamp_ms: Timestamp, value: f64) {
    out.push(b'[');
    write_timestamp(out, timestamp_ms);
    out.extend_from_slice(b",\"");
    write_float(out, value);
    out.extend_from_slice(b"\"]");
}

/// Appends `[timestamp,{histogram}]`.
fn write_histogram_point(out: &mut Vec<u8>, timestamp_ms: Timestamp, histogram: &FloatHistogram) {
    out.push(b'[');
    write_timestamp(out, timestamp_ms);
    out.push(b',');
    histogram.write_json(out);
    out.push(b']');
}

/// Appends `[timestamp,"text"]`.
pub fn write_text_point(out: &mut Vec<u8>, timestamp_ms: Timestamp, text: &str) {
    out.push(b'[');
    write_timestamp(out, timestamp_ms);
    out.push(b',');
    write_string(out, text);
    out.push(b']');
}

/// The type of a query's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultType {
    /// Series with one point each.
    Vector,
    /// Series with many points.
    Matrix,
    /// One point.
    Scalar,
    /// One text.
    String,
}

impl ResultType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::Scalar => "scalar",
            Self::String => "string",
        }
    }
}

/// A successful answer under construction. Write the data between [`Success::begin`] and [`Success::finish`]; the bytes written so
/// far may be taken from [`Success::out`] at any time and sent.
#[derive(Debug)]
pub struct Success {
    /// What is written and not taken yet.
    pub out: Vec<u8>,
    items: usize,
}

impl Success {
    /// Begins an envelope: `{"status":"success","data":`. Append the data to [`Success::out`].
    #[must_use]
    pub fn begin() -> Self {
        Self { out: b"{\"status\":\"success\",\"data\":".to_vec(), items: 0 }
    }

    /// Begins a query's answer. For `Vector` and `Matrix` call [`Success::vector_item`] or [`Success::matrix_series`] for each series;
    /// for the others [`Success::scalar`] or [`Success::text`] once; then [`Success::finish_query`].
    #[must_use]
    pub fn begin_query(result_type: ResultType) -> Self {
        let mut this = Self::begin();
        this.out.extend_from_slice(b"{\"resultType\":\"");
        this.out.extend_from_slice(result_type.as_str().as_bytes());
        this.out.extend_from_slice(b"\",\"result\":");
        if matches!(result_type, ResultType::Vector | ResultType::Matrix) {
            this.out.push(b'[');
        }
        this
    }

    fn item(&mut self) {
        if self.items > 0 {
            self.out.push(b',');
        }
        self.items += 1;
    }

    /// Adds a series to a vector.
    pub fn vector_item(&mut self, metric: &Labels, timestamp_ms: Timestamp, value: f64) {
        self.metric(metric);
        self.out.extend_from_slice(b",\"value\":");
        write_point(&mut self.out, timestamp_ms, value);
        self.out.push(b'}');
    }

    /// Adds a series to a vector, whose value is a native histogram.
    pub fn vector_histogram(&mut self, metric: &Labels, timestamp_ms: Timestamp, histogram: &FloatHistogram) {
        self.metric(metric);
        self.out.extend_from_slice(b",\"histogram\":");
        write_histogram_point(&mut self.out, timestamp_ms, histogram);
        self.out.push(b'}');
    }

    /// Adds a series to a matrix: its floats, its native histograms, or both.
    pub fn matrix_series<'h>(
        &mut self,
        metric: &Labels,
        points: impl Iterator<Item = &'h (Timestamp, f64)>,
        histograms: impl Iterator<Item = &'h (Timestamp, Arc<FloatHistogram>)>,
    ) {
        self.metric(metric);
        let (mut points, mut histograms) = (points.peekable(), histograms.peekable());
        if points.peek().is_some() {
            self.out.extend_from_slice(b",\"values\":");
            write_list(&mut self.out, points, |out, (t, v)| write_point(out, *t, *v));
        }
        if histograms.peek().is_some() {
            self.out.extend_from_slice(b",\"histograms\":");
            write_list(&mut self.out, histograms, |out, (t, h)| write_histogram_point(out, *t, h));
        }
        self.out.push(b'}');
    }

    fn metric(&mut self, metric: &Labels) {
        self.item();
        self.out.extend_from_slice(b"{\"metric\":");
        write_labels(&mut self.out, metric);
    }

    /// The result of a scalar query.
    pub fn scalar(&mut self, timestamp_ms: Timestamp, value: f64) {
        write_point(&mut self.out, timestamp_ms, value);
    }

    /// The result of a string query.
    pub fn text(&mut self, timestamp_ms: Timestamp, text: &str) {
        write_text_point(&mut self.out, timestamp_ms, text);
    }

    /// Ends a query's answer; `extras` are further members of `data`, such as `stats`, with their JSON.
    #[must_use]
    pub fn finish_query(mut self, result_type: ResultType, extras: &[(&str, Vec<u8>)], annotations: Annotations<'_>) -> Vec<u8> {
        if matches!(result_type, ResultType::Vector | ResultType::Matrix) {
            self.out.push(b']');
        }
        for (name, json) in extras {
            self.out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            self.out.extend_from_slice(json);
        }
        self.out.push(b'}');
        self.finish(annotations)
    }

    /// Ends the envelope.
    #[must_use]
    pub fn finish(mut self, annotations: Annotations<'_>) -> Vec<u8> {
        write_annotations(&mut self.out, annotations);
        self.out.push(b'}');
        self.out
    }
}

/// Remarks on an answer; empty lists are left out, long ones are cut to [`ANNOTATIONS_MAX`] and the line
/// that counts the rest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Annotations<'a> {
    /// What may make the answer wrong.
    pub warnings: &'a [String],
    /// What is worth knowing.
    pub infos: &'a [String],
}

fn write_annotations(out: &mut Vec<u8>, annotations: Annotations<'_>) {
    for (key, texts) in [("warnings", annotations.warnings), ("infos", annotations.infos)] {
        if !texts.is_empty() {
            out.extend_from_slice(format!(",\"{key}\":").as_bytes());
            write_strings(out, texts.iter().take(ANNOTATIONS_MAX + 1).map(String::as_str));
        }
    }
}

/// The envelope of an error.
#[must_use]
pub fn error_body(error_type: ErrorType, message: &str) -> Vec<u8> {
    let mut out = b"{\"status\":\"error\",\"errorType\":".to_vec();
    write_string(&mut out, error_type.as_str());
    if !message.is_empty() {
        out.extend_from_slice(b",\"error\":");
        write_string(&mut out, message);
    }
    out.push(b'}');
    out
}

/// The envelope around a list of texts, such as label names; `[]` when empty.
#[must_use]
pub fn strings_body<'a>(texts: impl IntoIterator<Item = &'a str>, annotations: Annotations<'_>) -> Vec<u8> {
    let mut body = Success::begin();
    write_strings(&mut body.out, texts);
    body.finish(annotations)
}

/// The envelope around a list of label sets, as `/series` answers.
#[must_use]
pub fn series_body<'a>(series: impl IntoIterator<Item = &'a Labels>, annotations: Annotations<'_>) -> Vec<u8> {
    let mut body = Success::begin();
    write_list(&mut body.out, series, write_labels);
    body.finish(annotations)
}

#[cfg(test)]
mod tests;
