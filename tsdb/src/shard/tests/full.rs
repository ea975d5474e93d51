//! Chunks that are sealed when their last sample comes: their series have no open chunk, and nothing may tell.

use super::records::record_rows;
use super::*;
use crate::head::{Line, SEAL_SAMPLES};
use crate::verdict::Refusal;
use model::sample::stale_nan;

const STEP: i64 = 15_000;
const FULL: i64 = SEAL_SAMPLES as i64;

/// A form of [`record_rows`]; none is a plain float.
type Form = Option<u8>;

/// What series `n` sends as its sample number `i`: plain floats to the end, or with a stale marker, histograms, starts.
fn form(n: u32, i: i64) -> Form {
    match n {
        1 => None,
        2 => (i == FULL - 1).then_some(6),
        3 => Some((i % 4) as u8),
        4 => Some(8),
        // A histogram, a float among them, and the stale marker of a histogram.
        5 if i == FULL - 1 => Some(6),
        5 => (i % 2 == 0).then_some(3),
        _ => None,
    }
}

fn write_one(replica: &mut Replica, batch: u128, n: u32, t: i64, form: Form) -> PartVerdict {
    let now = replica.shard.time_ms().max(t);
    match form {
        None => replica.write(now, batch, &[(series(n), t, (t / STEP % 1000) as f64)]),
        Some(form) => replica.write_rows(now, batch, &record_rows(&[(n, t, form)])),
    }
}

fn filled(count: i64) -> Replica {
    let mut replica = Replica::new();
    for i in 0..count {
        for n in 1..=6 {
            let verdict = write_one(&mut replica, (i as u128) << 8 | u128::from(n), n, T0 + i * STEP, form(n, i));
            assert_eq!(verdict.accepted, 1, "series {n} sample {i}");
        }
    }
    replica
}

fn lines(shard: &Shard) -> Vec<Line> {
    shard.with_head(|head| (0..head.slot_count()).filter_map(|slot| head.line(slot).cloned()).collect())
}

fn check_same(one: &Arc<Shard>, other: &Arc<Shard>) {
    let (one, other) = (one.read_view(), other.read_view());
    let ranges = [(i64::MIN, i64::MAX), (T0 + (FULL - 2) * STEP, i64::MAX), (T0 + 5, T0 + (FULL - 1) * STEP), (T0, T0 + STEP)];
    for (after_ms, to_ms) in ranges {
        let range = TimeRange { after_ms, to_ms };
        assert_eq!(contents_of(&one, &[], range), contents_of(&other, &[], range));
        assert_newest(&one, &[], range);
        let values = |view: &crate::view::ReadView| view.label_values("instance", &[], range, 0).unwrap();
        assert_eq!(values(&one), values(&other));
    }
}

#[test]
fn c2_full_chunks_are_sealed_at_once_and_the_next_checkpoint_moves_them_into_parts() {
    let mut replica = filled(FULL);
    let full = |line: &Line| line.open.is_none() && line.unlisted().len() == 1;
    assert!(lines(&replica.shard).iter().all(full), "{:?}", lines(&replica.shard));
    let bytes = replica.shard.with_head(|head| head.sample_bytes);
    assert_eq!(bytes, lines(&replica.shard).iter().map(Line::bytes).sum::<u64>());
    let never_written = replica.full_replay();
    replica.shard.checkpoint().unwrap();
    assert!(lines(&replica.shard).iter().all(Line::is_all_stored), "nothing is left to write again");
    assert_eq!(replica.shard.with_head(|head| head.sample_bytes), 0);
    check_same(&replica.shard, &never_written.shard);
    replica = replica.restart();
    assert!(lines(&replica.shard).iter().all(Line::is_all_stored));
    check_same(&replica.shard, &never_written.shard);
}

#[test]
fn c6_verdicts_on_the_newest_sample_are_the_same_when_its_chunk_was_sealed_by_it() {
    // Nothing moved to parts; moved; and begun anew from them.
    for state in 0..3 {
        let mut replica = filled(FULL);
        if state > 0 {
            replica.shard.checkpoint().unwrap();
        }
        if state > 1 {
            replica = replica.restart();
        }
        let newest = T0 + (FULL - 1) * STEP;
        for n in 1..=6 {
            let again = write_one(&mut replica, 1 << 64 | u128::from(n), n, newest, form(n, FULL - 1));
            assert_eq!((again.accepted, again.unchanged), (0, 1), "series {n} in state {state}");
            let other = replica.write(newest, 2 << 64 | u128::from(n), &[(series(n), newest, -3.5)]);
            assert_eq!((other.accepted, other.first_error.map(|error| error.kind)), (0, Some(Refusal::Duplicate)), "series {n}");
            let between = replica.write(newest, 3 << 64 | u128::from(n), &[(series(n), newest - 1, 2.0)]);
            assert_eq!(between.accepted, 1, "series {n} in state {state}");
            let next = replica.write(newest + STEP, 4 << 64 | u128::from(n), &[(series(n), newest + STEP, stale_nan())]);
            let is_histogram = matches!(n, 3 | 5);
            assert_eq!((next.accepted, next.histograms), (1, u32::from(is_histogram)), "series {n} in state {state}");
        }
        let other = replica.full_replay();
        check_same(&replica.shard, &other.shard);
    }
}

#[test]
fn c14_a_delete_hides_the_newest_sample_of_a_series_that_has_nothing_open() {
    for checkpoint in [false, true] {
        let mut replica = filled(FULL);
        if checkpoint {
            replica.shard.checkpoint().unwrap();
        }
        let newest = T0 + (FULL - 1) * STEP;
        let of_one = vec![Matcher::equal("instance", "host-1")];
        replica.apply(life::delete(newest, newest, of_one.clone()));
        let range = TimeRange { after_ms: newest - 1, to_ms: i64::MAX };
        let view = replica.shard.read_view();
        assert!(contents_of(&view, &of_one, range).is_empty());
        assert_newest(&view, &[], range);
        assert!(!view.label_values("instance", &[], range, 0).unwrap().contains(&"host-1".to_owned()));
        drop(view);
        // What comes in its place carries a start, which a read of the newest alone must not lose.
        assert_eq!(replica.write_rows(newest, 1 << 70, &record_rows(&[(1, newest, 8)])).accepted, 1);
        assert_newest(&replica.shard.read_view(), &[], range);
        replica.shard.checkpoint().unwrap();
        let replica = replica.restart();
        assert_newest(&replica.shard.read_view(), &[], range);
        check_same(&replica.shard, &replica.full_replay().shard);
    }
}

#[test]
fn c6_series_whose_chunks_are_all_in_parts_leave_the_head_and_come_back() {
    let mut replica = filled(2 * FULL);
    replica.shard.checkpoint().unwrap();
    let later = T0 + 200 * HOUR;
    replica.apply(entry::evict_idle(later));
    assert_eq!(replica.shard.with_head(Head::live), 0);
    let newest = T0 + (2 * FULL - 1) * STEP;
    let again = write_one(&mut replica, 1 << 64, 1, newest, None);
    assert_eq!((again.accepted, again.unchanged), (0, 1));
    assert_newest(&replica.shard.read_view(), &[], TimeRange::ALL);
    let next = replica.write(later, 2 << 64, &[(series(1), later, 1.0)]);
    assert_eq!(next.accepted, 1);
    let held: usize = replica.contents(&[Matcher::equal("instance", "host-1")]).values().map(Vec::len).sum();
    assert_eq!(held as i64, 2 * FULL + 1);
}
