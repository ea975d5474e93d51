//! The coat of stored values: a codec tag in front, a checksum behind.

use crate::error::Corruption;
use crate::wire::{Reader, check_crc, put_crc, put_varint};
use std::borrow::Cow;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// LZ4 cannot shrink by more, so a length that claims more is damage and not an allocation.
const LZ4_RATIO_MAX: usize = 256;

/// Wraps a value as it is.
pub(crate) fn pack_plain(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 5);
    out.push(PLAIN);
    out.extend_from_slice(value);
    put_crc(&mut out, 0);
    out
}

/// Wraps a value, compressed if that saves a tenth.
pub(crate) fn pack(value: &[u8]) -> Vec<u8> {
    let compressed = lz4_flex::block::compress(value);
    if compressed.len() + 10 > value.len() / 10 * 9 {
        return pack_plain(value);
    }
    let mut out = Vec::with_capacity(compressed.len() + 10);
    out.push(LZ4);
    put_varint(&mut out, value.len() as u64);
    out.extend_from_slice(&compressed);
    put_crc(&mut out, 0);
    out
}

/// Gives back the value.
pub(crate) fn unpack(packed: &[u8]) -> Result<Cow<'_, [u8]>, Corruption> {
    let mut reader = Reader::new(check_crc(packed)?);
    match reader.u8()? {
        PLAIN => Ok(Cow::Borrowed(reader.rest())),
        LZ4 => {
            let length = usize::try_from(reader.varint()?).map_err(|_| Corruption::new("length of a compressed value"))?;
            if length > reader.rest().len().saturating_mul(LZ4_RATIO_MAX) {
                return Err(Corruption::new("length of a compressed value"));
            }
            let value = lz4_flex::block::decompress(reader.rest(), length).map_err(|_| Corruption::new("compressed value"))?;
            if value.len() == length { Ok(Cow::Owned(value)) } else { Err(Corruption::new("length of a compressed value")) }
        }
        _ => Err(Corruption::new("value of unknown codec")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packed_values_come_back_and_damage_is_an_error(value in vec(0u8..4, 0..2000), at: prop::sample::Index, flip in 1u8..) {
            for mut packed in [pack(&value), pack_plain(&value)] {
                prop_assert_eq!(unpack(&packed).unwrap(), value.as_slice());
                let i = at.index(packed.len());
                packed[i] ^= flip;
                prop_assert!(unpack(&packed).is_err());
            }
        }
    }

    #[test]
    fn unknown_codecs_and_forged_lengths_are_refused() {
        for body in [vec![2, 1], vec![LZ4, 0xff, 0xff, 0xff, 0x7f, 1], vec![]] {
            let mut packed = body;
            put_crc(&mut packed, 0);
            assert!(unpack(&packed).is_err());
        }
    }
}
