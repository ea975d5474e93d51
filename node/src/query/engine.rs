//! Evaluates one plan: gather its leaf selects from the shards, evaluate here.

use super::admit::TooManyQueries;
use super::fragment_service::{Found, ReadError, ReadKind, ReadSpec};
use super::scatter::scatter;
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use futures::future::try_join_all;
use promql::ParseErrors;
use promql::budget::{BYTES_MAX_DEFAULT, Budget};
use promql::error::{EvalError, PlanError};
use promql::plan::Plan;
use promql::source::{GatheredSource, RawSeries, SelectId};
use promql::value::QueryOutput;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
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
    /// The query was cancelled before it had a place.
    #[error("query was canceled in query queue")]
    QueueCancelled,
    /// The evaluation ended without a result: a bug or the node's end.
    #[error("query evaluation was aborted")]
    Aborted,
}

/// One evaluation.
#[derive(Debug)]
pub struct Job {
    /// The text of the query, for the positions of annotations.
    pub text: Arc<str>,
    /// What to do.
    pub plan: Plan,
    /// When to give up.
    pub deadline: Instant,
    /// What it may hold; several evaluations of one query share it.
    pub budget: Budget,
    /// Stops reads and evaluation once it is true.
    pub cancelled: Arc<AtomicBool>,
}

/// The budget of a query that ends at `deadline` or when `cancelled` becomes true.
#[must_use]
pub fn budget(node: &Node, deadline: Instant, cancelled: &Arc<AtomicBool>) -> Budget {
    let samples_max = node.config.query.max_samples as u64;
    let monotonic_deadline = node.clock.monotonic() + deadline.saturating_duration_since(Instant::now());
    Budget::with_deadline(samples_max, BYTES_MAX_DEFAULT, Arc::clone(&node.clock), monotonic_deadline, Arc::clone(cancelled))
}

/// Reads what a plan needs and evaluates it.
///
/// Dropping the future does not stop what runs on other threads: set the job's flag.
///
/// # Errors
/// See [`QueryError`].
pub async fn evaluate(node: &Node, workspace: &WorkspaceRecord, job: Job) -> Result<QueryOutput, QueryError> {
    let Job { text, plan, deadline, budget, cancelled } = job;
    let samples_max = node.config.query.max_samples as u64;
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
        fetch(node, workspace, select.id, spec, deadline, &cancelled)
    });
    let gathered = try_join_all(fetches).await?;
    let evaluated = node.compute(move || {
        let source = GatheredSource::new(gathered.into_iter().flatten());
        plan.evaluate(&text, &source, &budget)
    });
    Ok(evaluated.await.map_err(|_| QueryError::Aborted)??)
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
