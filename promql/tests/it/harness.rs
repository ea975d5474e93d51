//! What the tests of rules share.

use model::hash::{jump_hash, placement_hash};
use promql::parse::{Options, parse_with};
use promql::script::{Settings, run};
use promql::{Budget, Distributed, EvalError, Fragment, Frame, Gather, MemorySource, Plan, QueryOutput, QueryParams, RawSeries};

/// Runs a script with names dropped at once, as the server does, and at the end of queries; both must answer as it expects.
pub(crate) fn check(script: &str) {
    check_eager(script);
    check_delayed(script);
}

/// Runs a script with names dropped by each operator.
pub(crate) fn check_eager(script: &str) {
    check_with(script, Settings { delayed_name_removal: false, ..Settings::prometheus() });
}

/// Runs a script with names dropped at the end of queries.
pub(crate) fn check_delayed(script: &str) {
    check_with(script, Settings::prometheus());
}

/// Runs a script; all of it must be answered as it expects.
pub(crate) fn check_with(script: &str, settings: Settings<'_>) {
    let report = run(script, settings).expect("a script");
    assert_eq!(report.failures, [], "wrong answers");
    assert!(report.evals > 0);
}

/// Evaluates one query.
pub(crate) fn evaluate(query: &str, params: QueryParams, source: &MemorySource, budget: &Budget) -> Result<QueryOutput, EvalError> {
    let expr = parse_with(query, Options::ALL).expect(query);
    Plan::new(&expr, params).expect(query).evaluate(query, source, budget)
}

/// The whole answer, floats in the digits that tell them apart.
pub(crate) fn fingerprint(answer: Result<QueryOutput, EvalError>) -> String {
    match answer {
        Err(error) => format!("error {error}"),
        Ok(QueryOutput { value, warnings, infos, stats }) => format!("{value:?} {warnings:?} {infos:?} {:?}", stats.samples_per_step),
    }
}

/// Whether two evaluations that look at the operators in different orders agree: of several errors each may tell another.
pub(crate) fn agree(a: &str, b: &str) -> bool {
    a == b || (a.starts_with("error ") && b.starts_with("error "))
}

/// The answer of shards that talk in bytes.
pub(crate) fn over_the_wire(
    distributed: &Distributed,
    text: &str,
    shards: &[MemorySource],
    budget: &Budget,
) -> Result<QueryOutput, EvalError> {
    let fragment = &Fragment::decode(&distributed.fragment().encode()).expect("a fragment reads what it wrote");
    let mut gather = Gather::new(distributed, budget);
    for shard in shards {
        let mut answer = Vec::new();
        fragment.execute(shard, budget, &mut |frame| {
            answer.push(Frame::decode(&frame.encode(), fragment, budget).expect("a frame reads what it wrote"));
            Ok(())
        })?;
        gather.add(answer)?;
    }
    gather.finish(distributed, text)
}

/// The series of each shard, placed as a cluster places them.
pub(crate) fn placed(series: &[RawSeries], shards: u32, key: u64) -> Vec<MemorySource> {
    let mut of_shards = vec![Vec::new(); shards as usize];
    for one in series {
        of_shards[jump_hash(placement_hash(&one.labels, key), shards) as usize].push(one.clone());
    }
    of_shards.into_iter().map(MemorySource::new).collect()
}
