//! What a query takes from the system stays below what its budget allows: measured at the process, not by our own accounts.

use model::Labels;
use promql::{Budget, EvalError, MemorySource, Plan, QueryParams, RawSeries, parse};

const SERIES: usize = 10_000;
const STEPS: i64 = 1_000;
const STEP_MS: i64 = 15_000;
const MIB: usize = 1 << 20;
/// Memory of the allocator itself and of what is not worth counting.
const SLACK: usize = 16 * MIB;

/// What the source lends where samples are looked at twice: they count, because another source would have to make them.
const LENT: usize = SERIES * (STEPS as usize + 20) * 16;

/// Bytes of this process: `VmRSS` now, `VmHWM` at the highest.
fn memory(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let kibibytes = status.lines().find(|line| line.starts_with(key)).and_then(|line| line.split_whitespace().nth(1)).expect(key);
    kibibytes.parse::<usize>().expect(key) << 10
}

fn source() -> MemorySource {
    let one = |i: usize| {
        let (name, job) = (i.to_string(), (i % 10).to_string());
        let labels = Labels::from_pairs([("__name__", "m_total"), ("i", name.as_str()), ("job", job.as_str())]);
        let times = (0..STEPS + 20).map(|k| k * STEP_MS + i as i64).collect();
        RawSeries::floats(labels, times, (0..STEPS + 20).map(|k| (k * (i as i64 % 7 + 1)) as f64).collect())
    };
    MemorySource::new((0..SERIES).map(one).collect())
}

/// Evaluates and answers how far the process grew meanwhile.
fn grown(query: &str, source: &MemorySource, bytes_max: usize) -> (usize, Result<u64, EvalError>) {
    let params = QueryParams::range(20 * STEP_MS, (20 + STEPS - 1) * STEP_MS, STEP_MS);
    let plan = Plan::new(&parse(query).expect(query), params).expect(query);
    // Writing 5 sets the highest resident size back to the present one.
    std::fs::write("/proc/self/clear_refs", "5").expect("one may reset one's own peak");
    let before = memory("VmRSS");
    let answer = plan.evaluate(query, source, &Budget::new(100_000_000, bytes_max as u64));
    (memory("VmHWM").saturating_sub(before), answer.map(|output| output.stats.bytes_peak))
}

/// Queries, and how many bytes each may hold; those of the smaller budget are refused.
const CASES: &[(&str, usize)] = &[
    ("sum by (job) (rate(m_total[5m]))", LARGE),
    ("count(m_total)", LARGE),
    ("stddev(m_total)", LARGE),
    ("quantile(0.9, m_total)", LARGE),
    ("topk(5, m_total)", LARGE),
    ("m_total", LARGE),
    ("m_total / m_total", LARGE),
    ("m_total and m_total", LARGE),
    ("sum(m_total) by (i) > 3", LARGE),
    ("m_total", SMALL),
    ("m_total / m_total", SMALL),
    ("quantile(0.9, m_total)", SMALL),
];
const LARGE: usize = 1 << 30;
const SMALL: usize = 64 * MIB;
/// Tells the process that measures which case it is for.
const CASE: &str = "FLOTILLA_MEMORY_CASE";

#[test]
#[ignore = "ten_thousand_series_stay_below_the_budget runs it in processes of its own"]
#[allow(clippy::print_stdout)]
#[allow(clippy::disallowed_methods)]
fn measure_query() {
    // Beside other tests, or after other queries, the process's memory says nothing.
    let Some(case) = std::env::var(CASE).ok().and_then(|case| case.parse::<usize>().ok()) else { return };
    let (query, bytes_max) = CASES[case];
    let (took, answer) = grown(query, &source(), bytes_max);
    if bytes_max == SMALL {
        assert!(matches!(answer, Err(EvalError::TooManyBytes { .. })), "{query}: {answer:?}");
        assert!(took <= bytes_max + SLACK, "{query} took {took} bytes before it was refused");
        return;
    }
    let counted = usize::try_from(answer.expect(query)).expect(query);
    println!("{query}: took {} MiB, counted {} MiB", took / MIB, counted / MIB);
    assert!(took <= bytes_max, "{query} took {took} bytes");
    assert!(took <= counted + SLACK, "{query} took {took} bytes and counted {counted}");
    assert!(counted <= took + LENT + SLACK, "{query} counted {counted} bytes and took {took}");
}

#[test]
#[allow(clippy::print_stdout)]
fn ten_thousand_series_stay_below_the_budget() {
    let alone = ["--exact", "memory::measure_query", "--ignored", "--test-threads=1", "--nocapture"];
    for (case, (query, _)) in CASES.iter().enumerate() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let child = command.args(alone).env(CASE, case.to_string()).output().unwrap();
        let report = String::from_utf8_lossy(&child.stdout);
        print!("{report}");
        let is_measured = child.status.success() && report.contains("1 passed");
        assert!(is_measured, "{query}: {report}{}", String::from_utf8_lossy(&child.stderr));
    }
}
