//! Matchers, names and values over the head and stored days, whatever became of them, against a plain model.

use super::life::delete;
use super::*;
use model::MatchOp;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;

const DAY_MS: i64 = 24 * HOUR;
const KEPT: i64 = 4 * DAY_MS;
static RUNNING: AtomicBool = AtomicBool::new(false);
const NAMES: [&str; 5] = ["__name__", "a", "b", "ü", "absent"];
const VALUES: [&str; 8] = ["", "x", "xy", "x|y", "zß", "z", "10", "1"];
const PATTERNS: [&str; 14] =
    ["", "x", "x|xy", "x|", ".*", ".+", "x.*", "z.+", ".*y", "1|10|nothing", "x\\|y", "(x|z)[yß]?", "[^x]*", "zß|z|x|xy|10|1|"];

fn labels((metric, a, b, u): (u8, usize, usize, usize)) -> Labels {
    let metric = format!("metric_{metric}");
    Labels::from_pairs([("__name__", metric.as_str()), ("a", VALUES[a]), ("b", VALUES[b]), ("ü", VALUES[u])])
}

#[derive(Clone, Debug)]
enum Action {
    Write(Vec<(u8, usize, usize, usize)>),
    Advance(i64),
    Delete(Vec<(usize, usize, usize)>, i64),
    DropDay,
    Evict,
    Checkpoint,
    Rewrite,
    Restart,
}

fn matcher() -> impl Strategy<Value = (usize, usize, usize)> {
    (0..NAMES.len(), 0usize..4, 0..PATTERNS.len())
}

fn action() -> impl Strategy<Value = Action> {
    let one = (0u8..3, 0..VALUES.len(), 0..VALUES.len(), 0usize..3);
    prop_oneof![
        6 => vec(one, 1..12).prop_map(Action::Write),
        4 => (HOUR..20 * HOUR).prop_map(Action::Advance),
        1 => (vec(matcher(), 1..3), 0i64..40 * HOUR).prop_map(|(matchers, ago)| Action::Delete(matchers, ago)),
        1 => Just(Action::DropDay),
        2 => Just(Action::Evict),
        3 => Just(Action::Checkpoint),
        3 => Just(Action::Rewrite),
        1 => Just(Action::Restart),
    ]
}

fn compiled(matchers: &[(usize, usize, usize)]) -> Vec<Matcher> {
    let op = |n: usize| [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex][n];
    matchers.iter().map(|(name, n, pattern)| Matcher::new(NAMES[*name], op(*n), PATTERNS[*pattern]).unwrap()).collect()
}

struct Story {
    replica: Option<Replica>,
    held: BTreeMap<Labels, BTreeSet<i64>>,
    now_ms: i64,
    batch: u128,
}

impl Story {
    fn replica(&mut self) -> &mut Replica {
        self.replica.as_mut().unwrap()
    }

    fn act(&mut self, action: &Action) {
        let now = self.now_ms;
        match action {
            Action::Write(series) => {
                self.now_ms += 15_000;
                self.batch += 1;
                let (now, batch) = (self.now_ms, self.batch);
                let of: BTreeSet<Labels> = series.iter().map(|series| labels(*series)).collect();
                let rows: Vec<_> = of.iter().map(|labels| (labels.clone(), now, 1.0)).collect();
                assert_eq!(self.replica().write(now, batch, &rows).accepted as usize, rows.len());
                for labels in of {
                    self.held.entry(labels).or_default().insert(now);
                }
            }
            Action::Advance(by) => {
                self.now_ms += by;
                let tick = entry::tick(self.now_ms);
                self.replica().apply(tick);
            }
            Action::Delete(matchers, ago) => {
                let matchers = compiled(matchers);
                self.replica().apply(delete(now - ago, now, matchers.clone()));
                for (labels, samples) in &mut self.held {
                    if matchers.iter().all(|m| m.matches_labels(labels)) {
                        samples.retain(|t| *t < now - ago);
                    }
                }
            }
            Action::DropDay => {
                let before = (now - KEPT).div_euclid(DAY_MS) * DAY_MS;
                self.replica().apply(entry::drop_day(now, before));
                self.held.values_mut().for_each(|samples| samples.retain(|t| *t >= before));
            }
            Action::Evict => drop(self.replica().apply(entry::evict_idle(now))),
            Action::Checkpoint => drop(self.replica().shard.checkpoint().unwrap()),
            Action::Rewrite => while self.replica().shard.rewrite_due(&RUNNING).unwrap().is_some() {},
            Action::Restart => self.replica = self.replica.take().map(Replica::restart),
        }
        self.held.retain(|_, samples| !samples.is_empty());
    }

    fn matching(&self, matchers: &[Matcher]) -> Vec<&Labels> {
        self.held.keys().filter(|labels| matchers.iter().all(|m| m.matches_labels(labels))).collect()
    }

    fn check(&mut self, matchers: &[Matcher]) {
        let view = self.replica().shard.read_view();
        let expected = self.matching(matchers);
        let texts: Vec<String> = expected.iter().map(|labels| labels.to_string()).collect();
        let selected: Vec<String> = contents_of(&view, matchers, TimeRange::ALL).into_keys().collect();
        assert_eq!(selected, BTreeSet::from_iter(texts).into_iter().collect::<Vec<_>>(), "{matchers:?}");
        for limit in [0, 1, 3] {
            let cut = if limit == 0 { usize::MAX } else { limit };
            let found = view.series(matchers, TimeRange::ALL, limit).unwrap();
            assert!(found.iter().eq(expected.iter().copied().take(cut)), "{matchers:?} limit {limit}: {found:?}");
            let names: BTreeSet<&str> = expected.iter().flat_map(|labels| labels.iter()).map(|(name, _)| name).collect();
            let found = view.label_names(matchers, TimeRange::ALL, limit).unwrap();
            assert!(found.iter().map(String::as_str).eq(names.into_iter().take(cut)), "{matchers:?} limit {limit}: {found:?}");
            for name in NAMES {
                let values: BTreeSet<&str> = expected.iter().filter_map(|labels| labels.get(name)).collect();
                let found = view.label_values(name, matchers, TimeRange::ALL, limit).unwrap();
                assert!(
                    found.iter().map(String::as_str).eq(values.into_iter().take(cut)),
                    "{name} of {matchers:?} limit {limit}: {found:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn c13_head_and_stored_days_together_find_what_a_model_finds(
        actions in vec(action(), 1..30),
        asked in vec(vec(matcher(), 0..4), 4),
    ) {
        let mut story = Story { replica: Some(Replica::new()), held: BTreeMap::new(), now_ms: T0, batch: 0 };
        for (step, action) in actions.iter().enumerate() {
            story.act(action);
            if step % 4 == 3 {
                story.check(&compiled(&asked[step % asked.len()]));
            }
        }
        // The second time what segments found is kept.
        for matchers in asked.iter().chain(&asked) {
            story.check(&compiled(matchers));
        }
        story.check(&[]);
        story.act(&Action::Restart);
        story.act(&Action::Checkpoint);
        for matchers in &asked {
            story.check(&compiled(matchers));
        }
    }
}
