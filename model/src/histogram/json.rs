//! Histograms as the Prometheus HTTP API writes them.

use super::{Bucket, FloatHistogram};
use crate::number::write_float;

impl FloatHistogram {
    /// Appends the histogram as a JSON object: count, sum and the buckets that count something, each as
    /// `[bounds,"lower","upper","count"]`. The bounds are 0 if only the upper one belongs to the bucket, 1 if only the lower
    /// one does, 2 if neither and 3 if both do.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"count\":");
        write_quoted(out, self.count);
        out.extend_from_slice(b",\"sum\":");
        write_quoted(out, self.sum);
        let mut before: &[u8] = b",\"buckets\":[";
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            out.extend_from_slice(before);
            before = b",";
            write_bucket(out, &bucket);
        }
        out.extend_from_slice(if before == b"," { b"]}" } else { b"}" });
    }
}

fn write_bucket(out: &mut Vec<u8>, bucket: &Bucket) {
    out.push(b'[');
    out.push(match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    });
    for value in [bucket.lower, bucket.upper, bucket.count] {
        out.push(b',');
        write_quoted(out, value);
    }
    out.push(b']');
}

fn write_quoted(out: &mut Vec<u8>, value: f64) {
    out.push(b'"');
    write_float(out, value);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::super::{CUSTOM_BUCKETS_SCHEMA, Span};
    use super::*;

    fn written(h: &FloatHistogram) -> String {
        let mut out = Vec::new();
        h.write_json(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn histograms_are_written_as_the_api_writes_them() {
        let h = FloatHistogram {
            count: 10.0,
            sum: -2.5e-7,
            zero_threshold: 0.001,
            zero_count: 1.0,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_buckets: vec![2.0, 0.0, 3.5],
            negative_spans: vec![Span { offset: 1, length: 1 }],
            negative_buckets: vec![4.0],
            ..FloatHistogram::default()
        };
        let wanted =
            r#"{"count":"10","sum":"-2.5e-07","buckets":[[1,"-2","-1","4"],[3,"-0.001","0.001","1"],[0,"0.5","1","2"],[0,"2","4","3.5"]]}"#;
        assert_eq!(written(&h), wanted);
        assert_eq!(written(&FloatHistogram { count: f64::INFINITY, ..FloatHistogram::default() }), r#"{"count":"+Inf","sum":"0"}"#);
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count: 3.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![1.0, 2.0],
            custom_values: [5.0].into(),
            ..FloatHistogram::default()
        };
        assert_eq!(written(&custom), r#"{"count":"3","sum":"0","buckets":[[3,"-Inf","5","1"],[0,"5","+Inf","2"]]}"#);
    }
}
