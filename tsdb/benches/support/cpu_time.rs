//! Measures what a thread computes, not how long it waits for others.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Processor time of the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime;

/// Processor time that the calling thread has taken so far.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The least nanoseconds that `work` takes for each of its `count` things, of many rounds.
#[allow(dead_code, reason = "not every bench prints a table")]
pub(crate) fn nanoseconds_each(count: usize, mut work: impl FnMut()) -> f64 {
    const REPEATS: u32 = 20;
    let rounds = (0..25).map(|_| {
        let before = now();
        (0..REPEATS).for_each(|_| work());
        (now() - before).as_nanos() as f64 / f64::from(REPEATS) / count as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        now()
    }

    fn end(&self, before: Duration) -> Duration {
        now() - before
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
