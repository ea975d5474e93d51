//! Cluster time (`core.md` C5): an estimate of the median clock of a majority of nodes, and what a leader may stamp.

use model::{Clock, StoreId, Timestamp};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A node whose clock is off by more than this stamps nothing.
pub const OFFSET_MS_MAX: i64 = 2_000;

/// How long an answer of another node's clock counts.
const READING_AGE_MAX: Duration = Duration::from_secs(5);

/// How far a new leader may move time ahead of the entry before, beside what its own monotonic clock has seen.
const ELECTION_STEP_MS: i64 = 5_000;

/// Why a node may not stamp entries now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTime {
    /// Fewer than a majority of the nodes' clocks are known.
    #[error("clocks of {known} of {nodes} nodes known, {needed} needed")]
    NoMajority {
        /// Fresh readings, the own clock included.
        known: usize,
        /// Nodes of the cluster.
        nodes: usize,
        /// A majority.
        needed: usize,
    },
    /// The own clock is too far from the median.
    #[error("own clock is {offset_ms} ms off the median of the nodes")]
    ClockOff {
        /// Own clock minus median.
        offset_ms: i64,
    },
}

/// Readings of the other nodes' clocks and the estimate they give.
#[derive(Debug)]
pub struct ClusterTime {
    clock: Arc<dyn Clock>,
    readings: Mutex<Readings>,
}

#[derive(Debug, Default)]
struct Readings {
    nodes: usize,
    /// The other's clock less our monotonic one, which does not jump with ours, and when it was read.
    offsets: BTreeMap<StoreId, (i64, Duration)>,
}

impl ClusterTime {
    /// Starts without any reading, for a cluster of one.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, readings: Mutex::new(Readings { nodes: 1, ..Readings::default() }) }
    }

    /// The clock behind it.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Tells which stores other than this one make up the cluster.
    pub fn set_peers(&self, peers: &[StoreId]) {
        let mut readings = self.readings.lock();
        readings.nodes = peers.len() + 1;
        readings.offsets.retain(|store, _| peers.contains(store));
    }

    /// Notes that `store`'s clock read `their_ms` when our monotonic clock read `at` (the middle of the round trip).
    pub fn observe(&self, store: StoreId, their_ms: Timestamp, at: Duration) {
        self.readings.lock().offsets.insert(store, (their_ms.saturating_sub(millis(at)), at));
    }

    /// What a majority of clocks, the own one among them, say that the time is: also where the own one is off.
    ///
    /// # Errors
    /// [`NoTime::NoMajority`].
    pub fn estimate(&self) -> Result<Timestamp, NoTime> {
        let (own, monotonic) = (self.clock.now_ms(), self.clock.monotonic());
        let readings = self.readings.lock();
        let fresh = readings.offsets.values().filter(|(_, at)| monotonic.saturating_sub(*at) <= READING_AGE_MAX);
        let mut offsets: Vec<i64> = fresh.map(|(offset, _)| *offset).collect();
        offsets.push(own.saturating_sub(millis(monotonic)));
        let needed = readings.nodes / 2 + 1;
        if offsets.len() < needed {
            return Err(NoTime::NoMajority { known: offsets.len(), nodes: readings.nodes, needed });
        }
        offsets.sort_unstable();
        let median = if offsets.len() % 2 == 1 {
            offsets[offsets.len() / 2]
        } else {
            let (a, b) = (offsets[offsets.len() / 2 - 1], offsets[offsets.len() / 2]);
            // Two clocks cannot outvote each other: the middle is off from both by half of what they differ.
            a.saturating_add(b.saturating_sub(a) / 2)
        };
        Ok(median.saturating_add(millis(monotonic)))
    }

    /// Cluster time, where the own clock agrees with it.
    ///
    /// # Errors
    /// See [`NoTime`]; whoever stamps entries must then stop and give leadership away.
    pub fn now(&self) -> Result<Timestamp, NoTime> {
        let estimate = self.estimate()?;
        let offset_ms = self.clock.now_ms().saturating_sub(estimate);
        if offset_ms.saturating_abs() > OFFSET_MS_MAX { Err(NoTime::ClockOff { offset_ms }) } else { Ok(estimate) }
    }
}

fn millis(monotonic: Duration) -> i64 {
    i64::try_from(monotonic.as_millis()).unwrap_or(i64::MAX)
}

/// What one shard's leader may stamp, entry by entry.
#[derive(Debug)]
pub struct Stamp {
    previous_ms: Timestamp,
    previous_at: Duration,
    allowance_ms: i64,
}

impl Stamp {
    /// Starts a term of leadership: `applied_ms` is the time of the newest entry, `at` the monotonic clock now.
    #[must_use]
    pub fn elected(applied_ms: Timestamp, at: Duration) -> Self {
        Self { previous_ms: applied_ms, previous_at: at, allowance_ms: ELECTION_STEP_MS }
    }

    /// The time of the next entry: never back, never ahead of what twice the monotonic time since the one before allows,
    /// unless `confirmed_ms` says that a majority of nodes have been there.
    pub fn next(&mut self, estimate_ms: Timestamp, at: Duration, confirmed_ms: Option<Timestamp>) -> Timestamp {
        let passed = i64::try_from(at.saturating_sub(self.previous_at).as_millis()).unwrap_or(i64::MAX);
        let reach = self.previous_ms.saturating_add(passed.saturating_mul(2)).saturating_add(self.allowance_ms);
        let reach = reach.max(confirmed_ms.unwrap_or(i64::MIN));
        let next = estimate_ms.min(reach).max(self.previous_ms);
        if next > self.previous_ms {
            self.previous_ms = next;
            self.previous_at = at;
            self.allowance_ms = 0;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::ManualClock;

    fn three(own_ms: i64) -> (Arc<ManualClock>, ClusterTime) {
        let clock = Arc::new(ManualClock::new(own_ms));
        let time = ClusterTime::new(Arc::clone(&clock) as Arc<dyn Clock>);
        time.set_peers(&[StoreId(2), StoreId(3)]);
        (clock, time)
    }

    #[test]
    fn c5_a_node_alone_or_off_by_two_seconds_stamps_nothing() {
        let (clock, time) = three(1_000_000);
        let at = clock.monotonic();
        assert!(matches!(time.now(), Err(NoTime::NoMajority { known: 1, nodes: 3, needed: 2 })));
        time.observe(StoreId(2), 1_000_100, at);
        assert_eq!(time.now(), Ok(1_000_050));
        time.observe(StoreId(3), 1_000_300, at);
        assert_eq!(time.now(), Ok(1_000_100));
    }

    #[test]
    fn c5_a_jump_of_the_own_clock_is_known_at_once_and_does_not_move_the_estimate() {
        let (clock, time) = three(1_000_000);
        time.observe(StoreId(2), 1_000_100, clock.monotonic());
        time.observe(StoreId(3), 1_000_300, clock.monotonic());
        for jump in [90_000_000, 5] {
            clock.jump_to(jump);
            assert_eq!(time.estimate(), Ok(if jump > 1_000_000 { 1_000_300 } else { 1_000_100 }));
            assert!(matches!(time.now(), Err(NoTime::ClockOff { .. })), "before anybody was asked again");
        }
    }

    #[test]
    fn c5_one_wrong_clock_does_not_move_the_others() {
        let (clock, time) = three(1_000_000);
        time.observe(StoreId(2), 1_000_010, clock.monotonic());
        time.observe(StoreId(3), 31_536_000_000, clock.monotonic());
        assert_eq!(time.now(), Ok(1_000_010));
    }

    #[test]
    fn c5_readings_grow_old() {
        let (clock, time) = three(1_000_000);
        time.observe(StoreId(2), 1_000_000, clock.monotonic());
        clock.advance(Duration::from_secs(6));
        assert!(matches!(time.now(), Err(NoTime::NoMajority { .. })));
    }

    #[test]
    fn c5_entry_time_never_goes_back_and_jumps_only_when_confirmed() {
        let mut stamp = Stamp::elected(100_000, Duration::ZERO);
        assert_eq!(stamp.next(90_000, Duration::from_secs(1), None), 100_000);
        let mut stamp = Stamp::elected(100_000, Duration::ZERO);
        assert_eq!(stamp.next(10_000_000, Duration::from_secs(1), None), 107_000);
        assert_eq!(stamp.next(10_000_000, Duration::from_secs(2), None), 109_000);
        assert_eq!(stamp.next(10_000_000, Duration::from_secs(3), Some(9_000_000)), 9_000_000);
        assert_eq!(stamp.next(9_000_500, Duration::from_secs(3), None), 9_000_000);
        assert_eq!(stamp.next(9_000_500, Duration::from_secs(4), None), 9_000_500);
    }
}
