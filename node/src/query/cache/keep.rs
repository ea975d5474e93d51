//! What is kept of an answer, and how it grows.

use super::extent::{Extent, Run};
use super::pieces::EvaluatedRun;
use super::store::{Kept, Store};
use super::{Ask, Evaluated, ResultCache, Slice, Upstream, annotate, key};
use crate::query::changes::{Versions, earlier};
use crate::query::engine::QueryError;
use crate::query::result::{Piece, QueryResult, ResultValue, joined};
use promql::value::{QueryOutput, Series, Value};
use std::sync::Arc;

/// Points that may be copied on a reactor's thread.
const POINTS_INLINE: usize = 100_000;

impl ResultCache {
    /// Keeps the answer to a whole query, day by day.
    pub(super) async fn keep_first<U: Upstream>(
        &self,
        ask: &Ask,
        upstream: &U,
        slices: Vec<Slice>,
        evaluated: Evaluated,
    ) -> Result<QueryResult, QueryError> {
        let Evaluated { output: QueryOutput { value, warnings, infos, stats }, versions } = evaluated;
        let Value::Matrix(series) = value else {
            return Ok(QueryOutput { value, warnings, infos, stats }.into());
        };
        let (first_ms, last_ms) = (ask.params.start_ms, ask.params.end_ms);
        let whole = Piece { series: Arc::new(series), first_ms, last_ms };
        let result = QueryResult { value: ResultValue::Pieces(vec![whole.clone()]), warnings, infos, stats };
        let joinable = annotate::is_joinable(&result.warnings) && annotate::is_joinable(&result.infos);
        let annotated = !result.warnings.is_empty() || !result.infos.is_empty();
        match &*slices {
            _ if !joinable => {}
            [slice] => {
                let (warnings, infos) = (result.warnings.clone(), result.infos.clone());
                let extent = Extent { run: slice.run, series: whole.series, warnings, infos, versions };
                self.store.put(slice.key.clone(), Kept::Extent(Arc::new(extent)));
            }
            // What was said of the whole cannot be told apart: the next time each day is evaluated by itself.
            _ if annotated => self.store.put(key(ask, None), Kept::Cut),
            _ => {
                let store = Arc::clone(&self.store);
                let points = points(&whole.series);
                sized(upstream, points, move || keep_days(&store, slices, &whole, &versions)).await?;
            }
        }
        Ok(result)
    }

    /// Keeps an evaluated run together with what is kept of its day. `as_of` is what the kept extent was found true as of.
    pub(super) async fn keep<U: Upstream>(
        &self,
        upstream: &U,
        slice: &Slice,
        evaluated: EvaluatedRun,
        as_of: Option<&Versions>,
        step_ms: i64,
    ) -> Result<(), QueryError> {
        let EvaluatedRun { run, series, warnings, infos, versions } = evaluated;
        if !annotate::is_joinable(&warnings) || !annotate::is_joinable(&infos) {
            return Ok(());
        }
        let stored = match self.store.get(&slice.key) {
            Some(Kept::Extent(stored)) => Some(stored),
            Some(Kept::Whole | Kept::Cut) | None => None,
        };
        let new = Extent { run, series, warnings, infos, versions };
        let (kept, common) = match (stored, &slice.kept) {
            // Found true just now, as of these entries.
            (Some(stored), Some(kept)) if Arc::ptr_eq(&stored, kept) => (stored, as_of.map(|as_of| earlier(as_of, &new.versions))),
            (None, Some(kept)) => (Arc::clone(kept), as_of.map(|as_of| earlier(as_of, &new.versions))),
            // What another run of this query has left there, or another query.
            (Some(stored), _) => {
                let common = earlier(&stored.versions, &new.versions);
                (stored, Some(common))
            }
            (None, None) => {
                self.store.put(slice.key.clone(), Kept::Extent(Arc::new(new)));
                return Ok(());
            }
        };
        let common = common.unwrap_or_default();
        let points = points(&kept.series) + points(&new.series);
        let grown = sized(upstream, points, move || grown(&kept, new, step_ms, common)).await?;
        if let Some(extent) = grown {
            self.store.put(slice.key.clone(), Kept::Extent(Arc::new(extent)));
        }
        Ok(())
    }
}

fn points(series: &[Series]) -> usize {
    series.iter().map(|one| one.points.len() + one.histograms.len()).sum()
}

/// Runs work that copies so many points: elsewhere if they are many.
async fn sized<U: Upstream, T: Send + 'static>(
    upstream: &U,
    points: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, QueryError> {
    if points <= POINTS_INLINE { Ok(work()) } else { upstream.compute(work).await }
}

fn keep_days(store: &Store, slices: Vec<Slice>, whole: &Piece, versions: &Versions) {
    for Slice { key, run, .. } in slices {
        let part = Piece { first_ms: run.first_ms, last_ms: run.last_ms, ..whole.clone() };
        let series = Arc::new(joined(&[part]));
        let extent = Extent { run, series, warnings: Vec::new(), infos: Vec::new(), versions: versions.clone() };
        store.put(key, Kept::Extent(Arc::new(extent)));
    }
}

/// The extent that a new run and the kept one make together, if they touch; else the longer one, `None` if that is the kept one.
/// Both hold as of `common`.
fn grown(kept: &Extent, new: Extent, step_ms: i64, common: Versions) -> Option<Extent> {
    let (earlier, later) = if kept.run.first_ms <= new.run.first_ms { (kept, &new) } else { (&new, kept) };
    if earlier.run.last_ms + step_ms != later.run.first_ms {
        let length = |run: &Run| run.last_ms - run.first_ms;
        return (length(&new.run) > length(&kept.run)).then_some(new);
    }
    let annotations = (annotate::join([&*earlier.warnings, &*later.warnings]), annotate::join([&*earlier.infos, &*later.infos]));
    let (Some(warnings), Some(infos)) = annotations else { return Some(new) };
    let run = Run { first_ms: earlier.run.first_ms, last_ms: later.run.last_ms };
    let series = Arc::new(joined(&[earlier.piece(), later.piece()]));
    Some(Extent { run, series, warnings, infos, versions: common })
}
