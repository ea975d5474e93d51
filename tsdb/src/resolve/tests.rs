use super::*;

#[test]
fn part_hash_does_not_depend_on_how_series_are_named_and_sees_every_change() {
    let of = |rows: &[(u128, i64, f64)]| {
        let mut hash = PartHash::default();
        for (fp, timestamp_ms, value) in rows {
            hash.series(*fp);
            hash.sample(&Sample { timestamp_ms: *timestamp_ms, value: *value });
        }
        hash.finish()
    };
    let base = of(&[(1, 2, 3.0), (4, 5, 6.0)]);
    let others = [
        of(&[(1, 2, 3.0)]),
        of(&[(4, 5, 6.0), (1, 2, 3.0)]),
        of(&[(1, 2, 3.0), (4, 5, -6.0)]),
        of(&[(1, 3, 3.0), (4, 5, 6.0)]),
        of(&[(1 << 64 | 1, 2, 3.0), (4, 5, 6.0)]),
    ];
    assert!(others.iter().all(|other| *other != base));
}
