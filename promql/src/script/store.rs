//! What a script has loaded.

use super::{Load, buckets};
use crate::parse::{SequenceValue, SeriesDescription};
use crate::source::{HistogramSample, MemorySource, RawSeries};
use model::histogram::{CounterResetHint, FloatHistogram};
use std::sync::Arc;

/// All series so far.
#[derive(Default)]
pub(super) struct Store {
    series: Vec<RawSeries>,
    pub(super) source: MemorySource,
}

impl Store {
    /// Adds what a `load` command lists.
    ///
    /// # Errors
    /// Start timestamps do not go with a series, or a classic histogram is none.
    pub(super) fn load(&mut self, load: &Load) -> Result<(), String> {
        let mut loaded: Vec<RawSeries> = Vec::new();
        for description in &load.series {
            let starts = load.starts.iter().find(|starts| starts.labels == description.labels).map(|starts| &starts.offsets_ms[..]);
            if starts.is_some_and(|starts| starts.len() != description.values.len()) {
                return Err(format!("{} has more or fewer start timestamps than values", description.labels));
            }
            // A later line takes the place of an earlier one of the same series.
            loaded.retain(|one| one.labels != description.labels);
            loaded.push(series(description, starts, load.step_ms));
        }
        if load.with_native {
            loaded.extend(buckets::native(&loaded)?);
        }
        loaded.iter_mut().for_each(set_hints);
        self.series.append(&mut loaded);
        self.source = MemorySource::new(self.series.clone());
        Ok(())
    }
}

/// Gives histograms the hints with which Prometheus's storage hands them out: counters that continue the one before them in their
/// chunk are no reset, the first one of each chunk is not known to be one or not.
fn set_hints(series: &mut RawSeries) {
    let mut before: Option<HistogramSample> = None;
    for sample in &mut series.histograms {
        let stored = sample.clone();
        let float = series.timestamps.partition_point(|t| *t < sample.timestamp_ms).checked_sub(1).map(|i| series.timestamps[i]);
        let neighbour = before.filter(|before| float.is_none_or(|time| time < before.timestamp_ms));
        let hint = match stored.histogram.counter_reset_hint {
            CounterResetHint::Gauge => CounterResetHint::Gauge,
            _ if neighbour.is_some_and(|neighbour| continues(&stored.histogram, &neighbour.histogram)) => CounterResetHint::NotReset,
            _ => CounterResetHint::Unknown,
        };
        Arc::make_mut(&mut sample.histogram).counter_reset_hint = hint;
        before = Some(stored);
    }
}

/// Whether a histogram can be in a chunk after another one.
fn continues(histogram: &FloatHistogram, previous: &FloatHistogram) -> bool {
    let is_gauge = previous.counter_reset_hint == CounterResetHint::Gauge;
    let layout = |h: &FloatHistogram| (h.schema, h.zero_threshold, Arc::clone(&h.custom_values));
    !is_gauge && layout(histogram) == layout(previous) && !previous.is_stale() && !histogram.detect_reset(previous)
}

fn series(description: &SeriesDescription, starts: Option<&[Option<i64>]>, step_ms: i64) -> RawSeries {
    let mut series = RawSeries { labels: description.labels.clone(), ..RawSeries::default() };
    for (i, value) in description.values.iter().enumerate() {
        let timestamp_ms = i as i64 * step_ms;
        let start_ms = starts.and_then(|starts| starts[i]).map_or(0, |offset| timestamp_ms + offset);
        match value {
            SequenceValue::Omitted => {}
            SequenceValue::Float(value) => {
                series.timestamps.push(timestamp_ms);
                series.values.push(*value);
                if starts.is_some() {
                    series.start_timestamps.push(start_ms);
                }
            }
            SequenceValue::Histogram { histogram, .. } => {
                series.histograms.push(HistogramSample { timestamp_ms, start_ms, histogram: Arc::clone(histogram) });
            }
        }
    }
    series
}
