//! Values of one width, low bits first.

#![deny(clippy::indexing_slicing)]

/// Values that are unpacked together: as many bits as their width has words.
pub(super) const LANE: usize = 64;

/// Appends the low `width` bits of each value.
pub(super) fn pack_bits(values: &[u64], width: usize, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mask = u64::MAX >> (64 - width);
    let (mut word, mut used) = (0u64, 0usize);
    for value in values {
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

/// Unpacks the values that `packed` holds into whole lanes of `out`; what is behind them is anything.
pub(super) fn unpack_bits(packed: &[u8], width: usize, out: &mut [u64]) {
    if width == 0 {
        return out.fill(0);
    }
    let lanes = packed.chunks_exact(8 * width);
    let rest = lanes.remainder();
    let mut places = out.as_chunks_mut::<LANE>().0.iter_mut();
    for (lane, place) in lanes.zip(places.by_ref()) {
        unpack_lane(lane, width, place);
    }
    if !rest.is_empty()
        && let Some(place) = places.next()
    {
        // The last lane is not full.
        let mut padded = [0u8; 8 * LANE];
        padded.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
        unpack_lane(padded.get(..8 * width).unwrap_or_default(), width, place);
    }
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

/// An array of the results for all places; not a loop, so that each place is a constant.
macro_rules! each_of_lane {
    ($value:expr; $($i:literal)*) => { [$($value($i)),*] };
}

fn lane<const W: usize>(packed: &[u8], out: &mut [u64; LANE]) {
    let Some(words) = packed.as_chunks::<8>().0.first_chunk::<W>() else { return };
    let word = |at: usize| words.get(at).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let mask = u64::MAX >> (64 - W);
    let value = |i: usize| {
        let (at, shift) = (i * W / 64, i * W % 64);
        let high = if shift + W > 64 { word(at + 1) << (64 - shift) } else { 0 };
        ((word(at) >> shift) | high) & mask
    };
    *out = each_of_lane!(value;
        0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42
        43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);
}
