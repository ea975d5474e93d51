//! The entries of a shard's log, encoded by hand: replicas of different versions must read the same meaning or stop.
//!
//! ```text
//! entry:         format u8 = 2 | kind u8 | body
//! Write:         time i64 | resolver_term u64 | part*                        (integers are little-endian)
//! part:          batch_id u128 | hash u64 | generation u64 | origin u8 | created n, (fp128 u128 | placement u64 | labels)* | columns | metadata n, metadata*
//! columns:       codec u8 | rows n | series* | ordinal* | samples* (codec 0) | timestamp* | value u64* | groups n, group* | (length | record)*
//! group:         row delta | records                            (of a row that has more than plain floats)
//! SetLimits:     version u64 | out_of_order_window_ms i64 | late_window_ms i64 | retention_ms i64 | exemplars_max u32
//! Open:          placement_key u64 | generations n, generation*
//! Fence:         time i64 | generation
//! Unfence:       gen u64 | rev u64
//! Tick:          time i64
//! EvictIdle:     time i64
//! DropDay:       time i64 | before_ms i64
//! Delete:        known_revision u64 | first_ms i64 | last_ms i64 | sets n, matchers*
//! DayDigest:     day u16 | at_index u64 | digest u64
//! generation:    gen u64 | rev u64 | from_ms i64 | shards n, u64*
//! matchers:      n, (op u8 | name | value)*
//! ```
//!
//! An unknown format or kind is refused, and apply stops there: skipping it would let replicas diverge.

mod columns;
mod delete;
#[cfg(test)]
mod tests;

pub(crate) use columns::{ColumnsBuilder, SeriesRef, WriteRow, WriteRows};
pub use delete::{DayDigest, Delete, DeleteError, MATCHERS_BYTES_MAX, day_digest, delete};
pub(crate) use delete::{put_matchers, read_matchers};

use crate::error::Corruption;
use crate::metadata::FamilyMetadata;
use crate::wire::{Reader, put_bytes, put_varint};
use bytes::Bytes;
use model::{Generation, ShardId, Timestamp};

/// Version of the entry encoding that this binary writes and reads.
pub const FORMAT: u8 = 2;

/// What an entry does. Numbers are frozen; 10 `EnableVersion` is reserved and refused by this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Write = 1,
    SetLimits = 2,
    Open = 3,
    Tick = 4,
    EvictIdle = 5,
    Fence = 6,
    Unfence = 7,
    DropDay = 8,
    Delete = 9,
    DayDigest = 11,
}

/// Kinds that later versions fill: `EnableVersion`.
const RESERVED_KINDS: [u8; 1] = [10];

/// Why an entry cannot be applied by this binary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Written by a binary that knows another encoding.
    #[error("entry has unknown format {format}")]
    UnknownFormat {
        /// The format byte.
        format: u8,
    },
    /// Written by a binary that knows more kinds.
    #[error("entry has unknown kind {kind} (reserved: {reserved})")]
    UnknownKind {
        /// The kind byte.
        kind: u8,
        /// Whether the number is one that a later version gives a meaning.
        reserved: bool,
    },
    /// The bytes do not follow the encoding.
    #[error(transparent)]
    Malformed(#[from] Corruption),
}

/// Who wrote the samples of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// A remote-write request.
    RemoteWrite = 0,
    /// The cluster's own metrics.
    SelfMetrics = 1,
    /// A recording or alerting rule.
    Rule = 2,
}

impl Origin {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::RemoteWrite, Self::SelfMetrics, Self::Rule].into_iter().find(|origin| *origin as u8 == byte)
    }
}

/// Names one part of a request, so that a repeated part is answered as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartKey {
    /// Minted by the router for a request; kept over its retries.
    pub batch_id: u128,
    /// Hash of the part's rows as the router sent them.
    pub hash: u64,
    /// Newest generation that the router knew.
    pub generation: u64,
}

/// A part of a `Write` as it lies in the entry.
#[derive(Clone, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) key: PartKey,
    /// Carried for metering and later rules of judgement; no verdict of this version reads it.
    #[allow(dead_code)]
    pub(crate) origin: Origin,
    pub(crate) created: Vec<Created<'a>>,
    pub(crate) rows: WriteRows<'a>,
    pub(crate) metadata: Vec<FamilyMetadata<'a>>,
}

/// A series that the proposer could not name by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Created<'a> {
    pub(crate) fp128: u128,
    pub(crate) placement: u64,
    /// Label region, see [`crate::rows::walk_labels`].
    pub(crate) labels: &'a [u8],
}

/// The settings of judgement that a workspace may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Counts up; an entry with a version not above the last is a no-op.
    pub version: u64,
    /// How far behind entry time a sample older than its series' newest may be, in milliseconds.
    pub out_of_order_window_ms: i64,
    /// How far behind entry time a series' new newest sample may be, in milliseconds.
    pub late_window_ms: i64,
    /// Age after which samples are dropped, in milliseconds.
    pub retention_ms: i64,
    /// Exemplars that the shard keeps, the newest written; 0 keeps none.
    pub exemplars_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        Self {
            version: 0,
            out_of_order_window_ms: HOUR_MS,
            late_window_ms: 3 * HOUR_MS,
            retention_ms: 150 * 24 * HOUR_MS,
            exemplars_max: 20_000,
        }
    }
}

/// An entry, decoded as far as its kind.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    Write { time_ms: Timestamp, resolver_term: u64, parts: Parts<'a> },
    SetLimits(Limits),
    Open { placement_key: u64, generations: Vec<Generation> },
    Fence { time_ms: Timestamp, generation: Generation },
    Unfence { generation: u64, rev: u64 },
    Tick { time_ms: Timestamp },
    EvictIdle { time_ms: Timestamp },
    DropDay { time_ms: Timestamp, before_ms: Timestamp },
    Delete(Delete),
    DayDigest(DayDigest),
}

/// The parts of a `Write`, decoded one at a time.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    reader: Reader<'a>,
}

impl<'a> Parts<'a> {
    pub(crate) fn next_part(&mut self) -> Result<Option<Part<'a>>, EntryError> {
        if self.reader.rest().is_empty() {
            return Ok(None);
        }
        let r = &mut self.reader;
        let key = PartKey { batch_id: u128::from_le_bytes(r.array()?), hash: r.u64_le()?, generation: r.u64_le()? };
        let origin = Origin::from_byte(r.u8()?).ok_or_else(|| Corruption::new("origin"))?;
        let created = read_created(r)?;
        let rows = WriteRows::read(r, created.len())?;
        let n = r.count(4)?;
        let metadata = (0..n).map(|_| FamilyMetadata::read(r)).collect::<Result<_, _>>()?;
        Ok(Some(Part { key, origin, created, rows, metadata }))
    }
}

fn read_created<'a>(r: &mut Reader<'a>) -> Result<Vec<Created<'a>>, Corruption> {
    let n = r.count(25)?;
    let mut created = Vec::with_capacity(n);
    for _ in 0..n {
        let (fp128, placement) = (u128::from_le_bytes(r.array()?), r.u64_le()?);
        created.push(Created { fp128, placement, labels: r.bytes()? });
    }
    Ok(created)
}

impl<'a> Entry<'a> {
    /// Decodes the frame and, for all kinds but `Write`, the body.
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, EntryError> {
        let mut r = Reader::new(payload);
        let format = r.u8()?;
        if format != FORMAT {
            return Err(EntryError::UnknownFormat { format });
        }
        let kind = r.u8()?;
        let entry = match kind {
            k if k == Kind::Write as u8 => {
                let (time_ms, resolver_term) = (i64::from_le_bytes(r.array()?), r.u64_le()?);
                return Ok(Self::Write { time_ms, resolver_term, parts: Parts { reader: r } });
            }
            k if k == Kind::SetLimits as u8 => Self::SetLimits(read_limits(&mut r)?),
            k if k == Kind::Open as u8 => Self::Open { placement_key: r.u64_le()?, generations: read_generations(&mut r)? },
            k if k == Kind::Fence as u8 => Self::Fence { time_ms: i64::from_le_bytes(r.array()?), generation: read_generation(&mut r)? },
            k if k == Kind::Unfence as u8 => Self::Unfence { generation: r.u64_le()?, rev: r.u64_le()? },
            k if k == Kind::Tick as u8 => Self::Tick { time_ms: i64::from_le_bytes(r.array()?) },
            k if k == Kind::EvictIdle as u8 => Self::EvictIdle { time_ms: i64::from_le_bytes(r.array()?) },
            k if k == Kind::DropDay as u8 => {
                Self::DropDay { time_ms: i64::from_le_bytes(r.array()?), before_ms: i64::from_le_bytes(r.array()?) }
            }
            k if k == Kind::DayDigest as u8 => {
                Self::DayDigest(DayDigest { day: u16::from_le_bytes(r.array()?), at_index: r.u64_le()?, digest: r.u64_le()? })
            }
            k if k == Kind::Delete as u8 => Self::Delete(delete::read_delete(&mut r)?),
            kind => return Err(EntryError::UnknownKind { kind, reserved: RESERVED_KINDS.contains(&kind) }),
        };
        r.end()?;
        Ok(entry)
    }
}

pub(crate) fn read_limits(r: &mut Reader<'_>) -> Result<Limits, Corruption> {
    Ok(Limits {
        version: r.u64_le()?,
        out_of_order_window_ms: i64::from_le_bytes(r.array()?),
        late_window_ms: i64::from_le_bytes(r.array()?),
        retention_ms: i64::from_le_bytes(r.array()?),
        exemplars_max: r.u32_le()?,
    })
}

pub(crate) fn put_limits(out: &mut Vec<u8>, limits: &Limits) {
    let Limits { version, out_of_order_window_ms, late_window_ms, retention_ms, exemplars_max } = limits;
    out.extend_from_slice(&version.to_le_bytes());
    for n in [out_of_order_window_ms, late_window_ms, retention_ms] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    out.extend_from_slice(&exemplars_max.to_le_bytes());
}

pub(crate) fn read_generations(r: &mut Reader<'_>) -> Result<Vec<Generation>, Corruption> {
    let n = r.count(25)?;
    (0..n).map(|_| read_generation(r)).collect()
}

fn read_generation(r: &mut Reader<'_>) -> Result<Generation, Corruption> {
    let (generation, rev, from_ms) = (r.u64_le()?, r.u64_le()?, i64::from_le_bytes(r.array()?));
    let shard_count = r.count(8)?;
    let shards = (0..shard_count).map(|_| r.u64_le().map(ShardId)).collect::<Result<_, _>>()?;
    Ok(Generation { generation, rev, from_ms, shards })
}

pub(crate) fn put_generations(out: &mut Vec<u8>, generations: &[Generation]) {
    put_varint(out, generations.len() as u64);
    generations.iter().for_each(|generation| put_generation(out, generation));
}

fn put_generation(out: &mut Vec<u8>, Generation { generation, rev, from_ms, shards }: &Generation) {
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&rev.to_le_bytes());
    out.extend_from_slice(&from_ms.to_le_bytes());
    put_varint(out, shards.len() as u64);
    for shard in shards {
        out.extend_from_slice(&shard.0.to_le_bytes());
    }
}

fn begin(kind: Kind) -> Vec<u8> {
    vec![FORMAT, kind as u8]
}

/// Begins a `Write`; parts follow by [`put_part`].
pub(crate) fn begin_write(time_ms: Timestamp, resolver_term: u64) -> Vec<u8> {
    let mut out = begin(Kind::Write);
    out.extend_from_slice(&time_ms.to_le_bytes());
    out.extend_from_slice(&resolver_term.to_le_bytes());
    out
}

/// What a part says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PartContent<'a> {
    pub(crate) created: &'a [Created<'a>],
    pub(crate) columns: &'a ColumnsBuilder,
    pub(crate) metadata: &'a [FamilyMetadata<'a>],
}

/// Appends one part to a `Write`.
pub(crate) fn put_part(out: &mut Vec<u8>, key: &PartKey, origin: Origin, content: PartContent<'_>) {
    let PartContent { created, columns, metadata } = content;
    out.extend_from_slice(&key.batch_id.to_le_bytes());
    out.extend_from_slice(&key.hash.to_le_bytes());
    out.extend_from_slice(&key.generation.to_le_bytes());
    out.push(origin as u8);
    put_varint(out, created.len() as u64);
    for Created { fp128, placement, labels } in created {
        out.extend_from_slice(&fp128.to_le_bytes());
        out.extend_from_slice(&placement.to_le_bytes());
        put_bytes(out, labels);
    }
    columns.write(out);
    put_varint(out, metadata.len() as u64);
    metadata.iter().for_each(|family| family.write(out));
}

/// Encodes the entry that changes a shard's settings of judgement.
#[must_use]
pub fn set_limits(limits: &Limits) -> Bytes {
    let mut out = begin(Kind::SetLimits);
    put_limits(&mut out, limits);
    out.into()
}

/// Encodes the entry that tells a shard the whole list of generations.
#[must_use]
pub fn open(placement_key: u64, generations: &[Generation]) -> Bytes {
    let mut out = begin(Kind::Open);
    out.extend_from_slice(&placement_key.to_le_bytes());
    put_generations(&mut out, generations);
    out.into()
}

/// Encodes the entry that tells a shard of a generation that is not decided yet. Whether the shard takes it is decided in apply: see
/// `Shard::map_state`.
#[must_use]
pub fn fence(time_ms: Timestamp, generation: &Generation) -> Bytes {
    let mut out = begin(Kind::Fence);
    out.extend_from_slice(&time_ms.to_le_bytes());
    put_generation(&mut out, generation);
    out.into()
}

/// Encodes the entry that takes an aborted generation from a shard.
#[must_use]
pub fn unfence(generation: u64, rev: u64) -> Bytes {
    let mut out = begin(Kind::Unfence);
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&rev.to_le_bytes());
    out.into()
}

/// Encodes the entry that moves a shard's time forward without writing.
#[must_use]
pub fn tick(time_ms: Timestamp) -> Bytes {
    let mut out = begin(Kind::Tick);
    out.extend_from_slice(&time_ms.to_le_bytes());
    out.into()
}

/// Encodes the entry at which idle series may leave the head.
#[must_use]
pub fn evict_idle(time_ms: Timestamp) -> Bytes {
    let mut out = begin(Kind::EvictIdle);
    out.extend_from_slice(&time_ms.to_le_bytes());
    out.into()
}

/// Encodes the entry that drops everything older than `before_ms`, the beginning of a day.
#[must_use]
pub fn drop_day(time_ms: Timestamp, before_ms: Timestamp) -> Bytes {
    let mut out = begin(Kind::DropDay);
    out.extend_from_slice(&time_ms.to_le_bytes());
    out.extend_from_slice(&before_ms.to_le_bytes());
    out.into()
}
