//! Rewriting parts of one day into one: whole pages, without what was deleted, one point a timestamp.
//!
//! Inputs are read group by group, all in the order of their keys, so memory holds one group of each and one series. What is read is
//! checked against the manifest: a damaged part fails the rewrite and stays as it is.
//!
//! The output's chunks carry the log index of the checkpoint in force: everything in them was written before it, and no delete up to
//! it hides any of it any more.

#![deny(clippy::indexing_slicing)]

pub(super) mod cursor;

use super::checkpoint::RECORD_BATCH_BYTES;
use super::series::{NewRecord, SeriesRecord};
use super::{CheckpointWriter, Day, Part, PartKind, PartSeries, PartWriter, ShardStore, StoreView};
use crate::chunk::{PAGE_SAMPLES, PageCoder, PageInput, PageValues};
use crate::db::corrupt;
use crate::error::StoreError;
use crate::keys::{Family, SeriesKey};
use crate::rows::push_label;
use crate::runs::Runs;
use crate::state::{Deleted, Tombstones};
use cursor::PartCursor;
use model::{Labels, SeriesId};
use rocksdb::WriteBatch;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which parts become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewritePlan {
    /// Their day.
    pub day: Day,
    /// Numbers of listed parts with samples; nothing else of the day is touched.
    pub parts: Vec<u64>,
    /// Whether these are all of the day: its index is written anew too, without series of which nothing is left.
    pub is_whole_day: bool,
    /// Whether the day is over, so that this should be its last rewrite.
    pub is_over: bool,
}

/// What a rewrite did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Series of which something is left.
    pub series: u64,
    /// Samples written.
    pub samples: u64,
    /// Bytes of the parts read.
    pub bytes_read: u64,
}

impl ShardStore {
    /// Carries a plan out; durable when it returns, the parts that were read go when no view needs them. Blocks on the disk.
    ///
    /// `tombstones` are the deletes up to the checkpoint in force; `stop` is asked at every series.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`], [`StoreError::PartDamaged`], [`StoreError::CheckpointRunning`], or what
    /// [`CheckpointWriter::commit`] says. Except after a failed flip the parts are then as before.
    pub(crate) fn rewrite(&self, plan: &RewritePlan, tombstones: &Tombstones, stop: &AtomicBool) -> Result<Rewritten, StoreError> {
        let kind = if plan.is_whole_day && plan.is_over { PartKind::Day } else { PartKind::Merged };
        let mut writer = CheckpointWriter::begin(&self.0, kind)?;
        let view = StoreView::new(std::sync::Arc::clone(&self.0.dataset), std::sync::Arc::clone(&writer.base));
        let (point, extra) = (view.point(), view.extra().to_vec());
        let inputs: Vec<Part> = view.parts().iter().filter(|part| part.day == plan.day && plan.parts.contains(&part.id)).copied().collect();
        if plan.is_whole_day {
            writer.remove_day(plan.day);
        } else {
            inputs.iter().for_each(|part| writer.remove_part(part.id));
        }
        let day = plan.day;
        let deleted = tombstones.meeting(day.first_ms(), day.last_ms());
        let job = Job { view: &view, tombstones: &deleted };
        let written = job.write(&mut writer, day, &inputs, stop)?;
        writer.commit_at(point, &extra)?;
        Ok(Rewritten { bytes_read: inputs.iter().map(|part| part.bytes).sum(), ..written })
    }
}

/// What a rewrite needs beside the place it writes to.
struct Job<'v> {
    view: &'v StoreView,
    tombstones: &'v Tombstones,
}

impl Job<'_> {
    fn write(&self, writer: &mut CheckpointWriter<'_>, day: Day, inputs: &[Part], stop: &AtomicBool) -> Result<Rewritten, StoreError> {
        let mut cursors = Vec::with_capacity(inputs.len());
        for input in inputs {
            cursors.push(PartCursor::open(&self.view.dataset, *input)?);
        }
        let (mut runs, mut coder) = (Runs::default(), PageCoder::default());
        let (mut done, mut records) = (Rewritten::default(), WriteBatch::default());
        let log_index = self.view.point().map_or(0, |point| point.index);
        let mut part = writer.part(day)?;
        while let Some((metric, sid)) = cursors.iter().filter_map(PartCursor::series).min() {
            if stop.load(Ordering::Relaxed) {
                return Err(StoreError::Cancelled);
            }
            let record = self.record(sid)?;
            let latest = gather(&mut cursors, (metric, sid), &self.tombstones.of(&record.labels), &mut coder, &mut runs)?;
            if runs.len() > 0 {
                put_series(&mut part, SeriesId(sid), &record, &runs, log_index)?;
                done.series += 1;
                done.samples += runs.len() as u64;
            }
            if latest > record.newest_ms {
                self.remember(SeriesId(sid), &SeriesRecord { newest_ms: latest, ..record }, &mut records)?;
            }
        }
        part.finish()?;
        cursors.into_iter().try_for_each(PartCursor::finish)?;
        self.view.dataset.engine().write(records)?;
        Ok(done)
    }

    /// Notes in the record of a series how late it had a sample. True whatever becomes of the rewrite, so it needs no flip.
    fn remember(&self, sid: SeriesId, record: &SeriesRecord, records: &mut WriteBatch) -> Result<(), StoreError> {
        let mut labels = Vec::new();
        put_labels(&mut labels, &record.labels);
        let SeriesRecord { metric, fp128, placement, newest_ms, .. } = *record;
        NewRecord { sid, metric, fp128, placement, newest_ms, labels: &labels }.put(&self.view.dataset, records)?;
        if records.size_in_bytes() >= RECORD_BATCH_BYTES {
            self.view.dataset.engine().write(std::mem::take(records))?;
        }
        Ok(())
    }

    fn record(&self, sid: u32) -> Result<SeriesRecord, StoreError> {
        let missing = || {
            let key = SeriesKey { local: self.view.dataset.local, sid }.encode();
            StoreError::Missing { family: Family::Series.name(), key: key.to_vec() }
        };
        self.view.series(SeriesId(sid))?.ok_or_else(missing)
    }
}

/// Takes one series out of all parts; gives the latest deleted sample.
fn gather(
    cursors: &mut [PartCursor<'_>],
    series: (u32, u32),
    deleted: &Deleted,
    coder: &mut PageCoder,
    runs: &mut Runs,
) -> Result<Option<i64>, StoreError> {
    runs.clear();
    let mut latest = None;
    for cursor in cursors {
        while cursor.series() == Some(series) {
            let key = SeriesKey { local: cursor.local(), sid: series.1 }.encode();
            let log_index = cursor.log_index();
            let cut = runs.add(log_index, deleted, |samples| cursor.decode(coder, samples)).map_err(corrupt(Family::Chunk, &key))?;
            latest = latest.max(cut);
            cursor.advance()?;
        }
    }
    runs.finish();
    Ok(latest)
}

fn put_series(part: &mut PartWriter<'_, '_>, sid: SeriesId, record: &SeriesRecord, runs: &Runs, log_index: u64) -> Result<(), StoreError> {
    let SeriesRecord { metric, fp128, placement, ref labels, .. } = *record;
    part.series(PartSeries { metric, sid, fp128, placement }, |out| put_labels(out, labels))?;
    if !runs.is_plain() {
        return part.records(log_index, &runs.records());
    }
    for (times, values) in runs.samples.ts.chunks(PAGE_SAMPLES).zip(runs.samples.values.chunks(PAGE_SAMPLES)) {
        part.page(log_index, PageInput { times, values: PageValues::Floats(values), starts: &[] })?;
    }
    Ok(())
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    for (name, value) in labels.iter() {
        push_label(out, name.as_bytes(), value.as_bytes());
    }
}

/// A series whose samples of a day another replica sent.
#[derive(Clone, Debug)]
pub(crate) struct SentSeries {
    pub(crate) sid: SeriesId,
    /// As this replica knows the series.
    pub(crate) record: SeriesRecord,
    pub(crate) runs: Runs,
}

impl ShardStore {
    /// Lists one more part of a day, of series sorted by metric and number; durable when it returns.
    ///
    /// # Errors
    /// As [`CheckpointWriter::commit`].
    pub(crate) fn add_part(&self, day: Day, log_index: u64, series: &[SentSeries]) -> Result<(), StoreError> {
        self.change(|writer| {
            let mut part = writer.part(day)?;
            for SentSeries { sid, record, runs } in series {
                put_series(&mut part, *sid, record, runs, log_index)?;
            }
            part.finish()
        })
    }

    /// Lists parts no more; durable when it returns.
    ///
    /// # Errors
    /// As [`CheckpointWriter::commit`].
    pub(crate) fn remove_parts(&self, parts: &[u64]) -> Result<(), StoreError> {
        self.change(|writer| {
            parts.iter().for_each(|part| writer.remove_part(*part));
            Ok(())
        })
    }

    /// Changes what is listed, beside the checkpoint in force.
    pub(super) fn change(&self, change: impl FnOnce(&mut CheckpointWriter<'_>) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut writer = CheckpointWriter::begin(&self.0, PartKind::Merged)?;
        let (point, extra) = (writer.base.point, writer.base.extra.clone());
        change(&mut writer)?;
        writer.commit_at(point, &extra)
    }
}
