//! What replicas send back: runs of series with samples, label sets, or texts, in frames of bounded size.
//!
//! ```text
//! samples: labels_len u32le | labels | count u32le | timestamps i64le* | value bits u64le*     (repeated)
//! series:  labels_len u32le | labels                                                            (repeated)
//! texts:   len u32le | UTF-8                                                                    (repeated)
//! ```
//! `labels` is the region of `tsdb::rows`.

use model::Labels;
use promql::source::RawSeries;
use tsdb::rows::{RowError, labels_of, push_label};

/// A frame is sent when it has grown beyond this.
pub const FRAME_BYTES: usize = 1 << 20;

/// Appends one series with its samples.
pub fn put_samples(out: &mut Vec<u8>, labels: &Labels, timestamps: &[i64], values: &[f64]) {
    put_series(out, labels);
    out.extend_from_slice(&(timestamps.len() as u32).to_le_bytes());
    for t in timestamps {
        out.extend_from_slice(&t.to_le_bytes());
    }
    for v in values {
        out.extend_from_slice(&v.to_bits().to_le_bytes());
    }
}

/// Appends one label set.
pub fn put_series(out: &mut Vec<u8>, labels: &Labels) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    for (name, value) in labels {
        push_label(out, name.as_bytes(), value.as_bytes());
    }
    let length = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends one text.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads a frame piece by piece.
#[derive(Debug)]
pub struct FrameReader<'a> {
    frame: &'a [u8],
    offset: usize,
}

impl<'a> FrameReader<'a> {
    /// Starts at the beginning.
    #[must_use]
    pub fn new(frame: &'a [u8]) -> Self {
        Self { frame, offset: 0 }
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.offset >= self.frame.len()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], RowError> {
        let error = RowError { offset: self.offset, detail: "frame is cut off" };
        let end = self.offset.checked_add(n).ok_or_else(|| error.clone())?;
        let piece = self.frame.get(self.offset..end).ok_or(error)?;
        self.offset = end;
        Ok(piece)
    }

    fn number(&mut self) -> Result<usize, RowError> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    }

    /// The next series with its samples.
    ///
    /// # Errors
    /// The frame is malformed.
    pub fn samples(&mut self) -> Result<RawSeries, RowError> {
        let labels = self.series()?;
        let count = self.number()?;
        let words = |bytes: &'a [u8]| bytes.chunks_exact(8).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
        let bytes = count.saturating_mul(8);
        let timestamps = words(self.take(bytes)?).map(u64::cast_signed).collect();
        let values = words(self.take(bytes)?).map(f64::from_bits).collect();
        Ok(RawSeries::floats(labels, timestamps, values))
    }

    /// The next label set.
    ///
    /// # Errors
    /// The frame is malformed.
    pub fn series(&mut self) -> Result<Labels, RowError> {
        let length = self.number()?;
        labels_of(self.take(length)?)
    }

    /// The next text.
    ///
    /// # Errors
    /// The frame is malformed.
    pub fn text(&mut self) -> Result<&'a str, RowError> {
        let length = self.number()?;
        let offset = self.offset;
        std::str::from_utf8(self.take(length)?).map_err(|_| RowError { offset, detail: "text is not UTF-8" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_bit_for_bit_and_cut_frames_are_errors() {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        let mut frame = Vec::new();
        put_samples(&mut frame, &labels, &[1, i64::MIN], &[f64::from_bits(0x7ff0_0000_0000_0002), -0.0]);
        put_text(&mut frame, "é");
        let mut reader = FrameReader::new(&frame);
        let series = reader.samples().unwrap();
        assert_eq!((series.labels, series.timestamps), (labels, vec![1, i64::MIN]));
        assert_eq!(series.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [0x7ff0_0000_0000_0002, (-0.0f64).to_bits()]);
        assert_eq!(reader.text().unwrap(), "é");
        assert!(reader.is_done());
        for cut in 0..frame.len() {
            let mut reader = FrameReader::new(&frame[..cut]);
            assert!(reader.samples().is_err() || reader.text().is_err(), "cut at {cut}");
        }
    }
}
