//! Deletes, days that end and retention against a plain model.

use super::*;
use crate::entry::Delete;
use crate::store::{PartKind, Step};
use crate::view::ReadError;
use model::MatchOp;
use proptest::collection::vec;
use proptest::prelude::*;

const DAY_MS: i64 = 24 * HOUR;
const LATE: i64 = 3 * HOUR;
const KEPT: i64 = 3 * DAY_MS;
static RUNNING: AtomicBool = AtomicBool::new(false);

pub(super) fn delete(first_ms: i64, last_ms: i64, matchers: Vec<Matcher>) -> Bytes {
    entry::delete(&Delete { known_revision: 1, first_ms, last_ms, matcher_sets: vec![matchers] }).unwrap()
}

fn kinds(shard: &Shard) -> Vec<PartKind> {
    shard.store().view().parts().iter().map(|part| part.kind).filter(|kind| kind.has_samples()).collect()
}

fn tombstones(shard: &Shard) -> usize {
    shard.hidden().0.len()
}

/// What the shard should hold, and what it should say to a write.
struct Model {
    series: BTreeMap<String, (Labels, BTreeMap<i64, u64>, i64)>,
    now_ms: i64,
    dropped_before_ms: i64,
    bounds: Option<(i64, i64)>,
}

impl Model {
    fn new() -> Self {
        Self { series: BTreeMap::new(), now_ms: T0, dropped_before_ms: 0, bounds: None }
    }

    /// (accepted, unchanged, refused)
    fn write(&mut self, rows: &[(Labels, i64, f64)]) -> (u32, u32, u32) {
        let mut verdict = (0, 0, 0);
        for (labels, t, value) in rows {
            let (t, bits) = (*t, value.to_bits());
            let known = self.series.get(&labels.to_string());
            let newest = known.map_or(i64::MIN, |(.., newest)| *newest);
            let present = known.and_then(|(_, samples, _)| samples.get(&t).copied());
            let window = if t > newest { LATE } else { HOUR };
            let is_dropped = t < self.dropped_before_ms || t < self.now_ms - KEPT;
            if t > self.now_ms + 600_000 || is_dropped || (present.is_some() && present != Some(bits)) {
                verdict.2 += 1;
            } else if present.is_some() {
                verdict.1 += 1;
            } else if t < self.now_ms - window {
                verdict.2 += 1;
            } else {
                let (_, samples, newest) = self.series.entry(labels.to_string()).or_insert_with(|| (labels.clone(), BTreeMap::new(), t));
                samples.insert(t, bits);
                *newest = t.max(*newest);
                self.bounds = Some(crate::head::join(self.bounds, t, t));
                verdict.0 += 1;
            }
        }
        verdict
    }

    fn delete(&mut self, first_ms: i64, last_ms: i64, matchers: &[Matcher]) {
        for (labels, samples, _) in self.series.values_mut() {
            if matchers.iter().all(|m| m.matches_labels(labels)) {
                samples.retain(|t, _| *t < first_ms || *t > last_ms);
            }
        }
    }

    fn drop_days(&mut self) {
        let before = (self.now_ms - KEPT).div_euclid(DAY_MS) * DAY_MS;
        self.dropped_before_ms = self.dropped_before_ms.max(before);
        self.series.values_mut().for_each(|(_, samples, _)| samples.retain(|t, _| *t >= before));
    }

    fn contents(&self, range: TimeRange) -> BTreeMap<String, Vec<(i64, u64)>> {
        let cut = self.series.iter().map(|(name, (_, samples, _))| {
            let inside = samples.iter().filter(|(t, _)| **t > range.after_ms && **t <= range.to_ms);
            (name.clone(), inside.map(|(t, bits)| (*t, *bits)).collect::<Vec<_>>())
        });
        cut.filter(|(_, samples)| !samples.is_empty()).collect()
    }
}

#[derive(Clone, Debug)]
enum Action {
    /// (series, milliseconds before entry time, value)
    Write(Vec<(u32, i64, u8)>),
    /// In-order samples of all series over a time.
    Run(u16),
    Advance(i64),
    Delete(u8, i64, i64),
    DropDay,
    Evict,
    Checkpoint,
    Rewrite,
    Clean,
    /// A checkpoint, if false, or a rewrite that ends at a step.
    Crash(bool, usize),
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    let ago = prop_oneof![3 => 0i64..90_000, 3 => 0i64..2 * HOUR, 1 => 0i64..90 * HOUR];
    prop_oneof![
        4 => vec((0u32..6, ago, 0u8..2), 1..10).prop_map(Action::Write),
        4 => (10u16..400).prop_map(Action::Run),
        3 => (HOUR..30 * HOUR).prop_map(Action::Advance),
        3 => (0u8..3, 0i64..60 * HOUR, 0i64..60 * HOUR).prop_map(|(kind, a, b)| Action::Delete(kind, a.max(b), a.min(b))),
        1 => Just(Action::DropDay),
        2 => Just(Action::Evict),
        4 => Just(Action::Checkpoint),
        4 => Just(Action::Rewrite),
        1 => Just(Action::Clean),
        3 => (any::<bool>(), 0..Step::CHECKPOINT.len()).prop_map(|(rewrite, step)| Action::Crash(rewrite, step)),
        1 => Just(Action::Restart),
    ]
}

struct Story {
    replica: Option<Replica>,
    model: Model,
    batch: u128,
}

impl Story {
    fn new() -> Self {
        let mut replica = Replica::new();
        let limits = Limits { version: 1, out_of_order_window_ms: HOUR, late_window_ms: LATE, retention_ms: KEPT, ..Limits::default() };
        replica.apply(entry::set_limits(&limits));
        Self { replica: Some(replica), model: Model::new(), batch: 0 }
    }

    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().unwrap()
    }

    fn write(&mut self, rows: &[(Labels, i64, f64)]) {
        self.batch += 1;
        let (now_ms, batch) = (self.model.now_ms, self.batch);
        let verdict = self.replica().write(now_ms, batch, rows);
        let told = (verdict.accepted, verdict.unchanged, verdict.rejected_total());
        assert_eq!(told, self.model.write(rows), "{rows:?}");
    }

    fn play(&mut self, action: Action) {
        let now_ms = self.model.now_ms;
        match action {
            Action::Write(rows) => {
                let rows: Vec<_> = rows.into_iter().map(|(n, ago, value)| (series(n), now_ms - ago, f64::from(value))).collect();
                self.write(&rows);
            }
            Action::Run(samples) => {
                self.model.now_ms += i64::from(samples) * 30_000;
                let times = (1..=i64::from(samples)).map(|i| now_ms + i * 30_000);
                let rows: Vec<_> = times.flat_map(|t| (0..3).map(move |n| (series(n), t, (t % 7919) as f64))).collect();
                self.write(&rows);
            }
            Action::Advance(by) => {
                self.model.now_ms += by;
                self.replica().apply(entry::tick(now_ms + by));
            }
            Action::Delete(kind, from, to) => {
                let matchers = match kind {
                    0 => vec![Matcher::equal("__name__", "up")],
                    1 => vec![Matcher::new("instance", MatchOp::NotRegex, "host-(0|4)").unwrap()],
                    _ => vec![Matcher::equal("instance", "host-1")],
                };
                self.replica().apply(delete(now_ms - from, now_ms - to, matchers.clone()));
                self.model.delete(now_ms - from, now_ms - to, &matchers);
            }
            Action::DropDay => {
                self.replica().apply(entry::drop_day(now_ms, now_ms));
                self.model.drop_days();
            }
            Action::Evict => drop(self.replica().apply(entry::evict_idle(now_ms))),
            Action::Checkpoint => drop(self.replica().shard.checkpoint().unwrap()),
            Action::Rewrite => drop(self.replica().shard.rewrite_due(&RUNNING).unwrap()),
            Action::Clean => {
                let replica = self.replica();
                replica.shard.clean_tombstones(&RUNNING).unwrap();
                assert_eq!(tombstones(&replica.shard), 0, "nothing is left to hide");
            }
            Action::Crash(is_rewrite, step) => {
                let replica = self.replica();
                replica.shard.checkpoint().unwrap();
                replica.apply(entry::tick(now_ms));
                replica.faults.stop_after(Step::CHECKPOINT[step]);
                let outcome = if is_rewrite { replica.shard.rewrite_due(&RUNNING).map(drop) } else { replica.shard.checkpoint().map(drop) };
                assert!(is_rewrite || outcome.is_err());
                self.replica = self.replica.take().map(Replica::restart);
            }
            Action::Restart => self.replica = self.replica.take().map(Replica::restart),
        }
    }

    fn check(&mut self) {
        let now_ms = self.model.now_ms;
        let view = self.replica().shard.read_view();
        for range in [TimeRange::ALL, TimeRange { after_ms: now_ms - 20 * HOUR, to_ms: now_ms - 2 * HOUR }] {
            let expected = self.model.contents(range);
            assert_eq!(contents_of(&view, &[], range), expected);
            assert_newest(&view, &[], range);
            let names: Vec<String> = view.series(&[], range, 0).unwrap().iter().map(Labels::to_string).collect();
            assert!(expected.keys().all(|name| names.contains(name)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn c14_deletes_retention_and_rewrites_answer_as_a_plain_model_through_crashes(actions in vec(action(), 1..40)) {
        let mut story = Story::new();
        for action in actions {
            story.play(action);
            story.check();
        }
    }
}

fn up(n: u32, t: i64, value: f64) -> (Labels, i64, f64) {
    (series(n), t, value)
}

#[test]
fn c14_deleted_series_reappears_with_new_samples_and_only_with_them() {
    let mut replica = Replica::new();
    let rows: Vec<_> = (0..200).map(|i| up(0, T0 + i * 15_000, 1.0)).collect();
    replica.write(T0 + 200 * 15_000, 1, &rows);
    replica.shard.checkpoint().unwrap();
    let now = T0 + 200 * 15_000;
    let everything = vec![Matcher::equal("instance", "host-0")];
    replica.apply(delete(i64::MIN, i64::MAX, everything.clone()));
    assert!(replica.contents(&[]).is_empty());
    let view = replica.shard.read_view();
    assert!(view.series(&[], TimeRange::ALL, 0).unwrap().is_empty());
    assert!(view.label_names(&[], TimeRange::ALL, 0).unwrap().is_empty());
    assert!(view.label_values("instance", &[], TimeRange::ALL, 0).unwrap().is_empty());
    drop(view);
    // Into the deleted interval, at the deleted newest sample, and behind it.
    let again = [up(0, T0 + 100 * 15_000, 7.0), up(0, T0 + 199 * 15_000, 8.0), up(0, now, 9.0)];
    assert_eq!(replica.write(now, 2, &again).accepted, 3);
    let expected: Vec<(i64, u64)> = again.iter().map(|(_, t, v)| (*t, v.to_bits())).collect();
    let holds = |replica: &Replica| assert_eq!(replica.contents(&[]).values().next(), Some(&expected));
    holds(&replica);
    let mut replica = replica.restart();
    holds(&replica);
    replica.shard.clean_tombstones(&RUNNING).unwrap();
    assert_eq!(tombstones(&replica.shard), 0);
    holds(&replica);
    let repeated = replica.write(now, 3, &again);
    assert_eq!((repeated.accepted, repeated.unchanged), (0, 3));
    holds(&replica.restart());
}

#[test]
fn c8_delete_of_an_asker_with_an_older_map_is_refused_and_hides_nothing() {
    let mut replica = Replica::new();
    replica.write(T0, 1, &[up(1, T0, 1.0)]);
    let newer = Generation { generation: 2, rev: 2, from_ms: T0 + HOUR, shards: vec![SHARD] };
    replica.apply(entry::open(KEY, &[newer]));
    let answer = ApplyResponse::decode(&replica.apply(delete(i64::MIN, i64::MAX, vec![Matcher::equal("instance", "host-1")]))).unwrap();
    assert!(!answer.parts[0].is_final());
    assert_eq!(replica.contents(&[]).len(), 1);
}

#[test]
fn c14_view_opened_before_a_delete_sees_everything_until_it_is_dropped() {
    let mut replica = Replica::new();
    let rows: Vec<_> = (0..300).map(|i| up(0, T0 + i * 15_000, 1.0)).collect();
    let now = T0 + 300 * 15_000;
    replica.write(now, 1, &rows);
    let before = replica.shard.read_view();
    replica.apply(delete(i64::MIN, i64::MAX, vec![Matcher::equal("instance", "host-0")]));
    replica.shard.clean_tombstones(&RUNNING).unwrap();
    assert_eq!(contents_of(&before, &[], TimeRange::ALL).into_values().map(|s| s.len()).sum::<usize>(), 300);
    assert!(replica.contents(&[]).is_empty());
    assert_eq!(tombstones(&replica.shard), 1, "the head still holds the samples for the older view");
    drop(before);
    replica.shard.clean_tombstones(&RUNNING).unwrap();
    assert_eq!(tombstones(&replica.shard), 0);
    assert!(replica.contents(&[]).is_empty());
}

#[test]
fn c3_day_that_is_over_becomes_one_part_and_open_days_few() {
    let mut replica = Replica::new();
    let day = (T0.div_euclid(DAY_MS) + 1) * DAY_MS;
    for flush in 0..20i64 {
        let from = day + flush * HOUR;
        let rows: Vec<_> = (0..240).flat_map(|i| (0..3).map(move |n| up(n, from + i * 15_000, (i * 3) as f64))).collect();
        assert_eq!(replica.write(from + HOUR, flush as u128, &rows).accepted, 720);
        replica.write(from + HOUR, 100 + flush as u128, &[up(1, from + 7, 1.0)]);
        replica.shard.checkpoint().unwrap();
        while replica.shard.rewrite_due(&RUNNING).unwrap().is_some() {}
        assert!(kinds(&replica.shard).iter().filter(|kind| **kind == PartKind::Flush).count() < 8);
    }
    assert!(kinds(&replica.shard).contains(&PartKind::Merged));
    let expected = replica.contents(&[]);
    let bytes = |shard: &Shard| shard.store().view().parts().iter().map(|part| part.bytes).sum::<u64>();
    let before = bytes(&replica.shard);
    let now = day + DAY_MS + LATE + HOUR + 1;
    replica.apply(entry::evict_idle(now));
    replica.shard.checkpoint().unwrap();
    while replica.shard.rewrite_due(&RUNNING).unwrap().is_some() {}
    assert_eq!(kinds(&replica.shard), [PartKind::Day]);
    assert!(bytes(&replica.shard) < before, "{} bytes are not less than {before}", bytes(&replica.shard));
    assert_eq!(replica.contents(&[]), expected);
    assert_eq!(replica.restart().contents(&[]), expected);
}

#[test]
fn c5_dropped_days_are_gone_for_readers_at_once_and_from_the_disk_with_the_next_checkpoint() {
    let mut replica = Replica::new();
    replica.apply(entry::set_limits(&Limits { version: 1, retention_ms: KEPT, ..Limits::default() }));
    for day in 0..5i64 {
        let at = T0 + day * DAY_MS;
        replica.write(at, day as u128, &[up(1, at, day as f64)]);
        replica.apply(entry::evict_idle(at + 4 * HOUR));
        replica.shard.checkpoint().unwrap();
    }
    let now = T0 + 4 * DAY_MS + 4 * HOUR;
    let before = replica.shard.wants_drop_day(now).unwrap();
    assert!(before <= now - KEPT);
    let old = replica.shard.read_view();
    replica.apply(entry::drop_day(now, before));
    assert_eq!(replica.shard.wants_drop_day(now), None);
    let left = replica.contents(&[]);
    assert_eq!(left.values().map(Vec::len).sum::<usize>(), 3);
    assert_eq!(replica.shard.store().view().parts().first().map(|part| part.day.first_ms() < before), Some(true));
    replica.shard.checkpoint().unwrap();
    assert_eq!(replica.shard.store().view().parts().first().map(|part| part.day.first_ms() < before), Some(false));
    assert_eq!(contents_of(&old, &[], TimeRange::ALL).values().map(Vec::len).sum::<usize>(), 5, "an older view keeps what it lists");
    drop(old);
    let refused = replica.write(now, 9, &[up(9, before - 1, 1.0)]);
    assert_eq!((refused.accepted, refused.rejected_total()), (0, 1));
    assert_eq!(replica.restart().contents(&[]), left);
}

#[test]
fn rewrite_that_is_stopped_changes_nothing_and_the_next_one_goes_through() {
    let mut replica = Replica::new();
    replica.write(T0, 1, &[up(1, T0, 1.0), up(2, T0, 1.0)]);
    replica.apply(entry::evict_idle(T0 + 2 * DAY_MS));
    replica.shard.checkpoint().unwrap();
    let listed: Vec<_> = replica.shard.store().view().parts().to_vec();
    assert!(matches!(replica.shard.rewrite_due(&AtomicBool::new(true)), Err(StoreError::Cancelled)));
    assert_eq!(replica.shard.store().view().parts(), listed);
    assert!(replica.shard.rewrite_due(&RUNNING).unwrap().is_some());
    assert!(!replica.shard.wants_rewrite());
}

/// Changes one byte in every value of a part.
fn damage(shard: &Shard, part: &crate::store::Part) {
    crate::store::damage_part(&shard.store(), part, |value| {
        let middle = value.len() / 2;
        value[middle] ^= 4;
    });
}

/// Reads all parts once; gives the number of damaged ones.
fn scrub(shard: &Shard) -> usize {
    let (mut place, mut damaged) = (None, 0);
    while let Some(scrubbed) = shard.scrub_next(place, &RUNNING).unwrap() {
        place = Some(scrubbed.place);
        damaged += usize::from(scrubbed.is_damaged);
    }
    damaged
}

fn with_two_days() -> Replica {
    let mut replica = Replica::new();
    for day in 0..2 {
        let from = T0 + day * DAY_MS;
        let rows: Vec<_> = (0..200).flat_map(|i| (0..5).map(move |n| up(n, from + i * 15_000, i as f64))).collect();
        replica.write(from + HOUR, day as u128, &rows);
        replica.apply(entry::evict_idle(from + 10 * HOUR));
        replica.shard.checkpoint().unwrap();
        replica.apply(entry::evict_idle(from + 20 * HOUR));
    }
    replica
}

#[test]
fn damaged_samples_are_found_and_quarantined_and_never_read_as_missing() {
    let replica = with_two_days();
    assert_eq!(scrub(&replica.shard), 0);
    let part = *replica.shard.store().view().parts().iter().find(|part| part.kind.has_samples()).unwrap();
    damage(&replica.shard, &part);
    assert_eq!(scrub(&replica.shard), 1);
    assert_eq!(scrub(&replica.shard), 0, "it is known");
    let refuses = |replica: &Replica| {
        let view = replica.shard.read_view();
        let all = view.select(&[], TimeRange::ALL, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(&all, ReadError::Store(StoreError::Quarantined { part: found, .. }) if *found == part.id), "{all}");
        assert!(all.is_damage() && !all.is_retriable());
        let other_day = TimeRange { after_ms: part.day.last_ms(), to_ms: i64::MAX };
        assert_eq!(contents_of(&view, &[], other_day).len(), 5, "other days are answered");
        assert_eq!(replica.shard.damaged_days(), [(part.day, true)]);
        assert!(replica.shard.store().export().next_block().is_err(), "nobody gets a copy of it");
    };
    refuses(&replica);
    refuses(&replica.restart());
}

#[test]
fn damaged_index_is_built_anew_from_the_samples() {
    let replica = with_two_days();
    let expected = replica.contents(&[]);
    let index = *replica.shard.store().view().parts().iter().find(|part| !part.kind.has_samples()).unwrap();
    damage(&replica.shard, &index);
    assert_eq!(scrub(&replica.shard), 1);
    assert_eq!(replica.shard.damaged_days(), [(index.day, false)]);
    while replica.shard.rewrite_due(&RUNNING).unwrap().is_some() {}
    assert_eq!(replica.shard.damaged_days(), []);
    assert_eq!(replica.contents(&[]), expected);
    assert_eq!(scrub(&replica.shard), 0);
    assert_eq!(replica.restart().contents(&[]), expected);
}

#[test]
fn checkpoint_goes_through_beside_a_damaged_index_that_nobody_has_found() {
    let mut replica = Replica::new();
    let write = |replica: &mut Replica, from: i64| {
        let rows: Vec<_> = (from..from + 150).map(|i| up(1, T0 + i * 15_000, i as f64)).collect();
        assert_eq!(replica.write(T0 + (from + 150) * 15_000, from as u128, &rows).accepted, 150);
        replica.shard.checkpoint().unwrap();
    };
    write(&mut replica, 0);
    let index = *replica.shard.store().view().parts().iter().find(|part| !part.kind.has_samples()).unwrap();
    damage(&replica.shard, &index);
    write(&mut replica, 150);
    assert_eq!(scrub(&replica.shard), 1);
    while replica.shard.rewrite_due(&RUNNING).unwrap().is_some() {}
    assert_eq!(replica.contents(&[]), replica.full_replay().contents(&[]));
}

#[test]
fn rewrite_of_a_damaged_part_fails_and_leaves_it_listed() {
    let replica = with_two_days();
    let listed = replica.shard.store().view().parts().to_vec();
    let part = *listed.iter().find(|part| part.kind.has_samples()).unwrap();
    damage(&replica.shard, &part);
    assert!(replica.shard.rewrite_due(&RUNNING).unwrap_err().is_damage());
    assert_eq!(replica.shard.store().view().parts(), listed);
}

/// A replica whose first day is over and in its final form.
fn with_final_day() -> Replica {
    let replica = with_two_days();
    while replica.shard.rewrite_due(&RUNNING).unwrap().is_some() {}
    replica
}

#[test]
fn c1_replicas_compare_what_they_hold_of_a_day_that_is_over() {
    let mut leader = with_final_day();
    let mut lazy = leader.full_replay();
    let day = leader.shard.wants_day_digest().unwrap();
    let digest = leader.shard.day_digest(day).unwrap().unwrap();
    for replica in [&mut leader, &mut lazy] {
        replica.apply(entry::day_digest(digest));
        assert!(replica.shard.wants_digest_check());
        assert_eq!(replica.shard.check_digest().unwrap(), Some(DigestCheck::Same), "wherever the samples lie");
        assert_eq!(replica.shard.check_digest().unwrap(), None);
    }
    assert_eq!(leader.shard.wants_day_digest(), None, "once");
    // A replica that applied something else.
    let mut other = Replica::new();
    for payload in leader.log.iter().skip(2) {
        other.apply(payload.clone());
        if other.log.len() == 6 {
            assert_eq!(other.write(T0 + DAY_MS + HOUR, 77, &[up(9, T0 + DAY_MS + 1, 5.0)]).accepted, 1);
        }
    }
    assert_eq!(other.shard.check_digest().unwrap(), Some(DigestCheck::Different));
}

#[test]
fn c1_a_day_that_a_delete_changed_meanwhile_is_not_compared() {
    let mut replica = with_final_day();
    let day = replica.shard.wants_day_digest().unwrap();
    let digest = replica.shard.day_digest(day).unwrap().unwrap();
    replica.apply(delete(i64::MIN, i64::MAX, vec![Matcher::equal("instance", "host-2")]));
    replica.apply(entry::day_digest(digest));
    assert_eq!(replica.shard.check_digest().unwrap(), Some(DigestCheck::Unknown));
    let again = replica.shard.day_digest(day).unwrap().unwrap();
    assert_ne!(again.digest, digest.digest);
    replica.apply(entry::day_digest(again));
    assert_eq!(replica.shard.check_digest().unwrap(), Some(DigestCheck::Same));
}

#[test]
fn damaged_day_is_replaced_by_what_another_replica_holds() {
    let mut replica = with_two_days();
    let healthy = replica.full_replay();
    let part = *replica.shard.store().view().parts().iter().find(|part| part.kind.has_samples()).unwrap();
    damage(&replica.shard, &part);
    assert_eq!(scrub(&replica.shard), 1);
    let repair = replica.shard.begin_repair(part.day).unwrap();
    // Applied while the repair is under way.
    replica.apply(delete(part.first_ms, part.first_ms + HOUR / 6, vec![Matcher::equal("instance", "host-3")]));
    let pieces = [(part.day.first_ms() - 1, part.first_ms + HOUR / 3), (part.first_ms + HOUR / 3, part.day.last_ms())];
    for (after_ms, to_ms) in pieces {
        let mut piece = Vec::new();
        let view = healthy.shard.read_view();
        view.select(&[], TimeRange { after_ms, to_ms }, |series| {
            piece.push(RepairSeries { labels: series.labels.clone(), samples: series.samples() });
            ControlFlow::Continue(())
        })
        .unwrap();
        replica.shard.add_repaired(&repair, piece).unwrap();
        assert!(replica.shard.read_view().select(&[], TimeRange::ALL, |_| ControlFlow::Continue(())).is_err(), "not before it is whole");
    }
    replica.shard.finish_repair(&repair).unwrap();
    assert_eq!((replica.shard.damaged_days(), replica.shard.begin_repair(part.day)), (vec![], None));
    let expected = replica.full_replay().contents(&[]);
    assert_eq!(replica.contents(&[]), expected);
    while replica.shard.rewrite_due(&RUNNING).unwrap().is_some() {}
    assert_eq!(replica.contents(&[]), expected);
    assert_eq!(scrub(&replica.shard), 0);
    assert_eq!(replica.restart().contents(&[]), expected);
}
