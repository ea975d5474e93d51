//! Exact sums of floats: the state holds the true sum, so neither order nor grouping of the additions matters.
//!
//! A cell is two floats whose exact sum is the state; what does not fit spills into further limbs (rarely: magnitudes must be
//! more than 2^53 apart) and, beyond the range of a float, into a fixed-point number.

use super::wide::{Wide, power_of_two};
use crate::frame::codec::{FrameError, Reader, put_float, put_number};
use std::collections::HashMap;

/// `a + b` as (rounded, error), exact if both are finite: near the largest float the error can overflow where the sum does not.
#[inline]
pub(crate) fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let of_b = sum - a;
    let of_a = sum - of_b;
    (sum, (a - of_a) + (b - of_b))
}

/// `a * a` as (rounded, error), exact for magnitudes in `[2^-480, 2^500]` and zero.
#[inline]
fn two_square(a: f64) -> (f64, f64) {
    const SPLIT: f64 = 134_217_729.0;
    let product = a * a;
    let scaled = SPLIT * a;
    let high = scaled - (scaled - a);
    let low = a - high;
    (product, ((high * high - product) + 2.0 * high * low) + low * low)
}

/// A sum, normalised: `high` is the float nearest to it (ties to even), `low` the one nearest to the rest; both times `2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounded {
    /// Nearest float.
    pub high: f64,
    /// Nearest float of the rest.
    pub low: f64,
    /// 0 unless the sum is beyond the largest float.
    pub exponent: i32,
}

impl Rounded {
    /// The sum as one float; infinite beyond the largest.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.high * power_of_two(self.exponent)
    }

    /// The sum over `n`.
    #[must_use]
    pub fn divided_by(&self, n: f64) -> f64 {
        (self.high / n + self.low / n) * power_of_two(self.exponent)
    }
}

/// What did not fit into the two floats of a cell.
#[derive(Clone, Debug, Default)]
struct Spill {
    limbs: Vec<f64>,
    wide: Option<Box<Wide>>,
}

impl Spill {
    fn add(&mut self, value: f64) {
        if let Some(wide) = &mut self.wide {
            wide.add(value);
            return;
        }
        let mut carried = value;
        let mut kept = 0;
        for i in 0..self.limbs.len() {
            let (sum, error) = two_sum(carried, self.limbs[i]);
            if !(sum.is_finite() && error.is_finite()) {
                // Too large for floats. The limbs before `i` are already replaced by what `carried` left of them.
                let rest: Vec<f64> = self.limbs[..kept].iter().chain(&self.limbs[i..]).copied().collect();
                let wide = self.wide.insert(Box::default());
                rest.iter().for_each(|limb| wide.add(*limb));
                wide.add(carried);
                self.limbs.clear();
                return;
            }
            carried = sum;
            if error != 0.0 {
                self.limbs[kept] = error;
                kept += 1;
            }
        }
        self.limbs.truncate(kept);
        if carried != 0.0 {
            self.limbs.push(carried);
        }
    }

    fn merge(&mut self, other: &Self) {
        other.limbs.iter().for_each(|limb| self.add(*limb));
        if let Some(theirs) = &other.wide {
            self.wide().merge(theirs);
        }
    }

    fn wide(&mut self) -> &mut Wide {
        let limbs = std::mem::take(&mut self.limbs);
        let wide = self.wide.get_or_insert_default();
        limbs.iter().for_each(|limb| wide.add(*limb));
        wide
    }
}

/// Exact sums, one a step.
#[derive(Clone, Debug)]
pub struct ExactSums {
    high: Vec<f64>,
    low: Vec<f64>,
    spills: HashMap<usize, Spill>,
}

impl ExactSums {
    /// Zero at every step.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { high: vec![0.0; steps], low: vec![0.0; steps], spills: HashMap::new() }
    }

    /// Adds a finite number at `step`.
    #[inline]
    pub fn add(&mut self, step: usize, value: f64) {
        let (sum, error) = two_sum(self.high[step], value);
        let (rest, lost) = two_sum(self.low[step], error);
        let (high, low) = two_sum(sum, rest);
        // What overflows on the way leaves NaN in `low` and `lost`.
        if !low.is_finite() || lost != 0.0 {
            self.add_spilling(step, value);
            return;
        }
        self.high[step] = high;
        self.low[step] = low;
    }

    /// Adds `values` at the steps from `first` on. Values that are not finite go to `other`, with their steps, instead.
    pub(crate) fn add_run(&mut self, first: usize, values: &[f64], mut other: impl FnMut(usize, f64)) {
        const LANES: usize = 8;
        let (eights, rest) = values.as_chunks::<LANES>();
        for (i, eight) in eights.iter().enumerate() {
            let at = first + i * LANES;
            // Several sums at a time without a branch; what is not exact this way is not kept.
            let (mut highs, mut lows) = ([0.0; LANES], [0.0; LANES]);
            let (old_highs, old_lows) = (&self.high[at..at + LANES], &self.low[at..at + LANES]);
            let mut lost_any = 0.0;
            for k in 0..LANES {
                let (sum, error) = two_sum(old_highs[k], eight[k]);
                let (rest, lost) = two_sum(old_lows[k], error);
                let (high, low) = two_sum(sum, rest);
                (highs[k], lows[k]) = (high, low);
                // Not zero if anything is lost, NaN if anything is not finite.
                lost_any += lost.abs() + low * 0.0;
            }
            if lost_any == 0.0 {
                self.high[at..at + LANES].copy_from_slice(&highs);
                self.low[at..at + LANES].copy_from_slice(&lows);
            } else {
                eight.iter().enumerate().for_each(|(k, value)| self.add_or(at + k, *value, &mut other));
            }
        }
        let at = first + eights.len() * LANES;
        rest.iter().enumerate().for_each(|(k, value)| self.add_or(at + k, *value, &mut other));
    }

    fn add_or(&mut self, step: usize, value: f64, other: &mut impl FnMut(usize, f64)) {
        if value.is_finite() { self.add(step, value) } else { other(step, value) }
    }

    #[cold]
    fn add_spilling(&mut self, step: usize, value: f64) {
        let (sum, error) = two_sum(self.high[step], value);
        let (rest, lost) = two_sum(self.low[step], error);
        let (high, low) = two_sum(sum, rest);
        let spill = self.spills.entry(step).or_default();
        if low.is_finite() && lost.is_finite() {
            self.high[step] = high;
            self.low[step] = low;
            spill.add(lost);
        } else {
            spill.add(value);
        }
    }

    /// Adds the square of a finite number at `step`.
    pub fn add_square(&mut self, step: usize, value: f64) {
        let magnitude = value.abs();
        if magnitude == 0.0 || (power_of_two(-480)..=power_of_two(500)).contains(&magnitude) {
            let (product, error) = two_square(value);
            self.add(step, product);
            self.add(step, error);
        } else {
            self.spills.entry(step).or_default().wide().add_square(value);
        }
    }

    /// Adds another state of the same steps.
    pub fn merge(&mut self, other: &Self) {
        for (step, (high, low)) in other.high.iter().zip(&other.low).enumerate() {
            if *high != 0.0 || *low != 0.0 {
                self.add(step, *high);
                self.add(step, *low);
            }
        }
        for (step, theirs) in &other.spills {
            self.spills.entry(*step).or_default().merge(theirs);
        }
    }

    /// The sum at `step`.
    #[must_use]
    pub fn rounded(&self, step: usize) -> Rounded {
        if !self.spills.contains_key(&step) {
            return Rounded { high: self.high[step] + 0.0, low: self.low[step], exponent: 0 };
        }
        let mut rest = self.wide(step);
        let high = rest.nearest(0);
        if high.is_finite() {
            rest.add(-high);
            return Rounded { high, low: rest.nearest(0), exponent: 0 };
        }
        const SCALE: i32 = 128;
        let high = rest.nearest(SCALE);
        rest.add_scaled(-high, SCALE);
        Rounded { high, low: rest.nearest(SCALE), exponent: SCALE }
    }

    /// The exact sum at `step` as a fixed-point number.
    pub(crate) fn wide(&self, step: usize) -> Wide {
        let mut wide = Wide::default();
        wide.add(self.high[step]);
        wide.add(self.low[step]);
        if let Some(spill) = self.spills.get(&step) {
            spill.limbs.iter().for_each(|limb| wide.add(*limb));
            if let Some(theirs) = &spill.wide {
                wide.merge(theirs);
            }
        }
        wide
    }

    /// Appends the sums of the steps that `counts` says have any. The small halves are left out where there are none.
    pub(crate) fn encode(&self, counts: &[u32], out: &mut Vec<u8>) {
        let steps = || (0..self.high.len()).filter(|step| counts[*step] > 0);
        steps().for_each(|step| put_float(out, self.high[step]));
        let has_low = steps().any(|step| self.low[step] != 0.0);
        out.push(u8::from(has_low));
        if has_low {
            steps().for_each(|step| put_float(out, self.low[step]));
        }
        let mut spills: Vec<(&usize, &Spill)> = self.spills.iter().collect();
        spills.sort_by_key(|(step, _)| **step);
        put_number(out, spills.len() as u64);
        for (step, spill) in spills {
            put_number(out, *step as u64);
            put_number(out, spill.limbs.len() as u64);
            spill.limbs.iter().for_each(|limb| put_float(out, *limb));
            match &spill.wide {
                Some(wide) => wide.encode(out),
                None => out.push(0),
            }
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(counts: &[u32], reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        let mut sums = Self::new(counts.len());
        let filled: Vec<usize> = (0..counts.len()).filter(|step| counts[*step] > 0).collect();
        let floats = |reader: &mut Reader<'_>, of: &mut [f64]| {
            reader.floats(filled.len())?.zip(&filled).for_each(|(value, step)| of[*step] = value);
            if of.iter().all(|value| value.is_finite()) { Ok(()) } else { Err(reader.error("sum is not finite")) }
        };
        floats(reader, &mut sums.high)?;
        if reader.byte()? != 0 {
            floats(reader, &mut sums.low)?;
        }
        for _ in 0..reader.count(3)? {
            let step = usize::try_from(reader.number()?).unwrap_or(usize::MAX);
            let count = reader.count(8)?;
            let limbs: Vec<f64> = reader.floats(count)?.collect();
            if step >= counts.len() || limbs.iter().any(|limb| !limb.is_finite()) {
                return Err(reader.error("spill that cannot be"));
            }
            let wide = Wide::decode(reader)?.map(Box::new);
            sums.spills.insert(step, Spill { limbs, wide });
        }
        Ok(sums)
    }

    /// Bytes held, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.high.len() * 16 + self.spills.len() * (size_of::<Spill>() + 32)
    }
}

/// The population variance of `n` numbers with these sums of themselves and of their squares: `(n Sxx - Sx^2) / n^2`, the numerator
/// exact and rounded once.
#[must_use]
pub fn variance(n: u32, sums: &ExactSums, squares: &ExactSums, step: usize) -> f64 {
    let (numerator, exponent) = sums.wide(step).variance_numerator(squares.wide(step), n);
    let n = f64::from(n);
    (numerator / (n * n)) * power_of_two(exponent / 2) * power_of_two(exponent - exponent / 2)
}

#[cfg(test)]
mod tests;
