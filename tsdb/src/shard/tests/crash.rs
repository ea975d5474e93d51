use super::records::record_rows;
use super::*;
use crate::entry::Delete;
use crate::store::Step;
use model::MatchOp;
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    /// (series, milliseconds before entry time, value)
    Write(Vec<(u32, i64, u8)>),
    /// (series, milliseconds before entry time, form and value): histograms, floats with starts, stale markers, exemplars, metadata.
    Records(Vec<(u32, i64, u8)>),
    /// A run of in-order samples, enough to seal chunks.
    Run(u32, u16),
    /// The last request again, as a router's retry.
    Repeat,
    Advance(i64),
    Evict,
    /// (out-of-order window, late window, retention)
    Limits(i64, i64, i64),
    Checkpoint,
    CrashAt(usize),
    /// (kind of selector, milliseconds before entry time of the first and the last deleted sample)
    Delete(u8, i64, i64),
    DropDay,
    Rewrite,
    Clean,
    /// A rewrite that stops at a step.
    RewriteCrashAt(usize),
    Restart,
}

fn ago() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0i64..60_000, 2 => 0i64..HOUR * 2, 1 => 0i64..30 * HOUR, 1 => -700_000i64..0]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => vec((0u32..12, ago(), 0u8..3), 1..12).prop_map(Action::Write),
        6 => vec((0u32..8, ago(), 0u8..12), 1..12).prop_map(Action::Records),
        4 => (0u32..6, 50u16..300).prop_map(|(series, n)| Action::Run(series, n)),
        2 => Just(Action::Repeat),
        2 => (1i64..5 * HOUR).prop_map(Action::Advance),
        1 => (5 * HOUR..60 * HOUR).prop_map(Action::Advance),
        2 => Just(Action::Evict),
        1 => (0i64..2 * HOUR, HOUR..30 * HOUR, 30 * HOUR..100 * HOUR).prop_map(|(w, late, kept)| Action::Limits(w, late, kept)),
        3 => Just(Action::Checkpoint),
        2 => (0..Step::CHECKPOINT.len()).prop_map(Action::CrashAt),
        3 => (0u8..4, 0i64..30 * HOUR, -HOUR..30 * HOUR).prop_map(|(kind, from, to)| Action::Delete(kind, from.max(to), from.min(to))),
        1 => Just(Action::DropDay),
        2 => Just(Action::Rewrite),
        1 => Just(Action::Clean),
        2 => (0..Step::CHECKPOINT.len()).prop_map(Action::RewriteCrashAt),
        1 => Just(Action::Restart),
    ]
}

fn selector(kind: u8) -> Vec<Matcher> {
    match kind {
        0 => vec![Matcher::equal("__name__", "up")],
        1 => vec![Matcher::new("instance", MatchOp::Regex, "host-(1|4|7)").unwrap()],
        2 => vec![Matcher::new("instance", MatchOp::NotEqual, "host-2").unwrap()],
        _ => vec![Matcher::equal("instance", "host-3")],
    }
}

struct Story {
    replica: Option<Replica>,
    now_ms: i64,
    batch: u128,
    version: u64,
    last: Vec<(Labels, i64, f64)>,
    responses: Vec<Bytes>,
}

impl Story {
    fn new() -> Self {
        Self { replica: Some(Replica::new()), now_ms: T0, batch: 0, version: 0, last: Vec::new(), responses: vec![Bytes::new(); 2] }
    }

    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().unwrap()
    }

    fn apply(&mut self, payload: Bytes) {
        let response = self.replica().apply(payload);
        self.responses.push(response);
    }

    fn write(&mut self, rows: &[(Labels, i64, f64)]) {
        self.batch += 1;
        self.last = rows.to_vec();
        self.send();
    }

    fn send(&mut self) {
        let rows = self.last.clone();
        let (now_ms, batch) = (self.now_ms, self.batch);
        let payload = self.replica().entry(now_ms, batch, &rows);
        self.apply(payload);
    }

    fn restart(&mut self) {
        self.replica = self.replica.take().map(Replica::restart);
    }

    fn play(&mut self, action: Action) {
        match action {
            Action::Write(rows) => {
                let now_ms = self.now_ms;
                let rows: Vec<_> = rows.into_iter().map(|(n, ago, value)| (series(n), now_ms - ago, f64::from(value))).collect();
                self.write(&rows);
            }
            Action::Records(rows) => {
                self.batch += 1;
                let rows: Vec<_> = rows.into_iter().map(|(n, ago, form)| (n, self.now_ms - ago, form)).collect();
                let (now_ms, batch) = (self.now_ms, self.batch);
                let payload = self.replica().entry_of(now_ms, batch, &record_rows(&rows));
                self.apply(payload);
            }
            Action::Run(n, samples) => {
                let from = self.now_ms;
                self.now_ms += i64::from(samples) * 15_000;
                let rows: Vec<_> = (1..=i64::from(samples)).map(|i| (series(n), from + i * 15_000, (i * 3) as f64)).collect();
                self.write(&rows);
            }
            Action::Repeat => self.send(),
            Action::Advance(by) => {
                self.now_ms += by;
                self.apply(entry::tick(self.now_ms));
            }
            Action::Evict => self.apply(entry::evict_idle(self.now_ms)),
            Action::Limits(out_of_order_window_ms, late_window_ms, retention_ms) => {
                self.version += 1;
                let limits = Limits { version: self.version, out_of_order_window_ms, late_window_ms, retention_ms, ..Limits::default() };
                self.apply(entry::set_limits(&limits));
            }
            Action::Checkpoint => {
                self.replica().shard.checkpoint().unwrap();
            }
            Action::CrashAt(step) => {
                // A checkpoint without anything new writes nothing.
                self.apply(entry::tick(self.now_ms));
                self.replica().faults.stop_after(Step::CHECKPOINT[step]);
                assert!(self.replica().shard.checkpoint().is_err());
                self.restart();
            }
            Action::Delete(kind, from_ago, to_ago) => {
                let delete = Delete {
                    known_revision: 1,
                    first_ms: self.now_ms - from_ago,
                    last_ms: self.now_ms - to_ago,
                    matcher_sets: vec![selector(kind)],
                };
                self.apply(entry::delete(&delete).unwrap());
            }
            Action::DropDay => self.apply(entry::drop_day(self.now_ms, self.now_ms)),
            Action::Rewrite => {
                self.replica().shard.rewrite_due(&AtomicBool::new(false)).unwrap();
            }
            Action::Clean => self.replica().shard.clean_tombstones(&AtomicBool::new(false)).unwrap(),
            Action::RewriteCrashAt(step) => {
                self.replica().shard.checkpoint().unwrap();
                self.replica().faults.stop_after(Step::CHECKPOINT[step]);
                // It stops only if something is due.
                let _ = self.replica().shard.rewrite_due(&AtomicBool::new(false));
                self.restart();
            }
            Action::Restart => self.restart(),
        }
    }
}

/// A thousand writes around everything the story touched, one part each, judged but compared only by their answers.
fn probes(now_ms: i64, replica: &Replica) -> Vec<Bytes> {
    (0..1000u32)
        .map(|n| {
            let ago = i64::from(n * 7919 % 1000) * i64::from(n * 7919 % 1000) * 120;
            let rows = [(series(n % 14), now_ms - ago, f64::from(n % 3)), (series(n % 5), T0 + i64::from(n) * 15_000, f64::from(n * 3))];
            if n % 3 == 0 {
                let rows = [(n % 8, now_ms - ago, (n % 12) as u8), (n % 5, T0 + i64::from(n) * 15_000, (n % 7) as u8)];
                return replica.entry_of(now_ms, 1 << 64 | u128::from(n), &record_rows(&rows));
            }
            replica.entry(now_ms, 1 << 64 | u128::from(n), &rows)
        })
        .collect()
}

fn compare(mut crashed: Replica, now_ms: i64, responses: &[Bytes]) {
    let mut full = Replica::blank();
    let answers: Vec<Bytes> = crashed.log.clone().into_iter().map(|payload| full.apply(payload)).collect();
    for (index, (once, again)) in responses.iter().zip(&answers).enumerate().skip(2) {
        assert_eq!(once, again, "verdict of entry {index}");
    }
    assert_eq!(crashed.contents(&[]), full.contents(&[]));
    assert_eq!(others_of(&crashed.shard), others_of(&full.shard));
    assert_eq!(crashed.shard.digest().unwrap(), full.shard.digest().unwrap());
    // The full replay holds every series in its head unless it was told to evict: its proposals name them by id.
    for payload in probes(now_ms, &full) {
        let (of_full, of_crashed) = (full.apply(payload.clone()), crashed.apply(payload));
        assert_eq!(ApplyResponse::decode(&of_crashed).unwrap(), ApplyResponse::decode(&of_full).unwrap());
    }
    assert_eq!(crashed.shard.digest().unwrap(), full.shard.digest().unwrap());
    let (a, b) = (crashed.shard.stats(), full.shard.stats());
    assert_eq!((a.series, a.samples, a.min_ms, a.max_ms), (b.series, b.samples, b.min_ms, b.max_ms));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn c2_restore_plus_replay_equals_full_replay_at_every_crash_point(actions in vec(action(), 1..40)) {
        let mut story = Story::new();
        for action in actions {
            story.play(action);
        }
        story.restart();
        let now_ms = story.now_ms;
        compare(story.replica.take().unwrap(), now_ms, &story.responses);
    }
}

#[test]
fn c2_series_whose_samples_are_all_gone_differ_in_nothing_that_is_read() {
    let mut story = Story::new();
    for action in [
        Action::Write(vec![(7, 0, 0)]),
        Action::Advance(35 * HOUR),
        Action::Limits(0, HOUR, 30 * HOUR),
        Action::Records(vec![(4, 7087, 8), (2, 47_048, 2), (5, 28_913, 1), (3, 55_581, 11), (6, -579_518, 9), (6, 21_415, 11)]),
        Action::Delete(2, 14 * HOUR, -HOUR),
        Action::DropDay,
        Action::RewriteCrashAt(1),
        Action::Evict,
    ] {
        story.play(action);
    }
    story.restart();
    let now_ms = story.now_ms;
    compare(story.replica.take().unwrap(), now_ms, &story.responses);
}

#[test]
fn c2_what_a_series_was_before_a_dropped_day_decides_nothing() {
    let mut story = Story::new();
    for action in [
        Action::Records(vec![(1, 0, 2)]),
        Action::Limits(0, HOUR, 30 * HOUR),
        Action::Advance(80 * HOUR),
        Action::Evict,
        Action::DropDay,
        Action::Checkpoint,
        Action::Evict,
    ] {
        story.play(action);
    }
    assert_eq!(story.replica().shard.stats().active_series, 0, "only a replica with checkpoints lets it go");
    // A stale marker is one of histograms only behind a histogram.
    story.play(Action::Records(vec![(1, 0, 6)]));
    let now_ms = story.now_ms;
    compare(story.replica.take().unwrap(), now_ms, &story.responses);
}

#[test]
fn c2_checkpoint_holds_everything_a_replay_needs() {
    for step in Step::CHECKPOINT {
        let mut story = Story::new();
        for n in 0..4 {
            story.play(Action::Run(n, 130));
        }
        story.play(Action::Write(vec![(1, 30 * 60_000, 9), (2, 31 * 60_000, 9)]));
        story.play(Action::Records((0..48).map(|n| (n % 8, i64::from(n / 12) * 20_003, (n % 12) as u8)).collect()));
        story.play(Action::Checkpoint);
        story.play(Action::Run(1, 130));
        story.play(Action::Write(vec![(7, 0, 1), (1, 20_001, 1)]));
        story.play(Action::Records((0..24).map(|n| (n % 8, i64::from(n / 12) * 30_001, (n % 12) as u8)).collect()));
        story.replica().faults.stop_after(step);
        assert!(story.replica().shard.checkpoint().is_err());
        story.restart();
        let now_ms = story.now_ms;
        compare(story.replica.take().unwrap(), now_ms, &story.responses);
    }
}

#[test]
fn c1_verdicts_do_not_depend_on_checkpoints_and_evictions() {
    let mut lazy = Story::new();
    let mut eager = Story::new();
    for round in 0..12i64 {
        let mut actions = vec![Action::Run((round % 3) as u32, 140), Action::Advance(4 * HOUR), Action::Evict];
        actions.push(Action::Write((0..8).map(|n| (n, i64::from(n) * HOUR / 2 + round, (n % 3) as u8)).collect()));
        actions.push(Action::Write((0..8).map(|n| (n, i64::from(n) * HOUR / 2 + round, 1)).collect()));
        for action in actions {
            lazy.play(action.clone());
            eager.play(Action::Checkpoint);
            eager.play(action);
            eager.play(Action::Checkpoint);
        }
    }
    for action in [Action::Advance(40 * HOUR), Action::Evict, Action::Evict] {
        lazy.play(action.clone());
        eager.play(Action::Checkpoint);
        eager.play(action);
    }
    let decode = |story: &Story| -> Vec<_> { story.responses.iter().skip(2).map(|r| ApplyResponse::decode(r).unwrap()).collect() };
    assert_eq!(decode(&lazy), decode(&eager));
    let (lazy, eager) = (lazy.replica.unwrap(), eager.replica.unwrap());
    assert_eq!((lazy.shard.stats().active_series, eager.shard.stats().active_series), (7, 0), "only the eager one could evict");
    assert_eq!(lazy.contents(&[]), eager.contents(&[]));
}

#[test]
fn c2_apply_goes_on_while_a_checkpoint_is_written() {
    let mut replica = Replica::new();
    for n in 0..300i64 {
        replica.write(T0 + n * 1000, n as u128, &(0..20).map(|s| (series(s), T0 + n * 1000, 1.0)).collect::<Vec<_>>());
    }
    let shard = Arc::clone(&replica.shard);
    let worker = std::thread::spawn(move || (0..6).map(|_| shard.checkpoint().unwrap().unwrap()).collect::<Vec<_>>());
    for n in 300..900i64 {
        replica.write(T0 + n * 1000, n as u128, &(0..20).map(|s| (series(s), T0 + n * 1000, 1.0)).collect::<Vec<_>>());
    }
    let points = worker.join().unwrap();
    assert!(points.is_sorted());
    let expected = replica.contents(&[]);
    assert!(expected.values().all(|samples| samples.len() == 900));
    assert_eq!(replica.restart().contents(&[]), expected);
}

#[test]
fn c3_snapshot_of_one_replica_makes_another_the_same() {
    let mut story = Story::new();
    for round in 0..6 {
        story.play(Action::Run(round % 3, 250));
        story.play(Action::Write(vec![(round + 3, 60_000, 1), (round % 3, 100_001, 2)]));
        story.play(Action::Records((0..24).map(|n| (n % 8, i64::from(n / 12) * 30_001, (n % 12) as u8)).collect()));
        story.play(Action::Evict);
        story.play(Action::Checkpoint);
    }
    story.play(Action::Run(1, 40));
    let mut sender = story.replica.take().unwrap();
    let mut receiver = Replica::new();
    receiver.write(T0, 1, &[(series(50), T0, 1.0)]);
    let reader = receiver.shard.read_view();

    let mut export = sender.shard.store().export();
    let meta = crate::store::ExportMeta::decode(&export.meta().encode()).unwrap();
    let mut staging = receiver.shard.store().stage(meta).unwrap();
    while let Some(block) = export.next_block().unwrap() {
        staging.write(&block).unwrap();
    }
    receiver.shard.reload(staging.finish().unwrap().install().unwrap()).unwrap();

    assert!(matches!(reader.select(&[], TimeRange::ALL, |_| ControlFlow::Continue(())), Err(crate::view::ReadError::Replaced)));
    drop((reader, export));
    assert_eq!(receiver.shard.applied(), sender.shard.durable().map(|(point, _)| point));
    let from = receiver.shard.applied().unwrap().index + 1;
    for (index, payload) in sender.log.iter().enumerate().skip(from as usize) {
        receiver.shard.apply(point(index as u64), payload).unwrap();
    }
    receiver.log = sender.log.clone();
    assert_eq!(receiver.contents(&[]), sender.contents(&[]));
    assert_eq!(others_of(&receiver.shard), others_of(&sender.shard));
    assert_eq!(receiver.shard.digest().unwrap(), sender.shard.digest().unwrap());
    for payload in probes(story.now_ms, &sender) {
        assert_eq!(receiver.apply(payload.clone()), sender.apply(payload));
    }
    receiver.shard.checkpoint().unwrap();
    let expected = receiver.contents(&[]);
    assert_eq!(receiver.restart().contents(&[]), expected);
}
