//! What the shard asks its store: the last checkpoint at a start, and series and samples that left the head.

use super::Shard;
use crate::error::{Corruption, StoreError};
use crate::head::{Head, Line, Series};
use crate::metadata::Families;
use crate::postings::Index;
use crate::record::Content;
use crate::state::{BatchRing, Exemplars, Replicated, Restored, Tombstone, Tombstones, read_page};
use crate::store::ShardStore;
use model::{SeriesId, Timestamp};
use std::sync::Arc;

/// Reads the state that the last checkpoint holds; the empty state if there is none.
pub(super) fn restore(store: &ShardStore) -> Result<(Replicated, Head, Index), StoreError> {
    let mut restored = State::default();
    store.view().pages(|page| read_page(page, &mut restored).map_err(corrupt_page))?;
    Ok((restored.replicated, restored.head, restored.index))
}

fn corrupt_page(source: Corruption) -> StoreError {
    StoreError::Corrupt { family: "head", key: Vec::new(), source }
}

#[derive(Default)]
struct State {
    replicated: Replicated,
    head: Head,
    index: Index,
}

impl Restored for State {
    fn replicated(&mut self, replicated: Replicated) {
        self.replicated = replicated;
    }

    fn ring(&mut self) -> &mut BatchRing {
        &mut self.replicated.ring
    }

    fn exemplars(&mut self) -> &mut Exemplars {
        Arc::make_mut(&mut self.replicated.exemplars)
    }

    fn families(&mut self) -> &mut Families {
        Arc::make_mut(&mut self.replicated.families)
    }

    fn tombstone(&mut self, tombstone: Tombstone) {
        self.replicated.tombstones.push(tombstone);
    }

    fn pair(&mut self, number: u32, name: &str, value: &str) {
        self.index.restore_pair(number, name, value);
    }

    fn series(&mut self, series: Series, line: Line) {
        self.index.restore_series(series.sid, &series.pairs);
        self.head.insert(series, line);
    }
}

impl Shard {
    /// What a sample is that a listed part holds, if entry `since` or a later one wrote it.
    pub(super) fn find_stored(&self, sid: u32, metric: u32, t: Timestamp, since: u64) -> Result<Option<Content>, StoreError> {
        self.store().view().lookup(SeriesId(sid), metric, t, since)
    }

    /// Brings a series with this identity back into the head, under the id it always had.
    pub(super) fn return_by_fp(&self, tombstones: &Tombstones, fp128: u128) -> Result<Option<u32>, StoreError> {
        match self.store().view().find_by_fp128(fp128)? {
            Some(sid) => self.return_by_sid(tombstones, sid.0),
            None => Ok(None),
        }
    }

    /// Brings a series back into the head with its newest sample, so that verdicts are what they were before it left.
    pub(super) fn return_by_sid(&self, tombstones: &Tombstones, sid: u32) -> Result<Option<u32>, StoreError> {
        if let Some(slot) = self.head.read().slot_of_sid(sid) {
            return Ok(Some(slot));
        }
        let view = self.store().view();
        let Some(record) = view.series(SeriesId(sid))? else { return Ok(None) };
        let last_ms = view.last_time(SeriesId(sid), record.metric)?;
        let newest_ms = last_ms.max(record.newest_ms);
        let found = match newest_ms {
            Some(t) if last_ms == newest_ms => {
                let deleted_before = tombstones.of(&record.labels).before(t);
                view.lookup(SeriesId(sid), record.metric, t, deleted_before)?
            }
            _ => None,
        };
        let newest = newest_ms.map(|t| (t, found.unwrap_or(Content::Float(0))));
        let is_newest_deleted = newest.is_some() && found.is_none();
        let stored = last_ms.map(|t| (Timestamp::MIN, t));
        let line = Line { newest, is_newest_deleted, stored, ..Line::default() };
        let mut head = self.head.write();
        let pairs = self.index.write().insert(sid, record.labels.iter());
        let series = Series { sid, metric: record.metric, fp128: record.fp128, placement: record.placement, pairs };
        Ok(Some(head.insert(series, line)))
    }
}
