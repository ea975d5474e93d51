//! Series of the kinds that a node exporter has, 15 s apart.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The first timestamp.
pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// One kind of series.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "not every bench needs all of it")]
pub(crate) struct Class {
    /// What it is called.
    pub(crate) name: &'static str,
    /// How many of a hundred series of the mix are of this kind; 0 for what is looked at beside the mix.
    pub(crate) share: u32,
    /// Any values.
    pub(crate) values: Vec<f64>,
}

/// Times on a grid, and the same a few milliseconds off.
#[allow(dead_code, reason = "not every bench needs all of it")]
pub(crate) fn times(samples: usize) -> (Vec<i64>, Vec<i64>) {
    let mut rng = StdRng::seed_from_u64(2);
    let grid: Vec<i64> = (0..samples as i64).map(|i| START_MS + i * 15_000).collect();
    let jittered = grid.iter().map(|t| t + rng.random_range(-5..=5)).collect();
    (grid, jittered)
}

/// All kinds.
pub(crate) fn classes(samples: usize, seed: u64) -> Vec<Class> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut of = |name, share, next: &mut dyn FnMut(&mut StdRng, f64) -> f64| {
        let mut value = 1000.0;
        let values = (0..samples).map(|_| {
            value = next(&mut rng, value);
            value
        });
        Class { name, share, values: values.collect() }
    };
    let hundredths = |v: f64| (v * 100.0).round() / 100.0;
    vec![
        of("constant", 55, &mut |_, v| v),
        of("slow counter", 15, &mut |rng, v| v + f64::from(u8::from(rng.random_range(0..10) == 0))),
        of("fast counter", 10, &mut |rng, v| v + f64::from(rng.random_range(0u32..1500))),
        of("byte counter", 3, &mut |rng, v| v + f64::from(rng.random_range(0u32..10_000_000))),
        of("cpu seconds", 7, &mut |rng, v| hundredths(v + f64::from(rng.random_range(0u32..90)) / 100.0)),
        of("memory gauge x 4096", 5, &mut |rng, v| (v / 4096.0).floor() * 4096.0 + 4096.0 * f64::from(rng.random_range(-1000i32..=1000))),
        of("gauge, 2 decimals", 3, &mut |rng, v| hundredths(v + f64::from(rng.random_range(-15i32..=15)) / 100.0)),
        of("random float", 1, &mut |rng, _| rng.random::<f64>()),
        of("sum of random floats", 1, &mut |rng, v| v + rng.random::<f64>()),
        of("counter with resets", 0, &mut |rng, v| {
            if rng.random_range(0..60) == 0 { 0.0 } else { v + f64::from(rng.random_range(0u32..200)) }
        }),
        of("gauge that rests", 0, &mut |rng, v| {
            if rng.random_bool(0.5) { v } else { v + f64::from(rng.random_range(-40_000_000i32..=40_000_000)) }
        }),
        of("gauge, 6 decimals", 0, &mut |rng, v| ((v + rng.random::<f64>() - 0.5) * 1e6).round() / 1e6),
        of("ratio of integers", 0, &mut |rng, _| f64::from(rng.random_range(0u32..1000)) / f64::from(rng.random_range(1u32..1000))),
        of("float32", 0, &mut |rng, _| f64::from(rng.random::<f32>())),
    ]
}
