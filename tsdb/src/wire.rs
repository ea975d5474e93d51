//! Reading and writing the small pieces that stored values consist of.

#![deny(clippy::indexing_slicing)]

use crate::error::Corruption;

/// Appends an unsigned LEB128 number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number, small magnitudes short.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends bytes behind their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes pieces off the front of a slice; never panics, never allocates.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// Fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Corruption> {
        let (piece, rest) = self.rest.split_at_checked(n).ok_or(Corruption::new("cut off"))?;
        self.rest = rest;
        Ok(piece)
    }

    /// Takes an array.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Corruption> {
        let (piece, rest) = self.rest.split_first_chunk::<N>().ok_or(Corruption::new("cut off"))?;
        self.rest = rest;
        Ok(*piece)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// None is left.
    pub fn u8(&mut self) -> Result<u8, Corruption> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// Takes a little-endian number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u32_le(&mut self) -> Result<u32, Corruption> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Takes a little-endian number.
    ///
    /// # Errors
    /// Fewer bytes are left.
    pub fn u64_le(&mut self) -> Result<u64, Corruption> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Takes what [`put_varint`] wrote.
    ///
    /// # Errors
    /// It is cut off or longer than 64 bits.
    pub fn varint(&mut self) -> Result<u64, Corruption> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corruption::new("number longer than 64 bits"))
    }

    /// Takes a number that must fit 32 bits.
    ///
    /// # Errors
    /// It is cut off or too large.
    pub fn varint_u32(&mut self) -> Result<u32, Corruption> {
        u32::try_from(self.varint()?).map_err(|_| Corruption::new("number longer than 32 bits"))
    }

    /// Takes a count of things that take at least `bytes_each` bytes, so that it bounds an allocation.
    ///
    /// # Errors
    /// It is cut off, or more than the rest can hold.
    pub fn count(&mut self, bytes_each: usize) -> Result<usize, Corruption> {
        let count = usize::try_from(self.varint()?).map_err(|_| Corruption::new("count too large"))?;
        if count > self.rest.len() / bytes_each.max(1) {
            return Err(Corruption::new("count too large"));
        }
        Ok(count)
    }

    /// Takes what [`put_zigzag`] wrote.
    ///
    /// # Errors
    /// See [`Reader::varint`].
    pub fn zigzag(&mut self) -> Result<i64, Corruption> {
        let raw = self.varint()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// Takes what [`put_bytes`] wrote.
    ///
    /// # Errors
    /// It is cut off.
    pub fn bytes(&mut self) -> Result<&'a [u8], Corruption> {
        let n = usize::try_from(self.varint()?).map_err(|_| Corruption::new("length too large"))?;
        self.take(n)
    }

    /// Takes text behind its length.
    ///
    /// # Errors
    /// It is cut off or not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Corruption> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Corruption::new("text is not UTF-8"))
    }

    /// Ends reading.
    ///
    /// # Errors
    /// Something is left over.
    pub fn end(self) -> Result<(), Corruption> {
        if self.rest.is_empty() { Ok(()) } else { Err(Corruption::new("bytes left over")) }
    }
}

/// Appends the checksum of `out[from..]`.
pub fn put_crc(out: &mut Vec<u8>, from: usize) {
    let crc = crc32c::crc32c(out.get(from..).unwrap_or_default());
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Checks and cuts off the checksum that [`put_crc`] wrote.
///
/// # Errors
/// The bytes are too short or the checksum is wrong.
pub fn check_crc(bytes: &[u8]) -> Result<&[u8], Corruption> {
    let (body, crc) = bytes.split_last_chunk::<4>().ok_or(Corruption::new("cut off"))?;
    if crc32c::crc32c(body) == u32::from_le_bytes(*crc) { Ok(body) } else { Err(Corruption::new("checksum")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_and_bytes_round_trip(a: u64, b: i64, bytes: Vec<u8>) {
            let mut out = Vec::new();
            put_varint(&mut out, a);
            put_zigzag(&mut out, b);
            put_bytes(&mut out, &bytes);
            put_crc(&mut out, 0);
            let mut reader = Reader::new(check_crc(&out).unwrap());
            prop_assert_eq!(reader.varint().unwrap(), a);
            prop_assert_eq!(reader.zigzag().unwrap(), b);
            prop_assert_eq!(reader.bytes().unwrap(), &bytes[..]);
            reader.end().unwrap();
        }
    }

    #[test]
    fn overlong_numbers_are_refused() {
        assert!(Reader::new(&[0xff; 10]).varint().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint().is_err());
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).varint(), Ok(u64::MAX));
        assert!(Reader::new(&[5, 1, 1]).count(1).is_err());
    }
}
