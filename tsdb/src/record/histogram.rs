//! One native histogram as bytes, alone or as the difference to the one before it in its series.
//!
//! ```text
//! histogram: flags u8 | layout, unless it is that of the one before | numbers
//! flags:     counter reset hint (2 bits) | whole counts (4) | same layout as before (8) | stale (16: nothing follows)
//! layout:    schema zigzag | zero threshold float | positive spans | negative spans | custom bounds n, float*
//! spans:     n varint, (offset zigzag | length varint)*
//! numbers:   sum float | count | zero count | positive buckets | negative buckets
//! ```
//!
//! A float is the varint of its bits XOR those before it, bytes swapped, so that round numbers are short. Whole counts are zigzag
//! differences to the same count before; without one, each is the difference to the count in front of it.

use crate::error::Corruption;
use crate::wire::{Reader, put_varint, put_zigzag};
use model::histogram::{CounterResetHint, FloatHistogram, Span};
use std::sync::Arc;

const WHOLE: u8 = 4;
const SAME_LAYOUT: u8 = 8;
const STALE: u8 = 16;
/// Largest count that every integer up to it is a float for.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

fn put_float(out: &mut Vec<u8>, value: f64, before: f64) {
    put_varint(out, (value.to_bits() ^ before.to_bits()).swap_bytes());
}

fn read_float(r: &mut Reader<'_>, before: f64) -> Result<f64, Corruption> {
    Ok(f64::from_bits(r.varint()?.swap_bytes() ^ before.to_bits()))
}

/// The count as an integer, if it is one that comes back with the same bits.
fn whole(count: f64) -> Option<i64> {
    let n = count as i64;
    (count.abs() <= WHOLE_MAX && (n as f64).to_bits() == count.to_bits()).then_some(n)
}

fn counts(h: &FloatHistogram) -> impl Iterator<Item = f64> + '_ {
    [h.count, h.zero_count].into_iter().chain(h.positive_buckets.iter().copied()).chain(h.negative_buckets.iter().copied())
}

/// Whether both have the same buckets, to the bit.
pub(crate) fn has_layout_of(h: &FloatHistogram, other: &FloatHistogram) -> bool {
    h.schema == other.schema
        && h.zero_threshold.to_bits() == other.zero_threshold.to_bits()
        && h.positive_spans == other.positive_spans
        && h.negative_spans == other.negative_spans
        && h.positive_buckets.len() == other.positive_buckets.len()
        && h.negative_buckets.len() == other.negative_buckets.len()
        && h.custom_values.iter().map(|v| v.to_bits()).eq(other.custom_values.iter().map(|v| v.to_bits()))
}

/// Appends where the buckets of a histogram are.
pub(crate) fn put_layout(out: &mut Vec<u8>, h: &FloatHistogram) {
    put_zigzag(out, i64::from(h.schema));
    put_float(out, h.zero_threshold, 0.0);
    for spans in [&h.positive_spans, &h.negative_spans] {
        put_varint(out, spans.len() as u64);
        for Span { offset, length } in spans {
            put_zigzag(out, i64::from(*offset));
            put_varint(out, u64::from(*length));
        }
    }
    put_varint(out, h.custom_values.len() as u64);
    h.custom_values.iter().for_each(|bound| put_float(out, *bound, 0.0));
}

/// The hint of a number, which is its place in the enum.
pub(crate) fn read_hint(number: u8) -> Result<CounterResetHint, Corruption> {
    use CounterResetHint as H;
    let all = [H::Unknown, H::Reset, H::NotReset, H::Gauge];
    all.into_iter().find(|hint| *hint as u8 == number).ok_or(Corruption::new("counter reset hint"))
}

/// Appends a valid histogram ([`FloatHistogram::validate`]); of a stale one only that it is one.
pub fn put(out: &mut Vec<u8>, before: Option<&FloatHistogram>, h: &FloatHistogram) {
    if h.is_stale() {
        out.push(STALE);
        return;
    }
    let before = before.filter(|before| !before.is_stale() && has_layout_of(h, before));
    let is_whole = counts(h).all(|count| whole(count).is_some());
    out.push(h.counter_reset_hint as u8 | if is_whole { WHOLE } else { 0 } | if before.is_some() { SAME_LAYOUT } else { 0 });
    if before.is_none() {
        put_layout(out, h);
    }
    put_float(out, h.sum, before.map_or(0.0, |before| before.sum));
    let mut bases = before.map(counts);
    let mut last = 0;
    for count in counts(h) {
        let base = bases.as_mut().and_then(Iterator::next);
        if is_whole {
            let (n, base) = (count as i64, base.map_or(last, |base| whole(base).unwrap_or(0)));
            put_zigzag(out, n - base);
            last = n;
        } else {
            put_float(out, count, base.unwrap_or(0.0));
        }
    }
}

/// Takes what [`put`] wrote off the front of `r`; `before` as it was given there. Memory is bounded by a multiple of the bytes read.
///
/// # Errors
/// The bytes are cut off or contradict themselves.
pub fn read(r: &mut Reader<'_>, before: Option<&FloatHistogram>) -> Result<FloatHistogram, Corruption> {
    let flags = r.u8()?;
    if flags == STALE {
        return Ok(FloatHistogram::stale());
    }
    if flags >= STALE {
        return Err(Corruption::new("known histogram flags"));
    }
    let before = if flags & SAME_LAYOUT == 0 {
        None
    } else {
        Some(before.filter(|h| !h.is_stale()).ok_or(Corruption::new("histogram before one of the same layout"))?)
    };
    let mut h = match before {
        Some(before) => before.clone(),
        None => read_layout(r)?,
    };
    h.counter_reset_hint = read_hint(flags & 3)?;
    h.sum = read_float(r, h.sum)?;
    let FloatHistogram { count, zero_count, positive_buckets, negative_buckets, .. } = &mut h;
    let mut last = 0i64;
    for count in [count, zero_count].into_iter().chain(positive_buckets).chain(negative_buckets) {
        if flags & WHOLE == 0 {
            *count = read_float(r, *count)?;
            continue;
        }
        let base = if before.is_some() { whole(*count).unwrap_or(0) } else { last };
        last = base.wrapping_add(r.zigzag()?);
        *count = last as f64;
    }
    Ok(h)
}

/// Takes what [`put_layout`] wrote off the front of `r`: a histogram all whose numbers are zero. What follows must have a byte for each
/// bucket at least, which bounds the memory.
///
/// # Errors
/// The bytes are cut off or contradict themselves.
pub(crate) fn read_layout(r: &mut Reader<'_>) -> Result<FloatHistogram, Corruption> {
    let schema = i32::try_from(r.zigzag()?).map_err(|_| Corruption::new("schema of a histogram"))?;
    let zero_threshold = read_float(r, 0.0)?;
    let (positive_spans, positive) = read_spans(r)?;
    let (negative_spans, negative) = read_spans(r)?;
    let n = r.count(1)?;
    let custom_values: Arc<[f64]> = (0..n).map(|_| read_float(r, 0.0)).collect::<Result<_, _>>()?;
    if positive.saturating_add(negative) > r.rest().len() as u64 {
        return Err(Corruption::new("buckets of a histogram"));
    }
    let zeroes = |n: u64| vec![0.0; n as usize];
    Ok(FloatHistogram {
        schema,
        zero_threshold,
        positive_spans,
        negative_spans,
        positive_buckets: zeroes(positive),
        negative_buckets: zeroes(negative),
        custom_values,
        ..FloatHistogram::default()
    })
}

/// Spans and the number of their buckets.
fn read_spans(r: &mut Reader<'_>) -> Result<(Vec<Span>, u64), Corruption> {
    let n = r.count(2)?;
    let (mut spans, mut buckets) = (Vec::with_capacity(n), 0u64);
    for _ in 0..n {
        let offset = i32::try_from(r.zigzag()?).map_err(|_| Corruption::new("offset of a span"))?;
        let length = r.varint_u32()?;
        buckets += u64::from(length);
        spans.push(Span { offset, length });
    }
    Ok((spans, buckets))
}
