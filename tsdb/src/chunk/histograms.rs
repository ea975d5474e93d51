//! Columns of native histograms: one column over time for each field and each bucket.
//!
//! ```text
//! runs: count varint | flags u8 (see below) | [layout] | [hints] | columns, each behind its length
//! layout:  schema zigzag | zero threshold bits u64le | positive spans | negative spans | custom bounds
//! spans:   n varint, n x (offset zigzag, length varint)
//! bounds:  n varint, n x bits u64le
//! hints:   one byte for all, or one byte each
//! columns: count, zero count, sum, positive buckets, negative buckets (see `floats`)
//! ```
//!
//! A run ends where the layout changes. Buckets hold absolute counts, so whole counts are packed as integers.

#![deny(clippy::indexing_slicing)]

use super::floats::FloatCoder;
use crate::error::Corruption;
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use model::histogram::{CounterResetHint, FloatHistogram, Span};
use std::sync::Arc;

/// The histograms have no fields: stale markers.
const STALE: u8 = 1;
/// One hint stands for all.
const SAME_HINT: u8 = 2;
/// Counts of one run: what is decoded at once.
const CELLS_MAX: usize = 1 << 20;
/// Counts of one page.
const PAGE_CELLS_MAX: usize = 1 << 24;

/// Buffers that coding columns reuses.
#[derive(Debug, Default)]
pub(super) struct HistogramCoder {
    floats: FloatCoder,
    column: Vec<f64>,
    bytes: Vec<u8>,
}

/// Where the buckets of a run are.
#[derive(Clone, Debug)]
struct Layout {
    schema: i32,
    zero_threshold: f64,
    positive: Vec<Span>,
    negative: Vec<Span>,
    custom_values: Arc<[f64]>,
}

fn is_marker(h: &FloatHistogram) -> bool {
    let plain = FloatHistogram { counter_reset_hint: h.counter_reset_hint, ..FloatHistogram::stale() };
    h.is_stale() && same_layout(h, &plain) && [h.count, h.zero_count].iter().all(|v| v.to_bits() == 0)
}

fn same_layout(a: &FloatHistogram, b: &FloatHistogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
        && a.custom_values.len() == b.custom_values.len()
        && a.custom_values.iter().zip(b.custom_values.iter()).all(|(x, y)| x.to_bits() == y.to_bits())
}

fn cells(h: &FloatHistogram) -> usize {
    3 + h.positive_buckets.len() + h.negative_buckets.len()
}

impl HistogramCoder {
    /// Appends histograms, each as many bucket values as its spans have buckets.
    pub(super) fn encode(&mut self, histograms: &[Arc<FloatHistogram>], out: &mut Vec<u8>) {
        let mut rest = histograms;
        while let Some(first) = rest.first() {
            let marker = is_marker(first);
            let most = (CELLS_MAX / cells(first)).max(1);
            let goes_on = |h: &&Arc<FloatHistogram>| is_marker(h) == marker && same_layout(h, first);
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
            put_layout(first, out);
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

    /// Gives the number of counts.
    fn decode_run(&mut self, reader: &mut Reader<'_>, length: usize, out: &mut Vec<Arc<FloatHistogram>>) -> Result<usize, Corruption> {
        let flags = reader.u8()?;
        let layout = if flags & STALE == 0 { Some(read_layout(reader)?) } else { None };
        let hints = reader.take(if flags & SAME_HINT == 0 { length } else { 1 })?;
        let hint = |at: usize| hints.get(at).or(hints.first()).copied().map_or(Err(Corruption::new("counter reset hint")), read_hint);
        let Some(layout) = layout else {
            for at in 0..length {
                out.push(Arc::new(FloatHistogram { counter_reset_hint: hint(at)?, ..FloatHistogram::stale() }));
            }
            return Ok(length);
        };
        let buckets = (bucket_count(&layout.positive)?, bucket_count(&layout.negative)?);
        let columns = 3usize.saturating_add(buckets.0).saturating_add(buckets.1);
        // Each column takes bytes, so the input bounds what is allocated.
        if columns > reader.rest().len() || columns.saturating_mul(length) > CELLS_MAX.max(columns) {
            return Err(Corruption::new("more buckets than bytes"));
        }
        let mut run: Vec<FloatHistogram> = Vec::with_capacity(length);
        for at in 0..length {
            run.push(empty(&layout, hint(at)?, buckets));
        }
        self.read_column(reader, &mut run, |h, v| h.count = v)?;
        self.read_column(reader, &mut run, |h, v| h.zero_count = v)?;
        self.read_column(reader, &mut run, |h, v| h.sum = v)?;
        for _ in 0..buckets.0 {
            self.read_column(reader, &mut run, |h, v| h.positive_buckets.push(v))?;
        }
        for _ in 0..buckets.1 {
            self.read_column(reader, &mut run, |h, v| h.negative_buckets.push(v))?;
        }
        out.extend(run.into_iter().map(Arc::new));
        Ok(columns * length)
    }

    fn read_column(
        &mut self,
        reader: &mut Reader<'_>,
        run: &mut [FloatHistogram],
        mut put: impl FnMut(&mut FloatHistogram, f64),
    ) -> Result<(), Corruption> {
        let bytes = reader.bytes()?;
        self.column.clear();
        self.floats.decode(bytes, run.len(), &mut self.column)?;
        run.iter_mut().zip(&self.column).for_each(|(h, v)| put(h, *v));
        Ok(())
    }
}

fn empty(layout: &Layout, hint: CounterResetHint, buckets: (usize, usize)) -> FloatHistogram {
    FloatHistogram {
        counter_reset_hint: hint,
        schema: layout.schema,
        zero_threshold: layout.zero_threshold,
        positive_spans: layout.positive.clone(),
        negative_spans: layout.negative.clone(),
        positive_buckets: Vec::with_capacity(buckets.0),
        negative_buckets: Vec::with_capacity(buckets.1),
        custom_values: Arc::clone(&layout.custom_values),
        ..FloatHistogram::default()
    }
}

fn read_hint(byte: u8) -> Result<CounterResetHint, Corruption> {
    use CounterResetHint as H;
    let all = [H::Unknown, H::Reset, H::NotReset, H::Gauge];
    all.into_iter().find(|hint| *hint as u8 == byte).ok_or(Corruption::new("counter reset hint"))
}

fn bucket_count(spans: &[Span]) -> Result<usize, Corruption> {
    let sum = spans.iter().try_fold(0u32, |sum, span| sum.checked_add(span.length));
    sum.map(|sum| sum as usize).ok_or(Corruption::new("buckets of a histogram"))
}

fn put_layout(h: &FloatHistogram, out: &mut Vec<u8>) {
    put_zigzag(out, i64::from(h.schema));
    out.extend_from_slice(&h.zero_threshold.to_bits().to_le_bytes());
    for spans in [&h.positive_spans, &h.negative_spans] {
        put_varint(out, spans.len() as u64);
        for Span { offset, length } in spans {
            put_zigzag(out, i64::from(*offset));
            put_varint(out, u64::from(*length));
        }
    }
    put_varint(out, h.custom_values.len() as u64);
    h.custom_values.iter().for_each(|v| out.extend_from_slice(&v.to_bits().to_le_bytes()));
}

fn read_layout(reader: &mut Reader<'_>) -> Result<Layout, Corruption> {
    let small = |n: i64| i32::try_from(n).map_err(|_| Corruption::new("schema or offset of a histogram"));
    let schema = small(reader.zigzag()?)?;
    let zero_threshold = f64::from_bits(reader.u64_le()?);
    let mut spans = || -> Result<Vec<Span>, Corruption> {
        let count = reader.count(2)?;
        (0..count).map(|_| Ok(Span { offset: small(reader.zigzag()?)?, length: reader.varint_u32()? })).collect()
    };
    let (positive, negative) = (spans()?, spans()?);
    let count = reader.count(8)?;
    let custom_values = (0..count).map(|_| reader.u64_le().map(f64::from_bits)).collect::<Result<_, _>>()?;
    Ok(Layout { schema, zero_threshold, positive, negative, custom_values })
}

#[cfg(test)]
mod tests;
