//! Sums of native histograms over series, exact and independent of their order, so that parts may come from several shards.

use crate::eval::range::histogram::{collision_text, reconciled_text};
use crate::merge::exact::ExactSums;
use model::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterResetHint, FloatHistogram, Span, common_bounds, exponential_bound};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A number that is summed exactly; what is not finite is remembered apart.
#[derive(Clone, Debug)]
pub(crate) struct ExactSum {
    finite: ExactSums,
    saw: u8,
}

const SAW_NAN: u8 = 1;
const SAW_POSITIVE_INFINITY: u8 = 2;
const SAW_NEGATIVE_INFINITY: u8 = 4;

impl Default for ExactSum {
    fn default() -> Self {
        Self { finite: ExactSums::new(1), saw: 0 }
    }
}

impl ExactSum {
    fn add(&mut self, value: f64) {
        match value {
            v if v.is_finite() => self.finite.add(0, v),
            v if v.is_nan() => self.saw |= SAW_NAN,
            v if v > 0.0 => self.saw |= SAW_POSITIVE_INFINITY,
            _ => self.saw |= SAW_NEGATIVE_INFINITY,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.finite.merge(&other.finite);
        self.saw |= other.saw;
    }

    /// The sum over `n`, rounded.
    fn over(&self, n: f64) -> f64 {
        match self.saw {
            0 if n == 1.0 => self.finite.rounded(0).value(),
            0 => self.finite.rounded(0).divided_by(n),
            SAW_POSITIVE_INFINITY => f64::INFINITY,
            SAW_NEGATIVE_INFINITY => f64::NEG_INFINITY,
            _ => f64::NAN,
        }
    }
}

/// Exact counts of buckets by index.
type ExactBuckets = BTreeMap<i32, ExactSum>;

/// The sum of the histograms of one group at one step. Merging commutes and associates: counts are exact, the schema is the lowest,
/// the zero threshold the widest of all, custom bounds the common ones. What the zero bucket takes in is found at the end.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSum {
    /// Histograms that were added.
    histograms: u32,
    /// Bit `hint as u8`: one with this hint was added.
    hints: u8,
    /// Exponential buckets met custom ones: there is no sum.
    is_mixed: bool,
    /// Custom bounds differed.
    is_reconciled: bool,
    schema: i32,
    custom_values: Arc<[f64]>,
    zero_threshold: f64,
    zero_count: ExactSum,
    count: ExactSum,
    sum: ExactSum,
    positive: ExactBuckets,
    negative: ExactBuckets,
}

/// What a finished sum is.
#[derive(Debug)]
pub(crate) enum HistogramOutcome {
    /// The sum or mean.
    Value(FloatHistogram),
    /// There is none: exponential and custom buckets were mixed.
    Mixed,
}

impl HistogramSum {
    /// A sum of one histogram.
    pub(crate) fn new(first: &FloatHistogram) -> Self {
        let mut sum = Self {
            histograms: 0,
            hints: 0,
            is_mixed: false,
            is_reconciled: false,
            schema: first.schema,
            custom_values: Arc::clone(&first.custom_values),
            zero_threshold: first.zero_threshold,
            zero_count: ExactSum::default(),
            count: ExactSum::default(),
            sum: ExactSum::default(),
            positive: ExactBuckets::new(),
            negative: ExactBuckets::new(),
        };
        sum.add(first);
        sum
    }

    /// Adds a histogram.
    pub(crate) fn add(&mut self, h: &FloatHistogram) {
        self.histograms += 1;
        self.hints |= 1 << h.counter_reset_hint as u8;
        self.adopt_layout(h.schema, &h.custom_values, h.zero_threshold);
        if self.is_mixed {
            return;
        }
        self.zero_count.add(h.zero_count);
        self.count.add(h.count);
        self.sum.add(h.sum);
        let layout = Layout { from: h.schema, to: self.schema, bounds: &h.custom_values, common: &self.custom_values };
        for (side, spans, counts) in [
            (&mut self.positive, &h.positive_spans, &h.positive_buckets),
            (&mut self.negative, &h.negative_spans, &h.negative_buckets),
        ] {
            for (index, count) in indices(spans).zip(counts).filter(|(_, count)| **count != 0.0) {
                side.entry(layout.index(index)).or_default().add(*count);
            }
        }
    }

    /// Adds another sum of the same group and step.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histograms += other.histograms;
        self.hints |= other.hints;
        self.is_mixed |= other.is_mixed;
        self.is_reconciled |= other.is_reconciled;
        self.adopt_layout(other.schema, &other.custom_values, other.zero_threshold);
        if self.is_mixed {
            return;
        }
        self.zero_count.merge(&other.zero_count);
        self.count.merge(&other.count);
        self.sum.merge(&other.sum);
        let layout = Layout { from: other.schema, to: self.schema, bounds: &other.custom_values, common: &self.custom_values };
        merge_buckets(&mut self.positive, &other.positive, &layout);
        merge_buckets(&mut self.negative, &other.negative, &layout);
    }

    /// Makes the buckets ones that a histogram of this layout can be added to.
    fn adopt_layout(&mut self, schema: i32, custom_values: &Arc<[f64]>, zero_threshold: f64) {
        if (schema == CUSTOM_BUCKETS_SCHEMA) != (self.schema == CUSTOM_BUCKETS_SCHEMA) {
            self.is_mixed = true;
        }
        if self.is_mixed {
            self.positive.clear();
            self.negative.clear();
            return;
        }
        self.zero_threshold = self.zero_threshold.max(zero_threshold);
        if schema >= self.schema && self.custom_values == *custom_values {
            return;
        }
        let common = common_bounds(&self.custom_values, custom_values);
        self.is_reconciled |= schema == CUSTOM_BUCKETS_SCHEMA;
        let to = schema.min(self.schema);
        let layout = Layout { from: self.schema, to, bounds: &self.custom_values, common: &common };
        for side in [&mut self.positive, &mut self.negative] {
            let finer = std::mem::take(side);
            merge_buckets(side, &finer, &layout);
        }
        self.schema = to;
        self.custom_values = common;
    }

    /// The warnings and infos about the sum: (warnings, infos).
    pub(crate) fn notes(&self) -> (Option<String>, Option<String>) {
        let saw = |hint: CounterResetHint| self.hints >> hint as u8 & 1 == 1;
        let collided = saw(CounterResetHint::Reset) && saw(CounterResetHint::NotReset);
        let reconciled = self.is_reconciled && !self.is_mixed;
        (collided.then(|| collision_text("aggregation")), reconciled.then(|| reconciled_text("aggregation")))
    }

    /// Number of histograms.
    pub(crate) fn histograms(&self) -> u32 {
        self.histograms
    }

    /// The sum, or the mean if `is_mean`.
    pub(crate) fn finish(&self, is_mean: bool) -> HistogramOutcome {
        if self.is_mixed {
            return HistogramOutcome::Mixed;
        }
        let n = if is_mean { f64::from(self.histograms) } else { 1.0 };
        let mut result = FloatHistogram {
            counter_reset_hint: self.hint(),
            schema: self.schema,
            count: self.count.over(n),
            sum: self.sum.over(n),
            custom_values: Arc::clone(&self.custom_values),
            ..FloatHistogram::default()
        };
        let threshold = self.zero_threshold_of_all();
        let mut zero = self.zero_count.clone();
        let is_zero = |index: i32| self.schema != CUSTOM_BUCKETS_SCHEMA && exponential_bound(index, self.schema) <= threshold;
        let mut finished = |side: &ExactBuckets| {
            side.iter().filter(|(index, _)| is_zero(**index)).for_each(|(_, count)| zero.merge(count));
            let outside = side.iter().filter(|(index, _)| !is_zero(**index)).map(|(index, count)| (*index, count.over(n)));
            spans_of(outside.filter(|(_, count)| *count != 0.0))
        };
        (result.positive_spans, result.positive_buckets) = finished(&self.positive);
        (result.negative_spans, result.negative_buckets) = finished(&self.negative);
        result.zero_threshold = threshold;
        result.zero_count = zero.over(n);
        HistogramOutcome::Value(result)
    }

    /// The hint of a sum: gauges win, then what is not the same everywhere is unknown.
    fn hint(&self) -> CounterResetHint {
        use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
        match self.hints {
            hints if hints >> Gauge as u8 & 1 == 1 => Gauge,
            hints if hints == 1 << Reset as u8 => Reset,
            hints if hints == 1 << NotReset as u8 => NotReset,
            _ => Unknown,
        }
    }

    /// The least threshold that is not below that of any histogram and cuts no populated bucket.
    fn zero_threshold_of_all(&self) -> f64 {
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            return 0.0;
        }
        let cut = |threshold: f64| {
            let sides = self.positive.iter().chain(&self.negative).filter(|(_, count)| count.over(1.0) != 0.0);
            let uppers = sides.filter(|(index, _)| exponential_bound(index.wrapping_sub(1), self.schema) < threshold);
            uppers.map(|(index, _)| exponential_bound(*index, self.schema)).fold(threshold, f64::max)
        };
        // Buckets of both sides have the same bounds, so what the widened bucket ends at is not cut either.
        cut(self.zero_threshold)
    }

    /// Bytes held, for memory accounting.
    pub(crate) fn heap_bytes(&self) -> usize {
        const BUCKET_BYTES: usize = size_of::<(i32, ExactSum)>() + 64;
        size_of::<Self>() + (self.positive.len() + self.negative.len()) * BUCKET_BYTES + self.custom_values.len() * 8
    }
}

/// How indices of one layout become those of a coarser one.
struct Layout<'a> {
    from: i32,
    to: i32,
    bounds: &'a [f64],
    common: &'a [f64],
}

impl Layout<'_> {
    fn index(&self, index: i32) -> i32 {
        if self.from != CUSTOM_BUCKETS_SCHEMA {
            return (index.wrapping_sub(1) >> (self.from - self.to).clamp(0, 31)).wrapping_add(1);
        }
        if self.bounds == self.common {
            return index;
        }
        let bound = usize::try_from(index).ok().and_then(|index| self.bounds.get(index));
        bound.map_or(self.common.len(), |bound| self.common.partition_point(|common| common < bound)) as i32
    }
}

fn merge_buckets(into: &mut ExactBuckets, from: &ExactBuckets, layout: &Layout<'_>) {
    for (index, count) in from {
        into.entry(layout.index(*index)).or_default().merge(count);
    }
}

/// The indices of the buckets of spans.
fn indices(spans: &[Span]) -> impl Iterator<Item = i32> + '_ {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        let first = next.wrapping_add(span.offset);
        next = first.wrapping_add_unsigned(span.length);
        (0..span.length).map(move |i| first.wrapping_add_unsigned(i))
    })
}

/// Spans and counts of buckets in ascending order.
fn spans_of(buckets: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut next = 0i32;
    for (index, count) in buckets {
        match spans.last_mut() {
            Some(span) if index == next => span.length += 1,
            _ => spans.push(Span { offset: index.wrapping_sub(next), length: 1 }),
        }
        counts.push(count);
        next = index.wrapping_add(1);
    }
    (spans, counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
        let count = prop_oneof![Just(0.0), (0u32..1000).prop_map(f64::from), any::<f64>().prop_filter("finite", |v| v.is_finite())];
        prop::collection::btree_map(-20i32..20, count, 0..8).prop_map(|side| spans_of(side.into_iter()))
    }

    fn histogram() -> impl Strategy<Value = FloatHistogram> {
        let zero = prop::sample::select(vec![0.0, 0.001, 0.7, 1.5, 3.0]);
        let hint = prop::sample::select(vec![
            CounterResetHint::Unknown,
            CounterResetHint::Reset,
            CounterResetHint::NotReset,
            CounterResetHint::Gauge,
        ]);
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
        let mut sum = HistogramSum::new(&histograms[0]);
        histograms[1..].iter().for_each(|h| sum.add(h));
        sum
    }

    fn told(sum: &HistogramSum) -> String {
        format!("{:?} {:?} {:?} {}", sum.finish(false), sum.finish(true), sum.notes(), sum.histograms())
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
            let HistogramOutcome::Value(found) = sum_of(&histograms).finish(false) else { panic!("schemas are the same") };
            prop_assert!(found.equals(&wanted), "{found} {wanted}");
        }
    }

    #[test]
    fn the_zero_bucket_takes_in_what_it_overlaps() {
        let (spans, buckets) = spans_of([(0, 1.0), (1, 2.0), (2, 4.0)].into_iter());
        let narrow = FloatHistogram { positive_spans: spans, positive_buckets: buckets, zero_threshold: 0.001, ..FloatHistogram::default() };
        let wide = FloatHistogram { zero_threshold: 1.5, zero_count: 8.0, ..FloatHistogram::default() };
        let HistogramOutcome::Value(sum) = sum_of(&[narrow, wide]).finish(false) else { panic!("schemas are the same") };
        assert_eq!((sum.zero_threshold, sum.zero_count, sum.positive_buckets), (2.0, 11.0, vec![4.0]));
    }
}
