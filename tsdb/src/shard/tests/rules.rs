use super::*;
use crate::record::Content;
use crate::shard::judge::{Decision, Rules, judge};
use crate::verdict::Refusal;
use std::convert::Infallible;

const FUTURE: i64 = model::limits::FUTURE_MS_MAX;
const RETENTION: i64 = 30 * 24 * HOUR;
const NAN_A: u64 = 0x7ff8_0000_0000_0001;
const NAN_B: u64 = 0x7ff8_0000_0000_0002;

#[test]
fn c6_every_case_has_its_verdict() {
    use Decision::{Append, Insert, Refuse, Unchanged};
    use Refusal::{Duplicate, OutOfOrder, TooFarInFuture, TooOld};
    let (w, late) = (HOUR, 3 * HOUR);
    let newest = |ago: i64| Some((T0 - ago, Some(1f64.to_bits())));
    let deleted = |ago: i64| Some((T0 - ago, None));
    // (W, newest, timestamp, bits, what the look-up finds) -> decision
    let cases = [
        (w, None, T0 + FUTURE + 1, 0, None, Refuse(TooFarInFuture)),
        (w, None, T0 + FUTURE, 0, None, Append),
        (w, newest(0), T0 + FUTURE + 1, 0, None, Refuse(TooFarInFuture)),
        (w, None, T0 - late, 0, None, Append),
        (w, None, T0 - late - 1, 0, None, Refuse(TooOld)),
        (w, newest(late + 5), T0 - late - 1, 0, None, Refuse(TooOld)),
        (w, newest(late + 5), T0 - late, 0, None, Append),
        (w, newest(5), T0 - 4, 0, None, Append),
        (w, newest(5), T0 - 5, 1f64.to_bits(), None, Unchanged),
        (w, newest(5), T0 - 5, 2f64.to_bits(), None, Refuse(Duplicate)),
        (0, newest(5 * HOUR), T0 - 5 * HOUR, 1f64.to_bits(), None, Unchanged),
        (w, newest(5), T0 - 6, 9, Some(9), Unchanged),
        (w, newest(5), T0 - 6, 9, Some(8), Refuse(Duplicate)),
        (w, newest(5), T0 - 9 * HOUR, 9, Some(9), Unchanged),
        (w, newest(5), T0 - 9 * HOUR, 9, Some(8), Refuse(Duplicate)),
        (w, newest(5), T0 - w, 9, None, Insert),
        (w, newest(5), T0 - w - 1, 9, None, Refuse(TooOld)),
        (0, newest(5), T0 - 6, 9, None, Refuse(OutOfOrder)),
        (0, newest(5), T0 - 6, 9, Some(9), Unchanged),
        (0, newest(-5), T0 + 1, 9, None, Insert),
        (w, newest(-5), T0 + 1, 9, None, Insert),
        (w, None, -1, 0, None, Refuse(TooOld)),
        (w, deleted(5), T0 - 5, 1, None, Insert),
        (0, deleted(5), T0 - 5, 1, None, Refuse(OutOfOrder)),
        (w, deleted(2 * HOUR), T0 - 2 * HOUR, 1, None, Refuse(TooOld)),
        (w, newest(0), T0 - RETENTION - 1, 9, Some(9), Refuse(TooOld)),
        (w, newest(0), T0 - RETENTION, 9, Some(9), Unchanged),
    ];
    for (window, newest, timestamp_ms, bits, found, expected) in cases {
        let limits = Limits { out_of_order_window_ms: window, late_window_ms: late, retention_ms: RETENTION, ..Limits::default() };
        let newest = newest.map(|(t, bits): (i64, Option<u64>)| (t, bits.map(Content::Float)));
        let found_content = found.map(Content::Float);
        let rules = Rules { now_ms: T0, limits: &limits, dropped_before_ms: 0 };
        let sample = (timestamp_ms, Content::Float(bits));
        let decision = judge(rules, newest, sample, || Ok::<_, Infallible>(found_content)).unwrap();
        assert_eq!(decision, expected, "W {window} newest {newest:?} t {timestamp_ms} bits {bits:x} found {found:?}");
    }
    let unlimited = Limits { late_window_ms: i64::MAX, ..Limits::default() };
    let zero = Content::Float(0);
    let rules = Rules { now_ms: i64::MIN, limits: &unlimited, dropped_before_ms: 0 };
    assert_eq!(judge(rules, None, (i64::MIN, zero), || Ok::<_, Infallible>(None)).unwrap(), Refuse(TooOld));
    let rules = Rules { now_ms: T0, limits: &unlimited, dropped_before_ms: T0 - 5 };
    for (ago, expected) in [(6, Refuse(TooOld)), (5, Append)] {
        let decision = judge(rules, None, (T0 - ago, zero), || Ok::<_, Infallible>(None)).unwrap();
        assert_eq!(decision, expected, "dropped days take nothing");
    }
}

#[test]
fn c6_same_bits_are_a_success_and_other_bits_a_duplicate_also_inside_one_request() {
    let mut replica = Replica::new();
    let rows = [
        (series(1), T0, f64::from_bits(NAN_A)),
        (series(1), T0, f64::from_bits(NAN_A)),
        (series(1), T0, f64::from_bits(NAN_B)),
        (series(2), T0, 0.0),
        (series(2), T0, -0.0),
    ];
    let verdict = replica.write(T0, 1, &rows);
    assert_eq!((verdict.accepted, verdict.unchanged, verdict.rejected_total()), (2, 1, 2));
    let error = verdict.first_error.unwrap();
    assert_eq!((error.ordinal, error.kind, error.timestamp_ms), (2, Refusal::Duplicate, T0));
    assert_eq!(error.message(), r#"duplicate sample for timestamp for series {__name__="http_requests_total", instance="host-1"}"#);
    let again = replica.write(T0 + 1, 2, &rows);
    assert_eq!((again.accepted, again.unchanged, again.rejected_total()), (0, 3, 2));
    let held: Vec<_> = replica.contents(&[]).into_values().collect();
    assert_eq!(held, [vec![(T0, 0)], vec![(T0, NAN_A)]]);
}

#[test]
fn c6_a_sender_that_catches_up_locks_out_nobody() {
    let mut replica = Replica::new();
    assert_eq!(replica.write(T0, 1, &[(series(1), T0 + FUTURE, 1.0)]).accepted, 1);
    assert_eq!(replica.write(T0, 2, &[(series(2), T0 - 2 * HOUR, 1.0), (series(1), T0, 2.0)]).accepted, 2);
    let late = replica.write(T0, 3, &[(series(3), T0 - 3 * HOUR - 1, 1.0)]);
    assert_eq!((late.accepted, late.first_error.unwrap().kind), (0, Refusal::TooOld));
    assert_eq!(replica.shard.stats().series, 2, "a refused sample creates no series");
}

#[test]
fn c5_entry_time_never_goes_back_in_verdicts() {
    let mut replica = Replica::new();
    replica.apply(entry::tick(T0 + HOUR));
    let verdict = replica.write(T0 - 9 * HOUR, 1, &[(series(1), T0 + HOUR + FUTURE, 1.0), (series(2), T0 - 3 * HOUR, 1.0)]);
    assert_eq!((replica.shard.time_ms(), verdict.accepted), (T0 + HOUR, 1));
    assert_eq!(verdict.first_error.unwrap().kind, Refusal::TooOld);
}

#[test]
fn c4_ids_are_given_in_entry_order_to_accepted_series_only() {
    let mut replica = Replica::new();
    // Two entries proposed before either is applied carry the labels twice.
    let first = replica.entry(T0, 1, &[(series(9), T0 - 9 * HOUR, 0.0), (series(5), T0, 1.0), (series(3), T0, 1.0)]);
    let second = replica.entry(T0, 2, &[(series(3), T0 + 1, 2.0), (series(5), T0 + 1, 2.0), (series(4), T0, 1.0)]);
    for payload in [first, second] {
        replica.apply(payload);
    }
    let sids = |replica: &Replica| {
        let mut sids = BTreeMap::new();
        let visit = |s: crate::view::SelectedSeries<'_>| {
            sids.insert(s.labels.get("instance").unwrap_or_default().to_owned(), (s.sid, s.timestamps.len()));
            ControlFlow::Continue(())
        };
        replica.shard.read_view().select(&[], TimeRange::ALL, visit).unwrap();
        sids
    };
    let expected = [("host-3", (1, 2)), ("host-4", (2, 1)), ("host-5", (0, 2))].map(|(host, of)| (host.to_owned(), of));
    assert_eq!(sids(&replica), BTreeMap::from(expected.clone()));
    // From now on the entry names them by id: it is much shorter.
    let known = replica.entry(T0, 3, &[(series(5), T0 + 2, 3.0), (series(3), T0 + 2, 3.0), (series(4), T0 + 2, 3.0)]);
    assert!(known.len() < 18 + 45 + 3 * 12, "{} bytes", known.len());
    assert_eq!(sids(&replica.full_replay()), BTreeMap::from(expected));
}

#[test]
fn entry_takes_at_most_twelve_bytes_a_sample_of_known_series() {
    let mut replica = Replica::new();
    let scrape = |t: i64| (0..1000).map(|n| (series(n), t + i64::from(n % 7), f64::from(n))).collect::<Vec<_>>();
    replica.write(T0, 1, &scrape(T0));
    let payload = replica.entry(T0 + 15_000, 2, &scrape(T0 + 15_000));
    assert!(payload.len() <= 12_000, "{} bytes for 1000 samples", payload.len());
}

#[test]
fn c4_unknown_id_is_unresolved_changes_nothing_and_is_not_remembered() {
    let mut teacher = Replica::new();
    teacher.write(T0, 1, &[(series(1), T0, 1.0), (series(2), T0, 1.0)]);
    let dangling = teacher.entry(T0, 2, &[(series(3), T0, 1.0), (series(2), T0 + 1, 2.0)]);
    let mut replica = Replica::new();
    let response = ApplyResponse::decode(&replica.apply(dangling.clone())).unwrap();
    assert!(response.parts[0].unresolved && !response.parts[0].is_final());
    assert_eq!((response.parts[0].accepted, replica.shard.stats().series), (0, 0), "nothing of the part is applied");
    replica.write(T0, 7, &[(series(1), T0, 1.0), (series(2), T0, 1.0)]);
    let response = ApplyResponse::decode(&replica.apply(dangling)).unwrap();
    assert_eq!((response.parts[0].unresolved, response.parts[0].accepted), (false, 2));
}

#[test]
fn c7_batch_ring_answers_a_repeated_part_as_the_first_time_for_20_s_of_entry_time() {
    let mut replica = Replica::new();
    let rows = [(series(1), T0, 1.0), (series(1), T0, 2.0)];
    let first = replica.write(T0, 42, &rows);
    assert_eq!((first.accepted, first.rejected_total()), (1, 1));
    assert_eq!(replica.write(T0 + 20_000, 42, &rows), first, "by id now, the verdict of the first time");
    let other = replica.write(T0 + 20_000, 42, &[(series(1), T0, 1.0)]);
    assert_eq!((other.accepted, other.unchanged), (0, 1), "another part of the same batch is judged");
    let after = replica.write(T0 + 20_001, 42, &rows);
    assert_eq!((after.accepted, after.unchanged, after.rejected_total()), (0, 1, 1));
}

#[test]
fn c8_rows_of_another_shard_are_stale_and_the_rest_is_applied() {
    let mut replica = Replica::blank();
    let stale = replica.write(T0, 1, &[(series(1), T0, 1.0)]);
    assert_eq!((stale.accepted, &stale.stale_rows[..]), (0, &[0][..]), "a shard without a list takes nothing");
    let list = vec![Generation { generation: 1, rev: 1, from_ms: i64::MIN, shards: vec![SHARD, ShardId(8), ShardId(9)] }];
    replica.apply(entry::open(KEY, &list));
    let rows: Vec<_> = (0..60).map(|n| (series(n), T0, f64::from(n))).collect();
    let mine = |n: &u32| hash::jump_hash(hash::placement_hash(&series(*n), KEY), 3) == 0;
    let expected: Vec<u32> = (0..60).filter(|n| !mine(n)).collect();
    let verdict = replica.write(T0, 2, &rows);
    assert_eq!((verdict.accepted, &verdict.stale_rows), (60 - expected.len() as u32, &expected));
    assert!(!expected.is_empty() && expected.len() < 60);
    let again = replica.write(T0, 2, &rows);
    assert_eq!((again.accepted, again.unchanged), (0, 60 - expected.len() as u32), "a stale verdict is not remembered");
}

/// Encoded rows of series, each with samples of value 1 at some times.
fn rows_at(rows: &[(u32, &[i64])]) -> Bytes {
    let mut builder = RowsBuilder::default();
    for (ordinal, (n, times)) in rows.iter().enumerate() {
        begin_row(&mut builder, ordinal as u32, &series(*n));
        times.iter().for_each(|t| builder.sample(Sample { timestamp_ms: *t, value: 1.0 }));
    }
    builder.finish()
}

/// A generation of `n` shards, of which this is the first.
fn grown(rev: u64, from_ms: i64, n: u64) -> Generation {
    Generation { generation: 2, rev, from_ms, shards: (0..n).map(|i| ShardId(SHARD.0 + i)).collect() }
}

#[test]
fn c8_a_shard_that_took_a_fence_refuses_whole_rows_that_reach_into_it_also_after_a_restart() {
    let moves = |n: &u32| hash::jump_hash(hash::placement_hash(&series(*n), KEY), 2) == 1;
    let (stays, moved) = ((0..).find(|n| !moves(n)).unwrap(), (0..).find(moves).unwrap());
    let from_ms = T0 + 60_000;
    let mut replica = Replica::new();
    replica.write(T0, 1, &[(series(stays), T0, 1.0), (series(moved), T0, 1.0)]);
    assert_eq!(replica.shard.map_state().fence(2, 2), FenceState::Unknown);
    replica.apply(entry::fence(T0, &grown(2, from_ms, 2)));
    assert_eq!(replica.shard.map_state().fence(2, 2), FenceState::Accepted);
    for round in 0..2u32 {
        let (at, batch) = (T0 + i64::from(round) * 1000, u128::from(round) * 10);
        let rows = rows_at(&[(stays, &[at + 1000, from_ms + at - T0]), (moved, &[at + 1000, from_ms]), (moved, &[at + 2000])]);
        let verdict = replica.write_rows(T0 + 1, batch + 2, &rows);
        assert_eq!((verdict.accepted, &verdict.stale_rows[..]), (3, &[1][..]), "nothing of a row that is sent elsewhere is applied here");
        replica = replica.restart();
        assert_eq!(replica.shard.map_state().fence(2, 2), FenceState::Accepted);
    }
    assert!(replica.shard.has_newer_map(1, from_ms, from_ms) && !replica.shard.has_newer_map(1, T0, from_ms - 1));
    replica.apply(entry::unfence(2, 2));
    assert_eq!(replica.shard.map_state().fence(2, 2), FenceState::Refused);
    assert_eq!(replica.write(T0 + 3, 40, &[(series(moved), from_ms, 1.0)]).accepted, 1, "what was aborted binds nobody");
    replica.apply(entry::fence(T0, &grown(2, from_ms, 2)));
    assert_eq!(replica.shard.map_state().fence(2, 2), FenceState::Refused, "a revision has one end");
}

#[test]
fn c8_a_fence_that_comes_after_a_sample_it_would_move_is_refused() {
    let moves = |n: &u32| hash::jump_hash(hash::placement_hash(&series(*n), KEY), 2) == 1;
    let (stays, moved) = ((0..).find(|n| !moves(n)).unwrap(), (0..).find(moves).unwrap());
    let mut replica = Replica::new();
    replica.write(T0, 1, &[(series(stays), T0 + 60_000, 1.0), (series(moved), T0 + 59_999, 1.0)]);
    replica.apply(entry::fence(T0, &grown(2, T0 + 60_000, 2)));
    assert_eq!(replica.shard.map_state().fence(2, 2), FenceState::Accepted, "what stays may be there");
    replica.apply(entry::unfence(2, 2));
    replica.write(T0, 2, &[(series(moved), T0 + 60_000, 1.0)]);
    replica.apply(entry::fence(T0, &grown(3, T0 + 60_000, 2)));
    assert_eq!(replica.shard.map_state().fence(2, 3), FenceState::Refused);
    replica.apply(entry::fence(T0, &grown(4, T0 + 60_001, 2)));
    assert_eq!(replica.shard.map_state().fence(2, 4), FenceState::Accepted);
    replica.apply(entry::unfence(2, 4));
    replica.apply(entry::fence(T0 + 60_000, &grown(5, T0 + 59_999, 1)));
    assert_eq!(replica.shard.map_state().fence(2, 5), FenceState::Refused, "of the past the head does not tell all");
}

#[test]
fn what_leaders_ask_for_each_proposal_waits_for_no_entry_and_survives_a_restart() {
    let mut replica = Replica::blank();
    let asked = |shard: &Arc<Shard>| {
        let (sender, answer) = std::sync::mpsc::channel();
        let asked = Arc::clone(shard);
        let applying = shard.replicated.lock();
        std::thread::spawn(move || sender.send((asked.has_map(), asked.generations().len(), asked.limits().version, asked.time_ms())));
        let answer = answer.recv_timeout(std::time::Duration::from_secs(10)).expect("an answer while an entry is applied");
        drop(applying);
        answer
    };
    assert_eq!(asked(&replica.shard), (false, 0, 0, 0));
    replica.apply(one_generation());
    replica.apply(limits(3, HOUR, HOUR));
    replica.apply(entry::tick(T0));
    assert_eq!(asked(&replica.shard), (true, 1, 3, T0));
    replica.shard.checkpoint().unwrap();
    let replica = replica.restart();
    assert_eq!(asked(&replica.shard), (true, 1, 3, T0));
}

#[test]
fn c1_unknown_entries_stop_the_shard() {
    let replica = Replica::new();
    let next = point(replica.log.len() as u64);
    assert!(matches!(replica.shard.apply(next, &[1, 6]), Err(ApplyError::Entry { .. })));
    assert!(matches!(replica.shard.apply(next, &entry::tick(T0)), Err(ApplyError::Halted)));
    assert!(replica.shard.checkpoint().unwrap().is_none(), "half an entry is never made durable");
    assert_eq!(replica.shard.durable(), None);
}

#[test]
fn entries_are_applied_once_and_in_order() {
    let replica = Replica::new();
    let applied = replica.shard.applied().unwrap();
    assert!(matches!(replica.shard.apply(applied, &entry::tick(T0)), Err(ApplyError::NotNext { .. })));
    replica.shard.apply_blank(point(5)).unwrap();
    replica.shard.set_extra(point(6), Bytes::from_static(b"members")).unwrap();
    assert_eq!(replica.shard.applied(), Some(point(6)));
    assert_eq!(replica.shard.checkpoint().unwrap(), Some(point(6)));
    assert_eq!(replica.shard.durable(), Some((point(6), Bytes::from_static(b"members"))));
}

#[test]
fn checkpoint_is_due_by_memory_log_cost_age_or_idleness() {
    let mut replica = Replica::new();
    replica.shard.checkpoint().unwrap();
    assert_eq!(replica.shard.wants_checkpoint(true), None, "an idle shard never");
    replica.write(T0 + 1, 1, &[(series(1), T0, 1.0)]);
    assert_eq!((replica.shard.wants_checkpoint(false), replica.shard.wants_checkpoint(true)), (None, None));
    replica.apply(entry::tick(T0 + HOUR / 2));
    assert_eq!(replica.shard.wants_checkpoint(false), Some(CheckpointReason::Age));
    replica.shard.checkpoint().unwrap();
    assert_eq!(replica.shard.wants_checkpoint(false), None);
}

#[test]
fn idle_series_are_to_be_evicted_every_ten_minutes_while_there_are_any() {
    let mut replica = Replica::new();
    assert!(!replica.shard.wants_evict_idle(T0));
    replica.write(T0, 1, &[(series(1), T0, 1.0)]);
    assert!(replica.shard.wants_evict_idle(T0));
    replica.apply(entry::evict_idle(T0 + 1));
    assert!(!replica.shard.wants_evict_idle(T0 + 600_000) && replica.shard.wants_evict_idle(T0 + 600_001));
}

#[test]
fn checkpoint_is_due_when_the_head_is_over_its_budget_and_flushing_helps() {
    let folder = tempfile::tempdir().unwrap();
    let db = Db::open(options(folder.path(), &FaultPlan::default())).unwrap();
    let identity = ShardIdentity { shard: SHARD, replica: ReplicaId(1), workspace: WorkspaceId::new("default") };
    let small = ShardConfig { head_bytes_max: 16_000, ..ShardConfig::default() };
    let shard = Shard::open(db.create_shard(identity).unwrap(), small).unwrap();
    let write = |index: u64, of: std::ops::Range<u32>, t: i64| {
        let rows: Vec<_> = of.map(|n| (series(n), t, f64::from(n).sqrt() * t as f64)).collect();
        let mut builder = EntryBuilder::new(T0, 1);
        let input = PartInput { batch_id: u128::from(index), generation: 1, origin: Origin::RemoteWrite, rows: &encode_rows(&rows) };
        builder.add_part(&shard, input).unwrap();
        shard.apply(point(index), &builder.finish()).unwrap();
    };
    shard.apply(point(0), &one_generation()).unwrap();
    write(1, 0..60, T0);
    assert!(shard.stats().head_bytes > 16_000);
    assert_eq!(shard.wants_checkpoint(false), None, "many series alone are no reason");
    for n in 0..600 {
        write(2 + n, 0..1, T0 + 1 + n as i64);
    }
    assert_eq!(shard.wants_checkpoint(false), Some(CheckpointReason::HeadBytes));
    let before = shard.stats().head_bytes;
    shard.checkpoint().unwrap();
    assert!(shard.stats().head_bytes < before);
    assert_eq!(shard.wants_checkpoint(false), None);
}

#[test]
fn c3_view_opened_before_a_checkpoint_misses_nothing_and_chunks_go_when_it_is_dropped() {
    let mut replica = Replica::new();
    for n in 0..500 {
        let rows: Vec<_> = (0..5).map(|s| (series(s), T0 + n * 1000, (n * 7) as f64)).collect();
        replica.write(T0 + n * 1000, n as u128, &rows);
    }
    let expected = replica.contents(&[]);
    let before = replica.shard.read_view();
    let head_bytes = replica.shard.stats().head_bytes;
    replica.shard.checkpoint().unwrap();
    assert_eq!(replica.shard.stats().head_bytes, head_bytes, "an old view keeps the chunks");
    assert_eq!(contents_of(&before, &[], TimeRange::ALL), expected);
    assert_eq!(replica.contents(&[]), expected, "chunks in parts and head count once");
    drop(before);
    replica.apply(entry::tick(T0 + 500_000));
    assert!(replica.shard.stats().head_bytes < head_bytes);
    assert_eq!(replica.contents(&[]), expected);
    let range = TimeRange { after_ms: T0 + 100_000, to_ms: T0 + 103_000 };
    let cut: Vec<_> = contents_of(&replica.shard.read_view(), &[Matcher::equal("instance", "host-3")], range).into_values().collect();
    let bits = |n: i64| ((n * 7) as f64).to_bits();
    assert_eq!(cut, [vec![(T0 + 101_000, bits(101)), (T0 + 102_000, bits(102)), (T0 + 103_000, bits(103))]]);
}

#[test]
fn read_stops_where_the_visitor_says() {
    let mut replica = Replica::new();
    replica.write(T0, 1, &(0..9).map(|n| (series(n), T0, 0.0)).collect::<Vec<_>>());
    let mut seen = Vec::new();
    let visit = |series: crate::view::SelectedSeries<'_>| {
        seen.push(series.sid);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    replica.shard.read_view().select(&[], TimeRange::ALL, visit).unwrap();
    assert_eq!(seen, [0, 1, 2]);
}

#[test]
fn names_and_values_come_from_head_and_parts() {
    let mut replica = Replica::new();
    replica.write(T0, 1, &(0..4).map(|n| (series(n), T0, 0.0)).collect::<Vec<_>>());
    replica.apply(entry::evict_idle(T0 + 4 * HOUR));
    replica.shard.checkpoint().unwrap();
    replica.apply(entry::evict_idle(T0 + 4 * HOUR));
    assert_eq!(replica.shard.stats().active_series, 0);
    replica.write(T0 + 4 * HOUR, 2, &[(series(4), T0 + 4 * HOUR, 0.0), (series(0), T0 + 4 * HOUR, 0.0)]);
    let view = replica.shard.read_view();
    assert_eq!(view.label_names(&[], TimeRange::ALL, 0).unwrap(), ["__name__", "instance"]);
    let hosts = view.label_values("instance", &[Matcher::equal("__name__", "up")], TimeRange::ALL, 0).unwrap();
    assert_eq!(hosts, ["host-0", "host-3"]);
    assert_eq!(view.label_values("instance", &[], TimeRange::ALL, 3).unwrap(), ["host-0", "host-1", "host-2"]);
    let recent = TimeRange { after_ms: T0 + 3 * HOUR, to_ms: i64::MAX };
    let found = view.series(&[], recent, 0).unwrap();
    assert!(found.contains(&series(4)) && found.contains(&series(0)));
    assert_eq!(view.series(&[], TimeRange::ALL, 0).unwrap().len(), 5);
}

#[test]
fn reload_ends_older_views() {
    let mut replica = Replica::new();
    replica.write(T0, 1, &[(series(1), T0, 1.0)]);
    replica.shard.checkpoint().unwrap();
    let before = replica.contents(&[]);
    let view = replica.shard.read_view();
    replica.shard.reload(replica.shard.store()).unwrap();
    let result = view.select(&[], TimeRange::ALL, |_| ControlFlow::Continue(()));
    assert!(matches!(result, Err(crate::view::ReadError::Replaced)));
    assert_eq!(replica.contents(&[]), before);
}
