//! The oracle adds rationals in units of the smallest square, one bit vector a sign, and rounds by comparing neighbours.

use super::*;
use proptest::prelude::*;

/// A number as (sign, magnitude) in units of 2^-1074, in base 2, lowest bit first: slow and obvious.
#[derive(Clone, Debug, Default)]
struct Oracle {
    positive: Vec<bool>,
    negative: Vec<bool>,
}

impl Oracle {
    fn add(&mut self, value: f64) {
        let bits = value.abs().to_bits();
        let exponent = (bits >> 52) as usize;
        let mantissa = if exponent == 0 { bits } else { bits & ((1 << 52) - 1) | 1 << 52 };
        let at = exponent.max(1) - 1;
        let mut addend = vec![false; at];
        addend.extend((0..53).map(|i| mantissa >> i & 1 == 1));
        let side = if value < 0.0 { &mut self.negative } else { &mut self.positive };
        *side = add_bits(side, &addend);
    }

    /// -1, 0 or 1.
    fn sign(&self) -> i32 {
        let length = self.positive.len().max(self.negative.len());
        let bit = |side: &[bool], i: usize| side.get(i).copied().unwrap_or(false);
        for i in (0..length).rev() {
            match (bit(&self.positive, i), bit(&self.negative, i)) {
                (true, false) => return 1,
                (false, true) => return -1,
                _ => {}
            }
        }
        0
    }

    fn minus(&self, value: f64) -> Self {
        let mut rest = self.clone();
        rest.add(-value);
        rest
    }

    /// Whether no float is nearer than `candidate`, and at a tie it is the even one.
    fn is_nearest(&self, candidate: f64) -> bool {
        let twice = |o: &Self| add_each(o, o);
        let error = twice(&self.minus(candidate));
        let (up, down) = (candidate.next_up(), candidate.next_down());
        if !up.is_finite() || !down.is_finite() {
            return true;
        }
        // Distance to the midpoints: 2 * (S - c) against (up - c) and (c - down).
        let mut above = error.minus(up);
        above.add(candidate);
        let mut below = error.clone();
        below.add(candidate);
        let below = below.minus(down);
        let is_even = candidate.to_bits() & 1 == 0;
        (above.sign() < 0 || (above.sign() == 0 && is_even)) && (below.sign() > 0 || (below.sign() == 0 && is_even))
    }
}

fn add_each(a: &Oracle, b: &Oracle) -> Oracle {
    Oracle { positive: add_bits(&a.positive, &b.positive), negative: add_bits(&a.negative, &b.negative) }
}

fn add_bits(a: &[bool], b: &[bool]) -> Vec<bool> {
    let bit = |side: &[bool], i: usize| u8::from(side.get(i).copied().unwrap_or(false));
    let mut carried = 0;
    let mut sum: Vec<bool> = Vec::new();
    for i in 0..a.len().max(b.len()) {
        let total = bit(a, i) + bit(b, i) + carried;
        sum.push(total & 1 == 1);
        carried = total >> 1;
    }
    if carried == 1 {
        sum.push(true);
    }
    sum
}

/// Floats of all magnitudes, and families whose sums are ties.
fn adversarial() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |v| v.is_finite()),
        (-60_i32..60, any::<bool>()).prop_map(|(e, n)| if n { -power_of_two(e) } else { power_of_two(e) }),
        (0_u64..4, 0_i32..3).prop_map(|(m, e)| ((1_u64 << 53) + m) as f64 * power_of_two(54 * e)),
        (-3_i32..4).prop_map(|n| f64::from(n) * f64::MIN_POSITIVE / 2.0),
        Just(f64::MAX),
        Just(f64::MIN),
        (-1.0..1.0_f64).prop_map(|share| share * f64::MAX),
        (-1e3..1e12_f64),
    ]
}

fn sum_of(values: &[f64]) -> ExactSums {
    let mut sums = ExactSums::new(1);
    values.iter().for_each(|v| sums.add(0, *v));
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn c15_sums_are_the_true_sum_rounded_once(values in prop::collection::vec(adversarial(), 1..24)) {
        let mut oracle = Oracle::default();
        values.iter().for_each(|v| oracle.add(*v));
        let rounded = sum_of(&values).rounded(0);
        if rounded.exponent == 0 {
            prop_assert!(oracle.is_nearest(rounded.high), "{rounded:?}");
            prop_assert!(oracle.minus(rounded.high).is_nearest(rounded.low), "{rounded:?}");
        } else {
            prop_assert!(rounded.value().is_infinite());
            prop_assert!(rounded.divided_by(values.len() as f64).is_finite());
        }
    }

    #[test]
    fn c15_merging_parts_in_any_order_gives_the_same_bits(
        values in prop::collection::vec(adversarial(), 1..24),
        cuts in prop::collection::vec(0_usize..5, 24),
        seed in any::<u64>(),
    ) {
        let whole = sum_of(&values).rounded(0);
        let mut parts = vec![Vec::new(); 5];
        values.iter().zip(&cuts).for_each(|(v, part)| parts[*part].push(*v));
        let turn = (seed % 5) as usize;
        parts.rotate_left(turn);
        let mut merged = ExactSums::new(1);
        parts.iter().for_each(|part| merged.merge(&sum_of(part)));
        let merged = merged.rounded(0);
        prop_assert_eq!(whole.high.to_bits(), merged.high.to_bits());
        prop_assert_eq!(whole.low.to_bits(), merged.low.to_bits());
        prop_assert_eq!(whole.exponent, merged.exponent);
    }

    #[test]
    fn c15_variance_is_exact_on_integers(values in prop::collection::vec(-1_000_000_i64..1_000_000, 1..40), shift in 0_i32..400) {
        let n = values.len() as i128;
        let sum: i128 = values.iter().map(|v| i128::from(*v)).sum();
        let squares: i128 = values.iter().map(|v| i128::from(*v) * i128::from(*v)).sum();
        let expected = (n * squares - sum * sum) as f64 / (n * n) as f64;
        let (mut sums, mut squared) = (ExactSums::new(1), ExactSums::new(1));
        for value in &values {
            let scaled = *value as f64 * power_of_two(shift);
            sums.add(0, scaled);
            squared.add_square(0, scaled);
        }
        prop_assert_eq!(variance(values.len() as u32, &sums, &squared, 0), expected * power_of_two(2 * shift));
    }

    #[test]
    fn c15_variance_of_equal_values_is_zero(value in adversarial(), n in 1_u32..30) {
        let (mut sums, mut squares) = (ExactSums::new(1), ExactSums::new(1));
        for _ in 0..n {
            sums.add(0, value);
            squares.add_square(0, value);
        }
        prop_assert_eq!(variance(n, &sums, &squares, 0).to_bits(), 0);
    }
}

#[test]
fn c15_an_overflowing_sum_has_a_finite_average_and_comes_back() {
    let sums = sum_of(&[f64::MAX, f64::MAX, f64::MAX]);
    assert_eq!(sums.rounded(0).value(), f64::INFINITY);
    assert_eq!(sums.rounded(0).divided_by(3.0), f64::MAX);
    assert_eq!(sum_of(&[f64::MAX, f64::MAX, -f64::MAX]).rounded(0).value(), f64::MAX);
}

#[test]
fn c15_a_tie_is_broken_by_what_is_far_below_it() {
    let one = 1.0 + f64::EPSILON;
    let half = f64::EPSILON / 2.0;
    assert_eq!(sum_of(&[one, half]).rounded(0).high, 1.0 + 2.0 * f64::EPSILON);
    assert_eq!(sum_of(&[one, half, -power_of_two(-300)]).rounded(0).high, one);
    assert_eq!(sum_of(&[1.0, half, power_of_two(-300)]).rounded(0).high, one);
    assert_eq!(sum_of(&[1.0, half]).rounded(0).high, 1.0);
}

/// The error of an addition can overflow where the sum does not: `2.7e306 - f64::MAX` less the first is beyond the largest float.
#[test]
fn c15_an_addition_whose_error_overflows_is_still_exact() {
    let (most, some) = (f64::MAX, 2.688_863_520_132_696_5e306);
    let mut merged = ExactSums::new(1);
    for part in [&[-most, most][..], &[], &[-most, -most], &[0.0], &[most, some]] {
        merged.merge(&sum_of(part));
    }
    assert_eq!(merged.rounded(0), sum_of(&[-most, some]).rounded(0));
    assert_eq!(merged.rounded(0).exponent, 0);
}
