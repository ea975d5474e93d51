//! Results depend on the data alone: not on how many shards answered, in which order, or which series lies where.

use crate::harness::{agree, fingerprint, over_the_wire, placed};
use model::Labels;
use model::hash::{jump_hash, placement_hash};
use model::{Generation, ShardId};
use promql::{
    Budget, Distributed, EvalError, Frame, Gather, GatheredSource, MemorySource, Options, Plan, QueryParams, RawSeries, Residence,
    SeriesSource, Steps, Value, parse_with,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const MINUTE_MS: i64 = 60_000;

/// Queries over metrics `a_total`, `b_total` (counters) and `h_bucket`, all with `job` and `instance`.
fn query() -> impl Strategy<Value = String> {
    let selector = prop_oneof![Just("a_total"), Just("b_total"), Just("h_bucket"), Just("{__name__=~\"a_total|b_total\",job=\"j1\"}")];
    let leaf = (selector, 0..9_usize, 1..12_u32).prop_map(|(selector, kind, minutes)| match kind {
        0 | 1 => selector.to_owned(),
        2 => format!("rate({selector}[{minutes}m])"),
        3 => format!("avg_over_time({selector}[{minutes}m])"),
        4 => format!("max_over_time({selector}[{minutes}m] offset 2m)"),
        5 => format!("-{selector}"),
        6 => format!("stddev_over_time({selector}[{minutes}m:90s])"),
        7 => format!("{selector} @ 300"),
        _ => format!("label_replace({selector}, \"job\", \"$1x\", \"instance\", \"(.).*\")"),
    });
    let aggregate = |inner: BoxedStrategy<String>| {
        let op = prop_oneof![
            Just("sum"),
            Just("avg"),
            Just("stddev"),
            Just("stdvar"),
            Just("min"),
            Just("max"),
            Just("count"),
            Just("group"),
            Just("topk-2,"),
            Just("bottomk-3,"),
            Just("limitk-2,"),
            Just("limit_ratio-0.5,"),
            Just("quantile-0.4,"),
            Just("count_values-\"v\","),
        ];
        let grouping = prop_oneof![Just(""), Just("by (job)"), Just("by (le)"), Just("without (instance)"), Just("by (job, instance)")];
        (op, grouping, inner).prop_map(|(op, grouping, inner)| {
            let (name, param) = op.split_once('-').unwrap_or((op, ""));
            format!("{name} {grouping} ({param} {inner})")
        })
    };
    leaf.prop_recursive(3, 12, 2, move |inner| {
        prop_oneof![
            aggregate(inner.clone()),
            (inner.clone(), inner.clone(), 0..9_usize).prop_map(|(l, r, op)| {
                let op =
                    ["+", "/ ignoring(le)", "and", "or", "unless on(job)", "> bool", "==", "* on(job, instance) group_left()", "- on(job)"]
                        [op];
                format!("({l}) {op} ({r})")
            }),
            inner.clone().prop_map(|e| format!("abs({e}) * 2")),
            inner.clone().prop_map(|e| format!("sort_desc({e})")),
            inner.clone().prop_map(|e| format!("histogram_quantile(0.7, {e})")),
            inner.clone().prop_map(|e| format!("absent({e})")),
            inner.clone().prop_map(|e| format!("absent_over_time(({e})[3m:1m])")),
            inner.clone().prop_map(|e| format!("({e}) + scalar({e})")),
            inner.clone().prop_map(|e| format!("topk(scalar(count({e})), {e})")),
            inner.clone().prop_map(|e| format!("label_join({e}, \"instance\", \"-\", \"job\")")),
            inner.clone().prop_map(|e| format!("clamp_max({e}, scalar(max({e})))")),
            inner.clone().prop_map(|e| format!("sum without (le) ({e} > 1)")),
            inner.clone().prop_map(|e| format!("vector(scalar({e})) or {e}")),
            inner.prop_map(|e| format!("sum_over_time(({e})[5m:1m])")),
        ]
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -1e3..1e6_f64,
        2 => (-300..300_i32).prop_map(|e| 10_f64.powi(e)),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(model::sample::stale_nan()),
        2 => (0..4_i32).prop_map(f64::from),
    ]
}

fn data() -> impl Strategy<Value = Vec<RawSeries>> {
    let samples = prop::collection::vec(prop::option::weighted(0.85, value()), 16);
    prop::collection::vec(samples, 14).prop_map(|all| {
        let series = |(i, samples): (usize, Vec<Option<f64>>)| {
            let (job, instance) = (format!("j{}", i % 2), format!("i{}", i % 5));
            let bound = ["0.1", "1", "+Inf"][i % 3];
            let labels = match i % 7 {
                0..=2 => Labels::from_pairs([("__name__", "a_total"), ("job", &job), ("instance", &instance)]),
                3 | 4 => Labels::from_pairs([("__name__", "b_total"), ("job", &job), ("instance", &instance)]),
                _ => Labels::from_pairs([("__name__", "h_bucket"), ("job", &job), ("instance", &instance), ("le", bound)]),
            };
            let present = samples.iter().enumerate().filter_map(|(k, v)| v.map(|v| (k as i64 * MINUTE_MS, v)));
            let (timestamps, values) = present.unzip();
            RawSeries::floats(labels, timestamps, values)
        };
        let mut all: Vec<RawSeries> = all.into_iter().enumerate().map(series).collect();
        all.sort_by(|a, b| a.labels.cmp(&b.labels));
        all.dedup_by(|a, b| a.labels == b.labels);
        all
    })
}

/// Splits the answers to all selects over `shards`, in the order of `keys`.
fn gathered(plan: &Plan, series: &[RawSeries], shards: usize, keys: &[u32], split_in_time: bool) -> GatheredSource {
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by_key(|i| keys[*i]);
    let mut parts = Vec::new();
    for select in plan.fragments() {
        let mut of_shards = vec![Vec::new(); shards];
        for i in &order {
            let one = &series[*i];
            if !select.matchers.iter().all(|m| m.matches_labels(&one.labels)) {
                continue;
            }
            let cut = if split_in_time { keys[*i] as usize % (one.timestamps.len() + 1) } else { one.timestamps.len() };
            for (half, range) in [0..cut, cut..one.timestamps.len()].into_iter().enumerate() {
                let part = RawSeries::floats(one.labels.clone(), one.timestamps[range.clone()].to_vec(), one.values[range].to_vec());
                of_shards[(keys[*i] as usize + half) % shards].push(part);
            }
        }
        parts.extend(of_shards.into_iter().map(|part| (select.id, part)));
    }
    if keys[0].is_multiple_of(2) {
        parts.reverse();
    }
    GatheredSource::new(parts)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn c15_every_number_of_shards_gives_the_answer_of_one_evaluator_over_all_series(
        text in query(),
        series in data(),
        key in any::<u64>(),
        delayed_name_removal in any::<bool>(),
        is_range in any::<bool>(),
    ) {
        let expr = parse_with(&text, Options { experimental_functions: true, ..Options::default() }).expect(&text);
        let times = if is_range { QueryParams::range(2 * MINUTE_MS, 15 * MINUTE_MS, 70_000) } else { QueryParams::instant(9 * MINUTE_MS) };
        let plan = Plan::new(&expr, QueryParams { delayed_name_removal, ..times }).expect(&text);
        let budget = Budget::default();
        // All operators in one place, none of them at a shard.
        let whole = fingerprint(Distributed::raw(plan.clone()).evaluate(&text, &[&MemorySource::new(series.clone())], &budget));
        let distributed = Distributed::new(plan);
        let one = fingerprint(distributed.evaluate(&text, &[&MemorySource::new(series.clone())], &budget));
        prop_assert!(agree(&whole, &one), "{}\n{}\n{}", text, whole, one);
        for shards in [2, 3, 7] {
            let sources = placed(&series, shards, key);
            let here: Vec<&dyn SeriesSource> = sources.iter().map(|source| source as _).collect();
            prop_assert_eq!(&one, &fingerprint(distributed.evaluate(&text, &here, &budget)), "{} over {} shards", text, shards);
            prop_assert_eq!(&one, &fingerprint(over_the_wire(&distributed, &text, &sources, &budget)), "{} over {} shards", text, shards);
        }
        prop_assert!(budget.reserve(promql::budget::SAMPLES_MAX_DEFAULT, 0).is_ok(), "all room is given back");
    }
}

/// Shards of three generations, the second and the third from `from_ms` on, and what each holds.
fn in_generations(series: &[RawSeries], sizes: [u64; 3], from_ms: [i64; 2], key: u64) -> (Vec<Generation>, Vec<MemorySource>) {
    let shards = |size: u64| (0..size).map(ShardId).collect::<Vec<_>>();
    let generation = |(number, (from_ms, size))| Generation { generation: number, rev: number, from_ms, shards: shards(size) };
    let list = (1..).zip([i64::MIN, from_ms[0], from_ms[1]].into_iter().zip(sizes)).map(generation).collect();
    let mut held = vec![Vec::new(); sizes.into_iter().max().unwrap_or(1) as usize];
    for one in series {
        let [first, second] = from_ms.map(|from_ms| one.timestamps.partition_point(|t| *t < from_ms));
        for (size, range) in sizes.into_iter().zip([0..first, first..second, second..one.timestamps.len()]) {
            let (timestamps, values) = (one.timestamps[range.clone()].to_vec(), one.values[range].to_vec());
            held[jump_hash(placement_hash(&one.labels, key), size as u32) as usize].push(RawSeries::floats(
                one.labels.clone(),
                timestamps,
                values,
            ));
        }
    }
    (list, held.into_iter().map(MemorySource::new).collect())
}

/// What comes of a plan, or of some steps of it, where series lie on the shards of several generations.
fn of_generations(distributed: &Distributed, list: &[Generation], shards: &[MemorySource], key: u64) -> Result<Steps, EvalError> {
    let budget = Budget::default();
    let mut gather = Gather::new(distributed, &budget);
    let (after_ms, to_ms) = distributed.fragment().time_range().unwrap_or_default();
    let residence = Residence::between(list, key, after_ms, to_ms);
    // Only the shards of generations that are looked at are asked.
    let is_met = |i: usize| list.get(i + 1).is_none_or(|next| next.from_ms > after_ms + 1) && list[i].from_ms <= to_ms;
    let asked = (0..list.len()).filter(|i| is_met(*i)).flat_map(|i| &list[i].shards).collect::<BTreeSet<_>>();
    for shard in asked {
        let mut answer = Vec::new();
        let take = &mut |frame: Frame| {
            answer.push(Frame::decode(&frame.encode(), distributed.fragment(), &budget).expect("a frame reads what it wrote"));
            Ok(())
        };
        let (fragment, shard) = (distributed.fragment(), &shards[shard.0 as usize]);
        match &residence {
            Some(residence) => fragment.execute_resident(shard, residence, &budget, take)?,
            None => fragment.execute(shard, &budget, take)?,
        }
        gather.add(answer)?;
    }
    gather.finish_steps(distributed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn c8_windows_that_straddle_generations_answer_as_if_the_shards_had_never_changed(
        text in query(),
        series in data(),
        key in any::<u64>(),
        sizes in prop_oneof![Just([1, 2, 2]), Just([2, 3, 5]), Just([3, 7, 7]), Just([5, 2, 4])],
        (from_minute, minutes) in (0..16_i64, 1..6_i64),
        delayed_name_removal in any::<bool>(),
        is_range in any::<bool>(),
    ) {
        let expr = parse_with(&text, Options { experimental_functions: true, ..Options::default() }).expect(&text);
        let times = if is_range { QueryParams::range(2 * MINUTE_MS, 15 * MINUTE_MS, 70_000) } else { QueryParams::instant(9 * MINUTE_MS) };
        let params = QueryParams { delayed_name_removal, ..times };
        let plan = Plan::new(&expr, params).expect(&text);
        let distributed = Distributed::new(plan.clone());
        let one = fingerprint(distributed.evaluate(&text, &[&MemorySource::new(series.clone())], &Budget::default()));
        let from_ms = [from_minute * MINUTE_MS, (from_minute + minutes) * MINUTE_MS];
        let (list, shards) = in_generations(&series, sizes, from_ms, key);
        // All steps at once, and in the runs that a cluster evaluates.
        let at_once = of_generations(&distributed, &list, &shards, key).map(|steps| steps.output(&text));
        prop_assert_eq!(&one, &fingerprint(at_once), "{} over {:?} shards", text, sizes);
        let runs = plan.runs(&expr, &list).expect(&text);
        let ends = runs.iter().map(|run| run.end).collect::<Vec<_>>();
        prop_assert_eq!(runs.iter().map(|run| run.start).collect::<Vec<_>>(), [&[0], &ends[..ends.len() - 1]].concat());
        prop_assert_eq!(ends.last(), Some(&plan.steps()));
        let in_runs = runs.iter().map(|run| {
            let part = if runs.len() == 1 { plan.clone() } else { Plan::of_steps(&expr, params, run.clone()).expect(&text) };
            of_generations(&Distributed::new(part), &list, &shards, key)
        });
        let joined = in_runs.reduce(|all, next| {
            let mut all = all?;
            all.append(next?);
            Ok(all)
        });
        let joined = fingerprint(joined.expect("there are steps").map(|steps| steps.output(&text)));
        prop_assert!(agree(&one, &joined), "{} over {:?} shards\n{}\n{}", text, sizes, one, joined);
    }

    #[test]
    fn slices_of_time_put_together_are_the_whole(
        text in query(),
        series in data(),
        size in 1..9_usize,
    ) {
        let expr = parse_with(&text, Options { experimental_functions: true, ..Options::default() }).expect(&text);
        let params = QueryParams::range(2 * MINUTE_MS, 15 * MINUTE_MS, 70_000);
        let delayed = QueryParams { delayed_name_removal: true, ..params };
        prop_assert!(!Plan::new(&expr, delayed).expect(&text).can_be_sliced(), "a name depends on all steps");
        let whole = Plan::new(&expr, params).expect(&text);
        prop_assume!(whole.can_be_sliced());
        let (budget, source) = (Budget::default(), MemorySource::new(series));
        let steps = whole.steps();
        let slice = |from: usize| {
            let distributed = Distributed::new(Plan::of_steps(&expr, params, from..from + size).expect(&text));
            let mut gather = Gather::new(&distributed, &budget);
            let mut answer = Vec::new();
            distributed.fragment().execute(&source, &budget, &mut |frame| {
                answer.push(frame);
                Ok(())
            })?;
            gather.add(answer)?;
            gather.finish_steps(&distributed)
        };
        let joined = (0..steps).step_by(size).map(slice).reduce(|all, next| {
            let mut all = all?;
            all.append(next?);
            Ok(all)
        });
        let joined = joined.expect("there are steps").map(|steps| steps.output(&text));
        let expected = fingerprint(whole.evaluate(&text, &source, &budget));
        prop_assert!(agree(&expected, &fingerprint(joined.clone())), "{}\n{}\n{}", text, expected, fingerprint(joined));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn c15_answers_do_not_depend_on_shards_or_order(
        text in query(),
        series in data(),
        keys in prop::collection::vec(any::<u32>(), 14),
        delayed_name_removal in any::<bool>(),
        split_in_time in any::<bool>(),
        is_range in any::<bool>(),
    ) {
        let expr = parse_with(&text, Options::ALL).expect(&text);
        let times = if is_range { QueryParams::range(2 * MINUTE_MS, 15 * MINUTE_MS, 70_000) } else { QueryParams::instant(9 * MINUTE_MS) };
        let plan = Plan::new(&expr, QueryParams { delayed_name_removal, ..times }).expect(&text);
        let budget = Budget::default();
        let whole = fingerprint(plan.evaluate(&text, &MemorySource::new(series.clone()), &budget));
        for shards in [1, 2, 3, 7] {
            let source = gathered(&plan, &series, shards, &keys, split_in_time);
            let raw = Distributed::raw(plan.clone()).evaluate(&text, &[&source], &budget);
            let raw = fingerprint(raw);
            prop_assert!(agree(&whole, &raw), "{} over {} shards\n{}\n{}", text, shards, whole, raw);
        }
        prop_assert!(budget.reserve(promql::budget::SAMPLES_MAX_DEFAULT, 0).is_ok(), "all room is given back");
    }
}

#[test]
fn topk_and_bottomk_choose_by_value_and_between_equals_by_labels() {
    let value = |i: usize| if i.is_multiple_of(11) { f64::NAN } else { (i * 37 % 23) as f64 };
    let name = |i: usize| format!("{i:03}");
    let one = |i: usize| {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", name(i).as_str())]);
        RawSeries::floats(labels, vec![0, 60_000], vec![value(i), value(i)])
    };
    let source = MemorySource::new((0..200).map(one).collect());
    for k in [1, 5, 40, 190, 500] {
        for (op, sign) in [("topk", -1.0), ("bottomk", 1.0)] {
            let mut expected: Vec<usize> = (0..200).collect();
            let key = |i: usize| (value(i).is_nan(), if value(i).is_nan() { 0.0 } else { sign * value(i) });
            expected.sort_by(|a, b| key(*a).partial_cmp(&key(*b)).expect("no NaN is compared").then(a.cmp(b)));
            expected.truncate(k);
            let query = format!("{op}({k}, m)");
            let expr = parse_with(&query, Options::default()).expect(&query);
            let answer = |params| Plan::new(&expr, params).expect(&query).evaluate(&query, &source, &Budget::default()).expect(&query);
            let Value::Vector { samples, .. } = answer(QueryParams::instant(0)).value else { panic!("a vector") };
            let chosen: Vec<&str> = samples.iter().map(|s| s.labels.get("i").expect("i")).collect();
            assert_eq!(chosen, expected.iter().map(|i| name(*i)).collect::<Vec<_>>(), "{query}");
            let Value::Matrix(series) = answer(QueryParams::range(0, 60_000, 60_000)).value else { panic!("a matrix") };
            let chosen: Vec<&str> = series.iter().map(|s| s.labels.get("i").expect("i")).collect();
            expected.sort_unstable();
            assert_eq!(chosen, expected.iter().map(|i| name(*i)).collect::<Vec<_>>(), "{query} over a range");
        }
    }
}
