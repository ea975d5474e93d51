//! What a query takes from the system stays below what its budget allows: measured at the process, not by our own accounts.

use model::Labels;
use promql::{Budget, EvalError, MemorySource, Plan, QueryParams, RawSeries, parse};

const SERIES: usize = 10_000;
const STEPS: i64 = 1_000;
const STEP_MS: i64 = 15_000;
const MIB: usize = 1 << 20;
/// Memory of the allocator itself and of what is not worth counting.
const SLACK: usize = 16 * MIB;

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

#[test]
#[ignore = "ten_thousand_series_stay_below_the_budget runs it in a process of its own"]
#[allow(clippy::print_stdout)]
fn measure_queries() {
    // Beside other tests the process's memory says nothing.
    if !std::env::args().any(|argument| argument == "--exact") {
        return;
    }
    let source = source();
    for query in [
        "sum by (job) (rate(m_total[5m]))",
        "stddev(m_total)",
        "quantile(0.9, m_total)",
        "topk(5, m_total)",
        "m_total",
        "m_total / m_total",
        "sum(m_total) by (i) > 3",
    ] {
        let bytes_max = 1 << 30;
        let (took, answer) = grown(query, &source, bytes_max);
        let counted = usize::try_from(answer.expect(query)).expect(query);
        println!("{query}: took {} MiB, counted {} MiB", took / MIB, counted / MIB);
        assert!(took <= bytes_max, "{query} took {took} bytes");
        assert!(took <= counted + SLACK, "{query} took {took} bytes and counted {counted}");
    }
    for query in ["m_total", "m_total / m_total", "quantile(0.9, m_total)"] {
        let bytes_max = 64 * MIB;
        let (took, answer) = grown(query, &source, bytes_max);
        assert!(matches!(answer, Err(EvalError::TooManyBytes { .. })), "{query}: {answer:?}");
        assert!(took <= bytes_max + SLACK, "{query} took {took} bytes before it was refused");
    }
}

#[test]
#[allow(clippy::print_stdout)]
fn ten_thousand_series_stay_below_the_budget() {
    let alone = ["--exact", "memory::measure_queries", "--ignored", "--test-threads=1", "--nocapture"];
    let child = std::process::Command::new(std::env::current_exe().unwrap()).args(alone).output().unwrap();
    let report = String::from_utf8_lossy(&child.stdout);
    print!("{report}");
    assert!(child.status.success() && report.contains("1 passed"), "{report}{}", String::from_utf8_lossy(&child.stderr));
}
