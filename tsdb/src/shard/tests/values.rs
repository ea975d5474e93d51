//! Names and values of labels with many values: of few series and of many, in the head within a range, and of series that left it.

use super::*;
use model::MatchOp;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

const METRICS: [&str; 3] = ["a_total", "b_total", "c_total"];

fn pod(n: usize) -> Labels {
    let (pod, zone) = (format!("pod-{}", n % 61), ["x", "y"][n % 2]);
    let mut pairs = vec![("__name__", METRICS[n % 3]), ("pod", &pod), ("zone", zone)];
    if n.is_multiple_of(7) {
        pairs.push(("seventh", "yes"));
    }
    Labels::from_pairs(pairs)
}

fn asked() -> Vec<Vec<Matcher>> {
    let regex = |name: &str, pattern: &str| Matcher::new(name, MatchOp::Regex, pattern).unwrap();
    vec![
        vec![],
        vec![Matcher::equal("__name__", METRICS[1])],
        vec![Matcher::equal("pod", "pod-5")],
        vec![regex("pod", "pod-1.*"), Matcher::equal("zone", "x")],
        vec![Matcher::new("pod", MatchOp::NotEqual, "pod-7").unwrap()],
        vec![regex("pod", "pod-(3|4)"), regex("__name__", "[ab]_total")],
    ]
}

/// Compares names and values with those of `held`, the series that meet the range.
fn check(replica: &Replica, held: &[&Labels], range: TimeRange) {
    let view = replica.shard.read_view();
    for matchers in asked() {
        let matching: Vec<&Labels> = held.iter().copied().filter(|labels| matchers.iter().all(|m| m.matches_labels(labels))).collect();
        for limit in [0, 1, 5] {
            let cut = if limit == 0 { usize::MAX } else { limit };
            let names: BTreeSet<&str> = matching.iter().flat_map(|labels| labels.iter()).map(|(name, _)| name).collect();
            let found = view.label_names(&matchers, range, limit).unwrap();
            assert!(found.iter().map(String::as_str).eq(names.into_iter().take(cut)), "{matchers:?} {range:?} limit {limit}: {found:?}");
            for name in ["__name__", "pod", "zone", "seventh", "absent"] {
                let values: BTreeSet<&str> = matching.iter().filter_map(|labels| labels.get(name)).collect();
                let found = view.label_values(name, &matchers, range, limit).unwrap();
                let is_same = found.iter().map(String::as_str).eq(values.iter().copied().take(cut));
                assert!(is_same, "{name} of {matchers:?} {range:?} limit {limit}: {found:?} for {values:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn c13_names_and_values_in_the_head_are_those_of_series_that_meet_the_range(
        scrapes in vec((1i64..40_000, 0usize..200, 1usize..150), 1..8),
        ranges in vec((-1_000i64..200_000, 0i64..200_000), 4),
    ) {
        let mut replica = Replica::new();
        let mut met: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        let mut now = T0;
        for (batch, (after, from, count)) in (0u128..).zip(scrapes) {
            now += after;
            let rows: Vec<_> = (from..from + count).map(|n| (pod(n), now, 1.0)).collect();
            prop_assert_eq!(replica.write(now, batch, &rows).accepted as usize, count);
            (from..from + count).for_each(|n| met.entry(n).or_insert((now, now)).1 = now);
        }
        // To the end of what there is, and anywhere.
        let ranges = ranges.into_iter().flat_map(|(after, length)| {
            let after_ms = T0 + after;
            [TimeRange { after_ms, to_ms: i64::MAX }, TimeRange { after_ms, to_ms: after_ms + length }]
        });
        for range in ranges.chain([TimeRange::ALL]) {
            let labels: Vec<Labels> =
                met.iter().filter(|(_, (first, last))| *last > range.after_ms && *first <= range.to_ms).map(|(n, _)| pod(*n)).collect();
            check(&replica, &labels.iter().collect::<Vec<_>>(), range);
        }
    }
}

#[test]
fn c13_names_and_values_of_series_that_left_the_head_are_read_off_their_records() {
    let mut replica = Replica::new();
    replica.apply(limits(1, HOUR, HOUR));
    let gone: Vec<Labels> = (0..183).map(pod).collect();
    let kept: Vec<Labels> = (183..200).map(pod).collect();
    let rows = |of: &[Labels], now: i64| of.iter().map(|labels| (labels.clone(), now, 1.0)).collect::<Vec<_>>();
    replica.write(T0, 1, &rows(&gone, T0));
    let mut now = T0;
    for round in 0..4 {
        now += 3 * HOUR;
        replica.write(now, 2 + round, &rows(&kept, now));
        replica.apply(entry::evict_idle(now));
        replica.shard.checkpoint().unwrap();
    }
    assert_eq!(replica.shard.stats().active_series, kept.len() as u64);
    check(&replica, &gone.iter().chain(&kept).collect::<Vec<_>>(), TimeRange::ALL);
    check(&replica, &kept.iter().collect::<Vec<_>>(), TimeRange { after_ms: now - HOUR, to_ms: i64::MAX });
    let replica = replica.restart();
    check(&replica, &gone.iter().chain(&kept).collect::<Vec<_>>(), TimeRange::ALL);
}

#[test]
fn c14_values_of_deleted_series_are_gone_though_their_newest_sample_was_in_the_range() {
    let mut replica = Replica::new();
    let all: Vec<Labels> = (0..150).map(pod).collect();
    let rows = |now: i64| all.iter().map(|labels| (labels.clone(), now, 1.0)).collect::<Vec<_>>();
    replica.write(T0, 1, &rows(T0));
    replica.write(T0 + 60_000, 2, &rows(T0 + 60_000));
    replica.apply(life::delete(T0 + 30_000, T0 + 60_000, vec![Matcher::equal("zone", "x")]));
    let kept: Vec<&Labels> = all.iter().filter(|labels| labels.get("zone") != Some("x")).collect();
    check(&replica, &kept, TimeRange { after_ms: T0 + 30_000, to_ms: i64::MAX });
    check(&replica, &all.iter().collect::<Vec<_>>(), TimeRange::ALL);
}
