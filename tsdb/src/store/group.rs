//! A value of `chunk`: the chunks of consecutive series of one metric.
//!
//! ```text
//! format u8 | directory length u32le | crc32c of the directory u32le | directory | chunks
//! directory: n varint, n x (sid delta, first_ms in the day, last - first, log index, length: varints)
//! ```
//!
//! The directory alone tells where one series' chunks are; each chunk carries its own checksum.

#![deny(clippy::indexing_slicing)]

use super::manifest::Day;
use crate::error::Corruption;
use crate::wire::{Reader, put_varint};

const FORMAT: u8 = 1;
const SERIES_MAX: usize = 256;
const BYTES_TARGET: usize = 16 << 10;
const ENTRY_BYTES_MIN: usize = 5;

/// One chunk of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupEntry<'a> {
    pub(crate) sid: u32,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) log_index: u64,
    pub(crate) chunk: &'a [u8],
}

/// Gathers chunks until the group is full.
#[derive(Debug, Default)]
pub(crate) struct GroupBuilder {
    pub(crate) first_sid: u32,
    last_sid: u32,
    series: usize,
    entries: usize,
    directory: Vec<u8>,
    chunks: Vec<u8>,
}

impl GroupBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether the next series should begin another group.
    pub(crate) fn is_full(&self) -> bool {
        self.series >= SERIES_MAX || self.chunks.len() >= BYTES_TARGET
    }

    /// Adds a chunk; series must not go down.
    pub(crate) fn add(&mut self, day: Day, entry: GroupEntry<'_>) {
        if self.entries == 0 {
            (self.first_sid, self.last_sid, self.series) = (entry.sid, entry.sid, 1);
        } else if entry.sid != self.last_sid {
            self.series += 1;
        }
        put_varint(&mut self.directory, u64::from(entry.sid - self.last_sid));
        put_varint(&mut self.directory, entry.first_ms.wrapping_sub(day.first_ms()) as u64);
        put_varint(&mut self.directory, entry.last_ms.wrapping_sub(entry.first_ms) as u64);
        put_varint(&mut self.directory, entry.log_index);
        put_varint(&mut self.directory, entry.chunk.len() as u64);
        self.chunks.extend_from_slice(entry.chunk);
        self.last_sid = entry.sid;
        self.entries += 1;
    }

    /// The stored form; the builder starts anew.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut directory = Vec::with_capacity(self.directory.len() + 5);
        put_varint(&mut directory, self.entries as u64);
        directory.append(&mut self.directory);
        let length = u32::try_from(directory.len()).expect("a group's directory is below 4 GiB");
        let mut out = Vec::with_capacity(9 + directory.len() + self.chunks.len());
        out.push(FORMAT);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&crc32c::crc32c(&directory).to_le_bytes());
        out.extend_from_slice(&directory);
        out.append(&mut self.chunks);
        (self.entries, self.series) = (0, 0);
        out
    }
}

/// Reads a group's directory; the chunks stay as they are.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    directory: Reader<'a>,
    chunks: &'a [u8],
    left: usize,
    sid: u32,
    day: Day,
}

impl<'a> Group<'a> {
    pub(crate) fn read(value: &'a [u8], day: Day, first_sid: u32) -> Result<Self, Corruption> {
        let mut reader = Reader::new(value);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("group of unknown format"));
        }
        let (length, crc) = (reader.u32_le()? as usize, reader.u32_le()?);
        let directory = reader.take(length)?;
        if crc32c::crc32c(directory) != crc {
            return Err(Corruption::new("checksum of a group's directory"));
        }
        let mut directory = Reader::new(directory);
        let left = directory.count(ENTRY_BYTES_MIN)?;
        Ok(Self { directory, chunks: reader.rest(), left, sid: first_sid, day })
    }

    fn entry(&mut self) -> Result<GroupEntry<'a>, Corruption> {
        let delta = self.directory.varint_u32()?;
        self.sid = self.sid.checked_add(delta).ok_or(Corruption::new("series of a group"))?;
        let first_ms = self.day.first_ms().wrapping_add(self.directory.varint()? as i64);
        let last_ms = first_ms.wrapping_add(self.directory.varint()? as i64);
        let log_index = self.directory.varint()?;
        let length = usize::try_from(self.directory.varint()?).map_err(|_| Corruption::new("length of a chunk"))?;
        let (chunk, rest) = self.chunks.split_at_checked(length).ok_or(Corruption::new("group is cut off"))?;
        self.chunks = rest;
        Ok(GroupEntry { sid: self.sid, first_ms, last_ms, log_index, chunk })
    }
}

impl<'a> Iterator for Group<'a> {
    type Item = Result<GroupEntry<'a>, Corruption>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.entry();
        if entry.is_err() {
            self.left = 0;
        }
        Some(entry)
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const DAY: Day = Day(19_000);

    proptest! {
        #[test]
        fn groups_give_back_their_chunks_and_damage_never_panics(
            chunks in vec((0u32..3, 0i64..80_000_000, 0i64..6_400_000, any::<u64>(), vec(any::<u8>(), 0..40)), 1..50),
            at: prop::sample::Index,
            flip in 1u8..,
        ) {
            let (mut builder, mut sid, mut entries) = (GroupBuilder::default(), 7, Vec::new());
            for (delta, first, span, log_index, chunk) in &chunks {
                sid += delta;
                let first_ms = DAY.first_ms() + first;
                entries.push(GroupEntry { sid, first_ms, last_ms: first_ms + span, log_index: *log_index, chunk });
            }
            entries.iter().for_each(|entry| builder.add(DAY, *entry));
            let first_sid = builder.first_sid;
            let mut value = builder.take();
            let read: Vec<_> = Group::read(&value, DAY, first_sid).unwrap().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read, entries);
            let i = at.index(value.len());
            value[i] ^= flip;
            if let Ok(group) = Group::read(&value, DAY, first_sid) {
                prop_assert!(i >= 9, "damage at {} went unseen", i);
                prop_assert!(group.count() <= chunks.len());
            }
            prop_assert!(Group::read(&value[..at.index(9)], DAY, first_sid).is_err());
        }
    }
}
