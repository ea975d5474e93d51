//! Series whose samples lie on more than one shard, because the shard map changed within the time that a query looks at.
//!
//! Steps are taken in runs in which no selector goes on from one generation to the next ([`Plan::runs`]); so windows straddle two
//! generations in few runs, and in all others every series is evaluated where it lies. In a run whose windows straddle, the selectors
//! whose series an export brings together are looked at together: a series that is on one shard in all generations that they look at
//! stays, all others are moved.

use super::{NodeKind, Plan};
use crate::ast::Expr;
use crate::budget::{Budget, Reservation};
use crate::error::{EvalError, PlanError};
use crate::eval::share::Send;
use crate::frame::{FRAME_BYTES, Frame, Piece};
use crate::plan::fragment::Fragment;
use crate::source::{RawSeries, Select, SelectId, SeriesSet, SeriesSource, SourceError, Visitor};
use model::hash::{jump_hash, placement_hash};
use model::{Generation, Labels, ShardId, Timestamp};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// The generations of shards that hold samples of a query, if they are several.
///
/// A series that is on the same shard in all of them is evaluated there as always. All others are *moved*: the shards send what
/// they hold of them, and who asked evaluates them as one more shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residence {
    /// The constant that placement hashes are keyed with.
    pub key: u64,
    /// By time; each from its first millisecond until the next one's.
    pub generations: Vec<Residents>,
}

/// The shards of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residents {
    /// Its first millisecond.
    pub from_ms: Timestamp,
    /// In the order that the jump hash counts them; not empty.
    pub shards: Vec<ShardId>,
}

impl Residence {
    /// The generations of `list`, by time, that hold samples after `start_ms` and up to `end_ms`; none if it is at most one.
    #[must_use]
    pub fn between(list: &[Generation], key: u64, start_ms: Timestamp, end_ms: Timestamp) -> Option<Self> {
        let starts: Vec<Timestamp> = list.iter().map(|generation| generation.from_ms).collect();
        let met = list.get(met(&starts, (start_ms, end_ms))).unwrap_or_default();
        let residents = |generation: &Generation| Residents { from_ms: generation.from_ms, shards: generation.shards.clone() };
        (met.len() > 1).then(|| Self { key, generations: met.iter().map(residents).collect() })
    }

    /// The generations that hold samples after the first and up to the second time.
    fn met(&self, span: (Timestamp, Timestamp)) -> Range<usize> {
        let starts: Vec<Timestamp> = self.generations.iter().map(|residents| residents.from_ms).collect();
        met(&starts, span)
    }

    /// Whether all samples of a series are on one shard in these generations.
    fn stays(&self, labels: &Labels, generations: &Range<usize>) -> bool {
        let generations = self.generations.get(generations.clone()).unwrap_or_default();
        if generations.len() < 2 {
            return true;
        }
        let hash = placement_hash(labels, self.key);
        let mut shards = generations.iter().map(|residents| residents.shards.get(jump_hash(hash, residents.shards.len() as u32) as usize));
        let first = shards.next();
        shards.all(|shard| Some(shard) == first)
    }
}

/// Which of the generations that begin at `starts` hold samples after the first and up to the second time. The first one holds
/// everything before.
fn met(starts: &[Timestamp], (after_ms, to_ms): (Timestamp, Timestamp)) -> Range<usize> {
    let end = starts.partition_point(|from_ms| *from_ms <= to_ms);
    let first = starts.partition_point(|from_ms| *from_ms <= after_ms.saturating_add(1)).saturating_sub(1);
    first..end.max(first)
}

impl Plan {
    /// The steps in runs, in each of which every selector looks at the same generations of `list` at all steps. One run where the steps
    /// cannot be evaluated apart. `expr` is what was planned.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn runs(&self, expr: &Expr, list: &[Generation]) -> Result<Vec<Range<usize>>, PlanError> {
        let starts: Vec<Timestamp> = list.iter().map(|generation| generation.from_ms).collect();
        let steps = self.steps();
        let whole = std::iter::once(0..steps).collect();
        if !self.can_be_sliced() || self.detects_resets() || self.spans().all(|span| met(&starts, span).len() < 2) {
            return Ok(whole);
        }
        let looks_at = |step: usize| -> Result<Vec<Range<usize>>, PlanError> {
            Ok(Self::of_steps(expr, self.params, step..step + 1)?.spans().map(|span| met(&starts, span)).collect())
        };
        let (mut runs, mut from) = (Vec::new(), 0);
        while from < steps {
            let here = looks_at(from)?;
            // With the steps a selector goes on to later generations, never back.
            let (mut low, mut high) = (from + 1, steps);
            while low < high {
                let middle = low + (high - low) / 2;
                if looks_at(middle)? == here { low = middle + 1 } else { high = middle }
            }
            runs.push(from..low);
            from = low;
        }
        Ok(runs)
    }

    /// For each selector the time after which and up to which it looks.
    fn spans(&self) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        self.nodes.iter().filter_map(|node| node.span_of_samples(self.params.lookback_ms))
    }

    /// Whether a histogram's meaning depends on the one before it, which may lie before the windows.
    fn detects_resets(&self) -> bool {
        let detects = |kind: &NodeKind| match kind {
            NodeKind::Vector { detects_resets, .. } | NodeKind::Matrix { detects_resets, .. } => *detects_resets,
            _ => false,
        };
        self.nodes.iter().any(|node| detects(&node.kind))
    }
}

/// A source without the moved series, which it keeps apart.
struct Resident<'a> {
    source: &'a dyn SeriesSource,
    residence: &'a Residence,
    /// Which generations decide about the series of each read.
    generations: Vec<Range<usize>>,
    budget: &'a Budget,
    moved: RefCell<BTreeMap<SelectId, Vec<Arc<RawSeries>>>>,
    held: RefCell<Vec<Reservation>>,
}

impl Resident<'_> {
    fn stays(&self, select: &Select, labels: &Labels) -> bool {
        self.generations.get(select.id.0 as usize).is_none_or(|generations| self.residence.stays(labels, generations))
    }
}

impl SeriesSource for Resident<'_> {
    fn select(&self, select: &Select) -> Result<SeriesSet, SourceError> {
        let all = self.source.select(select)?.series;
        let (stays, moved): (Vec<_>, Vec<_>) = all.into_iter().partition(|series| self.stays(select, &series.labels));
        let cut = |series: Arc<RawSeries>| Arc::new(series.view().between(select.start_ms, select.end_ms).to_raw());
        self.moved.borrow_mut().insert(select.id, moved.into_iter().map(cut).collect());
        Ok(SeriesSet { series: stays })
    }

    fn visit(&self, select: &Select, visit: Visitor<'_>) -> Result<(), EvalError> {
        let mut moved = Vec::new();
        self.source.visit(select, &mut |series| {
            if self.stays(select, series.labels) {
                return visit(series);
            }
            let raw = series.between(select.start_ms, select.end_ms).to_raw();
            self.held.borrow_mut().push(self.budget.reserve(0, raw.heap_bytes() as u64)?);
            moved.push(Arc::new(raw));
            Ok(())
        })?;
        self.moved.borrow_mut().insert(select.id, moved);
        Ok(())
    }
}

impl Fragment {
    /// For each read the generations that decide whether its series stay: those that any selector looks at whose series meet its own.
    fn generations_of_reads(&self, residence: &Residence) -> Vec<Range<usize>> {
        let mut together: Vec<BTreeSet<SelectId>> = Vec::new();
        for export in &self.exports {
            let mut reads = self.reads_of(*export);
            // What is read for several exports at once brings these together too.
            let (meeting, apart) = together.into_iter().partition(|other: &BTreeSet<SelectId>| !other.is_disjoint(&reads));
            together = apart;
            meeting.into_iter().for_each(|mut other: BTreeSet<SelectId>| reads.append(&mut other));
            together.push(reads);
        }
        let mut generations = vec![0..0; self.selects().len()];
        for reads in &together {
            let span = |id: &SelectId| residence.met((self.plan.select(*id).start_ms, self.plan.select(*id).end_ms));
            let hull = reads.iter().map(span).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or_default();
            reads.iter().for_each(|id| generations[id.0 as usize] = hull.clone());
        }
        generations
    }

    /// As [`Fragment::execute`], of the series that stay; of those that moved the samples are sent.
    ///
    /// # Errors
    /// Those of `send` alone.
    pub fn execute_resident(
        &self,
        source: &dyn SeriesSource,
        residence: &Residence,
        budget: &Budget,
        send: Send<'_>,
    ) -> Result<(), EvalError> {
        let generations = self.generations_of_reads(residence);
        let resident = Resident { source, residence, generations, budget, moved: RefCell::default(), held: RefCell::default() };
        let mut last = None;
        self.execute(&resident, budget, &mut |frame| {
            if frame.is_last() {
                last = Some(frame);
                return Ok(());
            }
            send(frame)
        })?;
        let moved = resident.moved.take();
        for (select, series) in moved {
            send_samples(select, series, send)?;
        }
        last.map_or(Ok(()), send)
    }
}

/// Sends moved series in pieces of a size that a message takes.
fn send_samples(select: SelectId, series: Vec<Arc<RawSeries>>, send: Send<'_>) -> Result<(), EvalError> {
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for one in series {
        bytes += one.heap_bytes();
        piece.push(one);
        if bytes >= FRAME_BYTES {
            send(Frame(Piece::Moved { select, series: std::mem::take(&mut piece) }))?;
            bytes = 0;
        }
    }
    if piece.is_empty() { Ok(()) } else { send(Frame(Piece::Moved { select, series: piece })) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::QueryParams;
    use crate::plan::fragment::Distributed;
    use crate::source::MemorySource;

    const MINUTE_MS: i64 = 60_000;
    const KEY: u64 = 7;

    /// One shard until the sixtieth minute, two from then on.
    fn generations() -> [Generation; 2] {
        let generation = |generation, from_ms, shards: &[u64]| {
            let shards = shards.iter().copied().map(ShardId).collect();
            Generation { generation, rev: generation, from_ms, shards }
        };
        [generation(1, i64::MIN, &[0]), generation(2, 60 * MINUTE_MS, &[0, 1])]
    }

    fn labels(i: usize) -> Labels {
        Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())])
    }

    /// Whether a series is on another shard in the second generation.
    fn moves(labels: &Labels) -> bool {
        jump_hash(placement_hash(labels, KEY), 2) == 1
    }

    /// What both shards hold of forty series with a sample every thirty seconds for two hours.
    fn shards() -> [MemorySource; 2] {
        let held = |shard: u32| {
            let series = (0..40).map(labels).map(|labels| {
                let of_second = jump_hash(placement_hash(&labels, KEY), 2);
                let is_here = |t: &i64| if *t < 60 * MINUTE_MS { shard == 0 } else { shard == of_second };
                let times: Vec<i64> = (0..240).map(|k| k * MINUTE_MS / 2).filter(is_here).collect();
                let values = times.iter().map(|t| *t as f64).collect();
                RawSeries::floats(labels, times, values)
            });
            MemorySource::new(series.collect())
        };
        [held(0), held(1)]
    }

    /// A run of steps, and the minutes of the first and the last sample that was shipped for it.
    type Shipped = (Range<usize>, Option<(i64, i64)>);

    /// The runs of a query over two hours.
    fn shipped(query: &str) -> Vec<Shipped> {
        let expr = crate::parse(query).expect(query);
        let params = QueryParams::range(0, 120 * MINUTE_MS, MINUTE_MS);
        let (list, shards) = (generations(), shards());
        let runs = Plan::new(&expr, params).expect(query).runs(&expr, &list).expect(query);
        let of_run = |run: Range<usize>| {
            let distributed = Distributed::new(Plan::of_steps(&expr, params, run.clone()).expect(query));
            let (after_ms, to_ms) = distributed.fragment().time_range().expect(query);
            let Some(residence) = Residence::between(&list, KEY, after_ms, to_ms) else { return (run, None) };
            let mut times = BTreeSet::new();
            for shard in &shards {
                let mut take = |frame: Frame| {
                    if let Piece::Moved { series, .. } = frame.0 {
                        assert!(series.iter().all(|one| moves(&one.labels)), "{query}: a series was shipped that is where it was");
                        times.extend(series.iter().flat_map(|one| one.timestamps.clone()));
                    }
                    Ok(())
                };
                distributed.fragment().execute_resident(shard, &residence, &Budget::default(), &mut take).expect("frames are taken");
            }
            let minutes = |t: &i64| t.div_euclid(MINUTE_MS);
            (run, times.first().map(minutes).zip(times.last().map(minutes)))
        };
        runs.into_iter().map(of_run).collect()
    }

    #[test]
    fn c8_only_moved_series_are_shipped_and_only_for_steps_whose_windows_straddle() {
        assert!((0..40).any(|i| moves(&labels(i))) && !(0..40).all(|i| moves(&labels(i))));
        assert_eq!(shipped("sum(rate(m[2m]))"), [(0..60, None), (60..62, Some((58, 61))), (62..121, None)]);
        // Of the time that does not move the newest sample is enough.
        assert_eq!(shipped("m @ 1200 + m"), [(0..60, None), (60..65, Some((20, 64))), (65..121, Some((20, 119)))]);
        // Both sides come together here: where they look at different generations, so do the steps.
        let joined = [(0..60, None), (60..65, Some((45, 64))), (65..70, Some((50, 69))), (70..75, Some((55, 74))), (75..121, None)];
        assert_eq!(shipped("m - m offset 10m"), joined);
        // Here the sums do, and each selector stays within one generation for five minutes.
        let apart = [(0..60, None), (60..65, Some((55, 64))), (65..70, None), (70..75, Some((55, 64))), (75..121, None)];
        assert_eq!(shipped("sum(m) - sum(m offset 10m)"), apart);
        let subquery = [(0..60, None), (60..74, Some((46, 73))), (74..121, None)];
        assert_eq!(shipped("max_over_time(m[10m:1m])"), subquery);
    }

    #[test]
    fn steps_that_depend_on_each_other_are_one_run() {
        let (list, range) = (generations(), QueryParams::range(0, 120 * MINUTE_MS, MINUTE_MS));
        let runs = |query: &str, params| {
            let expr = crate::parse(query).expect(query);
            Plan::new(&expr, params).expect(query).runs(&expr, &list).expect(query).len()
        };
        assert_eq!(runs("m", range), 3);
        assert_eq!(runs("m", QueryParams { delayed_name_removal: true, ..range }), 1);
        assert_eq!(runs("rate({i=\"1\"}[5m])", range), 1, "whether names collide is judged over all steps");
        assert_eq!(runs("m", QueryParams::instant(61 * MINUTE_MS)), 1);
        assert_eq!(runs("m", QueryParams { end_ms: 50 * MINUTE_MS, ..range }), 1, "all of it is in one generation");
        assert_eq!(runs("time()", range), 1);
    }
}
