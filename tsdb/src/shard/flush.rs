//! Making parts of what a frozen head holds: the bit streams of sealed chunks become pages of columns.

use crate::chunk::{PAGE_SAMPLES, PageInput, PageValues, Samples};
use crate::db::corrupt;
use crate::error::StoreError;
use crate::head::{HeadChunk, SealedChunk, Series};
use crate::keys::Family;
use crate::rows::push_label;
use crate::state::{ShardState, Tombstones};
use crate::store::{CheckpointWriter, Day, PartSeries, PartWriter};
use model::SeriesId;
use std::sync::Arc;

/// A series whose chunks numbered below `end` went into parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flushed {
    pub(super) slot: u32,
    pub(super) sid: u32,
    pub(super) end: u32,
}

/// What one part takes of one series.
struct Job {
    day: Day,
    metric: u32,
    sid: u32,
    slot: u32,
}

/// Consecutive chunks of a series on their way into one page.
#[derive(Debug, Default)]
struct Joined {
    samples: Samples,
    log_index: u64,
}

impl Joined {
    /// Adds a chunk, which begins a new page if it does not follow, or if the page would grow too long.
    fn add(&mut self, part: &mut PartWriter<'_, '_>, sealed: &SealedChunk, tombstones: &Tombstones) -> Result<(), StoreError> {
        let corrupt = corrupt(Family::Head, &[]);
        let HeadChunk::Floats(chunk) = &sealed.chunk else {
            self.write(part)?;
            sealed.chunk.decode(&mut self.samples).map_err(corrupt)?;
            let written = part.records(sealed.min_index, &self.samples.records);
            self.samples.clear();
            return written;
        };
        let follows = self.samples.ts.last().is_none_or(|last| *last < chunk.first_ms());
        let is_full = self.samples.ts.len() + chunk.len() > PAGE_SAMPLES;
        // A page lies wholly before or wholly after each delete, as its chunks do.
        if !follows || is_full || tombstones.separate(self.log_index, sealed.min_index) {
            self.write(part)?;
        }
        let is_first = self.samples.ts.is_empty();
        self.log_index = if is_first { sealed.min_index } else { self.log_index.min(sealed.min_index) };
        chunk.decode(&mut self.samples.ts, &mut self.samples.values).map_err(corrupt)
    }

    /// Writes what was joined.
    fn write(&mut self, part: &mut PartWriter<'_, '_>) -> Result<(), StoreError> {
        let Samples { ts, values, .. } = &self.samples;
        if !ts.is_empty() {
            part.page(self.log_index, PageInput { times: ts, values: PageValues::Floats(values), starts: &[] })?;
        }
        self.samples.clear();
        Ok(())
    }
}

/// Writes one part for each day of which the head holds sealed chunks that no part lists.
pub(super) fn write_parts(state: &ShardState, writer: &mut CheckpointWriter<'_>) -> Result<Vec<Flushed>, StoreError> {
    let (mut jobs, mut flushed) = (Vec::new(), Vec::new());
    for (slot, series, line) in state.head.slots() {
        let unlisted = line.unlisted();
        if unlisted.is_empty() {
            continue;
        }
        flushed.push(Flushed { slot, sid: series.sid, end: line.next_sealed() });
        let days = unlisted.iter().map(|sealed| day_of_chunk(sealed));
        // What retention dropped leaves the head as if a part held it.
        let mut days: Vec<Day> = days.filter(|day| day.first_ms() >= state.replicated.dropped_before_ms).collect();
        days.sort_unstable();
        days.dedup();
        if days.is_empty() {
            // Nothing of it goes into a part, and it may leave the head all the same: its number must outlive its samples.
            writer.series(key_of(series), |out| put_labels(state, series, out))?;
        }
        jobs.extend(days.into_iter().map(|day| Job { day, metric: series.metric, sid: series.sid, slot }));
    }
    jobs.sort_unstable_by_key(|job| (job.day, job.metric, job.sid));
    let mut joined = Joined::default();
    for of_day in jobs.chunk_by(|a, b| a.day == b.day) {
        let Some(first) = of_day.first() else { continue };
        let mut part = writer.part(first.day)?;
        for job in of_day {
            write_series(state, job, &mut part, &mut joined)?;
        }
        part.finish()?;
    }
    Ok(flushed)
}

fn write_series(state: &ShardState, job: &Job, part: &mut PartWriter<'_, '_>, joined: &mut Joined) -> Result<(), StoreError> {
    let slot = job.slot as usize;
    let (Some(series), Some(line)) = (state.head.series.get(slot), state.head.lines.get(slot)) else { return Ok(()) };
    part.series(key_of(series), |out| put_labels(state, series, out))?;
    let mut chunks: Vec<&Arc<SealedChunk>> = line.unlisted().iter().filter(|sealed| day_of_chunk(sealed) == job.day).collect();
    chunks.sort_by_key(|sealed| sealed.chunk.first_ms());
    for sealed in chunks {
        joined.add(part, sealed, &state.replicated.tombstones)?;
    }
    joined.write(part)
}

fn key_of(series: &Series) -> PartSeries {
    PartSeries { metric: series.metric, sid: SeriesId(series.sid), fp128: series.fp128, placement: series.placement }
}

fn put_labels(state: &ShardState, series: &Series, out: &mut Vec<u8>) {
    let labels = series.pairs.iter().filter_map(|pair| state.pairs.get(*pair as usize)?.as_ref());
    labels.for_each(|(name, value)| push_label(out, name.as_bytes(), value.as_bytes()));
}

fn day_of_chunk(sealed: &SealedChunk) -> Day {
    Day::of(sealed.chunk.first_ms()).expect("judged samples lie on a day that can be stored")
}
