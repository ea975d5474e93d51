//! A value of `chunk`: pages of consecutive series of one metric, which share columns of times.
//!
//! ```text
//! format u8 | directory length u32le | directory | time columns | values of pages | crc32c u32le of all before
//! directory: t varint, t x (count, first_ms in the day, last - first, bytes: varints)
//!            n varint, n x (sid delta varint, time column varint, log index - the one before of this time column zigzag, bytes varint)
//! ```
//!
//! The directory alone tells where one series' pages are and what times they cover.

#![deny(clippy::indexing_slicing)]

use super::manifest::Day;
use crate::chunk::{PageCoder, PageInput};
use crate::error::Corruption;
use crate::wire::{Reader, check_crc, put_crc, put_varint, put_zigzag};
use hashbrown::HashTable;
use xxhash_rust::xxh3::Xxh3Default;

const FORMAT: u8 = 4;
const SERIES_MAX: usize = 256;
const BYTES_TARGET: usize = 16 << 10;
/// Samples that a group's time columns hold at most while it is built: bounds memory where no two series share their times.
const TIMES_MAX: usize = 1 << 18;
const COLUMN_BYTES_MIN: usize = 4;
const ENTRY_BYTES_MIN: usize = 4;

/// A column of times in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeColumn<'a> {
    pub(crate) count: usize,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    /// For [`PageCoder::decode_times`].
    pub(crate) bytes: &'a [u8],
    /// Of the page with these times that was read last.
    log_index: u64,
}

/// One page of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupEntry<'a> {
    pub(crate) sid: u32,
    pub(crate) log_index: u64,
    /// Number of the time column within the group; [`Group::times`] gives it.
    pub(crate) times: usize,
    /// For [`PageCoder::decode_values`].
    pub(crate) values: &'a [u8],
}

/// A time column being shared.
#[derive(Debug)]
struct Column {
    hash: u64,
    /// Where its times are in `times` of the builder.
    from: usize,
    count: usize,
    bytes: usize,
    /// Of the last page with these times.
    log_index: u64,
}

/// Gathers pages until the group is full.
#[derive(Debug, Default)]
pub(crate) struct GroupBuilder {
    pub(crate) first_sid: u32,
    last_sid: u32,
    series: usize,
    entries: usize,
    coder: PageCoder,
    directory: Vec<u8>,
    columns: Vec<Column>,
    by_times: HashTable<u32>,
    times: Vec<i64>,
    time_bytes: Vec<u8>,
    values: Vec<u8>,
}

impl GroupBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Whether the next series should begin another group.
    pub(crate) fn is_full(&self) -> bool {
        self.series >= SERIES_MAX || self.values.len() + self.time_bytes.len() >= BYTES_TARGET || self.times.len() >= TIMES_MAX
    }

    /// Adds a page of at least one sample; series must not go down.
    pub(crate) fn add(&mut self, sid: u32, log_index: u64, page: PageInput<'_>) {
        if self.entries == 0 {
            (self.first_sid, self.last_sid, self.series) = (sid, sid, 1);
        } else if sid != self.last_sid {
            self.series += 1;
        }
        let times = self.share(page.times);
        let index_before = self.columns.get_mut(times).map_or(0, |column| std::mem::replace(&mut column.log_index, log_index));
        let before = self.values.len();
        self.coder.encode_values(page.values, page.starts, &mut self.values);
        put_varint(&mut self.directory, u64::from(sid - self.last_sid));
        put_varint(&mut self.directory, times as u64);
        put_zigzag(&mut self.directory, log_index.wrapping_sub(index_before) as i64);
        put_varint(&mut self.directory, (self.values.len() - before) as u64);
        self.last_sid = sid;
        self.entries += 1;
    }

    /// The number of the column that holds these times.
    fn share(&mut self, times: &[i64]) -> usize {
        let hash = hash(times);
        let known = |number: &u32| {
            let Some(Column { from, count, .. }) = self.columns.get(*number as usize) else { return false };
            self.times.get(*from..from + count) == Some(times)
        };
        if let Some(number) = self.by_times.find(hash, known) {
            return *number as usize;
        }
        let number = self.columns.len();
        let (from, before) = (self.times.len(), self.time_bytes.len());
        self.times.extend_from_slice(times);
        self.coder.encode_times(times, &mut self.time_bytes);
        self.columns.push(Column { hash, from, count: times.len(), bytes: self.time_bytes.len() - before, log_index: 0 });
        let columns = &self.columns;
        let hash_of = |number: &u32| columns.get(*number as usize).map_or(0, |column| column.hash);
        self.by_times.insert_unique(hash, number as u32, hash_of);
        number
    }

    /// The stored form; the builder starts anew.
    pub(crate) fn take(&mut self, day: Day) -> Vec<u8> {
        let mut directory = Vec::with_capacity(self.directory.len() + self.columns.len() * 12 + 10);
        put_varint(&mut directory, self.columns.len() as u64);
        for Column { from, count, bytes, .. } in &self.columns {
            let times = self.times.get(*from..from + count).unwrap_or_default();
            let (first, last) = (times.first().copied().unwrap_or(0), times.last().copied().unwrap_or(0));
            put_varint(&mut directory, *count as u64);
            put_varint(&mut directory, first.wrapping_sub(day.first_ms()) as u64);
            put_varint(&mut directory, last.wrapping_sub(first) as u64);
            put_varint(&mut directory, *bytes as u64);
        }
        put_varint(&mut directory, self.entries as u64);
        directory.append(&mut self.directory);
        let length = u32::try_from(directory.len()).expect("a group's directory is below 4 GiB");
        let mut out = Vec::with_capacity(9 + directory.len() + self.time_bytes.len() + self.values.len());
        out.push(FORMAT);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&directory);
        out.append(&mut self.time_bytes);
        out.append(&mut self.values);
        put_crc(&mut out, 0);
        self.columns.clear();
        self.by_times.clear();
        self.times.clear();
        (self.entries, self.series) = (0, 0);
        out
    }
}

fn hash(times: &[i64]) -> u64 {
    let mut hasher = Xxh3Default::new();
    for piece in times.chunks(64) {
        let mut bytes = [0u8; 512];
        for (place, t) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(piece) {
            *place = t.to_le_bytes();
        }
        hasher.update(bytes.get(..piece.len() * 8).unwrap_or_default());
    }
    hasher.digest()
}

/// Reads a group's directory; the pages stay as they are.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    times: Vec<TimeColumn<'a>>,
    directory: Reader<'a>,
    values: &'a [u8],
    left: usize,
    sid: u32,
}

impl<'a> Group<'a> {
    /// Checks the whole group's checksum.
    pub(crate) fn read(value: &'a [u8], day: Day, first_sid: u32) -> Result<Self, Corruption> {
        let mut reader = Reader::new(check_crc(value)?);
        if reader.u8()? != FORMAT {
            return Err(Corruption::new("group of unknown format"));
        }
        let length = reader.u32_le()? as usize;
        let mut directory = Reader::new(reader.take(length)?);
        let count = directory.count(COLUMN_BYTES_MIN)?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let samples = directory.varint_u32()? as usize;
            let first_ms = day.first_ms().wrapping_add(directory.varint()? as i64);
            let last_ms = first_ms.wrapping_add(directory.varint()? as i64);
            let bytes = usize::try_from(directory.varint()?).map_err(|_| Corruption::new("length of a time column"))?;
            if samples == 0 || samples > crate::chunk::SAMPLES_MAX || last_ms < first_ms {
                return Err(Corruption::new("time column contradicts itself"));
            }
            times.push(TimeColumn { count: samples, first_ms, last_ms, bytes: reader.take(bytes)?, log_index: 0 });
        }
        let left = directory.count(ENTRY_BYTES_MIN)?;
        Ok(Self { times, directory, values: reader.rest(), left, sid: first_sid })
    }

    /// The time columns.
    pub(crate) fn times(&self) -> &[TimeColumn<'a>] {
        &self.times
    }

    /// The next page.
    pub(crate) fn next_entry(&mut self) -> Result<Option<GroupEntry<'a>>, Corruption> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let delta = self.directory.varint_u32()?;
        self.sid = self.sid.checked_add(delta).ok_or(Corruption::new("series of a group"))?;
        let times = self.directory.varint_u32()? as usize;
        let column = self.times.get_mut(times).ok_or(Corruption::new("time column of a page"))?;
        column.log_index = column.log_index.wrapping_add_signed(self.directory.zigzag()?);
        let log_index = column.log_index;
        let length = usize::try_from(self.directory.varint()?).map_err(|_| Corruption::new("length of a page"))?;
        let (values, rest) = self.values.split_at_checked(length).ok_or(Corruption::new("group is cut off"))?;
        self.values = rest;
        Ok(Some(GroupEntry { sid: self.sid, log_index, times, values }))
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::chunk::{Decoded, PageValues, Samples, summary};
    use crate::record::Value;
    use crate::record::tests::value;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const DAY: Day = Day(19_000);

    type Page = (u32, u64, Vec<i64>, Vec<f64>);

    fn read(value: &[u8], first_sid: u32) -> Result<Vec<Page>, Corruption> {
        let mut group = Group::read(value, DAY, first_sid)?;
        let (mut coder, mut pages) = (PageCoder::default(), Vec::new());
        while let Some(entry) = group.next_entry()? {
            let column = group.times()[entry.times];
            let (mut times, mut out) = (Vec::new(), Decoded::default());
            coder.decode_times(column.bytes, column.count, &mut times)?;
            coder.decode_values(entry.values, column.count, &mut out)?;
            assert_eq!((times[0], times[times.len() - 1]), (column.first_ms, column.last_ms));
            pages.push((entry.sid, entry.log_index, times, out.values));
        }
        Ok(pages)
    }

    proptest! {
        #[test]
        fn groups_give_back_their_pages_and_damage_is_an_error(
            pages in vec((0u32..3, any::<u64>(), 0usize..4, vec(0.0f64..9.0, 1..40)), 1..50),
            at: prop::sample::Index,
            flip in 1u8..,
        ) {
            let (mut builder, mut sid, mut wanted) = (GroupBuilder::default(), 7, Vec::new());
            for (delta, log_index, grid, values) in &pages {
                sid += delta;
                let times: Vec<i64> = (0..values.len() as i64).map(|i| DAY.first_ms() + *grid as i64 * 7 + i * 15_000).collect();
                builder.add(sid, *log_index, PageInput { times: &times, values: PageValues::Floats(values), starts: &[] });
                wanted.push((sid, *log_index, times, values.clone()));
            }
            let first_sid = builder.first_sid;
            let mut value = builder.take(DAY);
            prop_assert_eq!(read(&value, first_sid).unwrap(), wanted);
            let i = at.index(value.len());
            value[i] ^= flip;
            prop_assert!(Group::read(&value, DAY, first_sid).is_err());
            prop_assert!(Group::read(&value[..i], DAY, first_sid).is_err());
        }

        #[test]
        fn damage_under_a_right_checksum_gives_pages_of_the_length_that_the_group_says(
            pages in vec((0u32..3, 0usize..4, value(), 1usize..60), 1..20),
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let (mut builder, mut sid) = (GroupBuilder::default(), 7);
            for (delta, grid, value, count) in pages {
                sid += delta;
                let times: Vec<i64> = (0..count as i64).map(|i| DAY.first_ms() + grid as i64 * 7 + i * 15_000).collect();
                let (floats, histograms) = match value {
                    Value::Float(value) => ((0..count).map(|i| if i % 3 == 0 { value } else { i as f64 / 10.0 }).collect(), Vec::new()),
                    Value::Histogram(h) => (Vec::new(), vec![h; count]),
                };
                let values = if floats.is_empty() { PageValues::Histograms(&histograms) } else { PageValues::Floats(&floats) };
                let starts = vec![5; if grid == 0 { count } else { 0 }];
                builder.add(sid, 1, PageInput { times: &times, values, starts: &starts });
            }
            let first_sid = builder.first_sid;
            let mut stored = builder.take(DAY);
            stored.truncate(stored.len() - 4);
            for (at, byte) in damage {
                let at = at.index(stored.len());
                stored[at] = byte;
            }
            put_crc(&mut stored, 0);
            let Ok(mut group) = Group::read(&stored, DAY, first_sid) else { return Ok(()) };
            let mut coder = PageCoder::default();
            while let Ok(Some(entry)) = group.next_entry() {
                let column = group.times()[entry.times];
                let (mut times, mut out) = (Vec::new(), Samples::default());
                if coder.decode_times(column.bytes, column.count, &mut times).is_ok()
                    && coder.decode_samples(&times, entry.values, &mut out).is_ok()
                {
                    prop_assert_eq!(out.ts.len() + out.records.len(), column.count);
                }
                let _ = summary(entry.values);
            }
        }

        #[test]
        fn any_bytes_are_a_group_or_refused(mut bytes in vec(any::<u8>(), 0..200), length in 0u32..60) {
            bytes.splice(0..0, length.to_le_bytes());
            bytes.insert(0, FORMAT);
            put_crc(&mut bytes, 0);
            let _ = Group::read(&bytes, DAY, 3).map(|mut group| while let Ok(Some(_)) = group.next_entry() {});
        }
    }

    #[test]
    fn series_with_the_same_times_share_a_column() {
        let times: Vec<i64> = (0..480).map(|i| DAY.first_ms() + i * 15_000 + (i * 7919) % 11).collect();
        let mut builder = GroupBuilder::default();
        for sid in 0..100 {
            builder.add(sid, 5, PageInput { times: &times, values: PageValues::Floats(&[1.0; 480]), starts: &[] });
        }
        let value = builder.take(DAY);
        assert_eq!(Group::read(&value, DAY, 0).unwrap().times().len(), 1);
        assert!(value.len() < 480 + 100 * 8, "{} bytes", value.len());
    }
}
