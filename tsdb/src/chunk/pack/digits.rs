//! Values as the digits of a number: where their greatest is well below a power of two, a word of 64 bits takes more of them.
//!
//! A word holds the number's share of the whole range, rounded up: multiplying by the radix brings out digit after digit above the
//! word, the first one first. That is exact as long as the whole range is not above that of the word.

#![deny(clippy::indexing_slicing)]

use super::BLOCK;
use crate::error::Corruption;
use crate::wire::Reader;

/// Greatest number of digits in a word, which is of radix 3.
const PER_WORD_MAX: u8 = 40;
const PER_WORD_MIN: u8 = 3;
/// The greatest radix of which so many digits fit a word; 0 where bits, or more digits of the same radix, are as good.
const RADIXES: [u64; PER_WORD_MAX as usize + 1] = radixes();

/// A radix and how many of its digits fit a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Radix {
    radix: u64,
    per_word: u8,
}

const fn power_fits(radix: u64, exponent: usize) -> bool {
    let (mut power, mut i) = (1u128, 0);
    while i < exponent {
        power *= radix as u128;
        if power > 1 << 64 {
            return false;
        }
        i += 1;
    }
    true
}

#[allow(clippy::indexing_slicing, reason = "no slice has `get_mut` in constants; a wrong index does not compile")]
const fn radixes() -> [u64; PER_WORD_MAX as usize + 1] {
    let mut all = [0; PER_WORD_MAX as usize + 1];
    let mut per_word = PER_WORD_MIN as usize;
    while per_word < all.len() {
        // Halving the range finds the greatest.
        let (mut fits, mut fails) = (2u64, 1 << 22);
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            if power_fits(middle, per_word) {
                fits = middle;
            } else {
                fails = middle;
            }
        }
        let takes_more = power_fits(fits, per_word + 1);
        if !takes_more && !fits.is_power_of_two() {
            all[per_word] = fits;
        }
        per_word += 1;
    }
    all
}

/// The radix of a block with so many digits in a word.
pub(super) fn radix_of(per_word: u8) -> Option<Radix> {
    let radix = RADIXES.get(usize::from(per_word)).copied().filter(|radix| *radix != 0)?;
    Some(Radix { radix, per_word })
}

/// How many digits fit a word if `greatest` is the greatest of `count`, and the bytes that they take.
pub(super) fn digits_in(greatest: u64, count: usize) -> Option<(u8, usize)> {
    let per_word = RADIXES.iter().rposition(|radix| *radix > greatest)?;
    let Radix { radix, .. } = radix_of(per_word as u8)?;
    Some((per_word as u8, count / per_word * 8 + bytes_of(radix, count % per_word)))
}

/// Bytes whose range is not below that of `digits` digits.
fn bytes_of(radix: u64, digits: usize) -> usize {
    let range = (0..digits).fold(1u128, |range, _| range * u128::from(radix));
    (128 - (range - 1).leading_zeros() as usize).div_ceil(8)
}

/// Appends the digits, which all are below the radix.
pub(super) fn pack_digits(mut values: impl ExactSizeIterator<Item = u64>, per_word: u8, out: &mut Vec<u8>) {
    let Some(Radix { radix, .. }) = radix_of(per_word) else { return };
    while values.len() > 0 {
        let digits = values.len().min(usize::from(per_word));
        let (number, range) =
            values.by_ref().take(digits).fold((0u64, 1u64), |(number, range), digit| (number * radix + digit, range * radix));
        let bytes = if digits < usize::from(per_word) { bytes_of(radix, digits) } else { 8 };
        let share = (u128::from(number) << (8 * bytes)).div_ceil(u128::from(range)) as u64;
        out.extend_from_slice(share.to_le_bytes().get(..bytes).unwrap_or_default());
    }
}

/// Reads `count` digits into `list`; what is behind them is anything.
///
/// # Errors
/// The bytes are cut off.
pub(super) fn unpack_digits(reader: &mut Reader<'_>, of: Radix, count: usize, list: &mut [u64; BLOCK]) -> Result<(), Corruption> {
    let per_word = usize::from(of.per_word);
    let words = reader.take(count / per_word * 8)?;
    let (full, rest) = list.get_mut(..count).unwrap_or_default().split_at_mut(count - count % per_word);
    for (word, digits) in words.as_chunks::<8>().0.iter().zip(full.chunks_exact_mut(per_word)) {
        unpack_word(u64::from_le_bytes(*word), of.radix, digits);
    }
    if !rest.is_empty() {
        let bytes = reader.take(bytes_of(of.radix, rest.len()))?;
        let mut word = [0u8; 8];
        word.iter_mut().rev().zip(bytes.iter().rev()).for_each(|(place, byte)| *place = *byte);
        unpack_word(u64::from_le_bytes(word), of.radix, rest);
    }
    Ok(())
}

#[inline]
fn unpack_word(mut share: u64, radix: u64, digits: &mut [u64]) {
    for digit in digits {
        let product = u128::from(share) * u128::from(radix);
        *digit = (product >> 64) as u64;
        share = product as u64;
    }
}
