//! Prometheus's own scripts.

use promql::script::{Report, Settings, run};

/// All scripts.
pub(crate) const SCRIPTS: [&str; 21] = [
    "aggregators",
    "at_modifier",
    "collision",
    "duration_expression",
    "extended_vectors",
    "fill-modifier",
    "functions",
    "histograms",
    "info",
    "limit",
    "literals",
    "name_label_dropping",
    "native_histograms",
    "operators",
    "range_queries",
    "selectors",
    "staleness",
    "start_timestamps",
    "subquery",
    "trig_functions",
    "type_and_unit",
];

pub(crate) fn script(name: &str) -> String {
    #[allow(clippy::disallowed_methods)]
    let folder = std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts");
    std::fs::read_to_string(format!("{folder}/promqltest/{name}.test")).expect(name)
}

fn wrong_answers(name: &str, report: &Report) -> Vec<String> {
    report.failures.iter().map(|f| format!("{name}:{}: {}: {}", f.line, f.query, f.detail)).collect()
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::print_stdout)]
fn prometheus_scripts_give_no_wrong_answer() {
    let (mut evals, mut passed, mut wrong) = (0, 0, Vec::new());
    for name in SCRIPTS {
        let report = run(&script(name), Settings::prometheus()).expect(name);
        println!("{name}: {} of {} evals", report.passed, report.evals);
        wrong.extend(wrong_answers(name, &report));
        evals += report.evals;
        passed += report.passed;
    }
    println!("promqltest: {passed} of {evals} evals, {} files", SCRIPTS.len());
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(evals, 2_214);
}

/// The scripts were recorded with delayed removal of names. Dropping them at once must differ only where a script is about that, or
/// about the metadata labels that are dropped alike, and in annotations of operators that then see no name.
#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
fn prometheus_scripts_give_no_wrong_answer_when_names_are_dropped_at_once() {
    let mut wrong = Vec::new();
    for name in SCRIPTS.iter().filter(|name| !["name_label_dropping", "type_and_unit"].contains(name)) {
        let settings = Settings { delayed_name_removal: false, ..Settings::prometheus() };
        let report = run(&script(name), settings).expect(name);
        let is_about_a_name = |text: &String| text.contains("no annotation is") && text.contains("for metric name");
        wrong.extend(wrong_answers(name, &report).into_iter().filter(|text| !is_about_a_name(text)));
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
}
