//! The runs that are missing, their evaluation, and how kept and evaluated runs make an answer.

use super::extent::Run;
use super::{Evaluated, Slice, Upstream, annotate};
use crate::query::changes::Versions;
use crate::query::engine::QueryError;
use crate::query::result::{Piece, QueryResult, ResultValue};
use futures::StreamExt;
use futures::stream;
use model::Timestamp;
use promql::Stats;
use promql::value::{Series, Value};
use std::sync::Arc;

/// Runs of one query that are evaluated at once.
const RUNS_AT_ONCE: usize = 4;

/// A run to be evaluated for a slice.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missing {
    pub(super) slice: usize,
    pub(super) run: Run,
}

/// A run that was evaluated; its series are shared by the answer and what is kept.
#[derive(Debug)]
pub(super) struct EvaluatedRun {
    pub(super) run: Run,
    pub(super) series: Arc<Vec<Series>>,
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
    pub(super) versions: Versions,
}

/// The runs of steps that nothing kept answers, in the order of time.
pub(super) fn missing(slices: &[Slice], step_ms: i64) -> Vec<Missing> {
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

pub(super) async fn evaluate<U: Upstream>(upstream: &U, missing: &[Missing]) -> Result<Vec<EvaluatedRun>, QueryError> {
    // By value: a closure over references of any lifetime would make the future of a whole request not `Send`.
    let runs: Vec<Run> = missing.iter().map(|missing| missing.run).collect();
    let mut running = stream::iter(runs).map(|run| evaluate_one(upstream, run)).buffered(RUNS_AT_ONCE);
    let mut evaluated = Vec::with_capacity(missing.len());
    while let Some(one) = running.next().await {
        evaluated.push(one?);
    }
    Ok(evaluated)
}

async fn evaluate_one<U: Upstream>(upstream: &U, run: Run) -> Result<EvaluatedRun, QueryError> {
    let Evaluated { output, versions } = upstream.evaluate(run.first_ms, run.last_ms).await?;
    let Value::Matrix(series) = output.value else { return Err(QueryError::Aborted) };
    Ok(EvaluatedRun { run, series: Arc::new(series), warnings: output.warnings, infos: output.infos, versions })
}

/// Puts kept and evaluated runs together; `None` if only an evaluation of the whole can tell its annotations.
pub(super) fn assemble(slices: &[Slice], missing: &[Missing], evaluated: &[EvaluatedRun]) -> Option<QueryResult> {
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut warnings, mut infos): (Vec<&[String]>, Vec<&[String]>) = (Vec::new(), Vec::new());
    for (slice, extent) in slices.iter().filter_map(|slice| Some((slice, slice.kept.as_ref()?))) {
        let (first_ms, last_ms) = (extent.run.first_ms.max(slice.run.first_ms), extent.run.last_ms.min(slice.run.last_ms));
        // A run that only touches the slice is kept so that it grows.
        if first_ms <= last_ms {
            pieces.push(Piece { series: Arc::clone(&extent.series), first_ms, last_ms });
            warnings.push(&extent.warnings);
            infos.push(&extent.infos);
        }
    }
    for one in evaluated {
        let Run { first_ms, last_ms } = one.run;
        pieces.push(Piece { series: Arc::clone(&one.series), first_ms, last_ms });
        warnings.push(&one.warnings);
        infos.push(&one.infos);
    }
    // One evaluation of everything says by itself what there is to say.
    let alone = missing.len() == 1 && pieces.len() == 1;
    let (warnings, infos) = match evaluated {
        [one] if alone => (one.warnings.clone(), one.infos.clone()),
        _ => (annotate::join(warnings)?, annotate::join(infos)?),
    };
    pieces.sort_by_key(|piece| piece.first_ms);
    Some(QueryResult { value: ResultValue::Pieces(pieces), warnings, infos, stats: Stats::default() })
}
