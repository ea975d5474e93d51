//! Names and values of series in the head, where postings alone do not tell whether a series has a sample in the range.

use super::Among;
use crate::head::Head;
use crate::postings::Index;
use crate::select::{Merged, Postings, Source, is_cheaper, names_into, values_into};
use crate::view::{ReadError, ReadView, TimeRange};
use roaring::RoaringBitmap;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// What it costs to read the labels of a series, in looks at the postings of one value: in the head, and in its record on disk.
const COST_IN_HEAD: u64 = 4;
const COST_OF_RECORD: u64 = 16;

/// Values that few are in comparison to one.
const SHORT: u64 = 16;

/// The series of the head that are asked for.
struct Asked<'a> {
    head: &'a Head,
    index: &'a Index,
    range: TimeRange,
    sids: Cow<'a, RoaringBitmap>,
    /// Whether all of them are known to meet the range.
    is_checked: bool,
}

impl Asked<'_> {
    fn cost(&self) -> u64 {
        self.sids.len().saturating_mul(COST_IN_HEAD)
    }

    fn meets(&self, sid: u32) -> bool {
        let line = || self.head.slot_of_sid(sid).and_then(|slot| self.head.line(slot));
        self.is_checked || line().is_some_and(|line| line.overlaps(self.range.after_ms, self.range.to_ms))
    }

    fn any_meets(&self, postings: Postings<'_>) -> bool {
        let is_every = self.sids.len() == self.index.all().len();
        postings.any_in((!is_every).then_some(&*self.sids), |sid| self.meets(sid))
    }

    fn those_that_meet(&self) -> RoaringBitmap {
        self.sids.iter().filter(|sid| self.meets(*sid)).collect()
    }

    /// Those that may have no sample in the range: looked for at once, in what tells of all of them; `None` if they are many.
    fn unsure(&self, most: u64) -> Option<RoaringBitmap> {
        if self.is_checked {
            return Some(RoaringBitmap::new());
        }
        let slots = self.head.unsure_in(self.range.after_ms, self.range.to_ms, usize::try_from(most).unwrap_or(usize::MAX))?;
        Some(slots.into_iter().filter_map(|slot| self.head.series(slot)).map(|series| series.sid).collect())
    }

    fn values_into(&self, name: &str, merged: &mut Merged) {
        let values = self.index.values_of(name);
        let most = values / COST_IN_HEAD;
        // A look at a few values is less than one at all slots.
        let is_short = (merged.limit() as u64) < values / SHORT;
        let Some(unsure) = (if is_short { None } else { self.unsure(most) }) else {
            let Ok(()) = values_into(self.index, name, Some(&|postings| self.any_meets(postings)), merged);
            return;
        };
        let sure = self.sids.as_ref() - &unsure;
        let is_meant = |postings: Postings<'_>| postings.intersects(&sure) || (!unsure.is_empty() && self.any_meets(postings));
        let others = self.index.all() - &sure;
        if others.len() > most {
            let Ok(()) = values_into(self.index, name, Some(&is_meant), merged);
            return;
        }
        // Only values of the few other series can be on none that is meant.
        let pair_of = |sid: u32| {
            let series = self.head.slot_of_sid(sid).and_then(|slot| self.head.series(slot))?;
            self.index.pair_of(&series.pairs, name)
        };
        let doubtful: HashSet<u32> = others.iter().filter_map(pair_of).collect();
        self.index.values_doubting(name, &doubtful, is_meant, merged);
    }
}

impl ReadView {
    pub(super) fn cost_of_labels(&self, sids: &RoaringBitmap) -> u64 {
        let in_head = self.shard.index.read().all().intersection_len(sids);
        in_head.saturating_mul(COST_IN_HEAD).saturating_add((sids.len() - in_head).saturating_mul(COST_OF_RECORD))
    }

    /// Gives `merged` the names that series of the head carry beyond those that were `told` of; few such series are given back instead.
    pub(super) fn names_in_head(
        &self,
        among: &Among,
        told: &RoaringBitmap,
        range: TimeRange,
        merged: &mut Merged,
    ) -> Result<RoaringBitmap, ReadError> {
        self.ask_head(among, told, range, |asked| {
            let values = asked.index.names().map(|name| asked.index.values_of(name)).sum();
            if asked.cost() < values {
                return asked.those_that_meet();
            }
            let Ok(()) = names_into(asked.index, Some(&|postings| asked.any_meets(postings)), merged);
            RoaringBitmap::new()
        })
    }

    /// Gives `merged` the values of `name` on series of the head beyond those that were `told` of; few such series are given back
    /// instead.
    pub(super) fn values_in_head(
        &self,
        name: &str,
        among: &Among,
        told: &RoaringBitmap,
        range: TimeRange,
        merged: &mut Merged,
    ) -> Result<RoaringBitmap, ReadError> {
        // To leave out what the store told costs more than to offer a few values again.
        let (none, is_short) = (RoaringBitmap::new(), (merged.limit() as u64) < self.shard.index.read().values_of(name) / SHORT);
        self.ask_head(among, if is_short { &none } else { told }, range, |asked| {
            if is_cheaper(asked.cost(), asked.sids.len(), asked.index.values_of(name), merged) {
                return asked.those_that_meet();
            }
            asked.values_into(name, merged);
            RoaringBitmap::new()
        })
    }

    /// Asks about the series of the head that nothing told of yet, if there are any.
    fn ask_head(
        &self,
        among: &Among,
        told: &RoaringBitmap,
        range: TimeRange,
        ask: impl FnOnce(&Asked<'_>) -> RoaringBitmap,
    ) -> Result<RoaringBitmap, ReadError> {
        let (head, index) = (self.head()?, self.shard.index.read());
        let all = among.in_head.as_ref().unwrap_or(index.all());
        let sids = match told.is_empty() {
            true => Cow::Borrowed(all),
            false if all.is_subset(told) => return Ok(RoaringBitmap::new()),
            false => Cow::Owned(all - told),
        };
        Ok(if sids.is_empty() {
            RoaringBitmap::new()
        } else {
            ask(&Asked { head: &head, index: &index, range, sids, is_checked: among.is_checked })
        })
    }

    /// The label names of series, in any order.
    pub(super) fn names_of(&self, sids: &RoaringBitmap) -> Result<Vec<String>, ReadError> {
        let (mut names, mut absent) = (BTreeSet::new(), Vec::new());
        self.each_in_head(sids, &mut absent, |index, pairs| {
            for (name, _) in pairs.iter().filter_map(|pair| index.pair(*pair)) {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        })?;
        for sid in absent {
            names.extend(self.labels(sid)?.iter().map(|(name, _)| name.to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    /// The values that `name` has on series, in any order.
    pub(super) fn values_of(&self, name: &str, sids: &RoaringBitmap) -> Result<Vec<String>, ReadError> {
        let (mut values, mut seen, mut absent) = (Vec::new(), HashSet::new(), Vec::new());
        self.each_in_head(sids, &mut absent, |index, pairs| {
            let pair = index.pair_of(pairs, name).filter(|pair| seen.insert(*pair));
            values.extend(pair.and_then(|pair| index.pair(pair)).map(|(_, value)| value.to_owned()));
        })?;
        for sid in absent {
            values.extend(self.labels(sid)?.get(name).map(str::to_owned));
        }
        Ok(values)
    }

    /// Hands over the pairs of the series that are in the head; the others are added to `absent`.
    fn each_in_head(&self, sids: &RoaringBitmap, absent: &mut Vec<u32>, mut visit: impl FnMut(&Index, &[u32])) -> Result<(), ReadError> {
        if sids.is_empty() {
            return Ok(());
        }
        let (head, index) = (self.head()?, self.shard.index.read());
        for sid in sids {
            match head.slot_of_sid(sid).and_then(|slot| head.series(slot)) {
                Some(series) => visit(&index, &series.pairs),
                None => absent.push(sid),
            }
        }
        Ok(())
    }
}
