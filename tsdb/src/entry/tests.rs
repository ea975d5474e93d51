use super::*;
use crate::metadata::MetricKind;
use crate::record::tests::record;
use crate::record::{Item, Record};
use model::{MatchOp, Matcher, Sample};
use proptest::collection::vec;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn sample(timestamp_ms: i64, value: f64) -> Sample {
    Sample { timestamp_ms, value }
}

fn write_entry() -> Vec<u8> {
    let mut columns = ColumnsBuilder::default();
    columns.row(SeriesRef::Known(7), 0, [sample(1000, 1.0)].into_iter());
    columns.row(SeriesRef::Known(8), 1, [sample(1000, -0.0)].into_iter());
    columns.row(SeriesRef::Created(0), 4, [sample(999, 2.5), sample(2000, f64::NAN)].into_iter());
    let mut out = begin_write(0x0102, 3);
    let key = PartKey { batch_id: 0xabcd, hash: 0x1122, generation: 5 };
    let created = [Created { fp128: 0xff, placement: 0xee, labels: b"\x01a\x01b" }];
    put_part(&mut out, &key, Origin::RemoteWrite, PartContent { created: &created, columns: &columns, metadata: &[] });
    out
}

#[test]
fn encoding_is_frozen() {
    let generations = [Generation { generation: 1, rev: 2, from_ms: i64::MIN, shards: vec![ShardId(10), ShardId(11)] }];
    let limits = Limits { version: 1, out_of_order_window_ms: 2, late_window_ms: 3, retention_ms: 4, exemplars_max: 5 };
    assert_eq!(hex(&tick(-2)), "0204feffffffffffffff");
    assert_eq!(hex(&evict_idle(1)), "02050100000000000000");
    assert_eq!(hex(&set_limits(&limits)), "0202010000000000000002000000000000000300000000000000040000000000000005000000");
    assert_eq!(
        hex(&open(9, &generations)),
        "0203090000000000000001010000000000000002000000000000000000000000000080020a000000000000000b00000000000000"
    );
    assert_eq!(hex(&drop_day(1, 2)), "020801000000000000000200000000000000");
    assert_eq!(hex(&day_digest(DayDigest { day: 1, at_index: 2, digest: 3 })), "020b010002000000000000000300000000000000");
    let matchers = vec![Matcher::equal("a", "b"), Matcher::new("c", MatchOp::NotRegex, "d|e").unwrap()];
    let deleted = Delete { known_revision: 3, first_ms: i64::MIN, last_ms: 5, matcher_sets: vec![matchers] };
    assert_eq!(
        hex(&delete(&deleted).unwrap()),
        "020903000000000000000000000000000080050000000000000001020001610162030163\
         03647c65"
    );
    assert_eq!(
        hex(&write_entry()),
        concat!(
            "0201",
            "0201000000000000",
            "0300000000000000",
            "cdab0000000000000000000000000000",
            "2211000000000000",
            "0500000000000000",
            "00",
            "01",
            "ff000000000000000000000000000000",
            "ee00000000000000",
            "0401610162",
            "00",
            "03",
            "1c0001",
            "000004",
            "010102",
            "d00f0001d20f",
            "000000000000f03f",
            "0000000000000080",
            "0000000000000440",
            "000000000000f87f",
            "00",
            "00"
        )
    );
}

#[test]
fn rows_of_one_sample_take_no_count() {
    let mut columns = ColumnsBuilder::default();
    columns.row(SeriesRef::Known(3), 0, [sample(1, 0.0)].into_iter());
    columns.row(SeriesRef::Known(5), 1, [sample(1, 0.0)].into_iter());
    let mut out = Vec::new();
    columns.write(&mut out);
    assert_eq!(hex(&out), "01020c04000002000000000000000000000000000000000000");
}

#[test]
fn unknown_formats_and_kinds_are_refused_never_skipped() {
    assert_eq!(Entry::decode(&[1, 1]).unwrap_err(), EntryError::UnknownFormat { format: 1 });
    assert_eq!(Entry::decode(&[2, 10]).unwrap_err(), EntryError::UnknownKind { kind: 10, reserved: true });
    for kind in [0, 12, 255] {
        assert_eq!(Entry::decode(&[2, kind]).unwrap_err(), EntryError::UnknownKind { kind, reserved: false });
    }
    let mut longer = tick(5).to_vec();
    longer.push(0);
    assert!(matches!(Entry::decode(&longer), Err(EntryError::Malformed(_))));
}

type DecodedRow = (SeriesRef, u32, Vec<(i64, u64)>, Vec<String>);

fn rows_of(part: &mut Part<'_>) -> Vec<DecodedRow> {
    let mut rows = Vec::new();
    while let Some(row) = part.rows.next_row().unwrap() {
        let samples = (0..row.samples).map(|_| part.rows.next_sample().unwrap()).map(|s| (s.timestamp_ms, s.value.to_bits()));
        let samples = samples.collect();
        let records = (0..row.records).map(|_| format!("{:?}", part.rows.next_record().unwrap())).collect();
        rows.push((row.series, row.ordinal, samples, records));
    }
    rows
}

fn encoded(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        let mut body = Vec::new();
        record.write(&mut body);
        put_bytes(&mut out, &body);
    }
    out
}

fn series_ref() -> impl Strategy<Value = SeriesRef> {
    prop_oneof![any::<u32>().prop_map(SeriesRef::Known), (0u32..3).prop_map(SeriesRef::Created)]
}

proptest! {
    #[test]
    fn write_entries_round_trip_and_damage_never_panics(
        parts in vec(vec((series_ref(), any::<u32>(), vec((any::<i64>(), any::<u64>()), 0..4), vec(record(), 0..3)), 0..20), 0..4),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut out = begin_write(-5, 9);
        let created = [0u128, 1, 2].map(|fp128| Created { fp128, placement: 3, labels: b"xyz" });
        let metadata = [FamilyMetadata { family: "up", kind: MetricKind::Gauge, help: "whether it answers", unit: "" }];
        for (n, rows) in parts.iter().enumerate() {
            let mut columns = ColumnsBuilder::default();
            for (series, ordinal, samples, records) in rows {
                columns.row(*series, *ordinal, samples.iter().map(|(t, bits)| sample(*t, f64::from_bits(*bits))));
                if !records.is_empty() {
                    columns.records(records.len() as u32, &encoded(records));
                }
            }
            let content = PartContent { created: &created, columns: &columns, metadata: &metadata };
            put_part(&mut out, &PartKey { batch_id: n as u128, hash: 1, generation: 2 }, Origin::Rule, content);
        }
        let Entry::Write { time_ms: -5, resolver_term: 9, parts: mut decoded } = Entry::decode(&out).unwrap() else { panic!("kind") };
        for (n, rows) in parts.iter().enumerate() {
            let mut part = decoded.next_part().unwrap().unwrap();
            prop_assert_eq!((part.key.batch_id, part.origin), (n as u128, Origin::Rule));
            prop_assert_eq!(&part.created[..], &created[..]);
            let expected = rows.iter().map(|(series, ordinal, samples, records)| {
                let records = records.iter().map(|record| format!("{:?}", Item::Sample(record.clone()))).collect();
                (*series, *ordinal, samples.clone(), records)
            });
            prop_assert_eq!(rows_of(&mut part), expected.collect::<Vec<DecodedRow>>());
            prop_assert_eq!(&part.metadata[..], &metadata[..]);
        }
        prop_assert!(decoded.next_part().unwrap().is_none());

        let i = at.index(out.len());
        out[i] ^= flip;
        if let Ok(Entry::Write { parts: mut damaged, .. }) = Entry::decode(&out) {
            while let Ok(Some(mut part)) = damaged.next_part() {
                while let Ok(Some(row)) = part.rows.next_row() {
                    let samples = (0..row.samples).try_for_each(|_| part.rows.next_sample().map(drop));
                    prop_assert!(samples.is_ok(), "bounds were checked before");
                    if (0..row.records).any(|_| part.rows.next_record().is_err()) {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn settings_entries_round_trip(version: u64, w: i64, late: i64, retention: i64, shards in vec(any::<u64>(), 0..5), from_ms: i64) {
        let limits = Limits { version, out_of_order_window_ms: w, late_window_ms: late, retention_ms: retention, exemplars_max: w as u32 };
        let bytes = set_limits(&limits);
        let Entry::SetLimits(read) = Entry::decode(&bytes).unwrap() else { panic!("kind") };
        prop_assert_eq!(read, limits);
        let list = vec![Generation { generation: 1, rev: version, from_ms, shards: shards.into_iter().map(ShardId).collect() }];
        let bytes = open(version, &list);
        let Entry::Open { placement_key, generations } = Entry::decode(&bytes).unwrap() else { panic!("kind") };
        prop_assert_eq!((placement_key, &generations), (version, &list));
        let Entry::Fence { time_ms, generation } = Entry::decode(&fence(late, &list[0])).unwrap() else { panic!("kind") };
        prop_assert_eq!((time_ms, &generation), (late, &list[0]));
        let Entry::Unfence { generation, rev } = Entry::decode(&unfence(version, 7)).unwrap() else { panic!("kind") };
        prop_assert_eq!((generation, rev), (version, 7));
    }

    #[test]
    fn deletes_and_dropped_days_round_trip_and_damage_never_panics(
        sets in vec(vec((0usize..4, "[a-z]{1,8}", "[a-z|]{0,8}"), 1..4), 0..4),
        known_revision: u64,
        first_ms: i64,
        last_ms: i64,
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let matcher = |(op, name, value): &(usize, String, String)| {
            Matcher::new(name, [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][*op], value).unwrap()
        };
        let matcher_sets = sets.iter().map(|set| set.iter().map(matcher).collect()).collect();
        let written = Delete { known_revision, first_ms, last_ms, matcher_sets };
        let mut bytes = delete(&written).unwrap().to_vec();
        let Entry::Delete(read) = Entry::decode(&bytes).unwrap() else { panic!("kind") };
        prop_assert_eq!(read, written);
        let i = at.index(bytes.len());
        bytes[i] ^= flip;
        let _ = Entry::decode(&bytes);
        let digest = DayDigest { day: known_revision as u16, at_index: known_revision, digest: first_ms as u64 };
        let Entry::DayDigest(read) = Entry::decode(&day_digest(digest)).unwrap() else { panic!("kind") };
        prop_assert_eq!(read, digest);
        let bytes = drop_day(first_ms, last_ms);
        let Entry::DropDay { time_ms, before_ms } = Entry::decode(&bytes).unwrap() else { panic!("kind") };
        prop_assert_eq!((time_ms, before_ms), (first_ms, last_ms));
    }
}

#[test]
fn a_delete_without_matchers_or_with_too_long_ones_is_no_entry() {
    let of = |matchers| Delete { known_revision: 1, first_ms: 0, last_ms: 1, matcher_sets: vec![matchers] };
    assert_eq!(delete(&of(vec![])), Err(DeleteError::NoMatcher));
    let long = Matcher::equal("a", "x".repeat(MATCHERS_BYTES_MAX));
    assert!(matches!(delete(&of(vec![long])), Err(DeleteError::TooLarge { .. })));
}
