//! Series of version 2 that are recognised by the hashes of their symbols.

use super::*;
use crate::ingest::tests::wire::{Exemplar2, Metadata2, Request2, Sample, Series2};

fn symbols() -> Vec<String> {
    ["", "__name__", "up", "job", "a"].map(str::to_owned).to_vec()
}

fn families_of(request: &SplitRequest) -> Vec<String> {
    let mut found = Vec::new();
    for part in &request.parts {
        let mut rows = Rows::new(&part.rows);
        assert!(rows.by_ref().all(|row| row.is_ok()));
        found.extend(rows.into_metadata().iter().map(|family| format!("{family:?}")));
    }
    found
}

#[test]
fn rows_of_known_series_of_version_2_differ_from_those_read_in_full_by_their_labels_alone() {
    let list = generations(&[(i64::MIN, &[7, 8, 9])]);
    let (admit, known) = (AdmitLimits::new(10), KnownSeries::new(1 << 20));
    let mut splitter = Splitter::default();
    let mut split = |body: &[u8], known| {
        splitter.split_decoded(Version::V2, body, &SplitRules { admit: &admit, generations: &list, hash_key: KEY, known }).unwrap()
    };
    let whole = split(&version_2(100, false), None);
    let first = split(&version_2(100, false), Some(&known));
    assert!(!lacks_labels(&first) && first.learned.len() == 100);
    known.learn(&first.learned);
    // Other numbers for the same symbols, and the series in another order.
    for (body, is_backwards) in [(version_2(100, false), false), (version_2(100, true), true)] {
        let second = split(&body, Some(&known));
        let expected = if is_backwards { split(&body, None) } else { whole.clone() };
        assert!(lacks_labels(&second) && second.learned.is_empty());
        assert_eq!((second.series, second.samples, second.metadata), (100, 200, 3));
        assert_eq!((&second.rejected, &second.discarded), (&expected.rejected, &expected.discarded));
        for (short, long) in second.parts.iter().zip(&expected.parts) {
            for (short, long) in Rows::new(&short.rows).map(Result::unwrap).zip(Rows::new(&long.rows).map(Result::unwrap)) {
                assert_eq!((short.ordinal, short.fp128, short.placement), (long.ordinal, long.fp128, long.placement));
                assert!(short.samples().eq(long.samples()) && short.labels.is_empty() && !long.labels.is_empty());
            }
        }
    }
    // The same symbols mean other series.
    assert_eq!(split(&version_2(130, true), Some(&known)).learned.len(), 30);
}

/// Series of three metrics with types, two samples that are taken and one that is too old.
fn version_2(count: u32, is_backwards: bool) -> Vec<u8> {
    let mut symbols: Vec<String> = ["", "__name__", "instance", "a_total", "b_total", "c_total", "help"].map(str::to_owned).to_vec();
    symbols.extend((0..count).map(|i| format!("host-{i}")));
    let last = symbols.len() as u32 - 1;
    if is_backwards {
        symbols[1..].reverse();
    }
    let at = |symbol: u32| if is_backwards && symbol > 0 { last + 1 - symbol } else { symbol };
    let series = |i: u32| Series2 {
        labels_refs: [1, 3 + i % 3, 2, 7 + i].map(at).to_vec(),
        samples: [(10, 1.0), (5, 2.0), (20, 3.0)].map(|(timestamp, value)| Sample { value, timestamp, start_timestamp: 0 }).to_vec(),
        metadata: Some(Metadata2 { r#type: 1, help_ref: at(6), unit_ref: 0 }),
        ..Series2::default()
    };
    let mut timeseries: Vec<_> = (0..count).map(series).collect();
    if is_backwards {
        timeseries.reverse();
    }
    Request2 { symbols, timeseries }.encode_to_vec()
}

#[test]
fn series_of_version_2_are_read_in_full_where_a_hash_of_their_labels_is_not_all_there_is_to_know() {
    let list = generations(&[(i64::MIN, &[7])]);
    let (admit, known) = (AdmitLimits::new(0), KnownSeries::new(1 << 20));
    let mut splitter = Splitter::default();
    let mut split = |timeseries: Vec<Series2>| {
        let body = Request2 { symbols: symbols(), timeseries }.encode_to_vec();
        let rules = SplitRules { admit: &admit, generations: &list, hash_key: KEY, known: Some(&known) };
        splitter.split_decoded(Version::V2, &body, &rules).unwrap()
    };
    let sample = Sample { value: 1.0, timestamp: 9, start_timestamp: 0 };
    let plain = Series2 { labels_refs: vec![1, 2, 3, 4], samples: vec![sample], ..Series2::default() };
    let first = split(vec![plain.clone()]);
    known.learn(&first.learned);
    assert!(lacks_labels(&split(vec![plain.clone()])));
    let metadata = |help_ref| Some(Metadata2 { r#type: 1, help_ref, unit_ref: 0 });
    let whole = [
        Series2 { samples: vec![Sample { start_timestamp: 3, ..sample }], ..plain.clone() },
        Series2 { created_timestamp: 3, ..plain.clone() },
        Series2 { exemplars: vec![Exemplar2 { labels_refs: vec![3, 4], value: 1.0, timestamp: 9 }], ..plain.clone() },
        Series2 { labels_refs: vec![1, 2], ..plain.clone() },
    ];
    for series in whole {
        let request = split(vec![series]);
        assert!(!lacks_labels(&request) && request.samples == 1);
    }
    for (bad, text) in [
        (Series2 { labels_refs: vec![1, 2, 3], ..plain.clone() }, "invalid labelRefs length 3"),
        (Series2 { labels_refs: vec![1, 2, 3, 9], ..plain.clone() }, "outside of symbols table"),
        (Series2 { metadata: metadata(9), ..plain.clone() }, "outside of symbols table"),
        (Series2 { samples: vec![], ..plain.clone() }, "must contain at least one sample"),
    ] {
        let request = split(vec![bad]);
        let told = format!("{:?}", request.rejected);
        assert!(told.contains(text) && request.samples == 0, "{told}");
    }
    // What recognised series say of their metrics is taken over, the last word counting.
    let says = |help_ref| Series2 { metadata: metadata(help_ref), ..plain.clone() };
    let request = split(vec![says(2), says(4), says(2)]);
    assert!(lacks_labels(&request) && request.metadata == 1);
    let expected = {
        let symbols = symbols();
        let body = Request2 { symbols, timeseries: vec![says(2)] }.encode_to_vec();
        splitter.split_decoded(Version::V2, &body, &SplitRules { admit: &admit, generations: &list, hash_key: KEY, known: None }).unwrap()
    };
    assert_eq!(families_of(&request), families_of(&expected));
}
