//! What a column of floats tells of its values without being decoded: first, last, least, greatest, and where they fall.

#![deny(clippy::indexing_slicing)]

use super::{CONSTANT, CONSTANT_LAST, CONSTANT_RAW, DECIMAL, DECIMAL_LAST, FLAGS_SHIFT, HAS_EXCEPTIONS, PCO, RAW, flags_of, power};
use crate::chunk::ints::IntCoder;
use crate::error::Corruption;
use crate::wire::{Reader, put_varint, put_zigzag};

/// Resets are listed if there are at most one for so many values; a gauge falls at every other sample.
const RESET_SHARE: usize = 32;
/// No value is below the one before it.
pub(super) const GROWS: u8 = 2;
/// Values fall too often for their places to be listed.
const FALLS_OFTEN: u8 = 3;

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

/// Reads past the summary of integers, whose flags were read already.
pub(super) fn skip_summary(reader: &mut Reader<'_>, flags: u8) -> Result<(), Corruption> {
    reader.varint()?;
    if flags == GROWS {
        return Ok(());
    }
    reader.varint()?;
    reader.varint()?;
    if flags != FALLS_OFTEN { skip_places(reader) } else { Ok(()) }
}

/// Appends the tag with its flags and the summary of integers.
pub(super) fn put_summary(scaled: &[i64], tag: u8, out: &mut Vec<u8>) {
    let (first, last) = (scaled.first().copied().unwrap_or(0), scaled.last().copied().unwrap_or(0));
    let (places, often) = falls(scaled);
    if places.is_empty() && often == 0 {
        out.push(tag | GROWS << FLAGS_SHIFT);
        put_varint(out, (last - first) as u64);
        return;
    }
    out.push(tag | often << FLAGS_SHIFT);
    put_zigzag(out, last - first);
    let (min, max) = scaled.iter().fold((first, first), |(min, max), v| (min.min(*v), max.max(*v)));
    put_varint(out, (first - min) as u64);
    put_varint(out, (max - first) as u64);
    if often == 0 {
        put_places(&places, out);
    }
}

fn skip_places(reader: &mut Reader<'_>) -> Result<(), Corruption> {
    (0..reader.count(1)?).try_for_each(|_| reader.varint().map(drop))
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
        if flags == GROWS {
            let last = reader.varint()? as i64;
            return Ok(Self { last, min: 0, max: last, resets: Some(Vec::new()) });
        }
        let last = reader.zigzag()?;
        let (min, max) = ((reader.varint()? as i64).wrapping_neg(), reader.varint()? as i64);
        let resets = if flags != FALLS_OFTEN { Some(read_places(reader)?) } else { None };
        Ok(Self { last, min, max, resets })
    }
}

/// The summary of floats that are no decimals: flags, and bits if none of them is a NaN.
pub(super) fn put_bit_summary(values: &[f64], out: &mut Vec<u8>) {
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
    if flags == HAS_EXCEPTIONS {
        return Ok(None);
    }
    let mut float = || reader.u64_le().map(f64::from_bits);
    let (first, last, min, max) = (float()?, float()?, float()?, float()?);
    let resets = if flags != FALLS_OFTEN { Some(read_places(reader)?) } else { None };
    Ok(Some(Summary { first, last, min, max, resets }))
}

/// Reads past the summary of floats.
pub(super) fn skip_bit_summary(reader: &mut Reader<'_>) -> Result<(), Corruption> {
    let flags = reader.u8()?;
    if flags == HAS_EXCEPTIONS {
        return Ok(());
    }
    reader.take(4 * 8)?;
    if flags != FALLS_OFTEN { skip_places(reader) } else { Ok(()) }
}

/// What a column tells without being decoded; `None` if it has to be decoded: it holds markers or infinities, or is raw.
pub(in crate::chunk) fn summary(bytes: &[u8]) -> Result<Option<Summary>, Corruption> {
    let mut reader = Reader::new(bytes);
    let constant = |value: f64| Summary { first: value, last: value, min: value, max: value, resets: Some(Vec::new()) };
    match reader.u8()? {
        tag @ CONSTANT..=CONSTANT_LAST => Ok(Some(constant(reader.zigzag()? as f64 / power(tag)?))),
        CONSTANT_RAW => Ok(Some(f64::from_bits(reader.u64_le()?)).filter(|v| !v.is_nan()).map(constant)),
        tag @ DECIMAL..=DECIMAL_LAST => {
            let (power, flags) = (power(tag)?, flags_of(tag));
            if flags == HAS_EXCEPTIONS {
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
