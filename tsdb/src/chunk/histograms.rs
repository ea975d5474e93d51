//! Columns of native histograms: one column over time for each field and each bucket.
//!
//! ```text
//! runs: count varint | flags u8 (see below) | [layout] | [hints] | columns, each behind its length
//! layout:  see `record::histogram`
//! hints:   one byte for all, or one byte each
//! columns: count, zero count, sum, positive buckets, negative buckets (see `floats`)
//! ```
//!
//! A run ends where the layout changes. Buckets hold absolute counts, so whole counts are packed as integers.

#![deny(clippy::indexing_slicing)]

use super::floats::FloatCoder;
use crate::error::Corruption;
use crate::record::histogram::{has_layout_of, put_layout, read_hint, read_layout};
use crate::wire::{Reader, put_bytes, put_varint};
use model::histogram::FloatHistogram;
use std::sync::Arc;

/// The histograms have no fields: stale markers.
const STALE: u8 = 1;
/// One hint stands for all.
const SAME_HINT: u8 = 2;
/// Counts and spans of one run: what is decoded at once.
const CELLS_MAX: usize = 1 << 20;
/// Counts and spans of one page.
const PAGE_CELLS_MAX: usize = 1 << 24;

/// Buffers that coding columns reuses.
#[derive(Debug, Default)]
pub(super) struct HistogramCoder {
    floats: FloatCoder,
    column: Vec<f64>,
    bytes: Vec<u8>,
}

fn is_marker(h: &FloatHistogram) -> bool {
    let plain = FloatHistogram { counter_reset_hint: h.counter_reset_hint, ..FloatHistogram::stale() };
    h.is_stale() && has_layout_of(h, &plain) && [h.count, h.zero_count].iter().all(|v| v.to_bits() == 0)
}

fn columns(h: &FloatHistogram) -> usize {
    3 + h.positive_buckets.len() + h.negative_buckets.len()
}

/// What a histogram takes in memory, in counts: a span takes as much as one.
fn cells(h: &FloatHistogram) -> usize {
    columns(h) + h.positive_spans.len() + h.negative_spans.len()
}

impl HistogramCoder {
    /// Appends histograms, each as many bucket values as its spans have buckets.
    pub(super) fn encode(&mut self, histograms: &[Arc<FloatHistogram>], out: &mut Vec<u8>) {
        let mut rest = histograms;
        while let Some(first) = rest.first() {
            let marker = is_marker(first);
            let most = (CELLS_MAX / cells(first)).max(1);
            let goes_on = |h: &&Arc<FloatHistogram>| is_marker(h) == marker && has_layout_of(h, first);
            let length = rest.iter().take(most).take_while(goes_on).count();
            let (run, after) = rest.split_at(length);
            self.encode_run(run, marker, out);
            rest = after;
        }
    }

    fn encode_run(&mut self, run: &[Arc<FloatHistogram>], marker: bool, out: &mut Vec<u8>) {
        let Some(first) = run.first() else { return };
        let same_hint = run.iter().all(|h| h.counter_reset_hint == first.counter_reset_hint);
        put_varint(out, run.len() as u64);
        out.push(if marker { STALE } else { 0 } | if same_hint { SAME_HINT } else { 0 });
        if !marker {
            put_layout(out, first);
        }
        let hinted = if same_hint { 1 } else { run.len() };
        out.extend(run.iter().take(hinted).map(|h| h.counter_reset_hint as u8));
        if marker {
            return;
        }
        self.column(run, out, |h| h.count);
        self.column(run, out, |h| h.zero_count);
        self.column(run, out, |h| h.sum);
        for at in 0..first.positive_buckets.len() {
            self.column(run, out, |h| h.positive_buckets.get(at).copied().unwrap_or(0.0));
        }
        for at in 0..first.negative_buckets.len() {
            self.column(run, out, |h| h.negative_buckets.get(at).copied().unwrap_or(0.0));
        }
    }

    fn column(&mut self, run: &[Arc<FloatHistogram>], out: &mut Vec<u8>, value: impl Fn(&FloatHistogram) -> f64) {
        self.column.clear();
        self.column.extend(run.iter().map(|h| value(h)));
        self.bytes.clear();
        self.floats.encode(&self.column, &mut self.bytes);
        put_bytes(out, &self.bytes);
    }

    /// Appends the `count` histograms that `bytes` hold to `out`.
    ///
    /// # Errors
    /// The bytes are damaged; `out` may hold some of the histograms then.
    pub(super) fn decode(&mut self, bytes: &[u8], count: usize, out: &mut Vec<Arc<FloatHistogram>>) -> Result<(), Corruption> {
        let mut reader = Reader::new(bytes);
        let (mut left, mut cells) = (count, 0usize);
        while left > 0 {
            let length = reader.varint_u32()? as usize;
            if length == 0 || length > left {
                return Err(Corruption::new("length of a run of histograms"));
            }
            cells = cells.saturating_add(self.decode_run(&mut reader, length, out)?);
            if cells > PAGE_CELLS_MAX {
                return Err(Corruption::new("too many buckets in a page"));
            }
            left -= length;
        }
        if reader.rest().is_empty() { Ok(()) } else { Err(Corruption::new("bytes behind histograms")) }
    }

    /// Gives the number of counts and spans.
    fn decode_run(&mut self, reader: &mut Reader<'_>, length: usize, out: &mut Vec<Arc<FloatHistogram>>) -> Result<usize, Corruption> {
        let flags = reader.u8()?;
        let layout = if flags & STALE == 0 { Some(read_layout(reader)?) } else { None };
        let hints = reader.take(if flags & SAME_HINT == 0 { length } else { 1 })?;
        let hint = |at: usize| read_hint(hints.get(at).or(hints.first()).copied().unwrap_or(u8::MAX));
        let Some(layout) = layout else {
            for at in 0..length {
                out.push(Arc::new(FloatHistogram { counter_reset_hint: hint(at)?, ..FloatHistogram::stale() }));
            }
            return Ok(length);
        };
        // Each column takes bytes, so the input bounds what is allocated.
        let cells = cells(&layout);
        if columns(&layout) > reader.rest().len() || cells.saturating_mul(length) > CELLS_MAX.max(cells) {
            return Err(Corruption::new("more buckets than bytes"));
        }
        let (positive, negative) = (layout.positive_buckets.len(), layout.negative_buckets.len());
        let one = |at| -> Result<_, Corruption> { Ok(FloatHistogram { counter_reset_hint: hint(at)?, ..layout.clone() }) };
        let mut run = (0..length).map(one).collect::<Result<Vec<_>, _>>()?;
        self.read_column(reader, &mut run, |h| Some(&mut h.count))?;
        self.read_column(reader, &mut run, |h| Some(&mut h.zero_count))?;
        self.read_column(reader, &mut run, |h| Some(&mut h.sum))?;
        for at in 0..positive {
            self.read_column(reader, &mut run, |h| h.positive_buckets.get_mut(at))?;
        }
        for at in 0..negative {
            self.read_column(reader, &mut run, |h| h.negative_buckets.get_mut(at))?;
        }
        out.extend(run.into_iter().map(Arc::new));
        Ok(cells * length)
    }

    fn read_column(
        &mut self,
        reader: &mut Reader<'_>,
        run: &mut [FloatHistogram],
        place: impl Fn(&mut FloatHistogram) -> Option<&mut f64>,
    ) -> Result<(), Corruption> {
        let bytes = reader.bytes()?;
        self.column.clear();
        self.floats.decode(bytes, run.len(), &mut self.column)?;
        for (h, value) in run.iter_mut().zip(&self.column) {
            if let Some(place) = place(h) {
                *place = *value;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
