//! What happens to a query before and around its evaluation: it is parsed, entered into the register, given a place, and stopped
//! when it takes too long, is cancelled, or its caller goes away.

use super::active::{Active, QueryInfo};
use super::admit::{Place, TooManyQueries};
use super::ask::ShardStats;
use super::cache::{Ask, Evaluated, Upstream};
use super::changes::ShardChanges;
use super::engine::{self, Job, QueryError};
use super::fragment_service::{Found, ReadError, ReadKind, ReadSpec};
use super::result::QueryResult;
use super::scatter::scatter;
use crate::meta::state::WorkspaceRecord;
use crate::metrics;
use crate::node::Node;
use model::Timestamp;
use promql::ast::Expr;
use promql::plan::{Plan, QueryParams};
use promql::{Budget, Distributed, EvalError, ExplainedNode};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tsdb::TimeRange;

/// A query as it was asked.
#[derive(Clone, Debug)]
pub struct QueryRequest {
    /// Its text.
    pub text: Arc<str>,
    /// When and how it is evaluated.
    pub params: QueryParams,
    /// Time for all of it, waiting included.
    pub timeout: Duration,
    /// Who asks, for the register.
    pub client: String,
    /// Whether kept results may be used, and the result kept.
    pub cache: bool,
    /// Whether an answer without the samples of shards that cannot be read is better than none.
    pub partial_response: bool,
    /// Whether the plan is asked for.
    pub explain: bool,
}

/// Where the time of a query went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Waiting for a place.
    pub queued: Duration,
    /// Parsing and planning.
    pub prepared: Duration,
    /// Reading and evaluating.
    pub evaluated: Duration,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The value and what is told about it.
    pub result: QueryResult,
    /// Where the time went.
    pub timings: Timings,
    /// What each shard did, where the answer came from one evaluation.
    pub shards: Vec<ShardStats>,
    /// Whether samples of some shards are missing, which a warning tells.
    pub is_partial: bool,
    /// The plan, if it was asked for.
    pub plan: Option<ExplainedNode>,
}

/// Answers a query. Dropping the future stops all its work.
///
/// # Errors
/// See [`QueryError`].
pub async fn run(node: &Node, workspace: &WorkspaceRecord, request: QueryRequest) -> Result<Answer, QueryError> {
    let began = Instant::now();
    let expr = promql::parse_cached(&request.text, node.config.query.features.parser_options(), &node.patterns)?;
    let plan = Plan::new(&expr, request.params)?;
    let explained = request.explain.then(|| Distributed::new(plan.clone()).explain(&request.text));
    let prepared = began.elapsed();
    let deadline = began + request.timeout;
    let active = node.active.enter(info(node, workspace, &request));
    let _place = wait(node, workspace, &active, deadline).await?;
    let queued = began.elapsed() - prepared;
    active.runs();
    let budget = engine::budget(node, deadline, &active.handle().flag());
    let query = Query { node, workspace, request: &request, expr: &expr, deadline, active: &active, budget };
    let answer = tokio::select! {
        biased;
        () = active.handle().cancelled() => return Err(EvalError::Cancelled.into()),
        // What kept a read is told before, see `engine::patience`.
        () = tokio::time::sleep_until(deadline) => return Err(EvalError::TimedOut.into()),
        answer = query.answer(plan) => answer?,
    };
    metrics::observe_query(began.elapsed());
    let Answered { result, shards, is_partial } = answer;
    Ok(Answer {
        result,
        shards,
        is_partial,
        plan: explained,
        timings: Timings { queued, prepared, evaluated: began.elapsed() - prepared - queued },
    })
}

fn info(node: &Node, workspace: &WorkspaceRecord, request: &QueryRequest) -> QueryInfo {
    QueryInfo {
        workspace: workspace.id.clone(),
        text: request.text.to_string(),
        start_ms: request.params.start_ms,
        end_ms: request.params.end_ms,
        step_ms: request.params.step_ms,
        client: request.client.clone(),
        arrived_ms: node.clock.now_ms(),
    }
}

async fn wait(node: &Node, workspace: &WorkspaceRecord, active: &Active, deadline: Instant) -> Result<Place, QueryError> {
    let place = tokio::select! {
        biased;
        () = active.handle().cancelled() => Err(QueryError::QueueCancelled),
        place = tokio::time::timeout_at(deadline, node.slots.acquire(&workspace.id)) => match place {
            Ok(place) => place.map_err(QueryError::TooMany),
            Err(_) => Err(QueryError::QueueTimeout),
        },
    };
    match &place {
        Err(QueryError::TooMany(TooManyQueries::Workspace { .. })) => metrics::count_refused_query(&workspace.id, "workspace_queue_full"),
        Err(QueryError::TooMany(TooManyQueries::Node { .. })) => metrics::count_refused_query(&workspace.id, "node_queue_full"),
        Err(QueryError::QueueTimeout) => metrics::count_refused_query(&workspace.id, "queue_timeout"),
        _ => {}
    }
    place
}

/// What a query that had a place came to.
struct Answered {
    result: QueryResult,
    shards: Vec<ShardStats>,
    is_partial: bool,
}

impl From<engine::Answer> for Answered {
    fn from(answer: engine::Answer) -> Self {
        Self { result: answer.output.into(), shards: answer.shards, is_partial: answer.is_partial }
    }
}

/// A query that has a place.
struct Query<'a> {
    node: &'a Node,
    workspace: &'a WorkspaceRecord,
    request: &'a QueryRequest,
    expr: &'a Expr,
    deadline: Instant,
    active: &'a Active,
    /// Shared by all evaluations of the query.
    budget: Budget,
}

impl Query<'_> {
    async fn answer(&self, plan: Plan) -> Result<Answered, QueryError> {
        let params = self.request.params;
        let cache = self.request.cache && !self.request.partial_response;
        if !cache || !self.node.results.takes(self.expr, &params) {
            return Ok(self.evaluate_plan(plan).await?.into());
        }
        let workspace = self.workspace;
        let oldest_read = plan.fragments().iter().map(|select| select.start_ms).min();
        let ask = Ask {
            workspace: workspace.id.as_str().into(),
            placement_key: workspace.placement_key,
            map_revision: workspace.decided_rev,
            text: Arc::clone(&self.request.text),
            params,
            // What reads nothing is not worth keeping.
            looks_back_ms: oldest_read.map_or(i64::MAX, |oldest_ms| params.start_ms.saturating_sub(oldest_ms)),
        };
        match self.node.results.answer(&ask, self).await {
            // Evaluation waits for the newer map; what is kept belongs to the older one.
            Err(QueryError::Read(ReadError::StaleMap { .. })) => Ok(self.evaluate_plan(plan).await?.into()),
            result => Ok(Answered { result: result?, shards: Vec::new(), is_partial: false }),
        }
    }

    async fn evaluate_plan(&self, plan: Plan) -> Result<engine::Answer, QueryError> {
        let job = Job {
            text: &self.request.text,
            expr: self.expr,
            plan,
            deadline: self.deadline,
            budget: self.budget.clone(),
            cancelled: self.active.handle().flag(),
            partial_response: self.request.partial_response,
        };
        engine::evaluate(self.node, self.workspace, job).await
    }

    fn plan(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<Plan, QueryError> {
        Ok(Plan::new(self.expr, QueryParams { start_ms: first_ms, end_ms: last_ms, ..self.request.params })?)
    }
}

impl Upstream for Query<'_> {
    fn reads(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<Vec<TimeRange>, QueryError> {
        let plan = self.plan(first_ms, last_ms)?;
        Ok(plan.fragments().iter().map(|select| TimeRange { after_ms: select.start_ms, to_ms: select.end_ms }).collect())
    }

    async fn changes(&self, range: TimeRange) -> Result<Vec<ShardChanges>, QueryError> {
        let spec = ReadSpec::new(ReadKind::Changes, range.after_ms, range.to_ms);
        let found = scatter(self.node, self.workspace, spec, engine::patience(self.deadline), &self.active.handle().flag()).await?;
        let changes = found.into_iter().filter_map(|found| if let Found::Changes(changes) = found { Some(changes) } else { None });
        Ok(changes.collect())
    }

    async fn evaluate(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<Evaluated, QueryError> {
        let engine::Answer { output, versions, .. } = self.evaluate_plan(self.plan(first_ms, last_ms)?).await?;
        Ok(Evaluated { output, versions })
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, QueryError> {
        self.node.compute(work).await.map_err(|_| QueryError::Aborted)
    }
}
