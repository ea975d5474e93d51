//! A checkpoint's pages: records of one kind behind a format and a kind byte.
//!
//! ```text
//! page:    format u8 = 4 | kind u8 | record*
//! records: 1 replicated | 2 verdict | 3 pair | 4 series (see `lines`) | 5 tombstone | 6 exemplar | 7 metadata of a family
//! ```
//!
//! Sealed chunks are not here: the same checkpoint writes them to parts.

use super::lines::{LineReader, LineWriter};
use super::{Replicated, ShardMap, Tombstone};
use crate::entry::{put_generations, put_limits, read_generations, read_limits};
use crate::error::Corruption;
use crate::head::{Line, Series};
use crate::metadata::Families;
use crate::postings::Pair;
use crate::wire::{Reader, put_bytes, put_varint};
use bytes::Bytes;
use model::planted::{self, Bug};
use model::{LogPoint, ReplicaId};

/// Bytes at which a page is handed over.
pub(crate) const PAGE_BYTES: usize = 256 << 10;
const FORMAT: u8 = 4;

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
    lines: LineWriter,
    /// Buffer of the record of a series.
    record: Vec<u8>,
    sink: F,
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> PageWriter<F> {
    pub(crate) fn new(sink: F) -> Self {
        Self { page: Vec::with_capacity(PAGE_BYTES), kind: None, lines: LineWriter::default(), record: Vec::new(), sink }
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
        let ShardMap { placement_key, generations, seen_rev, has_changed } = map;
        out.extend_from_slice(&placement_key.to_le_bytes());
        put_generations(&mut out, generations);
        put_varint(&mut out, *seen_rev);
        out.push(u8::from(*has_changed));
        put_varint(&mut out, u64::from(*next_sid));
        put_varint(&mut out, *samples);
        put_range(&mut out, *bounds);
        out.extend_from_slice(&dropped_before_ms.to_le_bytes());
        self.record(Kind::Replicated, &out)?;
        for tombstone in tombstones.iter().filter(|_| !planted::is(Bug::DeletesNotInCheckpoint)) {
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
    pub(crate) fn series(&mut self, series: &Series, line: &Line) -> Result<(), E> {
        if planted::is(Bug::CheckpointDropsSeries) && series.sid % 8 == 3 {
            return Ok(());
        }
        if self.kind != Some(Kind::Series) {
            self.lines.begin_page();
        }
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        self.lines.write(series, line, &mut record);
        if self.page.len() + record.len() > PAGE_BYTES {
            // Records lean on those before them in their page.
            self.lines.begin_page();
            record.clear();
            self.lines.write(series, line, &mut record);
            self.flush()?;
        }
        let result = self.record(Kind::Series, &record);
        self.record = record;
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
    let mut lines = LineReader::default();
    while !r.rest().is_empty() {
        match kind {
            k if k == Kind::Replicated as u8 => into.replicated(read_replicated(&mut r)?),
            k if k == Kind::Verdict as u8 => into.ring().read(&mut r)?,
            k if k == Kind::Exemplar as u8 => into.exemplars().read(&mut r)?,
            k if k == Kind::Family as u8 => into.families().read(&mut r)?,
            k if k == Kind::Tombstone as u8 => into.tombstone(Tombstone::read(&mut r)?),
            k if k == Kind::Pair as u8 => into.pair(r.varint_u32()?, r.text()?, r.text()?),
            k if k == Kind::Series as u8 => {
                let (series, line) = lines.read(&mut r)?;
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
    let (placement_key, generations) = (r.u64_le()?, read_generations(r)?);
    let map = ShardMap { placement_key, generations, seen_rev: r.varint()?, has_changed: r.u8()? != 0 };
    let next_sid = r.varint_u32()?;
    let (samples, bounds) = (r.varint()?, read_range(r)?);
    let dropped_before_ms = i64::from_le_bytes(r.array()?);
    // What is in records of its own follows.
    let empty = Replicated::default();
    Ok(Replicated { applied, extra, time_ms, limits, map, next_sid, samples, bounds, dropped_before_ms, ..empty })
}
