//! Columns of floats, exact to the bit.
//!
//! ```text
//! tag u8
//!   CONSTANT        exponent u8 | integer zigzag
//!   CONSTANT_RAW    bits u64le
//!   DECIMAL         exponent u8 | flags u8 | [summary] | column of integers | [exceptions]
//!   PCO             summary_flags u8 | [summary of bits] | pco's own bytes
//!   RAW             count x bits u64le
//! summary:     last, first - min, max - first (zigzag, varint, varint), of integers; left out if values only grow: last alone
//!              | resets varint | resets x gap varint
//! exceptions:  count varint | count x (gap varint, kind u8, [bits u64le])
//! ```
//!
//! A decimal value is `integer as f64 / 10^exponent`: the division rounds correctly, so a number written with up to 15 digits comes
//! back as it was; the coder checks every value by its bits. What does not come back (markers, infinities, minus zero) is an
//! exception, of which a page has few; the integers repeat the one before there.

#![deny(clippy::indexing_slicing)]

use super::ints::IntCoder;
use crate::error::Corruption;
use crate::wire::{Reader, put_varint, put_zigzag};
use model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};

const CONSTANT: u8 = 0;
const CONSTANT_RAW: u8 = 1;
const DECIMAL: u8 = 2;
const PCO: u8 = 3;
const RAW: u8 = 4;

/// One exception for so many values at most.
const EXCEPTION_SHARE: usize = 16;
/// Resets are listed if there are at most one for so many values; a gauge falls at every other sample.
const RESET_SHARE: usize = 32;
const EXPONENT_MAX: u8 = 13;
const POWERS: [f64; EXPONENT_MAX as usize + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13];
/// Integers up to this are exact as floats.
const INTEGER_MAX: i64 = 1 << 53;
/// Compression level of what is not decimal: higher ones gain under one in a hundred.
const PCO_LEVEL: usize = 4;

const HAS_EXCEPTIONS: u8 = 1;
/// No value is below the one before it.
const GROWS: u8 = 2;
/// Values fall too often for their places to be listed.
const FALLS_OFTEN: u8 = 4;

const STALE: u8 = 0;
const NAN: u8 = 1;
const INFINITE: u8 = 2;
const NEGATIVE_INFINITE: u8 = 3;
const NEGATIVE_ZERO: u8 = 4;
const OTHER: u8 = 5;

/// What a column tells of its values without being decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// Places of the values that are below the one before them, ascending; `None` if there are too many to list.
    pub resets: Option<Vec<u32>>,
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

    /// Finds the exponent with which nearly all values are integers; fills `scaled` and `exceptions`.
    fn scale(&mut self, values: &[f64]) -> Option<u8> {
        let exceptions_max = values.len() / EXCEPTION_SHARE;
        let (mut exponent, mut failed) = (0u8, 0usize);
        for value in values {
            if scaled(*value, exponent).is_some() {
                continue;
            }
            match (exponent + 1..=EXPONENT_MAX).find(|e| scaled(*value, *e).is_some()) {
                Some(higher) => exponent = higher,
                None => failed += 1,
            }
            if failed > exceptions_max {
                return None;
            }
        }
        self.scaled.clear();
        self.exceptions.clear();
        let mut before = values.iter().find_map(|v| scaled(*v, exponent)).unwrap_or(0);
        for (at, value) in values.iter().enumerate() {
            match scaled(*value, exponent) {
                Some(integer) => before = integer,
                None => self.exceptions.push((at as u32, value.to_bits())),
            }
            self.scaled.push(before);
        }
        // A value may need a lower exponent than another one.
        (self.exceptions.len() <= exceptions_max).then_some(exponent)
    }

    fn encode_decimal(&mut self, exponent: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&[DECIMAL, exponent]);
        if self.exceptions.is_empty() {
            put_summary(&self.scaled, out);
        } else {
            out.push(HAS_EXCEPTIONS);
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
            CONSTANT => {
                let exponent = reader.u8()?;
                let value = reader.zigzag()? as f64 / power(exponent)?;
                out.resize(out.len() + count, value);
            }
            CONSTANT_RAW => {
                let value = f64::from_bits(reader.u64_le()?);
                out.resize(out.len() + count, value);
            }
            DECIMAL => self.decode_decimal(&mut reader, count, out)?,
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

    fn decode_decimal(&mut self, reader: &mut Reader<'_>, count: usize, out: &mut Vec<f64>) -> Result<(), Corruption> {
        let exponent = reader.u8()?;
        let power = power(exponent)?;
        let flags = reader.u8()?;
        if flags & HAS_EXCEPTIONS == 0 {
            Summed::read(reader, flags)?;
        }
        self.scaled.clear();
        self.ints.decode(reader, count, &mut self.scaled)?;
        let from = out.len();
        if exponent == 0 {
            out.extend(self.scaled.iter().map(|i| *i as f64));
        } else {
            out.extend(self.scaled.iter().map(|i| *i as f64 / power));
        }
        if flags & HAS_EXCEPTIONS != 0 {
            patch(reader, out.get_mut(from..).unwrap_or_default())?;
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

fn power(exponent: u8) -> Result<f64, Corruption> {
    POWERS.get(usize::from(exponent)).copied().ok_or(Corruption::new("exponent of a column"))
}

fn encode_constant(value: f64, out: &mut Vec<u8>) {
    for exponent in 0..=EXPONENT_MAX {
        if let Some(integer) = scaled(value, exponent) {
            out.extend_from_slice(&[CONSTANT, exponent]);
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

/// Where values fall, and whether too often to be listed.
fn falls<T: PartialOrd>(values: &[T]) -> (Vec<u32>, u8) {
    let mut places = Vec::new();
    for (at, pair) in values.windows(2).enumerate() {
        if matches!(pair, [a, b] if b < a) {
            if places.len() == values.len() / RESET_SHARE {
                return (Vec::new(), FALLS_OFTEN);
            }
            places.push(at as u32 + 1);
        }
    }
    (places, 0)
}

fn put_places(places: &[u32], out: &mut Vec<u8>) {
    put_varint(out, places.len() as u64);
    let mut before = 0;
    for at in places {
        put_varint(out, u64::from(at - before));
        before = *at;
    }
}

fn read_places(reader: &mut Reader<'_>) -> Result<Vec<u32>, Corruption> {
    let count = reader.count(1)?;
    let mut places = Vec::with_capacity(count);
    let mut at = 0u32;
    for _ in 0..count {
        at = at.checked_add(reader.varint_u32()?).ok_or(Corruption::new("place of a reset"))?;
        places.push(at);
    }
    Ok(places)
}

/// The flags and the summary of integers.
fn put_summary(scaled: &[i64], out: &mut Vec<u8>) {
    let (first, last) = (scaled.first().copied().unwrap_or(0), scaled.last().copied().unwrap_or(0));
    let (places, often) = falls(scaled);
    if places.is_empty() && often == 0 {
        out.push(GROWS);
        put_varint(out, (last - first) as u64);
        return;
    }
    out.push(often);
    put_zigzag(out, last - first);
    let (min, max) = scaled.iter().fold((first, first), |(min, max), v| (min.min(*v), max.max(*v)));
    put_varint(out, (first - min) as u64);
    put_varint(out, (max - first) as u64);
    if often == 0 {
        put_places(&places, out);
    }
}

/// A summary of integers, each as the distance from the first.
struct Summed {
    last: i64,
    min: i64,
    max: i64,
    resets: Option<Vec<u32>>,
}

impl Summed {
    fn read(reader: &mut Reader<'_>, flags: u8) -> Result<Self, Corruption> {
        if flags & GROWS != 0 {
            let last = reader.varint()? as i64;
            return Ok(Self { last, min: 0, max: last, resets: Some(Vec::new()) });
        }
        let last = reader.zigzag()?;
        let (min, max) = ((reader.varint()? as i64).wrapping_neg(), reader.varint()? as i64);
        let resets = if flags & FALLS_OFTEN == 0 { Some(read_places(reader)?) } else { None };
        Ok(Self { last, min, max, resets })
    }
}

/// The summary of floats that are no decimals: flags, and bits if none of them is a NaN.
fn put_bit_summary(values: &[f64], out: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
    if values.iter().any(|v| v.is_nan()) {
        out.push(HAS_EXCEPTIONS);
        return;
    }
    let (places, often) = falls(values);
    out.push(often);
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for value in [*first, *last, min, max] {
        out.extend_from_slice(&value.to_bits().to_le_bytes());
    }
    if often == 0 {
        put_places(&places, out);
    }
}

fn read_bit_summary(reader: &mut Reader<'_>) -> Result<Option<Summary>, Corruption> {
    let flags = reader.u8()?;
    if flags & HAS_EXCEPTIONS != 0 {
        return Ok(None);
    }
    let mut float = || reader.u64_le().map(f64::from_bits);
    let (first, last, min, max) = (float()?, float()?, float()?, float()?);
    let resets = if flags & FALLS_OFTEN == 0 { Some(read_places(reader)?) } else { None };
    Ok(Some(Summary { first, last, min, max, resets }))
}

fn skip_bit_summary(reader: &mut Reader<'_>) -> Result<(), Corruption> {
    read_bit_summary(reader).map(drop)
}

/// What a column tells without being decoded; `None` if it has to be decoded: it holds markers or infinities, or is raw.
pub(super) fn summary(bytes: &[u8]) -> Result<Option<Summary>, Corruption> {
    let mut reader = Reader::new(bytes);
    let constant = |value: f64| Summary { first: value, last: value, min: value, max: value, resets: Some(Vec::new()) };
    match reader.u8()? {
        CONSTANT => {
            let power = power(reader.u8()?)?;
            Ok(Some(constant(reader.zigzag()? as f64 / power)))
        }
        CONSTANT_RAW => Ok(Some(f64::from_bits(reader.u64_le()?)).filter(|v| !v.is_nan()).map(constant)),
        DECIMAL => {
            let (power, flags) = (power(reader.u8()?)?, reader.u8()?);
            if flags & HAS_EXCEPTIONS != 0 {
                return Ok(None);
            }
            let Summed { last, min, max, resets } = Summed::read(&mut reader, flags)?;
            let first = IntCoder::first(reader)?;
            let float = |distance: i64| first.wrapping_add(distance) as f64 / power;
            Ok(Some(Summary { first: float(0), last: float(last), min: float(min), max: float(max), resets }))
        }
        PCO => read_bit_summary(&mut reader),
        RAW => Ok(None),
        _ => Err(Corruption::new("column of unknown codec")),
    }
}

#[cfg(test)]
mod tests;
