//! Writing one part of an entry into the head, sample by sample.

use super::Shard;
use super::apply::Fault;
use super::judge::{Decision, judge, newest_of, settled};
use crate::entry::{Created, EntryError, SeriesRef, WriteRow, WriteRows};
use crate::head::{Columns, Head, Line, Series, join};
use crate::rows;
use crate::state::{Replicated, Tombstones};
use crate::verdict::{FirstError, PartVerdict, Refusal};
use model::hash::fp128;
use model::labels::METRIC_NAME;
use model::{Labels, Timestamp};
use parking_lot::RwLockWriteGuard;

/// Rows after which waiting readers get their turn.
const ROWS_PER_SECTION: usize = 1024;

/// Slots of the series a part names.
#[derive(Debug, Default)]
struct Targets {
    /// One for each row that names its series by id, in row order.
    known: Vec<u32>,
    /// One for each created series; `None` while it is really new.
    created: Vec<Option<u32>>,
}

/// Judges and writes the rows of one part.
pub(super) struct Writer<'a> {
    shard: &'a Shard,
    log_index: u64,
    created: &'a [Created<'a>],
    targets: Targets,
    /// Whether samples of series that were accepted once may belong elsewhere.
    checks_known: bool,
    verdict: PartVerdict,
    /// First and last timestamp written.
    written: Option<(Timestamp, Timestamp)>,
    scratch: Columns,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shard: &'a Shard, log_index: u64, created: &'a [Created<'a>]) -> Self {
        Self {
            shard,
            log_index,
            created,
            targets: Targets::default(),
            checks_known: true,
            verdict: PartVerdict::default(),
            written: None,
            scratch: Columns::default(),
        }
    }

    /// Applies a part; nothing of it if it names a series that the shard never had.
    pub(super) fn write(mut self, state: &mut Replicated, mut rows: WriteRows<'_>) -> Result<PartVerdict, Fault> {
        if !self.resolve(&state.tombstones, rows.clone())? {
            return Ok(PartVerdict { unresolved: true, ..PartVerdict::default() });
        }
        self.checks_known = !state.map.keeps_accepted_series();
        let mut head = self.shard.head.write();
        let mut known = std::mem::take(&mut self.targets.known).into_iter();
        let mut done = 0usize;
        while let Some(row) = rows.next_row().map_err(EntryError::from)? {
            done += 1;
            if done.is_multiple_of(ROWS_PER_SECTION) {
                RwLockWriteGuard::bump(&mut head);
            }
            let slot = match row.series {
                SeriesRef::Known(_) => known.next(),
                SeriesRef::Created(at) => self.targets.created[at as usize],
            };
            match (slot, row.series) {
                (Some(slot), _) => self.row(state, &mut head, &mut rows, row, slot)?,
                (None, SeriesRef::Created(at)) => self.new_row(state, &mut head, &mut rows, row, at as usize)?,
                (None, SeriesRef::Known(sid)) => unreachable!("series {sid} was resolved"),
            }
        }
        drop(head);
        if let Some((first_ms, last_ms)) = self.written {
            self.shard.changes.lock().note(first_ms, last_ms, self.log_index);
        }
        Ok(self.verdict)
    }

    fn count(&mut self, state: &mut Replicated, timestamp_ms: Timestamp) {
        self.verdict.accepted += 1;
        self.written = Some(join(self.written, timestamp_ms, timestamp_ms));
        state.count(timestamp_ms);
    }

    /// Finds the slot of every series, bringing back those that left the head; tells whether all ids are known.
    fn resolve(&mut self, tombstones: &Tombstones, mut rows: WriteRows<'_>) -> Result<bool, Fault> {
        let shard = self.shard;
        for series in self.created {
            let in_head = shard.head.read().slot_of_fp(series.fp128);
            self.targets.created.push(match in_head {
                Some(slot) => Some(slot),
                None => shard.return_by_fp(tombstones, series.fp128)?,
            });
        }
        let known = &mut self.targets.known;
        known.reserve_exact(rows.len());
        let mut absent = Vec::new();
        {
            let head = shard.head.read();
            while let Some(row) = rows.next_row().map_err(EntryError::from)? {
                let SeriesRef::Known(sid) = row.series else { continue };
                let slot = head.slot_of_sid(sid);
                if slot.is_none() {
                    absent.push((known.len(), sid));
                }
                known.push(slot.unwrap_or(u32::MAX));
            }
        }
        for (at, sid) in absent {
            let Some(slot) = shard.return_by_sid(tombstones, sid)? else { return Ok(false) };
            known[at] = slot;
        }
        Ok(true)
    }

    /// Writes a row of a series that has a slot.
    fn row(&mut self, state: &mut Replicated, head: &mut Head, rows: &mut WriteRows<'_>, row: WriteRow, slot: u32) -> Result<(), Fault> {
        for _ in 0..row.samples {
            let sample = rows.next_sample().map_err(EntryError::from)?;
            let Some((series, line)) = head.slot_mut(slot) else { continue };
            if self.checks_known && !state.map.places(self.shard.id, series.placement, sample.timestamp_ms) {
                self.verdict.stale_row(row.ordinal);
                continue;
            }
            let find = || self.shard.find(&state.tombstones, series, line, sample.timestamp_ms, &mut self.scratch);
            let decision = judge(state.rules(), newest_of(line), sample, find)?;
            match decision {
                Decision::Append => head.sample_bytes += line.append(sample, self.log_index),
                Decision::Insert => {
                    let before = line.bytes();
                    line.insert(sample, self.log_index);
                    let after = line.bytes();
                    head.sample_bytes = head.sample_bytes + after - before;
                }
                Decision::Unchanged => self.verdict.unchanged += 1,
                Decision::Refuse(kind) => self.verdict.refuse(kind, || FirstError {
                    ordinal: row.ordinal,
                    kind,
                    labels: self.shard.labels_in_head(head, slot).to_string(),
                    timestamp_ms: sample.timestamp_ms,
                }),
            }
            if matches!(decision, Decision::Append | Decision::Insert) {
                self.count(state, sample.timestamp_ms);
            }
        }
        Ok(())
    }

    /// Writes a row of a series that the shard never had: it is created by its first accepted sample.
    fn new_row(
        &mut self,
        state: &mut Replicated,
        head: &mut Head,
        rows: &mut WriteRows<'_>,
        row: WriteRow,
        at: usize,
    ) -> Result<(), Fault> {
        let created = self.created[at];
        for done in 0..row.samples {
            let sample = rows.next_sample().map_err(EntryError::from)?;
            if !state.map.places(self.shard.id, created.placement, sample.timestamp_ms) {
                self.verdict.stale_row(row.ordinal);
                continue;
            }
            let decision = judge(state.rules(), None, sample, || Ok::<_, Fault>(None))?;
            if let Decision::Refuse(kind) = decision {
                self.refuse_new(&created, row.ordinal, kind, sample.timestamp_ms)?;
                continue;
            }
            let mut line = Line::default();
            line.append(sample, self.log_index);
            let slot = self.shard.create(state, head, &created, line)?;
            self.targets.created[at] = Some(slot);
            self.count(state, sample.timestamp_ms);
            let rest = WriteRow { samples: row.samples - done - 1, ..row };
            return self.row(state, head, rows, rest, slot);
        }
        Ok(())
    }

    fn refuse_new(&mut self, created: &Created<'_>, ordinal: u32, kind: Refusal, timestamp_ms: Timestamp) -> Result<(), Fault> {
        let labels = rows::labels_of(created.labels)?;
        self.verdict.refuse(kind, || FirstError { ordinal, kind, labels: labels.to_string(), timestamp_ms });
        Ok(())
    }
}

impl Shard {
    /// Looks a sample up in the logical content: the head, then what parts hold.
    fn find(
        &self,
        tombstones: &Tombstones,
        series: &Series,
        line: &Line,
        t: Timestamp,
        scratch: &mut Columns,
    ) -> Result<Option<u64>, Fault> {
        let deleted_before = match tombstones.iter().any(|tombstone| tombstone.meets(t, t)) {
            true => tombstones.of(&self.labels_of_series(series)).before(t),
            false => 0,
        };
        match settled(line.find(t, deleted_before, scratch)?) {
            Some(found) => Ok(found),
            None => Ok(self.find_stored(series.sid, series.metric, t, deleted_before)?),
        }
    }

    /// Gives a new series its id and a slot with its first sample.
    fn create(&self, state: &mut Replicated, head: &mut Head, created: &Created<'_>, line: Line) -> Result<u32, Fault> {
        let labels = rows::labels_of(created.labels)?;
        let sid = state.next_sid;
        state.next_sid = sid.checked_add(1).expect("a shard has fewer than 2^32 series in its life");
        let pairs = self.index.write().insert(sid, labels.iter());
        let metric = metric_number(labels.metric_name(), state.map.placement_key);
        Ok(head.insert(Series { sid, metric, fp128: created.fp128, placement: created.placement, pairs }, line))
    }
}

/// Where on disk a metric's series lie together. Keyed, so that keys on disk tell no name; two names may share a number.
fn metric_number(name: &str, key: u64) -> u32 {
    fp128(&Labels::from_sorted([(METRIC_NAME, name)]), key) as u32
}
