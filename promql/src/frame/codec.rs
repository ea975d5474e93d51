//! Numbers, texts and label sets as bytes; everything is checked when it is read.

use model::Labels;
use model::histogram::{CounterResetHint, FloatHistogram, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame at byte {offset}: {detail}")]
pub struct FrameError {
    /// Where.
    pub offset: usize,
    /// What is wrong.
    pub detail: &'static str,
}

/// Appends a number, seven bits a byte, lowest first.
pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a signed number.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Appends the bits of a float.
pub(crate) fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends bytes behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends words of bits.
pub(crate) fn put_words(out: &mut Vec<u8>, words: &[u64]) {
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

/// Appends label sets: each text once, then each set as pairs of numbers of texts.
pub(crate) fn put_label_sets<'a>(out: &mut Vec<u8>, sets: impl Iterator<Item = &'a Labels> + Clone) {
    let mut numbers: HashMap<&str, u64> = HashMap::new();
    let mut texts = Vec::new();
    let mut pairs = Vec::new();
    let mut count = 0;
    for labels in sets {
        count += 1;
        put_number(&mut pairs, labels.len() as u64);
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            let next = texts.len() as u64;
            let number = *numbers.entry(text).or_insert(next);
            if number == next {
                texts.push(text);
            }
            put_number(&mut pairs, number);
        }
    }
    put_number(out, texts.len() as u64);
    texts.iter().for_each(|text| put_bytes(out, text.as_bytes()));
    put_number(out, count);
    out.extend_from_slice(&pairs);
}

/// Appends a native histogram.
pub(crate) fn put_histogram(out: &mut Vec<u8>, histogram: &FloatHistogram) {
    out.push(match histogram.counter_reset_hint {
        CounterResetHint::Unknown => 0,
        CounterResetHint::Reset => 1,
        CounterResetHint::NotReset => 2,
        CounterResetHint::Gauge => 3,
    });
    put_signed(out, i64::from(histogram.schema));
    for value in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
        put_float(out, value);
    }
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_number(out, spans.len() as u64);
        for span in spans {
            put_signed(out, i64::from(span.offset));
            put_number(out, u64::from(span.length));
        }
    }
    for values in [&histogram.positive_buckets[..], &histogram.negative_buckets, &histogram.custom_values] {
        put_number(out, values.len() as u64);
        values.iter().for_each(|value| put_float(out, *value));
    }
}

/// Reads what the functions above wrote.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the beginning.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// An error here.
    pub(crate) fn error(&self, detail: &'static str) -> FrameError {
        FrameError { offset: self.offset, detail }
    }

    /// Bytes that are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Succeeds if everything was read.
    pub(crate) fn end(&self) -> Result<(), FrameError> {
        if self.left() == 0 { Ok(()) } else { Err(self.error("more bytes than expected")) }
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        let end = self.offset.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or_else(|| self.error("cut off"))?;
        let taken = &self.bytes[self.offset..end];
        self.offset = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let error = self.error("cut off");
        self.take(N)?.try_into().map_err(|_| error)
    }

    /// One byte.
    pub(crate) fn byte(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }

    /// See [`put_number`].
    pub(crate) fn number(&mut self) -> Result<u64, FrameError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(self.error("number too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.error("number too long"))
    }

    /// See [`put_signed`].
    pub(crate) fn signed(&mut self) -> Result<i64, FrameError> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }

    /// A number of things of which each takes at least `bytes_each` of the bytes that are left.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Result<usize, FrameError> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count.saturating_mul(bytes_each) > self.left() {
            return Err(self.error("count beyond the end"));
        }
        Ok(count)
    }

    /// See [`put_float`].
    pub(crate) fn float(&mut self) -> Result<f64, FrameError> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    /// So many floats.
    pub(crate) fn floats(&mut self, count: usize) -> Result<impl Iterator<Item = f64> + use<'a>, FrameError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| f64::from_bits(u64::from_le_bytes(*word))))
    }

    /// See [`put_words`].
    pub(crate) fn words(&mut self, count: usize) -> Result<Vec<u64>, FrameError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect())
    }

    /// See [`put_bytes`]; the bytes are UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, FrameError> {
        let count = self.count(1)?;
        let error = self.error("text is not UTF-8");
        std::str::from_utf8(self.take(count)?).map_err(|_| error)
    }

    /// See [`put_label_sets`].
    pub(crate) fn label_sets(&mut self) -> Result<Vec<Labels>, FrameError> {
        let count = self.count(1)?;
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            texts.push(self.text()?);
        }
        let count = self.count(1)?;
        let mut sets = Vec::with_capacity(count);
        for _ in 0..count {
            sets.push(self.label_set(&texts)?);
        }
        Ok(sets)
    }

    fn label_set(&mut self, texts: &[&'a str]) -> Result<Labels, FrameError> {
        let count = self.count(2)?;
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(count);
        for _ in 0..count {
            let (name, value) = (self.text_of(texts)?, self.text_of(texts)?);
            if value.is_empty() || pairs.last().is_some_and(|(last, _)| *last >= name) {
                return Err(self.error("labels out of order"));
            }
            pairs.push((name, value));
        }
        Ok(Labels::from_sorted(pairs))
    }

    fn text_of(&mut self, texts: &[&'a str]) -> Result<&'a str, FrameError> {
        let number = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        texts.get(number).copied().ok_or_else(|| self.error("no such text"))
    }

    /// See [`put_histogram`].
    pub(crate) fn histogram(&mut self) -> Result<FloatHistogram, FrameError> {
        let counter_reset_hint = match self.byte()? {
            0 => CounterResetHint::Unknown,
            1 => CounterResetHint::Reset,
            2 => CounterResetHint::NotReset,
            3 => CounterResetHint::Gauge,
            _ => return Err(self.error("unknown counter reset hint")),
        };
        let schema = i32::try_from(self.signed()?).map_err(|_| self.error("schema out of range"))?;
        let (zero_threshold, zero_count, count, sum) = (self.float()?, self.float()?, self.float()?, self.float()?);
        let (positive_spans, negative_spans) = (self.spans()?, self.spans()?);
        let (positive_buckets, negative_buckets) = (self.buckets(&positive_spans)?, self.buckets(&negative_spans)?);
        let bounds = self.count(8)?;
        let custom_values = Arc::from_iter(self.floats(bounds)?);
        Ok(FloatHistogram {
            counter_reset_hint,
            schema,
            zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values,
        })
    }

    fn spans(&mut self) -> Result<Vec<Span>, FrameError> {
        let count = self.count(2)?;
        let mut spans = Vec::with_capacity(count);
        for _ in 0..count {
            let offset = i32::try_from(self.signed()?).map_err(|_| self.error("span out of range"))?;
            let length = u32::try_from(self.number()?).map_err(|_| self.error("span out of range"))?;
            spans.push(Span { offset, length });
        }
        Ok(spans)
    }

    fn buckets(&mut self, spans: &[Span]) -> Result<Vec<f64>, FrameError> {
        let count = self.count(8)?;
        if spans.iter().map(|span| u64::from(span.length)).sum::<u64>() != count as u64 {
            return Err(self.error("as many buckets as the spans have are expected"));
        }
        Ok(self.floats(count)?.collect())
    }
}
