//! One decoded request into one buffer of rows for each shard.

use crate::ingest::admit::{AdmitLimits, Refusal, admit_labels, admit_sample};
use crate::ingest::decode::{BodyLimits, DecodeError, LabelBytes, SeriesReader, SnappyBuffer, WriteRequestReader};
use crate::ingest::known::{Entry, Key, KnownSeries};
use crate::ingest::verdict::Rejections;
use bytes::Bytes;
use model::generation::Placement;
use model::hash::PlacementHasher;
use model::{GenerationList, Sample, ShardId};
use parking_lot::Mutex;
use tsdb::rows::{RowsBuilder, push_label};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Ends each name and each value in the bytes that identify a series, as in `model::hash`.
const SEPARATOR: u8 = 0xff;
/// Bytes a scratch buffer keeps between requests.
const SCRATCH_KEPT_BYTES: usize = 64 << 10;
/// Idle splitters that keep their buffers.
const SPLITTERS_KEPT: usize = 8;

/// What of the workspace decides a split.
#[derive(Clone, Copy, Debug)]
pub struct SplitRules<'a> {
    /// What is admitted.
    pub admit: &'a AdmitLimits,
    /// Where samples go.
    pub generations: &'a GenerationList,
    /// The workspace's constant key of placement and identity hashes.
    pub hash_key: u64,
    /// Series whose labels need not be read and are left out of the rows; with `None` every row has its labels.
    pub known: Option<&'a KnownSeries>,
}

/// The rows of one shard in one generation.
#[derive(Clone, Debug)]
pub struct Part {
    /// The shard.
    pub shard: ShardId,
    /// The generation that put the samples there.
    pub generation: u64,
    /// Rows as `tsdb::rows` lays them out; ordinals are places in the request.
    pub rows: Bytes,
    /// Series in `rows`.
    pub row_count: u32,
    /// Samples in `rows`.
    pub sample_count: u32,
}

/// A write request, ready for its shards.
#[derive(Clone, Debug, Default)]
pub struct SplitRequest {
    /// One part for each (generation, shard) that gets a sample.
    pub parts: Vec<Part>,
    /// What was refused here; shards may refuse more.
    pub rejected: Rejections,
    /// Samples refused here, by [`Refusal::reason`].
    pub discarded: Vec<(&'static str, u32)>,
    /// Samples in the parts.
    pub samples: u32,
    /// Admitted series, with samples or without.
    pub series: u32,
    /// What [`KnownSeries::learn`] should take in once the shards have judged the parts.
    pub learned: Vec<Entry>,
    /// Whether rows of known series lack their labels.
    pub lacks_labels: bool,
}

impl SplitRequest {
    fn refuse(&mut self, ordinal: u32, refusal: Refusal, samples: u32, labels: &[LabelBytes<'_>]) {
        self.rejected.push(ordinal, samples, || refusal.text(labels));
        let reason = refusal.reason();
        match self.discarded.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, discarded)) => *discarded = discarded.saturating_add(samples),
            None => self.discarded.push((reason, samples)),
        }
    }
}

/// Splits requests one after another, reusing its buffers. One for each worker.
#[derive(Debug)]
pub struct Splitter {
    snappy: SnappyBuffer,
    scratch: Scratch,
}

#[derive(Debug)]
struct Scratch {
    hash_key: u64,
    hasher: PlacementHasher,
    identity: Vec<u8>,
    region: Vec<u8>,
    known_key: Option<Key>,
}

/// A part under construction.
#[derive(Debug)]
struct OpenPart {
    placement: Placement,
    rows: RowsBuilder,
    /// Ordinal of the series begun last.
    ordinal: u32,
}

/// A series whose labels were admitted.
#[derive(Clone, Copy, Debug)]
struct Identified<'s> {
    ordinal: u32,
    fp128: u128,
    placement: u64,
    region: &'s [u8],
}

impl Default for Splitter {
    fn default() -> Self {
        let scratch = Scratch { hash_key: 0, hasher: PlacementHasher::new(0), identity: Vec::new(), region: Vec::new(), known_key: None };
        Self { snappy: SnappyBuffer::default(), scratch }
    }
}

/// Splitters between requests.
#[derive(Debug, Default)]
pub struct Splitters {
    idle: Mutex<Vec<Splitter>>,
}

impl Splitters {
    /// Lends a splitter to `work`.
    pub fn with<T>(&self, work: impl FnOnce(&mut Splitter) -> T) -> T {
        let mut splitter = self.idle.lock().pop().unwrap_or_default();
        let result = work(&mut splitter);
        let mut idle = self.idle.lock();
        if idle.len() < SPLITTERS_KEPT {
            idle.push(splitter);
        }
        result
    }
}

impl Splitter {
    /// Decodes, judges and splits the body of one request. The whole body is walked, so an error leaves nothing behind.
    ///
    /// # Errors
    /// The body as a whole is refused; series that are refused by themselves are in [`SplitRequest::rejected`].
    pub fn split(&mut self, body: &[u8], limits: &BodyLimits, rules: &SplitRules<'_>) -> Result<SplitRequest, DecodeError> {
        let decoded = self.snappy.decode(body, limits)?;
        split_decoded(&mut self.scratch, decoded, rules)
    }

    /// As [`Splitter::split`], for a body that is decompressed already.
    ///
    /// # Errors
    /// [`DecodeError::Protobuf`].
    pub fn split_decoded(&mut self, decoded: &[u8], rules: &SplitRules<'_>) -> Result<SplitRequest, DecodeError> {
        split_decoded(&mut self.scratch, decoded, rules)
    }
}

fn split_decoded(scratch: &mut Scratch, decoded: &[u8], rules: &SplitRules<'_>) -> Result<SplitRequest, DecodeError> {
    scratch.prepare(rules.hash_key);
    let key = scratch.known_key.take().filter(|key| key.is_of(rules.hash_key, rules.admit));
    let key = key.unwrap_or_else(|| Key::new(rules.hash_key, rules.admit));
    let mut lookup = rules.known.map(|known| known.lookup(&key));
    let mut reader = WriteRequestReader::new(decoded);
    let mut request = SplitRequest::default();
    let mut parts = OpenParts::new(rules.generations);
    let mut ordinal = 0u32;
    while let Some(raw) = reader.next_raw()? {
        if let Some((known, samples)) = lookup.as_mut().and_then(|lookup| lookup.find(&raw)) {
            request.series += 1;
            request.lacks_labels = true;
            let identified = Identified { ordinal, fp128: known.fp128, placement: known.placement, region: &[] };
            if let Some((refusal, lost)) = parts.add(&identified, samples, rules.admit, &mut request.samples) {
                request.refuse(ordinal, refusal, lost, reader.read(raw)?.labels);
            }
            ordinal = ordinal.saturating_add(1);
            continue;
        }
        let SeriesReader { labels, label_count, samples } = reader.read(raw)?;
        match admit_labels(labels, label_count, rules.admit) {
            Ok(()) => {
                request.series += 1;
                let identified = scratch.identify(ordinal, labels);
                request.learned.extend(lookup.as_ref().and_then(|l| l.entry_of_missed(identified.fp128, identified.placement)));
                if let Some((refusal, lost)) = parts.add(&identified, samples, rules.admit, &mut request.samples) {
                    request.refuse(ordinal, refusal, lost, labels);
                }
            }
            Err(refusal) => {
                let lost = u32::try_from(samples.len()).unwrap_or(u32::MAX);
                request.refuse(ordinal, refusal, lost, labels);
            }
        }
        ordinal = ordinal.saturating_add(1);
    }
    drop(lookup);
    scratch.known_key = Some(key);
    request.parts = parts.finish();
    Ok(request)
}

impl Scratch {
    fn prepare(&mut self, hash_key: u64) {
        if self.hash_key != hash_key {
            self.hash_key = hash_key;
            self.hasher = PlacementHasher::new(hash_key);
        }
        for buffer in [&mut self.identity, &mut self.region] {
            buffer.clear();
            buffer.shrink_to(SCRATCH_KEPT_BYTES);
        }
    }

    fn identify(&mut self, ordinal: u32, labels: &[LabelBytes<'_>]) -> Identified<'_> {
        self.identity.clear();
        self.region.clear();
        for (name, value) in labels {
            self.hasher.label(name, value);
            self.identity.extend_from_slice(name);
            self.identity.push(SEPARATOR);
            self.identity.extend_from_slice(value);
            self.identity.push(SEPARATOR);
            push_label(&mut self.region, name, value);
        }
        let fp128 = xxh3_128_with_seed(&self.identity, self.hash_key);
        Identified { ordinal, fp128, placement: self.hasher.finish(), region: &self.region }
    }
}

struct OpenParts<'a> {
    open: Vec<OpenPart>,
    /// `by_slot[generation][slot]` is a place in `open`, if that part was begun; a generation without a sample has no slots yet.
    by_slot: Vec<Vec<Option<usize>>>,
    generations: &'a GenerationList,
}

impl<'a> OpenParts<'a> {
    fn new(generations: &'a GenerationList) -> Self {
        Self { open: Vec::new(), by_slot: vec![Vec::new(); generations.as_slice().len()], generations }
    }

    /// Adds a series' samples where they belong and counts them; gives the first refusal and how many samples were refused.
    fn add(
        &mut self,
        series: &Identified<'_>,
        samples: impl Iterator<Item = Sample>,
        limits: &AdmitLimits,
        added: &mut u32,
    ) -> Option<(Refusal, u32)> {
        let mut refused: Option<(Refusal, u32)> = None;
        let mut current: Option<(usize, usize)> = None;
        for sample in samples {
            let place = admit_sample(sample, limits).and_then(|()| {
                let too_old = Refusal::TooOld { timestamp_ms: sample.timestamp_ms };
                let generation = self.generations.index_at(sample.timestamp_ms).ok_or(too_old)?;
                match current {
                    Some((known, part)) if known == generation => Ok(part),
                    _ => {
                        let place = self.generations.shard_of(sample.timestamp_ms, series.placement).ok_or(too_old)?;
                        let part = self.begin(series, place);
                        current = Some((generation, part));
                        Ok(part)
                    }
                }
            });
            match place {
                Ok(part) => {
                    self.open[part].rows.sample(sample);
                    *added += 1;
                }
                Err(refusal) => refused = Some(refused.map_or((refusal, 1), |(first, lost)| (first, lost + 1))),
            }
        }
        refused
    }

    /// The part of `placement`, with the series begun in it.
    fn begin(&mut self, series: &Identified<'_>, placement: Placement) -> usize {
        let slots = &mut self.by_slot[placement.index];
        if slots.is_empty() {
            slots.resize(self.generations.as_slice()[placement.index].shards.len(), None);
        }
        let index = *slots[placement.slot as usize].get_or_insert_with(|| {
            self.open.push(OpenPart { placement, rows: RowsBuilder::default(), ordinal: 0 });
            self.open.len() - 1
        });
        let part = &mut self.open[index];
        if part.rows.rows() == 0 || part.ordinal != series.ordinal {
            part.rows.series(series.ordinal, series.fp128, series.placement, series.region);
            part.ordinal = series.ordinal;
        }
        index
    }

    fn finish(self) -> Vec<Part> {
        self.open
            .into_iter()
            .map(|part| Part {
                shard: part.placement.shard,
                generation: part.placement.generation,
                row_count: part.rows.rows(),
                sample_count: part.rows.samples(),
                rows: part.rows.finish(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
