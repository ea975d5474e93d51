//! Writing one part of an entry into the head, sample by sample.

use super::Shard;
use super::apply::Fault;
use super::judge::{Decision, judge, newest_of, settled};
use crate::chunk::Samples;
use crate::entry::{Created, EntryError, SeriesRef, WriteRow, WriteRows};
use crate::head::{Head, Line, Series, join};
use crate::metadata::FamilyMetadata;
use crate::metrics;
use crate::record::{Content, Exemplar, Item, Record, Value};
use crate::rows;
use crate::state::{Replicated, Stored, Tombstones};
use crate::verdict::{FirstError, PartVerdict, Refusal};
use model::hash::fp128;
use model::labels::METRIC_NAME;
use model::limits::FUTURE_MS_MAX;
use model::planted::{self, Bug};
use model::sample::is_stale;
use model::{Labels, Sample, Timestamp};
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;

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
    scratch: Samples,
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
            scratch: Samples::default(),
        }
    }

    /// Applies a part; nothing of it if it names a series that the shard never had.
    pub(super) fn write(
        mut self,
        state: &mut Replicated,
        mut rows: WriteRows<'_>,
        metadata: &[FamilyMetadata<'_>],
    ) -> Result<PartVerdict, Fault> {
        if !self.resolve(&state.tombstones, rows.clone())? {
            return Ok(PartVerdict { unresolved: true, ..PartVerdict::default() });
        }
        self.checks_known = !state.map.keeps_accepted_series();
        self.metadata(state, metadata);
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
            if self.is_stale(state, &head, &rows, row, slot)? {
                self.verdict.stale_row(row.ordinal);
                rows.skip(row).map_err(EntryError::from)?;
                continue;
            }
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

    /// Whether the map puts a sample of the row on another shard. Then nothing of the row is applied: the router sends it again whole, by
    /// a newer map, so that no sample is told of twice.
    fn is_stale(&self, state: &Replicated, head: &Head, rows: &WriteRows<'_>, row: WriteRow, slot: Option<u32>) -> Result<bool, Fault> {
        let placement = match (slot, row.series) {
            (Some(_), SeriesRef::Known(_)) if !self.checks_known => return Ok(false),
            (_, SeriesRef::Created(at)) => self.created[at as usize].placement,
            (slot, SeriesRef::Known(_)) => match slot.and_then(|slot| head.series(slot)) {
                Some(series) => series.placement,
                None => return Ok(false),
            },
        };
        if state.map.always_places(self.shard.id, placement) || planted::is(Bug::RowsBeyondFence) {
            return Ok(false);
        }
        let mut ahead = rows.clone();
        for _ in 0..row.samples {
            let sample = ahead.next_sample().map_err(EntryError::from)?;
            if !state.map.places(self.shard.id, placement, sample.timestamp_ms) {
                return Ok(true);
            }
        }
        for _ in 0..row.records {
            if let Item::Sample(record) = ahead.next_record().map_err(EntryError::from)?
                && !state.map.places(self.shard.id, placement, record.timestamp_ms)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes over what a part says about metric families.
    fn metadata(&self, state: &mut Replicated, metadata: &[FamilyMetadata<'_>]) {
        if metadata.iter().all(|family| state.families.has(family)) {
            return;
        }
        let families = Arc::make_mut(&mut state.families);
        for family in metadata {
            if !families.put(family, state.time_ms) {
                metrics::count_metadata_dropped();
            }
        }
        self.shard.told.families(state);
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
            if is_stale(sample.value) && newest_content(state, line).is_some_and(Content::is_histogram) {
                self.record(state, head, (slot, row.ordinal), Record::float(sample))?;
                continue;
            }
            let find = || self.shard.find(&state.tombstones, series, line, sample.timestamp_ms, &mut self.scratch);
            let of_sample = (sample.timestamp_ms, Content::Float(sample.value.to_bits()));
            let decision = judge(state.rules(), newest_of(line), of_sample, find)?;
            match decision {
                Decision::Append => {
                    let grown = line.append(sample, self.log_index);
                    head.sample_bytes = head.sample_bytes.saturating_add_signed(grown);
                    head.note_appended(slot, sample.timestamp_ms);
                }
                Decision::Insert => {
                    let before = line.bytes();
                    line.insert(sample, self.log_index);
                    let after = line.bytes();
                    head.sample_bytes = head.sample_bytes + after - before;
                }
                Decision::Unchanged => self.verdict.unchanged += 1,
                Decision::Refuse(kind) => self.refuse(head, (slot, row.ordinal), kind, sample.timestamp_ms),
            }
            if matches!(decision, Decision::Append | Decision::Insert) {
                self.count(state, sample.timestamp_ms);
            }
        }
        for _ in 0..row.records {
            match rows.next_record().map_err(EntryError::from)? {
                Item::Sample(record) => self.record(state, head, (slot, row.ordinal), record)?,
                Item::Exemplar(exemplar) => self.exemplar(state, head, slot, &exemplar),
            }
        }
        Ok(())
    }

    fn refuse(&mut self, head: &Head, (slot, ordinal): (u32, u32), kind: Refusal, timestamp_ms: Timestamp) {
        let shard = self.shard;
        self.verdict.refuse(kind, || FirstError { ordinal, kind, labels: shard.labels_in_head(head, slot).to_string(), timestamp_ms });
    }

    /// Writes a histogram, a float with a start, or a stale marker that follows a histogram.
    fn record(&mut self, state: &mut Replicated, head: &mut Head, (slot, ordinal): (u32, u32), record: Record) -> Result<(), Fault> {
        let Some((series, line)) = head.slot_mut(slot) else { return Ok(()) };
        let timestamp_ms = record.timestamp_ms;
        let record = as_stored(record, newest_content(state, line));
        let content = record.value.content();
        let find = || self.shard.find(&state.tombstones, series, line, timestamp_ms, &mut self.scratch);
        let decision = judge(state.rules(), newest_of(line), (timestamp_ms, content), find)?;
        let before = line.bytes();
        match decision {
            Decision::Append => line.append_record(&record, self.log_index),
            Decision::Insert => line.insert_record(record, self.log_index),
            Decision::Unchanged => self.verdict.unchanged += 1,
            Decision::Refuse(kind) => {
                self.refuse(head, (slot, ordinal), kind, timestamp_ms);
                return Ok(());
            }
        }
        let after = line.bytes();
        head.sample_bytes = head.sample_bytes + after - before;
        if decision == Decision::Append {
            head.note_appended(slot, timestamp_ms);
        }
        self.verdict.histograms += u32::from(content.is_histogram());
        if decision != Decision::Unchanged {
            self.count(state, timestamp_ms);
        }
        Ok(())
    }

    fn exemplar(&mut self, state: &mut Replicated, head: &Head, slot: u32, exemplar: &Exemplar<'_>) {
        let is_too_far = exemplar.timestamp_ms > state.time_ms.saturating_add(FUTURE_MS_MAX);
        let Some(series) = head.series(slot).filter(|_| !is_too_far) else {
            self.verdict.exemplars_dropped += 1;
            return;
        };
        let outcome = match state.exemplars.judge(series.sid, exemplar) {
            Stored::Added => Arc::make_mut(&mut state.exemplars).add(series.sid, exemplar, state.limits.exemplars_max as usize),
            other => other,
        };
        match outcome {
            Stored::Added | Stored::Unchanged => self.verdict.exemplars += 1,
            Stored::OutOfOrder | Stored::TooLong => self.verdict.exemplars_dropped += 1,
        }
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
        let mut rest = row;
        while rest.samples + rest.records > 0 {
            let record = if rest.samples > 0 {
                rest.samples -= 1;
                Record::float(rows.next_sample().map_err(EntryError::from)?)
            } else {
                rest.records -= 1;
                match rows.next_record().map_err(EntryError::from)? {
                    Item::Sample(record) => as_stored(record, None),
                    Item::Exemplar(_) => {
                        self.verdict.exemplars_dropped += 1;
                        continue;
                    }
                }
            };
            if let Some(slot) = self.first_record(state, head, (at, row.ordinal), &record)? {
                return self.row(state, head, rows, rest, slot);
            }
        }
        Ok(())
    }

    /// Creates a series if its first sample is accepted; gives its slot.
    fn first_record(
        &mut self,
        state: &mut Replicated,
        head: &mut Head,
        (at, ordinal): (usize, u32),
        record: &Record,
    ) -> Result<Option<u32>, Fault> {
        let (created, timestamp_ms) = (self.created[at], record.timestamp_ms);
        let content = record.value.content();
        let decision = judge(state.rules(), None, (timestamp_ms, content), || Ok::<_, Fault>(None))?;
        if let Decision::Refuse(kind) = decision {
            self.refuse_new(&created, ordinal, kind, timestamp_ms)?;
            return Ok(None);
        }
        let mut line = Line::default();
        match record.value {
            Value::Float(value) if record.start_ms == 0 => drop(line.append(Sample { timestamp_ms, value }, self.log_index)),
            _ => line.append_record(record, self.log_index),
        }
        let slot = self.shard.create(state, head, &created, line)?;
        self.targets.created[at] = Some(slot);
        self.verdict.histograms += u32::from(content.is_histogram());
        self.count(state, timestamp_ms);
        Ok(Some(slot))
    }

    fn refuse_new(&mut self, created: &Created<'_>, ordinal: u32, kind: Refusal, timestamp_ms: Timestamp) -> Result<(), Fault> {
        let labels = rows::labels_of(created.labels)?;
        self.verdict.refuse(kind, || FirstError { ordinal, kind, labels: labels.to_string(), timestamp_ms });
        Ok(())
    }
}

/// The form in which a sample is kept: a stale marker takes that of the sample before it, as in Prometheus, and a stale histogram
/// has nothing else.
fn as_stored(record: Record, newest: Option<Content>) -> Record {
    let after_histogram = newest.is_some_and(Content::is_histogram);
    match &record.value {
        Value::Float(value) if after_histogram && is_stale(*value) => Record::stale_histogram(record.timestamp_ms),
        Value::Histogram(histogram) if histogram.is_stale() => Record::stale_histogram(record.timestamp_ms),
        Value::Float(_) | Value::Histogram(_) => record,
    }
}

/// The newest sample of a line, unless it was deleted or its day dropped: what such a one was is not known once its series left the head.
fn newest_content(state: &Replicated, line: &Line) -> Option<Content> {
    newest_of(line).filter(|(t, _)| *t >= state.dropped_before_ms).and_then(|(_, content)| content)
}

impl Shard {
    /// Looks a sample up in the logical content: the head, then what parts hold.
    fn find(
        &self,
        tombstones: &Tombstones,
        series: &Series,
        line: &Line,
        t: Timestamp,
        scratch: &mut Samples,
    ) -> Result<Option<Content>, Fault> {
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
