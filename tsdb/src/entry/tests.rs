use super::*;
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
    put_part(&mut out, &key, Origin::RemoteWrite, &created, &columns);
    out
}

#[test]
fn encoding_is_frozen() {
    let generations = [Generation { generation: 1, rev: 2, from_ms: i64::MIN, shards: vec![ShardId(10), ShardId(11)] }];
    let limits = Limits { version: 1, out_of_order_window_ms: 2, late_window_ms: 3, retention_ms: 4 };
    assert_eq!(hex(&tick(-2)), "0104feffffffffffffff");
    assert_eq!(hex(&evict_idle(1)), "01050100000000000000");
    assert_eq!(hex(&set_limits(&limits)), "01020100000000000000020000000000000003000000000000000400000000000000");
    assert_eq!(
        hex(&open(9, &generations)),
        "0103090000000000000001010000000000000002000000000000000000000000000080020a000000000000000b00000000000000"
    );
    assert_eq!(hex(&drop_day(1, 2)), "010801000000000000000200000000000000");
    assert_eq!(hex(&day_digest(DayDigest { day: 1, at_index: 2, digest: 3 })), "010b010002000000000000000300000000000000");
    let matchers = vec![Matcher::equal("a", "b"), Matcher::new("c", MatchOp::NotRegex, "d|e").unwrap()];
    let deleted = Delete { known_revision: 3, first_ms: i64::MIN, last_ms: 5, matcher_sets: vec![matchers] };
    assert_eq!(
        hex(&delete(&deleted).unwrap()),
        "010903000000000000000000000000000080050000000000000001020001610162030163\
         03647c65"
    );
    assert_eq!(
        hex(&write_entry()),
        concat!(
            "0101",
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
            "000000000000f87f"
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
    assert_eq!(hex(&out), "01020c040000020000000000000000000000000000000000");
}

#[test]
fn unknown_formats_and_kinds_are_refused_never_skipped() {
    assert_eq!(Entry::decode(&[2, 1]).unwrap_err(), EntryError::UnknownFormat { format: 2 });
    for kind in [6, 7, 10] {
        assert_eq!(Entry::decode(&[1, kind]).unwrap_err(), EntryError::UnknownKind { kind, reserved: true });
    }
    for kind in [0, 12, 255] {
        assert_eq!(Entry::decode(&[1, kind]).unwrap_err(), EntryError::UnknownKind { kind, reserved: false });
    }
    let mut longer = tick(5).to_vec();
    longer.push(0);
    assert!(matches!(Entry::decode(&longer), Err(EntryError::Malformed(_))));
}

type DecodedRow = (SeriesRef, u32, Vec<(i64, u64)>);

fn rows_of(part: &mut Part<'_>) -> Vec<DecodedRow> {
    let mut rows = Vec::new();
    while let Some(row) = part.rows.next_row().unwrap() {
        let samples = (0..row.samples).map(|_| part.rows.next_sample().unwrap()).map(|s| (s.timestamp_ms, s.value.to_bits()));
        rows.push((row.series, row.ordinal, samples.collect()));
    }
    rows
}

fn series_ref() -> impl Strategy<Value = SeriesRef> {
    prop_oneof![any::<u32>().prop_map(SeriesRef::Known), (0u32..3).prop_map(SeriesRef::Created)]
}

proptest! {
    #[test]
    fn write_entries_round_trip_and_damage_never_panics(
        parts in vec(vec((series_ref(), any::<u32>(), vec((any::<i64>(), any::<u64>()), 0..4)), 0..20), 0..4),
        at: prop::sample::Index,
        flip in 1u8..,
    ) {
        let mut out = begin_write(-5, 9);
        let created = [0u128, 1, 2].map(|fp128| Created { fp128, placement: 3, labels: b"xyz" });
        for (n, rows) in parts.iter().enumerate() {
            let mut columns = ColumnsBuilder::default();
            for (series, ordinal, samples) in rows {
                columns.row(*series, *ordinal, samples.iter().map(|(t, bits)| sample(*t, f64::from_bits(*bits))));
            }
            put_part(&mut out, &PartKey { batch_id: n as u128, hash: 1, generation: 2 }, Origin::Rule, &created, &columns);
        }
        let Entry::Write { time_ms: -5, resolver_term: 9, parts: mut decoded } = Entry::decode(&out).unwrap() else { panic!("kind") };
        for (n, rows) in parts.iter().enumerate() {
            let mut part = decoded.next_part().unwrap().unwrap();
            prop_assert_eq!((part.key.batch_id, part.origin), (n as u128, Origin::Rule));
            prop_assert_eq!(&part.created[..], &created[..]);
            prop_assert_eq!(&rows_of(&mut part), rows);
        }
        prop_assert!(decoded.next_part().unwrap().is_none());

        let i = at.index(out.len());
        out[i] ^= flip;
        if let Ok(Entry::Write { parts: mut damaged, .. }) = Entry::decode(&out) {
            while let Ok(Some(mut part)) = damaged.next_part() {
                rows_of(&mut part);
            }
        }
    }

    #[test]
    fn settings_entries_round_trip(version: u64, w: i64, late: i64, retention: i64, shards in vec(any::<u64>(), 0..5), from_ms: i64) {
        let limits = Limits { version, out_of_order_window_ms: w, late_window_ms: late, retention_ms: retention };
        let bytes = set_limits(&limits);
        let Entry::SetLimits(read) = Entry::decode(&bytes).unwrap() else { panic!("kind") };
        prop_assert_eq!(read, limits);
        let list = vec![Generation { generation: 1, rev: version, from_ms, shards: shards.into_iter().map(ShardId).collect() }];
        let bytes = open(version, &list);
        let Entry::Open { placement_key, generations } = Entry::decode(&bytes).unwrap() else { panic!("kind") };
        prop_assert_eq!((placement_key, generations), (version, list));
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
