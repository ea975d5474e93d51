//! Seeded pseudo-random numbers: one seed gives the same faults, requests and values in every run.

/// The output function of splitmix64: a bijection of `u64` that scrambles every bit.
///
/// Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
#[must_use]
pub fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A generator of one stream of choices.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Starts the stream `stream` of `seed`; streams of one seed are unrelated.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(splitmix64(seed ^ splitmix64(stream)))
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        splitmix64(self.0)
    }

    /// A number below `n`; 0 when `n` is 0. The bias is below `n / 2^64`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(n)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// An index below `len`.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Puts `items` into a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix64_gives_the_published_sequence() {
        let mut dice = Dice(1_234_567);
        let state = dice.0;
        assert_eq!(splitmix64(state), 6_457_827_717_110_365_317);
        dice.0 = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        assert_eq!(splitmix64(dice.0), 3_203_168_211_198_807_973);
    }

    #[test]
    fn one_seed_gives_one_stream_and_bounds_hold() {
        let (mut a, mut b, mut other) = (Dice::new(7, 1), Dice::new(7, 1), Dice::new(7, 2));
        let drawn: Vec<u64> = (0..100).map(|_| a.between(3, 8)).collect();
        assert_eq!(drawn, (0..100).map(|_| b.between(3, 8)).collect::<Vec<_>>());
        assert_ne!(drawn, (0..100).map(|_| other.between(3, 8)).collect::<Vec<_>>());
        assert!((3..=8).all(|n| drawn.contains(&n)) && drawn.iter().all(|n| (3..=8).contains(n)));
        assert_eq!(Dice::new(1, 1).below(0), 0);
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Dice::new(3, 0).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
