//! The rows of one part as columns: one byte a sample for the series, the ordinal and the timestamp each, eight for the value.
//!
//! What is more than a plain float follows as groups of records, one for each row that has any.

use crate::error::Corruption;
use crate::record::Item;
use crate::wire::{Reader, put_varint, put_zigzag};
use model::Sample;

/// Varint deltas, raw values.
const CODEC_PLAIN: u8 = 0;
/// The same without the column of sample counts: every row has one.
const CODEC_SINGLE: u8 = 1;

/// How a row names its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SeriesRef {
    /// By the id that an applied entry gave it.
    Known(u32),
    /// By its place among the part's created series.
    Created(u32),
}

/// Collects rows column by column; reused from part to part.
#[derive(Debug, Default)]
pub(crate) struct ColumnsBuilder {
    rows: usize,
    series: Vec<u8>,
    ordinals: Vec<u8>,
    counts: Vec<u8>,
    timestamps: Vec<u8>,
    values: Vec<u8>,
    groups: u64,
    /// (row delta, records) of each group.
    group_sizes: Vec<u8>,
    records: Vec<u8>,
    last_group: usize,
    next_series: i64,
    next_ordinal: i64,
    last_ms: i64,
}

impl ColumnsBuilder {
    pub(crate) fn clear(&mut self) {
        let Self { rows, series, ordinals, counts, timestamps, values, groups, group_sizes, records, .. } = self;
        for column in [series, ordinals, counts, timestamps, values, group_sizes, records] {
            column.clear();
        }
        (*rows, *groups) = (0, 0);
        (self.last_group, self.next_series, self.next_ordinal, self.last_ms) = (0, 0, 0, 0);
    }

    pub(crate) fn row(&mut self, series: SeriesRef, ordinal: u32, samples: impl ExactSizeIterator<Item = Sample>) {
        let code = match series {
            SeriesRef::Known(sid) => {
                let delta = i64::from(sid) - self.next_series;
                self.next_series = i64::from(sid) + 1;
                zigzag(delta) << 1
            }
            SeriesRef::Created(index) => (u64::from(index) << 1) | 1,
        };
        put_varint(&mut self.series, code);
        put_zigzag(&mut self.ordinals, i64::from(ordinal) - self.next_ordinal);
        self.next_ordinal = i64::from(ordinal) + 1;
        put_varint(&mut self.counts, samples.len() as u64);
        for sample in samples {
            put_zigzag(&mut self.timestamps, sample.timestamp_ms.wrapping_sub(self.last_ms));
            self.last_ms = sample.timestamp_ms;
            self.values.extend_from_slice(&sample.value.to_bits().to_le_bytes());
        }
        self.rows += 1;
    }

    /// Adds the records of the row added last, each behind its length, as [`crate::rows`] has them.
    pub(crate) fn records(&mut self, count: u32, bytes: &[u8]) {
        let row = self.rows.saturating_sub(1);
        put_varint(&mut self.group_sizes, (row - self.last_group) as u64);
        put_varint(&mut self.group_sizes, u64::from(count));
        self.records.extend_from_slice(bytes);
        self.last_group = row;
        self.groups += 1;
    }

    /// Bytes that [`ColumnsBuilder::write`] would append, but for the counts in front.
    pub(crate) fn bytes(&self) -> usize {
        let Self { series, ordinals, counts, timestamps, values, group_sizes, records, .. } = self;
        [series, ordinals, counts, timestamps, values, group_sizes, records].iter().map(|column| column.len()).sum()
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.bytes() + 16);
        let is_single = self.counts.iter().all(|n| *n == 1);
        out.push(if is_single { CODEC_SINGLE } else { CODEC_PLAIN });
        put_varint(out, self.rows as u64);
        let counts: &[u8] = if is_single { &[] } else { &self.counts };
        for column in [&self.series, &self.ordinals, counts, &self.timestamps, &self.values] {
            out.extend_from_slice(column);
        }
        put_varint(out, self.groups);
        out.extend_from_slice(&self.group_sizes);
        out.extend_from_slice(&self.records);
    }
}

/// One row of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteRow {
    pub(crate) series: SeriesRef,
    pub(crate) ordinal: u32,
    /// Plain floats.
    pub(crate) samples: u32,
    /// Records and exemplars, after the floats.
    pub(crate) records: u32,
}

/// The rows of a part; decoding checked every bound before the first row is handed out.
#[derive(Clone, Debug)]
pub(crate) struct WriteRows<'a> {
    rows: usize,
    series: Reader<'a>,
    ordinals: Reader<'a>,
    /// `None` if every row has one sample.
    counts: Option<Reader<'a>>,
    timestamps: Reader<'a>,
    values: Reader<'a>,
    groups: usize,
    group_sizes: Reader<'a>,
    records: Reader<'a>,
    /// Row of the next group and its records, if there is one.
    next_group: Option<(usize, u32)>,
    row: usize,
    next_series: i64,
    next_ordinal: i64,
    last_ms: i64,
}

impl<'a> WriteRows<'a> {
    /// Finds the columns and checks them, so that a part is applied whole or not at all.
    pub(crate) fn read(r: &mut Reader<'a>, created: usize) -> Result<Self, Corruption> {
        let is_single = match r.u8()? {
            CODEC_PLAIN => false,
            CODEC_SINGLE => true,
            _ => return Err(Corruption::new("rows of unknown codec")),
        };
        let rows = r.count(2)?;
        let series = *r;
        let mut next_series = 0i64;
        for _ in 0..rows {
            match read_series(r, &mut next_series)? {
                SeriesRef::Created(index) if index as usize >= created => return Err(Corruption::new("created index")),
                SeriesRef::Created(_) | SeriesRef::Known(_) => {}
            }
        }
        let ordinals = *r;
        let mut next_ordinal = 0i64;
        for _ in 0..rows {
            read_ordinal(r, &mut next_ordinal)?;
        }
        let counts = (!is_single).then_some(*r);
        let mut samples = if is_single { rows as u64 } else { 0 };
        if !is_single {
            for _ in 0..rows {
                samples += u64::from(r.varint_u32()?);
            }
        }
        if samples.checked_mul(9).is_none_or(|bytes| bytes > r.rest().len() as u64) {
            return Err(Corruption::new("samples"));
        }
        let timestamps = *r;
        for _ in 0..samples {
            r.varint()?;
        }
        let values = *r;
        r.take(samples as usize * 8)?;
        let groups = r.count(2)?;
        let group_sizes = *r;
        let mut records = 0u64;
        for _ in 0..groups {
            r.varint()?;
            records += u64::from(r.varint_u32()?);
        }
        let bodies = *r;
        for _ in 0..records {
            r.bytes()?;
        }
        let columns = Self {
            rows,
            series,
            ordinals,
            counts,
            timestamps,
            values,
            groups,
            group_sizes,
            records: bodies,
            next_group: None,
            row: 0,
            next_series: 0,
            next_ordinal: 0,
            last_ms: 0,
        };
        columns.checked()
    }

    /// Checks that every group belongs to a row, and moves to the first.
    fn checked(mut self) -> Result<Self, Corruption> {
        let (mut sizes, mut at) = (self.group_sizes, 0u64);
        for group in 0..self.groups {
            let delta = sizes.varint()?;
            sizes.varint()?;
            if group > 0 && delta == 0 {
                return Err(Corruption::new("two groups of records for a row"));
            }
            at = at.saturating_add(delta);
        }
        if self.groups > 0 && at >= self.rows as u64 {
            return Err(Corruption::new("row of records"));
        }
        self.advance_group(0)?;
        Ok(self)
    }

    fn advance_group(&mut self, row: usize) -> Result<(), Corruption> {
        self.next_group = match self.groups.checked_sub(1) {
            None => None,
            Some(left) => {
                self.groups = left;
                let delta = self.group_sizes.varint()?;
                Some((row.saturating_add(usize::try_from(delta).unwrap_or(usize::MAX)), self.group_sizes.varint_u32()?))
            }
        };
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    pub(crate) fn next_row(&mut self) -> Result<Option<WriteRow>, Corruption> {
        if self.rows == 0 {
            return Ok(None);
        }
        self.rows -= 1;
        let mut records = 0;
        if let Some((row, count)) = self.next_group
            && row == self.row
        {
            records = count;
            self.advance_group(row)?;
        }
        self.row += 1;
        Ok(Some(WriteRow {
            series: read_series(&mut self.series, &mut self.next_series)?,
            ordinal: read_ordinal(&mut self.ordinals, &mut self.next_ordinal)?,
            samples: self.counts.as_mut().map_or(Ok(1), Reader::varint_u32)?,
            records,
        }))
    }

    /// The next record; call as often as the row said, after its floats.
    pub(crate) fn next_record(&mut self) -> Result<Item<'a>, Corruption> {
        let mut body = Reader::new(self.records.bytes()?);
        let item = Item::read(&mut body)?;
        body.end()?;
        Ok(item)
    }

    /// Passes over the samples and records of the row that was given last.
    pub(crate) fn skip(&mut self, row: WriteRow) -> Result<(), Corruption> {
        for _ in 0..row.samples {
            self.next_sample()?;
        }
        for _ in 0..row.records {
            self.records.bytes()?;
        }
        Ok(())
    }

    /// The next float; call as often as the row said.
    pub(crate) fn next_sample(&mut self) -> Result<Sample, Corruption> {
        self.last_ms = self.last_ms.wrapping_add(self.timestamps.zigzag()?);
        Ok(Sample { timestamp_ms: self.last_ms, value: f64::from_bits(self.values.u64_le()?) })
    }
}

/// Ids are 32 bits wide, so a delta shifted by the flag stays far from overflow.
fn zigzag(delta: i64) -> u64 {
    ((delta << 1) ^ (delta >> 63)) as u64
}

fn unzigzag(code: u64) -> i64 {
    (code >> 1) as i64 ^ -((code & 1) as i64)
}

fn read_series(r: &mut Reader<'_>, next: &mut i64) -> Result<SeriesRef, Corruption> {
    let code = r.varint()?;
    if code & 1 == 1 {
        return u32::try_from(code >> 1).map(SeriesRef::Created).map_err(|_| Corruption::new("created index"));
    }
    let sid = next.checked_add(unzigzag(code >> 1)).and_then(|n| u32::try_from(n).ok()).ok_or_else(|| Corruption::new("series"))?;
    *next = i64::from(sid) + 1;
    Ok(SeriesRef::Known(sid))
}

fn read_ordinal(r: &mut Reader<'_>, next: &mut i64) -> Result<u32, Corruption> {
    let delta = r.zigzag()?;
    let ordinal = next.checked_add(delta).and_then(|n| u32::try_from(n).ok()).ok_or_else(|| Corruption::new("ordinal"))?;
    *next = i64::from(ordinal) + 1;
    Ok(ordinal)
}
