//! What the network between the nodes, and between clients and nodes, does: rules over directed pairs, whoever carries the bytes.
//!
//! [`crate::switch`] carries packets and obeys all rules; [`crate::proxy`] carries TCP connections and obeys cuts between nodes only.

use crate::dice::Dice;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

const MILLION: u64 = 1_000_000;
/// A packet that is overtaken comes so much later, microseconds.
const REORDER_US: u64 = 3000;

/// What happens to connections from one node to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Bytes flow.
    Open,
    /// Connections are closed, new ones at once. Packets are dropped.
    Refused,
    /// Connections are closed; new ones are accepted and nothing is ever forwarded on them. Packets are dropped.
    BlackHole,
    /// Connections stay, and what is on its way arrives after the heal. Packets are dropped, and TCP sends them again.
    Stalled,
}

/// How one directed link treats packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// Packets in a million that vanish.
    pub drop_ppm: u32,
    /// Packets in a million that arrive twice.
    pub dup_ppm: u32,
    /// Packets in a million that later ones overtake.
    pub reorder_ppm: u32,
    /// Packets in a million in which one bit is flipped; checksums find nearly all of them.
    pub corrupt_ppm: u32,
    /// Time that every packet takes, microseconds.
    pub delay_us: u32,
    /// Up to so much more, microseconds.
    pub jitter_us: u32,
    /// Bits a second, 0 for as many as there are.
    pub rate_bps: u64,
    /// Nothing passes.
    pub cut: bool,
}

/// One copy of a packet that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// After so many microseconds.
    pub after_us: u64,
    /// With this bit flipped.
    pub flipped: Option<usize>,
}

impl Link {
    /// What arrives of a packet of `bytes` bytes: nothing, it, or it twice.
    pub fn fate(&self, bytes: usize, dice: &mut Dice) -> [Option<Arrival>; 2] {
        let mut happens = |ppm: u32| ppm > 0 && dice.below(MILLION) < u64::from(ppm);
        if self.cut || happens(self.drop_ppm) {
            return [None, None];
        }
        let (twice, late, corrupt) = (happens(self.dup_ppm), happens(self.reorder_ppm), happens(self.corrupt_ppm));
        let mut arrival = |late: bool| Arrival {
            after_us: u64::from(self.delay_us) + dice.below(u64::from(self.jitter_us) + 1) + if late { REORDER_US } else { 0 },
            flipped: corrupt.then(|| dice.index(bytes * 8)),
        };
        [Some(arrival(late)), twice.then(|| arrival(!late))]
    }
}

/// What a rule does to its pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing passes.
    Cut(Gate),
    /// Packets are treated so.
    Shape(Link),
}

/// Names one rule, to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(u64);

#[derive(Debug)]
struct Rule {
    id: RuleId,
    pairs: Vec<(usize, usize)>,
    effect: Effect,
}

/// The state of all directed links. Rules may overlap; the newest of its kind that names a pair holds.
#[derive(Debug)]
pub struct Links {
    rules: Mutex<Vec<Rule>>,
    changes: watch::Sender<u64>,
    next: AtomicU64,
}

impl Default for Links {
    fn default() -> Self {
        Self { rules: Mutex::default(), changes: watch::Sender::new(0), next: AtomicU64::new(0) }
    }
}

impl Links {
    /// Lets `effect` hold for every `(from, to)` of `pairs`.
    pub fn apply(&self, pairs: Vec<(usize, usize)>, effect: Effect) -> RuleId {
        let id = RuleId(self.next.fetch_add(1, Ordering::Relaxed));
        self.rules.lock().push(Rule { id, pairs, effect });
        self.changes.send_modify(|version| *version += 1);
        id
    }

    /// Ends one rule.
    pub fn heal(&self, id: RuleId) {
        self.rules.lock().retain(|rule| rule.id != id);
        self.changes.send_modify(|version| *version += 1);
    }

    /// Ends all rules.
    pub fn heal_all(&self) {
        self.rules.lock().clear();
        self.changes.send_modify(|version| *version += 1);
    }

    /// The state of connections that `from` opens to `to`.
    #[must_use]
    pub fn state(&self, from: usize, to: usize) -> Gate {
        let rules = self.rules.lock();
        let newest = rules.iter().rev().filter(|rule| rule.pairs.contains(&(from, to)));
        let mut gates = newest.filter_map(|rule| if let Effect::Cut(gate) = rule.effect { Some(gate) } else { None });
        gates.next().unwrap_or(Gate::Open)
    }

    /// How packets from `from` to `to` are treated now.
    #[must_use]
    pub fn link(&self, from: usize, to: usize) -> Link {
        let rules = self.rules.lock();
        let mut link = None;
        let mut cut = false;
        for rule in rules.iter().rev().filter(|rule| rule.pairs.contains(&(from, to))) {
            match rule.effect {
                Effect::Cut(gate) => cut |= gate != Gate::Open,
                Effect::Shape(shape) => link = link.or(Some(shape)),
            }
        }
        let link = link.unwrap_or_default();
        Link { cut: link.cut || cut, ..link }
    }

    /// Waits until the state of a link satisfies `wanted`.
    pub async fn until(&self, from: usize, to: usize, wanted: impl Fn(Gate) -> bool) {
        let mut changes = self.changes.subscribe();
        while !wanted(self.state(from, to)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_drops_doubles_delays_and_flips_as_often_as_it_says() {
        let link = Link {
            drop_ppm: 100_000,
            dup_ppm: 200_000,
            reorder_ppm: 50_000,
            corrupt_ppm: 10_000,
            delay_us: 500,
            jitter_us: 100,
            ..Link::default()
        };
        let mut dice = Dice::new(1, 1);
        let fates: Vec<_> = (0..20_000).map(|_| link.fate(100, &mut dice)).collect();
        let share = |test: &dyn Fn(&[Option<Arrival>; 2]) -> bool| fates.iter().filter(|f| test(f)).count() as f64 / fates.len() as f64;
        assert!((share(&|f| f[0].is_none()) - 0.1).abs() < 0.01);
        assert!((share(&|f| f[1].is_some()) - 0.18).abs() < 0.015);
        assert!((share(&|f| f[0].is_some_and(|a| a.after_us > 600)) - 0.045).abs() < 0.01);
        assert!((share(&|f| f[0].is_some_and(|a| a.flipped.is_some())) - 0.009).abs() < 0.004);
        assert!(fates.iter().flatten().flatten().all(|a| a.after_us >= 500 && a.flipped.is_none_or(|bit| bit < 800)));
        assert_eq!(Link::default().fate(100, &mut dice), [Some(Arrival { after_us: 0, flipped: None }), None]);
        assert_eq!(Link { cut: true, ..Link::default() }.fate(100, &mut dice), [None, None]);
    }

    #[test]
    fn rules_overlap_by_kind_and_end_one_by_one() {
        let links = Links::default();
        let slow = Link { delay_us: 9, ..Link::default() };
        let shape = links.apply(vec![(0, 1)], Effect::Shape(slow));
        let cut = links.apply(vec![(0, 1), (1, 2)], Effect::Cut(Gate::Stalled));
        assert_eq!(links.link(0, 1), Link { cut: true, ..slow });
        assert_eq!((links.state(0, 1), links.state(1, 0), links.state(1, 2)), (Gate::Stalled, Gate::Open, Gate::Stalled));
        links.heal(cut);
        assert_eq!(links.link(0, 1), slow);
        links.heal(shape);
        assert_eq!(links.link(0, 1), Link::default());
    }
}
