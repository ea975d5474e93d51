//! The samples of one series in the head.

use super::chunk::HeadChunk;
use crate::chunk::{OpenChunk, RecordChunk, Samples};
use crate::error::Corruption;
use crate::record::{Content, Record, Value};
use model::{Sample, Timestamp};
use std::sync::Arc;

/// Samples at which a chunk is sealed, as Prometheus cuts its own.
pub(crate) const SEAL_SAMPLES: usize = 120;
/// Bytes at which a chunk of records is sealed, as Prometheus cuts chunks of histograms.
const RECORDS_SEAL_BYTES: usize = 4096;
/// Samples at which the out-of-order samples of a series become a chunk.
const OUT_OF_ORDER_SEAL_SAMPLES: usize = 64;
const DAY_MS: i64 = 86_400_000;

/// The timestamps that have a day: 1970 to 2149.
pub(crate) const STORABLE_MS: std::ops::Range<i64> = 0..(u16::MAX as i64 + 1) * DAY_MS;

/// Day since 1970 that a timestamp falls on.
pub(crate) fn day_of(timestamp_ms: Timestamp) -> i64 {
    timestamp_ms.div_euclid(DAY_MS)
}

/// A chunk that takes no more samples; lies in one day.
#[derive(Debug)]
pub(crate) struct SealedChunk {
    pub(crate) chunk: HeadChunk,
    /// Log index of the first entry that wrote into it.
    pub(crate) min_index: u64,
}

/// Samples older than the newest of their time: floats and records, each sorted by timestamp, each timestamp once in both together.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutOfOrder {
    pub(crate) samples: Vec<(Timestamp, u64)>,
    pub(crate) records: Vec<Record>,
    /// Log index of the first entry that wrote into it.
    pub(crate) min_index: u64,
}

/// The samples of a series that no listed part holds, and the newest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// Time and content of the newest sample; `None` never reaches a reader: a series is created with its first sample.
    pub(crate) newest: Option<(Timestamp, Content)>,
    /// Whether the newest sample was deleted: its time still tells what is out of order, its content only the form it had.
    pub(crate) is_newest_deleted: bool,
    /// Whether the newest sample is known to be a float without a start.
    pub(crate) is_newest_plain: bool,
    /// Takes further samples: has fewer than [`SEAL_SAMPLES`].
    pub(crate) open: Option<HeadChunk>,
    /// Log index of the first entry that wrote into the open chunk.
    pub(crate) open_index: u64,
    /// Oldest first. Those numbered below `listed` lie in a listed part too and go as soon as no reader needs them.
    pub(crate) sealed: Vec<Arc<SealedChunk>>,
    /// Number of the first of `sealed`; chunks are counted since the series came into the head.
    pub(crate) first_sealed: u32,
    pub(crate) listed: u32,
    pub(crate) out_of_order: Option<Box<OutOfOrder>>,
    /// First and last timestamp of what lies in listed parts.
    pub(crate) stored: Option<(Timestamp, Timestamp)>,
}

/// Where a look-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// What the sample is.
    Content(Content),
    /// The series has no sample at that time.
    Absent,
    /// Not in the head; a listed part may hold it.
    MaybeStored,
}

impl OutOfOrder {
    pub(crate) fn len(&self) -> usize {
        self.samples.len() + self.records.len()
    }

    /// Times of all samples; those of floats first.
    pub(crate) fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.samples.iter().map(|(t, _)| *t).chain(self.records.iter().map(|record| record.timestamp_ms))
    }

    fn find(&self, t: Timestamp) -> Option<Content> {
        if let Ok(at) = self.samples.binary_search_by_key(&t, |(t, _)| *t) {
            return Some(Content::Float(self.samples[at].1));
        }
        let at = self.records.binary_search_by_key(&t, |record| record.timestamp_ms).ok()?;
        Some(self.records[at].value.content())
    }

    fn bytes(&self) -> usize {
        let records = self.records.capacity() * size_of::<Record>() + self.records.iter().map(|r| r.value.heap_bytes()).sum::<usize>();
        size_of::<Self>() + self.samples.capacity() * 16 + records
    }
}

/// What chunks hold at `t`.
pub(crate) fn content_at(samples: &Samples, t: Timestamp) -> Option<Content> {
    if let Ok(at) = samples.ts.binary_search(&t) {
        return samples.values.get(at).map(|value| Content::Float(value.to_bits()));
    }
    let at = samples.records.binary_search_by_key(&t, |record| record.timestamp_ms).ok()?;
    samples.records.get(at).map(|record| record.value.content())
}

impl Line {
    /// Appends a float later than the newest; gives the bytes by which the line grew. A chunk that is full by it is sealed at once, so
    /// that the next checkpoint makes columns of it.
    pub(crate) fn append(&mut self, sample: Sample, log_index: u64) -> i64 {
        let Sample { timestamp_ms, value } = sample;
        (self.is_newest_deleted, self.is_newest_plain) = (false, true);
        let mut grown = 0;
        match &mut self.open {
            Some(HeadChunk::Floats(open)) => {
                self.newest = Some((timestamp_ms, Content::Float(value.to_bits())));
                if day_of(open.first_ms()) == day_of(timestamp_ms) {
                    let before = open.heap_bytes();
                    open.append(timestamp_ms, value);
                    grown += (open.heap_bytes() - before) as i64;
                    if open.len() >= SEAL_SAMPLES {
                        self.seal_open();
                        grown += size_of::<SealedChunk>() as i64;
                    }
                    return grown;
                }
                self.seal_open();
                grown += size_of::<SealedChunk>() as i64;
            }
            Some(HeadChunk::Records(_)) => {
                // A series that sends starts or histograms sends its other floats among them.
                let before = self.bytes();
                self.append_record(&Record::float(sample), log_index);
                return self.bytes().cast_signed() - before.cast_signed();
            }
            None => self.newest = Some((timestamp_ms, Content::Float(value.to_bits()))),
        }
        let open = OpenChunk::new(timestamp_ms, value);
        grown += open.heap_bytes() as i64;
        self.open = Some(HeadChunk::Floats(open));
        self.open_index = log_index;
        grown
    }

    /// Appends a record later than the newest. Account for the change of [`Line::bytes`].
    pub(crate) fn append_record(&mut self, record: &Record, log_index: u64) {
        (self.newest, self.is_newest_deleted) = (Some((record.timestamp_ms, record.value.content())), false);
        self.is_newest_plain = record.is_plain_float();
        match &mut self.open {
            Some(HeadChunk::Records(open)) if day_of(open.first_ms()) == day_of(record.timestamp_ms) => open.append(record),
            _ => {
                self.seal_open();
                self.open_index = log_index;
                self.open = Some(match record.value {
                    Value::Float(value) if self.is_newest_plain => HeadChunk::Floats(OpenChunk::new(record.timestamp_ms, value)),
                    _ => HeadChunk::Records(Box::new(RecordChunk::new(record))),
                });
            }
        }
        if let Some(HeadChunk::Records(open)) = &self.open
            && (open.len() >= SEAL_SAMPLES || open.bytes() >= RECORDS_SEAL_BYTES)
        {
            self.seal_open();
        }
    }

    /// Ends the open chunk.
    pub(crate) fn seal_open(&mut self) {
        if let Some(mut chunk) = self.open.take() {
            chunk.finish();
            self.sealed.push(Arc::new(SealedChunk { chunk, min_index: self.open_index }));
        }
    }

    /// Adds a float not later than the newest, at a time the series has none.
    pub(crate) fn insert(&mut self, sample: Sample, log_index: u64) {
        self.replace_deleted_newest(sample.timestamp_ms, Content::Float(sample.value.to_bits()), true);
        let pending = self.pending(log_index);
        let at = pending.samples.partition_point(|(t, _)| *t < sample.timestamp_ms);
        pending.samples.insert(at, (sample.timestamp_ms, sample.value.to_bits()));
        self.seal_full_pending();
    }

    /// Adds a record not later than the newest, at a time the series has none.
    pub(crate) fn insert_record(&mut self, record: Record, log_index: u64) {
        self.replace_deleted_newest(record.timestamp_ms, record.value.content(), record.is_plain_float());
        let pending = self.pending(log_index);
        let at = pending.records.partition_point(|r| r.timestamp_ms < record.timestamp_ms);
        pending.records.insert(at, record);
        self.seal_full_pending();
    }

    /// A sample at the time of the newest takes its place; that one was deleted.
    fn replace_deleted_newest(&mut self, timestamp_ms: Timestamp, content: Content, is_plain: bool) {
        if self.newest.is_some_and(|(t, _)| t == timestamp_ms) {
            (self.newest, self.is_newest_deleted) = (Some((timestamp_ms, content)), false);
            self.is_newest_plain = is_plain;
        }
    }

    fn pending(&mut self, log_index: u64) -> &mut OutOfOrder {
        self.out_of_order.get_or_insert_with(|| Box::new(OutOfOrder { min_index: log_index, ..OutOfOrder::default() }))
    }

    fn seal_full_pending(&mut self) {
        if self.out_of_order.as_ref().is_some_and(|pending| pending.len() >= OUT_OF_ORDER_SEAL_SAMPLES) {
            self.seal_out_of_order();
        }
    }

    /// Makes chunks of the out-of-order samples, one a day and form.
    pub(crate) fn seal_out_of_order(&mut self) {
        let Some(pending) = self.out_of_order.take() else { return };
        let OutOfOrder { samples, records, min_index } = *pending;
        for day in samples.chunk_by(|a, b| day_of(a.0) == day_of(b.0)) {
            let Some(((t, bits), rest)) = day.split_first() else { continue };
            let mut chunk = OpenChunk::new(*t, f64::from_bits(*bits));
            for (t, bits) in rest {
                chunk.append(*t, f64::from_bits(*bits));
            }
            self.sealed.push(Arc::new(SealedChunk { chunk: HeadChunk::Floats(chunk), min_index }));
        }
        for day in records.chunk_by(|a, b| day_of(a.timestamp_ms) == day_of(b.timestamp_ms)) {
            let Some((first, rest)) = day.split_first() else { continue };
            let mut chunk = RecordChunk::new(first);
            rest.iter().for_each(|record| chunk.append(record));
            chunk.finish();
            self.sealed.push(Arc::new(SealedChunk { chunk: HeadChunk::Records(Box::new(chunk)), min_index }));
        }
    }

    /// Ends the chunks that still take samples, because everything in `first_ms..=last_ms` up to now is being deleted: no chunk may
    /// hold samples from before and after a delete.
    pub(crate) fn delete(&mut self, first_ms: Timestamp, last_ms: Timestamp) {
        self.is_newest_deleted |= self.newest.is_some_and(|(t, _)| first_ms <= t && t <= last_ms);
        if self.open.as_ref().is_some_and(|open| open.first_ms() <= last_ms) {
            self.seal_open();
        }
        self.seal_out_of_order();
    }

    /// Looks up the sample at `t`, newest places first, among what was written by entry `since` or later.
    pub(crate) fn find(&self, t: Timestamp, since: u64, scratch: &mut Samples) -> Result<Found, Corruption> {
        match self.newest {
            None => return Ok(Found::Absent),
            Some((newest, content)) if newest == t => {
                return Ok(if self.is_newest_deleted { Found::Absent } else { Found::Content(content) });
            }
            Some((newest, _)) if newest < t => return Ok(Found::Absent),
            Some(_) => {}
        }
        let open = self.open.iter().map(|open| (open, self.open_index));
        let chunks = open.chain(self.sealed.iter().rev().map(|sealed| (&sealed.chunk, sealed.min_index)));
        for (chunk, _) in chunks.filter(|(c, log_index)| *log_index >= since && c.first_ms() <= t && t <= c.last_ms()) {
            scratch.clear();
            chunk.decode(scratch)?;
            if let Some(content) = content_at(scratch, t) {
                return Ok(Found::Content(content));
            }
        }
        let pending = self.out_of_order.as_ref().filter(|pending| pending.min_index >= since);
        if let Some(content) = pending.and_then(|pending| pending.find(t)) {
            return Ok(Found::Content(content));
        }
        let may_be_stored = self.stored.is_some_and(|(first, last)| first <= t && t <= last);
        Ok(if may_be_stored { Found::MaybeStored } else { Found::Absent })
    }

    /// The newest sample if it is a float without a start, is not deleted, and this is known without decoding.
    pub(crate) fn newest_float(&self) -> Option<Sample> {
        let (timestamp_ms, Content::Float(bits)) = self.newest? else { return None };
        let is_known = self.is_newest_plain && !self.is_newest_deleted;
        is_known.then(|| Sample { timestamp_ms, value: f64::from_bits(bits) })
    }

    /// The number that the next sealed chunk gets.
    pub(crate) fn next_sealed(&self) -> u32 {
        self.first_sealed + self.sealed.len() as u32
    }

    /// Takes note that the chunks numbered below `end` lie in listed parts now.
    pub(crate) fn mark_listed(&mut self, end: u32) {
        assert!(end <= self.next_sealed(), "chunk {end} listed of {}", self.next_sealed());
        let newly = self.listed.max(self.first_sealed)..end;
        for number in newly {
            let chunk = &self.sealed[(number - self.first_sealed) as usize].chunk;
            self.stored = Some(join(self.stored, chunk.first_ms(), chunk.last_ms()));
        }
        self.listed = self.listed.max(end);
    }

    /// Lets go of the chunks numbered below `end`, which listed parts hold.
    pub(crate) fn drop_listed(&mut self, end: u32) {
        assert!(end <= self.listed, "chunk {end} dropped, but only those below {} are listed", self.listed);
        self.sealed.drain(..end.saturating_sub(self.first_sealed) as usize);
        self.sealed.shrink_to_fit();
        self.first_sealed = self.first_sealed.max(end);
    }

    /// Sealed chunks that no listed part holds.
    pub(crate) fn unlisted(&self) -> &[Arc<SealedChunk>] {
        self.sealed.get(self.listed.saturating_sub(self.first_sealed) as usize..).unwrap_or_default()
    }

    /// Whether every sample lies in a listed part, and no reader needs the head's copy.
    pub(crate) fn is_all_stored(&self) -> bool {
        self.open.is_none() && self.sealed.is_empty() && self.out_of_order.is_none()
    }

    /// Time of the newest sample, if that was not deleted.
    pub(crate) fn newest_ms(&self) -> Option<Timestamp> {
        self.newest.filter(|_| !self.is_newest_deleted).map(|(t, _)| t)
    }

    /// Whether a sample may lie in (`after_ms`, `to_ms`], by the bounds of the chunks.
    pub(crate) fn overlaps(&self, after_ms: Timestamp, to_ms: Timestamp) -> bool {
        let chunks = self.open.iter().chain(self.sealed.iter().map(|sealed| &sealed.chunk));
        let mut bounds = chunks.map(|c| (c.first_ms(), c.last_ms()));
        bounds.any(|(first, last)| last > after_ms && first <= to_ms)
            || self.out_of_order.iter().flat_map(|p| p.times()).any(|t| t > after_ms && t <= to_ms)
    }

    /// Chunks in memory, and the first and last time of what they hold.
    pub(crate) fn chunks(&self) -> (u64, Option<(Timestamp, Timestamp)>) {
        let chunks = || self.open.iter().chain(self.sealed.iter().map(|sealed| &sealed.chunk));
        let mut bounds = chunks().fold(None, |bounds, chunk| Some(join(bounds, chunk.first_ms(), chunk.last_ms())));
        for t in self.out_of_order.iter().flat_map(|pending| pending.times()) {
            bounds = Some(join(bounds, t, t));
        }
        (chunks().count() as u64 + u64::from(self.out_of_order.is_some()), bounds)
    }

    /// Bytes of the samples, for the head's budget.
    pub(crate) fn bytes(&self) -> u64 {
        let chunk = |c: &HeadChunk| (size_of::<SealedChunk>() + c.heap_bytes()) as u64;
        self.open.as_ref().map_or(0, |c| c.heap_bytes() as u64)
            + self.sealed.iter().map(|s| chunk(&s.chunk)).sum::<u64>()
            + self.out_of_order.as_ref().map_or(0, |p| p.bytes() as u64)
    }
}

/// Widens `range` so that it covers `first..=last`.
pub(crate) fn join(range: Option<(Timestamp, Timestamp)>, first: Timestamp, last: Timestamp) -> (Timestamp, Timestamp) {
    range.map_or((first, last), |(a, b)| (a.min(first), b.max(last)))
}
