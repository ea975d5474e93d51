mod version_2;

use super::*;
use crate::ingest::decode::Fault;
use model::Generation;
use model::ShardId;
use model::hash::{fp128, placement_hash};
use proptest::prelude::*;
use prost::Message;
use proto::prometheus::{Label, Sample as WireSample, TimeSeries, WriteRequest};
use tsdb::rows::{Rows, labels_of};

const KEY: u64 = 0x5eed;

fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    TimeSeries {
        labels: pairs.iter().map(|(n, v)| Label { name: (*n).to_owned(), value: (*v).to_owned() }).collect(),
        samples: samples.iter().map(|(timestamp, value)| WireSample { value: *value, timestamp: *timestamp }).collect(),
        exemplars: vec![],
    }
}

fn generations(lists: &[(i64, &[u64])]) -> GenerationList {
    let generation = |(i, (from_ms, shards)): (usize, &(i64, &[u64]))| Generation {
        generation: i as u64 + 1,
        rev: i as u64 + 1,
        from_ms: *from_ms,
        shards: shards.iter().copied().map(ShardId).collect(),
    };
    GenerationList::new(lists.iter().enumerate().map(generation).collect()).unwrap()
}

fn split(timeseries: Vec<TimeSeries>, list: &GenerationList, oldest_ms: i64) -> SplitRequest {
    let body = WriteRequest { timeseries, metadata: vec![] }.encode_to_vec();
    let block = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    let rules = SplitRules { admit: &AdmitLimits::new(oldest_ms), generations: list, hash_key: KEY, known: None };
    Splitter::default().split(Version::V1, &block, &BodyLimits::default(), &rules).unwrap()
}

#[test]
fn c8_every_sample_goes_where_the_list_puts_it() {
    let list = generations(&[(i64::MIN, &[7, 8]), (1000, &[7, 8, 9])]);
    let timeseries: Vec<_> = (0..200)
        .map(|i| series(&[("__name__", "up"), ("instance", &i.to_string())], &[(10, 1.0), (1500, 2.0), (20, 3.0), (1000, 4.0)]))
        .collect();
    let request = split(timeseries, &list, i64::MIN);
    assert_eq!((request.series, request.samples, request.rejected.is_empty()), (200, 800, true));
    assert_eq!(request.parts.len(), 5);
    let mut seen = 0;
    for part in &request.parts {
        let mut rows = 0;
        for row in Rows::new(&part.rows) {
            let row = row.unwrap();
            let labels = labels_of(row.labels).unwrap();
            assert_eq!(labels.get("instance"), Some(row.ordinal.to_string().as_str()));
            assert_eq!(row.samples().len(), 2);
            for sample in row.samples() {
                let placement = list.shard_of(sample.timestamp_ms, row.placement).unwrap();
                assert_eq!((placement.shard, placement.generation), (part.shard, part.generation));
                seen += 1;
            }
            rows += 1;
        }
        assert_eq!((rows, rows * 2), (part.row_count, part.sample_count));
    }
    assert_eq!(seen, 800);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hashes_on_slices_equal_those_of_label_sets(
        pairs in prop::collection::btree_map("[a-z_]{1,8}|le|\\PC{1,5}", "\\PC{1,40}", 0..12),
        key in any::<u64>(),
    ) {
        let mut pairs = pairs;
        pairs.insert("__name__".to_owned(), "some_metric".to_owned());
        let labels = model::Labels::from_sorted(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
        let slices: Vec<LabelBytes<'_>> = pairs.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        let mut scratch = Splitter::default().scratch;
        scratch.prepare(key);
        for _ in 0..2 {
            let identified = scratch.identify(3, &slices);
            prop_assert_eq!(identified.fp128, fp128(&labels, key));
            prop_assert_eq!(identified.placement, placement_hash(&labels, key));
            prop_assert_eq!(labels_of(identified.region).unwrap(), labels.clone());
        }
    }
}

#[test]
fn the_order_in_which_labels_are_sent_does_not_matter() {
    let list = generations(&[(i64::MIN, &[7])]);
    let request = split(
        vec![series(&[("__name__", "up"), ("a", "1"), ("b", "")], &[(10, 1.0)]), series(&[("a", "1"), ("__name__", "up")], &[(20, 1.0)])],
        &list,
        0,
    );
    let rows: Vec<_> = Rows::new(&request.parts[0].rows).map(Result::unwrap).collect();
    assert_eq!((rows[0].fp128, rows[0].placement, rows[0].labels), (rows[1].fp128, rows[1].placement, rows[1].labels));
}

#[test]
fn c7_valid_series_go_on_and_refusals_come_in_request_order() {
    let list = generations(&[(i64::MIN, &[7])]);
    let request = split(
        vec![
            series(&[("__name__", "up")], &[(1000, 1.0)]),
            series(&[("job", "nameless")], &[(1000, 1.0), (1001, 1.0)]),
            series(&[("__name__", "half")], &[(5, 1.0), (1000, 2.0), (6, 3.0)]),
            series(&[("__name__", "idle")], &[]),
        ],
        &list,
        1000,
    );
    assert_eq!((request.series, request.samples), (3, 2));
    assert_eq!((request.parts[0].row_count, request.parts[0].sample_count), (2, 2));
    let refused = [
        (1, r#"invalid metric name or labels, got {job="nameless"}"#.to_owned()),
        (2, r#"out of bounds: timestamp 5 is older than the retention for series {__name__="half"}"#.to_owned()),
    ];
    assert_eq!(request.rejected.listed(), refused);
    assert_eq!((request.rejected.series(), request.rejected.samples()), (2, 4));
    assert_eq!(request.discarded, [("missing_metric_name", 2), ("greater_than_max_sample_age", 2)]);
    let ordinals: Vec<u32> = Rows::new(&request.parts[0].rows).map(|row| row.unwrap().ordinal).collect();
    assert_eq!(ordinals, [0, 2]);
}

#[test]
fn samples_before_the_first_generation_are_refused() {
    let list = generations(&[(1000, &[7])]);
    let request = split(vec![series(&[("__name__", "up")], &[(999, 1.0), (1000, 1.0)])], &list, i64::MIN);
    assert_eq!((request.samples, request.rejected.samples()), (1, 1));
}

#[test]
fn a_fault_at_the_end_of_the_body_leaves_nothing_behind() {
    let list = generations(&[(i64::MIN, &[7])]);
    let mut body = WriteRequest { timeseries: vec![series(&[("__name__", "up")], &[(1, 1.0)])], metadata: vec![] }.encode_to_vec();
    let length = body.len();
    body.extend([0x0a, 0x7f]);
    let rules = SplitRules { admit: &AdmitLimits::new(0), generations: &list, hash_key: KEY, known: None };
    let refused = Splitter::default().split_decoded(Version::V1, &body, &rules).unwrap_err();
    assert_eq!(refused, DecodeError::Protobuf { offset: length + 2, fault: Fault::Truncated });
}

/// Bodies that are small for what they might cost: (name, body).
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let in_series = |content: Vec<u8>| {
        let mut body = vec![0x0a];
        prost::encoding::encode_varint(content.len() as u64, &mut body);
        body.extend(content);
        body
    };
    let up = series(&[("__name__", "u")], &[(NOW_MS, 1.0)]);
    let one_valid = in_series(TimeSeries { samples: vec![WireSample { value: 0.0, timestamp: NOW_MS }], ..up }.encode_to_vec());
    let name_only = series(&[("__name__", "u")], &[]).encode_to_vec();
    vec![
        ("empty series", [0x0a, 0x00].repeat(10_000_000)),
        ("empty labels", in_series([0x0a, 0x00].repeat(10_000_000))),
        ("empty samples", in_series([&name_only[..], &[0x12, 0x00].repeat(10_000_000)].concat())),
        ("empty metadata", [0x1a, 0x00].repeat(10_000_000)),
        ("nested groups", [0x0b].repeat(10_000_000)),
        ("one long value", in_series([&[0x0a, 0x85, 0xda, 0xc4, 0x09, 0x12, 0x80, 0xda, 0xc4, 0x09][..], &[b'v'; 20_000_000]].concat())),
        ("smallest valid series", one_valid.repeat(800_000)),
    ]
}

const NOW_MS: i64 = 1_790_000_000_000;

fn split_bomb(body: &[u8]) -> Result<SplitRequest, DecodeError> {
    let list = generations(&[(i64::MIN, &[7])]);
    Splitter::default().split_decoded(
        Version::V1,
        body,
        &SplitRules { admit: &AdmitLimits::new(1), generations: &list, hash_key: KEY, known: None },
    )
}

#[test]
fn bombs_are_refused_or_taken_for_what_they_are() {
    let counts: Vec<_> = bombs()
        .iter()
        .map(|(name, body)| match split_bomb(body) {
            Ok(request) => (*name, request.rejected.series(), request.rejected.samples(), request.samples),
            Err(DecodeError::Protobuf { fault: Fault::Group { field: 1 }, offset: 0 }) => (*name, 0, 0, 0),
            Err(other) => panic!("{name}: {other}"),
        })
        .collect();
    let expected = [
        ("empty series", 10_000_000, 0, 0),
        ("empty labels", 1, 0, 0),
        ("empty samples", 1, 10_000_000, 0),
        ("empty metadata", 0, 0, 0),
        ("nested groups", 0, 0, 0),
        ("one long value", 1, 0, 0),
        ("smallest valid series", 0, 0, 800_000),
    ];
    assert_eq!(counts, expected);
}

/// Bytes of this process: `VmRSS` now, `VmHWM` at the highest.
fn memory(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[test]
#[ignore = "bombs_cost_at_most_three_times_their_body runs it in a process of its own"]
fn measure_bombs() {
    // Beside other tests the process's memory says nothing.
    if !std::env::args().any(|argument| argument == "--exact") {
        return;
    }
    for (name, body) in bombs() {
        // Writing 5 sets the highest resident size back to the present one.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = memory("VmRSS");
        let request = split_bomb(&body);
        let grown = memory("VmHWM").saturating_sub(before);
        // Rows give each series a header of 36 bytes and each sample 16, where the smallest take 15 and 11 on the wire.
        let factor = if request.as_ref().is_ok_and(|request| request.samples > 0) { 4 } else { 3 };
        assert!(grown <= factor * body.len(), "{name}: {} bytes cost {grown} more", body.len());
    }
}

#[test]
fn bombs_cost_at_most_three_times_their_body() {
    let alone = ["--exact", "ingest::split::tests::measure_bombs", "--ignored", "--test-threads=1"];
    let child = std::process::Command::new(std::env::current_exe().unwrap()).args(alone).output().unwrap();
    let report = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && report.contains("1 passed"), "{report}");
}

fn lacks_labels(request: &SplitRequest) -> bool {
    request.parts.iter().any(|part| Rows::new(&part.rows).any(|row| row.unwrap().labels.is_empty()))
}

#[test]
fn rows_of_known_series_differ_from_those_read_in_full_by_their_labels_alone() {
    let list = generations(&[(i64::MIN, &[7, 8, 9])]);
    let timeseries: Vec<_> = (0..100)
        .map(|i| series(&[("__name__", "up"), ("instance", &i.to_string()), ("le", "+Inf")], &[(10, 1.0), (5, 2.0), (20, 3.0)]))
        .collect();
    let body = WriteRequest { timeseries, metadata: vec![] }.encode_to_vec();
    let (admit, known) = (AdmitLimits::new(10), KnownSeries::new(1 << 20));
    let mut splitter = Splitter::default();
    let mut split = |known| {
        splitter.split_decoded(Version::V1, &body, &SplitRules { admit: &admit, generations: &list, hash_key: KEY, known }).unwrap()
    };
    let whole = split(None);
    let first = split(Some(&known));
    assert!(!lacks_labels(&whole) && !lacks_labels(&first) && whole.learned.is_empty());
    assert_eq!(first.learned.len(), 100);
    known.learn(&first.learned);
    let second = split(Some(&known));
    assert!(lacks_labels(&second) && second.learned.is_empty());
    assert_eq!((second.series, second.samples, &second.rejected, &second.discarded), (100, 200, &whole.rejected, &whole.discarded));
    assert_eq!(second.parts.len(), whole.parts.len());
    for (short, long) in second.parts.iter().zip(&whole.parts) {
        assert_eq!(
            (short.shard, short.generation, short.row_count, short.sample_count),
            (long.shard, long.generation, long.row_count, long.sample_count)
        );
        for (short, long) in Rows::new(&short.rows).map(Result::unwrap).zip(Rows::new(&long.rows).map(Result::unwrap)) {
            assert_eq!((short.ordinal, short.fp128, short.placement), (long.ordinal, long.fp128, long.placement));
            assert!(short.samples().eq(long.samples()) && short.labels.is_empty() && !long.labels.is_empty());
        }
    }
}

#[test]
fn rows_with_labels_may_fill_more_parts_of_the_same_shards() {
    let list = generations(&[(i64::MIN, &[7])]);
    let value = "v".repeat(1000);
    let many = (0..4000).map(|n: u32| series(&[("__name__", "up"), ("n", &n.to_string()), ("v", &value)], &[(1000, 1.0)]));
    let body = WriteRequest { timeseries: many.collect(), metadata: vec![] }.encode_to_vec();
    let (admit, known) = (AdmitLimits::new(0), KnownSeries::new(1 << 20));
    let mut splitter = Splitter::default();
    let mut split = |known| {
        let rules = SplitRules { admit: &admit, generations: &list, hash_key: KEY, known };
        splitter.split_decoded(Version::V1, &body, &rules).unwrap()
    };
    let whole = split(Some(&known));
    known.learn(&whole.learned);
    let lacking = split(Some(&known));
    assert!(lacks_labels(&lacking) && lacking.parts.len() == 1 && split(None).parts.len() == whole.parts.len());
    assert!(whole.parts.len() > 1, "a part in the place of another is not the same part");
    assert_eq!(lacking.samples, whole.samples);
}
