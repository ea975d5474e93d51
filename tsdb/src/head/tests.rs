use super::*;
use crate::chunk::Samples;
use crate::record::Content;
use model::Sample;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const DAY: i64 = 86_400_000;

fn float(bits: u64) -> Found {
    Found::Content(Content::Float(bits))
}

fn contents(line: &Line) -> BTreeMap<i64, u64> {
    let mut scratch = Samples::default();
    for chunk in line.open.iter().chain(line.sealed.iter().map(|s| &s.chunk)) {
        let before = scratch.ts.len();
        chunk.decode(&mut scratch).unwrap();
        let added = &scratch.ts[before..];
        assert_eq!(day_of(added[0]), day_of(*added.last().unwrap()), "a chunk lies in one day");
    }
    let pending = line.out_of_order.iter().flat_map(|p| p.samples.iter().copied());
    scratch.ts.iter().copied().zip(scratch.values.iter().map(|v| v.to_bits())).chain(pending).collect()
}

proptest! {
    #[test]
    fn line_holds_and_finds_every_sample(samples in vec((0i64..3 * DAY, any::<u64>()), 1..400), dense: bool) {
        let (mut line, mut model, mut scratch) = (Line::default(), BTreeMap::new(), Samples::default());
        let mut bytes = 0;
        for (n, (t, bits)) in samples.into_iter().enumerate() {
            let t = if dense { DAY - 200 * 15_000 + n as i64 * 15_000 - (t % 40_000) } else { t };
            let sample = Sample { timestamp_ms: t, value: f64::from_bits(bits) };
            if line.newest.is_none_or(|(newest, _)| t > newest) {
                bytes += line.append(sample, n as u64).cast_unsigned();
                prop_assert!(model.insert(t, bits).is_none());
            } else if let std::collections::btree_map::Entry::Vacant(place) = model.entry(t) {
                let before = line.bytes();
                line.insert(sample, n as u64);
                bytes = bytes + line.bytes() - before;
                place.insert(bits);
            }
            prop_assert_eq!(bytes, line.bytes());
        }
        prop_assert_eq!(&contents(&line), &model);
        for (t, bits) in &model {
            prop_assert_eq!(line.find(*t, 0, &mut scratch).unwrap(), float(*bits));
            let beside = if model.contains_key(&(t + 1)) { float(model[&(t + 1)]) } else { Found::Absent };
            prop_assert_eq!(line.find(t + 1, 0, &mut scratch).unwrap(), beside);
        }
        line.seal_open();
        line.seal_out_of_order();
        prop_assert_eq!(contents(&line), model);
    }
}

#[test]
fn a_chunk_is_sealed_by_the_sample_that_fills_it() {
    let (mut line, mut scratch, mut bytes) = (Line::default(), Samples::default(), 0);
    for n in 0..SEAL_SAMPLES as i64 {
        assert_eq!((line.sealed.len(), line.open.is_some()), (0, n > 0), "before sample {n}");
        bytes += line.append(Sample { timestamp_ms: n * 1000, value: n as f64 }, 7);
    }
    assert_eq!((line.sealed.len(), line.open.is_none(), line.sealed[0].min_index), (1, true, 7));
    assert_eq!(bytes.cast_unsigned(), line.bytes());
    let last = (SEAL_SAMPLES as i64 - 1) * 1000;
    assert_eq!((line.newest_ms(), line.newest_float().map(|s| s.timestamp_ms)), (Some(last), Some(last)));
    assert_eq!(line.find(last, 0, &mut scratch).unwrap(), float((last as f64 / 1000.0).to_bits()));
    assert_eq!(line.find(last - 1000, 0, &mut scratch).unwrap(), float((last as f64 / 1000.0 - 1.0).to_bits()));
    line.append(Sample { timestamp_ms: last + 1, value: 0.5 }, 8);
    assert_eq!((line.sealed.len(), line.open_index, line.newest_ms()), (1, 8, Some(last + 1)));
}

#[test]
fn listed_chunks_are_looked_up_in_parts_once_they_are_dropped() {
    let mut line = Line::default();
    let mut scratch = Samples::default();
    for n in 0..300 {
        line.append(Sample { timestamp_ms: n * 1000, value: n as f64 }, n as u64);
    }
    assert_eq!((line.sealed.len(), line.unlisted().len()), (2, 2));
    line.mark_listed(2);
    assert_eq!((line.unlisted().len(), line.find(5000, 0, &mut scratch).unwrap()), (0, float(5f64.to_bits())));
    line.drop_listed(2);
    assert_eq!(line.sealed.len(), 0);
    assert_eq!(line.find(5000, 0, &mut scratch).unwrap(), Found::MaybeStored);
    assert_eq!(line.find(250_000, 0, &mut scratch).unwrap(), float(250f64.to_bits()));
    assert_eq!(line.find(250_001, 0, &mut scratch).unwrap(), Found::Absent);
    assert_eq!(line.find(299_000, 0, &mut scratch).unwrap(), float(299f64.to_bits()));
}

#[test]
fn c3_chunks_listed_by_two_checkpoints_go_one_after_the_other() {
    let mut line = Line::default();
    let append = |line: &mut Line, n: i64| {
        line.append(Sample { timestamp_ms: n * 1000, value: 0.0 }, 1);
    };
    (0..361).for_each(|n| append(&mut line, n));
    let first = line.next_sealed();
    line.mark_listed(first);
    // The second checkpoint froze while the first one's chunks were still there, and marks after they went.
    (361..481).for_each(|n| append(&mut line, n));
    let second = line.next_sealed();
    assert_eq!((first, second, line.unlisted().len()), (3, 4, 1));
    line.drop_listed(first);
    (481..601).for_each(|n| append(&mut line, n));
    line.mark_listed(second);
    assert_eq!((line.sealed.len(), line.unlisted().len()), (2, 1), "what was sealed since the freeze stays unlisted");
    line.drop_listed(second);
    assert_eq!((line.sealed.len(), line.unlisted().len(), line.stored), (1, 1, Some((0, 479_000))));
}

#[test]
fn slots_are_used_again_and_tables_follow() {
    let mut head = Head::default();
    let series = |sid: u32| Series { sid, metric: 0, fp128: u128::from(sid) << 70 | 5, placement: 1, pairs: Arc::from([1, 2]) };
    for sid in 0..200 {
        assert_eq!(head.insert(series(sid), Line::default()), sid);
    }
    assert_eq!(head.remove(100).unwrap().sid, 100);
    assert!(head.remove(100).is_none());
    assert_eq!((head.live(), head.slot_of_sid(100), head.slot_of_fp(100 << 70 | 5)), (199, None, None));
    let frozen = head.freeze();
    assert_eq!(head.insert(series(900), Line::default()), 100);
    assert_eq!((head.slot_of_sid(900), head.slot_of_fp(900 << 70 | 5), head.live()), (Some(100), Some(100), 200));
    assert_eq!(frozen.slots().count(), 199);
}
