//! Pages: the samples of one series over some time, as columns.
//!
//! Times are a column of their own, which series of one group share (see `store::group`). The values of a page are
//!
//! ```text
//! [0x80 | column of start times behind its length] | floats (see `floats`) or 8, histograms (see `histograms`)
//! ```

#![deny(clippy::indexing_slicing)]

use super::Samples;
use super::floats::{self, FloatCoder, Summary};
use super::histograms::HistogramCoder;
use super::ints::IntCoder;
use crate::error::Corruption;
use crate::record::{Record, Value};
use crate::wire::{Reader, put_bytes};
use model::Timestamp;
use model::histogram::FloatHistogram;
use std::sync::Arc;

const HISTOGRAMS: u8 = 8;
const STARTS: u8 = 0x80;

/// Samples of one page, in strictly growing order of time.
#[derive(Clone, Copy, Debug)]
pub struct PageInput<'a> {
    /// Milliseconds.
    pub times: &'a [Timestamp],
    /// As many values as times.
    pub values: PageValues<'a>,
    /// When the counter of each sample started, in milliseconds, 0 if that is not known; empty if it is not known of any.
    pub starts: &'a [Timestamp],
}

/// Floats and histograms never share a page.
#[derive(Clone, Copy, Debug)]
pub enum PageValues<'a> {
    /// Any bits.
    Floats(&'a [f64]),
    /// Each with as many bucket values as its spans have buckets.
    Histograms(&'a [Arc<FloatHistogram>]),
}

impl PageValues<'_> {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Histograms(values) => values.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What decoding appends to.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Floats.
    pub values: Vec<f64>,
    /// Start times: as many as floats and histograms of the pages that have any.
    pub starts: Vec<Timestamp>,
    /// Histograms.
    pub histograms: Vec<Arc<FloatHistogram>>,
}

impl Decoded {
    /// Empties the columns.
    pub fn clear(&mut self) {
        self.values.clear();
        self.starts.clear();
        self.histograms.clear();
    }
}

/// What a page turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageContent {
    /// Histograms, not floats.
    pub has_histograms: bool,
    /// Start times.
    pub has_starts: bool,
}

/// Codes pages; keeps its buffers from page to page.
#[derive(Debug, Default)]
pub struct PageCoder {
    ints: IntCoder,
    floats: FloatCoder,
    histograms: HistogramCoder,
    bytes: Vec<u8>,
    decoded: Decoded,
}

impl PageCoder {
    /// Appends a column of times; their number is not part of it.
    pub fn encode_times(&mut self, times: &[Timestamp], out: &mut Vec<u8>) {
        self.ints.encode(times, out);
    }

    /// Appends the `count` times of a column to `out`.
    ///
    /// # Errors
    /// The bytes are damaged, or times do not grow; `out` may hold times of the column then.
    pub fn decode_times(&mut self, bytes: &[u8], count: usize, out: &mut Vec<Timestamp>) -> Result<(), Corruption> {
        let from = out.len();
        let mut reader = Reader::new(bytes);
        self.ints.decode(&mut reader, count, out, |t| t)?;
        let times = out.get(from..).unwrap_or_default();
        let grow = match IntCoder::line_grows(Reader::new(bytes), count)? {
            Some(grow) => grow,
            // Looks at all of them, for that takes no branches.
            None => times.iter().zip(times.iter().skip(1)).fold(true, |grow, (a, b)| grow & (a < b)),
        };
        if grow && reader.rest().is_empty() { Ok(()) } else { Err(Corruption::new("times of a page")) }
    }

    /// Appends the values of a page of at least one sample, with their start times.
    pub fn encode_values(&mut self, values: PageValues<'_>, starts: &[Timestamp], out: &mut Vec<u8>) {
        if starts.iter().any(|start| *start != 0) {
            out.push(STARTS);
            self.bytes.clear();
            self.ints.encode(starts, &mut self.bytes);
            put_bytes(out, &self.bytes);
        }
        match values {
            PageValues::Floats(values) => self.floats.encode(values, out),
            PageValues::Histograms(histograms) => {
                out.push(HISTOGRAMS);
                self.histograms.encode(histograms, out);
            }
        }
    }

    /// Appends the `count` values of a page to the columns of `out`.
    ///
    /// # Errors
    /// The bytes are damaged; `out` may hold values of the page then.
    pub fn decode_values(&mut self, bytes: &[u8], count: usize, out: &mut Decoded) -> Result<PageContent, Corruption> {
        let mut content = PageContent { has_histograms: false, has_starts: false };
        let mut rest = bytes;
        if let Some((&STARTS, after)) = bytes.split_first() {
            let mut reader = Reader::new(after);
            let mut column = Reader::new(reader.bytes()?);
            self.ints.decode(&mut column, count, &mut out.starts, |t| t)?;
            rest = reader.rest();
            content.has_starts = true;
        }
        match rest.split_first() {
            Some((&HISTOGRAMS, histograms)) => {
                content.has_histograms = true;
                self.histograms.decode(histograms, count, &mut out.histograms)?;
            }
            _ => self.floats.decode(rest, count, &mut out.values)?,
        }
        Ok(content)
    }

    /// Appends the `count` values of a page that holds plain floats; does nothing and says no if it holds anything else.
    ///
    /// # Errors
    /// The bytes are damaged; `out` may hold values of the page then.
    pub fn decode_plain(&mut self, bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<bool, Corruption> {
        if matches!(bytes.first(), Some(&(STARTS | HISTOGRAMS))) {
            return Ok(false);
        }
        self.floats.decode(bytes, count, out)?;
        Ok(true)
    }

    /// Appends the samples of a page whose times were decoded already.
    ///
    /// # Errors
    /// The bytes are damaged; `out` may hold samples of the page then.
    pub fn decode_samples(&mut self, times: &[Timestamp], bytes: &[u8], out: &mut Samples) -> Result<(), Corruption> {
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        // Plain floats go where they belong at once.
        let from = out.values.len();
        std::mem::swap(&mut decoded.values, &mut out.values);
        let result = self.decode_values(bytes, times.len(), &mut decoded);
        std::mem::swap(&mut decoded.values, &mut out.values);
        if let Ok(content) = &result {
            if content.has_histograms || content.has_starts {
                put_records(*content, times, &mut decoded, from, out);
            } else {
                out.ts.extend_from_slice(times);
            }
        }
        self.decoded = decoded;
        result.map(drop)
    }
}

/// Makes records of a decoded page; its floats stand behind the first `from` values of `out`.
fn put_records(content: PageContent, times: &[Timestamp], decoded: &mut Decoded, from: usize, out: &mut Samples) {
    let start_ms = |at: usize| if content.has_starts { decoded.starts.get(at).copied().unwrap_or(0) } else { 0 };
    if content.has_histograms {
        let histograms = times.iter().zip(&decoded.histograms).enumerate();
        out.records.extend(histograms.map(|(at, (t, h))| Record {
            timestamp_ms: *t,
            start_ms: start_ms(at),
            value: Value::Histogram(Arc::clone(h)),
        }));
    } else {
        let floats = times.iter().zip(out.values.get(from..).unwrap_or_default()).enumerate();
        out.records.extend(floats.map(|(at, (t, v))| Record { timestamp_ms: *t, start_ms: start_ms(at), value: Value::Float(*v) }));
        out.values.truncate(from);
    }
    decoded.histograms.clear();
}

/// What the values of a page tell without being decoded: `None` if they hold markers, infinities or histograms.
///
/// # Errors
/// The bytes are damaged.
pub fn summary(bytes: &[u8]) -> Result<Option<Summary>, Corruption> {
    let mut reader = Reader::new(bytes);
    let floats = match bytes.first() {
        Some(&STARTS) => {
            reader.u8()?;
            reader.bytes()?;
            reader.rest()
        }
        _ => bytes,
    };
    if floats.first() == Some(&HISTOGRAMS) { Ok(None) } else { floats::summary(floats) }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn times_come_back_and_damage_never_panics(first in 0i64..1 << 45, steps in vec(1i64..100_000, 0..500), flip in 1u8.., at: prop::sample::Index) {
            let times: Vec<i64> = std::iter::once(first).chain(steps.iter().scan(first, |t, step| { *t += step; Some(*t) })).collect();
            let (mut coder, mut bytes) = (PageCoder::default(), Vec::new());
            coder.encode_times(&times, &mut bytes);
            let mut back = Vec::new();
            coder.decode_times(&bytes, times.len(), &mut back).unwrap();
            prop_assert_eq!(&back, &times);
            let i = at.index(bytes.len());
            bytes[i] ^= flip;
            let _ = coder.decode_times(&bytes, times.len(), &mut Vec::new());
        }

        #[test]
        fn start_times_stay_with_their_samples(starts in vec(prop_oneof![Just(0i64), any::<i64>()], 1..200)) {
            let values: Vec<f64> = (0..starts.len()).map(|i| i as f64).collect();
            let (mut coder, mut bytes, mut out) = (PageCoder::default(), Vec::new(), Decoded::default());
            coder.encode_values(PageValues::Floats(&values), &starts, &mut bytes);
            let content = coder.decode_values(&bytes, values.len(), &mut out).unwrap();
            prop_assert_eq!(content.has_starts, starts.iter().any(|s| *s != 0));
            prop_assert_eq!(&out.values, &values);
            if content.has_starts {
                prop_assert_eq!(&out.starts, &starts);
            }
            prop_assert_eq!(summary(&bytes).unwrap().map(|s| s.last.to_bits()), Some(values[values.len() - 1].to_bits()));
        }
    }

    #[test]
    fn histogram_pages_are_told_apart() {
        let (mut coder, mut bytes, mut out) = (PageCoder::default(), Vec::new(), Decoded::default());
        let marker = Arc::new(FloatHistogram::stale());
        let histograms = vec![marker; 3];
        coder.encode_values(PageValues::Histograms(&histograms), &[7, 7, 7], &mut bytes);
        let content = coder.decode_values(&bytes, 3, &mut out).unwrap();
        assert_eq!(content, PageContent { has_histograms: true, has_starts: true });
        assert_eq!((out.histograms.len(), out.starts), (3, vec![7; 3]));
        assert_eq!(summary(&bytes).unwrap(), None);
    }
}
