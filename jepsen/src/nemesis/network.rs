//! Faults of the network.

use super::{Attempt, Fault, Injected, Lasts, Nemesis, NotInjected, Target};
use crate::dice::Dice;
use crate::net::{Effect, Gate, Link};
use serde_json::json;
use std::sync::Arc;

type Pairs = Vec<(usize, usize)>;

/// What a fault does to which links, and whom it hits.
struct Plan {
    hit: Vec<usize>,
    pairs: Pairs,
    effect: Effect,
}

impl Nemesis {
    pub(super) async fn inject_network(self: &Arc<Self>, fault: Fault, dice: &mut Dice, target: &Target) -> Attempt {
        if fault.needs_switch() && !self.cluster.is_switched() {
            return Err(NotInjected::Never("the proxies that stand in for the switched network cannot do it".to_string()));
        }
        let nodes = self.cluster.specs().len();
        let plan =
            if fault.needs_switch() && fault != Fault::Clients { shape(fault, dice, target) } else { cut(fault, dice, target, nodes) };
        if !self.cluster.is_running(target.node).await {
            return Err(NotInjected::NotNow);
        }
        let detail = json!({"links": plan.pairs, "effect": format!("{:?}", plan.effect)});
        let rule = self.cluster.links.apply(plan.pairs, plan.effect);
        let links = Arc::clone(&self.cluster.links);
        let heal = Box::pin(async move {
            links.heal(rule);
            Ok(())
        });
        Ok(Injected { hit: plan.hit, detail, lasts: Lasts::Cut, heal })
    }
}

/// Cuts: who does not reach whom.
fn cut(fault: Fault, dice: &mut Dice, target: &Target, nodes: usize) -> Plan {
    let gate = [Gate::Refused, Gate::BlackHole, Gate::Stalled][dice.index(3)];
    let (one, others) = (target.node, &target.others);
    let out: Pairs = others.iter().map(|n| (one, *n)).collect();
    let inward: Pairs = others.iter().map(|n| (*n, one)).collect();
    let half = &others[..(nodes - 1) / 2];
    let (hit, pairs) = match fault {
        Fault::OneWay => (vec![one], if dice.percent(50) { out } else { inward }),
        Fault::Halves => (half.to_vec(), between(half, &rest(nodes, half))),
        Fault::Bridge => (half.to_vec(), between(half, &others[half.len()..])),
        Fault::LeaderMinority => {
            let mut side = vec![one];
            side.extend(others.iter().take(((nodes - 1) / 2).saturating_sub(1)));
            (side.clone(), between(&side, &rest(nodes, &side)))
        }
        Fault::Ring => {
            let circle: Vec<usize> = [one].into_iter().chain(others.iter().copied()).collect();
            ((0..nodes).collect(), ring(&circle))
        }
        Fault::Clients => (vec![one], vec![(nodes, one), (one, nodes)]),
        _ => (vec![one], out.into_iter().chain(inward).collect()),
    };
    Plan { hit, pairs, effect: Effect::Cut(gate) }
}

/// Every node keeps itself and its neighbours in the circle up to a bare majority; links that only one side keeps are kept.
fn ring(circle: &[usize]) -> Pairs {
    let (count, reach) = (circle.len(), (circle.len() / 2).div_ceil(2).max(1));
    let far = |i: usize, j: usize| {
        let distance = i.abs_diff(j);
        distance.min(count - distance) > reach
    };
    let all = (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
    all.filter(|(i, j)| far(*i, *j)).map(|(i, j)| (circle[i], circle[j])).collect()
}

fn rest(nodes: usize, side: &[usize]) -> Vec<usize> {
    (0..nodes).filter(|n| !side.contains(n)).collect()
}

/// Both directions between two groups.
fn between(left: &[usize], right: &[usize]) -> Pairs {
    left.iter().flat_map(|l| right.iter().flat_map(move |r| [(*l, *r), (*r, *l)])).collect()
}

/// What single packets suffer: on all links of one node, or on every link between nodes.
fn shape(fault: Fault, dice: &mut Dice, target: &Target) -> Plan {
    let ppm = |dice: &mut Dice, low: u64, high: u64| dice.between(low, high) as u32;
    let link = match fault {
        Fault::Delay => Link { delay_us: ppm(dice, 20_000, 400_000), jitter_us: ppm(dice, 1000, 200_000), ..Link::default() },
        Fault::Loss => Link { drop_ppm: ppm(dice, 20_000, 300_000), ..Link::default() },
        Fault::Duplicate => Link { dup_ppm: ppm(dice, 50_000, 500_000), jitter_us: 500, ..Link::default() },
        Fault::Reorder => Link { reorder_ppm: ppm(dice, 50_000, 500_000), jitter_us: 500, ..Link::default() },
        Fault::Corrupt => Link { corrupt_ppm: ppm(dice, 5000, 100_000), ..Link::default() },
        _ => Link { rate_bps: dice.between(256_000, 8_000_000), ..Link::default() },
    };
    let own = between(&[target.node], &target.others);
    let everywhere = dice.percent(40);
    let hit = if everywhere { [vec![target.node], target.others.clone()].concat() } else { vec![target.node] };
    let pairs = if everywhere { hit.iter().flat_map(|a| hit.iter().map(move |b| (*a, *b))).filter(|(a, b)| a != b).collect() } else { own };
    Plan { hit, pairs, effect: Effect::Shape(link) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_ring_each_node_reaches_a_majority_and_no_two_the_same() {
        for count in [3, 5, 7] {
            let pairs = ring(&(0..count).collect::<Vec<_>>());
            let reached = |i: usize| (0..count).filter(|j| !pairs.contains(&(i, *j))).collect::<Vec<_>>();
            if count > 3 {
                assert!((0..count).all(|i| reached(i).len() > count / 2 && reached(i).len() < count), "{count}: {pairs:?}");
                assert!((0..count).all(|i| (0..i).all(|j| reached(i) != reached(j))));
            }
        }
    }

    #[test]
    fn cuts_name_the_links_of_their_kind() {
        let target = Target { node: 2, others: vec![0, 1, 3, 4], leader: Some(2) };
        let mut dice = Dice::new(1, 1);
        let mut pairs = |fault| cut(fault, &mut dice, &target, 5).pairs;
        assert_eq!(pairs(Fault::Isolate).len(), 8);
        assert_eq!(pairs(Fault::OneWay).len(), 4);
        assert_eq!(pairs(Fault::Halves).len(), 12);
        let bridge = pairs(Fault::Bridge);
        assert!(bridge.len() == 8 && bridge.iter().all(|(a, b)| *a != 2 && *b != 2));
        let minority = pairs(Fault::LeaderMinority);
        assert!(minority.len() == 12 && minority.contains(&(2, 4)) && !minority.contains(&(2, 0)));
        assert_eq!(pairs(Fault::Clients), vec![(5, 2), (2, 5)]);
    }
}
