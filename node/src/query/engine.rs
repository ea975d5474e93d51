//! Answers one query: plan, gather the leaf selects of the plan from the shards, evaluate here.

use super::CancelOnDrop;
use super::admit::TooManyQueries;
use super::fragment_service::{Found, ReadError, ReadKind, ReadSpec};
use super::scatter::scatter;
use crate::meta::state::WorkspaceRecord;
use crate::metrics;
use crate::node::Node;
use futures::future::try_join_all;
use promql::ParseErrors;
use promql::budget::{BYTES_MAX_DEFAULT, Budget};
use promql::error::{EvalError, PlanError};
use promql::plan::{Plan, QueryParams};
use promql::source::{GatheredSource, RawSeries, SelectId};
use promql::value::QueryOutput;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;
use tokio::time::Instant;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is no query.
    #[error(transparent)]
    Parse(#[from] ParseErrors),
    /// The query cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Evaluation stopped.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A shard did not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No place to run.
    #[error(transparent)]
    TooMany(#[from] TooManyQueries),
    /// The query waited longer than its deadline for a place.
    #[error("query timed out in query queue")]
    QueueTimeout,
    /// The evaluation ended without a result: a bug or the node's end.
    #[error("query evaluation was aborted")]
    Aborted,
}

/// Evaluates `text` within `timeout`.
///
/// Dropping the future cancels the evaluation.
///
/// # Errors
/// See [`QueryError`].
pub async fn run(
    node: &Node,
    workspace: &WorkspaceRecord,
    text: &str,
    params: QueryParams,
    timeout: Duration,
) -> Result<QueryOutput, QueryError> {
    let began = Instant::now();
    let deadline = began + timeout;
    let expr = promql::parse(text)?;
    let plan = Plan::new(&expr, params)?;
    let _slot = tokio::time::timeout_at(deadline, node.slots.acquire()).await.map_err(|_| QueryError::QueueTimeout)??;
    let cancel = CancelOnDrop::default();
    let samples_max = node.config.query.max_samples as u64;
    let monotonic_deadline = node.clock.monotonic() + deadline.saturating_duration_since(Instant::now());
    let budget =
        Budget::with_deadline(samples_max, BYTES_MAX_DEFAULT, Arc::clone(&node.clock), monotonic_deadline, Arc::clone(&cancel.cancelled));

    let gathered = Arc::<AtomicU64>::default();
    let fetches = plan.fragments().iter().map(|select| {
        let spec = ReadSpec {
            kind: ReadKind::Samples { samples_max },
            matcher_sets: vec![select.matchers.clone()],
            start_ms: select.start_ms,
            end_ms: select.end_ms,
            known_revision: 0,
            limit: None,
            gathered: Arc::clone(&gathered),
        };
        fetch(node, workspace, select.id, spec, deadline, &cancel.cancelled)
    });
    let gathered = try_join_all(fetches).await?;
    let text = text.to_owned();
    let output = node
        .compute(move || {
            let source = GatheredSource::new(gathered.into_iter().flatten());
            plan.evaluate(&text, &source, &budget)
        })
        .await
        .map_err(|_| QueryError::Aborted)??;
    metrics::observe_query(began.elapsed());
    Ok(output)
}

type Gathered = Vec<(SelectId, Vec<RawSeries>)>;

async fn fetch(
    node: &Node,
    workspace: &WorkspaceRecord,
    id: SelectId,
    spec: ReadSpec,
    deadline: Instant,
    cancelled: &Arc<AtomicBool>,
) -> Result<Gathered, ReadError> {
    let found = scatter(node, workspace, spec, deadline, cancelled).await?;
    let mut gathered: Gathered = vec![(id, Vec::new())];
    for part in found {
        if let Found::Samples(series) = part {
            gathered.push((id, series));
        }
    }
    Ok(gathered)
}
