//! Prometheus's own scripts.

use std::collections::BTreeMap;

/// Evals of each script that must pass; all others need native histograms or grammar beyond the float language.
const PASSED_MIN: [(&str, usize); 21] = [
    ("aggregators", 125),
    ("at_modifier", 78),
    ("collision", 2),
    ("duration_expression", 8),
    ("extended_vectors", 30),
    ("fill-modifier", 1),
    ("functions", 323),
    ("histograms", 83),
    ("info", 0),
    ("limit", 1),
    ("literals", 25),
    ("name_label_dropping", 30),
    ("native_histograms", 3),
    ("operators", 142),
    ("range_queries", 16),
    ("selectors", 31),
    ("staleness", 17),
    ("start_timestamps", 0),
    ("subquery", 32),
    ("trig_functions", 19),
    ("type_and_unit", 58),
];

fn script(name: &str) -> String {
    #[allow(clippy::disallowed_methods)]
    let folder = std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts");
    std::fs::read_to_string(format!("{folder}/promqltest/{name}.test")).expect(name)
}

fn wrong_answers(name: &str, report: &promql::script::Report) -> Vec<String> {
    report.failures.iter().map(|f| format!("{name}:{}: {}: {}", f.line, f.query, f.detail)).collect()
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::print_stdout)]
fn prometheus_scripts_give_no_wrong_answer() {
    let (mut evals, mut passed, mut wrong) = (0, 0, Vec::new());
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    for (name, passed_min) in PASSED_MIN {
        let report = promql::script::run(&script(name), true).expect(name);
        println!("{name}: {} of {} evals, {} skipped", report.passed, report.evals, report.skipped.len());
        wrong.extend(wrong_answers(name, &report));
        assert!(report.passed >= passed_min, "{name}: {} evals passed, {passed_min} before; wrong: {wrong:#?}", report.passed);
        evals += report.evals;
        passed += report.passed;
        for (_, why) in report.skipped {
            *skipped.entry(why).or_default() += 1;
        }
    }
    skipped.iter().for_each(|(why, count)| println!("skipped {count}: {why}"));
    println!("promqltest: {passed} of {evals} evals");
    assert_eq!(evals, 2_214);
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
}

/// The scripts were recorded with delayed removal of names. Dropping them at once must differ only where a script is about that, or
/// about the metadata labels that are dropped alike.
#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
fn prometheus_scripts_give_no_wrong_answer_when_names_are_dropped_at_once() {
    let mut wrong = Vec::new();
    for (name, _) in PASSED_MIN.iter().filter(|(name, _)| !["name_label_dropping", "type_and_unit"].contains(name)) {
        let report = promql::script::run(&script(name), false).expect(name);
        wrong.extend(wrong_answers(name, &report));
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
}
