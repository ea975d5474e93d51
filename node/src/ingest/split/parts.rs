//! The parts of a request: one buffer of rows for each shard in each generation, or several if they are large.

use crate::ingest::admit::{AdmitLimits, Refusal, admit_sample};
use bytes::Bytes;
use model::generation::Placement;
use model::{GenerationList, Sample, ShardId, Timestamp};
use tsdb::metadata::FamilyMetadata;
use tsdb::rows::RowsBuilder;

/// Bytes of rows at which the next series begins another part, so that each fits an entry.
const PART_BYTES_TARGET: usize = 2 << 20;

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
    /// Floats and histograms in `rows`.
    pub sample_count: u32,
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
pub(super) struct Identified<'s> {
    pub(super) ordinal: u32,
    pub(super) fp128: u128,
    pub(super) placement: u64,
    pub(super) region: &'s [u8],
}

/// A series on its way into parts.
pub(super) struct Adding<'s> {
    pub(super) series: &'s Identified<'s>,
    /// Generation and part of the sample before.
    pub(super) current: Option<(usize, usize)>,
    /// The first refusal and the number of samples refused.
    pub(super) refused: Option<(Refusal, u32)>,
}

/// Parts that are begun, by where they go.
pub(super) struct OpenParts<'a> {
    open: Vec<OpenPart>,
    /// `by_slot[generation][slot]` is a place in `open`, if that part was begun; a generation without a sample has no slots yet.
    by_slot: Vec<Vec<Option<usize>>>,
    generations: &'a GenerationList,
}

impl<'a> OpenParts<'a> {
    pub(super) fn new(generations: &'a GenerationList) -> Self {
        Self { open: Vec::new(), by_slot: vec![Vec::new(); generations.as_slice().len()], generations }
    }

    /// The rows of a part begun before.
    #[inline]
    pub(super) fn rows(&mut self, part: usize) -> &mut RowsBuilder {
        &mut self.open[part].rows
    }

    /// The part that a sample goes to, with its series begun there.
    #[inline]
    pub(super) fn place(&mut self, adding: &mut Adding<'_>, sample: Sample, limits: &AdmitLimits) -> Result<usize, Refusal> {
        admit_sample(sample, limits)?;
        let too_old = Refusal::TooOld { timestamp_ms: sample.timestamp_ms };
        let generation = self.generations.index_at(sample.timestamp_ms).ok_or(too_old)?;
        match adding.current {
            Some((known, part)) if known == generation => Ok(part),
            _ => {
                let place = self.generations.shard_of(sample.timestamp_ms, adding.series.placement).ok_or(too_old)?;
                let part = self.begin(adding.series, place);
                adding.current = Some((generation, part));
                Ok(part)
            }
        }
    }

    /// Metadata lives in the newest generation, on the shard of its family's hash.
    pub(super) fn metadata(&mut self, metadata: &FamilyMetadata<'_>, family_hash: u64) {
        if let Some(placement) = self.generations.shard_of(Timestamp::MAX, family_hash) {
            let part = self.part(placement);
            self.open[part].rows.metadata(metadata);
        }
    }

    /// The part of `placement`, with the series begun in it.
    fn begin(&mut self, series: &Identified<'_>, placement: Placement) -> usize {
        let mut index = self.part(placement);
        let is_begun = |part: &OpenPart| part.rows.rows() > 0 && part.ordinal == series.ordinal;
        if self.open[index].rows.bytes() >= PART_BYTES_TARGET && !is_begun(&self.open[index]) {
            self.by_slot[placement.index][placement.slot as usize] = None;
            index = self.part(placement);
        }
        let part = &mut self.open[index];
        if !is_begun(part) {
            part.rows.series(series.ordinal, series.fp128, series.placement, series.region);
            part.ordinal = series.ordinal;
        }
        index
    }

    fn part(&mut self, placement: Placement) -> usize {
        let slots = &mut self.by_slot[placement.index];
        if slots.is_empty() {
            slots.resize(self.generations.as_slice()[placement.index].shards.len(), None);
        }
        *slots[placement.slot as usize].get_or_insert_with(|| {
            self.open.push(OpenPart { placement, rows: RowsBuilder::default(), ordinal: 0 });
            self.open.len() - 1
        })
    }

    pub(super) fn finish(self) -> Vec<Part> {
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
