//! Blocks of unsigned integers in as few bits as most of them need; the rest are patched.
//!
//! ```text
//! block of up to 128 values: code u8 | exceptions u8 | [one bit a value: it is not 0, if bit 7 of the code is set] | packed
//!                            | exceptions x position u8 | exceptions x varint
//! code, low 7 bits: 0..=64      values of so many bits each, low bits first; an exception tells the bits above
//!                   64 + k      k digits to a word of 8 bytes (see `digits`); an exception tells the whole value, its digit is 0
//! ```
//!
//! What is packed, and what positions count, are the values that are not 0 if bit 7 of the code is set, else all.

#![deny(clippy::indexing_slicing)]

mod bits;
mod digits;

use crate::error::Corruption;
use crate::wire::{Reader, put_varint};
use bits::{pack_bits, unpack_bits};
use digits::{digits_in, pack_digits, radix_of, unpack_digits};

/// Values of one block.
pub(super) const BLOCK: usize = 128;
/// Exceptions beyond a quarter of a block cost more time than the bits they save are worth.
const EXCEPTION_SHARE: usize = 4;
/// What is slower to read than bits has to save one byte of so many.
const WORTH_SHARE: usize = 32;
const SPARSE: u8 = 0x80;
const WIDTH_MAX: u8 = 64;
const HEADER_BYTES: usize = 2;

fn bits_of(value: u64) -> usize {
    (64 - value.leading_zeros()) as usize
}

/// How many values have so many bits.
struct Widths([u16; 65]);

impl Widths {
    fn of(values: &[u64]) -> Self {
        let mut counts = [0u16; 65];
        for value in values {
            if let Some(count) = counts.get_mut(bits_of(*value)) {
                *count += 1;
            }
        }
        Self(counts)
    }

    fn count(&self, bits: usize) -> usize {
        self.0.get(bits).copied().map_or(0, usize::from)
    }

    /// The cheapest width for `count` values, and the bytes that they take so.
    fn cheapest(&self, count: usize) -> (usize, usize) {
        let widest = self.0.iter().rposition(|count| *count > 0).unwrap_or(0);
        let mut best = (widest, (count * widest).div_ceil(8));
        let mut exceptions = self.count(widest);
        for width in (0..widest).rev() {
            if exceptions > count / EXCEPTION_SHARE {
                break;
            }
            // A width that no value has needs more bytes than the next one that some have, but for the bits of exceptions.
            let of_width = self.count(width);
            if of_width > 0 || width == 0 {
                let wider = self.0.iter().enumerate().skip(width + 1).take(widest - width);
                let high: usize = wider.map(|(bits, count)| usize::from(*count) * (bits - width).div_ceil(7)).sum();
                let bytes = (count * width).div_ceil(8) + exceptions + high;
                if bytes < best.1 {
                    best = (width, bytes);
                }
            }
            exceptions += of_width;
        }
        best
    }

    /// The bytes of a block, and whether it is sparse.
    fn bytes(&mut self, count: usize) -> (usize, bool) {
        let (_, dense) = self.cheapest(count);
        let others = count - self.count(0);
        if let Some(zeroes) = self.0.first_mut() {
            *zeroes = 0;
        }
        let sparse = count.div_ceil(8) + self.cheapest(others).1;
        let is_sparse = sparse + dense / WORTH_SHARE < dense;
        (HEADER_BYTES + if is_sparse { sparse } else { dense }, is_sparse)
    }
}

/// Bytes that [`pack`] takes for these values at most.
pub(super) fn packed_bytes(values: &[u64]) -> usize {
    values.chunks(BLOCK).map(|block| Widths::of(block).bytes(block.len()).0).sum()
}

/// Appends the values in blocks.
pub(super) fn pack(values: &[u64], out: &mut Vec<u8>) {
    for block in values.chunks(BLOCK) {
        let (_, is_sparse) = Widths::of(block).bytes(block.len());
        if !is_sparse {
            pack_list(block, 0, &[], out);
            continue;
        }
        let (mut others, mut count, mut places) = ([0u64; BLOCK], 0, 0u128);
        for (at, value) in block.iter().enumerate().filter(|(_, value)| **value != 0) {
            places |= 1 << at;
            if let Some(place) = others.get_mut(count) {
                *place = *value;
            }
            count += 1;
        }
        let places = places.to_le_bytes();
        let places = places.get(..block.len().div_ceil(8)).unwrap_or_default();
        pack_list(others.get(..count).unwrap_or_default(), SPARSE, places, out);
    }
}

/// Appends a block: `list` are the values that it packs.
fn pack_list(list: &[u64], sparse: u8, places: &[u8], out: &mut Vec<u8>) {
    let (width, bytes) = Widths::of(list).cheapest(list.len());
    let is_exception = |value: &u64| bits_of(*value) > width;
    let exceptions = || list.iter().enumerate().filter(|(_, value)| is_exception(value));
    let exception_count = exceptions().count();
    let greatest = list.iter().filter(|value| !is_exception(value)).max().copied().unwrap_or(0);
    let whole: usize = exceptions().map(|(_, value)| 1 + bits_of(*value).div_ceil(7)).sum();
    let digits = digits_in(greatest, list.len()).filter(|(_, packed)| packed + whole + bytes / WORTH_SHARE < bytes);
    let code = match digits {
        Some((per_word, _)) => WIDTH_MAX + per_word,
        None => width as u8,
    };
    out.extend_from_slice(&[sparse | code, exception_count as u8]);
    out.extend_from_slice(places);
    match digits {
        Some((per_word, _)) => pack_digits(list.iter().map(|value| if is_exception(value) { 0 } else { *value }), per_word, out),
        None => pack_bits(list, width, out),
    }
    out.extend(exceptions().map(|(at, _)| at as u8));
    for (_, value) in exceptions() {
        put_varint(out, if digits.is_some() { *value } else { *value >> width });
    }
}

/// Reads `count` values off the front of `reader` into `out`, whose length is made that of whole blocks, at least.
///
/// # Errors
/// The bytes are cut off or contradict themselves; `out` then holds anything.
pub(super) fn unpack(reader: &mut Reader<'_>, count: usize, out: &mut Vec<u64>) -> Result<(), Corruption> {
    let room = count.next_multiple_of(BLOCK);
    if out.len() < room {
        out.resize(room, 0);
    }
    let mut left = count;
    for block in out.as_chunks_mut::<BLOCK>().0 {
        if left == 0 {
            break;
        }
        let size = left.min(BLOCK);
        unpack_block(reader, size, block)?;
        left -= size;
    }
    Ok(())
}

fn unpack_block(reader: &mut Reader<'_>, size: usize, block: &mut [u64; BLOCK]) -> Result<(), Corruption> {
    let [code, exceptions] = reader.array()?;
    if code & SPARSE == 0 {
        return unpack_list(reader, (code, exceptions), size, block);
    }
    let bytes = reader.take(size.div_ceil(8))?;
    let mut padded = [0u8; BLOCK / 8];
    padded.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let places = u128::from_le_bytes(padded);
    let count = places.count_ones() as usize;
    if places.checked_shr(size as u32).unwrap_or(0) != 0 {
        return Err(Corruption::new("value behind a block"));
    }
    let mut list = [0u64; BLOCK];
    unpack_list(reader, (code & !SPARSE, exceptions), count, &mut list)?;
    let mut next = 0;
    for (at, value) in block.iter_mut().enumerate() {
        let is_there = (places >> at) as u64 & 1;
        // The number of the next value is always below that of this one.
        *value = list.get(next).copied().unwrap_or(0) & is_there.wrapping_neg();
        next += is_there as usize;
    }
    Ok(())
}

fn unpack_list(reader: &mut Reader<'_>, (code, exceptions): (u8, u8), count: usize, list: &mut [u64; BLOCK]) -> Result<(), Corruption> {
    if usize::from(exceptions) > count {
        return Err(Corruption::new("shape of a block"));
    }
    let width = if code <= WIDTH_MAX {
        unpack_bits(reader.take((count * usize::from(code)).div_ceil(8))?, usize::from(code), list);
        u32::from(code)
    } else {
        let radix = radix_of(code - WIDTH_MAX).ok_or(Corruption::new("shape of a block"))?;
        unpack_digits(reader, radix, count, list)?;
        0
    };
    if exceptions > 0 { patch(reader, width, usize::from(exceptions), list.get_mut(..count).unwrap_or_default()) } else { Ok(()) }
}

fn patch(reader: &mut Reader<'_>, width: u32, exceptions: usize, list: &mut [u64]) -> Result<(), Corruption> {
    for position in reader.take(exceptions)? {
        let high = reader.varint()?;
        let value = list.get_mut(usize::from(*position)).ok_or(Corruption::new("place of an exception"))?;
        if high.leading_zeros() < width || width == u64::BITS {
            return Err(Corruption::new("exception too wide"));
        }
        *value |= high << width;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests;
