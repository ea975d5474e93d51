//! A measurement that other processes disturb little: how long this thread has run.

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use std::time::{Duration, Instant};

/// Time of this thread on a processor where the system tells it, else time on the wall.
#[derive(Debug)]
pub(crate) struct CpuTime;

/// A moment on either clock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// Nanoseconds on a processor.
    Cpu(u64),
    /// On the wall.
    Wall(Instant),
}

/// The first number of this file counts the nanoseconds.
fn on_processor_ns() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

impl Measurement for CpuTime {
    type Intermediate = Moment;
    type Value = Duration;

    fn start(&self) -> Moment {
        on_processor_ns().map_or_else(|| Moment::Wall(WallTime.start()), Moment::Cpu)
    }

    fn end(&self, from: Moment) -> Duration {
        match from {
            // The count moves on with the clock of the scheduler; a time of zero is none that can be worked with.
            Moment::Cpu(from) => Duration::from_nanos(on_processor_ns().unwrap_or(from).saturating_sub(from).max(1)),
            Moment::Wall(from) => WallTime.end(from),
        }
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
        &Nanoseconds
    }
}

/// Writes as criterion does times on the wall.
struct Nanoseconds;

impl ValueFormatter for Nanoseconds {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(&self, typical: f64, throughput: &Throughput, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_throughputs(typical, throughput, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}
