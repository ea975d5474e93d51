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

#[derive(Default)]
struct State {
    series: BTreeMap<Labels, BTreeMap<i64, f64>>,
    shards: Vec<(u64, Changes)>,
    evaluated: Vec<(i64, i64)>,
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

    fn ask(&self, start_ms: i64, end_ms: i64, now_ms: i64) -> Ask {
        Ask {
            workspace: "w".into(),
            placement_key: 1,
            map_revision: 1,
            text: self.text.as_str().into(),
            params: QueryParams { start_ms, end_ms, ..self.params },
            settled_ms: now_ms - AGE_MS_MIN,
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
        let state = self.state.lock();
        let of_shard = |(i, (applied, changes)): (usize, &(u64, Changes))| ShardChanges {
            shard: ShardId(i as u64),
            applied: *applied,
            changes: changes.within(range),
        };
        Ok(state.shards.iter().enumerate().map(of_shard).collect())
    }

    async fn evaluate(&self, first_ms: Timestamp, last_ms: Timestamp) -> Result<QueryOutput, QueryError> {
        self.state.lock().evaluated.push((first_ms, last_ms));
        Ok(self.run(first_ms, last_ms)?)
    }
}

fn params(step_ms: i64) -> QueryParams {
    QueryParams::range(0, 0, step_ms)
}

fn shown(output: Result<QueryOutput, String>) -> String {
    output.map_or_else(|e| e, |o| format!("{:?} {:?} {:?}", o.value, o.warnings, o.infos))
}

async fn check(cache: &ResultCache, model: &Model, start_ms: i64, end_ms: i64, now_ms: i64) {
    let cached = cache.answer(&model.ask(start_ms, end_ms, now_ms), model).await.map_err(|e| e.to_string());
    let whole = model.run(start_ms, end_ms).map_err(|e| e.to_string());
    assert_eq!(shown(cached), shown(whole), "{} over {start_ms}..={end_ms} at {now_ms}", model.text);
}

#[tokio::test]
async fn a_dashboard_that_moves_on_evaluates_only_what_is_new() {
    let model = Model::new("sum(rate(m_total[5m]))", params(MINUTE));
    for i in 0..4 {
        model.write("m_total", i, &(0..2_000).map(|k| (NOON - 1_000 * MINUTE + k * MINUTE + 17, (k * 3) as f64)).collect::<Vec<_>>());
    }
    let cache = ResultCache::new(1 << 20, Duration::ZERO);
    check(&cache, &model, NOON - 180 * MINUTE, NOON, NOON).await;
    assert_eq!(model.evaluated(), [(NOON - 180 * MINUTE, NOON)]);
    check(&cache, &model, NOON - 175 * MINUTE, NOON + 5 * MINUTE, NOON + 5 * MINUTE).await;
    // Kept up to ten minutes before the first query.
    assert_eq!(model.evaluated(), [(NOON - 9 * MINUTE, NOON + 5 * MINUTE)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated(), []);
    // Another step, or other times of the same step, are other results.
    check(&cache, &model, NOON - 180 * MINUTE + 1, NOON - 20 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated().len(), 1);

    // A late sample into what is kept: the steps before it stay.
    model.write("m_total", 9, &[(NOON - 60 * MINUTE, 1.0)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated(), [(NOON - 60 * MINUTE, NOON - 20 * MINUTE)]);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated(), []);
    // A replica that knows nothing of the past vouches for nothing.
    model.restart(0);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated().len(), 0, "nothing was written after the entries that the result includes");
    model.write("m_total", 10, &[(NOON, 1.0)]);
    model.restart(0);
    check(&cache, &model, NOON - 180 * MINUTE, NOON - 20 * MINUTE, NOON + 5 * MINUTE).await;
    assert_eq!(model.evaluated().len(), 1);
}

#[tokio::test]
async fn days_are_pieces_and_the_kept_bytes_are_bounded() {
    let model = Model::new("m", params(15 * MINUTE));
    for i in 0..3 {
        model.write("m", i, &(0..1_000).map(|k| (NOON - 3 * DAY_MS + k * 5 * MINUTE, k as f64)).collect::<Vec<_>>());
    }
    let cache = ResultCache::new(64 << 10, Duration::ZERO);
    check(&cache, &model, NOON - 3 * DAY_MS + 7, NOON, NOON).await;
    let evaluated = model.evaluated();
    assert_eq!(evaluated.len(), 4);
    assert!(evaluated.windows(2).all(|w| w[0].1 + 15 * MINUTE == w[1].0), "{evaluated:?}");
    check(&cache, &model, NOON - 2 * DAY_MS + 7, NOON - DAY_MS, NOON).await;
    assert_eq!(model.evaluated(), []);
    for phase in 0..50 {
        check(&cache, &model, NOON - 2 * DAY_MS + phase, NOON - DAY_MS, NOON).await;
        assert!(cache.store.bytes() <= 64 << 10);
    }
}

#[test]
fn what_looks_back_further_than_a_day_is_not_cut() {
    let model = Model::new("max_over_time(m[2d])", params(15 * MINUTE));
    model.write("m", 0, &[(NOON, 1.0)]);
    let cache = ResultCache::new(1 << 20, Duration::ZERO);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(check(&cache, &model, NOON - DAY_MS, NOON + DAY_MS, NOON + 3 * DAY_MS));
    assert_eq!(model.evaluated(), [(NOON - DAY_MS, NOON + DAY_MS)]);
}

#[derive(Clone, Debug)]
enum Event {
    Write { name: bool, i: u64, back: i64, count: i64, value: f64 },
    Query { from: i64, length: i64, phase: i64 },
    Wait { minutes: i64 },
    Restart { shard: usize },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (any::<bool>(), 0u64..4, 0i64..3_000, 1i64..80, -5.0f64..5.0)
            .prop_map(|(name, i, back, count, value)| Event::Write { name, i, back, count, value }),
        6 => (0i64..3_000, 0i64..2_000, 0i64..2).prop_map(|(from, length, phase)| Event::Query { from, length, phase }),
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
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut now, mut written) = (NOON, BTreeSet::new());
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
                    let start = (now - from * MINUTE).div_euclid(3 * MINUTE) * 3 * MINUTE + phase * 1_000;
                    runtime.block_on(check(&cache, &model, start, start + length * MINUTE, now));
                }
                Event::Wait { minutes } => now += minutes * MINUTE,
                Event::Restart { shard } => model.restart(shard),
            }
        }
    }
}
