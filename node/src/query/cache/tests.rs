use super::*;
use crate::query::engine::QueryError;
use model::{Labels, ShardId};
use parking_lot::Mutex;
use promql::plan::Plan;
use promql::source::{MemorySource, RawSeries};
use promql::{Budget, EvalError};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use tsdb::Changes;

const MINUTE: i64 = 60_000;
/// Noon of a day.
const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;

/// Shards with all their samples in memory, and a count of what was evaluated.
struct Model {
    text: String,
    params: QueryParams,
    state: Mutex<State>,
}

/// Metric, shard and samples of a late write.
type Late = (String, u64, Vec<(i64, f64)>);

#[derive(Default)]
struct State {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    shards: Vec<(u64, Changes)>,
    evaluated: Vec<(i64, i64)>,
    /// Written when the next evaluation begins: after the shards told their changes.
    late: Option<Late>,
    asked_changes: usize,
    /// How long an evaluation takes.
    takes: Duration,
}

impl Model {
    fn new(text: &str, params: QueryParams) -> Self {
        let state = State { shards: vec![(0, Changes::default()); 2], ..State::default() };
        Self { text: text.to_owned(), params, state: Mutex::new(state) }
    }

    fn write(&self, name: &str, i: u64, samples: &[(i64, f64)]) {
        let mut state = self.state.lock();
        let (applied, changes) = &mut state.shards[i as usize % 2];
        *applied += 1;
        let times = samples.iter().map(|s| s.0);
        changes.note(times.clone().min().unwrap(), times.max().unwrap(), *applied);
        let labels = Labels::from_pairs([("__name__", name), ("i", &i.to_string())]);
        state.series.entry(labels).or_default().extend(samples.iter().copied());
    }

    /// Removes what a metric has in `first_ms..=last_ms`; every shard applies a delete.
    fn delete(&self, name: &str, first_ms: i64, last_ms: i64) {
        let mut state = self.state.lock();
        for (applied, changes) in &mut state.shards {
            *applied += 1;
            changes.note(first_ms, last_ms, *applied);
        }
        for (_, samples) in state.series.iter_mut().filter(|(labels, _)| labels.metric_name() == name) {
            samples.retain(|t, _| !(first_ms..=last_ms).contains(t));
        }
    }

    /// The replica is a new one: it knows nothing of the past.
    fn restart(&self, shard: usize) {
        let mut state = self.state.lock();
        let applied = state.shards[shard].0;
        state.shards[shard].1 = Changes::since(applied);
    }

    fn plan(&self, first_ms: i64, last_ms: i64) -> Plan {
        let expr = promql::parse(&self.text).unwrap();
        Plan::new(&expr, QueryParams { start_ms: first_ms, end_ms: last_ms, ..self.params }).unwrap()
    }

    fn run(&self, first_ms: i64, last_ms: i64) -> Result<QueryOutput, EvalError> {
        let raw = self
            .state
            .lock()
            .series
            .iter()
            .map(|(labels, samples)| {
                RawSeries::floats(labels.clone(), samples.keys().copied().collect(), samples.values().copied().collect())
            })
            .collect();
        self.plan(first_ms, last_ms).evaluate(&self.text, &MemorySource::new(raw), &Budget::default())
    }

    fn ask(&self, start_ms: i64, end_ms: i64) -> Ask {
        let oldest_read = self.plan(start_ms, end_ms).fragments().iter().map(|select| select.start_ms).min();
        Ask {
            workspace: "w".into(),
            placement_key: 1,
            map_revision: 1,
            text: self.text.as_str().into(),
            params: QueryParams { start_ms, end_ms, ..self.params },
            looks_back_ms: oldest_read.map_or(i64::MAX, |oldest_ms| start_ms - oldest_ms),
        }
    }

    fn evaluated(&self) -> Vec<(i64, i64)> {
        std::mem::take(&mut self.state.lock().evaluated)
    }
}

impl Upstream for Model {
    fn reads(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<Vec<TimeRange>, QueryError> {
        Ok(self.plan(first_ms, last_ms).fragments().iter().map(|s| TimeRange { after_ms: s.start_ms, to_ms: s.end_ms }).collect())
    }

    async fn changes(&self, range: TimeRange) -> Result<Vec<ShardChanges>, QueryError> {
        let mut state = self.state.lock();
        state.asked_changes += 1;
        let of_shard = |(i, (applied, changes)): (usize, &(u64, Changes))| ShardChanges {
            shard: ShardId(i as u64),
            applied: *applied,
            changes: changes.within(range),
        };
        Ok(state.shards.iter().enumerate().map(of_shard).collect())
    }

    async fn evaluate(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<Evaluated, QueryError> {
        let (late, takes) = {
            let mut state = self.state.lock();
            state.evaluated.push((first_ms, last_ms));
            (state.late.take(), state.takes)
        };
        if let Some((name, i, samples)) = late {
            self.write(&name, i, &samples);
        }
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let versions = self.state.lock().shards.iter().enumerate().map(|(i, (applied, _))| (ShardId(i as u64), *applied)).collect();
        Ok(Evaluated { output: self.run(first_ms, last_ms)?, versions })
    }

    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, QueryError> {
        Ok(work())
    }
}

fn params(step_ms: i64) -> QueryParams {
    QueryParams::range(0, 0, step_ms)
}

fn shown(output: Result<QueryOutput, String>) -> String {
    output.map_or_else(|e| e, |o| format!("{:?} {:?} {:?}", o.value, o.warnings, o.infos))
}

async fn answer(cache: &ResultCache, model: &Model, start_ms: i64, end_ms: i64) -> Result<QueryOutput, String> {
    cache.answer(&model.ask(start_ms, end_ms), model).await.map(QueryResult::into_output).map_err(|e| e.to_string())
}

async fn check(cache: &ResultCache, model: &Model, start_ms: i64, end_ms: i64) {
    let cached = answer(cache, model, start_ms, end_ms).await;
    let whole = model.run(start_ms, end_ms).map_err(|e| e.to_string());
    assert_eq!(shown(cached), shown(whole), "{} over {start_ms}..={end_ms}", model.text);
}

/// A sample a minute, each a little after the full minute, from 1,000 minutes before noon on.
fn counters(count: i64) -> Vec<(i64, f64)> {
    (0..count).map(|k| (NOON - 1_000 * MINUTE + k * MINUTE + 17, (k * 3) as f64)).collect()
}

#[tokio::test]
async fn a_dashboard_that_moves_on_evaluates_only_what_is_new() {
    let model = Model::new("sum(rate(m_total[5m]))", params(MINUTE));
    (0..4).for_each(|i| model.write("m_total", i, &counters(1_000)));
    let cache = ResultCache::new(1 << 20, Duration::ZERO);
    check(&cache, &model, NOON - 180 * MINUTE, NOON).await;
    assert_eq!(model.evaluated(), [(NOON - 180 * MINUTE, NOON)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON).await;
    assert_eq!(model.evaluated(), [], "the first answer is kept, the newest step of it too");
    check(&cache, &model, NOON - 175 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated(), [(NOON + MINUTE, NOON + 5 * MINUTE)]);
    // What is written next touches the steps from the newest span on.
    (0..4).for_each(|i| model.write("m_total", i, &[(NOON + 2 * MINUTE + 17, 1e6)]));
    check(&cache, &model, NOON - 175 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated(), [(NOON, NOON + 5 * MINUTE)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE).await;
    assert_eq!(model.evaluated(), []);
    // Another step, or other times of the same step, are other results.
    check(&cache, &model, NOON - 180 * MINUTE + 1, NOON - 20 * MINUTE).await;
    assert_eq!(model.evaluated().len(), 1);

    // A late sample into what is kept: the steps before it stay.
    model.write("m_total", 9, &[(NOON - 60 * MINUTE, 1.0)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE).await;
    assert_eq!(model.evaluated(), [(NOON - 60 * MINUTE, NOON - 20 * MINUTE)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE).await;
    assert_eq!(model.evaluated(), []);
    // A replica that knows nothing of the past vouches for nothing.
    model.restart(0);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE).await;
    assert_eq!(model.evaluated().len(), 0, "nothing was written after the entries that the result includes");
    model.write("m_total", 10, &[(NOON, 1.0)]);
    model.restart(0);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE).await;
    assert_eq!(model.evaluated().len(), 1);
}

#[tokio::test]
async fn an_answer_is_kept_if_it_took_as_long_as_the_threshold_and_else_costs_no_round() {
    let takes = Duration::from_millis(20);
    for (threshold, is_kept) in [(takes * 500, false), (takes, true), (takes / 2, true), (Duration::ZERO, true)] {
        let model = Model::new("sum(rate(m_total[5m]))", params(MINUTE));
        model.write("m_total", 0, &counters(1_000));
        model.state.lock().takes = takes;
        let cache = ResultCache::new(1 << 20, threshold);
        for round in 0..3 {
            check(&cache, &model, NOON - 180 * MINUTE, NOON).await;
            let evaluated = model.evaluated().len();
            assert_eq!(evaluated, usize::from(round == 0 || !is_kept), "{threshold:?}, round {round}");
        }
        assert_eq!(model.state.lock().asked_changes, if is_kept { 2 } else { 0 }, "{threshold:?}");
        assert_eq!(cache.store.bytes() > 0, is_kept);
    }
}

#[tokio::test]
async fn what_is_written_while_a_query_is_evaluated_is_seen_by_the_next() {
    let model = Model::new("sum(rate(m_total[5m]))", params(MINUTE));
    (0..4).for_each(|i| model.write("m_total", i, &counters(1_000)));
    let cache = ResultCache::new(1 << 20, Duration::ZERO);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 10 * MINUTE).await;
    // It falls into what was found true, after that.
    model.state.lock().late = Some(("m_total".to_owned(), 7, vec![(NOON - 60 * MINUTE, 1.0), (NOON - 58 * MINUTE, 1e6)]));
    answer(&cache, &model, NOON - 180 * MINUTE, NOON).await.unwrap();
    check(&cache, &model, NOON - 180 * MINUTE, NOON).await;
    model.delete("m_total", NOON - 90 * MINUTE, NOON - 80 * MINUTE);
    check(&cache, &model, NOON - 180 * MINUTE, NOON).await;
}

#[tokio::test]
async fn days_are_pieces_and_the_kept_bytes_are_bounded() {
    let model = Model::new("m", params(15 * MINUTE));
    for i in 0..3 {
        model.write("m", i, &(0..1_000).map(|k| (NOON - 3 * DAY_MS + k * 5 * MINUTE, k as f64)).collect::<Vec<_>>());
    }
    let cache = ResultCache::new(64 << 10, Duration::ZERO);
    check(&cache, &model, NOON - 3 * DAY_MS + 7, NOON).await;
    assert_eq!(model.evaluated().len(), 1, "of which nothing is kept is evaluated as a whole");
    check(&cache, &model, NOON - 3 * DAY_MS + 7, NOON).await;
    assert_eq!(model.evaluated(), []);
    let late = NOON - 2 * DAY_MS + 3 * MINUTE;
    model.write("m", 0, &[(late, 5.0)]);
    check(&cache, &model, NOON - 3 * DAY_MS + 7, NOON).await;
    let evaluated = model.evaluated();
    assert_eq!(evaluated.len(), 1, "the other days stay");
    assert!(evaluated[0].1 < late + DAY_MS && evaluated[0].0 > late - DAY_MS, "{evaluated:?}");
    check(&cache, &model, NOON - 2 * DAY_MS + 7, NOON - DAY_MS).await;
    assert_eq!(model.evaluated(), []);
    for phase in 0..50 {
        check(&cache, &model, NOON - 2 * DAY_MS + phase, NOON - DAY_MS).await;
        assert!(cache.store.bytes() <= 64 << 10);
    }
}

#[tokio::test]
async fn what_was_said_of_several_days_is_told_by_day_from_the_second_time_on() {
    // Its name is no counter's: an info.
    let model = Model::new("rate(m[1h])", params(15 * MINUTE));
    model.write("m", 0, &(0..600).map(|k| (NOON - 2 * DAY_MS + k * 5 * MINUTE, k as f64)).collect::<Vec<_>>());
    let cache = ResultCache::new(1 << 20, Duration::ZERO);
    for pieces in [1, 3, 0] {
        check(&cache, &model, NOON - 2 * DAY_MS, NOON).await;
        assert_eq!(model.evaluated().len(), pieces);
    }
}

#[test]
fn what_looks_back_further_than_a_day_is_not_cut() {
    let model = Model::new("max_over_time(m[2d])", params(15 * MINUTE));
    model.write("m", 0, &[(NOON, 1.0)]);
    let cache = ResultCache::new(1 << 20, Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(check(&cache, &model, NOON - DAY_MS, NOON + DAY_MS));
    assert_eq!((model.evaluated(), cache.store.bytes()), (vec![(NOON - DAY_MS, NOON + DAY_MS)], 0));
}

#[derive(Clone, Debug)]
enum Event {
    Write {
        name: bool,
        i: u64,
        back: i64,
        count: i64,
        value: f64,
    },
    /// Into the last minutes, as a scrape does.
    Scrape {
        name: bool,
        value: f64,
    },
    Delete {
        name: bool,
        back: i64,
        length: i64,
    },
    Query {
        from: i64,
        length: i64,
        phase: i64,
    },
    /// A query up to now, and the same again.
    Newest {
        length: i64,
    },
    /// A write comes while the query is evaluated.
    Raced {
        i: u64,
        back: i64,
        length: i64,
    },
    Wait {
        minutes: i64,
    },
    Restart {
        shard: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (any::<bool>(), 0u64..4, 0i64..3_000, 1i64..80, -5.0f64..5.0)
            .prop_map(|(name, i, back, count, value)| Event::Write { name, i, back, count, value }),
        6 => (0i64..3_000, 0i64..2_000, 0i64..2).prop_map(|(from, length, phase)| Event::Query { from, length, phase }),
        4 => (any::<bool>(), -5.0f64..5.0).prop_map(|(name, value)| Event::Scrape { name, value }),
        1 => (any::<bool>(), 0i64..3_000, 0i64..60).prop_map(|(name, back, length)| Event::Delete { name, back, length }),
        4 => (0i64..400).prop_map(|length| Event::Newest { length }),
        1 => (0u64..4, 0i64..400, 0i64..600).prop_map(|(i, back, length)| Event::Raced { i, back, length }),
        2 => (1i64..90).prop_map(|minutes| Event::Wait { minutes }),
        1 => (0usize..2).prop_map(|shard| Event::Restart { shard }),
    ]
}

const TEXTS: [&str; 12] = [
    "a",
    "sum by (i) (rate(a[7m]))",
    "rate(b[10m])",
    "a - on (i) group_right () b",
    "a or b",
    "topk(1, a)",
    "avg_over_time(sum(a)[30m:5m] offset 20m)",
    "a offset -30m",
    "a @ 1728040000",
    "quantile(2, a)",
    "absent(a{i=\"3\"})",
    "{__name__=~\"a|b\"} > 1",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is written and asked in between, an answer is what it would be without a cache.
    #[test]
    fn a_cached_answer_is_never_another_one(
        text in 0usize..TEXTS.len(),
        bytes in prop_oneof![Just(1u64 << 14), Just(1 << 22)],
        events in prop::collection::vec(event(), 1..40),
    ) {
        let model = Model::new(TEXTS[text], params(3 * MINUTE));
        let cache = ResultCache::new(bytes, Duration::ZERO);
        prop_assert!(cache.takes(&promql::parse(TEXTS[text]).unwrap(), &params(3 * MINUTE)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (mut now, mut written) = (NOON, BTreeSet::new());
        let grid = |ms: i64| ms.div_euclid(3 * MINUTE) * 3 * MINUTE;
        for event in events {
            match event {
                Event::Write { name, i, back, count, value } => {
                    let name = if name { "a" } else { "b" };
                    // No time of a series is ever written twice.
                    let samples: Vec<(i64, f64)> = (0..count)
                        .map(|k| (now - back * MINUTE + k * 61_000, value + k as f64))
                        .filter(|(t, _)| written.insert((name, i, *t)))
                        .collect();
                    if !samples.is_empty() {
                        model.write(name, i, &samples);
                    }
                }
                Event::Query { from, length, phase } => {
                    let start = grid(now - from * MINUTE) + phase * 1_000;
                    runtime.block_on(check(&cache, &model, start, start + length * MINUTE));
                }
                Event::Newest { length } => {
                    runtime.block_on(check(&cache, &model, grid(now - length * MINUTE), now));
                    runtime.block_on(check(&cache, &model, grid(now - length * MINUTE), now));
                }
                Event::Scrape { name, value } => {
                    now += 15_000;
                    let name = if name { "a" } else { "b" };
                    for i in (0..4).filter(|i| written.insert((name, *i, now))) {
                        model.write(name, i, &[(now, value + i as f64)]);
                    }
                }
                Event::Delete { name, back, length } => {
                    let first = now - back * MINUTE;
                    model.delete(if name { "a" } else { "b" }, first, first + length * MINUTE);
                }
                Event::Raced { i, back, length } => {
                    let at = now - back * MINUTE + 31;
                    let fresh = written.insert(("a", i, at));
                    model.state.lock().late = fresh.then(|| ("a".to_owned(), i, vec![(at, 7.0)]));
                    let start = grid(now - length * MINUTE);
                    // Whether it sees the write is not told; whoever asks afterwards does.
                    let _ = runtime.block_on(answer(&cache, &model, start, now));
                    let unwritten = model.state.lock().late.take();
                    if let Some((name, i, samples)) = unwritten {
                        model.write(&name, i, &samples);
                    }
                    runtime.block_on(check(&cache, &model, start, now));
                }
                Event::Wait { minutes } => now += minutes * MINUTE,
                Event::Restart { shard } => model.restart(shard),
            }
        }
    }
}
