//! Raw series.

use super::codec::{FrameError, Reader, put_float, put_histogram, put_label_sets, put_number, put_signed};
use crate::source::{HistogramSample, RawSeries};
use std::sync::Arc;

/// Appends series.
pub(super) fn encode(series: &[Arc<RawSeries>], out: &mut Vec<u8>) {
    put_label_sets(out, series.iter().map(|one| &one.labels));
    for one in series {
        put_times(out, &one.timestamps);
        one.values.iter().for_each(|value| put_float(out, *value));
        put_times(out, &one.start_timestamps);
        put_number(out, one.histograms.len() as u64);
        for sample in &one.histograms {
            put_signed(out, sample.timestamp_ms);
            put_signed(out, sample.start_ms);
            put_histogram(out, &sample.histogram);
        }
    }
}

/// Times are near each other: the differences are small.
fn put_times(out: &mut Vec<u8>, times: &[i64]) {
    put_number(out, times.len() as u64);
    let mut last = 0_i64;
    for time in times {
        put_signed(out, time.wrapping_sub(last));
        last = *time;
    }
}

fn times(reader: &mut Reader<'_>) -> Result<Vec<i64>, FrameError> {
    let count = reader.count(1)?;
    let mut times = Vec::with_capacity(count);
    let mut last = 0_i64;
    for _ in 0..count {
        last = last.wrapping_add(reader.signed()?);
        times.push(last);
    }
    Ok(times)
}

/// Reads what [`encode`] wrote.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Vec<Arc<RawSeries>>, FrameError> {
    let sets = reader.label_sets()?;
    let mut series = Vec::with_capacity(sets.len());
    for labels in sets {
        let timestamps = times(reader)?;
        let values = reader.floats(timestamps.len())?.collect();
        let start_timestamps = times(reader)?;
        let is_complete = start_timestamps.is_empty() || start_timestamps.len() == timestamps.len();
        let mut histograms = Vec::new();
        for _ in 0..reader.count(3)? {
            let (timestamp_ms, start_ms) = (reader.signed()?, reader.signed()?);
            histograms.push(HistogramSample { timestamp_ms, start_ms, histogram: Arc::new(reader.histogram()?) });
        }
        let histogram_times = histograms.windows(2).all(|pair| pair[0].timestamp_ms < pair[1].timestamp_ms);
        if !is_complete || !histogram_times || !timestamps.is_sorted_by(|a, b| a < b) {
            return Err(reader.error("times out of order"));
        }
        series.push(Arc::new(RawSeries { labels, timestamps, values, start_timestamps, histograms }));
    }
    Ok(series)
}
