//! Prometheus's own scripts through fragments and frames.

use crate::invariance::{agree, fingerprint, over_the_wire, placed};
use crate::promqltest::{SCRIPTS, script};
use promql::script::{Settings, run};
use promql::{Budget, Distributed, EvalError, MemorySource, Plan, QueryOutput, RawSeries, Select, SelectId, SeriesSource};
use std::cell::{Cell, RefCell};

fn all_series(source: &MemorySource) -> Vec<RawSeries> {
    let everything = Select { id: SelectId(0), matchers: Vec::new(), start_ms: i64::MIN, end_ms: i64::MAX };
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
