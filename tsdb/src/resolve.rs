//! The leader's side of a `Write`: turns rows with full labels into columns that name known series by id.

#[cfg(test)]
mod tests;

use crate::entry::{self, ColumnsBuilder, Created, Origin, PartContent, PartKey, SeriesRef};
use crate::head::Head;
use crate::metadata::FamilyMetadata;
use crate::metrics;
use crate::record::{Item, Record};
use crate::rows::{self, RowError, Rows};
use crate::shard::Shard;
use bytes::Bytes;
use model::{Sample, Timestamp};
use std::collections::HashMap;

/// One request's rows for this shard, as the router sent them.
#[derive(Clone, Copy, Debug)]
pub struct PartInput<'a> {
    /// Minted by the router for the request; kept over its retries.
    pub batch_id: u128,
    /// Newest generation that the router knew.
    pub generation: u64,
    /// Who wrote the samples.
    pub origin: Origin,
    /// A buffer of [`crate::rows`].
    pub rows: &'a [u8],
}

/// Why a part was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// A row names its series by its hash alone, and the shard has no such series in its head.
    #[error("a series that the shard does not know comes without labels")]
    NeedsLabels,
    /// A series is not in the head, and the builder was told to take none.
    #[error("there is no memory for another series")]
    NewSeries,
    /// The rows do not follow their format.
    #[error(transparent)]
    Malformed(#[from] RowError),
}

/// Gathers the parts of one `Write` entry.
#[derive(Debug)]
pub struct EntryBuilder {
    entry: Vec<u8>,
    columns: ColumnsBuilder,
    parts: u32,
    samples: u64,
    predicted: u32,
    takes_new_series: bool,
}

impl EntryBuilder {
    /// Begins an entry with the leader's time and term.
    ///
    /// Propose the result only in that term: what it names by id is known to this leader.
    #[must_use]
    pub fn new(time_ms: Timestamp, resolver_term: u64) -> Self {
        Self {
            entry: entry::begin_write(time_ms, resolver_term),
            columns: ColumnsBuilder::default(),
            parts: 0,
            samples: 0,
            predicted: 0,
            takes_new_series: true,
        }
    }

    /// Refuses parts that name a series which is not in the head: what the owner wants when memory is short.
    #[must_use]
    pub fn without_new_series(self) -> Self {
        Self { takes_new_series: false, ..self }
    }

    /// Adds a part. A series is named by id only if the shard has applied the entry that created it.
    ///
    /// A row without labels is one of a series that the sender believes to be known here.
    ///
    /// # Errors
    /// See [`PartError`]; the entry is then as before.
    pub fn add_part(&mut self, shard: &Shard, input: PartInput<'_>) -> Result<(), PartError> {
        let PartInput { batch_id, generation, origin, rows } = input;
        self.columns.clear();
        let mut resolver = Resolver { predicted: self.predicted, ..Resolver::default() };
        let resolved = shard.with_head(|head| resolver.resolve(head, rows, &mut self.columns));
        resolver.ways.count();
        let mut metadata = resolved?;
        if !self.takes_new_series && !resolver.created.is_empty() {
            return Err(PartError::NewSeries);
        }
        self.predicted = resolver.predicted;
        metadata.iter().for_each(|family| resolver.hash.metadata(family));
        // What the shard knows already is not said again.
        shard.retain_new_metadata(&mut metadata);
        let key = PartKey { batch_id, hash: resolver.hash.finish(), generation };
        let content = PartContent { created: &resolver.created, columns: &self.columns, metadata: &metadata };
        entry::put_part(&mut self.entry, &key, origin, content);
        self.parts += 1;
        self.samples += resolver.samples;
        Ok(())
    }

    /// Bytes of the entry so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entry.len()
    }

    /// Parts added so far.
    #[must_use]
    pub fn parts(&self) -> u32 {
        self.parts
    }

    /// Samples added so far.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Ends the entry.
    #[must_use]
    pub fn finish(self) -> Bytes {
        self.entry.into()
    }
}

#[derive(Default)]
struct Resolver<'a> {
    hash: PartHash,
    created: Vec<Created<'a>>,
    created_at: HashMap<u128, u32>,
    /// Slot that the next row's series probably has: senders repeat their order, and slots were given in it.
    predicted: u32,
    ways: Ways,
    samples: u64,
}

/// How series were found, counted by part: a metric for each row would cost more than the row.
#[derive(Debug, Default)]
struct Ways {
    predicted: u64,
    table: u64,
    new: u64,
}

impl Ways {
    fn count(&self) {
        let Self { predicted, table, new } = self;
        metrics::count_lookups(*predicted, *table, *new);
    }
}

impl<'a> Resolver<'a> {
    /// Fills the columns; gives the metadata that came among the rows.
    fn resolve(&mut self, head: &Head, rows: &'a [u8], columns: &mut ColumnsBuilder) -> Result<Vec<FamilyMetadata<'a>>, PartError> {
        let mut rows = Rows::new(rows);
        for row in rows.by_ref() {
            let row = row?;
            let samples = row.samples();
            self.samples += samples.len() as u64;
            self.hash.series(row.fp128);
            let series = match self.known(head, row.fp128) {
                Some(sid) => SeriesRef::Known(sid),
                None if row.labels.is_empty() => return Err(PartError::NeedsLabels),
                None => SeriesRef::Created(self.create(Created { fp128: row.fp128, placement: row.placement, labels: row.labels })?),
            };
            let hash = &mut self.hash;
            columns.row(series, row.ordinal, samples.inspect(|sample| hash.sample(sample)));
            let (count, bytes) = row.record_bytes();
            if count > 0 {
                let samples = &mut self.samples;
                // Read here, once, so that no replica meets a record it cannot apply.
                row.records(|item, _| *samples += u64::from(matches!(item, Item::Sample(Record { .. }))))?;
                hash.bytes(bytes);
                columns.records(count, bytes);
            }
        }
        Ok(rows.into_metadata())
    }

    fn known(&mut self, head: &Head, fp128: u128) -> Option<u32> {
        if let Some(series) = head.series(self.predicted)
            && series.fp128 == fp128
        {
            self.ways.predicted += 1;
            self.predicted += 1;
            return Some(series.sid);
        }
        let Some(slot) = head.slot_of_fp(fp128) else {
            self.ways.new += 1;
            return None;
        };
        self.ways.table += 1;
        self.predicted = slot + 1;
        head.series(slot).map(|series| series.sid)
    }

    /// Labels are read here, once, so that no replica meets an entry it cannot apply.
    fn create(&mut self, created: Created<'a>) -> Result<u32, RowError> {
        if let Some(&at) = self.created_at.get(&created.fp128) {
            return Ok(at);
        }
        rows::labels_of(created.labels)?;
        let at = self.created.len() as u32;
        self.created.push(created);
        self.created_at.insert(created.fp128, at);
        Ok(at)
    }
}

/// Hash of what a part says, whatever names its series by: tells a repeated part from another part of the same request.
#[derive(Debug, Default)]
struct PartHash(u64);

impl PartHash {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn series(&mut self, fp128: u128) {
        self.mix(fp128 as u64);
        self.mix((fp128 >> 64) as u64);
    }

    fn sample(&mut self, sample: &Sample) {
        self.mix(sample.timestamp_ms as u64);
        self.mix(sample.value.to_bits());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.mix(xxhash_rust::xxh3::xxh3_64(bytes));
    }

    fn metadata(&mut self, metadata: &FamilyMetadata<'_>) {
        let mut bytes = Vec::new();
        metadata.write(&mut bytes);
        self.bytes(&bytes);
    }

    fn finish(&self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
    }
}
