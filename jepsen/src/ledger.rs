//! What was issued, acknowledged and seen so far, as ranges of steps per lane: memory does not grow with the samples.

use crate::ranges::RangeSet;
use parking_lot::Mutex;
use std::ops::Range;

/// The state of one lane's steps; each step stands for one sample of every series of the lane.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LaneLedger {
    /// A request with these steps was sent at least once, and not refused as a whole.
    pub issued: RangeSet,
    /// A request with these steps was answered 2xx.
    pub acked: RangeSet,
    /// One complete strong read showed these steps for every series: they may never disappear again.
    pub observed: RangeSet,
}

impl LaneLedger {
    /// Steps that every later strong read must show.
    #[must_use]
    pub fn owed(&self, window: Range<u64>) -> RangeSet {
        let mut owed = self.acked.within(window.clone());
        owed.extend(&self.observed.within(window));
        owed
    }
}

/// The ledgers of all lanes.
#[derive(Debug)]
pub struct Ledger(Vec<Mutex<LaneLedger>>);

impl Ledger {
    /// Empty ledgers for `lanes` lanes.
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        Self((0..lanes).map(|_| Mutex::new(LaneLedger::default())).collect())
    }

    /// Notes that a request is about to be sent for the first time.
    pub fn issue(&self, lane: u32, steps: Range<u64>) {
        self.0[lane as usize].lock().issued.insert(steps);
    }

    /// Notes that every attempt of a request was refused before anything of it was applied.
    pub fn refuse(&self, lane: u32, steps: Range<u64>) {
        self.0[lane as usize].lock().issued.remove(steps);
    }

    /// Notes a 2xx answer.
    pub fn ack(&self, lane: u32, steps: Range<u64>) {
        self.0[lane as usize].lock().acked.insert(steps);
    }

    /// Notes a step that a complete strong read of the whole lane showed for every series.
    pub fn observe(&self, lane: u32, step: u64) {
        self.0[lane as usize].lock().observed.insert(step..step + 1);
    }

    /// The owed steps of `window` as they are now.
    #[must_use]
    pub fn owed(&self, lane: u32, window: Range<u64>) -> RangeSet {
        self.0[lane as usize].lock().owed(window)
    }

    /// The acknowledged steps of `window` as they are now.
    #[must_use]
    pub fn acked(&self, lane: u32, window: Range<u64>) -> RangeSet {
        self.0[lane as usize].lock().acked.within(window)
    }

    /// The issued steps of `window` as they are now.
    #[must_use]
    pub fn issued(&self, lane: u32, window: Range<u64>) -> RangeSet {
        self.0[lane as usize].lock().issued.within(window)
    }

    /// One past the last step acknowledged in `lane`.
    #[must_use]
    pub fn acked_end(&self, lane: u32) -> u64 {
        self.0[lane as usize].lock().acked.end()
    }

    /// One past the last step issued in any lane.
    #[must_use]
    pub fn issued_end(&self) -> u64 {
        self.0.iter().map(|l| l.lock().issued.end()).max().unwrap_or(0)
    }

    /// How many steps of `lane` were acknowledged.
    #[must_use]
    pub fn acked_steps(&self, lane: u32) -> u64 {
        self.0[lane as usize].lock().acked.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_and_observed_steps_are_owed_and_refused_ones_are_not_issued() {
        let ledger = Ledger::new(2);
        ledger.issue(1, 0..10);
        ledger.ack(1, 2..4);
        ledger.observe(1, 7);
        ledger.refuse(1, 8..10);
        assert_eq!(ledger.owed(1, 0..100).iter().collect::<Vec<_>>(), vec![2, 3, 7]);
        assert_eq!(ledger.issued(1, 5..100).iter().collect::<Vec<_>>(), vec![5, 6, 7]);
        assert_eq!((ledger.acked_steps(1), ledger.acked_end(1), ledger.issued_end()), (2, 4, 8));
        assert!(ledger.owed(0, 0..100).is_empty());
    }
}
