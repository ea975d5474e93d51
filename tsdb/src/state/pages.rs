//! A checkpoint's pages: records of one kind behind a format and a kind byte.
//!
//! ```text
//! page:    format u8 = 2 | kind u8 | record*
//! records: 1 replicated | 2 verdict | 3 pair | 4 series | 5 tombstone | 6 exemplar | 7 metadata of a family
//! ```
//!
//! Sealed chunks are not here: the same checkpoint writes them to parts.

use super::{Replicated, ShardMap, Tombstone};
use crate::entry::{put_generations, put_limits, read_generations, read_limits};
use crate::error::Corruption;
use crate::head::{HeadChunk, Line, OutOfOrder, Series, join};
use crate::metadata::Families;
use crate::postings::Pair;
use crate::record::{Content, Item};
use crate::wire::{Reader, put_bytes, put_varint, put_zigzag};
use bytes::Bytes;
use model::{LogPoint, ReplicaId};
use std::sync::Arc;

/// Bytes at which a page is handed over.
pub(crate) const PAGE_BYTES: usize = 256 << 10;
const FORMAT: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Replicated = 1,
    Verdict = 2,
    Pair = 3,
    Series = 4,
    Tombstone = 5,
    Exemplar = 6,
    Family = 7,
}

/// Gathers records into pages and hands each full page to `sink`.
pub(crate) struct PageWriter<F> {
    page: Vec<u8>,
    kind: Option<Kind>,
    sink: F,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> PageWriter<F> {
    pub(crate) fn new(sink: F) -> Self {
        Self { page: Vec::with_capacity(PAGE_BYTES), kind: None, sink }
    }

    /// Hands over the last page.
    pub(crate) fn finish(mut self) -> Result<(), E> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), E> {
        if self.kind.take().is_some() {
            (self.sink)(&self.page)?;
        }
        Ok(())
    }

    fn record(&mut self, kind: Kind, record: &[u8]) -> Result<(), E> {
        if self.kind != Some(kind) || self.page.len() + record.len() > PAGE_BYTES {
            self.flush()?;
            self.page.clear();
            self.page.extend_from_slice(&[FORMAT, kind as u8]);
            self.kind = Some(kind);
        }
        self.page.extend_from_slice(record);
        Ok(())
    }

    pub(crate) fn replicated(&mut self, replicated: &Replicated) -> Result<(), E> {
        let mut out = Vec::new();
        let Replicated {
            applied,
            extra,
            time_ms,
            limits,
            map,
            next_sid,
            samples,
            bounds,
            dropped_before_ms,
            tombstones,
            ring,
            exemplars,
            families,
        } = replicated;
        put_varint(&mut out, u64::from(applied.is_some()));
        if let Some(LogPoint { term, leader, index }) = applied {
            for n in [*term, leader.0, *index] {
                put_varint(&mut out, n);
            }
        }
        put_bytes(&mut out, extra);
        out.extend_from_slice(&time_ms.to_le_bytes());
        put_limits(&mut out, limits);
        let ShardMap { placement_key, generations, has_changed } = map;
        out.extend_from_slice(&placement_key.to_le_bytes());
        put_generations(&mut out, generations);
        out.push(u8::from(*has_changed));
        put_varint(&mut out, u64::from(*next_sid));
        put_varint(&mut out, *samples);
        put_range(&mut out, *bounds);
        out.extend_from_slice(&dropped_before_ms.to_le_bytes());
        self.record(Kind::Replicated, &out)?;
        for tombstone in tombstones.iter() {
            out.clear();
            tombstone.write(&mut out);
            self.record(Kind::Tombstone, &out)?;
        }
        let mut result = Ok(());
        let mut record = |kind, record: &[u8]| {
            if result.is_ok() {
                result = self.record(kind, record);
            }
        };
        ring.write(|verdict| record(Kind::Verdict, verdict));
        exemplars.write(|exemplar| record(Kind::Exemplar, exemplar));
        families.write(|family| record(Kind::Family, family));
        result
    }

    pub(crate) fn pair(&mut self, number: u32, pair: &Pair) -> Result<(), E> {
        let Some((name, value)) = pair else { return Ok(()) };
        let mut out = Vec::with_capacity(name.len() + value.len() + 8);
        put_varint(&mut out, u64::from(number));
        put_bytes(&mut out, name.as_bytes());
        put_bytes(&mut out, value.as_bytes());
        self.record(Kind::Pair, &out)
    }

    /// Writes a series whose sealed chunks lie in parts once the checkpoint is committed.
    pub(crate) fn series(&mut self, series: &Series, line: &Line, scratch: &mut Vec<u8>) -> Result<(), E> {
        scratch.clear();
        let Series { sid, metric, fp128, placement, pairs } = series;
        put_varint(scratch, u64::from(*sid));
        put_varint(scratch, u64::from(*metric));
        scratch.extend_from_slice(&fp128.to_le_bytes());
        scratch.extend_from_slice(&placement.to_le_bytes());
        put_varint(scratch, pairs.len() as u64);
        for pair in pairs.iter() {
            put_varint(scratch, u64::from(*pair));
        }
        // The chunks are numbered anew after a restart: none is sealed then.
        let Line { newest, is_newest_deleted, open, open_index, sealed, first_sealed: _, listed: _, out_of_order, stored } = line;
        let (kind, bits) = newest.map_or((0, 0), |(_, content)| content.parts());
        put_range(scratch, newest.map(|(t, _)| (t, bits.cast_signed())));
        scratch.push(kind);
        let stored = sealed.iter().fold(*stored, |range, s| Some(join(range, s.chunk.first_ms(), s.chunk.last_ms())));
        put_range(scratch, stored);
        scratch.push(u8::from(open.is_some()) | u8::from(out_of_order.is_some()) << 1 | u8::from(*is_newest_deleted) << 2);
        if let Some(open) = open {
            put_varint(scratch, *open_index);
            open.write_to(scratch);
        }
        if let Some(pending) = out_of_order {
            let OutOfOrder { samples, records, min_index } = pending.as_ref();
            put_varint(scratch, *min_index);
            put_varint(scratch, samples.len() as u64);
            for (t, bits) in samples {
                put_zigzag(scratch, *t);
                scratch.extend_from_slice(&bits.to_le_bytes());
            }
            put_varint(scratch, records.len() as u64);
            records.iter().for_each(|record| record.write(scratch));
        }
        let record = std::mem::take(scratch);
        let result = self.record(Kind::Series, &record);
        *scratch = record;
        result
    }
}

fn put_range(out: &mut Vec<u8>, range: Option<(i64, i64)>) {
    out.push(u8::from(range.is_some()));
    if let Some((a, b)) = range {
        out.extend_from_slice(&a.to_le_bytes());
        out.extend_from_slice(&b.to_le_bytes());
    }
}

fn read_range(r: &mut Reader<'_>) -> Result<Option<(i64, i64)>, Corruption> {
    match r.u8()? {
        0 => Ok(None),
        1 => Ok(Some((i64::from_le_bytes(r.array()?), i64::from_le_bytes(r.array()?)))),
        _ => Err(Corruption::new("flag of a range")),
    }
}

/// Takes what pages hold, in the order they were written.
pub(crate) trait Restored {
    /// The small state, first of all.
    fn replicated(&mut self, replicated: Replicated);
    /// The state taken so far, to which verdicts are added.
    fn ring(&mut self) -> &mut super::BatchRing;
    /// The state taken so far, to which exemplars are added.
    fn exemplars(&mut self) -> &mut super::Exemplars;
    /// The state taken so far, to which metadata is added.
    fn families(&mut self) -> &mut Families;
    /// A delete in force.
    fn tombstone(&mut self, tombstone: Tombstone);
    /// A label pair.
    fn pair(&mut self, number: u32, name: &str, value: &str);
    /// A series, after all pairs.
    fn series(&mut self, series: Series, line: Line);
}

/// Reads one page.
pub(crate) fn read_page(page: &[u8], into: &mut impl Restored) -> Result<(), Corruption> {
    let mut r = Reader::new(page);
    if r.u8()? != FORMAT {
        return Err(Corruption::new("checkpoint page of unknown format"));
    }
    let kind = r.u8()?;
    while !r.rest().is_empty() {
        match kind {
            k if k == Kind::Replicated as u8 => into.replicated(read_replicated(&mut r)?),
            k if k == Kind::Verdict as u8 => into.ring().read(&mut r)?,
            k if k == Kind::Exemplar as u8 => into.exemplars().read(&mut r)?,
            k if k == Kind::Family as u8 => into.families().read(&mut r)?,
            k if k == Kind::Tombstone as u8 => into.tombstone(Tombstone::read(&mut r)?),
            k if k == Kind::Pair as u8 => into.pair(r.varint_u32()?, r.text()?, r.text()?),
            k if k == Kind::Series as u8 => {
                let (series, line) = read_series(&mut r)?;
                into.series(series, line);
            }
            _ => return Err(Corruption::new("checkpoint page of unknown kind")),
        }
    }
    Ok(())
}

fn read_replicated(r: &mut Reader<'_>) -> Result<Replicated, Corruption> {
    let applied = match r.varint()? {
        0 => None,
        _ => Some(LogPoint { term: r.varint()?, leader: ReplicaId(r.varint()?), index: r.varint()? }),
    };
    let extra = Bytes::copy_from_slice(r.bytes()?);
    let time_ms = i64::from_le_bytes(r.array()?);
    let limits = read_limits(r)?;
    let map = ShardMap { placement_key: r.u64_le()?, generations: read_generations(r)?, has_changed: r.u8()? != 0 };
    let next_sid = r.varint_u32()?;
    let (samples, bounds) = (r.varint()?, read_range(r)?);
    let dropped_before_ms = i64::from_le_bytes(r.array()?);
    // What is in records of its own follows.
    let empty = Replicated::default();
    Ok(Replicated { applied, extra, time_ms, limits, map, next_sid, samples, bounds, dropped_before_ms, ..empty })
}

fn read_series(r: &mut Reader<'_>) -> Result<(Series, Line), Corruption> {
    let (sid, metric) = (r.varint_u32()?, r.varint_u32()?);
    let (fp128, placement) = (u128::from_le_bytes(r.array()?), r.u64_le()?);
    let n = r.count(1)?;
    let pairs: Arc<[u32]> = (0..n).map(|_| r.varint_u32()).collect::<Result<_, _>>()?;
    let newest = read_range(r)?;
    let kind = r.u8()?;
    let newest = newest.map(|(t, bits)| Ok((t, Content::from_parts(kind, bits.cast_unsigned())?))).transpose()?;
    let stored = read_range(r)?;
    let flags = r.u8()?;
    let mut line = Line { newest, is_newest_deleted: flags & 4 != 0, stored, ..Line::default() };
    if flags & 1 != 0 {
        line.open_index = r.varint()?;
        line.open = Some(HeadChunk::read_from(r)?);
    }
    if flags & 2 != 0 {
        let min_index = r.varint()?;
        let n = r.count(9)?;
        let samples = (0..n).map(|_| Ok((r.zigzag()?, r.u64_le()?))).collect::<Result<_, Corruption>>()?;
        let n = r.count(4)?;
        let records = (0..n).map(|_| match Item::read(r)? {
            Item::Sample(record) => Ok(record),
            Item::Exemplar(_) => Err(Corruption::new("exemplar among samples")),
        });
        let records = records.collect::<Result<_, _>>()?;
        line.out_of_order = Some(Box::new(OutOfOrder { samples, records, min_index }));
    }
    Ok((Series { sid, metric, fp128, placement, pairs }, line))
}
