//! Records of series in a checkpoint's pages.
//!
//! ```text
//! sid varint | metric varint | identity hash u128le | placement u64le | pairs varint, each varint | flags u8
//!   [newest, if NEWEST and not NEWEST_IS_OPEN: t zigzag, kind u8, bits u64le]
//!   [open chunk: log index - that of the record before zigzag | form u8 | by form]
//!   [stored: last - anchor zigzag, last - first varint]
//!   [out of order: log index varint | samples varint, each t zigzag, bits u64le | records varint, each]
//! form: 0 a chunk as the head has it
//!       1 count varint, column of times and column of values, each behind its length
//!       2 column of values behind its length; times are those of the record before that has them
//! ```
//!
//! The head's bit stream takes about two and a half times the bytes of columns, and series of one target share their times. Columns give back
//! the same samples, and a stream is a function of its samples: a restart makes it anew. The anchor is the first time of the open chunk,
//! or else the newest.

#![deny(clippy::indexing_slicing)]

use crate::chunk::{Decoded, OpenChunk, PageCoder, PageValues};
use crate::error::Corruption;
use crate::head::{HeadChunk, Line, OutOfOrder, SEAL_SAMPLES, Series, join};
use crate::record::{Content, Item};
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use model::Timestamp;
use std::sync::Arc;

const OPEN: u8 = 1;
const OUT_OF_ORDER: u8 = 2;
const NEWEST_IS_DELETED: u8 = 4;
const NEWEST: u8 = 8;
/// The newest sample is the last of the open chunk, a float.
const NEWEST_IS_OPEN: u8 = 16;
const STORED: u8 = 32;
const NEWEST_IS_PLAIN: u8 = 64;

const STREAM: u8 = 0;
const COLUMNS: u8 = 1;
const SHARED_TIMES: u8 = 2;

/// Writes records; those of one page lean on each other.
#[derive(Debug, Default)]
pub(super) struct LineWriter {
    coder: PageCoder,
    /// Times of the last record with columns in this page; empty if there is none.
    times: Vec<Timestamp>,
    open_index: u64,
    own_times: Vec<Timestamp>,
    values: Vec<f64>,
    stream: Vec<u8>,
    columns: Vec<u8>,
    column: Vec<u8>,
}

impl LineWriter {
    /// Forgets the records of the page before.
    pub(super) fn begin_page(&mut self) {
        self.times.clear();
        self.open_index = 0;
    }

    /// Appends a record. Sealed chunks are not part of it.
    pub(super) fn write(&mut self, series: &Series, line: &Line, out: &mut Vec<u8>) {
        let Series { sid, metric, fp128, placement, pairs } = series;
        put_varint(out, u64::from(*sid));
        put_varint(out, u64::from(*metric));
        out.extend_from_slice(&fp128.to_le_bytes());
        out.extend_from_slice(&placement.to_le_bytes());
        put_varint(out, pairs.len() as u64);
        for pair in pairs.iter() {
            put_varint(out, u64::from(*pair));
        }
        // The chunks are numbered anew after a restart: none is sealed then.
        let Line { newest, is_newest_deleted, is_newest_plain, open, open_index, sealed, first_sealed: _, listed: _, out_of_order, stored } =
            line;
        let last_of_open = open.as_ref().and_then(last_float);
        let is_newest_open = last_of_open.is_some() && *newest == last_of_open;
        let stored = sealed.iter().fold(*stored, |range, s| Some(join(range, s.chunk.first_ms(), s.chunk.last_ms())));
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(
            flag(open.is_some(), OPEN)
                | flag(out_of_order.is_some(), OUT_OF_ORDER)
                | flag(*is_newest_deleted, NEWEST_IS_DELETED)
                | flag(*is_newest_plain, NEWEST_IS_PLAIN)
                | flag(newest.is_some(), NEWEST)
                | flag(is_newest_open, NEWEST_IS_OPEN)
                | flag(stored.is_some(), STORED),
        );
        if let Some((t, content)) = newest.filter(|_| !is_newest_open) {
            let (kind, bits) = content.parts();
            put_zigzag(out, t);
            out.push(kind);
            out.extend_from_slice(&bits.to_le_bytes());
        }
        if let Some(open) = open {
            put_zigzag(out, open_index.wrapping_sub(self.open_index).cast_signed());
            self.open_index = *open_index;
            self.write_open(open, out);
        }
        if let Some((first, last)) = stored {
            put_zigzag(out, last.wrapping_sub(anchor(line)));
            put_varint(out, last.wrapping_sub(first).cast_unsigned());
        }
        if let Some(pending) = out_of_order {
            write_out_of_order(pending, out);
        }
    }

    fn write_open(&mut self, open: &HeadChunk, out: &mut Vec<u8>) {
        self.stream.clear();
        open.write_to(&mut self.stream);
        if let HeadChunk::Floats(chunk) = open
            && let Some(form) = self.columns_of(chunk)
            && self.columns.len() < self.stream.len()
        {
            out.push(form);
            out.extend_from_slice(&self.columns);
            std::mem::swap(&mut self.times, &mut self.own_times);
            return;
        }
        out.push(STREAM);
        out.extend_from_slice(&self.stream);
    }

    /// Fills `columns` with the samples of a chunk; `None` if it cannot be decoded, which only damaged memory can cause.
    fn columns_of(&mut self, chunk: &OpenChunk) -> Option<u8> {
        self.own_times.clear();
        self.values.clear();
        self.columns.clear();
        chunk.decode(&mut self.own_times, &mut self.values).ok()?;
        let form = if self.own_times == self.times { SHARED_TIMES } else { COLUMNS };
        if form == COLUMNS {
            put_varint(&mut self.columns, self.own_times.len() as u64);
            self.column.clear();
            self.coder.encode_times(&self.own_times, &mut self.column);
            put_bytes(&mut self.columns, &self.column);
        }
        self.column.clear();
        self.coder.encode_values(PageValues::Floats(&self.values), &[], &mut self.column);
        put_bytes(&mut self.columns, &self.column);
        Some(form)
    }
}

/// Reads the records of one page.
#[derive(Debug, Default)]
pub(super) struct LineReader {
    coder: PageCoder,
    times: Vec<Timestamp>,
    open_index: u64,
    decoded: Decoded,
}

impl LineReader {
    /// Takes a record off the front of `r`.
    pub(super) fn read(&mut self, r: &mut Reader<'_>) -> Result<(Series, Line), Corruption> {
        let (sid, metric) = (r.varint_u32()?, r.varint_u32()?);
        let (fp128, placement) = (u128::from_le_bytes(r.array()?), r.u64_le()?);
        let n = r.count(1)?;
        let pairs: Arc<[u32]> = (0..n).map(|_| r.varint_u32()).collect::<Result<_, _>>()?;
        let flags = r.u8()?;
        let mut line =
            Line { is_newest_deleted: flags & NEWEST_IS_DELETED != 0, is_newest_plain: flags & NEWEST_IS_PLAIN != 0, ..Line::default() };
        if flags & (NEWEST | NEWEST_IS_OPEN) == NEWEST {
            let (t, kind) = (r.zigzag()?, r.u8()?);
            line.newest = Some((t, Content::from_parts(kind, r.u64_le()?)?));
        }
        if flags & OPEN != 0 {
            self.open_index = self.open_index.wrapping_add_signed(r.zigzag()?);
            line.open_index = self.open_index;
            line.open = Some(self.read_open(r)?);
        }
        if flags & NEWEST_IS_OPEN != 0 {
            line.newest = line.open.as_ref().and_then(last_float);
        }
        if (flags & NEWEST != 0) != line.newest.is_some() {
            return Err(Corruption::new("newest sample of a series"));
        }
        if flags & STORED != 0 {
            let last = anchor(&line).wrapping_add(r.zigzag()?);
            line.stored = Some((last.wrapping_sub(r.varint()?.cast_signed()), last));
        }
        if flags & OUT_OF_ORDER != 0 {
            line.out_of_order = Some(Box::new(read_out_of_order(r)?));
        }
        Ok((Series { sid, metric, fp128, placement, pairs }, line))
    }

    fn read_open(&mut self, r: &mut Reader<'_>) -> Result<HeadChunk, Corruption> {
        match r.u8()? {
            STREAM => {
                let chunk = HeadChunk::read_from(r)?;
                return if chunk.len() < SEAL_SAMPLES { Ok(chunk) } else { Err(Corruption::new("open chunk too long")) };
            }
            COLUMNS => {
                let count = usize::try_from(r.varint()?).ok().filter(|count| *count < SEAL_SAMPLES);
                let count = count.ok_or(Corruption::new("open chunk too long"))?;
                self.times.clear();
                self.coder.decode_times(r.bytes()?, count, &mut self.times)?;
            }
            SHARED_TIMES => {}
            _ => return Err(Corruption::new("open chunk of unknown form")),
        }
        self.decoded.clear();
        self.coder.decode_values(r.bytes()?, self.times.len(), &mut self.decoded)?;
        let mut samples = self.times.iter().zip(&self.decoded.values);
        let (Some((t, value)), true) = (samples.next(), self.decoded.values.len() == self.times.len()) else {
            return Err(Corruption::new("open chunk contradicts itself"));
        };
        let mut chunk = OpenChunk::new(*t, *value);
        samples.for_each(|(t, value)| chunk.append(*t, *value));
        Ok(HeadChunk::Floats(chunk))
    }
}

fn last_float(open: &HeadChunk) -> Option<(Timestamp, Content)> {
    match open {
        HeadChunk::Floats(chunk) => Some((chunk.last_ms(), Content::Float(chunk.last_bits()))),
        HeadChunk::Records(_) => None,
    }
}

fn anchor(line: &Line) -> Timestamp {
    line.open.as_ref().map(HeadChunk::first_ms).or(line.newest.map(|(t, _)| t)).unwrap_or(0)
}

fn write_out_of_order(pending: &OutOfOrder, out: &mut Vec<u8>) {
    let OutOfOrder { samples, records, min_index } = pending;
    put_varint(out, *min_index);
    put_varint(out, samples.len() as u64);
    for (t, bits) in samples {
        put_zigzag(out, *t);
        out.extend_from_slice(&bits.to_le_bytes());
    }
    put_varint(out, records.len() as u64);
    records.iter().for_each(|record| record.write(out));
}

fn read_out_of_order(r: &mut Reader<'_>) -> Result<OutOfOrder, Corruption> {
    let min_index = r.varint()?;
    let n = r.count(9)?;
    let samples = (0..n).map(|_| Ok((r.zigzag()?, r.u64_le()?))).collect::<Result<_, Corruption>>()?;
    let n = r.count(4)?;
    let records = (0..n).map(|_| match Item::read(r)? {
        Item::Sample(record) => Ok(record),
        Item::Exemplar(_) => Err(Corruption::new("exemplar among samples")),
    });
    let records = records.collect::<Result<_, _>>()?;
    Ok(OutOfOrder { samples, records, min_index })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::head::Line;
    use model::Sample;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// Series of one target and a few others: steps between samples, and kinds of values.
    fn lines() -> impl Strategy<Value = Vec<(u8, usize, Vec<f64>)>> {
        let value = prop_oneof![
            8 => (0u32..1000).prop_map(|v| f64::from(v) / 10.0),
            1 => any::<u64>().prop_map(f64::from_bits),
        ];
        vec((0u8..3, prop_oneof![0usize..300, (0usize..3).prop_map(|chunks| chunks * SEAL_SAMPLES)], vec(value, 300)), 1..12)
    }

    fn line(target: u8, count: usize, values: &[f64]) -> Line {
        let mut line = Line::default();
        for (i, value) in values.iter().take(count).enumerate() {
            let timestamp_ms = 1_700_000_000_000 + i as i64 * 15_000 + i64::from(target) * ((i as i64 * 7919) % 11);
            line.append(Sample { timestamp_ms, value: *value }, 1000 + i as u64);
        }
        line
    }

    fn series(sid: u32) -> Series {
        Series { sid, metric: sid % 3, fp128: u128::from(sid) << 70, placement: u64::from(sid), pairs: [1, sid].into() }
    }

    fn written(lines: &[Line]) -> Vec<u8> {
        let (mut writer, mut out) = (LineWriter::default(), Vec::new());
        writer.begin_page();
        (0..).zip(lines).for_each(|(sid, line)| writer.write(&series(sid), line, &mut out));
        out
    }

    fn stream(chunk: Option<&HeadChunk>) -> Vec<u8> {
        let mut out = Vec::new();
        chunk.inspect(|chunk| chunk.write_to(&mut out));
        out
    }

    proptest! {
        #[test]
        fn c2_lines_come_back_to_the_bit_of_their_streams(lines in lines(), at: prop::sample::Index, flip in 1u8..) {
            let lines: Vec<Line> = lines.iter().map(|(target, count, values)| line(*target, *count, values)).collect();
            let mut bytes = written(&lines);
            let (mut reader, mut r) = (LineReader::default(), Reader::new(&bytes));
            for (sid, line) in (0..).zip(&lines) {
                let (of, back) = reader.read(&mut r).unwrap();
                prop_assert_eq!((of.sid, of.fp128, of.placement, &of.pairs[..]), (sid, u128::from(sid) << 70, u64::from(sid), &[1, sid][..]));
                prop_assert_eq!((back.newest, back.is_newest_plain), (line.newest, line.is_newest_plain));
                prop_assert_eq!(stream(back.open.as_ref()), stream(line.open.as_ref()));
                prop_assert!(line.open.is_none() || back.open_index == line.open_index);
                let sealed = line.sealed.iter().fold(line.stored, |range, s| Some(join(range, s.chunk.first_ms(), s.chunk.last_ms())));
                prop_assert_eq!(back.stored, sealed);
            }
            prop_assert!(r.rest().is_empty());
            let i = at.index(bytes.len());
            bytes[i] ^= flip;
            let (mut reader, mut r) = (LineReader::default(), Reader::new(&bytes));
            while !r.rest().is_empty() && reader.read(&mut r).is_ok() {}
        }
    }

    #[test]
    fn series_of_one_target_share_their_times() {
        let values: Vec<f64> = (0..100).map(|i| f64::from(i * i % 17)).collect();
        let lines: Vec<Line> = (0..20).map(|_| line(1, 100, &values)).collect();
        let (one, all) = (written(&lines[..1]).len(), written(&lines).len());
        assert!(all < 20 * (one - 25), "{all} bytes for twenty, {one} for one");
    }

    #[test]
    fn line_bytes_are_frozen() {
        let line = line(0, 4, &[1.0, 2.0, 3.0, 5.5]);
        let bytes = written(&[line]);
        assert_eq!(bytes[29..], *GOLDEN, "{:?}", &bytes[29..]);
    }

    const GOLDEN: &[u8] = &[89, 208, 15, 1, 4, 10, 1, 128, 160, 171, 254, 249, 98, 176, 234, 1, 9, 97, 45, 68, 20, 5, 4, 2, 0, 48];
}
