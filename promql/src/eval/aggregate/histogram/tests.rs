use super::*;
use proptest::prelude::*;

fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    let count = prop_oneof![Just(0.0), (0u32..1000).prop_map(f64::from), any::<f64>().prop_filter("finite", |v| v.is_finite())];
    prop::collection::btree_map(-20i32..20, count, 0..8).prop_map(|side| spans_of(side.into_iter()))
}

fn histogram() -> impl Strategy<Value = FloatHistogram> {
    let zero = prop::sample::select(vec![0.0, 0.001, 0.7, 1.5, 3.0]);
    let hint =
        prop::sample::select(vec![CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge]);
    let bounds = prop::collection::btree_set(0i32..6, 0..5);
    (any::<bool>(), -2i32..3, zero, (side(), side()), hint, bounds, any::<f64>()).prop_map(
        |(is_custom, schema, zero, (positive, negative), hint, bounds, sum)| {
            let mut h = FloatHistogram { counter_reset_hint: hint, schema, count: 7.5, sum, ..FloatHistogram::default() };
            if is_custom {
                h.schema = CUSTOM_BUCKETS_SCHEMA;
                h.custom_values = bounds.into_iter().map(f64::from).collect();
                let counts: Vec<f64> = positive.1.into_iter().take(h.custom_values.len() + 1).collect();
                (h.positive_spans, h.positive_buckets) = spans_of((0..).zip(counts));
                return h;
            }
            h.zero_threshold = zero;
            h.zero_count = 3.0;
            (h.positive_spans, h.positive_buckets) = positive;
            (h.negative_spans, h.negative_buckets) = negative;
            h
        },
    )
}

fn sum_of(histograms: &[FloatHistogram]) -> HistogramSum {
    let mut sum = HistogramSum::new(&histograms[0], "b");
    histograms[1..].iter().for_each(|h| sum.add(h, "a"));
    sum
}

fn told(sum: &HistogramSum) -> String {
    let mut notes = SumNotes::default();
    sum.note(&mut notes);
    notes.mixed_schemas.clear();
    format!("{:?} {:?} {notes:?} {}", sum.finish(false), sum.finish(true), sum.histograms)
}

proptest! {
    #[test]
    fn c15_sums_depend_neither_on_order_nor_on_grouping(
        mut histograms in prop::collection::vec(histogram(), 1..7),
        cut in 0usize..7,
        shift in 0usize..7,
    ) {
        let all = told(&sum_of(&histograms));
        let (left, right) = histograms.split_at(cut.min(histograms.len()));
        if !left.is_empty() && !right.is_empty() {
            let mut merged = sum_of(right);
            merged.merge(&sum_of(left));
            prop_assert_eq!(&told(&merged), &all);
            let mut bytes = Vec::new();
            merged.encode(&mut bytes);
            let mut reader = Reader::new(&bytes);
            let decoded = HistogramSum::decode(&mut reader).unwrap();
            prop_assert_eq!((told(&decoded), reader.end()), (told(&merged), Ok(())));
        }
        let by = shift % histograms.len();
        histograms.rotate_left(by);
        prop_assert_eq!(told(&sum_of(&histograms)), all);
    }

    #[test]
    fn sums_of_whole_counts_are_those_of_additions(counts in prop::collection::vec((side(), 0u32..9), 1..5)) {
        let whole = |values: &[f64]| values.iter().map(|v| (v.abs() % 1000.0).floor()).collect::<Vec<_>>();
        let histograms: Vec<FloatHistogram> = counts.iter().map(|((spans, values), count)| FloatHistogram {
            count: f64::from(*count),
            positive_spans: spans.clone(),
            positive_buckets: whole(values),
            ..FloatHistogram::default()
        }).collect();
        let mut wanted = histograms[0].clone();
        histograms[1..].iter().for_each(|h| { wanted.add(h).unwrap(); });
        wanted.compact(0);
        let found = sum_of(&histograms).finish(false).expect("schemas are the same");
        prop_assert!(found.equals(&wanted), "{found} {wanted}");
    }
}

#[test]
fn the_zero_bucket_takes_in_what_it_overlaps() {
    let (spans, buckets) = spans_of([(0, 1.0), (1, 2.0), (2, 4.0)].into_iter());
    let narrow = FloatHistogram { positive_spans: spans, positive_buckets: buckets, zero_threshold: 0.001, ..FloatHistogram::default() };
    let wide = FloatHistogram { zero_threshold: 1.5, zero_count: 8.0, ..FloatHistogram::default() };
    let sum = sum_of(&[narrow, wide]).finish(false).expect("schemas are the same");
    assert_eq!((sum.zero_threshold, sum.zero_count, sum.positive_buckets), (2.0, 11.0, vec![4.0]));
}
