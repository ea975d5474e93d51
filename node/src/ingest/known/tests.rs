use super::*;
use crate::ingest::decode::WriteRequestReader;
use prost::Message;
use proto::prometheus::{Label, Sample, TimeSeries, WriteRequest};

const HASH_KEY: u64 = 7;

fn series(name: &str, timestamp: i64) -> TimeSeries {
    let label = |name: &str, value: &str| Label { name: name.to_owned(), value: value.to_owned() };
    let labels = vec![label("__name__", name), label("job", "a")];
    TimeSeries { labels, samples: vec![Sample { value: 1.5, timestamp }], exemplars: vec![] }
}

fn body(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    WriteRequest { timeseries, metadata: vec![] }.encode_to_vec()
}

fn limits() -> AdmitLimits {
    AdmitLimits::new(0)
}

/// What was found of each series; those not found are learned with their place as their hash.
fn pass(known: &KnownSeries, key: &Key, body: &[u8]) -> Vec<Option<u128>> {
    let mut reader = WriteRequestReader::new(body);
    let mut lookup = known.lookup(key);
    let (mut found, mut learned) = (Vec::new(), Vec::new());
    while let Some(raw) = reader.next_raw().unwrap() {
        let hit = lookup.find(&raw);
        if hit.is_none() {
            learned.extend(lookup.entry_of_missed(found.len() as u128, 9));
        }
        found.push(hit.map(|(entry, samples)| {
            assert_eq!((entry.placement, samples.len()), (9, 1));
            entry.fp128
        }));
    }
    drop(lookup);
    known.learn(&learned);
    found
}

#[test]
fn series_are_found_by_the_bytes_of_their_labels_in_any_order() {
    let (known, key) = (KnownSeries::new(1 << 20), Key::new(HASH_KEY, &limits()));
    let names: Vec<String> = (0..50).map(|i| format!("m{i}")).collect();
    let first = body(names.iter().map(|n| series(n, 1)).collect());
    assert_eq!(pass(&known, &key, &first), vec![None; 50]);
    assert_eq!(pass(&known, &key, &body(names.iter().map(|n| series(n, 2)).collect())), (0..50).map(Some).collect::<Vec<_>>());
    let backwards = body(names.iter().rev().map(|n| series(n, 3)).chain([series("other", 3)]).collect());
    assert_eq!(pass(&known, &key, &backwards), (0..50).rev().map(Some).chain([None]).collect::<Vec<_>>());
    assert_eq!(pass(&known, &Key::new(HASH_KEY + 1, &limits()), &first)[0], None, "another workspace's");
    let narrower = AdmitLimits { labels: 1, ..limits() };
    assert_eq!(pass(&known, &Key::new(HASH_KEY, &narrower), &first)[0], None, "under another limit");
}

#[test]
fn a_series_is_looked_at_as_a_whole_when_anything_but_samples_follows_its_labels() {
    let (known, key) = (KnownSeries::new(1 << 20), Key::new(HASH_KEY, &limits()));
    pass(&known, &key, &body(vec![series("m", 1)]));
    let mut longer = series("m", 1);
    longer.labels.push(Label { name: "z".to_owned(), value: "1".to_owned() });
    let no_samples = TimeSeries { samples: vec![], ..series("m", 1) };
    // A label behind the samples belongs to the series as well.
    let mut late = series("m", 1).encode_to_vec();
    late.extend_from_slice(
        &TimeSeries { labels: vec![Label { name: "y".to_owned(), value: "2".to_owned() }], ..TimeSeries::default() }.encode_to_vec(),
    );
    let mut cut = series("m", 1).encode_to_vec();
    cut.pop();
    let mut wire = body(vec![longer, no_samples]);
    for message in [late, cut] {
        wire.push(0x0a);
        wire.push(u8::try_from(message.len()).unwrap());
        wire.extend_from_slice(&message);
    }
    assert_eq!(pass(&known, &key, &wire), [None, None, None, None]);
    assert_eq!(pass(&known, &key, &body(vec![series("m", 5)])), [Some(0)]);
}

#[test]
fn a_full_list_keeps_what_it_has_until_it_misses_more_than_it_holds() {
    let (known, key) = (KnownSeries::new(10 * BYTES_PER_SERIES), Key::new(HASH_KEY, &limits()));
    let of = |range: std::ops::Range<u32>| body(range.map(|i| series(&format!("m{i}"), 1)).collect());
    pass(&known, &key, &of(0..10));
    assert_eq!(pass(&known, &key, &of(0..12)).iter().flatten().count(), 10);
    assert_eq!(pass(&known, &key, &of(0..12)).iter().flatten().count(), 10, "not emptied for a few");
    pass(&known, &key, &of(100..130));
    let kept = known.list.read().entries.len();
    assert!(kept <= 10, "{kept}");
    assert_eq!(pass(&known, &key, &of(0..10)).iter().flatten().count(), 0, "outdated");
}
