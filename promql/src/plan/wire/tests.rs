use super::*;
use crate::parse::{Options, parse_with};
use crate::plan::fragment::Distributed;
use proptest::prelude::*;

const QUERIES: [&str; 18] = [
    "sum by (job, le) (rate(h_bucket{job=~\"a.*\",x!=\"\"}[5m] offset 1m)) / on(job) group_left(x) count(m)",
    "topk(3, m @ 5) or bottomk(time() / 100, -m)",
    "quantile(scalar(m), m) + count_values(\"v\", m) - limitk(1, m)",
    "histogram_quantile(0.9, h_bucket) > bool 1 unless ignoring(le) m{le=\"1\"}",
    "absent(m) or absent_over_time(m[5m:1m] @ end())",
    "label_replace(m, \"__name__\", \"$1\", \"job\", \"(.*)\")",
    "scalar(m) * sort(m)",
    "m[5m]",
    "stddev(m) + stdvar(m) + min(m) + max(m) + group(m) + avg(m)",
    "limit_ratio(0.5, m)",
    "m + fill(0) n",
    "increase(m[5m] anchored) + m smoothed",
    "info(m)",
    "predict_linear(m[10m], 60) ^ 2",
    "sum without (le) (h_bucket)",
    "clamp(m, 1, scalar(n))",
    "\"text\"",
    "max_over_time(sum(rate(m[5m]))[30m:1m])",
];

fn fragment(query: &str) -> Fragment {
    let all =
        Options { experimental_functions: true, duration_expressions: true, extended_range_selectors: true, binop_fill_modifiers: true };
    let expr = parse_with(query, all).expect(query);
    let times = if matches!(query, "m[5m]" | "topk(3, m @ 5) or bottomk(time() / 100, -m)") || query.starts_with('"') {
        QueryParams::instant(50)
    } else {
        QueryParams::range(-10, 9_000, 10)
    };
    Distributed::new(Plan::new(&expr, times).expect(query)).fragment().clone()
}

#[test]
fn fragments_come_back_as_they_were() {
    for query in QUERIES {
        let sent = fragment(query);
        let read = Fragment::decode(&sent.encode()).expect(query);
        assert_eq!((&read.plan.nodes, &read.plan.selects, &read.exports), (&sent.plan.nodes, &sent.plan.selects, &sent.exports), "{query}");
        assert_eq!(read.plan.params, sent.plan.params);
    }
}

#[test]
fn a_fragment_of_another_version_or_with_an_unknown_operator_is_refused_as_such() {
    let encode = |change: &dyn Fn(&mut WireFragment)| {
        let mut wire = WireFragment::decode(&fragment("sum(rate(m[5m]))").encode()[..]).unwrap();
        change(&mut wire);
        Fragment::decode(&wire.encode_to_vec())
    };
    let is_unknown = |outcome| matches!(outcome, Err(FragmentError::Unknown { .. }));
    assert!(is_unknown(encode(&|wire| wire.version = VERSION + 1)));
    assert!(is_unknown(encode(&|wire| wire.nodes[0].kind = 77)));
    assert!(is_unknown(encode(&|wire| wire.nodes[1].operator = 7_000)));
    assert!(is_unknown(encode(&|wire| wire.exports[0].form = 9)));
    assert!(encode(&|_| {}).is_ok());
}

#[test]
fn operators_that_do_not_fit_are_refused() {
    let refused = |query: &str, change: &dyn Fn(&mut WireFragment)| {
        let mut wire = WireFragment::decode(&fragment(query).encode()[..]).unwrap();
        change(&mut wire);
        assert!(matches!(Fragment::decode(&wire.encode_to_vec()), Err(FragmentError::Malformed { .. })), "{query}");
    };
    refused("sum(rate(m[5m]))", &|wire| wire.nodes[2].children = vec![2]);
    refused("sum(rate(m[5m]))", &|wire| wire.nodes[2].children = vec![0]);
    refused("sum(rate(m[5m]))", &|wire| wire.nodes[1].grid_steps += 1);
    refused("sum(rate(m[5m]))", &|wire| wire.nodes[1].children.clear());
    refused("sum(rate(m[5m]))", &|wire| wire.nodes[0].select = 1);
    refused("sum(rate(m[5m]))", &|wire| wire.exports[0].of = 9);
    refused("topk(2, m)", &|wire| wire.nodes[2].children = vec![1]);
    refused("abs(m)", &|wire| wire.nodes[0].grid_step_ms = 0);
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(query in 0..QUERIES.len(), flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = fragment(QUERIES[query]).encode();
        for (at, byte) in flips.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        if let Ok(read) = Fragment::decode(&bytes) {
            // What is accepted can be evaluated.
            let source = crate::source::MemorySource::default();
            let budget = crate::budget::Budget::new(1_000_000, 1 << 24);
            let _ = read.execute(&source, &budget, &mut |_| Ok(()));
        }
    }
}
