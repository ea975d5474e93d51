//! A fixed-point number that holds any sum of floats and of squares of floats without rounding.

use crate::frame::codec::{FrameError, Reader, put_number, put_signed};

/// Digits of 32 bits; the sign is in the last.
const DIGITS: usize = 138;
/// Bit 0 of the number is `2^-BASE`: a multiple of 32 below the smallest square, `2^-2148`.
const BASE: i32 = 2176;
/// Additions after which carries must be propagated: a digit has 63 bits for 32-bit numbers.
const ADDS_MAX: u32 = 1 << 30;

/// `2^exponent`; infinite or zero outside the range of a float.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ => 0.0,
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Wide {
    digits: [i64; DIGITS],
    adds: u32,
}

impl Default for Wide {
    fn default() -> Self {
        Self { digits: [0; DIGITS], adds: 0 }
    }
}

/// Mantissa, exponent and sign of a finite float.
fn decompose(value: f64) -> (u64, i32, bool) {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let is_negative = bits >> 63 == 1;
    if exponent == 0 { (fraction, -1074, is_negative) } else { (fraction | 1 << 52, exponent - 1075, is_negative) }
}

impl Wide {
    /// Adds a finite float.
    pub(crate) fn add(&mut self, value: f64) {
        self.add_scaled(value, 0);
    }

    /// Adds `value * 2^scale`.
    pub(crate) fn add_scaled(&mut self, value: f64, scale: i32) {
        debug_assert!(value.is_finite(), "infinities and NaNs are counted, not added");
        let (mantissa, exponent, is_negative) = decompose(value);
        self.add_bits(mantissa, exponent + scale, is_negative);
    }

    /// Adds `value * value`.
    pub(crate) fn add_square(&mut self, value: f64) {
        let (mantissa, exponent, _) = decompose(value);
        let square = u128::from(mantissa) * u128::from(mantissa);
        self.add_bits(square as u64, 2 * exponent, false);
        self.add_bits((square >> 64) as u64, 2 * exponent + 64, false);
    }

    fn add_bits(&mut self, bits: u64, exponent: i32, is_negative: bool) {
        if bits == 0 {
            return;
        }
        let position = (exponent + BASE) as usize;
        let shifted = u128::from(bits) << (position % 32);
        for i in 0..3 {
            let digit = (shifted >> (32 * i)) as u32;
            if digit != 0 {
                self.digits[position / 32 + i] += if is_negative { -i64::from(digit) } else { i64::from(digit) };
            }
        }
        self.adds += 1;
        if self.adds >= ADDS_MAX {
            self.carry();
        }
    }

    /// Adds another number.
    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        other.carry();
        self.carry();
        for (mine, theirs) in self.digits.iter_mut().zip(other.digits) {
            *mine += theirs;
        }
        self.carry();
    }

    /// Appends the digits that are not zero; at least one byte that is not zero.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut carried = self.clone();
        carried.carry();
        let digits = carried.digits.iter().enumerate().filter(|(_, digit)| **digit != 0);
        put_number(out, digits.clone().count() as u64 + 1);
        for (i, digit) in digits {
            put_number(out, i as u64);
            put_signed(out, *digit);
        }
    }

    /// Reads what [`Self::encode`] wrote, or none if there is a zero.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>, FrameError> {
        let Some(count) = reader.number()?.checked_sub(1) else { return Ok(None) };
        let mut wide = Self::default();
        for _ in 0..count.min(DIGITS as u64 + 1) {
            let (at, digit) = (usize::try_from(reader.number()?).unwrap_or(usize::MAX), reader.signed()?);
            let range = if at == DIGITS - 1 { -(1 << 40)..1 << 40 } else { 0..1 << 32 };
            if at >= DIGITS || !range.contains(&digit) {
                return Err(reader.error("digit that cannot be"));
            }
            wide.digits[at] = digit;
        }
        if count <= DIGITS as u64 { Ok(Some(wide)) } else { Err(reader.error("too many digits")) }
    }

    /// Brings all digits but the last into `0..2^32`.
    fn carry(&mut self) {
        let mut carried = 0;
        for digit in &mut self.digits[..DIGITS - 1] {
            let sum = *digit + carried;
            *digit = sum & 0xffff_ffff;
            carried = sum >> 32;
        }
        self.digits[DIGITS - 1] += carried;
        self.adds = 0;
    }

    /// Sign and magnitude; the magnitude is in units of `2^-BASE`.
    fn magnitude(&self) -> (bool, Vec<u32>) {
        let mut positive = self.clone();
        positive.carry();
        let is_negative = positive.digits[DIGITS - 1] < 0;
        if is_negative {
            positive.digits.iter_mut().for_each(|digit| *digit = -*digit);
            positive.carry();
        }
        (is_negative, positive.digits.iter().map(|digit| *digit as u32).collect())
    }

    /// The float nearest to this number times `2^-scale`, ties to even; +0 for zero.
    pub(crate) fn nearest(&self, scale: i32) -> f64 {
        let (is_negative, digits) = self.magnitude();
        let value = nearest(&digits, -BASE - scale);
        if is_negative { -value } else { value }
    }

    /// `n * squares - self^2` as (float, power of two), where `self` is the sum of `n` numbers and `squares` that of their squares.
    pub(crate) fn variance_numerator(&self, squares: Self, n: u32) -> (f64, i32) {
        let (_, sum) = self.magnitude();
        let (_, squares) = squares.magnitude();
        let mut numerator = multiply(&squares, &[n]);
        // `squares` counts units of 2^-BASE, the square of `sum` units of 2^-2BASE.
        numerator.splice(0..0, std::iter::repeat_n(0, BASE as usize / 32));
        // It is never negative, unless the sums come from a frame that was damaged on the way.
        if !subtract(&mut numerator, &multiply(&sum, &sum)) {
            return (0.0, 0);
        }
        let Some(top) = top_bit(&numerator) else { return (0.0, 0) };
        let exponent = top as i32 - 2 * BASE;
        // Even, so that half of it can be taken twice.
        let scale = if (-900..=900).contains(&exponent) { 0 } else { exponent & !1 };
        (nearest(&numerator, -2 * BASE - scale), scale)
    }
}

fn top_bit(digits: &[u32]) -> Option<usize> {
    let last = digits.iter().rposition(|digit| *digit != 0)?;
    Some(last * 32 + 31 - digits[last].leading_zeros() as usize)
}

/// `digits * 2^exponent` rounded to the nearest float, ties to even.
fn nearest(digits: &[u32], exponent: i32) -> f64 {
    let Some(top) = top_bit(digits) else { return 0.0 };
    // The last bit that the float can hold: 52 below the first, or that of the smallest float.
    let last = (top as i32 - 52).max(-1074 - exponent).max(0) as usize;
    let bit = |at: usize| digits[at / 32] >> (at % 32) & 1 == 1;
    let mut mantissa = 0_u64;
    for at in (last..=top.max(last)).rev() {
        mantissa = mantissa << 1 | u64::from(at <= top && bit(at));
    }
    if last > 0 && last - 1 <= top && bit(last - 1) {
        let below = last - 1;
        let is_more = digits[..below / 32].iter().any(|digit| *digit != 0) || digits[below / 32] & ((1 << (below % 32)) - 1) != 0;
        if is_more || mantissa & 1 == 1 {
            mantissa += 1;
        }
    }
    let exponent = exponent + last as i32;
    // In two factors: the power alone may be out of range although the product is not.
    let first = exponent.clamp(-1022, 971);
    mantissa as f64 * power_of_two(first) * power_of_two((exponent - first).min(1023))
}

fn trimmed(digits: &[u32]) -> (usize, &[u32]) {
    let Some(first) = digits.iter().position(|digit| *digit != 0) else { return (0, &[]) };
    let last = digits.iter().rposition(|digit| *digit != 0).unwrap_or(first);
    (first, &digits[first..=last])
}

fn multiply(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut product = vec![0_u32; a.len() + b.len()];
    let ((a_at, a), (b_at, b)) = (trimmed(a), trimmed(b));
    for (i, x) in a.iter().enumerate() {
        let mut carried = 0_u64;
        for (j, y) in b.iter().enumerate() {
            let at = a_at + b_at + i + j;
            let sum = u64::from(*x) * u64::from(*y) + u64::from(product[at]) + carried;
            product[at] = sum as u32;
            carried = sum >> 32;
        }
        if carried != 0 {
            product[a_at + b_at + i + b.len()] = carried as u32;
        }
    }
    product
}

/// `a -= b`; false if `b` is greater, `a` then is meaningless.
fn subtract(a: &mut Vec<u32>, b: &[u32]) -> bool {
    if a.len() < b.len() {
        a.resize(b.len(), 0);
    }
    let mut borrowed = 0_i64;
    for (i, digit) in a.iter_mut().enumerate() {
        let difference = i64::from(*digit) - i64::from(b.get(i).copied().unwrap_or(0)) + borrowed;
        *digit = difference as u32;
        borrowed = difference >> 32;
    }
    borrowed == 0
}
