//! Results of range queries that cannot change any more, kept by day.
//!
//! A range query is cut at the boundaries of days (UTC); every step stays where it was. Of each day a run of steps is kept together
//! with the log entries of each shard that it includes. Before a kept run is used, all shards are asked behind a read barrier which
//! spans of time were written since: what was touched is evaluated again. So an answer is what it would be without the cache, also
//! after late, out-of-order and backfilled samples.
//!
//! ```text
//! range --days--> kept runs, still true --------------------+
//!                 missing runs --Upstream::evaluate--> keep -+--join--> answer
//! ```
//!
//! Not kept: results of queries whose last evaluation was quick, which asking all shards would only delay; what lies less than ten
//! minutes or the out-of-order window back; queries whose value depends on the bounds of the range (`eligible`); answers with errors.
//! If pieces carry annotations that only the whole can tell, the whole is evaluated.

mod annotate;
mod eligible;
mod extent;
mod store;
#[cfg(test)]
mod tests;

use crate::metrics;
use crate::query::changes::ShardChanges;
use crate::query::engine::QueryError;
use extent::{Extent, Run, Versions, earlier, first_change, join, versions};
use futures::StreamExt;
use futures::stream;
use model::Timestamp;
use promql::Stats;
use promql::ast::Expr;
use promql::plan::QueryParams;
use promql::value::{QueryOutput, Value};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use store::{Kept, Key, Store};
use tsdb::TimeRange;

/// Least age of what is kept, in milliseconds: what is younger is still being written.
pub const AGE_MS_MIN: i64 = 10 * 60_000;
const DAY_MS: i64 = 86_400_000;
/// Steps further apart leave too few in a day to be worth a piece.
const STEP_MS_MAX: i64 = 3_600_000;
/// Days of one query that are cut; a longer one is evaluated as a whole.
const SLICES_MAX: i64 = 32;
/// Pieces of one query that are evaluated at once.
const PIECES_AT_ONCE: usize = 4;

/// What the cache needs of the cluster.
pub trait Upstream: Sync {
    /// The ranges of time from which an evaluation of the steps between two times reads.
    ///
    /// # Errors
    /// The query cannot be planned.
    fn reads(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<Vec<TimeRange>, QueryError>;

    /// What was written into a range, of every shard that may hold samples of it.
    ///
    /// # Errors
    /// A shard did not answer.
    fn changes(&self, range: TimeRange) -> impl Future<Output = Result<Vec<ShardChanges>, QueryError>> + Send;

    /// Evaluates the steps between two times, after everything that [`Upstream::changes`] told of.
    ///
    /// # Errors
    /// See [`QueryError`].
    fn evaluate(&self, first_ms: Timestamp, last_ms: Timestamp) -> impl Future<Output = Result<QueryOutput, QueryError>> + Send;
}

/// A range query, as the cache sees it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Whose series.
    pub workspace: Arc<str>,
    /// The key minted with the workspace.
    pub placement_key: u64,
    /// Revision of the shard map that is read.
    pub map_revision: u64,
    /// The query as it was written.
    pub text: Arc<str>,
    /// When and how it is evaluated.
    pub params: QueryParams,
    /// What is read up to this time may be kept.
    pub settled_ms: Timestamp,
}

/// The results that are kept on a node.
#[derive(Debug)]
pub struct ResultCache {
    store: Store,
    time_min: Duration,
}

/// The part of a query on one day.
struct Slice {
    key: Key,
    run: Run,
    kept: Option<Arc<Extent>>,
}

/// A run to be evaluated for a slice.
struct Missing {
    slice: usize,
    run: Run,
}

/// A piece of the answer.
struct Piece {
    run: Run,
    output: QueryOutput,
}

impl ResultCache {
    /// A cache of at most `bytes_max`, 0 keeps nothing, for queries whose evaluation takes `time_min`.
    #[must_use]
    pub fn new(bytes_max: u64, time_min: Duration) -> Self {
        Self { store: Store::new(bytes_max), time_min }
    }

    /// Whether the query is known to take so long that its results are worth a round to all shards to find them still true.
    #[must_use]
    pub fn is_dear(&self, ask: &Ask) -> bool {
        self.time_min.is_zero() || self.store.get(&key(ask, None)).is_some()
    }

    /// Takes note of how long an evaluation of the whole query took.
    pub fn learn(&self, ask: &Ask, took: Duration) {
        if took >= self.time_min {
            self.store.put(key(ask, None), Kept::Dear);
        }
    }

    /// Whether a query can gain anything from the cache.
    #[must_use]
    pub fn takes(&self, expr: &Expr, params: &QueryParams) -> bool {
        !self.store.is_off() && params.step_ms > 0 && !params.delayed_name_removal && eligible::is_eligible(expr)
    }

    /// Answers a query that [`ResultCache::takes`].
    ///
    /// # Errors
    /// See [`QueryError`]; of several pieces the earliest one's.
    pub async fn answer<U: Upstream>(&self, ask: &Ask, upstream: &U) -> Result<QueryOutput, QueryError> {
        let QueryParams { start_ms, end_ms, step_ms, .. } = ask.params;
        let whole = Run { first_ms: start_ms, last_ms: end_ms - (end_ms - start_ms) % step_ms };
        if !self.is_worth_it(ask, upstream, whole)? {
            return upstream.evaluate(start_ms, end_ms).await;
        }
        let mut slices = self.slices(ask, whole);
        let range = self.range_to_ask(upstream, &slices)?;
        let changes = upstream.changes(range).await?;
        let as_of = versions(&changes);
        for slice in &mut slices {
            slice.kept = match slice.kept.take() {
                Some(extent) => self.still_true(upstream, &changes, slice, extent, step_ms)?,
                None => None,
            };
        }
        let missing = missing(&slices, step_ms);
        let pieces = evaluate(upstream, &missing).await?;
        let Some(output) = assemble(&slices, &missing, &pieces) else {
            self.store.put(Key { day: None, ..slices.swap_remove(0).key }, Kept::Whole);
            metrics::count_query_cache("whole", 1);
            return upstream.evaluate(start_ms, end_ms).await;
        };
        count(&slices, &missing);
        for (missing, piece) in missing.iter().zip(pieces) {
            self.keep(ask, upstream, &slices[missing.slice], piece, &as_of)?;
        }
        Ok(output)
    }

    /// Whether cutting the query costs less than it may save: neither does it look back so far that each piece would read most of what
    /// the others read, nor is it known to need evaluation of the whole.
    fn is_worth_it<U: Upstream>(&self, ask: &Ask, upstream: &U, whole: Run) -> Result<bool, QueryError> {
        if ask.params.step_ms > STEP_MS_MAX || whole.last_ms.saturating_sub(whole.first_ms) / DAY_MS >= SLICES_MAX {
            return Ok(false);
        }
        let first = upstream.reads(whole.first_ms, whole.first_ms)?;
        let looks_back = first.iter().map(|range| whole.first_ms.saturating_sub(range.after_ms)).max();
        if looks_back.is_none_or(|ms| ms > DAY_MS) {
            return Ok(false);
        }
        let known_whole = matches!(self.store.get(&key(ask, None)), Some(Kept::Whole));
        Ok(!known_whole)
    }

    fn slices(&self, ask: &Ask, whole: Run) -> Vec<Slice> {
        let step_ms = ask.params.step_ms;
        let mut slices = Vec::new();
        let mut first_ms = whole.first_ms;
        while first_ms <= whole.last_ms {
            let day = first_ms.div_euclid(DAY_MS);
            let day_end_ms = (day + 1) * DAY_MS - 1;
            let last_ms = whole.last_ms.min(day_end_ms - (day_end_ms - first_ms) % step_ms);
            let key = key(ask, Some(day));
            let kept = match self.store.get(&key) {
                Some(Kept::Extent(extent)) => Some(extent),
                Some(Kept::Whole | Kept::Dear) | None => None,
            };
            slices.push(Slice { key, run: Run { first_ms, last_ms }, kept });
            first_ms = last_ms + step_ms;
        }
        slices
    }

    /// Everything that the answer or a kept extent was read from.
    fn range_to_ask<U: Upstream>(&self, upstream: &U, slices: &[Slice]) -> Result<TimeRange, QueryError> {
        let mut hull: Option<TimeRange> = None;
        for slice in slices {
            let kept = slice.kept.as_ref().map(|extent| extent.run);
            for run in [Some(slice.run), kept].into_iter().flatten() {
                for range in upstream.reads(run.first_ms, run.last_ms)? {
                    let known = hull.get_or_insert(range);
                    known.after_ms = known.after_ms.min(range.after_ms);
                    known.to_ms = known.to_ms.max(range.to_ms);
                }
            }
        }
        Ok(hull.unwrap_or(TimeRange { after_ms: 0, to_ms: 0 }))
    }

    /// What is left of an extent after what was written since, and of use for its slice.
    fn still_true<U: Upstream>(
        &self,
        upstream: &U,
        changes: &[ShardChanges],
        slice: &Slice,
        extent: Arc<Extent>,
        step_ms: i64,
    ) -> Result<Option<Arc<Extent>>, QueryError> {
        let Run { first_ms, last_ms } = extent.run;
        let reads = upstream.reads(first_ms, last_ms)?;
        let mut extent = extent;
        if let Some(changed_ms) = first_change(changes, &reads, &extent.versions) {
            self.store.remove(&slice.key);
            // Steps that read nothing from there on. Annotations belong to the extent as a whole.
            let newest_read = reads.iter().map(|range| range.to_ms).max().unwrap_or(changed_ms);
            let cut_ms = last_ms.saturating_sub(newest_read.saturating_sub(changed_ms).saturating_add(1));
            let left = Run { first_ms, last_ms: cut_ms - (cut_ms - first_ms).rem_euclid(step_ms) };
            if extent.is_annotated() || left.last_ms < first_ms {
                return Ok(None);
            }
            let reads = upstream.reads(left.first_ms, left.last_ms)?;
            if first_change(changes, &reads, &extent.versions).is_some() {
                return Ok(None);
            }
            extent = Arc::new(Extent { run: left, series: extent.clipped(left), ..(*extent).clone() });
        }
        let touches = extent.run.first_ms <= slice.run.last_ms + step_ms && extent.run.last_ms >= slice.run.first_ms - step_ms;
        let tells = !extent.is_annotated() || slice.run.contains(&extent.run);
        Ok(Some(extent).filter(|_| touches && tells))
    }

    /// Keeps of an evaluated piece what cannot change any more, together with what is kept of its day.
    fn keep<U: Upstream>(&self, ask: &Ask, upstream: &U, slice: &Slice, piece: Piece, as_of: &Versions) -> Result<(), QueryError> {
        let Piece { run, output } = piece;
        let Value::Matrix(series) = output.value else { return Ok(()) };
        let reads = upstream.reads(run.first_ms, run.last_ms)?;
        let newest_read = reads.iter().map(|range| range.to_ms).max().unwrap_or(run.last_ms);
        let last_ms = run.last_ms.saturating_sub(newest_read.saturating_sub(ask.settled_ms).max(0));
        let settled = Run { first_ms: run.first_ms, last_ms: last_ms - (last_ms - run.first_ms).rem_euclid(ask.params.step_ms) };
        if settled.last_ms < settled.first_ms {
            return Ok(());
        }
        let reads = upstream.reads(settled.first_ms, settled.last_ms)?;
        let is_settled = reads.iter().all(|range| range.to_ms <= ask.settled_ms);
        let new = Extent { run, series, warnings: output.warnings, infos: output.infos, versions: as_of.clone() };
        let whole_or_silent = settled == run || !new.is_annotated();
        if !is_settled || !whole_or_silent || !annotate::is_joinable(&new.warnings) || !annotate::is_joinable(&new.infos) {
            return Ok(());
        }
        let new = if settled == run { new } else { Extent { run: settled, series: new.clipped(settled), ..new } };
        let extent = match (self.store.get(&slice.key), &slice.kept) {
            // Found true just now, so as of the same entries as the new run.
            (Some(Kept::Extent(stored)), Some(kept)) if Arc::ptr_eq(&stored, kept) => grown(&stored, new, ask.params.step_ms, as_of),
            (None, Some(kept)) => grown(kept, new, ask.params.step_ms, as_of),
            // What another piece of this query has left there, or another query.
            (Some(Kept::Extent(stored)), _) => {
                let common = earlier(&stored.versions, as_of);
                grown(&stored, new, ask.params.step_ms, &common)
            }
            (None | Some(Kept::Whole | Kept::Dear), _) => Some(new),
        };
        if let Some(extent) = extent {
            self.store.put(slice.key.clone(), Kept::Extent(Arc::new(extent)));
        }
        Ok(())
    }
}

/// The extent that a new run and the kept one make together, if they touch; else the longer one, `None` if that is the kept one.
/// Both hold as of `as_of`.
fn grown(kept: &Extent, new: Extent, step_ms: i64, as_of: &Versions) -> Option<Extent> {
    let (earlier, later) = if kept.run.first_ms <= new.run.first_ms { (kept, &new) } else { (&new, kept) };
    if earlier.run.last_ms + step_ms != later.run.first_ms {
        let length = |run: &Run| run.last_ms - run.first_ms;
        return (length(&new.run) > length(&kept.run)).then_some(new);
    }
    let annotations = (annotate::join([&*earlier.warnings, &*later.warnings]), annotate::join([&*earlier.infos, &*later.infos]));
    let (Some(warnings), Some(infos)) = annotations else { return Some(new) };
    Some(Extent {
        run: Run { first_ms: earlier.run.first_ms, last_ms: later.run.last_ms },
        series: join([earlier.series.clone(), later.series.clone()]),
        warnings,
        infos,
        versions: as_of.clone(),
    })
}

fn key(ask: &Ask, day: Option<i64>) -> Key {
    let params = &ask.params;
    Key {
        workspace: Arc::clone(&ask.workspace),
        placement_key: ask.placement_key,
        map_revision: ask.map_revision,
        text: Arc::clone(&ask.text),
        step_ms: params.step_ms,
        phase_ms: params.start_ms.rem_euclid(params.step_ms),
        lookback_ms: params.lookback_ms,
        subquery_step_ms: params.subquery_step_ms,
        day,
    }
}

/// The runs of steps that nothing kept answers, in the order of time.
fn missing(slices: &[Slice], step_ms: i64) -> Vec<Missing> {
    let mut missing = Vec::new();
    for (i, slice) in slices.iter().enumerate() {
        let Run { first_ms, last_ms } = slice.run;
        let mut add = |first_ms: Timestamp, last_ms: Timestamp| {
            if first_ms <= last_ms {
                missing.push(Missing { slice: i, run: Run { first_ms, last_ms } });
            }
        };
        match &slice.kept {
            None => add(first_ms, last_ms),
            Some(kept) => {
                add(first_ms, last_ms.min(kept.run.first_ms - step_ms));
                add(first_ms.max(kept.run.last_ms + step_ms), last_ms);
            }
        }
    }
    missing
}

async fn evaluate<U: Upstream>(upstream: &U, missing: &[Missing]) -> Result<Vec<Piece>, QueryError> {
    // By value: a closure over references of any lifetime would make the future of a whole request not `Send`.
    let runs: Vec<Run> = missing.iter().map(|missing| missing.run).collect();
    let mut running = stream::iter(runs).map(|run| evaluate_one(upstream, run)).buffered(PIECES_AT_ONCE);
    let mut pieces = Vec::with_capacity(missing.len());
    while let Some(piece) = running.next().await {
        pieces.push(piece?);
    }
    Ok(pieces)
}

async fn evaluate_one<U: Upstream>(upstream: &U, run: Run) -> Result<Piece, QueryError> {
    Ok(Piece { run, output: upstream.evaluate(run.first_ms, run.last_ms).await? })
}

/// Puts kept and evaluated pieces together; `None` if only an evaluation of the whole can tell its annotations.
fn assemble(slices: &[Slice], missing: &[Missing], pieces: &[Piece]) -> Option<QueryOutput> {
    let mut parts: Vec<(Timestamp, Vec<promql::Series>)> = Vec::new();
    let (mut warnings, mut infos): (Vec<&[String]>, Vec<&[String]>) = (Vec::new(), Vec::new());
    for extent in slices.iter().filter_map(|slice| Some((slice, slice.kept.as_ref()?))) {
        let (slice, extent) = extent;
        parts.push((extent.run.first_ms.max(slice.run.first_ms), extent.clipped(slice.run)));
        warnings.push(&extent.warnings);
        infos.push(&extent.infos);
    }
    let mut stats = Stats::default();
    for piece in pieces {
        let Value::Matrix(series) = &piece.output.value else { return None };
        parts.push((piece.run.first_ms, series.clone()));
        warnings.push(&piece.output.warnings);
        infos.push(&piece.output.infos);
        add_stats(&mut stats, &piece.output.stats);
    }
    // One evaluation of everything says by itself what there is to say.
    let alone = missing.len() == 1 && slices.iter().all(|slice| slice.kept.is_none());
    let (warnings, infos) = match pieces {
        [piece] if alone => (piece.output.warnings.clone(), piece.output.infos.clone()),
        _ => (annotate::join(warnings)?, annotate::join(infos)?),
    };
    parts.sort_by_key(|(first_ms, _)| *first_ms);
    let value = Value::Matrix(join(parts.into_iter().map(|(_, series)| series)));
    Some(QueryOutput { value, warnings, infos, stats })
}

fn add_stats(total: &mut Stats, piece: &Stats) {
    total.series_read += piece.series_read;
    total.samples_read += piece.samples_read;
    total.samples_queryable += piece.samples_queryable;
    total.samples_peak = total.samples_peak.max(piece.samples_peak);
    total.bytes_peak = total.bytes_peak.max(piece.bytes_peak);
}

fn count(slices: &[Slice], missing: &[Missing]) {
    let (mut hits, mut partial, mut misses) = (0, 0, 0);
    for (i, slice) in slices.iter().enumerate() {
        match (slice.kept.is_some(), missing.iter().any(|m| m.slice == i)) {
            (true, false) => hits += 1,
            (true, true) => partial += 1,
            (false, _) => misses += 1,
        }
    }
    metrics::count_query_cache("hit", hits);
    metrics::count_query_cache("partial", partial);
    metrics::count_query_cache("miss", misses);
}
