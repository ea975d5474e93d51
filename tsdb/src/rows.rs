//! Rows on their way from a router to the leader of a shard: series by full labels, with samples, in one buffer.
//!
//! The router has hashed the labels already; a leader that knows the series never looks at them again.
//!
//! ```text
//! row:      0 | ordinal u32le | fp128 16 B le | placement u64le | labels_len u32le | samples u32le | records u32le | record bytes u32le
//!           | labels | (t i64le, value bits u64le)* | (length varint | record)*
//! metadata: 1 | metadata
//! labels:   (name_len varint, name, value_len varint, value)*, sorted by name
//! ```
//!
//! Records are those of [`crate::record`], metadata that of [`crate::metadata`].

use crate::metadata::FamilyMetadata;
use crate::record::{Exemplar, Item, Record, Value};
use crate::wire::{Reader, put_varint};
use bytes::Bytes;
use model::{Labels, Sample};

const HEADER_BYTES: usize = 1 + 4 + 16 + 8 + 4 + 4 + 4 + 4;
/// Where the numbers of samples, of records and of the records' bytes stand in the header.
const COUNTS_AT: [usize; 3] = [33, 37, 41];
const SAMPLE_BYTES: usize = 16;
const SERIES: u8 = 0;
const METADATA: u8 = 1;

/// What is wrong with a buffer that claims to hold rows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed row at byte {offset}: {detail}")]
pub struct RowError {
    /// Where reading stopped.
    pub offset: usize,
    /// What was expected.
    pub detail: &'static str,
}

/// Collects rows for one shard.
#[derive(Debug, Default)]
pub struct RowsBuilder {
    buffer: Vec<u8>,
    open_row: usize,
    rows: u32,
    samples: u32,
    scratch: Vec<u8>,
}

impl RowsBuilder {
    /// Begins a series; its samples follow by [`RowsBuilder::sample`], then its records.
    ///
    /// `ordinal` is the series' place in the request, `labels` the encoded label region (see the module).
    pub fn series(&mut self, ordinal: u32, fp128: u128, placement: u64, labels: &[u8]) {
        self.open_row = self.buffer.len();
        self.buffer.reserve(HEADER_BYTES + labels.len() + SAMPLE_BYTES);
        self.buffer.push(SERIES);
        self.buffer.extend_from_slice(&ordinal.to_le_bytes());
        self.buffer.extend_from_slice(&fp128.to_le_bytes());
        self.buffer.extend_from_slice(&placement.to_le_bytes());
        self.buffer.extend_from_slice(&u32::try_from(labels.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.buffer.extend_from_slice(&[0; 12]);
        self.buffer.extend_from_slice(labels);
        self.rows += 1;
    }

    /// Adds to one of the numbers in the header of the series begun last; tells whether there is one.
    fn count(&mut self, at: usize, add: usize) -> bool {
        let at = self.open_row + at;
        let Some(count) = self.buffer.get_mut(at..at + 4) else { return false };
        let n = u32::from_le_bytes([count[0], count[1], count[2], count[3]]).saturating_add(u32::try_from(add).unwrap_or(u32::MAX));
        count.copy_from_slice(&n.to_le_bytes());
        true
    }

    /// Adds a float without a start to the series begun last, before any record of it.
    pub fn sample(&mut self, sample: Sample) {
        if self.count(COUNTS_AT[0], 1) {
            self.buffer.extend_from_slice(&sample.timestamp_ms.to_le_bytes());
            self.buffer.extend_from_slice(&sample.value.to_bits().to_le_bytes());
            self.samples += 1;
        }
    }

    /// Adds a histogram, or a float with a start, to the series begun last.
    pub fn record(&mut self, record: &Record) {
        self.samples += 1;
        self.item(|out| record.write(out));
    }

    /// Adds an exemplar to the series begun last.
    pub fn exemplar(&mut self, exemplar: &Exemplar<'_>) {
        self.item(|out| exemplar.write(out));
    }

    fn item(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.scratch.clear();
        write(&mut self.scratch);
        let before = self.buffer.len();
        put_varint(&mut self.buffer, self.scratch.len() as u64);
        self.buffer.extend_from_slice(&self.scratch);
        let added = self.buffer.len() - before;
        self.count(COUNTS_AT[1], 1);
        self.count(COUNTS_AT[2], added);
    }

    /// Adds what is known about a metric family; the next series must be begun anew.
    pub fn metadata(&mut self, metadata: &FamilyMetadata<'_>) {
        self.buffer.push(METADATA);
        metadata.write(&mut self.buffer);
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Series begun so far.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Floats and histograms added so far.
    #[must_use]
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// Ends the buffer.
    #[must_use]
    pub fn finish(self) -> Bytes {
        Bytes::from(self.buffer)
    }
}

/// One series of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Place of the series in the request.
    pub ordinal: u32,
    /// Identity hash of the labels (`model::hash::fp128`).
    pub fp128: u128,
    /// Placement hash of the labels.
    pub placement: u64,
    /// Encoded labels, see [`labels_of`].
    pub labels: &'a [u8],
    samples: &'a [u8],
    records: (u32, &'a [u8]),
}

impl<'a> Row<'a> {
    /// The floats without a start, in request order.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = Sample> + 'a {
        self.samples.chunks_exact(SAMPLE_BYTES).map(|b| Sample {
            timestamp_ms: i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            value: f64::from_bits(u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]])),
        })
    }

    /// The number of records and exemplars, and their bytes.
    #[must_use]
    pub fn record_bytes(&self) -> (u32, &'a [u8]) {
        self.records
    }

    /// Reads the records and exemplars in request order; hands over each with its bytes.
    ///
    /// # Errors
    /// One of them is malformed, or a histogram is not valid.
    pub fn records(&self, mut visit: impl FnMut(Item<'a>, &'a [u8])) -> Result<(), RowError> {
        let (count, bytes) = self.records;
        let malformed = |detail| RowError { offset: 0, detail };
        let mut reader = Reader::new(bytes);
        for _ in 0..count {
            let bytes = reader.bytes().map_err(|e| malformed(e.detail))?;
            let mut inner = Reader::new(bytes);
            let item = Item::read(&mut inner).map_err(|e| malformed(e.detail))?;
            inner.end().map_err(|e| malformed(e.detail))?;
            match &item {
                Item::Sample(Record { value: Value::Histogram(h), .. }) if !h.is_stale() && h.validate().is_err() => {
                    return Err(malformed("histogram is not valid"));
                }
                Item::Exemplar(exemplar) => drop(labels_of(exemplar.labels)?),
                Item::Sample(_) => {}
            }
            visit(item, bytes);
        }
        reader.end().map_err(|e| malformed(e.detail))
    }
}

/// Reads the rows of a buffer; stops at the first error.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    buffer: &'a [u8],
    offset: usize,
    metadata: Vec<FamilyMetadata<'a>>,
}

impl<'a> Rows<'a> {
    /// Starts at the beginning of `buffer`.
    #[must_use]
    pub fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, offset: 0, metadata: Vec::new() }
    }

    /// The metadata that was passed over so far.
    #[must_use]
    pub fn into_metadata(self) -> Vec<FamilyMetadata<'a>> {
        self.metadata
    }

    fn take(&mut self, n: usize, detail: &'static str) -> Result<&'a [u8], RowError> {
        let error = RowError { offset: self.offset, detail };
        let end = self.offset.checked_add(n).ok_or_else(|| error.clone())?;
        let piece = self.buffer.get(self.offset..end).ok_or(error)?;
        self.offset = end;
        Ok(piece)
    }

    fn read(&mut self) -> Result<Row<'a>, RowError> {
        let h = self.take(HEADER_BYTES, "header")?;
        let u32_at = |i: usize| u32::from_le_bytes([h[i], h[i + 1], h[i + 2], h[i + 3]]);
        let mut fp = [0; 16];
        fp.copy_from_slice(&h[5..21]);
        let mut placement = [0; 8];
        placement.copy_from_slice(&h[21..29]);
        let [samples, records, record_bytes] = COUNTS_AT.map(u32_at);
        let labels = self.take(u32_at(29) as usize, "labels")?;
        let samples = self.take((samples as usize).saturating_mul(SAMPLE_BYTES), "samples")?;
        let records = (records, self.take(record_bytes as usize, "records")?);
        Ok(Row { ordinal: u32_at(1), fp128: u128::from_le_bytes(fp), placement: u64::from_le_bytes(placement), labels, samples, records })
    }

    fn read_metadata(&mut self) -> Result<(), RowError> {
        self.offset += 1;
        let mut reader = Reader::new(self.buffer.get(self.offset..).unwrap_or_default());
        let metadata = FamilyMetadata::read(&mut reader).map_err(|e| RowError { offset: self.offset, detail: e.detail })?;
        self.offset = self.buffer.len() - reader.rest().len();
        self.metadata.push(metadata);
        Ok(())
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let row = match *self.buffer.get(self.offset)? {
                SERIES => self.read(),
                METADATA => match self.read_metadata() {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
                _ => Err(RowError { offset: self.offset, detail: "kind of a row" }),
            };
            if row.is_err() {
                self.offset = self.buffer.len();
            }
            return Some(row);
        }
    }
}

/// Appends one label to an encoded label region; call in name order.
pub fn push_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for piece in [name, value] {
        let mut n = piece.len();
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
        out.extend_from_slice(piece);
    }
}

/// Walks the (name, value) pairs of an encoded label region.
///
/// # Errors
/// The region is cut off.
pub fn walk_labels<'a>(region: &'a [u8], mut visit: impl FnMut(&'a [u8], &'a [u8])) -> Result<(), RowError> {
    let mut offset = 0;
    let mut piece = || -> Result<&'a [u8], RowError> {
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = *region.get(offset).ok_or(RowError { offset, detail: "label length" })?;
            offset += 1;
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
            shift += 7;
            if shift > 28 {
                return Err(RowError { offset, detail: "label length" });
            }
        }
        let found = region.get(offset..offset + length).ok_or(RowError { offset, detail: "label text" })?;
        offset += length;
        Ok(found)
    };
    let mut rest = region.len();
    while rest > 0 {
        let (name, value) = (piece()?, piece()?);
        visit(name, value);
        rest = rest.saturating_sub(name.len() + value.len() + varint_bytes(name.len()) + varint_bytes(value.len()));
    }
    Ok(())
}

fn varint_bytes(n: usize) -> usize {
    match n {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        _ => 4,
    }
}

/// Reads an encoded label region into a label set.
///
/// # Errors
/// The region is cut off or holds invalid UTF-8.
pub fn labels_of(region: &[u8]) -> Result<Labels, RowError> {
    let mut pairs = Vec::with_capacity(16);
    walk_labels(region, |name, value| pairs.push((name, value)))?;
    let mut text = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let utf8 = |b| std::str::from_utf8(b).map_err(|_| RowError { offset: 0, detail: "label is not UTF-8" });
        text.push((utf8(name)?, utf8(value)?));
    }
    Ok(Labels::from_sorted(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were_added() {
        let mut region = Vec::new();
        push_label(&mut region, b"__name__", b"up");
        push_label(&mut region, b"job", "x".repeat(300).as_bytes());
        let mut builder = RowsBuilder::default();
        builder.series(3, 7, 9, &region);
        builder.sample(Sample { timestamp_ms: -1, value: f64::from_bits(0x7ff0_0000_0000_0002) });
        builder.sample(Sample { timestamp_ms: 5, value: 1.5 });
        let metadata = FamilyMetadata { family: "up", kind: crate::metadata::MetricKind::Gauge, help: "whether it answers", unit: "" };
        builder.metadata(&metadata);
        let second = builder.bytes();
        builder.series(4, 8, 10, &[]);
        builder.record(&Record { timestamp_ms: 7, start_ms: 3, value: Value::Float(2.0) });
        let mut labels = Vec::new();
        push_label(&mut labels, b"trace_id", b"abc");
        builder.exemplar(&Exemplar { timestamp_ms: 8, value: 0.5, labels: &labels });
        assert_eq!((builder.rows(), builder.samples()), (2, 3));
        let buffer = builder.finish();
        let mut reader = Rows::new(&buffer);
        let rows: Vec<_> = reader.by_ref().collect::<Result<_, _>>().unwrap();
        assert_eq!(reader.into_metadata(), [metadata]);
        assert_eq!((rows[0].ordinal, rows[0].fp128, rows[0].placement, rows[1].ordinal), (3, 7, 9, 4));
        assert_eq!(rows[0].samples().nth(1), Some(Sample { timestamp_ms: 5, value: 1.5 }));
        assert_eq!(labels_of(rows[0].labels).unwrap().get("job").map(str::len), Some(300));
        assert_eq!(rows[1].samples().len(), 0);
        let mut items = Vec::new();
        rows[1].records(|item, _| items.push(format!("{item:?}"))).unwrap();
        assert_eq!(items.len(), 2);
        assert!(items[0].contains("start_ms: 3") && items[1].contains("0.5"), "{items:?}");
        for cut in 1..buffer.len() {
            if cut != HEADER_BYTES + region.len() + 32 && cut != second {
                assert!(Rows::new(&buffer[..cut]).any(|r| r.is_err()), "cut at {cut}");
            }
        }
    }
}
