//! Sums inside one series, in exactly Prometheus's order of operations (Kahan's with Neumaier's improvement).

/// A running sum and what rounding took from it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Compensated {
    sum: f64,
    rest: f64,
}

impl Compensated {
    /// The sum of `values`, from left to right.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sum = Self::default();
        values.iter().for_each(|v| sum.add(*v));
        sum
    }

    /// Adds one value.
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.rest = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.rest += (self.sum - total) + value;
        } else {
            self.rest += (value - total) + self.sum;
        }
        self.sum = total;
    }

    /// The sum.
    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.rest }
    }
}

/// The mean of at least one value; if the sum overflows, by weighing each value in.
pub(crate) fn mean(values: &[f64]) -> f64 {
    let mut sum = Compensated { sum: values[0], rest: 0.0 };
    for (i, value) in values.iter().enumerate().skip(1) {
        let mut next = sum;
        next.add(*value);
        if next.sum.is_infinite() {
            return incremental_mean(sum, i, &values[i..]);
        }
        sum = next;
    }
    let n = values.len() as f64;
    sum.sum / n + sum.rest / n
}

/// Continues a mean of `count` values, whose sum is `sum`, over `values`.
fn incremental_mean(sum: Compensated, count: usize, values: &[f64]) -> f64 {
    let n = count as f64;
    let mut mean = Compensated { sum: sum.sum / n, rest: sum.rest / n };
    for (i, value) in values.iter().enumerate() {
        let n = (count + i + 1) as f64;
        let weight = (n - 1.0) / n;
        mean = Compensated { sum: weight * mean.sum, rest: weight * mean.rest };
        mean.add(value / n);
    }
    mean.sum + mean.rest
}

/// The population variance of at least one value, by Welford's method.
pub(crate) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (Compensated::default(), Compensated::default());
    for (i, value) in values.iter().enumerate() {
        let delta = value - (mean.sum + mean.rest);
        mean.add(delta / (i + 1) as f64);
        squares.add(delta * (value - (mean.sum + mean.rest)));
    }
    (squares.sum + squares.rest) / values.len() as f64
}
