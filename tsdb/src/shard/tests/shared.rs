//! Series that have times in common, read one after another.

use super::life::delete;
use super::records::record_rows;
use super::*;
use crate::head::SEAL_SAMPLES;
use proptest::collection::vec;
use proptest::prelude::*;

const STEP: i64 = 15_000;
const SERIES: u32 = 24;

/// When series `n` is scraped: targets of some series each, among them jittered ones and such that miss scrapes.
fn time(n: u32, i: i64, targets: &[u8]) -> Option<i64> {
    let target = targets[n as usize % targets.len()];
    let is_missing = target == 3 && i % 7 == i64::from(n) % 7;
    let offset = if target == 2 { i % 5 } else { 37 * i64::from(target) };
    (!is_missing).then_some(T0 + i * STEP + offset)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn series_that_share_times_keep_their_own_values(
        targets in vec(0u8..4, 1..7),
        scrapes in (SEAL_SAMPLES as i64 - 3)..(3 * SEAL_SAMPLES as i64),
        checkpoints in vec(1i64..300, 0..4),
        with_start in prop::option::of((0..SERIES, 0i64..300)),
        deleted in prop::option::of((0..SERIES, 0i64..300, 0i64..50)),
        ranges in vec((-10i64..400, 0i64..300), 3),
    ) {
        let mut replica = Replica::new();
        replica.apply(limits(1, HOUR, 24 * HOUR));
        let mut model: BTreeMap<String, BTreeMap<i64, u64>> = BTreeMap::new();
        for i in 0..scrapes {
            let (mut rows, now) = (Vec::new(), T0 + i * STEP + 1000);
            for n in 0..SERIES {
                let Some(t) = time(n, i, &targets) else { continue };
                let mut value = f64::from(n) + (i * i % 11) as f64 / 10.0;
                if with_start == Some((n, i)) {
                    value = f64::from(n);
                    replica.write_rows(now, 1 << 80, &record_rows(&[(n, t, 8)]));
                } else {
                    rows.push((series(n), t, value));
                }
                model.entry(series(n).to_string()).or_default().insert(t, value.to_bits());
            }
            prop_assert_eq!(replica.write(now, i as u128, &rows).accepted as usize, rows.len());
            if checkpoints.contains(&i) {
                replica.shard.checkpoint().unwrap();
            }
        }
        if let Some((n, from, length)) = deleted {
            let (first, last) = (T0 + from * STEP, T0 + (from + length) * STEP);
            replica.apply(delete(first, last, vec![Matcher::equal("instance", format!("host-{n}"))]));
            model.get_mut(&series(n).to_string()).unwrap().retain(|t, _| *t < first || *t > last);
        }
        let ranges = ranges.iter().map(|(from, length)| (T0 + from * STEP - 20, T0 + (from + length) * STEP + 20));
        for (after_ms, to_ms) in ranges.chain([(i64::MIN, i64::MAX)]) {
            let cut = |samples: &BTreeMap<i64, u64>| {
                let inside = samples.iter().filter(|(t, _)| after_ms < **t && **t <= to_ms);
                inside.map(|(t, bits)| (*t, *bits)).collect::<Vec<_>>()
            };
            let expected: BTreeMap<_, _> = model.iter().map(|(name, samples)| (name.clone(), cut(samples))).collect();
            let expected: BTreeMap<_, _> = expected.into_iter().filter(|(_, samples)| !samples.is_empty()).collect();
            prop_assert_eq!(contents_of(&replica.shard.read_view(), &[], TimeRange { after_ms, to_ms }), expected);
        }
    }
}
