//! A stream of bits, most significant first.

#![deny(clippy::indexing_slicing)]

use crate::error::Corruption;

/// Appends the low `width` bits of `value`; `used` is the number of bits taken in the last byte (0 = none open).
pub(super) fn push(bytes: &mut Vec<u8>, used: &mut u8, value: u64, width: u32) {
    debug_assert!((1..=64).contains(&width) && (width == 64 || value >> width == 0), "{value:#x} is wider than {width} bits");
    let open = u32::from(*used);
    if open > 0
        && open + width <= 8
        && let Some(last) = bytes.last_mut()
    {
        // Most samples are a single bit.
        *last |= (value as u8) << (8 - open - width);
        *used = ((open + width) % 8) as u8;
        return;
    }
    let lined_up = (u128::from(value) << (128 - width)) >> open;
    let pieces = lined_up.to_be_bytes();
    let total = (open + width).div_ceil(8) as usize;
    let begin = usize::from(open > 0);
    if open > 0
        && let Some(last) = bytes.last_mut()
    {
        *last |= pieces.first().copied().unwrap_or(0);
    }
    bytes.extend_from_slice(pieces.get(begin..total).unwrap_or_default());
    *used = ((open + width) % 8) as u8;
}

/// Takes bits off the front; `acc` holds the next `have` bits at its top.
pub(super) struct BitReader<'a> {
    rest: &'a [u8],
    acc: u64,
    have: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, acc: 0, have: 0 }
    }

    /// Tops up to at least 56 bits, or to all that is left.
    #[inline]
    pub(super) fn refill(&mut self) {
        if let Some((word, _)) = self.rest.split_first_chunk::<8>() {
            self.acc |= u64::from_be_bytes(*word) >> self.have;
            self.rest = self.rest.get(((63 - self.have) / 8) as usize..).unwrap_or_default();
            self.have |= 56;
        } else {
            while self.have <= 56
                && let Some((byte, rest)) = self.rest.split_first()
            {
                self.acc |= u64::from(*byte) << (56 - self.have);
                self.rest = rest;
                self.have += 8;
            }
        }
    }

    /// The next bits at the top; those past [`BitReader::available`] mean nothing.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        self.acc
    }

    #[inline]
    pub(super) fn available(&self) -> u32 {
        self.have
    }

    /// Drops `n` bits, fewer than 64.
    #[inline]
    pub(super) fn skip(&mut self, n: u32) -> Result<(), Corruption> {
        if n > self.have {
            return Err(Corruption::new("bit stream is cut off"));
        }
        self.acc <<= n;
        self.have -= n;
        Ok(())
    }

    /// Drops `n` bits, fewer than 64, if so many are available; answers whether they were.
    #[inline]
    pub(super) fn drop_available(&mut self, n: u32) -> bool {
        let are_there = n <= self.have && n < 64;
        if are_there {
            self.acc <<= n;
            self.have -= n;
        }
        are_there
    }

    /// Takes 1 to 64 bits.
    #[inline]
    pub(super) fn take(&mut self, n: u32) -> Result<u64, Corruption> {
        if n > 32 {
            let high = self.take_short(n - 32)?;
            return Ok(high << 32 | self.take_short(32)?);
        }
        self.take_short(n)
    }

    #[inline]
    fn take_short(&mut self, n: u32) -> Result<u64, Corruption> {
        if self.have < n {
            self.refill();
        }
        let value = self.acc >> (64 - n);
        self.skip(n)?;
        Ok(value)
    }
}
