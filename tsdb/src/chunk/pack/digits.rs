//! Values as the digits of numbers: where their greatest is well below a power of two, a few bits of a number hold more of them.
//!
//! A number of `bits` bits holds `per_number` digits, and numbers lie one behind the other. What is stored is the number's share of the
//! whole range, rounded up: multiplying by the radix brings out digit after digit above the word, the first one first. That is exact as
//! long as the whole range is not above that of the bits.

#![deny(clippy::indexing_slicing)]

use super::LIST_MAX;
use super::bits::{pack_bits, unpack_bits};
use crate::error::Corruption;
use crate::wire::Reader;

/// Greatest number of digits in a number, which are of radix 3.
pub(super) const PER_NUMBER_MAX: u8 = 40;
/// Least number of digits: one is a value of so many bits.
pub(super) const PER_NUMBER_MIN: u8 = 2;
const NUMBERS_MAX: usize = LIST_MAX / PER_NUMBER_MIN as usize;

/// How digits lie in numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Radix {
    pub(super) radix: u64,
    pub(super) per_number: u8,
    bits: usize,
}

/// Bits whose range is not below `range`.
fn bits_for(range: u128) -> usize {
    (128 - (range - 1).leading_zeros()) as usize
}

impl Radix {
    /// The shortest for `count` digits up to `greatest`, and the bytes that they and the radix take; `None` if no two fit a number.
    pub(super) fn shortest(greatest: u64, count: usize) -> Option<(Self, usize)> {
        let radix = greatest.checked_add(1)?;
        let mut ranges = [1u128; PER_NUMBER_MAX as usize + 1];
        let (mut range, mut best) = (1u128, None);
        for digits in 1..=usize::from(PER_NUMBER_MAX) {
            range *= u128::from(radix);
            if range > 1 << 64 {
                break;
            }
            if let Some(place) = ranges.get_mut(digits) {
                *place = range;
            }
            if digits < usize::from(PER_NUMBER_MIN) {
                continue;
            }
            let bits = bits_for(range);
            let rest = ranges.get(count % digits).copied().unwrap_or(1);
            let bytes = (count / digits * bits).div_ceil(8) + bits_for(rest).div_ceil(8) + bits_for(u128::from(radix) + 1).div_ceil(7);
            if best.is_none_or(|(_, least)| bytes < least) {
                best = Some((Self { radix, per_number: digits as u8, bits }, bytes));
            }
        }
        best
    }

    /// As stored.
    ///
    /// # Errors
    /// So many digits do not fit a number.
    pub(super) fn stored(radix: u64, per_number: u8) -> Result<Self, Corruption> {
        let refused = Corruption::new("shape of a block");
        if !(PER_NUMBER_MIN..=PER_NUMBER_MAX).contains(&per_number) || radix < 2 {
            return Err(refused);
        }
        let power = |range: u128, _| range.checked_mul(u128::from(radix)).filter(|range| *range <= 1 << 64);
        let range = (0..per_number).try_fold(1u128, power).ok_or(refused)?;
        Ok(Self { radix, per_number, bits: bits_for(range) })
    }

    fn range(self, digits: usize) -> u128 {
        (0..digits).fold(1u128, |range, _| range * u128::from(self.radix))
    }

    /// The share of the number that the digits, which all are below the radix, make together.
    fn share(self, digits: &[u64], bits: usize) -> u64 {
        let number = digits.iter().fold(0u128, |number, digit| number * u128::from(self.radix) + u128::from(*digit));
        (number << bits).div_ceil(self.range(digits.len())) as u64
    }

    /// Appends the digits, at most [`LIST_MAX`], which all are below the radix.
    pub(super) fn pack(self, digits: &[u64], out: &mut Vec<u8>) {
        let full = digits.chunks_exact(usize::from(self.per_number));
        let (rest, count) = (full.remainder(), full.len());
        let mut numbers = [0u64; NUMBERS_MAX];
        numbers.iter_mut().zip(full).for_each(|(number, digits)| *number = self.share(digits, self.bits));
        pack_bits(numbers.get(..count).unwrap_or_default(), self.bits, out);
        let bytes = bits_for(self.range(rest.len())).div_ceil(8);
        out.extend_from_slice(self.share(rest, 8 * bytes).to_le_bytes().get(..bytes).unwrap_or_default());
    }

    /// Reads `count` digits, at most [`LIST_MAX`], into `list`; what is behind them is anything.
    ///
    /// # Errors
    /// The bytes are cut off.
    pub(super) fn unpack(self, reader: &mut Reader<'_>, count: usize, list: &mut [u64]) -> Result<(), Corruption> {
        let per_number = usize::from(self.per_number);
        let mut numbers = [0u64; NUMBERS_MAX];
        unpack_bits(reader.take((count / per_number * self.bits).div_ceil(8))?, self.bits, &mut numbers);
        let list = list.get_mut(..count).ok_or(Corruption::new("shape of a block"))?;
        let (full, rest) = list.split_at_mut(count - count % per_number);
        self.split_all(numbers.get(..full.len() / per_number).unwrap_or_default(), full);
        let bytes = bits_for(self.range(rest.len())).div_ceil(8);
        let mut share = [0u8; 8];
        share.iter_mut().rev().zip(reader.take(bytes)?.iter().rev()).for_each(|(place, byte)| *place = *byte);
        split(u64::from_le_bytes(share), self.radix, rest);
        Ok(())
    }
}

/// Calls the splitting that is compiled for a number of digits, so that no step waits for a branch.
macro_rules! by_digits {
    ($self:expr, $numbers:expr, $out:expr; $($d:literal)*) => {
        match $self.per_number {
            $($d => $self.split_by::<$d>($numbers, $out),)*
            _ => $self.split_any($numbers, $out),
        }
    };
}

impl Radix {
    fn split_all(self, numbers: &[u64], out: &mut [u64]) {
        by_digits!(self, numbers, out; 2 3 4 5 6 7 8 9 10 11 12);
    }

    /// Four numbers at once: each waits for its own products only.
    fn split_by<const D: usize>(self, numbers: &[u64], out: &mut [u64]) {
        let spare = 64 - self.bits;
        let (fours, rest) = numbers.as_chunks::<4>();
        let (full, last) = out.as_chunks_mut::<D>().0.split_at_mut(fours.len() * 4);
        for (numbers, digits) in fours.iter().zip(full.as_chunks_mut::<4>().0) {
            let mut shares = numbers.map(|number| number << spare);
            for at in 0..D {
                for (share, digits) in shares.iter_mut().zip(digits.iter_mut()) {
                    let product = u128::from(*share) * u128::from(self.radix);
                    if let Some(digit) = digits.get_mut(at) {
                        *digit = (product >> 64) as u64;
                    }
                    *share = product as u64;
                }
            }
        }
        rest.iter().zip(last).for_each(|(number, digits)| split(number << spare, self.radix, digits));
    }

    fn split_any(self, numbers: &[u64], out: &mut [u64]) {
        let spare = 64 - self.bits;
        let digits = out.chunks_exact_mut(usize::from(self.per_number));
        numbers.iter().zip(digits).for_each(|(number, digits)| split(number << spare, self.radix, digits));
    }
}

#[inline]
fn split(mut share: u64, radix: u64, digits: &mut [u64]) {
    for digit in digits {
        let product = u128::from(share) * u128::from(radix);
        *digit = (product >> 64) as u64;
        share = product as u64;
    }
}
