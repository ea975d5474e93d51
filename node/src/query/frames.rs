//! What replicas send back: runs of series with samples, label sets, or texts, in frames of bounded size.
//!
//! ```text
//! samples:    series | count u32le | starts u32le | histograms u32le | timestamps i64le* | value bits u64le* | start i64le* | histogram*
//! histogram:  timestamp i64le | start i64le | length u32le | as the difference to the one before (`tsdb::record::histogram`)
//! series:     labels_len u32le | labels
//! exemplars:  series | count u32le | (timestamp i64le | value bits u64le | series)*
//! family:     since i64le | kind u8 | name text | help text | unit text
//! text:       len u32le | UTF-8
//! ```
//! Each repeated; `labels` is the region of `tsdb::rows`.

use super::fragment_service::{FoundExemplar, SeriesExemplars};
use model::{FloatHistogram, Labels};
use promql::source::{HistogramSample, RawSeries};
use std::sync::Arc;
use tsdb::metadata::{Known, MetricKind};
use tsdb::record::histogram;
use tsdb::rows::{RowError, labels_of, push_label};
use tsdb::wire::Reader;

/// A frame is sent when it has grown beyond this.
pub const FRAME_BYTES: usize = 1 << 20;

/// Appends one series with its samples.
pub fn put_samples(out: &mut Vec<u8>, series: &RawSeries) {
    let RawSeries { labels, timestamps, values, start_timestamps, histograms } = series;
    put_series(out, labels);
    for n in [timestamps.len(), start_timestamps.len(), histograms.len()] {
        out.extend_from_slice(&(n as u32).to_le_bytes());
    }
    for t in timestamps {
        out.extend_from_slice(&t.to_le_bytes());
    }
    for v in values {
        out.extend_from_slice(&v.to_bits().to_le_bytes());
    }
    for t in start_timestamps {
        out.extend_from_slice(&t.to_le_bytes());
    }
    let mut encoded = Vec::new();
    let mut before: Option<&HistogramSample> = None;
    for sample in histograms {
        out.extend_from_slice(&sample.timestamp_ms.to_le_bytes());
        out.extend_from_slice(&sample.start_ms.to_le_bytes());
        encoded.clear();
        histogram::put(&mut encoded, before.map(|before| &*before.histogram), &sample.histogram);
        put_bytes(out, &encoded);
        before = Some(sample);
    }
}

/// Appends one text behind its length.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends the exemplars of one series.
pub fn put_exemplars(out: &mut Vec<u8>, series: &SeriesExemplars) {
    put_series(out, &series.labels);
    out.extend_from_slice(&(series.exemplars.len() as u32).to_le_bytes());
    for FoundExemplar { timestamp_ms, value, labels } in &series.exemplars {
        out.extend_from_slice(&timestamp_ms.to_le_bytes());
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        put_series(out, labels);
    }
}

/// Appends what is known about one family.
pub fn put_family(out: &mut Vec<u8>, family: &str, known: &Known) {
    out.extend_from_slice(&known.since_ms.to_le_bytes());
    out.push(known.kind as u8);
    for text in [family, &known.help, &known.unit] {
        put_bytes(out, text.as_bytes());
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
    put_bytes(out, text.as_bytes());
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
        let (count, starts, histograms) = (self.number()?, self.number()?, self.number()?);
        if starts != 0 && starts != count {
            return Err(self.error("starts of samples"));
        }
        let timestamps = self.words(count)?.map(u64::cast_signed).collect();
        let values = self.words(count)?.map(f64::from_bits).collect();
        let mut series = RawSeries::floats(labels, timestamps, values);
        series.start_timestamps = self.words(starts)?.map(u64::cast_signed).collect();
        let mut before: Option<Arc<FloatHistogram>> = None;
        for _ in 0..histograms {
            let (timestamp_ms, start_ms) = (self.word()?.cast_signed(), self.word()?.cast_signed());
            let length = self.number()?;
            let mut bytes = Reader::new(self.take(length)?);
            let read = histogram::read(&mut bytes, before.as_deref()).map_err(|e| self.error(e.detail))?;
            bytes.end().map_err(|e| self.error(e.detail))?;
            let histogram = Arc::new(read);
            before = Some(Arc::clone(&histogram));
            series.histograms.push(HistogramSample { timestamp_ms, start_ms, histogram });
        }
        Ok(series)
    }

    fn error(&self, detail: &'static str) -> RowError {
        RowError { offset: self.offset, detail }
    }

    fn words(&mut self, count: usize) -> Result<impl Iterator<Item = u64> + use<'a>, RowError> {
        let bytes = self.take(count.saturating_mul(8))?;
        Ok(bytes.chunks_exact(8).map(|b| u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])))
    }

    fn word(&mut self) -> Result<u64, RowError> {
        self.words(1)?.next().ok_or_else(|| self.error("number"))
    }

    /// The next series with its exemplars.
    ///
    /// # Errors
    /// The frame is malformed.
    pub fn exemplars(&mut self) -> Result<SeriesExemplars, RowError> {
        let labels = self.series()?;
        let count = self.number()?;
        let mut exemplars = Vec::new();
        for _ in 0..count {
            let (timestamp_ms, value) = (self.word()?.cast_signed(), f64::from_bits(self.word()?));
            exemplars.push(FoundExemplar { timestamp_ms, value, labels: self.series()? });
        }
        Ok(SeriesExemplars { labels, exemplars })
    }

    /// The next family and what is known about it.
    ///
    /// # Errors
    /// The frame is malformed.
    pub fn family(&mut self) -> Result<(String, Known), RowError> {
        let since_ms = self.word()?.cast_signed();
        let kind = MetricKind::from_number(u64::from(self.take(1)?[0]));
        let family = self.text()?.to_owned();
        Ok((family, Known { kind, help: self.text()?.into(), unit: self.text()?.into(), since_ms }))
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
        let mut sent = RawSeries::floats(labels.clone(), vec![1, i64::MIN], vec![f64::from_bits(0x7ff0_0000_0000_0002), -0.0]);
        sent.start_timestamps = vec![0, 7];
        let histogram = |count| Arc::new(FloatHistogram { count, zero_count: count, ..FloatHistogram::default() });
        let sample = |timestamp_ms, count| HistogramSample { timestamp_ms, start_ms: 5, histogram: histogram(count) };
        sent.histograms = vec![sample(2, 1.0), sample(3, 4.5)];
        put_samples(&mut frame, &sent);
        let known = Known { kind: MetricKind::Counter, help: "h".into(), unit: "s".into(), since_ms: 9 };
        put_family(&mut frame, "up", &known);
        let exemplar = FoundExemplar { timestamp_ms: 4, value: 0.5, labels: Labels::from_pairs([("trace_id", "x")]) };
        let exemplars = SeriesExemplars { labels: labels.clone(), exemplars: vec![exemplar] };
        put_exemplars(&mut frame, &exemplars);
        put_text(&mut frame, "é");
        let mut reader = FrameReader::new(&frame);
        let series = reader.samples().unwrap();
        assert_eq!((series.labels, series.timestamps), (labels, vec![1, i64::MIN]));
        assert_eq!(series.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), [0x7ff0_0000_0000_0002, (-0.0f64).to_bits()]);
        assert_eq!(format!("{:?}", series.histograms), format!("{:?}", sent.histograms));
        assert_eq!(series.start_timestamps, [0, 7]);
        assert_eq!(reader.family().unwrap(), ("up".to_owned(), known));
        assert_eq!(reader.exemplars().unwrap(), exemplars);
        assert_eq!(reader.text().unwrap(), "é");
        assert!(reader.is_done());
        for cut in 0..frame.len() {
            let mut reader = FrameReader::new(&frame[..cut]);
            let mut read_all = || -> Result<(), RowError> {
                reader.samples()?;
                reader.family()?;
                reader.exemplars()?;
                reader.text().map(drop)
            };
            assert!(read_all().is_err(), "cut at {cut}");
        }
    }
}
