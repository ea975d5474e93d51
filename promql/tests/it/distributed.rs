//! Prometheus's own scripts through fragments and frames.

use crate::harness::{agree, fingerprint, over_the_wire, placed};
use crate::promqltest::{SCRIPTS, script};
use model::Labels;
use promql::script::{Settings, run};
use promql::{
    Budget, Distributed, EvalError, Gather, MemorySource, Plan, QueryOutput, QueryParams, RawSeries, Select, SelectId, SeriesSource, Steps,
    parse,
};
use std::cell::{Cell, RefCell};
use std::ops::Range;

fn all_series(source: &MemorySource) -> Vec<RawSeries> {
    let everything = Select { id: SelectId(0), matchers: Vec::new(), start_ms: i64::MIN, end_ms: i64::MAX, newest_only: false };
    source.select(&everything).expect("memory can be read").series.iter().map(|series| RawSeries::clone(series)).collect()
}

/// Runs every query of the scripts with all operators in one place, over one shard and over several that talk in bytes; all answer
/// alike, the several to the byte like the one.
fn compare(delayed_name_removal: bool) {
    let queries = Cell::new(0);
    let different = RefCell::new(Vec::new());
    let evaluate = |plan: &Plan, text: &str, source: &MemorySource, _: &Budget| -> Result<QueryOutput, EvalError> {
        queries.set(queries.get() + 1);
        let budget = Budget::default();
        let whole = fingerprint(Distributed::raw(plan.clone()).evaluate(text, &[source], &budget));
        let distributed = Distributed::new(plan.clone());
        let one = distributed.evaluate(text, &[source], &budget);
        let expected = fingerprint(one.clone());
        if !agree(&whole, &expected) {
            different.borrow_mut().push(format!("{text}: in one place {whole}\nover one shard {expected}"));
        }
        let series = all_series(source);
        for shards in [2, 3, 7] {
            let answer = fingerprint(over_the_wire(&distributed, text, &placed(&series, shards, 42), &budget));
            if answer != expected {
                different.borrow_mut().push(format!("{text}: over one shard {expected}\nover {shards} shards {answer}"));
            }
        }
        one
    };
    for name in SCRIPTS {
        run(&script(name), Settings { delayed_name_removal, evaluate: &evaluate, ..Settings::prometheus() }).expect(name);
    }
    let different = different.into_inner();
    assert!(queries.get() > 2_214, "{} queries", queries.get());
    assert!(different.is_empty(), "{} of {} queries:\n{}", different.len(), queries.get(), different.join("\n"));
}

/// The steps `from..to` of a query over one shard.
fn steps_of(text: &str, params: QueryParams, steps: Range<usize>, source: &MemorySource, budget: &Budget) -> Result<Steps, EvalError> {
    let plan = Plan::of_steps(&parse(text).expect(text), params, steps).expect(text);
    let distributed = Distributed::new(plan);
    let mut gather = Gather::new(&distributed, budget);
    let mut answer = Vec::new();
    distributed.fragment().execute(source, budget, &mut |frame| {
        answer.push(frame);
        Ok(())
    })?;
    gather.add(answer)?;
    gather.finish_steps(&distributed)
}

#[test]
fn a_query_that_does_not_fit_its_memory_fits_in_slices_of_time() {
    let one = |i: usize| {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", i.to_string().as_str())]);
        RawSeries::floats(labels, (0..400).map(|t| t * 60_000).collect(), (0..400).map(|t| t as f64 * 0.1).collect())
    };
    let source = MemorySource::new((0..200).map(one).collect());
    let (text, params) = ("max(sum by (i) (m))", QueryParams::range(0, 400 * 60_000, 6_000));
    let expected = steps_of(text, params, 0..4_001, &source, &Budget::default()).expect("enough room").output(text);
    let budget = Budget::new(1 << 30, 10 << 20);
    let refused = steps_of(text, params, 0..4_001, &source, &budget).map(|_| ());
    assert_eq!(refused, Err(EvalError::TooManyBytes { limit_bytes: 10 << 20 }));
    let slice = |start: usize| steps_of(text, params, start..start + 500, &source, &budget).expect("a slice fits");
    let sliced = (0..4_001).step_by(500).map(slice).reduce(|mut all, next| {
        all.append(next);
        all
    });
    let sliced = sliced.expect("there are steps").output(text);
    assert_eq!(fingerprint(Ok(sliced)), fingerprint(Ok(expected)));
    assert!(budget.peak().1 <= 20 << 20 && budget.reserve(0, 10 << 20).is_ok(), "all room is given back");
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
fn c15_prometheus_scripts_answer_alike_over_any_number_of_shards() {
    compare(true);
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
fn c15_prometheus_scripts_answer_alike_over_any_number_of_shards_when_names_are_dropped_at_once() {
    compare(false);
}
