//! Evaluates one plan: cut it, have the shards compute their shares, merge them, evaluate the rest here.

use super::admit::TooManyQueries;
use super::ask::{Question, ShardAnswer, ShardStats};
use super::changes::Versions;
use super::execute::{ExecuteSpec, FRAGMENT_BYTES_MAX};
use super::fragment_service::{Found, ReadError, ReadKind, ReadSpec};
use super::scatter::{scatter, shards_in_range};
use crate::meta::state::WorkspaceRecord;
use crate::node::Node;
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use model::ShardId;
use promql::ast::Expr;
use promql::budget::{BYTES_MAX_DEFAULT, Budget, Reservation};
use promql::error::{EvalError, PlanError};
use promql::plan::{Plan, QueryParams};
use promql::source::{GatheredSource, RawSeries, SelectId};
use promql::value::QueryOutput;
use promql::{Distributed, Frame, Gather, ParseErrors, Residence, Steps};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// Slices of time into which a query that needs too much memory is cut, at most.
const SLICES_MAX: usize = 64;
/// How long a shard may stay silent before a query that takes partial results goes on without it.
const PARTIAL_PATIENCE: Duration = Duration::from_secs(10);
/// How long before its end a query stops waiting for a shard, at most: that one is silent is told before the query's own time is up.
const SILENCE_TOLD: Duration = Duration::from_secs(1);

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
pub struct Job<'a> {
    /// The text of the query, for the positions of annotations.
    pub text: &'a str,
    /// The query.
    pub expr: &'a Expr,
    /// What to do.
    pub plan: Plan,
    /// When to give up.
    pub deadline: Instant,
    /// What it may hold; several evaluations of one query share it.
    pub budget: Budget,
    /// Stops reads and evaluation, here and at the shards, once it is true.
    pub cancelled: Arc<AtomicBool>,
    /// Whether an answer without the samples of shards that cannot be read is better than none. Not heeded where the query asks what
    /// is absent.
    pub partial_response: bool,
}

/// The answer to a query and how it came about.
#[derive(Debug)]
pub struct Answer {
    /// Value, warnings, infos.
    pub output: QueryOutput,
    /// What each shard did, once for each slice of time.
    pub shards: Vec<ShardStats>,
    /// Entries of each shard that it is known to include.
    pub versions: Versions,
    /// Whether samples of some shards are missing, which a warning tells.
    pub is_partial: bool,
}

/// Until when a query that ends at `deadline` waits for a shard.
#[must_use]
pub fn patience(deadline: Instant) -> Instant {
    deadline - (deadline.saturating_duration_since(Instant::now()) / 16).min(SILENCE_TOLD)
}

/// The budget of a query that ends at `deadline` or when `cancelled` becomes true.
#[must_use]
pub fn budget(node: &Node, deadline: Instant, cancelled: &Arc<AtomicBool>) -> Budget {
    let samples_max = node.config.query.max_samples as u64;
    let monotonic_deadline = node.clock.monotonic() + deadline.saturating_duration_since(Instant::now());
    Budget::with_deadline(samples_max, BYTES_MAX_DEFAULT, Arc::clone(&node.clock), monotonic_deadline, Arc::clone(cancelled))
}

/// Evaluates a query.
///
/// Dropping the future does not stop what runs on other threads: set the job's flag.
///
/// # Errors
/// See [`QueryError`].
pub async fn evaluate(node: &Node, workspace: &WorkspaceRecord, job: Job<'_>) -> Result<Answer, QueryError> {
    // A shard that is silent is no proof that a series is absent.
    let job = Job { partial_response: job.partial_response && !job.plan.tells_absence(), ..job };
    let mut run = Run {
        node,
        workspace: workspace.clone(),
        job: &job,
        shards: Vec::new(),
        versions: Versions::new(),
        missing: BTreeSet::new(),
        asked: BTreeSet::new(),
    };
    let plan = &job.plan;
    let mut slices = 1;
    let mut output = loop {
        match run.runs(slices).await {
            Err(QueryError::Eval(EvalError::TooManyBytes { .. })) if slices < SLICES_MAX.min(plan.steps()) && plan.can_be_sliced() => {
                slices *= 4;
            }
            Err(QueryError::Read(ReadError::StaleMap { shard })) if Instant::now() < job.deadline => run.refresh(shard).await?,
            // A node of another version does not know the operators: the samples are brought here.
            Err(QueryError::Read(ReadError::Unsupported { .. })) => break run.evaluate_samples(plan.clone()).await?,
            other => break other?.output(job.text),
        }
    };
    let is_partial = !run.missing.is_empty();
    output.warnings.extend(run.partial_warning());
    Ok(Answer { output, shards: run.shards, versions: run.versions, is_partial })
}

/// One query on its way.
struct Run<'a> {
    node: &'a Node,
    workspace: WorkspaceRecord,
    job: &'a Job<'a>,
    shards: Vec<ShardStats>,
    /// Entries of each shard that every part of the answer includes.
    versions: Versions,
    /// Shards that did not answer.
    missing: BTreeSet<ShardId>,
    asked: BTreeSet<ShardId>,
}

impl Run<'_> {
    /// Waits until this node knows a newer shard map, after a shard told that there is one.
    async fn refresh(&mut self, shard: ShardId) -> Result<(), QueryError> {
        self.begin_again();
        let newer = self.node.meta.newer_map(&self.workspace, self.job.deadline).await;
        self.workspace = newer.ok_or(ReadError::StaleMap { shard })?.record.clone();
        Ok(())
    }

    /// Evaluates all steps, one run of those that look at the same generations after the other, each in so many slices.
    async fn runs(&mut self, slices: usize) -> Result<Steps, QueryError> {
        self.begin_again();
        let list = self.workspace.generation_list().map_err(|_| QueryError::Aborted)?;
        let runs = self.job.plan.runs(self.job.expr, list.as_slice())?;
        if let ([_], 1) = (&*runs, slices) {
            return self.steps(self.job.plan.clone()).await;
        }
        let mut whole: Option<Steps> = None;
        for run in runs {
            let size = run.len().div_ceil(slices).max(1);
            for start in run.clone().step_by(size) {
                let slice = start..run.end.min(start + size);
                // What is there already takes room of its own.
                let held = whole.as_ref().map(|whole| self.job.budget.reserve(0, whole.heap_bytes())).transpose()?;
                let next = self.steps(Plan::of_steps(self.job.expr, *self.job.plan.params(), slice)?).await?;
                drop(held);
                match &mut whole {
                    Some(whole) => whole.append(next),
                    None => whole = Some(next),
                }
            }
        }
        whole.ok_or(QueryError::Aborted)
    }

    /// Evaluates all steps of `plan`.
    async fn steps(&mut self, plan: Plan) -> Result<Steps, QueryError> {
        let distributed = Arc::new(Distributed::new(plan));
        let mut gather = Gather::new(&distributed, &self.job.budget);
        let mut last = None;
        if let Some((after_ms, until_ms)) = distributed.fragment().time_range() {
            let shards = shards_in_range(&self.workspace, after_ms.saturating_add(1), until_ms);
            let question = self.question(&distributed, (after_ms, until_ms))?;
            let here = self.steps_here(&distributed, &question, &shards).await?;
            self.asked.extend(&shards);
            let first_attempt = match here {
                Here::Done(steps) => return Ok(steps),
                Here::Failed => 1,
                Here::Elsewhere => 0,
            };
            let node = self.node;
            let mut answers: FuturesUnordered<_> =
                shards.iter().map(|shard| async { (*shard, question.ask(node, *shard, first_attempt).await) }).collect();
            while let Some((shard, answer)) = answers.next().await {
                match answer {
                    Ok(answer) => {
                        // The answer before is merged while other shards still compute; merging is work too, so not on the reactor's threads.
                        if let Some(earlier) = last.replace(self.noted(answer)) {
                            gather = compute(node, move || add(&mut gather, earlier).map(|()| gather)).await??;
                        }
                    }
                    Err(ReadError::Unavailable { .. }) if self.job.partial_response => {
                        self.missing.insert(shard);
                    }
                    Err(ReadError::OverBudget(error)) => return Err(error.into()),
                    Err(error) => return Err(error.into()),
                }
            }
            drop(answers);
            self.shards.sort_by_key(|stats| stats.shard);
        }
        let finish = move || last.map_or(Ok(()), |last| add(&mut gather, last)).and_then(|()| gather.finish_steps(&distributed));
        Ok(compute(self.node, finish).await??)
    }

    /// Evaluates where the only shard is, on one thread: most work there is short, and going from thread to thread takes longer.
    async fn steps_here(
        &mut self,
        distributed: &Arc<Distributed>,
        question: &Question,
        shards: &BTreeSet<ShardId>,
    ) -> Result<Here, QueryError> {
        let mut shards = shards.iter();
        let (Some(only), None) = (shards.next(), shards.next()) else { return Ok(Here::Elsewhere) };
        let Some(local) = self.node.shards.serving(*only) else { return Ok(Here::Elsewhere) };
        let (mut gather, distributed) = (Gather::new(distributed, &self.job.budget), Arc::clone(distributed));
        let answer = question.ask_here(self.node, local, move |answer| {
            let ShardAnswer { frames, held, stats } = answer;
            let steps = add(&mut gather, (frames, held)).and_then(|()| gather.finish_steps(&distributed));
            (stats, steps)
        });
        match answer.await {
            Ok((stats, steps)) => {
                self.note(stats);
                Ok(Here::Done(steps?))
            }
            Err(ReadError::Unavailable { .. }) => Ok(Here::Failed),
            Err(ReadError::OverBudget(error)) => Err(error.into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps what a shard tells about its work.
    fn note(&mut self, stats: ShardStats) {
        let applied = stats.report.applied;
        self.versions.entry(stats.shard).and_modify(|known| *known = applied.min(*known)).or_insert(applied);
        self.shards.push(stats);
    }

    fn noted(&mut self, answer: ShardAnswer) -> Frames {
        let ShardAnswer { frames, held, stats } = answer;
        self.note(stats);
        (frames, held)
    }

    fn question(&self, distributed: &Distributed, (after_ms, until_ms): (i64, i64)) -> Result<Question, QueryError> {
        let list = self.workspace.generation_list().map_err(|_| QueryError::Aborted)?;
        let residence = Residence::between(list.as_slice(), self.workspace.placement_key, after_ms, until_ms);
        let fragment = distributed.fragment();
        let now = Instant::now();
        // What is there of a partial result must still be evaluated.
        let partial_patience = now + PARTIAL_PATIENCE.min(self.job.deadline.saturating_duration_since(now) / 2);
        let deadline = if self.job.partial_response { partial_patience } else { patience(self.job.deadline) };
        Ok(Question {
            workspace: self.workspace.id.clone(),
            encoded: OnceLock::new(),
            spec: ExecuteSpec {
                fragment: Arc::new(fragment.clone()),
                residence: residence.map(Arc::new),
                known_revision: self.workspace.decided_rev,
                samples_max: self.node.config.query.max_samples as u64,
                bytes_max: FRAGMENT_BYTES_MAX,
            },
            deadline,
            budget: self.job.budget.clone(),
            cancelled: Arc::clone(&self.job.cancelled),
        })
    }

    /// Forgets what shards did for an evaluation that came to nothing.
    fn begin_again(&mut self) {
        self.shards.clear();
        self.versions.clear();
    }

    /// Reads the samples of all selects and evaluates everything here.
    async fn evaluate_samples(&mut self, plan: Plan) -> Result<QueryOutput, QueryError> {
        self.begin_again();
        // How far the samples go is not told.
        self.versions.extend(shards_in_range(&self.workspace, i64::MIN, i64::MAX).into_iter().map(|shard| (shard, 0)));
        let gathered = Arc::<AtomicU64>::default();
        let fetches = plan.fragments().iter().map(|select| {
            let kind = ReadKind::Samples { samples_max: self.node.config.query.max_samples as u64 };
            let spec = ReadSpec {
                matcher_sets: vec![select.matchers.clone()],
                gathered: Arc::clone(&gathered),
                ..ReadSpec::new(kind, select.start_ms, select.end_ms)
            };
            self.fetch(select.id, spec)
        });
        let gathered = try_join_all(fetches).await?;
        let (budget, text) = (self.job.budget.clone(), self.job.text.to_owned());
        let source = GatheredSource::new(gathered.into_iter().flatten());
        Ok(compute(self.node, move || plan.evaluate(&text, &source, &budget)).await??)
    }

    async fn fetch(&self, id: SelectId, spec: ReadSpec) -> Result<Vec<(SelectId, Vec<RawSeries>)>, ReadError> {
        let found = scatter(self.node, &self.workspace, spec, patience(self.job.deadline), &self.job.cancelled).await?;
        let mut gathered = vec![(id, Vec::new())];
        for part in found {
            if let Found::Samples(series) = part {
                gathered.push((id, series));
            }
        }
        Ok(gathered)
    }

    /// What is missing, if anything is.
    fn partial_warning(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        let shards: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        let QueryParams { start_ms, end_ms, step_ms, .. } = *self.job.plan.params();
        let second = |ms: i64| format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000));
        let times =
            if step_ms == 0 { format!("at {}", second(start_ms)) } else { format!("from {} to {}", second(start_ms), second(end_ms)) };
        Some(format!("shards [{}] of {} unavailable: result is partial {times}", shards.join(","), self.asked.len()))
    }
}

/// The frames of a shard, and the room they take.
type Frames = (Vec<Frame>, Vec<Reservation>);

/// What came of an evaluation at the only shard.
enum Here {
    /// The value.
    Done(Steps),
    /// The replica of this node cannot be read now.
    Failed,
    /// There are more shards, or there is no replica here.
    Elsewhere,
}

fn add(gather: &mut Gather, (frames, held): Frames) -> Result<(), EvalError> {
    // From here on what is kept of the frames has room of its own.
    drop(held);
    gather.add(frames)
}

async fn compute<T: Send + 'static>(node: &Node, work: impl FnOnce() -> T + Send + 'static) -> Result<T, QueryError> {
    node.compute(work).await.map_err(|_| QueryError::Aborted)
}
