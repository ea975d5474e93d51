//! Columns of floats, exact to the bit.
//!
//! ```text
//! tag u8
//!   CONSTANT + exponent                integer zigzag
//!   CONSTANT_RAW                       bits u64le
//!   DECIMAL + flags x 16 + exponent    [summary] | column of integers | [exceptions]
//!   PCO                                summary_flags u8 | [summary of bits] | pco's own bytes
//!   RAW                                count x bits u64le
//! summary:     last, first - min, max - first (zigzag, varint, varint), of integers; left out if values only grow: last alone
//!              | resets varint | resets x gap varint
//! exceptions:  count varint | count x (gap varint, kind u8, [bits u64le])
//! ```
//!
//! A decimal value is `integer as f64 / 10^exponent`: the division rounds correctly, so a number written with up to 15 digits comes
//! back as it was; the coder checks every value by its bits. What does not come back (markers, infinities, minus zero) is an
//! exception, of which a page has few; the integers repeat the one before there.

#![deny(clippy::indexing_slicing)]

mod summary;

pub use summary::Summary;
pub(super) use summary::summary;

use super::ints::IntCoder;
use crate::error::Corruption;
use crate::wire::{Reader, put_varint, put_zigzag};
use model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};
use summary::{put_bit_summary, put_summary, skip_bit_summary, skip_summary};

const CONSTANT_RAW: u8 = 1;
const PCO: u8 = 3;
const RAW: u8 = 4;
/// To 0x1f: the exponent is in the low four bits.
const CONSTANT: u8 = 0x10;
/// To 0x7f: flags above the exponent.
const DECIMAL: u8 = 0x40;
const CONSTANT_LAST: u8 = CONSTANT | EXPONENT;
const DECIMAL_LAST: u8 = 0x7f;
const EXPONENT: u8 = 0xf;
const FLAGS_SHIFT: u32 = 4;

/// One exception for so many values at most.
const EXCEPTION_SHARE: usize = 16;
/// One value with more decimals than the others for so many at most: a decimal more costs all values over three bits.
const LONGER_SHARE: usize = 64;
const EXPONENT_MAX: u8 = 13;
const POWERS: [f64; EXPONENT_MAX as usize + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13];
/// Integers up to this are exact as floats.
const INTEGER_MAX: i64 = 1 << 53;
/// Compression level of what is not decimal: higher ones gain under one in a hundred.
const PCO_LEVEL: usize = 4;

const HAS_EXCEPTIONS: u8 = 1;

const STALE: u8 = 0;
const NAN: u8 = 1;
const INFINITE: u8 = 2;
const NEGATIVE_INFINITE: u8 = 3;
const NEGATIVE_ZERO: u8 = 4;
const OTHER: u8 = 5;

/// Whether an exponent makes integers of a column.
enum Scaled {
    Fits,
    /// Too many values have more decimals; so many are enough for those that were looked at.
    Needs(u8),
    /// Too many values are no decimals.
    Never,
}

/// Buffers that coding columns reuses.
#[derive(Debug, Default)]
pub(super) struct FloatCoder {
    ints: IntCoder,
    scaled: Vec<i64>,
    exceptions: Vec<(u32, u64)>,
}

impl FloatCoder {
    /// Appends a column of at least one value; the number of values is not part of it.
    pub(super) fn encode(&mut self, values: &[f64], out: &mut Vec<u8>) {
        let Some((first, rest)) = values.split_first() else { return };
        if rest.iter().all(|v| v.to_bits() == first.to_bits()) {
            return encode_constant(*first, out);
        }
        match self.scale(values) {
            Some(exponent) => self.encode_decimal(exponent, out),
            None => encode_other(values, out),
        }
    }

    /// Finds an exponent with which nearly all values are integers; fills `scaled` and `exceptions`.
    fn scale(&mut self, values: &[f64]) -> Option<u8> {
        let mut exponent = 0;
        loop {
            match self.scale_to(exponent, values) {
                Scaled::Fits => return Some(exponent),
                Scaled::Needs(higher) => exponent = higher,
                Scaled::Never => return None,
            }
        }
    }

    fn scale_to(&mut self, exponent: u8, values: &[f64]) -> Scaled {
        self.scaled.clear();
        self.exceptions.clear();
        let (exceptions_max, longer_max) = (values.len() / EXCEPTION_SHARE, values.len() / LONGER_SHARE);
        let (mut needed, mut longer) = (exponent, 0);
        for (at, value) in values.iter().enumerate() {
            if let Some(integer) = scaled(*value, exponent) {
                self.scaled.push(integer);
                continue;
            }
            if let Some(higher) = (exponent + 1..=EXPONENT_MAX).find(|e| scaled(*value, *e).is_some()) {
                (needed, longer) = (needed.max(higher), longer + 1);
                if longer > longer_max {
                    return Scaled::Needs(needed);
                }
            }
            self.exceptions.push((at as u32, value.to_bits()));
            if self.exceptions.len() > exceptions_max {
                return Scaled::Never;
            }
            // Repeats the one before, so that an exception takes no bits among the integers.
            self.scaled.push(self.scaled.last().copied().unwrap_or(0));
        }
        // An exception at the front repeats the first that is none.
        let leading = self.exceptions.iter().zip(0u32..).take_while(|((at, _), i)| at == i).count();
        let first = self.scaled.get(leading).copied().unwrap_or(0);
        self.scaled.iter_mut().take(leading).for_each(|integer| *integer = first);
        Scaled::Fits
    }

    fn encode_decimal(&mut self, exponent: u8, out: &mut Vec<u8>) {
        if self.exceptions.is_empty() {
            put_summary(&self.scaled, DECIMAL | exponent, out);
        } else {
            out.push(DECIMAL | HAS_EXCEPTIONS << FLAGS_SHIFT | exponent);
        }
        self.ints.encode(&self.scaled, out);
        if !self.exceptions.is_empty() {
            put_exceptions(&self.exceptions, out);
        }
    }

    /// Appends the `count` values of a column that `bytes` hold to `out`.
    ///
    /// # Errors
    /// The bytes are damaged; `out` may hold values of the column then.
    pub(super) fn decode(&mut self, bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Corruption> {
        let mut reader = Reader::new(bytes);
        match reader.u8()? {
            tag @ CONSTANT..=CONSTANT_LAST => {
                let value = reader.zigzag()? as f64 / power(tag)?;
                out.resize(out.len() + count, value);
            }
            CONSTANT_RAW => {
                let value = f64::from_bits(reader.u64_le()?);
                out.resize(out.len() + count, value);
            }
            tag @ DECIMAL..=DECIMAL_LAST => self.decode_decimal(tag, &mut reader, count, out)?,
            PCO => {
                skip_bit_summary(&mut reader)?;
                decode_pco(reader.rest(), count, out)?;
                return Ok(());
            }
            RAW => {
                let bytes = reader.take(count.checked_mul(8).ok_or(Corruption::new("count of values"))?)?;
                out.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_bits(u64::from_le_bytes(*b))));
            }
            _ => return Err(Corruption::new("column of unknown codec")),
        }
        if reader.rest().is_empty() { Ok(()) } else { Err(Corruption::new("bytes behind a column")) }
    }

    fn decode_decimal(&mut self, tag: u8, reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), Corruption> {
        let (power, flags) = (power(tag)?, flags_of(tag));
        if flags != HAS_EXCEPTIONS {
            skip_summary(reader, flags)?;
        }
        let from = out.len();
        self.ints.decode(reader, count, out, |i| i as f64)?;
        let values = out.get_mut(from..).unwrap_or_default();
        if tag & EXPONENT != 0 {
            // A pass of its own: several divisions go on at once.
            values.iter_mut().for_each(|value| *value /= power);
        }
        if flags == HAS_EXCEPTIONS {
            patch(reader, values)?;
        }
        Ok(())
    }
}

/// The integer that stands for `value` under an exponent, if it comes back bit for bit.
#[inline]
fn scaled(value: f64, exponent: u8) -> Option<i64> {
    let power = POWERS.get(usize::from(exponent)).copied().unwrap_or(1.0);
    let product = value * power;
    // Rounds half away from zero; what that gets wrong fails the check.
    let integer = (product + 0.5f64.copysign(product)) as i64;
    let back = integer as f64 / power;
    (back.to_bits() == value.to_bits() && integer.unsigned_abs() <= INTEGER_MAX as u64).then_some(integer)
}

/// The power that a tag tells in its low bits.
fn power(tag: u8) -> Result<f64, Corruption> {
    POWERS.get(usize::from(tag & EXPONENT)).copied().ok_or(Corruption::new("exponent of a column"))
}

fn flags_of(tag: u8) -> u8 {
    tag >> FLAGS_SHIFT & 3
}

fn encode_constant(value: f64, out: &mut Vec<u8>) {
    for exponent in 0..=EXPONENT_MAX {
        if let Some(integer) = scaled(value, exponent) {
            out.push(CONSTANT | exponent);
            return put_zigzag(out, integer);
        }
    }
    out.push(CONSTANT_RAW);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn encode_other(values: &[f64], out: &mut Vec<u8>) {
    let config = pco::ChunkConfig::default().with_compression_level(PCO_LEVEL);
    let packed = pco::standalone::simple_compress(values, &config).ok();
    let raw_bytes = values.len() * 8;
    match packed.filter(|packed| packed.len() + 34 < raw_bytes) {
        Some(packed) => {
            out.push(PCO);
            put_bit_summary(values, out);
            out.extend_from_slice(&packed);
        }
        None => {
            out.push(RAW);
            values.iter().for_each(|v| out.extend_from_slice(&v.to_bits().to_le_bytes()));
        }
    }
}

fn decode_pco(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Result<(), Corruption> {
    let from = out.len();
    out.resize(from + count, 0.0);
    let values = out.get_mut(from..).unwrap_or_default();
    let progress = pco::standalone::simple_decompress_into(bytes, values).map_err(|_| Corruption::new("pco column"))?;
    if progress.n_processed == count && progress.finished { Ok(()) } else { Err(Corruption::new("length of a pco column")) }
}

fn put_exceptions(exceptions: &[(u32, u64)], out: &mut Vec<u8>) {
    put_varint(out, exceptions.len() as u64);
    let mut next = 0;
    for (at, bits) in exceptions {
        put_varint(out, u64::from(at - next));
        next = at + 1;
        let kind = match f64::from_bits(*bits) {
            _ if *bits == STALE_NAN_BITS => STALE,
            _ if *bits == NORMAL_NAN_BITS => NAN,
            f64::INFINITY => INFINITE,
            f64::NEG_INFINITY => NEGATIVE_INFINITE,
            _ if *bits == (-0.0f64).to_bits() => NEGATIVE_ZERO,
            _ => OTHER,
        };
        out.push(kind);
        if kind == OTHER {
            out.extend_from_slice(&bits.to_le_bytes());
        }
    }
}

fn patch(reader: &mut Reader<'_>, values: &mut [f64]) -> Result<(), Corruption> {
    let mut next = 0usize;
    for _ in 0..reader.count(2)? {
        let gap = reader.varint_u32()? as usize;
        let value = values.get_mut(next + gap).ok_or(Corruption::new("place of an exception"))?;
        next += gap + 1;
        *value = match reader.u8()? {
            STALE => f64::from_bits(STALE_NAN_BITS),
            NAN => f64::from_bits(NORMAL_NAN_BITS),
            INFINITE => f64::INFINITY,
            NEGATIVE_INFINITE => f64::NEG_INFINITY,
            NEGATIVE_ZERO => -0.0,
            OTHER => f64::from_bits(reader.u64_le()?),
            _ => return Err(Corruption::new("exception of unknown kind")),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests;
