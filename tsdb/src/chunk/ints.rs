//! Columns of integers: constant, linear, or what a plan leaves of them, packed.
//!
//! ```text
//! plan u8 | first zigzag
//!   linear:        step zigzag
//!   the others:    [divisor varint, if bit 6 of the plan is set] | base zigzag | [slope or second zigzag] | blocks (see `pack`)
//! ```
//!
//! The others code x = (value - first) / divisor. All arithmetic wraps, so any 64 bits come back.

#![deny(clippy::indexing_slicing)]

use super::pack::{pack, packed_bytes, unpack};
use crate::error::Corruption;
use crate::wire::{Reader, put_varint, put_zigzag};

const CONSTANT: u8 = 0;
const LINEAR: u8 = 1;
/// x - base.
const OFFSET: u8 = 2;
/// Difference to the value before, small magnitudes short.
const DELTA: u8 = 3;
/// Difference to the value before, less the least of them.
const RISE: u8 = 4;
/// Difference of differences.
const SECOND: u8 = 5;
/// Distance from a straight line, less the least of them.
const SLOPE: u8 = 6;
const PLANS: [u8; 5] = [RISE, DELTA, OFFSET, SECOND, SLOPE];
const DIVIDED: u8 = 0x40;

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Buffers that coding columns reuses.
#[derive(Debug, Default)]
pub(super) struct IntCoder {
    x: Vec<i64>,
    residues: Vec<u64>,
    best: Vec<u64>,
}

/// What a plan needs beside its residues.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    base: i64,
    /// Slope of a line, or the first difference.
    slope: i64,
}

impl IntCoder {
    /// Appends a column; its length is not part of it. No values give no bytes.
    pub(super) fn encode(&mut self, values: &[i64], out: &mut Vec<u8>) {
        let Some((first, rest)) = values.split_first() else { return };
        let step = rest.first().map_or(0, |second| second.wrapping_sub(*first));
        if is_linear(values, step) {
            out.push(if step == 0 { CONSTANT } else { LINEAR });
            put_zigzag(out, *first);
            if step != 0 {
                put_zigzag(out, step);
            }
            return;
        }
        let divisor = divisor(*first, rest);
        self.x.clear();
        if divisor == 1 {
            self.x.extend(values.iter().map(|v| v.wrapping_sub(*first)));
        } else {
            self.x.extend(values.iter().map(|v| (v - first) / divisor));
        }
        let mut best = (usize::MAX, OFFSET, Terms::default());
        for plan in PLANS {
            let terms = residues(plan, &self.x, &mut self.residues);
            let bytes = packed_bytes(&self.residues);
            if bytes < best.0 {
                best = (bytes, plan, terms);
                std::mem::swap(&mut self.best, &mut self.residues);
            }
        }
        let (_, plan, Terms { base, slope }) = best;
        out.push(if divisor == 1 { plan } else { plan | DIVIDED });
        put_zigzag(out, *first);
        if divisor != 1 {
            put_varint(out, divisor as u64);
        }
        put_zigzag(out, base);
        if matches!(plan, SECOND | SLOPE) {
            put_zigzag(out, slope);
        }
        pack(&self.best, out);
    }

    /// The first value of a column of at least one.
    ///
    /// # Errors
    /// The bytes are cut off.
    pub(super) fn first(mut reader: Reader<'_>) -> Result<i64, Corruption> {
        reader.u8()?;
        reader.zigzag()
    }

    /// Whether a column is one straight line, and if so, whether it grows all the way without passing the greatest number.
    ///
    /// # Errors
    /// The bytes are cut off.
    pub(super) fn line_grows(mut reader: Reader<'_>, count: usize) -> Result<Option<bool>, Corruption> {
        match reader.u8()? {
            CONSTANT => Ok(Some(count < 2)),
            LINEAR => {
                let (first, step) = (reader.zigzag()?, reader.zigzag()?);
                let last = step.checked_mul(count as i64 - 1).and_then(|rise| first.checked_add(rise));
                Ok(Some(count < 2 || (step > 0 && last.is_some())))
            }
            _ => Ok(None),
        }
    }

    /// Appends what `convert` makes of the `count` values of a column from the front of `reader`.
    ///
    /// # Errors
    /// The bytes are damaged; `out` may hold values of the column then.
    pub(super) fn decode<T: Copy>(
        &mut self,
        reader: &mut Reader<'_>,
        count: usize,
        out: &mut Vec<T>,
        convert: impl Fn(i64) -> T,
    ) -> Result<(), Corruption> {
        if count == 0 {
            return Ok(());
        }
        let plan = reader.u8()?;
        let first = reader.zigzag()?;
        match plan {
            CONSTANT => {
                out.resize(out.len() + count, convert(first));
                return Ok(());
            }
            LINEAR => {
                line(first, reader.zigzag()?, count, out, convert);
                return Ok(());
            }
            _ => {}
        }
        let divisor = if plan & DIVIDED == 0 { 1 } else { reader.varint()? as i64 };
        let plan = plan & !DIVIDED;
        // Up to two values are constant or linear.
        if !PLANS.contains(&plan) || count < 3 {
            return Err(Corruption::new("column of unknown plan"));
        }
        let base = reader.zigzag()?;
        let slope = if matches!(plan, SECOND | SLOPE) { reader.zigzag()? } else { 0 };
        let residue_count = residue_count(plan, count);
        unpack(reader, residue_count, &mut self.residues)?;
        let residues = self.residues.get(..residue_count).unwrap_or_default();
        let column = Column { first, divisor, base, slope };
        column.restore(plan, residues, out, convert);
        Ok(())
    }
}

/// What all values of a column have in common.
struct Column {
    first: i64,
    divisor: i64,
    base: i64,
    slope: i64,
}

impl Column {
    /// The reverse of [`residues`], back to the values.
    fn restore<T>(self, plan: u8, residues: &[u64], out: &mut Vec<T>, convert: impl Fn(i64) -> T) {
        let Self { first, divisor, base, slope } = self;
        let value = |x: i64| first.wrapping_add(x.wrapping_mul(divisor));
        match plan {
            OFFSET => out.extend(residues.iter().map(|u| convert(value(base.wrapping_add(*u as i64))))),
            SLOPE => {
                let line = |i: usize| base.wrapping_add(slope.wrapping_mul(i as i64));
                out.extend(residues.iter().enumerate().map(|(i, u)| convert(value(line(i).wrapping_add(*u as i64)))));
            }
            SECOND => {
                let (mut x, mut delta) = (slope, slope);
                out.push(convert(first));
                out.push(convert(value(x)));
                out.extend(residues.iter().map(|u| {
                    delta = delta.wrapping_add(unzigzag(*u));
                    x = x.wrapping_add(delta);
                    convert(value(x))
                }));
            }
            // The factor is one for nearly all: a sum of sums is then all there is to do.
            RISE if divisor == 1 => sum_up(first, residues, out, |u| base.wrapping_add(u as i64), convert),
            RISE => sum_up(first, residues, out, |u| base.wrapping_add(u as i64).wrapping_mul(divisor), convert),
            _ if divisor == 1 => sum_up(first, residues, out, unzigzag, convert),
            _ => sum_up(first, residues, out, |u| unzigzag(u).wrapping_mul(divisor), convert),
        }
    }
}

/// Appends a straight line, four values at once.
#[inline]
fn line<T: Copy>(first: i64, step: i64, count: usize, out: &mut Vec<T>, convert: impl Fn(i64) -> T) {
    let from = out.len();
    out.resize(from + count, convert(first));
    let mut four = [0, 1, 2, 3].map(|i: i64| first.wrapping_add(step.wrapping_mul(i)));
    let (quads, rest) = out.get_mut(from..).unwrap_or_default().as_chunks_mut::<4>();
    for quad in quads {
        *quad = four.map(&convert);
        four = four.map(|value| value.wrapping_add(step.wrapping_mul(4)));
    }
    rest.iter_mut().zip(four).for_each(|(place, value)| *place = convert(value));
}

/// Appends the first value, and each later one as the sum of the one before and its step.
#[inline]
fn sum_up<T>(first: i64, residues: &[u64], out: &mut Vec<T>, step: impl Fn(u64) -> i64, convert: impl Fn(i64) -> T) {
    let mut value = first;
    out.push(convert(first));
    out.extend(residues.iter().map(|u| {
        value = value.wrapping_add(step(*u));
        convert(value)
    }));
}

fn is_linear(values: &[i64], step: i64) -> bool {
    values.windows(2).all(|pair| matches!(pair, [a, b] if b.wrapping_sub(*a) == step))
}

/// The greatest number that divides all distances from the first value; 1 if one of them does not fit.
fn divisor(first: i64, rest: &[i64]) -> i64 {
    let mut common = 0u64;
    for value in rest {
        let Some(distance) = value.checked_sub(first).map(i64::unsigned_abs).filter(|d| *d <= i64::MAX as u64) else { return 1 };
        if common == 0 || !distance.is_multiple_of(common) {
            common = greatest_common(common, distance);
        }
        if common == 1 {
            return 1;
        }
    }
    (common as i64).max(1)
}

fn greatest_common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Fills `out` with what a plan leaves.
fn residues(plan: u8, x: &[i64], out: &mut Vec<u64>) -> Terms {
    out.clear();
    let deltas = || x.windows(2).map(|pair| if let [a, b] = pair { b.wrapping_sub(*a) } else { 0 });
    match plan {
        OFFSET => {
            let base = x.iter().copied().min().unwrap_or(0);
            out.extend(x.iter().map(|v| v.wrapping_sub(base) as u64));
            Terms { base, slope: 0 }
        }
        RISE => {
            let base = deltas().min().unwrap_or(0);
            out.extend(deltas().map(|d| d.wrapping_sub(base) as u64));
            Terms { base, slope: 0 }
        }
        SECOND => {
            let slope = deltas().next().unwrap_or(0);
            let mut before = slope;
            out.extend(deltas().skip(1).map(|d| zigzag(d.wrapping_sub(std::mem::replace(&mut before, d)))));
            Terms { base: 0, slope }
        }
        SLOPE => {
            let last = x.last().copied().unwrap_or(0);
            let slope = last / (x.len() as i64 - 1).max(1);
            let distance = |(i, v): (usize, &i64)| v.wrapping_sub(slope.wrapping_mul(i as i64));
            let base = x.iter().enumerate().map(distance).min().unwrap_or(0);
            out.extend(x.iter().enumerate().map(|at| distance(at).wrapping_sub(base) as u64));
            Terms { base, slope }
        }
        _ => {
            out.extend(deltas().map(zigzag));
            Terms::default()
        }
    }
}

fn residue_count(plan: u8, count: usize) -> usize {
    match plan {
        OFFSET | SLOPE => count,
        SECOND => count.saturating_sub(2),
        _ => count - 1,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn encoded(values: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        IntCoder::default().encode(values, &mut out);
        out
    }

    fn column() -> impl Strategy<Value = Vec<i64>> {
        let small = || vec(-50i64..50, 1..300);
        prop_oneof![
            vec(any::<i64>(), 0..300),
            (any::<i64>(), small(), 1i64..5000).prop_map(|(first, steps, factor)| {
                let mut v = first;
                steps
                    .iter()
                    .map(|s| {
                        v = v.wrapping_add(s * factor);
                        v
                    })
                    .collect()
            }),
            (any::<i64>(), small(), any::<i64>()).prop_map(|(first, jitter, slope)| {
                jitter.iter().enumerate().map(|(i, j)| first.wrapping_add(slope.wrapping_mul(i as i64)).wrapping_add(*j)).collect()
            }),
            (any::<i64>(), vec(prop_oneof![20 => Just(0i64), 1 => any::<i64>()], 1..300)).prop_map(|(first, steps)| {
                let mut v = first;
                steps
                    .iter()
                    .map(|s| {
                        v = v.wrapping_add(*s);
                        v
                    })
                    .collect()
            }),
        ]
    }

    proptest! {
        #[test]
        fn columns_come_back_and_damage_never_panics(values in column(), at: prop::sample::Index, flip in 1u8..) {
            let mut bytes = encoded(&values);
            let (mut coder, mut back) = (IntCoder::default(), vec![7]);
            let mut reader = Reader::new(&bytes);
            coder.decode(&mut reader, values.len(), &mut back, |v| v).unwrap();
            prop_assert_eq!(&back[1..], &values[..]);
            prop_assert!(reader.rest().is_empty());
            if !bytes.is_empty() {
                let i = at.index(bytes.len());
                bytes[i] ^= flip;
                back.clear();
                let _ = coder.decode(&mut Reader::new(&bytes), values.len(), &mut back, |v| v);
                prop_assert!(back.len() <= values.len());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_column_or_refused(plan in any::<u8>(), bytes in vec(any::<u8>(), 0..200), count in 0usize..400) {
            let bytes: Vec<u8> = std::iter::once(plan).chain(bytes).collect();
            let mut back = Vec::new();
            if IntCoder::default().decode(&mut Reader::new(&bytes), count, &mut back, |v| v).is_ok() {
                prop_assert_eq!(back.len(), count);
            }
            prop_assert!(back.len() <= count);
        }
    }

    #[test]
    fn plans_fit_what_they_are_for() {
        let grid: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(encoded(&grid).len() <= 10);
        let jittered: Vec<i64> = grid.iter().enumerate().map(|(i, t)| t + (i as i64 * 7919) % 11 - 5).collect();
        assert!(encoded(&jittered).len() <= 480 / 2 + 30, "{} bytes", encoded(&jittered).len());
        let pages: Vec<i64> = (0..480).map(|i| 4096 * ((i * 7919) % 16)).collect();
        assert!(encoded(&pages).len() <= 480 / 2 + 30);
        let slow: Vec<i64> = (0..480).map(|i| 5 + i / 10).collect();
        assert!(encoded(&slow).len() <= 480 / 8 + 30);
    }

    #[test]
    fn column_bytes_are_frozen() {
        assert_eq!(encoded(&[5, 5, 5]), [CONSTANT, 10]);
        assert_eq!(encoded(&[5, 8, 11]), [LINEAR, 10, 6]);
        assert_eq!(encoded(&[0, 1, 1, 2, 4, 4]), [SECOND, 0, 0, 2, 2, 0, 0b1110_1001]);
        assert_eq!(encoded(&[10, 4106, 10, 10]), [RISE | DIVIDED, 20, 0x80, 0x20, 1, 2, 0, 0b01_0010]);
    }
}
