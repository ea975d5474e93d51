//! Sums of native histograms over series, exact and independent of their order, so that parts may come from several shards.

mod exact;
#[cfg(test)]
mod tests;

use crate::annotations::Annotations;
use crate::ast::Span as Position;
use crate::eval::block::{Row, RowMut};
use crate::eval::range::histogram::{collision_text, mixed_schemas_text, reconciled_text};
use crate::frame::codec::{FrameError, Reader, put_bytes, put_float, put_number, put_signed};
use exact::ExactSum;
use model::histogram::{
    CUSTOM_BUCKETS_SCHEMA, CounterResetHint, EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, FloatHistogram, Span, common_bounds,
    exponential_bound,
};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// The first in order of the names of the metrics.
    metric_name: String,
    schema: i32,
    custom_values: Arc<[f64]>,
    /// The least and the greatest.
    zero_thresholds: (f64, f64),
    zero_count: ExactSum,
    count: ExactSum,
    sum: ExactSum,
    positive: ExactBuckets,
    negative: ExactBuckets,
}

impl HistogramSum {
    /// A sum of one histogram.
    fn new(first: &FloatHistogram, metric_name: &str) -> Self {
        let mut sum = Self {
            histograms: 0,
            hints: 0,
            is_mixed: false,
            is_reconciled: false,
            metric_name: metric_name.to_owned(),
            schema: first.schema,
            custom_values: Arc::clone(&first.custom_values),
            zero_thresholds: (first.zero_threshold, first.zero_threshold),
            zero_count: ExactSum::default(),
            count: ExactSum::default(),
            sum: ExactSum::default(),
            positive: ExactBuckets::new(),
            negative: ExactBuckets::new(),
        };
        sum.add(first, metric_name);
        sum
    }

    /// Adds a histogram.
    fn add(&mut self, h: &FloatHistogram, metric_name: &str) {
        self.histograms += 1;
        self.hints |= 1 << h.counter_reset_hint as u8;
        self.adopt_name(metric_name);
        self.adopt_layout(h.schema, &h.custom_values, (h.zero_threshold, h.zero_threshold));
        if self.is_mixed {
            return;
        }
        self.zero_count.add(h.zero_count);
        self.count.add(h.count);
        self.sum.add(h.sum);
        let layout = Layout { from: h.schema, to: self.schema, bounds: &h.custom_values, common: &self.custom_values };
        for (side, spans, counts) in
            [(&mut self.positive, &h.positive_spans, &h.positive_buckets), (&mut self.negative, &h.negative_spans, &h.negative_buckets)]
        {
            for (index, count) in indices(spans).zip(counts).filter(|(_, count)| **count != 0.0) {
                side.entry(layout.index(index)).or_default().add(*count);
            }
        }
    }

    /// Adds another sum of the same group and step.
    fn merge(&mut self, other: &Self) {
        self.adopt_name(&other.metric_name);
        self.histograms += other.histograms;
        self.hints |= other.hints;
        self.is_mixed |= other.is_mixed;
        self.is_reconciled |= other.is_reconciled;
        self.adopt_layout(other.schema, &other.custom_values, other.zero_thresholds);
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

    fn adopt_name(&mut self, metric_name: &str) {
        if metric_name < self.metric_name.as_str() {
            metric_name.clone_into(&mut self.metric_name);
        }
    }

    /// Makes the buckets ones that a histogram of this layout can be added to.
    fn adopt_layout(&mut self, schema: i32, custom_values: &Arc<[f64]>, (narrowest, widest): (f64, f64)) {
        if (schema == CUSTOM_BUCKETS_SCHEMA) != (self.schema == CUSTOM_BUCKETS_SCHEMA) {
            self.is_mixed = true;
        }
        if self.is_mixed {
            self.positive.clear();
            self.negative.clear();
            return;
        }
        let (least, greatest) = self.zero_thresholds;
        self.zero_thresholds = (least.min(narrowest), greatest.max(widest));
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

    /// Notes what is to be told about the sum.
    fn note(&self, notes: &mut SumNotes) {
        let saw = |hint: CounterResetHint| self.hints >> hint as u8 & 1 == 1;
        notes.collided |= saw(CounterResetHint::Reset) && saw(CounterResetHint::NotReset);
        notes.reconciled |= self.is_reconciled && !self.is_mixed;
        if self.is_mixed {
            notes.mixed_schemas.insert(self.metric_name.clone());
        }
    }

    /// The sum, or the mean if `is_mean`; none if exponential and custom buckets were mixed.
    fn finish(&self, is_mean: bool) -> Option<FloatHistogram> {
        if self.is_mixed {
            return None;
        }
        let n = if is_mean { f64::from(self.histograms) } else { 1.0 };
        let threshold = self.zero_threshold();
        let mut zero = self.zero_count.clone();
        let is_zero = |index: i32| threshold.is_some_and(|threshold| exponential_bound(index, self.schema) <= threshold);
        let mut finished = |side: &ExactBuckets| {
            side.iter().filter(|(index, _)| is_zero(**index)).for_each(|(_, count)| zero.merge(count));
            let outside = side.iter().filter(|(index, _)| !is_zero(**index)).map(|(index, count)| (*index, count.over(n)));
            spans_of(outside.filter(|(_, count)| *count != 0.0))
        };
        let (positive_spans, positive_buckets) = finished(&self.positive);
        let (negative_spans, negative_buckets) = finished(&self.negative);
        Some(FloatHistogram {
            counter_reset_hint: self.hint(),
            schema: self.schema,
            zero_threshold: threshold.unwrap_or(self.zero_thresholds.1),
            zero_count: zero.over(n),
            count: self.count.over(n),
            sum: self.sum.over(n),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: Arc::clone(&self.custom_values),
        })
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

    /// If thresholds differ, the least one that is not below any of them and cuts no populated bucket.
    fn zero_threshold(&self) -> Option<f64> {
        let (least, greatest) = self.zero_thresholds;
        if self.schema == CUSTOM_BUCKETS_SCHEMA || least == greatest {
            return None;
        }
        // Buckets of both sides have the same bounds, so that the bound where the widened zero bucket ends is not cut again.
        let populated = self.positive.iter().chain(&self.negative).filter(|(_, count)| count.value() != 0.0);
        let begun = populated.filter(|(index, _)| exponential_bound(index.wrapping_sub(1), self.schema) < greatest);
        Some(begun.map(|(index, _)| exponential_bound(*index, self.schema)).fold(greatest, f64::max))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, u64::from(self.histograms));
        out.push(self.hints);
        out.push(u8::from(self.is_mixed) | u8::from(self.is_reconciled) << 1);
        put_bytes(out, self.metric_name.as_bytes());
        put_signed(out, i64::from(self.schema));
        put_number(out, self.custom_values.len() as u64);
        self.custom_values.iter().for_each(|bound| put_float(out, *bound));
        put_float(out, self.zero_thresholds.0);
        put_float(out, self.zero_thresholds.1);
        [&self.zero_count, &self.count, &self.sum].into_iter().for_each(|sum| sum.encode(out));
        for side in [&self.positive, &self.negative] {
            put_number(out, side.len() as u64);
            for (index, count) in side {
                put_signed(out, i64::from(*index));
                count.encode(out);
            }
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let histograms = u32::try_from(reader.number()?).map_err(|_| reader.error("count out of range"))?;
        let hints = reader.byte()?;
        let flags = reader.byte()?;
        let metric_name = reader.text()?.to_owned();
        let schema = index(reader)?;
        if schema != CUSTOM_BUCKETS_SCHEMA && !(EXPONENTIAL_SCHEMA_MIN..=EXPONENTIAL_SCHEMA_MAX).contains(&schema) {
            return Err(reader.error("schema out of range"));
        }
        let bounds = reader.count(8)?;
        let custom_values = reader.floats(bounds)?.collect();
        Ok(Self {
            histograms,
            hints,
            is_mixed: flags & 1 != 0,
            is_reconciled: flags & 2 != 0,
            metric_name,
            schema,
            custom_values,
            zero_thresholds: (reader.float()?, reader.float()?),
            zero_count: ExactSum::decode(reader)?,
            count: ExactSum::decode(reader)?,
            sum: ExactSum::decode(reader)?,
            positive: decode_buckets(reader)?,
            negative: decode_buckets(reader)?,
        })
    }

    /// Bytes held, for memory accounting.
    fn heap_bytes(&self) -> usize {
        const BUCKET_BYTES: usize = size_of::<(i32, ExactSum)>() + 64;
        size_of::<Self>() + (self.positive.len() + self.negative.len()) * BUCKET_BYTES + self.custom_values.len() * 8
    }
}

fn index(reader: &mut Reader<'_>) -> Result<i32, FrameError> {
    i32::try_from(reader.signed()?).map_err(|_| reader.error("index out of range"))
}

fn decode_buckets(reader: &mut Reader<'_>) -> Result<ExactBuckets, FrameError> {
    (0..reader.count(3)?).map(|_| Ok((index(reader)?, ExactSum::decode(reader)?))).collect()
}

/// The sums of the native histograms of one group, by step.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistogramSums(BTreeMap<usize, HistogramSum>);

impl HistogramSums {
    /// Takes the histograms of one series; returns how many bytes more that holds.
    pub(crate) fn add(&mut self, row: Row<'_>, metric_name: &str) -> usize {
        let mut grown = 0;
        for (step, histogram) in row.histograms {
            match self.0.entry(*step) {
                Entry::Occupied(mut sum) => {
                    let before = sum.get().heap_bytes();
                    sum.get_mut().add(histogram, metric_name);
                    grown += sum.get().heap_bytes().saturating_sub(before);
                }
                Entry::Vacant(none) => grown += none.insert(HistogramSum::new(histogram, metric_name)).heap_bytes(),
            }
        }
        grown
    }

    /// Takes the sums of other series of the same group.
    pub(crate) fn merge(&mut self, other: Self) {
        for (step, theirs) in other.0 {
            match self.0.entry(step) {
                Entry::Occupied(mut sum) => sum.get_mut().merge(&theirs),
                Entry::Vacant(none) => {
                    none.insert(theirs);
                }
            }
        }
    }

    /// Sets the sums, or means if `is_mean`. A group that has floats too at a step, which are set already, has no value there.
    pub(crate) fn finish(&self, is_mean: bool, row: &mut RowMut<'_>, notes: &mut SumNotes) {
        for (step, sum) in &self.0 {
            if row.as_row().get(*step).is_some() {
                row.clear(*step);
                notes.mixed_types = true;
                continue;
            }
            sum.note(notes);
            if let Some(histogram) = sum.finish(is_mean) {
                row.set_histogram(*step, Arc::new(histogram));
            }
        }
    }

    /// Appends the sums as bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, self.0.len() as u64);
        for (step, sum) in &self.0 {
            put_number(out, *step as u64);
            sum.encode(out);
        }
    }

    /// Reads what [`Self::encode`] wrote of a grid of so many steps.
    pub(crate) fn decode(steps: usize, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let mut sums = BTreeMap::new();
        for _ in 0..reader.count(3)? {
            let step = usize::try_from(reader.number()?).ok().filter(|step| *step < steps);
            let step = step.ok_or_else(|| reader.error("step beyond the last"))?;
            sums.insert(step, HistogramSum::decode(reader)?);
        }
        Ok(Self(sums))
    }

    /// Bytes held, for memory accounting.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.0.values().map(HistogramSum::heap_bytes).sum()
    }
}

/// What is to be told about the sums of an aggregation.
#[derive(Debug, Default)]
pub(crate) struct SumNotes {
    mixed_types: bool,
    /// Names of metrics of which exponential and custom buckets were mixed.
    mixed_schemas: BTreeSet<String>,
    collided: bool,
    reconciled: bool,
}

impl SumNotes {
    /// Adds the annotations about what stands at `position`.
    pub(crate) fn report(self, position: Position, annotations: &mut Annotations) {
        if self.mixed_types {
            annotations.warn(position, "encountered a mix of histograms and floats for aggregation");
        }
        self.mixed_schemas.iter().for_each(|name| annotations.warn(position, mixed_schemas_text(name)));
        if self.collided {
            annotations.warn(position, collision_text("aggregation"));
        }
        if self.reconciled {
            annotations.info(position, reconciled_text("aggregation"));
        }
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
            return (index.wrapping_sub(1) >> self.from.saturating_sub(self.to).clamp(0, 31)).wrapping_add(1);
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
