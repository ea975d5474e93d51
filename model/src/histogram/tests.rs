use super::*;
use crate::number::parse_float;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Positive and negative buckets by index.
fn exponential(schema: i32, zero: (f64, f64), positive: &[(i32, f64)], negative: &[(i32, f64)]) -> FloatHistogram {
    let mut h = FloatHistogram { schema, zero_threshold: zero.0, zero_count: zero.1, ..FloatHistogram::default() };
    (h.positive_spans, h.positive_buckets) = side_of(positive);
    (h.negative_spans, h.negative_buckets) = side_of(negative);
    h.count = zero.1 + positive.iter().chain(negative).map(|(_, count)| count).sum::<f64>();
    h.sum = 0.0 + positive.iter().map(|(i, c)| f64::from(*i) * c).sum::<f64>();
    h
}

fn custom(bounds: &[f64], buckets: &[f64]) -> FloatHistogram {
    let spans = vec![Span { offset: 0, length: buckets.len() as u32 }];
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: buckets.iter().sum(),
        positive_spans: spans,
        positive_buckets: buckets.to_vec(),
        custom_values: bounds.into(),
        ..FloatHistogram::default()
    }
}

fn side_of(buckets: &[(i32, f64)]) -> (Vec<Span>, Vec<f64>) {
    let mut next = 0;
    let mut spans: Vec<Span> = Vec::new();
    for (index, _) in buckets {
        match spans.last_mut() {
            Some(span) if *index == next => span.length += 1,
            _ => spans.push(Span { offset: index - next, length: 1 }),
        }
        next = index + 1;
    }
    (spans, buckets.iter().map(|(_, count)| *count).collect())
}

fn compacted(mut h: FloatHistogram) -> FloatHistogram {
    h.compact(0);
    h
}

fn added(left: &FloatHistogram, right: &FloatHistogram) -> FloatHistogram {
    let mut sum = left.clone();
    sum.add(right).unwrap();
    compacted(sum)
}

#[track_caller]
fn assert_equals(found: &FloatHistogram, wanted: &FloatHistogram) {
    assert!(found.equals(wanted), "found  {found:?}\nwanted {wanted:?}");
}

#[test]
fn addition_merges_buckets_of_both_sides() {
    let left = exponential(0, (0.01, 1.0), &[(-2, 1.0), (0, 2.0)], &[(3, 4.0)]);
    let right = exponential(0, (0.01, 2.0), &[(-1, 8.0), (0, 16.0), (5, 32.0)], &[(2, 64.0)]);
    let sum = exponential(0, (0.01, 3.0), &[(-2, 1.0), (-1, 8.0), (0, 18.0), (5, 32.0)], &[(2, 64.0), (3, 4.0)]);
    assert_equals(&added(&left, &right), &sum);
    let mut difference = sum;
    difference.sub(&right).unwrap();
    assert_equals(&compacted(difference), &left);
}

#[test]
fn addition_has_the_lower_resolution() {
    let fine = exponential(1, (0.0, 0.0), &[(0, 1.0), (1, 2.0), (2, 4.0), (3, 8.0)], &[]);
    let coarse = exponential(0, (0.0, 0.0), &[(1, 16.0)], &[]);
    let mut wanted = exponential(0, (0.0, 0.0), &[(0, 1.0), (1, 22.0), (2, 8.0)], &[]);
    wanted.sum = fine.sum + coarse.sum;
    assert_equals(&added(&fine, &coarse), &wanted);
    assert_equals(&added(&coarse, &fine), &wanted);
}

#[test]
fn zero_buckets_widen_to_the_end_of_a_populated_bucket() {
    let narrow = exponential(0, (0.001, 1.0), &[(0, 2.0), (1, 4.0), (3, 8.0)], &[(1, 16.0)]);
    // 1.5 cuts the bucket (1, 2] on both sides.
    let wide = exponential(0, (1.5, 32.0), &[(3, 64.0)], &[]);
    let mut wanted = exponential(0, (2.0, 55.0), &[(3, 72.0)], &[]);
    wanted.sum = narrow.sum + wide.sum;
    assert_equals(&added(&narrow, &wide), &wanted);
    assert_equals(&added(&wide, &narrow), &wanted);
}

#[test]
fn custom_bounds_are_reconciled_to_the_common_ones() {
    let mut left = custom(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 4.0, 8.0, 16.0]);
    let right = custom(&[0.5, 2.0, 4.0, 9.0], &[32.0, 64.0, 128.0, 256.0, 512.0]);
    let reconciled = left.add(&right).unwrap();
    assert_eq!(reconciled, Reconciled { counter_reset_collision: false, custom_bounds: true });
    let wanted = custom(&[2.0, 4.0], &[1.0 + 2.0 + 32.0 + 64.0, 4.0 + 8.0 + 128.0, 16.0 + 256.0 + 512.0]);
    assert_equals(&left, &wanted);
    assert_eq!(left.add(&wanted.clone()).unwrap(), Reconciled::default());
    let mut other = exponential(0, (0.0, 0.0), &[(0, 1.0)], &[]);
    let before = other.clone();
    assert_eq!(other.add(&right), Err(HistogramError::MixedSchemas));
    assert_equals(&other, &before);
    assert_eq!(other.sub(&right), Err(HistogramError::MixedSchemas));
}

#[test]
fn hints_of_a_sum_are_those_of_its_parts() {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    for (left, right, sum, collision) in [
        (Reset, Reset, Reset, false),
        (Reset, NotReset, Unknown, true),
        (NotReset, Reset, Unknown, true),
        (NotReset, Unknown, Unknown, false),
        (Gauge, Reset, Gauge, false),
        (Unknown, Gauge, Gauge, false),
    ] {
        let mut h = FloatHistogram { counter_reset_hint: left, ..FloatHistogram::default() };
        let other = FloatHistogram { counter_reset_hint: right, ..FloatHistogram::default() };
        assert_eq!(h.add(&other).unwrap().counter_reset_collision, collision);
        assert_eq!(h.counter_reset_hint, sum);
    }
}

#[test]
fn compensation_keeps_what_addition_loses() {
    let one = |count: f64| exponential(0, (0.0, 0.0), &[(1, count)], &[]);
    let parts = [1.0, 1e100, 1.0, -1e100].map(one);
    let mut sum = CompensatedHistogram::new(parts[0].clone());
    parts[1..].iter().for_each(|part| assert_eq!(sum.add(part), Ok(Reconciled::default())));
    assert!(!sum.is_infinite());
    assert_equals(&sum.clone().sum(), &one(2.0));
    assert_equals(&sum.over(4.0), &one(0.5));
}

#[test]
fn compaction_drops_empty_buckets_and_joins_spans() {
    let mut h = exponential(0, (0.0, 0.0), &[(0, 0.0), (1, 1.0), (2, 0.0), (3, 2.0), (4, 0.0), (5, 0.0), (6, 3.0), (7, 0.0)], &[]);
    let mut tolerant = h.clone();
    h.compact(0);
    assert_eq!(h.positive_spans, [(1, 1), (1, 1), (2, 1)].map(|(offset, length)| Span { offset, length }));
    assert_eq!(h.positive_buckets, [1.0, 2.0, 3.0]);
    tolerant.compact(1);
    assert_eq!(tolerant.positive_spans, [(1, 3), (2, 1)].map(|(offset, length)| Span { offset, length }));
    assert_eq!(tolerant.positive_buckets, [1.0, 0.0, 2.0, 3.0]);
    h.compact(2);
    assert_eq!(h.positive_spans, [Span { offset: 1, length: 6 }]);
    assert_eq!(h.positive_buckets, [1.0, 0.0, 2.0, 0.0, 0.0, 3.0]);
}

#[test]
fn resets_are_found_in_counts_buckets_and_layouts() {
    let before = exponential(1, (0.01, 2.0), &[(0, 3.0), (1, 4.0)], &[(2, 5.0)]);
    let more = |h: &FloatHistogram| FloatHistogram { count: 100.0, ..h.clone() };
    let now = |zero, positive: &[(i32, f64)], negative: &[(i32, f64)]| more(&exponential(1, zero, positive, negative));
    let same = now((0.01, 2.0), &[(0, 3.0), (1, 4.0)], &[(2, 5.0)]);
    for (current, reset, why) in [
        (same.clone(), false, "the same"),
        (before.at_schema(0).unwrap(), false, "lower resolution"),
        (more(&before.at_schema(1).unwrap()), false, "copy"),
        (FloatHistogram { count: 1.0, ..same.clone() }, true, "count"),
        (now((0.01, 1.0), &[(0, 3.0), (1, 4.0)], &[(2, 5.0)]), true, "zero count"),
        (now((0.001, 2.0), &[(0, 3.0), (1, 4.0)], &[(2, 5.0)]), true, "zero threshold"),
        (now((0.01, 2.0), &[(0, 2.0), (1, 9.0)], &[(2, 5.0)]), true, "bucket"),
        (now((0.01, 2.0), &[(0, 3.0)], &[(2, 5.0)]), true, "last bucket missing"),
        (now((0.01, 2.0), &[(1, 9.0)], &[(2, 5.0)]), true, "first bucket missing"),
        (now((0.01, 2.0), &[(0, 3.0), (1, 4.0)], &[]), true, "side missing"),
        (now((1.0, 5.0), &[(1, 4.0)], &[(2, 5.0)]), false, "wider zero bucket"),
        (now((1.0, 4.0), &[(1, 4.0)], &[(2, 5.0)]), true, "wider zero bucket with less in it"),
        (now((0.9, 9.0), &[(1, 4.0)], &[(2, 5.0)]), true, "zero bucket cuts a bucket"),
        (custom(&[], &[100.0]), true, "custom buckets"),
        (FloatHistogram { counter_reset_hint: CounterResetHint::NotReset, count: 0.0, ..same.clone() }, false, "hint"),
        (FloatHistogram { counter_reset_hint: CounterResetHint::Reset, ..same.clone() }, true, "hint"),
    ] {
        assert_eq!(current.detect_reset(&before), reset, "{why}");
    }
    let finer = more(&exponential(2, (0.01, 2.0), &[(0, 3.0), (1, 4.0)], &[(2, 5.0)]));
    assert!(finer.detect_reset(&before));
}

#[test]
fn resets_of_custom_buckets_are_found_under_common_bounds() {
    let before = custom(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]);
    assert!(!custom(&[2.0, 3.0], &[3.0, 3.0, 4.0]).detect_reset(&before));
    assert!(!custom(&[2.0, 9.0], &[3.0, 3.0, 4.0]).detect_reset(&before));
    assert!(custom(&[2.0, 3.0], &[2.0, 4.0, 4.0]).detect_reset(&before));
    assert!(custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 4.0, 5.0]).detect_reset(&before));
}

#[test]
fn histograms_print_as_in_go() {
    let mut h = exponential(0, (0.001, 1.0), &[(0, 2.0), (1, 0.0), (2, 1e6)], &[(1, 4.0), (2, 0.5)]);
    h.sum = -0.25;
    h.count = f64::INFINITY;
    let text = "{count:+Inf, sum:-0.25, [-4,-2):0.5, [-2,-1):4, [-0.001,0.001]:1, (0.5,1]:2, (2,4]:1e+06}";
    assert_eq!(h.to_string(), text);
    assert_eq!(custom(&[1.0, 2.5], &[1.0, 2.0, 3.0]).to_string(), "{count:6, sum:0, [-Inf,1]:1, (1,2.5]:2, (2.5,+Inf]:3}");
    assert_eq!(parse_float("1e+06"), Ok(1e6));
}

#[test]
fn buckets_come_in_order_and_end_at_the_zero_bucket() {
    let h = exponential(0, (0.75, 1.0), &[(0, 2.0), (2, 3.0)], &[(0, 4.0), (1, 5.0)]);
    let bounds = |bucket: Bucket| (bucket.lower, bucket.upper, bucket.count);
    let wanted = [(-2.0, -1.0, 5.0), (-1.0, -0.75, 4.0), (-0.75, 0.75, 1.0), (0.75, 1.0, 2.0), (2.0, 4.0, 3.0)];
    assert_eq!(h.buckets().map(bounds).collect::<Vec<_>>(), wanted);
    let mut reversed: Vec<_> = h.buckets_reversed().map(bounds).collect();
    reversed.reverse();
    assert_eq!(reversed, wanted);
}

#[test]
fn trims_keep_whole_buckets_and_estimate_the_one_cut() {
    let mut h = exponential(0, (0.001, 1.0), &[(0, 2.0), (1, 4.0), (2, 8.0), (3, 16.0)], &[(0, 1.0), (1, 2.0)]);
    h.sum = 123.75;
    assert_equals(&h.trim(f64::NEG_INFINITY, Keep::Above), &h);
    assert_equals(&h.trim(f64::INFINITY, Keep::Below), &h);
    let nothing = h.trim(f64::INFINITY, Keep::Above);
    assert_equals(&nothing, &exponential(0, (0.001, 0.0), &[], &[]));
    let above = h.trim(0.0, Keep::Above);
    assert_eq!((above.count, above.zero_count), (30.5, 0.5));
    assert!((above.sum - 120.208_402_801_713_08).abs() < 1e-9);
    let below = h.trim(2f64.sqrt(), Keep::Below);
    assert!((below.positive_buckets[1] - 2.0).abs() < 1e-9 && (below.count - 8.0).abs() < 1e-9);
    let linear = custom(&[2.0, 4.0], &[4.0, 8.0, 16.0]).trim(3.0, Keep::Below);
    assert_eq!((linear.positive_buckets, linear.count, linear.sum), (vec![4.0, 4.0], 8.0, 4.0 * 1.0 + 4.0 * 2.5));
}

#[test]
fn trims_of_zero_buckets_keep_the_share_on_one_side() {
    let both = exponential(0, (0.5, 8.0), &[(1, 1.0)], &[(1, 1.0)]);
    let positive = exponential(0, (0.5, 8.0), &[(1, 1.0)], &[]);
    for (h, at, keep, zero_count, count) in [
        (&both, 0.25, Keep::Below, 6.0, 7.0),
        (&both, 0.25, Keep::Above, 2.0, 3.0),
        (&both, -0.5, Keep::Below, 0.0, 1.0),
        (&both, -0.5, Keep::Above, 8.0, 9.0),
        (&both, 0.5, Keep::Below, 8.0, 9.0),
        (&both, 0.5, Keep::Above, 0.0, 1.0),
        // Without negative buckets the zero bucket begins at zero.
        (&positive, 0.25, Keep::Below, 4.0, 4.0),
        (&positive, 0.0, Keep::Above, 8.0, 9.0),
        (&positive, 0.0, Keep::Below, 0.0, 0.0),
    ] {
        let trimmed = h.trim(at, keep);
        assert_eq!((trimmed.zero_count, trimmed.count), (zero_count, count), "{at} {keep:?}");
    }
    assert!(both.trim(f64::NAN, Keep::Below).zero_count.is_nan());
}

#[test]
fn division_by_zero_leaves_no_buckets() {
    let mut h = exponential(0, (0.001, 1.0), &[(0, 2.0)], &[]);
    h.div(0.0);
    assert_eq!((h.count, h.zero_count, h.positive_spans.len(), h.positive_buckets.len()), (f64::INFINITY, f64::INFINITY, 0, 0));
    h.mul(-1.0);
    assert_eq!((h.count, h.counter_reset_hint), (f64::NEG_INFINITY, CounterResetHint::Gauge));
}

#[test]
fn sizes_are_those_of_prometheus() {
    let h = exponential(0, (0.001, 1.0), &[(0, 2.0), (1, 4.0), (3, 1.0)], &[(0, 1.0)]);
    assert_eq!(h.size(), 168 + 8 * (3 + 4));
    assert_eq!(h.samples(), (h.size() + 8) / 16);
    assert!(FloatHistogram::stale().is_stale() && !h.is_stale());
    assert_eq!(absolute_counts(&[3, -1, 0, 5]), [3.0, 2.0, 2.0, 7.0]);
}

#[test]
fn invalid_histograms_are_refused_in_prometheus_words() {
    let valid = || exponential(0, (0.001, 1.0), &[(0, 2.0), (2, 4.0)], &[(0, 1.0)]);
    assert_eq!(valid().validate(), Ok(()));
    assert_eq!(custom(&[1.0], &[1.0, 2.0]).validate(), Ok(()));
    let broken = |change: fn(&mut FloatHistogram)| {
        let mut h = valid();
        change(&mut h);
        h.validate().unwrap_err().to_string()
    };
    for (found, wanted) in [
        (broken(|h| h.schema = 9), "got schema 9"),
        (broken(|h| h.positive_buckets[1] = -1.0), "positive side: bucket number 2 has observation count of -1"),
        (broken(|h| h.negative_buckets.push(1.0)), "negative side: spans need 1 buckets, have 2 buckets"),
        (broken(|h| h.positive_spans[1].offset = -1), "positive side: span number 2 with offset -1"),
        (broken(|h| h.positive_spans[1].offset = i32::MAX), "positive side: span number 2 reaches beyond"),
        (broken(|h| h.zero_count = -1.0), "zero bucket has observation count of -1"),
        (broken(|h| h.zero_threshold = f64::NAN), "invalid zero threshold of NaN"),
        (broken(|h| h.count = -2.0), "observation count is -2"),
        (broken(|h| h.custom_values = [1.0].into()), "must not have custom bounds"),
        (custom(&[1.0, 1.0], &[1.0]).validate().unwrap_err().to_string(), "previous bound is 1.000000 and current is 1.000000"),
        (custom(&[f64::INFINITY], &[1.0]).validate().unwrap_err().to_string(), "last +Inf bound"),
        (custom(&[1.0], &[1.0, 1.0, 1.0]).validate().unwrap_err().to_string(), "only 1 custom bounds defined"),
    ] {
        assert!(found.contains(wanted), "{found}: {wanted}");
    }
}

fn side_strategy() -> impl Strategy<Value = Vec<(i32, f64)>> {
    prop::collection::btree_map(-40i32..40, 0u32..1000, 0..12)
        .prop_map(|side| side.into_iter().map(|(index, count)| (index, f64::from(count))).collect())
}

/// Whole counts, so that additions are exact.
fn exponential_strategy() -> impl Strategy<Value = FloatHistogram> {
    let zero = (prop::sample::select(vec![0.0, 0.001, 0.7, 1.5, 3.0]), 0u32..9);
    (0i32..=3, zero, side_strategy(), side_strategy()).prop_map(|(schema, zero, positive, negative)| {
        let mut h = exponential(schema, (zero.0, f64::from(zero.1)), &positive, &negative);
        // What is below the zero threshold is in the zero bucket, as a client sees to.
        let threshold = h.zero_threshold;
        h.each_side(|side| side.retain(|index, _| exponential_bound(index - 1, schema) >= threshold));
        h.count = counted(&h);
        h
    })
}

fn custom_strategy() -> impl Strategy<Value = FloatHistogram> {
    let bounds = prop::collection::btree_set(0i32..8, 0..6);
    (bounds, prop::collection::vec(0u32..100, 7)).prop_map(|(bounds, counts)| {
        let bounds: Vec<f64> = bounds.into_iter().map(f64::from).collect();
        let counts: Vec<f64> = counts.into_iter().take(bounds.len() + 1).map(f64::from).collect();
        custom(&bounds, &counts)
    })
}

fn counted(h: &FloatHistogram) -> f64 {
    h.zero_count + h.positive_buckets.iter().chain(&h.negative_buckets).fold(0.0, |sum, count| sum + count)
}

proptest! {
    #[test]
    fn addition_commutes_and_loses_no_observation(a in exponential_strategy(), b in exponential_strategy()) {
        let sum = added(&a, &b);
        prop_assert!(sum.equals(&added(&b, &a)), "{sum:?}");
        prop_assert_eq!(counted(&sum), counted(&a) + counted(&b));
    }

    #[test]
    fn addition_of_one_layout_is_associative(hs in prop::collection::vec(exponential_strategy(), 3)) {
        let same = |h: &FloatHistogram| FloatHistogram { zero_threshold: 0.0, ..h.clone() };
        let [a, b, c] = [same(&hs[0]), same(&hs[1]), same(&hs[2])];
        prop_assert!(added(&added(&a, &b), &c).equals(&added(&a, &added(&b, &c))));
    }

    #[test]
    fn addition_of_custom_buckets_is_associative(hs in prop::collection::vec(custom_strategy(), 3)) {
        let (a, b, c) = (&hs[0], &hs[1], &hs[2]);
        prop_assert!(added(&added(a, b), c).equals(&added(a, &added(b, c))));
        prop_assert!(added(a, b).equals(&added(b, a)));
    }

    #[test]
    fn subtraction_undoes_addition(a in exponential_strategy(), b in exponential_strategy()) {
        let mut back = added(&a, &b);
        back.sub(&b).unwrap();
        let back = compacted(back);
        prop_assert_eq!((counted(&back), back.count, back.sum), (counted(&a), a.count, a.sum));
        if (a.schema, a.zero_threshold) == (b.schema, b.zero_threshold) {
            prop_assert!(back.equals(&compacted(a)));
        }
    }

    #[test]
    fn compensated_sums_of_whole_counts_are_sums(a in exponential_strategy(), b in exponential_strategy()) {
        let mut sum = CompensatedHistogram::new(a.clone());
        sum.add(&b).unwrap();
        prop_assert!(compacted(sum.sum()).equals(&added(&a, &b)));
    }

    #[test]
    fn iterators_agree_with_spans_in_both_directions(h in exponential_strategy()) {
        let forward: Vec<Bucket> = h.buckets().collect();
        let mut backward: Vec<Bucket> = h.buckets_reversed().collect();
        backward.reverse();
        prop_assert_eq!(&forward, &backward);
        prop_assert!(forward.windows(2).all(|pair| pair[0].upper <= pair[1].lower), "{forward:?}");
        let mut index = 0;
        let mut wanted = Vec::new();
        for span in &h.positive_spans {
            index += span.offset;
            for _ in 0..span.length {
                wanted.push((index, h.positive_buckets[wanted.len()]));
                index += 1;
            }
        }
        prop_assert_eq!(h.positive().map(|b| (b.index, b.count)).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn compaction_changes_no_count(h in exponential_strategy(), empty_max in 0u32..4) {
        let counts = |h: &FloatHistogram| -> BTreeMap<i32, u64> {
            h.positive().filter(|b| b.count != 0.0).map(|b| (b.index, b.count.to_bits())).collect()
        };
        let mut compact = h.clone();
        compact.compact(empty_max);
        prop_assert_eq!(counts(&compact), counts(&h));
        prop_assert_eq!(compact.validate(), Ok(()));
        let once = compact.clone();
        compact.compact(empty_max);
        prop_assert_eq!((&once.positive_spans, &once.positive_buckets), (&compact.positive_spans, &compact.positive_buckets));
    }

    #[test]
    fn reduction_in_steps_is_reduction_at_once(h in exponential_strategy()) {
        let mut steps = h.clone();
        for schema in (-4..h.schema).rev() {
            steps.reduce_resolution(schema).unwrap();
            prop_assert!(steps.equals(&h.at_schema(schema).unwrap()));
        }
    }

    #[test]
    fn a_histogram_with_more_in_it_is_no_reset(a in exponential_strategy(), b in exponential_strategy()) {
        let b = FloatHistogram { zero_threshold: a.zero_threshold, ..b };
        prop_assert!(!added(&a, &a).detect_reset(&a));
        let sum = added(&a, &b);
        prop_assert!(!sum.detect_reset(&a), "{sum} after {a}");
    }

    #[test]
    fn trims_split_the_count(h in exponential_strategy(), at in -20.0f64..20.0) {
        let (below, above) = (h.trim(at, Keep::Below), h.trim(at, Keep::Above));
        prop_assert!((below.count + above.count - counted(&h)).abs() <= 1e-6 * (1.0 + counted(&h)), "{below} {above}");
    }
}
