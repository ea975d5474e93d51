use super::*;
use model::MatchOp;

/// What the shard should hold: label sets with their samples.
#[derive(Default)]
struct Model(BTreeMap<String, (Labels, Vec<(i64, u64)>)>);

impl Model {
    fn add(&mut self, labels: &Labels, t: i64, value: f64) {
        let (_, samples) = self.0.entry(labels.to_string()).or_insert_with(|| (labels.clone(), Vec::new()));
        samples.push((t, value.to_bits()));
    }

    fn select(&self, matchers: &[Matcher], range: TimeRange) -> BTreeMap<String, Vec<(i64, u64)>> {
        let matching = self.0.iter().filter(|(_, (labels, _))| matchers.iter().all(|m| m.matches_labels(labels)));
        let cut = matching.map(|(name, (_, samples))| {
            let inside = samples.iter().filter(|(t, _)| *t > range.after_ms && *t <= range.to_ms);
            (name.clone(), inside.copied().collect::<Vec<_>>())
        });
        cut.filter(|(_, samples)| !samples.is_empty()).collect()
    }
}

fn pod(generation: i64, n: i64) -> Labels {
    let (pod, odd) = (format!("pod-{generation}-{n}"), (n % 2).to_string());
    Labels::from_pairs([("__name__", "requests"), ("pod", &pod), ("odd", &odd)])
}

#[test]
fn c13_churn_and_evict_against_a_model() {
    const MINUTE: i64 = 60_000;
    let mut replica = Replica::new();
    replica.apply(limits(1, 10 * MINUTE, 20 * MINUTE));
    let mut model = Model::default();
    let matchers = [
        vec![Matcher::equal("__name__", "requests")],
        vec![Matcher::equal("odd", "1"), Matcher::new("pod", MatchOp::Regex, "pod-(1|2|3)-.*").unwrap()],
        vec![Matcher::new("pod", MatchOp::NotRegex, "pod-.*-[0-3]").unwrap()],
    ];
    let mut most = 0;
    for minute in 0..360i64 {
        let now = T0 + minute * MINUTE;
        let generation = minute / 30;
        let mut rows: Vec<_> = (0..10).map(|n| (pod(generation, n), now, (minute * n) as f64)).collect();
        // A series of long ago comes back for a minute.
        rows.extend((minute % 45 == 44).then(|| (pod(0, 3), now, 7.0)));
        let verdict = replica.write(now, minute as u128, &rows);
        assert_eq!(verdict.accepted as usize, rows.len());
        rows.iter().for_each(|(labels, t, value)| model.add(labels, *t, *value));
        if minute % 7 == 0 {
            replica.apply(entry::evict_idle(now));
        }
        if minute % 11 == 0 {
            replica.shard.checkpoint().unwrap();
        }
        if minute % 97 == 96 {
            replica = replica.restart();
        }
        most = most.max(replica.shard.stats().active_series);
        let view = replica.shard.read_view();
        let hour = TimeRange { after_ms: now - 60 * MINUTE, to_ms: now };
        for set in &matchers {
            assert_eq!(contents_of(&view, set, hour), model.select(set, hour), "minute {minute}");
            assert_newest(&view, set, hour);
            assert_newest(&view, set, TimeRange { after_ms: now - 90_000, to_ms: now - 30_000 });
            let names: Vec<String> = view.series(set, hour, 0).unwrap().iter().map(Labels::to_string).collect();
            assert!(model.select(set, hour).keys().all(|name| names.contains(name)), "minute {minute}");
        }
        if minute % 30 == 29 {
            assert_eq!(contents_of(&view, &[], TimeRange::ALL), model.select(&[], TimeRange::ALL), "minute {minute}");
        }
    }
    let stats = replica.shard.stats();
    assert_eq!(stats.series, 120, "a series that returns keeps its id");
    assert!(most <= 40, "{most} of 120 series were in the head at once");
}

#[test]
fn c3_reader_never_meets_a_hole_while_chunks_move_to_parts_and_series_leave() {
    const STEP: i64 = 30_000;
    let mut replica = Replica::new();
    replica.apply(limits(1, 0, 20 * STEP));
    let stop = Arc::new(AtomicBool::new(false));
    let reader = {
        let (shard, stop) = (Arc::clone(&replica.shard), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut reads = 0u32;
            while !stop.load(Ordering::SeqCst) {
                let found = contents_of(&shard.read_view(), &[], TimeRange::ALL);
                for (name, samples) in &found {
                    let whole = samples.windows(2).all(|pair| pair[1].0 - pair[0].0 == STEP);
                    assert!(whole, "{name} has a hole");
                }
                let counts: Vec<usize> = found.values().map(Vec::len).collect();
                let ended = counts.len().saturating_sub(20);
                assert!(counts.iter().filter(|n| **n == 400).count() >= ended.saturating_sub(10), "an ended series lost samples");
                reads += 1;
            }
            reads
        })
    };
    let checkpoints = {
        let (shard, stop) = (Arc::clone(&replica.shard), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::SeqCst) {
                shard.checkpoint().unwrap();
            }
        })
    };
    for step in 0..4000i64 {
        let now = T0 + step * STEP;
        let rows: Vec<_> = (0..10).map(|n| (pod(step / 400, n), now, step as f64)).collect();
        assert_eq!(replica.write(now, step as u128, &rows).accepted, 10);
        if step % 50 == 49 {
            replica.apply(entry::evict_idle(now));
        }
    }
    stop.store(true, Ordering::SeqCst);
    checkpoints.join().unwrap();
    assert!(reader.join().unwrap() > 0);
    let held = replica.contents(&[]);
    assert_eq!((held.len(), held.values().filter(|samples| samples.len() == 400).count()), (100, 100));
}
