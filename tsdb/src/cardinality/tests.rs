use super::*;
use model::Labels;
use proptest::collection::vec;
use proptest::prelude::*;

/// The figures of a plain count.
pub(crate) fn counted(series: &[&Labels], limit: usize) -> Cardinality {
    let mut pairs: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    series.iter().flat_map(|labels| labels.iter()).for_each(|pair| *pairs.entry(pair).or_default() += 1);
    let (mut values, mut bytes) = (BTreeMap::new(), BTreeMap::new());
    for ((name, value), series) in &pairs {
        *values.entry(*name).or_insert(0u64) += 1;
        *bytes.entry(*name).or_insert(0u64) += value.len() as u64 * series;
    }
    let largest = |mut counts: Vec<Count>| {
        counts.sort_by_key(|c| Reverse(c.count));
        counts.truncate(limit);
        counts
    };
    let by_name =
        |counts: BTreeMap<&str, u64>| largest(counts.into_iter().map(|(name, count)| Count { name: name.to_owned(), count }).collect());
    Cardinality {
        series: series.len() as u64,
        label_pairs: pairs.len() as u64,
        series_by_metric: by_name(pairs.iter().filter(|((n, _), _)| *n == "__name__").map(|((_, v), c)| (*v, *c)).collect()),
        values_by_name: by_name(values),
        bytes_by_name: by_name(bytes),
        series_by_pair: largest(pairs.iter().map(|((n, v), c)| Count { name: format!("{n}={v}"), count: *c }).collect()),
        ..Cardinality::default()
    }
}

/// What a shard with these series tells.
fn told(series: &[&Labels], asked: (usize, usize)) -> Vec<u8> {
    let mut pairs: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    series.iter().flat_map(|labels| labels.iter()).for_each(|pair| *pairs.entry(pair).or_default() += 1);
    let pairs = pairs.into_iter().map(|((name, value), series)| (name, value, series));
    write(pairs, series.len() as u64, HeadCounts::default(), asked)
}

proptest! {
    #[test]
    fn shards_together_count_as_one_does(series in vec((0usize..4, 0u8..12, 0u8..30, 0u8..4), 0..120), limit in 0usize..8) {
        let labels: Vec<Labels> = series
            .iter()
            .map(|(_, metric, x, y)| {
                let (metric, x, y) = (format!("metric_{}", metric * metric / 12), format!("x{x}"), "y".repeat(usize::from(*y)));
                Labels::from_pairs([("__name__", metric.as_str()), ("x", x.as_str()), ("yy", y.as_str())])
            })
            .collect();
        let all: Vec<&Labels> = labels.iter().collect();
        let expected = counted(&all, limit);
        for shards in [1, 2, 4] {
            let of_shard = |shard| series.iter().zip(&labels).filter(|((s, ..), _)| s % shards == shard).map(|(_, l)| l).collect::<Vec<_>>();
            let told: Vec<Vec<u8>> = (0..shards).map(|shard| told(&of_shard(shard), (limit, shards))).collect();
            let merged = Cardinality::merge(told.iter().map(Vec::as_slice), limit).unwrap();
            prop_assert_eq!(&merged, &expected, "{} shards", shards);
        }
    }

    #[test]
    fn no_bytes_make_the_merge_panic(bytes: Vec<u8>, behind_format in vec(0u8..4, 0..60)) {
        let _ = Cardinality::merge([bytes.as_slice()], 3);
        let _ = Cardinality::merge([[&[FORMAT], behind_format.as_slice()].concat().as_slice()], 3);
    }
}

#[test]
fn what_shards_tell_is_fixed_and_cut_bytes_are_errors() {
    let labels = [Labels::from_pairs([("__name__", "up"), ("job", "a")]), Labels::from_pairs([("__name__", "up"), ("job", "b")])];
    let head = HeadCounts { chunks: 3, times_ms: Some((-1, 300)) };
    let pairs = [("job", "a", 1), ("job", "b", 1), ("__name__", "up", 2)];
    let bytes = write(pairs.into_iter(), 2, head, (1, 1));
    let golden = [
        &[FORMAT, 2, 3, 1, 1, 0xd8, 4, 2][..],
        &[8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_', 4, 1],
        &hash_of("up").to_le_bytes(),
        &[2, 1, 2, b'u', b'p', 3, b'j', b'o', b'b', 2, 2],
        &hash_of("a").to_le_bytes(),
        &[1],
        &hash_of("b").to_le_bytes(),
        &[1, 0],
    ]
    .concat();
    assert_eq!(bytes, golden);
    assert_eq!(hash_of("up"), 15_936_427_031_111_332_196);
    let merged = Cardinality::merge([bytes.as_slice()], 1).unwrap();
    let expected = counted(&labels.iter().collect::<Vec<_>>(), 1);
    assert_eq!(merged, Cardinality { chunks: 3, times_ms: Some((-1, 300)), ..expected });
    for cut in 0..bytes.len() {
        assert!(Cardinality::merge([bytes.get(..cut).unwrap()], 1).is_err(), "cut at {cut}");
    }
}
