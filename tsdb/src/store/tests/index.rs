use super::*;
use crate::select::{Merged, OneByOne};
use model::matcher::MatchOp;

#[test]
fn c13_flushed_series_are_found_through_segments() {
    let disk = Disk::new();
    let db = disk.open();
    let store = db.create_shard(identity()).unwrap();
    let mut flushed: BTreeMap<u16, BTreeMap<u32, Labels>> = BTreeMap::new();
    for round in 0..6u32 {
        let day = Day(DAY.0 + (round / 3) as u16);
        let mut series: Vec<Flushed> =
            (0..40).map(|i| round * 7 + i * 3).map(|sid| Flushed::new(sid % 5, sid, samples(day, round as usize, 1))).collect();
        series.sort_by_key(|f| (f.metric, f.sid));
        flushed.entry(day.0).or_default().extend(series.iter().map(|f| (f.sid, f.labels.clone())));
        let mut writer = store.begin_checkpoint().unwrap();
        put_part(&mut writer, day, &series).unwrap();
        writer.commit(point(u64::from(round) + 1), b"").unwrap();
        check(&store.view(), &flushed);
    }
    let segments = store.view().parts().iter().filter(|p| p.kind == PartKind::Index).count();
    assert_eq!(segments, 6, "every round brought new series and with them a segment");
    drop((store, db));
    check(&disk.open().open_shard(SHARD, REPLICA).unwrap().view(), &flushed);
}

fn label_names(view: &StoreView, days: (i64, i64), among: Option<&RoaringBitmap>) -> Vec<String> {
    let mut merged = Merged::new(0);
    view.names_into(days, among, &mut OneByOne::never(), &mut merged).unwrap();
    merged.finish()
}

fn label_values(view: &StoreView, name: &str, days: (i64, i64), among: Option<&RoaringBitmap>) -> Vec<String> {
    let mut merged = Merged::new(0);
    view.values_into(name, days, among, &mut OneByOne::never(), &mut merged).unwrap();
    merged.finish()
}

/// Compares every lookup with what was flushed.
fn check(view: &StoreView, flushed: &BTreeMap<u16, BTreeMap<u32, Labels>>) {
    let selectors: [&[(&str, MatchOp, &str)]; 9] = [
        &[],
        &[("__name__", MatchOp::Equal, "metric_3")],
        &[("parity", MatchOp::NotEqual, "odd"), ("__name__", MatchOp::Regex, "metric_(1|2)")],
        &[("instance", MatchOp::Regex, "host-1.*")],
        &[("instance", MatchOp::Regex, "host-3|host-9|host-999")],
        &[("instance", MatchOp::NotRegex, "host-.*0"), ("absent", MatchOp::Equal, "")],
        &[("absent", MatchOp::NotEqual, "")],
        &[("absent", MatchOp::Regex, ".*"), ("parity", MatchOp::Regex, ".+")],
        &[("parity", MatchOp::NotRegex, "even|zz"), ("instance", MatchOp::NotEqual, "")],
    ];
    let ranges = [(i64::MIN, i64::MAX), (DAY.first_ms(), DAY.last_ms()), (DAY.last_ms() + 1, i64::MAX), (0, DAY.first_ms() - 1)];
    for (start, end) in ranges {
        let within = |day: &u16| Day(*day).first_ms() <= end && start <= Day(*day).last_ms();
        let all: BTreeMap<u32, &Labels> =
            flushed.iter().filter(|(day, _)| within(day)).flat_map(|(_, series)| series.iter().map(|(sid, l)| (*sid, l))).collect();
        for selector in selectors {
            let matchers: Vec<Matcher> = selector.iter().map(|(n, op, v)| Matcher::new(*n, *op, *v).unwrap()).collect();
            let expected: BTreeMap<u32, &Labels> =
                all.iter().filter(|(_, l)| matchers.iter().all(|m| m.matches_labels(l))).map(|(s, l)| (*s, *l)).collect();
            let found = view.select(&matchers, start, end).unwrap();
            assert_eq!(sids(&found), expected.keys().copied().collect::<Vec<_>>(), "{selector:?} in {start}..{end}");
            for name in ["instance", "parity", "absent"] {
                let values: BTreeSet<String> = expected.values().filter_map(|l| l.get(name)).map(str::to_owned).collect();
                assert!(label_values(view, name, (start, end), Some(&found)).iter().eq(&values));
            }
            let names: BTreeSet<String> = expected.values().flat_map(|l| l.iter()).map(|(n, _)| n.to_owned()).collect();
            assert!(label_names(view, (start, end), Some(&found)).iter().eq(&names));
            if selector.is_empty() {
                assert!(label_names(view, (start, end), None).iter().eq(&names));
            }
        }
        for (sid, labels) in all {
            let record = view.series(SeriesId(sid)).unwrap().unwrap();
            assert_eq!((&record.labels, record.metric, record.placement), (labels, sid % 5, 5));
            assert_eq!(view.find_by_fp128(model::hash::fp128(labels, 7)).unwrap(), Some(SeriesId(sid)));
        }
    }
    assert_eq!(view.series(SeriesId(100_000)).unwrap(), None);
}

#[test]
fn c13_values_that_fill_many_pages_are_found() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    let series: Vec<Flushed> = (0..5000).map(|sid| Flushed::new(0, sid, samples(DAY, 0, 1))).collect();
    checkpoint(&store, 1, &series).unwrap();
    let view = store.view();
    assert!(view.parts().iter().any(|p| p.kind == PartKind::Index && p.keys > 6), "{:?}", view.parts());
    for sid in (0..5000).step_by(61) {
        let found = view.select(&[Matcher::equal("instance", format!("host-{sid}"))], 0, i64::MAX).unwrap();
        assert_eq!(sids(&found), [sid]);
    }
    assert_eq!(view.select(&[Matcher::equal("instance", "host-")], 0, i64::MAX).unwrap().len(), 0);
    for prefix in ["host-", "host-1", "host-49", "host-4999", "host-0", "host-a", "zz", "a"] {
        let expected: Vec<u32> = (0..5000).filter(|sid| format!("host-{sid}").starts_with(prefix)).collect();
        for (op, expected) in [(MatchOp::Regex, expected.len()), (MatchOp::NotRegex, 5000 - expected.len())] {
            let matcher = Matcher::new("instance", op, format!("{prefix}.*")).unwrap();
            assert_eq!(view.select(&[matcher], 0, i64::MAX).unwrap().len(), expected as u64, "{prefix} {op:?}");
        }
    }
    assert_eq!(label_values(&view, "instance", (0, i64::MAX), None).len(), 5000);
    assert_eq!(view.select(&[Matcher::equal("parity", "even")], 0, i64::MAX).unwrap().len(), 2500);
}

#[test]
fn c13_known_series_add_no_segment() {
    let disk = Disk::new();
    let store = disk.open().create_shard(identity()).unwrap();
    for round in 0..3 {
        checkpoint(&store, round + 1, &[Flushed::new(1, 1, samples(DAY, round as usize, 1))]).unwrap();
    }
    assert_eq!(store.view().parts().iter().filter(|p| p.kind == PartKind::Index).count(), 1);
    assert_eq!(samples_of(&store.view(), 1, 1).len(), 3);
}
