//! Replacing the damaged parts of a day by what another replica holds of it.
//!
//! The other replica's answer holds everything that this one had applied when the repair began, and perhaps more. What came later lies
//! in this replica's own head and later parts. So the new parts carry the log index at which the repair began: a later delete hides
//! them, an earlier one is carried out in them already.

use super::Shard;
use crate::chunk::Samples;
use crate::error::StoreError;
use crate::keys::{Family, FprKey};
use crate::runs::Runs;
use crate::state::Deleted;
use crate::store::rewrite::SentSeries;
use crate::store::{Day, SeriesRecord, StoreView};
use model::{Labels, SeriesId, hash};

/// A day that is being repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayRepair {
    /// Which day.
    pub day: Day,
    /// The last entry applied when it began: the other replica must hold it.
    since: u64,
    /// The damaged parts.
    damaged: Vec<u64>,
}

/// One series of a day as another replica sent it.
#[derive(Clone, Debug, Default)]
pub struct RepairSeries {
    /// Its labels.
    pub labels: Labels,
    /// All inside the day, each kind in order of time.
    pub samples: Samples,
}

impl Shard {
    /// Begins to repair a day; none if no part of it with samples is quarantined.
    #[must_use]
    pub fn begin_repair(&self, day: Day) -> Option<DayRepair> {
        let _alone = self.checkpointing.lock();
        let view = self.store().view();
        let damaged: Vec<u64> = view.quarantined().filter(|part| part.day == day && part.kind.has_samples()).map(|part| part.id).collect();
        let since = self.applied()?.index;
        (!damaged.is_empty()).then_some(DayRepair { day, since, damaged })
    }

    /// Takes in a piece of the day that was read from another replica after the repair began. This replica must have applied all that
    /// the piece holds; it is checkpointed first, so that no replay judges those entries again. Durable when it returns.
    ///
    /// # Errors
    /// A series is not known here, or the store cannot be written.
    pub fn add_repaired(&self, repair: &DayRepair, series: Vec<RepairSeries>) -> Result<(), StoreError> {
        self.checkpoint()?;
        let _alone = self.checkpointing.lock();
        let store = self.store();
        let view = store.view();
        let mut sent = Vec::with_capacity(series.len());
        for RepairSeries { labels, samples } in series {
            let (sid, record) = self.known_series(&view, labels)?;
            let mut runs = Runs::default();
            runs.add(repair.since, &Deleted::default(), |out| -> Result<(), StoreError> {
                *out = samples;
                Ok(())
            })?;
            runs.finish();
            sent.push(SentSeries { sid, record, runs });
        }
        sent.sort_unstable_by_key(|series| (series.record.metric, series.sid));
        store.add_part(repair.day, repair.since, &sent)
    }

    /// Ends a repair after the whole day was taken in: the damaged parts are listed no more.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn finish_repair(&self, repair: &DayRepair) -> Result<(), StoreError> {
        let _alone = self.checkpointing.lock();
        self.store().remove_parts(&repair.damaged)?;
        tracing::info!(shard = %self.id, day = repair.day.0, parts = repair.damaged.len(), "damaged parts replaced");
        Ok(())
    }

    fn known_series(&self, view: &StoreView, labels: Labels) -> Result<(SeriesId, SeriesRecord), StoreError> {
        let fp128 = hash::fp128(&labels, self.replicated.lock().map.placement_key);
        if let Some(sid) = view.find_by_fp128(fp128)?
            && let Some(record) = view.series(sid)?
        {
            return Ok((sid, record));
        }
        let head = self.head.read();
        let found = head.slot_of_fp(fp128).and_then(|slot| head.series(slot)).map(|series| {
            let record = SeriesRecord { metric: series.metric, fp128, placement: series.placement, newest_ms: None, labels };
            (SeriesId(series.sid), record)
        });
        found.ok_or_else(|| StoreError::Missing { family: Family::Fpr.name(), key: FprKey { local: 0, fp128 }.encode().to_vec() })
    }
}
