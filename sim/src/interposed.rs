//! The simulated clocks and the seeded source of randomness that stand in for libc's on the simulation's thread.
//!
//! The overrides themselves are in the binary (`interpose.rs`): they are linked into nothing else. One process runs one seed, so that
//! whatever is seeded once in a process (hash maps, tokio's fairness) is the same in every run of that seed.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since the Unix epoch at which every simulation begins: 2026-09-01.
pub const EPOCH: Duration = Duration::from_secs(1_788_220_800);

/// Monotonic time at the beginning: some code subtracts from now.
const MONOTONIC_BASE: Duration = Duration::from_secs(1 << 20);

thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
}

static ELAPSED_NANOS: AtomicU64 = AtomicU64::new(0);
static RANDOM_STATE: AtomicU64 = AtomicU64::new(0);

/// What a simulated clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Time since the Unix epoch.
    Wall,
    /// Time since some moment.
    Monotonic,
}

/// Makes this thread the simulation's, from now on.
pub fn enter(seed: u64) {
    RANDOM_STATE.store(seed, Ordering::SeqCst);
    SIMULATED.set(true);
}

/// Moves the simulated clocks to `elapsed` since the beginning.
pub fn advance_to(elapsed: Duration) {
    ELAPSED_NANOS.store(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
}

/// Simulated time since the beginning.
#[must_use]
pub fn elapsed() -> Duration {
    Duration::from_nanos(ELAPSED_NANOS.load(Ordering::SeqCst))
}

/// What a clock shows on this thread; `None` where it is to be the real one.
#[must_use]
pub fn read(reading: Reading) -> Option<Duration> {
    let base = match reading {
        Reading::Wall => EPOCH,
        Reading::Monotonic => MONOTONIC_BASE,
    };
    SIMULATED.get().then(|| base + elapsed())
}

/// The next 64 bits of the seeded source (SplitMix64); `None` on a thread that is not the simulation's.
#[must_use]
pub fn next_random() -> Option<u64> {
    if !SIMULATED.get() {
        return None;
    }
    let state = RANDOM_STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
    Some(mix(state))
}

/// Spreads a number over 64 bits.
#[must_use]
pub const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Whether the overrides are linked and this thread sees them.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "to see whose clock that is")]
pub fn is_effective() -> bool {
    SystemTime::now().duration_since(UNIX_EPOCH).ok() == read(Reading::Wall)
}
