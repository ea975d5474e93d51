//! Prometheus's own scripts.

use std::collections::BTreeMap;

/// The `promqltest` folder of the recorded facts.
fn scripts() -> BTreeMap<String, String> {
    #[allow(clippy::disallowed_methods)]
    let folder = std::env::var("FLOTILLA_CONFORMANCE").expect("FLOTILLA_CONFORMANCE names the folder of recorded facts");
    let entries = std::fs::read_dir(format!("{folder}/promqltest")).expect("the folder holds promqltest");
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).expect("a readable script"))
    };
    entries.map(|entry| entry.expect("a readable folder").path()).filter(|p| p.extension().is_some_and(|e| e == "test")).map(read).collect()
}

#[test]
#[ignore = "needs FLOTILLA_CONFORMANCE"]
#[allow(clippy::print_stdout)]
fn prometheus_scripts_give_no_wrong_answer() {
    let (mut evals, mut passed, mut wrong) = (0, 0, Vec::new());
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    for (name, text) in scripts() {
        let report = promql::script::run(&text).expect(&name);
        println!("{name}: {} of {} evals, {} skipped, {} wrong", report.passed, report.evals, report.skipped.len(), report.failures.len());
        evals += report.evals;
        passed += report.passed;
        for (_, why) in report.skipped {
            *skipped.entry(why).or_default() += 1;
        }
        wrong.extend(report.failures.into_iter().map(|f| format!("{name}:{}: {}: {}", f.line, f.query, f.detail)));
    }
    println!("promqltest: {passed} of {evals} evals");
    skipped.iter().for_each(|(why, count)| println!("skipped {count}: {why}"));
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
}
