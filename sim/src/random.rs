//! A seeded generator. Every choice of a simulation comes from one, so a seed is a run.

use crate::interposed::mix;
use std::ops::RangeInclusive;
use std::time::Duration;

/// SplitMix64: small, and the same on every machine and in every version.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence. Sequences of one seed with different names have nothing to do with each other.
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        Self(mix(seed ^ xxhash_rust::xxh3::xxh3_64(name.as_bytes())))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in the range, each as likely as the others (but for the remainder of a division).
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = range.into_inner();
        low + self.bits() % (high.saturating_sub(low) + 1)
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.bits() % 100 < percent
    }

    /// One of the items; `None` if there is none.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        let index = usize::try_from(self.bits()).ok()?.checked_rem(items.len())?;
        items.get(index)
    }

    /// A time between `low` and `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.within(low..=high.max(low)))
    }

    /// A time around `mean`: mostly short, sometimes long, at most eight times as long.
    pub fn around(&mut self, mean: Duration) -> Duration {
        let share = (self.bits() >> 11) as f64 / (1_u64 << 53) as f64;
        mean.mul_f64((-(1.0 - share).ln()).min(8.0))
    }

    /// The items in another order.
    pub fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for left in (1..items.len()).rev() {
            let index = usize::try_from(self.within(0..=left as u64)).unwrap_or(0);
            items.swap(left, index);
        }
        items
    }
}
