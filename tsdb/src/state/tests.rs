use super::ring::KEEP_MS;
use super::*;
use crate::entry::PartKey;
use crate::head::{Line, Series};
use crate::verdict::{FirstError, PartVerdict, Refusal};
use model::{Generation, ShardId, hash::jump_hash};
use proptest::collection::vec;
use proptest::prelude::*;

fn key(n: u128) -> PartKey {
    PartKey { batch_id: n, hash: 1, generation: 1 }
}

#[test]
fn c7_batch_ring_forgets_by_entry_time_and_keeps_only_final_verdicts() {
    let mut ring = BatchRing::default();
    let accepted = PartVerdict { accepted: 3, ..PartVerdict::default() };
    ring.put(1000, key(1), &accepted);
    ring.put(1000, key(2), &PartVerdict { stale_rows: vec![1], ..PartVerdict::default() });
    ring.put(1000, key(3), &PartVerdict { unresolved: true, ..PartVerdict::default() });
    assert_eq!((ring.len(), ring.get(&key(1))), (1, Some(&accepted)));
    assert!(ring.get(&PartKey { hash: 2, ..key(1) }).is_none() && ring.get(&PartKey { generation: 2, ..key(1) }).is_none());
    ring.expire(1000 + KEEP_MS);
    assert_eq!(ring.len(), 1);
    ring.expire(1001 + KEEP_MS);
    assert_eq!((ring.len(), ring.get(&key(1))), (0, None));
}

#[test]
fn c7_batch_ring_is_bounded_in_bytes_too() {
    let mut ring = BatchRing::default();
    let error = FirstError { ordinal: 0, kind: Refusal::Duplicate, labels: "x".repeat(32 << 10), timestamp_ms: 0 };
    let refused = PartVerdict { first_error: Some(error), ..PartVerdict::default() };
    for n in 0..2000 {
        ring.put(1000, key(n), &refused);
    }
    assert!((900..1024).contains(&ring.len()), "{}", ring.len());
    assert!(ring.get(&key(0)).is_none() && ring.get(&key(1999)).is_some());
}

#[test]
fn c5_entry_time_never_goes_back() {
    let mut state = Replicated::default();
    for (stamped, expected) in [(100, 100), (50, 100), (101, 101), (i64::MIN, 101)] {
        state.advance(stamped);
        assert_eq!(state.time_ms, expected);
    }
}

#[test]
fn limits_of_a_version_not_above_the_last_change_nothing() {
    let mut state = Replicated::default();
    let limits = |version, late_window_ms| Limits { version, late_window_ms, ..Limits::default() };
    state.set_limits(limits(2, 5));
    state.set_limits(limits(2, 6));
    state.set_limits(limits(1, 7));
    assert_eq!(state.limits, limits(2, 5));
}

fn generation(generation: u64, rev: u64, from_ms: i64, shards: &[u64]) -> Generation {
    Generation { generation, rev, from_ms, shards: shards.iter().map(|s| ShardId(*s)).collect() }
}

#[test]
fn c8_list_puts_every_sample_on_exactly_one_shard() {
    let mut map = ShardMap::default();
    assert!(!map.places(ShardId(1), 5, 0), "no list, no sample");
    map.open(7, vec![generation(1, 1, i64::MIN, &[1, 2, 3])]);
    assert!(map.keeps_accepted_series());
    map.open(7, vec![generation(1, 1, i64::MIN, &[1, 2, 3])]);
    assert!(map.keeps_accepted_series(), "the same list again changes nothing");
    map.open(7, vec![generation(1, 1, i64::MIN, &[9]), generation(2, 2, 1000, &[1, 2, 3, 4, 5])]);
    assert!(!map.keeps_accepted_series());
    for placement in 0..500u64 {
        let placement = placement.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for t in [i64::MIN, 0, 999, 1000, i64::MAX] {
            let at: Vec<u64> = (1..=9).filter(|s| map.places(ShardId(*s), placement, t)).collect();
            let expected = if t < 1000 { 1 + u64::from(jump_hash(placement, 3)) } else { 1 + u64::from(jump_hash(placement, 5)) };
            assert_eq!(at, [expected]);
        }
    }
    map.open(7, vec![generation(2, 3, 2000, &[1])]);
    assert!(map.places(ShardId(1), 0, 2000) && map.generations.len() == 2);
}

#[test]
fn c8_a_fence_is_taken_once_and_only_if_nothing_here_belongs_elsewhere() {
    let mut map = ShardMap::default();
    map.open(7, vec![generation(1, 1, i64::MIN, &[1])]);
    let grown = generation(2, 2, 1000, &[1, 2]);
    map.fence(grown.clone(), |_| true);
    assert_eq!((map.generations.len(), map.seen_rev), (1, 2), "committed is not accepted");
    map.fence(grown, |_| false);
    assert_eq!(map.generations.len(), 1, "a revision is judged once");
    let again = generation(2, 3, 2000, &[1, 2]);
    map.fence(again.clone(), |_| false);
    assert_eq!(map.generations.last(), Some(&again));
    assert!(map.is_newer_than(2, 0, 2000) && !map.is_newer_than(2, 0, 1999) && !map.is_newer_than(3, 0, 2000));
    map.unfence(2, 2);
    assert_eq!(map.generations.len(), 2, "an older revision's end is no end of this one");
    map.unfence(2, 3);
    assert_eq!(map.generations.len(), 1);
    map.fence(again, |_| false);
    assert_eq!(map.generations.len(), 1, "what was taken back does not come again");
    map.unfence(2, 4);
    map.fence(generation(2, 4, 2000, &[1, 2]), |_| false);
    assert_eq!(map.generations.len(), 1, "nor does it come after its end");
    map.fence(generation(2, 5, i64::MIN, &[1, 2]), |_| false);
    assert_eq!(map.generations.len(), 1, "time goes forward");
    map.open(7, vec![generation(1, 1, i64::MIN, &[1]), generation(2, 6, 3000, &[1, 2])]);
    assert!(map.is_newer_than(5, 3000, 3000) && !map.keeps_accepted_series());
    let moves = |placement: &u64| jump_hash(*placement, 2) == 1;
    let (stays, moved) = ((0..).find(|p| !moves(p)).unwrap(), (0..).find(moves).unwrap());
    assert!(map.always_places(ShardId(1), stays) && !map.always_places(ShardId(1), moved));
}

/// Takes everything and keeps what it has to.
#[derive(Default)]
struct Sink {
    state: Replicated,
    exemplars: Exemplars,
    families: Families,
    taken: usize,
}

impl Restored for Sink {
    fn replicated(&mut self, _: Replicated) {
        self.taken += 1;
    }
    fn ring(&mut self) -> &mut BatchRing {
        &mut self.state.ring
    }
    fn exemplars(&mut self) -> &mut Exemplars {
        &mut self.exemplars
    }
    fn families(&mut self) -> &mut Families {
        &mut self.families
    }
    fn tombstone(&mut self, _: Tombstone) {
        self.taken += 1;
    }
    fn pair(&mut self, _: u32, _: &str, _: &str) {
        self.taken += 1;
    }
    fn series(&mut self, _: Series, _: Line) {
        self.taken += 1;
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_as_a_page_of_a_checkpoint_or_refused(
        kind in 0u8..9,
        bytes in vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..400),
    ) {
        let page: Vec<u8> = [3, kind].into_iter().chain(bytes).collect();
        let mut sink = Sink::default();
        let _ = read_page(&page, &mut sink);
        prop_assert!(sink.taken < page.len());
    }
}
