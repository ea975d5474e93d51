//! Unsigned integers in as few bits as most of them need; the rest are patched.
//!
//! ```text
//! up to 512 values:   a list | 0x7f, blocks
//! more values:        blocks
//! blocks:             a list for each 128 values
//! list: code u8 | exceptions varint | [radix varint, if the code is above 64] | [one bit a value: it is not 0, if bit 7 of the code is set]
//!       | packed | exceptions x (gap varint, varint)
//! code, low 7 bits: 0..=64      values of so many bits each, low bits first; an exception tells the bits above
//!                   64 + k      k digits to a number (see `digits`); an exception tells the whole value, its digit is 0
//! ```
//!
//! What is packed, and what gaps count, are the values that are not 0 if bit 7 of the code is set, else all.

#![deny(clippy::indexing_slicing)]

mod bits;
mod digits;

use crate::error::Corruption;
use crate::wire::{Reader, put_varint};
use bits::{LANE, pack_bits, unpack_bits};
use digits::Radix;

/// Values of one block.
const BLOCK: usize = 128;
/// Most values of one list: a page fits.
const LIST_MAX: usize = 512;
/// Exceptions beyond a quarter of a list cost more time than the bits they save are worth.
const EXCEPTION_SHARE: usize = 4;
/// A bit for each place, which is slower to read, has to save one byte of so many.
const SPARSE_WORTH_SHARE: usize = 32;
/// And so have digits.
const DIGITS_WORTH_SHARE: usize = 64;
const SPARSE: u8 = 0x80;
const BLOCKS: u8 = 0x7f;
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

    /// The bytes of a list, and whether it is sparse.
    fn bytes(&self, count: usize) -> (usize, bool) {
        let (_, dense) = self.cheapest(count);
        let zeroes = self.count(0);
        let mut others = Self(self.0);
        if let Some(zeroes) = others.0.first_mut() {
            *zeroes = 0;
        }
        let sparse = count.div_ceil(8) + others.cheapest(count - zeroes).1;
        let is_sparse = sparse + dense / SPARSE_WORTH_SHARE < dense;
        (HEADER_BYTES + if is_sparse { sparse } else { dense }, is_sparse)
    }

    fn add(&mut self, others: &Self) {
        self.0.iter_mut().zip(others.0).for_each(|(count, more)| *count = count.wrapping_add(more));
    }
}

/// Bytes of these values, if gaps and counts of exceptions are short, at most; and whether they are one list.
fn layout(values: &[u64]) -> (usize, bool) {
    let (mut blocks, mut all) = (1, Widths([0; 65]));
    for block in values.chunks(BLOCK) {
        let widths = Widths::of(block);
        blocks += widths.bytes(block.len()).0;
        all.add(&widths);
    }
    if values.len() > LIST_MAX {
        return (blocks, false);
    }
    let (whole, _) = all.bytes(values.len());
    (whole.min(blocks), whole <= blocks)
}

/// Bytes that [`pack`] takes for these values, a few more or less.
pub(super) fn packed_bytes(values: &[u64]) -> usize {
    layout(values).0
}

/// Appends the values, of which there is one at least.
pub(super) fn pack(values: &[u64], out: &mut Vec<u8>) {
    if layout(values).1 {
        return pack_block(values, out);
    }
    if values.len() <= LIST_MAX {
        out.push(BLOCKS);
    }
    values.chunks(BLOCK).for_each(|block| pack_block(block, out));
}

/// Appends at most [`LIST_MAX`] values as a list.
fn pack_block(block: &[u64], out: &mut Vec<u8>) {
    let (_, is_sparse) = Widths::of(block).bytes(block.len());
    if !is_sparse {
        return pack_list(block, 0, &[], out);
    }
    let (mut others, mut count, mut places) = ([0u64; LIST_MAX], 0, [0u8; LIST_MAX / 8]);
    for (at, value) in block.iter().enumerate().filter(|(_, value)| **value != 0) {
        if let (Some(byte), Some(place)) = (places.get_mut(at / 8), others.get_mut(count)) {
            *byte |= 1 << (at % 8);
            *place = *value;
        }
        count += 1;
    }
    let places = places.get(..block.len().div_ceil(8)).unwrap_or_default();
    pack_list(others.get(..count).unwrap_or_default(), SPARSE, places, out);
}

/// Appends a list: `list` are the values that it packs.
fn pack_list(list: &[u64], sparse: u8, places: &[u8], out: &mut Vec<u8>) {
    let (width, bytes) = Widths::of(list).cheapest(list.len());
    let is_exception = |value: &u64| bits_of(*value) > width;
    let exceptions = || list.iter().enumerate().filter(|(_, value)| is_exception(value));
    let exception_count = exceptions().count();
    let greatest = list.iter().filter(|value| !is_exception(value)).max().copied().unwrap_or(0);
    let whole: usize = exceptions().map(|(_, value)| 1 + bits_of(*value).div_ceil(7)).sum();
    let digits = Radix::shortest(greatest, list.len()).filter(|(_, packed)| packed + whole + bytes / DIGITS_WORTH_SHARE < bytes);
    let code = digits.map_or(width as u8, |(radix, _)| WIDTH_MAX + radix.per_number);
    out.push(sparse | code);
    put_varint(out, exception_count as u64);
    if let Some((radix, _)) = digits {
        put_varint(out, radix.radix);
    }
    out.extend_from_slice(places);
    match digits {
        Some((radix, _)) if exception_count == 0 => radix.pack(list, out),
        Some((radix, _)) => {
            let mut digits = [0u64; LIST_MAX];
            digits.iter_mut().zip(list).filter(|(_, value)| !is_exception(value)).for_each(|(digit, value)| *digit = *value);
            radix.pack(digits.get(..list.len()).unwrap_or_default(), out);
        }
        None => pack_bits(list, width, out),
    }
    let mut next = 0;
    for (at, value) in exceptions() {
        put_varint(out, (at - next) as u64);
        put_varint(out, if digits.is_some() { *value } else { *value >> width });
        next = at + 1;
    }
}

/// Reads `count` values, at least one, off the front of `reader` into `out`, whose length is made that of whole blocks, at least.
///
/// # Errors
/// The bytes are cut off or contradict themselves; `out` then holds anything.
pub(super) fn unpack(reader: &mut Reader<'_>, count: usize, out: &mut Vec<u64>) -> Result<(), Corruption> {
    let room = count.next_multiple_of(BLOCK);
    if out.len() < room {
        out.resize(room, 0);
    }
    if count <= LIST_MAX {
        if reader.rest().first() != Some(&BLOCKS) {
            return unpack_block(reader, count, out);
        }
        reader.u8()?;
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

/// Reads a list of at most [`LIST_MAX`] values; `block` has room for whole lanes.
fn unpack_block(reader: &mut Reader<'_>, size: usize, block: &mut [u64]) -> Result<(), Corruption> {
    let code = reader.u8()?;
    let shape = Shape { code: code & !SPARSE, exceptions: reader.varint_u32()? as usize };
    let radix = if shape.code > WIDTH_MAX { Some(Radix::stored(reader.varint()?, shape.code - WIDTH_MAX)?) } else { None };
    if code & SPARSE == 0 {
        return shape.unpack(reader, radix, size, block);
    }
    let bytes = reader.take(size.div_ceil(8))?;
    let mut padded = [0u8; LIST_MAX / 8];
    padded.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let words = padded.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let count: usize = words.clone().map(|word| word.count_ones() as usize).sum();
    if !size.is_multiple_of(8) && bytes.last().is_some_and(|last| last >> (size % 8) != 0) {
        return Err(Corruption::new("value behind a block"));
    }
    let mut list = [0u64; LIST_MAX];
    shape.unpack(reader, radix, count, &mut list)?;
    let mut next = 0;
    for (places, values) in words.zip(block.chunks_mut(LANE)) {
        for (at, value) in values.iter_mut().enumerate() {
            let is_there = places >> at & 1;
            // The number of the next value is always below that of this one.
            *value = list.get(next).copied().unwrap_or(0) & is_there.wrapping_neg();
            next += is_there as usize;
        }
    }
    Ok(())
}

/// How a list lies.
struct Shape {
    code: u8,
    exceptions: usize,
}

impl Shape {
    fn unpack(self, reader: &mut Reader<'_>, radix: Option<Radix>, count: usize, list: &mut [u64]) -> Result<(), Corruption> {
        if self.exceptions > count {
            return Err(Corruption::new("shape of a block"));
        }
        let width = match radix {
            None => {
                let width = usize::from(self.code);
                let lanes = list.get_mut(..count.next_multiple_of(LANE)).ok_or(Corruption::new("shape of a block"))?;
                unpack_bits(reader.take((count * width).div_ceil(8))?, width, lanes);
                u32::from(self.code)
            }
            Some(radix) => {
                radix.unpack(reader, count, list)?;
                0
            }
        };
        if self.exceptions == 0 { Ok(()) } else { patch(reader, width, self.exceptions, list.get_mut(..count).unwrap_or_default()) }
    }
}

fn patch(reader: &mut Reader<'_>, width: u32, exceptions: usize, list: &mut [u64]) -> Result<(), Corruption> {
    let mut places = list.iter_mut();
    for _ in 0..exceptions {
        let gap = reader.varint_u32()? as usize;
        let high = reader.varint()?;
        let value = places.nth(gap).ok_or(Corruption::new("place of an exception"))?;
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
