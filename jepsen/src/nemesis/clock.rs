//! Faults of wall clocks: a file per node says by how much its clock is off.

use super::{Attempt, Fault, Heal, Injected, Lasts, Nemesis, NotInjected, Target};
use crate::clock;
use crate::dice::Dice;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;
const STROBE: Duration = Duration::from_millis(300);
const STROBES: u32 = 12;

impl Nemesis {
    pub(super) fn inject_clock(self: &Arc<Self>, fault: Fault, dice: &mut Dice, target: &Target) -> Attempt {
        if !self.cluster.setup().clocks {
            return Err(NotInjected::Never("there is no C compiler for the library that shifts clocks".to_string()));
        }
        let taken = Arc::clone(&self.busy[target.node]).try_acquire_owned().map_err(|_| NotInjected::NotNow)?;
        let minority = (self.cluster.specs().len() - 1) / 2;
        let count = if fault == Fault::ClockStrobe { 1 } else { 1 + dice.index(minority) };
        let hit: Vec<usize> = [target.node].into_iter().chain(target.others.iter().copied()).take(count).collect();
        let shifts: Vec<i64> = hit.iter().map(|_| shift_ms(dice)).collect();
        for (node, shift) in hit.iter().zip(&shifts) {
            self.set_clock(*node, *shift).map_err(NotInjected::Broken)?;
        }
        let (nemesis, nodes, first) = (Arc::clone(self), hit.clone(), shifts[0]);
        let heal: Heal = Box::pin(async move {
            let _taken = taken;
            if fault == Fault::ClockStrobe {
                for i in 0..STROBES {
                    nemesis.set_clock(nodes[0], if i % 2 == 0 { 0 } else { first })?;
                    tokio::time::sleep(STROBE).await;
                }
            }
            nodes.iter().try_for_each(|node| nemesis.set_clock(*node, 0))
        });
        Ok(Injected { hit, detail: json!({ "ms": shifts }), lasts: Lasts::Cut, heal })
    }

    fn set_clock(&self, node: usize, shift_ms: i64) -> Result<(), String> {
        let path = &self.cluster.specs()[node].clock;
        clock::set(path, shift_ms).map_err(|e| format!("{}: {e}", path.display()))
    }
}

/// From four milliseconds to a year, every magnitude equally often, to either side.
fn shift_ms(dice: &mut Dice) -> i64 {
    let magnitude = 4u64 << dice.below(33);
    let ms = (magnitude + dice.below(magnitude)).min(YEAR_MS) as i64;
    if dice.percent(50) { -ms } else { ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_reach_from_milliseconds_to_a_year_both_ways() {
        let mut dice = Dice::new(4, 4);
        let shifts: Vec<i64> = (0..1000).map(|_| shift_ms(&mut dice)).collect();
        assert!(shifts.iter().all(|s| (4..=YEAR_MS as i64).contains(&s.abs())));
        assert!(shifts.iter().any(|s| s.abs() < 100) && shifts.contains(&(YEAR_MS as i64)) && shifts.contains(&-(YEAR_MS as i64)));
    }
}
