//! What a script has loaded.

use super::{Load, buckets};
use crate::parse::{SequenceValue, SeriesDescription};
use crate::source::{HistogramSample, MemorySource, RawSeries};
use model::histogram::{CounterResetHint, FloatHistogram};
use model::sample::is_stale;
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
        self.series.append(&mut loaded);
        let joined = MemorySource::new(self.series.clone());
        self.source = MemorySource::new(joined.series().map(with_hints).collect());
        Ok(())
    }
}

/// A series with the hints that Prometheus's storage would give back: it knows of a histogram that it continues the one before it, and of
/// one that it does not that much, as it begins another chunk; that there was a reset it does not tell.
fn with_hints(series: &RawSeries) -> RawSeries {
    let mut series = series.clone();
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for sample in &mut series.histograms {
        let as_given = Arc::clone(&sample.histogram);
        if !is_stale(as_given.sum) && as_given.counter_reset_hint != CounterResetHint::Gauge {
            let continues = previous.as_ref().is_some_and(|previous| is_continued(previous, &as_given));
            let hint = if continues { CounterResetHint::NotReset } else { CounterResetHint::Unknown };
            Arc::make_mut(&mut sample.histogram).counter_reset_hint = hint;
        }
        previous = Some(as_given);
    }
    series
}

/// Whether a histogram goes into the chunk of the one before it.
fn is_continued(previous: &FloatHistogram, next: &FloatHistogram) -> bool {
    let is_kind = |h: &FloatHistogram| !is_stale(h.sum) && h.counter_reset_hint != CounterResetHint::Gauge;
    let is_layout_same =
        previous.schema == next.schema && previous.zero_threshold == next.zero_threshold && previous.custom_values == next.custom_values;
    is_kind(previous) && is_layout_same && next.counter_reset_hint != CounterResetHint::Reset && !next.detect_reset(previous)
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
