//! Blocks of unsigned integers in as few bits as most of them need; the rest are patched.
//!
//! ```text
//! block of up to 128 values: width u8 | exceptions u8 | values, `width` bits each, low bits first
//!                            | exceptions x position u8 | exceptions x (bits above the width: varint)
//! ```

#![deny(clippy::indexing_slicing)]

use crate::error::Corruption;
use crate::wire::{Reader, put_varint};

/// Values of one block.
const BLOCK: usize = 128;
/// Values that are unpacked together: as many bits as their width has words.
const LANE: usize = 64;
/// Exceptions beyond a quarter of a block cost more time than the bits they save are worth.
const EXCEPTION_SHARE: usize = 4;

fn bits_of(value: u64) -> usize {
    (64 - value.leading_zeros()) as usize
}

/// The cheapest width of a block, and the bytes that it takes so.
fn shape(block: &[u64]) -> (usize, usize) {
    let mut counts = [0u16; 65];
    for value in block {
        if let Some(count) = counts.get_mut(bits_of(*value)) {
            *count += 1;
        }
    }
    let widest = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    let mut best = (widest, 2 + (block.len() * widest).div_ceil(8));
    let mut exceptions = 0;
    for width in (0..widest).rev() {
        exceptions += counts.get(width + 1).copied().map_or(0, usize::from);
        if exceptions > block.len() / EXCEPTION_SHARE {
            break;
        }
        let wider = counts.iter().enumerate().skip(width + 1);
        let high: usize = wider.map(|(bits, count)| usize::from(*count) * (bits - width).div_ceil(7)).sum();
        let bytes = 2 + (block.len() * width).div_ceil(8) + exceptions + high;
        if bytes < best.1 {
            best = (width, bytes);
        }
    }
    best
}

/// Bytes that [`pack`] takes for these values.
pub(super) fn packed_bytes(values: &[u64]) -> usize {
    values.chunks(BLOCK).map(|block| shape(block).1).sum()
}

/// Appends the values in blocks.
pub(super) fn pack(values: &[u64], out: &mut Vec<u8>) {
    for block in values.chunks(BLOCK) {
        let (width, bytes) = shape(block);
        out.reserve(bytes);
        out.push(width as u8);
        let is_exception = |value: &u64| bits_of(*value) > width;
        out.push(block.iter().filter(|value| is_exception(value)).count() as u8);
        pack_bits(block, width, out);
        let exceptions = || block.iter().enumerate().filter(|(_, value)| is_exception(value));
        out.extend(exceptions().map(|(at, _)| at as u8));
        for (_, value) in exceptions() {
            put_varint(out, *value >> width);
        }
    }
}

fn pack_bits(block: &[u64], width: usize, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut word, mut used) = (0u64, 0usize);
    for value in block {
        let value = value & mask;
        word |= value << used;
        used += width;
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    let bytes = word.to_le_bytes();
    out.extend_from_slice(bytes.get(..used.div_ceil(8)).unwrap_or_default());
}

/// Appends `count` values from the front of `reader` to `out`.
///
/// # Errors
/// The bytes are cut off or contradict themselves; `out` then holds the blocks before.
pub(super) fn unpack(reader: &mut Reader<'_>, count: usize, out: &mut Vec<u64>) -> Result<(), Corruption> {
    let mut left = count;
    while left > 0 {
        let size = left.min(BLOCK);
        let (width, exceptions) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
        if width > 64 || exceptions > size {
            return Err(Corruption::new("shape of a block"));
        }
        let packed = reader.take((size * width).div_ceil(8))?;
        let from = out.len();
        unpack_bits(packed, width, size, out);
        patch(reader, width, exceptions, out.get_mut(from..).unwrap_or_default())?;
        left -= size;
    }
    Ok(())
}

fn patch(reader: &mut Reader<'_>, width: usize, exceptions: usize, block: &mut [u64]) -> Result<(), Corruption> {
    let positions = reader.take(exceptions)?;
    for position in positions {
        let high = reader.varint()?;
        let value = block.get_mut(usize::from(*position)).ok_or(Corruption::new("place of an exception"))?;
        if width == 64 || high.leading_zeros() < width as u32 {
            return Err(Corruption::new("exception too wide"));
        }
        *value |= high << width;
    }
    Ok(())
}

fn unpack_bits(packed: &[u8], width: usize, count: usize, out: &mut Vec<u64>) {
    if width == 0 {
        out.resize(out.len() + count, 0);
        return;
    }
    let from = out.len();
    let lanes = packed.chunks_exact(8 * width);
    let rest = lanes.remainder();
    for lane in lanes {
        let mut values = [0u64; LANE];
        unpack_lane(lane, width, &mut values);
        out.extend_from_slice(&values);
    }
    if !rest.is_empty() {
        // The last lane is not full.
        let (mut padded, mut values) = ([0u8; 8 * LANE], [0u64; LANE]);
        if let (Some(front), Some(lane)) = (padded.get_mut(..rest.len()), rest.get(..)) {
            front.copy_from_slice(lane);
        }
        unpack_lane(padded.get(..8 * width).unwrap_or_default(), width, &mut values);
        out.extend_from_slice(&values);
    }
    // The last bytes may have room for more values than there are.
    out.truncate(from + count);
}

/// Calls the unpacking that is compiled for a width, so that all shifts are known.
macro_rules! by_width {
    ($width:expr, $lane:expr, $out:expr; $($w:literal)*) => {
        match $width {
            $($w => lane::<$w>($lane, $out),)*
            _ => {}
        }
    };
}

fn unpack_lane(packed: &[u8], width: usize, out: &mut [u64; LANE]) {
    by_width!(width, packed, out;
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
        41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63 64);
}

fn lane<const W: usize>(packed: &[u8], out: &mut [u64; LANE]) {
    let mut words = [0u64; LANE + 1];
    for (word, bytes) in words.iter_mut().zip(packed.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let mask = u64::MAX >> (64 - W);
    for (i, value) in out.iter_mut().enumerate() {
        let (word, shift) = (i * W / 64, i * W % 64);
        let low = words.get(word).copied().unwrap_or(0) >> shift;
        let high = if shift + W > 64 { words.get(word + 1).copied().unwrap_or(0) << (64 - shift) } else { 0 };
        *value = (low | high) & mask;
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Vec<u64>> {
        let value = (0u32..65, any::<u64>()).prop_map(|(bits, v)| if bits == 0 { 0 } else { v >> (64 - bits) });
        prop_oneof![vec(value, 0..400), (0u32..64).prop_flat_map(|bits| vec((any::<u64>()).prop_map(move |v| v >> bits), 0..400))]
    }

    proptest! {
        #[test]
        fn packed_values_come_back_and_damage_never_panics(values in values(), at: prop::sample::Index, flip in 1u8..) {
            let mut packed = Vec::new();
            pack(&values, &mut packed);
            prop_assert_eq!(packed.len(), packed_bytes(&values));
            let mut reader = Reader::new(&packed);
            let mut back = Vec::new();
            unpack(&mut reader, values.len(), &mut back).unwrap();
            prop_assert_eq!(&back, &values);
            prop_assert!(reader.rest().is_empty());
            if !packed.is_empty() {
                let i = at.index(packed.len());
                packed[i] ^= flip;
                back.clear();
                let _ = unpack(&mut Reader::new(&packed), values.len(), &mut back);
                prop_assert!(unpack(&mut Reader::new(&packed[..i]), values.len(), &mut Vec::new()).is_err() || i == packed.len());
            }
        }
    }

    #[test]
    fn every_count_and_width_comes_back_alone() {
        for width in 1..=64 {
            for count in 1..=2 * BLOCK {
                let values = vec![u64::MAX >> (64 - width); count];
                let (mut packed, mut back) = (Vec::new(), Vec::new());
                pack(&values, &mut packed);
                unpack(&mut Reader::new(&packed), count, &mut back).unwrap();
                assert_eq!(back, values, "{count} values of {width} bits");
            }
        }
    }

    #[test]
    fn few_wide_values_are_patched() {
        let mut values = vec![1u64; BLOCK];
        values[5] = 1 << 40;
        assert_eq!(packed_bytes(&values), 2 + BLOCK / 8 + 1 + 6);
    }
}
