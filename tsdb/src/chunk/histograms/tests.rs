#![allow(clippy::indexing_slicing)]

use super::*;
use model::histogram::Span;
use proptest::collection::vec;
use proptest::prelude::*;

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![4 => (0u32..100_000).prop_map(f64::from), 1 => any::<u64>().prop_map(f64::from_bits)]
}

fn histogram() -> impl Strategy<Value = FloatHistogram> {
    let spans = || vec((-5i32..100, 0u32..4).prop_map(|(offset, length)| Span { offset, length }), 0..4);
    (spans(), spans(), prop::sample::select(vec![-53, -4, 0, 3, 8]), vec(number(), 0..4), 0u8..4).prop_flat_map(
        |(positive_spans, negative_spans, schema, custom, hint)| {
            let buckets = |spans: &[Span]| vec(number(), spans.iter().map(|s| s.length as usize).sum::<usize>());
            (buckets(&positive_spans), buckets(&negative_spans), vec(number(), 4)).prop_map(move |(positive, negative, n)| FloatHistogram {
                counter_reset_hint: read_hint(hint).unwrap(),
                schema,
                zero_threshold: n[0],
                zero_count: n[1],
                count: n[2],
                sum: n[3],
                positive_spans: positive_spans.clone(),
                negative_spans: negative_spans.clone(),
                positive_buckets: positive,
                negative_buckets: negative,
                custom_values: custom.clone().into(),
            })
        },
    )
}

/// A few layouts, each for some time, growing, with markers between.
fn series() -> impl Strategy<Value = Vec<Arc<FloatHistogram>>> {
    vec((histogram(), 1usize..30, any::<bool>()), 1..5).prop_map(|runs| {
        let mut all = Vec::new();
        for (h, length, ends) in runs {
            for i in 0..length {
                let mut next = h.clone();
                next.positive_buckets.iter_mut().for_each(|b| *b += i as f64);
                next.count += i as f64;
                all.push(Arc::new(next));
            }
            if ends {
                all.push(Arc::new(FloatHistogram::stale()));
            }
        }
        all
    })
}

fn exact(h: &FloatHistogram) -> String {
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        h.counter_reset_hint,
        h.schema,
        bits(&[h.zero_threshold, h.zero_count, h.count, h.sum]),
        h.positive_spans,
        h.negative_spans,
        bits(&h.positive_buckets),
        bits(&h.negative_buckets),
        bits(&h.custom_values)
    )
}

fn encoded(histograms: &[Arc<FloatHistogram>]) -> Vec<u8> {
    let mut out = Vec::new();
    HistogramCoder::default().encode(histograms, &mut out);
    out
}

proptest! {
    #[test]
    fn every_bit_comes_back_and_damage_never_panics(series in series(), at: prop::sample::Index, flip in 1u8..) {
        let mut bytes = encoded(&series);
        let mut back = Vec::new();
        HistogramCoder::default().decode(&bytes, series.len(), &mut back).unwrap();
        prop_assert_eq!(back.len(), series.len());
        for (got, want) in back.iter().zip(&series) {
            prop_assert_eq!(exact(got), exact(want));
        }
        let i = at.index(bytes.len());
        prop_assert!(HistogramCoder::default().decode(&bytes[..i], series.len(), &mut Vec::new()).is_err());
        bytes[i] ^= flip;
        let _ = HistogramCoder::default().decode(&bytes, series.len(), &mut Vec::new());
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in vec(any::<u8>(), 0..300), count in 0usize..500) {
        let _ = HistogramCoder::default().decode(&bytes, count, &mut Vec::new());
    }
}

#[test]
fn growing_histogram_takes_few_bytes_a_bucket() {
    let layout = vec![Span { offset: 0, length: 20 }];
    let series: Vec<_> = (0..120u32)
        .map(|i| {
            let buckets: Vec<f64> = (0..20).map(|b| f64::from(i * 3 + i * b % 7)).collect();
            Arc::new(FloatHistogram {
                schema: 3,
                count: buckets.iter().sum(),
                sum: f64::from(i) * 1.5,
                positive_spans: layout.clone(),
                positive_buckets: buckets,
                ..FloatHistogram::default()
            })
        })
        .collect();
    let bytes = encoded(&series).len();
    assert!(bytes < 120 * 20, "{bytes} bytes for {} counts", 120 * 22);
}

#[test]
fn page_bytes_are_frozen() {
    let h = FloatHistogram {
        schema: 1,
        count: 3.0,
        sum: 2.5,
        positive_spans: vec![Span { offset: -1, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..FloatHistogram::default()
    };
    #[rustfmt::skip]
    let golden = [
        1, SAME_HINT,
        // Layout: schema, zero threshold, one span, none, no bounds; the hint.
        2, 0, 1, 1, 2, 0, 0, 0,
        2, 0x10, 6,
        2, 0x10, 0,
        2, 0x11, 50,
        2, 0x10, 2,
        2, 0x10, 4,
        1, STALE | SAME_HINT, 0,
    ];
    assert_eq!(encoded(&[Arc::new(h), Arc::new(FloatHistogram::stale())]), golden);
}
