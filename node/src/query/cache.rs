//! Results of range queries, kept by day.
//!
//! A range query is cut at the boundaries of days (UTC); every step stays where it was. Of each day a run of steps is kept together
//! with the log entries of each shard that it includes. Before a kept run is used, all shards are asked behind a read barrier which
//! spans of time were written since: what was touched is evaluated again. So an answer is what it would be without the cache, also
//! after late, out-of-order and backfilled samples, and nothing is too young to be kept: of what is still being written the steps
//! before the newest span stay.
//!
//! ```text
//! range --days--> kept runs, still true --------------------+
//!                 missing runs --Upstream::evaluate--> keep -+--> answer, which shares the kept runs
//! ```
//!
//! What no kept run helps is evaluated as a whole, without a round to all shards before: the shards tell with their answers which
//! entries these include. Not kept: results that were quick to evaluate; queries whose value depends on the bounds of the range
//! (`eligible`); answers with errors. If pieces carry annotations that only the whole can tell, the whole is evaluated.

mod annotate;
mod eligible;
mod extent;
mod keep;
mod pieces;
mod store;
#[cfg(test)]
mod tests;

use crate::metrics;
use crate::query::changes::{ShardChanges, Versions, first_change, hull, versions};
use crate::query::engine::QueryError;
use crate::query::result::QueryResult;
use extent::{Extent, Run};
use model::Timestamp;
use pieces::{Missing, assemble, evaluate, missing};
use promql::ast::Expr;
use promql::plan::QueryParams;
use promql::value::QueryOutput;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use store::{Kept, Key, Store};
use tokio::time::Instant;
use tsdb::TimeRange;

const DAY_MS: i64 = 86_400_000;
/// Steps further apart leave too few in a day to be worth a piece.
const STEP_MS_MAX: i64 = 3_600_000;
/// Days of one query that are cut; a longer one is evaluated as a whole.
const SLICES_MAX: i64 = 32;

/// What was evaluated.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The answer.
    pub output: QueryOutput,
    /// Entries of each shard that it is known to include.
    pub versions: Versions,
}

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
    fn evaluate(&self, first_ms: Timestamp, last_ms: Timestamp) -> impl Future<Output = Result<Evaluated, QueryError>> + Send;

    /// Runs work that is too long for a reactor's thread elsewhere.
    ///
    /// # Errors
    /// It was not done.
    fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = Result<T, QueryError>> + Send;
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
    /// How far before its first step it reads, in milliseconds.
    pub looks_back_ms: i64,
}

/// The results that are kept on a node.
#[derive(Debug)]
pub struct ResultCache {
    store: Arc<Store>,
    time_min: Duration,
}

/// The part of a query on one day.
#[derive(Debug)]
struct Slice {
    key: Key,
    run: Run,
    kept: Option<Arc<Extent>>,
}

impl ResultCache {
    /// A cache of at most `bytes_max`, 0 keeps nothing, for queries whose evaluation takes `time_min`.
    #[must_use]
    pub fn new(bytes_max: u64, time_min: Duration) -> Self {
        Self { store: Arc::new(Store::new(bytes_max)), time_min }
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
    pub async fn answer<U: Upstream>(&self, ask: &Ask, upstream: &U) -> Result<QueryResult, QueryError> {
        let QueryParams { start_ms, end_ms, step_ms, .. } = ask.params;
        let whole = Run { first_ms: start_ms, last_ms: end_ms - (end_ms - start_ms) % step_ms };
        let known = self.store.get(&key(ask, None));
        // Cutting must cost less than it may save: neither may there be too little in a piece, nor may each piece read most of what
        // the others read.
        let too_little = step_ms > STEP_MS_MAX || whole.last_ms.saturating_sub(whole.first_ms) / DAY_MS >= SLICES_MAX;
        if too_little || ask.looks_back_ms > DAY_MS || matches!(known, Some(Kept::Whole)) {
            return Ok(upstream.evaluate(start_ms, end_ms).await?.output.into());
        }
        let mut slices = self.slices(ask, whole);
        let as_of = if slices.iter().any(|slice| slice.kept.is_some()) {
            Some(self.validate(upstream, &mut slices, step_ms).await?)
        } else if matches!(known, Some(Kept::Cut)) {
            None
        } else {
            return self.first(ask, upstream, slices).await;
        };
        let missing = missing(&slices, step_ms);
        let evaluated = evaluate(upstream, &missing).await?;
        let Some(result) = assemble(&slices, &missing, &evaluated) else {
            self.store.put(key(ask, None), Kept::Whole);
            metrics::count_query_cache("whole", 1);
            return Ok(upstream.evaluate(start_ms, end_ms).await?.output.into());
        };
        count(&slices, &missing);
        for (missing, evaluated) in missing.iter().zip(evaluated) {
            self.keep(upstream, &slices[missing.slice], evaluated, as_of.as_ref(), step_ms).await?;
        }
        Ok(result)
    }

    /// Answers a query of which nothing is kept, and keeps the answer if it was not quick.
    async fn first<U: Upstream>(&self, ask: &Ask, upstream: &U, slices: Vec<Slice>) -> Result<QueryResult, QueryError> {
        let began = Instant::now();
        let evaluated = upstream.evaluate(ask.params.start_ms, ask.params.end_ms).await?;
        if began.elapsed() < self.time_min {
            return Ok(evaluated.output.into());
        }
        metrics::count_query_cache("miss", slices.len() as u64);
        self.keep_first(ask, upstream, slices, evaluated).await
    }

    fn slices(&self, ask: &Ask, whole: Run) -> Vec<Slice> {
        let step_ms = ask.params.step_ms;
        let mut slices = Vec::new();
        let mut first_ms = whole.first_ms;
        while first_ms <= whole.last_ms {
            let day = first_ms.div_euclid(DAY_MS);
            let day_end_ms = (day + 1) * DAY_MS - 1;
            let last_ms = whole.last_ms.min(day_end_ms - (day_end_ms - first_ms) % step_ms);
            let run = Run { first_ms, last_ms };
            let key = key(ask, Some(day));
            let kept = match self.store.get(&key) {
                Some(Kept::Extent(extent)) if extent.is_of_use(run, step_ms) => Some(extent),
                _ => None,
            };
            slices.push(Slice { key, run, kept });
            first_ms = last_ms + step_ms;
        }
        slices
    }

    /// Leaves of the kept extents what still holds; answers as of which entries.
    async fn validate<U: Upstream>(&self, upstream: &U, slices: &mut [Slice], step_ms: i64) -> Result<Versions, QueryError> {
        let mut reads = Vec::with_capacity(slices.len());
        for slice in slices.iter() {
            let run = slice.kept.as_ref().map(|extent| extent.run);
            reads.push(run.map(|run| upstream.reads(run.first_ms, run.last_ms)).transpose()?.unwrap_or_default());
        }
        let changes = upstream.changes(hull(reads.iter().flatten().copied())).await?;
        let as_of = versions(&changes);
        for (slice, reads) in slices.iter_mut().zip(reads) {
            let Some(extent) = slice.kept.take() else { continue };
            let Some(changed_ms) = first_change(&changes, &reads, &extent.versions) else {
                slice.kept = Some(extent);
                continue;
            };
            match shortened(upstream, &changes, &extent, &reads, changed_ms, step_ms)? {
                Some(run) => {
                    let left = Arc::new(Extent { run, versions: as_of.clone(), ..(*extent).clone() });
                    self.store.put(slice.key.clone(), Kept::Extent(Arc::clone(&left)));
                    slice.kept = Some(left).filter(|left| left.is_of_use(slice.run, step_ms));
                }
                None => self.store.remove(&slice.key),
            }
        }
        Ok(as_of)
    }
}

/// The steps of an extent that read nothing that was written at `changed_ms` or later, if there are any.
fn shortened<U: Upstream>(
    upstream: &U,
    changes: &[ShardChanges],
    extent: &Extent,
    reads: &[TimeRange],
    changed_ms: Timestamp,
    step_ms: i64,
) -> Result<Option<Run>, QueryError> {
    let Run { first_ms, last_ms } = extent.run;
    let newest_read = reads.iter().map(|range| range.to_ms).max().unwrap_or(changed_ms);
    let cut_ms = last_ms.saturating_sub(newest_read.saturating_sub(changed_ms).saturating_add(1));
    // Annotations belong to the extent as a whole.
    if extent.is_annotated() || cut_ms < first_ms {
        return Ok(None);
    }
    let left = Run { first_ms, last_ms: cut_ms - (cut_ms - first_ms) % step_ms };
    let reads = upstream.reads(left.first_ms, left.last_ms)?;
    Ok(first_change(changes, &reads, &extent.versions).is_none().then_some(left))
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
