//! What the tests of rules share.

use promql::parse::{Options, parse_with};
use promql::script::{Settings, run};
use promql::{Budget, EvalError, MemorySource, Plan, QueryOutput, QueryParams};

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
