//! Applying entries.

use super::judge::{Decision, judge, settled};
use super::{Shard, SinceCheckpoint};
use crate::entry::{Created, Entry, EntryError, Part, SeriesRef, WriteRow, WriteRows};
use crate::error::{Corruption, StoreError};
use crate::head::{Columns, Head, Line, Series};
use crate::metrics;
use crate::rows::{self, RowError};
use crate::state::Replicated;
use crate::verdict::{ApplyResponse, FirstError, PartVerdict, Refusal};
use bytes::Bytes;
use model::hash::fp128;
use model::labels::METRIC_NAME;
use model::{Labels, LogPoint, Timestamp};
use std::sync::atomic::Ordering;

/// Why an entry was not applied. The shard stops there: no later entry and no checkpoint is taken.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// This binary cannot read the entry.
    #[error("entry {point}: {source}")]
    Entry {
        /// Where the entry stands.
        point: LogPoint,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The labels of a new series are malformed; leaders check them before they propose.
    #[error("entry {point}: {source}")]
    Labels {
        /// Where the entry stands.
        point: LogPoint,
        /// What is wrong with them.
        source: RowError,
    },
    /// The entry does not follow the last one applied.
    #[error("entry {point} does not follow {applied}")]
    NotNext {
        /// Where the entry stands.
        point: LogPoint,
        /// The last entry applied.
        applied: LogPoint,
    },
    /// The store could not be read.
    #[error("entry {point}: {source}")]
    Store {
        /// Where the entry stands.
        point: LogPoint,
        /// What the store said.
        source: StoreError,
    },
    /// A chunk in memory cannot be decoded.
    #[error("entry {point}: head chunk: {source}")]
    HeadChunk {
        /// Where the entry stands.
        point: LogPoint,
        /// What is wrong with it.
        source: Corruption,
    },
    /// An earlier entry failed half-way, or a snapshot could not be loaded.
    #[error("the shard has stopped applying")]
    Halted,
}

/// What goes wrong inside one entry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Entry(#[from] EntryError),
    #[error(transparent)]
    Labels(#[from] RowError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    HeadChunk(#[from] Corruption),
}

impl Fault {
    fn at(self, point: LogPoint) -> ApplyError {
        match self {
            Self::Entry(source) => ApplyError::Entry { point, source },
            Self::Labels(source) => ApplyError::Labels { point, source },
            Self::Store(source) => ApplyError::Store { point, source },
            Self::HeadChunk(source) => ApplyError::HeadChunk { point, source },
        }
    }
}

/// Slots that one section of the head's lock looks at.
const SWEEP_SLOTS: u32 = 4096;

impl Shard {
    /// Applies one entry; gives the encoded [`ApplyResponse`]. One caller at a time, entries in the order of the log.
    ///
    /// In memory when this returns; durable with the next checkpoint (the log holds the entry until then).
    ///
    /// # Errors
    /// See [`ApplyError`]; the shard has stopped then.
    pub fn apply(&self, point: LogPoint, payload: &[u8]) -> Result<Bytes, ApplyError> {
        let mut replicated = self.begin(point)?;
        self.halted.store(true, Ordering::SeqCst);
        let response = self.dispatch(&mut replicated, point, payload).map_err(|fault| fault.at(point))?;
        replicated.applied = Some(point);
        self.halted.store(false, Ordering::SeqCst);
        let accepted = response.parts.iter().map(|part| u64::from(part.accepted)).sum();
        self.note(&replicated, payload.len(), accepted);
        Ok(response.encode())
    }

    /// Takes note of an entry without content.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply_blank(&self, point: LogPoint) -> Result<(), ApplyError> {
        let mut replicated = self.begin(point)?;
        replicated.applied = Some(point);
        self.note(&replicated, 0, 0);
        Ok(())
    }

    /// Keeps bytes of the state machine's own (membership) beside the shard's state, as the effect of one entry.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn set_extra(&self, point: LogPoint, extra: Bytes) -> Result<(), ApplyError> {
        let mut replicated = self.begin(point)?;
        replicated.applied = Some(point);
        replicated.extra = extra;
        self.note(&replicated, replicated.extra.len(), 0);
        Ok(())
    }

    fn begin(&self, point: LogPoint) -> Result<parking_lot::MutexGuard<'_, Replicated>, ApplyError> {
        let replicated = self.replicated.lock();
        if self.halted.load(Ordering::SeqCst) {
            return Err(ApplyError::Halted);
        }
        match replicated.applied {
            Some(applied) if point.index <= applied.index => Err(ApplyError::NotNext { point, applied }),
            _ => Ok(replicated),
        }
    }

    fn note(&self, replicated: &Replicated, bytes: usize, samples: u64) {
        let mut since = self.since_checkpoint.lock();
        let SinceCheckpoint { log_bytes, samples: total, entries, time_ms } = &mut *since;
        *log_bytes += bytes as u64;
        *total += samples;
        *entries += 1;
        if *time_ms == 0 {
            *time_ms = replicated.time_ms;
        }
    }

    fn dispatch(&self, replicated: &mut Replicated, point: LogPoint, payload: &[u8]) -> Result<ApplyResponse, Fault> {
        let mut response = ApplyResponse::default();
        match Entry::decode(payload)? {
            Entry::Write { time_ms, resolver_term, mut parts } => {
                replicated.advance(time_ms);
                while let Some(part) = parts.next_part()? {
                    let verdict = self.part(replicated, point.index, part)?;
                    if verdict.unresolved {
                        metrics::count_violation("C4");
                        tracing::error!(shard = %self.id, %point, resolver_term, "a part names a series that the shard never had");
                    }
                    response.parts.push(verdict);
                }
            }
            Entry::SetLimits(limits) => replicated.set_limits(limits),
            Entry::Open { placement_key, generations } => replicated.map.open(placement_key, generations),
            Entry::Tick { time_ms } => {
                replicated.advance(time_ms);
                self.release_listed();
            }
            Entry::EvictIdle { time_ms } => {
                replicated.advance(time_ms);
                self.release_listed();
                self.evict_idle(replicated);
            }
        }
        Ok(response)
    }

    fn part(&self, replicated: &mut Replicated, log_index: u64, part: Part<'_>) -> Result<PartVerdict, Fault> {
        let Part { key, origin: _, created, rows } = part;
        if let Some(verdict) = replicated.ring.get(&key) {
            return Ok(verdict.clone());
        }
        let verdict = match self.resolve(&created, rows.clone())? {
            None => PartVerdict { unresolved: true, ..PartVerdict::default() },
            Some(targets) => {
                let writer = Writer {
                    shard: self,
                    log_index,
                    created: &created,
                    targets,
                    verdict: PartVerdict::default(),
                    scratch: Columns::default(),
                };
                writer.write(replicated, rows)?
            }
        };
        replicated.ring.put(replicated.time_ms, key, &verdict);
        Ok(verdict)
    }

    /// Finds the slot of every series of a part, bringing back those that left the head; `None` if an id is unknown.
    fn resolve(&self, created: &[Created<'_>], mut rows: WriteRows<'_>) -> Result<Option<Targets>, Fault> {
        let mut targets = Targets { known: Vec::with_capacity(rows.len()), created: Vec::with_capacity(created.len()) };
        for series in created {
            let in_head = self.head.read().slot_of_fp(series.fp128);
            let slot = match in_head {
                Some(slot) => Some(slot),
                None => self.return_by_fp(series.fp128)?,
            };
            targets.created.push(slot);
        }
        let mut missing = Vec::new();
        {
            let head = self.head.read();
            while let Some(row) = rows.next_row().map_err(EntryError::from)? {
                let SeriesRef::Known(sid) = row.series else { continue };
                let slot = head.slot_of_sid(sid);
                if slot.is_none() {
                    missing.push((targets.known.len(), sid));
                }
                targets.known.push(slot.unwrap_or(u32::MAX));
            }
        }
        for (at, sid) in missing {
            let Some(slot) = self.return_by_sid(sid)? else { return Ok(None) };
            targets.known[at] = slot;
        }
        Ok(Some(targets))
    }

    /// Seals what idle series have open and lets those go of which parts hold everything.
    fn evict_idle(&self, replicated: &Replicated) {
        let window = replicated.limits.late_window_ms.max(replicated.limits.out_of_order_window_ms);
        let before_ms = replicated.time_ms.saturating_sub(window);
        let slots = self.head.read().slot_count();
        for from in (0..slots).step_by(SWEEP_SLOTS as usize) {
            let mut head = self.head.write();
            for slot in from..slots.min(from.saturating_add(SWEEP_SLOTS)) {
                self.evict_slot(&mut head, slot, before_ms);
            }
        }
    }

    fn evict_slot(&self, head: &mut Head, slot: u32, before_ms: Timestamp) {
        let (Some(_), Some(line)) = (head.series(slot), head.line(slot)) else { return };
        if line.newest.is_some_and(|(t, _)| t >= before_ms) {
            return;
        }
        if line.is_all_stored() {
            if let Some(series) = head.remove(slot) {
                self.index.write().remove(series.sid, &series.pairs);
            }
        } else if line.open.is_some() || line.out_of_order.is_some() {
            let Some(line) = head.line_mut(slot) else { return };
            let before = line.bytes();
            line.seal_open();
            line.seal_out_of_order();
            let after = line.bytes();
            head.sample_bytes = head.sample_bytes + after - before;
        }
    }

    /// The labels of a series in the head.
    pub(crate) fn labels_in_head(&self, head: &Head, slot: u32) -> Labels {
        let Some(series) = head.series(slot) else { return Labels::empty() };
        let index = self.index.read();
        Labels::from_sorted(series.pairs.iter().filter_map(|pair| index.pair(*pair)))
    }
}

/// Slots of the series a part names.
#[derive(Debug)]
struct Targets {
    /// One for each row that names its series by id, in row order.
    known: Vec<u32>,
    /// One for each created series; `None` while it is really new.
    created: Vec<Option<u32>>,
}

/// Judges and writes the rows of one part.
struct Writer<'a> {
    shard: &'a Shard,
    log_index: u64,
    created: &'a [Created<'a>],
    targets: Targets,
    verdict: PartVerdict,
    scratch: Columns,
}

impl Writer<'_> {
    fn write(mut self, replicated: &mut Replicated, mut rows: WriteRows<'_>) -> Result<PartVerdict, Fault> {
        let mut head = self.shard.head.write();
        let check_known = !replicated.map.keeps_accepted_series();
        let mut known = std::mem::take(&mut self.targets.known).into_iter();
        while let Some(row) = rows.next_row().map_err(EntryError::from)? {
            match row.series {
                SeriesRef::Known(_) => {
                    let slot = known.next().unwrap_or(u32::MAX);
                    self.row(replicated, &mut head, &mut rows, row, Target { slot, checked: check_known })?;
                }
                SeriesRef::Created(at) => match self.targets.created[at as usize] {
                    Some(slot) => self.row(replicated, &mut head, &mut rows, row, Target { slot, checked: check_known })?,
                    None => self.new_row(replicated, &mut head, &mut rows, row, at as usize)?,
                },
            }
        }
        Ok(self.verdict)
    }

    /// Writes a row of a series that has a slot.
    fn row(
        &mut self,
        replicated: &mut Replicated,
        head: &mut Head,
        rows: &mut WriteRows<'_>,
        row: WriteRow,
        target: Target,
    ) -> Result<(), Fault> {
        let Target { slot, checked } = target;
        let Some(Series { sid, metric, placement, .. }) = head.series(slot) else { return Ok(()) };
        let (series, placement) = ((*sid, *metric), *placement);
        for _ in 0..row.samples {
            let sample = rows.next_sample().map_err(EntryError::from)?;
            if checked && !replicated.map.places(self.shard.id, placement, sample.timestamp_ms) {
                self.verdict.stale_row(row.ordinal);
                continue;
            }
            let Some(line) = head.line_mut(slot) else { continue };
            let find = || self.shard.find(series, line, sample.timestamp_ms, &mut self.scratch);
            let decision = judge(replicated.time_ms, &replicated.limits, line.newest, sample, find)?;
            match decision {
                Decision::Append => head.sample_bytes += line.append(sample, self.log_index),
                Decision::Insert => {
                    let before = line.bytes();
                    line.insert(sample, self.log_index);
                    let after = line.bytes();
                    head.sample_bytes = head.sample_bytes + after - before;
                }
                Decision::Unchanged => self.verdict.unchanged += 1,
                Decision::Refuse(kind) => {
                    let labels = || self.shard.labels_in_head(head, slot).to_string();
                    self.verdict.refuse(kind, || FirstError {
                        ordinal: row.ordinal,
                        kind,
                        labels: labels(),
                        timestamp_ms: sample.timestamp_ms,
                    });
                }
            }
            if matches!(decision, Decision::Append | Decision::Insert) {
                self.verdict.accepted += 1;
                replicated.count(sample.timestamp_ms);
            }
        }
        Ok(())
    }

    /// Writes a row of a series that the shard never had: it is created by its first accepted sample.
    fn new_row(
        &mut self,
        replicated: &mut Replicated,
        head: &mut Head,
        rows: &mut WriteRows<'_>,
        row: WriteRow,
        at: usize,
    ) -> Result<(), Fault> {
        let created = self.created[at];
        for done in 0..row.samples {
            let sample = rows.next_sample().map_err(EntryError::from)?;
            if !replicated.map.places(self.shard.id, created.placement, sample.timestamp_ms) {
                self.verdict.stale_row(row.ordinal);
                continue;
            }
            let decision = judge(replicated.time_ms, &replicated.limits, None, sample, || Ok::<_, Fault>(None))?;
            if let Decision::Refuse(kind) = decision {
                self.refuse_new(&created, row.ordinal, kind, sample.timestamp_ms)?;
                continue;
            }
            let mut line = Line::default();
            line.append(sample, self.log_index);
            let slot = self.shard.create(replicated, head, &created, line)?;
            self.targets.created[at] = Some(slot);
            self.verdict.accepted += 1;
            replicated.count(sample.timestamp_ms);
            let rest = WriteRow { samples: row.samples - done - 1, ..row };
            let checked = !replicated.map.keeps_accepted_series();
            return self.row(replicated, head, rows, rest, Target { slot, checked });
        }
        Ok(())
    }

    fn refuse_new(&mut self, created: &Created<'_>, ordinal: u32, kind: Refusal, timestamp_ms: Timestamp) -> Result<(), Fault> {
        let labels = rows::labels_of(created.labels)?;
        self.verdict.refuse(kind, || FirstError { ordinal, kind, labels: labels.to_string(), timestamp_ms });
        Ok(())
    }
}

/// Where a row's samples go.
#[derive(Clone, Copy, Debug)]
struct Target {
    slot: u32,
    /// Whether each sample's generation must be looked at.
    checked: bool,
}

impl Shard {
    /// Looks a sample up in the logical content: the head, then what parts hold.
    fn find(&self, series: (u32, u32), line: &Line, t: Timestamp, scratch: &mut Columns) -> Result<Option<u64>, Fault> {
        match settled(line.find(t, scratch)?) {
            Some(found) => Ok(found),
            None => Ok(self.find_stored(series, t)?),
        }
    }

    /// Gives a new series its id and a slot with its first sample.
    fn create(&self, replicated: &mut Replicated, head: &mut Head, created: &Created<'_>, line: Line) -> Result<u32, Fault> {
        let labels = rows::labels_of(created.labels)?;
        let sid = replicated.next_sid;
        replicated.next_sid = sid.checked_add(1).expect("a shard has fewer than 2^32 series in its life");
        let pairs = self.index.write().insert(sid, labels.iter());
        let metric = metric_number(labels.metric_name(), replicated.map.placement_key);
        Ok(head.insert(Series { sid, metric, fp128: created.fp128, placement: created.placement, pairs }, line))
    }
}

/// Where on disk a metric's series lie together. Keyed, so that keys on disk tell no name; two names may share a number.
fn metric_number(name: &str, key: u64) -> u32 {
    fp128(&Labels::from_sorted([(METRIC_NAME, name)]), key) as u32
}
