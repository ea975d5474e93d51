//! No query may take more than its budget, and none may break the process.

use model::Labels;
use model::clock::ManualClock;
use promql::{Budget, EvalError, MemorySource, Plan, PlanError, QueryParams, RawSeries, Value, parse};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

fn source(series: usize, samples: i64) -> MemorySource {
    let one = |i: usize| {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]);
        RawSeries::floats(labels, (0..samples).map(|t| t * 15_000).collect(), (0..samples).map(|t| t as f64).collect())
    };
    MemorySource::new((0..series).map(one).collect())
}

fn evaluate(query: &str, params: QueryParams, budget: &Budget) -> Result<Value, EvalError> {
    crate::harness::evaluate(query, params, &source(50, 400), budget).map(|output| output.value)
}

#[test]
fn a_subquery_with_too_many_steps_is_refused_before_it_takes_memory() {
    for query in ["max_over_time(m[100y:1ms])", "sum_over_time(vector(1)[100y:1ms])", "absent_over_time(time()[100y:1ms])", "m[100y:1ms]"] {
        let query = query.replace("time()[", "vector(time())[");
        let answer = evaluate(&query, QueryParams::instant(6_000_000), &Budget::default());
        assert!(matches!(answer, Err(EvalError::TooManyBytes { .. })), "{query}: {answer:?}");
    }
}

#[test]
fn more_samples_than_the_budget_stop_the_query_with_prometheus_words() {
    let params = QueryParams::range(0, 5_000_000, 10_000);
    let answer = evaluate("sort(m)", params, &Budget::new(1_000, 1 << 30));
    assert_eq!(answer.unwrap_err().to_string(), "query processing would load too many samples into memory in query execution");
    assert!(evaluate("sum(m)", params, &Budget::new(1_000, 1 << 30)).is_ok(), "what is streamed is not held");
}

#[test]
fn times_at_the_ends_of_the_clock_neither_overflow_nor_take_memory() {
    for (start_ms, end_ms) in [(i64::MIN, i64::MIN + 10), (i64::MAX - 10, i64::MAX), (i64::MIN, i64::MAX)] {
        for query in ["m", "rate(m[5m])", "predict_linear(m[5m], 1) + time()", "max_over_time(m[1h:1m] offset 1d)", "m @ 0 offset -5m"] {
            let answer = evaluate(query, QueryParams::range(start_ms, end_ms, 1), &Budget::new(1 << 30, 1 << 24));
            assert!(matches!(answer, Ok(_) | Err(EvalError::TooManyBytes { .. })), "{query}: {answer:?}");
        }
    }
}

#[test]
fn a_query_past_its_deadline_stops() {
    let clock = Arc::new(ManualClock::new(0));
    clock.advance(Duration::from_secs(3));
    let budget = Budget::with_deadline(1 << 30, 1 << 30, clock, Duration::from_secs(2), Arc::new(AtomicBool::new(false)));
    let answer = evaluate("sum(m)", QueryParams::instant(100_000), &budget);
    assert_eq!(answer.unwrap_err().to_string(), "query timed out in expression evaluation");
}

#[test]
fn long_chains_of_operators_are_followed_to_a_limit() {
    let chain = |length: usize| format!("m{}", " + m".repeat(length));
    assert!(evaluate(&chain(400), QueryParams::instant(100_000), &Budget::default()).is_ok());
    let scalars = format!("1{}", " - 1".repeat(400));
    assert!(matches!(evaluate(&scalars, QueryParams::instant(0), &Budget::default()), Ok(Value::Scalar { value: -399.0, .. })));
    let refused = |query: &str| Plan::new(&parse(query).unwrap(), QueryParams::instant(0)).unwrap_err();
    assert_eq!(refused(&chain(4_000)), PlanError::TooDeep { depth_max: 500 });
    let nested = (0..60).fold("1".to_owned(), |inner, _| format!("({inner}{})", "+1".repeat(60)));
    assert_eq!(refused(&nested), PlanError::TooDeep { depth_max: 500 });
}

#[test]
fn a_range_query_must_be_a_vector_or_a_scalar() {
    let refused = |query: &str| Plan::new(&parse(query).unwrap(), QueryParams::range(0, 10, 1)).unwrap_err().to_string();
    assert_eq!(refused("m[5m]"), "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector");
    assert_eq!(refused("\"s\""), "invalid expression type \"string\" for range query, must be Scalar or instant Vector");
}

#[test]
fn reads_cover_lookback_offset_at_and_subquery_windows() {
    let reads = |query: &str, params: QueryParams| {
        let plan = Plan::new(&parse(query).unwrap(), params).unwrap();
        plan.fragments().iter().map(|s| (s.start_ms / 1000, s.end_ms / 1000)).collect::<Vec<_>>()
    };
    let range = QueryParams::range(1_000_000, 1_090_000, 60_000);
    assert_eq!(reads("m", range), [(700, 1_060)]);
    assert_eq!(reads("rate(m[10m] offset 1m)", range), [(340, 1_000)]);
    assert_eq!(reads("m @ 50", range), [(-250, 50)]);
    assert_eq!(reads("max_over_time(m[10m:1m])", range), [(420 - 300, 1_020)]);
    assert_eq!(reads("m / m offset 1d", range), [(700, 1_060), (-85_700, -85_340)]);
    assert_eq!(reads("rate(m[1m]) / rate(m[5m])", range), [(700, 1_060)]);
    assert_eq!(reads("1 + 1", range), []);
}
