//! Shards, routers and readers with views of any age, interleaved at random: every sample that was acknowledged is read once, by whoever
//! gets an answer.

use super::*;
use crate::meta::testing::{founded, workspace};
use crate::query::scatter::shards_in_range;
use model::seal::Seal;
use model::{GenerationList, Labels, LogPoint, ReplicaId, Sample, WorkspaceId, hash};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use tsdb::config::ShardConfig;
use tsdb::db::{Db, DbOptions, ShardIdentity};
use tsdb::entry::Origin;
use tsdb::resolve::{EntryBuilder, PartInput};
use tsdb::rows::{RowsBuilder, push_label};
use tsdb::shard::Shard;
use tsdb::store::FaultPlan;
use tsdb::verdict::{ApplyResponse, PartVerdict};
use tsdb::view::TimeRange;

/// As the tests' workspaces have it.
const KEY: u64 = 7;
const T0: i64 = 1_700_000_000_000;
const SECOND: i64 = 1000;
const LEAD: i64 = 60 * SECOND;
const SERIES: u32 = 24;
const VIEWS: usize = 3;
/// How long a shard gives a verdict again, in entry time.
const REMEMBERED: i64 = 20 * SECOND;
/// Parts that routers may send again, and commands to the meta group that may come late.
const KEPT_MAX: usize = 8;

/// One shard with its log's next index.
struct Replica {
    shard: Arc<Shard>,
    next: u64,
    /// Whether it has a majority.
    is_up: bool,
    /// What its leader knows of the meta group.
    view: WorkspaceRecord,
}

impl Replica {
    fn apply(&mut self, entry: &[u8]) -> ApplyResponse {
        let response = self.shard.apply(LogPoint { term: 1, leader: ReplicaId(1), index: self.next }, entry).unwrap();
        self.next += 1;
        ApplyResponse::decode(&response).unwrap()
    }
}

/// A part of a write.
#[derive(Clone)]
struct SentPart {
    shard: u64,
    batch_id: u128,
    generation: u64,
    series: u32,
    samples: Vec<Sample>,
    /// The first final verdict, and when it was given.
    verdict: Option<(i64, PartVerdict)>,
}

/// A workspace with everything that concerns its map.
struct World {
    _folder: tempfile::TempDir,
    db: Db,
    meta: MetaState,
    now_ms: i64,
    shards: BTreeMap<u64, Replica>,
    routers: Vec<WorkspaceRecord>,
    readers: Vec<WorkspaceRecord>,
    acked: BTreeMap<(u32, i64), u64>,
    tried: BTreeMap<(u32, i64), BTreeSet<u64>>,
    writes: u64,
    answered: usize,
    /// What routers may send again, because they heard of no answer.
    sent: Vec<SentPart>,
    /// Commands on their way to the meta group.
    late: Vec<MetaCommand>,
}

fn labels(n: u32) -> Labels {
    Labels::from_pairs([("__name__", "m"), ("n", &n.to_string())])
}

/// Applies a part at its shard.
fn apply_part(replica: &mut Replica, part: &SentPart, now_ms: i64) -> PartVerdict {
    let labels = labels(part.series);
    let mut region = Vec::new();
    labels.iter().for_each(|(name, value)| push_label(&mut region, name.as_bytes(), value.as_bytes()));
    let mut rows = RowsBuilder::default();
    rows.series(0, hash::fp128(&labels, KEY), hash::placement_hash(&labels, KEY), &region);
    part.samples.iter().for_each(|sample| rows.sample(*sample));
    let rows = rows.finish();
    let mut entry = EntryBuilder::new(now_ms, 1);
    let input = PartInput { batch_id: part.batch_id, generation: part.generation, origin: Origin::RemoteWrite, rows: &rows };
    entry.add_part(&replica.shard, input).unwrap();
    let verdict = replica.apply(&entry.finish()).parts.remove(0);
    assert!(!verdict.unresolved);
    verdict
}

/// Whether a map puts a sample of a series on a shard.
fn is_on(map: &MapState, shard: ShardId, series: u32, t: i64) -> bool {
    let list = GenerationList::new(map.generations.to_vec()).unwrap();
    list.shard_of(t, hash::placement_hash(&labels(series), KEY)).is_some_and(|place| place.shard == shard)
}

impl World {
    fn new(shards: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            DbOptions { path: folder.path().to_path_buf(), memory_bytes: 16 << 20, seal: Seal::identity(), faults: FaultPlan::default() };
        let db = Db::open(options).unwrap();
        let mut meta = founded(&[""]);
        workspace(&mut meta, "w", shards);
        let record = meta.workspaces["w"].clone();
        let mut world = Self {
            _folder: folder,
            db,
            meta,
            now_ms: T0,
            shards: BTreeMap::new(),
            routers: vec![record.clone(); VIEWS],
            readers: vec![record; VIEWS],
            acked: BTreeMap::new(),
            tried: BTreeMap::new(),
            writes: 0,
            answered: 0,
            sent: Vec::new(),
            late: Vec::new(),
        };
        world.reconcile();
        world
    }

    fn record(&self) -> &WorkspaceRecord {
        &self.meta.workspaces["w"]
    }

    /// Opens the shards that the meta group lists and destroys the others.
    fn reconcile(&mut self) {
        let record = self.record().clone();
        let listed: Vec<u64> = self.meta.shards.keys().copied().collect();
        self.shards.retain(|shard, _| listed.contains(shard));
        for id in listed {
            if self.shards.contains_key(&id) {
                continue;
            }
            let identity = ShardIdentity { shard: ShardId(id), replica: ReplicaId(id), workspace: WorkspaceId::new("w") };
            let shard = Shard::open(self.db.create_shard(identity).unwrap(), ShardConfig::default()).unwrap();
            let mut replica = Replica { shard, next: 1, is_up: true, view: record.clone() };
            replica.apply(&tsdb::entry::open(KEY, &record.first_map(id)));
            self.shards.insert(id, replica);
        }
    }

    fn begin(&mut self, shards: u32) {
        let current: Vec<u64> = self.record().current_shards().to_vec();
        if current.iter().any(|shard| !self.shards.get(shard).is_some_and(|replica| replica.is_up)) {
            return;
        }
        let newest = current.iter().filter_map(|shard| self.shards[shard].shard.newest_sample_ms()).max().unwrap_or(0);
        let from_ms = self.now_ms.max(newest) + LEAD;
        self.meta.apply(MetaCommand::BeginScale {
            id: "w".into(),
            shards,
            from_ms,
            decide_by_ms: from_ms - LEAD / 5,
            interval_ms: LEAD,
            reason: ScaleReason::Asked,
            now_ms: self.now_ms,
        });
    }

    /// One step of a shard's leader, by what it knows; what it tells the meta group arrives at once.
    fn step(&mut self, shard: u64) -> bool {
        let is_any = self.step_late(shard);
        self.deliver_all();
        is_any
    }

    fn deliver_all(&mut self) {
        for command in std::mem::take(&mut self.late) {
            self.meta.apply(command);
        }
    }

    /// A command sets out for the meta group; too many at once, and the oldest is lost.
    fn tell_late(&mut self, command: MetaCommand) {
        self.late.push(command);
        if self.late.len() > KEPT_MAX {
            self.late.remove(0);
        }
    }

    fn step_late(&mut self, shard: u64) -> bool {
        let Some(replica) = self.shards.get_mut(&shard).filter(|replica| replica.is_up) else { return false };
        let Some(step) = next_step(&replica.view, shard, &replica.shard.map_state()) else { return false };
        let id = "w".to_owned();
        match step {
            Step::Open(map) => drop(replica.apply(&tsdb::entry::open(KEY, &map))),
            Step::Fence(generation) => drop(replica.apply(&tsdb::entry::fence(self.now_ms, &generation))),
            Step::Unfence { generation, rev } => drop(replica.apply(&tsdb::entry::unfence(generation, rev))),
            Step::Accept { rev } => self.tell_late(MetaCommand::AcceptFence { id, rev, shard }),
            Step::Refuse { rev } => self.tell_late(MetaCommand::AbortScale { id, rev }),
        }
        true
    }

    fn keep_up(&mut self) {
        self.late.extend(overdue(self.record(), self.now_ms));
        self.deliver_all();
    }

    /// Writes a row of some samples of one series by a router's map, once; what is acknowledged counts.
    fn write(&mut self, router: usize, n: u32, times: &[i64]) {
        let list = self.routers[router].generation_list().unwrap();
        let placement = hash::placement_hash(&labels(n), KEY);
        let mut parts: BTreeMap<(u64, u64), Vec<Sample>> = BTreeMap::new();
        for t in times.iter().map(|t| self.now_ms + t) {
            self.writes += 1;
            let place = list.shard_of(t, placement).unwrap();
            let value = self.writes as f64;
            self.tried.entry((n, t)).or_default().insert(value.to_bits());
            parts.entry((place.shard.0, place.generation)).or_default().push(Sample { timestamp_ms: t, value });
        }
        for ((shard, generation), samples) in parts {
            let batch_id = u128::from(self.writes);
            self.send(SentPart { shard, batch_id, generation, series: n, samples, verdict: None });
        }
    }

    /// Brings a part to its shard, for the first time or again.
    fn send(&mut self, mut part: SentPart) {
        if let Some(replica) = self.shards.get_mut(&part.shard).filter(|replica| replica.is_up) {
            let verdict = apply_part(replica, &part, self.now_ms);
            let is_remembered = |(at, _): &&(i64, PartVerdict)| self.now_ms - at <= REMEMBERED;
            if let Some((_, before)) = part.verdict.as_ref().filter(is_remembered) {
                assert_eq!(verdict, *before, "a part that comes again is answered as the first time");
            } else {
                let map = replica.shard.map_state();
                let is_here = |sample: &Sample| is_on(&map, replica.shard.id(), part.series, sample.timestamp_ms);
                assert_eq!(verdict.is_final(), part.samples.iter().all(is_here), "{map:?} decides whether samples belong here");
                part.verdict = verdict.is_final().then(|| (self.now_ms, verdict.clone()));
            }
            if verdict.is_final() && verdict.rejected_total() == 0 {
                self.acked.extend(part.samples.iter().map(|sample| ((part.series, sample.timestamp_ms), sample.value.to_bits())));
            }
        }
        self.sent.retain(|sent| (sent.shard, sent.batch_id, sent.generation) != (part.shard, part.batch_id, part.generation));
        self.sent.push(part);
        if self.sent.len() > KEPT_MAX {
            self.sent.remove(0);
        }
    }

    /// Reads a range by a reader's map; what it gets as an answer must be right.
    fn read(&mut self, reader: usize, first_ms: i64, last_ms: i64) {
        let view = &self.readers[reader];
        let shards = shards_in_range(view, first_ms, last_ms);
        let mut found: BTreeMap<(u32, i64), u64> = BTreeMap::new();
        for shard in shards {
            let Some(replica) = self.shards.get(&shard.0).filter(|replica| replica.is_up) else { return };
            if replica.shard.has_newer_map(view.decided_rev, first_ms, last_ms) {
                return;
            }
            let range = TimeRange { after_ms: first_ms - 1, to_ms: last_ms };
            let outcome = replica.shard.read_view().select(&[], range, |series| {
                let n = series.labels.get("n").unwrap().parse().unwrap();
                for (t, value) in series.timestamps.iter().zip(series.values) {
                    assert_eq!(found.insert((n, *t), value.to_bits()), None, "series {n} at {t} is on two shards");
                }
                ControlFlow::Continue(())
            });
            outcome.unwrap();
        }
        self.answered += 1;
        for ((n, t), value) in self.acked.iter().filter(|((_, t), _)| (first_ms..=last_ms).contains(t)) {
            assert_eq!(found.get(&(*n, *t)), Some(value), "series {n} at {t} was acknowledged");
        }
        for (key, value) in &found {
            assert!(self.tried.get(key).is_some_and(|tried| tried.contains(value)), "{key:?} was never written");
        }
    }

    fn settle(&mut self) {
        for replica in self.shards.values_mut() {
            replica.is_up = true;
        }
        self.deliver_all();
        for _ in 0..100 {
            self.reconcile();
            let record = self.record().clone();
            self.shards.values_mut().for_each(|replica| replica.view = record.clone());
            let ids: Vec<u64> = self.shards.keys().copied().collect();
            let mut is_any = false;
            for shard in ids {
                is_any |= self.step(shard);
            }
            if !is_any && self.record().pending.is_none() {
                return;
            }
        }
        panic!("the map is not settled: {:?}", self.record());
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// At times from now, or from when the pending generation is to begin.
    Write {
        router: usize,
        n: u32,
        times: Vec<i64>,
        is_ahead: bool,
    },
    Read {
        reader: usize,
        from: i64,
        length: i64,
    },
    SeeAsRouter(usize),
    SeeAsReader(usize),
    SeeAsShard(usize),
    Step(usize),
    CarryOn(usize),
    Flip(usize),
    Begin(u32),
    KeepUp,
    Reconcile,
    Pass(i64),
    Again(usize),
    Deliver {
        at: usize,
        stays: bool,
    },
}

/// When samples are written.
fn at() -> impl Strategy<Value = i64> {
    prop_oneof![-30 * SECOND..70 * SECOND, 40 * SECOND..200 * SECOND].prop_map(|t| t / SECOND * SECOND)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..VIEWS, 0..SERIES, prop::collection::vec(at(), 1..4), any::<bool>())
            .prop_map(|(router, n, times, is_ahead)| Op::Write { router, n, times, is_ahead }),
        8 => (0..VIEWS, -300 * SECOND..200 * SECOND, 0..300 * SECOND).prop_map(|(reader, from, length)| Op::Read { reader, from, length }),
        2 => (0..VIEWS).prop_map(Op::SeeAsRouter),
        2 => (0..VIEWS).prop_map(Op::SeeAsReader),
        6 => (0..8usize).prop_map(Op::SeeAsShard),
        10 => (0..8usize).prop_map(Op::Step),
        10 => (0..8usize).prop_map(Op::CarryOn),
        1 => (0..8usize).prop_map(Op::Flip),
        4 => (1u32..6).prop_map(Op::Begin),
        3 => Just(Op::KeepUp),
        3 => Just(Op::Reconcile),
        3 => (1..40 * SECOND).prop_map(Op::Pass),
        2 => (0..KEPT_MAX).prop_map(Op::Again),
        6 => (0..KEPT_MAX, any::<bool>()).prop_map(|(at, stays)| Op::Deliver { at, stays }),
    ]
}

impl World {
    fn act(&mut self, op: Op) {
        let nth = |world: &Self, at: usize| world.shards.keys().nth(at % world.shards.len()).copied().unwrap();
        let record = self.record().clone();
        match op {
            Op::Write { router, n, mut times, is_ahead } => {
                let begins_ms = record.pending.filter(|_| is_ahead).map_or(self.now_ms, |pending| pending.generation.from_ms);
                times.iter_mut().for_each(|t| *t += begins_ms - self.now_ms);
                self.write(router, n, &times);
            }
            Op::Read { reader, from, length } => self.read(reader, self.now_ms + from, self.now_ms + from + length),
            Op::SeeAsRouter(router) => self.routers[router] = record,
            Op::SeeAsReader(reader) => self.readers[reader] = record,
            Op::SeeAsShard(at) => {
                let shard = nth(self, at);
                self.shards.get_mut(&shard).unwrap().view = record;
            }
            Op::Step(at) => {
                let shard = nth(self, at);
                self.step_late(shard);
            }
            // A leader that sees the newest state, and takes its step.
            Op::CarryOn(at) => {
                let shard = nth(self, at);
                self.shards.get_mut(&shard).unwrap().view = record;
                self.step_late(shard);
            }
            Op::Flip(at) => {
                let shard = nth(self, at);
                let replica = self.shards.get_mut(&shard).unwrap();
                replica.is_up = !replica.is_up;
            }
            Op::Begin(shards) => self.begin(shards),
            Op::KeepUp => {
                if let Some(command) = overdue(&record, self.now_ms) {
                    self.tell_late(command);
                }
            }
            Op::Again(at) => {
                if let Some(part) = self.sent.get(at).cloned() {
                    self.send(part);
                }
            }
            Op::Deliver { at, stays } if at < self.late.len() => {
                let command = if stays { self.late[at].clone() } else { self.late.remove(at) };
                self.meta.apply(command);
            }
            Op::Deliver { .. } => {}
            Op::Reconcile => self.reconcile(),
            Op::Pass(ms) => self.now_ms += ms,
        }
    }
}

#[cfg(feature = "planted-bugs")]
mod planted;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn c8_whatever_the_views_and_their_order_every_acknowledged_sample_is_read_once(
        shards in 1u32..4,
        ops in prop::collection::vec(op(), 1..400),
    ) {
        let mut world = World::new(shards);
        for op in ops {
            world.act(op);
        }
        world.settle();
        let record = world.record().clone();
        for replica in world.shards.values() {
            prop_assert_eq!(next_step(&record, replica.shard.id().0, &replica.shard.map_state()), None);
        }
        (world.readers[0], world.answered) = (record, 0);
        world.read(0, i64::MIN + 1, i64::MAX);
        prop_assert_eq!(world.answered, 1);
    }
}

/// Lets everyone but routers and readers go on until the map is decided, and time until it holds.
fn change(world: &mut World, shards: u32) {
    world.begin(shards);
    assert!(world.record().pending.is_some(), "a change to {shards} shards begins");
    world.settle();
    assert_eq!(world.record().current_shards().len(), shards as usize);
    world.now_ms = world.record().generations.last().unwrap().from_ms + LEAD;
}

#[test]
fn c8_grow_shrink_and_grow_with_routers_and_readers_frozen_at_every_old_map() {
    let mut world = World::new(2);
    let mut maps = vec![world.record().clone()];
    let write_all = |world: &mut World, maps: &[WorkspaceRecord]| {
        for map in maps {
            world.routers[0] = map.clone();
            for n in 0..SERIES {
                world.write(0, n, &[-SECOND, SECOND * i64::from(n)]);
            }
        }
    };
    write_all(&mut world, &maps);
    for shards in [4, 3, 5] {
        change(&mut world, shards);
        maps.push(world.record().clone());
        write_all(&mut world, &maps);
        let now = world.now_ms;
        for map in &maps {
            world.readers[0] = map.clone();
            world.answered = 0;
            world.read(0, i64::MIN + 1, i64::MAX);
            assert_eq!(world.answered, usize::from(map.decided_rev == maps.last().unwrap().decided_rev), "an older map has no answer");
            // What lies before the newest generation is read by the map before it as well.
            let from_ms = world.record().generations.last().unwrap().from_ms;
            world.read(0, T0 - LEAD, from_ms - 1);
            assert_eq!(
                world.answered,
                usize::from(map.decided_rev + 1 >= maps.last().unwrap().decided_rev)
                    + usize::from(map.decided_rev == maps.last().unwrap().decided_rev)
            );
        }
        world.now_ms = now + LEAD;
    }
    assert!(world.acked.len() > 4 * SERIES as usize, "every router wrote something, the newest everything");
}

#[test]
fn c8_a_shard_without_a_majority_aborts_the_change_in_time_and_nothing_is_lost() {
    let mut world = World::new(2);
    world.begin(4);
    let pending = world.record().pending.clone().unwrap();
    let (first, second) = (world.record().current_shards()[0], world.record().current_shards()[1]);
    world.reconcile();
    let record = world.record().clone();
    world.shards.values_mut().for_each(|replica| replica.view = record.clone());
    world.shards.get_mut(&second).unwrap().is_up = false;
    for _ in 0..3 {
        world.step(first);
    }
    assert_eq!(world.record().pending.as_ref().unwrap().accepted, BTreeSet::from([first]));
    world.keep_up();
    assert!(world.record().pending.is_some(), "it is not yet time");
    world.now_ms = pending.decide_by_ms;
    world.keep_up();
    assert_eq!((world.record().pending.as_ref(), world.record().decided_rev), (None, pending.generation.rev));
    world.settle();
    assert_eq!(world.shards.len(), 2, "the new shards are gone");
    world.now_ms = pending.generation.from_ms + LEAD;
    for n in 0..SERIES {
        world.write(0, n, &[0]);
    }
    assert_eq!(world.acked.len(), SERIES as usize, "what was fenced is taken again, also by routers that know nothing of it");
    change(&mut world, 4);
    world.readers[0] = world.record().clone();
    world.read(0, i64::MIN + 1, i64::MAX);
    assert_eq!(world.answered, 1);
}

#[test]
fn c8_generations_older_than_retention_are_forgotten_with_the_shards_that_no_other_lists() {
    let mut world = World::new(3);
    change(&mut world, 1);
    let from_ms = world.record().generations[1].from_ms;
    let last = world.record().current_shards()[0];
    let kept_until = from_ms + world.record().limits.retention_ms + RETIRE_MARGIN_MS;
    assert_eq!(overdue(world.record(), kept_until - 1), None);
    world.now_ms = kept_until;
    world.keep_up();
    assert_eq!((world.record().generations.len(), world.meta.shards.keys().copied().collect::<Vec<_>>()), (1, vec![last]));
    world.settle();
    assert_eq!(world.shards.len(), 1);
}
