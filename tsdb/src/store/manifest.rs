//! The manifest: which parts exist, and everything that changes together with them.

use crate::error::Corruption;
use crate::keys::Family;
use crate::wire::{Reader, check_crc, put_bytes, put_crc, put_varint};
use model::{LogPoint, ReplicaId};
use roaring::RoaringBitmap;

const FORMAT: u8 = 2;
const DAY_MS: i64 = 86_400_000;

/// A UTC day, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub u16);

impl Day {
    /// The day of a time, if it is one from 1970 to 2149.
    #[must_use]
    pub fn of(timestamp_ms: i64) -> Option<Self> {
        u16::try_from(timestamp_ms.div_euclid(DAY_MS)).ok().map(Self)
    }

    /// First millisecond.
    #[must_use]
    pub fn first_ms(self) -> i64 {
        i64::from(self.0) * DAY_MS
    }

    /// Last millisecond.
    #[must_use]
    pub fn last_ms(self) -> i64 {
        self.first_ms() + DAY_MS - 1
    }
}

/// What a part holds. The numbers are stored; never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum PartKind {
    /// Chunks that a checkpoint flushed.
    Flush = 1,
    /// An index segment.
    Index = 2,
    /// Chunks of several flushes of a day that is not over.
    Merged = 3,
    /// Everything that was there of a day when it was over.
    Day = 4,
}

impl PartKind {
    /// Whether it holds samples.
    #[must_use]
    pub fn has_samples(self) -> bool {
        self != Self::Index
    }

    /// Where its keys lie.
    pub(crate) fn family(self) -> Family {
        if self.has_samples() { Family::Chunk } else { Family::Index }
    }
}

/// A set of keys that was written once, by one checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Replica-local number, below 2^48, never used twice.
    pub id: u64,
    /// What it holds.
    pub kind: PartKind,
    /// The day all its samples lie in.
    pub day: Day,
    /// Lowest log index of its chunks.
    pub min_log_index: u64,
    /// Highest log index of its chunks.
    pub max_log_index: u64,
    /// Time of its first sample (of an index: of its day).
    pub first_ms: i64,
    /// Time of its last sample (of an index: of its day).
    pub last_ms: i64,
    /// Number of keys.
    pub keys: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// crc32c over portable key and sealed value of all keys in order.
    pub hash: u32,
}

impl Part {
    /// Whether it may hold something from `start_ms` to `end_ms`, both included.
    #[must_use]
    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.first_ms <= end_ms && start_ms <= self.last_ms
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        put_varint(out, u64::from(self.day.0));
        for number in [self.id, self.min_log_index, self.max_log_index, self.keys, self.bytes] {
            put_varint(out, number);
        }
        put_varint(out, self.first_ms.wrapping_sub(self.day.first_ms()) as u64);
        put_varint(out, self.last_ms.wrapping_sub(self.first_ms) as u64);
        out.extend_from_slice(&self.hash.to_le_bytes());
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Corruption> {
        let kind = match reader.u8()? {
            1 => PartKind::Flush,
            2 => PartKind::Index,
            3 => PartKind::Merged,
            4 => PartKind::Day,
            _ => return Err(Corruption::new("part of unknown kind")),
        };
        let day = Day(u16::try_from(reader.varint()?).map_err(|_| Corruption::new("day of a part"))?);
        let id = reader.varint()?;
        if id >> 48 != 0 {
            return Err(Corruption::new("number of a part"));
        }
        let (min_log_index, max_log_index, keys, bytes) = (reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?);
        let first_ms = day.first_ms().wrapping_add(reader.varint()? as i64);
        let last_ms = first_ms.wrapping_add(reader.varint()? as i64);
        let hash = reader.u32_le()?;
        Ok(Self { id, kind, day, min_log_index, max_log_index, first_ms, last_ms, keys, bytes, hash })
    }
}

/// What one flip makes true, all at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// Log point whose state the checkpoint holds; none before the first.
    pub(crate) point: Option<LogPoint>,
    /// The caller's bytes.
    pub(crate) extra: Vec<u8>,
    /// Generation of the pages.
    pub(crate) generation: u32,
    /// Number of pages.
    pub(crate) pages: u32,
    /// crc32c over portable key and sealed value of all pages in order.
    pub(crate) pages_hash: u32,
    /// Lowest part number that was never used.
    pub(crate) next_part: u64,
    /// Series whose record counts; others may have one, which means nothing.
    pub(crate) series: RoaringBitmap,
    /// Listed parts, sorted by day and number.
    pub(crate) parts: Vec<Part>,
    /// Parts no longer listed, whose keys may still be there.
    pub(crate) unlisted: Vec<Part>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_point(&mut out, self.point);
        put_bytes(&mut out, &self.extra);
        put_varint(&mut out, u64::from(self.generation));
        put_varint(&mut out, u64::from(self.pages));
        out.extend_from_slice(&self.pages_hash.to_le_bytes());
        put_varint(&mut out, self.next_part);
        put_bitmap(&mut out, &self.series);
        put_parts(&mut out, &self.parts);
        put_parts(&mut out, &self.unlisted);
        put_crc(&mut out, 0);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new(check_crc(bytes)?);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("manifest of unknown format"));
        }
        let manifest = Self {
            point: take_point(&mut reader)?,
            extra: reader.bytes()?.to_vec(),
            generation: reader.varint_u32()?,
            pages: reader.varint_u32()?,
            pages_hash: reader.u32_le()?,
            next_part: reader.varint()?,
            series: take_bitmap(&mut reader)?,
            parts: take_parts(&mut reader)?,
            unlisted: take_parts(&mut reader)?,
        };
        reader.end()?;
        Ok(manifest)
    }

    /// Listed parts of one family that may hold something in a time range.
    pub(crate) fn parts_in(&self, family: Family, start_ms: i64, end_ms: i64) -> impl Iterator<Item = &Part> {
        let from = self.parts.partition_point(|part| part.day.last_ms() < start_ms);
        let days = self.parts.get(from..).unwrap_or_default().iter().take_while(move |part| part.day.first_ms() <= end_ms);
        days.filter(move |part| part.kind.family() == family && part.overlaps(start_ms, end_ms))
    }

    pub(crate) fn lists(&self, id: u64) -> bool {
        self.parts.iter().any(|part| part.id == id)
    }
}

/// Parts that may exist without being listed, and the counter that keeps their numbers from being used again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Pending {
    pub(crate) next_part: u64,
    pub(crate) parts: Vec<Part>,
}

impl Pending {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        put_varint(&mut out, self.next_part);
        put_parts(&mut out, &self.parts);
        put_crc(&mut out, 0);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corruption> {
        let mut reader = Reader::new(check_crc(bytes)?);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("pending parts of unknown format"));
        }
        let pending = Self { next_part: reader.varint()?, parts: take_parts(&mut reader)? };
        reader.end()?;
        Ok(pending)
    }
}

fn put_parts(out: &mut Vec<u8>, parts: &[Part]) {
    put_varint(out, parts.len() as u64);
    parts.iter().for_each(|part| part.encode(out));
}

fn take_parts(reader: &mut Reader<'_>) -> Result<Vec<Part>, Corruption> {
    const PART_BYTES_MIN: usize = 13;
    (0..reader.count(PART_BYTES_MIN)?).map(|_| Part::decode(reader)).collect()
}

fn put_point(out: &mut Vec<u8>, point: Option<LogPoint>) {
    out.push(u8::from(point.is_some()));
    if let Some(point) = point {
        for number in [point.term, point.leader.0, point.index] {
            put_varint(out, number);
        }
    }
}

fn take_point(reader: &mut Reader<'_>) -> Result<Option<LogPoint>, Corruption> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(LogPoint { term: reader.varint()?, leader: ReplicaId(reader.varint()?), index: reader.varint()? })),
        _ => Err(Corruption::new("presence of a log point")),
    }
}

/// Appends a bitmap behind its length.
pub(crate) fn put_bitmap(out: &mut Vec<u8>, bitmap: &RoaringBitmap) {
    put_varint(out, bitmap.serialized_size() as u64);
    bitmap.serialize_into(&mut *out).expect("writing to memory does not fail");
}

/// Takes what [`put_bitmap`] wrote.
pub(crate) fn take_bitmap(reader: &mut Reader<'_>) -> Result<RoaringBitmap, Corruption> {
    RoaringBitmap::deserialize_from(reader.bytes()?).map_err(|_| Corruption::new("bitmap"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(id: u64) -> Part {
        let day = Day(19_000);
        Part {
            id,
            kind: PartKind::Flush,
            day,
            min_log_index: 5,
            max_log_index: 9,
            first_ms: day.first_ms() + 3,
            last_ms: day.last_ms(),
            keys: 2,
            bytes: 300,
            hash: 0xdead_beef,
        }
    }

    #[test]
    fn manifest_round_trips_and_damage_is_an_error() {
        let manifest = Manifest {
            point: Some(LogPoint { term: 3, leader: ReplicaId(1024), index: 77 }),
            extra: b"membership".to_vec(),
            generation: 4,
            pages: 2,
            pages_hash: 9,
            next_part: 12,
            series: (0..1000).collect(),
            parts: vec![part(3), Part { kind: PartKind::Index, ..part(4) }],
            unlisted: vec![part(1)],
        };
        let bytes = manifest.encode();
        assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
        for cut in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..cut]).is_err());
        }
        let mut unknown = vec![FORMAT + 1];
        put_crc(&mut unknown, 0);
        assert_eq!(Manifest::decode(&unknown), Err(Corruption::new("manifest of unknown format")));
        let pending = Pending { next_part: 8, parts: vec![part(7)] };
        assert_eq!(Pending::decode(&pending.encode()).unwrap(), pending);
    }

    #[test]
    fn days_are_utc_and_bounded() {
        assert_eq!((Day::of(0), Day::of(-1), Day::of(86_399_999)), (Some(Day(0)), None, Some(Day(0))));
        assert_eq!(Day::of(Day(19_000).first_ms()), Some(Day(19_000)));
        assert_eq!(Day::of(Day(u16::MAX).last_ms() + 1), None);
    }
}
